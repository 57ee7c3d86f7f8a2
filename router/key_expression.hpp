// KeyExpression: an expression of integers that is a sharding key's value: VALUES (1 + 1), WHERE user_id = $1::bigint % 10. It is computed here only to
// find the shard; the server computes it again, by the same rules.
// https://www.postgresql.org/docs/15/functions-math.html
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "router/plan.hpp"

namespace weir::router {

struct KeyExpression {
  enum class Kind : std::uint8_t { leaf, cast, negate, absolute, add, subtract, multiply, divide, modulo };
  Kind kind = Kind::leaf;
  schema::KeyType type = schema::KeyType::int8;   // of its value: int2, int4 or int8
  KeySource leaf;                                 // a literal, a constant or a parameter
  std::shared_ptr<const KeyExpression> left, right;   // right: of two operands
};

// How a value came out. unknown: PostgreSQL raises an error (22003, 22012), or it is not certain what it does.
struct KeyResult {
  enum class State : std::uint8_t { value, null, unknown };
  State state = State::unknown;
  std::int64_t value = 0;
};

// `leaf_of` gives the values of leaves.
[[nodiscard]] KeyResult evaluate(const KeyExpression& expression, const std::function<KeyResult(const KeySource&)>& leaf_of);

// The source itself, or all leaves of what it is computed from.
void for_each_leaf(const KeySource& source, const std::function<void(const KeySource&)>& visit);

}  // namespace weir::router
