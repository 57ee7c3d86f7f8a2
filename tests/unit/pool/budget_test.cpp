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
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(budget.take());
    budget.keep();
  }
  ASSERT_TRUE(budget.take());   // not kept: another bound refused
  for (int i = 0; i < 4; ++i) budget.give_back();
  ASSERT_TRUE(budget.take());
  budget.keep();
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

// Pools are only names to a budget.
std::shared_ptr<Pool> named(int& name) { return {std::make_shared<int>(), reinterpret_cast<Pool*>(&name)}; }

TEST(Budget, StarvesWhileAnyPoolStandsInLine) {
  using namespace std::chrono_literals;
  Budget budget(1);
  int a = 0, b = 0;
  const auto one = named(a), other = named(b);
  EXPECT_FALSE(budget.starving());
  budget.starve(one, TimePoint{2s});
  budget.starve(other, TimePoint{1s});
  EXPECT_EQ(budget.starving_since(), TimePoint{1s});
  EXPECT_EQ(budget.hungriest(), other);
  budget.sated(other.get());
  EXPECT_TRUE(budget.starving());
  EXPECT_EQ(budget.hungriest(), one);
  budget.sated(one.get());
  EXPECT_FALSE(budget.starving());
  EXPECT_EQ(budget.hungriest(), nullptr);
}

TEST(Budget, WhatIsFreeIsForWhoCameFirst) {
  using namespace std::chrono_literals;
  Budget budget(3);
  int a = 0, b = 0;
  const auto first = named(a), second = named(b);
  budget.starve(first, TimePoint{1s});
  EXPECT_FALSE(budget.take(second.get(), TimePoint{2s})) << "its client came later";
  EXPECT_FALSE(budget.take(second.get())) << "nobody waits for it";
  EXPECT_TRUE(budget.take(second.get(), TimePoint{500ms})) << "its client came before";
  EXPECT_TRUE(budget.take(first.get(), TimePoint{1s}));
  budget.sated(first.get());
  EXPECT_TRUE(budget.take(second.get(), TimePoint{2s}));
}

TEST(Budget, APoolThatIsGoneIsNobodysTurn) {
  Budget budget(1);
  int a = 0;
  auto gone = named(a);
  budget.starve(gone, TimePoint{});
  gone.reset();
  EXPECT_EQ(budget.hungriest(), nullptr);
}

TEST(Budget, LendsOnlyWhatIsFree) {
  Budget budget(3);
  ASSERT_TRUE(budget.take());
  ASSERT_TRUE(budget.take());
  EXPECT_EQ(budget.lend(5), 1U);
  EXPECT_EQ(budget.bound(), 2U);
  EXPECT_FALSE(budget.take());
  budget.give_back();
  EXPECT_EQ(budget.free(), 1U);
  budget.change_lent(-1);
  EXPECT_EQ(budget.free(), 2U);
}

TEST(Budget, APromisedConnectionIsLentBeforeAnybodyHereCanTakeIt) {
  Budget budget(1);
  ASSERT_TRUE(budget.take());
  budget.promise(2);
  EXPECT_TRUE(budget.promised());
  budget.give_back();
  EXPECT_FALSE(budget.take());
  EXPECT_EQ(budget.collect_promised(), 1U);
  EXPECT_EQ(budget.collect_promised(), 0U);
  budget.promise(0);
  EXPECT_FALSE(budget.promised());
  budget.change_lent(-1);
  EXPECT_TRUE(budget.take());
}

TEST(Budget, WhatAnotherProcessHoldsIsMissingEvenUnderANewBound) {
  Budget budget(4);
  budget.change_lent(3);
  EXPECT_EQ(budget.bound(), 1U);
  budget.set_bound(2);
  EXPECT_EQ(budget.bound(), 0U);
  EXPECT_FALSE(budget.take());
  budget.change_lent(-3);
  EXPECT_EQ(budget.bound(), 2U);
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
        budget.keep();
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
