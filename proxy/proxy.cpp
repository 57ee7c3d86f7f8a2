#include "proxy/proxy.hpp"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/client_tls.hpp"
#include "proxy/admin_http.hpp"
#include "proxy/console.hpp"
#include "proxy/id_leases.hpp"
#include "proxy/recovery.hpp"
#include "proxy/stats_line.hpp"

namespace weir::proxy {

namespace {

constexpr unsigned kConsoleThreads = 4;   // PAUSE blocks one until the last transaction ended

constexpr std::size_t kReceiveBuffer = 64 << 10;   // of each worker

// "auto" is what measured better, where it works; the figures: docs/performance.md.
Result<net::Io> choose_io(config::IoBackend wanted) {
  if (wanted == config::IoBackend::epoll) return net::Io::epoll;
  const auto works = net::probe_io_uring();
  if (works) return net::Io::io_uring;
  if (wanted == config::IoBackend::io_uring) return works.error();
  log::info(concat("no io_uring for listen.io = \"auto\": ", works.error().message));
  return net::Io::epoll;
}

std::uint32_t random32() {
  std::uint32_t v = 0;
  RAND_bytes(reinterpret_cast<unsigned char*>(&v), sizeof v);
  return v;
}

// In a time that does not tell how many bytes were right.
bool same_secret(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

// ---- start ----

Result<std::unique_ptr<Proxy>> Proxy::start(config::Settings settings, Inheritance inherited) {
  std::unique_ptr<Proxy> proxy(new Proxy(std::move(settings)));
  proxy->owns_files_ = !inherited.channel;
  proxy->takes_over_ = inherited.channel.has_value();
  proxy->stats_line_ = std::make_unique<StatsLine>([p = proxy.get()]() -> Duration { return p->topology()->settings->log.stats_interval; },
                                                   [p = proxy.get()] { return p->stats_.grand_totals(); });
  // The one that serves keeps the port until it stops accepting clients.
  if (!proxy->takes_over_)
    if (auto served = proxy->start_http(); !served) return served.take_error();
  if (auto opened = proxy->open_listeners(std::move(inherited.listeners)); !opened) return opened.take_error();
  if (auto started = proxy->start_threads(std::move(inherited)); !started) return started.take_error();
  proxy->phase_ = Phase::serving;
  if (proxy->takes_over_)
    if (auto served = proxy->start_http(); !served) log::error(served.error().message);
  return proxy;
}

Proxy::Proxy(config::Settings settings) {
  auto initial = std::make_shared<Topology>();
  initial->settings = std::make_shared<const config::Settings>(std::move(settings));
  topology_ = std::move(initial);
}

Result<void> Proxy::start_http() {
  std::lock_guard lock(http_mutex_);
  const std::string& address = topology()->settings->admin.http;
  if (address.empty()) return {};
  auto server = serve_admin_http(*this, address);
  if (!server) return server.take_error();
  http_ = std::move(*server);
  return {};
}

void Proxy::stop_http() {
  std::lock_guard lock(http_mutex_);
  http_.reset();
}

Result<void> Proxy::open_listeners(std::vector<Listener> inherited) {
  const config::Listen& listen = topology_->settings->listen;
  return listeners_.open(listen, listen.workers ? listen.workers : std::max(1U, std::thread::hardware_concurrency()), std::move(inherited));
}

Result<void> Proxy::make_workers(config::IoBackend wanted) {
  const auto io = choose_io(wanted);
  if (!io) return io.error();
  for (unsigned w = 0; w < listeners_.workers(); ++w) {
    auto loop = net::Loop::create(kReceiveBuffer, *io);
    if (!loop) return loop.take_error();
    workers_.push_back(std::make_unique<Worker>(*this, w, std::move(*loop)));
  }
  log::info(*io == net::Io::io_uring ? "network I/O by io_uring" : "network I/O by epoll");
  return {};
}

Result<void> Proxy::start_threads(Inheritance inherited) {
  const config::Settings& settings = *topology_->settings;
  if (auto made = make_workers(settings.listen.io); !made) return made;
  std::vector<net::Loop*> loops;
  for (auto& worker : workers_) loops.push_back(&worker->loop());
  pools_ = std::make_unique<pool::Pools>(loops, settings.pool.login_threads);
  for (unsigned w = 0; w < loops.size(); ++w)
    loops[w]->set_idle_event([this, w](std::uint64_t tag) { pools_->idle_event(w, tag); });
  cancels_ = std::make_unique<Cancels>();
  listen_hub_ = std::make_unique<ListenHub>([this] { return this->topology(); });
  console_jobs_ = std::make_unique<pool::Connector>(kConsoleThreads);
  authenticator_.set_users(settings);
  auth_query_ = std::make_unique<AuthQuery>(authenticator_);
  auto tls = load_client_tls(settings.tls);
  if (!tls) return tls.take_error();
  const auto built = build_topology(topology_->settings, nullptr);
  built->tls = std::move(*tls);
  const TopologyRef topology = built;
  {
    std::lock_guard lock(mutex_);   // admin.http's pages and the stats line look already
    topology_ = topology;
  }
  for (auto& worker : workers_) worker->set_topology(topology);
  for (const std::string& name : inherited.paused) (void)pause(name, Deadline(Clock::now()));
  for (const std::string& name : inherited.disabled) (void)set_disabled(name, true);
  if (inherited.takeover_listener >= 0) handover_ = std::make_unique<Handover>(*this, settings.listen.takeover_socket, std::move(inherited));
  monitor_ = std::make_unique<pool::Monitor>(pool::MonitorSettings{settings.health.interval, settings.health.timeout});
  watch_backends(*topology);
  catalogs_ = std::make_unique<Catalogs>([this] { return this->topology(); },
                                         [this](const std::string& d, LoadedCatalog loaded, const std::string& problem) {
                                           on_catalog(d, std::move(loaded), problem);
                                         });
  recovery_ = std::make_unique<Recovery>([this] { return this->topology(); });
  id_leases_ = std::make_unique<IdLeases>();
  id_leases_->serve(topology, Deadline::after(Clock::now(), IdLeases::kPatience));
  // Ready means: catalogs are there and replicas are known, if they can be had within a moment.
  catalogs_->wait_first_round(Deadline::after(Clock::now(), std::chrono::seconds(10)));
  (void)monitor_->wait_first_round(Deadline::after(Clock::now(), std::chrono::seconds(3)));
  for (unsigned w = 0; w < workers_.size(); ++w) workers_[w]->start(listeners_.of_worker(w));
  if (handover_) handover_->start();
  owns_files_ = true;
  return {};
}

Proxy::~Proxy() {
  stopping_ = true;
  if (handover_) handover_->stop();
  if (owns_files_ && !handed_over()) {
    listeners_.remove_file();
    if (handover_) handover_->remove_file();
  }
  http_.reset();
  stats_line_.reset();
  recovery_.reset();
  catalogs_.reset();
  monitor_.reset();
  if (console_jobs_) console_jobs_->stop();   // before the workers, on which its commands wait; a console's client may still ask for one
  for (auto& worker : workers_) worker->stop();
  id_leases_.reset();
  // Sessions used them to the last; what they still have to tell goes to loops that run no more.
  listen_hub_.reset();
  auth_query_.reset();
  cancels_.reset();
  handshakes_.reset();
  pools_.reset();   // after the workers: no session uses a server any more; before the loops
}

// ---- for sessions ----

void Proxy::run_handshake(std::function<void()> step) {
  std::call_once(handshakes_made_,
                 [this] { handshakes_ = std::make_unique<pool::Connector>(static_cast<unsigned>(workers_.size())); });
  handshakes_->run(std::move(step));
}

bool Proxy::admit_client() {
  const unsigned most = topology()->settings->listen.max_clients;
  unsigned now = clients_.load(std::memory_order_relaxed);
  do {
    if (now >= most) return false;
  } while (!clients_.compare_exchange_weak(now, now + 1, std::memory_order_relaxed));
  return true;
}

bool Proxy::look_up_user(const std::string& user, const std::string& database, unsigned worker, std::uint64_t session) {
  const TopologyRef now = topology();
  const config::Auth& auth = now->settings->auth;
  const config::User* asker = now->settings->find_user(auth.query_user);
  const std::string asked = asked_database(database);
  const DatabaseState* state = now->find(asked);
  if (!state && now->fallback) state = &*now->fallback;
  if (auth.query_user.empty() || !asker || !state) return false;
  const pool::Backend& backend = *state->shards.front().primary;
  LookUpTarget target{backend.id().params, auth.query};
  // The fallback's backend has the name "*", unless its string names a database.
  pool::set(target.params, "dbname", state->config->name == config::kFallbackName && pool::get(target.params, "dbname").empty() ? asked : backend.dbname());
  pool::set(target.params, "user", asker->name);
  pool::set(target.params, "password", asker->password);
  pool::set(target.params, "application_name", "weir auth_query");
  Worker& w = *workers_[worker];
  auth_query_->look_up(user, asked, std::move(target), [&w, session](const LookUp& answer) {
    w.loop().post([&w, session, answer] {
      if (Session* s = w.find_session(session)) s->looked_up(answer);
    });
  });
  return true;
}

void Proxy::doubt_user(const std::string& user, const std::string& database) {
  auth_query_->doubt(user, asked_database(database));
}

std::string Proxy::asked_database(const std::string& database) const {
  const std::string asked = topology()->settings->auth.query_database;
  return asked.empty() ? database : asked;
}

wire::CancelKey Proxy::make_key(unsigned worker, std::uint64_t session, std::size_t secret_size) {
  wire::CancelKey key;
  key.secret.resize(secret_size);
  RAND_bytes(reinterpret_cast<unsigned char*>(key.secret.data()), static_cast<int>(secret_size));
  const unsigned peer_id = topology()->settings->listen.peer_id;
  std::lock_guard lock(keys_mutex_);
  for (;;) {
    key.pid = peer_key::number(peer_id, random32());
    if (key.pid != 0 && keys_.emplace(key.pid, KeyOwner{key.secret, worker, session}).second) return key;
  }
}

void Proxy::forget_key(const wire::CancelKey& key) {
  std::lock_guard lock(keys_mutex_);
  keys_.erase(key.pid);
}

// Ours, or of the process that took over or was replaced, or of another proxy.
void Proxy::cancel(const wire::CancelKey& key) {
  wire::CancelKey wanted = key;
  wanted.pid &= ~peer_key::kPassedOn;
  if (cancel_own(wanted)) return;
  const TopologyRef topology = this->topology();
  const unsigned own = topology->settings->listen.peer_id, whose = peer_key::id_of(wanted.pid);
  if (own == 0 || whose == own) {
    if (handover_) handover_->forward_cancel(wanted);
    return;
  }
  if (key.pid != wanted.pid) return;   // it was passed on to us: some file names the wrong address
  for (const config::Peer& peer : topology->settings->peers)
    if (peer.id == whose) return cancels_->pass_on(peer, std::move(wanted), topology->settings->pool.cancel_wait_timeout);
}

bool Proxy::cancel_own(const wire::CancelKey& key) {
  KeyOwner owner;
  {
    std::lock_guard lock(keys_mutex_);
    const auto it = keys_.find(key.pid);
    if (it == keys_.end() || !same_secret(it->second.secret, key.secret)) return false;
    owner = it->second;
  }
  Worker& w = *workers_[owner.worker];
  w.loop().post([&w, session = owner.session] {
    if (Session* s = w.find_session(session)) s->request_cancel();
  });
  return true;
}

// The session keeps its server until it is told.
void Proxy::send_cancel(const pool::Server& server, unsigned worker, std::uint64_t session) {
  Worker& w = *workers_[worker];
  cancels_->send(server, topology()->settings->pool.cancel_wait_timeout, [&w, session](bool certain) {
    w.loop().post([&w, session, certain] {
      if (Session* s = w.find_session(session)) s->cancel_delivered(certain);
    });
  });
}

void Proxy::load_schema(const std::string& database, unsigned worker, std::uint64_t session) {
  Worker& w = *workers_[worker];
  catalogs_->refresh_then(database, [&w, session] {
    w.loop().post([&w, session] {
      if (Session* s = w.find_session(session)) s->schema_loaded();
    });
  });
}

}  // namespace weir::proxy
