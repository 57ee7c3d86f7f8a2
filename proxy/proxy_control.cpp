// Proxy: what the console and signals ask for: PAUSE, RESUME, RECONNECT, SHUTDOWN.
#include <future>

#include "base/strings.hpp"
#include "proxy/console.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {
constexpr auto kDrainPause = std::chrono::milliseconds(20);
}

void Proxy::on_other_workers(const Worker& but, const std::function<void(Worker&)>& f) {
  for (auto& worker : workers_)
    if (worker.get() != &but) worker->loop().post([f, w = worker.get()] { f(*w); });
}

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
  if (!database.empty() && !now->serves(database)) return Error(sqlstate::kInvalidDatabase, concat("database \"", database, "\" does not exist"));
  const std::string sample = !database.empty() ? database : now->fallback ? std::string(config::kFallbackName) : now->databases.front().config->name;
  {
    std::lock_guard lock(mutex_);
    paused_.insert(sample);   // of the fallback: those to come
    for (const DatabaseState& d : topology_->databases)
      if (database.empty()) paused_.insert(d.config->name);
  }
  for (const auto& pool : pools_->all())
    if (is_of(*pool, database)) pool->set_paused(true);
  while (!until.passed(Clock::now()) && !stopping_) {
    unsigned busy = 0;
    for (const auto& pool : pools_->all())
      if (is_of(*pool, database)) busy += pool->counts(Clock::now()).active;
    if (busy == 0) return true;
    if (!paused().contains(sample)) return false;   // resumed meanwhile
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
  if (database.empty() && suspended_.exchange(false)) resume_accepting();
  return {};
}

Result<void> Proxy::reconnect(const std::string& database) {
  if (!database.empty() && !topology()->serves(database))
    return Error(sqlstate::kInvalidDatabase, concat("database \"", database, "\" does not exist"));
  for (const auto& pool : pools_->all())
    if (is_of(*pool, database)) pool->renew();
  return {};
}

void Proxy::stop_accepting() {
  on_workers([](Worker& worker) { worker.close_listeners(); });
}

void Proxy::resume_accepting() {
  on_workers([this](Worker& worker) { worker.watch_listeners(listeners_.of_worker(worker.index())); });
}

// ---- the end ----

void Proxy::ask_shutdown(Shutdown how) { shutdown_asked_ = static_cast<int>(how); }

std::optional<Shutdown> Proxy::shutdown_asked() const {
  const int asked = shutdown_asked_;
  return asked < 0 ? std::nullopt : std::optional(static_cast<Shutdown>(asked));
}

unsigned Proxy::database_clients() {
  std::atomic<unsigned> count{0};
  on_workers([&](Worker& worker) { worker.for_each_session([&](Session& s) { count += s.console() ? 0 : 1; }); });
  return count;
}

unsigned Proxy::busy_servers() {
  unsigned busy = 0;
  for (const auto& pool : pools_->all()) busy += pool->counts(Clock::now()).active;
  return busy;
}

void Proxy::shut_down(Shutdown how) {
  phase_ = Phase::draining;
  stop_accepting();
  const Deadline deadline = Deadline::after(Clock::now(), topology()->settings->listen.drain_timeout);
  if (how == Shutdown::wait_for_servers) (void)pause("", Deadline(Clock::now()));
  const auto somebody_left = [&] {
    if (how == Shutdown::at_once) return false;
    return (how == Shutdown::wait_for_servers ? busy_servers() : database_clients()) > 0;
  };
  while (!stopping_ && !deadline.passed(Clock::now()) && somebody_left()) std::this_thread::sleep_for(kDrainPause);
  disconnect_everybody();
}

bool Proxy::drain_for_successor() {
  const Deadline deadline = Deadline::after(Clock::now(), topology()->settings->listen.drain_timeout);
  while (!stopping_ && !deadline.passed(Clock::now()) && database_clients() > 0) {
    if (!handed_over()) return false;
    std::this_thread::sleep_for(kDrainPause);
  }
  if (!stopping_ && !handed_over()) return false;
  disconnect_everybody();
  // Its connections are known to this process only: the successor must not miss them.
  while (!stopping_ && handover_->predecessor_drains()) std::this_thread::sleep_for(kDrainPause);
  return stopping_ || handed_over();   // the successor may have died until now
}

void Proxy::disconnect_everybody() {
  const Error goodbye(sqlstate::kAdminShutdown, "terminating connection: Weir is shutting down", "Connect again.");
  for (const bool now : {false, true}) {   // between statements, where that is soon
    on_workers([&](Worker& worker) { worker.for_each_session([&](Session& session) { session.terminate(goodbye, now); }); });
    const Deadline last = Deadline::after(Clock::now(), std::chrono::seconds(1));
    while (clients() > 0 && !last.passed(Clock::now())) std::this_thread::sleep_for(kDrainPause / 4);
  }
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

}  // namespace weir::proxy
