// The login of a pool's server connection: connect, TLS as sslmode asks, start-up and authentication by wire::LoginClient. Not by libpq: version
// 15 can neither log in with SCRAM keys nor tell a connection's cancel key. One way for all of them, so that each is tested by every test.
// Blocks, to a deadline: for connector threads.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "pool/connector.hpp"
#include "pool/server_link.hpp"
#include "wire/startup.hpp"

namespace weir::pool {

// A finished login, nothing left unread.
struct LoggedIn {
  ServerLink link;
  std::optional<wire::CancelKey> key;
  [[nodiscard]] int backend_pid() const { return key ? static_cast<int>(key->pid) : 0; }   // 0: not told
  std::vector<std::pair<std::string, std::string>> parameters;   // ParameterStatus as reported
  std::string search_path;                                       // SHOW search_path: role settings are not reported
};

// Connects, authenticates, asks `check`, reads search_path. An error's connection_spoilt means that trying again later may help (08006,
// 53300); a refusal of name, password or database (28P01, 28000, 3D000 ...) does not pass by itself.
[[nodiscard]] Result<LoggedIn> log_in(const Backend& backend, const Credentials& credentials, const LoginCheck& check, Deadline deadline);

// Where a CancelRequest for a connection goes, and how.
struct CancelTarget {
  ServerAddress address;
  bool tls = false;
  ConnParams params;   // of the backend, for TLS
  wire::CancelKey key;
};
// Sends it on a connection of its own, with TLS where the connection has it, and returns when the server has closed that (it has then
// signalled the process).
[[nodiscard]] Result<void> send_cancel(const CancelTarget& target, Deadline deadline);

}  // namespace weir::pool
