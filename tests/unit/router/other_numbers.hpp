// For tests that run one plan again with other values.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "router/lexer.hpp"

namespace weir::router::testing {

// The same statement with other numbers below `limit`, if the plan cache takes it for the same; else `sql`.
inline std::string with_other_numbers(const std::string& sql, const Lifted& lifted, std::mt19937_64& random, std::uint64_t limit) {
  std::string out;
  std::size_t at = 0;
  for (const Literal& literal : lifted.literals) {
    out += sql.substr(at, literal.offset - at);
    at = literal.offset + literal.length;
    out += literal.kind == LiteralClass::int4 ? std::to_string(random() % limit) : sql.substr(literal.offset, literal.length);
  }
  out += sql.substr(at);
  Lifted again;
  lift(out, true, again);
  return again.key == lifted.key ? out : sql;
}

}  // namespace weir::router::testing
