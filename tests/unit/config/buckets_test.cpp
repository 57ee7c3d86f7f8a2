#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.hpp"

namespace weir::config {
namespace {

std::string canonical(std::string_view text, std::uint32_t buckets = 100) {
  const auto result = parse_bucket_ranges(text, buckets);
  return result.index() == 0 ? format_bucket_ranges(std::get<0>(result)) : "mistake: " + std::get<1>(result);
}

TEST(BucketRanges, AreReadSortedAndJoined) {
  EXPECT_EQ(canonical("0-9,40-49"), "0-9,40-49");
  EXPECT_EQ(canonical("20,0,10"), "0,10,20");
  EXPECT_EQ(canonical(" 5 - 9 , 3 "), "3,5-9");
  EXPECT_EQ(canonical("3,4,5"), "3-5");
  EXPECT_EQ(canonical("7-7"), "7");
  EXPECT_EQ(canonical("0-99"), "0-99");
  EXPECT_EQ(canonical(""), "");
}

TEST(BucketRanges, AreRefusedWithTheReason) {
  EXPECT_EQ(canonical("x"), "mistake: \"x\" is neither a bucket nor a range of them");
  EXPECT_EQ(canonical("1,,2"), "mistake: \"\" is neither a bucket nor a range of them");
  EXPECT_EQ(canonical("1,"), "mistake: \"\" is neither a bucket nor a range of them");
  EXPECT_EQ(canonical("-1"), "mistake: \"-1\" is neither a bucket nor a range of them");
  EXPECT_EQ(canonical("1-2-3"), "mistake: \"1-2-3\" is neither a bucket nor a range of them");
  EXPECT_EQ(canonical("99999999999"), "mistake: \"99999999999\" is neither a bucket nor a range of them");
  EXPECT_EQ(canonical("9-3"), "mistake: \"9-3\" runs backwards");
  EXPECT_EQ(canonical("100"), "mistake: bucket 100 does not exist: there are 100, numbered 0 to 99");
  EXPECT_EQ(canonical("0-5,5-9"), "mistake: bucket 5 is named twice");
}

}  // namespace
}  // namespace weir::config
