#include "net/loop.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <limits>
#include <string>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "net/loop_impl.hpp"
#include "net/socket.hpp"

namespace weir::net {

namespace {

thread_local const Loop* running_here = nullptr;

void ignore_sigpipe() {
  struct sigaction current {};
  if (sigaction(SIGPIPE, nullptr, &current) != 0 || current.sa_handler != SIG_DFL) return;
  current.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &current, nullptr);
}

Error no_descriptor(const char* what) {
  return {sqlstate::kInternal, concat("cannot create an event loop: ", what, ": ", std::strerror(errno)),
          "Raise the limit of open files (ulimit -n, LimitNOFILE=)."};
}

}  // namespace

Waiter::~Waiter() {
  if (queued_) loop_.impl_->ready.remove(*this);
}

void Waiter::notify() {
  notified_ = true;
  // A coroutine that is running finds the flag when it next waits.
  if (!suspended_ || queued_) return;
  loop_.impl_->ready.push(*this);
  prefetch();
}

// With a thousand clients none of this is in the cache when its turn comes.
void Waiter::prefetch() const {
  constexpr std::size_t kLine = 64;
  __builtin_prefetch(suspended_.address());
  __builtin_prefetch(static_cast<const char*>(suspended_.address()) + kLine);
  for (unsigned i = 1; i <= hot_lines_; i++) __builtin_prefetch(reinterpret_cast<const char*>(this) + i * kLine);
}

void ReadyList::push(Waiter& waiter) {
  waiter.queued_ = true;
  waiter.next_ = nullptr;
  waiter.previous_ = last_;
  (last_ != nullptr ? last_->next_ : first_) = &waiter;
  last_ = &waiter;
}

void ReadyList::remove(Waiter& waiter) {
  (waiter.previous_ != nullptr ? waiter.previous_->next_ : first_) = waiter.next_;
  (waiter.next_ != nullptr ? waiter.next_->previous_ : last_) = waiter.previous_;
  waiter.queued_ = false;
}

Waiter& ReadyList::pop() {
  Waiter& waiter = *first_;
  remove(waiter);
  return waiter;
}

Timer::~Timer() { waiter_.loop().impl_->timers.remove(*this); }

void Timer::move_in_heap() { waiter_.loop().impl_->timers.schedule(*this); }

Loop::Loop() : impl_(std::make_unique<Impl>()), now_(Clock::now()) {}

Loop::~Loop() {
  // Work may hold sockets of this loop, and go on posting while it is destroyed.
  while (impl_->has_posted.exchange(false)) {
    std::vector<std::function<void()>> unrun;  // destroyed after the lock is given back
    const std::lock_guard lock(impl_->post_lock);
    unrun.swap(impl_->posted);
  }
}

Loop::Impl::~Impl() {
  if (wake_up >= 0) close(wake_up);
  if (epoll >= 0) close(epoll);
}

Result<std::unique_ptr<Loop>> Loop::create(std::size_t receive_buffer, Io io) {
  ignore_sigpipe();
  std::unique_ptr<Loop> loop(new Loop);
  Impl& impl = *loop->impl_;
  impl.loop = loop.get();
  impl.buffer_size = std::max<std::size_t>(receive_buffer, 1);
  impl.buffer = std::make_unique_for_overwrite<std::uint8_t[]>(impl.buffer_size);
  impl.wake_up = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (impl.wake_up < 0) return no_descriptor("eventfd");
  if (auto opened = io == Io::io_uring ? impl.open_ring() : impl.open_epoll(); !opened) return opened.take_error();
  return loop;
}

Result<void> Loop::Impl::open_epoll() {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return no_descriptor("epoll_create1");
  epoll_event event{EPOLLIN | EPOLLET, {.u64 = kWakeUp}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, wake_up, &event) != 0) return no_descriptor("epoll_ctl");
  return {};
}

bool Loop::on_thread() const { return running_here == this; }

void Loop::run() {
  const Loop* outer = std::exchange(running_here, this);
  now_ = Clock::now();
  if (impl_->ring) impl_->begin_ring();
  while (!impl_->stopping.load()) {
    if (impl_->ring) {
      impl_->turn_of_ring(now_);
    } else {
      impl_->turn_of_epoll(now_);
    }
    impl_->timers.fire(now_);
    if (impl_->has_posted.load(std::memory_order_relaxed)) impl_->run_posted();
    impl_->resume_ready();
  }
  impl_->stopping.store(false);
  running_here = outer;
}

void Loop::Impl::turn_of_epoll(TimePoint& now) {
  const int n = wait_for_events(now);
  now = Clock::now();
  for (int i = 0; i < n; i++) dispatch(events[static_cast<std::size_t>(i)]);
}

void Loop::stop() {
  impl_->stopping.store(true);
  impl_->wake_if_sleeping();
}

void Loop::post(std::function<void()> work) {
  {
    const std::lock_guard lock(impl_->post_lock);
    impl_->posted.push_back(std::move(work));
    impl_->has_posted.store(true);
  }
  impl_->wake_if_sleeping();
}

void Loop::Impl::wake_if_sleeping() {
  if (!sleeping.load() || !sleeping.exchange(false)) return;
  const std::uint64_t one = 1;
  // Fails only when 2^64 - 2 wake-ups are unread.
  [[maybe_unused]] const ssize_t written = write(wake_up, &one, sizeof one);
}

Duration Loop::Impl::timeout(TimePoint now) const {
  if (!ready.empty()) return Duration::zero();
  const TimePoint next = timers.next();
  if (next == TimePoint::max()) return Duration(-1);
  return std::max(next - now, Duration::zero());
}

int Loop::Impl::timeout_ms(TimePoint now) const {
  const Duration left = timeout(now);
  if (left < Duration::zero()) return -1;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::min<decltype(ms)>(ms, std::numeric_limits<int>::max()));
}

int Loop::Impl::wait_for_events(TimePoint now) {
  int timeout = timeout_ms(now);
  if (timeout != 0) {
    sleeping.store(true);
    if (has_posted.load() || stopping.load()) timeout = 0;
  }
  const int n = epoll_wait(epoll, events.data(), kEventsATurn, timeout);
  const int error = errno;
  sleeping.store(false, std::memory_order_relaxed);
  if (n >= 0) return n;
  if (error != EINTR) {
    log::error(concat("epoll_wait failed, the process cannot go on: ", std::strerror(error)));
    std::terminate();
  }
  return 0;
}

void Loop::Impl::dispatch(const epoll_event& event) {
  if ((event.data.u64 & kWatchBit) == 0) return dispatch_socket(event);
  if (event.data.u64 != kWakeUp) dispatch_watch(event.data.u64 & ~kWatchBit);
}

void Loop::Impl::dispatch_socket(const epoll_event& event) {
  Waiter* waiter = nullptr;
  std::uint64_t tag = 0;
  {
    const auto registration = registrations.access(RegistrationId::unpack(event.data.u64));
    Socket* socket = registration.socket();
    if (socket == nullptr) return;
    socket->on_events(event.events);
    waiter = socket->waiter_;
    tag = socket->tag_;
  }
  tell(waiter, tag);
}

// The socket may be gone by now, unless it has a waiter: then it belongs to this thread.
void Loop::Impl::tell(Waiter* waiter, std::uint64_t tag) {
  if (waiter != nullptr) {
    waiter->notify();
  } else if (tag != 0 && idle_event) {
    idle_event(tag);
  }
}

void Loop::Impl::dispatch_watch(std::uint64_t id) {
  const auto found = std::find_if(watches.begin(), watches.end(), [&](const auto& w) { return w->id == id; });
  if (found == watches.end()) return;
  const std::shared_ptr<Watch> held = *found;  // it may unwatch itself
  held->on_ready();
  if (ring && std::find(watches.begin(), watches.end(), held) != watches.end()) poll_watch(*held);
}

void Loop::Impl::run_posted() {
  {
    const std::lock_guard lock(post_lock);
    has_posted.store(false, std::memory_order_relaxed);
    running.swap(posted);
  }
  for (auto& work : running) {
    work();
    work = nullptr;  // what it holds goes before the next one runs
  }
  running.clear();
}

void Loop::Impl::resume_ready() {
  for (int i = 0; i < kResumesATurn && !ready.empty(); i++) {
    Waiter& waiter = ready.pop();
    if (!waiter.notified_ || !waiter.suspended_) continue;
    waiter.notified_ = false;
    std::exchange(waiter.suspended_, nullptr).resume();
  }
}

// errno where it fails.
bool Loop::Impl::begin_watch(const Watch& watch) {
  if (!ring) {
    epoll_event event{EPOLLIN, {.u64 = kWatchBit | watch.id}};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, watch.fd, &event) == 0;
  }
  errno = EEXIST;
  if (std::any_of(watches.begin(), watches.end(), [&](const auto& w) { return w->fd == watch.fd; })) return false;
  if (fcntl(watch.fd, F_GETFD) < 0) return false;
  poll_watch(watch);
  return true;
}

Result<void> Loop::watch(int fd, std::function<void()> on_ready) {
  auto watch = std::make_shared<Impl::Watch>(Impl::Watch{fd, ++impl_->last_watch_id, std::move(on_ready)});
  if (!impl_->begin_watch(*watch)) {
    return Error(sqlstate::kInternal,
                 concat("cannot watch descriptor ", std::to_string(fd), ": ", std::strerror(errno)),
                 "A descriptor is watched once by a loop, and must be open.");
  }
  impl_->watches.push_back(std::move(watch));
  return {};
}

void Loop::unwatch(int fd) {
  const auto gone =
      std::find_if(impl_->watches.begin(), impl_->watches.end(), [&](const auto& w) { return w->fd == fd; });
  if (gone == impl_->watches.end()) return;
  if (impl_->ring) {
    impl_->ring->leave({Ring::Errand::Kind::cancel, -1, 0, Impl::kWatchBit | (*gone)->id});
  } else {
    epoll_ctl(impl_->epoll, EPOLL_CTL_DEL, fd, nullptr);
  }
  impl_->watches.erase(gone);
}

void Loop::set_idle_event(std::function<void(std::uint64_t)> on_event) { impl_->idle_event = std::move(on_event); }

}  // namespace weir::net
