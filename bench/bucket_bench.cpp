// What a key's way to its shard costs: once for every routed statement.

#include <benchmark/benchmark.h>

#include <string>

#include "schema/bucket_map.hpp"

namespace weir::schema {
namespace {

config::Database four_shards() {
  config::Database db;
  db.sharding.emplace();
  for (std::uint32_t i = 0; i < 4; ++i) {
    config::Shard shard;
    shard.name = "s" + std::to_string(i);
    shard.buckets = {{i * 1024, i * 1024 + 1023}};
    db.shards.push_back(std::move(shard));
  }
  return db;
}

void BM_BucketOfInteger(benchmark::State& state) {
  std::int64_t key = 0;
  for (auto _ : state) benchmark::DoNotOptimize(bucket_of(KeyValue(++key), config::HashFunction::hash, 4096));
}
BENCHMARK(BM_BucketOfInteger);

void BM_BucketOfIntegerModulo(benchmark::State& state) {
  std::int64_t key = 0;
  for (auto _ : state) benchmark::DoNotOptimize(bucket_of(KeyValue(++key), config::HashFunction::modulo, 10));
}
BENCHMARK(BM_BucketOfIntegerModulo);

void BM_BucketOfText(benchmark::State& state) {
  const KeyValue key(std::string(static_cast<std::size_t>(state.range(0)), 'x'));
  for (auto _ : state) benchmark::DoNotOptimize(bucket_of(key, config::HashFunction::hash, 4096));
}
BENCHMARK(BM_BucketOfText)->Arg(8)->Arg(36)->Arg(1000);

void BM_BucketOfUuid(benchmark::State& state) {
  const KeyValue key(Uuid{1, 2, 3, 4});
  for (auto _ : state) benchmark::DoNotOptimize(bucket_of(key, config::HashFunction::hash, 4096));
}
BENCHMARK(BM_BucketOfUuid);

// From the literal's text to the shard.
void BM_ShardOfLiteral(benchmark::State& state) {
  const auto map = BucketMap::from(four_shards());
  for (auto _ : state) {
    const auto key = key_from_number(KeyType::int8, "123456789");
    benchmark::DoNotOptimize(map->shard_of(*key));
  }
}
BENCHMARK(BM_ShardOfLiteral);

// From a text parameter to the shard.
void BM_ShardOfTextParameter(benchmark::State& state) {
  const auto map = BucketMap::from(four_shards());
  for (auto _ : state) {
    const auto key = key_from_parameter(KeyType::int8, oid::kUnspecified, false, as_bytes("123456789"));
    benchmark::DoNotOptimize(map->shard_of(*key));
  }
}
BENCHMARK(BM_ShardOfTextParameter);

}  // namespace
}  // namespace weir::schema
