// Planning a batch as a whole: its messages in their order, and where it must end because what follows means something else, or runs elsewhere.
// No suspension in here.
#include <algorithm>

#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Plan;
using router::Verb;

namespace {

constexpr std::size_t kBeforeFirst = ~std::size_t{0};

}  // namespace

void Session::plan_batch(BatchEnd& end) {
  planned_generation_ = planner().generation();
  raw_ = true;
  had_unnamed_ = has_unnamed_;
  unnamed_replaced_ = false;
  unresolved_types_ = false;
  if (!in_transaction() && !mid_sequence_) {
    counted_shard_.reset();
    counted_spanning_ = false;
  }
  refresh_context();
  for (std::size_t i = 0; i < work_->ops.size() && !work_->decision.error; ++i) {
    work_->decision.error_at = i;
    const bool was_scattered = work_->decision.scatter;
    const bool was_rejected = work_->decision.check_only;
    plan_op(i);
    if (!was_rejected && work_->decision.check_only && cut_in_front(i, end)) {
      i = kBeforeFirst;
      continue;
    }
    if (begins_by_schema_change(i, end)) spread_out();
    if (!was_scattered && work_->decision.scatter && cut_at_boundary(i, end)) {
      i = kBeforeFirst;
    } else if (work_->ops[i].type == 'E' && work_->ops[i].plan) {
      const Plan& plan = *work_->ops[i].plan;
      const bool ends = plan.verb == Verb::commit || plan.verb == Verb::rollback;
      const bool ends_spread = ends && (work_->decision.scatter || spread_);
      if (!ends_spread && !changes_what_follows(plan) && !(changes_schema_of_transaction(plan) && others_follow(i, end))) continue;
      const bool is_cut = end_batch_behind(i, end);
      cut_apart_ |= is_cut && ends && !ends_spread;
    }
  }
  put_rewritten();
  // More may follow before the Sync: only the primary can take whatever it is.
  if (end == BatchEnd::flush) work_->decision.read_only = false;
}

// What stands behind such an Execute means something else once it ran: COPY data, names that are gone or mean other tables, statements that run
// elsewhere.
bool Session::changes_what_follows(const Plan& plan) const {
  constexpr auto kText = SessionSettings::Reads::text;
  const bool sharded = database_->state->sharded();
  switch (plan.verb) {
    case Verb::discard_all:
    case Verb::copy_from:
    case Verb::own_setting: return true;
    case Verb::set:
    case Verb::set_local:
    case Verb::reset: return sharded && router::changes_routing(plan.setting);
    case Verb::reset_all: return sharded && settings_.reset_changes(kText);
    case Verb::commit:
    case Verb::rollback: return transaction_ == Transaction::held_failed || (sharded && settings_.end_changes(kText));
    case Verb::rollback_to_savepoint: return sharded && settings_.savepoints_change(kText);
    default: return sharded && plan.path.has_value();
  }
}

// Behind it the transaction's own catalog is another.
bool Session::changes_schema_of_transaction(const Plan& plan) const {
  const bool ends = plan.verb == Verb::commit || plan.verb == Verb::rollback || plan.verb == Verb::rollback_to_savepoint;
  return plan.changes_schema != router::SchemaChange::none || (ends && has_own_schema());
}

// DDL outside of a block, with others behind it: they are one transaction, and what it has made is read in that before they are planned.
bool Session::begins_by_schema_change(std::size_t index, BatchEnd end) const {
  const Op& op = work_->ops[index];
  if (op.type != 'E' || !op.plan || op.plan->changes_schema == router::SchemaChange::none) return false;
  return !in_transaction() && !spread_ && !work_->decision.error && others_follow(index, end);
}

// In its pipeline, before the Sync.
bool Session::others_follow(std::size_t index, BatchEnd end) const {
  const auto behind = work_->ops.begin() + static_cast<std::ptrdiff_t>(index) + 1;
  return end == BatchEnd::flush || std::any_of(behind, work_->ops.end(), [](const Op& op) { return op.type != 'S' && op.type != 'C'; });
}

// Text that the parser rejects goes to a server when what stands before it is answered. True: the batch now ends there, and is planned again.
bool Session::cut_in_front(std::size_t index, BatchEnd& end) {
  if (index == 0 || work_->decision.scatter || spread_) return false;
  forget_plan();
  end_batch_behind(index - 1, end);
  return true;
}

// What follows in the pipeline is planned when this message has happened. False: nothing does.
bool Session::end_batch_behind(std::size_t index, BatchEnd& end) {
  if (index + 1 == work_->ops.size() || work_->ops[index + 1].type == 'S') return false;
  scanned_ = work_->ops[index + 1].offset;
  work_->ops.resize(index + 1);
  flush_after_ = true;
  end = BatchEnd::flush;
  return true;
}

// While the batch waited for a server, a reload may have moved its rows to another shard.
bool Session::plan_is_stale() const {
  return planned_generation_ != planner().generation() && !was_held();
}

// As if the batch had just come in.
void Session::forget_plan() {
  undo_names_from(0);
  take_unnamed_back();
  for (const auto& [index, message] : work_->rewritten) work_->ops[index].filled.reset();   // those that are in input_ already stay
  work_->rewritten.clear();
  for (Op& op : work_->ops) {
    op.plan.reset();
    op.text.reset();
    op.statement.reset();
    op.interned.reset();
    op.local = 0;
    op.prepared.reset();
  }
  unresolved_types_ = false;
  work_->decision = {};
}

// The server, clean and unused, goes back.
void Session::take_plan_back() {
  forget_plan();
  if (work_->queued_at) std::exchange(work_->queued_at, nullptr)->cancel(work_->request);
  if (server_ == pinned_)
    server_ = nullptr;
  else if (server_)
    server_->pool->release(std::exchange(server_, nullptr), worker_.loop().now());
  if (transaction_ == Transaction::held) transaction_shard_.reset();
}

// What the messages from `first` on gave names to, and took them from: they did not happen.
void Session::undo_names_from(std::size_t first) {
  // Backwards, one by one: what a Parse named a Close of the same batch may have removed.
  for (std::size_t i = work_->ops.size(); i > first; --i) {
    restore_names(work_->ops[i - 1]);
    forget_new_name(work_->ops[i - 1]);
  }
}

void Session::forget_new_name(const Op& op) {
  if (!op.statement || (op.type != 'P' && !(op.plan && op.plan->verb == Verb::prepare))) return;
  const auto* entry = names_.find(op.name);
  if (entry && entry->statement == op.statement) names_.remove(op.name);
}

// What comes behind a BEGIN or COMMIT of the same pipeline is another transaction than what stood before. True: the batch now ends there, and
// is planned again. Behind a COMMIT the server gets a Sync, so that it is known how the transaction ended.
bool Session::cut_at_boundary(std::size_t index, BatchEnd& end) {
  const auto is_boundary = [](const Op& op) {
    return op.type == 'E' && op.plan && (op.plan->verb == Verb::begin || op.plan->verb == Verb::commit || op.plan->verb == Verb::rollback);
  };
  std::size_t at = index;
  while (at > 0 && !is_boundary(work_->ops[at - 1])) --at;
  if (at == 0) return false;
  if (work_->ops[at - 1].plan->verb == Verb::begin) {   // the end of the transaction before it is the better place
    std::size_t ended = at - 1;
    while (ended > 0 && !is_boundary(work_->ops[ended - 1])) --ended;
    if (ended > 0) at = ended;
  }
  cut_apart_ = work_->ops[at - 1].plan->verb != Verb::begin;
  forget_plan();
  end_batch_behind(at - 1, end);
  return true;
}

}  // namespace weir::proxy
