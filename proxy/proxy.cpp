#include "proxy/proxy.hpp"

#include <libpq-fe.h>
#include <openssl/rand.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/console.hpp"
#include "schema/identity.hpp"

namespace weir::proxy {

namespace {

constexpr unsigned kCancelThreads = 4;
constexpr unsigned kConsoleThreads = 4;   // PAUSE blocks one until the last transaction ended

std::uint32_t random32() {
  std::uint32_t v = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&v), sizeof v);
  return v;
}

pool::PoolSettings pool_settings(const config::Settings& s, const config::Database& d, const config::User* user) {
  pool::PoolSettings p;
  p.size = user && user->pool_size ? *user->pool_size : d.pool_size.value_or(s.pool.size);
  p.min = std::min(s.pool.min, p.size);
  p.connect_timeout = s.pool.connect_timeout;
  p.idle_timeout = s.pool.idle_timeout;
  p.lifetime = s.pool.lifetime;
  return p;
}

// The cluster that a database's shards must agree on: the home shard's, whose catalog is read before anything else. Any thread.
class OneCluster {
 public:
  bool agrees(const std::string& cluster) {
    std::lock_guard lock(mutex_);
    if (cluster_.empty()) cluster_ = cluster;
    return cluster_ == cluster;
  }

 private:
  std::mutex mutex_;
  std::string cluster_;
};

// Refuses a server that is not the shard it should be (design section 5).
pool::LoginCheck identity_check(std::shared_ptr<const config::Settings> settings, const config::Database& database, std::string shard,
                                std::shared_ptr<OneCluster> cluster) {
  if (!database.sharding) return {};
  return [settings = std::move(settings), &database, shard = std::move(shard), cluster = std::move(cluster)](PGconn* conn) -> Result<void> {
    std::unique_ptr<PGresult, decltype(&PQclear)> r(PQexec(conn, std::string(schema::identity_query()).c_str()), &PQclear);
    std::optional<schema::Identity> found;
    if (PQresultStatus(r.get()) == PGRES_TUPLES_OK && PQntuples(r.get()) == 1)
      found = schema::Identity{PQgetvalue(r.get(), 0, 0), PQgetvalue(r.get(), 0, 1), std::strtoull(PQgetvalue(r.get(), 0, 2), nullptr, 10)};
    else if (PQstatus(conn) == CONNECTION_BAD) {
      Error e(sqlstate::kConnectionFailure, PQerrorMessage(conn));
      e.connection_spoilt = true;
      return e;
    }
    if (auto checked = schema::check_identity(database, shard, found); !checked) return checked;
    if (!found || cluster->agrees(found->cluster)) return {};
    Error e(sqlstate::kCannotConnectNow, concat("shard ", shard, " of database ", database.name, ": the server belongs to cluster ",
                                                found->cluster, ", other shards to another"),
            "Check the connection strings in weir.toml and DNS: one leads to another installation.");
    e.connection_spoilt = true;
    return e;
  };
}

bool same_buckets(const config::Database& a, const config::Database& b) {
  if (a.shards.size() != b.shards.size()) return false;
  for (std::size_t i = 0; i < a.shards.size(); ++i)
    if (a.shards[i].name != b.shards[i].name || a.shards[i].buckets != b.shards[i].buckets) return false;
  return true;
}

Duration write_hold_of(const config::Settings& s, const config::Database& d) {
  if (d.reads.max_lag.count() == 0) return std::chrono::hours(24 * 365);   // no bound on the lag: never read behind a write
  return d.reads.max_lag + s.health.interval + s.health.timeout;
}

}  // namespace

const DatabaseState* Topology::find(std::string_view database) const {
  for (const DatabaseState& d : databases)
    if (d.config->name == database) return &d;
  return nullptr;
}

// ---- start ----

Result<std::unique_ptr<Proxy>> Proxy::start(config::Settings settings) {
  std::unique_ptr<Proxy> proxy(new Proxy(std::move(settings)));
  if (auto opened = proxy->open_listeners(); !opened) return opened.take_error();
  if (auto started = proxy->start_threads(); !started) return started.take_error();
  return proxy;
}

Proxy::Proxy(config::Settings settings) {
  unsigned char key[16];
  RAND_bytes(key, sizeof key);
  mock_key_.assign(reinterpret_cast<char*>(key), sizeof key);
  auto initial = std::make_shared<Topology>();
  initial->settings = std::make_shared<const config::Settings>(std::move(settings));
  topology_ = std::move(initial);
}

Result<void> Proxy::open_listeners() {
  const config::Listen& listen = topology_->settings->listen;
  const unsigned workers = listen.workers ? listen.workers : std::max(1U, std::thread::hardware_concurrency());
  listeners_.resize(workers);
  port_ = listen.port;
  for (unsigned w = 0; w < workers; ++w)
    for (const std::string& address : listen.addresses) {
      auto fd = net::listen_tcp(address, port_, true);
      if (!fd) return fd.take_error();
      listeners_[w].push_back(*fd);
      if (port_ == 0) {
        auto port = net::local_port(*fd);
        if (!port) return port.take_error();
        port_ = *port;
      }
    }
  if (listen.unix_socket_dir.empty()) return {};
  unix_path_ = concat(listen.unix_socket_dir, "/.s.PGSQL.", std::to_string(port_));
  auto fd = net::listen_unix(unix_path_);
  if (!fd) return fd.take_error();
  // All workers accept from the one unix listener; the kernel wakes whoever is free.
  for (unsigned w = 0; w < workers; ++w) listeners_[w].push_back(w == 0 ? *fd : ::dup(*fd));
  return {};
}

Result<void> Proxy::start_threads() {
  const config::Settings& settings = *topology_->settings;
  std::vector<net::Loop*> loops;
  for (unsigned w = 0; w < listeners_.size(); ++w) {
    auto loop = net::Loop::create();
    if (!loop) return loop.take_error();
    loops.push_back(loop->get());
    workers_.push_back(std::make_unique<Worker>(*this, w, std::move(*loop)));
  }
  pools_ = std::make_unique<pool::Pools>(loops, settings.pool.login_threads);
  for (unsigned w = 0; w < loops.size(); ++w)
    loops[w]->set_idle_event([this, w](std::uint64_t tag) { pools_->idle_event(w, tag); });
  cancels_ = std::make_unique<pool::Connector>(kCancelThreads);
  console_jobs_ = std::make_unique<pool::Connector>(kConsoleThreads);
  derive_secrets(settings);
  const TopologyRef topology = build_topology(topology_->settings, nullptr);
  topology_ = topology;
  for (auto& worker : workers_) worker->set_topology(topology);
  monitor_ = std::make_unique<pool::Monitor>(pool::MonitorSettings{settings.health.interval, settings.health.timeout});
  watch_backends(*topology);
  catalogs_ = std::make_unique<Catalogs>([this] { return this->topology(); },
                                         [this](const std::string& d, std::shared_ptr<const schema::Catalog> c, const std::string& problem) {
                                           on_catalog(d, std::move(c), problem);
                                         });
  // Ready means: catalogs are there and replicas are known, if they can be had within a moment.
  catalogs_->wait_first_round(Deadline::after(Clock::now(), std::chrono::seconds(10)));
  (void)monitor_->wait_first_round(Deadline::after(Clock::now(), std::chrono::seconds(3)));
  for (unsigned w = 0; w < workers_.size(); ++w) workers_[w]->start(listeners_[w]);
  return {};
}

Proxy::~Proxy() {
  stopping_ = true;
  catalogs_.reset();
  monitor_.reset();
  console_jobs_.reset();
  cancels_.reset();
  for (auto& worker : workers_) worker->stop();
  pools_.reset();   // after the workers: no session uses a server any more; before the loops
  for (const auto& of_worker : listeners_)
    for (const int fd : of_worker) ::close(fd);
  if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
}

// ---- topology ----

std::shared_ptr<pool::Backend> Proxy::backend_for(pool::BackendIdentity identity, const config::Settings& settings, const Topology* before) {
  if (before)
    for (const DatabaseState& d : before->databases)
      for (const ShardBackends& s : d.shards) {
        const auto same = [&](const std::shared_ptr<pool::Backend>& b) {
          const auto& id = b->id();
          return id.database == identity.database && id.shard_name == identity.shard_name && id.shard == identity.shard &&
                 id.role == identity.role && id.conninfo == identity.conninfo && id.weight == identity.weight;
        };
        if (same(s.primary)) return s.primary;
        for (const auto& r : s.replicas)
          if (same(r)) return r;
      }
  auto params = pool::parse_conninfo(identity.conninfo);
  if (params) identity.params = std::move(*params);   // weir check and config::load have parsed it before
  std::string host(pool::get(identity.params, "host"));
  if (host.empty()) host = pool::get(identity.params, "hostaddr");
  const std::string server = concat(host, ":", pool::get(identity.params, "port"));
  return std::make_shared<pool::Backend>(std::move(identity), pools_->budget(server, settings.pool.max_per_backend),
                                         policy::BreakerSettings{settings.health.failure_threshold, settings.health.recovery_time});
}

std::shared_ptr<Topology> Proxy::build_topology(std::shared_ptr<const config::Settings> settings, const Topology* before) {
  auto topology = std::make_shared<Topology>();
  topology->settings = settings;
  topology->version = before ? before->version + 1 : 1;
  topology->settings_version = before ? before->settings_version + 1 : 1;
  for (const config::Database& d : settings->databases) {
    DatabaseState state;
    state.config = &d;
    auto map = schema::BucketMap::from(d);
    state.map = map ? std::make_shared<const schema::BucketMap>(std::move(*map)) : std::make_shared<const schema::BucketMap>();
    if (!d.sharding) state.catalog = schema::Catalog::offline(d);   // until the real one is there
    state.catalog_problem = "its catalog is being read";
    state.write_hold = write_hold_of(*settings, d);
    const DatabaseState* old = before ? before->find(d.name) : nullptr;
    state.marks = old && old->marks->buckets() == state.map->buckets() ? old->marks : std::make_shared<WriteMarks>(state.map->buckets());
    if (old) state.marks->wrote_everything(Clock::now());   // after a map change every bucket counts as just written
    const auto cluster = std::make_shared<OneCluster>();
    for (std::size_t i = 0; i < d.shards.size(); ++i) {
      const config::Shard& shard = d.shards[i];
      const auto id = static_cast<schema::ShardId>(i);
      ShardBackends backends;
      backends.primary = backend_for({d.name, shard.name, id, policy::Role::primary, 0, 1, shard.primary, {}}, *settings, before);
      for (unsigned r = 0; r < shard.replicas.size(); ++r)
        backends.replicas.push_back(backend_for({d.name, shard.name, id, policy::Role::replica, r, shard.replicas[r].weight,
                                                 shard.replicas[r].conninfo, {}}, *settings, before));
      state.has_replicas |= !backends.replicas.empty();
      state.shards.push_back(std::move(backends));
      state.checks.push_back(identity_check(settings, d, shard.name, cluster));
    }
    topology->databases.push_back(std::move(state));
  }
  return topology;
}

// A new file is served only with catalogs made for it: rules, map and catalog change together.
Result<void> Proxy::read_catalogs(Topology& topology) {
  for (DatabaseState& d : topology.databases) {
    auto loaded = load_catalog(*d.config, d.shards.front(), d.checks.front(), Deadline::after(Clock::now(), std::chrono::seconds(5)));
    if (loaded) {
      d.catalog = keep_alive(std::move(loaded->catalog), topology.settings);
    } else if (d.sharded()) {
      return Error(loaded.error().code, concat("database ", d.config->name, ": its catalog cannot be read: ", loaded.error().message));
    }
  }
  return {};
}

TopologyRef Proxy::topology() const {
  std::lock_guard lock(mutex_);
  return topology_;
}

void Proxy::publish(std::shared_ptr<Topology> topology) {
  std::lock_guard lock(mutex_);
  publish_locked(std::move(topology));
}

// Under the lock, so that versions differ and every worker gets the snapshots in the same order.
void Proxy::publish_locked(std::shared_ptr<Topology> next) {
  next->version = topology_->version + 1;
  topology_ = next;
  for (auto& worker : workers_) worker->loop().post([w = worker.get(), topology = topology_] { w->set_topology(topology); });
}

void Proxy::on_catalog(const std::string& database, std::shared_ptr<const schema::Catalog> catalog, const std::string& problem) {
  const TopologyRef before = topology();
  const DatabaseState* known = before->find(database);
  if (!known || (!catalog && known->catalog_problem == problem)) return;
  if (!catalog) log::warning(concat("database ", database, ": its catalog cannot be read: ", problem));
  auto next = std::make_shared<Topology>(*before);
  ++next->version;
  for (DatabaseState& d : next->databases)
    if (d.config->name == database) {
      if (catalog) d.catalog = catalog;
      d.catalog_problem = problem;
    }
  {
    // A reload came in between: what was read belongs to the old file.
    std::lock_guard lock(mutex_);
    if (topology_ == before) publish_locked(std::move(next));
  }
}

void Proxy::watch_backends(const Topology& topology) {
  std::vector<pool::Watched> watched;
  for (const DatabaseState& d : topology.databases)
    for (const ShardBackends& s : d.shards) {
      const auto add = [&](const std::shared_ptr<pool::Backend>& b) {
        watched.push_back({b, maintenance_params(*d.config, *b), d.config->reads.max_lag});
      };
      add(s.primary);
      for (const auto& r : s.replicas) add(r);
    }
  const config::Health& health = topology.settings->health;
  monitor_->watch(std::move(watched), {health.interval, health.timeout});
}

Proxy::ReloadOutcome Proxy::reload() {
  std::lock_guard one_at_a_time(reload_mutex_);
  const TopologyRef before = topology();
  auto loaded = config::load(before->settings->file, {});
  ReloadOutcome outcome;
  if (const auto* problems = std::get_if<std::vector<config::Problem>>(&loaded)) {
    for (const auto& p : *problems) outcome.lines.push_back(p.str());
    return outcome;
  }
  config::Settings next = std::move(std::get<config::Settings>(loaded));
  for (std::string& line : config::not_reloadable(*before->settings, next)) {
    outcome.lines.push_back(std::move(line));
  }
  for (const config::Database& d : next.databases) {
    const config::Database* old = before->settings->find_database(d.name);
    const bool sharding_changed = old && old->sharding.has_value() != d.sharding.has_value();
    const bool map_changed = old && old->sharding && d.sharding &&
                             (old->sharding->buckets != d.sharding->buckets || old->sharding->function != d.sharding->function ||
                              (old->sharding->map_version >= d.sharding->map_version && !same_buckets(*old, d)));
    if (sharding_changed || map_changed) {
      outcome.lines.push_back(concat("database ", d.name, ": its sharding changed without a higher map_version; nothing was reloaded"));
      return outcome;
    }
  }
  next.listen = before->settings->listen;
  derive_secrets(next);
  const auto settings = std::make_shared<const config::Settings>(std::move(next));
  const auto topology = build_topology(settings, before.get());
  if (auto read = read_catalogs(*topology); !read) {
    outcome.lines.push_back(read.error().message);
    return outcome;
  }
  publish(topology);
  on_workers([](Worker&) {});   // pools made from now on are made for the new file
  for (const DatabaseState& d : topology->databases) {
    const DatabaseState* old = before->find(d.config->name);
    const bool renewed = old && old->map->version() != d.map->version();
    for (const auto& pool : pools_->all()) {
      if (pool->backend().id().database != d.config->name) continue;
      pool->set_settings(pool_settings(*settings, *d.config, settings->find_user(pool->credentials().user)));
      const auto shard = pool->backend().id().shard;
      if (shard < d.checks.size()) pool->set_check(d.checks[shard]);
      if (renewed) pool->renew();   // each server must show the new map version
    }
  }
  pools_->retire_unless([&](const pool::Backend& b) {
    for (const DatabaseState& d : topology->databases)
      for (const ShardBackends& s : d.shards) {
        if (s.primary.get() == &b) return true;
        for (const auto& r : s.replicas)
          if (r.get() == &b) return true;
      }
    return false;
  });
  watch_backends(*topology);
  catalogs_->refresh_all();
  outcome.ok = true;
  return outcome;
}

// ---- console and signals ----

void Proxy::on_workers(const std::function<void(Worker&)>& f) {
  std::vector<std::future<void>> done;
  for (auto& worker : workers_) {
    auto promise = std::make_shared<std::promise<void>>();
    done.push_back(promise->get_future());
    worker->loop().post([&f, w = worker.get(), promise] {
      f(*w);
      promise->set_value();
    });
  }
  for (auto& d : done) d.wait();
}

std::set<std::string> Proxy::paused() const {
  std::lock_guard lock(mutex_);
  return paused_;
}

namespace {
bool is_of(const pool::Pool& pool, const std::string& database) {
  return database.empty() || pool.backend().id().database == database;
}
}  // namespace

Result<bool> Proxy::pause(const std::string& database, Deadline until) {
  const TopologyRef now = topology();
  if (!database.empty() && !now->find(database)) return Error(sqlstate::kInvalidDatabase, concat("database \"", database, "\" does not exist"));
  {
    std::lock_guard lock(mutex_);
    for (const DatabaseState& d : now->databases)
      if (database.empty() || d.config->name == database) paused_.insert(d.config->name);
  }
  for (const auto& pool : pools_->all())
    if (is_of(*pool, database)) pool->set_paused(true);
  while (!until.passed(Clock::now()) && !stopping_) {
    unsigned busy = 0;
    for (const auto& pool : pools_->all())
      if (is_of(*pool, database)) busy += pool->counts(Clock::now()).active;
    if (busy == 0) return true;
    if (!paused().contains(database.empty() ? now->databases.front().config->name : database)) return false;   // resumed meanwhile
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

Result<void> Proxy::resume(const std::string& database) {
  {
    std::lock_guard lock(mutex_);
    if (database.empty()) {
      paused_.clear();
    } else if (paused_.erase(database) == 0) {
      return Error(sqlstate::kInvalidParameter, concat("database \"", database, "\" is not paused"));
    }
  }
  for (const auto& pool : pools_->all())
    if (is_of(*pool, database)) pool->set_paused(false);
  return {};
}

Result<void> Proxy::reconnect(const std::string& database) {
  if (!database.empty() && !topology()->find(database))
    return Error(sqlstate::kInvalidDatabase, concat("database \"", database, "\" does not exist"));
  for (const auto& pool : pools_->all())
    if (is_of(*pool, database)) pool->renew();
  return {};
}

void Proxy::ask_shutdown() {
  std::lock_guard lock(shutdown_mutex_);
  shutdown_asked_ = true;
  shutdown_wake_.notify_all();
}

bool Proxy::wait_shutdown_asked(Deadline until) {
  std::unique_lock lock(shutdown_mutex_);
  return shutdown_wake_.wait_until(lock, until.at(), [this] { return shutdown_asked_; });
}

void Proxy::shut_down(Duration drain) {
  const Error goodbye(sqlstate::kAdminShutdown, "terminating connection: Weir is shutting down", "Connect again.");
  on_workers([&](Worker& worker) {
    worker.close_listeners();
    worker.for_each_session([&](Session& session) { session.terminate(goodbye, false); });
  });
  const Deadline deadline = Deadline::after(Clock::now(), drain);
  while (clients() > 0 && !stopping_ && !deadline.passed(Clock::now())) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  if (clients() == 0) return;
  on_workers([&](Worker& worker) { worker.for_each_session([&](Session& session) { session.terminate(goodbye, true); }); });
  const Deadline last = Deadline::after(Clock::now(), std::chrono::seconds(1));
  while (clients() > 0 && !last.passed(Clock::now())) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

void Proxy::run_console(std::string sql, bool may_change, unsigned worker, std::uint64_t session) {
  console_jobs_->run([this, sql = std::move(sql), may_change, worker, session] {
    auto answer = std::make_shared<ByteBuffer>(Console(*this).execute(sql, may_change));
    Worker& w = *workers_[worker];
    w.loop().post([&w, session, answer] {
      if (Session* s = w.find_session(session)) s->console_answer(std::move(*answer));
    });
  });
}

std::string Proxy::console_version() { return "15.0 (Weir 0.1.0)"; }

// ---- for sessions ----

bool Proxy::admit_client() {
  return clients_.fetch_add(1, std::memory_order_relaxed) < topology()->settings->listen.max_clients;
}

std::shared_ptr<pool::Pool> Proxy::make_pool(const WorkerDatabase& database, schema::ShardId shard,
                                             const std::shared_ptr<pool::Backend>& backend, const pool::Credentials& credentials) {
  const config::Settings& settings = *database.topology->settings;
  auto pool = pools_->get(backend, credentials,
                          pool_settings(settings, *database.state->config, settings.find_user(credentials.user)),
                          database.state->checks[shard]);
  if (paused().contains(database.name)) pool->set_paused(true);
  return pool;
}

void Proxy::derive_secrets(const config::Settings& settings) {
  std::map<std::string, wire::ScramSecret> secrets;
  if (settings.auth.method == config::AuthMethod::scram_sha_256)
    for (const config::User& user : settings.users) {
      auto parsed = wire::ScramSecret::parse(user.password);
      secrets.emplace(user.name, parsed ? std::move(*parsed) : wire::ScramSecret::from_password(user.password));
    }
  std::lock_guard lock(mutex_);
  secrets_ = std::move(secrets);
}

wire::ScramSecret Proxy::scram_secret(const std::string& user) const {
  std::lock_guard lock(mutex_);
  const auto it = secrets_.find(user);
  return it == secrets_.end() ? wire::ScramSecret::mock(user, mock_key_) : it->second;
}

pool::Credentials Proxy::credentials_of(const std::string& user) const {
  const config::User* known = topology()->settings->find_user(user);
  // A stored secret cannot log in to a server (libpq 15 wants the password itself).
  const bool plain = known && !known->password.starts_with("SCRAM-SHA-256$");
  return {user, plain ? known->password : std::string{}};
}

wire::CancelKey Proxy::make_key(unsigned worker, std::uint64_t session) {
  std::lock_guard lock(keys_mutex_);
  for (;;) {
    const wire::CancelKey key{random32() & 0x7fffffff, random32()};
    if (key.pid != 0 && keys_.emplace(key.pid, KeyOwner{key.secret, worker, session}).second) return key;
  }
}

void Proxy::forget_key(const wire::CancelKey& key) {
  std::lock_guard lock(keys_mutex_);
  keys_.erase(key.pid);
}

void Proxy::cancel(const wire::CancelKey& key) {
  KeyOwner owner;
  {
    std::lock_guard lock(keys_mutex_);
    const auto it = keys_.find(key.pid);
    if (it == keys_.end() || it->second.secret != key.secret) return;
    owner = it->second;
  }
  Worker& w = *workers_[owner.worker];
  w.loop().post([&w, session = owner.session] {
    if (Session* s = w.find_session(session)) s->request_cancel();
  });
}

// PQcancel blocks: on a thread of its own. The session keeps its server until it is told.
void Proxy::send_cancel(const pool::Server& server, unsigned worker, std::uint64_t session) {
  std::shared_ptr<PGcancel> handle(PQgetCancel(server.conn.get()), &PQfreeCancel);
  Worker& w = *workers_[worker];
  cancels_->run([handle, &w, session] {
    char why[256] = "";
    if (!handle || PQcancel(handle.get(), why, sizeof why) != 1) log::warning(concat("a cancel request was not delivered: ", why));
    w.loop().post([&w, session] {
      if (Session* s = w.find_session(session)) s->cancel_delivered();
    });
  });
}

}  // namespace weir::proxy
