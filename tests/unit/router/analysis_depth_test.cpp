// Statements that are meant to overflow a stack or to take for ever.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

std::string repeated(std::string_view part, std::size_t n) {
  std::string out;
  out.reserve(part.size() * n);
  for (std::size_t i = 0; i < n; ++i) out += part;
  return out;
}

// PostgreSQL's own parser is not recursive, so any length of text may come this far.
Plan bounded(const std::string& sql, const TestCatalog& catalog = sharded_catalog()) {
  const auto start = std::chrono::steady_clock::now();
  Plan plan = plan_of(sql, {}, catalog);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << sql.substr(0, 60);
  return plan;
}

TEST(Depth, TwoHundredParenthesesAreFine) {
  const std::string sql = "SELECT * FROM orders WHERE " + repeated("(", 200) + "user_id = 1" + repeated(")", 200);
  EXPECT_EQ(bounded(sql).target, Target::keyed);
}

TEST(Depth, LongListsAreFine) {
  EXPECT_EQ(bounded("SELECT * FROM orders WHERE user_id = 1" + repeated(" AND id <> 2", 90'000)).target, Target::keyed);
  EXPECT_EQ(bounded("SELECT * FROM orders WHERE user_id = 1" + repeated(" OR user_id = 1", 70'000)).target,
            Target::keyed);
  EXPECT_EQ(bounded("SELECT * FROM orders WHERE user_id IN (1" + repeated(", 1", 300'000) + ")").target, Target::keyed);
  EXPECT_EQ(bounded("INSERT INTO orders (id, user_id) VALUES (1, 1)" + repeated(", (1, 1)", 100'000)).target,
            Target::keyed);
  EXPECT_EQ(bounded("SELECT 1" + repeated(", 1", 300'000)).target, Target::no_table);
}

TEST(Depth, TreesThatAreTooDeepAreRefusedAndOverflowNothing) {
  for (const std::string& sql :
       {"SELECT 1" + repeated("+1", 200'000), "SELECT 1" + repeated("+1", 500'000),
        "SELECT * FROM orders WHERE user_id = 1 AND id = 1" + repeated("||1", 200'000),
        "SELECT 1" + repeated(" UNION SELECT 1", 60'000), "SELECT " + repeated("NOT ", 9'900) + "true",
        "SELECT a" + repeated("::text", 100'000), "SELECT * FROM a" + repeated(" CROSS JOIN b", 50'000),
        "SELECT * FROM a" + repeated(" JOIN b ON true", 30'000), "SELECT " + repeated("- ", 9'000) + "a",
        "SELECT a" + repeated(" IS NULL", 100'000)}) {
    const Plan plan = bounded(sql);
    EXPECT_EQ(plan.verb, Verb::unparsable) << sql.substr(0, 60);
    EXPECT_EQ(plan.target, Target::refused);
    ASSERT_TRUE(plan.refusal);
    EXPECT_EQ(bounded(sql, plain_catalog()).target, Target::home);
    EXPECT_TRUE(bounded(sql, plain_catalog()).effects.pins);
  }
}

TEST(Depth, TextTheParserGivesUpOnIsUnparsable) {
  for (const std::string& sql :
       {"SELECT " + repeated("(", 500'000), "SELECT " + repeated("(SELECT ", 100'000), repeated("(", 1'000'000),
        "SELECT " + repeated("NOT ", 200'000) + "true", "SELECT " + repeated("CASE WHEN a THEN ", 60'000),
        repeated("WITH a AS (", 90'000), "SELECT " + repeated("a.", 400'000) + "b;;" + repeated("x ", 50'000)})
    EXPECT_EQ(bounded(sql).verb, Verb::unparsable) << sql.substr(0, 60);
}

TEST(Depth, NestedQueriesAreWalkedOrRefused) {
  for (const std::size_t depth : {10U, 100U, 390U, 1'000U, 3'000U}) {
    std::string sublinks = "SELECT 1", froms = "SELECT 1", ctes = "SELECT 1";
    for (std::size_t i = 0; i < depth; ++i) {
      sublinks = "SELECT (" + sublinks + ")";
      froms = "SELECT 1 FROM (" + froms + ") s";
      ctes = "WITH a AS (" + ctes + ") SELECT 1";
    }
    for (const std::string& sql : {sublinks, froms, ctes}) {
      const Plan plan = bounded(sql);
      EXPECT_TRUE(plan.target == Target::no_table || plan.verb == Verb::unparsable) << depth;
      EXPECT_EQ(plan.target == Target::no_table, depth <= 100 || plan.target == Target::no_table);
    }
    // A table at the very bottom is never lost.
    std::string hidden = "SELECT count(*) FROM orders";
    for (std::size_t i = 0; i < depth; ++i) hidden = "SELECT (" + hidden + ")";
    const Target target = bounded(hidden).target;
    EXPECT_TRUE(target == Target::refused || target == Target::scatter) << depth;
  }
}

TEST(Depth, ManyStatementsInOneString) {
  EXPECT_EQ(bounded(repeated("SELECT 1;", 50'000)).target, Target::no_table);
  EXPECT_EQ(bounded(repeated("SELECT * FROM orders WHERE user_id = 1;", 10'000)).target, Target::keyed);
}

TEST(Depth, ManyTablesAndColumnsTakeBoundedTime) {
  std::string from = "SELECT * FROM orders o0", where = " WHERE o0.user_id = 1";
  for (int i = 1; i < 300; ++i) {
    from += ", orders o" + std::to_string(i);
    where += " AND o" + std::to_string(i) + ".user_id = o" + std::to_string(i - 1) + ".user_id";
  }
  EXPECT_EQ(bounded(from + where).bindings.size(), 300U);
  EXPECT_EQ(bounded("SELECT * FROM orders" + repeated(", settings", 3'000) + " WHERE user_id = 1").target,
            Target::scatter);
  EXPECT_EQ(bounded("SELECT * FROM orders WHERE user_id = 1" + repeated(" AND user_id = id", 30'000)).target,
            Target::keyed);
}

// Workers are threads with the default stack of 8 MB; half a megabyte must do, where sanitizers do not make frames
// larger.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t kStack = 8 << 20;
#else
constexpr std::size_t kStack = 512 << 10;
#endif
TEST(Depth, ASmallStackIsEnough) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kStack);
  std::string nested = "SELECT count(*) FROM orders";
  for (int i = 0; i < 380; ++i) nested = "SELECT 1 FROM (SELECT 1 WHERE EXISTS (" + nested + ")) s";
  const auto run = [](void* sql) -> void* {
    (void)plan_of(*static_cast<std::string*>(sql));
    (void)plan_of("SELECT 1" + repeated("+1", 200'000));
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, run, &nested), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace
}  // namespace weir::router::testing
