#include "router/analysis_session.hpp"

#include <algorithm>

#include "base/strings.hpp"

namespace weir::router {
namespace {

using schema::Placement;
using schema::Relation;

// SELECT <one expression>, and no other clause.
const ResTarget* only_target(const Node* stmt) {
  const auto* select = pg::as<SelectStmt>(stmt, T_SelectStmt);
  if (select == nullptr || select->op != SETOP_NONE || pg::ListOf<>(select->targetList).size() != 1) return nullptr;
  const bool more = select->distinctClause != nullptr || select->intoClause != nullptr || select->fromClause != nullptr || select->whereClause != nullptr ||
                    select->groupClause != nullptr || select->havingClause != nullptr || select->windowClause != nullptr || select->sortClause != nullptr ||
                    select->limitOffset != nullptr || select->limitCount != nullptr || select->lockingClause != nullptr || select->withClause != nullptr;
  return more ? nullptr : pg::as<ResTarget>(pg::ListOf<>(select->targetList)[0], T_ResTarget);
}

// set_config(a, b, c), of pg_catalog as far as its name says.
const FuncCall* set_config_call(const Node* node) {
  const auto* call = pg::as<FuncCall>(node, T_FuncCall);
  if (call == nullptr || pg::ListOf<>(call->args).size() != 3) return nullptr;
  const pg::Name name = pg::name_of(call->funcname);
  const bool plain = !call->func_variadic && !call->agg_star && !call->agg_distinct && call->agg_order == nullptr && call->agg_filter == nullptr && call->over == nullptr;
  return plain && name.name == "set_config" && (name.schema.empty() || name.schema == "pg_catalog") ? call : nullptr;
}

std::optional<std::string_view> string_of(const Node* node) {
  const auto* constant = pg::as<A_Const>(node, T_A_Const);
  if (constant == nullptr || constant->isnull || constant->val.node.type != T_String) return std::nullopt;
  return pg::text(constant->val.sval.sval);
}

bool has_constraint(const Relation& relation, std::string_view name) {
  const auto is_it = [&](const auto& constraint) { return constraint.name == name; };
  return std::any_of(relation.foreign_keys.begin(), relation.foreign_keys.end(), is_it) ||
         std::any_of(relation.unique_indexes.begin(), relation.unique_indexes.end(), is_it);
}

struct Places {
  bool everywhere = false, home = false;
};

// As PostgreSQL looks for it: all of that name in the first schema that has one.
Places places_of(const RangeVar& constraint, const AnalysisInput& input) {
  std::vector<std::string> schemas = input.search_path;
  if (constraint.schemaname != nullptr) schemas.assign(1, constraint.schemaname);
  Places places;
  for (const std::string& schema : schemas) {
    for (const Relation& relation : input.catalog->relations()) {
      if (relation.schema != schema || !has_constraint(relation, pg::text(constraint.relname))) continue;
      const bool listed = relation.placement == Placement::sharded || relation.placement == Placement::reference;
      (listed ? places.everywhere : places.home) = true;
    }
    if (places.everywhere || places.home) return places;
  }
  places.everywhere = true;   // a constraint trigger's, or no server knows it and says so
  return places;
}

}  // namespace

std::optional<PathCall> path_call(const Node* stmt) {
  const ResTarget* target = only_target(stmt);
  const FuncCall* call = target == nullptr ? nullptr : set_config_call(target->val);
  if (call == nullptr) return std::nullopt;
  const pg::ListOf<> arguments(call->args);
  const auto name = string_of(arguments[0]);
  const auto* local = pg::as<A_Const>(arguments[2], T_A_Const);
  if (!name || ascii_lower(*name) != "search_path") return std::nullopt;
  if (local == nullptr || local->isnull || local->val.node.type != T_Boolean) return std::nullopt;
  PathCall path{.local = local->val.boolval.boolval};
  if (const auto value = string_of(arguments[1])) {
    path.value = *value;
    return path;
  }
  const auto* parameter = pg::as<ParamRef>(arguments[1], T_ParamRef);
  if (parameter == nullptr || parameter->number < 1) return std::nullopt;
  path.parameter = static_cast<std::uint32_t>(parameter->number - 1);
  return path;
}

void place_constraints(const ConstraintsSetStmt& stmt, const AnalysisInput& input, Plan& plan) {
  Places places;
  for (const RangeVar* constraint : pg::ListOf<RangeVar>(stmt.constraints)) {
    const Places own = places_of(*constraint, input);
    places.everywhere |= own.everywhere;
    places.home |= own.home;
  }
  if (!places.home) return;
  plan.verb = Verb::utility;
  plan.target = Target::home;
  plan.why.push_back("the home shard alone has these constraints");
  if (!places.everywhere) return;
  plan.target = Target::refused;
  plan.refusal = Error(sqlstate::kFeatureNotSupported, "SET CONSTRAINTS names constraints that every shard has, and others that the home shard has only",
                       "Send a statement for each, or SET CONSTRAINTS ALL.");
}

}  // namespace weir::router
