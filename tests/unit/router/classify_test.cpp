// Verbs, settings, effects and read-only: what a session must know of a statement.
#include <gtest/gtest.h>

#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

struct Expectation {
  const char* sql;
  Verb verb;
  const char* setting = "";
};

TEST(Classify, NamesTheVerbAndItsSetting) {
  for (const Expectation& e : {
           Expectation{"SELECT 1", Verb::query},
           {"  ;; ", Verb::empty},
           {"", Verb::empty},
           {"-- nothing", Verb::empty},
           {"SELECT 1;", Verb::query},
           {"VALUES (1)", Verb::query},
           {"TABLE settings", Verb::query},
           {"SHOW search_path", Verb::query},
           {"SHOW ALL", Verb::query},
           {"EXPLAIN SELECT 1", Verb::query},
           {"EXPLAIN DELETE FROM settings", Verb::query},
           {"EXPLAIN ANALYZE SELECT 1", Verb::query},
           {"EXPLAIN ANALYZE DELETE FROM settings", Verb::dml},
           {"INSERT INTO settings VALUES ('a')", Verb::dml},
           {"UPDATE settings SET value = 'x'", Verb::dml},
           {"DELETE FROM settings", Verb::dml},
           {"MERGE INTO settings s USING audited a ON s.name = a.note WHEN MATCHED THEN DELETE", Verb::dml},
           {"WITH d AS (DELETE FROM settings RETURNING *) SELECT * FROM d", Verb::dml},
           {"SELECT * INTO t FROM settings", Verb::dml},
           {"COPY settings FROM STDIN", Verb::copy_from},
           {"COPY settings TO STDOUT", Verb::copy_to},
           {"COPY (SELECT 1) TO STDOUT", Verb::copy_to},
           {"COPY settings FROM '/tmp/x'", Verb::utility},
           {"COPY settings TO PROGRAM 'cat'", Verb::utility},
           {"BEGIN", Verb::begin},
           {"START TRANSACTION ISOLATION LEVEL SERIALIZABLE", Verb::begin},
           {"COMMIT", Verb::commit},
           {"END", Verb::commit},
           {"ROLLBACK", Verb::rollback},
           {"ABORT", Verb::rollback},
           {"SAVEPOINT \"A b\"", Verb::savepoint, "A b"},
           {"RELEASE SAVEPOINT a", Verb::release_savepoint, "a"},
           {"ROLLBACK TO a", Verb::rollback_to_savepoint, "a"},
           {"SET statement_timeout = 5", Verb::set, "statement_timeout"},
           {"SET SESSION DateStyle TO iso", Verb::set, "datestyle"},
           {"SET \"Search_Path\" = a, b", Verb::set, "search_path"},
           {"SET TIME ZONE 'UTC'", Verb::set, "timezone"},
           {"SET TIME ZONE DEFAULT", Verb::reset, "timezone"},
           {"SET NAMES 'UTF8'", Verb::set, "client_encoding"},
           {"SET SCHEMA 'a'", Verb::set, "search_path"},
           {"SET ROLE admin", Verb::set, "role"},
           {"RESET ROLE", Verb::reset, "role"},
           {"SET SESSION AUTHORIZATION bob", Verb::set, "session_authorization"},
           {"SET SESSION AUTHORIZATION DEFAULT", Verb::reset, "session_authorization"},
           {"SET XML OPTION document", Verb::set, "xmloption"},
           {"SET LOCAL work_mem = '1MB'", Verb::set_local, "work_mem"},
           {"SET LOCAL work_mem TO DEFAULT", Verb::set_local, "work_mem"},
           {"SET LOCAL TIME ZONE 'UTC'", Verb::set_local, "timezone"},
           {"SET TRANSACTION READ ONLY", Verb::set_transaction, "transaction"},
           {"SET TRANSACTION SNAPSHOT '1'", Verb::set_transaction, "transaction snapshot"},
           {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Verb::utility, "session characteristics"},
           {"SET CONSTRAINTS a, b DEFERRED", Verb::set_constraints},
           {"RESET work_mem", Verb::reset, "work_mem"},
           {"SET work_mem TO DEFAULT", Verb::reset, "work_mem"},
           {"RESET ALL", Verb::reset_all},
           {"DISCARD ALL", Verb::discard_all},
           {"DISCARD TEMP", Verb::utility},
           {"DEALLOCATE a", Verb::deallocate, "a"},
           {"DEALLOCATE PREPARE a", Verb::deallocate, "a"},
           {"DEALLOCATE ALL", Verb::deallocate_all},
           {"PREPARE a AS SELECT 1", Verb::prepare},
           {"EXECUTE a", Verb::execute},
           {"EXPLAIN EXECUTE a", Verb::query},
           {"CREATE TABLE t AS EXECUTE a", Verb::utility},
           {"PREPARE TRANSACTION 'x'", Verb::utility},
           {"COMMIT PREPARED 'x'", Verb::utility},
           {"LISTEN a", Verb::listen, "a"},
           {"UNLISTEN a", Verb::unlisten, "a"},
           {"UNLISTEN *", Verb::unlisten},
           {"DECLARE c CURSOR FOR SELECT 1", Verb::utility},
           {"DO $$ BEGIN END $$", Verb::utility},
           {"CREATE TABLE t (a int)", Verb::utility},
           {"SELECT 1; SELECT 2", Verb::multi},
           {"SELEC 1", Verb::unparsable},
           {"SELECT 'open", Verb::unparsable},
       }) {
    EXPECT_EQ(name_of(plain(e.sql).verb), name_of(e.verb)) << e.sql;
    EXPECT_EQ(plain(e.sql).setting, e.setting) << e.sql;
  }
}

TEST(Classify, TellsWhatATextDoesToChannels) {
  const Plan one = plain("LISTEN \"A b\"");
  ASSERT_EQ(one.channels.size(), 1U);
  EXPECT_EQ(one.channels[0].name, "A b");
  EXPECT_TRUE(plain("COMMIT").channels.empty()) << "its verb says it";
  std::vector<std::pair<Verb, std::string>> channels;
  for (const ChannelStep& step : plain("BEGIN; LISTEN A; SAVEPOINT s; SELECT 1; UNLISTEN *; COMMIT").channels) channels.emplace_back(step.verb, step.name);
  EXPECT_EQ(channels, (std::vector<std::pair<Verb, std::string>>{{Verb::listen, "a"}, {Verb::unlisten, ""}}));
}

TEST(Classify, TellsTheStepsOfAString) {
  std::vector<std::pair<Verb, std::string>> steps;
  for (const Plan& step : plain("BEGIN; SET work_mem = 5; SAVEPOINT s;; SELECT 1; RESET ALL; ROLLBACK TO s; COMMIT").steps) steps.emplace_back(step.verb, step.setting);
  EXPECT_EQ(steps, (std::vector<std::pair<Verb, std::string>>{{Verb::begin, ""},
                                                              {Verb::set, "work_mem"},
                                                              {Verb::savepoint, "s"},
                                                              {Verb::query, ""},
                                                              {Verb::reset_all, ""},
                                                              {Verb::rollback_to_savepoint, "s"},
                                                              {Verb::commit, ""}}));
  EXPECT_TRUE(plain("COMMIT; BEGIN AND CHAIN").steps.empty()) << "the parser rejects it";
  EXPECT_TRUE(plain("COMMIT AND CHAIN; SELECT 1").steps[0].chain);
}

TEST(Classify, KnowsWhatMayBringAnotherSearchPathBack) {
  const auto behind = [](const char* sql) {
    const Restores r = plain(sql).restores;
    return std::string(r.reset ? "reset " : "") + (r.end ? "end " : "") + (r.savepoint ? "savepoint" : "");
  };
  EXPECT_EQ(behind("RESET ALL; SELECT 1"), "reset ");
  EXPECT_EQ(behind("RESET search_path; SELECT 1; COMMIT"), "reset ");
  EXPECT_EQ(behind("ROLLBACK; SELECT 1"), "end ");
  EXPECT_EQ(behind("COMMIT; RESET ALL; SELECT 1"), "reset end ");
  EXPECT_EQ(behind("ROLLBACK TO s; SELECT 1"), "savepoint");
  for (const char* sql : {"SELECT 1; RESET ALL", "RESET work_mem; SELECT 1", "RESET ALL; RESET ALL", "SAVEPOINT s; SELECT 1", "BEGIN; SELECT 1; ROLLBACK"}) EXPECT_EQ(behind(sql), "") << sql;
}

TEST(Classify, NamesThePreparedStatementsOfAText) {
  using Kind = PreparedUse::Kind;
  const Plan one = plain("EXECUTE \"A b\"(42, 'x', NULL, 1 + 1)");
  ASSERT_EQ(one.prepared.size(), 1U);
  EXPECT_EQ(one.prepared[0].name, "A b");
  ASSERT_EQ(one.prepared[0].arguments.size(), 4U);
  EXPECT_EQ(one.prepared[0].arguments[0].text, "42");
  EXPECT_EQ(one.prepared[0].arguments[1].text, "x");
  EXPECT_TRUE(one.prepared[0].arguments[2].known && one.prepared[0].arguments[2].is_null);
  EXPECT_FALSE(one.prepared[0].arguments[3].known);
  const Plan several = plain("SELECT 1; PREPARE a AS SELECT nextval('s'); EXPLAIN EXECUTE a; DEALLOCATE a; DEALLOCATE ALL");
  EXPECT_FALSE(several.effects.pins) << "what is prepared does not run";
  std::vector<std::pair<Kind, std::uint32_t>> uses;
  for (const PreparedUse& use : several.prepared) uses.emplace_back(use.kind, use.statement);
  EXPECT_EQ(uses, (std::vector<std::pair<Kind, std::uint32_t>>{
                      {Kind::prepare, 1}, {Kind::execute, 2}, {Kind::deallocate, 3}, {Kind::deallocate_all, 4}}));
}

TEST(Classify, KnowsTransactionsThatAreReadOnlyOrChained) {
  EXPECT_TRUE(plain("BEGIN READ ONLY").begin_read_only);
  EXPECT_TRUE(plain("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").begin_read_only);
  EXPECT_FALSE(plain("BEGIN READ WRITE").begin_read_only);
  EXPECT_FALSE(plain("BEGIN READ ONLY, READ WRITE").begin_read_only);
  EXPECT_FALSE(plain("BEGIN").begin_read_only);
  EXPECT_TRUE(plain("COMMIT AND CHAIN").chain);
  EXPECT_TRUE(plain("ROLLBACK AND CHAIN").chain);
  EXPECT_FALSE(plain("COMMIT AND NO CHAIN").chain);
}

TEST(Classify, TellsOfTransactionControlAndCopyInsideAString) {
  EXPECT_TRUE(plain("SELECT 1; COMMIT").ends_transaction);
  EXPECT_TRUE(plain("BEGIN; SELECT 1").ends_transaction);
  EXPECT_FALSE(plain("SELECT 1; SELECT 2").ends_transaction);
  EXPECT_TRUE(plain("PREPARE TRANSACTION 'x'").ends_transaction);
  EXPECT_FALSE(plain("COMMIT PREPARED 'x'").ends_transaction);
  EXPECT_TRUE(plain("SELECT 1; COPY settings TO STDOUT").returns_copy);
  EXPECT_TRUE(plain("COPY settings FROM STDIN").returns_copy);
  EXPECT_FALSE(plain("COPY settings TO '/tmp/x'").returns_copy);
}

TEST(Classify, CountsParameters) {
  EXPECT_EQ(plain("SELECT $2, $7").parameters, 7);
  EXPECT_EQ(plain("SELECT 1").parameters, 0);
  EXPECT_EQ(plain("EXPLAIN SELECT $1").parameters, 1);
  EXPECT_EQ(plain("SELECT $1; SELECT $4").parameters, 4);
}

constexpr Effects kNone{};
constexpr Effects kTaints{.taints = true};
constexpr Effects kPins{.taints = true, .pins = true};
constexpr Effects kReads{.needs_clean = true};
constexpr Effects kDraws{.soft = true, .needs_clean = true};
constexpr Effects kHolds{.holds = true};
constexpr Effects kReleases{.releases = true};
constexpr Effects kSets{.sets = true};

struct EffectCase {
  const char* sql;
  Effects effects;
};

std::string shown(const Effects& e) {
  return std::string(e.taints ? "taints " : "") + (e.pins ? "pins " : "") + (e.needs_clean ? "needs_clean " : "") +
         (e.tells_channels ? "tells_channels " : "") + (e.notifies ? "notifies " : "") +
         (e.soft ? "soft " : "") + (e.sets ? "sets " : "") + (e.holds ? "holds " : "") + (e.opaque ? "opaque " : "") + (e.releases ? "releases" : "");
}

TEST(Classify, KnowsWhatAStatementLeavesBehind) {
  for (const EffectCase& e : {
           EffectCase{"SELECT * FROM orders, users WHERE lower(name) = 'x' AND now() > created_at", kNone},
           {"INSERT INTO settings VALUES ('a', 'b') ON CONFLICT DO NOTHING", kNone},
           {"UPDATE settings SET value = 'x'", kNone},
           {"WITH d AS (DELETE FROM settings RETURNING *) SELECT count(*) FROM d", kNone},
           {"SELECT random(), clock_timestamp(), gen_random_uuid(), pg_sleep(0), txid_current()", kNone},
           {"SELECT pg_notify('a', 'b')", Effects{.notifies = true}},
           {"NOTIFY a", Effects{.notifies = true}},
           {"SELECT pg_advisory_xact_lock(1)", kNone},
           {"SELECT * FROM pg_class", kNone},
           {"SELECT * FROM information_schema.tables", kNone},
           {"COPY settings FROM STDIN", kNone},
           {"COPY settings TO STDOUT", kNone},
           {"SELECT 'orders'::regclass, '1 day'::interval", kNone},
           {"BEGIN", kNone},
           {"SET LOCAL work_mem = 5", kNone},
           {"LOCK TABLE settings", kNone},
           {"FETCH ALL FROM c", kNone},
           {"DECLARE c CURSOR FOR SELECT 1", kNone},
           {"SET CONSTRAINTS ALL DEFERRED", kNone},
           {"SHOW work_mem", kNone},
           {"EXPLAIN ANALYZE SELECT 1", kNone},
           {"DISCARD ALL", kNone},
           {"", kNone},

           {"SELECT touch()", kOpaqueEffects},
           {"SELECT public.touch()", kOpaqueEffects},
           {"SELECT twice(2)", kOpaqueEffects},
           {"SELECT upper('x')", kOpaqueEffects},
           {"SELECT nowhere()", kOpaqueEffects},
           {"SELECT 1 =#= 2", kOpaqueEffects},
           {"SELECT 1 OPERATOR(public.+) 2", kOpaqueEffects},
           {"SELECT 'x'::checked", kOpaqueEffects},
           {"SELECT 'x'::checked[]", kOpaqueEffects},
           {"SELECT (o).touch FROM orders o", kOpaqueEffects},
           {"SELECT o.touch FROM orders o", kOpaqueEffects},
           {"SELECT * FROM touch()", kOpaqueEffects},
           {"SELECT 1 ORDER BY touch()", kOpaqueEffects},
           {"SELECT 1 LIMIT touch()", kOpaqueEffects},
           {"SELECT count(*) FILTER (WHERE touch()) FROM orders", kOpaqueEffects},
           {"INSERT INTO settings VALUES (touch())", kOpaqueEffects},
           {"INSERT INTO settings VALUES ('a') ON CONFLICT (name) DO UPDATE SET value = touch()", kOpaqueEffects},
           {"DELETE FROM settings RETURNING touch()", kOpaqueEffects},
           {"INSERT INTO audited VALUES (1)", kOpaqueEffects},
           {"UPDATE audited SET note = ''", kOpaqueEffects},
           {"SELECT * FROM audited", kNone},
           {"SELECT * FROM orders, audited FOR UPDATE OF audited", kNone},
           {"COPY audited TO STDOUT", kNone},
           {"COPY audited FROM STDIN", kOpaqueEffects},
           {"DELETE FROM orders USING audited WHERE user_id = audited.id", kNone},
           {"WITH d AS (DELETE FROM audited RETURNING *) SELECT * FROM d", kOpaqueEffects},
           {"SELECT * FROM guarded", kOpaqueEffects},
           {"SELECT 1 WHERE EXISTS (SELECT FROM guarded)", kOpaqueEffects},
           {"DELETE FROM guarded", kOpaqueEffects},
           {"COPY guarded TO STDOUT", kOpaqueEffects},
           {"SELECT * FROM v_settings", kOpaqueEffects},
           {"SELECT * FROM made_later", kTaints},
           {"SELECT lo_create(0)", kTaints},
           {"SELECT pg_reload_conf()", kOpaqueEffects},
           {"SELECT pg_stat_reset()", kOpaqueEffects},
           {"CREATE TABLE t (a int)", kTaints},
           {"CREATE INDEX ON settings (name)", kTaints},
           {"SELECT * INTO t FROM settings", kTaints},
           {"DO $$ BEGIN END $$", kOpaqueEffects},
           {"CALL p()", kOpaqueEffects},
           {"VACUUM", kTaints},
           {"UNLISTEN *", kTaints},
           {"SET work_mem = 5", kTaints},
           {"RESET ALL", kTaints},
           {"EXPLAIN ANALYZE SELECT touch()", kOpaqueEffects},
           {"COPY (SELECT touch()) TO STDOUT", kOpaqueEffects},
           {"DECLARE c CURSOR FOR SELECT touch()", kOpaqueEffects},
           {"SELECT 1 FROM settings TABLESAMPLE mine (1)", kOpaqueEffects},

           {"SELECT nextval('orders_id_seq')", kDraws},
           {"SELECT setval('orders_id_seq', 5)", kDraws},
           {"INSERT INTO settings VALUES (nextval('s')::text)", kDraws},
           {"SELECT set_config('a', 'b', false)", kSets},
           {"SELECT set_config('a', $1, false)", kSets},
           {"SELECT set_config($1::text, $2, $3)", kSets},
           {"SELECT set_config('a', 'b', true)", kNone},
           {"SELECT set_config('a' || 'b', 'c', true)", kNone},
           {"SELECT set_config('a' || 'b', 'c', false)", Effects{.taints = true, .pins = true, .sets = true}},
           {"SELECT * FROM pg_listening_channels()", Effects{.tells_channels = true}},
           {"SELECT setseed(0.5)", kPins},
           {"DISCARD TEMP", kReleases},
           {"CLOSE c", kReleases},
           {"DROP TABLE settings", Effects{.taints = true, .releases = true}},
           {"SELECT pg_advisory_lock(1)", kHolds},
           {"SELECT pg_try_advisory_lock_shared(1, 2)", kHolds},
           {"SELECT pg_catalog.pg_advisory_unlock(1)", kReleases},
           {"CREATE TEMP TABLE t (a int)", Effects{.taints = true, .holds = true}},
           {"CREATE TABLE pg_temp.t (a int)", Effects{.taints = true, .holds = true}},
           {"CREATE TEMP TABLE t AS SELECT 1", Effects{.taints = true, .holds = true}},
           {"CREATE TEMP VIEW v AS SELECT 1", Effects{.taints = true, .holds = true}},
           {"CREATE TEMP SEQUENCE s", Effects{.taints = true, .holds = true}},
           {"SELECT 1 INTO TEMP t", Effects{.taints = true, .holds = true}},
           {"SELECT 1 INTO TEMP t UNION SELECT 2", Effects{.taints = true, .holds = true}},
           {"LISTEN a", kTaints},
           {"LOAD 'a'", kPins},
           {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", kHolds},
           {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", kSets},
           {"SELECT 1; SET work_mem = 5", kNone},
           {"RESET work_mem; SELECT 1", kNone},
           {"SELECT 1; SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", kSets},
           {"SELECT 1; LISTEN a", kTaints},
           {"SELECT 1; UNLISTEN *", kNone},
           {"SELEC 1", kPins},

           {"SELECT currval('orders_id_seq')", kReads},
           {"SELECT lastval()", kReads},
       })
    EXPECT_EQ(shown(plain(e.sql).effects), shown(e.effects)) << e.sql;
}

TEST(Classify, OnlyWhatIsProvenRunsOnAReplica) {
  for (const char* sql :
       {"SELECT 1", "SELECT * FROM orders WHERE lower(status) = 'x'", "WITH a AS (SELECT 1) SELECT * FROM a",
        "TABLE settings", "VALUES (1)", "SELECT random(), now()", "EXPLAIN SELECT * FROM orders", "EXPLAIN ANALYZE SELECT 1",
        "COPY orders TO STDOUT", "COPY (SELECT 1) TO STDOUT", "SELECT * FROM pg_class", "SELECT twice(1)",
        "SELECT * FROM audited", "SELECT * FROM orders WHERE id IN (SELECT id FROM audited)", "COPY audited TO STDOUT",
        "SELECT 1; SELECT 2", "DECLARE c CURSOR FOR SELECT 1", "SELECT EXISTS (SELECT FROM orders)"})
    EXPECT_TRUE(plain(sql).read_only) << sql;
  for (const char* sql : {"SELECT * FROM orders FOR UPDATE",
                          "SELECT * FROM (SELECT * FROM orders FOR SHARE) s",
                          "SELECT * FROM orders FOR KEY SHARE SKIP LOCKED",
                          "WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d",
                          "SELECT * INTO t FROM orders",
                          "SELECT touch()",
                          "SELECT tick()",
                          "SELECT upper('x')",
                          "SELECT nextval('s')",
                          "SELECT currval('s')",
                          "SELECT set_config('a', 'b', true)",
                          "SELECT txid_current()",
                          "SELECT pg_current_wal_lsn()",
                          "SELECT pg_is_in_recovery()",
                          "SELECT pg_advisory_xact_lock(1)",
                          "SELECT pg_notify('a', 'b')",
                          "SELECT lo_get(1)",
                          "SELECT * FROM v_settings",
                          "SELECT * FROM guarded",
                          "COPY guarded TO STDOUT",
                          "UPDATE audited SET note = ''",
                          "SELECT * FROM made_later",
                          "SELECT * FROM pg_stat_activity",
                          "SELECT query_to_xml('delete from x', true, true, '')",
                          "SELECT 1 =#= 2",
                          "SELECT 'x'::checked",
                          "SHOW work_mem",
                          "EXPLAIN ANALYZE SELECT touch()",
                          "EXPLAIN DELETE FROM orders",
                          "COPY (DELETE FROM orders RETURNING *) TO STDOUT",
                          "COPY orders FROM STDIN",
                          "COPY orders TO '/tmp/x'",
                          "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
                          "BEGIN",
                          "LOCK orders",
                          "SELECT 1; DELETE FROM orders",
                          "CREATE TABLE t ()",
                          "SELECT unknown_function()",
                          "SELECT pg_export_snapshot()",
                          "SELECT o.touch FROM orders o",
                          "DELETE FROM orders",
                          "SELECT current_setting('a.b')"})
    EXPECT_FALSE(plain(sql).read_only) << sql;
}

TEST(Classify, APlainDatabaseRefusesNothing) {
  for (const char* sql :
       {"SELECT * FROM orders", "/* weir: shard=s1 */ SELECT 1", "SET weir.shard = 's1'", "DO 'x'", "DROP TABLE orders",
        "CREATE ROLE x", "PREPARE TRANSACTION 'x'", "UPDATE orders SET user_id = 1", "SELECT touch()",
        "COPY orders FROM STDIN", "VACUUM", "SELECT * FROM orders; DELETE FROM countries", "SELEC 1"}) {
    const Plan plan = plain(sql);
    EXPECT_TRUE(plan.target == Target::home || plan.target == Target::transaction) << sql;
    EXPECT_TRUE(plan.bindings.empty()) << sql;
  }
  EXPECT_EQ(plain("SELEC 1").verb, Verb::unparsable);
}

TEST(Classify, NulsAndBrokenBytesAreUnparsable) {
  EXPECT_EQ(plain(std::string_view("SELECT 1\0; DROP TABLE x", 23)).verb, Verb::unparsable);
  EXPECT_EQ(plan_of(std::string_view("SELECT 1\0", 9)).target, Target::refused);
  (void)plain("SELECT '\xff\xfe'");
  (void)plain("\x80\x81");
}

}  // namespace
}  // namespace weir::router::testing
