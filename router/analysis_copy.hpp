// COPY of listed tables: its options, and its plan over several shards.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "router/analysis.hpp"
#include "router/copy/copy_plan.hpp"
#include "router/pg_tree.hpp"
#include "router/scatter_plan.hpp"

namespace weir::router {

// Between the server and its client, of a table that is named?
[[nodiscard]] bool copies_table(const Node* stmt);

// FROM: every row to the shard of its key, or (a reference table) to every shard. TO: the rows of every shard. Errors are 0A000.
[[nodiscard]] Result<std::shared_ptr<const ScatterPlan>> plan_copy(const CopyStmt& stmt, const schema::Relation& table, const AnalysisInput& input);

// COPY (SELECT ...) TO STDOUT, whose query is answered by `query`: each shard copies its rows, where they are passed on in any order; else the query's rows
// are written as a COPY's.
[[nodiscard]] Result<std::shared_ptr<const ScatterPlan>> plan_copy_of_query(const CopyStmt& stmt, const ScatterPlan& query);

}  // namespace weir::router
