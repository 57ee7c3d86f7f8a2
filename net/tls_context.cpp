#include "net/tls_context.hpp"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/strings.hpp"
#include "net/server_tls.hpp"
#include "net/tls_callbacks.hpp"

namespace weir::net {

namespace {

// The oldest of OpenSSL's reasons, which is the one nearest to the file.
std::string reason() {
  const unsigned long code = ERR_peek_error();
  const char* text = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return text != nullptr ? text : "OpenSSL gives no reason";
}

Error bad(std::string_view key, const std::string& file, std::string_view why, const char* hint) {
  return {sqlstate::kConfigFile, concat(key, ": ", file, ": ", why), hint};
}

Result<void> check_readable(std::string_view key, const std::string& file) {
  if (access(file.c_str(), R_OK) == 0) return {};
  return bad(key, file, std::strerror(errno), "Name a PEM file that the user of weir may read.");
}

// As PostgreSQL refuses it: the key is a secret of the server alone.
Result<void> check_private(const std::string& file) {
  struct stat found {};
  if (stat(file.c_str(), &found) != 0)
    return bad("tls.key", file, std::strerror(errno), "Name the PEM file of the certificate's private key.");
  if (!S_ISREG(found.st_mode)) return bad("tls.key", file, "is not a regular file", "Name the PEM file itself.");
  const bool ours = found.st_uid == geteuid();
  if (!ours && found.st_uid != 0)
    return bad("tls.key", file, "belongs to another user", "It must belong to the user of weir, or to root.");
  const mode_t forbidden = found.st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
  if ((found.st_mode & forbidden) != 0)
    return bad("tls.key", file, "is readable by its group or by everybody",
               "chmod 0600 it (0640 if it belongs to root).");
  return check_readable("tls.key", file);
}

// A key with a passphrase fails, rather than asking a terminal for it.
int no_passphrase(char*, int, int, void*) { return -1; }

}  // namespace

TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsContext>> TlsContext::load(const TlsFiles& files) {
  ERR_clear_error();
  SSL_CTX* made = SSL_CTX_new(TLS_server_method());
  if (made == nullptr) return Error(sqlstate::kInternal, concat("cannot create a TLS context: ", reason()));
  const std::shared_ptr<TlsContext> context(new TlsContext(made));
  if (auto used = context->use_rules(files); !used) return used.take_error();
  if (auto used = context->use_files(files); !used) return used.take_error();
  if (auto used = context->use_ca(files); !used) return used.take_error();
  context->hash_certificate();
  return std::shared_ptr<const TlsContext>(context);
}

// Sessions are not resumed (neither tickets nor a cache) and nothing is renegotiated, as in PostgreSQL; an idle
// connection keeps no buffers.
Result<void> TlsContext::use_rules(const TlsFiles& files) {
  SSL_CTX_set_options(context_, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_SINGLE_DH_USE | SSL_OP_SINGLE_ECDH_USE);
  SSL_CTX_set_num_tickets(context_, 0);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(context_,
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_dh_auto(context_, 1);
  SSL_CTX_set_default_passwd_cb(context_, &no_passphrase);
  set_callbacks(context_);
  SSL_CTX_set_min_proto_version(context_, files.tls_1_3_only ? TLS1_3_VERSION : TLS1_2_VERSION);
  if (!files.ciphers.empty() && SSL_CTX_set_cipher_list(context_, files.ciphers.c_str()) != 1)
    return Error(sqlstate::kConfigFile, concat("tls.ciphers: \"", files.ciphers, "\" names no cipher that OpenSSL knows"),
                 "See openssl ciphers -v.");
  return {};
}

Result<void> TlsContext::use_files(const TlsFiles& files) {
  if (auto readable = check_readable("tls.certificate", files.certificate); !readable) return readable;
  if (SSL_CTX_use_certificate_chain_file(context_, files.certificate.c_str()) != 1)
    return bad("tls.certificate", files.certificate, reason(), "Expected a certificate in PEM.");
  if (auto is_private = check_private(files.key); !is_private) return is_private;
  ERR_clear_error();
  if (SSL_CTX_use_PrivateKey_file(context_, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    const bool other = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
                       ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH;
    return other ? bad("tls.key", files.key, concat("is not the key of the certificate ", files.certificate),
                       "Give the certificate and the key that belong together.")
                 : bad("tls.key", files.key, reason(), "Expected a private key in PEM, without a passphrase.");
  }
  if (SSL_CTX_check_private_key(context_) != 1)
    return bad("tls.key", files.key, concat("is not the key of the certificate ", files.certificate),
               "Give the certificate and the key that belong together.");
  return {};
}

// A client's certificate is asked for where an authority is given. Unless it is demanded, an invalid one only counts as
// none (PgBouncer's allow, prefer and require do not validate it).
Result<void> TlsContext::use_ca(const TlsFiles& files) {
  if (files.ca.empty()) {
    if (!files.demand_certificate) return {};
    return Error(sqlstate::kConfigFile, "tls.ca: missing: client certificates are demanded and nothing says whose",
                 "Name the PEM file of the authority that signs them.");
  }
  if (auto readable = check_readable("tls.ca", files.ca); !readable) return readable;
  ERR_clear_error();
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.ca.c_str());
  if (names == nullptr || SSL_CTX_load_verify_file(context_, files.ca.c_str()) != 1) {
    sk_X509_NAME_pop_free(names, &X509_NAME_free);
    return bad("tls.ca", files.ca, reason(), "Expected certificates of authorities in PEM.");
  }
  SSL_CTX_set_client_CA_list(context_, names);
  ask_for_certificate(context_, files.demand_certificate);
  return {};
}

// https://www.rfc-editor.org/rfc/rfc5929#section-4.1
void TlsContext::hash_certificate() {
  X509* certificate = SSL_CTX_get0_certificate(context_);
  int hash = NID_undef;
  if (X509_get_signature_info(certificate, &hash, nullptr, nullptr, nullptr) != 1 || hash == NID_undef) return;
  const EVP_MD* algorithm = hash == NID_md5 || hash == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(hash);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (algorithm == nullptr || X509_digest(certificate, algorithm, digest.data(), &size) != 1) return;
  server_end_point_.assign(reinterpret_cast<const char*>(digest.data()), size);
}

}  // namespace weir::net
