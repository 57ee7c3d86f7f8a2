#include "tests/unit/router/written_shards.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/strings.hpp"
#include "tests/unit/router/sharded_tables.hpp"

namespace weir::router::testing {
namespace {

constexpr std::size_t kShards = 4;
constexpr const char* kContents[] = {
    "SELECT * FROM users ORDER BY 1, 2, 3",
    "SELECT * FROM orders ORDER BY 1, 2, 3, 4, 5, 6",
    "SELECT * FROM works ORDER BY 1, 2, 3",
    "SELECT * FROM countries ORDER BY 1",
};
constexpr std::size_t kReference = 3;

std::string schema_with_rows(const std::string& schema, const std::string& keep) {
  const auto rows = [&](int count, std::string_view key) { return rows_of(count, key, keep); };
  return concat("CREATE SCHEMA ", schema, "; SET search_path = ", schema, "; SET timezone = 'UTC'; SET statement_timeout = '10s';",
                "CREATE TABLE users (id int8 PRIMARY KEY, name text DEFAULT 'none', friend int8 CHECK (friend < 50));"
                "CREATE TABLE orders (user_id int8 NOT NULL, id int8 DEFAULT 7, status text, qty int4 DEFAULT 3, at timestamptz, note varchar(20),"
                " PRIMARY KEY (user_id, id));"
                "CREATE TABLE works (user_id int4 NOT NULL, id int8, title text);"
                "CREATE TABLE countries (code text PRIMARY KEY, title text DEFAULT 'untitled', made timestamptz DEFAULT now(), day date DEFAULT CURRENT_DATE,"
                " id int8);"
                "INSERT INTO users SELECT k, 'U' || i % 5, (i * 3 + 1) % 12",
                rows(12, "i"), "INSERT INTO orders SELECT k, i, (ARRAY['s0', 's1', 's2', NULL])[1 + i % 4], i * 7 % 11, '2024-01-01 00:00+00'::timestamptz + i * interval '1 day', 'n' || i % 3",
                rows(40, "(i * 5 + i / 7) % 12"), "INSERT INTO works SELECT k, i % 9, 's' || i % 3", rows(20, "i * 7 % 12"),
                "INSERT INTO countries SELECT 's' || i, 'T' || i % 2, '2024-01-01 00:00+00', '2024-01-01', i FROM generate_series(0, 3) AS rows(i);");
}

}  // namespace

std::string str(const Written& written) {
  std::string out = concat(written.error, " ", written.count);
  const auto show = [&out](const tests::PgConnection::Rows& rows) {
    for (const auto& row : rows) {
      out += "\n   ";
      for (const auto& value : row) out += concat(" ", value.value_or("NULL"));
    }
  };
  show(written.rows);
  for (const auto& table : written.contents) {
    out += "\n  --";
    show(table);
  }
  return out;
}

WrittenShards::WrittenShards() : database_(sharded_by_remainder(kShards, 1, {{"users", "id"}, {"orders", "user_id"}, {"works", "user_id"}, {"countries", ""}})) {
  for (std::size_t i = 0; i <= kShards; ++i) {
    connections_.push_back(std::make_unique<tests::PgConnection>(clusters_.conninfo(0)));
    const bool whole = i == kShards;
    connections_[i]->exec(schema_with_rows(whole ? "whole" : concat("s", std::to_string(i)), whole ? "true" : concat("k % 4 = ", std::to_string(i))));
  }
  catalog_ = read_catalog(*connections_.back(), database_);
  map_ = map_of(database_);
}

Written WrittenShards::exec(std::size_t connection, const std::string& sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connections_[connection]->raw(), sql.c_str()), &PQclear);
  Written written;
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
    written.error = state == nullptr ? "?" : state;
    return written;
  }
  written.count = PQcmdTuples(result.get());
  for (int i = 0; i < PQntuples(result.get()); ++i) {
    tests::PgConnection::Row row;
    for (int c = 0; c < PQnfields(result.get()); ++c)
      row.push_back(PQgetisnull(result.get(), i, c) != 0 ? std::nullopt : std::optional<std::string>(PQgetvalue(result.get(), i, c)));
    written.rows.push_back(std::move(row));
  }
  return written;
}

// The union of the connections' rows; a reference table's must be the same on all, and count once.
void WrittenShards::read_contents(Written& written, std::size_t first, std::size_t last) {
  for (std::size_t t = 0; t < std::size(kContents); ++t) {
    tests::PgConnection::Rows all;
    for (std::size_t i = first; i <= last; ++i) {
      tests::PgConnection::Rows rows = connections_[i]->exec(kContents[t]);
      if (t == kReference && i > first) {
        if (rows != all) throw std::runtime_error("the shards' copies of a reference table differ");
      } else {
        all.insert(all.end(), rows.begin(), rows.end());
      }
    }
    std::sort(all.begin(), all.end());
    written.contents.push_back(std::move(all));
  }
}

Written WrittenShards::run_on_whole(const std::string& sql) {
  tests::PgConnection& connection = *connections_.back();
  connection.exec("BEGIN");
  now_ = connection.value("SELECT now()");
  Written written = exec(kShards, sql);
  if (written.error.empty()) read_contents(written, kShards, kShards);
  connection.exec("ROLLBACK");
  return written;
}

std::vector<WrittenShards::Part> WrittenShards::parts_of(const Plan& plan, const Route& route, const Arguments& arguments, std::vector<schema::ShardId>& rows) {
  const WritePlan& write = *plan.scatter->write;
  Rendering rendering;
  rendering.arguments = &arguments;
  rendering.now = now_;
  std::vector<Part> parts;
  if (write.kind == WritePlan::Kind::rows) rows = *shards_of_rows(plan, arguments, map());
  for (const schema::ShardId shard : route.shards) {
    if (write.kind != WritePlan::Kind::rows) {
      parts.push_back({shard, write.text.empty() ? std::string(arguments.sql) : write.text.render(rendering)});
      continue;
    }
    std::vector<std::uint32_t> mine;
    for (std::uint32_t i = 0; i < rows.size(); ++i)
      if (rows[i] == shard) mine.push_back(i);
    parts.push_back({shard, text_of_rows(write, mine).render(rendering)});
  }
  return parts;
}

Written WrittenShards::run(const Plan& plan, const Route& route, const Arguments& arguments) {
  const WritePlan& write = *plan.scatter->write;
  const bool same = write.kind == WritePlan::Kind::same;
  std::vector<schema::ShardId> rows;
  const std::vector<Part> parts = parts_of(plan, route, arguments, rows);
  for (std::size_t i = 0; i < kShards; ++i) connections_[i]->exec("BEGIN");
  Written all;
  std::vector<tests::PgConnection::Rows> returned(kShards);
  std::size_t count = 0;
  for (const Part& part : parts) {
    Written one = exec(part.shard, part.sql);
    if (!one.error.empty()) {
      all.error = one.error;
      break;
    }
    if (same && part.shard != parts.front().shard && (one.count != all.count || one.rows.size() != all.rows.size())) throw std::runtime_error("shards differ");
    if (same && part.shard == parts.front().shard) all.rows = one.rows;
    all.count = one.count;
    count += std::stoul(one.count);
    returned[part.shard] = std::move(one.rows);
  }
  if (!same) all.count = std::to_string(count);
  if (write.kind == WritePlan::Kind::rows) {
    std::vector<std::size_t> next(kShards);
    for (const schema::ShardId shard : rows)
      if (next[shard] < returned[shard].size()) all.rows.push_back(returned[shard][next[shard]++]);
  } else if (!same) {
    for (const auto& part : returned) all.rows.insert(all.rows.end(), part.begin(), part.end());
  }
  if (all.error.empty())
    read_contents(all, 0, kShards - 1);
  else
    all = {all.error, {}, {}, {}};
  for (std::size_t i = 0; i < kShards; ++i) connections_[i]->exec("ROLLBACK");
  return all;
}

}  // namespace weir::router::testing
