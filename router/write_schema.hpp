// Where DDL and its like belong in a sharded database: on every shard what concerns listed tables or no table at all, on the home shard what
// concerns tables that are there only.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "router/analysis.hpp"
#include "router/analysis_bind.hpp"
#include "router/classify.hpp"
#include "router/scatter_plan.hpp"

namespace weir::router {

struct SchemaAnswer {
  enum class Where : std::uint8_t {
    elsewhere,  // not a statement of this kind
    home,
    every,      // `plan`
    refused,    // `refusal`
  };
  Where where = Where::elsewhere;
  std::shared_ptr<const ScatterPlan> plan;
  std::optional<Error> refusal;
};

// `utility` is what classify_utility() made of `stmt`; `binder` has seen all that it names. `construct`: for messages.
[[nodiscard]] SchemaAnswer plan_schema(Node* stmt, const Utility& utility, const AnalysisInput& input, const Binder& binder,
                                       const std::string& construct);

// `stmt`: DDL or its like, no temporary table's.
[[nodiscard]] SchemaChange schema_change_of(const Node* stmt, const schema::Catalog& catalog);

}  // namespace weir::router
