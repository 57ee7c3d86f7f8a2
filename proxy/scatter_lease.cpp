// The servers of a scattered batch: leasing them in the order of the shards, and giving them back when nothing is owed any more.
#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"

namespace weir::proxy {

namespace {
constexpr Duration kCleanUpTime = std::chrono::seconds(5);
constexpr int kReplicaTries = 3, kTries = 5;

// The log, which tells a server such things, is a block's.
Error changed_before_shard() {
  return {sqlstate::kFeatureNotSupported, "a pipeline changed a setting, and then touches another shard than before, outside of a transaction block",
          "Use BEGIN, or send a Sync between them."};
}
}  // namespace

std::deque<ScatterLink>& Scatter::links() { return s_.spread_ ? s_.spread_->links() : links_; }

ScatterLink& Scatter::link_of(schema::ShardId shard) {
  return *std::find_if(links().begin(), links().end(), [&](const ScatterLink& link) { return link.shard() == shard; });
}

bool Scatter::has_link(schema::ShardId shard) {
  return std::any_of(links().begin(), links().end(), [&](const ScatterLink& link) { return link.shard() == shard; });
}

ScatterLink& Scatter::checker() { return has_link(schema::kHomeShard) ? home() : links().front(); }

// All that the batch runs on, ascending. The home shard sees the client's own texts first, and finishes; a transaction of other shards needs it
// only where it does.
std::vector<schema::ShardId> Scatter::wanted_shards() const {
  std::vector<schema::ShardId> shards;
  bool home = !needs_spread();
  for (const Portal& portal : portals_) {
    shards.insert(shards.end(), portal.shards.begin(), portal.shards.end());
    home |= portal.plan && portal.source->plan->verb == router::Verb::query;
  }
  for (const Op& op : s_.work_->ops)   // no other shard knows its tables
    home |= op.type == 'P' && op.plan && (op.plan->target == router::Target::home || op.plan->target == router::Target::scatter);
  if (home || (shards.empty() && !s_.spread_)) shards.push_back(schema::kHomeShard);
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  return shards;
}

// A server has the settings of before the transaction, and is told in it what has changed since.
const SettingsRef& Scatter::wanted_settings() const { return needs_spread() ? s_.settings_.committed() : s_.settings_.current(); }

// The transaction was on one shard until now.
void Scatter::adopt_session_server() {
  s_.spread_ = std::make_unique<Spread>(s_, Spread::Kind::block);
  s_.spread_->adopt();
  if (std::exchange(s_.failed_locally_, false)) s_.transaction_ = Session::Transaction::failed;
  s_.transaction_shard_.reset();
}

// The servers that were leased become part of the transaction. Nothing of it was sent before: the plan might have been stale.
void Scatter::enlist() {
  const bool begins = !s_.spread_;
  const bool block = s_.in_transaction();
  if (begins) s_.spread_ = std::make_unique<Spread>(s_, block ? Spread::Kind::block : Spread::Kind::implicit);
  for (ScatterLink& link : links_) s_.spread_->enlist(std::move(link));
  links_.clear();
  if (block && s_.transaction_ == Session::Transaction::held) s_.transaction_ = Session::Transaction::open;
  if (s_.spread_->begun_at.empty() && s_.transaction_ != Session::Transaction::failed) ask_isolation(s_.spread_->first());
}

// Does the batch hold what could end the failed state of its transaction, so that what stands behind that runs?
bool Scatter::revives() const {
  return std::any_of(portals_.begin(), portals_.end(), [](const Portal& p) { return p.source->plan->verb == router::Verb::rollback_to_savepoint; });
}

// Whoever holds a shard's server waits for later shards only: no two wait for each other.
net::Task<Result<void>> Scatter::lease() {
  if (s_.transaction_ == Session::Transaction::failed && !revives()) co_return Result<void>{};
  for (const schema::ShardId shard : wanted_shards()) {
    if (s_.spread_ && s_.spread_->find(shard)) continue;
    if (s_.spread_ && s_.spread_->implicit() && s_.settings_.reading() != s_.settings_.committed()) co_return changed_before_shard();
    const bool kept = s_.pinned_ && s_.pinned_shard_ == shard;
    pool::Server* server = kept ? s_.pinned_ : nullptr;
    if (!server) {
      auto leased = co_await lease_one(shard);
      if (!leased) co_return leased.take_error();
      if (!*leased) co_return Result<void>{};   // the caller sees that the plan is stale
      server = *leased;
    }
    if (auto added = co_await add_link(shard, *server, kept); !added) co_return added.take_error();
  }
  s_.traffic_ = &(links_.empty() ? links() : links_).front().traffic();
  co_return Result<void>{};
}

// A replica that fails a login is left for another, and at last for the primary. Null: the plan is stale.
net::Task<Result<pool::Server*>> Scatter::lease_one(schema::ShardId shard) {
  for (int tries = 1;; ++tries) {
    if (s_.plan_is_stale()) co_return static_cast<pool::Server*>(nullptr);
    pool::Pool* pool = s_.choose_pool(shard, tries <= kReplicaTries && may_read_replica(shard));
    s_.server_is_replica_ = false;   // it speaks of the session's one server
    s_.work_->queued_at = pool->shared_from_this();
    s_.work_->request.settings = wanted_settings().get();
    s_.work_->request.first = !links_.empty() || s_.spread_;
    pool::Server* server = pool->acquire(s_.work_->request, s_.worker_.loop().now());
    if (server) {
      s_.work_->request.first = false;
      s_.work_->queued_at.reset();
      s_.worker_.traffic(pool->backend()).waits.observe(Duration::zero());
      co_return server;
    }
    const TimePoint since = s_.worker_.loop().now();
    if (s_.work_->request.first) s_.worker_.proxy().server_waits().begin(s_.id_, wait_for(s_.work_->queued_at));
    auto got = co_await s_.wait_in_queue(*s_.work_->queued_at);
    if (std::exchange(s_.work_->request.first, false)) s_.worker_.proxy().server_waits().end(s_.id_);
    const auto waited_at = std::exchange(s_.work_->queued_at, nullptr);
    if (got) {
      s_.worker_.traffic(waited_at->backend()).waits.observe(s_.worker_.loop().now() - since);
      co_return *got;
    }
    if (!got.error().connection_spoilt || tries == kTries) co_return got.take_error();
  }
}

ServerWaits::Wait Scatter::wait_for(std::shared_ptr<pool::Pool> wanted) {
  ServerWaits::Wait wait{s_.transaction_sent_at_, {}, std::move(wanted)};
  for (const ScatterLink& link : links_) wait.holds.push_back(link.server().pool);
  if (s_.spread_)
    for (const ScatterLink& link : s_.spread_->links()) wait.holds.push_back(link.server().pool);
  return wait;
}

// As Session::may_use_replica(); what the statement reads is the whole shard.
bool Scatter::may_read_replica(schema::ShardId shard) const {
  const config::Reads& reads = s_.database_->state->config->reads;
  if (!s_.work_->decision.read_only || s_.in_transaction() || needs_spread() || s_.pinned_ || s_.mode_ == config::PoolMode::session) return false;
  if (reads.consistency == config::Consistency::primary) return false;
  if (reads.consistency == config::Consistency::eventual) return true;
  WriteMarks::Scope whole;
  whole.whole = true;
  return s_.worker_.loop().now() - s_.database_->state->marks->last(whole, shard) > s_.database_->state->write_hold;
}

net::Task<Result<void>> Scatter::add_link(schema::ShardId shard, pool::Server& server, bool kept) {
  Traffic& traffic = s_.worker_.traffic(server.pool->backend());
  traffic.assignments.add();
  ScatterLink& link = links_.emplace_back(server, shard, traffic, kept);
  server.socket->set_waiter(&s_.waiter_);
  const SettingsState* wanted = wanted_settings().get();
  if (kept && !s_.work_->lost_by_reset.empty()) {
    s_.server_ = &server;
    auto told = co_await s_.run_own(std::exchange(s_.work_->lost_by_reset, {}));
    if (!std::exchange(s_.server_, nullptr)) links_.pop_back();
    co_return told;
  }
  if (kept || server.settings.get() == wanted) co_return Result<void>{};
  const auto* has = static_cast<const SettingsState*>(server.settings.get());
  if (fit_one_query(has, wanted)) {
    wire::write_query(link.out(), settings_query(has, wanted, false));
    link.owe(Step::settings);
    server.unnamed_statement = 0;
    co_return Result<void>{};
  }
  // What one of them sets decides how the next is read: each is a Query of its own.
  if (wanted != s_.settings_.current().get())
    co_return Error(sqlstate::kFeatureNotSupported, "this transaction has changed a setting on one shard, and cannot go on to a second with this client_encoding",
                    "Change settings in a transaction of its own.");
  s_.server_ = &server;
  s_.traffic_ = &traffic;
  s_.server_broken_ = false;
  auto prepared = co_await s_.prepare_server();
  s_.aside_ = false;
  if (!std::exchange(s_.server_, nullptr)) links_.pop_back();   // it was lost, and is gone
  co_return prepared;
}

// What a Flush left open on one server has read only, or is part of a transaction block: it is over. Outside of a block the server goes back.
net::Task<Result<void>> Scatter::close_sequence() {
  wire::write_sync(s_.work_->to_server);
  s_.work_->expected.push({Expect::sync, true, kNoOp});
  const bool writes = std::exchange(s_.work_->decision.writes, s_.sequence_wrote_);   // its end is that of what ran before
  while (!s_.work_->expected.empty() && !s_.server_broken_) {
    s_.flush_server();
    if (!s_.receive_from_server()) co_await s_.waiter_.wait();
  }
  s_.work_->decision.writes = writes;
  s_.mid_sequence_ = s_.in_sequence_ = false;
  if (s_.server_broken_) {
    const std::string pool = s_.server_->pool->name();
    s_.drop_server();
    co_return Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", pool, ")"), "Try again.");
  }
  if (!s_.give_back_now()) co_await s_.give_back();
  s_.forwarded_ = 0;
  co_return Result<void>{};
}

// ---- the end ----

void Scatter::cancel_run(ScatterLink& link) {
  link.cancelled = link.was_cancelled = true;
  ++s_.cancels_in_flight_;
  s_.worker_.proxy().send_cancel(link.server(), s_.worker_.index(), s_.id_);
}

void Scatter::cancel() {
  cancel_wanted_ = true;
  for (ScatterLink& link : links())
    if ((link.step() == Step::run || link.step() == Step::control) && !link.cancelled && !link.lost()) cancel_run(link);
}

// Cancels what still runs and reads what is still owed, without a look at it. A server that does not come to rest is closed.
net::Task<> Scatter::quiet() {
  const bool ignored = std::exchange(ignores_errors_, !failure_);
  net::Timer timer(s_.waiter_);
  timer.arm(Deadline::after(s_.worker_.loop().now(), kCleanUpTime));
  for (;;) {
    bool at_rest = true;
    const auto calm = [&](ScatterLink& link) {
      if (link.step() == Step::run && !link.cancelled && !link.lost()) cancel_run(link);
      if (timer.fired() && !link.at_rest()) link.break_off();
      link.flush();
      wire::Message row;
      while (next_row(link, row)) link.pop();
      at_rest &= link.at_rest() || link.lost();
    };
    for (ScatterLink& link : links_) calm(link);
    if (s_.spread_)
      for (ScatterLink& link : s_.spread_->links()) calm(link);
    if (at_rest && s_.cancels_in_flight_ == 0) break;
    co_await s_.waiter_.wait();
  }
  ignores_errors_ = ignored;
}

// Those of a transaction stay with it.
void Scatter::give_back() {
  const bool cancel_may_come = links_.empty() ? false : std::exchange(s_.cancel_may_come_, false);
  for (ScatterLink& link : links_) give_back(link, cancel_may_come);
  links_.clear();
}

void Scatter::give_back(ScatterLink& link, bool cancel_may_come) {
  pool::Server& server = link.server();
  const bool tainted = link.left.taints && !link.kept();
  const bool clean = link.at_rest() && !link.lost() && !tainted && !(cancel_may_come && link.was_cancelled);
  if (link.kept()) {
    if (clean) return;
    s_.server_ = s_.pinned_;
    s_.drop_server();
    closed_ = true;   // what the client kept there is gone
    s_.fatal({sqlstate::kConnectionFailure, "the server that this session kept was lost"});
  } else if (clean) {
    server.pool->release(&server, s_.worker_.loop().now());
  } else {
    server.socket->set_waiter(nullptr);
    server.pool->discard(&server, link.lost() ? pool::CloseReason::lost : pool::CloseReason::unclean);
  }
}

}  // namespace weir::proxy
