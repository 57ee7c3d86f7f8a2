// What [tls] means for clients, with the words of PgBouncer's client_tls_sslmode.
// https://www.pgbouncer.org/config.html#tls-settings
#pragma once

#include <memory>

#include "base/result.hpp"
#include "config/settings.hpp"
#include "net/tls_context.hpp"

namespace weir::proxy {

// Reads the certificate and its key; blocks. Null where no TLS is offered: `disable`, or no certificate. Fails as
// TlsContext::load().
[[nodiscard]] Result<std::shared_ptr<const net::TlsContext>> load_client_tls(const config::Tls& tls);
// Clients without TLS are refused (but for unix sockets, and cancel requests).
[[nodiscard]] bool demands_tls(const config::Tls& tls);

}  // namespace weir::proxy
