// Backend: one PostgreSQL (one host and port, one database) in one role of one shard.
//
// Identity never changes; health does, and is behind a mutex. Shared between threads by shared_ptr.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "config/settings.hpp"
#include "policy/circuit_breaker.hpp"
#include "policy/health.hpp"
#include "pool/budget.hpp"
#include "pool/connection_events.hpp"
#include "schema/bucket_map.hpp"

namespace weir::pool {

// A libpq connection string taken apart.
// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING
using ConnParams = std::vector<std::pair<std::string, std::string>>;
[[nodiscard]] Result<ConnParams> parse_conninfo(const std::string& conninfo);
[[nodiscard]] std::string_view get(const ConnParams& params, std::string_view name);   // "" if absent
void set(ConnParams& params, std::string_view name, std::string_view value);

class Backend;

struct BackendIdentity {
  std::string database;            // Weir's name of the database
  std::string shard_name;
  schema::ShardId shard = 0;
  policy::Role role = policy::Role::primary;
  unsigned replica_index = 0;      // among the shard's replicas
  unsigned weight = 1;
  std::string conninfo;            // as configured
  ConnParams params;               // parsed
  // Whose figures count it: that of the fallback database "*", for one of a database that the file does not name. Null: its own.
  std::shared_ptr<const Backend> counted_with;
};

class Backend {
 public:
  Backend(BackendIdentity identity, std::shared_ptr<Budget> budget, policy::BreakerSettings breaker);

  [[nodiscard]] const BackendIdentity& id() const { return id_; }
  // Small, and unique in the process but for those counted together: an index for tables kept beside the backends.
  [[nodiscard]] std::size_t serial() const { return serial_; }
  // The name of the database that its figures stand under.
  [[nodiscard]] const std::string& counted_as() const { return id_.counted_with ? id_.counted_with->counted_as() : id_.database; }
  [[nodiscard]] Budget& budget() const { return *budget_; }
  [[nodiscard]] const std::shared_ptr<Budget>& shared_budget() const { return budget_; }
  [[nodiscard]] const std::string& host() const { return host_; }
  [[nodiscard]] const std::string& port() const { return port_; }
  [[nodiscard]] const std::string& dbname() const { return dbname_; }
  // "app/s0 primary 10.0.0.1:5432": for messages.
  [[nodiscard]] std::string name() const;

  // --- health; any thread ---
  // Cheap: may reads (a replica) or anything (a primary) be sent there, as far as is known?
  [[nodiscard]] bool usable() const { return usable_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::string why_not() const;
  void set_verdict(const policy::Verdict& verdict, const policy::Probe& probe);
  // Login outcomes feed the breaker. allow_login(): false while it is open.
  [[nodiscard]] bool allow_login(TimePoint now);
  [[nodiscard]] TimePoint next_login() const;
  void login_succeeded();
  void set_breaker(policy::BreakerSettings settings);
  void login_failed(TimePoint now, const std::string& why);
  [[nodiscard]] policy::CircuitBreaker::State breaker_state(TimePoint now) const;
  [[nodiscard]] policy::Probe last_probe() const;

  // Server connections busy now plus clients waiting, over all users: for least_connections.
  std::atomic<unsigned> in_use{0};
  // Has a server ever let Weir into this database?
  std::atomic<bool> proven{false};
  const std::shared_ptr<ConnectionEvents> events;   // shared by those counted together

 private:
  const BackendIdentity id_;
  const std::size_t serial_;
  const std::shared_ptr<Budget> budget_;
  std::string host_, port_, dbname_;
  std::atomic<bool> usable_;
  mutable std::mutex mutex_;
  policy::CircuitBreaker breaker_;
  policy::Probe probe_;
  std::string reason_;
};

}  // namespace weir::pool
