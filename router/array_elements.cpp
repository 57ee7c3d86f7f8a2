#include "router/array_elements.hpp"

#include "base/strings.hpp"
#include "schema/key.hpp"

namespace weir::router {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace

std::optional<std::uint32_t> element_type_of(std::uint32_t array_type) noexcept {
  // pg_type.dat: typarray.
  switch (array_type) {
    case schema::oid::kUnspecified:
    case schema::oid::kUnknown:
      return schema::oid::kUnspecified;
    case 1005:
      return schema::oid::kInt2;
    case 1007:
      return schema::oid::kInt4;
    case 1016:
      return schema::oid::kInt8;
    case 1009:
      return schema::oid::kText;
    case 1015:
      return schema::oid::kVarchar;
    case 1231:
      return schema::oid::kNumeric;
    case 2951:
      return schema::oid::kUuid;
    default:
      return std::nullopt;
  }
}

TextArray::TextArray(std::string_view text) : rest_(text) {
  skip_blanks();
  if (rest_.starts_with('{'))
    rest_.remove_prefix(1);
  else
    finished_ = ElementState::malformed;
}

void TextArray::skip_blanks() {
  while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
}

ElementState TextArray::finish(ElementState state) {
  finished_ = state;
  return state;
}

ElementState TextArray::next(std::string_view& element) {
  if (finished_) return *finished_;
  skip_blanks();
  if (first_ && rest_.starts_with('}')) {
    rest_.remove_prefix(1);
    skip_blanks();
    closed_ = true;
  }
  if (closed_) return finish(rest_.empty() ? ElementState::end : ElementState::malformed);
  first_ = false;
  bool null = false;
  if (!value(element, null) || !separator()) return finish(ElementState::malformed);
  return null ? ElementState::null : ElementState::element;
}

bool TextArray::value(std::string_view& element, bool& null) {
  if (rest_.starts_with('"')) return quoted(element);
  if (!unquoted(element)) return false;
  null = element.size() == 4 && ascii_lower(element) == "null";
  return true;
}

bool TextArray::quoted(std::string_view& element) {
  const std::size_t end = rest_.find_first_of("\"\\", 1);
  if (end == std::string_view::npos) return false;
  if (rest_[end] == '"') {
    element = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }
  scratch_.clear();
  for (std::size_t at = 1; at < rest_.size(); ++at) {
    if (rest_[at] == '"') {
      element = scratch_;
      rest_.remove_prefix(at + 1);
      return true;
    }
    if (rest_[at] == '\\' && ++at == rest_.size()) return false;
    scratch_ += rest_[at];
  }
  return false;
}

bool TextArray::unquoted(std::string_view& element) {
  const std::size_t end = rest_.find_first_of(",}{\"\\");
  if (end == std::string_view::npos || (rest_[end] != ',' && rest_[end] != '}')) return false;
  element = rest_.substr(0, end);
  rest_.remove_prefix(end);
  while (!element.empty() && is_blank(element.back())) element.remove_suffix(1);
  return !element.empty();
}

bool TextArray::separator() {
  skip_blanks();
  if (rest_.empty() || (rest_.front() != ',' && rest_.front() != '}')) return false;
  closed_ = rest_.front() == '}';
  rest_.remove_prefix(1);
  if (closed_) skip_blanks();
  return true;
}

// int32 dimensions, flags, element type; for each dimension int32 size and lower bound; then int32 length (-1: null)
// and bytes of each element.
BinaryArray::BinaryArray(ByteView bytes) : rest_(bytes) {
  const auto dimensions = integer();
  const auto flags = integer();
  const auto type = integer();
  if (!type || *flags < 0 || *flags > 1 || *dimensions < 0 || *dimensions > 1) {
    left_ = -1;
    return;
  }
  element_type_ = static_cast<std::uint32_t>(*type);
  if (*dimensions == 0) return;
  const auto size = integer();
  left_ = integer() && *size >= 0 ? *size : -1;
}

std::optional<std::int32_t> BinaryArray::integer() {
  if (rest_.size() < 4) {
    rest_ = {};
    return std::nullopt;
  }
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = (value << 8) | rest_[i];
  rest_ = rest_.subspan(4);
  return static_cast<std::int32_t>(value);
}

ElementState BinaryArray::next(ByteView& element) {
  if (left_ < 0) return ElementState::malformed;
  if (left_ == 0) return rest_.empty() ? ElementState::end : ElementState::malformed;
  const auto size = integer();
  if (!size || *size < -1 || (*size > 0 && static_cast<std::size_t>(*size) > rest_.size())) {
    left_ = -1;
    return ElementState::malformed;
  }
  --left_;
  if (*size == -1) return ElementState::null;
  element = rest_.first(static_cast<std::size_t>(*size));
  rest_ = rest_.subspan(static_cast<std::size_t>(*size));
  return ElementState::element;
}

}  // namespace weir::router
