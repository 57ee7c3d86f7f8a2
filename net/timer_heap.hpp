// TimerHeap: a loop's armed timers, the next one on top. Loop thread only.
//
// An entry's moment may be earlier than its timer's deadline (re-armed later, or cancelled): it is put right when it
// comes up, so that a deadline pushed back at every statement touches no heap.
#pragma once

#include <cstddef>
#include <vector>

#include "base/deadline.hpp"
#include "net/loop.hpp"

namespace weir::net {

class TimerHeap {
 public:
  // Puts `timer` in, or moves it, to its deadline, which is earlier than its entry.
  void schedule(Timer& timer);
  // Takes its entry out, if there is one.
  void remove(Timer& timer);
  // Fires every timer whose deadline has passed: marks it and notifies its waiter.
  void fire(TimePoint now);

  // The earliest moment at which fire() has something to look at; max: never.
  [[nodiscard]] TimePoint next() const { return heap_.empty() ? TimePoint::max() : heap_.front().at; }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }

 private:
  struct Entry {
    TimePoint at;
    Timer* timer;
  };
  void place(std::size_t index, Entry entry);
  void sift_up(std::size_t index, Entry entry);
  void sift_down(std::size_t index, Entry entry);

  std::vector<Entry> heap_;
};

}  // namespace weir::net
