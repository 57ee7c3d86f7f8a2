// FROM lists: items, joins, and what their ON and USING clauses bind.
#include <algorithm>

#include "router/analysis_bind.hpp"

namespace weir::router {
namespace {

std::string_view alias_of(const Alias* alias) {
  return alias == nullptr ? std::string_view{} : pg::text(alias->aliasname);
}

// The name of a function in FROM without an alias; empty where the server makes one up.
std::string_view function_name(const RangeFunction& function) {
  const pg::ListOf<> functions(function.functions);
  if (functions.size() == 0) return {};
  const pg::ListOf<> first(reinterpret_cast<List*>(functions[0]));
  const auto* call = first.size() == 0 ? nullptr : pg::as<FuncCall>(first[0], T_FuncCall);
  return call == nullptr ? std::string_view{} : pg::name_of(call->funcname).name;
}

}  // namespace

void Binder::from(const List* clause, Level& level, const CteScope* ctes) {
  for (Node* item : pg::ListOf<>(clause)) add_from(item, level, ctes);
}

void Binder::add_from(Node* item, Level& level, const CteScope* ctes) {
  Side side = from_item(item, level, ctes);
  level.all.natural |= side.natural;
  std::move(side.merged.begin(), side.merged.end(), std::back_inserter(level.all.merged));
}

Side Binder::opaque(std::string_view name, Level& level, bool unqualified) {
  Item item;
  item.name = name;
  item.unqualified = unqualified;
  const std::size_t at = level.add(std::move(item));
  return {.begin = at, .end = at + 1, .natural = false, .merged = {}};
}

Side Binder::from_item(Node* node, Level& level, const CteScope* ctes) {
  ++nesting_;
  too_deep_ |= nesting_ > kMaxNesting;
  Side side{level.items.size(), level.items.size(), false, {}};
  if (too_deep_) {
    --nesting_;
    return side;
  }
  switch (node->type) {
    case T_RangeVar:
      side = relation_item(*reinterpret_cast<RangeVar*>(node), level, ctes);
      break;
    case T_RangeSubselect: {
      const auto& sub = *reinterpret_cast<RangeSubselect*>(node);
      query(sub.subquery, ctes, sub.lateral ? &level : level.parent);
      side = opaque(alias_of(sub.alias), level);
      break;
    }
    case T_RangeFunction: {
      const auto& function = *reinterpret_cast<RangeFunction*>(node);
      walk(function.functions, level, ctes);
      walk(function.coldeflist, level, ctes);
      side = opaque(function.alias != nullptr ? alias_of(function.alias) : function_name(function), level);
      break;
    }
    case T_RangeTableSample: {
      const auto& sample = *reinterpret_cast<RangeTableSample*>(node);
      side = from_item(sample.relation, level, ctes);
      walk(sample.args, level, ctes);
      walk(sample.repeatable, level, ctes);
      break;
    }
    case T_RangeTableFunc: {
      const auto& function = *reinterpret_cast<RangeTableFunc*>(node);
      for (void* part : {static_cast<void*>(function.docexpr), static_cast<void*>(function.rowexpr),
                         static_cast<void*>(function.namespaces), static_cast<void*>(function.columns)})
        walk(part, level, ctes);
      side = opaque(function.alias != nullptr ? alias_of(function.alias) : "xmltable", level);
      break;
    }
    case T_JoinExpr:
      side = join(*reinterpret_cast<JoinExpr*>(node), level, ctes);
      break;
    default:
      refuse("an item of a FROM list cannot be routed", "Run the statement on a shard's database directly.");
  }
  --nesting_;
  return side;
}

std::size_t Binder::add_table(const RangeVar& var, const schema::Relation* relation, Level& level) {
  Item item;
  item.var = &var;
  item.name = var.alias != nullptr ? alias_of(var.alias) : pg::text(var.relname);
  item.relation = relation;
  if (relation != nullptr) {
    if (var.alias == nullptr) item.schema = relation->schema;
    for (const schema::Column& column : relation->columns) item.columns.push_back(column.name);
    std::size_t i = 0;
    if (var.alias != nullptr)
      for (Node* renamed : pg::ListOf<>(var.alias->colnames)) {
        if (i < item.columns.size()) item.columns[i] = pg::text(renamed);
        ++i;
      }
  }
  const std::size_t at = level.add(std::move(item));
  if (relation != nullptr && relation->placement == schema::Placement::sharded) {
    needs_.push_back({relation, node_of({&level, at, relation->key_column}), {}, false});
    sharded_at_.emplace(&var, sharded_items_.size());
    sharded_items_.push_back({&var, relation, needs_.back().node, level.query, root_, false});
  }
  return at;
}

Side Binder::relation_item(const RangeVar& var, Level& level, const CteScope* ctes) {
  if (var.schemaname == nullptr && ctes != nullptr && ctes->has(pg::text(var.relname))) {
    visited_.insert(&var);
    return opaque(var.alias != nullptr ? alias_of(var.alias) : pg::text(var.relname), level);
  }
  const std::size_t at = add_table(var, name(var, Access::read), level);
  return {at, at + 1, false, {}};
}

Side Binder::join(const JoinExpr& join, Level& level, const CteScope* ctes) {
  Side left = from_item(join.larg, level, ctes);
  Side right = from_item(join.rarg, level, ctes);
  if (join.jointype != JOIN_INNER && join.jointype != JOIN_LEFT) make_nullable(left, level);
  if (join.jointype != JOIN_INNER && join.jointype != JOIN_RIGHT) make_nullable(right, level);
  Side both{left.begin, std::max(left.end, right.end), left.natural || right.natural || join.isNatural, left.merged};
  both.merged.insert(both.merged.end(), right.merged.begin(), right.merged.end());
  merge_using(join, level, left, right, both);
  join_condition(join, level, left, right, both, ctes);
  if (join.join_using_alias != nullptr) both.end = opaque(alias_of(join.join_using_alias), level, false).end;
  if (join.alias == nullptr) return both;
  for (std::size_t i = both.begin; i < both.end; ++i) level.items[i].visible = false;
  return {both.begin, opaque(alias_of(join.alias), level).end, false, {}};
}

void Binder::make_nullable(const Side& side, const Level& level) {
  for (std::size_t i = side.begin; i < side.end; ++i)
    if (const auto at = sharded_at_.find(level.items[i].var); at != sharded_at_.end()) sharded_items_[at->second].nullable = true;
}

// JOIN ... USING: equality of the columns, and one merged column: the left one's value unless the join is a RIGHT or
// FULL one.
void Binder::merge_using(const JoinExpr& join, Level& level, const Side& left, const Side& right, Side& both) {
  for (Node* field : pg::ListOf<>(join.usingClause)) {
    const std::string_view column = pg::text(field);
    const Resolved l = find_in_side(level, left, column);
    const Resolved r = find_in_side(level, right, column);
    std::erase_if(both.merged, [&](const auto& merged) { return merged.first == column; });
    std::optional<ColumnAt> merged;
    if (l.state == Lookup::found && r.state == Lookup::found) {
      if (join.jointype == JOIN_INNER) carry(l.at, r.at, {&level, &both, both.begin, both.end});
      if (join.jointype == JOIN_LEFT) carry(l.at, r.at, {&level, &both, right.begin, right.end});
      if (join.jointype == JOIN_RIGHT) carry(l.at, r.at, {&level, &both, left.begin, left.end});
      if (join.jointype == JOIN_INNER || join.jointype == JOIN_LEFT) merged = l.at;
      if (join.jointype == JOIN_RIGHT) merged = r.at;
    }
    both.merged.emplace_back(column, merged);
  }
}

// An inner join's ON binds both sides, an outer join's only the nullable one, a full join's none.
void Binder::join_condition(const JoinExpr& join, Level& level, const Side& left, const Side& right, Side& both,
                            const CteScope* ctes) {
  if (join.quals == nullptr) return;
  const Side outside = std::exchange(level.all, both);  // names in ON mean the join's operands
  Condition where{&level, &both, both.begin, both.end};
  if (join.jointype == JOIN_LEFT) where.begin = right.begin, where.end = right.end;
  if (join.jointype == JOIN_RIGHT) where.begin = left.begin, where.end = left.end;
  if (join.jointype == JOIN_FULL) where.end = where.begin;
  conditions(join.quals, where);
  walk(join.quals, level, ctes);
  level.all = outside;
}

}  // namespace weir::router
