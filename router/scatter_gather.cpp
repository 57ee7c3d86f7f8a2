// Strategy "finish" for everything else: the rows of every sharded table are gathered, and the statement runs over them on
// the home shard as it is, each table replaced by
//   (SELECT weir_u.c1::bigint AS user_id, ... FROM unnest($5, ...) AS weir_u (c1, ...)) AS its_alias
// Conditions of WHERE that concern one table alone are sent with the query for its rows; they stay in the statement, too.
#include <algorithm>
#include <set>

#include "base/strings.hpp"
#include "router/scatter_strategies.hpp"
#include "router/scatter_types.hpp"
#include "schema/quote.hpp"

namespace weir::router {
namespace {

constexpr std::string_view kWhole = "Name the columns that are wanted, or bind the sharding key to one value.";

std::string_view alias_of(const RangeVar& var) {
  return var.alias != nullptr ? pg::text(var.alias->aliasname) : pg::text(var.relname);
}

class GatherPlanner {
 public:
  GatherPlanner(const ScatterContext& context, std::optional<Error>& why) : context_(context), why_(why) {}

  std::optional<Candidate> run() {
    collect_names();
    if (!check_references() || !check_dependencies()) return std::nullopt;
    for (const ShardedItem& item : context_.binder().sharded_items())
      if (!gather(item)) return std::nullopt;
    Edits edits;
    for (std::size_t i = 0; i < tables_.size(); ++i) replace(const_cast<RangeVar&>(*tables_[i]), i, edits);
    candidate_.finish = context_.draft(context_.select());
    candidate_.finish->fill.relations = relations_;
    candidate_.plan.strategy = ScatterPlan::Strategy::finish;
    candidate_.plan.construct = "rows gathered on the home shard";
    return std::move(candidate_);
  }

 private:
  bool fail(std::string construct, std::string hint = std::string(kWhole)) {
    why_ = scatter_refusal(std::move(construct), std::move(hint));
    return false;
  }

  // Every name that may be a column's.
  void collect_names() {
    for_each_node(context_.select(), [this](Node* node) {
      if (const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef)) {
        for (Node* field : pg::ListOf<>(ref->fields)) {
          if (pg::is(field, T_A_Star)) all_ = true;
          if (pg::is(field, T_String)) names_.insert(std::string(pg::text(field)));
        }
      } else if (const auto* join = pg::as<JoinExpr>(node, T_JoinExpr)) {
        all_ |= join->isNatural;
        for (Node* field : pg::ListOf<>(join->usingClause)) names_.insert(std::string(pg::text(field)));
      } else if (const auto* indirection = pg::as<A_Indirection>(node, T_A_Indirection)) {
        for (Node* field : pg::ListOf<>(indirection->indirection)) {
          all_ |= pg::is(field, T_A_Star);
          if (pg::is(field, T_String)) names_.insert(std::string(pg::text(field)));
        }
      }
      return true;
    });
  }

  // The row of a table is another type than the row of a subquery; a star is expanded in a select list only.
  bool check_references() {
    std::set<std::string_view> aliases;
    for (const ShardedItem& item : context_.binder().sharded_items()) aliases.insert(alias_of(*item.var));
    std::set<const Node*> stars;
    bool good = true;
    for_each_node(context_.select(), [&](Node* node) {
      if (const auto* target = pg::as<ResTarget>(node, T_ResTarget))
        if (is_star(target->val)) stars.insert(target->val);
      const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef);
      if (ref == nullptr || !good) return good;
      const pg::ListOf<> fields(ref->fields);
      if (is_star(node) && !stars.contains(node)) return good = fail("a row as a whole");
      if (fields.size() > 2) return good = fail("a column qualified by a schema", "Give the table an alias.");
      if (context_.meaning(node) || is_star(node)) return true;
      const std::string_view first = pg::text(fields[0]);
      if (aliases.contains(first)) return good = fail(concat("a row of ", first, " as a whole, or a function of it,"));
      return true;
    });
    return good;
  }

  // GROUP BY of a primary key allows every column of its table; of a subquery it would not.
  bool check_dependencies() {
    bool good = true;
    for_each_node(context_.select(), [&](Node* node) {
      const auto* select = pg::as<SelectStmt>(node, T_SelectStmt);
      if (select != nullptr && select->groupClause != nullptr && !groups_every_column(*select))
        good = fail("a column that depends on a primary key in GROUP BY", "Write every column into GROUP BY.");
      return good;
    });
    return good;
  }

  bool groups_every_column(const SelectStmt& select) {
    std::vector<ColumnMeaning> grouped;
    for_each_node(select.groupClause, [&](Node* node) {
      if (const auto m = context_.meaning(node)) grouped.push_back(*m);
      return true;
    });
    for (Node* item : pg::ListOf<>(select.groupClause))
      if (Node* value = pg::is(item, T_GroupingSet) ? nullptr : group_value(item, select, context_))
        if (const auto m = context_.meaning(value)) grouped.push_back(*m);
    for (const ShardedItem& item : context_.binder().sharded_items()) {
      if (item.query != &select || !has_whole_key(item, grouped)) continue;
      for (const void* part : {static_cast<const void*>(select.targetList), static_cast<const void*>(select.havingClause),
                               static_cast<const void*>(select.sortClause)})
        if (uses_other_column(const_cast<void*>(part), item, grouped)) return false;
    }
    return true;
  }

  static bool has_whole_key(const ShardedItem& item, const std::vector<ColumnMeaning>& grouped) {
    const auto& keys = item.relation->unique_keys;
    return std::any_of(keys.begin(), keys.end(), [&](const std::vector<std::string>& key) {
      return std::all_of(key.begin(), key.end(), [&](const std::string& column) {
        const int wanted = item.relation->column_index(column);
        return std::any_of(grouped.begin(), grouped.end(),
                           [&](const ColumnMeaning& m) { return m.var == item.var && m.column == wanted; });
      });
    });
  }

  bool uses_other_column(void* part, const ShardedItem& item, const std::vector<ColumnMeaning>& grouped) {
    bool found = false;
    for_each_node(part, [&](Node* node) {
      const auto* call = pg::as<FuncCall>(node, T_FuncCall);
      if (call != nullptr && context_.is_aggregate(*call)) return false;
      const auto m = context_.meaning(node);
      found |= is_star(node) || (m && m->var == item.var && std::find(grouped.begin(), grouped.end(), *m) == grouped.end());
      return !found;
    });
    return found;
  }

  // ---- one table ----

  // Which of its columns are fetched; all of them in order where an alias renames by position.
  std::vector<std::size_t> columns_of(const ShardedItem& item) const {
    const auto& columns = item.relation->columns;
    const bool every = all_ || (item.var->alias != nullptr && item.var->alias->colnames != nullptr);
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (every || names_.contains(columns[i].name) || static_cast<int>(i) == item.relation->key_column) out.push_back(i);
    return out;
  }

  bool gather(const ShardedItem& item) {
    if (item.query == nullptr) return fail("this use of a sharded table");
    const std::vector<std::size_t> columns = columns_of(item);
    Gathered gathered;
    gathered.first_parameter = next_parameter_;
    gathered.what = item.relation->qualified();
    std::string list, arrays, names;
    for (const std::size_t i : columns) {
      const schema::Column& column = item.relation->columns[i];
      const auto cast = cast_of(column);
      if (!cast)
        return fail(concat("column ", column.name, " of ", item.relation->qualified(), ", of type ", column.type_name, ","));
      const std::string name = concat("c", std::to_string(gathered.columns.size() + 1));
      const std::string comma = gathered.columns.empty() ? "" : ", ";
      list += concat(comma, "weir_u.", name, "::", *cast, " AS ", schema::quote_ident(column.name));
      arrays += concat(comma, "$", std::to_string(next_parameter_++));
      names += concat(comma, name);
      gathered.columns.push_back({true, true});
    }
    if (gathered.columns.empty() || next_parameter_ > 65535) return fail(concat("table ", item.relation->qualified()));
    relations_.push_back(concat("(SELECT ", list, " FROM unnest(", arrays, ") AS weir_u(", names, "))"));
    candidate_.gathered.push_back(shard_text(item, columns));
    candidate_.plan.gathered.push_back(std::move(gathered));
    tables_.push_back(item.var);
    return true;
  }

  PendingText shard_text(const ShardedItem& item, const std::vector<std::size_t>& columns) const {
    auto* query = pg::make<SelectStmt>(T_SelectStmt);
    std::vector<Node*> targets;
    for (const std::size_t i : columns) {
      Node* column = pg::make_column({std::string(alias_of(*item.var)), column_name(item, i)});
      targets.push_back(reinterpret_cast<Node*>(pg::make_target(column, "")));
    }
    query->targetList = pg::make_list(targets);
    query->fromClause = pg::make_list({const_cast<Node*>(reinterpret_cast<const Node*>(item.var))});
    query->whereClause = conditions_on(item);
    query->limitOption = pg::kLimitDefault;
    query->op = SETOP_NONE;
    return context_.draft(query);
  }

  static std::string column_name(const ShardedItem& item, std::size_t i) {
    if (item.var->alias != nullptr) {
      const pg::ListOf<> renamed(item.var->alias->colnames);
      if (i < renamed.size()) return std::string(pg::text(renamed[i]));
    }
    return item.relation->columns[i].name;
  }

  // A row that makes a conjunct of WHERE false matters to no row of the query, unless an outer join would fill its place.
  Node* conditions_on(const ShardedItem& item) const {
    if (item.nullable || item.query->whereClause == nullptr) return nullptr;
    std::vector<Node*> pushed, pending{item.query->whereClause};
    while (!pending.empty()) {
      Node* conjunct = pending.back();
      pending.pop_back();
      const auto* logic = pg::as<BoolExpr>(conjunct, T_BoolExpr);
      if (logic != nullptr && logic->boolop == AND_EXPR) {
        for (Node* arg : pg::ListOf<>(logic->args)) pending.push_back(arg);
      } else if (concerns_only(conjunct, item)) {
        pushed.push_back(conjunct);
      }
    }
    if (pushed.size() < 2) return pushed.empty() ? nullptr : pushed[0];
    auto* all = pg::make<BoolExpr>(T_BoolExpr);
    all->boolop = AND_EXPR;
    all->args = pg::make_list(pushed);
    all->location = -1;
    return reinterpret_cast<Node*>(all);
  }

  [[nodiscard]] bool concerns_only(Node* conjunct, const ShardedItem& item) const {
    bool good = true;
    for_each_node(conjunct, [&](Node* node) {
      const auto m = context_.meaning(node);
      good &= !pg::is(node, T_SubLink) && (!pg::is(node, T_ColumnRef) || (m && m->var == item.var));
      return good;
    });
    return good;
  }

  // The relation's name becomes a hole; its alias stays, or is the name it had.
  static void replace(RangeVar& var, std::size_t number, Edits& edits) {
    if (var.alias == nullptr) {
      auto* alias = pg::make<Alias>(T_Alias);
      alias->aliasname = var.relname;
      edits.set(var.alias, alias);
    }
    edits.set(var.relname, pg::make_text(concat(kGatheredName, std::to_string(number))));
    edits.set(var.schemaname, static_cast<char*>(nullptr));
    edits.set(var.catalogname, static_cast<char*>(nullptr));
    edits.set(var.inh, true);
  }

  const ScatterContext& context_;
  std::optional<Error>& why_;
  bool all_ = false;  // every column of every table
  std::set<std::string> names_;
  std::uint32_t next_parameter_ = static_cast<std::uint32_t>(context_.survey().highest_parameter) + 1;
  std::vector<const RangeVar*> tables_;
  std::vector<std::string> relations_;
  Candidate candidate_;
};

}  // namespace

std::optional<Candidate> plan_gather(const ScatterContext& context, std::optional<Error>& why) {
  return GatherPlanner(context, why).run();
}

}  // namespace weir::router
