// Time points and deadlines. Functions take a Deadline, never a timeout; pure code takes `now` as a value.
#pragma once

#include <chrono>

namespace weir {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

// A moment after which waiting is pointless. Default: never.
class Deadline {
 public:
  constexpr Deadline() = default;
  constexpr explicit Deadline(TimePoint at) : at_(at) {}

  static constexpr Deadline never() { return Deadline{}; }
  // `timeout` of zero or less means never, as in PostgreSQL's timeouts.
  static constexpr Deadline after(TimePoint now, Duration timeout) {
    return timeout <= Duration::zero() ? never() : Deadline{now + timeout};
  }

  [[nodiscard]] constexpr bool is_never() const { return at_ == TimePoint::max(); }
  [[nodiscard]] constexpr bool passed(TimePoint now) const { return now >= at_; }
  [[nodiscard]] constexpr TimePoint at() const { return at_; }
  [[nodiscard]] constexpr Duration left(TimePoint now) const { return now >= at_ ? Duration::zero() : at_ - now; }
  friend constexpr auto operator<=>(const Deadline&, const Deadline&) = default;

 private:
  TimePoint at_ = TimePoint::max();
};

}  // namespace weir
