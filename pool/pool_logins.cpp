// Opening servers: how many, within which bounds, and what comes of it.
#include <algorithm>
#include <random>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "pool/pool.hpp"

namespace weir::pool {

namespace {

std::atomic<std::uint64_t> server_ids{0};

constexpr Duration kRetryPause = std::chrono::milliseconds(100);

// Lifetimes end at random within their last fifth: what was opened together is not renewed together.
TimePoint end_of_life(TimePoint now, Duration lifetime) {
  if (lifetime <= Duration::zero()) return TimePoint::max();
  thread_local std::minstd_rand random{std::random_device{}()};
  return now + lifetime - std::uniform_int_distribution<Duration::rep>(0, lifetime.count() / 5)(random) * Duration(1);
}

}  // namespace

// ---- all with the lock held ----

// No more logins than clients wait, the minimum aside.
bool Pool::wants_more(TimePoint now) const {
  const std::size_t have = total();
  if (have < std::min(settings_.min, settings_.size)) return true;
  if (opening_ >= waiting_) return false;
  if (have < settings_.size || (opening_ < first_waiting_ && have < most())) return true;
  if (settings_.reserve == 0 || have >= std::size_t{settings_.size} + settings_.reserve) return false;
  return opening_ < waiting_since(now - settings_.reserve_timeout, settings_.size + settings_.reserve);
}

// Its size with its reserves; that of enlistments while somebody waits who is to come first.
std::size_t Pool::most() const {
  return std::size_t{settings_.size} + settings_.reserve + (first_waiting_ > 0 ? settings_.enlist_reserve : 0);
}

void Pool::open_more(Later& later, TimePoint now) {
  Budget* refused = nullptr;
  if (!retired_ && (!paused_ || first_waiting_ > 0) && now >= retry_at_ && wants_more(now)) {
    const TimePoint since = oldest_arrival();
    while (!refused && wants_more(now)) {
      refused = take_bounds(since);
      if (refused) break;
      // Last, because whom the breaker admits must report how it went.
      if (!backend_->allow_login(now)) {
        give_back_bounds();
        break;
      }
      ++opening_;
      ++later.logins;
    }
  }
  const bool stood = in_line_at_ != nullptr;
  stand_in_line(waiting_ > opening_ ? refused : nullptr);
  if (in_line_at_ && (!stood || later.logins > 0)) later.relieve = in_line_at_;
}

// After the queue changed: the place in line is its oldest client's.
void Pool::keep_place() {
  if (in_line_at_) stand_in_line(waiting_ > opening_ ? in_line_at_ : nullptr);
}

// Takes one of each; the one that refuses, or nullptr.
Budget* Pool::take_bounds(TimePoint since) {
  for (std::size_t i = 0; i < bounds_.size(); ++i) {
    if (bounds_[i]->take(this, since)) continue;
    for (std::size_t taken = 0; taken < i; ++taken) bounds_[taken]->give_back();
    return bounds_[i].get();
  }
  for (const auto& bound : bounds_) bound->keep();
  return nullptr;
}

void Pool::give_back_bounds() {
  for (const auto& bound : bounds_) bound->give_back();
}

void Pool::stand_in_line(Budget* refused) {
  if (in_line_at_ && in_line_at_ != refused) in_line_at_->sated(this);
  const TimePoint since = refused ? oldest_arrival() : TimePoint{};
  if (refused && (in_line_at_ != refused || in_line_since_ != since)) refused->starve(shared_from_this(), since);
  in_line_at_ = refused;
  in_line_since_ = since;
}

void Pool::add_server(LoggedIn in, TimePoint now, Later& later) {
  auto server = std::make_unique<Server>();
  server->id = server_ids.fetch_add(1, std::memory_order_relaxed) + 1;
  server->pool = this;
  server->link = std::move(in.link);
  server->key = in.key;
  server->backend_pid = in.backend_pid();
  server->created = server->last_used = now;
  server->expires = end_of_life(now, settings_.lifetime);
  server->generation = generation_;
  welcome_ = std::make_shared<const Welcome>(Welcome{std::move(in.parameters), std::move(in.search_path)});
  Server* s = server.get();
  all_.emplace(s->id, std::move(server));
  if (retired_) return remove_server(s, later, CloseReason::retired, now);
  Request* request = paused_ && first_waiting_ == 0 ? nullptr : next_request(kNoWorker, now);
  if (request) return grant(*request, s, -1);
  const unsigned worker = next_worker_++ % per_worker_.size();
  if (auto attached = s->attach(host_.loop(worker)); !attached) return remove_server(s, later, CloseReason::lost, now);
  park(s, worker);
}

// ---- without the lock ----

void Pool::open_now(TimePoint now) {
  Later later;
  {
    std::lock_guard lock(mutex_);
    open_more(later, now);
  }
  carry_out(later);
}

void Pool::start_login() {
  host_.connector().run([self = shared_from_this()] {
    LoginCheck check;
    Duration timeout;
    Credentials credentials;
    {
      std::lock_guard lock(self->mutex_);
      check = self->check_;
      timeout = self->settings_.connect_timeout;
      credentials = self->credentials_;
    }
    self->finish_login(log_in(*self->backend_, credentials, check, Deadline::after(Clock::now(), timeout)));
  });
}

void Pool::finish_login(Result<LoggedIn> outcome) {
  const TimePoint now = Clock::now();
  Later later;
  std::unique_lock lock(mutex_);
  --opening_;
  (outcome ? backend_->events->logins : backend_->events->login_failures).fetch_add(1, std::memory_order_relaxed);
  if (outcome) {
    backend_->proven = true;
    if (log::enabled(log::Level::info))
      log::info(concat(name_, ": server connection opened (pid ", std::to_string(outcome->backend_pid()), ")"));
    backend_->login_succeeded();
    last_failure_.reset();
    retry_at_ = {};
    add_server(std::move(*outcome), now, later);
  } else {
    give_back_bounds();
    later.gave_back = true;
    const Error error = outcome.take_error();
    log::warning(concat(name_, ": login failed: ", error.message));
    last_failure_ = error;
    const bool passing = error.connection_spoilt;
    if (error.code == sqlstate::kConnectionFailure)
      backend_->login_failed(now, error.message);
    else
      backend_->login_succeeded();
    retry_at_ = now + (passing ? kRetryPause : settings_.refusal_pause);
    // Reads have somewhere else to go; a refusal does not pass. Writers wait for their primary.
    if (!passing || backend_->id().role == policy::Role::replica) fail_all(error);
  }
  open_more(later, now);
  lock.unlock();
  carry_out(later);
}

}  // namespace weir::pool
