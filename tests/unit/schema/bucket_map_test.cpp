#include "schema/bucket_map.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::schema {
namespace {

using testing::HasSubstr;

config::Database database(std::uint32_t buckets, std::vector<std::vector<config::BucketRange>> ranges) {
  config::Database db;
  db.name = "app";
  db.sharding.emplace();
  db.sharding->buckets = buckets;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    config::Shard shard;
    shard.name = "s" + std::to_string(i);
    shard.buckets = ranges[i];
    db.shards.push_back(std::move(shard));
  }
  return db;
}

std::string failure(const config::Database& db) {
  const auto map = BucketMap::from(db);
  return map ? "" : map.error().message;
}

TEST(BucketMap, APlainDatabaseHasOneBucketOnOneShard) {
  config::Database plain;
  plain.shards.emplace_back();
  const auto map = BucketMap::from(plain);
  ASSERT_TRUE(map);
  EXPECT_EQ(map->buckets(), 1U);
  EXPECT_EQ(map->shards(), 1U);
  EXPECT_EQ(map->shard_of(KeyValue(std::int64_t{42})), kHomeShard);
  EXPECT_EQ(map->shard_of(KeyValue(std::string("x"))), kHomeShard);
}

TEST(BucketMap, SaysWhichShardHoldsABucket) {
  config::Database db = database(8, {{{0, 1}, {6, 6}}, {{2, 5}, {7, 7}}});
  db.sharding->map_version = 5;
  const auto map = BucketMap::from(db);
  ASSERT_TRUE(map);
  const std::vector<ShardId> expected{0, 0, 1, 1, 1, 1, 0, 1};
  for (std::uint32_t b = 0; b < 8; ++b) EXPECT_EQ(map->shard_of_bucket(b), expected[b]) << b;
  EXPECT_EQ(map->shards(), 2U);
  EXPECT_EQ(map->version(), 5U);
}

TEST(BucketMap, FindsTheShardOfAKeyByItsBucket) {
  config::Database db = database(10, {{{0, 4}}, {{5, 9}}});
  db.sharding->function = config::HashFunction::modulo;
  const auto map = BucketMap::from(db);
  ASSERT_TRUE(map);
  EXPECT_EQ(map->function(), config::HashFunction::modulo);
  EXPECT_EQ(map->bucket(KeyValue(std::int64_t{47})), 7U);
  EXPECT_EQ(map->shard_of(KeyValue(std::int64_t{47})), 1U);
  EXPECT_EQ(map->shard_of(KeyValue(std::int64_t{-7})), 0U);
}

TEST(BucketMap, RefusesABucketHeldTwice) {
  EXPECT_THAT(failure(database(8, {{{0, 4}}, {{4, 7}}})),
              testing::AllOf(HasSubstr("bucket 4"), HasSubstr("s0"), HasSubstr("s1")));
}

TEST(BucketMap, RefusesABucketHeldByNobody) {
  EXPECT_THAT(failure(database(8, {{{0, 3}}, {{5, 7}}})), HasSubstr("bucket 4 is held by no shard"));
}

TEST(BucketMap, RefusesBucketsThatDoNotExist) {
  EXPECT_THAT(failure(database(8, {{{0, 8}}})), testing::AllOf(HasSubstr("bucket 8"), HasSubstr("s0")));
  EXPECT_THAT(failure(database(8, {{{0, 4294967295U}}})), HasSubstr("bucket 8"));
}

TEST(BucketMap, RefusesANumberOfBucketsThatHashCannotUse) {
  EXPECT_THAT(failure(database(10, {{{0, 9}}})), HasSubstr("power of two"));
  EXPECT_THAT(failure(database(0, {{}})), HasSubstr("0"));
  EXPECT_NE(failure(database(8, {})), "");
}

}  // namespace
}  // namespace weir::schema
