// Socket's TLS half: OpenSSL over a non-blocking descriptor.
// https://www.openssl.org/docs/man3.0/man3/SSL_get_error.html
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "base/strings.hpp"
#include "net/loop_impl.hpp"
#include "net/socket.hpp"

namespace weir::net {

namespace {

int as_int(std::size_t n) { return static_cast<int>(std::min<std::size_t>(n, INT_MAX)); }

// SSL_get_error() reads the thread's error queue, which another connection may have left full.
void forget_old_errors() {
  ERR_clear_error();
  errno = 0;
}

// A close without close_notify. OpenSSL 3 calls it a protocol error, a foreign BIO a system call without an error.
bool is_bare_end(int ssl_error, int system_error) {
  if (ssl_error == SSL_ERROR_SYSCALL) return system_error == 0;
  return ssl_error == SSL_ERROR_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

Error write_failed(int fd, int system_error) {
  const unsigned long code = ERR_peek_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  Error error(sqlstate::kConnectionFailure,
              concat("sending over TLS to descriptor ", std::to_string(fd),
                     " failed: ", reason != nullptr ? reason : std::strerror(system_error)),
              "The peer closed the connection or broke the TLS protocol.");
  error.connection_spoilt = true;
  return error;
}

}  // namespace

void Socket::use_tls(SSL* ssl) {
  if (block_ != nullptr) flush();
  ssl_ = ssl;
  SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_set_read_ahead(ssl, 1);  // a record's header and body in one system call
  readable_ = true;            // the handshake may have read further than its own last byte
}

Received Socket::receive_tls(std::size_t limit) {
  const Loop::Impl& impl = *loop_->impl_;
  const std::size_t size = limit == 0 ? impl.buffer_size : std::min(limit, impl.buffer_size);
  std::size_t have = 0;
  // Until OpenSSL asks for more bytes: only then the next edge is certain to come.
  while (have < size) {
    forget_old_errors();
    const int n = SSL_read(ssl_, impl.buffer.get() + have, as_int(size - have));
    if (std::exchange(tls_write_wants_read_, false)) writable_ = true;
    if (n <= 0) return stop_reading_tls(n, have);
    have += static_cast<std::size_t>(n);
  }
  return {Received::Kind::data, {impl.buffer.get(), have}, 0};
}

Received Socket::stop_reading_tls(int result, std::size_t have) {
  const int system_error = errno;
  const int ssl_error = SSL_get_error(ssl_, result);
  if (ssl_error == SSL_ERROR_WANT_READ) readable_ = false;
  if (ssl_error == SSL_ERROR_WANT_WRITE) {  // an answer of the protocol itself does not fit
    readable_ = false;
    tls_read_wants_write_ = true;
    listen_for_writable(true);
  }
  if (have > 0) return {Received::Kind::data, {loop_->impl_->buffer.get(), have}, 0};  // the rest is told next time
  if (!readable_) return {};
  if (ssl_error == SSL_ERROR_ZERO_RETURN || is_bare_end(ssl_error, system_error)) return {Received::Kind::end, {}, 0};
  return {Received::Kind::failed, {}, system_error != 0 ? system_error : EPROTO};
}

Result<std::size_t> Socket::send_tls(ByteView bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    forget_old_errors();
    const int n = SSL_write(ssl_, bytes.data() + sent, as_int(bytes.size() - sent));
    if (n <= 0) {
      if (auto stopped = stop_writing_tls(n); !stopped) return stopped.take_error();
      return sent;
    }
    sent += static_cast<std::size_t>(n);
  }
  return sent;
}

Result<void> Socket::stop_writing_tls(int result) {
  const int system_error = errno;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_WRITE:
      block_sending();
      return {};
    case SSL_ERROR_WANT_READ:  // goes on after a readable edge, or after a receive() if the bytes are here already
      writable_ = false;
      tls_write_wants_read_ = true;
      return {};
    default:
      return write_failed(fd_, system_error);
  }
}

}  // namespace weir::net
