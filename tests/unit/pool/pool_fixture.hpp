// One PostgreSQL for all tests of pools; each test has a World of its own.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "pool_world.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::pool::tests {

class PoolTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { clusters_ = std::make_unique<weir::tests::Clusters>(1); }
  static void TearDownTestSuite() { clusters_.reset(); }

  static weir::tests::Clusters& clusters() { return *clusters_; }
  // Named after the test, so that pg_stat_activity tells whose connections there are.
  static std::string conninfo() { return clusters().conninfo(0) + " application_name=" + name(); }
  static std::string name() { return testing::UnitTest::GetInstance()->current_test_info()->name(); }
  static std::unique_ptr<weir::tests::PgConnection> admin() {
    return std::make_unique<weir::tests::PgConnection>(clusters().conninfo(0));
  }
  static int connections(weir::tests::PgConnection& admin) {
    return std::stoi(
        admin.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = left('" + name() + "', 63)"));
  }

  // Leases a server on `worker`, asks it for its pid, and gives it back. 0: no server.
  int pid_by_lease(World& world, Pool& pool, unsigned worker) {
    std::atomic<int> pid{0};
    world.spawn(worker, [&](Client& client) -> net::Task<void> {
      Server* server = co_await lease(pool, client);
      if (!server) co_return;
      const std::string answer = co_await query(client, *server, "SELECT pg_backend_pid()");
      pid = std::atoi(answer.c_str());
      pool.release(server, Clock::now());
    });
    EXPECT_TRUE(world.finished()) << pool.timeout_error(kPatience).message;
    return pid;
  }
  // A server held by nobody's coroutine, until release().
  Server* hold(World& world, Pool& pool, unsigned worker) {
    std::atomic<Server*> held{nullptr};
    world.spawn(worker, [&](Client& client) -> net::Task<void> {
      Server* server = co_await lease(pool, client);
      held = server;
    });
    EXPECT_TRUE(world.finished()) << pool.timeout_error(kPatience).message;
    return held;
  }
  static void release(World& world, Pool& pool, Server* server) {
    world.on(server->worker, [&] { pool.release(server, Clock::now()); });
  }

 private:
  static std::unique_ptr<weir::tests::Clusters> clusters_;
};

}  // namespace weir::pool::tests
