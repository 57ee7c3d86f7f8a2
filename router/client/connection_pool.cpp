#include "router/client/connection_pool.hpp"

#include <algorithm>
#include <thread>

#include "router/client/conninfo.hpp"
#include "router/client/errors.hpp"

namespace weir::client {

namespace {

// Between two attempts to log in for one caller.
constexpr auto kRetryPause = std::chrono::milliseconds(50);
// A login that was given less time than this and ran out of it says more about the caller's haste than about the
// backend.
constexpr auto kFairLoginTime = std::chrono::seconds(1);

std::string millis(Duration d) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(d).count()) + " ms";
}

}  // namespace

ConnectionPool::ConnectionPool(PoolSettings settings) : settings_(std::move(settings)), breaker_(settings_.breaker) {}

std::unique_ptr<ServerConnection> ConnectionPool::acquire(Deadline deadline) {
  std::vector<Connection> dead;  // closed after the lock is given up: closing may block
  {
    Lock lock(mutex_);
    Connection connection = wait_for_turn(lock, deadline);
    while (connection != nullptr && (!connection->quiet() || worn_out(*connection, Clock::now()))) {
      dead.push_back(std::move(connection));  // its place is ours
      if (idle_.empty()) break;
      --open_;
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
    if (connection != nullptr) return connection;
  }
  dead.clear();
  return open(deadline);
}

// A connection, or nullptr: room to open one (counted already).
ConnectionPool::Connection ConnectionPool::wait_for_turn(Lock& lock, Deadline deadline) {
  const TimePoint since = Clock::now();
  Waiter self;
  waiting_.push_back(&self);
  hand_on();
  const auto served = [&] { return self.connection != nullptr || self.may_open; };
  if (deadline.is_never())
    self.woken.wait(lock, served);
  else if (!self.woken.wait_until(lock, deadline.at(), served)) {
    waiting_.remove(&self);
    throw_timeout(deadline, since);
  }
  return std::move(self.connection);
}

void ConnectionPool::hand_on() {
  while (!waiting_.empty() && (!idle_.empty() || open_ < settings_.size)) {
    Waiter* first = waiting_.front();
    waiting_.pop_front();
    if (!idle_.empty()) {
      first->connection = std::move(idle_.back());
      idle_.pop_back();
    } else {
      first->may_open = true;
      ++open_;
    }
    first->woken.notify_one();
  }
}

bool ConnectionPool::worn_out(const ServerConnection& connection, TimePoint now) const {
  const bool old = settings_.lifetime > Duration::zero() && now - connection.opened_at() > settings_.lifetime;
  const bool unused = settings_.idle_timeout > Duration::zero() && connection.idle_since != TimePoint{} &&
                      now - connection.idle_since > settings_.idle_timeout;
  return old || unused;
}

// Logs in on a place that is counted already; gives the place back if that fails.
ConnectionPool::Connection ConnectionPool::open(Deadline deadline) {
  try {
    for (;;) {
      require_closed_circuit();
      std::string failure;
      if (Connection connection = try_open(deadline, failure)) return connection;
      if (deadline.passed(Clock::now() + kRetryPause))
        throw BackendUnavailable("pool " + settings_.name + ": no connection in time: " + failure);
      std::this_thread::sleep_for(kRetryPause);
    }
  } catch (...) {
    give_slot_back();
    throw;
  }
}

ConnectionPool::Connection ConnectionPool::try_open(Deadline deadline, std::string& failure) {
  const TimePoint begun = Clock::now();
  const Deadline login = std::min(deadline, Deadline::after(begun, settings_.connect_timeout));
  try {
    auto connection = std::make_unique<ServerConnection>(settings_.conninfo, login);
    if (settings_.check) settings_.check(*connection, login);
    const std::lock_guard lock(mutex_);
    breaker_.on_success();
    return connection;
  } catch (const BackendUnavailable& e) {  // reached, but it must not serve: trying again at once is no use
    note_failure(true, e.what());
    throw;
  } catch (const pqxx::failure& e) {
    failure = e.what();
    const TimePoint now = Clock::now();
    note_failure(!login.passed(now) || now - begun >= std::min<Duration>(settings_.connect_timeout, kFairLoginTime),
                 failure);
    return nullptr;
  } catch (...) {
    note_failure(true, "unexpected failure");
    throw;
  }
}

void ConnectionPool::give_slot_back() {
  const std::lock_guard lock(mutex_);
  --open_;
  hand_on();
}

void ConnectionPool::require_closed_circuit() {
  const std::lock_guard lock(mutex_);
  const TimePoint now = Clock::now();
  if (breaker_.allow(now)) return;
  const Duration wait = std::max(Duration::zero(), breaker_.next_trial() - now);
  throw BackendUnavailable("pool " + settings_.name + ": circuit open after " + std::to_string(breaker_.failures()) +
                           " failures, next trial in " + millis(wait) + "; last: " + last_failure_);
}

// A failure that does not count must still end a half-open trial.
void ConnectionPool::note_failure(bool counts, const std::string& why) {
  const std::lock_guard lock(mutex_);
  const TimePoint now = Clock::now();
  last_failure_ = why;
  if (counts || breaker_.state(now) != policy::CircuitBreaker::State::closed) breaker_.on_failure(now);
}

void ConnectionPool::release(Connection connection, bool reusable) noexcept {
  if (connection == nullptr) return;
  if (!reusable) connection.reset();  // before the lock: closing may block
  const std::lock_guard lock(mutex_);
  if (connection != nullptr) {
    connection->idle_since = Clock::now();
    idle_.push_back(std::move(connection));
  } else {
    --open_;
  }
  hand_on();
}

PoolCounters ConnectionPool::counters() const {
  const std::lock_guard lock(mutex_);
  return {settings_.name,
          settings_.size,
          open_,
          static_cast<unsigned>(idle_.size()),
          static_cast<unsigned>(waiting_.size()),
          breaker_.state(Clock::now())};
}

void ConnectionPool::throw_timeout(Deadline deadline, TimePoint since) const {
  const auto waiting = static_cast<unsigned>(waiting_.size());
  const auto in_use = open_ - static_cast<unsigned>(idle_.size());
  throw PoolTimeout("pool " + settings_.name + " (" + conninfo_label(settings_.conninfo) + "): no connection within " +
                        millis(deadline.at() - since) + ": " + std::to_string(in_use) + " of " +
                        std::to_string(settings_.size) + " in use, " + std::to_string(waiting) + " others waiting",
                    settings_.name, in_use, waiting);
}

}  // namespace weir::client
