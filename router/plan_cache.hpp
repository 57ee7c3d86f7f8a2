// PlanCache: plans by lifted token stream and context, bounded in bytes.
//
// A hash finds an entry, the whole key decides. What was not asked for lately goes first (CLOCK: a hit costs one
// store). Not thread-safe: one for each Router.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.hpp"
#include "router/plan.hpp"

namespace weir::router {

struct CacheCounters {
  std::uint64_t hits = 0, misses = 0, evictions = 0;
  std::size_t entries = 0, bytes = 0;
};

class PlanCache {
 public:
  // `max_bytes` bounds keys, plans and the cache's own records, as far as they can be counted. 0: keeps nothing.
  explicit PlanCache(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  // The plan of `key`, or nullptr. `hash` must be the same function of the key as in insert(). Does not allocate.
  [[nodiscard]] PlanRef find(std::uint64_t hash, ByteView key);

  // A plan that was found without asking here.
  void count_hit() { ++counters_.hits; }

  // Keeps a plan under a key that find() just missed, making room. One that would fill more than an eighth of the cache
  // is not kept.
  void insert(std::uint64_t hash, ByteView key, PlanRef plan);

  // Drops every entry; the counters of hits, misses and evictions go on.
  void clear();

  [[nodiscard]] const CacheCounters& counters() const { return counters_; }

 private:
  struct Entry {
    std::uint64_t hash = 0;
    std::vector<std::uint8_t> key;
    PlanRef plan;
    Entry* next = nullptr;  // in its bucket
    std::size_t bytes = 0;
    bool used = false;  // since the hand last passed
  };

  Entry*& bucket_of(std::uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  void make_room(std::size_t bytes);
  void evict_one();
  void unlink(const Entry& entry);
  void grow_buckets();

  std::size_t max_bytes_;
  std::vector<std::unique_ptr<Entry>> entries_;  // the clock's face
  std::size_t hand_ = 0;
  std::vector<Entry*> buckets_;  // a power of two of them, or none
  CacheCounters counters_;
};

// The memory a plan takes, roughly.
[[nodiscard]] std::size_t size_of(const Plan& plan) noexcept;

}  // namespace weir::router
