// `weirctl import`: a weir.toml and a users.toml that make Weir serve what a pgbouncer.ini makes PgBouncer serve.
#pragma once

#include <string>
#include <vector>

namespace weir::migrate {

struct Imported {
  std::string weir_toml;
  std::string users_toml;            // passwords: to be kept from others
  std::vector<std::string> notes;    // "pgbouncer.ini:12: server_reset_query: ...": what has no counterpart, and what Weir does instead
};

// `databases`: the names that the fallback database "*" stands for; Weir serves only databases it knows by name. Reads the file, what it
// includes and its auth_file. Throws Failure: a file that cannot be read or understood, or no database to serve.
[[nodiscard]] Imported import_pgbouncer(const std::string& ini, const std::vector<std::string>& databases);

}  // namespace weir::migrate
