#include "net/socket.hpp"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/strings.hpp"
#include "net/loop_impl.hpp"

namespace weir::net {

namespace {

constexpr std::uint64_t kBulkTurn = 64 << 10;   // of a large message, what is worth a turn
constexpr std::uint32_t kAlways = EPOLLIN | EPOLLRDHUP | EPOLLET;

// recv() and send() are cancellation points: with several threads each of them does two atomic operations more than the system call.
ssize_t receive_bytes(int fd, void* to, std::size_t size) {
  return syscall(SYS_recvfrom, fd, to, size, 0, nullptr, nullptr);
}

ssize_t send_bytes(int fd, ByteView bytes) {
  return syscall(SYS_sendto, fd, bytes.data(), bytes.size(), MSG_NOSIGNAL, nullptr, 0);
}

bool set_nonblocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return false;
  return (flags & O_NONBLOCK) != 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

Error failed(const char* what, int fd, const char* hint) {
  Error error(sqlstate::kConnectionFailure,
              concat(what, " descriptor ", std::to_string(fd), " failed: ", std::strerror(errno)), hint);
  error.connection_spoilt = true;
  return error;
}

}  // namespace

Socket::Socket() = default;

Result<std::unique_ptr<Socket>> Socket::attach(Loop& loop, int fd, SSL* tls) {
  auto socket = std::make_unique<Socket>();
  socket->fd_ = fd;
  if (tls != nullptr) socket->use_tls(tls);  // before the loop hears of it
  if (!set_nonblocking(fd)) return failed("making non-blocking", fd, "Is it an open socket?");
  if (auto attached = socket->attach_to(loop); !attached) return attached.take_error();
  return socket;
}

Socket::~Socket() {
  const int fd = release();
  if (fd >= 0) close(fd);
}

int Socket::release() {
  detach();
  ssl_ = nullptr;
  return std::exchange(fd_, -1);
}

Result<void> Socket::attach_to(Loop& loop) {
  Loop::Impl& impl = *loop.impl_;
  // Whatever the loop's thread may look at stands before the kernel hears of the descriptor.
  reset_readiness();
  const auto id = impl.registrations.add(*this);
  if (!id)
    return Error(sqlstate::kTooManyConnections, "the event loop's table of sockets is full", "Use more workers.");
  loop_ = &loop;
  registration_ = *id;
  if (impl.ring) {
    register_with(*impl.ring);
    return {};
  }
  epoll_event event{kAlways, {.u64 = id->packed()}};
  if (epoll_ctl(impl.epoll, EPOLL_CTL_ADD, fd_, &event) == 0) return {};
  Error error =
      failed("registering", fd_, "A socket is attached to one loop at a time; see also fs.epoll.max_user_watches.");
  impl.registrations.end(*id);
  impl.registrations.recycle(*id);
  loop_ = nullptr;
  return error;
}

void Socket::detach() {
  if (loop_ == nullptr) return;
  Loop::Impl& impl = *loop_->impl_;
  impl.registrations.end(registration_);
  if (impl.ring) {
    deregister_from(*impl.ring);
  } else {
    epoll_ctl(impl.epoll, EPOLL_CTL_DEL, fd_, nullptr);
  }
  impl.registrations.recycle(registration_);
  loop_ = nullptr;
}

void Socket::set_tag(std::uint64_t tag) {
  if (loop_ == nullptr) {
    tag_ = tag;
    return;
  }
  const auto held = loop_->impl_->registrations.access(registration_);
  tag_ = tag;
}

// The kernel reports what is there already when the descriptor is registered; what OpenSSL has read already it cannot
// know.
void Socket::reset_readiness() {
  readable_ = ssl_ != nullptr && (SSL_has_pending(ssl_) != 0 || tls_read_wants_write_);
  writable_ = true;
  hung_up_ = false;
  listens_for_writable_ = false;
  tls_read_wants_write_ = false;
  tls_write_wants_read_ = false;
}

void Socket::on_events(std::uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if (hung_up_ || (events & EPOLLIN) != 0) {
    readable_ = true;
    if (std::exchange(tls_write_wants_read_, false)) writable_ = true;
  }
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0) return;
  // Nobody needed to hear that. A unix socket would say so whenever its peer reads.
  if (writable_ && listens_for_writable_ && !tls_read_wants_write_) listen_for_writable(false);
  if (!tls_write_wants_read_) writable_ = true;
  if (std::exchange(tls_read_wants_write_, false)) readable_ = true;
}

// MOD makes the kernel look again, so an edge between the short send and this call is not lost.
void Socket::listen_for_writable(bool wanted) {
  if (listens_for_writable_ == wanted) return;
  if (Ring* ring = loop_->impl_->ring.get(); ring != nullptr) {
    if (!wanted) return;  // it is asked for once at a time
    listens_for_writable_ = true;
    return ask(*ring, true, POLLOUT, Ring::pack(registration_, Ring::Op::writable));
  }
  listens_for_writable_ = wanted;
  epoll_event event{wanted ? kAlways | EPOLLOUT : kAlways, {.u64 = registration_.packed()}};
  epoll_ctl(loop_->impl_->epoll, EPOLL_CTL_MOD, fd_, &event);
}

void Socket::block_sending() {
  writable_ = false;
  listen_for_writable(true);
}

void Socket::expect_bytes(std::uint64_t left) {
  const int wanted = ssl_ == nullptr && left >= 2 * kBulkTurn ? static_cast<int>(kBulkTurn) : 1;
  if (wanted == low_water_) return;
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVLOWAT, &wanted, sizeof wanted) == 0) low_water_ = wanted;
}

void Socket::expect_readable() {
  if (block_ != nullptr) flush();  // whoever does the handshake writes next
  readable_ = false;
}

Received Socket::receive(std::size_t limit) {
  if (via_ >= Via::streamed || first_piece_ != Ring::kNoPiece) return receive_streamed(limit);
  if (ssl_ != nullptr) return receive_tls(limit);
  return receive_now(limit);
}

Received Socket::receive_now(std::size_t limit) {
  const Loop::Impl& impl = *loop_->impl_;
  const std::size_t size = limit == 0 ? impl.buffer_size : std::min(limit, impl.buffer_size);
  ssize_t n;
  do {
    n = receive_bytes(fd_, impl.buffer.get(), size);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    const auto got = static_cast<std::size_t>(n);
    readable_ = got == size || hung_up_;
    if (ahead_ && !readable_ && got < Ring::kPieceSize) start_streaming(*impl.ring);
    return {Received::Kind::data, {impl.buffer.get(), got}, 0};
  }
  if (n == 0) return {Received::Kind::end, {}, 0};
  if (errno != EAGAIN && errno != EWOULDBLOCK) return {Received::Kind::failed, {}, errno};
  readable_ = false;
  return {};
}

Result<std::size_t> Socket::send(ByteView bytes) {
  if (!writable_ || bytes.empty()) return std::size_t{0};
  if (ssl_ != nullptr) return send_tls(bytes);
  if (via_ != Via::epoll) return send_gathered(bytes);
  return send_now(bytes);
}

Error Socket::sending_failed() const { return failed("sending to", fd_, "The peer closed the connection."); }

Result<std::size_t> Socket::send_now(ByteView bytes) {
  ssize_t n;
  do {
    n = send_bytes(fd_, bytes);
  } while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return sending_failed();
  const auto sent = n < 0 ? std::size_t{0} : static_cast<std::size_t>(n);
  if (sent < bytes.size()) block_sending();
  return sent;
}

void Socket::shutdown() {
  if (block_ != nullptr) flush();
  ::shutdown(fd_, SHUT_RDWR);
}

}  // namespace weir::net
