// Writes over several shards: what their parts are, and what is refused with which reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/strings.hpp"
#include "router/scatter_plan.hpp"
#include "router/text_tokens.hpp"
#include "router/write_plan.hpp"
#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

using ::testing::HasSubstr;

std::string render(const TextTemplate& text, const Arguments& arguments) {
  Rendering rendering;
  rendering.arguments = &arguments;
  rendering.now = "NOW";
  return text.render(rendering);
}

// "each: <text>" or "rows: head|row|row|tail"; an empty text is the client's own. What it is refused for.
std::string written(std::string_view sql) {
  const Plan plan = plan_of(sql);
  if (plan.scatter == nullptr) return concat("refused: ", plan.refusal ? plan.refusal->message : "");
  if (plan.scatter->write == nullptr) return "reads";
  Lifted lifted;
  lift(sql, true, lifted);
  Arguments arguments;
  arguments.sql = sql, arguments.literals = lifted.literals;
  const WritePlan& write = *plan.scatter->write;
  std::string out = concat(name_of(write.kind), ": ", render(write.text, arguments));
  if (write.kind != WritePlan::Kind::rows) return out;
  out += render(write.head, arguments);
  for (const TextTemplate& row : write.rows) out += concat("|", render(row, arguments));
  return concat(out, "|", render(write.tail, arguments));
}

TEST(WritePlan, EveryShardRunsTheClientsOwnText) {
  for (const char* sql : {
           "UPDATE orders SET status = 'x'",
           "UPDATE orders SET status = 'x' WHERE user_id IN (1, 2) RETURNING *",
           "DELETE FROM orders WHERE amount < -1.5",
           "DELETE FROM orders o USING users u WHERE o.user_id = u.id AND u.name = 'x'",
           "UPDATE orders o SET status = u.name FROM users u JOIN countries c ON c.code = u.country WHERE o.user_id = u.id",
           "DELETE FROM orders o WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = o.user_id)",
           "DELETE FROM orders WHERE user_id IN (SELECT id FROM users WHERE name = 'x')",
           "UPDATE users u SET name = (SELECT max(status) FROM orders o WHERE o.user_id = u.id)",
           "UPDATE docs SET body = gen_random_uuid()::text",
           "INSERT INTO orders (id, user_id) SELECT 1, id FROM users WHERE name = 'x'",
           "INSERT INTO orders (user_id, amount) SELECT user_id, sum(amount) FROM orders GROUP BY user_id",
           "WITH c AS (SELECT code FROM countries) DELETE FROM users WHERE country IN (SELECT code FROM c)",
       })
    EXPECT_EQ(written(sql), "each: ") << sql;
}

TEST(WritePlan, RowsAreSplitInTheClientsText) {
  EXPECT_EQ(written("INSERT INTO users (id, name) VALUES (1, 'a)'), (2, $1) -- x"), "rows: INSERT INTO users (id, name) VALUES |(1, 'a)')|(2, $1)| -- x");
  EXPECT_EQ(written("INSERT INTO users (id, name) VALUES (1, f(E'\\')')), /* (3) */ (2, $$)$$) RETURNING id"), "refused: function f() is not known, so it may read sharded tables");
  EXPECT_EQ(written("INSERT INTO users (id, name) VALUES (1, lower(E'\\')')), /* (3) */ (2, $$)$$) RETURNING id"),
            "rows: INSERT INTO users (id, name) VALUES |(1, lower(E'\\')'))|(2, $$)$$)| RETURNING id");
  EXPECT_EQ(written("INSERT INTO orders (id, user_id, created_at) VALUES (1, 1, now()), (2, 2, current_timestamp)"),
            "rows: INSERT INTO orders (id, user_id, created_at) VALUES |(1, 1, ('NOW'::pg_catalog.timestamptz))|(2, 2, "
            "('NOW'::pg_catalog.timestamptz))|");
}

TEST(WritePlan, TheTextsOfRowsUseTheirParametersOnly) {
  const Plan plan = plan_of("INSERT INTO users (id, name) VALUES ($1, $2), ($3, $4), ($1, 'x')");
  ASSERT_NE(plan.scatter, nullptr);
  const std::vector<std::uint32_t> rows{0, 2};
  const TextTemplate text = text_of_rows(*plan.scatter->write, rows);
  EXPECT_EQ(text.parameters(), (std::vector<std::uint16_t>{1, 2}));
}

TEST(WritePlan, TimeIsFixedOnce) {
  EXPECT_EQ(written("UPDATE orders SET created_at = now() WHERE created_at < pg_catalog.now ( ) - interval '1 day'"),
            "each: UPDATE orders SET created_at = ('NOW'::pg_catalog.timestamptz) WHERE created_at < ('NOW'::pg_catalog.timestamptz) - interval '1 day'");
  EXPECT_EQ(written("DELETE FROM orders WHERE created_at < current_date"), "each: DELETE FROM orders WHERE created_at < ('NOW'::pg_catalog.timestamptz::pg_catalog.date)");
  EXPECT_THAT(written("UPDATE orders SET status = 'x' RETURNING now()"), HasSubstr("without a name"));
}

TEST(WritePlan, AReferenceTableIsWrittenAlikeEverywhere) {
  for (const char* sql : {
           "INSERT INTO countries VALUES ('x', 'y')",
           "INSERT INTO countries (code) VALUES ('x') ON CONFLICT (code) DO UPDATE SET title = excluded.title RETURNING *",
           "INSERT INTO countries (code) SELECT code FROM currencies",
           "UPDATE countries SET title = lower(title) WHERE code IN (SELECT code FROM currencies)",
           "DELETE FROM countries USING currencies WHERE currencies.code = countries.code",
       })
    EXPECT_EQ(written(sql), "same: ") << sql;
}

TEST(WritePlan, RefusesWhatMightComeOutOtherwise) {
  struct Refused {
    const char *sql, *message;
  };
  for (const Refused& r : std::vector<Refused>{
           {"UPDATE orders SET amount = random()", "volatile function random()"},
           {"UPDATE orders SET created_at = clock_timestamp()", "volatile function clock_timestamp()"},
           {"DELETE FROM orders WHERE ctid = '(0,1)'", "system column ctid"},
           {"DELETE FROM users WHERE country IN (SELECT code FROM countries LIMIT 1)", "another answer on each shard"},
           {"UPDATE orders o SET status = u.name FROM users u WHERE o.approved_by = u.id", "sharding keys being equal"},
           {"INSERT INTO orders (id, user_id) SELECT 1, id FROM users LIMIT 3", "LIMIT or OFFSET"},
           {"INSERT INTO orders (user_id) SELECT approved_by FROM orders", "rows with the same sharding key"},
           {"INSERT INTO orders (id, user_id) SELECT count(*), user_id FROM orders GROUP BY ROLLUP (user_id)", "rows with the same sharding key"},
           {"INSERT INTO users (id, name) VALUES (1, 'a'), (2, (SELECT max(status) FROM orders WHERE user_id = 2))", "needs several shards"},
           {"WITH d AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM d", "a write in a WITH query"},
           {"WITH d AS (DELETE FROM orders RETURNING *) DELETE FROM users", "a statement of several writes"},
           {"UPDATE countries SET title = (SELECT max(status) FROM orders)", "reads sharded table"},
           {"UPDATE countries SET title = name FROM settings", "which is on the home shard only"},
           {"UPDATE countries SET title = r.code FROM currencies r", "UPDATE ... FROM of reference table"},
           {"UPDATE countries SET title = gen_random_uuid()::text", "volatile function gen_random_uuid()"},
           {"INSERT INTO countries SELECT code, code FROM currencies ON CONFLICT DO NOTHING", "ON CONFLICT into reference table"},
           {"INSERT INTO countries (code) SELECT code FROM currencies LIMIT 1", "another answer on each shard"},
           {"MERGE INTO countries c USING currencies r ON r.code = c.code WHEN MATCHED THEN DELETE", "MERGE"},
       }) {
    const Plan plan = plan_of(r.sql);
    const std::string found = plan.scatter ? "planned" : plan.refusal ? plan.refusal->message : "one shard";
    if (plan.target == Target::keyed) continue;   // by its values; refused when they lie apart
    EXPECT_THAT(found, HasSubstr(r.message)) << r.sql;
    EXPECT_FALSE(plan.refusal && plan.refusal->hint.empty()) << r.sql;
  }
}

TEST(WritePlan, OfAListOfObjectsTheOtherShardsRunWhatTheyHave) {
  struct Divided {
    const char *sql, *elsewhere;
  };
  for (const Divided& d : std::vector<Divided>{
           {"TRUNCATE orders, settings, \"countries\", works RESTART IDENTITY CASCADE", "TRUNCATE orders, countries, works RESTART IDENTITY CASCADE"},
           {"TRUNCATE TABLE ONLY public.orders, unknown", "TRUNCATE ONLY public.orders"},
           {"DROP TABLE IF EXISTS unknown, orders, public.settings CASCADE", "DROP TABLE IF EXISTS orders CASCADE"},
           {"LOCK TABLE settings, orders IN SHARE MODE NOWAIT", "LOCK TABLE orders IN SHARE MODE NOWAIT"},
           {"ANALYZE orders (id), settings", "ANALYZE orders(id)"},
           {"VACUUM (FULL, VERBOSE) settings, countries", "VACUUM (FULL, VERBOSE) countries"},
           {"GRANT SELECT (id), INSERT ON settings, orders TO bob, PUBLIC WITH GRANT OPTION", "GRANT select (id), insert ON orders TO bob, public WITH GRANT OPTION"},
           {"REVOKE ALL ON orders, settings FROM bob", "REVOKE ALL ON orders FROM bob"},
           {"TRUNCATE orders, users", ""},
           {"TRUNCATE orders", ""},
       }) {
    const Plan plan = plan_of(d.sql);
    ASSERT_NE(plan.scatter, nullptr) << d.sql << ": " << (plan.refusal ? plan.refusal->message : "");
    EXPECT_EQ(render(plan.scatter->write->elsewhere, {}), d.elsewhere) << d.sql;
    EXPECT_TRUE(plan.scatter->write->text.empty()) << d.sql;   // the home shard has them all
  }
  EXPECT_EQ(plan_of("TRUNCATE settings, unknown").target, Target::home);
}

TEST(WritePlan, TellsWhatDdlChangesForTheStatementsBehindIt) {
  for (const char* sql : {"TRUNCATE settings", "COMMENT ON TABLE settings IS 'x'", "GRANT SELECT ON settings TO bob", "LOCK TABLE settings", "CREATE INDEX CONCURRENTLY i ON settings (name)",
                          "CREATE TEMP TABLE fresh (id int)", "SELECT 1 AS id INTO TEMP fresh", "SELECT 1", "NOTIFY x", "UPDATE settings SET name = 'x'"})
    EXPECT_EQ(plan_of(sql).changes_schema, SchemaChange::none) << sql;
  for (const char* sql : {"CREATE TABLE fresh (id int)", "CREATE TABLE other.orders (id int)", "SELECT 1 AS id INTO other.orders", "CREATE TABLE fresh AS SELECT 1 AS id", "DROP TABLE settings", "DROP VIEW IF EXISTS other.fresh",
                          "ALTER TABLE settings ADD COLUMN c int", "ALTER TABLE settings RENAME COLUMN name TO n", "CREATE INDEX ON settings (name)"})
    EXPECT_EQ(plan_of(sql).changes_schema, SchemaChange::at_home) << sql;
  for (const char* sql : {"DROP TABLE other.orders", "DROP TABLE settings, other.orders", "DROP TABLE settings CASCADE", "DROP SCHEMA other", "ALTER TABLE settings RENAME TO orders", "ALTER TABLE settings SET SCHEMA other",
                          "CREATE VIEW fresh AS SELECT name FROM settings", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'"})
    EXPECT_EQ(plan_of(sql).changes_schema, SchemaChange::any) << sql;
  EXPECT_TRUE(plan_of("SELECT 1; DROP TABLE other.orders; SELECT name FROM settings").restores.schema);
  for (const char* sql : {"CREATE TABLE other.orders (id int); SELECT name FROM settings", "SELECT 1; DROP TABLE other.orders", "BEGIN; DROP TABLE other.orders; COMMIT"})
    EXPECT_FALSE(plan_of(sql).restores.schema) << sql;
}

TEST(WriteText, TokensEndWherePostgreSQLEndsThem) {
  const auto count = [](std::string_view sql) {
    const auto tokens = tokens_of(sql);
    return tokens ? static_cast<int>(tokens->size()) : -1;
  };
  EXPECT_EQ(count("a ( 'x''y' , \"q\"\"r\" )"), 6);
  EXPECT_EQ(count("E'\\'' $$ ) $$ $t$ $$ $t$"), 3);
  EXPECT_EQ(count("a -- ( ' \n b /* ( /* ' */ ) */ c"), 3);
  EXPECT_EQ(count("'open"), -1);
  EXPECT_EQ(count("$x$ open"), -1);
}

}  // namespace
}  // namespace weir::router::testing
