// Strategy "finish" for aggregates: every shard aggregates its rows, the finishing statement aggregates the results.
//
//   SELECT status, avg(amount) FROM orders GROUP BY status HAVING count(*) > 2 ORDER BY 2
// becomes, for the shards,
//   SELECT status AS c1, count(*) AS c2, sum(amount) AS c3, count(amount) AS c4 FROM orders GROUP BY 1
// and for the home shard, where weir_g is what they gave,
//   SELECT weir_g.c1 AS status, sum(weir_g.c3) / sum(weir_g.c4) AS avg FROM weir_g
//    GROUP BY weir_g.c1 HAVING sum(weir_g.c2) > 2 ORDER BY 2
// Only what is exact whatever the order of rows: sums of floats are not.
#include <algorithm>

#include "base/strings.hpp"
#include "router/scatter_order.hpp"
#include "router/scatter_rows.hpp"
#include "router/scatter_strategies.hpp"
#include "router/scatter_types.hpp"

namespace weir::router {
namespace {

std::string sum_of(const std::string& column) { return concat("pg_catalog.sum(", column, ")"); }

class PartialPlanner {
 public:
  explicit PartialPlanner(const ScatterContext& context) : context_(context), top_(*context.select()), rows_(context) {}

  std::optional<Candidate> run() {
    if (top_.op != SETOP_NONE || top_.valuesLists != nullptr) return std::nullopt;
    grouped_ = is_grouped(top_, context_);
    if (!stands_alone() || !(grouped_ ? read_groups() : read_distinct()) || !read_aggregates()) return std::nullopt;
    if (rows_.size() == 0) rows_.add(count_all(), {true, true}, "pg_catalog.int8");
    Candidate candidate;
    candidate.plan.strategy = ScatterPlan::Strategy::finish;
    candidate.plan.construct = "aggregates";
    candidate.gathered.push_back(shard_text());
    if (!write_finish()) return std::nullopt;
    candidate.finish = context_.draft(&top_);
    candidate.finish->fill.expressions = expressions_;
    candidate.finish->fill.relations = {rows_.relation()};
    candidate.plan.gathered.push_back(rows_.gathered("partial aggregates"));
    candidate.plan.literals = rules_;
    return candidate;
  }

 private:
  struct Aggregate {
    FuncCall* call;
    std::string combined;  // text over weir_g's columns
  };

  [[nodiscard]] bool stands_alone() const {
    const Binder& binder = context_.binder();
    const bool all = std::all_of(binder.sharded_items().begin(), binder.sharded_items().end(),
                                 [&](const ShardedItem& item) { return item.root == &top_; });
    return all && shards_agree(context_) && !anchors_of(&top_, binder).empty();
  }

  bool read_groups() {
    if (top_.groupDistinct) return false;
    for (Node* item : pg::ListOf<>(top_.groupClause)) {
      if (pg::is(item, T_GroupingSet) || !add_group(group_value(item, top_, context_))) return false;
    }
    group_columns_ = rows_.size();
    return true;
  }

  // SELECT DISTINCT: the shards leave out their duplicates, as GROUP BY of the whole list does.
  bool read_distinct() {
    const pg::ListOf<> on(top_.distinctClause);
    if (on.size() != 1 || on[0] != nullptr || has_windows()) return false;
    for (const ResTarget* target : pg::ListOf<ResTarget>(top_.targetList)) {
      if (is_star(target->val) || !add_group(target->val)) return false;
    }
    group_columns_ = rows_.size();
    return group_columns_ != 0;
  }

  [[nodiscard]] bool has_windows() const {
    bool found = false;
    for (void* part : {static_cast<void*>(top_.targetList), static_cast<void*>(top_.sortClause)})
      for_each_node(part, [&](Node* node) {
        const auto* call = pg::as<FuncCall>(node, T_FuncCall);
        found |= call != nullptr && call->over != nullptr;
        return !found;
      });
    return found;
  }

  bool add_group(Node* value) {
    if (value == nullptr || pg::is(value, T_A_Const) || pg::is(value, T_ParamRef) || pg::is(value, T_RowExpr)) return false;
    const auto name = rows_.add_value(value);
    if (name) groups_.push_back({value, *name});
    return name.has_value();
  }

  bool read_aggregates() {
    bool good = true;
    for (void* part : {static_cast<void*>(top_.targetList), static_cast<void*>(top_.havingClause),
                       static_cast<void*>(top_.sortClause), static_cast<void*>(top_.distinctClause),
                       static_cast<void*>(top_.windowClause)})
      for_each_node(part, [&](Node* node) {
        if (!good || pg::is(node, T_SubLink)) return false;
        auto* call = pg::as<FuncCall>(node, T_FuncCall);
        if (call == nullptr || !context_.is_aggregate(*call)) return true;
        good = split(*call);
        return false;
      });
    return good;
  }

  // The parts of one aggregate on the shards, and how they become one.
  bool split(FuncCall& call) {
    const auto name = context_.builtin_aggregate(call);
    const pg::ListOf<> arguments(call.args);
    if (!name || call.agg_order != nullptr || call.agg_within_group || call.func_variadic) return false;
    if (*name == "count" && call.agg_star) return combine(call, whole_count(part(call)));
    if (arguments.size() != 1 || pg::is(arguments[0], T_RowExpr)) return false;
    if (*name == "count") return combine(call, call.agg_distinct ? distinct(call, "count") : whole_count(part(call)));
    if (*name == "sum") return combine(call, sum(call, arguments[0]));
    if (*name == "avg") return combine(call, average(call, arguments[0]));
    if (*name == "min" || *name == "max") return combine(call, again(call, *name, arguments[0]));
    for (const std::string_view bits : {"bool_and", "bool_or", "every", "bit_and", "bit_or", "bit_xor"})
      if (*name == bits && !(call.agg_distinct && bits == "bit_xor")) return combine(call, again(call, *name, nullptr));
    return false;
  }

  bool combine(FuncCall& call, std::optional<std::string> text) {
    if (text) aggregates_.push_back({&call, std::move(*text)});
    return text.has_value();
  }

  std::string part(FuncCall& call) { return rows_.add(reinterpret_cast<Node*>(&call), {false, false}); }
  // The same call of another function.
  std::string part(const FuncCall& call, const char* function) {
    auto* copy = pg::make<FuncCall>(T_FuncCall);
    *copy = call;
    copy->funcname = reinterpret_cast<ColumnRef*>(pg::make_column({"pg_catalog", function}))->fields;
    return part(*copy);
  }

  static std::optional<std::string> whole_count(const std::string& column) {
    return concat("(coalesce(", sum_of(column), ", 0)::pg_catalog.int8)");
  }

  // sum(int4) is an int8, and the sum of those a numeric.
  std::optional<std::string> sum(FuncCall& call, Node* argument) {
    const auto type = exact_type_of(argument, context_);
    if (!type) return std::nullopt;
    if (call.agg_distinct) return distinct(call, "sum");
    const bool small = *type == ExactType::int2 || *type == ExactType::int4;
    const std::string column = part(call);
    return small ? concat("(", sum_of(column), "::pg_catalog.int8)") : sum_of(column);
  }

  // As numeric_avg() does: the sum divided by the count, both numeric.
  std::optional<std::string> average(FuncCall& call, Node* argument) {
    if (!exact_type_of(argument, context_)) return std::nullopt;
    if (call.agg_distinct) return distinct(call, "avg");
    const std::string total = part(call, "sum"), count = part(call, "count");
    return concat("(", sum_of(total), "::pg_catalog.numeric OPERATOR(pg_catalog./) nullif(", sum_of(count), ", 0))");
  }

  std::optional<std::string> again(FuncCall& call, std::string_view name, Node* compared) {
    GatheredColumn column;
    if (compared != nullptr) {
      const auto collation = context_.collation_of(compared);
      column.default_collation = collation && collation->empty();
    }
    const std::string value = rows_.add(reinterpret_cast<Node*>(&call), column);
    return concat("pg_catalog.", name, "(", value, ")");
  }

  // Each shard gives its distinct values; NULLs do not count, so what a FILTER leaves out may be one.
  std::optional<std::string> distinct(FuncCall& call, std::string_view name) {
    Node* value = pg::ListOf<>(call.args)[0];
    if (call.agg_filter != nullptr) {
      auto* when = pg::make<CaseWhen>(T_CaseWhen);
      when->expr = reinterpret_cast<Expr*>(call.agg_filter);
      when->result = reinterpret_cast<Expr*>(value);
      when->location = -1;
      auto* expr = pg::make<CaseExpr>(T_CaseExpr);
      expr->args = pg::make_list({reinterpret_cast<Node*>(when)});
      expr->location = -1;
      const auto collation = context_.collation_of(value);
      value = reinterpret_cast<Node*>(expr);
      const std::string column = rows_.add(value, {false, collation && collation->empty()});
      distincts_.push_back(rows_.size());
      return concat("pg_catalog.", name, "(DISTINCT ", column, ")");
    }
    const auto column = rows_.add_value(value);
    if (!column) return std::nullopt;
    distincts_.push_back(rows_.size());
    return concat("pg_catalog.", name, "(DISTINCT ", *column, ")");
  }

  static Node* count_all() {
    auto* call = pg::make<FuncCall>(T_FuncCall);
    call->funcname = reinterpret_cast<ColumnRef*>(pg::make_column({"pg_catalog", "count"}))->fields;
    call->agg_star = true;
    call->location = -1;
    return reinterpret_cast<Node*>(call);
  }

  PendingText shard_text() {
    Edits edits;
    std::vector<Node*> groups;
    for (std::size_t i = 1; i <= group_columns_; ++i) groups.push_back(pg::make_integer(static_cast<int>(i)));
    for (const std::size_t i : distincts_) groups.push_back(pg::make_integer(static_cast<int>(i)));
    edits.set(top_.targetList, rows_.targets());
    edits.set(top_.groupClause, pg::make_list(groups));
    for (List** clause : {&top_.sortClause, &top_.distinctClause, &top_.windowClause})
      edits.set(*clause, static_cast<List*>(nullptr));
    for (Node** clause : {&top_.havingClause, &top_.limitCount, &top_.limitOffset})
      edits.set(*clause, static_cast<Node*>(nullptr));
    edits.set(top_.limitOption, pg::kLimitDefault);
    return context_.draft(&top_);
  }

  // Marks are set when everything was compared: groups may stand in the select list.
  void mark(Node* node, const std::string& text) {
    marked_.push_back(node);
    expressions_.push_back(text);
  }

  // Replaces groups and aggregates in an expression. False: something else of the tables is left.
  bool rewrite(void* root) {
    bool good = true;
    for_each_node(root, [&](Node* node) {
      if (!good || pg::is(node, T_ParamRef)) return false;
      for (const auto& [value, name] : groups_) {
        if (!context_.same_expression(node, value, rules_)) continue;
        mark(node, name);
        return false;
      }
      for (const Aggregate& aggregate : aggregates_) {
        if (reinterpret_cast<Node*>(aggregate.call) != node) continue;
        mark(node, aggregate.combined);
        return false;
      }
      good = !pg::is(node, T_ColumnRef) && !pg::is(node, T_SubLink) && !pg::is(node, T_GroupingFunc);
      return good;
    });
    return good;
  }

  // Ordinals and output names stay.
  bool rewrite_sorted(Node* item) {
    bool bad = false;
    if (pg::is(item, T_A_Const) || by_name(item, top_.targetList, bad) != nullptr) return !bad;
    return !bad && rewrite(item);
  }

  bool name_targets() {
    for (ResTarget* target : pg::ListOf<ResTarget>(top_.targetList)) {
      if (is_star(target->val)) return false;
      const auto name = output_name(*target);
      if (!name) return false;
      if (target->name == nullptr) edits_.set(target->name, pg::make_text(*name));
    }
    return true;
  }

  bool write_finish() {
    if (!name_targets()) return false;
    // What ORDER BY names by alias is looked up before anything is replaced.
    for (const SortBy* by : pg::ListOf<SortBy>(top_.sortClause))
      if (!rewrite_sorted(by->node)) return false;
    for (Node* item : pg::ListOf<>(top_.distinctClause))
      if (item != nullptr && !rewrite_sorted(item)) return false;
    if (!rewrite(top_.windowClause) || !rewrite(top_.havingClause)) return false;
    for (const ResTarget* target : pg::ListOf<ResTarget>(top_.targetList))
      if (!rewrite(target->val)) return false;
    for (std::size_t i = 0; i < marked_.size(); ++i) edits_.mark(marked_[i], kExpressionMark + static_cast<int>(i));
    std::vector<Node*> groups;
    for (const auto& [value, name] : groups_) {
      if (!grouped_) break;
      groups.push_back(pg::make_param(kExpressionMark + static_cast<int>(expressions_.size())));
      expressions_.push_back(name);
    }
    edits_.set(top_.groupClause, pg::make_list(groups));
    edits_.set(top_.fromClause, pg::make_list({GatheredRows::item()}));
    edits_.set(top_.whereClause, static_cast<Node*>(nullptr));
    return true;
  }

  const ScatterContext& context_;
  SelectStmt& top_;
  GatheredRows rows_;
  std::vector<std::pair<Node*, std::string>> groups_;
  bool grouped_ = true;  // false: DISTINCT alone
  std::size_t group_columns_ = 0;
  std::vector<std::size_t> distincts_;  // numbers of columns that the shards group by, too
  std::vector<Aggregate> aggregates_;
  std::vector<Node*> marked_;
  std::vector<std::string> expressions_;  // for those of marked_, and then for the groups
  LiteralRules rules_;
  Edits edits_;
};

}  // namespace

std::optional<Candidate> plan_partial(const ScatterContext& context) { return PartialPlanner(context).run(); }

}  // namespace weir::router
