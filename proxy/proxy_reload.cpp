// Proxy: the settings in force, as pools see them, and RELOAD.
#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/client_tls.hpp"
#include "proxy/id_leases.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

// The user's own value, else the database's, else [pool]'s. `user` is who logs in at the server.
template <class T>
T choose(std::optional<T> config::PoolOverrides::*key, const config::User* user, const config::Database& d, T otherwise) {
  if (user && user->*key) return *(user->*key);
  return (d.*key).value_or(otherwise);
}

pool::PoolSettings pool_settings(const config::Settings& s, const config::Database& d, const config::User* user) {
  pool::PoolSettings p;
  p.size = user && user->pool_size ? *user->pool_size : d.pool_size.value_or(s.pool.size);
  p.min = std::min(d.pool_min.value_or(s.pool.min), p.size);
  p.reserve = choose(&config::PoolOverrides::pool_reserve, user, d, s.pool.reserve);
  p.reserve_timeout = s.pool.reserve_timeout;
  p.enlist_reserve = d.sharding ? s.pool.enlist_reserve : 0;
  p.refusal_pause = s.health.recovery_time;
  p.connect_timeout = s.pool.connect_timeout;
  p.idle_timeout = s.pool.idle_timeout;
  p.lifetime = s.pool.lifetime;
  return p;
}

bool same_buckets(const config::Database& a, const config::Database& b) {
  if (a.shards.size() != b.shards.size()) return false;
  for (std::size_t i = 0; i < a.shards.size(); ++i)
    if (a.shards[i].name != b.shards[i].name || a.shards[i].buckets != b.shards[i].buckets) return false;
  return true;
}

// Those keys are named to the operator; SHOW CONFIG and the proxy go by the values in force.
void keep_what_needs_a_restart(config::Settings& next, const config::Settings& now) {
  const config::Listen wanted = std::exchange(next.listen, now.listen);
  next.listen.max_clients = wanted.max_clients;
  next.listen.drain_timeout = wanted.drain_timeout;
  next.log.format = now.log.format;
  next.pool.login_threads = now.pool.login_threads;
}

void set_log_level(config::LogLevel level) {
  static constexpr log::Level kLevels[] = {log::Level::debug, log::Level::info, log::Level::warning, log::Level::error};
  log::set_level(kLevels[static_cast<int>(level)]);
}

void set_breakers(const Topology& topology) {
  const config::Health& health = topology.settings->health;
  const policy::BreakerSettings breaker{health.failure_threshold, health.recovery_time};
  for (const DatabaseState& d : topology.databases)
    for (const ShardBackends& shard : d.shards) {
      shard.primary->set_breaker(breaker);
      for (const auto& replica : shard.replicas) replica->set_breaker(breaker);
    }
}

}  // namespace

std::shared_ptr<pool::Pool> Proxy::make_pool(const WorkerDatabase& database, schema::ShardId shard,
                                             const std::shared_ptr<pool::Backend>& backend, const pool::Credentials& credentials) {
  const config::Settings& settings = *database.topology->settings;
  const std::string login = pool::effective_credentials(*backend, credentials).user;
  const config::User* user = settings.find_user(login);
  auto pool = pools_->get(backend, credentials, pool_settings(settings, *database.state->config, user), database.state->checks[shard],
                          server_limits(*database.state->config, login, user));
  if (paused().contains(database.name)) pool->set_paused(true);
  return pool;
}

// The bounds over all pools of a database and of a user.
std::vector<std::shared_ptr<pool::Budget>> Proxy::server_limits(const config::Database& database, const std::string& login,
                                                                const config::User* user) {
  return {pools_->limit(concat("database ", database.name), database.max_server_connections),
          pools_->limit(concat("user ", login), user ? user->max_server_connections : std::nullopt)};
}

// A new file is served only with catalogs made for it: rules, map and catalog change together.
Result<void> Proxy::read_catalogs(Topology& topology) {
  for (DatabaseState& d : topology.databases) {
    auto loaded = load_catalog(*d.config, d.shards.front(), d.checks.front(), Deadline::after(Clock::now(), std::chrono::seconds(5)));
    if (loaded) {
      d.take(keep_alive(std::move(*loaded), topology, d));
    } else if (d.sharded()) {
      return Error(loaded.error().code, concat("database ", d.config->name, ": its catalog cannot be read: ", loaded.error().message));
    }
  }
  return {};
}

Proxy::ReloadOutcome Proxy::reload() {
  ReloadOutcome outcome = apply_reload();
  (outcome.ok ? reloads_.applied : reloads_.refused).fetch_add(1, std::memory_order_relaxed);
  return outcome;
}

Proxy::ReloadOutcome Proxy::apply_reload() {
  std::lock_guard one_at_a_time(reload_mutex_);
  const TopologyRef before = topology();
  if (handed_over()) return {false, {"another process has taken over and serves by its own file; this one only drains"}};
  auto loaded = config::load(before->settings->file, {});
  ReloadOutcome outcome;
  if (const auto* problems = std::get_if<std::vector<config::Problem>>(&loaded)) {
    for (const auto& p : *problems) outcome.lines.push_back(p.str());
    return outcome;
  }
  apply(std::move(std::get<config::Settings>(loaded)), before, outcome);
  return outcome;
}

// Under reload_mutex_. What needs a restart stays as it is.
void Proxy::apply(config::Settings next, const TopologyRef& before, ReloadOutcome& outcome) {
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
      return;
    }
  }
  auto tls = load_client_tls(next.tls);
  if (!tls) {
    outcome.lines.push_back(concat(tls.error().message, "; nothing was reloaded. ", tls.error().hint));
    return;
  }
  keep_what_needs_a_restart(next, *before->settings);
  const auto settings = std::make_shared<const config::Settings>(std::move(next));
  const auto topology = build_topology(settings, before.get());
  topology->tls = std::move(*tls);
  if (auto read = read_catalogs(*topology); !read) {
    outcome.lines.push_back(read.error().message);
    return;
  }
  id_leases_->serve(topology, Deadline::after(Clock::now(), IdLeases::kPatience));
  authenticator_.set_users(*settings);
  publish_settings(topology);
  auth_query_->forget_all();
  on_workers([](Worker&) {});   // pools made from now on are made for the new file
  for (const auto& [server, budget] : pools_->budgets()) budget->set_bound(settings->pool.max_per_backend);
  set_breakers(*topology);
  set_log_level(settings->log.level);
  for (const DatabaseState& d : topology->databases) {
    const DatabaseState* old = before->find(d.config->name);
    const bool renewed = old && old->map->version() != d.map->version();
    for (const auto& pool : pools_->all()) {
      if (pool->backend().id().database != d.config->name) continue;
      const config::User* user = settings->find_user(pool->user());
      pool->set_settings(pool_settings(*settings, *d.config, user));
      (void)server_limits(*d.config, pool->user(), user);   // their new bounds
      const auto shard = pool->backend().id().shard;
      if (shard < d.checks.size()) pool->set_check(d.checks[shard]);
      if (renewed) pool->renew();   // each server must show the new map version
    }
  }
  retire_unserved_pools();
  watch_backends(*topology);
  catalogs_->refresh_all();
  outcome.ok = true;
}

}  // namespace weir::proxy
