// LineMap: which of the client's lines a line is that one shard counts, for the CONTEXT of its errors. Remembers the latest lines only, in
// bounded memory (about a byte or two a row).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::router::copy {

class LineMap {
 public:
  static constexpr std::size_t kRowsOfChunk = 4096;
  static constexpr std::size_t kChunks = 128;   // half a million rows: more than lies between the proxy and what a server has read

  // The shard got a row of `lines` lines, whose last one is the client's line `line`.
  void add(std::uint64_t lines, std::uint64_t line);
  // The client's line; none: it is not remembered, or lies within a row.
  [[nodiscard]] std::optional<std::uint64_t> find(std::uint64_t shard_line) const;
  [[nodiscard]] bool empty() const { return shard_line_ == 0; }

 private:
  struct Chunk {
    std::uint64_t shard_line = 0, line = 0;   // before its first row
    std::size_t rows = 0;
    std::vector<std::uint8_t> steps;          // of each row: lines, and how far from the client's line before, as varints
  };
  std::deque<Chunk> chunks_;
  std::uint64_t shard_line_ = 0, line_ = 0;   // of the last row
};

// A server's CONTEXT with the client's line in place of its own: in "COPY orders, line 3, column total", whatever "line" is in its language.
// Where that line is not known: whose lines it counts, by `shard`.
[[nodiscard]] std::string with_client_line(std::string_view context, std::string_view relation, const LineMap& lines, std::string_view shard);

}  // namespace weir::router::copy
