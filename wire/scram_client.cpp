#include "wire/scram_client.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/bytes.hpp"
#include "base/strings.hpp"
#include "wire/base64.hpp"
#include "wire/saslprep.hpp"
#include "wire/scram_crypto.hpp"

namespace weir::wire {
namespace {

constexpr std::size_t kNonceBytes = 18;   // PostgreSQL's SCRAM_RAW_NONCE_LEN

Error failed(SqlState code, std::string message, std::string hint) {
  Error e(code, std::move(message), std::move(hint));
  e.connection_spoilt = true;
  return e;
}

Error malformed(std::string_view what) {
  return failed(sqlstate::kProtocolViolation, concat("malformed SCRAM message of the server: ", what), "Is it a PostgreSQL server?");
}

// "x=value" up to the next comma, which goes too; the attribute must be the one expected.
std::optional<std::string_view> take_value(std::string_view& text, char name) {
  if (text.size() < 2 || text[0] != name || text[1] != '=') return std::nullopt;
  const std::size_t comma = std::min(text.find(','), text.size());
  const std::string_view value = text.substr(2, comma - 2);
  text.remove_prefix(std::min(comma + 1, text.size()));
  return value;
}

bool is_printable(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c >= 0x21 && c <= 0x7e; });
}

bool bad_size(std::string_view message) {
  return message.empty() || message.size() > ScramClient::kMaxMessage || message.find('\0') != std::string_view::npos;
}

}  // namespace

ScramKeys keys_of(const ScramSecret& secret, const std::array<std::uint8_t, 32>& client_key) {
  return {secret.salt, secret.iterations, client_key, secret.server_key};
}

ScramClient::ScramClient(std::string password, ChannelBinding binding, std::string nonce)
    : password_(std::move(password)), binding_(std::move(binding)), nonce_(std::move(nonce)) {}

ScramClient::ScramClient(ScramKeysRef keys, ChannelBinding binding, std::string nonce)
    : keys_(std::move(keys)), binding_(std::move(binding)), nonce_(std::move(nonce)) {}

std::string ScramClient::first() {
  if (nonce_.empty()) nonce_ = base64_encode(random_bytes(kNonceBytes));
  gs2_header_ = binding_.plus ? "p=tls-server-end-point,," : binding_.data.empty() ? "n,," : "y,,";
  first_bare_ = concat("n=,r=", nonce_);   // the server takes the name from the start-up message
  state_ = State::expects_first;
  return concat(gs2_header_, first_bare_);
}

Result<ScramClient::ServerFirst> ScramClient::read_server_first(std::string_view message) const {
  if (bad_size(message)) return malformed("its size");
  if (message.starts_with('m')) return malformed("it requires an extension");
  ServerFirst server;
  const auto nonce = take_value(message, 'r');
  if (!nonce || !is_printable(*nonce)) return malformed("no nonce");
  if (!nonce->starts_with(nonce_) || nonce->size() == nonce_.size()) return malformed("the nonce does not continue ours");
  server.nonce = *nonce;
  const auto salt = take_value(message, 's');
  auto raw = salt ? base64_decode(*salt) : std::nullopt;
  if (!raw || raw->empty() || raw->size() > kMaxSalt) return malformed("no salt");
  server.salt = std::move(*raw);
  const auto count = take_value(message, 'i');
  if (!count) return malformed("no iteration count");
  const auto [end, error] = std::from_chars(count->data(), count->data() + count->size(), server.iterations);
  if (error != std::errc{} || end != count->data() + count->size() || server.iterations == 0) return malformed("a bad iteration count");
  return server;
}

Result<void> ScramClient::take_keys(const ServerFirst& server) {
  if (keys_) {
    if (keys_->salt != server.salt || keys_->iterations != server.iterations)
      return failed(sqlstate::kInvalidPassword, "the server's SCRAM secret is not the one the client logged in with",
                    "Pass-through needs the same secret everywhere: copy rolpassword (salt and iterations included) to each server.");
    client_key_ = keys_->client_key;
    server_key_ = keys_->server_key;
    return {};
  }
  if (server.iterations > kMaxIterations)
    return failed(sqlstate::kProtocolViolation,
                  concat("the server demands ", std::to_string(server.iterations), " SCRAM iterations; at most ",
                         std::to_string(kMaxIterations), " are computed"),
                  "Lower scram_iterations at the server and set the password again.");
  const Digest salted = pbkdf2_sha256(saslprep(password_), server.salt, server.iterations);
  client_key_ = hmac_sha256(as_text(salted), "Client Key");
  server_key_ = hmac_sha256(as_text(salted), "Server Key");
  return {};
}

Result<std::string> ScramClient::final(std::string_view server_first) {
  if (std::exchange(state_, State::spent) != State::expects_first) return malformed("a server-first-message is not expected here");
  const auto server = read_server_first(server_first);
  if (!server) return server.error();
  if (auto taken = take_keys(*server); !taken) return taken.take_error();
  const std::string without_proof =
      concat("c=", base64_encode(concat(gs2_header_, binding_.plus ? binding_.data : std::string())), ",r=", server->nonce);
  auth_message_ = concat(first_bare_, ",", server_first, ",", without_proof);
  Digest proof = hmac_sha256(as_text(sha256(as_text(client_key_))), auth_message_);
  for (std::size_t i = 0; i < proof.size(); ++i) proof[i] ^= client_key_[i];
  state_ = State::expects_final;
  return concat(without_proof, ",p=", base64_encode(as_text(proof)));
}

Result<void> ScramClient::verify(std::string_view server_final) {
  if (std::exchange(state_, State::spent) != State::expects_final) return malformed("a server-final-message is not expected here");
  if (bad_size(server_final)) return malformed("its size");
  if (take_value(server_final, 'e'))
    return failed(sqlstate::kInvalidPassword, "the server refused the SCRAM exchange", "See the server's log.");
  const auto signature = take_value(server_final, 'v');
  const auto raw = signature ? base64_decode(*signature) : std::nullopt;
  Digest given{};
  if (!raw || raw->size() != given.size()) return malformed("no server signature");
  std::copy(raw->begin(), raw->end(), given.begin());
  if (!equal_in_constant_time(given, hmac_sha256(as_text(server_key_), auth_message_)))
    return failed(sqlstate::kInvalidAuthorization, "the server's SCRAM signature is wrong: it does not know the password's secret",
                  "Does the connection string lead to the right server?");
  return {};
}

}  // namespace weir::wire
