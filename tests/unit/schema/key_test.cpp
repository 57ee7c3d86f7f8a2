#include "schema/key.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace weir::schema {
namespace {

std::optional<std::int64_t> integer(std::optional<KeyValue> key) {
  return key ? std::optional<std::int64_t>(key->integer()) : std::nullopt;
}

// From a buffer of the exact size, so that ASan sees an over-read.
std::optional<KeyValue> parameter(KeyType type, std::uint32_t declared, bool binary, std::string_view value) {
  const auto exact = std::make_unique<char[]>(value.size());
  std::copy(value.begin(), value.end(), exact.get());
  return key_from_parameter(type, declared, binary, as_bytes({exact.get(), value.size()}));
}

std::string bytes(std::initializer_list<int> values) {
  std::string s;
  for (int v : values) s.push_back(static_cast<char>(v));
  return s;
}

// ndigits, weight, sign, dscale, digits
std::string numeric(std::initializer_list<int> words) {
  std::string s;
  for (int w : words) s += bytes({w >> 8 & 255, w & 255});
  return s;
}

constexpr std::int64_t kMax8 = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin8 = std::numeric_limits<std::int64_t>::min();

TEST(Key, ReadsIntegersAsInt8inDoes) {
  EXPECT_EQ(integer(key_from_text(KeyType::int8, "42")), 42);
  EXPECT_EQ(integer(key_from_text(KeyType::int8, " \t\n\v\f\r+42 \t")), 42);
  EXPECT_EQ(integer(key_from_text(KeyType::int8, "-0")), 0);
  EXPECT_EQ(integer(key_from_text(KeyType::int8, "000000000000000000000000000007")), 7);
  EXPECT_EQ(integer(key_from_text(KeyType::int8, "9223372036854775807")), kMax8);
  EXPECT_EQ(integer(key_from_text(KeyType::int8, "-9223372036854775808")), kMin8);
}

TEST(Key, RefusesWhatInt8inRefuses) {
  for (const char* text : {"", " ", "+", "-", "+-1", "- 1", "1 2", "1.0", "1e3", "0x1F", "1_000", "0b1", "abc", "1a",
                           "9223372036854775808", "-9223372036854775809", "18446744073709551616",
                           "\xc2\xa0"
                           "1"}) {
    EXPECT_FALSE(key_from_text(KeyType::int8, text)) << text;
  }
  EXPECT_FALSE(key_from_text(KeyType::int8, std::string_view("1\0", 2)));
}

TEST(Key, KeepsTheRangeOfNarrowIntegers) {
  EXPECT_EQ(integer(key_from_text(KeyType::int2, "-32768")), -32768);
  EXPECT_EQ(integer(key_from_text(KeyType::int2, "32767")), 32767);
  EXPECT_FALSE(key_from_text(KeyType::int2, "32768"));
  EXPECT_FALSE(key_from_text(KeyType::int2, "-32769"));
  EXPECT_EQ(integer(key_from_text(KeyType::int4, "2147483647")), 2147483647);
  EXPECT_FALSE(key_from_text(KeyType::int4, "2147483648"));
  EXPECT_FALSE(key_from_text(KeyType::int4, "-2147483649"));
}

TEST(Key, ReadsEverySpellingOfAUuidThatUuidInKnows) {
  const std::string canonical = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
  for (const char* text : {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
                           "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11",
                           "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}"}) {
    const auto key = key_from_text(KeyType::uuid, text);
    ASSERT_TRUE(key) << text;
    EXPECT_EQ(key->str(), canonical) << text;
  }
}

TEST(Key, RefusesWhatUuidInRefuses) {
  for (const char* text :
       {"", "{", "}", "{}", " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11 ",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
        "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
        "a0-eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99--9c0b4ef8bb6d6bb9bd380a11",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-", "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}) {
    EXPECT_FALSE(key_from_text(KeyType::uuid, text)) << text;
  }
}

TEST(Key, TakesTextAsItIsButForNul) {
  EXPECT_EQ(key_from_text(KeyType::text, " a ")->text(), " a ");
  EXPECT_EQ(key_from_text(KeyType::varchar, "")->text(), "");
  EXPECT_FALSE(key_from_text(KeyType::text, std::string_view("a\0b", 3)));
}

TEST(Key, ReadsIntegralNumbersInEverySpelling) {
  for (const char* literal :
       {"42", "+42", "42.0", "42.", "42.000", "4.2e1", "4.2E+1", "420e-1", "4200.0e-2", "0.42e2", ".42e2", "00042"}) {
    EXPECT_EQ(integer(key_from_number(KeyType::int8, literal)), 42) << literal;
  }
  EXPECT_EQ(integer(key_from_number(KeyType::int4, "-7")), -7);
  EXPECT_EQ(integer(key_from_number(KeyType::int8, "1e3")), 1000);
  EXPECT_EQ(integer(key_from_number(KeyType::int8, "0e999999999999")), 0);
  EXPECT_EQ(integer(key_from_number(KeyType::int8, "0.000")), 0);
  EXPECT_EQ(integer(key_from_number(KeyType::int8, "-9223372036854775808")), kMin8);
  EXPECT_EQ(integer(key_from_number(KeyType::int8, "9223372036854775807.0")), kMax8);
  // Wider than the column: it equals no row, and every shard says so.
  EXPECT_EQ(integer(key_from_number(KeyType::int2, "70000")), 70000);
}

TEST(Key, NumbersWithAFractionOrOutOfRangeBindNothing) {
  for (const char* literal : {"",
                              ".",
                              "e1",
                              "1e",
                              "1e+",
                              "42.5",
                              "1e-1",
                              "0.1",
                              "4.25e1",
                              "9223372036854775808",
                              "-9223372036854775809",
                              "1e19",
                              "1e400",
                              "1e-400",
                              "1e99999999999999999999",
                              "NaN",
                              "Infinity",
                              "0x10",
                              "1_000",
                              " 1",
                              "1 ",
                              "--1",
                              "1.2.3"}) {
    EXPECT_FALSE(key_from_number(KeyType::int8, literal)) << literal;
  }
  EXPECT_FALSE(key_from_number(KeyType::text, "42"));
  EXPECT_FALSE(key_from_number(KeyType::uuid, "42"));
}

TEST(Key, ReadsTextParametersOfTheDeclaredType) {
  EXPECT_EQ(integer(parameter(KeyType::int8, 0, false, " 42 ")), 42);
  EXPECT_EQ(integer(parameter(KeyType::int8, oid::kInt4, false, "42")), 42);
  EXPECT_FALSE(parameter(KeyType::int8, oid::kInt4, false, "2147483648")) << "int4in would refuse it";
  EXPECT_EQ(integer(parameter(KeyType::int4, oid::kInt8, false, "2147483648")), 2147483648);
  EXPECT_FALSE(parameter(KeyType::int4, 0, false, "2147483648"));
  EXPECT_EQ(integer(parameter(KeyType::int8, oid::kNumeric, false, " 42.0 ")), 42);
  EXPECT_FALSE(parameter(KeyType::int8, oid::kNumeric, false, "42.5"));
}

TEST(Key, ReadsBinaryIntegersOfEveryWidth) {
  EXPECT_EQ(integer(parameter(KeyType::int8, oid::kInt2, true, bytes({255, 254}))), -2);
  EXPECT_EQ(integer(parameter(KeyType::int8, oid::kInt4, true, bytes({255, 255, 255, 254}))), -2);
  EXPECT_EQ(integer(parameter(KeyType::int4, oid::kInt8, true, bytes({0, 0, 0, 1, 0, 0, 0, 0}))), 4294967296);
  EXPECT_EQ(integer(parameter(KeyType::int8, 0, true, bytes({0, 0, 0, 7}))), 7);
  EXPECT_EQ(integer(parameter(KeyType::int8, 0, true, bytes({0, 7}))), 7);
  EXPECT_EQ(integer(parameter(KeyType::int8, 0, true, bytes({128, 0, 0, 0, 0, 0, 0, 0}))), kMin8);
}

TEST(Key, RefusesBinaryIntegersOfAnotherWidthThanDeclared) {
  EXPECT_FALSE(parameter(KeyType::int8, oid::kInt8, true, bytes({0, 0, 0, 7})));
  EXPECT_FALSE(parameter(KeyType::int8, oid::kInt2, true, bytes({0, 0, 0, 7})));
  for (std::size_t n : {0U, 1U, 3U, 5U, 7U, 9U, 16U})
    EXPECT_FALSE(parameter(KeyType::int8, 0, true, std::string(n, '\0'))) << n;
}

TEST(Key, ReadsIntegralBinaryNumerics) {
  const auto read = [](const std::string& value) {
    return integer(parameter(KeyType::int8, oid::kNumeric, true, value));
  };
  EXPECT_EQ(read(numeric({0, 0, 0, 2})), 0) << "0.00";
  EXPECT_EQ(read(numeric({1, 0, 0, 0, 42})), 42);
  EXPECT_EQ(read(numeric({1, 0, 0x4000, 0, 42})), -42);
  EXPECT_EQ(read(numeric({1, 1, 0, 0, 1})), 10000) << "trailing zero digits are not sent";
  EXPECT_EQ(read(numeric({2, 1, 0, 0, 12, 3456})), 123456);
  EXPECT_EQ(read(numeric({2, 0, 0, 1, 42, 0})), 42) << "zeros behind the point";
  EXPECT_EQ(read(numeric({5, 4, 0, 0, 922, 3372, 368, 5477, 5807})), kMax8);
  EXPECT_EQ(read(numeric({5, 4, 0x4000, 0, 922, 3372, 368, 5477, 5808})), kMin8);
}

TEST(Key, RefusesBinaryNumericsThatAreNoIntegers) {
  const auto read = [](const std::string& value) {
    return integer(parameter(KeyType::int8, oid::kNumeric, true, value));
  };
  EXPECT_FALSE(read(numeric({2, 0, 0, 1, 42, 5000}))) << "42.5";
  EXPECT_FALSE(read(numeric({1, -1, 0, 4, 5000}))) << "0.5";
  EXPECT_FALSE(read(numeric({0, 0, 0xC000, 0}))) << "NaN";
  EXPECT_FALSE(read(numeric({0, 0, 0xD000, 0}))) << "Infinity";
  EXPECT_FALSE(read(numeric({5, 4, 0, 0, 922, 3372, 368, 5477, 5808}))) << "one beyond int8";
  EXPECT_FALSE(read(numeric({1, 5, 0, 0, 1}))) << "1e20";
  EXPECT_FALSE(read(numeric({1, 0, 0, 0, 10000}))) << "no digit of base 10000";
  EXPECT_FALSE(read(numeric({2, 0, 0, 0, 42}))) << "a digit is missing";
  EXPECT_FALSE(read(numeric({1, 0, 0, 0, 42, 42}))) << "a digit too many";
  EXPECT_FALSE(read(numeric({1, 0, 0})));
  EXPECT_FALSE(read(""));
}

TEST(Key, OtherDeclaredTypesBindNoIntegerKey) {
  constexpr std::uint32_t kFloat8 = 701;
  for (std::uint32_t declared : {oid::kText, oid::kVarchar, kFloat8, oid::kUuid, std::uint32_t{123456}}) {
    EXPECT_FALSE(parameter(KeyType::int8, declared, false, "42")) << declared;
    EXPECT_FALSE(parameter(KeyType::int8, declared, true, std::string(8, '\0'))) << declared;
  }
  EXPECT_FALSE(parameter(KeyType::int8, oid::kUnknown, false, "42"));
}

TEST(Key, ReadsTextKeysInBothFormats) {
  for (std::uint32_t declared : {oid::kUnspecified, oid::kText, oid::kVarchar, oid::kUnknown}) {
    EXPECT_EQ(parameter(KeyType::text, declared, false, "héllo")->text(), "héllo");
    EXPECT_EQ(parameter(KeyType::varchar, declared, true, "héllo ")->text(), "héllo ");
  }
  constexpr std::uint32_t kBpchar = 1042;  // comparing it strips blanks
  EXPECT_FALSE(parameter(KeyType::text, kBpchar, false, "a "));
  EXPECT_FALSE(parameter(KeyType::text, oid::kInt4, false, "42"));
  EXPECT_FALSE(parameter(KeyType::text, oid::kText, true, std::string_view("a\0b", 3)));
}

TEST(Key, ReadsUuidsInBothFormats) {
  std::string raw;
  for (int i = 0; i < 16; ++i) raw.push_back(static_cast<char>(i * 17));
  EXPECT_EQ(parameter(KeyType::uuid, oid::kUuid, true, raw)->str(), "00112233-4455-6677-8899-aabbccddeeff");
  EXPECT_EQ(parameter(KeyType::uuid, 0, false, "00112233445566778899AABBCCDDEEFF"),
            parameter(KeyType::uuid, 0, true, raw));
  EXPECT_FALSE(parameter(KeyType::uuid, 0, true, raw.substr(1)));
  EXPECT_FALSE(parameter(KeyType::uuid, oid::kText, false, "00112233-4455-6677-8899-aabbccddeeff"));
}

TEST(Key, KnowsWhichTypesCanBeKeys) {
  EXPECT_EQ(key_type_of(oid::kInt2), KeyType::int2);
  EXPECT_EQ(key_type_of(oid::kInt4), KeyType::int4);
  EXPECT_EQ(key_type_of(oid::kInt8), KeyType::int8);
  EXPECT_EQ(key_type_of(oid::kText), KeyType::text);
  EXPECT_EQ(key_type_of(oid::kVarchar), KeyType::varchar);
  EXPECT_EQ(key_type_of(oid::kUuid), KeyType::uuid);
  for (std::uint32_t other : {0U, 16U, 701U, 705U, 1042U, 1700U}) EXPECT_FALSE(key_type_of(other)) << other;
  EXPECT_EQ(name_of(KeyType::int8), "bigint");
}

}  // namespace
}  // namespace weir::schema
