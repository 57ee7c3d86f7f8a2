#include "router/client/sample_history.hpp"

#include <gtest/gtest.h>

namespace weir::client {
namespace {

using std::chrono::seconds;
const TimePoint kStart{seconds(1000)};

TEST(SampleHistory, TellsTheNewestSampleAReplicaHasReplayed) {
  SampleHistory history;
  history.add(1, 100, 1, kStart);
  history.add(2, 200, 1, kStart + seconds(1));
  history.add(3, 300, 1, kStart + seconds(2));
  EXPECT_EQ(history.standing(250, 1, kStart + seconds(5)).reached, 2U);
  EXPECT_EQ(history.standing(50, 1, kStart + seconds(5)).reached, 0U);
  EXPECT_EQ(history.standing(300, 1, kStart + seconds(5)).reached, 3U);
}

TEST(SampleHistory, MeasuresLagFromTheOldestSampleThatIsMissing) {
  SampleHistory history;
  history.add(1, 100, 1, kStart);
  history.add(2, 200, 1, kStart + seconds(1));
  history.add(3, 300, 1, kStart + seconds(2));
  EXPECT_EQ(history.standing(150, 1, kStart + seconds(5)).lag, seconds(4));
  EXPECT_EQ(history.standing(300, 1, kStart + seconds(5)).lag, seconds(0)) << "an idle primary makes no lag";
}

TEST(SampleHistory, AcceptsNothingFromAnotherTimeline) {
  SampleHistory history;
  history.add(1, 100, 2, kStart);
  EXPECT_EQ(history.standing(1'000'000, 1, kStart).reached, 0U);
}

TEST(SampleHistory, ForgetsTheOldTimelineWhenANewOneBegins) {
  SampleHistory history;
  EXPECT_FALSE(history.add(1, 900, 1, kStart));
  EXPECT_TRUE(history.add(2, 500, 2, kStart));
  EXPECT_EQ(history.standing(600, 2, kStart).reached, 2U);
  EXPECT_EQ(history.size(), 1U);
}

TEST(SampleHistory, StaysBoundedAndKeepsTheOldestForLag) {
  SampleHistory history;
  for (std::uint64_t n = 1; n <= 10'000; ++n) history.add(n, n * 10, 1, kStart + seconds(n));
  EXPECT_LE(history.size(), 128U);
  EXPECT_EQ(history.standing(0, 1, kStart + seconds(10'001)).lag, seconds(10'000));
  EXPECT_EQ(history.standing(100'000, 1, kStart).reached, 10'000U);
  EXPECT_LE(history.standing(50'000, 1, kStart).reached, 5'000U) << "thinning out may only make it more careful";
}

}  // namespace
}  // namespace weir::client
