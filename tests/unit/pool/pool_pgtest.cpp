#include "pool_fixture.hpp"

namespace weir::pool::tests {

std::unique_ptr<weir::tests::Clusters> PoolTest::clusters_;

namespace {

TEST_F(PoolTest, NeverExceedsItsSizeWithFiftyClientsOverTwoWorkers) {
  constexpr unsigned kSize = 3;
  constexpr int kClients = 50, kTransactions = 5;
  World world;
  const auto watcher = admin();
  const auto budget = std::make_shared<Budget>(100);
  const auto pool = world.pool(conninfo(), {.size = kSize}, budget);
  std::atomic<unsigned> held{0}, most{0};
  std::atomic<int> answered{0};
  for (int i = 0; i < kClients; ++i)
    world.spawn(static_cast<unsigned>(i) % kWorkers, [&](Client& client) -> net::Task<void> {
      for (int t = 0; t < kTransactions; ++t) {
        Server* server = co_await lease(*pool, client);
        if (!server) co_return;
        const unsigned now = ++held;
        for (unsigned seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
        }
        const std::string answer = co_await query(client, *server, "SELECT 'x' FROM pg_sleep(0.002)");
        if (answer == "x") ++answered;
        --held;
        pool->release(server, Clock::now());
      }
    });
  int on_server = 0;
  EXPECT_TRUE(eventually([&] {
    on_server = std::max(on_server, connections(*watcher));
    return world.running() == 0;
  }));
  EXPECT_EQ(answered, kClients * kTransactions);
  EXPECT_EQ(most, kSize) << "all of it is used, and no more";
  EXPECT_LE(on_server, static_cast<int>(kSize));
  EXPECT_LE(budget->high_water(), kSize);
  const PoolCounts counts = pool->counts(Clock::now());
  EXPECT_EQ(counts.active + counts.waiting, 0U);
  EXPECT_EQ(pool->backend().in_use, 0U);
}

TEST_F(PoolTest, MovesAServerToTheWorkerThatNeedsIt) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  const int pid = pid_by_lease(world, *pool, 0);
  ASSERT_NE(pid, 0);
  for (const unsigned worker : {1U, 0U, 0U, 1U}) {
    EXPECT_EQ(pid_by_lease(world, *pool, worker), pid);
    ASSERT_EQ(pool->servers().size(), 1U);
    EXPECT_EQ(pool->servers()[0].worker, worker);
  }
}

TEST_F(PoolTest, PrefersAnIdleServerOfTheSameSettings) {
  World world;
  const auto pool = world.pool(conninfo(), 2);
  const auto marked_as = std::make_shared<int>(1);
  Server* marked = hold(world, *pool, 0);
  Server* plain = hold(world, *pool, 0);
  ASSERT_TRUE(marked && plain && marked != plain);
  marked->settings = marked_as;
  release(world, *pool, marked);
  release(world, *pool, plain);
  Client& client = world.idle_client(0);
  client.request.settings = marked_as.get();
  world.on(0, [&] {
    Server* got = pool->acquire(client.request, Clock::now());
    EXPECT_EQ(got, marked) << "though the other was used later";
    if (got) pool->release(got, Clock::now());
  });
}

TEST_F(PoolTest, ReplacesAnIdleServerThatWasTerminated) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  const int pid = pid_by_lease(world, *pool, 0);
  admin()->exec("SELECT pg_terminate_backend(" + std::to_string(pid) + ")");
  EXPECT_TRUE(eventually([&] { return pool->servers().empty(); })) << "its end is noticed while it is idle";
  const int next = pid_by_lease(world, *pool, 1);
  EXPECT_NE(next, 0);
  EXPECT_NE(next, pid);
}

TEST_F(PoolTest, AWaiterSurvivesADeadPrimaryAndIsServedAfterItsRestart) {
  World world;
  const auto pool = world.pool(conninfo(), 2);
  ASSERT_NE(pid_by_lease(world, *pool, 0), 0);
  clusters().kill(0, "primary");
  ASSERT_TRUE(eventually([&] { return pool->servers().empty(); }));
  std::atomic<int> answered{0};
  for (const unsigned worker : {0U, 1U})
    world.spawn(worker, [&](Client& client) -> net::Task<void> {
      Server* server = co_await lease(*pool, client);
      if (!server) co_return;
      const std::string answer = co_await query(client, *server, "SELECT 'alive'");
      if (answer == "alive") ++answered;
      pool->release(server, Clock::now());
    });
  EXPECT_TRUE(eventually([&] { return pool->timeout_error(1s).code == sqlstate::kCannotConnectNow; }))
      << pool->timeout_error(1s).message;
  EXPECT_EQ(world.running(), 2) << "they wait: a primary comes back";
  clusters().restart(0, "primary");
  EXPECT_TRUE(world.finished()) << pool->timeout_error(kPatience).message;
  EXPECT_EQ(answered, 2);
  EXPECT_EQ(pool->backend().in_use, 0U);
}

TEST_F(PoolTest, AWaiterForADeadReplicaIsToldAtOnce) {
  World world;
  const auto pool = world.pool("host=127.0.0.1 port=1 dbname=app user=postgres", {.size = 1},
                               std::make_shared<Budget>(5), policy::Role::replica);
  Held<Error> error;
  world.spawn(0, [&](Client& client) -> net::Task<void> {
    (void)co_await lease(*pool, client);
    error = std::move(client.request.error);
  });
  ASSERT_TRUE(world.finished());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, sqlstate::kConnectionFailure);
  EXPECT_TRUE(error->connection_spoilt) << "another backend may help";
}

TEST_F(PoolTest, APermanentRefusalFailsEveryWaiterAtOnce) {
  World world;
  const auto budget = std::make_shared<Budget>(5);
  const auto pool = world.pool(clusters().conninfo(0) + " dbname=nope", {.size = 2}, budget);
  std::atomic<int> told{0};
  for (unsigned i = 0; i < 8; ++i)
    world.spawn(i % kWorkers, [&](Client& client) -> net::Task<void> {
      Server* server = co_await lease(*pool, client);
      if (!server && client.request.error->code == sqlstate::kInvalidDatabase) ++told;
    });
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(told, 8);
  EXPECT_TRUE(eventually([&] { return pool->counts(Clock::now()).opening == 0; }));
  EXPECT_EQ(pool->counts(Clock::now()).waiting, 0U);
  EXPECT_EQ(pool->backend().in_use, 0U);
  EXPECT_EQ(budget->used(), 0U);
}

TEST_F(PoolTest, APausedPoolGrantsNothingUntilItIsResumed) {
  World world;
  const auto pool = world.pool(conninfo(), 2);
  Server* busy = hold(world, *pool, 0);
  ASSERT_NE(pid_by_lease(world, *pool, 1), 0);   // leaves an idle one
  pool->set_paused(true);
  std::atomic<int> served{0};
  for (unsigned i = 0; i < 6; ++i)
    world.spawn(i % kWorkers, [&](Client& client) -> net::Task<void> {
      Server* server = co_await lease(*pool, client);
      if (!server) co_return;
      ++served;
      pool->release(server, Clock::now());
    });
  release(world, *pool, busy);
  pool->tick(Clock::now());
  world.barrier();
  EXPECT_EQ(served, 0);
  EXPECT_EQ(pool->counts(Clock::now()).waiting, 6U);
  EXPECT_EQ(pool->counts(Clock::now()).active, 0U);
  pool->set_paused(false);
  EXPECT_TRUE(world.finished());
  EXPECT_EQ(served, 6);
}

TEST_F(PoolTest, RenewClosesIdleServersNowAndBusyOnesWhenTheyComeBack) {
  World world;
  const auto watcher = admin();
  const auto pool = world.pool(conninfo(), 2);
  Server* busy = hold(world, *pool, 0);
  ASSERT_TRUE(busy);
  const int old_busy = busy->backend_pid;
  const int old_idle = pid_by_lease(world, *pool, 1);
  ASSERT_NE(old_idle, old_busy);
  pool->renew();
  EXPECT_EQ(pool->servers().size(), 1U);
  const int fresh = pid_by_lease(world, *pool, 1);
  EXPECT_NE(fresh, old_idle);
  release(world, *pool, busy);
  ASSERT_EQ(pool->servers().size(), 1U);
  EXPECT_EQ(pool->servers()[0].backend_pid, fresh);
  EXPECT_TRUE(eventually([&] { return connections(*watcher) == 1; })) << "closed means closed on the server, too";
}

TEST_F(PoolTest, ARetiredPoolFailsItsWaitersAndEndsWithItsLastServer) {
  World world;
  const auto budget = std::make_shared<Budget>(5);
  const auto pool = world.pool(conninfo(), {.size = 1}, budget);
  Server* busy = hold(world, *pool, 0);
  std::atomic<int> told{0};
  for (const unsigned worker : {0U, 1U})
    world.spawn(worker, [&](Client& client) -> net::Task<void> {
      Server* server = co_await lease(*pool, client);
      if (!server && client.request.error->code == sqlstate::kAdminShutdown) ++told;
    });
  pool->retire();
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(told, 2);
  EXPECT_EQ(pool->servers().size(), 1U);
  release(world, *pool, busy);
  EXPECT_EQ(pool->servers().size(), 0U);
  EXPECT_EQ(budget->used(), 0U);
}

TEST_F(PoolTest, KeepsItsMinimumAndClosesWhatIsIdleTooLongOrTooOld) {
  World world;
  const auto pool = world.pool(conninfo(), {.size = 3, .min = 1, .idle_timeout = 1h, .lifetime = 4h},
                               std::make_shared<Budget>(5));
  EXPECT_TRUE(eventually([&] { return pool->counts(Clock::now()).idle == 1; })) << "without any client";
  std::vector<Server*> held;
  for (unsigned i = 0; i < 3; ++i) held.push_back(hold(world, *pool, i % kWorkers));
  for (Server* server : held) release(world, *pool, server);
  EXPECT_EQ(pool->servers().size(), 3U);
  pool->tick(Clock::now() + 2h);
  ASSERT_EQ(pool->servers().size(), 1U) << "two were idle too long, the minimum stays";
  const int old = pool->servers()[0].backend_pid;
  pool->tick(Clock::now() + 5h);
  EXPECT_TRUE(eventually([&] {
    const auto servers = pool->servers();
    return servers.size() == 1 && servers[0].backend_pid != old;
  })) << "the lifetime closes even the minimum, and it is opened anew";
}

}  // namespace
}  // namespace weir::pool::tests
