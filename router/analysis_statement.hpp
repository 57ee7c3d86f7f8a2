// One statement of a text to a plan.
#pragma once

#include <string_view>

#include "router/analysis.hpp"
#include "router/pg_tree.hpp"
#include "router/plan.hpp"

namespace weir::router {

// `sql` is the statement's own text, for messages. `plan.literals` is left to the caller. A tree that is too deep gives
// Verb::unparsable.
[[nodiscard]] Plan analyse_statement(Node* stmt, std::string_view sql, const AnalysisInput& input);

// Several statements in one string: their plans made into one.
[[nodiscard]] Plan combine(std::vector<Plan> plans, bool sharded);

// What nobody could look into: on a plain database it goes home and spoils the server for others, else it is refused.
[[nodiscard]] Plan unparsable(bool sharded, Error why);

}  // namespace weir::router
