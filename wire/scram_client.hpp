// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client's side: with a password, or with keys that a client of ours has proved to know. No
// sockets. https://www.postgresql.org/docs/15/sasl-authentication.html, RFC 5802, RFC 7677
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "wire/scram.hpp"

namespace weir::wire {

// Enough to log in wherever the secret has the same salt and iterations, and nowhere else.
struct ScramKeys {
  std::string salt;   // raw bytes
  std::uint32_t iterations = 0;
  std::array<std::uint8_t, 32> client_key{};
  std::array<std::uint8_t, 32> server_key{};
  friend bool operator==(const ScramKeys&, const ScramKeys&) = default;
};
using ScramKeysRef = std::shared_ptr<const ScramKeys>;

// The keys of a client that passed: `client_key` is ScramServer's.
[[nodiscard]] ScramKeys keys_of(const ScramSecret& secret, const std::array<std::uint8_t, 32>& client_key);

// One authentication: first(), then final() with the server-first-message, then verify() with the server-final-message; the object is
// spent by the first failure. Every error spoils the connection: 08P01 for a malformed or too long message, 28P01 where the keys do not fit the
// server's secret, 28000 where the server cannot prove that it knows the secret.
class ScramClient {
 public:
  // What a server may make us compute (about 0.3 s); PostgreSQL's default is 4096.
  static constexpr std::uint32_t kMaxIterations = 1'000'000;
  static constexpr std::size_t kMaxMessage = 4096;
  static constexpr std::size_t kMaxSalt = 1024;

  // `binding`: data of the TLS channel, and whether SCRAM-SHA-256-PLUS is used with it. A given `nonce` is for known vectors.
  ScramClient(std::string password, ChannelBinding binding, std::string nonce = {});
  ScramClient(ScramKeysRef keys, ChannelBinding binding, std::string nonce = {});

  [[nodiscard]] std::string first();
  [[nodiscard]] Result<std::string> final(std::string_view server_first);
  [[nodiscard]] Result<void> verify(std::string_view server_final);

 private:
  enum class State : std::uint8_t { begun, expects_first, expects_final, spent };
  struct ServerFirst {
    std::string_view nonce;
    std::string salt;
    std::uint32_t iterations = 0;
  };
  [[nodiscard]] Result<ServerFirst> read_server_first(std::string_view message) const;
  [[nodiscard]] Result<void> take_keys(const ServerFirst& server);

  std::string password_;
  ScramKeysRef keys_;
  ChannelBinding binding_;
  std::string nonce_;
  std::string gs2_header_, first_bare_, auth_message_;
  std::array<std::uint8_t, 32> client_key_{};
  std::array<std::uint8_t, 32> server_key_{};
  State state_ = State::begun;
};

}  // namespace weir::wire
