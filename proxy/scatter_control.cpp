// The client's transaction, where it is over several shards: SAVEPOINT, SET and the like go to every server of it, COMMIT and ROLLBACK end it.
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

// Its servers have begun one, but the client has not.
Error outside_of_block(Verb verb) {
  const std::string_view what = verb == Verb::savepoint ? "SAVEPOINT" : verb == Verb::release_savepoint ? "RELEASE SAVEPOINT" : "ROLLBACK TO SAVEPOINT";
  return {sqlstate::kNoActiveTransaction, concat(what, " can only be used in transaction blocks")};
}

}  // namespace

// A failed transaction takes nothing but what ends that.
bool Scatter::may_be_answered(const Op& op) const {
  if (!s_.spread_ || s_.transaction_ != Session::Transaction::failed) return true;
  if (op.type == 'S' || op.type == 'H' || op.type == 'C') return true;
  if (!op.plan) return false;
  const Verb verb = op.plan->verb;
  return verb == Verb::commit || verb == Verb::rollback || verb == Verb::rollback_to_savepoint || verb == Verb::empty;
}

// ---- statements of one or several shards within it ----

// Before a statement is sent to its shards.
bool Scatter::may_run(Portal& portal) {
  if (!s_.spread_) return true;
  const bool locks_alone = portal.source->plan->locks_rows && s_.spread_->implicit() && portals_.size() == 1 && !has_more_parts();   // nothing that its locks protect is written
  for (const schema::ShardId shard : portal.shards) {
    ScatterLink& link = link_of(shard);
    note_left(link, *portal.source->plan);
    if (!portal.writes || locks_alone || writes_by_rows(portal)) continue;
    if (auto may = s_.spread_->about_to_write(link); !may) return fail(may.take_error()), false;
    if (!portal.source->plan->effects.notifies) continue;
    if (auto may = s_.spread_->about_to_notify(link); !may) return fail(may.take_error()), false;
  }
  const router::Plan& plan = *portal.source->plan;
  if (plan.changes_schema != router::SchemaChange::none) s_.spread_->note_schema_change();
  s_.note_schema_change(plan);
  return true;
}

// What its server must be asked, or cleaned of, before it goes back.
void Scatter::note_left(ScatterLink& link, const router::Plan& plan) {
  const router::Effects& e = plan.effects;
  link.left.taints |= e.taints;
  link.left.soft |= e.soft;
  link.left.asks_settings |= e.opaque;
  link.left.asks_holds |= e.opaque || (e.releases && link.kept());
  if (e.needs_clean && !link.kept() && link.first_write == 0 && link.server().sequences_of != s_.id_) {
    wire::write_query(link.out(), "DISCARD SEQUENCES");
    link.owe(Step::begin);
    link.server().sequences_of = s_.id_;
  }
  if (!plan.read_only && link.server().sequences_of != s_.id_) link.server().sequences_of = 0;
}

// ---- transaction control ----

net::Task<bool> Scatter::execute_control(Portal& portal) {
  if (running_) {
    const bool settled = co_await settle(false);
    if (!settled) co_return false;
  }
  confirm(kNone);
  const router::Plan& plan = *portal.source->plan;
  const bool implicit = s_.spread_->implicit();
  switch (plan.verb) {
    case Verb::commit:
    case Verb::rollback:
      if (!implicit) co_return co_await end_block(portal);
      break;
    case Verb::begin:
      if (implicit) break;
      wire::write_notice(reply(), wire::Severity::warning, {sqlstate::kActiveSqlTransaction, "there is already a transaction in progress"});
      wire::write_command_complete(reply(), "BEGIN");
      co_return true;
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::rollback_to_savepoint:
      if (implicit) {
        fail(outside_of_block(plan.verb));
        co_return false;
      }
      if (plan.verb == Verb::rollback_to_savepoint) co_return co_await roll_back_to(portal);
      co_return co_await tell_all(portal);
    default: co_return co_await tell_all(portal);
  }
  fail({sqlstate::kFeatureNotSupported, concat(name_of(plan.verb), " behind statements of several shards in one pipeline, outside of a transaction block"),
        "Send a Sync between them."});
  co_return false;
}

// `step`: control, a statement of the client's; begin, one of the proxy's own.
void Scatter::send_to_all(std::string_view sql, Step step) {
  plain_text_ = true;
  for (ScatterLink& link : links()) {
    wire::write_query(link.out(), sql);
    link.owe(step);
    link.server().unnamed_statement = 0;
    link.begin_run();
    link.flush();
  }
}

// All must say the same.
net::Task<bool> Scatter::tell_all(Portal& portal) {
  const router::Plan& plan = *portal.source->plan;
  send_to_all(portal.source->sql, Step::control);
  const bool settled = co_await settle(true);
  if (!settled) co_return false;
  const std::string tag = links().front().tag;
  for (const ScatterLink& link : links()) {
    if (link.tag == tag) continue;
    fail({sqlstate::kInternal, concat("shards answered \"", tag, "\" and \"", link.tag, "\" to one statement")});
    co_return false;
  }
  s_.apply_verb(plan, portal.source->sql, tag);
  if (plan.verb == Verb::savepoint) s_.spread_->made_savepoint(plan.setting);
  if (plan.verb == Verb::release_savepoint) s_.spread_->released(plan.setting);
  if (plan.verb == Verb::rollback_to_savepoint) s_.spread_->rolled_back_to(plan.setting);
  if (const std::string lost = std::exchange(s_.work_->lost_by_reset, {}); !lost.empty()) {   // start-up settings, which RESET knows nothing of
    send_to_all(lost, Step::begin);
    const bool told = co_await settle(true);
    if (!told) co_return false;
  }
  const bool ended = co_await end_with(portal);
  if (ended) wire::write_command_complete(reply(), tag);
  co_return ended;
}

// set_config('search_path', ...) has run on one server of the transaction: the others are told, too.
net::Task<bool> Scatter::follow_path(const Portal& portal) {
  const Op& op = s_.work_->ops[portal.op];
  if (s_.spread_ && op.text)
    for (ScatterLink& link : links()) {
      if (link.shard() == portal.shards.front()) continue;
      wire::write_query(link.out(), *op.text);
      link.owe(Step::begin);
      link.server().unnamed_statement = 0;
      link.begin_run();
    }
  const std::string tag = std::exchange(tag_, {});
  const bool told = co_await settle(true);
  tag_ = tag;
  if (told && op.text) s_.apply_verb(*portal.source->plan, *op.text, tag);
  co_return told;
}

// A server that was enlisted later has the savepoint, too: from the transaction's log.
net::Task<bool> Scatter::roll_back_to(Portal& portal) {
  const bool failed_before = s_.transaction_ == Session::Transaction::failed;
  const bool told = co_await tell_all(portal);
  if (!told) co_return false;
  if (failed_before) s_.transaction_ = Session::Transaction::open;
  for (ScatterLink& link : links()) s_.spread_->bound_waiting(link);
  if (s_.spread_->begun_at.empty()) ask_isolation(s_.spread_->first());
  co_return true;
}

net::Task<bool> Scatter::execute_local(const Portal& portal) {
  confirm(kNone);
  ByteBuffer answer;
  s_.answer_local_statement(*portal.source->plan, portal.source->sql, answer);
  const bool ended = co_await end_with(portal);
  if (ended) reply().append(answer.view());
  co_return ended;
}

// ---- its end ----

net::Task<bool> Scatter::end_block(Portal& portal) {
  const router::Plan& plan = *portal.source->plan;
  std::vector<std::string> next = plan.chain ? s_.held_characteristics() : std::vector<std::string>{};
  const bool read_only = s_.begin_read_only_;
  bool committed = false;
  static_cast<void>(co_await settle(false));   // ROLLBACK TO has told them more; of a lost server the end itself speaks
  if (closed_) co_return false;
  if (plan.verb == Verb::commit && s_.transaction_ != Session::Transaction::failed) {
    Spread::Outcome outcome = co_await s_.spread_->commit();
    s_.spread_.reset();
    committed = outcome.committed;
    if (!take_outcome(std::move(outcome))) co_return false;
  } else {
    co_await s_.spread_->roll_back();
    reply().append(s_.spread_->notices());
    s_.spread_.reset();
  }
  if (plan.chain) {
    s_.transaction_ = Session::Transaction::held;
    s_.begin_read_only_ = read_only;
    s_.work_->held = std::move(next);
  }
  wire::write_command_complete(reply(), committed ? "COMMIT" : "ROLLBACK");
  co_return true;
}

// The last statement of a Query is complete when all of it is committed.
net::Task<bool> Scatter::end_with(const Portal& portal) {
  if (s_.work_->ops[portal.op].type != 'Q' || &portal != &portals_.back() || has_more_parts()) co_return true;
  co_return co_await end_implicit();
}

// One Query, or everything up to a Sync, outside of a block.
net::Task<bool> Scatter::end_implicit() {
  if (!s_.spread_ || !s_.spread_->implicit()) co_return true;
  const bool settled = co_await settle(false);
  if (!settled) co_return false;
  confirm(kNone);
  Spread::Outcome outcome = co_await s_.spread_->commit();
  s_.spread_.reset();
  if (!outcome.committed && !outcome.response && !outcome.error)
    outcome.error = Error(sqlstate::kInternal, "a shard rolled the transaction back without a word");
  co_return take_outcome(std::move(outcome));
}

bool Scatter::take_outcome(Spread::Outcome outcome) {
  reply().append(outcome.notices.view());
  if (outcome.committed || (!outcome.response && !outcome.error)) return true;
  failure_.emplace();
  failure_->response = std::move(outcome.response);
  failure_->own = std::move(outcome.error);
  failure_->op = op_;
  return false;
}

// What failed is over where the client did not say BEGIN, where a server is lost, and where it gave way to others, who wait for its servers. Of
// the latter two nothing but ROLLBACK is left.
net::Task<> Scatter::end_failed_spread() {
  const bool implicit = s_.spread_->implicit();
  if (!implicit && !s_.spread_->has_lost() && !failure_->lost) co_return;
  co_await s_.spread_->roll_back();
  s_.spread_.reset();
  if (!implicit) s_.transaction_ = Session::Transaction::held_failed;
}

}  // namespace weir::proxy
