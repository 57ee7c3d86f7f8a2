// What OpenSSL asks of a ServerTls in its handshake. Private to net/.
#pragma once

#include <openssl/types.h>

namespace weir::net {

void set_callbacks(SSL_CTX* context);
void ask_for_certificate(SSL_CTX* context, bool demanded);

}  // namespace weir::net
