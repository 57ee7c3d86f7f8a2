#include "net/server_tls.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/strings.hpp"
#include "net/tls_callbacks.hpp"

namespace weir::net {

namespace {

constexpr std::string_view kAlpn("\x0apostgresql", 11);  // length, then name

ServerTls* owner_of(const SSL* ssl) { return static_cast<ServerTls*>(SSL_get_app_data(ssl)); }

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

// The descriptor as OpenSSL sees it: what was read before it, then the descriptor; sends raise no SIGPIPE.
struct TlsBio {
  static int read(BIO* bio, char* into, int size) {
    auto& tls = *static_cast<ServerTls*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (std::string& kept = tls.already_read_; !kept.empty()) {
      const std::size_t n = std::min(kept.size(), static_cast<std::size_t>(size));
      std::memcpy(into, kept.data(), n);
      kept.erase(0, n);
      if (kept.empty()) std::string().swap(kept);
      return static_cast<int>(n);
    }
    ssize_t n;
    do {
      n = ::recv(tls.fd_, into, static_cast<std::size_t>(size), 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && would_block(errno)) BIO_set_retry_read(bio);
    return static_cast<int>(n);
  }

  static int write(BIO* bio, const char* from, int size) {
    auto& tls = *static_cast<ServerTls*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    ssize_t n;
    do {
      n = ::send(tls.fd_, from, static_cast<std::size_t>(size), MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && would_block(errno)) BIO_set_retry_write(bio);
    return static_cast<int>(n);
  }

  static long control(BIO*, int what, long, void*) { return what == BIO_CTRL_FLUSH ? 1 : 0; }

  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir client");
      BIO_meth_set_read(m, &TlsBio::read);
      BIO_meth_set_write(m, &TlsBio::write);
      BIO_meth_set_ctrl(m, &TlsBio::control);
      return m;
    }();
    return made;
  }
};

struct TlsCallbacks {
  // https://www.postgresql.org/docs/17/protocol-flow.html#PROTOCOL-FLOW-SSL
  static int hello(SSL* ssl, int* alert, void*) {
    const unsigned char* offered = nullptr;
    std::size_t size = 0;
    if (!owner_of(ssl)->alpn_required_ ||
        SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &offered, &size) == 1)
      return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
  }

  static int alpn(SSL*, const unsigned char** chosen, unsigned char* chosen_size, const unsigned char* offered,
                  unsigned offered_size, void*) {
    unsigned char* found = nullptr;
    const auto* ours = reinterpret_cast<const unsigned char*>(kAlpn.data());
    if (SSL_select_next_proto(&found, chosen_size, ours, kAlpn.size(), offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    *chosen = found;
    return SSL_TLSEXT_ERR_OK;
  }

  static int verify(int ok, X509_STORE_CTX* store) {
    if (ok == 1) return 1;
    auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    if ((SSL_get_verify_mode(ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) != 0) return 0;
    owner_of(ssl)->certificate_rejected_ = true;
    return 1;
  }
};

void set_callbacks(SSL_CTX* context) {
  SSL_CTX_set_client_hello_cb(context, &TlsCallbacks::hello, nullptr);
  SSL_CTX_set_alpn_select_cb(context, &TlsCallbacks::alpn, nullptr);
}

void ask_for_certificate(SSL_CTX* context, bool demanded) {
  SSL_CTX_set_verify(context,
                     SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE | (demanded ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     &TlsCallbacks::verify);
}

ServerTls::ServerTls(std::shared_ptr<const TlsContext> context, int fd, ByteView already_read, bool alpn_required)
    : context_(std::move(context)), fd_(fd), already_read_(as_text(already_read)), alpn_required_(alpn_required) {
  ssl_ = SSL_new(context_->get());
  BIO* bio = ssl_ != nullptr ? BIO_new(TlsBio::method()) : nullptr;
  if (bio == nullptr) {
    broken_ = true;
    failure_ = "out of memory";
    return;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_accept_state(ssl_);
}

ServerTls::~ServerTls() { SSL_free(ssl_); }

void ServerTls::abandon() {
  const std::lock_guard lock(step_);
  broken_ = true;
}

ServerTls::Step ServerTls::handshake() {
  const std::lock_guard lock(step_);
  if (broken_) return Step::failed;
  ERR_clear_error();
  errno = 0;
  return step_after(SSL_do_handshake(ssl_));
}

ServerTls::Step ServerTls::step_after(int result) {
  if (result == 1) return finish();
  const int system_error = errno;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return Step::wants_read;
    case SSL_ERROR_WANT_WRITE:
      return Step::wants_write;
    default:
      break;
  }
  broken_ = true;
  const unsigned long code = ERR_peek_error();
  const char* text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED)
    text = X509_verify_cert_error_string(SSL_get_verify_result(ssl_));
  failure_ = text != nullptr          ? text
             : system_error != 0 ? std::strerror(system_error)
                                 : "the client closed the connection";
  return Step::failed;
}

ServerTls::Step ServerTls::finish() {
  done_ = true;
  if (read_peer()) return Step::done;
  broken_ = true;
  return Step::failed;
}

namespace {

// A name with a NUL inside could show one identity here and another one elsewhere.
bool text_of(const ASN1_STRING* value, std::string& out) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, value);
  if (size < 0) return false;
  out.assign(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return out.find('\0') == std::string::npos;
}

bool common_name(const X509_NAME* subject, std::string& out) {
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  return at < 0 || text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)), out);
}

std::string whole_name(const X509_NAME* subject) {
  std::string text;
  if (BIO* memory = BIO_new(BIO_s_mem()); memory != nullptr) {
    char* data = nullptr;
    if (X509_NAME_print_ex(memory, subject, 0, XN_FLAG_RFC2253) >= 0)
      if (const long size = BIO_get_mem_data(memory, &data); size > 0) text.assign(data, static_cast<std::size_t>(size));
    BIO_free(memory);
  }
  return text;
}

}  // namespace

bool ServerTls::read_peer() {
  const X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr || certificate_rejected_ || SSL_get_verify_result(ssl_) != X509_V_OK) return true;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  if (!common_name(subject, peer_cn_)) {
    failure_ = "the common name of the client's certificate contains a NUL or is no text";
    return false;
  }
  peer_dn_ = whole_name(subject);
  peer_verified_ = true;
  return true;
}

void ServerTls::close() {
  if (!done_ || broken_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

std::string ServerTls::description() const {
  return concat(SSL_get_version(ssl_), "/", SSL_get_cipher_name(ssl_));
}

}  // namespace weir::net
