#include "router/scatter_planner.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "base/strings.hpp"
#include "router/scatter_strategies.hpp"

namespace weir::router {
namespace {

// Nodes that are made while it lives, and only those, go with it.
class Scratch {
 public:
  Scratch() : context_(pg_query_enter_memory_context()) {}
  ~Scratch() { pg_query_exit_memory_context(context_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

 private:
  MemoryContext context_;
};

bool fill(TextTemplate& into, const PendingText& pending) {
  auto text = pending.draft.text(pending.fill);
  if (text) into = std::move(*text);
  return text.has_value();
}

// By what is known of collations.
bool can_be_merged(const ScatterPlan& plan) {
  return std::all_of(plan.order.begin(), plan.order.end(),
                     [](const SortColumn& column) { return column.collation_known && column.collation.empty(); });
}

std::unique_ptr<Candidate> gathered(const ScatterContext& context) {
  std::optional<Error> ignored;
  auto candidate = plan_gather(context, ignored);
  return candidate ? std::make_unique<Candidate>(std::move(*candidate)) : nullptr;
}

std::optional<ScatterPlan> write(Candidate candidate, const Error& one_shard) {
  ScatterPlan plan = std::move(candidate.plan);
  if (candidate.shard && !fill(plan.shard_sql, *candidate.shard)) return std::nullopt;
  for (std::size_t i = 0; i < candidate.gathered.size(); ++i)
    if (!fill(plan.gathered[i].shard_sql, candidate.gathered[i])) return std::nullopt;
  if (candidate.finish && !fill(plan.finish_sql, *candidate.finish)) return std::nullopt;
  if (candidate.otherwise) {
    auto otherwise = write(std::move(*candidate.otherwise), one_shard);
    if (otherwise) plan.otherwise = std::make_shared<const ScatterPlan>(std::move(*otherwise));
  }
  plan.uses_now = plan.shard_sql.uses_now() || plan.finish_sql.uses_now();
  for (const Gathered& gathered : plan.gathered) plan.uses_now |= gathered.shard_sql.uses_now();
  plan.refusal = one_shard;
  return plan;
}

// Rows are locked where they lie, by the query that gives them. A LIMIT makes each shard lock as many as the answer may have: others may wait longer for
// them, which changes no answer; but they would skip them, or fail.
std::shared_ptr<const ScatterPlan> plan_locking(const ScatterContext& context, const Error& one_shard, std::optional<Error>& why) {
  const SelectStmt& select = *context.select();
  why = scatter_refusal("FOR UPDATE / SHARE of such a query", "Lock the rows of one table, or of tables joined by their sharding keys; or bind the key.");
  if ((select.limitCount != nullptr || select.limitOffset != nullptr) && context.locks_without_waiting()) {
    why = scatter_refusal("FOR UPDATE / SHARE with LIMIT and SKIP LOCKED or NOWAIT", "Bind the sharding key: each shard would lock as many rows as the LIMIT says.");
    return nullptr;
  }
  const Scratch scratch;
  auto candidate = context.binder().touched().home() ? std::nullopt : plan_stream(context);
  auto plan = candidate ? write(std::move(*candidate), one_shard) : std::nullopt;
  if (!plan) return nullptr;
  why.reset();
  return std::make_shared<const ScatterPlan>(std::move(*plan));
}

}  // namespace

ScatterAnswer plan_scatter(SelectStmt* select, const AnalysisInput& input, const Survey& survey, const Binder& binder,
                           const Error& one_shard) {
  ScatterContext context(reinterpret_cast<Node*>(select), input, survey, binder);
  ScatterAnswer answer;
  answer.refusal = context.look();
  if (answer.refusal) return answer;
  if (context.locks_rows()) {
    answer.plan = plan_locking(context, one_shard, answer.refusal);
    return answer;
  }
  using Strategy = std::function<std::optional<Candidate>()>;
  const Strategy strategies[] = {[&] { return plan_stream(context); }, [&] { return plan_partial(context); },
                                 [&] { return plan_gather(context, answer.refusal); }};
  if (context.is_long()) {
    auto candidate = plan_stream(context);
    auto plan = candidate ? write(std::move(*candidate), one_shard) : std::nullopt;
    if (plan) answer.plan = std::make_shared<const ScatterPlan>(std::move(*plan));
    if (!plan) answer.refusal = scatter_refusal("a statement of this size that is sorted, counted or put together", "Give its values as one array: WHERE key = ANY ($1).");
    return answer;
  }
  const bool home = binder.touched().home();  // only the finishing statement can read what the home shard alone has
  for (std::size_t i = home ? 2 : 0; i < std::size(strategies); ++i) {
    const Scratch scratch;
    auto candidate = strategies[i]();
    if (!candidate) continue;
    if (!can_be_merged(candidate->plan) && candidate->otherwise == nullptr) candidate->otherwise = gathered(context);
    auto plan = write(std::move(*candidate), one_shard);
    if (!plan) continue;
    answer.plan = std::make_shared<const ScatterPlan>(std::move(*plan));
    answer.refusal.reset();
    return answer;
  }
  if (!answer.refusal)
    answer.refusal = scatter_refusal("this statement", "Bind the sharding key of every table to one value.");
  return answer;
}

}  // namespace weir::router
