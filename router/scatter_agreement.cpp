// Does what each shard computes of the tables that all of them have come out the same everywhere? Rows have another order on each.
#include <algorithm>
#include <set>

#include "router/scatter_strategies.hpp"
#include "router/scatter_types.hpp"

namespace weir::router {
namespace {

bool is_order_free(const FuncCall& call, const ScatterContext& context) {
  if (call.over != nullptr) return false;
  if (!context.is_aggregate(call)) return true;
  const auto name = context.builtin_aggregate(call);
  if (!name) return false;
  for (const std::string_view free : {"count", "min", "max", "bool_and", "bool_or", "every", "bit_and", "bit_or"})
    if (*name == free) return true;
  const pg::ListOf<> arguments(call.args);
  return (*name == "sum" || *name == "avg") && arguments.size() == 1 && exact_type_of(arguments[0], context).has_value();
}

bool has_one_answer(const SelectStmt& select, const ScatterContext& context) {
  if (select.limitCount != nullptr || select.limitOffset != nullptr) return false;
  const pg::ListOf<> distinct(select.distinctClause);
  if (distinct.size() > 0 && distinct[0] != nullptr) return false;
  bool good = true;
  for_each_node(select.targetList, [&](Node* node) {
    if (const auto* call = pg::as<FuncCall>(node, T_FuncCall)) good &= is_order_free(*call, context);
    good &= !context.names_aggregate(node);
    return good;
  });
  return good;
}

}  // namespace

namespace {

// What ANY and ALL compare with: the order of its rows does not matter.
std::set<const SubLink*> compared_arrays(Node* statement) {
  std::set<const SubLink*> found;
  for_each_node(statement, [&](Node* node) {
    const auto* expr = pg::as<A_Expr>(node, T_A_Expr);
    if (expr == nullptr || (expr->kind != AEXPR_OP_ANY && expr->kind != AEXPR_OP_ALL)) return true;
    Node* array = expr->rexpr;
    while (const auto* cast = pg::as<TypeCast>(array, T_TypeCast)) array = cast->arg;
    if (const auto* link = pg::as<SubLink>(array, T_SubLink)) found.insert(link);
    return true;
  });
  return found;
}

// ORDER BY of the one column there is: rows that are equal by it are alike.
bool is_sorted_by_value(const SelectStmt& select) {
  const pg::ListOf<ResTarget> targets(select.targetList);
  const pg::ListOf<SortBy> sorting(select.sortClause);
  if (targets.size() != 1 || sorting.size() == 0) return false;
  const auto* number = pg::as<A_Const>(sorting[0]->node, T_A_Const);
  return number != nullptr || equal(sorting[0]->node, targets[0]->val);
}

// ARRAY (SELECT ...) of tables that each shard reads in an order of its own.
bool has_own_order(const SubLink& link, const ScatterContext& context) {
  if (link.subLinkType != ARRAY_SUBLINK) return false;
  const auto& items = context.binder().sharded_items();
  bool reads = false, sharded = false;
  for_each_node(link.subselect, [&](Node* node) {
    const auto* var = pg::as<RangeVar>(node, T_RangeVar);
    reads |= var != nullptr;
    sharded |= var != nullptr && std::any_of(items.begin(), items.end(), [&](const ShardedItem& i) { return i.var == var; });
    return true;
  });
  const auto* select = pg::as<SelectStmt>(link.subselect, T_SelectStmt);
  return reads && !sharded && (select == nullptr || !is_sorted_by_value(*select));
}

}  // namespace

bool shards_agree(const ScatterContext& context) {
  bool good = true;
  const std::set<const SubLink*> compared = compared_arrays(context.statement());
  for_each_node(context.statement(), [&](Node* node) {
    const auto* link = pg::as<SubLink>(node, T_SubLink);
    good &= link == nullptr || compared.contains(link) || !has_own_order(*link, context);
    const auto* select = pg::as<SelectStmt>(node, T_SelectStmt);
    if (select == nullptr || node == context.statement()) return good;
    const auto& items = context.binder().sharded_items();
    const bool sharded = std::any_of(items.begin(), items.end(), [&](const ShardedItem& i) { return i.query == select; });
    good &= sharded || has_one_answer(*select, context);
    return good;
  });
  return good;
}

}  // namespace weir::router
