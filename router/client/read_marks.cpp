#include "router/client/read_marks.hpp"

#include <algorithm>

namespace weir::client {

void ReadMarks::raise(std::atomic<std::uint64_t>& sample) {
  const std::uint64_t wanted = sent_.load() + 1;
  std::uint64_t seen = sample.load();
  while (seen < wanted && !sample.compare_exchange_weak(seen, wanted)) {
  }
}

// The mark stands before the writer is gone, so a reader that sees no writer sees the mark.
void ReadMarks::write_ends(Bucket bucket) {
  Mark& mark = at(bucket);
  raise(mark.sample);
  --mark.writers;
}

std::optional<std::uint64_t> ReadMarks::required(Bucket bucket) const {
  const Mark& whole = marks_[buckets_];
  if (whole.writers.load() != 0) return std::nullopt;
  std::uint64_t sample = whole.sample.load();
  const std::uint32_t first = bucket.value_or(0);
  const std::uint32_t end = bucket ? first + 1 : buckets_;
  for (std::uint32_t b = first; b < end; ++b) {
    if (marks_[b].writers.load() != 0) return std::nullopt;
    sample = std::max(sample, marks_[b].sample.load());
  }
  return sample;
}

std::uint64_t reachable_position(std::uint64_t insert_lsn, std::uint64_t segment_bytes) noexcept {
  constexpr std::uint64_t kPage = 8192, kShortHeader = 24, kLongHeader = 40;
  if (segment_bytes != 0 && insert_lsn % segment_bytes == kLongHeader) return insert_lsn - kLongHeader;
  if (insert_lsn % kPage == kShortHeader) return insert_lsn - kShortHeader;
  return insert_lsn;
}

}  // namespace weir::client
