// What pgbouncer.ini, the files it includes and its auth_file say, in PgBouncer's own words. https://www.pgbouncer.org/config.html
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "migrate/ini_file.hpp"

namespace weir::migrate {

// One line of [databases], [users] or [peers].
struct PgBouncerItem {
  std::string name, where;
  std::map<std::string, std::string, std::less<>> values;

  [[nodiscard]] const std::string* find(std::string_view key) const;
  [[nodiscard]] std::string get(std::string_view key, std::string_view otherwise = "") const;
};

struct PgBouncerFiles {
  std::string ini;   // its path
  std::map<std::string, IniEntry, std::less<>> settings;   // [pgbouncer], by name in lower case
  std::vector<PgBouncerItem> databases, users, peers;      // users: also who stands in auth_file only
  std::map<std::string, std::string, std::less<>> secrets;   // auth_file: a user's password or secret
  std::vector<std::string> notes;   // "pgbouncer.ini:12: name: text": what the reading left out

  // A file that the ini names: from the working folder, or its own. Absolute.
  [[nodiscard]] std::string path(const std::string& name) const;
};

// `fallback_names`: databases for which the fallback database "*" stands; each gets its connection string. Throws Failure: a file that
// cannot be read or understood, or no database to serve.
[[nodiscard]] PgBouncerFiles read_pgbouncer_files(const std::string& ini, const std::vector<std::string>& fallback_names);

// A setting's text as PgBouncer reads it; none: it is no such value. A number is not negative.
[[nodiscard]] std::optional<double> pgbouncer_number(std::string_view text);
[[nodiscard]] std::optional<bool> pgbouncer_flag(std::string_view text);
// Names between commas, without the blanks around them.
[[nodiscard]] std::vector<std::string> pgbouncer_list(std::string_view text);

}  // namespace weir::migrate
