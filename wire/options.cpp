// The backend's reading of the `options` parameter: pg_split_opts() and the -c and -- switches of
// process_postgres_switches().
#include "base/strings.hpp"
#include "wire/startup.hpp"

namespace weir::wire {
namespace {

using Setting = std::pair<std::string, std::string>;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// Words between white space. A backslash takes the next character as it is; one at the very end is dropped.
std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  std::size_t i = 0;
  while (true) {
    while (i < text.size() && is_space(text[i])) ++i;
    if (i == text.size()) return words;
    std::string& word = words.emplace_back();
    for (; i < text.size() && !is_space(text[i]); ++i) {
      if (text[i] == '\\' && ++i == text.size()) break;
      word.push_back(text[i]);
    }
  }
}

Error invalid(std::string message) {
  return {sqlstate::kInvalidParameter, std::move(message),
          "The options parameter takes -c name=value and --name=value, separated by spaces; a space inside a value is "
          "written \"\\ \"."};
}

// "name=value" behind the switch; dashes in the name stand for underscores.
Result<Setting> read_setting(std::string_view text, std::string_view flag) {
  const std::size_t equal = text.find('=');
  if (equal == std::string_view::npos) return invalid(concat(flag, text, " requires a value"));
  Setting setting(text.substr(0, equal), text.substr(equal + 1));
  if (setting.first.empty()) return invalid(concat("\"", flag, text, "\" in options names no parameter"));
  for (char& c : setting.first)
    if (c == '-') c = '_';
  return setting;
}

}  // namespace

Result<std::vector<Setting>> parse_options(std::string_view options) {
  if (options.find('\0') != std::string_view::npos) return invalid("options contain a NUL character");
  const std::vector<std::string> words = split_words(options);
  std::vector<Setting> settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const bool is_last = i + 1 == words.size();
    if (word == "--" && is_last) break;  // getopt's end of options, with nothing behind it
    const bool dashes = word.starts_with("--") && word.size() > 2;
    if ((!dashes && !word.starts_with("-c")) || (word == "-c" && is_last))
      return invalid(concat("invalid command-line argument for server process: ", word));
    auto setting = dashes         ? read_setting(word.substr(2), "--")
                   : word == "-c" ? read_setting(words[++i], "-c ")
                                  : read_setting(word.substr(2), "-c ");
    if (!setting) return setting.take_error();
    settings.push_back(std::move(*setting));
  }
  return settings;
}

}  // namespace weir::wire
