// What a lease leaves behind (nothing), and how the pool hands connections out (bounded, fair, alive).
#include <atomic>
#include <future>
#include <pqxx/pqxx>

#include "tests/unit/client/fixture.hpp"

namespace weir::client {
namespace {

class LeaseTest : public TwoShards {
 protected:
  // One connection: the next lease has what the last one left.
  static Cluster one_connection() { return Cluster(settings(false), {.application_name = "one", .pool_size = 1U}); }
};

std::string ask(Lease& lease, const std::string& sql) {
  pqxx::nontransaction tx{lease.connection()};
  return tx.exec1(sql)[0].as<std::string>("NULL");
}

void tell(Lease& lease, const std::string& sql) {
  pqxx::nontransaction tx{lease.connection()};
  tx.exec(sql);
}

TEST_F(LeaseTest, LeavesNoSessionStateBehind) {
  Cluster cluster(settings(false), {.pool_size = 1U});
  std::string pid;
  {
    auto lease = cluster.write_shard(0);
    pid = ask(lease, "SELECT pg_backend_pid()");
    tell(lease, "SET search_path = nowhere");
    tell(lease, "SET SESSION default_transaction_isolation = 'serializable'");
    tell(lease, "CREATE TEMP TABLE mine (a int)");
    tell(lease, "LISTEN something");
    tell(lease, "PREPARE by_sql AS SELECT 1");
    tell(lease, "SELECT pg_advisory_lock(42)");
    lease.connection().set_variable("application_name", "'changed'");
  }
  auto lease = cluster.write_shard(0);
  EXPECT_EQ(ask(lease, "SELECT pg_backend_pid()"), pid) << "the same connection, or this test shows nothing";
  EXPECT_EQ(ask(lease, "SHOW search_path"), "\"$user\", public");
  EXPECT_EQ(ask(lease, "SHOW default_transaction_isolation"), "read committed");
  EXPECT_EQ(ask(lease, "SHOW application_name"), "weir_client");
  EXPECT_EQ(lease.connection().get_variable("application_name"), "weir_client") << "libpqxx remembered it";
  EXPECT_EQ(ask(lease, "SELECT to_regclass('mine')"), "NULL");
  EXPECT_EQ(ask(lease, "SELECT count(*) FROM pg_listening_channels()"), "0");
  EXPECT_EQ(ask(lease, "SELECT count(*) FROM pg_prepared_statements"), "0");
  EXPECT_EQ(ask(lease, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
}

TEST_F(LeaseTest, LetsEveryLeasePrepareUnderTheSameName) {
  Cluster cluster(settings(false), {.pool_size = 1U});
  for (int i = 1; i <= 3; ++i) {
    auto lease = cluster.write_shard(0);
    lease.connection().prepare("mine", "SELECT $1::int + " + std::to_string(i));
    pqxx::work tx{lease.connection()};
    EXPECT_EQ(tx.exec_prepared1("mine", 10)[0].as<int>(), 10 + i);
  }
}

TEST_F(LeaseTest, RollsAnOpenTransactionBack) {
  Cluster cluster(settings(false), {.pool_size = 1U});
  {
    auto lease = cluster.write_shard(0);
    tell(lease, "BEGIN");
    tell(lease, "CREATE TABLE never (a int)");
  }
  {
    auto lease = cluster.write_shard(0);
    EXPECT_EQ(ask(lease, "SELECT to_regclass('never')"), "NULL");
    tell(lease, "BEGIN");
    EXPECT_THROW(tell(lease, "SELECT 1/0"), pqxx::sql_error);
  }
  auto lease = cluster.write_shard(0);
  EXPECT_EQ(ask(lease, "SELECT 1"), "1");
}

TEST_F(LeaseTest, ReadOnlyDoesNotStickToTheConnection) {
  Cluster cluster(settings(false), {.pool_size = 1U});
  { auto lease = cluster.read_shard(0); }
  auto lease = cluster.write_shard(0);
  EXPECT_EQ(ask(lease, "SHOW default_transaction_read_only"), "off");
}

TEST_F(LeaseTest, NeverReconnectsBehindItsBack) {
  Cluster cluster(settings(false), {.pool_size = 1U});
  auto lease = cluster.write_shard(0);
  const std::string pid = ask(lease, "SELECT pg_backend_pid()");
  tests::PgConnection(clusters_->conninfo(0)).exec("SELECT pg_terminate_backend(" + pid + ", 5000)");
  EXPECT_THROW(ask(lease, "SELECT 1"), std::exception);
  EXPECT_THROW(ask(lease, "SELECT 1"), std::exception)
      << "it must stay broken: a new connection's identity is unchecked";
  lease.release();
  auto next = cluster.write_shard(0);
  EXPECT_NE(ask(next, "SELECT pg_backend_pid()"), pid);
}

TEST_F(LeaseTest, ReplacesConnectionsThatDiedWhileIdle) {
  Cluster cluster(settings(false), {.application_name = "idle", .pool_size = 4U});
  {
    std::vector<Lease> all;
    for (int i = 0; i < 4; ++i) all.push_back(cluster.write_shard(0));
  }
  tests::PgConnection server(clusters_->conninfo(0));
  server.exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'idle'");
  for (int i = 0; i < 8; ++i) {
    auto lease = cluster.write_shard(0);
    EXPECT_EQ(ask(lease, "SELECT 1"), "1");
  }
}

TEST_F(LeaseTest, TimesOutWithThePoolsNameAndNumbers) {
  Cluster cluster(settings(false), {.pool_size = 2U});
  auto first = cluster.write_shard(0);
  auto second = cluster.write_shard(0);
  const TimePoint begun = Clock::now();
  try {
    static_cast<void>(cluster.write_shard(0, in(std::chrono::milliseconds(200))));
    FAIL() << "a third connection of two";
  } catch (const PoolTimeout& e) {
    EXPECT_EQ(e.sqlstate(), "53300");
    EXPECT_EQ(e.pool(), "app/s0/primary");
    EXPECT_EQ(e.in_use(), 2U);
    EXPECT_NE(std::string(e.what()).find("2 of 2 in use"), std::string::npos) << e.what();
  }
  EXPECT_GE(Clock::now() - begun, std::chrono::milliseconds(200));
  EXPECT_LT(Clock::now() - begun, std::chrono::seconds(2));
  EXPECT_NO_THROW(static_cast<void>(cluster.write_shard(1))) << "the other shard's pool is its own";
}

TEST_F(LeaseTest, ServesWaitersInTheOrderTheyCame) {
  Cluster cluster(settings(false), {.pool_size = 1U});
  auto held = std::make_unique<Lease>(cluster.write_shard(0));
  std::mutex mutex;
  std::vector<int> order;
  std::vector<std::thread> waiters;
  for (int i = 0; i < 6; ++i) {
    waiters.emplace_back([&, i] {
      auto lease = cluster.write_shard(0);
      const std::lock_guard lock(mutex);
      order.push_back(i);
    });
    ASSERT_TRUE(eventually([&] { return cluster.backends()[0].pool.waiting == static_cast<unsigned>(i + 1); }));
  }
  held.reset();
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST_F(LeaseTest, ServesAHundredThreadsOnEightConnections) {
  Cluster cluster(settings(false), {.application_name = "crowd", .pool_size = 8U});
  std::atomic<int> done{0}, most{0};
  std::atomic<bool> over{false};
  std::thread observer([&] {
    while (!over) most = std::max(most.load(), connections(0, "crowd"));
  });
  std::vector<std::thread> crowd;
  for (int t = 0; t < 100; ++t) {
    crowd.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        auto lease = t % 2 == 0 ? cluster.write_shard(0) : cluster.read_shard(0);
        if (ask(lease, "SELECT 1") == "1") ++done;
      }
    });
  }
  for (auto& thread : crowd) thread.join();
  over = true;
  observer.join();
  EXPECT_EQ(done, 1000);
  EXPECT_LE(most, 8);
  EXPECT_GE(most, 2) << "the observer saw nothing";
}

TEST_F(LeaseTest, GivesUpConnectionsThatAreTooOld) {
  auto short_lived = settings(false);
  short_lived.pool.lifetime = config::Millis(50);
  Cluster cluster(short_lived, {.pool_size = 1U});
  auto lease = std::make_unique<Lease>(cluster.write_shard(0));
  const std::string pid = ask(*lease, "SELECT pg_backend_pid()");
  lease.reset();
  std::this_thread::sleep_for(std::chrono::milliseconds(60));  // the lifetime itself is what is tested
  auto next = cluster.write_shard(0);
  EXPECT_NE(ask(next, "SELECT pg_backend_pid()"), pid);
}

}  // namespace
}  // namespace weir::client
