// pgbouncer.ini, and the connection strings in it.
// https://www.pgbouncer.org/config.html
#pragma once

#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::migrate {

struct IniEntry {
  std::string section, key, value;
  std::string where;   // "pgbouncer.ini:12"
};

// Every setting in the order of the file, files named by %include in their place. A key is spelt as in the file, without its quotes.
// Throws Failure naming file and line.
[[nodiscard]] std::vector<IniEntry> read_ini(const std::string& path);

// "host=h port=5433 password='it''s'": keys and values in their order. Throws Failure naming `where`.
using IniPairs = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] IniPairs parse_pairs(std::string_view text, const std::string& where);

// A text file. Throws Failure naming it.
[[nodiscard]] std::ifstream open_text(const std::string& path);

}  // namespace weir::migrate
