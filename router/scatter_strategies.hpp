// The strategies of the planner, each a try: none, if it is not certain that it answers the statement.
#pragma once

#include <optional>
#include <vector>

#include "router/scatter_context.hpp"

namespace weir::router {

// Tables of one query of which each alone decides where a row of the query lies: every sharded table of the statement part
// `root` has the key of the row's, or does not matter. Empty: the rows are not computed shard by shard.
[[nodiscard]] std::vector<const ShardedItem*> anchors_of(const SelectStmt* root, const Binder& binder);
// Does the expression name the key of one of them?
[[nodiscard]] bool is_key(Node* expr, const std::vector<const ShardedItem*>& anchors, const ScatterContext& context);
// What an item of GROUP BY means: an ordinal's, a column of the FROM list, an output name's expression. Null: not certain.
[[nodiscard]] Node* group_value(Node* item, const SelectStmt& select, const ScatterContext& context);
// Has the query itself (not its subqueries) aggregates, GROUP BY or HAVING?
[[nodiscard]] bool is_grouped(const SelectStmt& select, const ScatterContext& context);

// Is each row of the query made of rows of one key, and so on one shard? Aggregates, DISTINCT and windows included.
[[nodiscard]] bool is_by_shard(const SelectStmt& select, const ScatterContext& context);

// Does every subquery that reads no sharded table itself have one answer only? One that a LIMIT cuts, an aggregate that
// depends on the order of rows, or ARRAY (SELECT ...), may have another on each shard.
[[nodiscard]] bool shards_agree(const ScatterContext& context);

// Rows computed by shard (scatter_stream.cpp).
[[nodiscard]] std::optional<Candidate> plan_stream(const ScatterContext& context);
// Aggregates of partial aggregates (scatter_partial.cpp).
[[nodiscard]] std::optional<Candidate> plan_partial(const ScatterContext& context);
// Tables gathered (scatter_gather.cpp). `why`: what kept it from that.
[[nodiscard]] std::optional<Candidate> plan_gather(const ScatterContext& context, std::optional<Error>& why);

}  // namespace weir::router
