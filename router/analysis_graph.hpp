// KeyGraph: which columns are known to equal which values, and which equalities carry that knowledge.
//
// A node is one column of one FROM item. constant(n, V) says: a row of n's item matters only if n's value is one of V.
// implies(a, b) says: if that is known of a, it is known of b (b = a holds for every row of b's item that matters).
// An inner join's equality gives both directions, an outer join's only the one towards its nullable side, a
// correlated subquery's only the one inwards.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "router/plan.hpp"

namespace weir::router {

class KeyGraph {
 public:
  using Node = int;
  static constexpr Node kNone = -1;

  Node add();
  void constant(Node node, std::vector<KeySource> values);
  void implies(Node from, Node to);

  // Spreads the constants; those with a source that is not `usable` are left out. Linear in what was added.
  void solve(const std::function<bool(const KeySource&)>& usable);

  // For each node: is a value of `from` known for it, too?
  [[nodiscard]] std::vector<bool> reachable(Node from) const;

  // After solve(): the shortest list of values known for the node; nullptr: none.
  [[nodiscard]] const std::vector<KeySource>* values(Node node) const;

 private:
  struct Constant {
    Node node;
    std::vector<KeySource> values;
  };
  std::vector<Constant> constants_;
  std::vector<std::vector<Node>> edges_;
  std::vector<int> solved_;  // per node: index into constants_, -1: none
};

}  // namespace weir::router
