// The decisions of distributed transactions on a real server: who may write which, and what a forger gets.

#include <gtest/gtest.h>

#include <thread>

#include "schema/identity.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::schema {
namespace {

using tests::PgConnection;

constexpr const char* kOwnId = "to_hex(txid_current()) || '-0123456789abcd'";

class Decisions : public testing::Test {
 protected:
  static void SetUpTestSuite() { clusters_ = new tests::Clusters(1); }
  static void TearDownTestSuite() {
    delete clusters_;
    clusters_ = nullptr;
  }
  void SetUp() override {
    admin_.exec("DROP SCHEMA IF EXISTS weir, trap CASCADE; DROP ROLE IF EXISTS client");
    init();
    admin_.exec("CREATE ROLE client");
    client_.exec("SET ROLE client");
  }

  void init() {
    for (const std::string& statement : init_statements({"9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11", "s0", 1}, 0)) admin_.exec(statement);
  }
  // Decides in the transaction `connection` is in; the id.
  static std::string decide(PgConnection& connection) {
    const std::string id = connection.value(std::string("SELECT ") + kOwnId);
    connection.exec("SELECT weir.decide($1, '{s1,s2}')", {id});
    return id;
  }
  static std::string state_of(PgConnection& connection, const std::string& sql) {
    try {
      connection.exec(sql);
      return "";
    } catch (const tests::SqlError& e) {
      return e.state();
    }
  }
  std::string outcome(const std::string& id) {
    const auto rows = admin_.exec("SELECT outcome FROM weir.decision WHERE id = $1", {id});
    return rows.empty() ? "none" : *rows[0][0];
  }

  static tests::Clusters* clusters_;
  PgConnection admin_{clusters_->conninfo(0)};
  PgConnection client_{clusters_->conninfo(0)};
};
tests::Clusters* Decisions::clusters_ = nullptr;

TEST_F(Decisions, AreThereIfAndOnlyIfTheDecidingTransactionCommitted) {
  client_.exec("BEGIN");
  const std::string kept = decide(client_);
  EXPECT_EQ(outcome(kept), "none") << "not before the commit";
  client_.exec("COMMIT");
  EXPECT_EQ(outcome(kept), "commit");
  client_.exec("BEGIN");
  const std::string lost = decide(client_);
  client_.exec("ROLLBACK");
  EXPECT_EQ(outcome(lost), "none");
}

TEST_F(Decisions, CanBeWrittenFromASubtransactionWithTheNumberOfTheWhole) {
  client_.exec("BEGIN");
  const std::string before = client_.value(std::string("SELECT ") + kOwnId);
  client_.exec("SAVEPOINT a");
  EXPECT_EQ(decide(client_), before);
  client_.exec("COMMIT");
  EXPECT_EQ(outcome(before), "commit");
}

TEST_F(Decisions, OfAnotherTransactionAreRefused) {
  PgConnection other(clusters_->conninfo(0));
  other.exec("BEGIN");
  const std::string running = other.value(std::string("SELECT ") + kOwnId);
  for (const std::string& id : {running, std::string("1-0123456789abcd"), std::string("ffffffffffffffff-0123456789abcd"), std::string("")})
    EXPECT_EQ(state_of(client_, "SELECT weir.decide('" + id + "', '{}')"), "42501") << id;
  EXPECT_EQ(state_of(client_, "SELECT weir.decide(NULL, '{}')"), "42501");
  other.exec("SELECT weir.decide($1, '{}')", {running});
  other.exec("COMMIT");
  EXPECT_EQ(outcome(running), "commit") << "the forgers did not stop it";
  EXPECT_EQ(admin_.value("SELECT count(*) FROM weir.decision"), "1");
}

TEST_F(Decisions, MadeByHandAreOfTheirOwnTransactionOnlyAndWellFormed) {
  client_.exec(std::string("SELECT weir.decide(") + kOwnId + ", '{}')");
  EXPECT_EQ(admin_.value("SELECT count(*) FROM weir.decision"), "1");
  EXPECT_EQ(state_of(client_, "SELECT weir.decide(to_hex(txid_current()) || '-x', '{}')"), "23514");
  EXPECT_EQ(state_of(client_, "SELECT weir.decide(to_hex(txid_current()), '{}')"), "23514");
  EXPECT_EQ(state_of(client_, std::string("SELECT weir.decide(") + kOwnId + ", NULL)"), "23502");
  EXPECT_EQ(state_of(client_, std::string("SELECT weir.decide(") + kOwnId + ", array_fill('s'::text, '{100000}'))"), "54000");
}

TEST_F(Decisions, CannotBeTouchedByAClientInAnyOtherWay) {
  client_.exec("BEGIN");
  const std::string id = decide(client_);
  client_.exec("COMMIT");
  for (const std::string& sql :
       {std::string("INSERT INTO weir.decision VALUES ('1-0123456789abcd', 'commit', '{}')"), std::string("UPDATE weir.decision SET outcome = 'abort'"),
        std::string("DELETE FROM weir.decision"), std::string("TRUNCATE weir.decision"), std::string("SELECT * FROM weir.decision"),
        "SELECT weir.abort('" + id + "')", std::string("CREATE FUNCTION weir.decide(text, name[]) RETURNS void LANGUAGE sql AS ''")})
    EXPECT_EQ(state_of(client_, sql), "42501") << sql;
  EXPECT_EQ(outcome(id), "commit");
}

// What the client puts in front of pg_catalog must not run with the owner's rights.
TEST_F(Decisions, DoNotUseTheCallersSearchPath) {
  admin_.exec("CREATE SCHEMA trap AUTHORIZATION client");
  client_.exec(
      "CREATE FUNCTION trap.to_hex(bigint) RETURNS text LANGUAGE sql AS $$ SELECT '1' $$;"
      "CREATE FUNCTION trap.txid_current() RETURNS bigint LANGUAGE sql AS $$ SELECT 1::bigint $$;"
      "CREATE FUNCTION trap.split_part(text, text, int) RETURNS text LANGUAGE sql AS $$ SELECT '1' $$;"
      "SET search_path = trap, pg_catalog");
  EXPECT_EQ(state_of(client_, "SELECT weir.decide('1-0123456789abcd', '{}')"), "42501");
}

TEST_F(Decisions, AnAbortStopsTheDecider) {
  client_.exec("BEGIN");
  const std::string id = client_.value(std::string("SELECT ") + kOwnId);
  EXPECT_EQ(admin_.value("SELECT weir.abort('" + id + "')"), "abort");
  EXPECT_EQ(state_of(client_, "SELECT weir.decide('" + id + "', '{s1}')"), "23505");
  client_.exec("ROLLBACK");
  EXPECT_EQ(admin_.value("SELECT weir.abort('" + id + "')"), "abort") << "may be asked again";
}

TEST_F(Decisions, AnAbortStopsADeciderInRepeatableReadToo) {
  client_.exec("BEGIN ISOLATION LEVEL REPEATABLE READ");
  const std::string id = client_.value(std::string("SELECT ") + kOwnId);
  admin_.exec("SELECT weir.abort('" + id + "')");
  EXPECT_EQ(state_of(client_, "SELECT weir.decide('" + id + "', '{s1}')"), "23505");
}

TEST_F(Decisions, AnAbortWaitsForADeciderThatHasWrittenItsRowAndTellsWhatBecameOfIt) {
  for (const char* end : {"COMMIT", "ROLLBACK"}) {
    client_.exec("BEGIN");
    const std::string id = decide(client_);
    std::string told;
    PgConnection recovery(clusters_->conninfo(0));
    const std::string pid = recovery.value("SELECT pg_backend_pid()");
    std::thread asks([&] { told = recovery.value("SELECT weir.abort('" + id + "')"); });
    while (admin_.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = " + pid) == "0") std::this_thread::yield();
    client_.exec(end);
    asks.join();
    EXPECT_EQ(told, end == std::string_view("COMMIT") ? "commit" : "abort");
    EXPECT_EQ(outcome(id), told);
  }
}

TEST_F(Decisions, AnAbortNeverTellsWhatItDoesNotKnowForCertain) {
  PgConnection recovery(clusters_->conninfo(0));
  recovery.exec("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
  client_.exec("BEGIN");
  const std::string id = decide(client_);
  client_.exec("COMMIT");
  EXPECT_EQ(state_of(recovery, "SELECT weir.abort('" + id + "')"), "40001");
}

TEST_F(Decisions, AreDurableWhereTheClientTurnedSynchronousCommitOff) {
  for (const auto& [before, after] : {std::pair{"off", "on"}, {"local", "local"}, {"remote_apply", "remote_apply"}}) {
    client_.exec(std::string("SET synchronous_commit = ") + before + "; BEGIN");
    decide(client_);
    EXPECT_EQ(client_.value("SHOW synchronous_commit"), after);
    client_.exec("COMMIT");
    EXPECT_EQ(client_.value("SHOW synchronous_commit"), before) << "only to the end of the transaction";
  }
}

TEST_F(Decisions, InitAgainKeepsThemAndBringsAnEarlierSchemaUpToDate) {
  client_.exec("BEGIN");
  const std::string id = decide(client_);
  client_.exec("COMMIT");
  admin_.exec("GRANT ALL ON weir.decision TO PUBLIC; GRANT EXECUTE ON FUNCTION weir.abort(text) TO PUBLIC");
  init();
  EXPECT_EQ(outcome(id), "commit");
  EXPECT_EQ(state_of(client_, "DELETE FROM weir.decision"), "42501");
  EXPECT_EQ(state_of(client_, "SELECT weir.abort('" + id + "')"), "42501");
  admin_.exec("DROP TABLE weir.decision; DROP FUNCTION weir.decide(text, text[]); DROP FUNCTION weir.abort(text)");
  init();
  client_.exec("BEGIN");
  decide(client_);
  client_.exec("COMMIT");
}

}  // namespace
}  // namespace weir::schema
