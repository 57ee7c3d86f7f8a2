// RowView: the columns of one DataRow, where they stand in its bytes.
// https://www.postgresql.org/docs/15/protocol-message-formats.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"

namespace weir::router::merge {

// A column's value; none: NULL.
using Value = std::optional<ByteView>;

// Views into the body it was given. Used again for the next row, it allocates no more.
class RowView {
 public:
  // `body`: a DataRow's, without its header. False: it is malformed, and there are no columns.
  [[nodiscard]] bool read(ByteView body);

  [[nodiscard]] std::size_t columns() const { return values_.size(); }
  [[nodiscard]] const Value& operator[](std::size_t column) const { return values_[column]; }
  // The bytes of the first `n` columns: length words and values.
  [[nodiscard]] ByteView first(std::size_t n) const;

 private:
  ByteView body_;
  std::vector<Value> values_;
  std::vector<std::size_t> ends_;   // of each column, in body_
};

// Appends a DataRow message of the first `visible` columns of `row`. Their values are copied in one piece.
void write_first_columns(ByteBuffer& out, const RowView& row, std::size_t visible);

}  // namespace weir::router::merge
