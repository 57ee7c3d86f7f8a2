// Does a query make one row of many? Its aggregates may stand where they are not looked for: in a subquery, if they name columns
// of the query alone (SELECT (SELECT count(u.id)) FROM users u), and in attribute notation (u.count).
// https://www.postgresql.org/docs/15/sql-expressions.html#SYNTAX-AGGREGATES
#include <algorithm>
#include <set>

#include "router/scatter_strategies.hpp"

namespace weir::router {
namespace {

using Tables = std::set<const RangeVar*>;

// Of a part of the tree; `own`: without its subqueries.
Tables tables_in(void* part, bool own) {
  Tables tables;
  for_each_node(part, [&](Node* node) {
    if (const auto* var = pg::as<RangeVar>(node, T_RangeVar)) tables.insert(var);
    return !own || !(pg::is(node, T_RangeSubselect) || pg::is(node, T_SubLink));
  });
  return tables;
}

std::string_view alias_of(const Alias* alias) { return alias == nullptr ? std::string_view{} : pg::text(alias->aliasname); }

bool has_output(const RangeSubselect& item, std::string_view name) {
  const auto* select = pg::as<SelectStmt>(item.subquery, T_SelectStmt);
  while (select != nullptr && select->op != SETOP_NONE) select = select->larg;
  if (select == nullptr || item.alias->colnames != nullptr) return false;
  const pg::ListOf<ResTarget> targets(select->targetList);
  return std::any_of(targets.begin(), targets.end(), [&](const ResTarget* target) { return !is_star(target->val) && output_name(*target) == name; });
}

class GroupFinder {
 public:
  GroupFinder(const SelectStmt& select, const ScatterContext& context)
      : select_(const_cast<SelectStmt*>(&select)), context_(context), tables_(tables_in(select.fromClause, true)) {}

  bool run() {
    for (void* part : {static_cast<void*>(select_->targetList), static_cast<void*>(select_->sortClause),
                       static_cast<void*>(select_->distinctClause), static_cast<void*>(select_->windowClause)})
      for_each_own_node(part, [&](Node* node) {
        const auto* call = pg::as<FuncCall>(node, T_FuncCall);
        found_ |= (call != nullptr && context_.is_aggregate(*call)) || is_attribute(node, true);
        if (const auto* link = pg::as<SubLink>(node, T_SubLink)) look_into(*link);
        return !found_;
      });
    return found_;
  }

 private:
  void look_into(const SubLink& link) {
    for_each_node(link.subselect, [&](Node* node) {
      auto* call = pg::as<FuncCall>(node, T_FuncCall);
      found_ |= (call != nullptr && context_.is_aggregate(*call) && may_be_own(*call)) || is_attribute(node, false);
      return !found_;
    });
  }

  // An aggregate in a subquery belongs to the innermost query whose columns stand in it. Where a name's query is not known, it may be this one.
  bool may_be_own(FuncCall& call) {
    const Tables within = tables_in(&call, false);
    bool names_any = false, names_inner = false;
    for_each_node(&call, [&](Node* node) {
      if (!pg::is(node, T_ColumnRef)) return true;
      const auto meaning = context_.meaning(node);
      if (meaning && within.contains(meaning->var)) return true;
      names_any = true;
      names_inner |= meaning && !tables_.contains(meaning->var);
      return true;
    });
    return names_any && !names_inner;
  }

  // `own`: not in a subquery.
  bool is_attribute(Node* node, bool own) {
    if (!context_.names_aggregate(node)) return false;
    const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef);
    return ref == nullptr || !is_output(*ref, own);
  }

  // "s.count" where every s that could be meant is a subquery in FROM with an output of that name.
  bool is_output(const ColumnRef& ref, bool own) {
    const pg::ListOf<> fields(ref.fields);
    const std::string_view item = pg::text(fields[fields.size() - 2]), name = pg::text(fields[fields.size() - 1]);
    bool found = false, other = false;
    for_each_node(own ? static_cast<void*>(select_->fromClause) : select_, [&](Node* node) {
      const auto* sub = pg::as<RangeSubselect>(node, T_RangeSubselect);
      if (sub != nullptr && alias_of(sub->alias) == item) (has_output(*sub, name) ? found : other) = true;
      if (const auto* var = pg::as<RangeVar>(node, T_RangeVar)) other |= (var->alias != nullptr ? alias_of(var->alias) : pg::text(var->relname)) == item;
      if (const auto* join = pg::as<JoinExpr>(node, T_JoinExpr)) other |= alias_of(join->alias) == item;
      if (const auto* function = pg::as<RangeFunction>(node, T_RangeFunction)) other |= function->alias == nullptr || alias_of(function->alias) == item;
      return !own || !(sub != nullptr || pg::is(node, T_SubLink));
    });
    return found && !other;
  }

  SelectStmt* select_;
  const ScatterContext& context_;
  const Tables tables_;
  bool found_ = false;
};

}  // namespace

bool is_grouped(const SelectStmt& select, const ScatterContext& context) {
  return select.groupClause != nullptr || select.havingClause != nullptr || GroupFinder(select, context).run();
}

}  // namespace weir::router
