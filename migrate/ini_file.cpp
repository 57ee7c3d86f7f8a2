#include "migrate/ini_file.hpp"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/strings.hpp"
#include "migrate/session.hpp"

namespace weir::migrate {

namespace {

namespace fs = std::filesystem;

constexpr int kMaxDepth = 10;   // of %include
constexpr std::string_view kBlank = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlank);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

void skip_blanks(std::string_view& text) { text.remove_prefix(std::min(text.size(), text.find_first_not_of(kBlank))); }

// Takes a value in `quote`s off `text`; a doubled quote is one. None: it has no end.
std::optional<std::string> take_quoted(std::string_view& text, char quote) {
  std::string value;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if (text[i] != quote) {
      value += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == quote) {
      value += quote;
      ++i;
    } else {
      text.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

class Reader {
 public:
  std::vector<IniEntry> read(const std::string& path) {
    read_file(path, 0);
    return std::move(entries_);
  }

 private:
  void read_file(const std::string& path, int depth) {
    if (depth > kMaxDepth) throw Failure(concat(path, ": more than ", std::to_string(kMaxDepth), " files include each other"));
    std::ifstream in = open_text(path);
    std::string line;
    for (unsigned number = 1; std::getline(in, line); ++number) {
      const std::string where = concat(path, ":", std::to_string(number));
      const std::string_view text = trimmed(line);
      if (text.empty() || text[0] == ';' || text[0] == '#') continue;
      if (text.starts_with("%include")) {
        read_file(included(path, std::string(trimmed(text.substr(8)))), depth + 1);
      } else if (text[0] == '[') {
        if (text.back() != ']') throw Failure(concat(where, ": expected [section], got ", text));
        section_ = ascii_lower(trimmed(text.substr(1, text.size() - 2)));
      } else {
        read_setting(text, where);
      }
    }
  }

  // PgBouncer's own reading: from its working folder. Here the file's folder is the better guess, where the other has none.
  static std::string included(const std::string& from, const std::string& name) {
    if (fs::path(name).is_absolute() || fs::exists(name)) return name;
    return (fs::path(from).parent_path() / name).string();
  }

  void read_setting(std::string_view text, const std::string& where) {
    if (section_.empty()) throw Failure(concat(where, ": a setting before the first [section]"));
    IniEntry entry{section_, {}, {}, where};
    if (text[0] == '"') {
      auto key = take_quoted(text, '"');
      if (!key) throw Failure(concat(where, ": a quoted name without an end"));
      entry.key = std::move(*key);
      skip_blanks(text);
    } else {
      const std::size_t end = std::min(text.size(), text.find('='));
      entry.key = trimmed(text.substr(0, end));
      text.remove_prefix(end);
    }
    if (text.empty() || text[0] != '=') throw Failure(concat(where, ": expected name = value"));
    entry.value = trimmed(text.substr(1));
    entries_.push_back(std::move(entry));
  }

  std::string section_;
  std::vector<IniEntry> entries_;
};

}  // namespace

std::vector<IniEntry> read_ini(const std::string& path) { return Reader().read(path); }

IniPairs parse_pairs(std::string_view text, const std::string& where) {
  IniPairs pairs;
  for (skip_blanks(text); !text.empty(); skip_blanks(text)) {
    const std::size_t end = text.find('=');
    if (end == text.npos) throw Failure(concat(where, ": expected key=value, got ", text));
    const std::string key = ascii_lower(trimmed(text.substr(0, end)));
    text.remove_prefix(end + 1);
    skip_blanks(text);
    std::string value;
    if (!text.empty() && text[0] == '\'') {
      auto quoted = take_quoted(text, '\'');
      if (!quoted) throw Failure(concat(where, ": the quoted value of ", key, " has no end"));
      value = std::move(*quoted);
    } else {
      const std::size_t stop = std::min(text.size(), text.find_first_of(kBlank));
      value = text.substr(0, stop);
      text.remove_prefix(stop);
    }
    pairs.emplace_back(key, std::move(value));
  }
  return pairs;
}

std::ifstream open_text(const std::string& path) {
  std::ifstream in(path);
  if (!in || fs::is_directory(path)) throw Failure(concat(path, ": ", in ? "is a folder" : std::strerror(errno)));
  return in;
}

}  // namespace weir::migrate
