#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/wire/exact_bytes.hpp"
#include "wire/startup.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;
using Settings = std::vector<std::pair<std::string, std::string>>;

Result<Settings> parse(const std::string& options) {
  const ExactBytes exact(options);
  return parse_options(exact.text());
}

void expect_settings(const std::string& options, const Settings& settings) {
  const auto r = parse(options);
  ASSERT_TRUE(r.ok()) << options << ": " << r.error().message;
  EXPECT_EQ(*r, settings) << options;
}

TEST(ParseOptions, ReadsTheThreeSpellingsOfASetting) {
  expect_settings("-c geqo=off -cstatement_timeout=5min --work_mem=1MB",
                  {{"geqo", "off"}, {"statement_timeout", "5min"}, {"work_mem", "1MB"}});
}

TEST(ParseOptions, SkipsAnyWhiteSpaceAndTakesEmptyOptions) {
  expect_settings("", {});
  expect_settings(" \t\n\v\f\r ", {});
  expect_settings("  -c\t\ta=1\n-c\fb=2  ", {{"a", "1"}, {"b", "2"}});
}

TEST(ParseOptions, TakesTheCharacterBehindABackslashAsItIs) {
  expect_settings(R"(-c search_path=a\,\ b)", {{"search_path", "a, b"}});
  expect_settings(R"(-c a=x\\y)", {{"a", R"(x\y)"}});
  expect_settings(R"(-c a=\-c\ b)", {{"a", "-c b"}});
  expect_settings(R"(-c a=1\)", {{"a", "1"}});  // a backslash at the very end is dropped
}

TEST(ParseOptions, TurnsDashesInNamesIntoUnderscoresAndLeavesThemInValues) {
  expect_settings("--statement-timeout=1-2 -c lock-timeout=3-4",
                  {{"statement_timeout", "1-2"}, {"lock_timeout", "3-4"}});
}

TEST(ParseOptions, SplitsAtTheFirstEqualsSignAndTakesEmptyValues) {
  expect_settings("-c a=b=c --d=", {{"a", "b=c"}, {"d", ""}});
}

TEST(ParseOptions, KeepsTheOrderAndRepetitions) {
  expect_settings("-c a=1 -c b=2 -c a=3", {{"a", "1"}, {"b", "2"}, {"a", "3"}});
}

TEST(ParseOptions, EndsAtALoneDoubleDashAsGetoptDoes) {
  expect_settings("-c a=1 --", {{"a", "1"}});
  EXPECT_FALSE(parse("-- -c a=1").ok());
}

TEST(ParseOptions, TakesWhatFollowsALoneCAsItsArgumentWhateverItIs) {
  expect_settings("-c -x=1 -c --y=2", {{"_x", "1"}, {"__y", "2"}});
}

TEST(ParseOptions, RefusesEverythingElse) {
  for (const std::string& options :
       {"-c"s, "-c a"s, "-ca"s, "--a"s, "a=1"s, "-e"s, "-S 100"s, "-F -c a=1"s, "-c a=1 x"s, "-"s, "\\"s, "-c \\"s,
        "-c =1"s, "-c=1"s, "--=1"s, "-c a=\0b"s, "- c a=1"s}) {
    const auto r = parse(options);
    ASSERT_FALSE(r.ok()) << options;
    EXPECT_EQ(r.error().code, sqlstate::kInvalidParameter) << options;
    EXPECT_NE(r.error().hint, "") << options;
  }
}

TEST(ParseOptions, SaysWhatIsWrongInPostgresqlsWords) {
  EXPECT_EQ(parse("-c foo").error().message, "-c foo requires a value");
  EXPECT_EQ(parse("--foo").error().message, "--foo requires a value");
  EXPECT_EQ(parse("-c").error().message, "invalid command-line argument for server process: -c");
  EXPECT_EQ(parse("-e").error().message, "invalid command-line argument for server process: -e");
}

TEST(ParseOptions, ReadsEveryPrefixFromExactBuffers) {
  const std::string whole = R"(-c a=1\ 2 --b-c=3 -cd=\\ --)";
  std::string taken;  // a mark for each prefix: how many settings it has, or x for refused
  for_each_cut(whole, [&](std::size_t, const ExactBytes& cut) {
    const auto r = parse_options(cut.text());
    taken += r.ok() ? std::to_string(r->size()) : "x";
  });
  EXPECT_EQ(taken,
            "0xxxx"
            "111111"
            "x1xxx"
            "222"
            "xxx"
            "3333"
            "x");
  expect_settings(whole, {{"a", "1 2"}, {"b_c", "3"}, {"d", "\\"}});
}

}  // namespace
}  // namespace weir::wire
