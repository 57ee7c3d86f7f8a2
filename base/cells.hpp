// Cells: counters that one thread writes and any thread reads. Relaxed atomics without read-modify-write: an add costs a load and a store.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/deadline.hpp"

namespace weir {

class Counter {
 public:
  void add(std::uint64_t n = 1) { v_.store(v_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return v_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> v_{0};
};

// Durations by buckets from 100 microseconds to a minute, fine enough for p50, p95 and p99 of anything a database does.
class LatencyHistogram {
 public:
  // Upper bounds (inclusive), in microseconds; one more bucket holds what is longer.
  static constexpr std::array<std::uint32_t, 21> kBounds = {100,     200,     300,     500,       1'000,     2'000,     3'000,
                                                            5'000,   10'000,  20'000,  50'000,    100'000,   200'000,   500'000,
                                                            1'000'000, 2'000'000, 5'000'000, 10'000'000, 20'000'000, 30'000'000, 60'000'000};

  // A clock that went back counts as no time.
  void observe(Duration took) {
    const std::int64_t ns = std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
    const std::uint64_t n = ns > 0 ? static_cast<std::uint64_t>(ns) : 0;
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && n > std::uint64_t{kBounds[bucket]} * 1000) ++bucket;
    counts_[bucket].add();
    nanoseconds_.add(n);
  }

  // The sum of several writers' histograms, as a scrape reads them.
  struct Snapshot {
    std::array<std::uint64_t, kBounds.size() + 1> counts{};
    std::uint64_t nanoseconds = 0;
    [[nodiscard]] std::uint64_t total() const {
      std::uint64_t sum = 0;
      for (const std::uint64_t c : counts) sum += c;
      return sum;
    }
  };
  void add_to(Snapshot& sum) const {
    for (std::size_t i = 0; i < counts_.size(); ++i) sum.counts[i] += counts_[i].get();
    sum.nanoseconds += nanoseconds_.get();
  }

 private:
  std::array<Counter, kBounds.size() + 1> counts_{};
  Counter nanoseconds_;
};

}  // namespace weir
