#include "router/client/read_marks.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace weir::client {
namespace {

TEST(ReadMarks, CountEveryBucketAsJustWrittenAtStart) {
  const ReadMarks marks(8);
  EXPECT_EQ(marks.required(3U), 1U);
  EXPECT_EQ(marks.required(std::nullopt), 1U);
}

TEST(ReadMarks, KeepABucketOnThePrimaryWhileItIsWritten) {
  ReadMarks marks(8);
  marks.write_begins(3U);
  marks.write_begins(3U);
  marks.write_ends(3U);
  EXPECT_EQ(marks.required(3U), std::nullopt);
  EXPECT_NE(marks.required(4U), std::nullopt);
  EXPECT_EQ(marks.required(std::nullopt), std::nullopt) << "a read of the whole shard reads that bucket, too";
  marks.write_ends(3U);
  EXPECT_NE(marks.required(3U), std::nullopt);
}

TEST(ReadMarks, DemandASampleSentAfterTheWriteEnded) {
  ReadMarks marks(8);
  marks.next_sample();
  marks.write_begins(3U);
  marks.next_sample();  // 2: sent while the write was under way, so it may be older than the commit
  marks.write_ends(3U);
  EXPECT_EQ(marks.required(3U), 3U);
  EXPECT_EQ(marks.required(4U), 1U);
  EXPECT_EQ(marks.required(std::nullopt), 3U);
}

TEST(ReadMarks, MarkAllBucketsForAWriteToTheWholeShard) {
  ReadMarks marks(8);
  marks.next_sample();
  marks.write_begins(std::nullopt);
  EXPECT_EQ(marks.required(0U), std::nullopt);
  marks.write_ends(std::nullopt);
  EXPECT_EQ(marks.required(7U), 2U);
}

TEST(ReadMarks, MarkEverythingForAnotherTimeline) {
  ReadMarks marks(2);
  marks.next_sample();
  marks.next_sample();
  marks.mark_all();
  EXPECT_EQ(marks.required(1U), 3U);
}

TEST(ReadMarks, NeverShowAReaderAnEndedWriteWithoutItsMark) {
  ReadMarks marks(1);
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> ended{0};  // the least mark that a finished write demands
  std::thread writer([&] {
    for (int i = 0; i < 20'000; ++i) {
      marks.write_begins(0U);
      const auto sent = marks.next_sample();
      marks.write_ends(0U);
      ended = sent + 1;
    }
    done = true;
  });
  while (!done) {
    const std::uint64_t least = ended;
    const auto required = marks.required(0U);
    ASSERT_GE(required.value_or(least), least);
  }
  writer.join();
}

TEST(ReachablePosition, LeavesOutAPageHeaderThatNothingFollows) {
  constexpr std::uint64_t kSegment = 16 << 20;
  EXPECT_EQ(reachable_position(5 * 8192 + 24, kSegment), 5U * 8192);
  EXPECT_EQ(reachable_position(3 * kSegment + 40, kSegment), 3 * kSegment);
  EXPECT_EQ(reachable_position(5 * 8192 + 32, kSegment), 5U * 8192 + 32);
  EXPECT_EQ(reachable_position(5 * 8192 + 40, kSegment), 5U * 8192 + 40)
      << "a long header stands at a segment's start only";
}

}  // namespace
}  // namespace weir::client
