// The elements of a one-dimensional array parameter, as array_in and array_recv of PostgreSQL 15 read them.
// https://www.postgresql.org/docs/15/arrays.html#ARRAYS-IO
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"

namespace weir::router {

// The element type of an array type that can hold keys. 0 gives 0 (the server infers it); none: another type.
[[nodiscard]] std::optional<std::uint32_t> element_type_of(std::uint32_t array_type) noexcept;

enum class ElementState { element, null, end, malformed };

// Reads one element after the other; after `end` or `malformed` nothing follows. A view lasts until the next call.
// Allocates only for elements with backslashes. More than one dimension, bounds ("[0:1]=...") and backslashes outside
// quotes count as malformed.
class TextArray {
 public:
  explicit TextArray(std::string_view text);
  ElementState next(std::string_view& element);

 private:
  bool value(std::string_view& element, bool& null);
  bool quoted(std::string_view& element);
  bool unquoted(std::string_view& element);
  bool separator();
  ElementState finish(ElementState state);
  void skip_blanks();

  std::string_view rest_;
  std::string scratch_;  // an element without its backslashes
  bool first_ = true;
  bool closed_ = false;  // the last brace was read
  std::optional<ElementState> finished_;
};

class BinaryArray {
 public:
  explicit BinaryArray(ByteView bytes);
  ElementState next(ByteView& element);
  [[nodiscard]] std::uint32_t element_type() const { return element_type_; }

 private:
  std::optional<std::int32_t> integer();

  ByteView rest_;
  std::uint32_t element_type_ = 0;
  std::int32_t left_ = 0;  // elements; negative: malformed
};

}  // namespace weir::router
