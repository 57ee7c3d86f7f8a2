// Where statements go in a sharded database, and what is refused with which reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(Target, WhatNamesNoListedTableGoesHome) {
  for (const char* sql : {"SELECT * FROM settings",
                          "SELECT * FROM pg_class",
                          "SELECT * FROM information_schema.tables",
                          "SELECT * FROM made_later",
                          "INSERT INTO settings VALUES ('a')",
                          "SELECT * FROM settings, countries",
                          "SELECT nextval('orders_id_seq')",
                          "SELECT pg_advisory_lock(1)",
                          "SELECT pg_try_advisory_xact_lock(1)",
                          "SELECT currval('orders_id_seq')",
                          "COPY settings FROM STDIN",
                          "COPY settings TO STDOUT",
                          "CREATE TABLE t (a int)",
                          "CREATE TEMP TABLE t AS SELECT 1",
                          "CREATE INDEX ON settings (name)",
                          "DROP TABLE settings",
                          "TRUNCATE settings",
                          "GRANT SELECT ON settings TO bob",
                          "LOCK TABLE settings",
                          "VACUUM settings",
                          "COMMENT ON TABLE settings IS 'x'",
                          "CREATE VIEW v AS SELECT * FROM settings",
                          "INSERT INTO settings SELECT code FROM countries",
                          "SELECT * FROM countries, pg_class",
                          "SELECT lo_create(0)",
                          "CREATE SEQUENCE s OWNED BY settings.name",
                          "SELECT * FROM orders_id_seq",
                          "SELECT * INTO t FROM settings",
                          "MERGE INTO settings s USING countries c ON s.name = c.code WHEN MATCHED THEN DELETE",
                          "SELECT 1; SELECT * FROM settings",
                          "DELETE FROM audited",
                          "SELECT * FROM v_settings",
                          "ALTER TABLE settings ADD COLUMN x int",
                          "SELECT code FROM countries; DELETE FROM settings"})
    EXPECT_EQ(route(sql), "home") << sql;
}

TEST(Target, WhatNamesNoTableAtAllRunsAnywhereInTheSession) {
  for (const char* sql :
       {"SELECT 1", "SELECT version(), now()", "SHOW work_mem", "SELECT * FROM generate_series(1, 3)", "VALUES (1)",
        "FETCH ALL FROM c", "CLOSE c", "DISCARD TEMP", "SELECT set_config('search_path', 'a', false)", "", "NOTIFY a",
        "SELECT set_config('a', 'b', true)", "SELECT set_config('app.tenant', '7', false)", "SELECT 'orders'::regclass, pg_relation_size('orders')",
        "BEGIN; SET LOCAL work_mem = 5", "EXPLAIN SELECT 1", "SELECT twice(1), tick()"})
    EXPECT_EQ(route(sql), "no table") << sql;
}

TEST(Target, SessionStatementsHaveNoShard) {
  for (const char* sql : {"BEGIN", "COMMIT", "ROLLBACK TO a", "SET work_mem = 5", "RESET ALL", "DISCARD ALL",
                          "DEALLOCATE ALL", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                          "SET CONSTRAINTS ALL DEFERRED", "SET CONSTRAINTS unknown IMMEDIATE"})
    EXPECT_EQ(route(sql), "transaction") << sql;
}

TEST(Target, SetConfigOfTheSearchPathIsReadWhereItStandsAlone) {
  const Plan local = plan_of("SELECT pg_catalog.set_config('Search_Path', 'a, \"B\"', true) AS path");
  ASSERT_TRUE(local.path);
  EXPECT_TRUE(local.path->local);
  EXPECT_EQ(local.path->value, "a, \"B\"");
  EXPECT_EQ(local.effects, Effects{});
  const Plan given = plan_of("SELECT set_config('search_path', $2, false)");
  ASSERT_TRUE(given.path);
  EXPECT_FALSE(given.path->local);
  EXPECT_EQ(given.path->parameter, 1U);
  EXPECT_FALSE(plan_of("SELECT set_config('work_mem', '1MB', true)").path);
}

TEST(Target, ReferenceTablesAreReadAnywhere) {
  EXPECT_EQ(route("SELECT * FROM countries"), "any");
  EXPECT_EQ(route("SELECT * FROM countries JOIN currencies USING (code)"), "any");
  EXPECT_EQ(route("COPY countries TO STDOUT"), "any");
  EXPECT_EQ(route("SELECT 1; SELECT * FROM countries"), "any");
  EXPECT_EQ(route("SELECT * FROM countries; SELECT * FROM orders WHERE user_id = 1"), "orders: 1");
}

TEST(Target, InsertTakesTheKeysOfItsRows) {
  EXPECT_EQ(route("INSERT INTO orders (id, user_id) VALUES (1, 42)"), "orders: 42");
  EXPECT_EQ(route("INSERT INTO orders VALUES (1, 42)"), "orders: 42");
  EXPECT_EQ(route("INSERT INTO orders AS o (user_id) VALUES ($1) RETURNING o.*"), "orders: $1");
  EXPECT_EQ(route("INSERT INTO orders (user_id, id) VALUES (1, 2), (-3, $1)"), "orders: 1, -3");
  EXPECT_EQ(route("INSERT INTO orders (user_id, approved_by) VALUES ($1, $1)"), "orders: $1");
  EXPECT_EQ(route("INSERT INTO orders (user_id, approved_by) VALUES ($1::bigint, $2)"), "orders: $1");
  EXPECT_EQ(route("INSERT INTO orders (user_id, status) VALUES (5, (SELECT name FROM users WHERE id = 5))"),
            "users: 5; orders: 5");
  EXPECT_EQ(route("INSERT INTO orders (user_id) VALUES (5) ON CONFLICT (id) DO UPDATE SET status = excluded.status"),
            "orders: 5");
  EXPECT_EQ(route("INSERT INTO orders (user_id) SELECT 5"), "orders: 5");
  EXPECT_EQ(route("INSERT INTO orders (user_id, id) SELECT id, 7 FROM users WHERE id = $1"), "users: $1; orders: $1");
  EXPECT_EQ(route("INSERT INTO orders (user_id, id) SELECT u.id, count(*) FROM users u, works w WHERE u.id = 1 AND "
                  "w.user_id = u.id GROUP BY u.id"),
            "users: 1; works: 1; orders: 1");
  EXPECT_EQ(route("WITH i AS (INSERT INTO orders (user_id) VALUES (5) RETURNING *) SELECT * FROM i"), "orders: 5");
  EXPECT_TRUE(plan_of("INSERT INTO orders (user_id) VALUES (5)").bindings.at(0).inserts);
  EXPECT_FALSE(plan_of("SELECT * FROM orders WHERE user_id = 5").bindings.at(0).inserts);
  // varchar(10) may cut blanks off: resolve() is told.
  EXPECT_EQ(plan_of("INSERT INTO accounts (name) VALUES ($1)").bindings.at(0).values.at(0).max_length, 10U);
  EXPECT_EQ(plan_of("SELECT * FROM accounts WHERE name = $1").bindings.at(0).values.at(0).max_length, 0U);
}

TEST(Target, UpdateAndDeleteTakeTheKeyOfTheirCondition) {
  EXPECT_EQ(route("UPDATE orders SET status = 'x' WHERE user_id = 1"), "orders: 1");
  EXPECT_EQ(route("UPDATE orders o SET status = u.name FROM users u WHERE u.id = o.user_id AND o.user_id = 1"),
            "orders: 1; users: 1");
  EXPECT_EQ(route("DELETE FROM orders WHERE user_id = $1 RETURNING *"), "orders: $1");
  EXPECT_EQ(route("DELETE FROM orders o USING users u WHERE u.id = o.user_id AND u.id = 1"), "orders: 1; users: 1");
  EXPECT_EQ(route("UPDATE orders SET approved_by = $1 WHERE user_id = $1"), "orders: $1");
  EXPECT_EQ(route("UPDATE orders SET status = (SELECT title FROM countries WHERE code = status) WHERE user_id = 1"),
            "orders: 1");
}

struct Refusal {
  const char* sql;
  const char* message;
};

TEST(Target, RefusesWithAReasonAndAHint) {
  for (const Refusal& r : {
           Refusal{"SELECT * FROM orders", "nothing binds the sharding key user_id of table public.orders"},
           {"INSERT INTO orders (id) VALUES (1)", "without its sharding key user_id"},
           {"INSERT INTO orders DEFAULT VALUES", "without its sharding key user_id"},
           {"INSERT INTO orders VALUES (1)", "without its sharding key user_id"},
           {"INSERT INTO orders (user_id) VALUES (DEFAULT)", "DEFAULT as its sharding key"},
           {"INSERT INTO orders (user_id) VALUES (1), (DEFAULT)", "DEFAULT as its sharding key"},
           {"INSERT INTO orders (user_id) VALUES (1 + 1.5)", "is not a constant or parameter"},
           {"INSERT INTO orders (user_id) VALUES ((SELECT 1))", "is not a constant or parameter"},
           {"INSERT INTO orders (user_id) VALUES (nextval('s'))", "home shard"},
           {"INSERT INTO orders (user_id) VALUES (1.5::float8)", "is not a constant or parameter"},
           {"INSERT INTO orders (user_id, amount) VALUES ($1, $1)", "may have another type"},
           {"INSERT INTO orders (user_id[1]) VALUES (1)", "without its sharding key"},
           {"INSERT INTO orders (user_id) SELECT id FROM users", "nothing binds"},
           {"INSERT INTO orders (user_id) SELECT approved_by FROM orders WHERE user_id = 1", "rows with the same sharding key"},
           {"INSERT INTO orders (user_id) SELECT id + 1 FROM users WHERE id = 1", "is not a constant or parameter"},
           {"INSERT INTO orders (user_id) SELECT $1", "does not bind the sharding key"},
           {"INSERT INTO orders SELECT * FROM orders WHERE user_id = 1", "does not bind the sharding key"},
           {"INSERT INTO orders (user_id) SELECT 1 UNION SELECT 2", "does not bind the sharding key"},
           {"INSERT INTO orders (user_id) SELECT max(user_id) FROM orders WHERE user_id = 1",
            "does not bind the sharding key"},
           {"INSERT INTO tags (label) SELECT label FROM tags WHERE label = 'x'", "does not bind the sharding key"},
           {"INSERT INTO orders (user_id) VALUES (1) ON CONFLICT (id) DO UPDATE SET user_id = 2",
            "UPDATE of the sharding key"},
           {"UPDATE orders SET user_id = 2 WHERE user_id = 1", "UPDATE of the sharding key user_id"},
           {"UPDATE orders SET (status, user_id) = ('x', 2) WHERE user_id = 1", "UPDATE of the sharding key"},
           {"UPDATE orders SET (status, user_id) = (SELECT 'x', 2) WHERE user_id = 1", "UPDATE of the sharding key"},
           {"UPDATE orders SET status = 'x'", "nothing binds"},
           {"UPDATE orders SET status = 'x' FROM users WHERE users.id = 1", "sharding keys being equal"},
           {"UPDATE orders SET status = (SELECT user_id::text FROM orders LIMIT 1) WHERE user_id = 1", "sharding keys being equal"},
           {"DELETE FROM orders", "nothing binds"},
           {"DELETE FROM orders WHERE CURRENT OF c", "WHERE CURRENT OF"},
           {"DELETE FROM orders USING users WHERE users.id = 1", "sharding keys being equal"},
           {"MERGE INTO orders o USING countries c ON o.user_id = 1 WHEN NOT MATCHED THEN INSERT (user_id, id) VALUES (c.code::int, 1)",
            "is not a constant or parameter"},
           {"MERGE INTO orders o USING countries c ON o.user_id = 1 WHEN MATCHED THEN UPDATE SET user_id = 2", "UPDATE of the sharding key"},
           {"MERGE INTO settings s USING orders o ON o.user_id = 1 WHEN MATCHED THEN DELETE", "is sharded and"},
           {"INSERT INTO countries VALUES ('x')", "writing reference table public.countries"},
           {"DELETE FROM countries", "writing reference table"},
           {"WITH d AS (DELETE FROM countries RETURNING *) SELECT * FROM d", "a write in a WITH query that needs several shards"},
           {"SELECT * FROM countries FOR UPDATE", "reference table public.countries"},
           {"SELECT * FROM orders o, countries c WHERE o.user_id = 1 FOR UPDATE", "reference table"},
           {"SELECT * FROM (SELECT * FROM countries) s FOR UPDATE", "FOR UPDATE / SHARE of a subquery"},
           {"SELECT * FROM orders o, settings s WHERE o.user_id = 1", "public.settings is on the home shard only"},
           {"SELECT * FROM orders o, made_later s WHERE o.user_id = 1", "made_later is on the home shard only"},
           {"SELECT * FROM orders o, pg_class s WHERE o.user_id = 1", "pg_class is on the home shard only"},
           {"INSERT INTO settings SELECT status FROM orders WHERE user_id = 1", "is on the home shard only"},
           {"SELECT * INTO t FROM orders WHERE user_id = 1", "is on the home shard only"},
           {"SELECT 1 AS x INTO orders", "that is a listed table"},
           {"SELECT 1 AS x INTO TEMP countries", "that is a listed table"},
           {"SELECT 1 AS x INTO TEMP orders", "that is a listed table"},
           {"SELECT pg_advisory_xact_lock(1) FROM orders WHERE user_id = 1", "belongs to the home shard"},
           {"SELECT set_config('search_path', 'x', false), 1", "set_config() may change how"},
           {"SELECT set_config('search_path', 'x', 1 = 1)", "set_config() may change how"},
           {"SELECT set_config('search_path', version(), true)", "set_config() may change how"},
           {"SELECT set_config('search_path', 'x', true) FROM countries", "set_config() may change how"},
           {"SELECT set_config('search_path', 'x', true) WHERE true", "set_config() may change how"},
           {"SELECT set_config('search_path', 'x', true) UNION SELECT 'y'", "set_config() may change how"},
           {"SELECT 1; SELECT set_config('search_path', 'x', true)", "set_config() may change how"},
           {"EXPLAIN SELECT set_config('search_path', 'x', true)", "set_config() may change how"},
           {"SELECT pg_catalog.set_config('client_encoding', 'UTF8', true)", "set_config() may change how"},
           {"SET LOCAL search_path = x; SELECT 1", "SET search_path in one string"},
           {"SET search_path = x; SET CONSTRAINTS ALL DEFERRED", "SET search_path in one string"},
           {"SELECT set_config('weir.shard', 's1', true)", "set_config() may change how"},
           {"SELECT set_config($1, 'x', true)", "set_config() may change how"},
           {"SELECT set_config('app.tenant', user_id::text, false) FROM orders", "nothing binds"},
           {"SELECT nextval('orders_id_seq') FROM orders WHERE user_id = 1", "belongs to the home shard"},
           {"SELECT * FROM v_orders WHERE user_id = 1", "view public.v_orders reaches sharded tables"},
           {"SELECT touch()", "touch() may read sharded tables"},
           {"SELECT peek() FROM orders WHERE user_id = 1", "peek() may read sharded tables"},
           {"SELECT o.peek FROM orders o WHERE user_id = 1", "attribute notation"},
           {"SELECT (o).peek FROM orders o WHERE user_id = 1", "attribute notation"},
           {"SELECT nowhere()", "nowhere() is not known"},
           {"SELECT query_to_xml('SELECT * FROM orders', true, true, '')", "query_to_xml() may read sharded tables"},
           {"SELECT table_to_xml('orders', true, true, '')", "may read sharded tables"},
           {"SELECT * FROM ts_stat('SELECT x FROM orders')", "may read sharded tables"},
           {"DO 'x'", "DO cannot be routed"},
           {"CALL p()", "CALL cannot be routed"},
           {"CREATE INDEX ON orders (id)", "CREATE INDEX on public.orders"},
           {"CREATE UNIQUE INDEX ON countries (code)", "CREATE INDEX on public.countries"},
           {"CREATE INDEX ON works_202401 (id)", "CREATE INDEX on public.works_202401"},
           {"ALTER TABLE orders ADD COLUMN x int", "ALTER TABLE on public.orders"},
           {"ALTER TABLE settings ADD FOREIGN KEY (user_id) REFERENCES users", "to public.users"},
           {"ALTER TABLE settings INHERIT orders", "names public.orders"},
           {"ALTER TABLE works ATTACH PARTITION settings DEFAULT", "names public.works"},
           {"ALTER TABLE settings ATTACH PARTITION orders DEFAULT", "names public.orders"},
           {"ALTER TABLE orders RENAME TO x", "of listed public.orders"},
           {"ALTER TABLE orders RENAME COLUMN id TO x", "on public.orders"},
           {"ALTER TABLE orders SET SCHEMA x", "of listed public.orders"},
           {"DROP TABLE settings, orders", "DROP TABLE on public.orders"},
           {"DROP TABLE public.orders", "DROP TABLE on public.orders"},
           {"DROP TRIGGER t ON orders", "DROP TRIGGER on public.orders"},
           {"DROP VIEW v_orders", "v_orders"},
           {"DROP INDEX i", "DROP INDEX on i would have to run on every shard"},
           {"REINDEX TABLE orders", "on public.orders"},
           {"REINDEX INDEX i", "every shard"},
           {"TRUNCATE settings, orders", "TRUNCATE on public.orders"},
           {"GRANT SELECT ON orders TO bob", "GRANT on public.orders"},
           {"GRANT USAGE ON SCHEMA s TO bob", "every shard"},
           {"GRANT SELECT ON ALL TABLES IN SCHEMA public TO bob", "every shard"},
           {"LOCK TABLE orders", "LOCK on public.orders"},
           {"VACUUM orders", "on public.orders"},
           {"VACUUM", "every shard"},
           {"ANALYZE", "every shard"},
           {"CLUSTER", "every shard"},
           {"COPY orders FROM '/tmp/x'", "COPY between a file and public.orders"},
           {"COPY orders TO STDOUT", "COPY of public.orders"},
           {"COPY countries FROM STDIN", "COPY of public.countries"},
           {"COPY (SELECT * FROM orders) TO STDOUT", "nothing binds"},
           {"COMMENT ON TABLE orders IS 'x'", "on public.orders"},
           {"COMMENT ON COLUMN orders.id IS 'x'", "on public.orders"},
           {"COMMENT ON SCHEMA public IS 'x'", "every shard"},
           {"CREATE VIEW v AS SELECT * FROM orders WHERE user_id = 1", "on public.orders"},
           {"CREATE VIEW v AS SELECT * FROM countries", "on public.countries"},
           {"CREATE TABLE t AS SELECT * FROM orders WHERE user_id = 1", "from public.orders"},
           {"CREATE TABLE t (u bigint REFERENCES users)", "to public.users"},
           {"CREATE TABLE t (u bigint, FOREIGN KEY (u) REFERENCES users)", "to public.users"},
           {"CREATE TABLE t () INHERITS (orders)", "on public.orders"},
           {"CREATE TABLE t PARTITION OF works FOR VALUES FROM (1) TO (2)", "on public.works"},
           {"CREATE TABLE orders (x int)", "on public.orders"},
           {"CREATE TEMP TABLE orders (x int)", "on public.orders"},
           {"CREATE SEQUENCE s OWNED BY orders.id", "CREATE SEQUENCE on public.orders"},
           {"CREATE TRIGGER t AFTER INSERT ON orders EXECUTE FUNCTION f()", "on public.orders"},
           {"CREATE POLICY p ON settings USING (EXISTS (SELECT FROM orders))", "orders"},
           {"CREATE RULE r AS ON INSERT TO settings DO ALSO DELETE FROM orders", "a rule rewrites"},
           {"CREATE STATISTICS s ON id, status FROM orders", "on public.orders"},
           {"CREATE ROLE bob", "CREATE ROLE would have to run on every shard"},
           {"CREATE SCHEMA s", "every shard"},
           {"CREATE SCHEMA s CREATE TABLE t (a int)", "with objects in it"},
           {"CREATE EXTENSION hstore", "every shard"},
           {"CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE FUNCTION would have to run"},
           {"CREATE TYPE t AS ENUM ('a')", "every shard"},
           {"CREATE DATABASE d", "concerns more than"},
           {"ALTER SYSTEM SET a = 1", "concerns more than"},
           {"DROP OWNED BY bob", "every shard"},
           {"ALTER DATABASE d SET a = 1", "concerns more than"},
           {"PREPARE TRANSACTION 'x'", "two-phase commit"},
           {"COMMIT PREPARED 'x'", "two-phase commit"},
           {"SELECT * FROM orders WHERE user_id = 1; DELETE FROM settings", "one string of several statements"},
           {"SELECT 1; SELECT * FROM orders", "nothing binds"},
           {"SELECT 1; DO 'x'", "DO cannot be routed"},
           {"SELEC 1", "syntax error"},
       }) {
    const Plan plan = plan_of(r.sql);
    // What several shards may answer is refused so by who cannot ask several.
    ASSERT_TRUE(plan.target == Target::refused || plan.target == Target::scatter) << r.sql;
    const Error refusal = plan.target == Target::scatter ? plan.scatter->refusal : plan.refusal.value_or(Error());
    EXPECT_EQ(refusal.code, sqlstate::kFeatureNotSupported) << r.sql;
    EXPECT_THAT(refusal.message, HasSubstr(r.message)) << r.sql;
    EXPECT_FALSE(refusal.hint.empty()) << r.sql;
    EXPECT_TRUE(plan.bindings.empty()) << r.sql;
  }
}

TEST(Target, APlanSaysWhyAndNamesItsTables) {
  const Plan plan = plan_of("SELECT * FROM orders o, users u, made_later WHERE o.user_id = 1");
  EXPECT_THAT(plan.tables, ::testing::ElementsAre("public.orders", "public.users", "made_later"));
  for (const char* sql : {"SELECT 1", "SELECT * FROM settings", "SELECT * FROM countries", "SELECT * FROM orders",
                          "SELECT * FROM orders WHERE user_id = 1"})
    EXPECT_FALSE(plan_of(sql).why.empty()) << sql;
}

TEST(Target, AnOfflineCatalogRoutesByTheRulesAlone) {
  config::Database database;
  database.sharding.emplace();
  config::Table orders;
  orders.name = "orders", orders.key = "user_id";
  database.tables.push_back(orders);
  const auto catalog = schema::Catalog::offline(database);
  const auto target = [&](std::string_view sql) {
    AnalysisInput input;
    input.sql = sql, input.catalog = catalog.get(), input.search_path = {"public"};
    return analyse(input);
  };
  EXPECT_EQ(target("SELECT * FROM orders WHERE user_id = 1").target, Target::keyed);
  EXPECT_EQ(target("INSERT INTO orders (id, user_id) VALUES (1, 2)").target, Target::keyed);
  EXPECT_EQ(target("INSERT INTO orders VALUES (1, 2)").target, Target::refused);
  EXPECT_EQ(target("SELECT * FROM other").target, Target::home);
  EXPECT_TRUE(target("SELECT * FROM other").read_only);
  EXPECT_EQ(target("SELECT * FROM orders").target, Target::scatter);
}

TEST(Target, WithoutACatalogEverythingGoesHome) {
  AnalysisInput input;
  input.sql = "SELECT * FROM orders";
  input.search_path = {"public"};
  EXPECT_EQ(analyse(input).target, Target::home);
}

TEST(Target, APgCatalogThatIsSearchedLaterMakesNamesUncertain) {
  AnalysisInput input;
  input.sql = "SELECT * FROM orders WHERE user_id = 1";
  input.catalog = &*sharded_catalog();
  input.search_path = {"public", "pg_catalog"};
  EXPECT_EQ(analyse(input).target, Target::scatter);
  input.search_path = {"pg_catalog", "public"};
  EXPECT_EQ(analyse(input).target, Target::keyed);
}

}  // namespace
}  // namespace weir::router::testing
