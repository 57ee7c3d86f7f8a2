// Texts of plans over several shards, and what is refused with which reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/strings.hpp"
#include "router/scatter_plan.hpp"
#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string render(const TextTemplate& text, const Arguments& arguments) {
  Rendering rendering;
  rendering.arguments = &arguments;
  rendering.rows = 15;
  rendering.now = "2026-11-21 13:31:35+00";
  return text.render(rendering);
}

// "stream: <text>; by ..." or "finish: <text>; ...; <finishing text>"; what it is refused for.
std::string scattered(std::string_view sql) {
  const Plan plan = plan_of(sql);
  if (plan.scatter == nullptr) return concat("refused: ", plan.refusal ? plan.refusal->message : "");
  Lifted lifted;
  lift(sql, true, lifted);
  Arguments arguments;
  arguments.sql = sql, arguments.literals = lifted.literals;
  std::string out = concat(name_of(plan.scatter->strategy), ": ");
  if (!plan.scatter->shard_sql.empty()) out += render(plan.scatter->shard_sql, arguments);
  for (const SortColumn& by : plan.scatter->order)
    out += concat("; by", by.descending ? " desc" : "", by.nulls_first ? " nulls first" : "",
                  by.collation.empty() ? "" : concat(" collate ", by.collation), by.collation_known ? "" : " collation unknown");
  for (const Gathered& gathered : plan.scatter->gathered) out += concat(render(gathered.shard_sql, arguments), "; ");
  return concat(out, render(plan.scatter->finish_sql, arguments));
}

TEST(ScatterPlan, AggregatesAreFoundWhereverTheyStand) {
  for (const std::string_view sql : {"SELECT (SELECT count(o.id)) FROM orders o", "SELECT (SELECT count(o.id) FROM countries c) FROM orders o",
                                     "SELECT (SELECT count(o.id) FILTER (WHERE EXISTS (SELECT 1 FROM users w WHERE w.id = o.user_id))) FROM orders o",
                                     "SELECT count(*) IN (SELECT 1) FROM orders", "SELECT row_number() OVER (ORDER BY id) IN (SELECT 1) FROM orders",
                                     "SELECT 1 FROM orders ORDER BY (SELECT max(orders.id))", "SELECT DISTINCT ON (count(*)) 1 FROM orders",
                                     "SELECT s.count FROM orders o, LATERAL (SELECT o.id) s", "SELECT o.count FROM orders o", "SELECT (o).count FROM orders o",
                                     "SELECT s.count FROM orders s WHERE EXISTS (SELECT 1 FROM (SELECT 1 AS count) s)"})
    EXPECT_THAT(scattered(sql), ::testing::Not(StartsWith("stream"))) << sql;
  for (const std::string_view sql : {"SELECT (SELECT count(w.id) FROM users w WHERE w.id = o.user_id) FROM orders o", "SELECT (SELECT count(*) FROM countries) FROM orders o",
                                     "SELECT s.count FROM orders o, LATERAL (SELECT count(*) FROM users o2 WHERE o2.id = o.user_id) s",
                                     "SELECT user_id, (SELECT count(o.id)) FROM orders o GROUP BY user_id"})
    EXPECT_THAT(scattered(sql), StartsWith("stream")) << sql;
}

TEST(ScatterPlan, ArraysOfRowsInNoOrderAreEachShardsOwn) {
  EXPECT_THAT(scattered("SELECT id, ARRAY (SELECT name FROM countries) FROM orders"), ::testing::Not(StartsWith("stream")));
  EXPECT_THAT(scattered("SELECT id, ARRAY (SELECT name FROM countries ORDER BY code) FROM orders"), ::testing::Not(StartsWith("stream")));
  for (const std::string_view sql : {"SELECT id, ARRAY (SELECT name FROM countries ORDER BY name DESC) FROM orders", "SELECT id, ARRAY (SELECT name FROM countries ORDER BY 1) FROM orders",
                                     "SELECT id FROM orders WHERE status = ANY (ARRAY (SELECT name FROM countries)::text[])", "SELECT id, ARRAY (SELECT generate_series(1, 3)) FROM orders",
                                     "SELECT id, ARRAY (SELECT w.id FROM users w WHERE w.id = o.user_id) FROM orders o"})
    EXPECT_THAT(scattered(sql), StartsWith("stream")) << sql;
}

TEST(ScatterPlan, RowsAreStreamedAndMergedByHiddenColumns) {
  EXPECT_EQ(scattered("SELECT id, status FROM orders"), "stream: SELECT id, status FROM orders");
  EXPECT_EQ(scattered("SELECT * FROM orders ORDER BY created_at DESC, id LIMIT 10 OFFSET 5"),
            "stream: SELECT *, created_at AS weir_sort_1, id AS weir_sort_2 FROM orders ORDER BY created_at DESC, id LIMIT 15"
            "; by desc nulls first; by");
  EXPECT_EQ(scattered("SELECT user_id, count(*) FROM orders GROUP BY user_id HAVING count(*) > 2 ORDER BY 2"),
            "stream: SELECT user_id, count(*), count(*) AS weir_sort_1 FROM orders GROUP BY user_id HAVING count(*) > (2) "
            "ORDER BY 2; by");
  EXPECT_EQ(scattered("SELECT id FROM orders WHERE status = 'x' AND amount > -1.5"),
            "stream: SELECT id FROM orders WHERE status = ('x') AND amount > (-1.5)");
}

TEST(ScatterPlan, AggregatesArePartialOnTheShards) {
  EXPECT_EQ(scattered("SELECT count(*) FROM orders"),
            "finish: SELECT count(*) AS c1 FROM orders; "
            "SELECT (coalesce(pg_catalog.sum(weir_g.c1), 0)::pg_catalog.int8) AS count FROM "
            "(SELECT weir_u.c1 AS c1 FROM unnest($1) AS weir_u(c1)) weir_g");
  EXPECT_EQ(scattered("SELECT status, avg(amount) FROM orders GROUP BY status ORDER BY 2 DESC LIMIT 3"),
            "finish: SELECT status AS c1, pg_catalog.sum(amount) AS c2, pg_catalog.count(amount) AS c3 FROM orders GROUP BY 1; "
            "SELECT weir_g.c1 AS status, (pg_catalog.sum(weir_g.c2)::pg_catalog.numeric OPERATOR(pg_catalog./) "
            "nullif(pg_catalog.sum(weir_g.c3), 0)) AS avg FROM "
            "(SELECT weir_u.c1::text AS c1, weir_u.c2 AS c2, weir_u.c3 AS c3 FROM unnest($1, $2, $3) AS weir_u(c1, c2, c3)) weir_g "
            "GROUP BY weir_g.c1 ORDER BY 2 DESC LIMIT (3)");
}

TEST(ScatterPlan, OtherStatementsGatherTheRowsTheyRead) {
  EXPECT_EQ(scattered("SELECT string_agg(status, ',' ORDER BY id) FROM orders o WHERE o.amount > 5"),
            "finish: SELECT o.id, o.user_id, o.amount, o.status FROM orders o WHERE o.amount > (5); "
            "SELECT string_agg(status, (',') ORDER BY id) FROM (SELECT weir_u.c1::bigint AS \"id\", weir_u.c2::bigint AS "
            "\"user_id\", weir_u.c3::numeric(10,2) AS \"amount\", weir_u.c4::text AS \"status\" FROM unnest($1, $2, $3, $4) AS "
            "weir_u(c1, c2, c3, c4)) o WHERE o.amount > (5)");
}

TEST(ScatterPlan, TimeIsFixedOnce) {
  EXPECT_EQ(scattered("SELECT id FROM orders WHERE created_at > now() - interval '1 day'"),
            "stream: SELECT id AS id FROM orders WHERE created_at > (('2026-11-21 13:31:35+00'::pg_catalog.timestamptz) - "
            "('1 day')::interval)");
}

TEST(ScatterPlan, WhatIsNotCertainIsRefused) {
  const auto refused = [](std::string_view sql, std::string_view part) {
    EXPECT_THAT(scattered(sql), ::testing::AllOf(StartsWith("refused: "), HasSubstr(std::string(part)))) << sql;
  };
  refused("SELECT random(), id FROM orders", "random()");
  refused("SELECT id FROM orders TABLESAMPLE system (10)", "TABLESAMPLE");
  refused("SELECT ctid, id FROM orders", "ctid");
  refused("SELECT id FROM (SELECT id FROM orders FOR UPDATE) o", "FOR UPDATE / SHARE in a subquery");
  refused("SELECT id FROM orders LIMIT 1 FOR UPDATE SKIP LOCKED", "SKIP LOCKED");
  refused("SELECT current_user, id FROM orders", "CURRENT_USER");
  refused("SELECT version(), id FROM orders", "version()");
  refused("SELECT id FROM orders WHERE status = 'orders'::regclass::text", "regclass");
  refused("SELECT string_agg(o::text, ',') FROM orders o", "a row of o");
}

TEST(ScatterPlan, AnotherLiteralInTheSelectListIsAnotherStatement) {
  const std::string_view sql = "SELECT amount + 1, count(*) FROM orders GROUP BY amount + 1";
  const Plan plan = plan_of(sql);
  ASSERT_NE(plan.scatter, nullptr);
  ASSERT_EQ(plan.scatter->literals.same.size() + plan.scatter->literals.fixed.size(), 1U);
  const std::string_view other = "SELECT amount + 2, count(*) FROM orders GROUP BY amount + 1";
  config::Database database;
  database.sharding.emplace().buckets = 2;
  for (std::uint32_t i = 0; i < 2; ++i) database.shards.emplace_back().buckets = {{i, i}};
  const auto map = schema::BucketMap::from(database);
  ASSERT_TRUE(map.ok());
  for (const auto& [text, good] : {std::pair(sql, true), std::pair(other, false)}) {
    Lifted lifted;
    lift(text, true, lifted);
    Arguments arguments;
    arguments.sql = text, arguments.literals = lifted.literals;
    EXPECT_EQ(resolve(plan, arguments, *map).ok(), good) << text;
  }
}

TEST(RowCountValue, ReadsLiteralsAndParameters) {
  const Literal literal{7, 2, LiteralClass::int4};
  const std::uint8_t four[] = {0, 0, 0, 4}, minus[] = {0xff, 0xff, 0xff, 0xff};
  const Parameter parameters[] = {{false, false, as_bytes(" 12 ")}, {true, false, {}}, {false, true, four}, {false, true, minus},
                                  {false, false, as_bytes("1.5")}};
  const std::uint32_t declared[] = {0, 0, schema::oid::kInt4, schema::oid::kInt4, 0};
  Arguments arguments;
  arguments.sql = "SELECT 10", arguments.literals = {&literal, 1}, arguments.parameters = parameters;
  arguments.declared = declared;
  const auto of = [&](RowCount::Kind kind, std::uint64_t value) { return value_of({kind, value}, false, arguments); };
  EXPECT_EQ(*of(RowCount::Kind::literal, 0), std::optional<std::uint64_t>(10));
  EXPECT_EQ(*of(RowCount::Kind::parameter, 0), std::optional<std::uint64_t>(12));
  EXPECT_EQ(*of(RowCount::Kind::parameter, 1), std::nullopt);
  EXPECT_EQ(*of(RowCount::Kind::parameter, 2), std::optional<std::uint64_t>(4));
  EXPECT_EQ(of(RowCount::Kind::parameter, 3).error().code, SqlState("2201W"));
  EXPECT_EQ(of(RowCount::Kind::parameter, 4).error().code, sqlstate::kFeatureNotSupported);
  EXPECT_EQ(of(RowCount::Kind::parameter, 9).error().code, sqlstate::kProtocolViolation);
  EXPECT_EQ(*of(RowCount::Kind::fixed, 3), std::optional<std::uint64_t>(3));
  EXPECT_EQ(*of(RowCount::Kind::none, 0), std::nullopt);
}

}  // namespace
}  // namespace weir::router::testing
