// TlsContext: certificate, key and rules of the TLS that clients are offered. An immutable snapshot shared by every
// connection that began under it; a reload makes another one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

typedef struct ssl_ctx_st SSL_CTX;

namespace weir::net {

struct TlsFiles {
  std::string certificate;  // PEM: the server's, then the chain to its authority
  std::string key;          // PEM, without a passphrase; readable by its owner alone
  std::string ca;           // PEM: authorities of client certificates; empty: none is asked for
  std::string ciphers;      // OpenSSL's list, for TLS 1.2; empty: OpenSSL's default
  bool tls_1_3_only = false;        // else TLS 1.2 is spoken, too
  bool demand_certificate = false;  // a client without a valid certificate is refused in the handshake
};

class TlsContext {
 public:
  // Reads and checks the files; blocks. Fails (F0000) with the file's name and what is wrong with it: unreadable, no
  // PEM, a key of another certificate or with a passphrase, a key that others may read (PostgreSQL's rule: mode 0600 if
  // it is ours, 0640 if it is root's).
  // https://www.postgresql.org/docs/15/ssl-tcp.html
  static Result<std::shared_ptr<const TlsContext>> load(const TlsFiles& files);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // Channel binding "tls-server-end-point" of our certificate (RFC 5929: its hash by its own signature's algorithm, at
  // least SHA-256). Empty where none is defined (Ed25519): then SCRAM-SHA-256-PLUS is not offered.
  [[nodiscard]] std::string_view server_end_point() const { return server_end_point_; }

  [[nodiscard]] SSL_CTX* get() const { return context_; }

 private:
  explicit TlsContext(SSL_CTX* context) : context_(context) {}
  Result<void> use_files(const TlsFiles& files);
  Result<void> use_ca(const TlsFiles& files);
  Result<void> use_rules(const TlsFiles& files);
  void hash_certificate();

  SSL_CTX* context_;
  std::string server_end_point_;
};

}  // namespace weir::net
