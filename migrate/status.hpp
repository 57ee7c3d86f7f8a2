// weirctl status: every backend of a database as it is.
#pragma once

#include <ostream>

#include "config/settings.hpp"

namespace weir::migrate {

// Prints one line a backend: reachable, role, identity, map version, lag, buckets. Returns false if one of them is not
// what weir.toml says (then its line says why).
[[nodiscard]] bool status(const config::Database& database, std::ostream& out);

}  // namespace weir::migrate
