#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "pool/backend.hpp"

namespace weir::pool {
namespace {

TEST(Budget, GivesUpToItsBoundAndNoMore) {
  Budget budget(2);
  EXPECT_TRUE(budget.take());
  EXPECT_TRUE(budget.take());
  EXPECT_FALSE(budget.take());
  EXPECT_EQ(budget.used(), 2U);
  budget.give_back();
  EXPECT_EQ(budget.used(), 1U);
  EXPECT_TRUE(budget.take());
}

TEST(Budget, OfZeroGivesNothing) {
  Budget budget(0);
  EXPECT_FALSE(budget.take());
  EXPECT_EQ(budget.high_water(), 0U);
}

TEST(Budget, RemembersTheMostThatWasEverUsed) {
  Budget budget(5);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(budget.take());
  for (int i = 0; i < 3; ++i) budget.give_back();
  ASSERT_TRUE(budget.take());
  EXPECT_EQ(budget.high_water(), 3U);
}

TEST(Budget, ALowerBoundGivesNothingUntilEnoughCameBack) {
  Budget budget(3);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(budget.take());
  budget.set_bound(1);
  budget.give_back();
  EXPECT_FALSE(budget.take());
  budget.give_back();
  EXPECT_FALSE(budget.take());
  budget.give_back();
  EXPECT_TRUE(budget.take());
}

TEST(Budget, StarvesWhileAnyPoolIsRefused) {
  Budget budget(1);
  EXPECT_FALSE(budget.starving());
  budget.starve(1, TimePoint{});
  budget.starve(1, TimePoint{});
  budget.starve(-1, TimePoint{});
  EXPECT_TRUE(budget.starving());
  budget.starve(-1, TimePoint{});
  EXPECT_FALSE(budget.starving());
}

TEST(Budget, HoldsItsBoundAgainstManyThreads) {
  constexpr unsigned kBound = 3;
  Budget budget(kBound);
  std::atomic<unsigned> held{0};
  std::atomic<unsigned> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        if (!budget.take()) continue;
        const unsigned now = held.fetch_add(1) + 1;
        unsigned seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        held.fetch_sub(1);
        budget.give_back();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_LE(most, kBound);
  EXPECT_LE(budget.high_water(), kBound);
  EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace weir::pool
