// Socket: a connected stream (TCP, unix, optionally with TLS on top) that belongs to one loop at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "net/loop.hpp"

typedef struct ssl_st SSL;

namespace weir::net {

// What receive() found.
struct Received {
  enum class Kind : std::uint8_t { data, nothing, end, failed };
  Kind kind = Kind::nothing;
  ByteView bytes;      // data: lives in the loop's receive buffer until the next receive() of any socket on this loop
  int error = 0;       // failed: errno
};

// Movable by hand-off only: detach() on its loop's thread (or, for a socket nobody waits on, under the pool's lock from another), then
// attach() on the new one. Events in flight for the old registration carry a generation and are dropped.
class Socket {
 public:
  Socket() = default;
  // Takes over `fd` (made non-blocking) and registers it, once, for reading and writing edges.
  static Result<std::unique_ptr<Socket>> attach(Loop& loop, int fd);
  ~Socket();               // deregisters and closes
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Bytes are encrypted by `ssl` from now on (its handshake is done; not owned, must outlive this socket).
  void use_tls(SSL* ssl);

  // Who is told of readable, writable and hang-up edges; nullptr: nobody (flags are still kept).
  void set_waiter(Waiter* waiter) { waiter_ = waiter; }

  // False only if it is known that receive() would find nothing.
  [[nodiscard]] bool may_receive() const { return readable_; }
  // One receive into the loop's buffer (at most `limit` bytes if not 0). Keeps readable_ if there may be more.
  Received receive(std::size_t limit = 0);

  // Sends what the kernel takes now; returns how many bytes. Fewer than asked: can_send() is false until the next writable edge.
  Result<std::size_t> send(ByteView bytes);
  [[nodiscard]] bool can_send() const { return writable_; }
  // The peer closed its side or the connection broke (EPOLLRDHUP, EPOLLHUP, EPOLLERR); buffered bytes may remain.
  [[nodiscard]] bool hung_up() const { return hung_up_; }

  // Gives the registration up without closing: the descriptor can be attached to another loop. Keeps TLS.
  void detach();
  // Registers a detached socket with `loop` (any thread, if nobody waits on it yet); readiness is re-learned from the kernel.
  Result<void> attach_to(Loop& loop);
  // Gives the descriptor itself back; the socket is empty afterwards.
  int release();
  // shutdown(SHUT_RDWR): wakes whoever waits at either end; the descriptor stays open.
  void shutdown();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] Loop* loop() const { return loop_; }

 private:
  friend class Loop;
  Loop* loop_ = nullptr;
  Waiter* waiter_ = nullptr;
  SSL* ssl_ = nullptr;
  int fd_ = -1;
  std::uint32_t slot_ = 0;          // index into the loop's table of registrations
  std::uint32_t generation_ = 0;
  bool readable_ = false;
  bool writable_ = false;
  bool hung_up_ = false;
};

// Listening descriptors, non-blocking, close-on-exec. `reuse_port`: several workers listen on the same port.
[[nodiscard]] Result<int> listen_tcp(const std::string& address, std::uint16_t port, bool reuse_port);
[[nodiscard]] Result<int> listen_unix(const std::string& path);   // replaces a stale socket; refuses one that is alive
[[nodiscard]] Result<std::uint16_t> local_port(int fd);
// One accepted connection (non-blocking, TCP_NODELAY); none: nobody waits. Errors of a single connection (ECONNABORTED) are skipped.
[[nodiscard]] Result<std::optional<int>> accept_one(int listener);
// "127.0.0.1:4711" or "unix" and the credentials' pid, for logs and SHOW CLIENTS.
struct PeerName {
  std::string address;
  std::uint16_t port = 0;
};
[[nodiscard]] PeerName peer_name(int fd);

}  // namespace weir::net
