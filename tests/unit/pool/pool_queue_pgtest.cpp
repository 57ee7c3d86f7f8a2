// Who is next: the order of the queue, giving up, and pools that share a server's bound.
#include "pool_fixture.hpp"

namespace weir::pool::tests {
namespace {

using PoolQueue = PoolTest;

// Queues a client that says its number when it is served, and gives back at once.
void queue_up(World& world, Pool& pool, unsigned worker, TimePoint since, int number, std::vector<int>& order,
              std::mutex& mutex, bool first = false) {
  world.spawn(worker, [&, since, number, first](Client& client) -> net::Task<void> {
    client.request.first = first;
    Server* server = pool.acquire(client.request, since);
    while (!server && Pool::waits(client.request)) {
      co_await client.waiter.wait();
      server = pool.taken(client.request);
    }
    if (!server) co_return;
    {
      std::lock_guard lock(mutex);
      order.push_back(number);
    }
    pool.release(server, Clock::now());
  });
}

TEST_F(PoolQueue, IsFirstComeFirstServedOverAllWorkers) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  Server* busy = hold(world, *pool, 0);
  ASSERT_TRUE(busy);
  std::mutex mutex;
  std::vector<int> order, expected;
  const TimePoint start = Clock::now() + 1h;   // nobody has waited yet: the slack is the least
  for (int i = 0; i < 20; ++i) {
    // Runs of one worker, too: 0 0 1 0 1 1 ...
    const unsigned worker = (i * 7 / 3) % 2;
    queue_up(world, *pool, worker, start + i * 2 * Pool::kSlack, i, order, mutex);
    expected.push_back(i);
  }
  EXPECT_EQ(pool->counts(start).waiting, 20U);
  release(world, *pool, busy);
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(order, expected);
}

TEST_F(PoolQueue, ServesThoseThatHoldServersOfOthersFirst) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  Server* busy = hold(world, *pool, 0);
  ASSERT_TRUE(busy);
  EXPECT_EQ(pool->all_in_use(), 1U);
  std::mutex mutex;
  std::vector<int> order;
  const TimePoint start = Clock::now() + 1h;
  for (int i = 0; i < 6; ++i) queue_up(world, *pool, i % 2, start + i * 2 * Pool::kSlack, i, order, mutex, i >= 3 && i != 4);
  release(world, *pool, busy);
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(order, (std::vector<int>{3, 5, 0, 1, 2, 4}));
}

TEST_F(PoolQueue, LetsAWorkersOwnClientGoFirstWithinTheSlackOnly) {
  for (const bool within : {true, false}) {
    World world;
    const auto pool = world.pool(conninfo(), 1);
    Server* busy = hold(world, *pool, 0);
    ASSERT_TRUE(busy);
    std::mutex mutex;
    std::vector<int> order;
    const TimePoint start = Clock::now() + 1h;
    queue_up(world, *pool, 1, start, 1, order, mutex);
    queue_up(world, *pool, 0, start + (within ? Pool::kSlack / 2 : Pool::kSlack * 2), 2, order, mutex);
    release(world, *pool, busy);
    ASSERT_TRUE(world.finished());
    EXPECT_EQ(order, within ? (std::vector<int>{2, 1}) : (std::vector<int>{1, 2}));
  }
}

TEST_F(PoolQueue, GrowsTheSlackWithTheWaitUpToABound) {
  EXPECT_EQ(Pool::slack(-1h), Pool::kSlack);
  EXPECT_EQ(Pool::slack(0s), Pool::kSlack);
  EXPECT_EQ(Pool::slack(40ms), 10ms);
  EXPECT_EQ(Pool::slack(1h), Pool::kMostSlack);
}

TEST_F(PoolQueue, ACancelledRequestLeavesItAndTheNextIsServed) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  Server* busy = hold(world, *pool, 0);
  Client& gone = world.idle_client(1);
  world.on(1, [&] { EXPECT_EQ(pool->acquire(gone.request, Clock::now()), nullptr); });
  std::mutex mutex;
  std::vector<int> order;
  queue_up(world, *pool, 1, Clock::now(), 1, order, mutex);
  EXPECT_EQ(pool->backend().in_use, 3U);
  world.on(1, [&] { pool->cancel(gone.request); });
  EXPECT_EQ(pool->counts(Clock::now()).waiting, 1U);
  release(world, *pool, busy);
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(order, std::vector<int>{1});
  EXPECT_EQ(pool->backend().in_use, 0U);
  EXPECT_EQ(pool->counts(Clock::now()).idle, 1U);
}

TEST_F(PoolQueue, ACancelGivesBackWhatWasGrantedButNotYetTold) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  Server* busy = hold(world, *pool, 0);
  Client& gone = world.idle_client(1);
  world.on(1, [&] {
    ASSERT_EQ(pool->acquire(gone.request, Clock::now()), nullptr);
    release(world, *pool, busy);   // on worker 0, while this worker cannot be told
    EXPECT_EQ(pool->counts(Clock::now()).active, 1U) << "it is this request's";
    pool->cancel(gone.request);
  });
  world.barrier();
  EXPECT_EQ(pool->counts(Clock::now()).idle, 1U);
  EXPECT_EQ(pool->backend().in_use, 0U);
  EXPECT_NE(pid_by_lease(world, *pool, 0), 0);
  EXPECT_NE(pid_by_lease(world, *pool, 1), 0);
}

TEST_F(PoolQueue, ACancelGivesBackWhatWasToldButNotYetTaken) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  Server* busy = hold(world, *pool, 0);
  Client& gone = world.idle_client(1);
  world.on(1, [&] { ASSERT_EQ(pool->acquire(gone.request, Clock::now()), nullptr); });
  std::mutex mutex;
  std::vector<int> order;
  release(world, *pool, busy);
  world.barrier();
  queue_up(world, *pool, 0, Clock::now(), 1, order, mutex);
  world.on(1, [&] { pool->cancel(gone.request); });
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(order, std::vector<int>{1}) << "what came back goes to the next in the queue";
  EXPECT_EQ(pool->backend().in_use, 0U);
}

TEST_F(PoolQueue, ADiscardedServerIsReplacedForWhoeverWaits) {
  World world;
  const auto pool = world.pool(conninfo(), 1);
  Server* busy = hold(world, *pool, 0);
  const int old = busy->backend_pid;
  std::atomic<int> pid{0};
  world.spawn(1, [&](Client& client) -> net::Task<void> {
    Server* server = co_await lease(*pool, client);
    if (!server) co_return;
    pid = server->backend_pid;
    pool->release(server, Clock::now());
  });
  world.on(0, [&] { pool->discard(busy); });
  ASSERT_TRUE(world.finished());
  EXPECT_NE(pid, 0);
  EXPECT_NE(pid, old);
  EXPECT_EQ(pool->backend().in_use, 0U);
}

// --- pools that share a server's bound ---

class SharedBudget : public PoolTest {
 protected:
  std::shared_ptr<Pool> pool(World& world, const char* database) {
    return world.pool(conninfo() + " dbname=" + database, {.size = 2}, budget_);
  }
  // Clients that lease, ask and give back `rounds` times.
  void busy_clients(World& world, Pool& pool, int clients, int rounds, std::atomic<int>& served) {
    for (int i = 0; i < clients; ++i)
      world.spawn(static_cast<unsigned>(i) % kWorkers, [&, rounds](Client& client) -> net::Task<void> {
        for (int r = 0; r < rounds && !stop_; ++r) {
          Server* server = co_await lease(pool, client);
          if (!server) co_return;
          const std::string answer = co_await query(client, *server, "SELECT 'x' FROM pg_sleep(0.001)");
          if (answer == "x") ++served;
          pool.release(server, Clock::now());
        }
      });
  }

  const std::shared_ptr<Budget> budget_ = std::make_shared<Budget>(2);
  std::atomic<bool> stop_{false};
};

TEST_F(SharedBudget, APoolGetsTheConnectionsAnotherLeavesIdle) {
  World world;
  const auto one = pool(world, "app"), other = pool(world, "postgres");
  for (Pool* owner : {one.get(), other.get(), one.get()}) {
    Server* first = hold(world, *owner, 0);
    Server* second = hold(world, *owner, 1);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(owner->servers().size(), 2U);
    release(world, *owner, first);
    release(world, *owner, second);
  }
  EXPECT_EQ(other->servers().size(), 0U);
  EXPECT_EQ(budget_->high_water(), 2U);
}

TEST_F(SharedBudget, APoolThatComesSecondWaitsForAServerToBeGivenBack) {
  World world;
  const auto one = pool(world, "app"), other = pool(world, "postgres");
  Server* first = hold(world, *one, 0);
  Server* second = hold(world, *one, 1);
  std::atomic<int> served{0};
  busy_clients(world, *other, 1, 1, served);
  world.barrier();
  EXPECT_EQ(served, 0);
  EXPECT_TRUE(budget_->starving());
  release(world, *one, first);
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(served, 1);
  release(world, *one, second);
  EXPECT_TRUE(eventually([&] { return !budget_->starving(); }));
}

TEST_F(SharedBudget, IsNeverExceededByTwoBusyPoolsAndBothEnd) {
  World world;
  const auto one = pool(world, "app"), other = pool(world, "postgres");
  std::atomic<int> served_one{0}, served_other{0};
  busy_clients(world, *one, 10, 10, served_one);
  busy_clients(world, *other, 10, 10, served_other);
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(served_one, 100);
  EXPECT_EQ(served_other, 100);
  EXPECT_LE(budget_->high_water(), 2U);
}

TEST_F(SharedBudget, ServesAPoolThoughAnotherNeverStopsWaiting) {
  World world;
  const auto one = pool(world, "app"), other = pool(world, "postgres");
  std::atomic<int> served_one{0}, served_other{0};
  busy_clients(world, *one, 20, 1'000'000, served_one);
  ASSERT_TRUE(eventually([&] { return served_one > 20; }));
  busy_clients(world, *other, 1, 1, served_other);
  EXPECT_TRUE(eventually([&] { return served_other == 1; }, 5s)) << served_one << " were served of the other pool";
  stop_ = true;
  EXPECT_TRUE(world.finished());
}

}  // namespace
}  // namespace weir::pool::tests
