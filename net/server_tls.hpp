// ServerTls: TLS of one client's connection, from the first byte of its handshake on: our side is the server's.
//
// The handshake goes in steps, each of which takes what is there and never blocks, but may cost a millisecond of CPU (a
// signature): they are made for a thread of their own, while the loop's thread waits for them and leaves ServerTls and
// the descriptor alone. Afterwards Socket::use_tls(get()) takes over, on the loop's thread.
#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "net/tls_context.hpp"

namespace weir::net {

class ServerTls {
 public:
  enum class Step : std::uint8_t { done, wants_read, wants_write, failed };

  // `fd` is not owned. `already_read`: what was taken off it before it was known to be TLS (direct TLS); else empty.
  // `alpn_required`: a client that does not offer "postgresql" is refused (no_application_protocol), as PostgreSQL 17
  // does for direct TLS. Otherwise ALPN is answered where it is offered.
  ServerTls(std::shared_ptr<const TlsContext> context, int fd, ByteView already_read, bool alpn_required);
  ~ServerTls();
  ServerTls(const ServerTls&) = delete;
  ServerTls& operator=(const ServerTls&) = delete;

  // Goes on with the handshake until it needs the peer. Any one thread at a time.
  Step handshake();
  // The descriptor is about to be closed: waits for a running step, and lets none begin. Any thread.
  void abandon();
  // Why it failed, for the log.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  // Says close_notify, if the connection is in a state to say it. Loop's thread, after the handshake.
  void close();

  // --- after the handshake ---
  [[nodiscard]] SSL* get() const { return ssl_; }
  // "TLSv1.3/TLS_AES_256_GCM_SHA384", as PgBouncer's SHOW CLIENTS has it.
  [[nodiscard]] std::string description() const;
  // The client's certificate, if it sent one and it is valid by tls.ca; else empty. The common name, and the whole
  // subject as RFC 2253 writes it ("CN=app,O=Example"), which is what PostgreSQL's clientname=DN compares.
  [[nodiscard]] const std::string& peer_cn() const { return peer_cn_; }
  [[nodiscard]] const std::string& peer_dn() const { return peer_dn_; }
  [[nodiscard]] bool has_verified_peer() const { return peer_verified_; }
  // See TlsContext::server_end_point().
  [[nodiscard]] std::string_view server_end_point() const { return context_->server_end_point(); }

 private:
  friend struct TlsBio;
  friend struct TlsCallbacks;
  Step step_after(int result);
  Step finish();
  bool read_peer();

  std::shared_ptr<const TlsContext> context_;
  SSL* ssl_ = nullptr;
  int fd_;
  std::string already_read_;
  const bool alpn_required_;
  bool certificate_rejected_ = false;  // by the authority's rules; the handshake went on
  bool peer_verified_ = false;
  bool done_ = false;
  bool broken_ = false;
  std::mutex step_;
  std::string failure_, peer_cn_, peer_dn_;
};

}  // namespace weir::net
