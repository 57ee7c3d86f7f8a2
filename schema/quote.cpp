#include "schema/quote.hpp"

namespace weir::schema {
namespace {

void append_doubled(std::string& out, std::string_view text, std::string_view doubled) {
  for (char c : text) {
    if (doubled.find(c) != std::string_view::npos) out += c;
    out += c;
  }
}

}  // namespace

std::string quote_ident(std::string_view name) {
  std::string out = "\"";
  append_doubled(out, name, "\"");
  return out += '"';
}

std::string quote_qualified(std::string_view schema, std::string_view name) {
  return quote_ident(schema) + "." + quote_ident(name);
}

std::string quote_literal(std::string_view text) {
  // The blank keeps E from joining a word before it.
  std::string out = text.find('\\') == std::string_view::npos ? "'" : " E'";
  append_doubled(out, text, "'\\");
  return out += '\'';
}

}  // namespace weir::schema
