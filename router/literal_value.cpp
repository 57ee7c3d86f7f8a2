#include "router/literal_value.hpp"

#include <array>
#include <cstring>
#include <string>

#include "base/strings.hpp"

namespace weir::router {
namespace {

using schema::KeyType;
using schema::KeyValue;

std::optional<KeyValue> from_number(KeyType type, std::string_view digits, bool negated) {
  if (!negated) return schema::key_from_number(type, digits);
  std::array<char, 64> buffer;
  if (digits.size() >= buffer.size()) return schema::key_from_number(type, concat("-", digits));
  buffer[0] = '-';
  std::memcpy(buffer.data() + 1, digits.data(), digits.size());
  return schema::key_from_number(type, {buffer.data(), digits.size() + 1});
}

// The inside of '...' or E'...'.
std::string_view unquoted(std::string_view text) {
  const std::size_t from = text.find('\'') + 1;
  return text.substr(from, text.size() - from - 1);
}

std::string_view undollared(std::string_view text) {
  const std::size_t tag = text.find('$', 1) + 1;
  return text.substr(tag, text.size() - 2 * tag);
}

// The character that \c stands for; 0: a number in some base follows, or c is rare.
char escaped(char c) {
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return 0;
  }
}

std::optional<std::string> unescaped(std::string_view inside, bool backslashes) {
  std::string value;
  value.reserve(inside.size());
  for (std::size_t at = 0; at < inside.size(); ++at) {
    char c = inside[at];
    if (c == '\'') {
      ++at;  // doubled
    } else if (c == '\\' && backslashes) {
      c = ++at < inside.size() ? escaped(inside[at]) : '\0';
      if (c == 0) return std::nullopt;
    }
    value += c;
  }
  return value;
}

std::optional<KeyValue> from_string(KeyType type, std::string_view text, bool backslashes) {
  const std::string_view inside = unquoted(text);
  const bool plain =
      inside.find('\'') == std::string_view::npos && (!backslashes || inside.find('\\') == std::string_view::npos);
  if (plain) return schema::key_from_text(type, inside);
  const auto value = unescaped(inside, backslashes);
  return value ? schema::key_from_text(type, *value) : std::nullopt;
}

}  // namespace

std::optional<KeyValue> key_from_literal(KeyType type, LiteralClass kind, std::string_view text, bool negated) {
  switch (kind) {
    case LiteralClass::int4:
    case LiteralClass::int8:
    case LiteralClass::numeric:
      return from_number(type, text, negated);
    case LiteralClass::string:
      return negated ? std::nullopt : from_string(type, text, false);
    case LiteralClass::escape_string:
      return negated ? std::nullopt : from_string(type, text, true);
    case LiteralClass::dollar_string:
      return negated ? std::nullopt : schema::key_from_text(type, undollared(text));
    case LiteralClass::bit_string:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace weir::router
