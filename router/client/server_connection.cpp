#include "router/client/server_connection.hpp"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <pqxx/except>

#include "router/client/conninfo.hpp"

namespace weir::client {

namespace {

struct ClearResult {
  void operator()(PGresult* r) const { PQclear(r); }
};
using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

int poll_timeout(Deadline deadline) {
  if (deadline.is_never()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.left(Clock::now())).count();
  return static_cast<int>(std::min<decltype(left)>(left, 1 << 30));
}

// libpq ends its messages with newlines, several of them where it tried several addresses.
std::string tidy(const char* message) {
  std::string text = message == nullptr ? "" : message;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

void ignore_notice(void*, const char*) {}

std::vector<ServerConnection::Row> rows_of(const PGresult* result) {
  std::vector<ServerConnection::Row> rows;
  for (int r = 0; r < PQntuples(result); ++r) {
    ServerConnection::Row row;
    for (int c = 0; c < PQnfields(result); ++c)
      row.push_back(PQgetisnull(result, r, c) ? std::nullopt : std::optional<std::string>(PQgetvalue(result, r, c)));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace

ServerConnection::ServerConnection(const std::string& conninfo, Deadline deadline)
    : label_(conninfo_label(conninfo)), opened_at_(Clock::now()) {
  conn_ = PQconnectStart(conninfo.c_str());
  if (conn_ == nullptr) throw std::bad_alloc();
  try {
    connect(deadline);
  } catch (...) {
    PQfinish(conn_);
    throw;
  }
  PQsetNoticeProcessor(conn_, ignore_notice, nullptr);
}

ServerConnection::~ServerConnection() { PQfinish(conn_); }

void ServerConnection::connect(Deadline deadline) {
  if (PQstatus(conn_) == CONNECTION_BAD)
    throw pqxx::broken_connection("connecting to " + label_ + ": " + tidy(PQerrorMessage(conn_)));
  for (PostgresPollingStatusType next = PGRES_POLLING_WRITING; next != PGRES_POLLING_OK; next = PQconnectPoll(conn_)) {
    if (next == PGRES_POLLING_FAILED)
      throw pqxx::broken_connection("connecting to " + label_ + ": " + tidy(PQerrorMessage(conn_)));
    wait(next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, "connecting");
  }
}

void ServerConnection::wait(short events, Deadline deadline, const char* what) {
  for (;;) {
    pollfd p{PQsocket(conn_), events, 0};
    const int n = ::poll(&p, 1, poll_timeout(deadline));
    if (n > 0) return;
    if (n < 0 && errno == EINTR) continue;
    spoilt_ = true;
    throw pqxx::broken_connection(std::string(what) + " at " + label_ + ": no answer in time");
  }
}

std::vector<ServerConnection::Row> ServerConnection::query(const std::string& sql, Deadline deadline) {
  if (spoilt_ || PQsendQuery(conn_, sql.c_str()) == 0) {
    spoilt_ = true;
    throw pqxx::broken_connection("asking " + label_ + ": " + tidy(PQerrorMessage(conn_)));
  }
  std::vector<Row> rows;
  std::string failure, code;
  drain_results(rows, failure, code, deadline);
  if (PQstatus(conn_) == CONNECTION_BAD) {
    spoilt_ = true;
    throw pqxx::broken_connection("asking " + label_ + ": " + failure);
  }
  if (!failure.empty()) throw pqxx::sql_error(label_ + ": " + failure, sql, code.c_str());
  return rows;
}

void ServerConnection::drain_results(std::vector<Row>& rows, std::string& failure, std::string& code,
                                     Deadline deadline) {
  for (;;) {
    while (PQisBusy(conn_) == 1) {
      wait(POLLIN, deadline, "waiting for a query");
      if (PQconsumeInput(conn_) == 0) break;
    }
    const ResultPtr result(PQgetResult(conn_));
    if (!result) return;
    switch (PQresultStatus(result.get())) {
      case PGRES_TUPLES_OK:
        rows = rows_of(result.get());
        break;
      case PGRES_COMMAND_OK:
      case PGRES_EMPTY_QUERY:
        rows.clear();
        break;
      default: {  // libpq's enum, not ours: whatever else comes is a failure
        const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
        failure = tidy(PQresultErrorMessage(result.get()));
        if (failure.empty()) failure = "unexpected answer";
        code = state != nullptr ? state : "";
        if (PQstatus(conn_) == CONNECTION_BAD) return;
      }
    }
  }
}

bool ServerConnection::readable() const {
  pollfd p{PQsocket(conn_), POLLIN, 0};
  return ::poll(&p, 1, 0) > 0;
}

bool ServerConnection::alive() {
  if (spoilt_ || PQstatus(conn_) != CONNECTION_OK) return false;
  if (readable() && PQconsumeInput(conn_) == 0) spoilt_ = true;
  return !spoilt_ && PQstatus(conn_) == CONNECTION_OK;
}

bool ServerConnection::quiet() { return !spoilt_ && PQstatus(conn_) == CONNECTION_OK && !readable(); }

ServerConnection::Transaction ServerConnection::transaction() const {
  if (spoilt_) return Transaction::unknown;
  switch (PQtransactionStatus(conn_)) {
    case PQTRANS_IDLE:
      return Transaction::idle;
    case PQTRANS_INTRANS:
    case PQTRANS_INERROR:
      return Transaction::open;
    case PQTRANS_ACTIVE:
    case PQTRANS_UNKNOWN:
      return Transaction::unknown;
  }
  return Transaction::unknown;
}

bool ServerConnection::reset(Deadline deadline) {
  if (!alive() || transaction() == Transaction::unknown) return false;
  try {
    if (transaction() == Transaction::open) query("ROLLBACK", deadline);
    query("DISCARD ALL", deadline);
    return true;
  } catch (const pqxx::failure&) {
    return false;
  }
}

int ServerConnection::pid() const { return PQbackendPID(conn_); }

}  // namespace weir::client
