// The planner of SELECTs over several shards (router/scatter_plan.hpp).
#pragma once

#include <memory>
#include <optional>

#include "router/analysis.hpp"
#include "router/analysis_bind.hpp"
#include "router/analysis_survey.hpp"
#include "router/scatter_plan.hpp"

namespace weir::router {

struct ScatterAnswer {
  std::shared_ptr<const ScatterPlan> plan;  // null: `refusal` says why
  std::optional<Error> refusal;
};

// `select` is the whole of a text of one statement that only reads, and `binder` has finished. `one_shard`: why one shard
// does not answer it; becomes the plan's refusal. Behind this call no node of the tree may be made: it leaves the
// memory context of the ParsedText.
[[nodiscard]] ScatterAnswer plan_scatter(SelectStmt* select, const AnalysisInput& input, const Survey& survey,
                                         const Binder& binder, const Error& one_shard);

}  // namespace weir::router
