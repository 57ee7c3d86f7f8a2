#include "router/analysis_graph.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace weir::router {

KeyGraph::Node KeyGraph::add() {
  edges_.emplace_back();
  return static_cast<Node>(edges_.size()) - 1;
}

void KeyGraph::constant(Node node, std::vector<KeySource> values) { constants_.push_back({node, std::move(values)}); }

void KeyGraph::implies(Node from, Node to) { edges_[static_cast<std::size_t>(from)].push_back(to); }

// Shortest list first, so each node is visited once and keeps the best it can get.
void KeyGraph::solve(const std::function<bool(const KeySource&)>& usable) {
  solved_.assign(edges_.size(), -1);
  std::vector<int> order(constants_.size());
  std::iota(order.begin(), order.end(), 0);
  const auto size = [this](int i) { return constants_[static_cast<std::size_t>(i)].values.size(); };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return size(a) < size(b); });
  std::vector<Node> pending;
  for (const int i : order) {
    const Constant& constant = constants_[static_cast<std::size_t>(i)];
    if (!std::all_of(constant.values.begin(), constant.values.end(), usable)) continue;
    pending.push_back(constant.node);
    while (!pending.empty()) {
      const auto at = static_cast<std::size_t>(pending.back());
      pending.pop_back();
      if (solved_[at] >= 0) continue;
      solved_[at] = i;
      pending.insert(pending.end(), edges_[at].begin(), edges_[at].end());
    }
  }
}

std::vector<bool> KeyGraph::reachable(Node from) const {
  std::vector<bool> seen(edges_.size());
  std::vector<Node> pending{from};
  while (!pending.empty()) {
    const auto at = static_cast<std::size_t>(pending.back());
    pending.pop_back();
    if (seen[at]) continue;
    seen[at] = true;
    pending.insert(pending.end(), edges_[at].begin(), edges_[at].end());
  }
  return seen;
}

const std::vector<KeySource>* KeyGraph::values(Node node) const {
  if (node == kNone || solved_.empty()) return nullptr;
  const int i = solved_[static_cast<std::size_t>(node)];
  return i < 0 ? nullptr : &constants_[static_cast<std::size_t>(i)].values;
}

}  // namespace weir::router
