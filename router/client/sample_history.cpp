#include "router/client/sample_history.hpp"

namespace weir::client {

namespace {
constexpr std::size_t kMost = 128;
}

bool SampleHistory::add(std::uint64_t number, std::uint64_t position, std::uint32_t timeline, TimePoint sent_at) {
  const bool changed = timeline_ != 0 && timeline != timeline_;
  if (changed) samples_.clear();
  timeline_ = timeline;
  samples_.push_back({number, position, sent_at});
  if (samples_.size() > kMost) thin_out();
  return changed;
}

// Every second sample of the older half, but never the oldest: lag is measured from it.
void SampleHistory::thin_out() {
  std::deque<Sample> kept;
  for (std::size_t i = 0; i < samples_.size(); ++i)
    if (i % 2 == 0 || i >= samples_.size() / 2) kept.push_back(samples_[i]);
  samples_.swap(kept);
}

Standing SampleHistory::standing(std::uint64_t replayed, std::uint32_t timeline, TimePoint now) const {
  Standing result;
  for (const Sample& sample : samples_) {
    if (timeline == timeline_ && sample.position <= replayed) {
      result.reached = sample.number;
      continue;
    }
    result.lag = now - sample.sent_at;
    break;
  }
  return result;
}

}  // namespace weir::client
