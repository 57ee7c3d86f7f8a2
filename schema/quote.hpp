// Quoting of names and strings for the SQL that Weir itself writes.
#pragma once

#include <string>
#include <string_view>

namespace weir::schema {

// "name", inner quotes doubled. Always quoted: whether a bare word is reserved differs between versions.
[[nodiscard]] std::string quote_ident(std::string_view name);
[[nodiscard]] std::string quote_qualified(std::string_view schema, std::string_view name);
// 'text', or E'text' where a backslash occurs, so that it means the same with standard_conforming_strings on or off.
// https://www.postgresql.org/docs/15/libpq-exec.html#LIBPQ-PQESCAPELITERAL
[[nodiscard]] std::string quote_literal(std::string_view text);

}  // namespace weir::schema
