// Proxy: the current topology, made from the settings: backends, maps, catalogs, identity checks; and how it reaches the workers.
#include <algorithm>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/id_source.hpp"
#include "proxy/proxy.hpp"
#include "schema/identity.hpp"

namespace weir::proxy {

namespace {

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
  return [settings = std::move(settings), &database, shard = std::move(shard), cluster = std::move(cluster)](const pool::RunQuery& run) -> Result<void> {
    const auto rows = run(std::string(schema::identity_query()));
    if (!rows && rows.error().connection_spoilt) return rows.error();
    std::optional<schema::Identity> found;
    if (rows && rows->size() == 1 && rows->front().size() == 3) {
      const pool::QueryRow& row = rows->front();
      found = schema::Identity{row[0].value_or(""), row[1].value_or(""), std::strtoull(row[2].value_or("").c_str(), nullptr, 10)};
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

std::shared_ptr<const schema::BucketMap> observed_map(const config::Database& observed) {
  auto map = schema::BucketMap::from(observed);
  return map ? std::make_shared<const schema::BucketMap>(std::move(*map)) : nullptr;
}

Duration write_hold_of(const config::Settings& s, const config::Database& d) {
  if (d.reads.max_lag.count() == 0) return std::chrono::hours(24 * 365);   // no bound on the lag: never read behind a write
  return d.reads.max_lag + s.health.interval + s.health.timeout;
}

}  // namespace

void DatabaseState::take(const LoadedCatalog& loaded) {
  catalog = loaded.catalog;
  observed_catalog = loaded.observed;
  observed_problem = loaded.observed_problem;
}

const DatabaseState* Topology::find(std::string_view database) const {
  for (const DatabaseState& d : databases)
    if (d.config->name == database) return &d;
  return nullptr;
}

std::shared_ptr<pool::Backend> Proxy::backend_for(pool::BackendIdentity identity, const config::Settings& settings, const Topology* before) {
  const auto same = [&](const std::shared_ptr<pool::Backend>& b) {
    const auto& id = b->id();
    return id.database == identity.database && id.shard_name == identity.shard_name && id.shard == identity.shard && id.role == identity.role &&
           id.conninfo == identity.conninfo && id.weight == identity.weight && id.counted_with == identity.counted_with;
  };
  if (before) {
    for (const DatabaseState& d : before->databases)
      for (const ShardBackends& s : d.shards) {
        if (same(s.primary)) return s.primary;
        for (const auto& r : s.replicas)
          if (same(r)) return r;
      }
    if (before->fallback && same(before->fallback->shards.front().primary)) return before->fallback->shards.front().primary;
  }
  auto params = pool::parse_conninfo(identity.conninfo);
  if (params) identity.params = std::move(*params);   // weir check and config::load have parsed it before
  std::string host(pool::get(identity.params, "host"));
  if (host.empty()) host = pool::get(identity.params, "hostaddr");
  const std::string server = concat(host, ":", pool::get(identity.params, "port"));
  return std::make_shared<pool::Backend>(std::move(identity), pools_->budget(server, settings.pool.max_per_backend),
                                         policy::BreakerSettings{settings.health.failure_threshold, settings.health.recovery_time});
}

DatabaseState Proxy::build_database(const config::Database& d, const std::shared_ptr<const config::Settings>& settings, const Topology* before) {
  DatabaseState state;
  state.config = &d;
  auto map = schema::BucketMap::from(d);
  state.map = map ? std::make_shared<const schema::BucketMap>(std::move(*map)) : std::make_shared<const schema::BucketMap>();
  if (!d.sharding) state.catalog = schema::Catalog::offline(d);   // until the real one is there
  state.catalog_problem = "its catalog is being read";
  if (d.observed) state.observed_map = observed_map(*d.observed);
  state.write_hold = write_hold_of(*settings, d);
  const DatabaseState* old = before ? before->find(d.name) : nullptr;
  state.marks = old && old->marks->buckets() == state.map->buckets() ? old->marks : std::make_shared<WriteMarks>(state.map->buckets());
  const bool fills_keys = std::ranges::any_of(d.tables, [](const config::Table& table) { return table.fills_key; });
  if (fills_keys) state.ids = old && old->ids ? old->ids : std::make_shared<IdSource>(d.name);
  if (old) state.marks->wrote_everything(Clock::now());   // after a map change every bucket counts as just written
  const auto cluster = std::make_shared<OneCluster>();
  for (std::size_t i = 0; i < d.shards.size(); ++i) {
    const config::Shard& shard = d.shards[i];
    const auto id = static_cast<schema::ShardId>(i);
    ShardBackends backends;
    backends.primary = backend_for({d.name, shard.name, id, policy::Role::primary, 0, 1, shard.primary, {}, {}}, *settings, before);
    for (unsigned r = 0; r < shard.replicas.size(); ++r)
      backends.replicas.push_back(backend_for({d.name, shard.name, id, policy::Role::replica, r, shard.replicas[r].weight,
                                               shard.replicas[r].conninfo, {}, {}}, *settings, before));
    state.has_replicas |= !backends.replicas.empty();
    state.shards.push_back(std::move(backends));
    state.checks.push_back(identity_check(settings, d, shard.name, cluster));
  }
  return state;
}

std::shared_ptr<Topology> Proxy::build_topology(std::shared_ptr<const config::Settings> settings, const Topology* before) {
  auto topology = std::make_shared<Topology>();
  topology->settings = settings;
  topology->version = before ? before->version + 1 : 1;
  topology->settings_version = before ? before->settings_version + 1 : 1;
  for (const config::Database& d : settings->databases) topology->databases.push_back(build_database(d, settings, before));
  if (settings->fallback) topology->fallback = build_database(*settings->fallback, settings, before);
  return topology;
}

TopologyRef Proxy::topology() const {
  std::lock_guard lock(mutex_);
  return topology_;
}

// Under the lock, so that versions differ and every worker gets the snapshots in the same order.
void Proxy::publish_locked(std::shared_ptr<Topology> next) {
  next->version = topology_->version + 1;
  topology_ = next;
  for (auto& worker : workers_) worker->loop().post([w = worker.get(), topology = topology_] { w->set_topology(topology); });
  listen_hub_->topology_changed();
}

void Proxy::on_catalog(const std::string& database, LoadedCatalog loaded, const std::string& problem) {
  std::lock_guard lock(mutex_);
  const DatabaseState* known = topology_->find(database);
  if (!known || (!loaded.catalog && known->catalog_problem == problem)) return;
  if (loaded.catalog && loaded.settings_version != topology_->settings_version) return;   // it was read for the old file
  if (!loaded.catalog) log::warning(concat("database ", database, ": its catalog cannot be read: ", problem));
  if (!loaded.observed_problem.empty() && loaded.observed_problem != known->observed_problem)
    log::warning(concat("database ", database, ": routes are not counted, for the table rules do not fit: ", loaded.observed_problem));
  auto next = std::make_shared<Topology>(*topology_);
  for (DatabaseState& d : next->databases)
    if (d.config->name == database) {
      if (loaded.catalog) d.take(loaded);
      d.catalog_problem = problem;
    }
  publish_locked(std::move(next));
}

void Proxy::watch_backends(const Topology& topology) {
  std::vector<pool::Watched> watched;
  for (const DatabaseState& d : topology.databases)   // not those of the fallback: a connection each would be too many
    for (const ShardBackends& s : d.shards) {
      if (d.use) continue;
      const auto add = [&](const std::shared_ptr<pool::Backend>& b) {
        watched.push_back({b, maintenance_params(*d.config, *b), d.config->reads.max_lag});
      };
      add(s.primary);
      for (const auto& r : s.replicas) add(r);
    }
  const config::Health& health = topology.settings->health;
  monitor_->watch(std::move(watched), {health.interval, health.timeout});
}

}  // namespace weir::proxy
