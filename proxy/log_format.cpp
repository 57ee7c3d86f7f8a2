#include "proxy/log_format.hpp"

#include <cstddef>
#include <cstdint>

namespace weir::proxy {

namespace {

constexpr char kHex[] = "0123456789abcdef";

// The length of the well-formed UTF-8 character at the front; 0: there is none.
// https://www.unicode.org/versions/Unicode15.0.0/ch03.pdf, table 3-7
std::size_t utf8_length(std::string_view s) {
  const auto at = [&](std::size_t i) { return i < s.size() ? static_cast<std::uint8_t>(s[i]) : std::uint8_t{0}; };
  const auto follows = [&](std::size_t i) { return (at(i) & 0xC0) == 0x80; };
  const std::uint8_t first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (first == 0xE0 && at(1) < 0xA0) return 0;   // overlong
    if (first == 0xED && at(1) > 0x9F) return 0;   // a surrogate
    return follows(1) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (first == 0xF0 && at(1) < 0x90) return 0;
    if (first == 0xF4 && at(1) > 0x8F) return 0;   // beyond U+10FFFF
    return follows(1) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

void append_escaped_control(std::string& out, char c, std::string_view prefix) {
  switch (c) {
    case '\n': out += "\\n"; return;
    case '\r': out += "\\r"; return;
    case '\t': out += "\\t"; return;
    default:
      out += prefix;
      out += kHex[static_cast<std::uint8_t>(c) >> 4];
      out += kHex[static_cast<std::uint8_t>(c) & 15];
  }
}

bool is_control(char c) { return static_cast<std::uint8_t>(c) < 0x20 || c == 0x7F; }

void append_one_line(std::string& out, std::string_view text) {
  for (const char c : text) is_control(c) ? append_escaped_control(out, c, "\\x") : out.push_back(c);
}

bool needs_quotes(std::string_view value) { return value.empty() || value.find_first_of(" =\"\\") != std::string_view::npos; }

void append_text_value(std::string& out, std::string_view value) {
  if (!needs_quotes(value)) return append_one_line(out, value);
  out += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    is_control(c) ? append_escaped_control(out, c, "\\x") : out.push_back(c);
  }
  out += '"';
}

}  // namespace

void append_json_string(std::string& out, std::string_view bytes) {
  out += '"';
  while (!bytes.empty()) {
    const char c = bytes.front();
    std::size_t length = utf8_length(bytes);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (is_control(c)) {
      append_escaped_control(out, c, "\\u00");
    } else if (length == 0) {
      out += "\\ufffd";
      length = 1;
    } else {
      out.append(bytes.substr(0, length));
    }
    bytes.remove_prefix(length);
  }
  out += '"';
}

std::string json_members(std::string_view message, std::span<const log::Field> fields) {
  std::string out = "\"message\":";
  append_json_string(out, message);
  for (const log::Field& f : fields) {
    out += ',';
    append_json_string(out, f.name);
    out += ':';
    append_json_string(out, f.value);
  }
  return out;
}

std::string text_line(std::string_view message, std::span<const log::Field> fields) {
  std::string out;
  append_one_line(out, message);
  for (const log::Field& f : fields) {
    out += ' ';
    append_one_line(out, f.name);
    out += '=';
    append_text_value(out, f.value);
  }
  return out;
}

}  // namespace weir::proxy
