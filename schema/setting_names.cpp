#include "schema/setting_names.hpp"

#include <algorithm>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

constexpr std::size_t kMaxNames = 256;

bool starts_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80; }
bool in_word(char c) { return starts_word(c) || (c >= '0' && c <= '9') || c == '$'; }
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }

// How long the dotted word at the front of `text` is.
std::size_t word_length(std::string_view text) {
  if (text.empty() || !starts_word(text[0])) return 0;
  std::size_t i = 0;
  while (i < text.size() && (in_word(text[i]) || (text[i] == '.' && i + 1 < text.size() && starts_word(text[i + 1])))) ++i;
  return i;
}

bool sets(std::string_view word) {
  const std::string lower = ascii_lower(word);
  return lower == "set" || lower == "local" || lower == "session" || lower == "reset";
}

void keep(std::string_view name, std::vector<std::string>& names) {
  if (name.find('.') == std::string_view::npos || names.size() >= kMaxNames) return;
  std::string lower = ascii_lower(name);
  if (std::find(names.begin(), names.end(), lower) == names.end()) names.push_back(std::move(lower));
}

void keep_parts(std::string_view word, std::vector<std::string>& names) {
  for (std::size_t at = 0; at <= word.size();) {
    const std::size_t end = std::min(word.find('$', at), word.size());
    keep(word.substr(at, end - at), names);
    at = end + 1;
  }
}

}  // namespace

bool is_custom_setting_name(std::string_view text) {
  return text.size() < 128 && text.find('.') != std::string_view::npos && word_length(text) == text.size();
}

void find_setting_names(std::string_view text, std::vector<std::string>& names) {
  if (text.find('.') == std::string_view::npos) return;
  bool behind_set = false;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = word_length(text.substr(i));
    if (length == 0) {
      if (!is_blank(text[i]) && text[i] != '"') behind_set = false;
      ++i;
      continue;
    }
    const std::string_view word = text.substr(i, length);
    const char before = i == 0 ? ' ' : text[i - 1];
    const char after = i + length < text.size() ? text[i + length] : ' ';
    const bool quoted = (before == '\'' || before == '$' || before == '"') && (after == '\'' || after == '$' || after == '"');
    if (before == '$' || word.find('$') != std::string_view::npos) keep_parts(word, names);   // $q$app.x$q$
    if (behind_set || quoted) keep(word, names);
    behind_set = sets(word);
    i += length;
  }
}

}  // namespace weir::schema
