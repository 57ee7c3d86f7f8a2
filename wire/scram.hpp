// SCRAM-SHA-256, the server's side. No sockets; randomness comes from OpenSSL.
// https://www.postgresql.org/docs/15/sasl-authentication.html, RFC 5802, RFC 7677
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.hpp"

namespace weir::wire {

// What PostgreSQL stores in pg_authid: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
struct ScramSecret {
  std::uint32_t iterations = 4096;
  std::string salt;                          // raw bytes
  std::array<std::uint8_t, 32> stored_key{};
  std::array<std::uint8_t, 32> server_key{};

  // Fails on anything malformed (28P01 is the caller's to say).
  static Result<ScramSecret> parse(std::string_view text);
  // From a plain password (SASLprep where it is valid UTF-8, else as is: as PostgreSQL does), with a random salt.
  static ScramSecret from_password(std::string_view password, std::uint32_t iterations = 4096);
  // For an unknown user: a secret nothing matches, its salt derived from `user` and `key`, so that the name's absence does not show.
  static ScramSecret mock(std::string_view user, std::string_view key);
};

// One authentication. first() takes the client-first-message and gives the server-first-message; final() takes the
// client-final-message and gives the server-final-message, or fails with 28P01. Channel binding: none here ("n", "y" and "biws"/"eSws").
class ScramServer {
 public:
  explicit ScramServer(ScramSecret secret) : secret_(std::move(secret)) {}

  [[nodiscard]] Result<std::string> first(std::string_view client_first);
  [[nodiscard]] Result<std::string> final(std::string_view client_final);

 private:
  ScramSecret secret_;
  std::string gs2_header_, client_first_bare_, server_first_, nonce_;
};

}  // namespace weir::wire
