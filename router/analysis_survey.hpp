// Survey: everything in a tree that does not depend on where names resolve. It sees every node (the library's own
// walker names the children) without recursion, so that no text overflows the stack.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "router/pg_tree.hpp"
#include "router/plan.hpp"
#include "schema/catalog.hpp"

namespace weir::router {

// A tree deeper than this is not analysed. PostgreSQL's own limit (max_stack_depth = 2MB) is of the same order.
inline constexpr std::size_t kMaxTreeDepth = 8000;

struct Survey {
  bool too_deep = false;
  NodeTag unknown_node = T_Invalid;  // a node that nobody has looked into
  int highest_parameter = 0;
  std::unordered_map<int, int> parameter_uses;  // $n: how often
  std::unordered_set<const RangeVar*>
      relations;          // every relation named as such (OF lists of locking clauses are aliases)
  bool writes = false;    // INSERT, UPDATE, DELETE or MERGE at any level
  bool into = false;      // SELECT INTO
  bool locking = false;   // FOR UPDATE and its kin
  bool read_only = true;  // as far as functions, operators and types go
  bool home = false;      // calls a built-in whose state is the home shard's
  std::string home_function;
  bool unread_setting = false;      // set_config(...) of what may change how the router must read statements
  bool own_setting = false;         // set_config('weir. ...', ...)
  std::string reads_data;           // a function that may read sharded tables; empty: none
  bool reads_data_unknown = false;  // ... because the catalog does not know it
  Effects effects;                  // of functions, operators and types
  std::vector<std::string> why;
};

// Adds what is in `root` to `out`.
void survey(Node* root, const schema::Catalog& catalog, Survey& out);

}  // namespace weir::router
