// ServerConnection: one PostgreSQL connection that a pool owns, with deadlines on everything it does.
//
// libpqxx 6 neither takes deadlines nor forgets prepared statements and variables when a connection changes hands. So
// the pool owns the libpq connection, and every lease sees it through a fresh libpqxx object (leased_connection.hpp).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/deadline.hpp"

struct pg_conn;

namespace weir::client {

class ServerConnection {
 public:
  using Row = std::vector<std::optional<std::string>>;
  enum class Transaction { idle, open, unknown };  // unknown: busy, in COPY, or broken

  // Logs in. Throws pqxx::broken_connection, naming the backend, when that fails or `deadline` passes. Name resolution
  // is libpq's and may take longer than the deadline.
  ServerConnection(const std::string& conninfo, Deadline deadline);
  ~ServerConnection();
  ServerConnection(const ServerConnection&) = delete;
  ServerConnection& operator=(const ServerConnection&) = delete;

  // Runs `sql` by the simple protocol; rows of the last result. Throws pqxx::sql_error with the server's SQLSTATE, or
  // pqxx::broken_connection when it is lost or `deadline` passes (then the connection is spoilt).
  std::vector<Row> query(const std::string& sql, Deadline deadline);

  // False once it is known to be dead.
  [[nodiscard]] bool alive();
  // Alive, and nothing came from the server since it became idle. The FATAL of a server that shuts down may come well
  // before the end of the connection, so one that said anything unasked is not worth the risk.
  [[nodiscard]] bool quiet();
  [[nodiscard]] Transaction transaction() const;
  // Ends an open transaction and everything else a lease left behind (DISCARD ALL). False: it could not be cleaned and
  // must go.
  [[nodiscard]] bool reset(Deadline deadline);
  void spoil() noexcept { spoilt_ = true; }

  [[nodiscard]] pg_conn* handle() const noexcept { return conn_; }
  [[nodiscard]] int pid() const;
  [[nodiscard]] TimePoint opened_at() const noexcept { return opened_at_; }

  TimePoint idle_since{};  // kept by the pool

 private:
  [[nodiscard]] bool readable() const;
  void wait(short events, Deadline deadline, const char* what);
  void connect(Deadline deadline);
  void drain_results(std::vector<Row>& rows, std::string& failure, std::string& code, Deadline deadline);

  pg_conn* conn_ = nullptr;
  std::string label_;
  TimePoint opened_at_{};
  bool spoilt_ = false;
};

}  // namespace weir::client
