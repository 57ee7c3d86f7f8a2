// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the server's side. No sockets; randomness comes from OpenSSL.
// https://www.postgresql.org/docs/15/sasl-authentication.html, RFC 5802, RFC 7677
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.hpp"

namespace weir::wire {

// What PostgreSQL stores in pg_authid: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>.
struct ScramSecret {
  std::uint32_t iterations = 4096;
  std::string salt;  // raw bytes
  std::array<std::uint8_t, 32> stored_key{};
  std::array<std::uint8_t, 32> server_key{};

  // Fails on anything malformed (28P01 is the caller's to say).
  static Result<ScramSecret> parse(std::string_view text);
  // From a plain password (SASLprep where it is valid UTF-8, else as is: as PostgreSQL does), with a random salt.
  // Costs one PBKDF2 (about 1 ms at 4096 rounds): at configuration load, not for each login.
  static ScramSecret from_password(std::string_view password, std::uint32_t iterations = 4096);
  // The same with a given salt (raw bytes).
  static ScramSecret derive(std::string_view password, std::string_view salt, std::uint32_t iterations);
  // For an unknown user: a secret nothing matches, its salt derived from `user` and `key`, so that the name's absence
  // does not show.
  static ScramSecret mock(std::string_view user, std::string_view key);
};

inline constexpr std::string_view kScramMechanism = "SCRAM-SHA-256";
inline constexpr std::string_view kScramPlusMechanism = "SCRAM-SHA-256-PLUS";

// What the connection's TLS allows. Channel binding is tls-server-end-point (RFC 5929): the hash of the server's certificate.
struct ChannelBinding {
  std::string data;    // empty: none is offered
  bool plus = false;   // the client chose SCRAM-SHA-256-PLUS
};

// One authentication: first() once, then final() once; the object is spent by the first failure. first() takes the
// client-first-message and gives the server-first-message; final() takes the client-final-message and gives the
// server-final-message. Errors: 28P01 for a wrong password (the message does not name the user: the caller knows it),
// 08P01 for a malformed or too long message or a wrong order, 0A000 for what is not supported (an authorization
// identity, an extension marked mandatory), 28000 where channel binding fails or was negotiated away ("y" though it was
// offered). The user name inside is ignored, as PostgreSQL ignores it: the startup packet's counts.
class ScramServer {
 public:
  // Longest message and longest client nonce taken; real drivers send 18 to 36 characters of nonce.
  static constexpr std::size_t kMaxMessage = 4096;
  static constexpr std::size_t kMaxClientNonce = 1024;

  // Without `server_nonce` a random one is made; a given one (printable, no comma) is for known vectors.
  explicit ScramServer(ScramSecret secret, ChannelBinding binding = {}, std::string server_nonce = {})
      : secret_(std::move(secret)), binding_(std::move(binding)), server_nonce_(std::move(server_nonce)) {}

  [[nodiscard]] Result<std::string> first(std::string_view client_first);
  [[nodiscard]] Result<std::string> final(std::string_view client_final);
  // After a good final(): what the client proved to know. With it the proxy logs in where the same secret is stored.
  [[nodiscard]] const std::array<std::uint8_t, 32>& client_key() const { return client_key_; }

 private:
  enum class State : std::uint8_t { expects_first, expects_final, spent };

  Result<void> read_client_first(std::string_view message, std::string_view& client_nonce);
  Result<void> take_gs2_header(std::string_view& text);
  [[nodiscard]] bool proof_matches(std::string_view proof, std::string_view auth_message);

  ScramSecret secret_;
  ChannelBinding binding_;
  std::string server_nonce_;
  std::string channel_binding_;  // what c= must say
  std::array<std::uint8_t, 32> client_key_{};
  std::string client_first_bare_, server_first_, nonce_;
  State state_ = State::expects_first;
};

}  // namespace weir::wire
