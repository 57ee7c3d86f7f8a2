// KeyValue: one value of a sharding key, and the exact ways to get one out of SQL text and wire parameters.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/bytes.hpp"

namespace weir::schema {

// PostgreSQL's type OIDs that the router knows (pg_type.dat).
namespace oid {
inline constexpr std::uint32_t kUnspecified = 0;
inline constexpr std::uint32_t kInt8 = 20;
inline constexpr std::uint32_t kInt2 = 21;
inline constexpr std::uint32_t kInt4 = 23;
inline constexpr std::uint32_t kText = 25;
inline constexpr std::uint32_t kUnknown = 705;
inline constexpr std::uint32_t kVarchar = 1043;
inline constexpr std::uint32_t kNumeric = 1700;
inline constexpr std::uint32_t kUuid = 2950;
}  // namespace oid

enum class KeyType { int2, int4, int8, text, varchar, uuid };

// The key type of a column's type OID; none: that type cannot be a sharding key.
[[nodiscard]] std::optional<KeyType> key_type_of(std::uint32_t type_oid) noexcept;
[[nodiscard]] std::string_view name_of(KeyType type) noexcept;

using Uuid = std::array<std::uint8_t, 16>;

// A non-null key: an integer of any width, a text, or a uuid. A value type; text is owned.
class KeyValue {
 public:
  explicit KeyValue(std::int64_t v) : v_(v) {}
  explicit KeyValue(std::string v) : v_(std::move(v)) {}
  explicit KeyValue(const Uuid& v) : v_(v) {}

  [[nodiscard]] bool is_integer() const { return std::holds_alternative<std::int64_t>(v_); }
  [[nodiscard]] bool is_text() const { return std::holds_alternative<std::string>(v_); }
  [[nodiscard]] std::int64_t integer() const { return std::get<std::int64_t>(v_); }
  [[nodiscard]] const std::string& text() const { return std::get<std::string>(v_); }
  [[nodiscard]] const Uuid& uuid() const { return std::get<Uuid>(v_); }
  [[nodiscard]] std::string str() const;  // for messages
  friend bool operator==(const KeyValue&, const KeyValue&) = default;

 private:
  std::variant<std::int64_t, std::string, Uuid> v_;
};

// Reads `text` exactly as the input function of `type` does (int8in: blanks around, sign, range;
// uuid_in: its several spellings; text: as is). None: PostgreSQL would raise an error.
// Source: src/backend/utils/adt/{int,int8,uuid}.c, numutils.c of PostgreSQL 15.
[[nodiscard]] std::optional<KeyValue> key_from_text(KeyType type, std::string_view text);

// Reads an integer or an integral numeric literal of SQL ("42", "42.0", "-7", "1e3") compared with a
// column of an integer type. None: not integral, or outside int8, so it binds nothing.
[[nodiscard]] std::optional<KeyValue> key_from_number(KeyType type, std::string_view literal);

// Reads a Bind parameter. `declared` is the parameter's type from Parse (0: left to the server to infer, so it has the
// column's type), `binary` its format code. None: it does not bind the key (a lossy or unknown type, a malformed value,
// a width that does not fit). https://www.postgresql.org/docs/15/protocol-message-formats.html (Bind)
[[nodiscard]] std::optional<KeyValue> key_from_parameter(KeyType type, std::uint32_t declared, bool binary,
                                                         ByteView value);

}  // namespace weir::schema
