// Topology: one immutable snapshot of everything a statement's way depends on: settings, bucket maps, catalogs, backends.
// Swapped as a whole; workers hold it by shared_ptr.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "config/settings.hpp"
#include "net/tls_context.hpp"
#include "pool/backend.hpp"
#include "pool/connector.hpp"
#include "proxy/fallback_use.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"

namespace weir::proxy {

class IdSource;
struct LoadedCatalog;

struct ShardBackends {
  std::shared_ptr<pool::Backend> primary;
  std::vector<std::shared_ptr<pool::Backend>> replicas;
};

// When what was last written through this proxy, for consistency = "read_your_writes". Shared by all workers and kept over
// reloads; lock-free. Time-based: a replica that is usable lags at most max_lag, so reads of what was written go to the primary until
// DatabaseState::write_hold has passed.
//
// A statement's scope is a few cells: the bucket it is bound to, or else the tables it names (hashed: two tables may share a cell,
// which only sends a read to the primary that need not). What cannot be told is the whole shard.
class WriteMarks {
 public:
  static constexpr std::size_t kShards = 256;
  static constexpr std::size_t kTables = 4096;

  struct Scope {
    std::array<std::uint32_t, 16> cells{};
    std::uint32_t count = 0;
    bool whole = false;
    void add(std::uint32_t cell) {
      for (std::uint32_t i = 0; i < count; ++i)
        if (cells[i] == cell) return;
      if (count < cells.size())
        cells[count++] = cell;
      else
        whole = true;
    }
    void add(const Scope& other) {
      for (std::uint32_t i = 0; i < other.count; ++i) add(other.cells[i]);
      whole |= other.whole;
    }
  };

  explicit WriteMarks(std::uint32_t buckets) : buckets_(buckets), cells_(buckets + kTables) {}
  [[nodiscard]] std::uint32_t bucket_cell(std::uint32_t bucket) const { return bucket % buckets_; }
  [[nodiscard]] std::uint32_t table_cell(std::string_view table) const {
    return buckets_ + static_cast<std::uint32_t>(std::hash<std::string_view>{}(table) % kTables);
  }

  void wrote(const Scope& scope, schema::ShardId shard, TimePoint now) {
    store(any_[shard % kShards], now);
    if (scope.whole) store(whole_[shard % kShards], now);
    for (std::uint32_t i = 0; i < scope.count; ++i) store(cells_[scope.cells[i]], now);
  }
  void wrote_everything(TimePoint now) { store(everything_, now); }
  // The newest write that a read of `scope` may depend on.
  [[nodiscard]] TimePoint last(const Scope& scope, schema::ShardId shard) const {
    TimePoint newest = std::max(load(everything_), load((scope.whole ? any_ : whole_)[shard % kShards]));
    for (std::uint32_t i = 0; i < scope.count; ++i) newest = std::max(newest, load(cells_[scope.cells[i]]));
    return newest;
  }
  [[nodiscard]] std::uint32_t buckets() const { return buckets_; }

 private:
  using Mark = std::atomic<std::int64_t>;
  static void store(Mark& m, TimePoint t) {
    const std::int64_t v = t.time_since_epoch().count();
    if (m.load(std::memory_order_relaxed) < v) m.store(v, std::memory_order_release);
  }
  static TimePoint load(const Mark& m) { return TimePoint(Duration(m.load(std::memory_order_acquire))); }

  const std::uint32_t buckets_;
  std::vector<Mark> cells_;
  std::array<Mark, kShards> any_{};     // anything on the shard
  std::array<Mark, kShards> whole_{};   // something on the shard of which no more is known
  Mark everything_{0};
};

struct DatabaseState {
  const config::Database* config = nullptr;             // inside `Topology::settings`, or `own_config`
  std::shared_ptr<const config::Database> own_config;   // of a database that only the fallback entry "*" serves
  std::shared_ptr<FallbackUse> use;                     // the same; null: the file names the database
  std::shared_ptr<const schema::BucketMap> map;
  std::shared_ptr<const schema::Catalog> catalog;       // null: not loaded yet (sharded databases wait for it)
  std::string catalog_problem;                          // why not
  // config->observed: what statements are planned against to count where they would go.
  std::shared_ptr<const schema::BucketMap> observed_map;      // null: nothing is observed
  std::shared_ptr<const schema::Catalog> observed_catalog;    // null: not loaded yet, or
  std::string observed_problem;                               // its table rules do not fit the database
  std::vector<ShardBackends> shards;                    // by ShardId
  std::vector<pool::LoginCheck> checks;                 // identity of each shard
  std::shared_ptr<WriteMarks> marks;
  std::shared_ptr<IdSource> ids;                        // null: no table has a default_key
  bool has_replicas = false;
  Duration write_hold{};                                // how long after a write its reads go to the primary
  [[nodiscard]] bool sharded() const { return config->sharding.has_value(); }
  // Whose shards routes are counted by: the database as the file describes it.
  [[nodiscard]] const config::Database& described() const { return config::described(*config); }
  void take(const LoadedCatalog& loaded);
};

struct Topology {
  std::shared_ptr<const config::Settings> settings;
  std::vector<DatabaseState> databases;   // those that the file names, then those that the fallback serves now
  // The file's entry "*", which no client is ever in: what the databases it serves are made from (Proxy::use_database).
  std::optional<DatabaseState> fallback;
  std::shared_ptr<const net::TlsContext> tls;   // for new clients; null: none is offered
  std::uint64_t version = 0;              // raised by every change
  std::uint64_t settings_version = 0;     // raised by a change of settings
  [[nodiscard]] const DatabaseState* find(std::string_view database) const;
  // There is such a database, or the fallback would serve it.
  [[nodiscard]] bool serves(std::string_view database) const { return fallback || find(database); }
};
using TopologyRef = std::shared_ptr<const Topology>;

}  // namespace weir::proxy
