#include "tests/unit/router/split_rows.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/strings.hpp"
#include "tests/unit/router/random_sql.hpp"
#include "tests/unit/router/sharded_tables.hpp"

namespace weir::router::testing {
namespace {

TableRules rules() {
  TableRules found;
  for (const RandomTable& table : random_tables()) found.emplace_back(table.name, table.key);
  return found;
}

// `keep`: a condition on the key k of each row.
std::string schema_with_rows(const std::string& schema, const std::string& keep) {
  const auto rows = [&](int count, std::string_view key) { return rows_of(count, key, keep); };
  return concat("CREATE SCHEMA ", schema, "; SET search_path = ", schema, ";",
                "CREATE TABLE users (id int8 NOT NULL, name text, score float8, other_id int8);"
                "CREATE TABLE orders (id int8, user_id int8 NOT NULL, status text);"
                "CREATE TABLE works (id int8, user_id int4 NOT NULL, title text);"
                "CREATE TABLE countries (code text, title text, id int8);"
                "INSERT INTO users SELECT k, 'u' || i % 3, i % 4, (i + 1) % 8",
                rows(8, "i"), "INSERT INTO orders SELECT i % 6, k, 'u' || i % 3", rows(20, "i % 8"),
                "INSERT INTO works SELECT i % 5, k, 'u' || i % 3", rows(14, "i * 3 % 8"),
                "INSERT INTO countries SELECT 'u' || i, 'u' || i % 2, i FROM generate_series(0, 3) AS rows(i);");
}

void sort(tests::PgConnection::Rows& rows) { std::sort(rows.begin(), rows.end()); }

std::string contents_of(const std::vector<std::string>& schemas) {
  std::string out;
  for (const RandomTable& table : random_tables())
    for (const std::string& schema : schemas)
      if (!table.key.empty())
        out += concat(out.empty() ? "" : " UNION ALL ", "SELECT '", table.name, "', t::text FROM ", schema, ".",
                      table.name, " t");
  return out;
}

}  // namespace

std::string str(const Outcome& outcome) {
  std::string out = outcome.error;
  for (const auto* rows : {&outcome.rows, &outcome.contents}) {
    for (const auto& row : *rows) {
      for (const auto& value : row) out += concat(value.value_or("NULL"), "|");
      out += " ";
    }
    out += rows->empty() ? "(no rows) " : "";
  }
  return out;
}

SplitRows::SplitRows() : connection_(clusters_.conninfo(0)), database_(sharded_by_remainder(kShards, 2, rules())) {
  fill();
  connection_.exec("SET search_path = whole");
  catalog_ = read_catalog(connection_, database_);
  map_ = map_of(database_);
}

void SplitRows::fill() {
  connection_.exec(schema_with_rows("whole", "true"));
  for (std::size_t i = 0; i < kShards; ++i)
    connection_.exec(schema_with_rows(concat("s", std::to_string(i)), concat("k % 4 / 2 = ", std::to_string(i))));
}

Outcome SplitRows::run_on_whole(const std::string& sql, bool writes) { return run("whole", {"whole"}, sql, writes); }

Outcome SplitRows::run_on_shard(std::size_t shard, const std::string& sql, bool writes) {
  return run(concat("s", std::to_string(shard)), {"s0", "s1"}, sql, writes);
}

Outcome SplitRows::run(const std::string& schema, const std::vector<std::string>& read_from, const std::string& sql,
                       bool writes) {
  Outcome outcome;
  // A cross join of everything with everything is cut short where it holds all rows, and then not compared.
  connection_.exec(concat("BEGIN; SET LOCAL search_path = ", schema,
                          "; SET LOCAL statement_timeout = ", schema == "whole" ? "'1s'" : "'20s'"));
  try {
    outcome.rows = connection_.exec(sql);
    if (writes) outcome.contents = connection_.exec(contents_of(read_from));
  } catch (const tests::SqlError& error) {
    outcome.error = error.what();
  }
  connection_.exec("ROLLBACK");
  sort(outcome.rows);
  sort(outcome.contents);
  return outcome;
}

}  // namespace weir::router::testing
