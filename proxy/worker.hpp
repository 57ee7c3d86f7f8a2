// Worker: one thread, one loop, its clients. Everything of a client happens here.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "net/conduit.hpp"
#include "net/loop.hpp"
#include "net/socket.hpp"
#include "pool/pools.hpp"
#include "proxy/session_limits.hpp"
#include "proxy/settings_state.hpp"
#include "proxy/stats.hpp"
#include "proxy/topology.hpp"
#include "proxy/work.hpp"
#include "router/router.hpp"

namespace weir::proxy {

class Proxy;
class Session;

// The pools that one login uses in one database, found once and kept while the topology stays.
struct UserPools {
  pool::Credentials credentials;
  std::vector<std::shared_ptr<pool::Pool>> primaries;                 // by ShardId; made on first use
  std::vector<std::vector<std::shared_ptr<pool::Pool>>> replicas;     // by ShardId and replica
  std::uint64_t version = 0;                                          // of the topology
  SessionLimits limits;
  unsigned sessions = 0;                                              // that point here
  // Start-up settings that a server has accepted, and the parameters it reported for them.
  std::unordered_map<SettingsRef, std::vector<std::pair<std::string, std::string>>> accepted_settings;
};

// A worker's view of one database: the router with its plan cache, and the pools in use. Lives as long as the worker; one that only the
// fallback entry serves, until it is forgotten and no session is in it.
struct WorkerDatabase {
  std::string name;
  TopologyRef topology;                       // keeps `state` alive
  const DatabaseState* state = nullptr;       // never null once made
  bool removed = false;                       // no longer in the configuration: no new clients
  std::unique_ptr<router::Router> router;     // null while the catalog is missing
  std::unique_ptr<router::Router> observer;   // says where statements would go; null: nothing is observed
  std::map<std::string, UserPools, std::less<>> users;
  // Of `user`, for a session that counts itself in `sessions`. Where many names are known already, those that nobody uses are forgotten:
  // with trust authentication a client could bring ever new ones.
  [[nodiscard]] UserPools& pools_of(const std::string& user);
  DatabaseStats* stats = nullptr;             // this worker's, in the proxy's registry; never null once made
  [[nodiscard]] std::string counted_as() const { return state->use ? std::string(config::kFallbackName) : name; }
  std::uint64_t turn = 0;                     // for balancing
};

class Worker {
 public:
  Worker(Proxy& proxy, unsigned index, std::unique_ptr<net::Loop> loop);
  ~Worker();

  void start(const std::vector<int>& listeners);   // begins its thread; listeners are owned by the proxy
  void stop();                                // ends the loop and joins; clients are cut off
  [[nodiscard]] net::Loop& loop() { return *loop_; }
  [[nodiscard]] unsigned index() const { return index_; }
  [[nodiscard]] Proxy& proxy() { return proxy_; }

  // --- on the worker's thread ---
  void adopt(int fd);                                        // a new client
  void finished(Session& session);                           // the session's coroutine came to its end
  void set_topology(TopologyRef topology);
  [[nodiscard]] const TopologyRef& topology() const { return topology_; }
  [[nodiscard]] WorkerDatabase* database(std::string_view name);
  // The same by the proxy's newest topology, of which this worker may not have heard yet.
  [[nodiscard]] WorkerDatabase* newest_database(std::string_view name);
  [[nodiscard]] Session* find_session(std::uint64_t id);
  void close_listeners();                                    // accepts nobody; the descriptors stay open
  void watch_listeners(const std::vector<int>& listeners);
  void for_each_session(const std::function<void(Session&)>& f);
  void for_each_database(const std::function<void(const WorkerDatabase&)>& f) const;
  // This worker's counters of a backend.
  [[nodiscard]] Traffic& traffic(const pool::Backend& backend) {
    const std::size_t at = backend.serial();
    return at < traffic_.size() && traffic_[at] ? *traffic_[at] : register_traffic(backend);
  }
  // How slow a query must be to be logged; and may one be logged now? Then: how many were not since the last.
  [[nodiscard]] Duration slow_query() const { return slow_query_; }
  [[nodiscard]] std::optional<std::uint64_t> may_log_slow_query();
  // Names one Parse of an unnamed statement, uniquely in the process: a server remembers whose it has.
  [[nodiscard]] std::uint64_t next_unnamed() { return (static_cast<std::uint64_t>(index_ + 1) << 48) | ++unnamed_; }
  // Sessions that keep a server for a sequence's last value only, and who makes them give it up: all of `pool`, on every worker.
  std::unordered_set<Session*> soft_pinned;
  void give_up_soft_pins(pool::Pool& pool);
  // Scratch that sessions share: never used across a suspension.
  std::vector<router::Parameter> parameters;
  net::Conduits conduits;
  Works works;

 private:
  void accept_all(int listener);
  void shed_one(int listener);
  WorkerDatabase& take_up(const TopologyRef& topology, const DatabaseState& state);
  void remove_databases();
  void remove_database(WorkerDatabase& database);
  [[nodiscard]] bool is_used(const WorkerDatabase& database) const;
  Traffic& register_traffic(const pool::Backend& backend);

  Proxy& proxy_;
  const unsigned index_;
  std::unique_ptr<net::Loop> loop_;
  std::thread thread_;
  TopologyRef topology_;
  std::map<std::string, std::unique_ptr<WorkerDatabase>, std::less<>> databases_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Session>> sessions_;
  std::vector<int> listeners_;
  std::vector<Traffic*> traffic_;             // by the backend's serial; owned by the proxy's registry
  std::uint64_t next_session_ = 0;
  std::uint64_t unnamed_ = 0;
  Duration slow_query_ = Duration::max();
  TimePoint slow_query_second_{};             // in which they are counted
  unsigned slow_queries_logged_ = 0;          // in it
  std::uint64_t slow_queries_kept_silent_ = 0;
  int spare_;                                 // a descriptor kept for the day there is no other
};

}  // namespace weir::proxy
