// A server for the batch: which pool, the wait in its queue, and giving it back.
#include "base/strings.hpp"
#include "policy/balance.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {
constexpr Duration kOwnStatementTime = std::chrono::seconds(10);
constexpr std::size_t kMaxReplicas = 64;

Error blocked_over_shards(const pool::Pool& pool) {
  return {sqlstate::kSerializationFailure, concat("transactions over several shards wait for each other's server connections, of which ", pool.name(), " has no more"),
          "Run the transaction again; pool.size, or pool.enlist_reserve, may be too small."};
}

// When a thousand clients wait, nothing of this one's batch is in the cache any more: its lines are fetched together.
void fetch_ahead(const Work& work) {
  constexpr std::size_t kLine = 64, kFewOps = 6;
  const auto fetch = [](const void* at, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; i += kLine) __builtin_prefetch(static_cast<const char*>(at) + i);
  };
  fetch(&work, sizeof work);
  fetch(work.ops.data(), std::min(work.ops.size(), kFewOps) * sizeof(Op));
}
}  // namespace

// ---- which pool ----

UserPools& Session::user_pools() {
  const std::uint64_t version = database_->topology->version;
  if (pools_->version == version) return *pools_;
  const auto& shards = database_->state->shards;
  pools_->version = version;
  const config::Settings& settings = *database_->topology->settings;
  pools_->limits = limits_of(settings, *database_->state->config, settings.find_user(user_));
  Proxy& proxy = worker_.proxy();
  pools_->credentials = proxy.authenticator().credentials_of(user_, proxy.asked_database(database_->name));   // a reload may have changed the password
  pools_->primaries.assign(shards.size(), nullptr);
  pools_->replicas.assign(shards.size(), {});
  for (std::size_t i = 0; i < shards.size(); ++i) pools_->replicas[i].resize(shards[i].replicas.size());
  return *pools_;
}

pool::Pool* Session::primary_pool(schema::ShardId shard) {
  auto& slot = user_pools().primaries[shard];
  if (!slot) slot = worker_.proxy().make_pool(*database_, shard, database_->state->shards[shard].primary, pools_->credentials);
  return slot.get();
}

// The read of what was just written must not go to a replica that may not have it yet.
bool Session::may_use_replica() const {
  const config::Reads& reads = database_->state->config->reads;
  if (!work_->decision.runs || !work_->decision.read_only || in_transaction() || pinned_ || work_->decision.error || work_->decision.check_only) return false;
  if (mode_ == config::PoolMode::session) return false;   // it will keep the server, and may write later
  if (reads.consistency == config::Consistency::primary) return false;
  if (reads.consistency == config::Consistency::eventual) return true;
  return worker_.loop().now() - database_->state->marks->last(work_->decision.scope, target_shard()) > database_->state->write_hold;
}

bool Session::marks_matter() const {
  return database_->state->config->reads.consistency == config::Consistency::read_your_writes && database_->state->has_replicas;
}

pool::Pool* Session::choose_pool(schema::ShardId shard, bool read) {
  const auto& replicas = database_->state->shards[shard].replicas;
  server_is_replica_ = false;
  if (!read || replicas.empty()) return primary_pool(shard);
  policy::Candidate candidates[kMaxReplicas];
  const std::size_t n = std::min(replicas.size(), kMaxReplicas);
  for (std::size_t i = 0; i < n; ++i)
    candidates[i] = {replicas[i]->usable(), replicas[i]->id().weight, replicas[i]->in_use.load(std::memory_order_relaxed)};
  const auto chosen = policy::choose(database_->state->config->reads.balance, {candidates, n}, database_->turn++);
  if (!chosen) return primary_pool(shard);
  server_is_replica_ = true;
  auto& slot = user_pools().replicas[shard][*chosen];
  if (!slot) slot = worker_.proxy().make_pool(*database_, shard, replicas[*chosen], pools_->credentials);
  return slot.get();
}

schema::ShardId Session::target_shard() const {
  if (transaction_shard_) return *transaction_shard_;
  if (work_->decision.shard) return *work_->decision.shard;
  if (work_->decision.prepares_on) return *work_->decision.prepares_on;
  if (pinned_) return pinned_shard_;   // it may be about what is kept there: FETCH, DISCARD ALL ...
  return schema::kHomeShard;
}

// A reload may have taken the shard away meanwhile.
std::string_view Session::shard_name(schema::ShardId shard) const {
  const auto& shards = database_->state->config->shards;
  return shard < shards.size() ? std::string_view(shards[shard].name) : "(removed)";
}

// A session keeps state on one server. Would the batch leave more of it on `shard`?
std::optional<Error> Session::keeps_elsewhere(schema::ShardId shard) const {
  const router::Effects& e = work_->decision.effects;
  if (!pinned_ || pinned_ == server_ || pinned_shard_ == shard || !(e.pins || e.holds || e.opaque)) return std::nullopt;
  return Error(sqlstate::kFeatureNotSupported,
               concat("this session keeps state on shard ", shard_name(pinned_shard_), " (", kept_.reasons(), ") and cannot keep more on shard ",
                      shard_name(shard), e.pins || e.holds ? "" : ", where the statement runs code that may leave some"),
               "DISCARD ALL gives the first up.");
}

// The transaction (or the open sequence) has its server already: the statement must fit it.
std::optional<Error> Session::does_not_fit() const {
  if (auto keeps = keeps_elsewhere(server_shard_)) return keeps;
  if (!work_->decision.shard || *work_->decision.shard == server_shard_) return std::nullopt;
  return Error(sqlstate::kFeatureNotSupported,
               concat("this transaction runs on shard ", shard_name(server_shard_), ", the statement belongs to shard ",
                      shard_name(*work_->decision.shard), ", and cannot go there any more"),
               "End the transaction first, or keep to keys of one shard within it.");
}

// ---- leasing ----

// The steady state: a server is idle, and nothing has to be said to it first.
bool Session::lease_now() {
  if (server_) return !does_not_fit() && !needs_sequences() && !needs_permit() && work_->lost_by_reset.empty();
  const schema::ShardId shard = target_shard();
  if (pinned_ || (work_->decision.shard && *work_->decision.shard != shard)) return false;
  read_leased_ = may_use_replica();
  pool::Pool* pool = choose_pool(shard, read_leased_);
  work_->request.settings = settings_.current().get();
  pool::Server* server = pool->acquire(work_->request, worker_.loop().now());
  if (!server) {
    work_->queued_at = pool->shared_from_this();
    return false;
  }
  adopt_server(server, shard);
  return !needs_permit() && (!needs_preparing() || may_prefix());
}

void Session::adopt_server(pool::Server* server, schema::ShardId shard) {
  server_ = server;
  server_shard_ = shard;
  server_broken_ = false;
  if (transaction_ == Transaction::held && !aside_) transaction_shard_ = shard;
  server->socket->set_waiter(&waiter_);
  traffic_ = &worker_.traffic(server->pool->backend());
  traffic_->assignments.add();
  traffic_->waits.observe(worker_.loop().now() - work_->request.since);
}

net::Task<Result<void>> Session::lease() {
  if (pinned_ && keeps_elsewhere(server_ ? server_shard_ : target_shard()) && kept_.only(Kept::sequence)) release_soft_pin();
  if (server_ && !work_->queued_at) {
    if (auto misfit = does_not_fit()) co_return std::move(*misfit);
  }
  const schema::ShardId shard = target_shard();
  if (!server_)
    if (auto keeps = keeps_elsewhere(shard)) co_return std::move(*keeps);
  if (!server_ && work_->decision.shard && *work_->decision.shard != shard) {
    server_shard_ = shard;
    co_return std::move(*does_not_fit());
  }
  if (!server_ && pinned_ && pinned_shard_ == shard) {
    server_ = pinned_;
    traffic_ = &worker_.traffic(server_->pool->backend());
    server_shard_ = shard;
    server_is_replica_ = false;
  }
  // A replica that fails a login is left for another, and at last for the primary.
  for (int tries = 0; !server_; ++tries) {
    if (plan_is_stale()) co_return Result<void>{};   // the caller plans again
    if (!work_->queued_at) {
      read_leased_ = may_use_replica() && tries < 3;
      work_->queued_at = choose_pool(shard, read_leased_)->shared_from_this();
      work_->request.settings = settings_.current().get();
      if (pool::Server* server = work_->queued_at->acquire(work_->request, worker_.loop().now())) {
        work_->queued_at.reset();
        adopt_server(server, shard);
        break;
      }
    }
    auto got = co_await wait_in_queue(*work_->queued_at);
    work_->queued_at.reset();
    if (got) {
      adopt_server(*got, shard);
    } else if (!got.error().connection_spoilt || tries >= 4) {
      co_return got.take_error();
    }
  }
  if (plan_is_stale()) co_return Result<void>{};
  if (needs_permit())
    if (auto refused = take_permit()) {
      aside_ = !was_held();
      co_return std::move(*refused);
    }
  if (was_held() || server_ == pinned_)
    if (auto prepared = co_await prepare_held_server(); !prepared) co_return prepared.take_error();
  if (!was_held() && needs_preparing() && !may_prefix()) co_return co_await prepare_server();
  co_return Result<void>{};
}

// Did the server belong to this session before the batch, in the middle of something?
bool Session::was_held() const {
  return mid_sequence_ || transaction_ == Transaction::open || transaction_ == Transaction::failed;
}

net::Task<Result<pool::Server*>> Session::wait_in_queue(pool::Pool& pool) {
  const TimePoint since = worker_.loop().now();
  const config::Pool& limits = worker_.topology()->settings->pool;
  state_ = State::waiting;
  stash();
  worker_.give_up_soft_pins(pool);
  // A login is bounded as a whole, by what was armed before.
  const Deadline before = logged_in_ ? Deadline::never() : timer_.deadline();
  const Deadline last = std::min(before, Deadline::after(since, limits.wait_timeout));
  Deadline notify = logged_in_ ? Deadline::after(since, limits.wait_notify) : Deadline::never();
  const auto next_look = [&] {
    return work_->request.first ? Deadline::after(worker_.loop().now(), ServerWaits::kPatience) : Deadline::never();
  };
  timer_.arm(std::min({last, notify, next_look()}));
  std::optional<Error> error;
  pool::Server* server = nullptr;
  while (!server && !error) {
    if ((server = pool.taken(work_->request))) break;
    if (!pool::Pool::waits(work_->request)) {
      error = *work_->request.error;
    } else if (client_->hung_up() || client_eof_ || (end_with_ && end_now_)) {
      error = Error(sqlstate::kConnectionFailure, "the client went away");   // whatever it may have said before
    } else if (std::exchange(cancel_requested_, false)) {
      error = Error(sqlstate::kQueryCanceled, "canceling statement due to user request");
    } else if (!timer_.fired()) {
      co_await waiter_.wait();
      fetch_ahead(*work_);
    } else if (last.passed(worker_.loop().now())) {
      error = pool.timeout_error(worker_.loop().now() - since);
      database_->stats->timed_out(Timeout::wait);
    } else if (work_->request.first && worker_.proxy().server_waits().must_give_way(id_)) {
      error = blocked_over_shards(pool);
    } else {
      if (notify.passed(worker_.loop().now())) {
        still_queued(pool, worker_.loop().now() - since);
        notify = Deadline::never();
      }
      timer_.arm(std::min({last, notify, next_look()}));
    }
  }
  if (!server) {
    pool.cancel(work_->request);
    worker_.traffic(pool.backend()).waits.observe(worker_.loop().now() - since);
  }
  timer_.arm(before);
  cancel_requested_ = false;
  state_ = State::active;
  if (server) co_return server;
  co_return std::move(*error);
}

// pool.wait_notify: whoever looks at the client knows what it waits for.
void Session::still_queued(const pool::Pool& pool, Duration waited) {
  wire::write_notice(out_, wire::Severity::notice, pool.timeout_error(waited));
  flush_client();
}

// ---- statements of the proxy's own ----

net::Task<Result<void>> Session::discard_all() {
  auto discarded = co_await run_own("DISCARD ALL");
  if (!discarded) co_return discarded.take_error();
  server_->settings = nullptr;
  server_->prepared.clear();
  server_->unnamed_statement = 0;
  server_->sequences_of = 0;
  co_return Result<void>{};
}

net::Task<Result<void>> Session::run_own(std::string_view sql, std::vector<std::pair<std::string, std::string>>* parameters) {
  own_parameters_ = parameters;
  swallowed_error_.reset();
  wire::write_query(work_->to_server, sql);
  work_->expected.push({Expect::query, true, 0});
  server_->unnamed_statement = 0;   // a simple Query drops it
  own_running_ = true;
  stash();
  net::Timer timer(waiter_);
  timer.arm(Deadline::after(worker_.loop().now(), kOwnStatementTime));
  while (!work_->expected.empty() && !server_broken_ && !timer.fired()) {
    flush_server();
    if (!receive_from_server()) co_await waiter_.wait();
  }
  own_running_ = false;
  own_parameters_ = nullptr;
  if (!work_->expected.empty() || server_broken_) {
    server_broken_ = true;
    Error error = server_fatal_.value_or(Error(sqlstate::kConnectionFailure,
                                               concat("the server connection was lost (", server_->pool->name(), ")"), "Try again."));
    drop_server();
    co_return error;
  }
  if (swallowed_error_) co_return *std::exchange(swallowed_error_, std::nullopt);
  co_return Result<void>{};
}

// ---- giving it back ----

// The steady state: nothing keeps it, nothing has to be cleaned.
bool Session::give_back_now() {
  if ((in_transaction() && !aside_) || mid_sequence_) return !server_broken_;
  if (server_broken_ || pin_after_ || soft_after_ || tainted_ || permit_ || must_ask() || cancels_in_flight_ > 0 || cancel_may_come_ || server_ == pinned_ || !work_->lost_by_reset.empty())
    return false;
  server_->pool->release(std::exchange(server_, nullptr), worker_.loop().now());
  return true;
}

// A cancel that arrives late must never hit another client's statement.
net::Task<> Session::await_cancels() {
  struct Counted {
    explicit Counted(pool::Pool& of) : pool(of) { pool.being_canceled.fetch_add(1, std::memory_order_relaxed); }
    ~Counted() { pool.being_canceled.fetch_sub(1, std::memory_order_relaxed); }
    pool::Pool& pool;
  } counted(*server_->pool);
  while (cancels_in_flight_ > 0) {
    stash();
    co_await waiter_.wait();
  }
}

net::Task<> Session::give_back() {
  if (server_broken_) {
    drop_server();
    co_return;
  }
  if ((in_transaction() && !aside_) || mid_sequence_) co_return;
  flush_client();
  if (must_ask() && cancels_in_flight_ > 0) co_await await_cancels();   // they must not hit the question
  if (must_ask()) co_await ask_server();
  if (!server_) co_return;
  if (keep_server()) {
    server_ = nullptr;
    co_return;
  }
  if (cancels_in_flight_ > 0) co_await await_cancels();
  if (std::exchange(cancel_may_come_, false)) {
    drop_server();
    co_return;
  }
  if (std::exchange(tainted_, false)) {
    if (auto clean = co_await discard_all(); !clean) {
      if (server_) drop_server();
      co_return;
    }
  }
  if (!std::exchange(work_->lost_by_reset, {}).empty()) server_->settings = unknown_settings();
  server_->pool->release(std::exchange(server_, nullptr), worker_.loop().now());
}

void Session::drop_server() {
  if (!server_) return;
  settings_error_.reset();
  work_->lost_by_reset.clear();
  work_->asked_names.clear();
  if (!pinned_ || server_ == pinned_) unpin();
  asks_ = {};
  found_.reset();
  server_->socket->set_waiter(nullptr);
  const auto why = server_broken_ ? pool::CloseReason::lost : pool::CloseReason::unclean;
  server_->pool->discard(std::exchange(server_, nullptr), why);
  work_->expected.clear();
  work_->to_server.clear();
  work_->carry.clear();
  bulk_left_ = 0;
  copy_bulk_left_ = 0;
  copy_syncs_ = 0;
  in_sequence_ = sequence_wrote_ = copy_failed_ = copy_given_up_ = false;
  copy_in_ = mid_sequence_ = tainted_ = pin_after_ = soft_after_ = server_broken_ = false;
}

}  // namespace weir::proxy
