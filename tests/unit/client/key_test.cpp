#include "router/client/key.hpp"

#include <gtest/gtest.h>

namespace weir::client {
namespace {

TEST(Key, TakesEveryWidthOfInteger) {
  EXPECT_EQ(Key(std::int16_t{-7}).value(), schema::KeyValue(std::int64_t{-7}));
  EXPECT_EQ(Key(42U).value(), schema::KeyValue(std::int64_t{42}));
  EXPECT_EQ(Key(std::numeric_limits<std::int64_t>::min()).value().integer(), std::numeric_limits<std::int64_t>::min());
}

TEST(Key, RefusesAnIntegerBeyondBigint) {
  EXPECT_THROW(Key(std::numeric_limits<std::uint64_t>::max()), pqxx::argument_error);
}

TEST(Key, KeepsTextAndIntegersApart) {
  EXPECT_TRUE(Key("42").value().is_text());
  EXPECT_TRUE(Key(42).value().is_integer());
}

}  // namespace
}  // namespace weir::client
