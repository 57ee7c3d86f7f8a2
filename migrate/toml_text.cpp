#include "migrate/toml_text.hpp"

#include <cstdio>

#include "base/strings.hpp"

namespace weir::migrate {

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') {
      out += concat("\\", std::string_view(&c, 1));
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04X", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += code;
    } else {
      if (c == '$' && i + 1 < text.size() && text[i + 1] == '{') out += '$';
      out += c;
    }
  }
  return out + "\"";
}

std::string toml_strings(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += concat(out.size() > 1 ? ", " : "", toml_string(text));
  return out + "]";
}

void TomlText::comment(std::string_view text) {
  out_ += "# ";
  for (const char c : text) out_ += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  out_ += '\n';
}

void TomlText::table(std::string_view header) { out_ += concat(out_.empty() ? "" : "\n", header, "\n"); }

void TomlText::raw(std::string_view key, std::string_view value) { out_ += concat(key, " = ", value, "\n"); }

}  // namespace weir::migrate
