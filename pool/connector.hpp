// Connector: threads for what blocks, off the workers: logins (DNS blocks; SCRAM and TLS cost CPU), cancels, other short jobs. And
// connections of Weir's own by libpq (monitor, catalogs); those that serve clients are made by pool/native_login.hpp.
// https://www.postgresql.org/docs/15/libpq-connect.html (PQconnectStart, PQconnectPoll)
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "pool/backend.hpp"
#include "wire/scram_client.hpp"

typedef struct pg_conn PGconn;
typedef struct pg_result PGresult;

namespace weir::pool {

struct PgConnDeleter {
  void operator()(PGconn* conn) const noexcept;
};
using PgConn = std::unique_ptr<PGconn, PgConnDeleter>;
struct PgResultDeleter {
  void operator()(PGresult* result) const noexcept;
};

// Who logs in, and what proves it; what is not known is empty. A server that asks for nothing needs none of it.
struct Credentials {
  std::string user;
  std::string password;      // plain text
  std::string md5_secret{};  // "md5...", for servers that ask for MD5
  wire::ScramKeysRef keys{}; // of a client that logged in with SCRAM, for servers with the same secret
  [[nodiscard]] bool has_secret() const { return !password.empty() || !md5_secret.empty() || keys; }
  friend bool operator==(const Credentials& a, const Credentials& b) {
    const bool same_keys = a.keys == b.keys || (a.keys && b.keys && *a.keys == *b.keys);
    return same_keys && a.user == b.user && a.password == b.password && a.md5_secret == b.md5_secret;
  }
};

// Runs one statement and gives its rows as text; an error that is not connection_spoilt is the statement's own.
using QueryRow = std::vector<std::optional<std::string>>;
using RunQuery = std::function<Result<std::vector<QueryRow>>(const std::string& sql)>;
// Is this server the right one? Asked in every new connection; its error refuses it.
using LoginCheck = std::function<Result<void>(const RunQuery&)>;
// Waits for each answer until the deadline at most; then the error is connection_spoilt, and `conn` is to be closed.
[[nodiscard]] RunQuery run_query_by(PGconn* conn, Deadline deadline = Deadline::never());
// PQexec with a deadline: it would block for ever on a machine that vanished. Null: no answer in time, or the connection is lost.
using PgResult = std::unique_ptr<PGresult, PgResultDeleter>;
[[nodiscard]] PgResult exec_until(PGconn* conn, const std::string& sql, Deadline deadline);

// Blocks the calling thread until logged in, refused, or the deadline. Every parameter is explicit; `overrides` win over
// the backend's own. Errors carry the server's SQLSTATE where it sent one, else 08006 with connection_spoilt.
[[nodiscard]] Result<PgConn> connect_blocking(const ConnParams& params, const Credentials& credentials, Deadline deadline);
// Who logs in to this backend: its own user and password before the client's.
[[nodiscard]] Credentials effective_credentials(const Backend& backend, const Credentials& client);

class Connector {
 public:
  explicit Connector(unsigned threads);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Runs `job` on one of the threads; drops it after stop(). Any thread.
  void run(std::function<void()> job);
  // Finishes running jobs, drops the rest.
  void stop();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace weir::pool
