// ShardAccess: the backends of one shard and the choice among them. Internal to the library; see cluster.hpp.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "policy/health.hpp"
#include "router/client/connection_pool.hpp"
#include "router/client/lease.hpp"
#include "router/client/read_marks.hpp"

namespace weir::client {

// One PostgreSQL server of a shard, as the choice sees it. Thread-safe.
class Backend {
 public:
  Backend(policy::Role in_role, unsigned relative_weight, PoolSettings settings)
      : role(in_role), weight(relative_weight), pool(std::make_shared<ConnectionPool>(std::move(settings))) {}

  const policy::Role role;
  const unsigned weight;
  const std::shared_ptr<ConnectionPool> pool;
  std::atomic<std::uint64_t> reached{0};  // replica: the newest sample it has replayed

  void set_verdict(policy::Verdict verdict);
  [[nodiscard]] policy::Verdict verdict() const;

 private:
  mutable std::mutex mutex_;
  policy::Verdict verdict_{false, "not probed yet"};
};

struct ShardSettings {
  schema::ShardId id = 0;
  config::Reads reads;
  std::uint32_t buckets = 1;
};

class ShardAccess : public std::enable_shared_from_this<ShardAccess> {
 public:
  ShardAccess(ShardSettings settings, std::unique_ptr<Backend> primary, std::vector<std::unique_ptr<Backend>> replicas);

  [[nodiscard]] Lease read(Bucket bucket, Deadline deadline);
  [[nodiscard]] Lease write(Bucket bucket, Deadline deadline);

  // A write lease on `bucket` is over. `unknown_pid`: its server process may still commit (0: it cannot); the bucket is
  // primary-only until that process is seen gone.
  void write_ended(Bucket bucket, int unknown_pid) noexcept;
  // For the monitor: processes to look for, and those that are gone.
  [[nodiscard]] std::vector<int> unknown_pids() const;
  void writers_gone(const std::vector<int>& gone);

  [[nodiscard]] Backend& primary() { return *primary_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Backend>>& replicas() const { return replicas_; }
  [[nodiscard]] ReadMarks& marks() { return marks_; }
  // Called when a read found every replica behind its mark; set before the first lease.
  void on_stale(std::function<void()> wanted);

 private:
  [[nodiscard]] Backend* choose_replica(Bucket bucket, const std::vector<const Backend*>& tried);
  Lease lease_from(Backend& backend, Bucket bucket, bool read_only, Deadline deadline);
  void wants_sample();

  const ShardSettings settings_;
  const std::unique_ptr<Backend> primary_;
  const std::vector<std::unique_ptr<Backend>> replicas_;
  ReadMarks marks_;
  std::atomic<std::uint64_t> turn_{0};
  mutable std::mutex mutex_;
  std::vector<std::pair<int, Bucket>> unknown_writers_;
  std::function<void()> on_stale_;
};

}  // namespace weir::client
