// ServerLink's TLS: libpq's ssl* parameters by OpenSSL. Nothing is read from the home folder.
// https://www.postgresql.org/docs/15/libpq-ssl.html
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "base/strings.hpp"
#include "pool/server_link.hpp"

namespace weir::pool {

namespace {

using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;

Error refused(std::string message, std::string hint = {}) {
  const unsigned long code = ERR_peek_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  if (reason != nullptr) message = concat(message, ": ", reason);
  Error e(sqlstate::kConnectionFailure, std::move(message), std::move(hint));
  e.connection_spoilt = true;
  return e;
}

bool is_ip_literal(const std::string& host) {
  unsigned char address[16];
  return ::inet_pton(AF_INET, host.c_str(), address) == 1 || ::inet_pton(AF_INET6, host.c_str(), address) == 1;
}

int version_of(std::string_view name) {
  const std::string lower = ascii_lower(name);
  if (lower == "tlsv1") return TLS1_VERSION;
  if (lower == "tlsv1.1") return TLS1_1_VERSION;
  if (lower == "tlsv1.3") return TLS1_3_VERSION;
  return TLS1_2_VERSION;
}

int give_password(char* buffer, int size, int, void* password) {
  const auto& text = *static_cast<const std::string*>(password);
  const int n = static_cast<int>(text.copy(buffer, static_cast<std::size_t>(std::max(size - 1, 0))));
  buffer[n] = '\0';
  return n;
}

Result<void> set_versions(SSL_CTX* context, const ConnParams& params) {
  const std::string_view lowest = get(params, "ssl_min_protocol_version"), highest = get(params, "ssl_max_protocol_version");
  if (SSL_CTX_set_min_proto_version(context, version_of(lowest)) != 1) return refused("ssl_min_protocol_version");
  if (!highest.empty() && SSL_CTX_set_max_proto_version(context, version_of(highest)) != 1) return refused("ssl_max_protocol_version");
  return {};
}

Result<void> load_own_certificate(SSL_CTX* context, const ConnParams& params) {
  const std::string certificate(get(params, "sslcert")), key(get(params, "sslkey"));
  if (certificate.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) return refused(concat("sslcert ", certificate, " cannot be read"));
  std::string password(get(params, "sslpassword"));
  SSL_CTX_set_default_passwd_cb(context, give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context, &password);
  const std::string& file = key.empty() ? certificate : key;
  const bool loaded = SSL_CTX_use_PrivateKey_file(context, file.c_str(), SSL_FILETYPE_PEM) == 1 && SSL_CTX_check_private_key(context) == 1;
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  if (!loaded) return refused(concat("sslkey ", file, " cannot be used"));
  return {};
}

// As libpq does: a given sslrootcert is verified against in every mode.
Result<bool> load_authorities(SSL_CTX* context, const ConnParams& params) {
  const std::string roots(get(params, "sslrootcert")), revoked(get(params, "sslcrl")), folder(get(params, "sslcrldir"));
  const std::string_view mode = get(params, "sslmode");
  if (roots.empty()) {
    if (!mode.starts_with("verify")) return false;
    return refused(concat("sslmode=", mode, " needs sslrootcert"), "Add sslrootcert=<file> to the connection string.");
  }
  if (SSL_CTX_load_verify_locations(context, roots.c_str(), nullptr) != 1) return refused(concat("sslrootcert ", roots, " cannot be read"));
  if (revoked.empty() && folder.empty()) return true;
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  if (X509_STORE_load_locations(store, revoked.empty() ? nullptr : revoked.c_str(), folder.empty() ? nullptr : folder.c_str()) != 1)
    return refused("sslcrl or sslcrldir cannot be read");
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return true;
}

Result<void> expect_name(SSL* ssl, const ConnParams& params) {
  const std::string host(get(params, "host"));
  const bool literal = is_ip_literal(host);
  if (!host.empty() && !literal && get(params, "sslsni") != "0") SSL_set_tlsext_host_name(ssl, host.c_str());
  if (get(params, "sslmode") != "verify-full") return {};
  if (host.empty()) return refused("sslmode=verify-full needs host, the name in the certificate");
  const bool set = literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1 : SSL_set1_host(ssl, host.c_str()) == 1;
  if (!set) return refused("the server's name cannot be verified");
  return {};
}

}  // namespace

Result<void> ServerLink::start_tls(const ConnParams& params, Deadline deadline) {
  ERR_clear_error();
  const Context context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
  if (!context) return refused("TLS cannot be set up");
  if (auto set = set_versions(context.get(), params); !set) return set;
  if (auto loaded = load_own_certificate(context.get(), params); !loaded) return loaded;
  auto verified = load_authorities(context.get(), params);
  if (!verified) return verified.take_error();
  ssl_.reset(SSL_new(context.get()));
  if (!ssl_ || SSL_set_fd(ssl_.get(), fd_) != 1) return refused("TLS cannot be set up");
  SSL_set_verify(ssl_.get(), *verified ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (auto expected = expect_name(ssl_.get(), params); !expected) return expected;
  for (;;) {
    ERR_clear_error();
    const int result = SSL_connect(ssl_.get());
    if (result == 1) return {};
    if (auto waited = wait_for_tls(result, deadline, "the TLS handshake"); !waited) return waited;
  }
}

// The certificate's own signature hash, MD5 and SHA-1 replaced by SHA-256. https://www.rfc-editor.org/rfc/rfc5929#section-4.1
std::string ServerLink::binding_data() const {
  if (!ssl_) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl_.get()), &X509_free);
  int digest = NID_undef;
  if (!certificate || X509_get_signature_info(certificate.get(), &digest, nullptr, nullptr, nullptr) != 1) return {};
  const EVP_MD* hash = digest == NID_md5 || digest == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(digest);
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (hash == nullptr || X509_digest(certificate.get(), hash, bytes, &size) != 1) return {};
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace weir::pool
