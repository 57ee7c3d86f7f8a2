#include "schema/key.hpp"

#include <limits>

#include "schema/number.hpp"

namespace weir::schema {
namespace {

// isspace() of the C locale: what the input functions skip. Multi-byte blanks are no blanks to them either.
bool is_space(char c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::string_view trim(std::string_view s) noexcept {
  while (!s.empty() && is_space(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_space(s.back())) s.remove_suffix(1);
  return s;
}

bool is_integer_type(KeyType type) noexcept {
  return type == KeyType::int2 || type == KeyType::int4 || type == KeyType::int8;
}

bool fits(KeyType type, std::int64_t v) noexcept {
  if (type == KeyType::int2)
    return v >= std::numeric_limits<std::int16_t>::min() && v <= std::numeric_limits<std::int16_t>::max();
  if (type == KeyType::int4)
    return v >= std::numeric_limits<std::int32_t>::min() && v <= std::numeric_limits<std::int32_t>::max();
  return true;
}

// pg_strtoint16/32/64: blanks, one sign, digits, blanks. Neither underscores nor other bases (those came with 16).
std::optional<std::int64_t> read_integer(std::string_view text) noexcept {
  std::string_view s = trim(text);
  const bool negative = !s.empty() && s.front() == '-';
  if (!s.empty() && (s.front() == '-' || s.front() == '+')) s.remove_prefix(1);
  if (s.empty()) return std::nullopt;
  std::int64_t v = 0;  // accumulated below zero, where the range is larger by one
  for (char c : s) {
    if (c < '0' || c > '9') return std::nullopt;
    if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, c - '0', &v)) return std::nullopt;
  }
  if (negative) return v;
  if (v == std::numeric_limits<std::int64_t>::min()) return std::nullopt;
  return -v;
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// string_to_uuid(): braces around, a hyphen after every group of four digits but the last, no blanks.
std::optional<Uuid> read_uuid(std::string_view s) noexcept {
  if (s.starts_with('{')) {
    if (!s.ends_with('}') || s.size() < 2) return std::nullopt;
    s = s.substr(1, s.size() - 2);
  }
  Uuid uuid{};
  for (std::size_t i = 0; i < uuid.size(); ++i) {
    if (s.size() < 2) return std::nullopt;
    const int high = hex_digit(s[0]);
    const int low = hex_digit(s[1]);
    if (high < 0 || low < 0) return std::nullopt;
    uuid[i] = static_cast<std::uint8_t>(high * 16 + low);
    s.remove_prefix(2);
    if (s.starts_with('-') && i % 2 == 1 && i + 1 < uuid.size()) s.remove_prefix(1);
  }
  if (!s.empty()) return std::nullopt;
  return uuid;
}

std::optional<KeyValue> integer_key(std::optional<std::int64_t> v) {
  if (!v) return std::nullopt;
  return KeyValue(*v);
}

// int2recv, int4recv, int8recv: big-endian two's complement.
std::optional<KeyValue> integer_from_binary(ByteView value) {
  std::uint64_t v = 0;
  for (std::uint8_t b : value) v = (v << 8) | b;
  switch (value.size()) {
    case 2:
      return KeyValue(std::int64_t{static_cast<std::int16_t>(v)});
    case 4:
      return KeyValue(std::int64_t{static_cast<std::int32_t>(v)});
    case 8:
      return KeyValue(static_cast<std::int64_t>(v));
    default:
      return std::nullopt;
  }
}

// A declared type of another width is read as that type: the comparison (int28eq ...) is exact.
std::optional<KeyValue> integer_parameter(KeyType type, std::uint32_t declared, bool binary, ByteView value) {
  if (declared == oid::kNumeric) {
    return integer_key(binary ? integer_of_numeric_binary(value) : integer_of_decimal(trim(as_text(value))));
  }
  const auto read_as = declared == oid::kUnspecified ? type : key_type_of(declared);
  if (!read_as || !is_integer_type(*read_as)) return std::nullopt;
  if (!binary) return key_from_text(*read_as, as_text(value));
  const std::size_t width = *read_as == KeyType::int2 ? 2 : *read_as == KeyType::int4 ? 4 : 8;
  if (declared != oid::kUnspecified && value.size() != width) return std::nullopt;
  return integer_from_binary(value);
}

std::optional<KeyValue> uuid_parameter(std::uint32_t declared, bool binary, ByteView value) {
  if (declared != oid::kUnspecified && declared != oid::kUuid) return std::nullopt;
  if (!binary) return key_from_text(KeyType::uuid, as_text(value));
  Uuid uuid{};
  if (value.size() != uuid.size()) return std::nullopt;
  std::copy(value.begin(), value.end(), uuid.begin());
  return KeyValue(uuid);
}

// textrecv's bytes are textin's; unknown is inferred from the column, as 0 is.
std::optional<KeyValue> text_parameter(std::uint32_t declared, ByteView value) {
  const bool same =
      declared == oid::kUnspecified || declared == oid::kText || declared == oid::kVarchar || declared == oid::kUnknown;
  return same ? key_from_text(KeyType::text, as_text(value)) : std::nullopt;
}

}  // namespace

std::optional<KeyType> key_type_of(std::uint32_t type_oid) noexcept {
  switch (type_oid) {
    case oid::kInt2:
      return KeyType::int2;
    case oid::kInt4:
      return KeyType::int4;
    case oid::kInt8:
      return KeyType::int8;
    case oid::kText:
      return KeyType::text;
    case oid::kVarchar:
      return KeyType::varchar;
    case oid::kUuid:
      return KeyType::uuid;
    default:
      return std::nullopt;
  }
}

std::string_view name_of(KeyType type) noexcept {
  switch (type) {
    case KeyType::int2:
      return "smallint";
    case KeyType::int4:
      return "integer";
    case KeyType::int8:
      return "bigint";
    case KeyType::text:
      return "text";
    case KeyType::varchar:
      return "character varying";
    case KeyType::uuid:
      return "uuid";
  }
  return "";
}

std::string KeyValue::str() const {
  if (is_integer()) return std::to_string(integer());
  if (is_text()) return text();
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < uuid().size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += kDigits[uuid()[i] >> 4];
    out += kDigits[uuid()[i] & 15];
  }
  return out;
}

std::optional<KeyValue> key_from_text(KeyType type, std::string_view text) {
  // No PostgreSQL value holds a NUL: C strings end there, and textrecv refuses it.
  if (text.find('\0') != std::string_view::npos) return std::nullopt;
  if (is_integer_type(type)) {
    const auto v = read_integer(text);
    return v && fits(type, *v) ? integer_key(v) : std::nullopt;
  }
  if (type == KeyType::uuid) {
    const auto uuid = read_uuid(text);
    return uuid ? std::optional<KeyValue>(KeyValue(*uuid)) : std::nullopt;
  }
  return KeyValue(std::string(text));
}

std::optional<KeyValue> key_from_number(KeyType type, std::string_view literal) {
  if (!is_integer_type(type)) return std::nullopt;
  return integer_key(integer_of_decimal(literal));
}

std::optional<KeyValue> key_from_parameter(KeyType type, std::uint32_t declared, bool binary, ByteView value) {
  if (is_integer_type(type)) return integer_parameter(type, declared, binary, value);
  if (type == KeyType::uuid) return uuid_parameter(declared, binary, value);
  return text_parameter(declared, value);
}

}  // namespace weir::schema
