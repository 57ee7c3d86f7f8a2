#include "router/key_expression.hpp"

#include <limits>

namespace weir::router {
namespace {

using schema::KeyType;
using Kind = KeyExpression::Kind;
using State = KeyResult::State;

template <typename Int>
bool fits(__int128 value) {
  return value >= std::numeric_limits<Int>::min() && value <= std::numeric_limits<Int>::max();
}

KeyResult in_range(KeyType type, __int128 value) {
  const bool right = type == KeyType::int2   ? fits<std::int16_t>(value)
                     : type == KeyType::int4 ? fits<std::int32_t>(value)
                                             : fits<std::int64_t>(value);
  return right ? KeyResult{State::value, static_cast<std::int64_t>(value)} : KeyResult{};
}

KeyResult combine(Kind kind, KeyType type, __int128 a, __int128 b) {
  switch (kind) {
    case Kind::leaf:
    case Kind::cast: return in_range(type, a);
    case Kind::negate: return in_range(type, -a);
    case Kind::absolute: return in_range(type, a < 0 ? -a : a);
    case Kind::add: return in_range(type, a + b);
    case Kind::subtract: return in_range(type, a - b);
    case Kind::multiply: return in_range(type, a * b);
    case Kind::divide: return b == 0 ? KeyResult{} : in_range(type, a / b);
    case Kind::modulo: return b == 0 ? KeyResult{} : in_range(type, a % b);
  }
  return {};
}

}  // namespace

KeyResult evaluate(const KeyExpression& expression, const std::function<KeyResult(const KeySource&)>& leaf_of) {
  const KeyResult left = expression.left ? evaluate(*expression.left, leaf_of) : leaf_of(expression.leaf);
  const KeyResult right = expression.right ? evaluate(*expression.right, leaf_of) : KeyResult{State::value, 0};
  if (left.state == State::unknown || right.state == State::unknown) return {};
  if (left.state == State::null || right.state == State::null) return {State::null, 0};
  return combine(expression.kind, expression.type, left.value, right.value);
}

void for_each_leaf(const KeySource& source, const std::function<void(const KeySource&)>& visit) {
  if (!source.computed) return visit(source);
  const auto walk = [&visit](const auto& self, const KeyExpression& e) -> void {
    if (!e.left) return visit(e.leaf);
    self(self, *e.left);
    if (e.right) self(self, *e.right);
  };
  walk(walk, *source.computed);
}

}  // namespace weir::router
