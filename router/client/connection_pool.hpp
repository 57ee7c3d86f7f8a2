// ConnectionPool: a bounded set of connections to one backend, handed out first come, first served.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "policy/circuit_breaker.hpp"
#include "router/client/pool_counters.hpp"
#include "router/client/server_connection.hpp"

namespace weir::client {

struct PoolSettings {
  std::string name;      // "app/s0/primary", for messages
  std::string conninfo;  // complete
  unsigned size = 20;
  Duration connect_timeout = std::chrono::seconds(15);
  Duration idle_timeout = std::chrono::minutes(10);  // zero: never
  Duration lifetime = std::chrono::hours(1);         // zero: never
  policy::BreakerSettings breaker;
  // Run on every new connection: role and identity. Throws BackendUnavailable if it must not serve.
  std::function<void(ServerConnection&, Deadline)> check;
};

// Thread-safe. Must outlive what it handed out (leases hold it by shared_ptr).
class ConnectionPool {
 public:
  explicit ConnectionPool(PoolSettings settings);
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;

  // A live, clean connection. Waits in turn while all are in use; logs in itself where there is room. Throws
  // PoolTimeout at the deadline, BackendUnavailable when the backend cannot be reached (tried until the circuit opens;
  // at once while open).
  std::unique_ptr<ServerConnection> acquire(Deadline deadline);

  // Gives back what acquire() gave. `reusable`: it is clean; else it is closed. Never throws, never blocks.
  void release(std::unique_ptr<ServerConnection> connection, bool reusable) noexcept;

  [[nodiscard]] PoolCounters counters() const;
  [[nodiscard]] const PoolSettings& settings() const { return settings_; }

 private:
  using Connection = std::unique_ptr<ServerConnection>;
  struct Waiter {
    std::condition_variable woken;
    Connection connection;  // handed over, or
    bool may_open = false;  // room to log in; counted in open_ already
  };
  using Lock = std::unique_lock<std::mutex>;

  Connection wait_for_turn(Lock& lock, Deadline deadline);
  void hand_on();  // locked: gives what is free to the first waiters
  [[nodiscard]] bool worn_out(const ServerConnection& connection, TimePoint now) const;
  Connection open(Deadline deadline);
  Connection try_open(Deadline deadline, std::string& failure);
  void give_slot_back();
  void require_closed_circuit();
  void note_failure(bool counts, const std::string& why);
  [[noreturn]] void throw_timeout(Deadline deadline, TimePoint since) const;

  const PoolSettings settings_;
  mutable std::mutex mutex_;
  policy::CircuitBreaker breaker_;
  std::string last_failure_;
  std::vector<Connection> idle_;  // the most recently used at the back
  std::list<Waiter*> waiting_;
  unsigned open_ = 0;  // handed out, idle and logging in
};

}  // namespace weir::client
