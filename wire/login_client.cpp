#include "wire/login_client.hpp"

#include <algorithm>

#include "base/strings.hpp"
#include "wire/body_reader.hpp"
#include "wire/md5.hpp"
#include "wire/messages.hpp"

namespace weir::wire {
namespace {

constexpr std::uint32_t kProtocol3 = 3 << 16;
constexpr std::uint32_t kSslRequest = 80877103;
constexpr std::size_t kMaxParameters = 256;   // PostgreSQL reports about 15

// AuthenticationXXX codes.
constexpr std::uint32_t kOk = 0, kCleartext = 3, kMd5 = 5, kSasl = 10, kSaslContinue = 11, kSaslFinal = 12;

Error failed(SqlState code, std::string message, std::string hint) {
  Error e(code, std::move(message), std::move(hint));
  e.connection_spoilt = true;
  return e;
}

Error out_of_order(std::string_view what) {
  return failed(sqlstate::kProtocolViolation, concat("the server sent ", what, " where it does not belong"), "Is it a PostgreSQL server?");
}

// A refusal that does not pass by itself.
Error no_secret(std::string message, std::string hint) { return {sqlstate::kInvalidPassword, std::move(message), std::move(hint)}; }

void put32(ByteBuffer& out, std::uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) out.append(static_cast<std::uint8_t>(v >> shift));
}

void put_string(std::string& out, std::string_view s) {
  out += s.substr(0, s.find('\0'));
  out += '\0';
}

void write_password(ByteBuffer& out, std::string_view password) {
  std::string body;
  put_string(body, password);
  write_message(out, 'p', body);
}

std::string_view name_of(std::uint32_t method) {
  switch (method) {
    case 2: return "Kerberos V5";
    case 6: return "SCM credentials";
    case 7:
    case 8: return "GSSAPI";
    case 9: return "SSPI";
    default: return "an unknown method of";
  }
}

}  // namespace

void write_ssl_request(ByteBuffer& out) {
  put32(out, 8);
  put32(out, kSslRequest);
}

void LoginClient::start(ByteBuffer& out) {
  std::string body;
  for (const auto& [name, value] : options_.parameters) {
    put_string(body, name);
    put_string(body, value);
  }
  body += '\0';
  put32(out, static_cast<std::uint32_t>(8 + body.size()));
  put32(out, kProtocol3);
  out.append(body);
}

Result<bool> LoginClient::on_message(const Message& message, ByteBuffer& out) {
  auto done = take(message, out);
  if (done) return done;
  Error error = done.take_error();
  error.connection_spoilt = true;
  return error;
}

Result<bool> LoginClient::take(const Message& message, ByteBuffer& out) {
  switch (message.type) {
    case 'E': return server_error(message.body);
    case 'N': return false;
    case 'v':
      if (state_ != State::waiting) return out_of_order("NegotiateProtocolVersion");
      return failed(sqlstate::kProtocolViolation, "the server does not speak protocol 3.0", "Is it a PostgreSQL server?");
    case 'R':
      if (state_ == State::authenticated) return out_of_order("an authentication request");
      return on_authentication(message.body, out);
    default: break;
  }
  if (state_ != State::authenticated) return out_of_order("a message before authentication");
  switch (message.type) {
    case 'S': return on_parameter_status(message.body);
    case 'K': return on_backend_key_data(message.body);
    case 'Z':
      if (read_ready_for_query(message.body) != 'I') return out_of_order("a bad ReadyForQuery");
      return true;
    default: return out_of_order("an unexpected message");
  }
}

Result<bool> LoginClient::on_authentication(ByteView body, ByteBuffer& out) {
  BodyReader in(body);
  const std::uint32_t method = in.int32();
  if (in.failed()) return in.error("Authentication");
  const ByteView data = in.rest();
  if (method == kOk) return data.empty() ? on_ok() : Result<bool>(out_of_order("a malformed AuthenticationOk"));
  if (method == kSaslContinue || method == kSaslFinal) {
    if (state_ != (method == kSaslContinue ? State::sasl_first : State::sasl_final)) return out_of_order("a SASL message");
    if (method == kSaslFinal) {
      if (auto verified = scram_->verify(as_text(data)); !verified) return verified.take_error();
      state_ = State::proven;
      return false;
    }
    auto response = scram_->final(as_text(data));
    if (!response) return response.take_error();
    write_message(out, 'p', *response);
    state_ = State::sasl_final;
    return false;
  }
  if (state_ != State::waiting) return out_of_order("a second authentication request");
  if (options_.binding == LoginOptions::Binding::require && method != kSasl)
    return failed(sqlstate::kInvalidAuthorization, "channel binding is required, but the server does not authenticate with SCRAM",
                  "Use scram-sha-256 at the server, or drop channel_binding=require.");
  switch (method) {
    case kCleartext: return answer_cleartext(out);
    case kMd5: return answer_md5(data, out);
    case kSasl: return begin_sasl(data, out);
    default: break;
  }
  return Error(sqlstate::kFeatureNotSupported, concat("the server asks for ", name_of(method), " authentication, which Weir does not do"),
               "Use scram-sha-256 or md5 in the server's pg_hba.conf for Weir's address.");
}

// A server that stops in the middle of the exchange has not proved that it knows the secret.
Result<bool> LoginClient::on_ok() {
  if (state_ == State::sasl_first || state_ == State::sasl_final) return out_of_order("AuthenticationOk before the end of SCRAM");
  if (options_.binding == LoginOptions::Binding::require && !bound_)
    return failed(sqlstate::kInvalidAuthorization, "channel binding is required, but the server did not use it",
                  "Use scram-sha-256 with TLS at the server, or drop channel_binding=require.");
  state_ = State::authenticated;
  return false;
}

Result<bool> LoginClient::answer_cleartext(ByteBuffer& out) {
  if (options_.secrets.password.empty())
    return no_secret("the server asks for the password itself, which is not known",
                     "Store the plain password, or use scram-sha-256 in the server's pg_hba.conf.");
  write_password(out, options_.secrets.password);
  state_ = State::proven;
  return false;
}

Result<bool> LoginClient::answer_md5(ByteView salt, ByteBuffer& out) {
  Md5Salt four{};
  if (salt.size() != four.size()) return out_of_order("a malformed AuthenticationMD5Password");
  std::copy(salt.begin(), salt.end(), four.begin());
  std::optional<std::string> secret(options_.secrets.md5_secret);
  if (!options_.secrets.password.empty()) {
    const auto user = std::find_if(options_.parameters.begin(), options_.parameters.end(), [](const auto& p) { return p.first == "user"; });
    secret = md5_secret(options_.secrets.password, user == options_.parameters.end() ? "" : user->second);
  } else if (secret->empty()) {
    return no_secret("the server asks for an MD5 password, and neither the password nor its md5 secret is known",
                     "Store the plain password or the md5 secret, or give the role a SCRAM secret at the server.");
  }
  const auto response = secret ? md5_response(*secret, four) : std::nullopt;
  if (!response) return Error(sqlstate::kInternal, "OpenSSL refuses MD5", "Use scram-sha-256 at the server.");
  write_password(out, *response);
  state_ = State::proven;
  return false;
}

Result<bool> LoginClient::begin_sasl(ByteView mechanisms, ByteBuffer& out) {
  bool plain = false, plus = false;
  BodyReader in(mechanisms);
  for (std::string_view name = in.string(); !name.empty(); name = in.string()) {
    plain |= name == kScramMechanism;
    plus |= name == kScramPlusMechanism;
  }
  if (!in.finish() || !(plain || plus)) return out_of_order("a list of SASL mechanisms without SCRAM-SHA-256");
  const bool may_bind = options_.binding != LoginOptions::Binding::disable && !options_.binding_data.empty();
  bound_ = plus && may_bind;
  if (options_.binding == LoginOptions::Binding::require && !bound_)
    return failed(sqlstate::kInvalidAuthorization, "channel binding is required, but the server does not offer it over this connection",
                  "Use TLS to the server, or drop channel_binding=require.");
  if (!plain && !bound_) return out_of_order("SCRAM-SHA-256-PLUS alone");
  ChannelBinding binding{may_bind ? options_.binding_data : std::string(), bound_};
  if (options_.secrets.keys) {
    scram_.emplace(options_.secrets.keys, std::move(binding));
  } else if (!options_.secrets.password.empty()) {
    scram_.emplace(options_.secrets.password, std::move(binding));
  } else {
    return no_secret("the server asks for a SCRAM password, and neither the password nor the SCRAM keys of a client are known",
                     "Store the plain password, or the server's own SCRAM secret: then the first client that logs in with SCRAM brings the keys.");
  }
  const std::string first = scram_->first();
  std::string body;
  put_string(body, bound_ ? kScramPlusMechanism : kScramMechanism);
  for (int shift = 24; shift >= 0; shift -= 8) body += static_cast<char>(first.size() >> shift & 0xff);
  write_message(out, 'p', concat(body, first));
  state_ = State::sasl_first;
  return false;
}

Result<bool> LoginClient::on_parameter_status(ByteView body) {
  const auto status = read_parameter_status(body);
  if (!status) return status.error();
  const auto known = std::find_if(parameters_.begin(), parameters_.end(), [&](const auto& p) { return p.first == status->name; });
  if (known != parameters_.end()) {
    known->second = status->value;
  } else if (parameters_.size() < kMaxParameters) {
    parameters_.emplace_back(status->name, status->value);
  } else {
    return out_of_order("too many parameters");
  }
  return false;
}

Result<bool> LoginClient::on_backend_key_data(ByteView body) {
  auto key = read_backend_key_data(body);
  if (!key) return key.take_error();
  key_ = std::move(*key);
  return false;
}

Error LoginClient::server_error(ByteView body) {
  refused_by_server_ = true;
  const auto view = read_error(body);
  if (!view) return out_of_order("a malformed ErrorResponse");
  Error e(SqlState::parse(view->code), std::string(view->message), std::string(view->hint));
  e.detail = view->detail;
  e.connection_spoilt = true;
  return e;
}

}  // namespace weir::wire
