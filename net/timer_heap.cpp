#include "net/timer_heap.hpp"

namespace weir::net {

void TimerHeap::place(std::size_t index, Entry entry) {
  heap_[index] = entry;
  entry.timer->heap_index_ = index;
  entry.timer->in_heap_at_ = entry.at;
}

void TimerHeap::sift_up(std::size_t index, Entry entry) {
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (heap_[parent].at <= entry.at) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(std::size_t index, Entry entry) {
  for (std::size_t child = 2 * index + 1; child < heap_.size(); child = 2 * index + 1) {
    if (child + 1 < heap_.size() && heap_[child + 1].at < heap_[child].at) child++;
    if (entry.at <= heap_[child].at) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, entry);
}

void TimerHeap::schedule(Timer& timer) {
  if (timer.in_heap_at_ == TimePoint::max()) {
    heap_.emplace_back();
    timer.heap_index_ = heap_.size() - 1;
  }
  sift_up(timer.heap_index_, {timer.deadline_.at(), &timer});
}

void TimerHeap::remove(Timer& timer) {
  if (timer.in_heap_at_ == TimePoint::max()) return;
  timer.in_heap_at_ = TimePoint::max();
  const std::size_t hole = timer.heap_index_;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (hole == heap_.size()) return;
  if (hole > 0 && last.at < heap_[(hole - 1) / 2].at) {
    sift_up(hole, last);
  } else {
    sift_down(hole, last);
  }
}

void TimerHeap::fire(TimePoint now) {
  while (!heap_.empty() && heap_.front().at <= now) {
    Timer& timer = *heap_.front().timer;
    if (timer.deadline_.passed(now)) {
      remove(timer);
      timer.fired_ = true;
      timer.waiter_.notify();
    } else if (timer.deadline_.is_never()) {
      remove(timer);
    } else {
      sift_down(0, {timer.deadline_.at(), &timer});
    }
  }
}

}  // namespace weir::net
