// PgBouncer's userlist.txt: "name" "secret" on each line. Pure. https://www.pgbouncer.org/config.html#authentication-file-format
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/settings.hpp"

namespace weir::config {

struct Problem;

// By the file's name (.txt), or by what it begins with: a quote or a ; comment, which no users.toml does.
[[nodiscard]] bool is_userlist(std::string_view path, std::string_view text);
// A doubled quote stands for one; ; begins a comment line; what follows the second string is ignored, as PgBouncer does. Mistakes are
// Problems with their line. `lines[i]` is where users[i] stands.
struct Userlist {
  std::vector<User> users;
  std::vector<unsigned> lines;
};
[[nodiscard]] Userlist parse_userlist(const std::string& file, std::string_view text, std::vector<Problem>& problems);

}  // namespace weir::config
