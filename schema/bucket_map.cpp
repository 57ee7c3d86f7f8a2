#include "schema/bucket_map.hpp"

#include <bit>
#include <limits>
#include <string>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

constexpr ShardId kNobody = std::numeric_limits<ShardId>::max();

Error broken(const config::Database& database, std::string message, std::string hint) {
  return Error(sqlstate::kConfigFile, concat("database ", database.name, ": ", message), std::move(hint));
}

std::string bucket_text(std::uint32_t bucket) { return concat("bucket ", std::to_string(bucket)); }

Result<void> check_function(const config::Database& database, const config::Sharding& sharding) {
  if (sharding.buckets == 0) return broken(database, "sharding.buckets is 0", "Give at least one bucket.");
  if (sharding.function == config::HashFunction::hash && !std::has_single_bit(sharding.buckets)) {
    return broken(database, concat("sharding.buckets is ", std::to_string(sharding.buckets), ", no power of two"),
                  "function = \"hash\" needs a power of two, e.g. 4096.");
  }
  if (database.shards.empty() || database.shards.size() >= kNobody) {
    return broken(database, concat("it has ", std::to_string(database.shards.size()), " shards"),
                  "List from 1 to 65534 of [[database.shard]].");
  }
  return {};
}

Result<void> give(const config::Database& database, ShardId shard, std::vector<ShardId>& shard_of) {
  const std::string& name = database.shards[shard].name;
  for (const config::BucketRange& range : database.shards[shard].buckets) {
    for (std::uint32_t b = range.first; b <= range.last; ++b) {
      if (b >= shard_of.size()) {
        return broken(
            database,
            concat("shard ", name, " lists ", bucket_text(b), ", but there are ", std::to_string(shard_of.size())),
            "Buckets are numbered from 0 to sharding.buckets - 1.");
      }
      if (shard_of[b] != kNobody) {
        return broken(
            database,
            concat(bucket_text(b), " is held by shard ", database.shards[shard_of[b]].name, " and by shard ", name),
            "Give every bucket to exactly one shard.");
      }
      shard_of[b] = shard;
    }
  }
  return {};
}

}  // namespace

BucketMap::BucketMap() : shard_of_{kHomeShard} {}

Result<BucketMap> BucketMap::from(const config::Database& database) {
  BucketMap map;
  if (!database.sharding) return map;
  const config::Sharding& sharding = *database.sharding;
  if (auto ok = check_function(database, sharding); !ok) return ok.take_error();
  map.shard_of_.assign(sharding.buckets, kNobody);
  for (std::size_t i = 0; i < database.shards.size(); ++i) {
    if (auto ok = give(database, static_cast<ShardId>(i), map.shard_of_); !ok) return ok.take_error();
  }
  for (std::uint32_t b = 0; b < sharding.buckets; ++b) {
    if (map.shard_of_[b] == kNobody) {
      return broken(database, concat(bucket_text(b), " is held by no shard"),
                    "Add it to the buckets of one [[database.shard]].");
    }
  }
  map.shards_ = database.shards.size();
  map.function_ = sharding.function;
  map.version_ = sharding.map_version;
  return map;
}

}  // namespace weir::schema
