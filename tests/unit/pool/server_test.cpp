#include "pool/server.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

TEST(PreparedOnServer, EvictsTheLeastRecentlyUsedWhenTheLimitIsReached) {
  PreparedOnServer prepared;
  for (const std::uint64_t id : {1, 2, 3}) prepared.add(id, 1);
  EXPECT_EQ(prepared.to_evict({4, 0}, 1), 0U) << "there is room for one more";
  EXPECT_EQ(prepared.to_evict({3, 0}, 1), 1U);
}

TEST(PreparedOnServer, ATouchMakesItTheMostRecentlyUsed) {
  PreparedOnServer prepared;
  for (const std::uint64_t id : {1, 2, 3}) prepared.add(id, 1);
  EXPECT_TRUE(prepared.touch(1));
  EXPECT_EQ(prepared.to_evict({3, 0}, 1), 2U);
  prepared.add(2, 1);  // there already: a use like any other
  EXPECT_EQ(prepared.size(), 3U);
  EXPECT_EQ(prepared.to_evict({3, 0}, 1), 3U);
}

TEST(PreparedOnServer, ATouchOfWhatIsNotThereAddsNothing) {
  PreparedOnServer prepared;
  EXPECT_FALSE(prepared.touch(1));
  EXPECT_EQ(prepared.size(), 0U);
}

TEST(PreparedOnServer, ForgetsWhatWasRemoved) {
  PreparedOnServer prepared;
  for (const std::uint64_t id : {1, 2, 3}) prepared.add(id, 1);
  prepared.remove(1);
  prepared.remove(9);
  EXPECT_FALSE(prepared.touch(1));
  EXPECT_EQ(prepared.size(), 2U);
  EXPECT_EQ(prepared.to_evict({2, 0}, 1), 2U);
  prepared.clear();
  EXPECT_EQ(prepared.size(), 0U);
  EXPECT_EQ(prepared.to_evict({0, 0}, 1), 0U) << "nothing is left to close";
}

TEST(PreparedOnServer, EvictsInTheOrderOfUseUntilBelowTheLimit) {
  PreparedOnServer prepared;
  for (std::uint64_t id = 1; id <= 5; ++id) prepared.add(id, 1);
  prepared.touch(2);
  std::vector<std::uint64_t> evicted;
  while (const std::uint64_t id = prepared.to_evict({3, 0}, 1)) {
    evicted.push_back(id);
    prepared.remove(id);
  }
  EXPECT_EQ(evicted, (std::vector<std::uint64_t>{1, 3, 4}));
}

TEST(PreparedOnServer, IsBoundedInBytesToo) {
  PreparedOnServer prepared;
  prepared.add(1, 400);
  prepared.add(2, 400);
  EXPECT_EQ(prepared.to_evict({100, 1000}, 200), 0U);
  EXPECT_EQ(prepared.to_evict({100, 1000}, 201), 1U);
  EXPECT_EQ(prepared.to_evict({100, 0}, 1 << 30), 0U) << "0 is no bound";
  prepared.remove(1);
  EXPECT_EQ(prepared.bytes(), 400U);
  EXPECT_EQ(prepared.to_evict({100, 1000}, 1 << 30), 0U) << "the one used last stays";
}

TEST(PreparedOnServer, TellsOfWhatIsToBeClosedOnce) {
  PreparedOnServer prepared;
  prepared.add(1, 10);
  prepared.spoil(1);
  prepared.spoil(1);
  EXPECT_FALSE(prepared.touch(1));
  EXPECT_EQ(prepared.bytes(), 0U);
  EXPECT_EQ(prepared.take_spoilt(), 1U);
  EXPECT_EQ(prepared.take_spoilt(), 0U);
}

}  // namespace
}  // namespace weir::pool
