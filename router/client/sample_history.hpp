// SampleHistory: the recent samples of a primary's write-ahead log position, and what a replica's position says against
// them.
#pragma once

#include <cstdint>
#include <deque>

#include "base/deadline.hpp"

namespace weir::client {

// What of the primary's samples a replica has replayed.
struct Standing {
  std::uint64_t reached = 0;  // the newest sample it has replayed; 0: none
  Duration lag{};             // age of the oldest sample it has not; zero: it has them all
};

// Pure; not thread-safe. Bounded: of many samples the older ones are thinned out, which only makes standings more
// careful.
class SampleHistory {
 public:
  // Numbers rise. A new timeline forgets everything before it (positions of two timelines do not compare) and returns
  // true.
  bool add(std::uint64_t number, std::uint64_t position, std::uint32_t timeline, TimePoint sent_at);

  // Of a replica on `timeline` that has replayed up to `replayed`. On another timeline it has reached nothing.
  [[nodiscard]] Standing standing(std::uint64_t replayed, std::uint32_t timeline, TimePoint now) const;

  [[nodiscard]] std::uint32_t timeline() const { return timeline_; }  // 0: no sample yet
  [[nodiscard]] std::size_t size() const { return samples_.size(); }

 private:
  struct Sample {
    std::uint64_t number;
    std::uint64_t position;
    TimePoint sent_at;
  };
  void thin_out();

  std::deque<Sample> samples_;
  std::uint32_t timeline_ = 0;
};

}  // namespace weir::client
