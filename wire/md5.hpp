// MD5 authentication, both ways. https://www.postgresql.org/docs/15/auth-password.html
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weir::wire {

using Md5Salt = std::array<std::uint8_t, 4>;

// "md5" and 32 hexadecimal digits, as pg_authid.rolpassword holds it.
[[nodiscard]] bool is_md5_secret(std::string_view text);
// The secret of a plain password. none: this OpenSSL refuses MD5 (FIPS).
[[nodiscard]] std::optional<std::string> md5_secret(std::string_view password, std::string_view user);
// What PasswordMessage says for the server's salt.
[[nodiscard]] std::optional<std::string> md5_response(std::string_view secret, const Md5Salt& salt);
[[nodiscard]] Md5Salt random_md5_salt();
// In time that depends on the sizes alone.
[[nodiscard]] bool equal_secrets(std::string_view a, std::string_view b);

}  // namespace weir::wire
