// Loop's io_uring half; see net/ring.hpp.
#include <poll.h>

#include <algorithm>
#include <exception>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "net/loop_impl.hpp"
#include "net/socket.hpp"

namespace weir::net {

Result<void> Loop::Impl::open_ring() {
  auto made = Ring::create();
  if (!made) return made.take_error();
  ring = std::move(*made);
  ring->leave({Ring::Errand::Kind::poll, wake_up, POLLIN, kWakeUp});
  return {};
}

void Loop::Impl::begin_ring() {
  auto begun = ring->begin();
  if (begun) return;
  // It was tried by probe_io_uring(): something took the resources meanwhile.
  log::error(concat(begun.error().message, "; the process cannot go on"));
  std::terminate();
}

void Loop::Impl::turn_of_ring(TimePoint& now) {
  if (ring->has_errands()) ring->run_errands();
  Duration left = timeout(now);
  if (left != Duration::zero()) {
    sleeping.store(true);
    if (has_posted.load() || stopping.load() || ring->has_errands()) left = Duration::zero();
  }
  ring->turn(left);
  sleeping.store(false, std::memory_order_relaxed);
  now = Clock::now();
  auto& completions = ring->completions();
  for (std::size_t i = 0; i < completions.size(); i++) {  // more may come meanwhile
    const Ring::Completion completion = completions[i];
    dispatch(completion);
  }
  completions.clear();
}

void Loop::Impl::dispatch(const Ring::Completion& completion) {
  const std::uint64_t data = completion.data;
  if ((data & kWatchBit) != 0) {
    if (data == Ring::kNobody) return;
    if (data != kWakeUp) return dispatch_watch(data & ~kWatchBit);
    if ((completion.flags & IORING_CQE_F_MORE) == 0) ring->poll(wake_up, POLLIN, true, kWakeUp);
    return;
  }
  Waiter* waiter = nullptr;
  std::uint64_t tag = 0;
  {
    const auto registration = registrations.access(Ring::id_of(data));
    Socket* socket = registration.socket();
    if (socket == nullptr) {
      if ((completion.flags & IORING_CQE_F_BUFFER) != 0)
        ring->give_piece(static_cast<std::uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT));
      return;
    }
    if (!socket->on_completion(*ring, data, completion.result, completion.flags)) return;
    waiter = socket->waiter_;
    tag = socket->tag_;
  }
  tell(waiter, tag);
}

// Asked anew after each time its handler has run: level-triggered, and once a turn.
void Loop::Impl::poll_watch(const Watch& watch) {
  if (loop->on_thread()) return ring->poll(watch.fd, POLLIN, false, kWatchBit | watch.id);
  ring->leave({Ring::Errand::Kind::poll_once, watch.fd, POLLIN, kWatchBit | watch.id});
}

}  // namespace weir::net
