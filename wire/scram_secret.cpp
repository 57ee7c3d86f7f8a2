#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "base/bytes.hpp"
#include "wire/base64.hpp"
#include "wire/saslprep.hpp"
#include "wire/scram.hpp"
#include "wire/scram_crypto.hpp"

namespace weir::wire {
namespace {

constexpr std::string_view kPrefix = "SCRAM-SHA-256$";
constexpr std::size_t kSaltSize = 16;  // PostgreSQL's SCRAM_DEFAULT_SALT_LEN

// Never quotes the text: it is a secret.
Error malformed(std::string_view what) {
  return {sqlstate::kInvalidPassword, "malformed SCRAM-SHA-256 secret: " + std::string(what),
          "Copy rolpassword from pg_authid: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>."};
}

// The part of `text` before `separator`, which is removed with it.
std::optional<std::string_view> take_until(std::string_view& text, char separator) {
  const std::size_t at = text.find(separator);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view part = text.substr(0, at);
  text.remove_prefix(at + 1);
  return part;
}

std::optional<std::uint32_t> read_iterations(std::string_view text) {
  std::uint32_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  const bool whole = error == std::errc{} && end == text.data() + text.size();
  // An int in PostgreSQL and in OpenSSL.
  if (!whole || n == 0 || n > static_cast<std::uint32_t>(std::numeric_limits<int>::max())) return std::nullopt;
  return n;
}

bool read_key(std::string_view text, Digest& key) {
  const auto bytes = base64_decode(text);
  if (!bytes || bytes->size() != key.size()) return false;
  std::copy(bytes->begin(), bytes->end(), key.begin());
  return true;
}

}  // namespace

Result<ScramSecret> ScramSecret::parse(std::string_view text) {
  if (!text.starts_with(kPrefix)) return malformed("it does not begin with SCRAM-SHA-256$");
  text.remove_prefix(kPrefix.size());
  const auto iterations = take_until(text, ':');
  const auto salt = iterations ? take_until(text, '$') : std::nullopt;
  const auto stored = salt ? take_until(text, ':') : std::nullopt;
  if (!stored) return malformed("a part is missing");

  ScramSecret secret;
  const auto rounds = read_iterations(*iterations);
  if (!rounds) return malformed("the iteration count is no positive integer");
  secret.iterations = *rounds;
  auto raw_salt = base64_decode(*salt);
  if (!raw_salt || raw_salt->empty()) return malformed("the salt is not base64");
  secret.salt = std::move(*raw_salt);
  if (!read_key(*stored, secret.stored_key)) return malformed("StoredKey is not 32 bytes of base64");
  if (!read_key(text, secret.server_key)) return malformed("ServerKey is not 32 bytes of base64");
  return secret;
}

ScramSecret ScramSecret::derive(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  ScramSecret secret;
  secret.iterations = std::clamp<std::uint32_t>(iterations, 1, std::numeric_limits<int>::max());
  secret.salt = salt;
  const Digest salted = pbkdf2_sha256(saslprep(password), salt, secret.iterations);
  secret.stored_key = sha256(as_text(hmac_sha256(as_text(salted), "Client Key")));
  secret.server_key = hmac_sha256(as_text(salted), "Server Key");
  return secret;
}

ScramSecret ScramSecret::from_password(std::string_view password, std::uint32_t iterations) {
  return derive(password, random_bytes(kSaltSize), iterations);
}

ScramSecret ScramSecret::mock(std::string_view user, std::string_view key) {
  ScramSecret secret;
  secret.salt = as_text(hmac_sha256(key, user)).substr(0, kSaltSize);
  // The hash of no known client key, different for every user and every process.
  secret.stored_key = hmac_sha256(key, "StoredKey of " + std::string(user));
  secret.server_key = hmac_sha256(key, "ServerKey of " + std::string(user));
  return secret;
}

}  // namespace weir::wire
