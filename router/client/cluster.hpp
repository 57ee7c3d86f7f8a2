// Cluster: a sharded database for a C++ service, over libpqxx. The public face of weir::client.
//
//   weir::client::Cluster cluster("weir.toml", {.database = "app"});
//   auto lease = cluster.write(user_id);                    // the primary of the user's shard
//   pqxx::work tx{lease.connection()};
//   tx.exec_params("INSERT INTO orders (user_id, item) VALUES ($1, $2)", user_id, item);
//   tx.commit();
//
//   auto reader = cluster.read(user_id);                    // a replica where one is fit, else the primary
//   pqxx::read_transaction rx{reader.connection()};
//   const std::string works = cluster.table_for("works", std::chrono::system_clock::now());   // "works_202401"
//
// It reads the proxy's weir.toml ([listen] and [auth] are not needed) and decides by the proxy's own classes:
// schema::BucketMap, schema identity, policy::CircuitBreaker, policy::judge, policy::choose. A service may use the
// proxy and this library side by side.
//
// A service that only wants the decision, without connections, uses weir::router (pure, no I/O):
//
//   auto settings = weir::config::load("weir.toml", {.require_auth = false});
//   const auto& database = *std::get<weir::config::Settings>(settings).find_database("app");
//   auto map = std::make_shared<const weir::schema::BucketMap>(weir::schema::BucketMap::from(database).value());
//   weir::router::Router router(weir::schema::Catalog::offline(database), map);
//   auto planned = router.plan("SELECT * FROM orders WHERE user_id = 42", {}, {});
//   auto route = router.resolve(*planned.plan, {.sql = ..., .literals = planned.literals, ...});   // route->shard
//
// Thread-safe; leases belong to one thread at a time. Exceptions are libpqxx's and those of errors.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "config/settings.hpp"
#include "router/client/errors.hpp"
#include "router/client/key.hpp"
#include "router/client/lease.hpp"
#include "router/client/pool_counters.hpp"
#include "schema/bucket_map.hpp"

namespace weir::client {

struct ClusterOptions {
  std::string database = {};  // its name in weir.toml; empty: the only one there
  std::string user = {};      // over the backends' connection strings; empty: theirs
  std::string password = {};
  std::string application_name = "weir_client";
  std::optional<unsigned> pool_size = {};  // connections for each backend; default: database.pool_size, pool.size
};

// How a backend stands, for a service's own status page.
struct BackendStatus {
  std::string shard;
  bool replica = false;
  bool usable = true;  // replica: the monitor's verdict. A primary's circuit is in `pool`.
  std::string reason;  // why not
  PoolCounters pool;
};

class Cluster {
 public:
  // Reads `file`. Connects to nothing yet, but for the monitors of shards with replicas. Throws ConfigurationError.
  explicit Cluster(const std::string& file, ClusterOptions options = {});
  explicit Cluster(config::Settings settings, ClusterOptions options = {});
  ~Cluster();  // leases that are still out stay good
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // A connection for reading the rows of `key`: read-only, to a replica that is healthy and fresh enough for
  // database.reads (balanced over them), else to the primary. What was committed through a write(key) lease of this
  // Cluster that has been given back is seen ("read_your_writes"); other processes' writes may be missing for up to
  // max_lag.
  //
  // Waits in turn when all connections are in use. Throws PoolTimeout at the deadline (default: pool.wait_timeout from
  // now), BackendUnavailable, and pqxx::argument_error for a key of another kind than the key columns.
  [[nodiscard]] Lease read(const Key& key, Deadline deadline);
  [[nodiscard]] Lease read(const Key& key) { return read(key, default_deadline()); }

  // A connection to the primary of the key's shard. Write rows of this key only (and reference tables never: they are
  // the same on every shard); to write other keys' rows too, take write_shard().
  [[nodiscard]] Lease write(const Key& key, Deadline deadline);
  [[nodiscard]] Lease write(const Key& key) { return write(key, default_deadline()); }

  // The same for a whole shard: unlisted tables (on home()), reports shard by shard, reference tables.
  [[nodiscard]] Lease read_shard(schema::ShardId shard, Deadline deadline);
  [[nodiscard]] Lease read_shard(schema::ShardId shard) { return read_shard(shard, default_deadline()); }
  [[nodiscard]] Lease write_shard(schema::ShardId shard, Deadline deadline);
  [[nodiscard]] Lease write_shard(schema::ShardId shard) { return write_shard(shard, default_deadline()); }

  // Where the rows of `key` are. Pure. Throws pqxx::argument_error for a text or uuid key of a modulo database.
  [[nodiscard]] schema::ShardId shard_of(const Key& key) const;
  [[nodiscard]] std::uint32_t bucket_of(const Key& key) const;
  // Where tables live that are not listed.
  [[nodiscard]] schema::ShardId home() const { return schema::kHomeShard; }
  [[nodiscard]] std::size_t shards() const;
  [[nodiscard]] const std::string& shard_name(schema::ShardId shard) const;
  [[nodiscard]] const schema::BucketMap& map() const;

  // The monthly partition of `table` that holds rows of that instant, in the table's time zone: "works" to
  // "works_202401". Throws pqxx::argument_error for a table without `month`. `table` may be schema-qualified; the
  // result is then, too.
  [[nodiscard]] std::string table_for(std::string_view table, std::chrono::system_clock::time_point when) const;

  [[nodiscard]] std::vector<BackendStatus> backends() const;
  // now + pool.wait_timeout.
  [[nodiscard]] Deadline default_deadline() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weir::client
