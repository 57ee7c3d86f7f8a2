// The exchange follows PostgreSQL's auth-scram.c step by step, its wording included.
#include <algorithm>
#include <optional>
#include <utility>

#include "base/bytes.hpp"
#include "base/strings.hpp"
#include "wire/base64.hpp"
#include "wire/scram.hpp"
#include "wire/scram_crypto.hpp"

namespace weir::wire {
namespace {

constexpr std::size_t kServerNonceBytes = 18;  // PostgreSQL's SCRAM_RAW_NONCE_LEN

Error malformed(std::string detail) {
  Error e(sqlstate::kProtocolViolation, "malformed SCRAM message", "Check the client's driver.");
  e.detail = std::move(detail);
  e.connection_spoilt = true;
  return e;
}

Error refused(SqlState code, std::string message, std::string hint) {
  Error e(code, std::move(message), std::move(hint));
  e.connection_spoilt = true;
  return e;
}

// Bounds that hold for either message, before a byte of it is looked at.
Result<void> check_size(std::string_view message) {
  if (message.empty()) return malformed("The message is empty.");
  if (message.size() > ScramServer::kMaxMessage)
    return malformed(concat("The message is longer than ", std::to_string(ScramServer::kMaxMessage), " bytes."));
  if (message.find('\0') != std::string_view::npos) return malformed("Message length does not match input length.");
  return {};
}

struct Attribute {
  char name = 0;
  std::string_view value;
};

// "x=value" up to the next comma, which goes too.
std::optional<Attribute> take_attribute(std::string_view& text) {
  if (text.size() < 2 || text[1] != '=') return std::nullopt;
  const char name = text[0];
  if (!((name >= 'A' && name <= 'Z') || (name >= 'a' && name <= 'z'))) return std::nullopt;
  const std::size_t comma = text.find(',');
  const std::string_view whole = text.substr(0, comma);
  text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  return Attribute{name, whole.substr(2)};
}

std::optional<std::string_view> take_value(std::string_view& text, char name) {
  const auto attribute = take_attribute(text);
  if (!attribute || attribute->name != name) return std::nullopt;
  return attribute->value;
}

// RFC 5802's "printable": ASCII 0x21 to 0x7e without the comma (which cannot occur inside a value).
bool is_printable(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return c >= 0x21 && c <= 0x7e; });
}

constexpr std::string_view kBindingType = "p=tls-server-end-point";

}  // namespace

// "n,,", "y,," or "p=tls-server-end-point,,": sets what c= must repeat, in base64, and removes the header.
Result<void> ScramServer::take_gs2_header(std::string_view& text) {
  const char flag = text[0];
  if (binding_.plus && (flag == 'n' || flag == 'y'))
    return malformed(
        "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.");
  std::size_t flag_size = 1;
  switch (flag) {
    case 'n':
      channel_binding_ = "biws";
      break;
    case 'y':
      // Somebody between us and the client took the offer out of our list of mechanisms.
      if (!binding_.data.empty())
        return refused(sqlstate::kInvalidAuthorization, "SCRAM channel binding negotiation error",
                       "The client supports SCRAM channel binding but thinks that the server does not: is there somebody in between?");
      channel_binding_ = "eSws";
      break;
    case 'p':
      if (!binding_.plus)
        return malformed(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding "
            "data.");
      if (!text.starts_with(kBindingType) || (text.size() > kBindingType.size() && text[kBindingType.size()] != ','))
        return refused(sqlstate::kProtocolViolation, "unsupported SCRAM channel-binding type", "Use tls-server-end-point.");
      flag_size = kBindingType.size();
      channel_binding_ = base64_encode(concat(kBindingType, ",,", binding_.data));
      break;
    default:
      return malformed("Unexpected channel-binding flag.");
  }
  if (text.size() < flag_size + 2 || text[flag_size] != ',') return malformed("Comma expected after the channel-binding flag.");
  if (text[flag_size + 1] == 'a')
    return refused(sqlstate::kFeatureNotSupported, "client uses authorization identity, but it is not supported",
                   "Log in as the role itself.");
  if (text[flag_size + 1] != ',') return malformed("Unexpected attribute in client-first-message.");
  text.remove_prefix(flag_size + 2);
  return {};
}

Result<void> ScramServer::read_client_first(std::string_view message, std::string_view& client_nonce) {
  if (auto ok = check_size(message); !ok) return ok;
  if (auto ok = take_gs2_header(message); !ok) return ok;
  client_first_bare_ = message;
  if (message.starts_with('m'))
    return refused(sqlstate::kFeatureNotSupported, "client requires an unsupported SCRAM extension",
                   "Check the client's driver.");
  if (!take_value(message, 'n')) return malformed("Expected attribute \"n\" in client-first-message.");
  const auto nonce = take_value(message, 'r');
  if (!nonce || nonce->empty()) return malformed("Expected attribute \"r\" in client-first-message.");
  if (nonce->size() > kMaxClientNonce)
    return malformed(concat("The nonce is longer than ", std::to_string(kMaxClientNonce), " bytes."));
  if (!is_printable(*nonce)) return malformed("Non-printable characters in SCRAM nonce.");
  while (!message.empty())  // optional extensions are ignored
    if (!take_attribute(message)) return malformed("Attribute expected in client-first-message.");
  client_nonce = *nonce;
  return {};
}

Result<std::string> ScramServer::first(std::string_view client_first) {
  const State state = std::exchange(state_, State::spent);
  if (state != State::expects_first) return malformed("A client-first-message is not expected here.");
  std::string_view client_nonce;
  if (auto ok = read_client_first(client_first, client_nonce); !ok) return ok.take_error();
  if (server_nonce_.empty()) server_nonce_ = base64_encode(random_bytes(kServerNonceBytes));
  nonce_ = concat(client_nonce, server_nonce_);
  server_first_ = concat("r=", nonce_, ",s=", base64_encode(secret_.salt), ",i=", std::to_string(secret_.iterations));
  state_ = State::expects_final;
  return server_first_;
}

bool ScramServer::proof_matches(std::string_view proof, std::string_view auth_message) {
  client_key_ = hmac_sha256(as_text(secret_.stored_key), auth_message);
  for (std::size_t i = 0; i < client_key_.size(); ++i) client_key_[i] ^= static_cast<std::uint8_t>(proof[i]);
  return equal_in_constant_time(sha256(as_text(client_key_)), secret_.stored_key);
}

Result<std::string> ScramServer::final(std::string_view client_final) {
  const State state = std::exchange(state_, State::spent);
  if (state != State::expects_final) return malformed("A client-final-message is not expected here.");
  if (auto ok = check_size(client_final); !ok) return ok.take_error();

  std::string_view rest = client_final;
  const auto binding = take_value(rest, 'c');
  if (!binding) return malformed("Expected attribute \"c\" in client-final-message.");
  if (binding_.plus && *binding != channel_binding_)
    return refused(sqlstate::kInvalidAuthorization, "SCRAM channel binding check failed",
                   "The client saw another certificate than this server's: is there somebody in between?");
  if (*binding != channel_binding_)
    return malformed("Unexpected SCRAM channel-binding attribute in client-final-message.");
  const auto nonce = take_value(rest, 'r');
  if (!nonce) return malformed("Expected attribute \"r\" in client-final-message.");

  std::optional<Attribute> last;
  std::string_view without_proof;
  do {  // optional extensions, then the proof
    without_proof = client_final.substr(0, client_final.size() - rest.size() - 1);
    last = take_attribute(rest);
    if (!last) return malformed("Expected attribute \"p\" in client-final-message.");
  } while (last->name != 'p');
  if (!rest.empty() || client_final.ends_with(','))
    return malformed("Garbage found at the end of client-final-message.");
  const auto proof = base64_decode(last->value);
  if (!proof || proof->size() != secret_.stored_key.size())
    return malformed("Malformed proof in client-final-message.");
  if (*nonce != nonce_) return malformed("Nonce does not match.");

  const std::string auth_message = concat(client_first_bare_, ",", server_first_, ",", without_proof);
  if (!proof_matches(*proof, auth_message))
    return refused(sqlstate::kInvalidPassword, "password authentication failed",
                   "Check the user name and the password.");
  return concat("v=", base64_encode(as_text(hmac_sha256(as_text(secret_.server_key), auth_message))));
}

}  // namespace weir::wire
