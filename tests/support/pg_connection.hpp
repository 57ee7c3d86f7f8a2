// A plain libpq connection for tests: every statement must succeed, or the test throws with the server's message.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::tests {

// A server's error, with its SQLSTATE.
class SqlError : public std::runtime_error {
 public:
  SqlError(std::string state, const std::string& message) : std::runtime_error(message), state_(std::move(state)) {}
  [[nodiscard]] const std::string& state() const { return state_; }

 private:
  std::string state_;
};

class PgConnection {
 public:
  using Row = std::vector<std::optional<std::string>>;
  using Rows = std::vector<Row>;

  explicit PgConnection(const std::string& conninfo) : conn_(PQconnectdb(conninfo.c_str()), &PQfinish) {
    if (PQstatus(conn_.get()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(conn_.get()));
    PQsetNoticeProcessor(
        conn_.get(), [](void*, const char*) {}, nullptr);
  }

  // One or more statements; the rows of the last.
  Rows exec(const std::string& sql) { return rows(PQexec(conn_.get(), sql.c_str())); }

  // One statement with text parameters.
  Rows exec(const std::string& sql, const std::vector<std::string>& parameters) {
    std::vector<const char*> values;
    for (const std::string& p : parameters) values.push_back(p.c_str());
    return rows(PQexecParams(conn_.get(), sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(), nullptr,
                             nullptr, 0));
  }

  // The only value of the only row.
  std::string value(const std::string& sql) {
    const Rows r = exec(sql);
    if (r.size() != 1 || r[0].size() != 1) throw std::runtime_error("not exactly one value: " + sql);
    return r[0][0].value_or("NULL");
  }

  [[nodiscard]] PGconn* raw() { return conn_.get(); }

 private:
  static Rows rows(PGresult* raw_result) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(raw_result, &PQclear);
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
      const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
      throw SqlError(state == nullptr ? "" : state, PQresultErrorMessage(result.get()));
    }
    Rows out;
    for (int i = 0; i < PQntuples(result.get()); ++i) {
      Row row;
      for (int c = 0; c < PQnfields(result.get()); ++c) {
        const bool null = PQgetisnull(result.get(), i, c) != 0;
        row.push_back(null ? std::nullopt : std::optional<std::string>(PQgetvalue(result.get(), i, c)));
      }
      out.push_back(std::move(row));
    }
    return out;
  }

  std::unique_ptr<PGconn, decltype(&PQfinish)> conn_;
};

}  // namespace weir::tests
