// Ring: what a Loop of the io_uring backend has in epoll's place. Private to net/; the loop's thread alone but where
// it says otherwise.
//
// Each turn is one system call: it submits what the turn has gathered (sends, requests to be told) and waits for
// completions. A socket is received from in one of two ways:
//  - told (a multishot poll): the kernel says that bytes wait, Socket::receive() takes them with recv(). Nothing is
//    taken off the socket unasked, so it may change loops, and OpenSSL may read it.
//  - streamed (a multishot receive into buffers of the ring's): the bytes are here when the coroutine wakes, no system
//    call. For sockets that stay (Socket::receive_ahead()).
// Sends are gathered in small blocks and made together at the end of the turn, each without waiting (MSG_DONTWAIT), so
// that the kernel never looks at our memory after the call that submits it.
// https://man7.org/linux/man-pages/man7/io_uring.7.html, https://man7.org/linux/man-pages/man2/io_uring_enter.2.html
#pragma once

#include <liburing.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.hpp"
#include "base/deadline.hpp"
#include "base/result.hpp"
#include "net/registrations.hpp"

namespace weir::net {

class Socket;

// Bytes of one socket that wait for the end of the turn, or for their peer to read.
struct SendBlock {
  static constexpr std::size_t kSize = 8 << 10;

  [[nodiscard]] std::size_t room() const { return kSize - end; }
  [[nodiscard]] ByteView view() const { return {bytes.data() + begin, end - begin}; }
  void append(ByteView more);

  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t place = 0;  // in the list of those to be sent, if gathered
  bool gathered = false;
  std::array<std::uint8_t, kSize> bytes;
};

class Ring {
 public:
  // What a completion belongs to; with its RegistrationId in one word (the slot leaves these bits alone).
  enum class Op : std::uint8_t { told, writable, receive, send };
  static constexpr std::uint64_t kNobody = ~std::uint64_t{1};  // nobody waits for it
  static constexpr std::uint16_t kNoPiece = 0xffff;

  struct Completion {
    std::uint64_t data;
    int result;
    std::uint32_t flags;
  };

  // The highest bit of a completion's word is the loop's own (its watches, its wake-up, kNobody).
  static std::uint64_t pack(RegistrationId id, Op op) {
    return id.packed() | static_cast<std::uint64_t>(op) << kOpShift;
  }
  static Op op_of(std::uint64_t data) { return static_cast<Op>(data >> kOpShift & 3); }
  static RegistrationId id_of(std::uint64_t data) {
    return RegistrationId::unpack(data & ~(std::uint64_t{3} << kOpShift));
  }

  // Fails with what this kernel or its administrator does not allow.
  static Result<std::unique_ptr<Ring>> create();
  // Whether everything the backend stands on works here: makes a ring and tries it on a pair of sockets.
  static Result<void> probe();
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // The calling thread becomes the only one that may submit; once.
  Result<void> begin();

  // --- requests; carried out at the end of the turn ---
  void poll(int fd, unsigned events, bool multishot, std::uint64_t data);
  void receive(int fd, std::uint64_t data);
  void cancel(std::uint64_t data);

  // The same from another thread, or before run(): the loop makes them requests at its next turn. Returns whether it
  // has to be woken for them.
  struct Errand {
    enum class Kind : std::uint8_t { poll, poll_once, receive, cancel } kind;
    int fd;
    unsigned events;
    std::uint64_t data;
  };
  void leave(const Errand& errand);  // any thread
  [[nodiscard]] bool has_errands() const { return has_errands_.load(); }
  void run_errands();

  // --- sending ---
  std::unique_ptr<SendBlock> take_block();
  void give_block(std::unique_ptr<SendBlock> block);
  void gather(Socket& socket, SendBlock& block);
  void ungather(SendBlock& block);

  // --- buffers of streamed sockets: a piece is one of them, and a link of its socket's queue ---
  struct Piece {
    std::uint16_t next = kNoPiece;
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  [[nodiscard]] Piece& piece(std::uint16_t id) { return pieces_[id]; }
  [[nodiscard]] const std::uint8_t* memory(std::uint16_t id) const { return memory_.get() + id * kPieceSize; }
  void give_piece(std::uint16_t id);
  // The bytes of `id` are looked at until the next call.
  void lend(std::uint16_t id);

  static constexpr std::size_t kPieceSize = 8 << 10;

  // Submits everything and waits at most until `timeout` is over (zero: not at all; negative: for ever).
  // Then completions() are those to be told of (gathered sends are dealt with); the caller clears them. More may come
  // while it tells.
  void turn(Duration timeout);
  [[nodiscard]] std::vector<Completion>& completions() { return completions_; }

 private:
  static constexpr int kOpShift = 24;
  static constexpr unsigned kEntries = 1024;
  static constexpr unsigned kCompletions = 8192;
  static constexpr unsigned kPieces = 256;
  static constexpr int kGroup = 0;
  static constexpr std::size_t kKeptBlocks = 64;

  Ring() = default;
  Result<void> make_pieces();
  Result<void> probe_receiving(int mine, int peer);
  Result<void> probe_sending(int mine, const std::string& much);
  io_uring_sqe& next_entry();
  void submit_sends();
  void finish_sends();
  void enter(Duration timeout);
  void collect();
  void carry_out(const Errand& errand);

  io_uring ring_{};
  bool made_ = false;
  bool begun_ = false;
  std::thread::id thread_;
  io_uring_buf_ring* buffers_ = nullptr;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::array<Piece, kPieces> pieces_;
  std::uint16_t lent_ = kNoPiece;
  std::vector<std::unique_ptr<SendBlock>> free_blocks_;
  std::vector<Socket*> gathered_;  // nullptr: gone meanwhile
  std::vector<Completion> completions_;

  std::mutex errands_lock_;
  std::vector<Errand> errands_;
  std::vector<Errand> running_errands_;
  std::atomic<bool> has_errands_{false};
};

}  // namespace weir::net
