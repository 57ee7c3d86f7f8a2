// How many servers there may be: the size, the reserve, and bounds that pools share.
#include "pool_fixture.hpp"

namespace weir::pool::tests {
namespace {

class PoolLimits : public PoolTest {
 protected:
  // Clients that lease, ask and give back until stop_.
  void busy_clients(World& world, Pool& pool, int clients, std::atomic<int>& served) {
    for (int i = 0; i < clients; ++i)
      world.spawn(static_cast<unsigned>(i) % kWorkers, [&](Client& client) -> net::Task<void> {
        while (!stop_) {
          Server* server = co_await lease(pool, client);
          if (!server) co_return;
          const std::string answer = co_await query(client, *server, "SELECT 'x' FROM pg_sleep(0.001)");
          if (answer == "x") ++served;
          pool.release(server, Clock::now());
        }
      });
  }
  // A client that says its name when it is served.
  void queue_up(World& world, Pool& pool, TimePoint since, std::string name) {
    world.spawn(1, [this, &pool, since, name](Client& client) -> net::Task<void> {
      Server* server = pool.acquire(client.request, since);
      while (!server && Pool::waits(client.request)) {
        co_await client.waiter.wait();
        server = pool.taken(client.request);
      }
      if (!server) co_return;
      order_ += name;   // one thread's clients only
      pool.release(server, Clock::now());
    });
  }

  std::atomic<bool> stop_{false};
  std::string order_;
};

TEST_F(PoolLimits, OpensNoMoreThanClientsWaitFor) {
  World world;
  const auto budget = std::make_shared<Budget>(100);
  const auto pool = world.pool(conninfo(), {.size = 20}, budget);
  std::vector<Server*> held;
  for (unsigned i = 0; i < 3; ++i) held.push_back(hold(world, *pool, i % kWorkers));
  pool->tick(Clock::now());
  EXPECT_EQ(budget->high_water(), 3U);
  for (Server* server : held) release(world, *pool, server);
}

TEST_F(PoolLimits, OpensItsMinimumAtOnceAndKeepsItWithinItsSize) {
  World world;
  const auto pool = world.pool(conninfo(), {.size = 3, .min = 5}, std::make_shared<Budget>(100));
  EXPECT_TRUE(eventually([&] { return pool->counts(Clock::now()).idle == 3; }));
  pool->tick(Clock::now());
  EXPECT_EQ(pool->counts(Clock::now()).opening, 0U);
}

TEST_F(PoolLimits, TheReserveServesWhoHasWaitedLongAndGoesWhenItIsNotNeeded) {
  World world;
  const auto pool = world.pool(conninfo(), {.size = 1, .reserve = 1, .reserve_timeout = 300ms}, std::make_shared<Budget>(100));
  Server* busy = hold(world, *pool, 0);
  Client& early = world.idle_client(1);
  world.on(1, [&] { EXPECT_EQ(pool->acquire(early.request, Clock::now()), nullptr); });
  pool->tick(Clock::now());
  EXPECT_EQ(pool->counts(Clock::now()).opening, 0U) << "it has not waited long";
  EXPECT_TRUE(eventually([&] { return pool->counts(Clock::now()).waiting == 0; })) << "the reserve comes";
  EXPECT_EQ(pool->servers().size(), 2U);
  Client& third = world.idle_client(1);
  world.on(1, [&] { EXPECT_EQ(pool->acquire(third.request, Clock::now() - 1h), nullptr); });
  pool->tick(Clock::now());
  EXPECT_EQ(pool->servers().size() + pool->counts(Clock::now()).opening, 2U) << "one is all the reserve there is";
  world.on(1, [&] {
    pool->cancel(third.request);
    pool->cancel(early.request);
  });
  EXPECT_TRUE(eventually([&] { return pool->servers().size() == 1; }));
  release(world, *pool, busy);
}

TEST_F(PoolLimits, ADatabasesBoundHoldsOverItsPoolsAndNoneStarves) {
  World world;
  const auto database = world.pools().limit("database app", 2);
  const auto server = std::make_shared<Budget>(100);
  const auto limited = [&](const char* dbname) {
    return world.pool(conninfo() + " dbname=" + dbname, {.size = 5}, server, policy::Role::primary, {database});
  };
  const auto one = limited("app"), other = limited("postgres");
  std::atomic<int> served_one{0}, served_other{0};
  busy_clients(world, *one, 6, served_one);
  ASSERT_TRUE(eventually([&] { return served_one > 20; }));
  busy_clients(world, *other, 6, served_other);
  EXPECT_TRUE(eventually([&] { return served_other > 20; }));
  const int before = served_one;
  EXPECT_TRUE(eventually([&] { return served_one > before + 20; }));
  stop_ = true;
  ASSERT_TRUE(world.finished());
  EXPECT_LE(database->high_water(), 2U);
  EXPECT_LE(server->high_water(), 2U) << "what the second bound refused is given back to the first";
  EXPECT_EQ(server->used(), database->used());
}

// Every pool wants more than the bound: whoever holds servers has clients waiting, too.
TEST_F(PoolLimits, ManyOverloadedPoolsUnderOneBoundAreAllServed) {
  World world;
  const auto budget = std::make_shared<Budget>(3);
  constexpr int kPools = 8;
  std::vector<std::shared_ptr<Pool>> pools;
  std::vector<std::atomic<int>> served(kPools);
  for (int i = 0; i < kPools; ++i) {
    pools.push_back(world.pool(conninfo(), {.size = 20}, budget));
    busy_clients(world, *pools.back(), 6, served[i]);
  }
  EXPECT_TRUE(eventually([&] { return std::all_of(served.begin(), served.end(), [](const auto& n) { return n > 10; }); }));
  stop_ = true;
  EXPECT_TRUE(world.finished());
  EXPECT_LE(budget->high_water(), 3U);
  EXPECT_TRUE(eventually([&] { return !budget->starving(); }));
}

TEST_F(PoolLimits, OverPoolsTheClientThatCameFirstIsServedFirst) {
  World world;
  const auto budget = std::make_shared<Budget>(1);
  const auto one = world.pool(conninfo(), {.size = 5}, budget), other = world.pool(conninfo(), {.size = 5}, budget);
  Server* busy = hold(world, *one, 1);
  const TimePoint start = Clock::now();
  queue_up(world, *one, start, "a");
  queue_up(world, *other, start + 1ms, "b");
  queue_up(world, *one, start + 2ms, "c");
  ASSERT_TRUE(eventually([&] { return Clock::now() - start > 150ms; })) << "a server has its turn before it is given up";
  release(world, *one, busy);
  ASSERT_TRUE(world.finished());
  EXPECT_EQ(order_, "abc");
}

TEST_F(PoolLimits, ASmallerSizeClosesWhatIsTooMuchWhenItComesBack) {
  World world;
  const auto pool = world.pool(conninfo(), {.size = 3}, std::make_shared<Budget>(100));
  std::vector<Server*> held;
  for (unsigned i = 0; i < 3; ++i) held.push_back(hold(world, *pool, i % kWorkers));
  pool->set_settings({.size = 1});
  for (Server* server : held) release(world, *pool, server);
  EXPECT_EQ(pool->servers().size(), 1U);
}

TEST_F(PoolLimits, LifetimesEndOneByOne) {
  World world;
  const auto pool = world.pool(conninfo(), {.size = 8, .lifetime = 10h}, std::make_shared<Budget>(100));
  std::vector<Server*> held;
  for (unsigned i = 0; i < 8; ++i) held.push_back(hold(world, *pool, i % kWorkers));
  std::vector<TimePoint> ends;
  for (const Server* server : held) ends.push_back(server->expires);
  std::sort(ends.begin(), ends.end());
  EXPECT_GE(ends.front() - Clock::now(), 8h - 1min);
  EXPECT_LE(ends.back() - Clock::now(), 10h);
  EXPECT_GT(ends.back() - ends.front(), 1min);
  for (Server* server : held) release(world, *pool, server);
}

}  // namespace
}  // namespace weir::pool::tests
