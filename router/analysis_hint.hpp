// Puts a statement where its user says that it runs: hints in front of it, or settings of the session (router/hint.hpp).
#pragma once

#include <string_view>

#include "router/analysis.hpp"
#include "router/pg_tree.hpp"
#include "router/plan.hpp"

namespace weir::router {

// `statement` is its own text, with the comments in front of it. A hint in it goes before the session's. What no place can be named for
// (transaction control, prepared statements by SQL) is refused with a hint in front of it, and left as it is with the session's.
void place_by_hints(Plan& plan, std::string_view statement, const AnalysisInput& input);

// SET, RESET and SHOW of weir.*: true if `stmt` is one, and `plan` says what it does, or refuses it.
bool classify_own_setting(const Node* stmt, const schema::Catalog& catalog, Plan& plan);

}  // namespace weir::router
