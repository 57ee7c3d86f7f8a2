#include "tests/unit/router/sharded_rows.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "base/strings.hpp"
#include "tests/unit/router/sharded_tables.hpp"

namespace weir::router::testing {
namespace {

using Value = std::optional<std::string>;
using Row = tests::PgConnection::Row;

std::string schema_with_rows(const std::string& schema, const std::string& keep) {
  const auto rows = [&](int count, std::string_view key) { return rows_of(count, key, keep); };
  return concat(
      "CREATE SCHEMA ", schema, "; SET search_path = ", schema, "; SET timezone = 'America/New_York';",
      "CREATE TABLE users (id int8 PRIMARY KEY, name text, friend int8, born date);"
      "CREATE TABLE orders (id int8, user_id int8 NOT NULL, status text, amount numeric(10,2), qty int4, price float8,"
      " created_at timestamptz, note varchar(20));"
      "CREATE TABLE works (id int8, user_id int4 NOT NULL, title text);"
      "CREATE TABLE countries (code text, title text, id int8);"
      "INSERT INTO users SELECT k, 'U' || i % 5, (i * 3 + 1) % 12, '2000-01-01'::date + (i * 37)::int",
      rows(12, "i"),
      "INSERT INTO orders SELECT i, k, nullif((ARRAY['s1', 'S1', 's2', 's0', 'é', 's3'])[1 + i % 6], 's3'),"
      " nullif((i * 137 % 101) / 4.0, 0), nullif(i * 7 % 11, 5), i * 0.25,"
      " '2024-01-01 00:00+00'::timestamptz + i * interval '37 hours', CASE WHEN i % 4 <> 0 THEN 'n' || i % 7 END",
      rows(60, "(i * 5 + i / 7) % 12"), "INSERT INTO works SELECT i % 9, k, 's' || i % 3", rows(25, "i * 7 % 12"),
      "INSERT INTO countries SELECT 's' || i, 'T' || i % 2, i FROM generate_series(0, 3) AS rows(i);");
}

std::string quoted(const Value& value) {
  if (!value) return "NULL";
  std::string out = "\"";
  for (const char c : *value) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// The order of two values of one type; texts bytewise, as the test's database sorts them.
int compare(const std::string& a, const std::string& b, std::uint32_t type) {
  switch (type) {
    case 20:
    case 21:
    case 23:
    case 700:
    case 701:
    case 1700: {
      const double x = std::stod(a), y = std::stod(b);
      return x < y ? -1 : x > y ? 1 : 0;
    }
    case 16:
    case 25:
    case 1043:
    case 1082:
    case 1184:
      return a.compare(b);
    default:
      throw std::runtime_error(concat("driver: cannot sort type ", std::to_string(type)));
  }
}

bool before(const Value& a, const Value& b, const SortColumn& by, std::uint32_t type, bool& decided) {
  decided = true;
  if (!a || !b) {
    decided = a.has_value() != b.has_value();
    return decided && (!a == by.nulls_first);
  }
  const int order = compare(*a, *b, type);
  decided = order != 0;
  return by.descending ? order > 0 : order < 0;
}

bool has_collation(std::uint32_t type) { return type == 25 || type == 1043 || type == 1042 || type == 19; }

// timestamptz as text sorts bytewise only with one offset.
constexpr const char* kSettings = "SET timezone = 'UTC'; SET statement_timeout = '10s'";

}  // namespace

std::string str(const Answer& answer) {
  std::string out = answer.error;
  for (const std::string& column : answer.columns) out += concat(column, " ");
  for (const std::uint32_t type : answer.types) out += concat(std::to_string(type), " ");
  for (const Row& row : answer.rows) {
    out += "\n  ";
    for (const Value& value : row) out += concat(value.value_or("NULL"), "|");
  }
  return out;
}

ShardedRows::ShardedRows() : database_(sharded_by_remainder(kScatterShards, 1, {{"users", "id"}, {"orders", "user_id"}, {"works", "user_id"}, {"countries", ""}})) {
  for (std::size_t i = 0; i <= kScatterShards; ++i) {
    connections_.push_back(std::make_unique<tests::PgConnection>(clusters_.conninfo(0)));
    const bool whole = i == kScatterShards;
    connections_[i]->exec(schema_with_rows(whole ? "whole" : concat("s", std::to_string(i)),
                                           whole ? "true" : concat("k % 4 = ", std::to_string(i))));
    connections_[i]->exec(kSettings);
  }
  catalog_ = read_catalog(*connections_.back(), database_);
  map_ = map_of(database_);
}

std::uint32_t ShardedRows::array_of(std::uint32_t type) {
  return static_cast<std::uint32_t>(std::stoul(
      connections_[0]->value(concat("SELECT typarray::int8 FROM pg_type WHERE oid = ", std::to_string(type)))));
}

Answer ShardedRows::exec(std::size_t connection, const std::string& sql, const std::vector<std::uint32_t>& types,
                         const std::vector<std::string>& values) {
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  const std::vector<Oid> oids(types.begin(), types.end());
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(
      PQexecParams(connections_[connection]->raw(), sql.c_str(), static_cast<int>(values.size()), oids.data(),
                   texts.data(), nullptr, nullptr, 0),
      &PQclear);
  Answer answer;
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
    answer.error = PQresultErrorMessage(result.get());
    return answer;
  }
  for (int c = 0; c < PQnfields(result.get()); ++c) {
    answer.columns.emplace_back(PQfname(result.get(), c));
    answer.types.push_back(PQftype(result.get(), c));
    answer.types.push_back(static_cast<std::uint32_t>(PQfmod(result.get(), c)));
  }
  for (int i = 0; i < PQntuples(result.get()); ++i) {
    Row row;
    for (int c = 0; c < PQnfields(result.get()); ++c)
      row.push_back(PQgetisnull(result.get(), i, c) != 0 ? std::nullopt : Value(PQgetvalue(result.get(), i, c)));
    answer.rows.push_back(std::move(row));
  }
  return answer;
}

Answer ShardedRows::run_on_whole(const std::string& sql) { return exec(kScatterShards, sql); }

Answer ShardedRows::run(const ScatterPlan& plan, const Route& route, const Arguments& arguments) {
  Rendering rendering;
  rendering.arguments = &arguments;
  const std::string now = connections_[0]->value("SELECT now()");
  rendering.now = now;
  const auto limit = value_of(plan.limit, false, arguments), offset = value_of(plan.offset, true, arguments);
  if (!limit || !offset) return {"driver: LIMIT", {}, {}, {}};
  if (*limit) rendering.rows = **limit + offset->value_or(0);
  try {
    if (plan.strategy == ScatterPlan::Strategy::finish) return finish(plan, route, rendering);
    Answer answer = stream(plan, route, rendering);
    auto& rows = answer.rows;
    rows.erase(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(rows.size(), offset->value_or(0))));
    if (*limit) rows.resize(std::min<std::size_t>(rows.size(), **limit));
    return answer;
  } catch (const std::runtime_error& error) {
    return {error.what(), {}, {}, {}};
  }
}

Answer ShardedRows::gather(const TextTemplate& text, const Route& route, const Rendering& rendering) {
  Answer all;
  const std::string sql = text.render(rendering);
  for (const schema::ShardId shard : route.shards) {
    Answer part = exec(shard, sql);
    if (!part.error.empty()) throw std::runtime_error(concat(part.error, " in ", sql));
    if (shard != route.shards.front() && (part.columns != all.columns || part.types != all.types))
      throw std::runtime_error("driver: shards differ");
    all.columns = part.columns;
    all.types = part.types;
    all.rows.insert(all.rows.end(), part.rows.begin(), part.rows.end());
  }
  return all;
}

Answer ShardedRows::stream(const ScatterPlan& plan, const Route& route, const Rendering& rendering) {
  Answer all = gather(plan.shard_sql, route, rendering);
  const std::size_t visible = all.columns.size() - plan.order.size();
  for (std::size_t i = 0; i < plan.order.size(); ++i)
    if (has_collation(all.types[2 * (visible + i)]) && (!plan.order[i].collation_known || !plan.order[i].collation.empty()))
      throw std::runtime_error("driver: collation not known");
  std::stable_sort(all.rows.begin(), all.rows.end(), [&](const Row& a, const Row& b) {
    for (std::size_t i = 0; i < plan.order.size(); ++i) {
      bool decided = false;
      const bool first = before(a[visible + i], b[visible + i], plan.order[i], all.types[2 * (visible + i)], decided);
      if (decided) return first;
    }
    return false;
  });
  all.columns.resize(visible);
  all.types.resize(2 * visible);
  for (Row& row : all.rows) row.resize(visible);
  return all;
}

Answer ShardedRows::finish(const ScatterPlan& plan, const Route& route, const Rendering& rendering) {
  std::vector<std::uint32_t> types;
  std::vector<std::string> values;
  for (const Gathered& gathered : plan.gathered) {
    const Answer rows = gather(gathered.shard_sql, route, rendering);
    if (rows.columns.size() != gathered.columns.size() || gathered.first_parameter != values.size() + 1)
      throw std::runtime_error("the plan's parameters do not fit");
    for (std::size_t c = 0; c < rows.columns.size(); ++c) {
      const std::uint32_t type = rows.types[2 * c];
      const GatheredColumn& column = gathered.columns[c];
      if (!column.exact_type && rows.types[2 * c + 1] != static_cast<std::uint32_t>(-1)) throw std::runtime_error("driver: typmod");
      if (!column.exact_type && !column.default_collation && has_collation(type)) throw std::runtime_error("driver: collation not known");
      types.push_back(array_of(type));
      std::string array = "{";
      for (const Row& row : rows.rows) array += concat(array.size() > 1 ? "," : "", quoted(row[c]));
      values.push_back(array + "}");
    }
  }
  const std::string sql = plan.finish_sql.render(rendering);
  Answer answer = exec(0, sql, types, values);
  if (!answer.error.empty()) answer.error += concat(" in ", sql);
  return answer;
}

}  // namespace weir::router::testing
