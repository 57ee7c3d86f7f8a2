#include "proxy/client_tls.hpp"

namespace weir::proxy {

namespace {

// verify-full asks no more than verify-ca: a server has no name to expect of its client.
bool demands_certificate(config::TlsMode mode) {
  return mode == config::TlsMode::verify_ca || mode == config::TlsMode::verify_full;
}

}  // namespace

Result<std::shared_ptr<const net::TlsContext>> load_client_tls(const config::Tls& tls) {
  if (tls.client == config::TlsMode::disable || tls.certificate.empty()) return std::shared_ptr<const net::TlsContext>();
  return net::TlsContext::load({tls.certificate, tls.key, tls.ca, tls.ciphers,
                                tls.min_version == config::TlsVersion::tls_1_3, demands_certificate(tls.client)});
}

bool demands_tls(const config::Tls& tls) {
  return tls.client == config::TlsMode::require || demands_certificate(tls.client);
}

}  // namespace weir::proxy
