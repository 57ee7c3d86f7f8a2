#include "migrate/row_mover.hpp"

#include <libpq-fe.h>

#include <memory>
#include <pqxx/except>

#include "migrate/session.hpp"
#include "schema/quote.hpp"

namespace weir::migrate {

namespace {

using client::ServerConnection;

constexpr Deadline kPatient = Deadline::never();
constexpr std::uint64_t kBatchBlocks = 512;  // 4 MB of a table

struct ClearResult {
  void operator()(PGresult* r) const { PQclear(r); }
};
using ResultPtr = std::unique_ptr<PGresult, ClearResult>;

struct FreeMemory {
  void operator()(char* p) const { PQfreemem(p); }
};

[[noreturn]] void fail(const char* what, const MovedTable& table, PGconn* connection) {
  throw pqxx::failure(std::string(what) + " " + table.name + ": " + PQerrorMessage(connection));
}

void begin_copy(PGconn* connection, const std::string& sql, ExecStatusType expected, const MovedTable& table) {
  const ResultPtr result(PQexec(connection, sql.c_str()));
  if (PQresultStatus(result.get()) != expected) fail("starting to copy", table, connection);
}

// What ends a COPY: its command's result, then none.
void finish_copy(PGconn* connection, const MovedTable& table) {
  bool good = true;
  for (ResultPtr result(PQgetResult(connection)); result; result.reset(PQgetResult(connection)))
    good = good && PQresultStatus(result.get()) == PGRES_COMMAND_OK;
  if (!good) fail("copying", table, connection);
}

std::uint64_t pump(PGconn* from, PGconn* to, const MovedTable& table, const Checkpoint& checkpoint) {
  std::uint64_t bytes = 0;
  std::uint64_t rows = 0;
  for (;;) {
    char* data = nullptr;
    const int n = PQgetCopyData(from, &data, 0);
    const std::unique_ptr<char, FreeMemory> row(data);
    if (n == -1) return bytes;
    if (n < 0) fail("reading", table, from);
    if (PQputCopyData(to, data, n) != 1) fail("writing", table, to);
    bytes += static_cast<std::uint64_t>(n);
    if (++rows % 1000 == 0) checkpoint();
  }
}

std::uint64_t blocks_of(ServerConnection& connection, const std::string& leaf) {
  const auto rows = connection.query(
      "SELECT pg_relation_size(" + schema::quote_literal(leaf) + "::regclass) / current_setting('block_size')::bigint",
      kPatient);
  return std::stoull(rows.at(0).at(0).value_or("0"));
}

}  // namespace

void prepare_session(ServerConnection& connection) {
  const auto encoding = connection.query("SHOW server_encoding", kPatient);
  connection.query("SET client_encoding = '" + encoding.at(0).at(0).value_or("UTF8") + "'", kPatient);
  for (const char* setting :
       {"DateStyle = 'ISO, YMD'", "IntervalStyle = 'postgres'", "TimeZone = 'UTC'", "extra_float_digits = 1",
        "bytea_output = 'hex'", "xmloption = 'content'", "search_path = ''", "statement_timeout = 0",
        "idle_in_transaction_session_timeout = 0", "default_transaction_read_only = off", "row_security = off",
        "standard_conforming_strings = on"})
    connection.query(std::string("SET ") + setting, kPatient);
}

void quiet_triggers(ServerConnection& connection, const std::string& shard) {
  try {
    connection.query("SET session_replication_role = replica", kPatient);
  } catch (const pqxx::sql_error& e) {
    throw Failure("shard " + shard + ": tables have triggers or foreign keys, and this role may not quiet them (" +
                  e.what() +
                  "); set database.maintenance to a superuser, or GRANT SET ON PARAMETER session_replication_role");
  }
}

void begin_locked(ServerConnection& connection, const std::string& isolation, const std::vector<MovedTable>& tables,
                  Duration lock_timeout) {
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(lock_timeout).count();
  connection.query("BEGIN ISOLATION LEVEL " + isolation, kPatient);
  connection.query("SET LOCAL lock_timeout = " + std::to_string(millis), kPatient);
  std::string names;
  for (const auto& table : tables) names += (names.empty() ? "" : ", ") + table.name;
  connection.query("LOCK TABLE " + names + " IN SHARE ROW EXCLUSIVE MODE", kPatient);
}

void begin_source(ServerConnection& source, const std::vector<MovedTable>& tables, Duration lock_timeout) {
  begin_locked(source, "REPEATABLE READ", tables, lock_timeout);  // the snapshot is taken after it: LOCK needs none
}

std::uint64_t copy_rows(ServerConnection& source, ServerConnection& target, const MovedTable& table,
                        const Checkpoint& checkpoint) {
  PGconn* from = source.handle();
  PGconn* to = target.handle();
  begin_copy(from, "COPY (SELECT " + table.columns + " FROM " + table.name + " WHERE " + table.where + ") TO STDOUT",
             PGRES_COPY_OUT, table);
  begin_copy(to, "COPY " + table.name + " (" + table.columns + ") FROM STDIN", PGRES_COPY_IN, table);
  const std::uint64_t bytes = pump(from, to, table, checkpoint);
  finish_copy(from, table);
  if (PQputCopyEnd(to, nullptr) != 1) fail("ending the copy of", table, to);
  finish_copy(to, table);
  return bytes;
}

// Leaf by leaf and block range by block range: one pass over the table, however large, and short transactions. Nobody
// writes rows of these buckets any more, so none appears in a block that is done.
std::uint64_t delete_rows(ServerConnection& connection, const MovedTable& table, const Checkpoint& checkpoint) {
  std::uint64_t deleted = 0;
  for (const auto& leaf : leaves_of(connection, table)) {
    const std::uint64_t blocks = blocks_of(connection, leaf);
    for (std::uint64_t block = 0; block < blocks; block += kBatchBlocks) {
      checkpoint();
      const std::string range =
          "ctid >= '(" + std::to_string(block) + ",0)' AND ctid < '(" + std::to_string(block + kBatchBlocks) + ",0)'";
      const auto rows = connection.query("WITH gone AS (DELETE FROM ONLY " + leaf + " WHERE " + range + " AND " +
                                             table.where + " RETURNING 1) SELECT count(*) FROM gone",
                                         kPatient);
      deleted += std::stoull(rows.at(0).at(0).value_or("0"));
    }
  }
  return deleted;
}

}  // namespace weir::migrate
