#include "proxy/worker.hpp"

#include <fcntl.h>
#include <unistd.h>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {
constexpr int kAcceptsAtOnce = 64;   // then the clients that are there get their turn
}

Worker::Worker(Proxy& proxy, unsigned index, std::unique_ptr<net::Loop> loop)
    : proxy_(proxy), index_(index), loop_(std::move(loop)), spare_(::open("/dev/null", O_RDONLY | O_CLOEXEC)) {}

Worker::~Worker() {
  stop();
  if (spare_ >= 0) ::close(spare_);
}

void Worker::start(std::vector<int> listeners) {
  listeners_ = std::move(listeners);
  for (const int fd : listeners_)
    if (auto watched = loop_->watch(fd, [this, fd] { accept_all(fd); }); !watched)
      log::error(concat("worker ", std::to_string(index_), ": ", watched.error().message));
  thread_ = std::thread([this] { loop_->run(); });
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
  if (!proxy_.admit_client()) s->terminate({sqlstate::kTooManyConnections, "sorry, too many clients already", "See listen.max_clients."}, false);
  s->start();
}

void Worker::finished(Session& session) {
  // Not from inside its own coroutine.
  loop_->post([this, id = session.id()] {
    if (sessions_.erase(id) > 0) proxy_.client_left();
  });
}

Session* Worker::find_session(std::uint64_t id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : it->second.get();
}

void Worker::for_each_session(const std::function<void(Session&)>& f) {
  for (auto& [id, session] : sessions_) f(*session);
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

void Worker::set_topology(TopologyRef topology) {
  topology_ = std::move(topology);
  for (auto& [name, database] : databases_)
    if (!topology_->find(name)) remove_database(*database);
  for (const DatabaseState& state : topology_->databases) {
    auto& slot = databases_[state.config->name];
    if (!slot) {
      slot = std::make_unique<WorkerDatabase>();
      slot->name = state.config->name;
    }
    slot->topology = topology_;
    slot->removed = false;
    slot->state = &state;
    if (!state.catalog) continue;
    if (slot->router)
      slot->router->update(state.catalog, state.map);
    else
      slot->router = std::make_unique<router::Router>(state.catalog, state.map);
  }
}

}  // namespace weir::proxy
