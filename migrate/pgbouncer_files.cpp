#include "migrate/pgbouncer_files.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "config/userlist.hpp"
#include "migrate/session.hpp"

namespace weir::migrate {

namespace {

namespace fs = std::filesystem;

class FilesReader {
 public:
  PgBouncerFiles read(const std::string& ini, const std::vector<std::string>& fallback_names) {
    files_.ini = ini;
    sort_entries();
    expand_fallback(fallback_names);
    read_users();
    return std::move(files_);
  }

 private:
  void sort_entries() {
    for (IniEntry& entry : read_ini(files_.ini)) {
      if (entry.section == "pgbouncer") {
        files_.settings[ascii_lower(entry.key)] = std::move(entry);
      } else if (entry.section == "databases") {
        add(files_.databases, entry);
      } else if (entry.section == "users") {
        add(files_.users, entry);
      } else if (entry.section == "peers") {
        add(files_.peers, entry);
      } else {
        note(entry.where, concat("[", entry.section, "]"), "PgBouncer has no such section");
      }
    }
  }

  static void add(std::vector<PgBouncerItem>& items, const IniEntry& entry) {
    PgBouncerItem item{entry.key, entry.where, {}};
    for (auto& [key, value] : parse_pairs(entry.value, entry.where)) item.values[key] = std::move(value);
    std::erase_if(items, [&](const PgBouncerItem& old) { return old.name == item.name; });   // the last one counts
    items.push_back(std::move(item));
  }

  void expand_fallback(const std::vector<std::string>& names) {
    const auto fallback = std::find_if(files_.databases.begin(), files_.databases.end(), [](const PgBouncerItem& d) { return d.name == config::kFallbackName; });
    if (fallback != files_.databases.end() && !names.empty()) {
      PgBouncerItem pattern = *fallback;
      files_.databases.erase(fallback);
      for (const std::string& name : names) {
        if (std::any_of(files_.databases.begin(), files_.databases.end(), [&](const PgBouncerItem& d) { return d.name == name; })) continue;
        pattern.name = name;
        files_.databases.push_back(pattern);
      }
    } else if (!names.empty()) {
      throw Failure(concat(files_.ini, ": has no fallback database \"*\" for --database to take its connection string from"), 2);
    }
    if (files_.databases.empty()) throw Failure(concat(files_.ini, ": there is no database to serve in [databases]"));
  }

  void read_users() {
    const auto file = files_.settings.find("auth_file");
    if (file != files_.settings.end() && !file->second.value.empty()) read_auth_file(files_.path(file->second.value));
    for (const auto& [name, secret] : files_.secrets)
      if (std::none_of(files_.users.begin(), files_.users.end(), [&, n = &name](const PgBouncerItem& u) { return u.name == *n; }))
        files_.users.push_back({name, "", {}});
  }

  void read_auth_file(const std::string& path) {
    std::ifstream in = open_text(path);
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    std::vector<config::Problem> problems;
    const config::Userlist list = config::parse_userlist(path, text, problems);
    std::string mistakes;
    for (const config::Problem& p : problems) mistakes += concat(mistakes.empty() ? "" : "\n", p.str());
    if (!mistakes.empty()) throw Failure(mistakes);
    for (const config::User& user : list.users) files_.secrets[user.name] = user.password;
  }

  void note(const std::string& at, std::string_view name, std::string_view text) { files_.notes.push_back(concat(at, ": ", name, ": ", text)); }

  PgBouncerFiles files_;
};

}  // namespace

const std::string* PgBouncerItem::find(std::string_view key) const {
  const auto it = values.find(key);
  return it == values.end() ? nullptr : &it->second;
}

std::string PgBouncerItem::get(std::string_view key, std::string_view otherwise) const {
  const std::string* value = find(key);
  return value ? *value : std::string(otherwise);
}

std::string PgBouncerFiles::path(const std::string& name) const {
  fs::path found = name;
  if (found.is_relative() && !fs::exists(found)) found = fs::path(ini).parent_path() / found;
  return fs::absolute(found).lexically_normal().string();
}

PgBouncerFiles read_pgbouncer_files(const std::string& ini, const std::vector<std::string>& fallback_names) {
  return FilesReader().read(ini, fallback_names);
}

std::optional<double> pgbouncer_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<bool> pgbouncer_flag(std::string_view text) {
  const std::string lower = ascii_lower(text);
  for (const auto* yes : {"1", "yes", "on", "true"})
    if (lower == yes) return true;
  for (const auto* no : {"0", "no", "off", "false"})
    if (lower == no) return false;
  return std::nullopt;
}

std::vector<std::string> pgbouncer_list(std::string_view text) {
  std::vector<std::string> items;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const std::size_t first = part.find_first_not_of(" \t");
    if (first != part.npos) items.emplace_back(part.substr(first, part.find_last_not_of(" \t") - first + 1));
  }
  return items;
}

}  // namespace weir::migrate
