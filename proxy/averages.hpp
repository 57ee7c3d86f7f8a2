// Averages: what SHOW STATS calls avg_*: over the last full period of a minute, as PgBouncer's stats_period. Thread-safe.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "base/deadline.hpp"
#include "proxy/stats.hpp"

namespace weir::proxy {

class Averages {
 public:
  static constexpr Duration kPeriod = std::chrono::seconds(60);

  explicit Averages(TimePoint start) : since_(start) {}

  // Called a few times a second or less; ends a period when it is full.
  void update(TimePoint now, const std::map<std::string, DatabaseTotals>& totals);
  // Counts and bytes a second; times in microseconds a transaction, a query, and an assignment of a server. Zero before the first period ends.
  [[nodiscard]] DatabaseTotals of(const std::string& database) const;
  [[nodiscard]] bool due(TimePoint now) const;

 private:
  mutable std::mutex mutex_;
  TimePoint since_;
  std::map<std::string, DatabaseTotals> before_, averages_;
};

}  // namespace weir::proxy
