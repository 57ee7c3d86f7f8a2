#include "base/deadline.hpp"

#include <gtest/gtest.h>

namespace weir {
namespace {

using namespace std::chrono_literals;

const TimePoint kNow{1h};

TEST(Deadline, IsNeverUnlessGiven) {
  EXPECT_TRUE(Deadline().is_never());
  EXPECT_EQ(Deadline::never(), Deadline());
  EXPECT_FALSE(Deadline().passed(kNow + 1000000h));
}

TEST(Deadline, TakesATimeoutOfZeroOrLessForNever) {
  EXPECT_TRUE(Deadline::after(kNow, 0s).is_never());
  EXPECT_TRUE(Deadline::after(kNow, -1s).is_never());
  EXPECT_FALSE(Deadline::after(kNow, 1ns).is_never());
}

TEST(Deadline, PassesAtItsMomentAndNotBefore) {
  const Deadline d = Deadline::after(kNow, 10s);
  EXPECT_EQ(d.at(), kNow + 10s);
  EXPECT_FALSE(d.passed(kNow + 10s - 1ns));
  EXPECT_TRUE(d.passed(kNow + 10s));
  EXPECT_EQ(d.left(kNow), 10s);
  EXPECT_EQ(d.left(kNow + 10s), 0s);
  EXPECT_EQ(d.left(kNow + 20s), 0s);
}

TEST(Deadline, OrdersByTimeWithNeverLast) {
  EXPECT_LT(Deadline::after(kNow, 1s), Deadline::after(kNow, 2s));
  EXPECT_LT(Deadline::after(kNow, 2s), Deadline::never());
}

}  // namespace
}  // namespace weir
