// ServerLink: a connected descriptor to a PostgreSQL server with its TLS, before and after the login. Everything here blocks, to a
// deadline: for connector threads. A finished login's descriptor is then driven by net::Socket.
// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-PARAMKEYWORDS (the parameters are libpq's)
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>

#include "base/bytes.hpp"
#include "base/deadline.hpp"
#include "base/result.hpp"
#include "pool/backend.hpp"

typedef struct ssl_st SSL;

namespace weir::pool {

// Where a connection leads: one of the addresses of its host.
struct ServerAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  [[nodiscard]] bool is_unix() const { return storage.ss_family == AF_UNIX; }
};

// Move-only owner; non-blocking descriptor.
class ServerLink {
 public:
  ServerLink() = default;
  ServerLink(int fd, const ServerAddress& address) : fd_(fd), address_(address) {}
  ServerLink(ServerLink&& other) noexcept;
  ServerLink& operator=(ServerLink&& other) noexcept;
  ~ServerLink();   // closes, without a word to the server

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }   // null: no TLS
  [[nodiscard]] const ServerAddress& address() const { return address_; }
  // The descriptor was closed by somebody else.
  void forget_descriptor() { fd_ = -1; }
  // TLS from here on, as `params` (sslmode, sslrootcert, sslcert ...) ask; the server has agreed to it.
  [[nodiscard]] Result<void> start_tls(const ConnParams& params, Deadline deadline);
  // Hash of the server's certificate for SCRAM-SHA-256-PLUS (RFC 5929, tls-server-end-point); empty: none.
  [[nodiscard]] std::string binding_data() const;

  [[nodiscard]] Result<void> send(ByteView bytes, Deadline deadline);
  // Appends what comes next, at least one byte. `limit`: no more than so many bytes.
  [[nodiscard]] Result<void> receive(ByteBuffer& into, Deadline deadline, std::size_t limit = 8192);

 private:
  [[nodiscard]] Result<void> wait(short events, Deadline deadline, std::string_view what) const;
  [[nodiscard]] Result<void> wait_for_tls(int result, Deadline deadline, std::string_view what) const;

  struct SslDeleter {
    void operator()(SSL* ssl) const noexcept;
  };
  int fd_ = -1;
  ServerAddress address_;
  std::unique_ptr<SSL, SslDeleter> ssl_;
};

// How a connection begins. if_offered: TLS where the server has it.
enum class TlsUse : std::uint8_t { never, if_offered, must };

// Connects to the host (or hostaddr) and port of `params`: each address in turn until one answers. Errors are 08006 and spoil the
// connection; they name host and port.
[[nodiscard]] Result<ServerLink> open_link(const ConnParams& params, Deadline deadline);
// The same to one address: a cancel request must reach the server that the login reached.
[[nodiscard]] Result<ServerLink> open_link_to(const ServerAddress& address, const ConnParams& params, Deadline deadline);
// Asks for TLS as `tls` says (never over a unix socket) and shakes hands.
[[nodiscard]] Result<void> negotiate_tls(ServerLink& link, const ConnParams& params, TlsUse tls, Deadline deadline);
// For poll(); -1: for ever.
[[nodiscard]] int milliseconds_left(Deadline deadline);
// "10.0.0.1:5432", for messages.
[[nodiscard]] std::string host_and_port(const ConnParams& params);

}  // namespace weir::pool
