// StatsLine: a line of averages now and then (log.stats_interval), as PgBouncer's operators know it.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/deadline.hpp"
#include "proxy/stats.hpp"

namespace weir::proxy {

// What happened between two sums, `elapsed` apart. Times are averages: of a transaction, of a query, of the waits for a server.
[[nodiscard]] std::string stats_line(const DatabaseTotals& before, const DatabaseTotals& now, Duration elapsed);

class StatsLine {
 public:
  // `interval` is asked anew for every line (a reload may change it); zero: no line. Both are called on a thread of this object's.
  StatsLine(std::function<Duration()> interval, std::function<DatabaseTotals()> totals);
  ~StatsLine();
  StatsLine(const StatsLine&) = delete;
  StatsLine& operator=(const StatsLine&) = delete;

 private:
  void run();

  const std::function<Duration()> interval_;
  const std::function<DatabaseTotals()> totals_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace weir::proxy
