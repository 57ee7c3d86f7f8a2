// BucketMap: which shard holds which bucket. Immutable and versioned; shared between threads freely.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "config/settings.hpp"
#include "schema/bucket.hpp"

namespace weir::schema {

using ShardId = std::uint16_t;  // index into Database::shards; 0 is the home shard
inline constexpr ShardId kHomeShard = 0;

class BucketMap {
 public:
  // A plain database: one shard that holds everything, one bucket.
  BucketMap();

  // From a validated database; fails (naming shard and bucket) if buckets are missing or held twice.
  static Result<BucketMap> from(const config::Database& database);

  [[nodiscard]] ShardId shard_of_bucket(std::uint32_t bucket) const { return shard_of_[bucket]; }
  [[nodiscard]] ShardId shard_of(const KeyValue& key) const { return shard_of_[bucket_of(key, function_, buckets())]; }
  [[nodiscard]] std::uint32_t bucket(const KeyValue& key) const { return bucket_of(key, function_, buckets()); }
  [[nodiscard]] std::uint32_t buckets() const { return static_cast<std::uint32_t>(shard_of_.size()); }
  [[nodiscard]] std::size_t shards() const { return shards_; }
  [[nodiscard]] config::HashFunction function() const { return function_; }
  [[nodiscard]] std::uint64_t version() const { return version_; }

 private:
  std::vector<ShardId> shard_of_;
  std::size_t shards_ = 1;
  config::HashFunction function_ = config::HashFunction::hash;
  std::uint64_t version_ = 1;
};

}  // namespace weir::schema
