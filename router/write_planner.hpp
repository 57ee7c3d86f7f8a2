// The planner of writes over several shards (router/write_plan.hpp).
#pragma once

#include "router/analysis.hpp"
#include "router/analysis_bind.hpp"
#include "router/analysis_survey.hpp"
#include "router/scatter_planner.hpp"

namespace weir::router {

// `stmt` is an INSERT, UPDATE, DELETE, MERGE, or a query with one of them in it: the whole of a text of one statement; `binder` has finished.
// `one_shard`: why one shard does not do it; becomes the plan's refusal.
[[nodiscard]] ScatterAnswer plan_write(Node* stmt, const AnalysisInput& input, const Survey& survey, const Binder& binder,
                                       const Error& one_shard);

}  // namespace weir::router
