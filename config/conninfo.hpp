// libpq connection strings, taken apart without libpq: enough to see mistakes and where a string leads.
// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weir::config {

using ConninfoParameters = std::vector<std::pair<std::string, std::string>>;  // in the order written

// Both forms, "host=h dbname=d" and "postgresql://user@h:5432/d?sslmode=require"; otherwise what is wrong (never with
// a value in it: it may be a password). Several hosts come back as libpq has them, separated by commas.
[[nodiscard]] std::variant<ConninfoParameters, std::string> parse_conninfo(std::string_view conninfo);

// The last value given for `keyword`, as libpq takes it; empty: not given.
[[nodiscard]] std::string_view parameter(const ConninfoParameters& parameters, std::string_view keyword);

// What is wrong with `conninfo` as a backend's string (one host, a database, nothing that libpq would look up
// elsewhere, nothing that Weir's own login does not do); empty: nothing.
[[nodiscard]] std::string backend_conninfo_mistake(std::string_view conninfo);
// The same of one that need not name a database; and does a right one name one?
[[nodiscard]] std::string server_conninfo_mistake(std::string_view conninfo);
[[nodiscard]] bool names_a_database(std::string_view conninfo);
// What is wrong with `conninfo` as database.maintenance; empty: nothing.
[[nodiscard]] std::string overrides_conninfo_mistake(std::string_view conninfo);

// "host:port/dbname" of a valid backend string: two strings with the same one lead to the same database.
[[nodiscard]] std::string backend_address(std::string_view conninfo);

}  // namespace weir::config
