#include "router/client/shard_access.hpp"

#include <algorithm>

#include "policy/balance.hpp"
#include "router/client/errors.hpp"
#include "router/client/leased_connection.hpp"

namespace weir::client {

void Backend::set_verdict(policy::Verdict verdict) {
  const std::lock_guard lock(mutex_);
  verdict_ = std::move(verdict);
}

policy::Verdict Backend::verdict() const {
  const std::lock_guard lock(mutex_);
  return verdict_;
}

ShardAccess::ShardAccess(ShardSettings settings, std::unique_ptr<Backend> primary,
                         std::vector<std::unique_ptr<Backend>> replicas)
    : settings_(std::move(settings)),
      primary_(std::move(primary)),
      replicas_(std::move(replicas)),
      marks_(settings_.buckets) {}

Lease ShardAccess::read(Bucket bucket, Deadline deadline) {
  std::vector<const Backend*> tried;
  while (Backend* replica = choose_replica(bucket, tried)) {
    try {
      return lease_from(*replica, bucket, true, deadline);
    } catch (const pqxx::broken_connection&) {  // another replica, at last the primary
      tried.push_back(replica);
    }
  }
  return lease_from(*primary_, bucket, true, deadline);
}

// The bucket is primary-only before the first byte of the write can be sent.
Lease ShardAccess::write(Bucket bucket, Deadline deadline) {
  marks_.write_begins(bucket);
  try {
    return lease_from(*primary_, bucket, false, deadline);
  } catch (...) {
    marks_.write_ends(bucket);
    throw;
  }
}

Backend* ShardAccess::choose_replica(Bucket bucket, const std::vector<const Backend*>& tried) {
  if (replicas_.empty() || settings_.reads.consistency == config::Consistency::primary) return nullptr;
  const bool marked = settings_.reads.consistency == config::Consistency::read_your_writes;
  const std::optional<std::uint64_t> required = marked ? marks_.required(bucket) : 0;
  if (!required) return nullptr;

  std::vector<policy::Candidate> candidates;
  bool behind = false;
  for (const auto& replica : replicas_) {
    const PoolCounters counters = replica->pool->counters();
    const bool healthy =
        replica->verdict().usable && std::find(tried.begin(), tried.end(), replica.get()) == tried.end();
    const bool fresh = replica->reached.load() >= *required;
    behind = behind || (healthy && !fresh);
    candidates.push_back({healthy && fresh, replica->weight, counters.in_use() + counters.waiting});
  }
  const auto chosen = policy::choose(settings_.reads.balance, candidates, turn_++);
  if (behind) wants_sample();
  return chosen ? replicas_[*chosen].get() : nullptr;
}

Lease ShardAccess::lease_from(Backend& backend, Bucket bucket, bool read_only, Deadline deadline) {
  const bool tell = read_only && backend.role == policy::Role::primary;  // replicas' sessions start read-only
  for (;;) {
    auto server = backend.pool->acquire(deadline);
    try {
      if (tell) server->query("SET default_transaction_read_only = on", deadline);
      Lease lease;
      lease.view_ = std::make_unique<LeasedConnection>(server->handle());
      lease.access_ = shared_from_this();
      lease.pool_ = backend.pool;
      lease.server_ = std::move(server);
      lease.backend_ = backend.pool->settings().name;
      lease.bucket_ = bucket;
      lease.shard_ = settings_.id;
      lease.on_replica_ = backend.role == policy::Role::replica;
      lease.read_only_ = read_only;
      return lease;
    } catch (const pqxx::broken_connection&) {  // it died just now, unseen: the next one, or the pool says why not
      backend.pool->release(std::move(server), false);
      if (deadline.passed(Clock::now())) throw;
    } catch (...) {
      backend.pool->release(std::move(server), false);
      throw;
    }
  }
}

void ShardAccess::write_ended(Bucket bucket, int unknown_pid) noexcept {
  if (unknown_pid == 0 || replicas_.empty()) {
    marks_.write_ends(bucket);
    return;
  }
  const std::lock_guard lock(mutex_);
  unknown_writers_.emplace_back(unknown_pid, bucket);
}

std::vector<int> ShardAccess::unknown_pids() const {
  const std::lock_guard lock(mutex_);
  std::vector<int> pids;
  for (const auto& [pid, bucket] : unknown_writers_) pids.push_back(pid);
  return pids;
}

void ShardAccess::writers_gone(const std::vector<int>& gone) {
  const std::lock_guard lock(mutex_);
  std::erase_if(unknown_writers_, [&](const auto& writer) {
    if (std::find(gone.begin(), gone.end(), writer.first) == gone.end()) return false;
    marks_.write_ends(writer.second);
    return true;
  });
}

void ShardAccess::on_stale(std::function<void()> wanted) {
  const std::lock_guard lock(mutex_);
  on_stale_ = std::move(wanted);
}

void ShardAccess::wants_sample() {
  const std::lock_guard lock(mutex_);
  if (on_stale_) on_stale_();
}

}  // namespace weir::client
