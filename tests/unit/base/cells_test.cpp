#include "base/cells.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace weir {
namespace {

using namespace std::chrono_literals;

LatencyHistogram::Snapshot of(const LatencyHistogram& h) {
  LatencyHistogram::Snapshot s;
  h.add_to(s);
  return s;
}

TEST(LatencyHistogram, AnUpperBoundBelongsToItsBucketAndOneNanosecondMoreToTheNext) {
  for (std::size_t i = 0; i < LatencyHistogram::kBounds.size(); ++i) {
    LatencyHistogram h;
    const Duration bound = std::chrono::microseconds(LatencyHistogram::kBounds[i]);
    h.observe(bound);
    h.observe(bound + 1ns);
    EXPECT_EQ(of(h).counts[i], 1U) << i;
    EXPECT_EQ(of(h).counts[i + 1], 1U) << i;
  }
}

TEST(LatencyHistogram, BoundsAscendFrom100MicrosecondsTo60Seconds) {
  EXPECT_EQ(LatencyHistogram::kBounds.front(), 100U);
  EXPECT_EQ(LatencyHistogram::kBounds.back(), 60'000'000U);
  for (std::size_t i = 1; i < LatencyHistogram::kBounds.size(); ++i)
    EXPECT_LT(LatencyHistogram::kBounds[i - 1], LatencyHistogram::kBounds[i]);
}

TEST(LatencyHistogram, NothingIsLostAtEitherEnd) {
  LatencyHistogram h;
  h.observe(0ns);
  h.observe(-5s);   // a clock that went back
  h.observe(48h);
  const auto s = of(h);
  EXPECT_EQ(s.counts.front(), 2U);
  EXPECT_EQ(s.counts.back(), 1U);
  EXPECT_EQ(s.total(), 3U);
  EXPECT_EQ(s.nanoseconds, static_cast<std::uint64_t>(std::chrono::nanoseconds(48h).count()));
}

TEST(LatencyHistogram, SumsOfSeveralWritersAddUp) {
  LatencyHistogram a, b;
  a.observe(1ms);
  b.observe(1ms);
  b.observe(2ms);
  LatencyHistogram::Snapshot sum;
  a.add_to(sum);
  b.add_to(sum);
  EXPECT_EQ(sum.total(), 3U);
  EXPECT_EQ(sum.nanoseconds, 4'000'000U);
}

TEST(Counter, AReaderOnAnotherThreadNeverSeesItGoBack) {
  Counter counter;
  std::thread writer([&] {
    for (int i = 0; i < 100'000; ++i) counter.add();
  });
  std::uint64_t last = 0;
  while (last < 100'000) {
    const std::uint64_t now = counter.get();
    ASSERT_GE(now, last);
    last = now;
  }
  writer.join();
}

}  // namespace
}  // namespace weir
