#include "proxy/settings_state.hpp"

#include <gmock/gmock.h>

namespace weir::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> statements(const SessionSettings& session) {
  std::vector<std::string> sql;
  if (session.current())
    for (const Setting& s : session.current()->settings) sql.push_back(s.sql);
  return sql;
}

SessionSettings started(std::vector<Setting> startup = {}) {
  SessionSettings session;
  session.start(std::move(startup));
  return session;
}

// --- interning ---

TEST(InternSettings, MakesEqualSetsOneObject) {
  const auto a = intern_settings({{"work_mem", "SET work_mem = '1MB'"}, {"datestyle", "SET datestyle = ISO"}});
  const auto b = intern_settings({{"work_mem", "SET work_mem = '1MB'"}, {"datestyle", "SET datestyle = ISO"}});
  EXPECT_EQ(a, b);
  EXPECT_NE(a, intern_settings({{"work_mem", "SET work_mem = '2MB'"}, {"datestyle", "SET datestyle = ISO"}}));
}

TEST(InternSettings, MakesNothingOfNothing) { EXPECT_EQ(intern_settings({}), nullptr); }

TEST(InternSettings, KeepsWhatIsHeldOverASweep) {
  const auto held = intern_settings({{"work_mem", "SET work_mem = 'held'"}});
  for (int i = 0; i < 3000; ++i) (void)intern_settings({{"work_mem", "SET work_mem = " + std::to_string(i)}});
  EXPECT_EQ(intern_settings({{"work_mem", "SET work_mem = 'held'"}}), held);
}

TEST(InternSettings, ReplaysEachStatementOnItsOwnEvenAfterALineComment) {
  const auto state =
      intern_settings({{"work_mem", "SET work_mem = '1MB' -- little"}, {"datestyle", "SET datestyle = ISO"}});
  EXPECT_EQ(state->replay, "SET work_mem = '1MB' -- little\n;SET datestyle = ISO\n;");
}

TEST(InternSettings, LeavesOutOfTheMeaningOnlyWhatChangesNoMeaning) {
  const auto state = intern_settings({{"application_name", "SET application_name = 'a'"},
                                      {"search_path", "SET search_path = b"},
                                      {"statement_timeout", "SET statement_timeout = 5"}});
  EXPECT_EQ(state->meaning, "SET search_path = b\n;");
}

TEST(InternSettings, KnowsWhichSettingsResetAllDoesNotUndo) {
  EXPECT_TRUE(intern_settings({{"role", "SET ROLE bob"}})->needs_discard);
  EXPECT_TRUE(intern_settings({{"session_authorization", "SET SESSION AUTHORIZATION bob"}})->needs_discard);
  EXPECT_FALSE(intern_settings({{"work_mem", "SET work_mem = 1"}})->needs_discard);
}

TEST(UnknownSettings, EqualNoSessionsSettingsAndAskForACleaning) {
  EXPECT_EQ(unknown_settings(), unknown_settings());
  EXPECT_NE(unknown_settings(), nullptr);
  EXPECT_TRUE(unknown_settings()->needs_discard);
}

// --- transactions ---

TEST(SessionSettings, StartWithNothing) { EXPECT_EQ(started().current(), nullptr); }

TEST(SessionSettings, KeepASetThatWasCommittedAndForgetOneRolledBack) {
  auto session = started();
  session.set("work_mem", "SET work_mem = 1");
  session.commit();
  session.set("work_mem", "SET work_mem = 2");
  EXPECT_THAT(statements(session), ElementsAre("SET work_mem = 2"));
  session.rollback();
  EXPECT_THAT(statements(session), ElementsAre("SET work_mem = 1"));
}

TEST(SessionSettings, KeepOnlyTheLastValueInTheOrderOfTheLastSet) {
  auto session = started();
  session.set("role", "SET ROLE a");
  session.set("search_path", "SET search_path = x");
  session.set("role", "SET ROLE b");
  EXPECT_THAT(statements(session), ElementsAre("SET search_path = x", "SET ROLE b"));
}

TEST(SessionSettings, OfTwoSessionsThatSetTheSameAreTheSameObject) {
  auto one = started(), other = started();
  one.set("work_mem", "SET work_mem = 1");
  other.set("work_mem", "SET work_mem = 2");
  EXPECT_NE(one.current(), other.current());
  other.set("work_mem", "SET work_mem = 1");
  EXPECT_EQ(one.current(), other.current());
}

TEST(SessionSettings, GoBackToASavepointThatStays) {
  auto session = started();
  session.set("a", "SET a = 1");
  session.savepoint("s");
  session.set("a", "SET a = 2");
  session.rollback_to("s");
  EXPECT_THAT(statements(session), ElementsAre("SET a = 1"));
  session.set("a", "SET a = 3");
  session.rollback_to("s");
  EXPECT_THAT(statements(session), ElementsAre("SET a = 1")) << "the savepoint is still there";
}

TEST(SessionSettings, KnowTheirSavepoints) {
  auto session = started();
  session.savepoint("outer");
  session.savepoint("inner");
  EXPECT_TRUE(session.has_savepoint("inner"));
  session.release("outer");
  EXPECT_FALSE(session.has_savepoint("inner"));
  EXPECT_FALSE(session.has_savepoint("outer"));
}

TEST(SessionSettings, ARollbackToAnOuterSavepointEndsTheInnerOnes) {
  auto session = started();
  session.savepoint("outer");
  session.set("a", "SET a = 1");
  session.savepoint("inner");
  session.set("a", "SET a = 2");
  session.rollback_to("outer");
  EXPECT_EQ(session.current(), nullptr);
  session.rollback_to("inner");
  EXPECT_EQ(session.current(), nullptr) << "the server refuses that name; nothing changes";
}

TEST(SessionSettings, TheNewestOfSavepointsOfOneNameCounts) {
  auto session = started();
  session.savepoint("s");
  session.set("a", "SET a = 1");
  session.savepoint("s");
  session.set("a", "SET a = 2");
  session.rollback_to("s");
  EXPECT_THAT(statements(session), ElementsAre("SET a = 1"));
  session.release("s");
  session.rollback_to("s");
  EXPECT_EQ(session.current(), nullptr) << "released, the older one of that name is seen again";
}

TEST(SessionSettings, ReleaseKeepsWhatWasSetAndEndsInnerSavepoints) {
  auto session = started();
  session.savepoint("outer");
  session.set("a", "SET a = 1");
  session.savepoint("inner");
  session.set("a", "SET a = 2");
  session.release("outer");
  session.rollback_to("inner");
  session.rollback_to("outer");
  EXPECT_THAT(statements(session), ElementsAre("SET a = 2"));
  session.rollback();
  EXPECT_EQ(session.current(), nullptr);
}

TEST(SessionSettings, CommitAndRollbackEndTheSavepoints) {
  auto session = started();
  session.savepoint("s");
  session.set("a", "SET a = 1");
  session.commit();
  session.rollback_to("s");
  EXPECT_THAT(statements(session), ElementsAre("SET a = 1"));
  session.savepoint("s");
  session.rollback();
  session.set("a", "SET a = 2");
  session.rollback_to("s");
  EXPECT_THAT(statements(session), ElementsAre("SET a = 2"));
}

// --- RESET, RESET ALL, DISCARD ALL ---

TEST(SessionSettings, ResetForgetsWhatWasNotAStartupParameter) {
  auto session = started();
  session.set("a", "SET a = 1");
  session.set("b", "SET b = 1");
  EXPECT_EQ(session.reset("a"), "");
  EXPECT_THAT(statements(session), ElementsAre("SET b = 1"));
}

TEST(SessionSettings, ResetGoesBackToTheStartupParameterAndSaysHow) {
  auto session = started({{"a", "SELECT set a"}, {"b", "SELECT set b"}});
  session.set("a", "SET a = 2");
  EXPECT_EQ(session.reset("a"), "SELECT set a");
  EXPECT_THAT(statements(session), ElementsAre("SELECT set b", "SELECT set a"));
}

TEST(SessionSettings, ResetIsUndoneByARollback) {
  auto session = started();
  session.set("a", "SET a = 1");
  session.commit();
  (void)session.reset("a");
  EXPECT_EQ(session.current(), nullptr);
  session.rollback();
  EXPECT_THAT(statements(session), ElementsAre("SET a = 1"));
}

TEST(SessionSettings, ResetAllLeavesTheRoleAndGivesTheStartupParametersBack) {
  auto session = started({{"a", "SELECT set a"}});
  session.set("session_authorization", "SET SESSION AUTHORIZATION ann");
  session.set("role", "SET ROLE bob");
  session.set("a", "SET a = 2");
  session.set("b", "SET b = 2");
  EXPECT_EQ(session.reset_all(), "SELECT set a\n;");
  EXPECT_THAT(statements(session), ElementsAre("SET SESSION AUTHORIZATION ann", "SET ROLE bob", "SELECT set a"));
  EXPECT_TRUE(session.current()->needs_discard);
}

// https://www.postgresql.org/docs/15/sql-set-session-authorization.html: SetSessionAuthorization() puts the role back to none.
TEST(SessionSettings, ANewSessionAuthorizationEndsTheRoleThatWasSetUnderTheOldOne) {
  auto session = started();
  session.set("role", "SET ROLE bob");
  session.set("session_authorization", "SET SESSION AUTHORIZATION ann");
  EXPECT_THAT(statements(session), ElementsAre("SET SESSION AUTHORIZATION ann"));
}

TEST(SessionSettings, ResetAllWithoutStartupParametersLeavesNothing) {
  auto session = started();
  session.set("a", "SET a = 1");
  EXPECT_EQ(session.reset_all(), "");
  EXPECT_EQ(session.current(), nullptr);
}

TEST(SessionSettings, DiscardAllGoesBackToTheStartAtOnceWithoutTheRole) {
  auto session = started({{"a", "SELECT set a"}});
  session.set("role", "SET ROLE bob");
  session.commit();
  session.discard_all();
  EXPECT_THAT(statements(session), ElementsAre("SELECT set a"));
  session.rollback();
  EXPECT_THAT(statements(session), ElementsAre("SELECT set a")) << "DISCARD ALL cannot be rolled back";
}

// --- search_path ---

using Reads = SessionSettings::Reads;

std::string path_read_by(const SessionSettings& session) { return session.reading() ? session.reading()->search_path : ""; }

std::string changed_by(const SessionSettings& session, Reads what) {
  return std::string(session.reset_changes(what) ? "reset " : "") + (session.end_changes(what) ? "end " : "") + (session.savepoints_change(what) ? "savepoint" : "");
}

TEST(SessionSettings, ALocalSearchPathEndsWithTheTransactionAndItsSavepoint) {
  SessionSettings session = started();
  session.savepoint("a");
  session.set_local("search_path", "SET LOCAL search_path = other");
  EXPECT_EQ(path_read_by(session), "other");
  session.savepoint("b");
  session.set_local("search_path", "SET LOCAL search_path = third");
  EXPECT_EQ(path_read_by(session), "third");
  session.rollback_to("b");
  EXPECT_EQ(path_read_by(session), "other");
  session.rollback_to("a");
  EXPECT_EQ(path_read_by(session), "");
  session.set_local("search_path", "SET LOCAL search_path = other");
  session.commit();
  EXPECT_EQ(path_read_by(session), "");
  EXPECT_TRUE(statements(session).empty()) << "no server is given it";
}

TEST(SessionSettings, ALaterSetOrResetGoesBeforeALocalSearchPath) {
  const auto local = [](SessionSettings& session) { session.set_local("search_path", "SET LOCAL search_path = other"); };
  SessionSettings session = started();
  local(session);
  session.set("work_mem", "SET work_mem = 5");
  EXPECT_EQ(path_read_by(session), "other");
  session.set("search_path", "SET search_path = third");
  EXPECT_EQ(path_read_by(session), "third");
  local(session);
  EXPECT_EQ(session.reset("search_path"), "");
  EXPECT_EQ(path_read_by(session), "");
  local(session);
  EXPECT_EQ(session.reset_all(), "");
  EXPECT_EQ(path_read_by(session), "");
}

TEST(SessionSettings, KnowWhatMayBringAnotherSearchPathBack) {
  SessionSettings session = started({{"search_path", "SET search_path = a"}});
  session.set("work_mem", "SET work_mem = 5");
  session.savepoint("s");
  EXPECT_EQ(changed_by(session, Reads::text), "");
  session.set("search_path", "SET search_path = b");
  EXPECT_EQ(changed_by(session, Reads::names), "reset end savepoint");
  session.commit();
  EXPECT_EQ(changed_by(session, Reads::names), "reset ");
  EXPECT_EQ(session.startup_path(), "a");
  static_cast<void>(session.reset_all());
  session.commit();
  EXPECT_EQ(changed_by(session, Reads::names), "");
  session.savepoint("s");
  session.set_local("search_path", "SET LOCAL search_path = b");
  EXPECT_EQ(changed_by(session, Reads::names), "reset end savepoint");
}

TEST(SessionSettings, KnowWhatMayBringAnotherEncodingBack) {
  SessionSettings session = started();
  session.savepoint("s");
  session.set("client_encoding", "SET client_encoding = latin1");
  EXPECT_EQ(changed_by(session, Reads::names), "");
  EXPECT_EQ(changed_by(session, Reads::text), "reset end savepoint");
  session.rollback();
  EXPECT_EQ(changed_by(session, Reads::text), "");
}

TEST(StartupSetting, IsASetConfigWithQuotedValues) {
  EXPECT_EQ(startup_setting("DateStyle", "ISO").name, "datestyle");
  EXPECT_EQ(startup_setting("DateStyle", "ISO").sql, "SELECT pg_catalog.set_config('DateStyle', 'ISO', false)");
  EXPECT_EQ(startup_setting("a", "it's").sql, "SELECT pg_catalog.set_config('a', 'it''s', false)");
  EXPECT_EQ(startup_setting("a", "b\\c").sql, "SELECT pg_catalog.set_config('a', E'b\\\\c', false)");
}

struct Spelling {
  const char* sql;
  const char* means;   // in the list syntax of the parameter
};

class SearchPathOf : public testing::TestWithParam<Spelling> {};

TEST_P(SearchPathOf, ReadsTheSpelling) { EXPECT_EQ(search_path_of(GetParam().sql), GetParam().means); }

INSTANTIATE_TEST_SUITE_P(EverySpelling, SearchPathOf,
                         testing::Values(Spelling{"SET search_path = a", "a"},
                                         Spelling{"SET search_path=a,b", "a,b"},
                                         Spelling{"set SEARCH_PATH to A, public", "A, public"},
                                         Spelling{"SET SESSION search_path TO \"A b\", c ; ", "\"A b\", c"},
                                         Spelling{"SET \"search_path\" = a", "a"},
                                         Spelling{"SET search_path\nTO\n  a\n", "a"},
                                         Spelling{"SET search_path = 'a b'", "\"a b\""},
                                         Spelling{"SET search_path = 'a', b, 'C'", "\"a\", b, \"C\""},
                                         Spelling{"SET search_path = 'a, b'", "\"a, b\""},
                                         Spelling{"SET search_path = 'it''s'", "\"it's\""},
                                         Spelling{"SET search_path = 'a\"b'", "\"a\"\"b\""},
                                         Spelling{"SET search_path = ''", "\"\""},
                                         Spelling{"SET search_path = \"$user\", public", "\"$user\", public"},
                                         Spelling{"SET SCHEMA 'a b'", "\"a b\""},
                                         Spelling{"SET SCHEMA 'search_path'", "\"search_path\""},
                                         Spelling{"set schema 'x';", "\"x\""}));

TEST(PlainlyWritten, RefusesSpellingsThatHideTheValue) {
  for (const char* sql : {"SET search_path = E'public'", "SET SCHEMA e'x'", "SET search_path = $$sp$$", "SET search_path = U&'x'",
                          "SET search_path /* c */ = sp", "SET search_path = sp -- c"})
    EXPECT_FALSE(is_plainly_written(sql)) << sql;
  for (const char* sql : {"SET search_path = 'it''s', \"$user\", public", "SET SCHEMA 'e'", "SET client_encoding TO latin1"})
    EXPECT_TRUE(is_plainly_written(sql)) << sql;
}

TEST(ValueOf, IsTheWordWithoutItsQuotes) {
  EXPECT_EQ(value_of("SET standard_conforming_strings = f"), "f");
  EXPECT_EQ(value_of("set standard_conforming_strings TO 'OFF';"), "off");
  EXPECT_EQ(value_of("SET standard_conforming_strings=0"), "0");
  EXPECT_EQ(value_of(startup_setting("standard_conforming_strings", "on").sql), "on");
}

TEST(SearchPathOfStartup, IsTheParametersOwnText) {
  for (const char* value : {"a, b", "\"A b\", public", "it's", "back\\slash", "", "x', false)"})
    EXPECT_EQ(search_path_of(startup_setting("search_path", value).sql), value);
}

TEST(InternSettings, KnowsTheSearchPathOfItsSettings) {
  EXPECT_EQ(intern_settings({{"search_path", "SET search_path TO 'x', y"}})->search_path, "\"x\", y");
  EXPECT_EQ(intern_settings({{"work_mem", "SET work_mem = 1"}})->search_path, "");
}

}  // namespace
}  // namespace weir::proxy
