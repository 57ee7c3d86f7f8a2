// Lexer: one pass over a statement that lifts literals out of it. The result is the plan cache's key.
//
// It must agree with PostgreSQL's scanner (src/backend/parser/scan.l of PostgreSQL 15) on where tokens begin and end;
// where it is in doubt it says so (`certain = false`) and the statement takes a full parse that is not cached by lifted
// text. https://www.postgresql.org/docs/15/sql-syntax-lexical.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "router/plan.hpp"

namespace weir::router {

// A longer key is not worth caching: lift() gives up (certain = false) as soon as it is reached.
inline constexpr std::size_t kMaxKeyBytes = 8192;

// Reused from statement to statement, so that lifting does not allocate in the steady state.
struct Lifted {
  std::vector<std::uint8_t> key;  // canonical token stream (router/lexer_key.hpp); empty unless certain
  std::vector<Literal> literals;  // in text order; empty unless certain
  std::uint64_t hash = 0;         // keyed hash of `key`; only finds, never decides
  bool certain = true;            // equal keys mean equal token streams but for the values of `literals`
};

// Lifts `sql`. Kept in the key with their values: ordinals of ORDER BY / GROUP BY / DISTINCT ON, type modifiers,
// strings given to functions and types that are not known to be plain computations (nextval, set_config, query_to_xml,
// regclass ...), everything in utility statements, in EXPLAIN and in strings of several statements, and comments that
// begin with "weir:". Other comments and blanks are dropped; unquoted identifiers are folded as PostgreSQL does in UTF8.
// Not certain: NUL bytes, anything unterminated, U& strings and names, string continuation over lines, junk after a
// number, a comment behind a minus, backslashes while standard_conforming_strings is off, nesting deeper than 128, keys
// over kMaxKeyBytes.
void lift(std::string_view sql, bool standard_conforming_strings, Lifted& out);

}  // namespace weir::router
