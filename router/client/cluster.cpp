#include "router/client/cluster.hpp"

#include <algorithm>
#include <mutex>
#include <pqxx/transaction>

#include "config/load.hpp"
#include "router/client/catalog_loader.hpp"
#include "router/client/conninfo.hpp"
#include "router/client/identity_check.hpp"
#include "router/client/shard_access.hpp"
#include "router/client/shard_monitor.hpp"
#include "schema/month.hpp"

namespace weir::client {

namespace {

config::Settings load_settings(const std::string& file) {
  auto loaded = config::load(file, {.require_auth = false});
  if (auto* settings = std::get_if<config::Settings>(&loaded)) return std::move(*settings);
  auto problems = std::get<std::vector<config::Problem>>(std::move(loaded));
  std::string message = file + " has mistakes:";
  for (const auto& problem : problems) message += "\n  " + problem.str();
  throw ConfigurationError(message, std::move(problems));
}

const config::Database& choose_database(const config::Settings& settings, const std::string& name) {
  if (name.empty() && settings.databases.size() == 1) return settings.databases.front();
  if (name.empty())
    throw ConfigurationError(settings.file + " holds " + std::to_string(settings.databases.size()) +
                             " databases: name one in ClusterOptions::database");
  if (const auto* database = settings.find_database(name)) return *database;
  throw ConfigurationError(settings.file + " has no database \"" + name + "\"");
}

schema::BucketMap map_of(const config::Database& database) {
  if (!database.sharding) return {};
  auto map = schema::BucketMap::from(database);
  if (!map) throw ConfigurationError(text_of(map.error()));
  return std::move(map).value();
}

enum class KeyKind { integer, text, uuid };

KeyKind kind_of(schema::KeyType type) {
  switch (type) {
    case schema::KeyType::int2:
    case schema::KeyType::int4:
    case schema::KeyType::int8:
      return KeyKind::integer;
    case schema::KeyType::text:
    case schema::KeyType::varchar:
      return KeyKind::text;
    case schema::KeyType::uuid:
      return KeyKind::uuid;
  }
  return KeyKind::integer;
}

KeyKind kind_of(const schema::KeyValue& value) {
  return value.is_integer() ? KeyKind::integer : value.is_text() ? KeyKind::text : KeyKind::uuid;
}

}  // namespace

struct Cluster::Impl {
  Impl(config::Settings s, ClusterOptions o)
      : settings(std::move(s)),
        options(std::move(o)),
        database(choose_database(settings, options.database)),
        map(map_of(database)) {
    for (std::size_t i = 0; i < database.shards.size(); ++i) add_shard(static_cast<schema::ShardId>(i));
  }

  std::string conninfo(const std::string& backend, const std::string& application) const {
    ConninfoMap parts = parse_conninfo(backend);
    if (!options.user.empty()) parts["user"] = options.user;
    if (!options.password.empty()) parts["password"] = options.password;
    return with_weir_defaults(format_conninfo(parts), application);
  }

  // Monitors log in as database.maintenance says, like the proxy's.
  std::string monitor_conninfo(const std::string& backend) const {
    const std::string own = conninfo(backend, options.application_name + " monitor");
    return database.maintenance.empty() ? own : merge_conninfo(own, database.maintenance);
  }

  unsigned pool_size() const {
    const unsigned wanted = options.pool_size.value_or(database.pool_size.value_or(settings.pool.size));
    return std::max(1U, std::min(wanted, settings.pool.max_per_backend));
  }

  std::unique_ptr<Backend> backend(const config::Shard& shard, const std::string& label, const std::string& conn,
                                   policy::Role role, unsigned weight) const {
    PoolSettings pool;
    pool.name = database.name + "/" + shard.name + "/" + label;
    pool.conninfo = conn;
    pool.size = pool_size();
    pool.connect_timeout = settings.pool.connect_timeout;
    pool.idle_timeout = settings.pool.idle_timeout;
    pool.lifetime = settings.pool.lifetime;
    pool.breaker = {settings.health.failure_threshold, settings.health.recovery_time};
    pool.check = backend_check(database, shard.name, pool.name, role);
    return std::make_unique<Backend>(role, weight, std::move(pool));
  }

  // Sessions of replicas start read-only: a replica that is promoted must not take writes from read leases.
  std::string replica_conninfo(const std::string& backend_string) const {
    ConninfoMap parts = parse_conninfo(conninfo(backend_string, options.application_name));
    std::string& opts = parts["options"];
    opts += (opts.empty() ? "" : " ") + std::string("-c default_transaction_read_only=on");
    return format_conninfo(parts);
  }

  void add_shard(schema::ShardId id) {
    const config::Shard& shard = database.shards[id];
    MonitorSettings monitor{
        settings.health.interval, settings.health.timeout, database.reads.max_lag, monitor_conninfo(shard.primary), {}};
    std::vector<std::unique_ptr<Backend>> replicas;
    for (const auto& replica : shard.replicas) {
      const std::string label = "replica" + std::to_string(replicas.size() + 1);
      replicas.push_back(
          backend(shard, label, replica_conninfo(replica.conninfo), policy::Role::replica, replica.weight));
      monitor.replicas.push_back(monitor_conninfo(replica.conninfo));
    }
    auto primary =
        backend(shard, "primary", conninfo(shard.primary, options.application_name), policy::Role::primary, 1);
    access.push_back(std::make_shared<ShardAccess>(ShardSettings{id, database.reads, map.buckets()}, std::move(primary),
                                                   std::move(replicas)));
    if (!shard.replicas.empty()) monitors.push_back(std::make_unique<ShardMonitor>(access.back(), std::move(monitor)));
  }

  void require_function_takes(const Key& key) const {
    if (!database.sharding || map.function() != config::HashFunction::modulo || key.value().is_integer()) return;
    throw pqxx::argument_error("database " + database.name + " is sharded by modulo: the key " + key.value().str() +
                               " must be an integer");
  }

  // The kinds of the listed tables' key columns, looked up once. A table that does not exist yet is no reason to fail
  // for good.
  void require_kind_of_key(const Key& key, Lease& lease) {
    if (!database.sharding) return;
    const std::lock_guard lock(kinds_mutex);
    if (kinds.empty()) load_kinds(lease);
    if (kinds.empty() || std::find(kinds.begin(), kinds.end(), kind_of(key.value())) != kinds.end()) return;
    throw pqxx::argument_error("sharding key " + key.value().str() + ": no key column of database " + database.name +
                               " is of this kind; pass an integer, a string or a schema::Uuid as the column's type is");
  }

  void load_kinds(Lease& lease) {
    pqxx::transaction<pqxx::repeatable_read, pqxx::read_only> tx{lease.connection()};
    const auto catalog = load_catalog(database, tx);
    for (const auto& relation : catalog->relations())
      if (relation.key_type && relation.placement == schema::Placement::sharded)
        kinds.push_back(kind_of(*relation.key_type));
  }

  ShardAccess& at(schema::ShardId shard) const {
    if (shard < access.size()) return *access[shard];
    throw pqxx::argument_error("database " + database.name + " has no shard number " + std::to_string(shard));
  }

  const config::Settings settings;
  const ClusterOptions options;
  const config::Database& database;  // in settings
  const schema::BucketMap map;
  std::mutex kinds_mutex;
  std::vector<KeyKind> kinds;
  std::vector<std::shared_ptr<ShardAccess>> access;
  std::vector<std::unique_ptr<ShardMonitor>> monitors;  // gone before what they watch
};

Cluster::Cluster(const std::string& file, ClusterOptions options) : Cluster(load_settings(file), std::move(options)) {}
Cluster::Cluster(config::Settings settings, ClusterOptions options)
    : impl_(std::make_unique<Impl>(std::move(settings), std::move(options))) {}
Cluster::~Cluster() = default;

Lease Cluster::read(const Key& key, Deadline deadline) {
  Lease lease = impl_->at(shard_of(key)).read(bucket_of(key), deadline);
  impl_->require_kind_of_key(key, lease);
  return lease;
}

Lease Cluster::write(const Key& key, Deadline deadline) {
  Lease lease = impl_->at(shard_of(key)).write(bucket_of(key), deadline);
  impl_->require_kind_of_key(key, lease);
  return lease;
}

Lease Cluster::read_shard(schema::ShardId shard, Deadline deadline) {
  return impl_->at(shard).read(std::nullopt, deadline);
}
Lease Cluster::write_shard(schema::ShardId shard, Deadline deadline) {
  return impl_->at(shard).write(std::nullopt, deadline);
}

schema::ShardId Cluster::shard_of(const Key& key) const { return impl_->map.shard_of_bucket(bucket_of(key)); }

std::uint32_t Cluster::bucket_of(const Key& key) const {
  impl_->require_function_takes(key);
  return impl_->map.bucket(key.value());
}

std::size_t Cluster::shards() const { return impl_->access.size(); }
const schema::BucketMap& Cluster::map() const { return impl_->map; }

const std::string& Cluster::shard_name(schema::ShardId shard) const {
  static_cast<void>(impl_->at(shard));
  return impl_->database.shards[shard].name;
}

std::string Cluster::table_for(std::string_view table, std::chrono::system_clock::time_point when) const {
  const auto dot = table.find('.');
  const std::string_view prefix = dot == std::string_view::npos ? "" : table.substr(0, dot + 1);
  const std::string_view name = table.substr(prefix.size());
  for (const auto& rule : impl_->database.tables) {
    const bool schema_fits = prefix.empty() || rule.schema.empty() || rule.schema + "." == prefix;
    if (rule.name != name || !schema_fits || !rule.month) continue;
    const auto month = schema::Month::of(when, rule.month->timezone);
    if (!month) throw pqxx::argument_error("table " + std::string(table) + ": " + text_of(month.error()));
    return std::string(prefix) + schema::partition_name(name, *month);
  }
  throw pqxx::argument_error("table " + std::string(table) + " of database " + impl_->database.name +
                             " has no `month` in weir.toml");
}

std::vector<BackendStatus> Cluster::backends() const {
  std::vector<BackendStatus> all;
  for (std::size_t i = 0; i < impl_->access.size(); ++i) {
    const std::string& shard = impl_->database.shards[i].name;
    all.push_back({shard, false, true, "", impl_->access[i]->primary().pool->counters()});
    for (const auto& replica : impl_->access[i]->replicas()) {
      const policy::Verdict verdict = replica->verdict();
      all.push_back({shard, true, verdict.usable, verdict.reason, replica->pool->counters()});
    }
  }
  return all;
}

Deadline Cluster::default_deadline() const { return Deadline::after(Clock::now(), impl_->settings.pool.wait_timeout); }

}  // namespace weir::client
