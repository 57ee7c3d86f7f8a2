// ShardMonitor: asks a shard's primary for its position and its replicas for theirs, and judges the replicas.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config/settings.hpp"
#include "router/client/sample_history.hpp"
#include "router/client/shard_access.hpp"

namespace weir::client {

// A periodic wake-up that can be asked for early, but not more often than every 10 ms. Thread-safe.
class Ticker {
 public:
  explicit Ticker(Duration interval) : interval_(interval) {}
  // Waits for the next tick. False: stopped.
  bool wait();
  void poke();
  void stop();

 private:
  const Duration interval_;
  std::mutex mutex_;
  std::condition_variable woken_;
  TimePoint last_{};
  bool poked_ = false;
  bool stopped_ = false;
};

struct MonitorSettings {
  Duration interval = std::chrono::seconds(1);
  Duration timeout = std::chrono::seconds(2);  // one probe, its login included
  Duration max_lag{};
  std::string primary;                // connection strings of the monitor's own connections
  std::vector<std::string> replicas;  // in the order of ShardAccess::replicas()
};

// One thread for each backend, so that one that hangs delays no other. Started by the constructor, joined by the
// destructor (which waits for probes under way). Not needed for a shard without replicas.
class ShardMonitor {
 public:
  ShardMonitor(std::shared_ptr<ShardAccess> access, MonitorSettings settings);
  ~ShardMonitor();
  ShardMonitor(const ShardMonitor&) = delete;
  ShardMonitor& operator=(const ShardMonitor&) = delete;

 private:
  void watch_primary();
  void watch_replica(std::size_t index);
  void sample(ServerConnection& connection);
  void settle_unknown_writers(ServerConnection& connection);
  void probe(ServerConnection& connection, Backend& replica);

  const std::shared_ptr<ShardAccess> access_;
  const MonitorSettings settings_;
  Ticker primary_tick_;
  std::vector<std::unique_ptr<Ticker>> replica_ticks_;
  std::mutex mutex_;
  SampleHistory history_;
  std::vector<std::thread> threads_;
};

}  // namespace weir::client
