// weirctl route: what the proxy would do with a statement, and why.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "config/settings.hpp"

namespace weir::migrate {

struct RouteRequest {
  std::string sql;
  std::vector<std::string> parameters;  // of $1, $2, ... in text format
  std::string search_path;              // empty: the database's default
  bool connect = false;                 // load the catalog from the home shard; else from the table rules alone
};

// Prints plan, why, tables, keys with their buckets, shard, primary or replica, effects. False if the statement is
// refused (printed with SQLSTATE, message and hint as a client would see them).
[[nodiscard]] bool route(const config::Database& database, const RouteRequest& request, std::ostream& out);

}  // namespace weir::migrate
