// Topology: one immutable snapshot of everything a statement's way depends on: settings, bucket maps, catalogs, backends.
// Swapped as a whole; workers hold it by shared_ptr.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "config/settings.hpp"
#include "pool/backend.hpp"
#include "pool/connector.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"

namespace weir::proxy {

struct ShardBackends {
  std::shared_ptr<pool::Backend> primary;
  std::vector<std::shared_ptr<pool::Backend>> replicas;
};

// When each bucket was last written through this proxy, for consistency = "read_your_writes". Shared by all workers and
// kept over reloads; lock-free. Time-based: a replica that is usable lags at most max_lag, so a bucket's reads go to the
// primary until `hold` after its last write began to be answered.
class WriteMarks {
 public:
  explicit WriteMarks(std::uint32_t buckets) : marks_(buckets) {}
  static constexpr std::size_t kShards = 256;
  void mark(std::uint32_t bucket, TimePoint now) { store(marks_[bucket % marks_.size()], now); }
  void mark_shard(schema::ShardId shard, TimePoint now) { store(shards_[shard % shards_.size()], now); }
  void mark_all(TimePoint now) { store(all_, now); }
  // The newest write that a read of this bucket may depend on.
  [[nodiscard]] TimePoint last(std::uint32_t bucket, schema::ShardId shard) const {
    return std::max({load(marks_[bucket % marks_.size()]), load(shards_[shard % shards_.size()]), load(all_)});
  }
  // The same for a read of unknown buckets of a shard (unlisted and reference tables).
  [[nodiscard]] TimePoint last_unknown() const { return load(any_); }
  void mark_any(TimePoint now) { store(any_, now); }
  [[nodiscard]] std::uint32_t buckets() const { return static_cast<std::uint32_t>(marks_.size()); }

 private:
  using Mark = std::atomic<std::int64_t>;
  static void store(Mark& m, TimePoint t) {
    const std::int64_t v = t.time_since_epoch().count();
    if (m.load(std::memory_order_relaxed) < v) m.store(v, std::memory_order_release);
  }
  static TimePoint load(const Mark& m) { return TimePoint(Duration(m.load(std::memory_order_acquire))); }

  std::vector<Mark> marks_;
  std::array<Mark, kShards> shards_{};
  Mark all_{0};
  Mark any_{0};
};

struct DatabaseState {
  const config::Database* config = nullptr;             // inside `Topology::settings`
  std::shared_ptr<const schema::BucketMap> map;
  std::shared_ptr<const schema::Catalog> catalog;       // null: not loaded yet (sharded databases wait for it)
  std::string catalog_problem;                          // why not
  std::vector<ShardBackends> shards;                    // by ShardId
  std::vector<pool::LoginCheck> checks;                 // identity of each shard
  std::shared_ptr<WriteMarks> marks;
  Duration write_hold{};                                // how long after a write its reads go to the primary
  [[nodiscard]] bool sharded() const { return config->sharding.has_value(); }
};

struct Topology {
  std::shared_ptr<const config::Settings> settings;
  std::vector<DatabaseState> databases;
  std::uint64_t version = 0;              // raised by every change
  std::uint64_t settings_version = 0;     // raised by a change of settings
  [[nodiscard]] const DatabaseState* find(std::string_view database) const;
};
using TopologyRef = std::shared_ptr<const Topology>;

}  // namespace weir::proxy
