// Ring::probe(): the facts the backend stands on, tried.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/strings.hpp"
#include "net/loop.hpp"
#include "net/ring.hpp"

namespace weir::net {

namespace {

constexpr std::uint64_t kReceive = 1, kSend = 2, kPoll = 3;

struct Pair {
  Pair() {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) ends[0] = ends[1] = -1;
  }
  ~Pair() {
    for (const int fd : ends)
      if (fd >= 0) close(fd);
  }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  int ends[2];
};

Error lacks(const char* what) {
  return {sqlstate::kConfigFile, concat("io_uring does not work here: this kernel lacks ", what),
          "io_uring needs Linux 6.1 or newer; set listen.io = \"epoll\" (or \"auto\") to do without."};
}

}  // namespace

// A stream: bytes come in a buffer of the ring's and more may come; a poll tells of them, too.
Result<void> Ring::probe_receiving(int mine, int peer) {
  receive(mine, kReceive);
  poll(peer, POLLOUT, true, kPoll);
  turn(Duration::zero());
  const bool told = completions_.size() == 1 && completions_[0].data == kPoll && completions_[0].result > 0;
  completions_.clear();
  if (!told) return lacks("multishot polls");
  if (::send(peer, "x", 1, MSG_NOSIGNAL) != 1) return lacks("sockets");
  turn(Duration::zero());
  constexpr std::uint32_t kBoth = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE;
  for (const Completion& c : completions_)
    if (c.data == kReceive && c.result == 1 && (c.flags & kBoth) == kBoth) return {};
  return lacks("multishot receives into provided buffers");
}

// A send that is done says nothing, one that is short says so within the call that submits it.
Result<void> Ring::probe_sending(int mine, const std::string& much) {
  completions_.clear();
  for (const std::size_t size : {std::size_t{1}, much.size()}) {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_send(&entry, mine, much.data(), size, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
    entry.flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(&entry, kSend);
    turn(Duration::zero());
    std::size_t told = 0;
    for (const Completion& c : completions_)
      if (c.data == kSend && c.result > 0 && static_cast<std::size_t>(c.result) < size) told++;
    completions_.clear();
    if (told != (size > 1 ? 1U : 0U)) return lacks("sends that say only what they could not do");
  }
  return {};
}

Result<void> Ring::probe() {
  auto ring = create();
  if (!ring) return ring.take_error();
  if (auto begun = (*ring)->begin(); !begun) return begun;
  const Pair receiving, sending;
  if (receiving.ends[1] < 0 || sending.ends[1] < 0) return lacks("socket pairs");
  if (auto works = (*ring)->probe_receiving(receiving.ends[0], receiving.ends[1]); !works) return works;
  return (*ring)->probe_sending(sending.ends[0], std::string(16 << 20, 'x'));
}

Result<void> probe_io_uring() { return Ring::probe(); }

}  // namespace weir::net
