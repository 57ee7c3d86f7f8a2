#include "policy/id_generator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <thread>
#include <vector>

namespace weir::policy {
namespace {

using Why = IdAnswer::Why;

constexpr std::uint64_t kNow = 90'000'000'000;   // some time in 2026
constexpr std::uint64_t kLease = 5'400'000;

std::uint64_t given(IdGenerator& generator, std::uint64_t now) {
  const IdAnswer answer = generator.next(now);
  EXPECT_EQ(answer.why, Why::given);
  EXPECT_GT(answer.id, 0);
  return static_cast<std::uint64_t>(answer.id);
}

TEST(IdGenerator, WithoutALeaseThereIsNoId) {
  IdGenerator generator;
  EXPECT_EQ(generator.next(kNow).why, Why::no_lease);
  generator.adopt({600, kNow, kNow + kLease});
  EXPECT_EQ(generator.next(kNow).why, Why::given);
  generator.revoke();
  EXPECT_EQ(generator.next(kNow).why, Why::no_lease);
}

TEST(IdGenerator, AnIdHoldsTimeNodeAndSequence) {
  IdGenerator generator;
  generator.adopt({1023, kNow, kNow + kLease});
  const std::uint64_t first = given(generator, kNow + 7), second = given(generator, kNow + 7);
  EXPECT_EQ(Id::time(first), kNow + 7);
  EXPECT_EQ(Id::node(first), 1023U);
  EXPECT_EQ(Id::sequence(first), 0U);
  EXPECT_EQ(second, first + 1);
  EXPECT_EQ(given(generator, kNow + 8), Id::make(kNow + 8, 1023, 0));
}

TEST(IdGenerator, TheLastIdOfAllIsStillPositive) {
  constexpr std::uint64_t end = std::uint64_t{1} << Id::kTimeBits;
  IdGenerator generator;
  generator.adopt({1023, 0, end});
  for (int i = 0; i < 4095; ++i) (void)given(generator, end - 1);
  EXPECT_EQ(given(generator, end - 1), static_cast<std::uint64_t>(INT64_MAX));
  EXPECT_EQ(generator.next(end - 1).why, Why::lease_over);
}

TEST(IdGenerator, TheNextMillisecondIsBorrowedWhenTheSequenceIsExhausted) {
  IdGenerator generator;
  generator.adopt({600, kNow, kNow + kLease});
  std::uint64_t last = 0;
  for (std::uint64_t i = 0; i < 3 * Id::kSequences; ++i) {
    const std::uint64_t id = given(generator, kNow);
    EXPECT_EQ(Id::time(id), kNow + i / Id::kSequences);
    EXPECT_GT(id, last);
    last = id;
  }
  EXPECT_EQ(given(generator, kNow + 1), Id::make(kNow + 3, 600, 0));   // the clock has not caught up
  EXPECT_EQ(Id::time(given(generator, kNow + 9)), kNow + 9);
}

TEST(IdGenerator, IdsGrowThoughTheClockIsSetBack) {
  IdGenerator generator;
  generator.adopt({600, kNow, kNow + kLease});
  const std::uint64_t before = given(generator, kNow + 60'000);
  EXPECT_EQ(given(generator, kNow), before + 1);
  EXPECT_EQ(given(generator, kNow + 30'000), before + 2);
  EXPECT_GT(given(generator, kNow + 60'001), before + 2);
}

TEST(IdGenerator, ItDoesNotRunFurtherAheadOfTheClockThanAllowed) {
  constexpr std::uint64_t most = IdGenerator::kMaxAhead.count();
  IdGenerator generator;
  generator.adopt({600, kNow, kNow + kLease});
  (void)given(generator, kNow + most);
  EXPECT_EQ(generator.next(kNow).why, Why::given);
  EXPECT_EQ(generator.next(kNow - 1).why, Why::clock);
  EXPECT_EQ(generator.next(kNow).why, Why::given);
}

TEST(IdGenerator, NoIdHasATimeOutsideOfTheLease) {
  IdGenerator generator;
  generator.adopt({600, kNow, kNow + 10});
  EXPECT_EQ(Id::time(given(generator, kNow - 5)), kNow);   // the clock is behind the one that granted it
  EXPECT_EQ(Id::time(given(generator, kNow + 9)), kNow + 9);
  EXPECT_EQ(generator.next(kNow + 10).why, Why::lease_over);
  for (int i = 0; i < 4095; ++i) (void)given(generator, kNow);
  EXPECT_EQ(generator.next(kNow).why, Why::lease_over) << "what is borrowed must be the lease's, too";
  generator.adopt({600, 0, kNow + 20});   // renewed
  EXPECT_EQ(given(generator, kNow), Id::make(kNow + 10, 600, 0));
}

TEST(IdGenerator, IdsGrowFromNodeToNode) {
  IdGenerator generator;
  generator.adopt({1000, kNow, kNow + kLease});
  const std::uint64_t before = given(generator, kNow);
  generator.adopt({513, kNow, kNow + kLease});
  const std::uint64_t after = given(generator, kNow);
  EXPECT_EQ(Id::node(after), 513U);
  EXPECT_GT(after, before);
}

// A new process gets the same node within the same millisecond: its range begins behind what the other has used.
TEST(IdGenerator, TheNextHolderOfANodeRepeatsNoId) {
  IdGenerator first;
  first.adopt({600, kNow, kNow + kLease});
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 10'000; ++i) ids.push_back(given(first, kNow));
  IdGenerator second;
  second.adopt({600, first.last_time() + 1, kNow + 2 * kLease});
  for (int i = 0; i < 10'000; ++i) ids.push_back(given(second, kNow));
  std::ranges::sort(ids);
  EXPECT_EQ(std::ranges::adjacent_find(ids), ids.end());
}

TEST(IdGenerator, ThreadsGetDifferentIdsWhileTheLeaseChanges) {
  constexpr std::size_t kThreads = 4, kEach = 1'000'000;
  IdGenerator generator;
  generator.adopt({600, kNow, kNow + kLease});
  std::vector<std::vector<std::uint64_t>> ids(kThreads);
  std::vector<std::thread> threads;
  std::barrier together(kThreads + 1);
  for (auto& mine : ids)
    threads.emplace_back([&] {
      mine.reserve(kEach);
      together.arrive_and_wait();
      while (mine.size() < kEach) mine.push_back(static_cast<std::uint64_t>(generator.next(kNow + mine.size() / 8000).id));
    });
  together.arrive_and_wait();
  for (std::uint32_t node = 601; node < 640; ++node) generator.adopt({node, kNow + node / 100, kNow + kLease});
  for (auto& thread : threads) thread.join();
  std::vector<std::uint64_t> all;
  for (const auto& mine : ids) {
    EXPECT_TRUE(std::ranges::is_sorted(mine));
    all.insert(all.end(), mine.begin(), mine.end());
  }
  std::ranges::sort(all);
  EXPECT_EQ(std::ranges::adjacent_find(all), all.end());
  EXPECT_NE(all.front(), 0U);
}

}  // namespace
}  // namespace weir::policy
