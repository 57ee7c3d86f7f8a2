// Socket: a connected stream (TCP, unix, optionally with TLS on top) that belongs to one loop at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "net/loop.hpp"
#include "net/registrations.hpp"

typedef struct ssl_st SSL;

namespace weir::net {

class Conduit;
class Ring;
struct SendBlock;

// What receive() found.
struct Received {
  enum class Kind : std::uint8_t { data, nothing, end, failed };
  Kind kind = Kind::nothing;
  ByteView bytes;  // data: lives in the loop's receive buffer until the next receive() of any socket on this loop
  int error = 0;   // failed: errno
};

// What receive_into() found.
struct Passed {
  Received::Kind kind = Received::Kind::nothing;
  std::size_t bytes = 0;  // data: so many more are in the conduit
  int error = 0;          // failed: errno
};

// Movable by hand-off only (but for receive_ahead()): detach() on its loop's thread (or, for one nobody waits on, under
// the pool's lock from another), then attach_to() the new one. Events for the old registration are dropped.
//
// Threads. Everything is for the loop's thread, but for a socket without a waiter detach(), attach_to(), set_tag() and
// the destructor may be called by any one thread at a time (the caller's lock orders them); until detach() returns, the
// old loop may still set the flags, so another thread asks nothing else of the socket before it.
class Socket {
 public:
  Socket();
  // Takes over `fd` (made non-blocking; closed on failure) and registers it. Any thread. It starts writable and not
  // readable: if bytes wait already, the loop's next turn says so. With `tls` as after use_tls(), which is for the
  // loop's own thread alone.
  static Result<std::unique_ptr<Socket>> attach(Loop& loop, int fd, SSL* tls = nullptr);
  ~Socket();  // deregisters and closes
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Bytes are encrypted by `ssl` from now on (its handshake is done, its BIO works on this descriptor; not owned, must
  // outlive this socket). Sets SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER and read-ahead. The
  // caller says SSL_shutdown() itself if it wants to. https://www.openssl.org/docs/man3.0/man3/SSL_CTX_set_mode.html
  void use_tls(SSL* ssl);
  // Before use_tls(), while a handshake reads and writes the descriptor itself: from now on may_receive() tells only of
  // a readable edge that comes after this call (or of a hang-up), can_send() of a writable one; nothing is received
  // ahead. Call expect_readable() first before the peer is told to begin.
  void expect_readable();
  void expect_writable() { block_sending(); }

  // The socket stays with its loop until it is destroyed or released, on the loop's thread, and is no TLS socket: the
  // loop may take bytes off it before receive() asks, which saves a system call each (io_uring; epoll does nothing).
  // Loop thread.
  void receive_ahead();

  // Who is told of readable, writable and hang-up edges; nullptr: nobody (flags are still kept).
  // The waiter outlives the socket or is taken off before it goes. Loop thread.
  void set_waiter(Waiter* waiter) {
    waiter_ = waiter;
    if (waiter == nullptr && block_ != nullptr) flush();  // another thread may take it now
  }
  // Names the socket to Loop::set_idle_event(); 0: nobody is told. Kept over detach() and attach_to().
  void set_tag(std::uint64_t tag);
  [[nodiscard]] std::uint64_t tag() const { return tag_; }

  // False only if receive() would find nothing as far as the loop was told. Stays true after the end or an error.
  [[nodiscard]] bool may_receive() const { return readable_; }
  // One receive into the loop's buffer (at most `limit` bytes if not 0; over TLS as many records as it holds). Fewer
  // bytes than asked clear may_receive() without a second system call: more bytes are a new edge, and a close that came
  // with these is known by hung_up(). `end`: the peer closed, with or without TLS's close_notify (PostgreSQL's framing
  // tells the difference).
  Received receive(std::size_t limit = 0);

  // The peer is sending `left` bytes: the next readiness may come when many of them are there, or the stream ends, so that a large message takes few
  // turns of the loop. A hint; with TLS, and for little, nothing happens. Called again with less as they come in, and with 0 at their end.
  // https://man7.org/linux/man-pages/man7/socket.7.html (SO_RCVLOWAT)
  void expect_bytes(std::uint64_t left);

  // The same as receive(), into an empty conduit: at most `limit` bytes go there, and nothing is copied. Only where can_pass() says so: without
  // TLS, and not after receive_ahead(). EINVAL: the kernel cannot do it with this kind of socket.
  [[nodiscard]] bool can_pass() const;
  Passed receive_into(Conduit& conduit, std::size_t limit);
  // The same as send(), of what the conduit holds. Not with TLS.
  Result<std::size_t> send_from(Conduit& conduit);
  [[nodiscard]] bool has_tls() const { return ssl_ != nullptr; }

  // Sends what the kernel takes now; returns how many bytes, 0 at once if !can_send(). Fewer than asked: can_send() is
  // false until the next writable edge. With io_uring small sends are copied, and made together at the end of the
  // loop's turn; that one failed is said by the next send(). After a short send over TLS the next send() begins with the
  // same unsent bytes, and not fewer of them (OpenSSL may hold a record of them). An error spoils the connection.
  Result<std::size_t> send(ByteView bytes);
  [[nodiscard]] bool can_send() const { return writable_; }
  // The peer closed its side or the connection broke (EPOLLRDHUP, EPOLLHUP, EPOLLERR); buffered bytes may remain.
  [[nodiscard]] bool hung_up() const { return hung_up_; }

  // Gives the registration up without closing: the descriptor can be attached to another loop. Keeps TLS, tag and
  // waiter (change it before the new loop runs into the old one's). When it returns, no loop touches this socket any
  // more.
  void detach();
  // Registers a detached socket with `loop` (any thread, if nobody waits on it yet); readiness is re-learned from the
  // kernel: until the loop's next turn may_receive() is false even if bytes wait. May be called from a thread other
  // than the loop's, which then leaves the socket to the loop. On failure it stays detached.
  Result<void> attach_to(Loop& loop);
  // Gives the descriptor itself back; the socket is empty afterwards.
  int release();
  // shutdown(SHUT_RDWR): wakes whoever waits at either end; the descriptor stays open.
  void shutdown();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] Loop* loop() const { return loop_; }

 private:
  friend class Loop;
  friend class Ring;
  enum class Via : std::uint8_t { epoll, told, streamed, stopping };  // stopping: streamed, which is being cancelled

  void on_events(std::uint32_t events);  // under the registration's lock
  void listen_for_writable(bool wanted);
  void reset_readiness();
  void block_sending();
  Received receive_tls(std::size_t limit);
  Received stop_reading_tls(int result, std::size_t have);
  Result<std::size_t> send_tls(ByteView bytes);
  Result<void> stop_writing_tls(int result);

  Received receive_now(std::size_t limit);
  [[nodiscard]] Error sending_failed() const;
  Result<std::size_t> send_now(ByteView bytes);

  // io_uring (socket_ring.cpp)
  void register_with(Ring& ring);
  void deregister_from(Ring& ring);
  void ask(Ring& ring, bool poll_once_more, unsigned events, std::uint64_t data);
  void cancel(Ring& ring, std::uint64_t data);
  bool on_completion(Ring& ring, std::uint64_t data, int result, std::uint32_t flags);  // under the lock; news?
  bool on_told(Ring& ring, int result, std::uint32_t flags);
  bool on_writable(int result);
  bool on_received(Ring& ring, int result, std::uint32_t flags);
  void on_stream_over(Ring& ring, int result);
  void on_short_send(int result);
  void start_streaming(Ring& ring);
  void stop_streaming(Ring& ring);
  void drop_pieces(Ring& ring);
  Received receive_streamed(std::size_t limit);
  Result<std::size_t> send_gathered(ByteView bytes);
  void flush();  // what is gathered, by a system call

  Loop* loop_ = nullptr;
  Waiter* waiter_ = nullptr;
  SSL* ssl_ = nullptr;
  std::uint64_t tag_ = 0;
  RegistrationId registration_;  // in the loop's table
  int fd_ = -1;
  bool readable_ = false;
  bool writable_ = false;
  bool hung_up_ = false;
  bool listens_for_writable_ = false;  // EPOLLOUT is registered
  int low_water_ = 1;            // SO_RCVLOWAT
  bool tls_read_wants_write_ = false;
  bool tls_write_wants_read_ = false;

  Via via_ = Via::epoll;
  bool ahead_ = false;   // receive_ahead() was called
  bool ended_ = false;   // streamed: the end or stream_error_ comes after the pieces
  std::uint8_t pieces_ = 0;
  std::uint16_t first_piece_ = 0xffff;
  std::uint16_t last_piece_ = 0xffff;
  int stream_error_ = 0;
  int send_error_ = 0;
  std::unique_ptr<SendBlock> block_;
};

// Listening descriptors, non-blocking, close-on-exec. `reuse_port`: several workers listen on the same port.
// `address`: an IPv4 or IPv6 address, "*" (every address of both families), "::" (IPv6 only, as in PostgreSQL) or a
// host name (its first address that can be bound, IPv4 before IPv6; asking DNS blocks). Port 0: the kernel chooses, see
// local_port().
[[nodiscard]] Result<int> listen_tcp(const std::string& address, std::uint16_t port, bool reuse_port);
// Replaces a stale socket; refuses one that is alive, and anything that is no socket. Everybody may connect (mode 0777
// whatever the umask, as PostgreSQL's unix_socket_permissions). The caller removes the file when it stops.
// https://www.postgresql.org/docs/15/runtime-config-connection.html
[[nodiscard]] Result<int> listen_unix(const std::string& path);
[[nodiscard]] Result<std::uint16_t> local_port(int fd);
// One accepted connection (non-blocking, close-on-exec; TCP: TCP_NODELAY, keepalive, inherited from the listener);
// none: nobody waits. Errors of a single connection (ECONNABORTED) are skipped. Out of descriptors or memory: an error;
// the connection stays in the queue, so pause accepting for a while. Any thread.
[[nodiscard]] Result<std::optional<int>> accept_one(int listener);
// Who is at the other end, for logs and SHOW CLIENTS: address and port, or "unix" and the process. "unknown" if the
// kernel no longer says.
struct PeerName {
  std::string address;
  std::uint16_t port = 0;
  int pid = 0;  // unix sockets only
};
[[nodiscard]] PeerName peer_name(int fd);
// The same of this end.
[[nodiscard]] PeerName local_name(int fd);

}  // namespace weir::net
