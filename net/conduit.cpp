#include "net/conduit.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/loop_impl.hpp"
#include "net/socket.hpp"

namespace weir::net {

Conduit::~Conduit() {
  if (in_ >= 0) close(in_);
  if (out_ >= 0) close(out_);
}

// --- spare ones ---------------------------------------------------------------------------------

std::unique_ptr<Conduit> Conduits::make() {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  std::unique_ptr<Conduit> conduit(new Conduit);
  conduit->out_ = ends[0];
  conduit->in_ = ends[1];
  // Where the user's pipes have too many pages already, the usual size must do.
  [[maybe_unused]] const int size = fcntl(ends[1], F_SETPIPE_SZ, kSize);
  return conduit;
}

std::unique_ptr<Conduit> Conduits::take() {
  if (!usable_) return nullptr;
  if (spare_.empty()) return make();
  auto conduit = std::move(spare_.back());
  spare_.pop_back();
  return conduit;
}

void Conduits::give_back(std::unique_ptr<Conduit> conduit) {
  if (conduit->held() == 0 && spare_.size() < kKept) spare_.push_back(std::move(conduit));
}

// --- sockets ------------------------------------------------------------------------------------

bool Socket::can_pass() const { return ssl_ == nullptr && via_ < Via::streamed && first_piece_ == Ring::kNoPiece; }

Passed Socket::receive_into(Conduit& conduit, std::size_t limit) {
  ssize_t n;
  do {
    n = ::splice(fd_, nullptr, conduit.in_, nullptr, limit, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    conduit.held_ += static_cast<std::size_t>(n);
    return {Received::Kind::data, static_cast<std::size_t>(n), 0};
  }
  if (n == 0) return {Received::Kind::end, 0, 0};
  if (errno != EAGAIN && errno != EWOULDBLOCK) return {Received::Kind::failed, 0, errno};
  readable_ = false;
  return {};
}

Result<std::size_t> Socket::send_from(Conduit& conduit) {
  if (block_ != nullptr) flush();  // what was gathered comes first
  std::size_t sent = 0;
  while (conduit.held_ > 0 && writable_ && block_ == nullptr) {
    const ssize_t n = ::splice(conduit.out_, nullptr, fd_, nullptr, conduit.held_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return sending_failed();
    if (n <= 0) {
      block_sending();
      break;
    }
    sent += static_cast<std::size_t>(n);
    conduit.held_ -= static_cast<std::size_t>(n);
  }
  return sent;
}

}  // namespace weir::net
