// unlisted_tables = "reject": what a statement may name besides listed tables.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

using ::testing::HasSubstr;

const TestCatalog& rejecting_catalog() {
  static const TestCatalog catalog(true, config::UnlistedTables::reject);
  return catalog;
}

Plan rejecting(std::string_view sql) { return plan_of(sql, {}, rejecting_catalog()); }

void expect_rejected(std::string_view sql, std::string_view table) {
  const Plan plan = rejecting(sql);
  EXPECT_EQ(plan.target, Target::refused) << sql;
  EXPECT_TRUE(plan.bindings.empty()) << sql;
  ASSERT_TRUE(plan.refusal) << sql;
  EXPECT_EQ(plan.refusal->code.view(), "0A000") << sql;
  EXPECT_EQ(plan.refusal->message, "table " + std::string(table) + " is not listed, and unlisted_tables is \"reject\"");
  EXPECT_THAT(plan.refusal->hint, HasSubstr("List it in weir.toml")) << sql;
  EXPECT_THAT(plan.refusal->hint, HasSubstr("unlisted_tables = \"home\"")) << sql;
}

TEST(UnlistedTables, AreRefusedWhereverAStatementNamesThem) {
  for (const char* sql :
       {"SELECT * FROM settings", "SELECT * FROM public.settings", "TABLE settings",
        "SELECT * FROM orders WHERE user_id = 1 AND status IN (SELECT name FROM settings)",
        "SELECT * FROM orders o JOIN settings s ON s.user_id = o.user_id WHERE o.user_id = 1",
        "SELECT * FROM countries, settings", "WITH s AS (SELECT * FROM settings) SELECT 1",
        "INSERT INTO settings VALUES ('a')", "INSERT INTO orders (user_id) SELECT 1 FROM settings",
        "UPDATE settings SET value = ''", "DELETE FROM settings", "DELETE FROM orders USING settings WHERE user_id = 1",
        "COPY settings FROM STDIN", "COPY (SELECT * FROM settings) TO STDOUT", "EXPLAIN SELECT * FROM settings",
        "DECLARE c CURSOR FOR SELECT * FROM settings", "TRUNCATE settings",
        "LOCK TABLE settings", "VACUUM settings", "DROP TABLE settings", "DROP TABLE public.settings",
        "ALTER TABLE settings ADD x int", "CREATE INDEX ON settings (name)", "COMMENT ON TABLE settings IS ''",
        "CREATE TEMP TABLE t (LIKE settings)", "CREATE TEMP TABLE t AS SELECT * FROM settings",
        "SELECT 1; SELECT * FROM settings",
        // The table that a statement writes to is no CTE.
        "WITH settings AS (SELECT 1) DELETE FROM settings"})
    expect_rejected(sql, "public.settings");
}

TEST(UnlistedTables, ViewsOverThemAreRefusedToo) { expect_rejected("SELECT * FROM v_settings", "public.v_settings"); }

TEST(UnlistedTables, AreNotMadeEither) {
  for (const char* sql : {"CREATE TABLE fresh (a int)", "CREATE TABLE fresh AS SELECT 1", "SELECT 1 AS a INTO fresh",
                          "CREATE VIEW fresh AS SELECT 1", "CREATE UNLOGGED TABLE fresh (a int)"})
    expect_rejected(sql, "fresh");
  expect_rejected("CREATE TABLE shop.fresh (a int)", "shop.fresh");
}

TEST(UnlistedTables, AnUnknownNameWithASchemaIsNoTemporaryTable) {
  expect_rejected("SELECT * FROM shop.unknown", "shop.unknown");
}

TEST(UnlistedTables, ListedSystemTemporaryAndCteNamesAreNone) {
  const auto target = [](std::string_view sql) { return rejecting(sql).target; };
  EXPECT_EQ(target("SELECT * FROM orders WHERE user_id = 1"), Target::keyed);
  EXPECT_EQ(target("SELECT * FROM works_202401 WHERE user_id = 1"), Target::keyed);
  EXPECT_EQ(target("SELECT * FROM countries"), Target::any);
  EXPECT_EQ(target("SELECT 1"), Target::no_table);
  EXPECT_EQ(target("WITH settings AS (SELECT 1) SELECT * FROM settings"), Target::no_table);
  EXPECT_EQ(target("WITH RECURSIVE settings AS (SELECT 1 UNION ALL SELECT * FROM settings) TABLE settings"),
            Target::no_table);
  for (const char* sql :
       {"SELECT * FROM pg_class", "SELECT * FROM pg_catalog.pg_class", "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_new_in_a_later_version", "CREATE TEMP TABLE t (a int)",
        "CREATE TEMP TABLE settings (a int)", "CREATE TEMP TABLE t AS SELECT 1", "SELECT 1 AS a INTO TEMP t",
        "INSERT INTO t VALUES (1)", "SELECT * FROM pg_temp.t", "DROP TABLE t", "DROP TABLE pg_temp.t",
        "SELECT * FROM orders_id_seq"})
    EXPECT_EQ(target(sql), Target::home) << sql;
  EXPECT_EQ(target("CREATE SEQUENCE s"), Target::scatter);
}

TEST(UnlistedTables, AreKnownByTheRulesAloneOffline) {
  config::Database database;
  database.sharding.emplace().unlisted_tables = config::UnlistedTables::reject;
  config::Table orders;
  orders.name = "orders", orders.key = "user_id";
  database.tables.push_back(orders);
  const auto catalog = schema::Catalog::offline(database);
  const auto target = [&](std::string_view sql) {
    AnalysisInput input;
    input.sql = sql, input.catalog = catalog.get(), input.search_path = {"public"};
    return analyse(input).target;
  };
  EXPECT_EQ(target("SELECT * FROM orders WHERE user_id = 1"), Target::keyed);
  EXPECT_EQ(target("SELECT * FROM other"), Target::refused);
  EXPECT_EQ(target("SELECT * FROM pg_temp.other"), Target::home);
  EXPECT_EQ(target("SELECT * FROM pg_class"), Target::home);
}

TEST(UnlistedTables, LiveAtHomeByDefaultAndInAPlainDatabase) {
  EXPECT_EQ(plan_of("SELECT * FROM settings").target, Target::home);
  static const TestCatalog plain_rules(false, config::UnlistedTables::reject);
  EXPECT_EQ(plan_of("SELECT * FROM settings", {}, plain_rules).target, Target::home);
}

}  // namespace
}  // namespace weir::router::testing
