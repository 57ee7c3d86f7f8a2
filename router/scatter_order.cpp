#include "router/scatter_order.hpp"

namespace weir::router {
namespace {

// A plain number, or a parameter, casts to integers aside.
std::optional<RowCount> read_count(Node* node, const ScatterContext& context) {
  if (node == nullptr) return RowCount{};
  while (const auto* cast = pg::as<TypeCast>(node, T_TypeCast)) {
    const pg::Name type = pg::name_of(cast->typeName->names);
    if (type.schema != "pg_catalog" || (type.name != "int4" && type.name != "int8")) return std::nullopt;
    node = cast->arg;
  }
  if (const auto* parameter = pg::as<ParamRef>(node, T_ParamRef)) {
    if (parameter->number < 1) return std::nullopt;
    return RowCount{RowCount::Kind::parameter, static_cast<std::uint64_t>(parameter->number - 1)};
  }
  const auto* constant = pg::as<A_Const>(node, T_A_Const);
  if (constant == nullptr) return std::nullopt;
  if (constant->isnull) return RowCount{};
  if (const auto literal = context.literal_of(node)) {
    const LiteralClass kind = context.input().literals[*literal].kind;
    const bool minus = context.input().sql[static_cast<std::size_t>(constant->location)] == '-';
    if (minus || (kind != LiteralClass::int4 && kind != LiteralClass::int8)) return std::nullopt;
    return RowCount{RowCount::Kind::literal, *literal};
  }
  if (constant->val.node.type != T_Integer || constant->val.ival.ival < 0) return std::nullopt;
  return RowCount{RowCount::Kind::fixed, static_cast<std::uint64_t>(constant->val.ival.ival)};
}

std::string_view bare_name(Node* node) {
  const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef);
  if (ref == nullptr) return {};
  const pg::ListOf<> fields(ref->fields);
  return fields.size() == 1 ? pg::text(fields[0]) : std::string_view{};
}

std::optional<SortColumn> direction(const SortBy& by) {
  if (by.sortby_dir == SORTBY_USING || by.useOp != nullptr) return std::nullopt;
  SortColumn column;
  column.descending = by.sortby_dir == SORTBY_DESC;
  column.nulls_first = by.sortby_nulls == SORTBY_NULLS_DEFAULT ? column.descending : by.sortby_nulls == SORTBY_NULLS_FIRST;
  return column;
}

}  // namespace

std::optional<Limits> read_limits(const SelectStmt& select, const ScatterContext& context) {
  const auto limit = read_count(select.limitCount, context), offset = read_count(select.limitOffset, context);
  if (!limit || !offset || (select.limitCount != nullptr && context.may_have_ties())) return std::nullopt;
  return Limits{*limit, *offset};
}

bool has_star(const List* targets) {
  for (const ResTarget* target : pg::ListOf<ResTarget>(targets))
    if (is_star(target->val)) return true;
  return false;
}

ResTarget* by_ordinal(Node* item, const List* targets, bool& bad) {
  const auto* constant = pg::as<A_Const>(item, T_A_Const);
  if (constant == nullptr) return nullptr;
  const pg::ListOf<ResTarget> list(targets);
  const bool number = !constant->isnull && constant->val.node.type == T_Integer;
  const int at = number ? constant->val.ival.ival : 0;
  bad = !number || at < 1 || static_cast<std::size_t>(at) > list.size() || has_star(targets);
  return bad ? nullptr : list[static_cast<std::size_t>(at - 1)];
}

ResTarget* by_name(Node* item, const List* targets, bool& bad) {
  const std::string_view name = bare_name(item);
  if (name.empty()) return nullptr;
  ResTarget* found = nullptr;
  for (ResTarget* target : pg::ListOf<ResTarget>(targets)) {
    if (is_star(target->val)) continue;
    const auto output = output_name(*target);
    bad |= !output;
    if (!output || *output != name) continue;
    bad |= found != nullptr;  // the same expression twice, or an error
    found = target;
  }
  return found;
}

std::optional<Sorting> read_sorting(const SelectStmt& select, const ScatterContext& context) {
  Sorting sorting;
  for (const SortBy* by : pg::ListOf<SortBy>(select.sortClause)) {
    auto column = direction(*by);
    if (!column) return std::nullopt;
    bool bad = false;
    const ResTarget* target = by_ordinal(by->node, select.targetList, bad);
    if (target == nullptr && !bad) target = by_name(by->node, select.targetList, bad);
    if (bad) return std::nullopt;
    Node* value = target != nullptr ? target->val : by->node;
    // A name that neither is a column of a table nor stands in the list: a column of a subquery, or of a star's.
    if (target == nullptr && !bare_name(value).empty() && !context.meaning(value)) return std::nullopt;
    const auto collation = context.collation_of(value);
    column->collation_known = collation.has_value();
    column->collation = collation.value_or("");
    sorting.values.push_back(value);
    sorting.order.push_back(std::move(*column));
  }
  return sorting;
}

std::optional<std::vector<SortColumn>> read_set_sorting(const SelectStmt& select, const List* first_targets,
                                                        std::vector<std::size_t>& positions) {
  std::vector<SortColumn> order;
  const pg::ListOf<ResTarget> targets(first_targets);
  for (const SortBy* by : pg::ListOf<SortBy>(select.sortClause)) {
    auto column = direction(*by);
    bool bad = has_star(first_targets);
    const ResTarget* target = by_ordinal(by->node, first_targets, bad);
    if (target == nullptr && !bad) target = by_name(by->node, first_targets, bad);
    if (bad || !column || target == nullptr) return std::nullopt;
    for (std::size_t i = 0; i < targets.size(); ++i)
      if (targets[i] == target) positions.push_back(i);
    order.push_back(std::move(*column));
  }
  return order;
}

}  // namespace weir::router
