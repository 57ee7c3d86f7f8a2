#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "router/array_elements.hpp"
#include "router/key_expression.hpp"
#include "router/lexer.hpp"
#include "router/literal_value.hpp"
#include "router/plan.hpp"

namespace weir::router {
namespace {

using schema::BucketMap;
using schema::KeyType;
using schema::KeyValue;
namespace oid = schema::oid;

// user_id % 4 is the shard.
BucketMap four_shards() {
  config::Database database;
  database.name = "app";
  database.sharding = config::Sharding{};
  database.sharding->function = config::HashFunction::modulo;
  database.sharding->buckets = 8;
  for (std::uint32_t i = 0; i < 4; ++i) {
    config::Shard shard;
    shard.name = concat("s", std::to_string(i));
    shard.buckets = {{i, i}, {i + 4, i + 4}};
    database.shards.push_back(shard);
  }
  auto map = BucketMap::from(database);
  EXPECT_TRUE(map.ok());
  return *map;
}

// Text keys need the hash.
BucketMap hashed() {
  config::Database database;
  database.sharding = config::Sharding{};
  database.sharding->buckets = 4096;
  for (std::uint32_t i = 0; i < 16; ++i) {
    config::Shard shard;
    shard.name = concat("s", std::to_string(i));
    shard.buckets = {{i * 256, i * 256 + 255}};
    database.shards.push_back(shard);
  }
  auto map = BucketMap::from(database);
  EXPECT_TRUE(map.ok());
  return *map;
}

KeySource literal(std::uint32_t index, KeyType type = KeyType::int8, bool negated = false) {
  KeySource source;
  source.kind = KeySource::Kind::literal;
  source.index = index;
  source.type = type;
  source.negated = negated;
  return source;
}
KeySource parameter(std::uint32_t index, KeyType type = KeyType::int8,
                    KeySource::Kind kind = KeySource::Kind::parameter) {
  KeySource source;
  source.kind = kind;
  source.index = index;
  source.type = type;
  return source;
}
KeySource fixed(KeyValue value) {
  KeySource source;
  source.kind = KeySource::Kind::fixed;
  source.value = std::move(value);
  return source;
}
KeySource null() {
  KeySource source;
  source.kind = KeySource::Kind::null;
  return source;
}

Plan keyed(std::vector<KeySource> values, bool inserts = false) {
  Plan plan;
  plan.verb = Verb::query;
  plan.target = Target::keyed;
  plan.bindings.push_back({"public.orders", std::move(values), inserts});
  return plan;
}

struct Call {
  std::string sql = "";
  std::vector<Parameter> parameters;
  std::vector<std::uint32_t> declared;

  Result<Route> resolve(const Plan& plan, const BucketMap& map) const {
    Lifted lifted;
    lift(sql, true, lifted);
    EXPECT_TRUE(lifted.certain);
    return router::resolve(plan, {sql, lifted.literals, parameters, declared}, map);
  }
};

Parameter text(std::string_view value) { return {false, false, as_bytes(value)}; }
Parameter binary(const std::string& value) { return {false, true, as_bytes(value)}; }
Parameter null_parameter() { return {true, false, {}}; }

std::string int_bytes(std::int64_t value, int width) {
  std::string bytes;
  for (int shift = (width - 1) * 8; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string int8_array(const std::vector<std::int64_t>& values) {
  std::string bytes = int_bytes(values.empty() ? 0 : 1, 4) + int_bytes(0, 4) + int_bytes(oid::kInt8, 4);
  if (!values.empty()) bytes += int_bytes(static_cast<std::int64_t>(values.size()), 4) + int_bytes(1, 4);
  for (const std::int64_t value : values) bytes += int_bytes(8, 4) + int_bytes(value, 8);
  return bytes;
}

schema::ShardId shard(const Result<Route>& route) {
  EXPECT_TRUE(route.ok()) << (route.ok() ? "" : route.error().message);
  return route.ok() ? route->shard : 999;
}

void expect_refused(const Result<Route>& route, std::string_view names, std::string_view also = "") {
  ASSERT_FALSE(route.ok());
  EXPECT_EQ(route.error().code, sqlstate::kFeatureNotSupported);
  EXPECT_NE(route.error().message.find(names), std::string::npos) << route.error().message;
  EXPECT_NE(route.error().message.find(also), std::string::npos) << route.error().message;
  EXPECT_FALSE(route.error().hint.empty());
}

TEST(Resolve, SendsAnIntegerLiteralToItsShard) {
  const BucketMap map = four_shards();
  EXPECT_EQ(shard(Call{"SELECT 6", {}, {}}.resolve(keyed({literal(0)}), map)), 2);
  EXPECT_EQ(shard(Call{"SELECT 'x', 7", {}, {}}.resolve(keyed({literal(1)}), map)), 3);
  EXPECT_EQ(shard(Call{"SELECT -1", {}, {}}.resolve(keyed({literal(0, KeyType::int8, true)}), map)), 3);
  EXPECT_EQ(shard(Call{"SELECT 5.0", {}, {}}.resolve(keyed({literal(0)}), map)), 1);
  EXPECT_EQ(shard(Call{"SELECT - " + std::string(100, '0') + "1", {}, {}}.resolve(
                keyed({literal(0, KeyType::int8, true)}), map)),
            3);
}

TEST(Resolve, ReadsStringsAsTheColumnsTypeDoes) {
  const BucketMap map = four_shards();
  for (const char* sql :
       {"SELECT '6'", "SELECT ' 6 '", "SELECT E'6'", "SELECT $$6$$", "SELECT $t$ +6$t$", "SELECT E'\\t6'"})
    EXPECT_EQ(shard(Call{sql, {}, {}}.resolve(keyed({literal(0)}), map)), 2) << sql;
  for (const char* sql : {"SELECT '6x'", "SELECT ''", "SELECT E'\\x36'", "SELECT B'110'", "SELECT 6.5", "SELECT '6.0'"})
    expect_refused(Call{sql, {}, {}}.resolve(keyed({literal(0)}), map), "public.orders", "bigint");
}

TEST(Resolve, UndoublesQuotesOfTextKeys) {
  const BucketMap map = hashed();
  const auto of = [&](const char* sql) {
    return shard(Call{sql, {}, {}}.resolve(keyed({literal(0, KeyType::text)}), map));
  };
  EXPECT_EQ(of("SELECT 'it''s'"), map.shard_of(KeyValue(std::string("it's"))));
  EXPECT_EQ(of("SELECT E'it\\'s'"), map.shard_of(KeyValue(std::string("it's"))));
  EXPECT_EQ(of("SELECT E'a\\\\b''\\n'"), map.shard_of(KeyValue(std::string("a\\b'\n"))));
  EXPECT_EQ(of("SELECT $x$it's$x$"), map.shard_of(KeyValue(std::string("it's"))));
  EXPECT_EQ(of("SELECT 'a\\b'"), map.shard_of(KeyValue(std::string("a\\b"))));
  EXPECT_EQ(of("SELECT ''"), map.shard_of(KeyValue(std::string())));
  EXPECT_EQ(of("SELECT ''''"), map.shard_of(KeyValue(std::string("'"))));
}

TEST(Resolve, ReadsParametersInBothFormats) {
  const BucketMap map = four_shards();
  const Plan plan = keyed({parameter(1)});
  EXPECT_EQ(shard(Call{"", {text("0"), text("6")}, {}}.resolve(plan, map)), 2);
  const std::string eight = int_bytes(-1, 8), four = int_bytes(7, 4);
  EXPECT_EQ(shard(Call{"", {text("0"), binary(eight)}, {}}.resolve(plan, map)), 3);
  EXPECT_EQ(shard(Call{"", {text("0"), binary(four)}, {0, oid::kInt4}}.resolve(plan, map)), 3);
  EXPECT_EQ(shard(Call{"", {text("0"), text("6")}, {0, oid::kUnknown}}.resolve(plan, map)), 2);
}

TEST(Resolve, RefusesParametersOfOtherTypes) {
  const BucketMap map = four_shards();
  constexpr std::uint32_t kFloat8 = 701;
  expect_refused(Call{"", {text("6")}, {kFloat8}}.resolve(keyed({parameter(0)}), map), "public.orders", "$1");
  expect_refused(Call{"", {text("x")}, {}}.resolve(keyed({parameter(0)}), map), "public.orders", "$1");
  KeySource cast = parameter(0);
  cast.declared = oid::kInt4;  // $1::int4
  const std::string eight = int_bytes(6, 8), four = int_bytes(6, 4);
  expect_refused(Call{"", {binary(eight)}, {}}.resolve(keyed({cast}), map), "public.orders", "$1");
  EXPECT_EQ(shard(Call{"", {binary(four)}, {}}.resolve(keyed({cast}), map)), 2);
}

TEST(Resolve, RefusesABindWithoutTheKeysParameter) {
  const auto route = Call{"", {text("6")}, {}}.resolve(keyed({parameter(1)}), four_shards());
  ASSERT_FALSE(route.ok());
  EXPECT_EQ(route.error().code, sqlstate::kProtocolViolation);
  EXPECT_NE(route.error().message.find("$2"), std::string::npos);
}

TEST(Resolve, ReadsArrays) {
  const BucketMap map = four_shards();
  const Plan plan = keyed({parameter(0, KeyType::int8, KeySource::Kind::parameter_array)});
  const auto text_array = [&](std::string_view value) { return Call{"", {text(value)}, {}}.resolve(plan, map); };
  EXPECT_EQ(shard(text_array("{2,6,10}")), 2);
  EXPECT_EQ(shard(text_array(" { \"2\" , NULL,6 } ")), 2);
  EXPECT_EQ(shard(text_array("{}")), 0);
  EXPECT_EQ(shard(text_array("{NULL}")), 0);
  expect_refused(text_array("{1,2}"), "2 shards", "public.orders");
  expect_refused(text_array("{1,2,3,4,8}"), "4 shards");
  for (const char* bad : {"", "1", "{", "{1", "{1,", "{1,}", "{,1}", "{1}x", "{{1},{2}}", "{1 2}", "{\"1}",
                          "[0:1]={1,2}", "{1\\2}", "{\"1\"2}", "{a}", "{1}}", "{\"1\\"})
    expect_refused(text_array(bad), "public.orders", "$1");
  const std::string two = int8_array({2, 6}), none = int8_array({}), spread = int8_array({1, 2});
  EXPECT_EQ(shard(Call{"", {binary(two)}, {}}.resolve(plan, map)), 2);
  EXPECT_EQ(shard(Call{"", {binary(two)}, {1016}}.resolve(plan, map)), 2);
  EXPECT_EQ(shard(Call{"", {binary(none)}, {}}.resolve(plan, map)), 0);
  expect_refused(Call{"", {binary(spread)}, {}}.resolve(plan, map), "2 shards");
  expect_refused(Call{"", {binary(two)}, {1007}}.resolve(plan, map), "public.orders");
  expect_refused(Call{"", {text("{2}")}, {1021}}.resolve(plan, map), "public.orders");  // float4[]
  EXPECT_EQ(shard(Call{"", {null_parameter()}, {}}.resolve(plan, map)), 0);
}

TEST(Resolve, EveryCutOfABinaryArrayIsMalformed) {
  const std::string whole = int8_array({2, 6});
  const Plan plan = keyed({parameter(0, KeyType::int8, KeySource::Kind::parameter_array)});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    expect_refused(Call{"", {{false, true, cut}}, {}}.resolve(plan, four_shards()), "public.orders");
  }
  expect_refused(Call{"", {binary(whole + "x")}, {}}.resolve(plan, four_shards()), "public.orders");
  std::string huge = whole;
  huge.replace(12, 4, "\x7f\xff\xff\xff");
  expect_refused(Call{"", {binary(huge)}, {}}.resolve(plan, four_shards()), "public.orders");
  std::string negative = whole;
  negative.replace(20, 4, "\xff\xff\xff\xfe");
  expect_refused(Call{"", {binary(negative)}, {}}.resolve(plan, four_shards()), "public.orders");
}

TEST(Resolve, ReadsTextArraysWithEscapes) {
  const BucketMap map = hashed();
  const Plan plan = keyed({parameter(0, KeyType::text, KeySource::Kind::parameter_array)});
  const auto of = [&](std::string_view value) { return Call{"", {text(value)}, {}}.resolve(plan, map); };
  EXPECT_EQ(shard(of("{\"a\\\"b\\\\c\"}")), map.shard_of(KeyValue(std::string("a\"b\\c"))));
  EXPECT_EQ(shard(of("{ab c }")), map.shard_of(KeyValue(std::string("ab c"))));
  EXPECT_EQ(shard(of("{\"\"}")), map.shard_of(KeyValue(std::string())));
  EXPECT_EQ(shard(of("{\"NULL\"}")), map.shard_of(KeyValue(std::string("NULL"))));
  for (const char* bad : {"{a,}", "{,a}", "{a, ,b}"}) expect_refused(of(bad), "public.orders", "$1");
  expect_refused(of("{NULL}"), "public.orders");  // array_nulls = off would make it a text
}

using Kind = KeyExpression::Kind;

std::shared_ptr<const KeyExpression> number(std::int64_t value, KeyType type) {
  KeyExpression made;
  made.type = type;
  made.leaf.kind = KeySource::Kind::fixed;
  made.leaf.type = type;
  made.leaf.value = KeyValue(value);
  return std::make_shared<const KeyExpression>(std::move(made));
}

std::string computed(Kind kind, KeyType type, std::int64_t a, std::int64_t b = 0) {
  KeyExpression made;
  made.kind = kind;
  made.type = type;
  made.left = number(a, type);
  if (kind != Kind::negate && kind != Kind::absolute && kind != Kind::cast) made.right = number(b, type);
  const KeyResult result = evaluate(made, [](const KeySource& leaf) { return KeyResult{KeyResult::State::value, leaf.value->integer()}; });
  return result.state == KeyResult::State::value ? std::to_string(result.value) : "unknown";
}

TEST(KeyExpression, OverflowsWhereTheServersTypeDoes) {
  constexpr std::int64_t kLeast8 = std::numeric_limits<std::int64_t>::min(), kMost8 = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(computed(Kind::add, KeyType::int4, 2147483647, 1), "unknown");
  EXPECT_EQ(computed(Kind::add, KeyType::int8, 2147483647, 1), "2147483648");
  EXPECT_EQ(computed(Kind::add, KeyType::int2, 32767, 1), "unknown");
  EXPECT_EQ(computed(Kind::multiply, KeyType::int8, kMost8, 2), "unknown");
  EXPECT_EQ(computed(Kind::subtract, KeyType::int8, kLeast8, 1), "unknown");
  EXPECT_EQ(computed(Kind::negate, KeyType::int8, kLeast8), "unknown");
  EXPECT_EQ(computed(Kind::absolute, KeyType::int4, -2147483648LL), "unknown");
  EXPECT_EQ(computed(Kind::divide, KeyType::int8, kLeast8, -1), "unknown");
  EXPECT_EQ(computed(Kind::cast, KeyType::int2, 40000), "unknown");
}

TEST(KeyExpression, DividesTowardsZeroAndNeverByIt) {
  EXPECT_EQ(computed(Kind::divide, KeyType::int4, -7, 2), "-3");
  EXPECT_EQ(computed(Kind::modulo, KeyType::int4, -7, 2), "-1");
  EXPECT_EQ(computed(Kind::modulo, KeyType::int8, std::numeric_limits<std::int64_t>::min(), -1), "0");
  EXPECT_EQ(computed(Kind::divide, KeyType::int4, 1, 0), "unknown");
  EXPECT_EQ(computed(Kind::modulo, KeyType::int4, 1, 0), "unknown");
}

TEST(Resolve, NullsBindToAnyShard) {
  const BucketMap map = four_shards();
  EXPECT_EQ(shard(Call{"SELECT 6", {null_parameter()}, {}}.resolve(keyed({null(), literal(0), parameter(0)}), map)), 2);
  EXPECT_EQ(shard(Call{"", {null_parameter()}, {}}.resolve(keyed({null(), parameter(0)}), map)), 0);
}

TEST(Resolve, RefusesNullKeysOfNewRows) {
  const BucketMap map = four_shards();
  expect_refused(Call{"SELECT 6", {}, {}}.resolve(keyed({literal(0), null()}, true), map), "public.orders", "NULL");
  expect_refused(Call{"", {null_parameter()}, {}}.resolve(keyed({parameter(0)}, true), map), "public.orders", "NULL");
}

TEST(Resolve, RefusesKeysOnSeveralShards) {
  const BucketMap map = four_shards();
  expect_refused(Call{"SELECT 1, 2", {}, {}}.resolve(keyed({literal(0), literal(1)}), map), "2 shards",
                 "public.orders");
  EXPECT_EQ(shard(Call{"SELECT 1, 5", {}, {}}.resolve(keyed({literal(0), literal(1)}), map)), 1);
  Plan two_tables = keyed({literal(0)});
  two_tables.bindings.push_back({"public.works", {literal(1)}});
  expect_refused(Call{"SELECT 1, 2", {}, {}}.resolve(two_tables, map), "2 shards", "public.works");
  EXPECT_EQ(shard(Call{"SELECT 1, 1", {}, {}}.resolve(two_tables, map)), 1);
  const auto route = Call{"SELECT 1, 2", {}, {}}.resolve(two_tables, map);
  EXPECT_NE(route.error().hint.find("public.works"), std::string::npos);
}

TEST(Resolve, NamesTheBucketOnlyWhereThereIsOne) {
  const BucketMap map = four_shards();
  const auto one = Call{"SELECT 6, 14", {}, {}}.resolve(keyed({literal(0), literal(1)}), map);
  EXPECT_EQ(one->bucket, std::optional<std::uint32_t>(6));
  const auto two = Call{"SELECT 2, 6", {}, {}}.resolve(keyed({literal(0), literal(1)}), map);
  EXPECT_EQ(two->shard, 2);
  EXPECT_FALSE(two->bucket.has_value());
  EXPECT_FALSE(Call{}.resolve(keyed({null()}), map)->bucket.has_value());
}

TEST(Resolve, FixedValuesCount) {
  EXPECT_EQ(shard(Call{}.resolve(keyed({fixed(KeyValue(std::int64_t{7}))}), four_shards())), 3);
}

TEST(Resolve, RefusesTextThatAColumnMayCutOff) {
  const BucketMap map = hashed();
  KeySource source = literal(0, KeyType::varchar);
  source.max_length = 3;
  expect_refused(Call{"SELECT 'abc '", {}, {}}.resolve(keyed({source}, true), map), "public.orders");
  EXPECT_EQ(shard(Call{"SELECT 'ab '", {}, {}}.resolve(keyed({source}, true), map)),
            map.shard_of(KeyValue(std::string("ab "))));
}

TEST(Resolve, RefusesTextKeysInAnotherEncodingThanTheServers) {
  const BucketMap map = hashed();
  const Plan plan = keyed({parameter(0, KeyType::text)});
  const auto of = [&](std::string_view value, bool server_encoding) {
    const Parameter parameters[] = {text(value)};
    return resolve(plan, {"", {}, parameters, {}, server_encoding}, map);
  };
  expect_refused(of("\xe9", false), "public.orders", "client_encoding");
  EXPECT_EQ(shard(of("e", false)), map.shard_of(KeyValue(std::string("e"))));
  EXPECT_EQ(shard(of("\xe9", true)), map.shard_of(KeyValue(std::string("\xe9"))));
}

TEST(Resolve, OtherTargetsNeedNoKey) {
  const BucketMap map = four_shards();
  Plan plan;
  for (const Target target : {Target::transaction, Target::home, Target::no_table}) {
    plan.target = target;
    EXPECT_EQ(shard(Call{}.resolve(plan, map)), 0);
    EXPECT_FALSE(Call{}.resolve(plan, map)->any_shard);
  }
  plan.target = Target::any;
  EXPECT_TRUE(Call{}.resolve(plan, map)->any_shard);
  plan.target = Target::refused;
  plan.refusal = Error(sqlstate::kFeatureNotSupported, "no MERGE yet", "write two statements");
  expect_refused(Call{}.resolve(plan, map), "no MERGE yet");
}

TEST(Resolve, RefusesAPlanMadeForAnotherText) {
  const auto route = Call{"SELECT 1", {}, {}}.resolve(keyed({literal(1)}), four_shards());
  ASSERT_FALSE(route.ok());
  EXPECT_EQ(route.error().code, sqlstate::kInternal);
}

}  // namespace
}  // namespace weir::router
