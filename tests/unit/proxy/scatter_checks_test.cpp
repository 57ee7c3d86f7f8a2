#include "proxy/scatter_checks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::string_literals;

constexpr std::uint32_t kInt4 = 23, kText = 25, kNumeric = 1700;

wire::FieldDescription field(const std::string& name, std::uint32_t type, std::int32_t modifier = -1) {
  wire::FieldDescription f;
  f.name = name;
  f.type = type;
  f.modifier = modifier;
  return f;
}

TEST(ScatterChecks, FindsWhatDiffersAndIgnoresTheTables) {
  Fields a{field("x", kInt4), field("y", kText)}, b = a;
  b[0].table = 16400;
  b[1].format = 1;
  EXPECT_FALSE(differ(a, b, 2));
  b[1].modifier = 12;
  EXPECT_FALSE(differ(a, b, 1));
  EXPECT_THAT(differ(a, b, 2).value_or(""), HasSubstr("modifier 12"));
  b[1] = field("y", kInt4);
  EXPECT_TRUE(differ(a, b, 2));
  b[1] = field("z", kText);
  EXPECT_TRUE(differ(a, b, 2));
  b.pop_back();
  EXPECT_TRUE(differ(a, b, 2));
}

TEST(ScatterChecks, FindsTypesOfOneDatabaseInBinaryFormat) {
  Fields fields{field("x", kInt4), field("mood", 16384)};
  EXPECT_EQ(find_binary_user_type(fields), nullptr);
  fields[0].format = fields[1].format = 1;
  ASSERT_NE(find_binary_user_type(fields), nullptr);
  EXPECT_EQ(find_binary_user_type(fields)->name, "mood");
  fields[1].type = 16383;
  EXPECT_EQ(find_binary_user_type(fields), nullptr);
}

TEST(ScatterChecks, GathersOnlyWhatKeepsItsMeaning) {
  EXPECT_FALSE(cannot_be_gathered(field("x", kInt4), {}));
  EXPECT_TRUE(cannot_be_gathered(field("x", kNumeric, 786438), {}));
  EXPECT_FALSE(cannot_be_gathered(field("x", kNumeric, 786438), {.exact_type = true}));
  EXPECT_TRUE(cannot_be_gathered(field("x", kText), {}));
  EXPECT_FALSE(cannot_be_gathered(field("x", kText), {.default_collation = true}));
  EXPECT_TRUE(cannot_be_gathered(field("x", 19), {}));     // name
  EXPECT_TRUE(cannot_be_gathered(field("x", 3802), {}));   // jsonb holds text
  EXPECT_TRUE(cannot_be_gathered(field("x", 1007), {.exact_type = true, .default_collation = true}));   // an array of arrays
  EXPECT_TRUE(cannot_be_gathered(field("x", 2249), {.exact_type = true, .default_collation = true}));   // record
}

TEST(ScatterChecks, KnowsArraysOfBuiltInTypes) {
  EXPECT_EQ(array_type_of(kInt4), 1007u);
  EXPECT_EQ(array_type_of(kText), 1009u);
  EXPECT_EQ(array_type_of(1007), 0u);
  EXPECT_EQ(array_type_of(16384), 0u);
}

TEST(ScatterChecks, HiddenColumnsAreBinaryAndTheClientsAsAsked) {
  EXPECT_THAT(formats_with_hidden({}, 2, 0), ElementsAre());
  EXPECT_THAT(formats_with_hidden({}, 2, 1), ElementsAre(0, 0, 1));
  const std::vector<std::uint16_t> binary{1}, mixed{0, 1};
  EXPECT_THAT(formats_with_hidden(binary, 3, 0), ElementsAre(1));
  EXPECT_THAT(formats_with_hidden(binary, 2, 2), ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(formats_with_hidden(mixed, 2, 1), ElementsAre(0, 1, 1));
}

TEST(ScatterChecks, AnErrorOfAnotherTextHasNoPosition) {
  ByteBuffer out;
  append_without_position(out, as_bytes("SERROR\0C42703\0P8\0Mno such column\0\0"s));
  EXPECT_EQ(as_text(out.view()), "SERROR\0C42703\0Mno such column\0\0"s);
}

TEST(ScatterChecks, AMomentHasMicrosecondsAndAZone) {
  using namespace std::chrono;
  EXPECT_EQ(timestamp_text(system_clock::time_point(seconds(1'700'000'000) + microseconds(42))), "2023-11-14 22:13:20.000042+00");
}

}  // namespace
}  // namespace weir::proxy
