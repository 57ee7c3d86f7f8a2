// libpqxx 6.4 through the proxy: what a C++ program expects of PostgreSQL holds of Weir.
// https://libpqxx.readthedocs.io/en/6.4/
#include <gtest/gtest.h>

#include <memory>
#include <pqxx/pqxx>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"
#include "tests/support/weir_process.hpp"

namespace weir::proxy {
namespace {

constexpr int kPoolSize = 3;

class Libpqxx : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    clusters_ = std::make_unique<tests::Clusters>(1);
    weir_ = std::make_unique<tests::WeirProcess>("[auth]\nmethod = \"trust\"\n[pool]\nsize = " +
                                                 std::to_string(kPoolSize) + "\n[[database]]\nname = \"app\"\n" +
                                                 "[[database.shard]]\nname = \"s0\"\nprimary = \"" +
                                                 clusters_->conninfo(0) + "\"\n");
  }
  static void TearDownTestSuite() {
    EXPECT_EQ(weir_->stop(), 0) << weir_->log();
    weir_.reset();
    clusters_.reset();
  }
  void SetUp() override {
    direct_.exec("DROP TABLE IF EXISTS child, item; CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL, "
                 "price numeric CHECK (price >= 0)); CREATE TABLE child (item int REFERENCES item)");
  }

  int items() { return std::stoi(direct_.value("SELECT count(*) FROM item")); }
  static void insert(pqxx::transaction_base& tx, int id, const std::string& name) {
    tx.exec_params0("INSERT INTO item VALUES ($1, $2)", id, name);
  }

  static std::unique_ptr<tests::Clusters> clusters_;
  static std::unique_ptr<tests::WeirProcess> weir_;
  tests::PgConnection direct_{clusters_->conninfo(0)};   // PostgreSQL itself
  pqxx::connection conn_{weir_->conninfo()};
};

std::unique_ptr<tests::Clusters> Libpqxx::clusters_;
std::unique_ptr<tests::WeirProcess> Libpqxx::weir_;

// --- transactions ---

TEST_F(Libpqxx, CommitsAndRollsBack) {
  {
    pqxx::work tx(conn_);
    insert(tx, 1, "kept");
    EXPECT_EQ(items(), 0);
    tx.commit();
  }
  EXPECT_EQ(items(), 1);
  {
    pqxx::work tx(conn_);
    insert(tx, 2, "dropped");
  }
  EXPECT_EQ(items(), 1);
}

TEST_F(Libpqxx, HoldsTheIsolationLevelAndReadOnlyItAsksFor) {
  pqxx::transaction<pqxx::serializable, pqxx::read_only> tx(conn_);
  EXPECT_EQ(tx.exec1("SHOW transaction_isolation")[0].as<std::string>(), "serializable");
  EXPECT_THROW(insert(tx, 1, "x"), pqxx::sql_error);
}

TEST_F(Libpqxx, WorksWithoutATransaction) {
  pqxx::nontransaction tx(conn_);
  insert(tx, 1, "at once");
  EXPECT_EQ(items(), 1);
}

TEST_F(Libpqxx, CommitsRobustly) {
  pqxx::robusttransaction<> tx(conn_);
  insert(tx, 1, "robust");
  tx.commit();
  EXPECT_EQ(items(), 1);
}

TEST_F(Libpqxx, NestsSubtransactions) {
  // By exec(): after exec_params() libpqxx 6.4's abort() undid nothing, against PostgreSQL itself, too.
  const auto add = [](pqxx::transaction_base& tx, const char* id) {
    tx.exec0(std::string("INSERT INTO item VALUES (") + id + ", 'n')");
  };
  pqxx::work tx(conn_);
  add(tx, "1");
  {
    pqxx::subtransaction first(tx, "first");
    add(first, "2");
    {
      pqxx::subtransaction second(first, "second");
      add(second, "3");
      EXPECT_THROW(add(second, "1"), pqxx::unique_violation);
      second.abort();
    }
    add(first, "4");
    first.commit();
  }
  tx.commit();
  EXPECT_EQ(direct_.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM item"), "1 2 4");
}

TEST_F(Libpqxx, GoesOnAfterAnErrorInsideASavepoint) {
  pqxx::work tx(conn_);
  insert(tx, 1, "outer");
  tx.exec0("SAVEPOINT a");
  EXPECT_THROW(insert(tx, 1, "duplicate"), pqxx::unique_violation);
  tx.exec0("ROLLBACK TO a");
  insert(tx, 2, "after the error");
  tx.commit();
  EXPECT_EQ(items(), 2);
}

TEST_F(Libpqxx, RetriesByPerform) {
  int attempts = 0;
  pqxx::perform([&] {
    pqxx::work tx(conn_);
    insert(tx, 1, "once");
    if (++attempts < 3) throw pqxx::serialization_failure("made up");
    tx.commit();
  });
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(items(), 1);
}

// --- parameters and prepared statements ---

TEST_F(Libpqxx, PassesParametersOfEveryKind) {
  pqxx::work tx(conn_);
  const std::string quotes = "it's \"quoted\" \\ and $1 ü";
  const pqxx::row row = tx.exec_params1("SELECT $1::int + 1, $2::text, $3::text IS NULL, $4::float8, $5::bool", 41,
                                        quotes, static_cast<const char*>(nullptr), 0.5, true);
  EXPECT_EQ(row[0].as<int>(), 42);
  EXPECT_EQ(row[1].as<std::string>(), quotes);
  EXPECT_TRUE(row[2].as<bool>());
  EXPECT_EQ(row[3].as<double>(), 0.5);
  EXPECT_TRUE(row[4].as<bool>());
}

TEST_F(Libpqxx, PassesBinaryParameters) {
  pqxx::work tx(conn_);
  const std::string bytes("\0\x01\xff'\\", 5);
  const pqxx::row row = tx.exec_params1("SELECT $1::bytea, length($1::bytea)", pqxx::binarystring(bytes));
  EXPECT_EQ(row[1].as<int>(), 5);
  EXPECT_EQ(pqxx::binarystring(row[0]).str(), bytes);
}

TEST_F(Libpqxx, KeepsPreparedStatementsOverServers) {
  conn_.prepare("double", "SELECT 2 * $1::int, pg_backend_pid()");
  const auto twice_on = [&](int number) {
    pqxx::work tx(conn_);
    const pqxx::row row = tx.exec_prepared1("double", number);
    EXPECT_EQ(row[0].as<int>(), 2 * number);
    return row[1].as<int>();
  };
  std::set<int> servers{twice_on(1)};
  // Other clients hold all servers but one, then all but another.
  for (int round = 0; round < 2 * kPoolSize; ++round) {
    pqxx::connection other(weir_->conninfo());
    pqxx::work hold(other);
    hold.exec1("SELECT 1");
    pqxx::connection another(weir_->conninfo());
    pqxx::work hold_too(another);
    if (round % 2 == 0) hold_too.exec1("SELECT 1");
    servers.insert(twice_on(round));
  }
  EXPECT_GE(servers.size(), 2U) << "it was on several servers, though it was prepared once";
}

TEST_F(Libpqxx, KeepsPreparedStatementsOfClientsApart) {
  pqxx::connection other(weir_->conninfo());
  conn_.prepare("same name", "SELECT 'mine'");
  other.prepare("same name", "SELECT 'hers'");
  for (int i = 0; i < 3; ++i) {
    pqxx::work mine(conn_);
    EXPECT_EQ(mine.exec_prepared1("same name")[0].as<std::string>(), "mine");
    mine.commit();
    pqxx::work hers(other);
    EXPECT_EQ(hers.exec_prepared1("same name")[0].as<std::string>(), "hers");
    hers.commit();
  }
}

TEST_F(Libpqxx, UnpreparesAndPreparesAgain) {
  conn_.prepare("s", "SELECT 1");
  conn_.prepare_now("s");
  conn_.unprepare("s");
  conn_.prepare("s", "SELECT 2");
  pqxx::work tx(conn_);
  EXPECT_EQ(tx.exec_prepared1("s")[0].as<int>(), 2);
}

// --- many rows ---

TEST_F(Libpqxx, CopiesInAndOutByStreams) {
  constexpr int kRows = 20'000;
  pqxx::work tx(conn_);
  pqxx::stream_to in(tx, "item", std::vector<std::string>{"id", "name"});
  for (int i = 0; i < kRows; ++i) in << std::make_tuple(i, "n" + std::to_string(i));
  in << std::make_tuple(kRows, "tab\t, newline\n, \\.");
  in.complete();
  EXPECT_EQ(tx.exec1("SELECT count(*) FROM item")[0].as<int>(), kRows + 1);
  EXPECT_EQ(tx.exec0("DELETE FROM item WHERE name = E'tab\\t, newline\\n, \\\\.'").affected_rows(), 1U);
  pqxx::stream_from out(tx, "item", std::vector<std::string>{"id", "name"});
  std::string line;   // raw: reading tuples fails here in libpqxx 6.4 against PostgreSQL itself, too
  int rows = 0;
  for (; out.get_raw_line(line) && !line.empty(); ++rows) {
    const std::string n = std::to_string(rows);
    ASSERT_EQ(line, n + "\tn" + n + "\n");
  }
  out.complete();
  EXPECT_EQ(rows, kRows);
  tx.commit();
  EXPECT_EQ(items(), kRows);
}

TEST_F(Libpqxx, ACopyThatFailsLeavesTheConnectionUsable) {
  {
    pqxx::work tx(conn_);
    pqxx::stream_to in(tx, "item", std::vector<std::string>{"id", "name"});
    in << std::make_tuple(1, "a");
    in << std::make_tuple(1, "again");
    EXPECT_THROW(in.complete(), pqxx::sql_error);
  }
  EXPECT_EQ(items(), 0);
  pqxx::work tx(conn_);
  EXPECT_EQ(tx.exec1("SELECT 1")[0].as<int>(), 1);
}

TEST_F(Libpqxx, PipelinesQueries) {
  pqxx::work tx(conn_);
  pqxx::pipeline pipe(tx);
  pipe.retain(10);
  std::vector<pqxx::pipeline::query_id> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(pipe.insert("SELECT " + std::to_string(i)));
  pipe.complete();
  for (int i = 0; i < 40; ++i) EXPECT_EQ(pipe.retrieve(ids[static_cast<std::size_t>(i)])[0][0].as<int>(), i);
}

TEST_F(Libpqxx, APipelineThatFailsSaysWhichQuery) {
  pqxx::work tx(conn_);
  pqxx::pipeline pipe(tx);
  pipe.retain(3);
  const auto good = pipe.insert("SELECT 1");
  const auto bad = pipe.insert("SELECT 1/0");
  pipe.insert("SELECT 3");
  pipe.resume();
  EXPECT_EQ(pipe.retrieve(good)[0][0].as<int>(), 1);
  EXPECT_THROW(pipe.retrieve(bad), pqxx::sql_error);
}

TEST_F(Libpqxx, ReadsByCursor) {
  pqxx::work tx(conn_);
  tx.exec0("INSERT INTO item SELECT i, 'n' FROM generate_series(1, 100) i");
  pqxx::stateless_cursor<pqxx::cursor_base::read_only, pqxx::cursor_base::owned> cursor(
      tx, "SELECT id FROM item ORDER BY id", "c", false);
  EXPECT_EQ(cursor.size(), 100U);
  const pqxx::result page = cursor.retrieve(10, 15);
  ASSERT_EQ(page.size(), 5U);
  EXPECT_EQ(page[0][0].as<int>(), 11);
}

// --- errors ---

TEST_F(Libpqxx, GetsTheErrorClassesOfTheServer) {
  const auto run = [&](const std::string& sql) {
    pqxx::work tx(conn_);
    tx.exec(sql);
    tx.commit();
  };
  run("INSERT INTO item VALUES (1, 'a')");
  EXPECT_THROW(run("INSERT INTO item VALUES (1, 'b')"), pqxx::unique_violation);
  EXPECT_THROW(run("INSERT INTO item VALUES (2, NULL)"), pqxx::not_null_violation);
  EXPECT_THROW(run("INSERT INTO item VALUES (2, 'b', -1)"), pqxx::check_violation);
  EXPECT_THROW(run("INSERT INTO child VALUES (99)"), pqxx::foreign_key_violation);
  EXPECT_THROW(run("SELECT * FROM nowhere"), pqxx::undefined_table);
  EXPECT_THROW(run("SELECT nothing FROM item"), pqxx::undefined_column);
  EXPECT_THROW(run("SELECT nofunction()"), pqxx::undefined_function);
  EXPECT_THROW(run("SELEC 1"), pqxx::syntax_error);
  EXPECT_EQ(items(), 1);
}

TEST_F(Libpqxx, GetsStateAndQueryOfAnError) {
  pqxx::work tx(conn_);
  try {
    tx.exec("SELECT 1/0");
    FAIL() << "no error";
  } catch (const pqxx::sql_error& e) {
    EXPECT_EQ(e.sqlstate(), "22012");
    EXPECT_EQ(e.query(), "SELECT 1/0");
  }
  EXPECT_THROW(tx.exec("SELECT 1"), std::exception) << "the transaction has failed";
}

// --- the connection ---

TEST_F(Libpqxx, TellsTheServersVersionAndSettings) {
  EXPECT_GE(conn_.server_version(), 150000);
  EXPECT_EQ(conn_.protocol_version(), 3);
  conn_.set_variable("work_mem", "'7MB'");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(pqxx::nontransaction(conn_).exec1("SHOW work_mem")[0].as<std::string>(), "7MB");
  pqxx::connection other(weir_->conninfo());
  EXPECT_NE(pqxx::nontransaction(other).exec1("SHOW work_mem")[0].as<std::string>(), "7MB");
}

TEST_F(Libpqxx, SeesAServerThatDiesInItsTransactionAndGoesOn) {
  {
    pqxx::work tx(conn_);
    insert(tx, 1, "lost");
    const auto pid = tx.exec1("SELECT pg_backend_pid()")[0].as<std::string>();
    direct_.exec("SELECT pg_terminate_backend(" + pid + ")");
    EXPECT_THROW(tx.exec("SELECT 1"), std::exception);
  }
  EXPECT_EQ(items(), 0);
  pqxx::connection again(weir_->conninfo());
  pqxx::work tx(again);
  insert(tx, 1, "kept");
  tx.commit();
  EXPECT_EQ(items(), 1);
}

TEST_F(Libpqxx, DoesNotNoticeThatAnIdleServerDies) {
  pqxx::nontransaction tx(conn_);
  for (int i = 0; i < 5; ++i) {
    const std::string pid = tx.exec1("SELECT pg_backend_pid()")[0].as<std::string>();
    direct_.exec("SELECT pg_terminate_backend(" + pid + ")");
    while (direct_.value("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid) != "0") std::this_thread::yield();
    EXPECT_NE(tx.exec1("SELECT pg_backend_pid()")[0].as<std::string>(), pid);
  }
}

TEST_F(Libpqxx, CancelsAQuery) {
  pqxx::nontransaction tx(conn_);
  std::thread canceller([&] {
    while (direct_.value("SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND state = "
                         "'active'") != "1")
      std::this_thread::yield();
    conn_.cancel_query();
  });
  try {
    tx.exec("SELECT pg_sleep(30)");
    ADD_FAILURE() << "not cancelled";
  } catch (const pqxx::sql_error& e) {
    EXPECT_EQ(e.sqlstate(), "57014");
  }
  canceller.join();
  EXPECT_EQ(tx.exec1("SELECT 1")[0].as<int>(), 1);
}

TEST_F(Libpqxx, SharesFewServersAmongManyConnections) {
  constexpr int kThreads = 8, kRounds = 25;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([t] {
      pqxx::connection conn(weir_->conninfo());
      for (int i = 0; i < kRounds; ++i) {
        pqxx::work tx(conn);
        const int id = t * kRounds + i;
        insert(tx, id, tx.exec1("SELECT pg_backend_pid()")[0].as<std::string>());
        EXPECT_TRUE(tx.exec_params1("SELECT name = pg_backend_pid()::text FROM item WHERE id = $1", id)[0].as<bool>());
        tx.commit();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(items(), kThreads * kRounds);
  EXPECT_LE(std::stoi(direct_.value("SELECT count(DISTINCT name) FROM item")), kPoolSize);
}

}  // namespace
}  // namespace weir::proxy
