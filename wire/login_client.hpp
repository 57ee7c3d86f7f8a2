// LoginClient: the start-up and authentication of one connection to a server, as its client. Pure: messages in, bytes out.
// https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.3
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "wire/frame.hpp"
#include "wire/scram_client.hpp"
#include "wire/startup.hpp"

namespace weir::wire {

// SSLRequest: the server answers with one byte, 'S' or 'N'.
void write_ssl_request(ByteBuffer& out);

// What there is to prove who we are; each may be empty.
struct LoginSecrets {
  std::string password;     // plain text
  std::string md5_secret;   // "md5...": enough for a server that asks for MD5
  ScramKeysRef keys;        // enough for a server with the same SCRAM secret
};

struct LoginOptions {
  std::vector<std::pair<std::string, std::string>> parameters;   // of the StartupMessage; "user" among them
  LoginSecrets secrets;
  enum class Binding : std::uint8_t { disable, prefer, require } binding = Binding::prefer;
  std::string binding_data;   // tls-server-end-point; empty: no TLS
};

class LoginClient {
 public:
  explicit LoginClient(LoginOptions options) : options_(std::move(options)) {}

  // The first bytes to send.
  void start(ByteBuffer& out);
  // Takes the server's next message and appends what is to be answered. True: ready, the login is done. Every error spoils the
  // connection; the server's own refusal comes with its SQLSTATE and refused_by_server() true. Before authentication is over only
  // authentication messages, errors, notices and NegotiateProtocolVersion are taken.
  [[nodiscard]] Result<bool> on_message(const Message& message, ByteBuffer& out);

  // AuthenticationOk came: a refusal from here on is not about TLS or the password.
  [[nodiscard]] bool authenticated() const { return state_ == State::authenticated; }
  [[nodiscard]] bool refused_by_server() const { return refused_by_server_; }
  // After the login: ParameterStatus in order of arrival (the last of each name), and the cancel key where the server gave one.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>>& parameters() { return parameters_; }
  [[nodiscard]] const std::optional<CancelKey>& key() const { return key_; }

 private:
  enum class State : std::uint8_t { waiting, sasl_first, sasl_final, proven, authenticated };

  [[nodiscard]] Result<bool> take(const Message& message, ByteBuffer& out);
  [[nodiscard]] Result<bool> on_authentication(ByteView body, ByteBuffer& out);
  [[nodiscard]] Result<bool> on_ok();
  [[nodiscard]] Result<bool> answer_cleartext(ByteBuffer& out);
  [[nodiscard]] Result<bool> answer_md5(ByteView salt, ByteBuffer& out);
  [[nodiscard]] Result<bool> begin_sasl(ByteView mechanisms, ByteBuffer& out);
  [[nodiscard]] Result<bool> on_parameter_status(ByteView body);
  [[nodiscard]] Result<bool> on_backend_key_data(ByteView body);
  [[nodiscard]] Error server_error(ByteView body);

  LoginOptions options_;
  std::optional<ScramClient> scram_;
  bool bound_ = false;   // the exchange used channel binding
  bool refused_by_server_ = false;
  State state_ = State::waiting;
  std::vector<std::pair<std::string, std::string>> parameters_;
  std::optional<CancelKey> key_;
};

}  // namespace weir::wire
