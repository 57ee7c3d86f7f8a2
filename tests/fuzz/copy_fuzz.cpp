// COPY data: cut anywhere, it is split the same; and every byte that is not left out on purpose goes to a shard, in order.
#include <algorithm>
#include <string>
#include <vector>

#include "router/copy/copy_splitter.hpp"
#include "tests/fuzz/check.hpp"

namespace {

using namespace weir;
using namespace weir::router::copy;

struct Outcome {
  std::string pieces;      // as they came
  std::string shards;      // whose they are, a byte for each byte
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome split(const CopyPlan& plan, const schema::BucketMap& map, ByteView data, std::size_t size) {
  CopySplitter splitter({&plan, &map, true, 1 << 16});
  Outcome out;
  CopySplitter::Piece piece;
  const auto take = [&](CopySplitter::Got got) {
    if (got == CopySplitter::Got::failed) out.error = splitter.error().message + splitter.where();
    if (got != CopySplitter::Got::piece) return false;
    out.pieces += as_text(piece.bytes);
    out.shards.append(piece.bytes.size(), piece.to_all ? '*' : static_cast<char>('0' + piece.shard));
    return true;
  };
  while (!data.empty() && out.error.empty()) {
    const std::vector<std::uint8_t> cut(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(std::min(size, data.size())));
    ByteView left(cut);
    data = data.subspan(cut.size());
    while (take(splitter.next(left, piece))) {}
    WEIR_FUZZ_CHECK(left.empty() || !out.error.empty());
  }
  if (out.error.empty())
    while (take(splitter.finish(piece))) {}
  return out;
}

const schema::BucketMap& four_shards() {
  static const schema::BucketMap map = [] {
    config::Database database;
    database.sharding.emplace().buckets = 4;
    for (std::uint32_t i = 0; i < 4; ++i) {
      config::Shard shard;
      shard.buckets.push_back({i, i});
      database.shards.push_back(shard);
    }
    return std::move(*schema::BucketMap::from(database));
  }();
  return map;
}

}  // namespace

// The first bytes choose the options.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 5) return 0;
  CopyPlan plan;
  plan.options.format = data[0] % 3 == 0 ? Format::text : data[0] % 3 == 1 ? Format::csv : Format::binary;
  plan.options.header = data[0] & 0x40;
  plan.not_null = data[0] & 0x80;
  plan.position = data[1] % 3;
  plan.columns = 3;
  plan.type = static_cast<schema::KeyType>(data[1] / 3 % 6);
  plan.options.delimiter = "\t,|A"[data[2] % 4];
  plan.options.quote = "\"'\\~"[data[3] % 4];
  plan.options.escape = "\"'\\~"[data[3] / 4 % 4];
  const ByteView rest(data + 5, size - 5);
  const Outcome whole = split(plan, four_shards(), rest, rest.size() + 1);
  WEIR_FUZZ_CHECK(as_text(rest).starts_with(whole.pieces));
  for (const std::size_t cut : {std::size_t{1}, std::size_t{1} + data[4] % 16}) WEIR_FUZZ_CHECK(split(plan, four_shards(), rest, cut) == whole);
  return 0;
}
