// ORDER BY, LIMIT and OFFSET over several shards.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/scatter_context.hpp"

namespace weir::router {

struct Limits {
  RowCount limit, offset;
};
// None: an expression, or WITH TIES.
[[nodiscard]] std::optional<Limits> read_limits(const SelectStmt& select, const ScatterContext& context);

// Output columns by position, without stars.
[[nodiscard]] bool has_star(const List* targets);
// The one of `targets` that an item of ORDER BY, GROUP BY or DISTINCT ON means by ordinal; null: it is no ordinal, or the
// position cannot be told (`bad`).
[[nodiscard]] ResTarget* by_ordinal(Node* item, const List* targets, bool& bad);
// The one that it means by a bare output name; null: none.
[[nodiscard]] ResTarget* by_name(Node* item, const List* targets, bool& bad);

// How the rows of one SELECT are sorted: what the hidden columns hold, in the order of `order`.
struct Sorting {
  std::vector<Node*> values;
  std::vector<SortColumn> order;
};
// None: it cannot be merged by columns.
[[nodiscard]] std::optional<Sorting> read_sorting(const SelectStmt& select, const ScatterContext& context);
// Of a set operation: `positions` (from 0) among the output columns instead of values; collations are left to the caller.
[[nodiscard]] std::optional<std::vector<SortColumn>> read_set_sorting(const SelectStmt& select, const List* first_targets,
                                                                      std::vector<std::size_t>& positions);

}  // namespace weir::router
