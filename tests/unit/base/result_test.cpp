#include "base/result.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace weir {
namespace {

Result<int> half_of(int n) {
  if (n % 2 != 0) return Error(sqlstate::kInvalidParameter, "odd");
  return n / 2;
}

TEST(Result, HoldsAValue) {
  const Result<int> r = half_of(4);
  ASSERT_TRUE(r.ok());
  EXPECT_TRUE(static_cast<bool>(r));
  EXPECT_EQ(*r, 2);
  EXPECT_EQ(r.value(), 2);
}

TEST(Result, HoldsAnErrorThatCanBeTaken) {
  Result<int> r = half_of(3);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, sqlstate::kInvalidParameter);
  EXPECT_EQ(r.take_error().message, "odd");
}

TEST(Result, MovesItsValueOut) {
  Result<std::unique_ptr<int>> r(std::make_unique<int>(7));
  const std::unique_ptr<int> p = std::move(r).value();
  EXPECT_EQ(*p, 7);
}

TEST(Result, ReachesIntoItsValue) {
  Result<std::string> r(std::string("abc"));
  EXPECT_EQ(r->size(), 3u);
  r.value() += "d";
  EXPECT_EQ(*r, "abcd");
}

TEST(ResultOfNothing, IsSuccessUnlessGivenAnError) {
  const Result<void> good;
  EXPECT_TRUE(good.ok());
  Result<void> bad = Error(sqlstate::kInternal, "broken");
  EXPECT_FALSE(static_cast<bool>(bad));
  EXPECT_EQ(bad.error().message, "broken");
  EXPECT_EQ(bad.take_error().code, sqlstate::kInternal);
}

}  // namespace
}  // namespace weir
