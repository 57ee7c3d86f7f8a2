// Circuit breaker of one backend: closed -> open after consecutive failures -> half-open -> closed.
// Pure: takes the time, keeps no thread. Not thread-safe; the owner locks.
// Pattern: Michael Nygard, "Release It!", ch. 5.2 (circuit breaker).
#pragma once

#include "base/deadline.hpp"

namespace weir::policy {

struct BreakerSettings {
  unsigned failure_threshold = 3;                    // consecutive connection failures or timeouts
  Duration recovery_time = std::chrono::seconds(2);  // open -> half-open
};

class CircuitBreaker {
 public:
  enum class State { closed, open, half_open };

  explicit CircuitBreaker(BreakerSettings settings) : settings_(settings) {}

  // May a connection be tried now? In half-open one trial at a time: whoever was allowed must report its outcome, else
  // no other trial comes.
  [[nodiscard]] bool allow(TimePoint now);
  void on_success();
  // A connection failure or timeout; an SQL error is no failure and is not reported here.
  void on_failure(TimePoint now);
  [[nodiscard]] State state(TimePoint now) const;
  // When the next trial will be allowed (for messages and timers); `now` or earlier: at once.
  [[nodiscard]] TimePoint next_trial() const;
  [[nodiscard]] unsigned failures() const { return failures_; }
  // From now on; what was counted stays.
  void set_settings(BreakerSettings settings) { settings_ = settings; }

 private:
  BreakerSettings settings_;
  unsigned failures_ = 0;
  bool open_ = false;
  bool trial_running_ = false;
  TimePoint opened_at_{};
};

}  // namespace weir::policy
