// Loop: one thread's event loop. Owns the kernel's queue (epoll, edge-triggered), timers, the ready list, and the
// thread's one large receive buffer; or, in epoll's place, an io_uring. Knows nothing of PostgreSQL.
//
// Design: one Waiter a coroutine; sockets, timers and other parties notify() it; the coroutine re-checks what it waits
// for (as with a condition variable). Readiness is kept as flags on the socket, so a wait costs no system call, and the
// interface is shaped by completion (Socket::receive() yields bytes, send() accepts bytes), so that io_uring stands behind
// it as well. https://man7.org/linux/man-pages/man7/epoll.7.html (edge-triggered)
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/deadline.hpp"
#include "base/result.hpp"

namespace weir::net {

class Loop;
class ReadyList;
class Socket;
class TimerHeap;

// What stands behind a loop. io_uring: a system call a turn instead of one for each receive and send; see net/ring.hpp.
enum class Io : std::uint8_t { epoll, io_uring };
// Whether io_uring can be used in this process, or why not (F0000): the kernel may be too old, or forbid it, as in many
// containers. Tries all that the backend needs. Any thread.
[[nodiscard]] Result<void> probe_io_uring();

// Where one coroutine sleeps. notify() before wait() is remembered. Loop thread only (or before run()).
// Outlives the coroutine that waits on it, and is destroyed before its loop.
class Waiter {
 public:
  // `hot_lines`: how many cache lines behind the waiter its owner will touch first; they are fetched while other events are still looked at.
  explicit Waiter(Loop& loop, unsigned hot_lines = 0) : loop_(loop), hot_lines_(hot_lines) {}
  ~Waiter();  // leaves the ready list
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Idempotent: puts the coroutine on the loop's ready list; it is resumed soon, never from inside this call.
  void notify();

  // Suspends until notified. Spurious returns are allowed: the caller re-checks its conditions. A coroutine destroyed
  // while it sleeps here is forgotten; the waiter may be used again.
  struct Wait {
    Waiter& waiter;
    ~Wait() { waiter.suspended_ = nullptr; }
    bool await_ready() const noexcept { return std::exchange(waiter.notified_, false); }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter.suspended_ = h; }
    void await_resume() const noexcept { waiter.notified_ = false; }
  };
  [[nodiscard]] Wait wait() { return Wait{*this}; }

  [[nodiscard]] Loop& loop() const { return loop_; }

 private:
  friend class Loop;
  friend class ReadyList;
  void prefetch() const;

  Loop& loop_;
  std::coroutine_handle<> suspended_;
  Waiter* next_ = nullptr;  // ready list (intrusive: a notify allocates nothing)
  Waiter* previous_ = nullptr;
  bool notified_ = false;
  bool queued_ = false;
  const unsigned hot_lines_;
};

// A one-shot timer that notifies a waiter. Re-arming to a later moment, and cancelling, cost no more than a store: the
// heap entry stays where it is and is looked at again when it comes up. Precision: a millisecond, never early. Loop
// thread only (or before run()); destroyed before its waiter's loop.
class Timer {
 public:
  explicit Timer(Waiter& waiter) : waiter_(waiter) {}
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Never: cancels. A deadline already past fires at the next turn of the loop.
  void arm(Deadline deadline) {
    deadline_ = deadline;
    fired_ = false;
    if (deadline.at() < in_heap_at_) move_in_heap();
  }
  // It will not fire; whether it fired() before remains known until the next arm().
  void cancel() { deadline_ = Deadline::never(); }
  [[nodiscard]] bool fired() const { return fired_; }
  [[nodiscard]] Deadline deadline() const { return deadline_; }

 private:
  friend class TimerHeap;
  void move_in_heap();

  Waiter& waiter_;
  Deadline deadline_;
  TimePoint in_heap_at_ = TimePoint::max();  // when its heap entry comes up; max: no entry
  std::size_t heap_index_ = 0;
  bool fired_ = false;
};

// Sockets, waiters and timers are destroyed (sockets: or detached) before their loop.
class Loop {
 public:
  // `receive_buffer` bytes are allocated once. Makes the process ignore SIGPIPE if nobody handles it: OpenSSL writes
  // without MSG_NOSIGNAL.
  static Result<std::unique_ptr<Loop>> create(std::size_t receive_buffer = 64 << 10, Io io = Io::epoll);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). The calling thread becomes the loop's thread (with io_uring: for good).
  void run();
  // Any thread. run() returns at the end of its turn; a stop() before run() makes the next run() return at once.
  void stop();
  // Runs `work` on the loop's thread soon. Any thread. Work still queued when the loop is destroyed is destroyed unrun.
  void post(std::function<void()> work);

  // Time at the start of this turn of the loop; cheap. Loop thread.
  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] bool on_thread() const;

  // Descriptors that are not Sockets (listeners): `on_ready` runs once a turn while readable. Level-triggered: a
  // handler that cannot take what is there (no descriptors left) unwatches and comes back by a timer, or the loop
  // spins. Loop thread, or before run(). unwatch() before closing the descriptor; allowed from inside any handler.
  Result<void> watch(int fd, std::function<void()> on_ready);
  void unwatch(int fd);

  // `on_event(tag)` runs on the loop's thread when an event arrives for a socket of this loop without a waiter and with
  // a tag other than 0 (Socket::set_tag): an idle server connection was closed or says something. No lock is held; it
  // may destroy, detach or use sockets of this loop. A hint, not a fact: another thread may have detached, moved or
  // destroyed the socket since, so the receiver looks the tag up under its own lock and ignores one that is not (or no
  // longer) an idle socket of this loop. Set before run() or on the loop's thread, not from inside the handler.
  void set_idle_event(std::function<void(std::uint64_t tag)> on_event);

 private:
  friend class Waiter;
  friend class Timer;
  friend class Socket;
  struct Impl;
  Loop();

  std::unique_ptr<Impl> impl_;
  TimePoint now_;
};

}  // namespace weir::net
