// Loop: one thread's event loop. Owns the kernel's queue (epoll, edge-triggered), timers, the ready list, and the
// thread's one large receive buffer. Knows nothing of PostgreSQL.
//
// Design: one Waiter a coroutine; sockets, timers and other parties notify() it; the coroutine re-checks what it waits for
// (as with a condition variable). Readiness is kept as flags on the socket, so a wait costs no system call, and the interface is shaped
// by completion (Socket::receive() yields bytes, send() accepts bytes), so that an io_uring backend can stand behind it.
// https://man7.org/linux/man-pages/man7/epoll.7.html (edge-triggered)
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
class Socket;
class Timer;

// Where one coroutine sleeps. notify() before wait() is remembered. Loop thread only.
class Waiter {
 public:
  explicit Waiter(Loop& loop) : loop_(loop) {}
  ~Waiter();
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Idempotent: puts the coroutine on the loop's ready list; it is resumed soon, never from inside this call.
  void notify();

  // Suspends until notified. Spurious returns are allowed: the caller re-checks its conditions.
  struct Wait {
    Waiter& waiter;
    bool await_ready() const noexcept { return std::exchange(waiter.notified_, false); }
    void await_suspend(std::coroutine_handle<> h) noexcept { waiter.suspended_ = h; }
    void await_resume() const noexcept { waiter.notified_ = false; }
  };
  [[nodiscard]] Wait wait() { return Wait{*this}; }

  [[nodiscard]] Loop& loop() const { return loop_; }

 private:
  friend class Loop;
  Loop& loop_;
  std::coroutine_handle<> suspended_;
  bool notified_ = false;
  bool queued_ = false;
};

// A one-shot timer that notifies a waiter. Re-arming to a later moment costs no more than a store: the heap entry is moved when it fires.
// Loop thread only.
class Timer {
 public:
  explicit Timer(Waiter& waiter) : waiter_(waiter) {}
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // Never: cancels.
  void arm(Deadline deadline);
  void cancel();
  [[nodiscard]] bool fired() const { return fired_; }
  [[nodiscard]] Deadline deadline() const { return deadline_; }

 private:
  friend class Loop;
  Waiter& waiter_;
  Deadline deadline_;
  TimePoint in_heap_at_ = TimePoint::max();   // when its heap entry fires; max: no entry
  std::uint64_t heap_id_ = 0;
  bool fired_ = false;
};

class Loop {
 public:
  // `receive_buffer` bytes are allocated once.
  static Result<std::unique_ptr<Loop>> create(std::size_t receive_buffer = 64 << 10);
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Runs until stop(). The calling thread becomes the loop's thread.
  void run();
  // Any thread.
  void stop();
  // Runs `work` on the loop's thread soon. Any thread. Work still queued when the loop is destroyed is destroyed unrun.
  void post(std::function<void()> work);

  // Time at the start of this turn of the loop; cheap. Loop thread.
  [[nodiscard]] TimePoint now() const { return now_; }
  [[nodiscard]] bool on_thread() const;

  // Descriptors that are not Sockets (listeners): `on_ready` runs on every edge or level while readable. Level-triggered.
  // remove() before closing the descriptor.
  void watch(int fd, std::function<void()> on_ready);
  void unwatch(int fd);

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
