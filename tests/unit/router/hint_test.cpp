// Hints: how they are read, and where they put statements.
#include "router/hint.hpp"

#include <gtest/gtest.h>

#include "base/strings.hpp"
#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

std::string said(std::string_view sql) {
  const auto hint = read_hints(sql);
  if (!hint) return "error: " + hint.error().message;
  return *hint ? words_of(**hint) : "none";
}

TEST(Hints, AreReadFromTheCommentsInFront) {
  EXPECT_EQ(said("/* weir: shard=s1 */ SELECT 1"), "shard='s1' ");
  EXPECT_EQ(said("/*weir:key=42*/SELECT 1"), "key='42' ");
  EXPECT_EQ(said("/* WEIR : Key='it''s a, b' PRIMARY */ SELECT 1"), "key='it''s a, b' primary");
  EXPECT_EQ(said("-- note\n/* app */ ;/* weir: shard=\"a b\", primary */ SELECT 1"), "shard='a b' primary");
  EXPECT_EQ(said("/* weir: shard=s1 */ /* weir: primary */ SELECT 1"), "shard='s1' primary");
  EXPECT_EQ(said("/* weir: key=-7 */ SELECT 1"), "key='-7' ");
  EXPECT_EQ(said("/* weir: key=7 key=7 */ SELECT 1"), "key='7' ");
  for (const char* sql : {"SELECT 1", "/* weird: x */ SELECT 1", "/* a weir: x */ SELECT 1", "/*+ weir: x */ SELECT 1",
                          "SELECT '/* weir: shard=s1 */'", "SELECT E'\\'/* weir: shard=s1 */'", "SELECT $a$/* weir: shard=s1 */$a$",
                          "SELECT \"/* weir: shard=s1 */\"", "SELECT e'' /* weird */", "/* x /* weir: shard=s1 */ */ SELECT 1", "SELECT 1 -- weir"})
    EXPECT_EQ(said(sql), "none") << sql;
}

TEST(Hints, AreNeverPassedOver) {
  for (const char* sql : {"SELECT /* weir: shard=s1 */ 1", "SELECT 1 /* weir: shard=s1 */", "SELECT $1/* weir: shard=s1 */", "SELECT 'a'/* weir: primary */",
                          "SELECT 1 -- weir: shard=s1", "-- weir: shard=s1\nSELECT 1", "SELECT a+/* weir: primary */b", "SELECT e/* weir: primary */", "(/* weir: primary */ SELECT 1)"})
    EXPECT_TRUE(said(sql).starts_with("error: ")) << sql;
}

TEST(Hints, MistakesAreNamed) {
  EXPECT_EQ(said("/* weir: */ SELECT 1"), "error: a hint says nothing");
  EXPECT_EQ(said("/* weir: shrad=s1 */ SELECT 1"), "error: unknown word \"shrad\" in a hint");
  EXPECT_EQ(said("/* weir: primary=yes */ SELECT 1"), "error: unknown word \"primary\" in a hint");
  EXPECT_EQ(said("/* weir: shard */ SELECT 1"), "error: hint \"shard\" has no value that can be read");
  EXPECT_EQ(said("/* weir: shard= s1 */ SELECT 1"), "error: hint \"shard\" has no value that can be read");
  EXPECT_EQ(said("/* weir: key='a */ SELECT 1"), "error: hint \"key\" has no value that can be read");
  EXPECT_EQ(said("/* weir: key='a'b */ SELECT 1"), "error: hint \"key\" has no value that can be read");
  EXPECT_EQ(said("/* weir: shard=s1 shard=s2 */ SELECT 1"), "error: hints contradict each other: shard=s1 and shard=s2");
  EXPECT_EQ(said("/* weir: key=1 */ /* weir: key=2 */ SELECT 1"), "error: hints contradict each other: key=1 and key=2");
}

// "s1", "key 42" or "s1 key 42" where a hint puts it, else the route.
std::string placed(std::string_view sql, std::string_view hints = {}) {
  const Plan plan = plan_of(sql, {}, sharded_catalog(), true, hints);
  if (plan.refusal) return std::string(plan.refusal->code.view()) + ": " + plan.refusal->message;
  if (plan.target != Target::named) return route(sql);
  std::string out = plan.named->shard ? concat("s", std::to_string(*plan.named->shard)) : "";
  if (plan.named->key) out += concat(out.empty() ? "" : " ", "key ", plan.named->key->str());
  return out;
}

TEST(Hints, PutAnythingWhereTheySay) {
  for (const char* sql : {"SELECT 1", "SELECT count(*) FROM orders", "SELECT * FROM orders WHERE user_id = 7", "UPDATE orders SET status = 'x'",
                          "DELETE FROM countries", "CREATE TABLE t (a int)", "ALTER TABLE orders ADD b int", "TRUNCATE orders", "DO $$ BEGIN END $$",
                          "CALL p()", "SELECT * FROM v_orders", "SELECT reads_anything()", "COPY orders FROM STDIN", "VACUUM orders", "EXPLAIN SELECT * FROM orders",
                          "SELECT * FROM orders, settings", "PREPARE TRANSACTION 'a'", "SELECT set_config('a.b', 'c', false)", "SELECT nextval('orders_id_seq')"})
    EXPECT_EQ(placed(concat("/* weir: shard=s2 */ ", sql)), "s2") << sql;
}

TEST(Hints, KeysAreReadAsTheTablesHaveThem) {
  EXPECT_EQ(placed("/* weir: key=42 */ SELECT count(*) FROM orders"), "key 42");
  EXPECT_EQ(placed("/* weir: key=' 42 ' */ SELECT count(*) FROM works"), "key 42");
  EXPECT_EQ(placed("/* weir: key=' 42 ' */ SELECT count(*) FROM tags"), "key  42 ");
  EXPECT_EQ(placed("/* weir: key=A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11 */ SELECT count(*) FROM docs"), "key a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
  EXPECT_EQ(placed("/* weir: key=x */ SELECT count(*) FROM orders"), "22023: key x cannot be read as bigint");
  EXPECT_EQ(placed("/* weir: key=42 */ SELECT 1"), "22023: key 42 may be of several types: bigint, text, uuid");
  EXPECT_EQ(placed("/* weir: key=42 */ SELECT 1 FROM tags, orders"), "22023: key 42 may be of several types: bigint, text");
  EXPECT_EQ(placed("/* weir: key=42 shard=s1 */ SELECT 1 FROM orders"), "s1 key 42");
  EXPECT_EQ(placed("/* weir: shard=s9 */ SELECT 1"), "22023: there is no shard \"s9\"");
}

TEST(Hints, SayNothingOfTransactionsAndPreparedStatements) {
  for (const char* sql : {"BEGIN", "COMMIT", "SAVEPOINT a", "SET a.b = 'c'", "LISTEN c", "PREPARE a AS SELECT 1", "EXECUTE a", "DEALLOCATE a", "SET weir.shard = s1", "", ";"})
    EXPECT_TRUE(placed(concat("/* weir: shard=s1 */", sql)).starts_with("42601: a hint in front of")) << sql << placed(concat("/* weir: shard=s1 */", sql));
  for (const char* sql : {"BEGIN", "COMMIT", "SET a.b = 'c'", "LISTEN c"}) EXPECT_EQ(placed(sql, "shard='s1'"), "transaction") << sql;
}

TEST(Hints, OfAStatementGoBeforeTheSessions) {
  EXPECT_EQ(placed("SELECT 1", "shard='s1'"), "s1");
  EXPECT_EQ(placed("/* weir: shard=s2 */ SELECT 1", "shard='s1'"), "s2");
  EXPECT_EQ(placed("/* weir: key=42 */ SELECT 1 FROM orders", "shard='s1'"), "key 42");
  EXPECT_EQ(placed("/* weir: primary */ SELECT 1", "shard='s1'"), "s1");
  EXPECT_TRUE(plan_of("/* weir: primary */ SELECT 1").primary);
  EXPECT_TRUE(plan_of("SELECT 1", {}, sharded_catalog(), true, "primary").primary);
  EXPECT_FALSE(plan_of("SELECT 1").primary);
  EXPECT_EQ(placed("/* weir: primary */ SELECT count(*) FROM orders"), route("SELECT count(*) FROM orders"));
}

TEST(Hints, OfStringsOfSeveralStatementsMustAgree) {
  EXPECT_EQ(placed("/* weir: shard=s1 */ SELECT 1; /* weir: shard=s1 */ SELECT 2"), "s1");
  EXPECT_EQ(placed("SELECT 1; SELECT count(*) FROM orders", "shard='s1'"), "s1");
  EXPECT_EQ(placed("BEGIN; DELETE FROM orders; COMMIT", "shard='s1'"), "s1");
  for (const char* sql : {"/* weir: shard=s1 */ SELECT 1; /* weir: shard=s2 */ SELECT 2", "/* weir: shard=s1 */ SELECT 1; SELECT * FROM orders WHERE user_id = 1",
                          "SELECT * FROM orders WHERE user_id = 1; /* weir: shard=s1 */ SELECT 1", "SELECT 1; SET weir.shard = s1"})
    EXPECT_TRUE(placed(sql).starts_with("0A000: ")) << sql << placed(sql);
  EXPECT_TRUE(placed("SELECT 1; SELECT 2; /* weir: shard=s1 */").starts_with("42601: "));
}

TEST(Hints, OnAPlainDatabaseAreReadToo) {
  EXPECT_EQ(plain("/* weir: primary */ SELECT 1").target, Target::home);
  EXPECT_TRUE(plain("/* weir: primary */ SELECT 1").primary);
  EXPECT_TRUE(plain("/* weir: primary */ SELECT 1").hinted);
  EXPECT_EQ(plain("/* weir: shard=s0 */ SELECT 1").target, Target::home);
  for (const char* sql : {"/* weir: shard=s9 */ SELECT 1", "/* weir: key=1 */ SELECT 1", "SELECT 1 /* weir: primary */", "SELECT 1; SELECT 2 /* weir: primary */",
                          "SELECT 1; SET weir.role = 'primary'", "NO SQL /* weir: primary */"})
    EXPECT_EQ(plain(sql).target, Target::refused) << sql;
}

std::string setting(std::string_view sql) {
  const Plan plan = plan_of(sql);
  if (plan.refusal) return std::string(plan.refusal->code.view());
  if (plan.verb != Verb::own_setting) return std::string(name_of(plan.verb));
  constexpr const char* kKinds[] = {"set ", "set local ", "reset ", "show "};
  return concat(kKinds[static_cast<int>(plan.own->kind)], plan.setting, " ", plan.own->value);
}

TEST(Hints, SettingsOfWeirsOwnAreKnown) {
  EXPECT_EQ(setting("SET weir.shard = s1"), "set weir.shard s1");
  EXPECT_EQ(setting("SET LOCAL \"Weir\".Shard TO 's1'"), "set local weir.shard s1");
  EXPECT_EQ(setting("SET weir.key = -7"), "set weir.key -7");
  EXPECT_EQ(setting("SET weir.key = 9223372036854775807"), "set weir.key 9223372036854775807");
  EXPECT_EQ(setting("SET weir.role = 'primary'"), "set weir.role primary");
  EXPECT_EQ(setting("SET weir.role = ''"), "set weir.role ");
  EXPECT_EQ(setting("SET weir.shard TO DEFAULT"), "reset weir.shard ");
  EXPECT_EQ(setting("RESET weir.key"), "reset weir.key ");
  EXPECT_EQ(setting("SHOW weir.role"), "show weir.role ");
  EXPECT_EQ(setting("SET weir.shard = s9"), "22023");
  EXPECT_EQ(setting("SET weir.role = replica"), "22023");
  EXPECT_EQ(setting("SET weir.shard = a, b"), "22023");
  EXPECT_EQ(setting("SET weir.shard FROM CURRENT"), "22023");
  EXPECT_EQ(setting("SET weir.other = 1"), "42704");
  EXPECT_EQ(setting("SHOW weir.other"), "42704");
  EXPECT_EQ(setting("SET weird.shard = 's1'"), "set");
}

}  // namespace
}  // namespace weir::router::testing
