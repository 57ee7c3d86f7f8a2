#include "policy/circuit_breaker.hpp"

#include <gtest/gtest.h>

namespace weir::policy {
namespace {

using std::chrono::seconds;
using State = CircuitBreaker::State;

constexpr TimePoint kStart{seconds(1000)};

CircuitBreaker opened() {
  CircuitBreaker breaker({3, seconds(2)});
  for (int i = 0; i < 3; ++i) breaker.on_failure(kStart);
  return breaker;
}

TEST(CircuitBreaker, IsClosedAtFirstAndAllowsEverything) {
  CircuitBreaker breaker({3, seconds(2)});
  EXPECT_EQ(breaker.state(kStart), State::closed);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(breaker.allow(kStart));
  EXPECT_LE(breaker.next_trial(), kStart);
}

TEST(CircuitBreaker, OpensAfterConsecutiveFailuresOnly) {
  CircuitBreaker breaker({3, seconds(2)});
  breaker.on_failure(kStart);
  breaker.on_failure(kStart);
  EXPECT_EQ(breaker.state(kStart), State::closed);
  breaker.on_success();
  EXPECT_EQ(breaker.failures(), 0U);
  breaker.on_failure(kStart);
  breaker.on_failure(kStart);
  EXPECT_EQ(breaker.state(kStart), State::closed) << "a success in between starts the count again";
  breaker.on_failure(kStart);
  EXPECT_EQ(breaker.state(kStart), State::open);
  EXPECT_EQ(breaker.failures(), 3U);
}

TEST(CircuitBreaker, RefusesUntilTheRecoveryTimeHasPassed) {
  CircuitBreaker breaker = opened();
  EXPECT_FALSE(breaker.allow(kStart));
  EXPECT_FALSE(breaker.allow(kStart + seconds(2) - Duration(1)));
  EXPECT_EQ(breaker.next_trial(), kStart + seconds(2));
  EXPECT_EQ(breaker.state(kStart + seconds(2) - Duration(1)), State::open);
  EXPECT_EQ(breaker.state(kStart + seconds(2)), State::half_open);
}

TEST(CircuitBreaker, AllowsOneTrialAtATimeWhenHalfOpen) {
  CircuitBreaker breaker = opened();
  const TimePoint later = kStart + seconds(2);
  EXPECT_TRUE(breaker.allow(later));
  EXPECT_FALSE(breaker.allow(later));
  EXPECT_FALSE(breaker.allow(later + seconds(100)));
}

TEST(CircuitBreaker, ClosesWhenTheTrialSucceeds) {
  CircuitBreaker breaker = opened();
  EXPECT_TRUE(breaker.allow(kStart + seconds(2)));
  breaker.on_success();
  EXPECT_EQ(breaker.state(kStart + seconds(2)), State::closed);
  EXPECT_TRUE(breaker.allow(kStart + seconds(2)));
  EXPECT_TRUE(breaker.allow(kStart + seconds(2)));
  EXPECT_EQ(breaker.failures(), 0U);
}

TEST(CircuitBreaker, OpensAgainForTheWholeRecoveryTimeWhenTheTrialFails) {
  CircuitBreaker breaker = opened();
  EXPECT_TRUE(breaker.allow(kStart + seconds(2)));
  breaker.on_failure(kStart + seconds(5));
  EXPECT_EQ(breaker.state(kStart + seconds(5)), State::open);
  EXPECT_FALSE(breaker.allow(kStart + seconds(6)));
  EXPECT_TRUE(breaker.allow(kStart + seconds(7)));
}

TEST(CircuitBreaker, LateFailuresDoNotPushTheTrialAway) {
  CircuitBreaker breaker = opened();
  breaker.on_failure(kStart + seconds(1));
  EXPECT_EQ(breaker.next_trial(), kStart + seconds(2));
  EXPECT_TRUE(breaker.allow(kStart + seconds(2)));
}

TEST(CircuitBreaker, AThresholdOfOneOpensAtOnce) {
  CircuitBreaker breaker({1, seconds(2)});
  breaker.on_failure(kStart);
  EXPECT_EQ(breaker.state(kStart), State::open);
}

}  // namespace
}  // namespace weir::policy
