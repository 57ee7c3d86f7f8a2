#include "policy/circuit_breaker.hpp"

namespace weir::policy {

bool CircuitBreaker::allow(TimePoint now) {
  if (!open_) return true;
  if (now < next_trial() || trial_running_) return false;
  trial_running_ = true;
  return true;
}

void CircuitBreaker::on_success() {
  failures_ = 0;
  open_ = false;
  trial_running_ = false;
}

void CircuitBreaker::on_failure(TimePoint now) {
  ++failures_;
  const bool trial_failed = trial_running_;
  trial_running_ = false;
  // Late failures of connections tried before it opened do not push the next trial away: with many of them it never
  // came.
  if (open_ && !trial_failed) return;
  if (!open_ && failures_ < settings_.failure_threshold) return;
  open_ = true;
  opened_at_ = now;
}

CircuitBreaker::State CircuitBreaker::state(TimePoint now) const {
  if (!open_) return State::closed;
  return now < next_trial() ? State::open : State::half_open;
}

TimePoint CircuitBreaker::next_trial() const { return open_ ? opened_at_ + settings_.recovery_time : TimePoint::min(); }

}  // namespace weir::policy
