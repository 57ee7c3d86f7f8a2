// SplitCopy: what a CopySplitter makes of data that comes in pieces, gathered by shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.hpp"
#include "router/copy/copy_splitter.hpp"

namespace weir::router::copy::testing {

inline constexpr std::size_t kShards = 4;

// Four shards, one of four buckets each.
inline const schema::BucketMap& hash_map() {
  static const schema::BucketMap map = [] {
    config::Database database;
    database.sharding.emplace().buckets = kShards;
    for (std::uint32_t i = 0; i < kShards; ++i) {
      config::Shard shard;
      shard.buckets.push_back({i, i});
      database.shards.push_back(shard);
    }
    return std::move(*schema::BucketMap::from(database));
  }();
  return map;
}

struct SplitCopy {
  std::vector<std::string> shards{kShards};
  std::vector<std::uint64_t> lines;   // of the pieces
  std::string error, where;           // SQLSTATE and message; empty: it has not failed
  bool operator==(const SplitCopy&) const = default;

  // All of `bytes`, or as much as there is until it fails; what is left of them.
  ByteView give(CopySplitter& splitter, ByteView bytes) {
    CopySplitter::Piece piece;
    while (error.empty() && take(splitter, splitter.next(bytes, piece), piece)) {}
    return bytes;
  }
  void finish(CopySplitter& splitter) {
    CopySplitter::Piece piece;
    while (error.empty() && take(splitter, splitter.finish(piece), piece)) {}
  }

 private:
  bool take(const CopySplitter& splitter, CopySplitter::Got got, const CopySplitter::Piece& piece) {
    if (got == CopySplitter::Got::failed) {
      error = concat(splitter.error().code.view(), " ", splitter.error().message);
      where = splitter.where();
    }
    if (got != CopySplitter::Got::piece) return false;
    if (piece.lines > 0 || piece.to_all) lines.push_back(piece.line);
    for (std::size_t i = 0; i < kShards; ++i)
      if (piece.to_all || piece.shard == i) shards[i] += as_text(piece.bytes);
    return true;
  }
};

}  // namespace weir::router::copy::testing
