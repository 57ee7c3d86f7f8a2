#include "router/copy/line_map.hpp"

#include <charconv>

#include "base/strings.hpp"

namespace weir::router::copy {

namespace {

void put(std::vector<std::uint8_t>& out, std::uint64_t v) {
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<std::uint8_t>(v | 0x80));
  out.push_back(static_cast<std::uint8_t>(v));
}

std::uint64_t get(const std::vector<std::uint8_t>& in, std::size_t& at) {
  std::uint64_t v = 0;
  for (unsigned shift = 0;; shift += 7) {
    const std::uint8_t b = in[at++];
    v |= std::uint64_t{b & 0x7fU} << shift;
    if (b < 0x80) return v;
  }
}

}  // namespace

void LineMap::add(std::uint64_t lines, std::uint64_t line) {
  if (chunks_.empty() || chunks_.back().rows == kRowsOfChunk) {
    if (chunks_.size() == kChunks) chunks_.pop_front();
    chunks_.push_back({shard_line_, line_, 0, {}});
  }
  Chunk& chunk = chunks_.back();
  ++chunk.rows;
  put(chunk.steps, lines);
  put(chunk.steps, line - line_);
  shard_line_ += lines;
  line_ = line;
}

std::optional<std::uint64_t> LineMap::find(std::uint64_t shard_line) const {
  for (auto chunk = chunks_.rbegin(); chunk != chunks_.rend(); ++chunk) {
    if (chunk->shard_line >= shard_line) continue;
    std::uint64_t at_shard = chunk->shard_line, at_client = chunk->line;
    for (std::size_t i = 0; i < chunk->steps.size() && at_shard < shard_line;) {
      at_shard += get(chunk->steps, i);
      at_client += get(chunk->steps, i);
    }
    return at_shard == shard_line ? std::optional(at_client) : std::nullopt;
  }
  return std::nullopt;
}

std::string with_client_line(std::string_view context, std::string_view relation, const LineMap& lines, std::string_view shard) {
  const std::string begins = concat("COPY ", relation, ", ");
  std::size_t at = context.rfind(begins);
  while (at != std::string_view::npos && at != 0 && context[at - 1] != '\n') at = at == 0 ? std::string_view::npos : context.rfind(begins, at - 1);
  if (at == std::string_view::npos) return std::string(context);
  const std::size_t first = context.find_first_of("0123456789", at + begins.size());
  const std::size_t stop = context.find_first_of(",:\n", at + begins.size());
  if (first == std::string_view::npos || (stop != std::string_view::npos && stop < first)) return std::string(context);
  std::uint64_t number = 0;
  const char* const past = std::from_chars(context.data() + first, context.data() + context.size(), number).ptr;
  const std::string_view rest(past, static_cast<std::size_t>(context.data() + context.size() - past));
  if (const auto line = lines.find(number)) return concat(context.substr(0, first), std::to_string(*line), rest);
  return concat(context.substr(0, first), std::to_string(number), " of the rows of shard ", shard, rest);
}

}  // namespace weir::router::copy
