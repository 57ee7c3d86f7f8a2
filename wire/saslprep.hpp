// Normalisation of passwords before they are hashed. Internal to wire/.
#pragma once

#include <string>
#include <string_view>

namespace weir::wire {

// SASLprep (RFC 4013) by PostgreSQL's own pg_saslprep(), so that a secret made here is the one libpq and CREATE ROLE
// make. As there, a password that is not valid UTF-8 or contains what SASLprep prohibits is used as it is.
[[nodiscard]] std::string saslprep(std::string_view password);

}  // namespace weir::wire
