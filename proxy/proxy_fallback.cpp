// Proxy: databases that the file does not name, served by its entry "*" (config::Settings::fallback): made for the first client that has
// proved who it is, bounded in number, forgotten when nobody uses them.
// https://www.pgbouncer.org/config.html#section-databases
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

constexpr std::size_t kNameBytes = 63;   // PostgreSQL has no longer names (NAMEDATALEN - 1)
constexpr Duration kUnprovenKept = std::chrono::seconds(5);   // of a database that no server has admitted to

bool is_proven(const DatabaseState& database) { return database.shards.front().primary->proven; }

// Shares what is the same for all of them: server bound, catalog until its own is read, map.
DatabaseState database_of(const DatabaseState& fallback, const std::string& name, const config::Health& health) {
  DatabaseState database = fallback;
  auto config = std::make_shared<config::Database>(*fallback.config);
  config->name = name;
  database.own_config = std::move(config);
  database.config = database.own_config.get();
  const std::shared_ptr<pool::Backend>& counted_with = fallback.shards.front().primary;
  pool::BackendIdentity identity = counted_with->id();
  identity.database = name;
  identity.counted_with = counted_with;
  database.shards.front().primary = std::make_shared<pool::Backend>(std::move(identity), counted_with->shared_budget(),
                                                                    policy::BreakerSettings{health.failure_threshold, health.recovery_time});
  database.use = std::make_shared<FallbackUse>(Clock::now());
  return database;
}

}  // namespace

bool Proxy::may_forget(const DatabaseState& database) const {
  return database.use && database.use->unused() && !paused_.contains(database.config->name);
}

// False: all are in use.
bool Proxy::make_room_for_database(Topology& next) const {
  const auto served = std::ranges::count_if(next.databases, [](const DatabaseState& d) { return d.use != nullptr; });
  if (served < static_cast<std::ptrdiff_t>(next.settings->pool.max_fallback_databases)) return true;
  auto oldest = next.databases.end();
  for (auto d = next.databases.begin(); d != next.databases.end(); ++d) {
    if (!may_forget(*d)) continue;
    const auto rank = [](const DatabaseState& of) { return std::pair(is_proven(of), of.use->last()); };
    if (oldest == next.databases.end() || rank(*d) < rank(*oldest)) oldest = d;
  }
  if (oldest == next.databases.end()) return false;
  next.databases.erase(oldest);
  return true;
}

Result<FallbackUse::Place> Proxy::use_database(const std::string& name) {
  FallbackUse::Place place;
  bool others_went = false;
  {
    std::lock_guard lock(mutex_);
    if (const DatabaseState* known = topology_->find(name)) return known->use ? FallbackUse::Place(known->use) : FallbackUse::Place();
    if (!topology_->fallback || name.size() > kNameBytes || name == config::kFallbackName)
      return Error(sqlstate::kInvalidDatabase, concat("database \"", name, "\" does not exist"),
                   "The databases Weir serves are listed by SHOW DATABASES in its admin console (database \"weir\").");
    auto next = std::make_shared<Topology>(*topology_);
    const config::Settings& settings = *next->settings;
    if (!make_room_for_database(*next))
      return Error(sqlstate::kTooManyConnections, concat("the database \"*\" serves ", std::to_string(settings.pool.max_fallback_databases),
                                                         " databases already, which are all in use"),
                   "Raise pool.max_fallback_databases, or give the database an entry of its own.");
    others_went = next->databases.size() < topology_->databases.size();
    next->databases.push_back(database_of(*next->fallback, name, settings.health));
    place = FallbackUse::Place(next->databases.back().use);
    if (paused_.contains(std::string(config::kFallbackName))) paused_.insert(name);
    publish_locked(std::move(next));
  }
  if (others_went) retire_unserved_pools();
  return place;
}

void Proxy::forget_unused_databases() {
  {
    std::lock_guard lock(mutex_);
    const TimePoint now = Clock::now();
    const Duration kept = topology_->settings->pool.fallback_idle_timeout;
    const auto expired = [&](const DatabaseState& d) {
      if (!may_forget(d)) return false;
      const Duration unused = now - d.use->last();
      return is_proven(d) ? kept > Duration::zero() && unused >= kept : unused >= kUnprovenKept;
    };
    if (std::ranges::none_of(topology_->databases, expired)) return;
    auto next = std::make_shared<Topology>(*topology_);
    std::erase_if(next->databases, [&](const DatabaseState& d) {
      if (!expired(d)) return false;
      log::debug(concat("database ", d.config->name, " is forgotten: nobody uses it"));
      return true;
    });
    publish_locked(std::move(next));
  }
  retire_unserved_pools();
}

// Each pool was made for a snapshot that was in force; one whose backend is in none that is newer has no clients to come.
void Proxy::retire_unserved_pools() {
  pools_->retire_unless([this](const pool::Backend& backend) {
    const TopologyRef now = topology();
    const auto is_it = [&](const std::shared_ptr<pool::Backend>& b) { return b.get() == &backend; };
    return std::ranges::any_of(now->databases, [&](const DatabaseState& d) {
      return std::ranges::any_of(d.shards, [&](const ShardBackends& s) { return is_it(s.primary) || std::ranges::any_of(s.replicas, is_it); });
    });
  });
}

// A reload: what the fallback served and still does, by its new entry. Under the lock, so that none made meanwhile is lost.
void Proxy::publish_settings(std::shared_ptr<Topology> next) {
  std::lock_guard lock(mutex_);
  for (const DatabaseState& before : topology_->databases) {
    if (!before.use || !next->fallback || next->find(before.config->name)) continue;
    DatabaseState database = database_of(*next->fallback, before.config->name, next->settings->health);
    database.use = before.use;
    if (next->fallback->shards.front().primary == topology_->fallback->shards.front().primary) {
      database.shards = before.shards;
      database.catalog = before.catalog;
      database.catalog_problem = before.catalog_problem;
    }
    next->databases.push_back(std::move(database));
  }
  publish_locked(std::move(next));
}

}  // namespace weir::proxy
