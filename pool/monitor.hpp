// Monitor: probes every backend a time an interval, on connections of its own outside the pools' bound (one a backend).
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "pool/backend.hpp"
#include "pool/connector.hpp"

namespace weir::pool {

// A backend to probe, and how to log in to do so.
struct Watched {
  std::shared_ptr<Backend> backend;
  ConnParams params;              // the backend's own, with database.maintenance on top
  Duration max_lag{};             // a replica further behind is not usable; zero: any lag
};

struct MonitorSettings {
  Duration interval = std::chrono::seconds(1);
  Duration timeout = std::chrono::seconds(2);
};

// One probe over `conn` (opened if empty, dropped if broken). Blocks up to `timeout`.
[[nodiscard]] policy::Probe probe(PgConn& conn, const ConnParams& params, Duration timeout);

class Monitor {
 public:
  explicit Monitor(MonitorSettings settings);
  ~Monitor();   // joins; a running probe ends at its timeout
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // Replaces the set of backends (RELOAD). Any thread.
  void watch(std::vector<Watched> backends, MonitorSettings settings);
  // Blocks until every backend was probed at least once since watch(), or the deadline.
  bool wait_first_round(Deadline deadline);

 private:
  struct Entry;
  void run();
  void probe_entry(const std::shared_ptr<Entry>& entry);

  std::mutex mutex_;
  std::condition_variable wake_;
  MonitorSettings settings_;
  std::vector<std::shared_ptr<Entry>> entries_;
  bool stopping_ = false;
  Connector probers_;             // a dead host's time-out must not delay the others
  std::thread thread_;
};

}  // namespace weir::pool
