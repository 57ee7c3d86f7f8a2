// Lexer: one pass over a statement that lifts literals out of it. The result is the plan cache's key.
//
// It must agree with PostgreSQL's scanner (src/backend/parser/scan.l of PostgreSQL 15) on where tokens begin and end; where it
// is in doubt it says so (`certain = false`) and the statement takes a full parse that is not cached by lifted text.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "router/plan.hpp"

namespace weir::router {

// Reused from statement to statement, so that lifting does not allocate in the steady state.
struct Lifted {
  std::vector<std::uint8_t> key;      // canonical token stream: literals replaced by their class
  std::vector<Literal> literals;      // in text order
  std::uint64_t hash = 0;             // keyed hash of `key`; only finds, never decides
  bool certain = true;
};

// Lifts `sql`. Not lifted (they stay in the key): ordinals in ORDER BY / GROUP BY / DISTINCT ON, type modifiers, LIMIT-free contexts that change
// meaning, arguments of regclass-like casts and other places named in design §6; utility statements are kept whole.
// A comment that begins "/* weir:" stays in the key.
void lift(std::string_view sql, bool standard_conforming_strings, Lifted& out);

}  // namespace weir::router
