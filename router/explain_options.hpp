// The options of an EXPLAIN, for its parts.
#pragma once

#include "base/result.hpp"
#include "router/explain.hpp"
#include "router/pg_tree.hpp"

namespace weir::router {

// Fails (0A000) for formats in which no document can be made of several.
[[nodiscard]] Result<ExplainPlan> explain_plan(const ExplainStmt& stmt);

}  // namespace weir::router
