// Proxy: the process. Owns workers, pools, monitor, catalogs and the current topology; carries out what the console and signals ask for.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "pool/monitor.hpp"
#include "pool/pools.hpp"
#include "proxy/auth_query.hpp"
#include "proxy/averages.hpp"
#include "proxy/cancels.hpp"
#include "proxy/catalogs.hpp"
#include "proxy/handover.hpp"
#include "proxy/http_server.hpp"
#include "proxy/listen_hub.hpp"
#include "proxy/listeners.hpp"
#include "proxy/session.hpp"
#include "proxy/topology.hpp"
#include "proxy/server_waits.hpp"
#include "proxy/worker.hpp"
#include "wire/startup.hpp"

namespace weir::proxy {

class Console;
class IdLeases;
class Recovery;
class StatsLine;

// Which clients a shutdown waits for, as PgBouncer has it: those in a transaction (a server is in use), or all.
enum class Shutdown : std::uint8_t { at_once, wait_for_servers, wait_for_clients };

class Proxy {
 public:
  // Binds the listeners and starts the threads; takes over from the process that serves, if `inherited` came from one.
  // `settings` is a validated configuration.
  static Result<std::unique_ptr<Proxy>> start(config::Settings settings, Inheritance inherited);
  ~Proxy();
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  // --- any thread ---
  // Accepts no clients any more; returns when nobody is left to wait for, or listen.drain_timeout has passed. Who is there then is
  // disconnected (57P01).
  void shut_down(Shutdown how);
  // The same after a hand-over: waits for the clients. False: the process that took over has died, and this one serves on.
  [[nodiscard]] bool drain_for_successor();
  [[nodiscard]] bool handed_over() const { return handover_ && handover_->handed_over(); }
  // Whoever waits in shut_down() waits no longer.
  void hurry() { stopping_ = true; }
  // What SHUTDOWN in the console asked for.
  [[nodiscard]] std::optional<Shutdown> shutdown_asked() const;
  void ask_shutdown(Shutdown how = Shutdown::at_once);
  // Reads the file again. Lines to tell the operator; `ok` false: nothing was changed.
  struct ReloadOutcome {
    bool ok = false;
    std::vector<std::string> lines;
  };
  ReloadOutcome reload();
  // Pools of the database ("": of all) grant no more servers; returns when none is in use, or false at the deadline.
  // A deadline already past: does not wait.
  Result<bool> pause(const std::string& database, Deadline until);
  Result<void> resume(const std::string& database);
  Result<void> reconnect(const std::string& database);
  // No new clients in it (true), or again (false).
  Result<void> set_disabled(const std::string& database, bool disabled);
  [[nodiscard]] std::set<std::string> disabled() const;
  // Drops the clients and servers of the database ("": of all) at once, and pauses it.
  Result<void> kill(const std::string& database);
  Result<void> kill_client(std::uint64_t id);
  void suspend();
  [[nodiscard]] bool suspended() const { return suspended_; }
  // One key of the settings, until the next reload.
  Result<void> set(const std::string& key, const std::string& value);
  [[nodiscard]] const Averages& averages() const { return averages_; }
  // Now and then.
  void update_averages();
  // Now and then: the fallback's databases that nobody used for pool.fallback_idle_timeout, or that no server has.
  void forget_unused_databases();
  [[nodiscard]] bool stopping() const { return stopping_; }

  [[nodiscard]] TopologyRef topology() const;
  [[nodiscard]] std::vector<std::unique_ptr<Worker>>& workers() { return workers_; }
  [[nodiscard]] pool::Pools& pools() { return *pools_; }
  [[nodiscard]] StatsRegistry& stats() { return stats_; }
  // starting: nothing but this may be asked. draining: shut_down() was called.
  enum class Phase : std::uint8_t { starting, serving, draining };
  [[nodiscard]] Phase phase() const { return phase_.load(std::memory_order_acquire); }
  struct Reloads {
    std::atomic<std::uint64_t> applied{0}, refused{0};
  };
  [[nodiscard]] const Reloads& reloads() const { return reloads_; }
  [[nodiscard]] std::set<std::string> paused() const;
  [[nodiscard]] std::uint16_t port() const { return listeners_.port(); }
  [[nodiscard]] const Listeners& listeners() const { return listeners_; }
  // Every worker leaves its listeners alone, or watches them again. The descriptors stay open: closing one would drop its queue.
  void stop_accepting();
  void resume_accepting();
  // admin.http, which one process at a time can serve. At start, and by the hand-over's thread.
  Result<void> start_http();
  void stop_http();
  // Runs `f` on every worker's thread, waits for all. Not to be called from a worker.
  void on_workers(const std::function<void(Worker&)>& f);
  // Posted, and not waited for. For workers.
  void on_other_workers(const Worker& but, const std::function<void(Worker&)>& f);

  // --- for sessions ---
  // A place in the database of that name for a client that has proved who it is. If only the fallback entry "*" serves it, it is in the
  // topology from now on, for as long as it is used; an empty place: the file names it. 3D000 if nobody serves it, 53300 if the fallback
  // serves pool.max_fallback_databases that are all in use.
  [[nodiscard]] Result<FallbackUse::Place> use_database(const std::string& name);
  // Where auth.query looks users up who want this database.
  [[nodiscard]] std::string asked_database(const std::string& database) const;
  [[nodiscard]] std::shared_ptr<pool::Pool> make_pool(const WorkerDatabase& database, schema::ShardId shard,
                                                      const std::shared_ptr<pool::Backend>& backend,
                                                      const pool::Credentials& credentials);
  [[nodiscard]] Authenticator& authenticator() { return authenticator_; }
  // Asks auth.query of a user who is not in the users file; the session is told, looked_up(). False: nobody is to be asked.
  [[nodiscard]] bool look_up_user(const std::string& user, const std::string& database, unsigned worker, std::uint64_t session);
  void doubt_user(const std::string& user, const std::string& database);
  // A new cancel key of that session, with a secret of so many bytes.
  [[nodiscard]] wire::CancelKey make_key(unsigned worker, std::uint64_t session, std::size_t secret_size);
  void forget_key(const wire::CancelKey& key);
  // A key of nobody here may be one of the process before or behind this one.
  void cancel(const wire::CancelKey& key);
  bool cancel_own(const wire::CancelKey& key);
  // Sends a CancelRequest for what `server` runs now; the session is told when it was delivered.
  void send_cancel(const pool::Server& server, unsigned worker, std::uint64_t session);
  [[nodiscard]] Recovery& recovery() { return *recovery_; }
  void schema_may_have_changed(const std::string& database) { catalogs_->refresh_soon(database); }
  // The same; the session's schema_loaded() is called behind it, on its own thread.
  void load_schema(const std::string& database, unsigned worker, std::uint64_t session);
  void run_console(std::string sql, bool may_change, unsigned worker, std::uint64_t session);
  [[nodiscard]] static std::string console_version();
  // One step of a TLS handshake (up to milliseconds of CPU), on a thread where no client waits for it.
  void run_handshake(std::function<void()> step);
  [[nodiscard]] ListenHub& listen_hub() { return *listen_hub_; }
  [[nodiscard]] ServerWaits& server_waits() { return server_waits_; }
  [[nodiscard]] ClientPlaces& client_places() { return client_places_; }
  // Counts a client that has sent its StartupMessage against max_clients. False: there are as many already.
  [[nodiscard]] bool admit_client();
  void client_left() { clients_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] unsigned clients() const { return clients_.load(std::memory_order_relaxed); }

 private:
  explicit Proxy(config::Settings settings);
  ReloadOutcome apply_reload();
  Result<void> open_listeners(std::vector<Listener> inherited);
  void disconnect_everybody();
  // Clients in the databases (the console's are not waited for), and servers in use.
  [[nodiscard]] unsigned database_clients();
  [[nodiscard]] unsigned busy_servers();
  Result<void> make_workers(config::IoBackend wanted);
  Result<void> start_threads(Inheritance inherited);
  std::shared_ptr<Topology> build_topology(std::shared_ptr<const config::Settings> settings, const Topology* before);
  DatabaseState build_database(const config::Database& database, const std::shared_ptr<const config::Settings>& settings, const Topology* before);
  // proxy_fallback.cpp; the lock is held.
  [[nodiscard]] bool may_forget(const DatabaseState& database) const;
  [[nodiscard]] bool make_room_for_database(Topology& next) const;
  void retire_unserved_pools();
  std::shared_ptr<pool::Backend> backend_for(pool::BackendIdentity identity, const config::Settings& settings, const Topology* before);
  Result<void> read_catalogs(Topology& topology);
  void apply(config::Settings next, const TopologyRef& before, ReloadOutcome& outcome);
  void publish_settings(std::shared_ptr<Topology> topology);
  void publish_locked(std::shared_ptr<Topology> next);
  void on_catalog(const std::string& database, LoadedCatalog loaded, const std::string& problem);
  void watch_backends(const Topology& topology);
  std::vector<std::shared_ptr<pool::Budget>> server_limits(const config::Database& database, const std::string& login, const config::User* user);

  std::mutex reload_mutex_;
  mutable std::mutex mutex_;
  TopologyRef topology_;
  std::set<std::string> paused_, disabled_;
  std::atomic<bool> suspended_{false};
  Authenticator authenticator_;

  std::mutex keys_mutex_;
  struct KeyOwner {
    std::string secret;
    unsigned worker = 0;
    std::uint64_t session = 0;
  };
  std::unordered_map<std::uint32_t, KeyOwner> keys_;

  Listeners listeners_;
  std::atomic<unsigned> clients_{0};
  ClientPlaces client_places_;
  ServerWaits server_waits_;
  std::atomic<bool> stopping_{false};
  std::atomic<Phase> phase_{Phase::starting};
  Reloads reloads_;
  Averages averages_{Clock::now()};
  StatsRegistry stats_;                       // before the workers, which write to it
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<pool::Pools> pools_;
  std::unique_ptr<Cancels> cancels_;
  std::unique_ptr<ListenHub> listen_hub_;
  std::unique_ptr<pool::Connector> console_jobs_;
  std::unique_ptr<AuthQuery> auth_query_;
  std::once_flag handshakes_made_;
  std::unique_ptr<pool::Connector> handshakes_;   // as many threads as workers, from the first TLS client on
  std::unique_ptr<pool::Monitor> monitor_;
  std::unique_ptr<Catalogs> catalogs_;
  std::unique_ptr<Recovery> recovery_;
  std::unique_ptr<IdLeases> id_leases_;
  std::mutex http_mutex_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<StatsLine> stats_line_;

  std::unique_ptr<Handover> handover_;        // null without listen.takeover_socket
  bool takes_over_ = false;                   // there was a predecessor
  bool owns_files_ = false;                   // of unix sockets: no predecessor listens there any more
  std::atomic<int> shutdown_asked_{-1};       // a Shutdown
};

}  // namespace weir::proxy
