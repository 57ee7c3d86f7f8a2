// Connection strings: read, overridden and written again by libpq's own rules, never by hand.
// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING
#pragma once

#include <map>
#include <string>

namespace weir::client {

using ConninfoMap = std::map<std::string, std::string>;

// Keyword/value text or a URI, to its parts. Throws pqxx::argument_error with libpq's message.
[[nodiscard]] ConninfoMap parse_conninfo(const std::string& conninfo);
// The inverse; values are quoted.
[[nodiscard]] std::string format_conninfo(const ConninfoMap& parts);
// `base` with the parameters of `overrides` put over it.
[[nodiscard]] std::string merge_conninfo(const std::string& base, const std::string& overrides);
// "10.0.0.1:5432/app", for messages: no password in it.
[[nodiscard]] std::string conninfo_label(const std::string& conninfo);

// What every connection of Weir's own gets: no GSSAPI negotiation, a bound on unacknowledged data, a name in
// pg_stat_activity. The string's own values win over these.
[[nodiscard]] std::string with_weir_defaults(const std::string& conninfo, const std::string& application_name);

}  // namespace weir::client
