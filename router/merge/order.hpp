// ValueOrder: how the values of one type are ordered, by PostgreSQL's btree rules, from their binary format.
// https://www.postgresql.org/docs/15/btree-behavior.html
#pragma once

#include <cstdint>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "router/merge/collation.hpp"

namespace weir::router::merge {

// Copyable; immutable.
class ValueOrder {
 public:
  // By the type's OID. `collation` is for text, varchar and char(n): nullptr where the caller knows none, which fails
  // for these. Fails (0A000, naming the type) for types whose order only PostgreSQL knows: enums, ranges, arrays ...
  static Result<ValueOrder> of(std::uint32_t type, CollationRef collation);
  // Does an order of the type need a collation?
  [[nodiscard]] static bool is_collatable(std::uint32_t type);

  // Is it a value of the type? compare() is for such only.
  [[nodiscard]] bool fits(ByteView value) const;
  // < 0, 0, > 0.
  [[nodiscard]] int compare(ByteView a, ByteView b) const;

 private:
  enum class Kind : std::uint8_t {
    boolean, byte, int2, int4, int8, uint4, uint8, float4, float8, numeric, timetz, interval, bytes, bits, inet, text, padded_text
  };
  struct Rule;
  static const Rule* find_rule(std::uint32_t type);
  ValueOrder(const Rule& rule, CollationRef collation);

  Kind kind_;
  std::uint32_t size_;        // of every value; 0: they vary
  CollationRef collation_;
};

}  // namespace weir::router::merge
