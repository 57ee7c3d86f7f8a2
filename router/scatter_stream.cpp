// Strategy "stream": every row of the answer is computed on one shard.
//
// Why that is so: an anchor is a table of the query's FROM list that no outer join can fill with NULLs, so every row of the
// query has one row of the anchor, and the rows of the query are a disjoint union over the anchor's keys. The graph says that
// every other sharded table matters only with its rows of the same key, which lie on the same shard. What makes
// one row of several (GROUP BY, DISTINCT, a window) must do so within one key.
#include <algorithm>
#include <functional>

#include "base/strings.hpp"
#include "router/scatter_order.hpp"
#include "router/scatter_rows.hpp"
#include "router/scatter_strategies.hpp"
#include "router/scatter_types.hpp"

namespace weir::router {

std::vector<const ShardedItem*> anchors_of(const SelectStmt* root, const Binder& binder) {
  std::vector<const ShardedItem*> anchors;
  for (const ShardedItem& item : binder.sharded_items()) {
    if (item.query != root || item.root != root || item.nullable) continue;
    const std::vector<bool> reached = binder.graph().reachable(item.key);
    const bool all = std::all_of(binder.sharded_items().begin(), binder.sharded_items().end(), [&](const ShardedItem& other) {
      return other.root != root || reached[static_cast<std::size_t>(other.key)];
    });
    if (all) anchors.push_back(&item);
  }
  return anchors;
}

bool is_key(Node* expr, const std::vector<const ShardedItem*>& anchors, const ScatterContext& context) {
  const auto meaning = context.meaning(expr);
  return meaning && std::any_of(anchors.begin(), anchors.end(), [&](const ShardedItem* anchor) {
           return anchor->var == meaning->var && anchor->relation->key_column == meaning->column;
         });
}

Node* group_value(Node* item, const SelectStmt& select, const ScatterContext& context) {
  bool bad = false;
  if (const ResTarget* target = by_ordinal(item, select.targetList, bad)) return target->val;
  if (bad) return nullptr;
  const auto* ref = pg::as<ColumnRef>(item, T_ColumnRef);
  if (ref == nullptr || context.meaning(item)) return item;
  if (!context.binder().is_absent(*ref)) return nullptr;
  const ResTarget* target = by_name(item, select.targetList, bad);
  return target != nullptr && !bad ? target->val : nullptr;
}

namespace {

using Anchors = std::vector<const ShardedItem*>;

bool groups_by_key(const SelectStmt& select, const Anchors& anchors, const ScatterContext& context) {
  bool found = false;
  for (Node* item : pg::ListOf<>(select.groupClause)) {
    if (pg::is(item, T_GroupingSet)) return false;
    Node* value = group_value(item, select, context);
    found |= value != nullptr && is_key(value, anchors, context);
  }
  return found;
}

// DISTINCT over rows that hold the key; DISTINCT ON of the key.
bool distinct_by_key(const SelectStmt& select, const Anchors& anchors, const ScatterContext& context) {
  const pg::ListOf<> on(select.distinctClause);
  if (on.size() == 1 && on[0] == nullptr) {
    for (const ResTarget* target : pg::ListOf<ResTarget>(select.targetList))
      if (is_key(target->val, anchors, context)) return true;
    return false;
  }
  for (Node* item : on) {
    bool bad = false;
    const ResTarget* target = by_ordinal(item, select.targetList, bad);
    if (target == nullptr && !bad) target = by_name(item, select.targetList, bad);
    if (!bad && is_key(target != nullptr ? target->val : item, anchors, context)) return true;
  }
  return false;
}

bool windows_by_key(const SelectStmt& select, const Anchors& anchors, const ScatterContext& context) {
  bool good = true;
  const auto check = [&](const WindowDef& window) {
    if (window.refname != nullptr) return;  // has the partitions of the one it names
    if (window.name != nullptr && window.partitionClause == nullptr && window.orderClause == nullptr) return;
    bool found = false;
    for (Node* item : pg::ListOf<>(window.partitionClause)) found |= is_key(item, anchors, context);
    good &= found;
  };
  for (const WindowDef* window : pg::ListOf<WindowDef>(select.windowClause)) {
    bool found = window->refname != nullptr;
    for (Node* item : pg::ListOf<>(window->partitionClause)) found |= is_key(item, anchors, context);
    good &= found;
  }
  for (void* part : {static_cast<void*>(select.targetList), static_cast<void*>(select.sortClause),
                     static_cast<void*>(select.distinctClause)})
    for_each_own_node(part, [&](Node* node) {
      const auto* call = pg::as<FuncCall>(node, T_FuncCall);
      if (call != nullptr && call->over != nullptr) check(*call->over);
      return true;
    });
  return good;
}

}  // namespace

bool is_by_shard(const SelectStmt& select, const ScatterContext& context) {
  if (select.op != SETOP_NONE || select.valuesLists != nullptr || select.intoClause != nullptr) return false;
  const Anchors anchors = anchors_of(&select, context.binder());
  if (anchors.empty()) return false;
  if (is_grouped(select, context) && !groups_by_key(select, anchors, context)) return false;
  if (select.distinctClause != nullptr && !distinct_by_key(select, anchors, context)) return false;
  return windows_by_key(select, anchors, context);
}

namespace {

// The arms of a tree of UNION ALL, in order. False: another operation, or an arm that is cut or sorted by itself.
bool arms_of(SelectStmt* select, bool top, std::vector<SelectStmt*>& arms) {
  for (std::vector<SelectStmt*> pending{select}; !pending.empty(); top = false) {
    SelectStmt* at = pending.back();
    pending.pop_back();
    if (!top && (at->sortClause != nullptr || at->limitCount != nullptr || at->limitOffset != nullptr ||
                 at->withClause != nullptr))
      return false;
    if (at->op == SETOP_NONE) {
      arms.push_back(at);
      continue;
    }
    if (at->op != SETOP_UNION || !at->all) return false;
    pending.push_back(at->rarg);
    pending.push_back(at->larg);
  }
  return true;
}

// Every sharded table stands under one of these queries.
bool holds_every_table(const std::vector<SelectStmt*>& arms, const Binder& binder) {
  return std::all_of(binder.sharded_items().begin(), binder.sharded_items().end(), [&](const ShardedItem& item) {
    return std::find(arms.begin(), arms.end(), item.root) != arms.end();
  });
}

// Of a DISTINCT query the server must find what it sorts by in the list; with literals, only in this execution.
bool may_sort_distinct(const SelectStmt& select, const Sorting& sorting, const ScatterContext& context) {
  if (select.distinctClause == nullptr) return true;
  bool literal = false;
  for (Node* value : sorting.values)
    for_each_node(value, [&](Node* node) {
      literal |= pg::is(node, T_A_Const) && context.literal_of(node).has_value();
      return true;
    });
  return !literal;
}

class StreamPlanner {
 public:
  explicit StreamPlanner(const ScatterContext& context) : context_(context), top_(*context.select()) {}

  std::optional<Candidate> run() {
    if (!shards_agree(context_) || !arms_of(&top_, true, arms_) || !holds_every_table(arms_, context_.binder())) return std::nullopt;
    for (const SelectStmt* arm : arms_)
      if (!is_by_shard(*arm, context_)) return std::nullopt;
    const auto limits = read_limits(top_, context_);
    if (!limits) return std::nullopt;
    candidate_.plan.limit = limits->limit;
    candidate_.plan.offset = limits->offset;
    candidate_.plan.construct = arms_.size() == 1 ? "SELECT" : "UNION ALL";
    if (context_.is_long()) return own_text();
    if (!(arms_.size() == 1 ? sort_one() : sort_several())) return std::nullopt;
    push_limit();
    name_no_locked_table();
    candidate_.shard = context_.draft(&top_);
    if (arms_.size() == 1 && !candidate_.plan.order.empty()) candidate_.otherwise = sort_on_home();
    return std::move(candidate_);
  }

 private:
  // The shards run the text as it came, where nothing in it must be another.
  std::optional<Candidate> own_text() {
    if (top_.sortClause != nullptr || top_.limitCount != nullptr || top_.limitOffset != nullptr || !context_.time_calls().empty()) return std::nullopt;
    return std::move(candidate_);
  }

  void hide(SelectStmt& select, Node* value, std::size_t number) {
    ResTarget* target = pg::make_target(value, concat("weir_sort_", std::to_string(number)));
    List* targets = pg::make_list({});
    for (Node* old : pg::ListOf<>(select.targetList)) targets = lappend(targets, old);
    edits_.set(select.targetList, lappend(targets, target));
  }

  bool sort_one() {
    auto sorting = read_sorting(top_, context_);
    if (!sorting || !may_sort_distinct(top_, *sorting, context_)) return false;
    for (std::size_t i = 0; i < sorting->values.size(); ++i) hide(top_, sorting->values[i], i + 1);
    candidate_.plan.order = std::move(sorting->order);
    return true;
  }

  // The same rows, sorted by the home shard: for what the driver cannot compare as PostgreSQL does. (The tree is as the
  // shards' text needs it.)
  std::unique_ptr<Candidate> sort_on_home() {
    GatheredRows rows(context_);
    auto* finish = pg::make<SelectStmt>(T_SelectStmt);
    const pg::ListOf<ResTarget> targets(top_.targetList);
    const std::size_t visible = targets.size() - candidate_.plan.order.size();
    std::vector<std::string> expressions;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const auto name = is_star(targets[i]->val) ? std::nullopt : output_name(*targets[i]);
      const auto column = name ? rows.add_value(targets[i]->val) : std::nullopt;
      if (!column) return nullptr;
      Node* value = pg::make_param(kExpressionMark + static_cast<int>(i));
      expressions.push_back(*column);
      if (i >= visible && !candidate_.plan.order[i - visible].collation_known) return nullptr;
      if (i < visible) finish->targetList = lappend(finish->targetList, pg::make_target(value, *name));
      if (i >= visible) finish->sortClause = lappend(finish->sortClause, sort_like(i - visible, value));
    }
    finish->fromClause = pg::make_list({GatheredRows::item()});
    finish->limitCount = limit_count_;
    finish->limitOffset = limit_offset_;
    finish->limitOption = limit_option_;
    auto out = std::make_unique<Candidate>();
    out->plan.strategy = ScatterPlan::Strategy::finish;
    out->plan.construct = "rows sorted on the home shard";
    out->plan.limit = candidate_.plan.limit;
    out->plan.offset = candidate_.plan.offset;
    out->plan.gathered.push_back(rows.gathered("rows"));
    out->gathered.push_back(context_.draft(&top_));
    out->finish = context_.draft(finish);
    out->finish->fill.expressions = std::move(expressions);
    out->finish->fill.relations = {rows.relation()};
    return out;
  }

  [[nodiscard]] Node* sort_like(std::size_t i, Node* value) const {
    auto* by = pg::make<SortBy>(T_SortBy);
    *by = *pg::ListOf<SortBy>(top_.sortClause)[i];
    by->node = value;
    return reinterpret_cast<Node*>(by);
  }

  bool sort_several() {
    std::vector<std::size_t> positions;
    auto order = read_set_sorting(top_, arms_[0]->targetList, positions);
    if (!order) return false;
    for (SelectStmt* arm : arms_) {
      const pg::ListOf<ResTarget> targets(arm->targetList);
      const std::size_t count = targets.size();
      if (!positions.empty() && (has_star(arm->targetList) || arm->distinctClause != nullptr)) return false;
      std::vector<Node*> values;
      for (const std::size_t position : positions) {
        if (position >= count) return false;
        values.push_back(targets[position]->val);
      }
      for (std::size_t i = 0; i < values.size(); ++i) {
        hide(*arm, values[i], i + 1);
        const auto collation = context_.collation_of(values[i]);
        if (!collation || !collation->empty()) (*order)[i].collation_known = false;
      }
    }
    candidate_.plan.order = std::move(*order);
    return true;
  }

  // What a shard's rows behind limit + offset hold cannot be part of the answer.
  void push_limit() {
    limit_count_ = top_.limitCount;
    limit_offset_ = top_.limitOffset;
    limit_option_ = top_.limitOption;
    if (top_.limitCount == nullptr && top_.limitOffset == nullptr) return;
    const bool limited = candidate_.plan.limit.kind != RowCount::Kind::none;
    edits_.set(top_.limitOffset, static_cast<Node*>(nullptr));
    edits_.set(top_.limitCount, limited ? pg::make_param(kRowsMark) : nullptr);
    edits_.set(top_.limitOption, limited ? pg::kLimitCount : pg::kLimitDefault);
  }

  // Of one table no other could be meant; and the deparser loses the blank between OF and NOWAIT.
  void name_no_locked_table() {
    const pg::ListOf<> from(top_.fromClause);
    if (from.size() != 1 || !pg::is(from[0], T_RangeVar)) return;
    for (LockingClause* clause : pg::ListOf<LockingClause>(top_.lockingClause)) edits_.set(clause->lockedRels, static_cast<List*>(nullptr));
  }

  const ScatterContext& context_;
  SelectStmt& top_;
  std::vector<SelectStmt*> arms_;
  Node *limit_count_ = nullptr, *limit_offset_ = nullptr;
  LimitOption limit_option_ = pg::kLimitDefault;
  Candidate candidate_;
  Edits edits_;
};

}  // namespace

std::optional<Candidate> plan_stream(const ScatterContext& context) { return StreamPlanner(context).run(); }

}  // namespace weir::router
