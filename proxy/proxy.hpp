// Proxy: the process. Owns workers, pools, monitor, catalogs and the current topology; carries out what the console and signals ask for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "pool/monitor.hpp"
#include "pool/pools.hpp"
#include "proxy/catalogs.hpp"
#include "proxy/session.hpp"
#include "proxy/topology.hpp"
#include "proxy/worker.hpp"
#include "wire/scram.hpp"
#include "wire/startup.hpp"

namespace weir::proxy {

class Console;

class Proxy {
 public:
  // Binds the listeners and starts the threads. `settings` is a validated configuration.
  static Result<std::unique_ptr<Proxy>> start(config::Settings settings);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // --- any thread ---
  // New clients are refused from now on, idle ones told to go; returns when the rest went or `drain` passed.
  void shut_down(Duration drain);
  // Whoever waits in shut_down() waits no longer.
  void hurry() { stopping_ = true; }
  // Blocks until SHUTDOWN was asked for in the console.
  bool wait_shutdown_asked(Deadline until);
  void ask_shutdown();
  // Reads the file again. Lines to tell the operator; `ok` false: nothing was changed.
  struct ReloadOutcome {
    bool ok = false;
    std::vector<std::string> lines;
  };
  ReloadOutcome reload();
  // Pools of the database ("": of all) grant no more servers; returns when none is in use, or false at the deadline.
  Result<bool> pause(const std::string& database, Deadline until);
  Result<void> resume(const std::string& database);
  Result<void> reconnect(const std::string& database);

  [[nodiscard]] TopologyRef topology() const;
  [[nodiscard]] std::vector<std::unique_ptr<Worker>>& workers() { return workers_; }
  [[nodiscard]] pool::Pools& pools() { return *pools_; }
  [[nodiscard]] std::set<std::string> paused() const;
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Runs `f` on every worker's thread, waits for all. Not to be called from a worker.
  void on_workers(const std::function<void(Worker&)>& f);

  // --- for sessions ---
  [[nodiscard]] std::shared_ptr<pool::Pool> make_pool(const WorkerDatabase& database, schema::ShardId shard,
                                                      const std::shared_ptr<pool::Backend>& backend,
                                                      const pool::Credentials& credentials);
  [[nodiscard]] pool::Credentials credentials_of(const std::string& user) const;
  [[nodiscard]] wire::ScramSecret scram_secret(const std::string& user) const;
  [[nodiscard]] wire::CancelKey make_key(unsigned worker, std::uint64_t session);
  void forget_key(const wire::CancelKey& key);
  void cancel(const wire::CancelKey& key);
  // Sends a CancelRequest for what `server` runs now; the session is told when it was delivered.
  void send_cancel(const pool::Server& server, unsigned worker, std::uint64_t session);
  void schema_may_have_changed(const std::string& database) { catalogs_->refresh_soon(database); }
  void run_console(std::string sql, bool may_change, unsigned worker, std::uint64_t session);
  [[nodiscard]] static std::string console_version();
  // Counts clients against max_clients.
  [[nodiscard]] bool admit_client();
  void client_left() { clients_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] unsigned clients() const { return clients_.load(std::memory_order_relaxed); }

 private:
  explicit Proxy(config::Settings settings);
  Result<void> open_listeners();
  Result<void> start_threads();
  std::shared_ptr<Topology> build_topology(std::shared_ptr<const config::Settings> settings, const Topology* before);
  std::shared_ptr<pool::Backend> backend_for(pool::BackendIdentity identity, const config::Settings& settings, const Topology* before);
  Result<void> read_catalogs(Topology& topology);
  void publish(std::shared_ptr<Topology> topology);
  void publish_locked(std::shared_ptr<Topology> next);
  void on_catalog(const std::string& database, std::shared_ptr<const schema::Catalog> catalog, const std::string& problem);
  void watch_backends(const Topology& topology);
  void derive_secrets(const config::Settings& settings);

  std::mutex reload_mutex_;
  mutable std::mutex mutex_;
  TopologyRef topology_;
  std::set<std::string> paused_;
  std::map<std::string, wire::ScramSecret> secrets_;
  std::string mock_key_;

  std::mutex keys_mutex_;
  struct KeyOwner {
    std::uint32_t secret = 0;
    unsigned worker = 0;
    std::uint64_t session = 0;
  };
  std::unordered_map<std::uint32_t, KeyOwner> keys_;

  std::vector<std::vector<int>> listeners_;   // by worker
  std::string unix_path_;
  std::uint16_t port_ = 0;
  std::atomic<unsigned> clients_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<pool::Pools> pools_;
  std::unique_ptr<pool::Connector> cancels_;
  std::unique_ptr<pool::Connector> console_jobs_;
  std::unique_ptr<pool::Monitor> monitor_;
  std::unique_ptr<Catalogs> catalogs_;

  std::mutex shutdown_mutex_;
  std::condition_variable shutdown_wake_;
  bool shutdown_asked_ = false;
};

}  // namespace weir::proxy
