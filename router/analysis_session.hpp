// Statements about the session or transaction whose meaning takes a look at the tree or the catalog: SELECT set_config('search_path', ...), which is
// followed as SET is, and SET CONSTRAINTS.
#pragma once

#include <optional>

#include "router/analysis.hpp"
#include "router/pg_tree.hpp"
#include "router/plan.hpp"

namespace weir::router {

// `stmt` sets search_path by set_config() and does nothing else, and its arguments can be read: the value is a constant or a parameter, is_local a
// constant. None: it is another statement.
[[nodiscard]] std::optional<PathCall> path_call(const Node* stmt);

// Where SET CONSTRAINTS belongs. Stays Verb::set_constraints, for every server of the transaction, if it names ALL, constraints that every shard
// has, or unknown ones (the servers say so); becomes a statement of the home shard if only that has them.
void place_constraints(const ConstraintsSetStmt& stmt, const AnalysisInput& input, Plan& plan);

}  // namespace weir::router
