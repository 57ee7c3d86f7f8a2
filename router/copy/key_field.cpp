#include "router/copy/key_field.hpp"

#include <algorithm>
#include <cstring>

namespace weir::router::copy {
namespace {

bool is_octal(std::uint8_t b) { return b >= '0' && b <= '7'; }

int hex_of(std::uint8_t b) {
  if (b >= '0' && b <= '9') return b - '0';
  if (b >= 'a' && b <= 'f') return b - 'a' + 10;
  if (b >= 'A' && b <= 'F') return b - 'A' + 10;
  return -1;
}

// The fields of a line, from left to right.
class FieldReader {
 public:
  FieldReader(ByteView row, const Options& options, std::string& scratch)
      : at_(row.data()), end_(row.data() + row.size()), options_(options), scratch_(scratch) {}

  // The next field; `wanted`: its value is.
  Field text(bool wanted);
  Field csv(bool wanted);
  // A delimiter stood behind the field: there is another.
  [[nodiscard]] bool goes_on() const { return goes_on_; }

 private:
  [[nodiscard]] bool is_null(ByteView raw) const { return as_text(raw) == options_.null; }
  [[nodiscard]] std::uint8_t unescaped();
  [[nodiscard]] bool read_csv(std::uint8_t delimiter);
  [[nodiscard]] bool read_quoted();

  const std::uint8_t* at_;
  const std::uint8_t* const end_;
  const Options& options_;
  std::string& scratch_;
  bool goes_on_ = false;
};

Field FieldReader::text(bool wanted) {
  const auto delimiter = static_cast<std::uint8_t>(options_.delimiter);
  const std::uint8_t* const start = at_;
  bool plain = true;
  scratch_.clear();
  goes_on_ = false;
  const std::uint8_t* past = at_;
  for (;;) {
    past = at_;
    if (at_ == end_) break;
    std::uint8_t b = *at_++;
    if (b == delimiter) {
      goes_on_ = true;
      break;
    }
    if (b == '\\') {
      if (at_ == end_) break;
      if (plain) scratch_.assign(reinterpret_cast<const char*>(start), static_cast<std::size_t>(past - start));
      plain = false;
      b = unescaped();
    }
    if (!plain) scratch_ += static_cast<char>(b);
  }
  const ByteView raw(start, past);
  if (!wanted) return {};
  if (is_null(raw)) return {Field::Kind::null, {}};
  return {Field::Kind::value, plain ? raw : as_bytes(scratch_)};
}

// Behind a backslash, of which there is a byte.
std::uint8_t FieldReader::unescaped() {
  const std::uint8_t b = *at_++;
  if (is_octal(b)) {
    unsigned value = b - '0';
    for (int i = 0; i < 2 && at_ != end_ && is_octal(*at_); ++i) value = value * 8 + (*at_++ - '0');
    return static_cast<std::uint8_t>(value);
  }
  switch (b) {
    case 'x': {
      if (at_ == end_ || hex_of(*at_) < 0) return b;
      int value = hex_of(*at_++);
      if (at_ != end_ && hex_of(*at_) >= 0) value = value * 16 + hex_of(*at_++);
      return static_cast<std::uint8_t>(value);
    }
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'v': return '\v';
    default: return b;
  }
}

Field FieldReader::csv(bool wanted) {
  const std::uint8_t* const start = at_;
  const auto delimiter = static_cast<std::uint8_t>(options_.delimiter), quote = static_cast<std::uint8_t>(options_.quote);
  scratch_.clear();
  goes_on_ = false;
  while (at_ != end_ && *at_ != delimiter && *at_ != quote) ++at_;
  const bool simple = at_ == end_ || *at_ == delimiter;
  if (simple) {
    goes_on_ = at_ != end_;
    const ByteView raw(start, at_);
    at_ += goes_on_ ? 1 : 0;
    if (!wanted) return {};
    const bool null = is_null(raw) && !options_.force_not_null;
    return {null ? Field::Kind::null : Field::Kind::value, raw};
  }
  at_ = start;
  if (!read_csv(delimiter)) return {};
  const bool null = options_.force_null && scratch_ == options_.null;
  return {null ? Field::Kind::null : Field::Kind::value, as_bytes(scratch_)};
}

// Into the scratch. False: a quote is not closed.
bool FieldReader::read_csv(std::uint8_t delimiter) {
  while (at_ != end_) {
    const std::uint8_t b = *at_++;
    if (b == delimiter) {
      goes_on_ = true;
      return true;
    }
    if (b != static_cast<std::uint8_t>(options_.quote)) {
      scratch_ += static_cast<char>(b);
      continue;
    }
    if (!read_quoted()) return false;
  }
  return true;
}

bool FieldReader::read_quoted() {
  const auto quote = static_cast<std::uint8_t>(options_.quote), escape = static_cast<std::uint8_t>(options_.escape);
  while (at_ != end_) {
    const std::uint8_t b = *at_++;
    if (b == escape && at_ != end_ && (*at_ == escape || *at_ == quote)) {
      scratch_ += static_cast<char>(*at_++);
      continue;
    }
    if (b == quote) return true;
    scratch_ += static_cast<char>(b);
  }
  return false;
}

Field binary_field(ByteView row, std::uint16_t position) {
  std::size_t at = 2;
  for (std::uint16_t i = 0;; ++i) {
    if (row.size() - at < 4 || row.size() < at) return {};
    const std::uint32_t size = std::uint32_t{row[at]} << 24 | std::uint32_t{row[at + 1]} << 16 | std::uint32_t{row[at + 2]} << 8 | row[at + 3];
    at += 4;
    const bool null = size == 0xffffffff;
    if (!null && row.size() - at < size) return {};
    if (i == position) return null ? Field{Field::Kind::null, {}} : Field{Field::Kind::value, row.subspan(at, size)};
    if (!null) at += size;
  }
}

}  // namespace

Field field_of(ByteView row, const Options& options, std::uint16_t position, std::string& scratch) {
  if (options.format == Format::binary) return binary_field(row, position);
  FieldReader reader(row, options, scratch);
  for (std::uint16_t i = 0;; ++i) {
    const bool wanted = i == position;
    const Field field = options.format == Format::csv ? reader.csv(wanted) : reader.text(wanted);
    if (wanted) return field;
    if (!reader.goes_on()) return {};
  }
}

}  // namespace weir::router::copy
