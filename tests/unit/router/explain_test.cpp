// EXPLAIN over several shards: its options for the parts, and the one plan that is made of theirs.
#include "router/explain.hpp"

#include <gtest/gtest.h>

#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

TEST(Explain, OfSeveralShardsIsPlannedAsItsStatement) {
  const Plan all = plan_of("EXPLAIN SELECT * FROM orders");
  ASSERT_EQ(all.target, Target::scatter);
  ASSERT_NE(all.explain, nullptr);
  EXPECT_EQ(all.explain->prefix, "EXPLAIN ");
  EXPECT_EQ(all.explain->finish_prefix, "EXPLAIN ");
  const Plan options = plan_of("EXPLAIN (ANALYZE, Costs off, FORMAT JSON, BUFFERS) SELECT count(*) FROM orders");
  ASSERT_NE(options.explain, nullptr);
  EXPECT_TRUE(options.explain->json);
  EXPECT_TRUE(options.read_only);
  EXPECT_EQ(options.explain->prefix, "EXPLAIN (ANALYZE, \"costs\" 'off', \"format\" 'json', \"buffers\") ");
  EXPECT_EQ(options.explain->finish_prefix, "EXPLAIN (\"costs\" 'off', \"format\" 'json') ");
  const Plan keyed = plan_of("EXPLAIN VERBOSE SELECT * FROM orders WHERE user_id IN (1, 2)");
  EXPECT_EQ(keyed.target, Target::keyed);
  ASSERT_NE(keyed.explain, nullptr);
  EXPECT_EQ(keyed.explain->prefix, "EXPLAIN (\"verbose\") ");
  EXPECT_EQ(plan_of("EXPLAIN SELECT * FROM orders WHERE user_id = 1").explain, nullptr);
  EXPECT_EQ(plan_of("SELECT * FROM orders").explain, nullptr);
}

TEST(Explain, OfWritesAndInOtherFormatsIsRefused) {
  for (const char* sql : {"EXPLAIN (FORMAT XML) DELETE FROM orders", "EXPLAIN UPDATE orders SET user_id = 1", "EXPLAIN (FORMAT XML) SELECT * FROM orders",
                          "EXPLAIN (FORMAT YAML) SELECT * FROM orders"})
    EXPECT_EQ(plan_of(sql).target, Target::refused) << sql;
  EXPECT_EQ(plan_of("EXPLAIN (FORMAT XML) SELECT * FROM orders WHERE user_id IN (1, 2)").scatter, nullptr);
}

TEST(Explain, RowsStandUnderEachShard) {
  const ScatterPlan plan;
  Explained explained;
  explained.plan = &plan;
  explained.parts = {{"s0", "SELECT 1\nFROM t", "", {"Seq Scan", "  Filter"}}, {"s1", "SELECT 1", "", {"Result"}}};
  explained.limit = 3;
  const std::vector<std::string> expected = {"Weir Append  (shards: s0, s1)", "  Limit: 3",         "  ->  Shard s0", "        Query: SELECT 1", "FROM t",
                                             "        Seq Scan",               "          Filter", "  ->  Shard s1", "        Query: SELECT 1", "        Result"};
  EXPECT_EQ(explained_rows(explained, false), expected);
}

TEST(Explain, JsonHoldsTheServersDocuments) {
  const ScatterPlan plan;
  Explained explained;
  explained.plan = &plan;
  explained.parts = {{"s\"0", "SELECT '\t'", "", {"[", "  {}", "]"}}};
  const auto rows = explained_rows(explained, true);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_NE(rows[0].find("{\"Shard\": \"s\\\"0\", \"Query\": \"SELECT '\\u0009'\", \"Explain\": [\n  {}\n]}"), std::string::npos) << rows[0];
}

}  // namespace
}  // namespace weir::router::testing
