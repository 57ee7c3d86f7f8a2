#include "schema/bucket.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <set>

namespace weir::schema {
namespace {

using config::HashFunction;

// Known answers of PostgreSQL 15; bucket_pgtest.cpp asks the server for thousands.
TEST(Bucket, HashesIntegersAsPostgresDoes) {
  EXPECT_EQ(static_cast<std::int64_t>(hash_int8_extended(0, 0)), 4154612158245552303);
  EXPECT_EQ(static_cast<std::int64_t>(hash_int8_extended(1, 0)), -3670598878359251130);
  EXPECT_EQ(static_cast<std::int64_t>(hash_int8_extended(-1, 0)), -1888257769727981238);
  EXPECT_EQ(static_cast<std::int64_t>(hash_int8_extended(std::numeric_limits<std::int64_t>::min(), 0)),
            -9109110466470504941);
  EXPECT_EQ(static_cast<std::int64_t>(hash_int8_extended(42, 7)), 3069212791777980624);
}

TEST(Bucket, HashesBytesAsPostgresDoes) {
  EXPECT_EQ(static_cast<std::int64_t>(hash_bytes_extended(as_bytes(""), 0)), -6939563903564495251);
  EXPECT_EQ(static_cast<std::int64_t>(hash_bytes_extended(as_bytes("alice"), 0)), -6283343261252860035);
  EXPECT_EQ(static_cast<std::int64_t>(hash_bytes_extended(as_bytes("twelve bytes and more"), 7)), -6289293955593631154);
}

TEST(Bucket, ReadsNothingBeyondTheKeyAndDoesNotCareForItsAlignment) {
  const std::string text = "The quick brown fox jumps over the lazy dog 0123456789";
  for (std::size_t n = 0; n <= text.size(); ++n) {
    std::set<std::uint64_t> hashes;
    for (std::size_t shift = 0; shift < 4; ++shift) {
      const auto exact = std::make_unique<std::uint8_t[]>(shift + n);
      std::copy_n(text.begin(), n, exact.get() + shift);
      hashes.insert(hash_bytes_extended({exact.get() + shift, n}, 0));
    }
    EXPECT_EQ(hashes.size(), 1U) << n;
  }
}

TEST(Bucket, ModuloIsNeverNegative) {
  for (std::int64_t key :
       {std::numeric_limits<std::int64_t>::min(), std::int64_t{-11}, std::int64_t{-10}, std::int64_t{-1},
        std::int64_t{0}, std::int64_t{9}, std::int64_t{10}, std::numeric_limits<std::int64_t>::max()}) {
    EXPECT_LT(bucket_of(KeyValue(key), HashFunction::modulo, 10), 10U) << key;
  }
  EXPECT_EQ(bucket_of(KeyValue(std::int64_t{-1}), HashFunction::modulo, 10), 9U);
  EXPECT_EQ(bucket_of(KeyValue(std::int64_t{-10}), HashFunction::modulo, 10), 0U);
  EXPECT_EQ(bucket_of(KeyValue(std::int64_t{42}), HashFunction::modulo, 10), 2U);
  EXPECT_EQ(bucket_of(KeyValue(std::numeric_limits<std::int64_t>::min()), HashFunction::modulo, 4294967295U),
            2147483647U);
}

TEST(Bucket, HashTakesTheLowBits) {
  const KeyValue key(std::int64_t{42});
  for (std::uint32_t buckets : {1U, 2U, 4096U, 1U << 31}) {
    EXPECT_EQ(bucket_of(key, HashFunction::hash, buckets), hash_int8_extended(42, 0) % buckets);
  }
}

TEST(Bucket, WritesTheSameExpressionInSql) {
  EXPECT_EQ(bucket_sql("user_id", KeyType::int8, HashFunction::hash, 4096), "(hashint8extended(user_id, 0) & 4095)");
  EXPECT_EQ(bucket_sql("user_id", KeyType::int2, HashFunction::hash, 4096), "(hashint8extended(user_id, 0) & 4095)");
  EXPECT_EQ(bucket_sql("\"Name\"", KeyType::varchar, HashFunction::hash, 16), "(hashtextextended(\"Name\", 0) & 15)");
  EXPECT_EQ(bucket_sql("u", KeyType::uuid, HashFunction::hash, 16), "(uuid_hash_extended(u, 0) & 15)");
  EXPECT_EQ(bucket_sql("user_id", KeyType::int4, HashFunction::modulo, 10), "((user_id::bigint % 10 + 10) % 10)");
}

}  // namespace
}  // namespace weir::schema
