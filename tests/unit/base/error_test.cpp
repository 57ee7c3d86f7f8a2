#include "base/error.hpp"

#include <gtest/gtest.h>

namespace weir {
namespace {

TEST(SqlState, ReadsTheFirstFiveCharacters) {
  EXPECT_EQ(SqlState::parse("28P01"), sqlstate::kInvalidPassword);
  EXPECT_EQ(SqlState::parse("28P01 and more").view(), "28P01");
}

TEST(SqlState, IsInternalErrorForShorterInput) {
  EXPECT_EQ(SqlState::parse(""), sqlstate::kInternal);
  EXPECT_EQ(SqlState::parse("28P0"), sqlstate::kInternal);
  EXPECT_EQ(SqlState().view(), "XX000");
}

TEST(Error, SpoilsNothingUnlessItSaysSo) {
  const Error e(sqlstate::kSyntaxError, "message", "hint");
  EXPECT_EQ(e.code, sqlstate::kSyntaxError);
  EXPECT_EQ(e.message, "message");
  EXPECT_EQ(e.hint, "hint");
  EXPECT_FALSE(e.connection_spoilt);
  EXPECT_FALSE(e.transaction_spoilt);
  EXPECT_TRUE(e.outcome_known);
}

}  // namespace
}  // namespace weir
