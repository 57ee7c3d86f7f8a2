// Proxy: what the console asks for besides PAUSE and its kin (proxy_control.cpp): KILL, DISABLE, SUSPEND, SET.
#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {
Error no_database(const std::string& name) {
  return {sqlstate::kInvalidDatabase, concat("database \"", name, "\" does not exist"), "SHOW DATABASES lists them."};
}
}  // namespace

std::set<std::string> Proxy::disabled() const {
  std::lock_guard lock(mutex_);
  return disabled_;
}

Result<void> Proxy::set_disabled(const std::string& database, bool disabled) {
  if (!topology()->serves(database)) return no_database(database);
  std::lock_guard lock(mutex_);
  if (disabled)
    disabled_.insert(database);
  else
    disabled_.erase(database);
  return {};
}

// As PgBouncer: everybody is dropped, clients and servers; who comes then waits until RESUME.
Result<void> Proxy::kill(const std::string& database) {
  if (auto paused = pause(database, Deadline(Clock::now())); !paused) return paused.take_error();
  const Error why(sqlstate::kAdminShutdown, "terminating connection due to administrator command", "KILL was given in Weir's console.");
  on_workers([&](Worker& worker) {
    worker.for_each_session([&](Session& session) {
      if (session.database() != nullptr && (database.empty() || session.database()->name == database)) session.terminate(why, true);
    });
  });
  return reconnect(database);
}

Result<void> Proxy::kill_client(std::uint64_t id) {
  const Error why(sqlstate::kAdminShutdown, "terminating connection due to administrator command", "KILL_CLIENT was given in Weir's console.");
  std::atomic<bool> found{false};
  on_workers([&](Worker& worker) {
    Session* session = worker.find_session(id);
    if (session == nullptr) return;
    session->terminate(why, true);
    found = true;
  });
  if (!found) return Error(sqlstate::kInvalidParameter, concat("there is no client ", std::to_string(id)), "SHOW CLIENTS lists them; its last column is the id.");
  return {};
}

// Nobody new is accepted and no server is granted; transactions that have one go on. RESUME ends it.
void Proxy::suspend() {
  suspended_ = true;
  stop_accepting();
  (void)pause("", Deadline(Clock::now()));
}

Result<void> Proxy::set(const std::string& key, const std::string& value) {
  std::lock_guard one_at_a_time(reload_mutex_);
  const TopologyRef before = topology();
  auto changed = config::with_value(*before->settings, key, value);
  if (const auto* problem = std::get_if<std::string>(&changed)) return Error(sqlstate::kInvalidParameter, *problem, "SHOW CONFIG lists the keys.");
  ReloadOutcome outcome;
  apply(std::move(std::get<config::Settings>(changed)), before, outcome);
  if (!outcome.ok) return Error(sqlstate::kConfigFile, outcome.lines.empty() ? "not applied" : outcome.lines.back());
  return {};
}

void Proxy::update_averages() {
  if (averages_.due(Clock::now())) averages_.update(Clock::now(), stats_.totals());
}

}  // namespace weir::proxy
