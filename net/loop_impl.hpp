// What a Loop is made of. Private to net/.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "net/loop.hpp"
#include "net/registrations.hpp"
#include "net/ring.hpp"
#include "net/timer_heap.hpp"

namespace weir::net {

// Waiters to be resumed, oldest first. Intrusive and doubly linked: a waiter leaves it wherever it stands.
class ReadyList {
 public:
  [[nodiscard]] bool empty() const { return first_ == nullptr; }
  void push(Waiter& waiter);
  Waiter& pop();
  void remove(Waiter& waiter);

 private:
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

struct Loop::Impl {
  static constexpr int kEventsATurn = 256;
  // Then the kernel is asked again, so that coroutines that wake each other do not keep the sockets waiting.
  static constexpr int kResumesATurn = 1024;
  // Events of sockets carry a RegistrationId, which leaves the highest bit alone; the rest are watches, and the
  // wake-up.
  static constexpr std::uint64_t kWatchBit = std::uint64_t{1} << 63;
  static constexpr std::uint64_t kWakeUp = ~std::uint64_t{0};

  struct Watch {
    int fd;
    std::uint64_t id;  // never used twice: an event of a watch that is over finds nothing
    std::function<void()> on_ready;
  };

  ~Impl();

  Result<void> open_epoll();
  Result<void> open_ring();
  void begin_ring();
  void turn_of_epoll(TimePoint& now);
  void turn_of_ring(TimePoint& now);
  void dispatch(const Ring::Completion& completion);
  bool begin_watch(const Watch& watch);
  void poll_watch(const Watch& watch);
  void tell(Waiter* waiter, std::uint64_t tag);

  int wait_for_events(TimePoint now);
  // Negative: for ever. Never early.
  [[nodiscard]] Duration timeout(TimePoint now) const;
  [[nodiscard]] int timeout_ms(TimePoint now) const;
  void dispatch(const epoll_event& event);
  void dispatch_socket(const epoll_event& event);
  void dispatch_watch(std::uint64_t id);
  void run_posted();
  void resume_ready();
  void wake_if_sleeping();

  const Loop* loop = nullptr;
  std::unique_ptr<Ring> ring;  // none: epoll
  int epoll = -1;
  int wake_up = -1;  // eventfd, edge-triggered and never read: every write is a new edge
  std::array<epoll_event, kEventsATurn> events;
  std::size_t buffer_size = 0;
  std::unique_ptr<std::uint8_t[]> buffer;
  Registrations registrations;
  TimerHeap timers;
  ReadyList ready;
  std::vector<std::shared_ptr<Watch>> watches;
  std::uint64_t last_watch_id = 0;
  std::function<void(std::uint64_t)> idle_event;

  // Shared with other threads. Whoever posts looks at `sleeping` after it raised its flag, and the loop looks at the
  // flags after it raised `sleeping` (both sequentially consistent), so one of them sees the other; a busy loop costs
  // nobody a system call.
  std::mutex post_lock;
  std::vector<std::function<void()>> posted;
  std::vector<std::function<void()>> running;  // loop thread; kept for its capacity
  std::atomic<bool> has_posted{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> sleeping{false};
};

}  // namespace weir::net
