// Password secrets as pg_authid.rolpassword holds them.
// https://www.postgresql.org/docs/15/catalog-pg-authid.html
#pragma once

#include <string>
#include <string_view>

namespace weir::config {

enum class SecretKind { plain, md5, scram };
[[nodiscard]] SecretKind secret_kind(std::string_view password);

// What is wrong with a users file's password: a SCRAM secret cut short; empty: nothing (any other text is a plain password). The answer never
// repeats the password.
[[nodiscard]] std::string password_mistake(std::string_view password);

}  // namespace weir::config
