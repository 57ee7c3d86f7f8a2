#include "net/ring.hpp"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "net/socket.hpp"

namespace weir::net {

namespace {

Error refused(const char* what, int error) {
  const char* hint = "io_uring needs Linux 6.1 or newer; set listen.io = \"epoll\" (or \"auto\") to do without.";
  if (error == EPERM || error == ENOSYS || error == EACCES) {
    hint =
        "The kernel, a container's seccomp profile or sysctl kernel.io_uring_disabled forbids io_uring; set listen.io = "
        "\"epoll\" (or \"auto\") to do without.";
  }
  if (error == ENOMEM || error == EMFILE) hint = "Raise the limits of locked memory and open files (ulimit -l, -n).";
  return {sqlstate::kConfigFile, concat("io_uring does not work here: ", what, ": ", std::strerror(error)), hint};
}

[[noreturn]] void cannot_go_on(int error) {
  log::error(concat("io_uring_enter failed, the process cannot go on: ", std::strerror(error)));
  std::terminate();
}

}  // namespace

void SendBlock::append(ByteView more) {
  std::memcpy(bytes.data() + end, more.data(), more.size());
  end += static_cast<std::uint32_t>(more.size());
}

// --- making -------------------------------------------------------------------------------------

Result<std::unique_ptr<Ring>> Ring::create() {
  std::unique_ptr<Ring> ring(new Ring);
  io_uring_params wanted{};
  // Completions are worked on only when this thread asks for them; it alone submits. Disabled until it is known.
  wanted.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_R_DISABLED |
                 IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
  wanted.cq_entries = kCompletions;
  if (const int e = io_uring_queue_init_params(kEntries, &ring->ring_, &wanted); e < 0)
    return refused("io_uring_setup", -e);
  ring->made_ = true;
  if ((wanted.features & IORING_FEAT_CQE_SKIP) == 0 || (wanted.features & IORING_FEAT_EXT_ARG) == 0)
    return refused("features of the kernel", ENOSYS);
  if (auto made = ring->make_pieces(); !made) return made.take_error();
  ring->completions_.reserve(kCompletions);
  return ring;
}

Result<void> Ring::make_pieces() {
  void* at = mmap(nullptr, kPieces * sizeof(io_uring_buf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return refused("mmap", errno);
  buffers_ = static_cast<io_uring_buf_ring*>(at);
  io_uring_buf_ring_init(buffers_);
  memory_ = std::make_unique_for_overwrite<std::uint8_t[]>(kPieces * kPieceSize);
  for (std::uint16_t id = 0; id < kPieces; id++) give_piece(id);
  return {};
}

Result<void> Ring::begin() {
  if (begun_ && thread_ == std::this_thread::get_id()) return {};
  if (begun_) return refused("run() by two threads", EEXIST);
  // Debian's liburing 2.3 declares io_uring_enable_rings() and does not export it.
  if (syscall(__NR_io_uring_register, ring_.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0) < 0)
    return refused("IORING_REGISTER_ENABLE_RINGS", errno);
  io_uring_buf_reg wanted{};
  wanted.ring_addr = reinterpret_cast<std::uint64_t>(buffers_);
  wanted.ring_entries = kPieces;
  wanted.bgid = kGroup;
  if (const int e = io_uring_register_buf_ring(&ring_, &wanted, 0); e < 0)
    return refused("IORING_REGISTER_PBUF_RING", -e);
  io_uring_register_ring_fd(&ring_);  // saves a look-up at each call, where it can be had
  thread_ = std::this_thread::get_id();
  begun_ = true;
  return {};
}

Ring::~Ring() {
  if (made_) io_uring_queue_exit(&ring_);
  if (buffers_ != nullptr) munmap(buffers_, kPieces * sizeof(io_uring_buf));
}

// --- requests -----------------------------------------------------------------------------------

io_uring_sqe& Ring::next_entry() {
  for (;;) {
    if (io_uring_sqe* entry = io_uring_get_sqe(&ring_); entry != nullptr) return *entry;
    const int e = io_uring_submit(&ring_);
    if (e == -EBUSY) collect();  // completions have to be taken first
    if (e < 0 && e != -EINTR && e != -EAGAIN && e != -EBUSY) cannot_go_on(-e);
  }
}

void Ring::poll(int fd, unsigned events, bool multishot, std::uint64_t data) {
  io_uring_sqe& entry = next_entry();
  if (multishot) {
    io_uring_prep_poll_multishot(&entry, fd, events);
  } else {
    io_uring_prep_poll_add(&entry, fd, events);
  }
  io_uring_sqe_set_data64(&entry, data);
}

void Ring::receive(int fd, std::uint64_t data) {
  io_uring_sqe& entry = next_entry();
  io_uring_prep_recv_multishot(&entry, fd, nullptr, 0, 0);
  entry.flags |= IOSQE_BUFFER_SELECT;
  entry.buf_group = kGroup;
  io_uring_sqe_set_data64(&entry, data);
}

void Ring::cancel(std::uint64_t data) {
  io_uring_sqe& entry = next_entry();
  io_uring_prep_cancel64(&entry, data, 0);
  entry.flags |= IOSQE_CQE_SKIP_SUCCESS;
  io_uring_sqe_set_data64(&entry, kNobody);
}

void Ring::leave(const Errand& errand) {
  const std::lock_guard lock(errands_lock_);
  errands_.push_back(errand);
  has_errands_.store(true);
}

void Ring::run_errands() {
  {
    const std::lock_guard lock(errands_lock_);
    has_errands_.store(false, std::memory_order_relaxed);
    running_errands_.swap(errands_);
  }
  for (const Errand& errand : running_errands_) carry_out(errand);
  running_errands_.clear();
}

void Ring::carry_out(const Errand& errand) {
  switch (errand.kind) {
    case Errand::Kind::poll:
      return poll(errand.fd, errand.events, true, errand.data);
    case Errand::Kind::poll_once:
      return poll(errand.fd, errand.events, false, errand.data);
    case Errand::Kind::receive:
      return receive(errand.fd, errand.data);
    case Errand::Kind::cancel:
      return cancel(errand.data);
  }
}

// --- buffers ------------------------------------------------------------------------------------

void Ring::give_piece(std::uint16_t id) {
  io_uring_buf_ring_add(buffers_, memory_.get() + id * kPieceSize, kPieceSize, id, io_uring_buf_ring_mask(kPieces), 0);
  io_uring_buf_ring_advance(buffers_, 1);
}

void Ring::lend(std::uint16_t id) {
  if (const std::uint16_t old = std::exchange(lent_, id); old != kNoPiece) give_piece(old);
}

std::unique_ptr<SendBlock> Ring::take_block() {
  if (free_blocks_.empty()) return std::unique_ptr<SendBlock>(new SendBlock);  // its bytes stay as they come
  auto block = std::move(free_blocks_.back());
  free_blocks_.pop_back();
  return block;
}

void Ring::give_block(std::unique_ptr<SendBlock> block) {
  if (free_blocks_.size() == kKeptBlocks) return;
  block->begin = block->end = 0;
  block->gathered = false;
  free_blocks_.push_back(std::move(block));
}

// --- sending ------------------------------------------------------------------------------------

void Ring::gather(Socket& socket, SendBlock& block) {
  block.place = static_cast<std::uint32_t>(gathered_.size());
  block.gathered = true;
  gathered_.push_back(&socket);
}

void Ring::ungather(SendBlock& block) {
  if (std::exchange(block.gathered, false)) gathered_[block.place] = nullptr;
}

// Only a send that fails or is short has a completion, in this very call: MSG_DONTWAIT lets none wait, and without
// IOSQE_CQE_SKIP_SUCCESS each would end the wait for what is to come. probe() makes sure of both.
void Ring::submit_sends() {
  for (Socket* socket : gathered_) {
    if (socket == nullptr) continue;
    const ByteView bytes = socket->block_->view();
    io_uring_sqe& entry = next_entry();
    io_uring_prep_send(&entry, socket->fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
    entry.flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(&entry, pack(socket->registration_, Op::send));
  }
}

// Before anything else runs: what failed is in the completions, the rest is sent.
void Ring::finish_sends() {
  if (gathered_.empty()) return;
  for (const Completion& c : completions_) {
    if (c.data >> 63 != 0 || op_of(c.data) != Op::send) continue;
    for (Socket* socket : gathered_)
      if (socket != nullptr && pack(socket->registration_, Op::send) == c.data) {
        gathered_[socket->block_->place] = nullptr;
        socket->on_short_send(c.result);
        break;
      }
  }
  for (Socket* socket : gathered_)
    if (socket != nullptr) give_block(std::move(socket->block_));
  gathered_.clear();
}

// --- the turn -----------------------------------------------------------------------------------

void Ring::enter(Duration timeout) {
  int e = 0;
  if (timeout == Duration::zero()) {
    e = io_uring_submit_and_get_events(&ring_);
  } else if (timeout < Duration::zero()) {
    e = io_uring_submit_and_wait(&ring_, 1);
  } else {
    const auto ns = std::chrono::duration_cast<std::chrono::nanoseconds>(timeout).count();
    __kernel_timespec left{ns / 1'000'000'000, ns % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    e = io_uring_submit_and_wait_timeout(&ring_, &first, 1, &left, nullptr);
  }
  if (e < 0 && e != -EINTR && e != -ETIME && e != -EAGAIN && e != -EBUSY) cannot_go_on(-e);
}

// All there are, also those that found no place in the queue.
void Ring::collect() {
  for (;;) {
    unsigned head = 0;
    unsigned count = 0;
    const io_uring_cqe* c = nullptr;
    io_uring_for_each_cqe(&ring_, head, c) {
      completions_.push_back({c->user_data, c->res, c->flags});
      count++;
    }
    io_uring_cq_advance(&ring_, count);
    if (!io_uring_cq_has_overflow(&ring_)) return;
    io_uring_get_events(&ring_);
  }
}

void Ring::turn(Duration timeout) {
  submit_sends();
  enter(completions_.empty() ? timeout : Duration::zero());
  while (io_uring_sq_ready(&ring_) > 0) {
    collect();
    enter(Duration::zero());
  }
  collect();
  finish_sends();
}

}  // namespace weir::net
