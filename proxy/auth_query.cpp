#include "proxy/auth_query.hpp"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/strings.hpp"

namespace weir::proxy {

namespace {

// The end of the validity is judged by the server's clock and its own reading of the value.
// https://www.postgresql.org/docs/15/view-pg-shadow.html
constexpr const char* kOwnQuery =
    "SELECT usename, passwd, valuntil FROM pg_catalog.pg_shadow WHERE usename OPERATOR(pg_catalog.=) $1::pg_catalog.name";
// What PgBouncer asks by default, which knows no VALID UNTIL.
constexpr std::string_view kPgBouncersQuery = "SELECT usename, passwd FROM pg_shadow WHERE usename=$1";
constexpr const char* kExpired = "SELECT $1::pg_catalog.timestamptz OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp()";

using PgResult = std::unique_ptr<PGresult, decltype(&PQclear)>;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// One parameter, text; the rows, or why not. A spoilt connection is not used again.
Result<std::vector<pool::QueryRow>> query(PGconn* conn, const char* sql, const std::string& parameter, Deadline deadline) {
  const auto failed = [&](std::string message, bool spoilt) {
    Error e(sqlstate::kConnectionFailure, trimmed(std::move(message)));
    e.connection_spoilt = spoilt;
    return e;
  };
  const char* values[] = {parameter.c_str()};
  if (PQsendQueryParams(conn, sql, 1, nullptr, values, nullptr, nullptr, 0) != 1) return failed(PQerrorMessage(conn), true);
  PgResult result(nullptr, &PQclear);
  for (;;) {
    while (PQisBusy(conn) == 1) {
      pollfd p{PQsocket(conn), POLLIN, 0};
      const TimePoint now = Clock::now();
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left(now)).count();
      if (left <= 0 || ::poll(&p, 1, static_cast<int>(left)) <= 0) return failed("no answer in time", true);
      if (PQconsumeInput(conn) != 1) return failed(PQerrorMessage(conn), true);
    }
    PGresult* more = PQgetResult(conn);
    if (more == nullptr) break;
    result.reset(more);
  }
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) return failed(PQerrorMessage(conn), PQstatus(conn) == CONNECTION_BAD);
  std::vector<pool::QueryRow> rows(static_cast<std::size_t>(PQntuples(result.get())));
  for (int r = 0; r < PQntuples(result.get()); ++r)
    for (int c = 0; c < PQnfields(result.get()); ++c) {
      auto& cell = rows[static_cast<std::size_t>(r)].emplace_back();
      if (!PQgetisnull(result.get(), r, c)) cell.emplace(PQgetvalue(result.get(), r, c));
    }
  return rows;
}

LookUp unknown(std::string reason) { return {LookUp::Kind::unknown, nullptr, std::move(reason)}; }
LookUp failure(std::string reason) { return {LookUp::Kind::failed, nullptr, std::move(reason)}; }

}  // namespace

AuthQuery::AuthQuery(Authenticator& authenticator) : authenticator_(authenticator), threads_(kConnections) {}

AuthQuery::~AuthQuery() {
  std::lock_guard lock(mutex_);
  tasks_.clear();
}

void AuthQuery::look_up(const std::string& user, const std::string& database, LookUpTarget target, Done done) {
  const TimePoint now = Clock::now();
  std::unique_lock lock(mutex_);
  const Key key{database, user};
  if (const auto it = kept_.find(key); it != kept_.end() && now < it->second.until) {
    const LookUp answer = it->second.answer;
    lock.unlock();
    return done(answer);
  }
  auto& waiting = waiting_[key];
  waiting.push_back(std::move(done));
  if (waiting.size() > 1) return;
  if (tasks_.size() >= kMaxWaiting) {
    const Done refused = std::move(waiting.front());
    waiting_.erase(key);
    lock.unlock();
    return refused(failure(concat("more than ", std::to_string(kMaxWaiting), " look-ups wait")));
  }
  tasks_.push_back({key, std::move(target), Deadline::after(now, kTime), epoch_});
  if (working_ >= kConnections) return;
  ++working_;
  threads_.run([this] { work(); });
}

void AuthQuery::doubt(const std::string& user, const std::string& database) {
  std::lock_guard lock(mutex_);
  const auto it = kept_.find({database, user});
  if (it != kept_.end() && it->second.answer.kind == LookUp::Kind::found && Clock::now() - it->second.since > kKept / 5) kept_.erase(it);
}

void AuthQuery::forget_all() {
  std::lock_guard lock(mutex_);
  kept_.clear();
  ++epoch_;
}

// The next look-up, first one that an open connection can do; false: none is left, and this thread's turn is over.
bool AuthQuery::next(Task& task, const LookUpTarget* connected) {
  std::lock_guard lock(mutex_);
  if (tasks_.empty()) {
    --working_;
    return false;
  }
  auto it = tasks_.begin();
  if (connected != nullptr)
    if (const auto same = std::find_if(tasks_.begin(), tasks_.end(), [&](const Task& t) { return t.target == *connected; }); same != tasks_.end())
      it = same;
  task = std::move(*it);
  tasks_.erase(it);
  return true;
}

// A connection lives as long as look-ups wait for it: a storm of logins shares a few, a quiet proxy has none.
void AuthQuery::work() {
  pool::PgConn conn;
  LookUpTarget connected;
  for (Task task; next(task, conn ? &connected : nullptr);) {
    if (task.deadline.passed(Clock::now())) {
      finish(task, failure("its turn did not come in time"));
      continue;
    }
    if (conn && !(connected == task.target)) conn.reset();
    if (!conn) {
      auto opened = pool::connect_blocking(task.target.params, {}, task.deadline);
      if (!opened) {
        finish(task, failure(opened.error().message));
        continue;
      }
      conn = std::move(*opened);
      connected = task.target;
    }
    finish(task, ask(conn, task));
  }
}

LookUp AuthQuery::ask(pool::PgConn& conn, const Task& task) const {
  const std::string& user = task.key.second;
  const std::string& asked = task.target.query;
  const bool by_default = asked.empty() || asked == kPgBouncersQuery;
  auto rows = query(conn.get(), by_default ? kOwnQuery : asked.c_str(), user, task.deadline);
  if (!rows) {
    if (rows.error().connection_spoilt) conn.reset();
    return failure(concat("auth.query failed: ", rows.error().message));
  }
  return judge(conn, task, *rows);
}

LookUp AuthQuery::judge(pool::PgConn& conn, const Task& task, const std::vector<pool::QueryRow>& rows) const {
  const std::string& user = task.key.second;
  if (rows.empty()) return unknown("the user does not exist");
  if (rows.size() > 1) return failure("auth.query gave several rows");
  const pool::QueryRow& row = rows.front();
  if (row.size() < 2 || row.size() > 3) return failure(concat("auth.query gave ", std::to_string(row.size()), " columns: name and secret are needed"));
  if (row[0] != user) return unknown("auth.query gave another user than asked for");
  if (!row[1] || row[1]->empty()) return unknown("the user has no password");
  if (row.size() == 3 && row[2]) {
    const auto expired = query(conn.get(), kExpired, *row[2], task.deadline);
    if (!expired && expired.error().connection_spoilt) conn.reset();
    if (!expired || expired->size() != 1 || !expired->front()[0]) return failure("auth.query's third column is no time");
    if (expired->front()[0] != "f") return unknown("the user has an expired password");
  }
  auto secret = authenticator_.secret_of(user, *row[1]);
  if (!secret) return unknown(secret.error().message);
  return {LookUp::Kind::found, std::move(*secret), {}};
}

void AuthQuery::finish(const Task& task, LookUp answer) {
  std::vector<Done> told;
  {
    const TimePoint now = Clock::now();
    std::lock_guard lock(mutex_);
    if (kept_.size() >= kMaxKept) std::erase_if(kept_, [&](const auto& entry) { return entry.second.until <= now; });
    if (kept_.size() >= kMaxKept) kept_.clear();
    if (task.epoch == epoch_) kept_[task.key] = {answer, now, now + (answer.kind == LookUp::Kind::failed ? kKept / 5 : kKept)};
    if (const auto it = waiting_.find(task.key); it != waiting_.end()) {
      told = std::move(it->second);
      waiting_.erase(it);
    }
  }
  for (const Done& done : told) done(answer);
}

}  // namespace weir::proxy
