#include "pool/server.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

TEST(PreparedOnServer, EvictsTheLeastRecentlyUsedWhenTheLimitIsReached) {
  PreparedOnServer prepared;
  for (const std::uint64_t id : {1, 2, 3}) prepared.add(id);
  EXPECT_EQ(prepared.to_evict(4), 0U) << "there is room for one more";
  EXPECT_EQ(prepared.to_evict(3), 1U);
}

TEST(PreparedOnServer, ATouchMakesItTheMostRecentlyUsed) {
  PreparedOnServer prepared;
  for (const std::uint64_t id : {1, 2, 3}) prepared.add(id);
  EXPECT_TRUE(prepared.touch(1));
  EXPECT_EQ(prepared.to_evict(3), 2U);
  prepared.add(2);  // there already: a use like any other
  EXPECT_EQ(prepared.size(), 3U);
  EXPECT_EQ(prepared.to_evict(3), 3U);
}

TEST(PreparedOnServer, ATouchOfWhatIsNotThereAddsNothing) {
  PreparedOnServer prepared;
  EXPECT_FALSE(prepared.touch(1));
  EXPECT_EQ(prepared.size(), 0U);
}

TEST(PreparedOnServer, ForgetsWhatWasRemoved) {
  PreparedOnServer prepared;
  for (const std::uint64_t id : {1, 2, 3}) prepared.add(id);
  prepared.remove(1);
  prepared.remove(9);
  EXPECT_FALSE(prepared.touch(1));
  EXPECT_EQ(prepared.size(), 2U);
  EXPECT_EQ(prepared.to_evict(2), 2U);
  prepared.clear();
  EXPECT_EQ(prepared.size(), 0U);
  EXPECT_EQ(prepared.to_evict(0), 0U) << "nothing is left to close";
}

TEST(PreparedOnServer, EvictsInTheOrderOfUseUntilBelowTheLimit) {
  PreparedOnServer prepared;
  for (std::uint64_t id = 1; id <= 5; ++id) prepared.add(id);
  prepared.touch(2);
  std::vector<std::uint64_t> evicted;
  while (const std::uint64_t id = prepared.to_evict(3)) {
    evicted.push_back(id);
    prepared.remove(id);
  }
  EXPECT_EQ(evicted, (std::vector<std::uint64_t>{1, 3, 4}));
}

}  // namespace
}  // namespace weir::pool
