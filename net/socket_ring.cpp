// Socket's io_uring half; see net/ring.hpp.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "net/loop_impl.hpp"
#include "net/socket.hpp"

namespace weir::net {

namespace {
constexpr unsigned kToldOf = POLLIN | POLLRDHUP;
constexpr std::uint8_t kMostPieces = 8;  // unread by its coroutine: then the rest stays in the kernel
}  // namespace

// --- registering --------------------------------------------------------------------------------

void Socket::ask(Ring& ring, bool once, unsigned events, std::uint64_t data) {
  if (loop_->on_thread()) return ring.poll(fd_, events, !once, data);
  ring.leave({once ? Ring::Errand::Kind::poll_once : Ring::Errand::Kind::poll, fd_, events, data});
  loop_->impl_->wake_if_sleeping();
}

void Socket::cancel(Ring& ring, std::uint64_t data) {
  if (loop_->on_thread()) return ring.cancel(data);
  ring.leave({Ring::Errand::Kind::cancel, -1, 0, data});
  loop_->impl_->wake_if_sleeping();  // or the peer of a socket that is closed hears nothing of it
}

void Socket::register_with(Ring& ring) {
  via_ = Via::told;
  ask(ring, false, kToldOf, Ring::pack(registration_, Ring::Op::told));
  if (block_ != nullptr) block_sending();
}

// What the kernel still holds of the descriptor it lets go at the end of the turn; until then its peer sees no end.
void Socket::deregister_from(Ring& ring) {
  if (block_ != nullptr) flush();
  if (listens_for_writable_) cancel(ring, Ring::pack(registration_, Ring::Op::writable));
  cancel(ring, Ring::pack(registration_, via_ == Via::told ? Ring::Op::told : Ring::Op::receive));
  drop_pieces(ring);
  via_ = Via::epoll;
}

// --- completions --------------------------------------------------------------------------------

bool Socket::on_completion(Ring& ring, std::uint64_t data, int result, std::uint32_t flags) {
  switch (Ring::op_of(data)) {
    case Ring::Op::told:
      return on_told(ring, result, flags);
    case Ring::Op::writable:
      return on_writable(result);
    case Ring::Op::receive:
      return on_received(ring, result, flags);
    case Ring::Op::send:
      return false;  // the ring's own
  }
  return false;
}

bool Socket::on_told(Ring& ring, int result, std::uint32_t flags) {
  if (via_ != Via::told || result == -ECANCELED) return false;  // the end of an earlier request
  const bool more = (flags & IORING_CQE_F_MORE) != 0;
  if (!more && result >= 0) ring.poll(fd_, kToldOf, true, Ring::pack(registration_, Ring::Op::told));
  // That it cannot be asked about: its owner learns why from receive().
  on_events(result >= 0 ? static_cast<std::uint32_t>(result) : EPOLLERR);
  return true;
}

bool Socket::on_writable(int result) {
  listens_for_writable_ = false;
  if (block_ != nullptr) flush();
  if (block_ != nullptr) return false;
  const auto events = result >= 0 ? static_cast<std::uint32_t>(result) : EPOLLERR;
  on_events((events | EPOLLOUT) & ~std::uint32_t{EPOLLIN});
  return true;
}

bool Socket::on_received(Ring& ring, int result, std::uint32_t flags) {
  const bool more = (flags & IORING_CQE_F_MORE) != 0;
  if (result > 0) {
    const auto id = static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT);
    ring.piece(id) = {Ring::kNoPiece, 0, static_cast<std::uint32_t>(result)};
    (first_piece_ == Ring::kNoPiece ? first_piece_ : ring.piece(last_piece_).next) = id;
    last_piece_ = id;
    readable_ = true;
    if (++pieces_ >= kMostPieces && more && via_ == Via::streamed) stop_streaming(ring);
  }
  if (!more) on_stream_over(ring, result);
  return true;
}

void Socket::on_stream_over(Ring& ring, int result) {
  const bool lasting = result == 0 || (result < 0 && result != -ENOBUFS && result != -ECANCELED);
  if (lasting) {
    ended_ = true;
    stream_error_ = -result;
    readable_ = hung_up_ = true;
    if (result < 0) writable_ = true;
    via_ = Via::stopping;  // nothing is asked for any more
    return;
  }
  // Its buffers are full, or it has been told to stop: the rest is taken when its coroutine asks.
  via_ = Via::told;
  ring.poll(fd_, kToldOf, true, Ring::pack(registration_, Ring::Op::told));
}

// --- receiving ----------------------------------------------------------------------------------

void Socket::receive_ahead() {
  if (via_ != Via::told || ssl_ != nullptr) return;
  ahead_ = true;
  if (!readable_ && !hung_up_) start_streaming(*loop_->impl_->ring);
}

void Socket::start_streaming(Ring& ring) {
  cancel(ring, Ring::pack(registration_, Ring::Op::told));
  const std::uint64_t data = Ring::pack(registration_, Ring::Op::receive);
  if (loop_->on_thread()) {
    ring.receive(fd_, data);
  } else {
    ring.leave({Ring::Errand::Kind::receive, fd_, 0, data});
  }
  via_ = Via::streamed;
}

void Socket::stop_streaming(Ring& ring) {
  ring.cancel(Ring::pack(registration_, Ring::Op::receive));
  via_ = Via::stopping;
}

void Socket::drop_pieces(Ring& ring) {
  while (first_piece_ != Ring::kNoPiece) {
    const std::uint16_t id = first_piece_;
    first_piece_ = ring.piece(id).next;
    ring.give_piece(id);
  }
  pieces_ = 0;
}

Received Socket::receive_streamed(std::size_t limit) {
  Ring& ring = *loop_->impl_->ring;
  if (first_piece_ == Ring::kNoPiece) {
    readable_ = ended_;
    if (!ended_) return {};
    return {stream_error_ != 0 ? Received::Kind::failed : Received::Kind::end, {}, stream_error_};
  }
  const std::uint16_t id = first_piece_;
  Ring::Piece& piece = ring.piece(id);
  const std::uint8_t* at = ring.memory(id) + piece.begin;
  const std::size_t all = piece.end - piece.begin;
  const std::size_t size = limit == 0 ? all : std::min(limit, all);
  ring.lend(size == all ? id : Ring::kNoPiece);
  if (size == all) {
    first_piece_ = piece.next;
    pieces_--;
  } else {
    piece.begin += static_cast<std::uint32_t>(size);
  }
  // Told again meanwhile: the poll says at once what it finds.
  readable_ = first_piece_ != Ring::kNoPiece || ended_ || hung_up_ || via_ == Via::told;
  return {Received::Kind::data, {at, size}, 0};
}

// --- sending ------------------------------------------------------------------------------------

Result<std::size_t> Socket::send_gathered(ByteView bytes) {
  if (send_error_ != 0) return send_now(bytes);  // which fails, too, and says why
  // Without a waiter another thread may take the socket at any moment.
  const bool gathers = waiter_ != nullptr;
  if (block_ == nullptr) {
    if (!gathers || bytes.size() > SendBlock::kSize) return send_now(bytes);
    block_ = loop_->impl_->ring->take_block();
  }
  if (gathers && bytes.size() <= block_->room()) {
    block_->append(bytes);
    if (!block_->gathered) loop_->impl_->ring->gather(*this, *block_);
    return bytes.size();
  }
  flush();
  if (block_ != nullptr || !writable_) return std::size_t{0};
  return send_now(bytes);
}

// What does not go waits for the next writable edge.
void Socket::flush() {
  Ring& ring = *loop_->impl_->ring;
  const auto sent = send_now(block_->view());
  if (!sent) {
    on_short_send(-EPIPE);
    return;
  }
  block_->begin += static_cast<std::uint32_t>(*sent);
  ring.ungather(*block_);
  if (block_->begin != block_->end) return;
  if (loop_->on_thread()) return ring.give_block(std::move(block_));
  block_.reset();
}

void Socket::on_short_send(int result) {
  Ring& ring = *loop_->impl_->ring;
  ring.ungather(*block_);
  if (result >= 0 || result == -EAGAIN || result == -EINTR || result == -ENOMEM || result == -ENOBUFS) {
    block_->begin += static_cast<std::uint32_t>(std::max(result, 0));
    if (block_->begin != block_->end) return block_sending();
  } else {
    send_error_ = -result;
    hung_up_ = readable_ = writable_ = true;
    if (waiter_ != nullptr) waiter_->notify();
  }
  block_.reset();
}

}  // namespace weir::net
