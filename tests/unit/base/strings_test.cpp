#include "base/strings.hpp"

#include <gtest/gtest.h>

#include <unordered_map>

namespace weir {
namespace {

TEST(Concat, PutsItsPartsTogether) {
  const std::string s = "b";
  EXPECT_EQ(concat("a", s, std::string_view("c"), ""), "abc");
}

TEST(AsciiLower, FoldsAsciiAndLeavesOtherBytesAlone) {
  EXPECT_EQ(ascii_lower("AZaz09_@[\xc3\x84"), "azaz09_@[\xc3\x84");
}

TEST(StringHash, FindsAStringByAView) {
  std::unordered_map<std::string, int, StringHash, std::equal_to<>> m{{"key", 1}};
  EXPECT_NE(m.find(std::string_view("key")), m.end());
  EXPECT_EQ(m.find(std::string_view("other")), m.end());
}

}  // namespace
}  // namespace weir
