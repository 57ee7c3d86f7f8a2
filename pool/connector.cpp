#include "pool/connector.hpp"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/strings.hpp"

namespace weir::pool {

void PgConnDeleter::operator()(PGconn* conn) const noexcept {
  // PQfinish writes a Terminate and can block on a full socket: nothing is written after shutdown().
  if (PQsocket(conn) >= 0) ::shutdown(PQsocket(conn), SHUT_RDWR);
  PQfinish(conn);
}

void PgResultDeleter::operator()(PGresult* result) const noexcept { PQclear(result); }

namespace {

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return std::string(text);
}

// libpq 15 does not expose the SQLSTATE of a failed login; the server's wording tells the permanent refusals apart, and all else
// counts as a connection failure.
SqlState state_of_failed_login(std::string_view message) {
  const auto has = [&](std::string_view part) { return message.find(part) != std::string_view::npos; };
  if (has("password authentication failed") || has("no password supplied")) return sqlstate::kInvalidPassword;
  if (has("no pg_hba.conf entry") || (has("role \"") && has("does not exist")) || has("is not permitted to log in") ||
      has("authentication failed"))
    return sqlstate::kInvalidAuthorization;
  if (has("database \"") && has("does not exist")) return sqlstate::kInvalidDatabase;
  if (has("too many clients") || has("connection slots are reserved") || has("too many connections"))
    return sqlstate::kTooManyConnections;
  return sqlstate::kConnectionFailure;
}

Error login_error(PGconn* conn) {
  const std::string why = trimmed(PQerrorMessage(conn));
  Error e(state_of_failed_login(why), why);
  // Spoilt means: trying again later may help. A refusal by name or password does not pass by itself.
  e.connection_spoilt = e.code == sqlstate::kConnectionFailure || e.code == sqlstate::kTooManyConnections;
  return e;
}

bool wait_for(int fd, short events, Deadline deadline) {
  using std::chrono::milliseconds;
  const auto left = std::chrono::duration_cast<milliseconds>(deadline.left(Clock::now())).count();
  pollfd p{fd, events, 0};
  const int timeout = deadline.is_never() ? -1 : static_cast<int>(std::min<long long>(left + 1, 1 << 30));
  return ::poll(&p, 1, timeout) != 0;
}

}  // namespace

Credentials effective_credentials(const Backend& backend, const Credentials& client) {
  const std::string_view user = get(backend.id().params, "user");
  if (user.empty()) return client;
  return {std::string(user), std::string(get(backend.id().params, "password")), {}, {}};
}

Result<PgConn> connect_blocking(const ConnParams& given, const Credentials& credentials, Deadline deadline) {
  ConnParams params = given;
  const auto set_default = [&](std::string_view name, std::string_view value) {
    if (get(params, name).empty()) set(params, name, value);
  };
  if (!credentials.user.empty()) set(params, "user", credentials.user);
  if (!credentials.password.empty()) set(params, "password", credentials.password);
  set(params, "gssencmode", "disable");
  set_default("fallback_application_name", "weir");
  set_default("passfile", "/dev/null/none");
  set_default("sslmode", "prefer");
  set_default("target_session_attrs", "any");
  set_default("tcp_user_timeout", "10000");

  std::vector<const char*> names, values;
  for (const auto& [name, value] : params) {
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  PgConn conn(PQconnectStartParams(names.data(), values.data(), 0));
  if (!conn) return Error(sqlstate::kInternal, "libpq: out of memory");
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (PQstatus(conn.get()) != CONNECTION_BAD && status != PGRES_POLLING_OK && status != PGRES_POLLING_FAILED) {
    if (!wait_for(PQsocket(conn.get()), status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
      Error e(sqlstate::kConnectionFailure, concat("connection to ", get(params, "host"), ":", get(params, "port"),
                                                   " timed out"));
      e.connection_spoilt = true;
      return e;
    }
    status = PQconnectPoll(conn.get());
  }
  if (status != PGRES_POLLING_OK) return login_error(conn.get());
  return conn;
}

PgResult exec_until(PGconn* conn, const std::string& sql, Deadline deadline) {
  PgResult result;
  if (PQsendQuery(conn, sql.c_str()) != 1) return nullptr;
  for (;;) {
    while (PQisBusy(conn) != 0)
      if (!wait_for(PQsocket(conn), POLLIN, deadline) || PQconsumeInput(conn) != 1) return nullptr;
    PGresult* next = PQgetResult(conn);
    if (!next) return result;
    result.reset(next);
  }
}

RunQuery run_query_by(PGconn* conn, Deadline deadline) {
  return [conn, deadline](const std::string& sql) -> Result<std::vector<QueryRow>> {
    const PgResult result = exec_until(conn, sql, deadline);
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
      std::string why = trimmed(PQerrorMessage(conn));
      Error e(code ? SqlState::parse(code) : sqlstate::kConnectionFailure, why.empty() ? "no answer in time" : std::move(why));
      e.connection_spoilt = !result || PQstatus(conn) == CONNECTION_BAD;
      return e;
    }
    std::vector<QueryRow> rows(static_cast<std::size_t>(PQntuples(result.get())));
    for (int r = 0; r < PQntuples(result.get()); ++r)
      for (int c = 0; c < PQnfields(result.get()); ++c) {
        auto& cell = rows[static_cast<std::size_t>(r)].emplace_back();
        if (!PQgetisnull(result.get(), r, c)) cell.emplace(PQgetvalue(result.get(), r, c));
      }
    return rows;
  };
}

Connector::Connector(unsigned threads) {
  for (unsigned i = 0; i < std::max(1U, threads); ++i) threads_.emplace_back([this] { work(); });
}

Connector::~Connector() { stop(); }

void Connector::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    jobs_.clear();
  }
  wake_.notify_all();
  for (auto& t : threads_)
    if (t.joinable()) t.join();
}

void Connector::run(std::function<void()> job) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Connector::work() {
  for (;;) {
    std::function<void()> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace weir::pool
