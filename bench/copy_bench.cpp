// What splitting COPY data costs: rows of 40 bytes, given in pieces as they come from a socket.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <utility>

#include "router/copy/copy_splitter.hpp"

namespace weir::router::copy {
namespace {

constexpr std::size_t kRows = 100'000, kReceived = 32 << 10;

const schema::BucketMap& four_shards() {
  static const schema::BucketMap map = [] {
    config::Database database;
    database.sharding.emplace();
    for (std::uint32_t i = 0; i < 4; ++i) {
      config::Shard shard;
      shard.buckets.push_back({i * 1024, i * 1024 + 1023});
      database.shards.push_back(shard);
    }
    return std::move(*schema::BucketMap::from(database));
  }();
  return map;
}

std::string number(std::uint64_t v, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(v >> (8 * i));
  return out;
}

std::string row(Format format, std::uint64_t key) {
  const std::string word = "product number " + std::to_string(key);
  if (format == Format::binary) return number(2, 2) + number(8, 4) + number(key, 8) + number(word.size(), 4) + word;
  return std::to_string(key) + (format == Format::csv ? ",\"" + word + "\"\n" : "\t" + word + "\n");
}

void split(benchmark::State& state) {
  CopyPlan plan;
  plan.options.format = static_cast<Format>(state.range(0));
  plan.options.delimiter = plan.options.format == Format::csv ? ',' : '\t';
  plan.columns = 2;
  std::string data = plan.options.format == Format::binary ? std::string("PGCOPY\n\377\r\n\0\0\0\0\0", 15) + number(0, 4) : std::string();
  for (std::size_t i = 0; i < kRows; ++i) data += row(plan.options.format, i * 7919);
  for (auto _ : state) {
    CopySplitter splitter({&plan, &four_shards()});
    CopySplitter::Piece piece;
    std::size_t bytes = 0;
    for (std::size_t at = 0; at < data.size(); at += kReceived) {
      ByteView received = as_bytes(std::string_view(data).substr(at, kReceived));
      while (splitter.next(received, piece) == CopySplitter::Got::piece) bytes += piece.bytes.size();
    }
    benchmark::DoNotOptimize(bytes);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kRows));
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * data.size()));
}
BENCHMARK(split)->ArgName("format")->Arg(static_cast<int>(Format::text))->Arg(static_cast<int>(Format::csv))->Arg(static_cast<int>(Format::binary));

}  // namespace
}  // namespace weir::router::copy
