#include <gtest/gtest.h>

#include "router/router.hpp"

namespace weir::router {
namespace {

TEST(SelfTest, TheParserAndTheHeadersAgreeOnEveryNode) {
  const Result<void> result = self_test();
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
}

TEST(SelfTest, CanBeRunAgain) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(self_test().ok());
}

}  // namespace
}  // namespace weir::router
