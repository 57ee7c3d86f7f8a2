#include "router/gid.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace weir::router {
namespace {

constexpr const char* kCluster = "9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11";

Gid gid_of(std::string decider, std::string participant) { return {kCluster, std::move(decider), make_decision_id(0x1a2b, 7), std::move(participant)}; }

TEST(Gid, NamesInstallationDeciderDecisionAndParticipant) {
  const auto text = print_gid(gid_of("s0", "s1"));
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:1a2b-00000000000007:s1");
  EXPECT_EQ(parse_gid(*text), gid_of("s0", "s1"));
}

TEST(Gid, TakesAnyNameOfAShard) {
  for (const char* name : {"a:b", "it's", "back\\slash", "100%", "%41", "tab\tnewline\n", "ä€", " "}) {
    const auto text = print_gid(gid_of(name, name));
    ASSERT_TRUE(text) << name;
    EXPECT_EQ(text->find_first_of("'\\ \t\n"), std::string::npos) << *text;
    EXPECT_EQ(parse_gid(*text), gid_of(name, name)) << *text;
  }
}

TEST(Gid, FitsWithTheLongestPlainNamesAndTheLargestNumbers) {
  Gid gid = gid_of(std::string(63, 'a'), std::string(63, 'b'));
  gid.decision = make_decision_id(std::numeric_limits<std::uint64_t>::max(), std::numeric_limits<std::uint64_t>::max());
  const auto text = print_gid(gid);
  ASSERT_TRUE(text);
  EXPECT_EQ(text->size(), Gid::kMaxBytes);
  EXPECT_EQ(parse_gid(*text), gid);
}

TEST(Gid, ThatWouldBeTooLongIsRefusedWithTheNextStep) {
  const auto text = print_gid(gid_of(std::string(63, ':'), "s1"));
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, sqlstate::kProgramLimit);
  EXPECT_NE(text.error().hint, "");
}

TEST(Gid, OfAnotherFormIsNotRead) {
  const std::string good = *print_gid(gid_of("s0", "s1"));
  for (std::size_t cut = 0; cut < good.size() - 1; ++cut) EXPECT_FALSE(parse_gid(std::string_view(good).substr(0, cut))) << cut;
  for (const char* text : {"", "weir:", "weir:2:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:1a2b-00000000000007:s1",
                           "weir:1:9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11:s0:1a2b-00000000000007:s1", "weir:1:9C3F52A06D8F4A529E0C0F3D5A4F7B11:s0:1a2b-00000000000007:s1",
                           "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:1a2b-0000000000007:s1", "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:-00000000000007:s1",
                           "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:1a2b-00000000000007:", "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11::1a2b-00000000000007:s1",
                           "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:1a2b-00000000000007:s1:x", "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s%3:1a2b-00000000000007:s1",
                           "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:%73:1a2b-00000000000007:s1", "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:1a2b-00000000000007:it's"})
    EXPECT_FALSE(parse_gid(text)) << text;
}

TEST(DecisionId, HasTheNumberThenFixedRandomDigits) {
  EXPECT_EQ(make_decision_id(0, 0), "0-00000000000000");
  EXPECT_EQ(make_decision_id(255, 0xff00000000000001), "ff-00000000000001") << "56 bits of it";
}

}  // namespace
}  // namespace weir::router
