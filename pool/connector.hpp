// Connector: threads that log in to servers by libpq, off the workers (DNS blocks; SCRAM and TLS cost CPU), send
// cancels, and run other short blocking jobs. The socket of a finished login is then driven raw (design §3).
// https://www.postgresql.org/docs/15/libpq-connect.html (PQconnectStart, PQconnectPoll)
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "pool/backend.hpp"

typedef struct pg_conn PGconn;
typedef struct pg_cancel PGcancel;

namespace weir::pool {

struct PgConnDeleter {
  void operator()(PGconn* conn) const noexcept;
};
using PgConn = std::unique_ptr<PGconn, PgConnDeleter>;

struct Credentials {
  std::string user;
  std::string password;      // plain text; empty: none to offer
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// A finished login, socket non-blocking and libpq's buffers empty.
struct LoggedIn {
  PgConn conn;
  int backend_pid = 0;
  std::vector<std::pair<std::string, std::string>> parameters;   // ParameterStatus as reported
  std::string search_path;                                       // SHOW search_path: role settings are not reported
};

// Blocks the calling thread until logged in, refused, or the deadline. Every parameter is explicit; `overrides` win over
// the backend's own. Errors carry the server's SQLSTATE where it sent one, else 08006 with connection_spoilt.
[[nodiscard]] Result<PgConn> connect_blocking(const ConnParams& params, const Credentials& credentials, Deadline deadline);
// What is to be sent to libpq for this backend: its parameters, its own user and password before the client's.
[[nodiscard]] Credentials effective_credentials(const Backend& backend, const Credentials& client);

class Connector {
 public:
  explicit Connector(unsigned threads);
  ~Connector();   // finishes running jobs, drops the rest
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  // Runs `job` on one of the threads. Any thread.
  void run(std::function<void()> job);

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// One complete login as a pool's server: connects, checks the identity (`check` is given the open connection; its error refuses it),
// reads search_path, empties libpq's buffers. Blocks.
using LoginCheck = std::function<Result<void>(PGconn*)>;
[[nodiscard]] Result<LoggedIn> log_in(const Backend& backend, const Credentials& credentials, const LoginCheck& check,
                                      Deadline deadline);

}  // namespace weir::pool
