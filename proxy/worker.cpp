#include "proxy/worker.hpp"

#include <pthread.h>

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

UserPools& WorkerDatabase::pools_of(const std::string& user) {
  constexpr std::size_t kKeptUsers = 64;
  if (users.size() >= kKeptUsers && !users.contains(user)) std::erase_if(users, [](const auto& u) { return u.second.sessions == 0; });
  return users[user];
}

namespace {
constexpr int kAcceptsAtOnce = 64;   // then the clients that are there get their turn
constexpr unsigned kSlowQueriesASecond = 5;   // a line each

// A router for these snapshots; none without them.
void renew(std::unique_ptr<router::Router>& router, const std::shared_ptr<const schema::Catalog>& catalog,
           const std::shared_ptr<const schema::BucketMap>& map) {
  if (!catalog || !map)
    router.reset();
  else if (router)
    router->update(catalog, map);
  else
    router = std::make_unique<router::Router>(catalog, map);
}

}  // namespace

Worker::Worker(Proxy& proxy, unsigned index, std::unique_ptr<net::Loop> loop)
    : proxy_(proxy), index_(index), loop_(std::move(loop)), spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

Worker::~Worker() {
  stop();
  if (spare_ >= 0) ::close(spare_);
}

void Worker::watch_listeners(const std::vector<int>& listeners) {
  listeners_ = listeners;
  for (const int fd : listeners_)
    if (auto watched = loop_->watch(fd, [this, fd] { accept_all(fd); }); !watched)
      log::error(concat("worker ", std::to_string(index_), ": ", watched.error().message));
}

void Worker::start(const std::vector<int>& listeners) {
  watch_listeners(listeners);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), concat("weir-worker-", std::to_string(index_ % 100)).c_str());   // as top -H and gdb show it
    loop_->run();
  });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  // Sessions end on their own thread: frames and sockets belong to it.
  loop_->post([this] {
    close_listeners();
    sessions_.clear();
    loop_->stop();
  });
  thread_.join();
  databases_.clear();   // the last holder of a pool closes sockets of every loop: that must not be a worker's end
}

void Worker::close_listeners() {
  for (const int fd : listeners_) loop_->unwatch(fd);
  listeners_.clear();
}

void Worker::accept_all(int listener) {
  for (int i = 0; i < kAcceptsAtOnce; ++i) {
    auto accepted = net::accept_one(listener);
    if (!accepted) {
      log::error(concat("accepting a client: ", accepted.error().message));
      shed_one(listener);
      return;
    }
    if (!*accepted) return;
    adopt(**accepted);
  }
}

// No descriptor is left: the spare one takes the waiting client, only to close it. Otherwise the listener would stay readable and the
// loop would spin.
void Worker::shed_one(int listener) {
  if (spare_ >= 0) ::close(spare_);
  if (auto accepted = net::accept_one(listener); accepted && *accepted) ::close(**accepted);
  spare_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void Worker::adopt(int fd) {
  auto socket = net::Socket::attach(*loop_, fd);
  if (!socket) return;
  const std::uint64_t id = (static_cast<std::uint64_t>(index_ + 1) << 40) | ++next_session_;
  auto session = std::make_unique<Session>(*this, id, std::move(*socket));
  Session* s = session.get();
  sessions_.emplace(id, std::move(session));
  s->start();
}

void Worker::finished(Session& session) {
  // Not from inside its own coroutine.
  loop_->post([this, id = session.id()] {
    sessions_.erase(id);
  });
}

Session* Worker::find_session(std::uint64_t id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : it->second.get();
}

void Worker::for_each_session(const std::function<void(Session&)>& f) {
  for (auto& [id, session] : sessions_) f(*session);
}

void Worker::for_each_database(const std::function<void(const WorkerDatabase&)>& f) const {
  for (const auto& [name, database] : databases_) f(*database);
}

std::optional<std::uint64_t> Worker::may_log_slow_query() {
  if (loop_->now() - slow_query_second_ >= std::chrono::seconds(1)) {
    slow_query_second_ = loop_->now();
    slow_queries_logged_ = 0;
  }
  if (slow_queries_logged_ >= kSlowQueriesASecond) {
    ++slow_queries_kept_silent_;
    return std::nullopt;
  }
  ++slow_queries_logged_;
  return std::exchange(slow_queries_kept_silent_, 0);
}

WorkerDatabase* Worker::database(std::string_view name) {
  const auto it = databases_.find(name);
  return it == databases_.end() ? nullptr : it->second.get();
}

// Its clients are told to go; what they still do is done by the old snapshot.
void Worker::remove_database(WorkerDatabase& database) {
  if (std::exchange(database.removed, true)) return;
  for (auto& [id, session] : sessions_)
    if (session->database() == &database)
      session->terminate({sqlstate::kAdminShutdown, concat("database \"", database.name, "\" was removed from the configuration")}, false);
}

Traffic& Worker::register_traffic(const pool::Backend& backend) {
  const pool::BackendIdentity& id = backend.id();
  if (traffic_.size() <= backend.serial()) traffic_.resize(backend.serial() + 1);
  Traffic& cells = proxy_.stats().backend(index_, {backend.counted_as(), id.shard_name, concat(backend.host(), ":", backend.port()), id.role});
  traffic_[backend.serial()] = &cells;
  return cells;
}

void Worker::give_up_soft_pins(pool::Pool& pool) {
  if (pool.soft_pins() == 0) return;
  const auto give_up = [](Worker& worker, const pool::Pool& wanted) {
    const std::vector<Session*> sessions(worker.soft_pinned.begin(), worker.soft_pinned.end());
    for (Session* session : sessions) session->give_up_soft_pin(wanted);
  };
  give_up(*this, pool);
  proxy_.on_other_workers(*this, [give_up, kept = pool.shared_from_this()](Worker& worker) { give_up(worker, *kept); });
}

void Worker::set_topology(TopologyRef topology) {
  topology_ = std::move(topology);
  const auto slow = topology_->settings->log.slow_query;
  slow_query_ = slow.count() > 0 ? Duration(slow) : Duration::max();
  remove_databases();
  for (const DatabaseState& state : topology_->databases) (void)take_up(topology_, state);
  if (topology_->fallback) (void)traffic(*topology_->fallback->shards.front().primary);
}

WorkerDatabase& Worker::take_up(const TopologyRef& topology, const DatabaseState& state) {
  auto& slot = databases_[state.config->name];
  if (!slot) {
    slot = std::make_unique<WorkerDatabase>();
    slot->name = state.config->name;
  } else if (slot->topology->version > topology->version) {
    return *slot;   // a client was ahead of the news
  }
  slot->topology = topology;
  slot->removed = false;
  slot->state = &state;
  slot->stats = &proxy_.stats().database(index_, slot->counted_as());
  for (const ShardBackends& shard : state.shards) {   // seen as zero before they are used
    (void)traffic(*shard.primary);
    for (const auto& replica : shard.replicas) (void)traffic(*replica);
  }
  renew(slot->observer, state.observed_catalog, state.observed_map);
  if (state.catalog) renew(slot->router, state.catalog, state.map);
  return *slot;
}

WorkerDatabase* Worker::newest_database(std::string_view name) {
  const TopologyRef newest = proxy_.topology();
  const DatabaseState* state = newest->find(name);
  return state ? &take_up(newest, *state) : nullptr;
}

// Those that the topology does not have any more, and that no client found in a newer one.
void Worker::remove_databases() {
  for (auto it = databases_.begin(); it != databases_.end();) {
    WorkerDatabase& database = *it->second;
    const bool gone = database.topology->version <= topology_->version && !topology_->find(it->first);
    if (gone) remove_database(database);
    it = gone && database.state->use && !is_used(database) ? databases_.erase(it) : std::next(it);
  }
}

bool Worker::is_used(const WorkerDatabase& database) const {
  return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& s) { return s.second->database() == &database; });
}

}  // namespace weir::proxy
