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
}  // namespace

ScatterLink& Scatter::link_of(schema::ShardId shard) {
  return *std::find_if(links_.begin(), links_.end(), [&](const ScatterLink& link) { return link.shard() == shard; });
}

// All that the batch runs on, ascending. The home shard sees the client's own texts first.
std::vector<schema::ShardId> Scatter::wanted_shards() const {
  std::vector<schema::ShardId> shards{schema::kHomeShard};
  for (const Portal& portal : portals_) shards.insert(shards.end(), portal.shards.begin(), portal.shards.end());
  std::sort(shards.begin(), shards.end());
  shards.erase(std::unique(shards.begin(), shards.end()), shards.end());
  return shards;
}

// Whoever holds a shard's server waits for later shards only: no two wait for each other.
net::Task<Result<void>> Scatter::lease() {
  for (const schema::ShardId shard : wanted_shards()) {
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
  s_.traffic_ = &links_.front().traffic();
  co_return Result<void>{};
}

// A replica that fails a login is left for another, and at last for the primary. Null: the plan is stale.
net::Task<Result<pool::Server*>> Scatter::lease_one(schema::ShardId shard) {
  for (int tries = 1;; ++tries) {
    if (s_.plan_is_stale()) co_return static_cast<pool::Server*>(nullptr);
    pool::Pool* pool = s_.choose_pool(shard, tries <= kReplicaTries && may_read_replica(shard));
    s_.server_is_replica_ = false;   // it speaks of the session's one server
    s_.queued_at_ = pool->shared_from_this();
    s_.request_.settings = s_.settings_.current().get();
    pool::Server* server = pool->acquire(s_.request_, s_.worker_.loop().now());
    if (server) {
      s_.queued_at_.reset();
      s_.worker_.traffic(pool->backend()).waits.observe(Duration::zero());
      co_return server;
    }
    const TimePoint since = s_.worker_.loop().now();
    auto got = co_await s_.wait_in_queue(*s_.queued_at_);
    const auto waited_at = std::exchange(s_.queued_at_, nullptr);
    if (got) {
      s_.worker_.traffic(waited_at->backend()).waits.observe(s_.worker_.loop().now() - since);
      co_return *got;
    }
    if (!got.error().connection_spoilt || tries == kTries) co_return got.take_error();
  }
}

// As Session::may_use_replica(); what the statement reads is the whole shard.
bool Scatter::may_read_replica(schema::ShardId shard) const {
  const config::Reads& reads = s_.database_->state->config->reads;
  if (!s_.decision_.read_only || s_.in_transaction() || s_.pinned_ || s_.mode_ == config::PoolMode::session) return false;
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
  const SettingsState* wanted = s_.settings_.current().get();
  if (kept && !s_.lost_by_reset_.empty()) {
    s_.server_ = &server;
    auto told = co_await s_.run_own(std::exchange(s_.lost_by_reset_, {}));
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
  s_.server_ = &server;
  s_.traffic_ = &traffic;
  s_.server_broken_ = false;
  auto prepared = co_await s_.prepare_server();
  s_.aside_ = false;
  if (!std::exchange(s_.server_, nullptr)) links_.pop_back();   // it was lost, and is gone
  co_return prepared;
}

// What a Flush left open on one server has read only: it is over, and the server goes back.
net::Task<Result<void>> Scatter::close_sequence() {
  wire::write_sync(s_.to_server_);
  s_.expected_.push({Expect::own_sync, true, kNoOp});
  while (!s_.expected_.empty() && !s_.server_broken_) {
    s_.flush_server();
    if (!s_.receive_from_server()) co_await s_.waiter_.wait();
  }
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
  for (ScatterLink& link : links_)
    if (link.step() == Step::run && !link.cancelled && !link.lost()) cancel_run(link);
}

// Cancels what still runs and reads what is still owed, without a look at it. A server that does not come to rest is closed.
net::Task<> Scatter::quiet() {
  const bool ignored = std::exchange(ignores_errors_, !failure_);
  net::Timer timer(s_.waiter_);
  timer.arm(Deadline::after(s_.worker_.loop().now(), kCleanUpTime));
  for (;;) {
    bool at_rest = true;
    for (ScatterLink& link : links_) {
      if (link.step() == Step::run && !link.cancelled && !link.lost()) cancel_run(link);
      if (timer.fired() && !link.at_rest()) link.break_off();
      link.flush();
      wire::Message row;
      while (next_row(link, row)) link.pop();
      at_rest &= link.at_rest() || link.lost();
    }
    if (at_rest && s_.cancels_in_flight_ == 0) break;
    co_await s_.waiter_.wait();
  }
  ignores_errors_ = ignored;
}

void Scatter::give_back() {
  const bool cancel_may_come = std::exchange(s_.cancel_may_come_, false);
  for (ScatterLink& link : links_) give_back(link, cancel_may_come);
  links_.clear();
}

void Scatter::give_back(ScatterLink& link, bool cancel_may_come) {
  pool::Server& server = link.server();
  const bool clean = link.at_rest() && !link.lost() && !(cancel_may_come && link.was_cancelled);
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
