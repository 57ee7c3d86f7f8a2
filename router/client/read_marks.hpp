// ReadMarks: which buckets may be read from a replica, so that what was written is what is read (design §8).
//
// The shard's primary is asked for its position in numbered samples; a replica has reached sample n when it has
// replayed that position. A bucket is primary-only while a write lease on it is out; when the lease comes back, the
// bucket is marked with the number of the next sample to be sent, and a replica may serve it once it has reached a
// sample at least that new.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace weir::client {

// A bucket, or the whole shard.
using Bucket = std::optional<std::uint32_t>;

// Of one shard. Thread-safe, no lock; all operations are sequentially consistent.
class ReadMarks {
 public:
  explicit ReadMarks(std::uint32_t buckets) : buckets_(buckets), marks_(std::make_unique<Mark[]>(buckets + 1)) {}

  // The number of the sample about to be sent. Called before it is sent.
  std::uint64_t next_sample() { return ++sent_; }

  void write_begins(Bucket bucket) { ++at(bucket).writers; }
  void write_ends(Bucket bucket);

  // The sample a replica must have reached to serve `bucket` (none given: all of them); nullopt: primary only.
  [[nodiscard]] std::optional<std::uint64_t> required(Bucket bucket) const;

  // Everything counts as just written (another timeline).
  void mark_all() { raise(marks_[buckets_].sample); }

 private:
  struct Mark {
    std::atomic<std::uint32_t> writers{0};
    std::atomic<std::uint64_t> sample{1};  // at start every bucket counts as just written
  };
  Mark& at(Bucket bucket) { return marks_[bucket.value_or(buckets_)]; }
  void raise(std::atomic<std::uint64_t>& sample);

  std::uint32_t buckets_;
  std::unique_ptr<Mark[]> marks_;  // one a bucket, the last for the whole shard
  std::atomic<std::uint64_t> sent_{0};
};

// A write-ahead log position of an insert pointer, as a replica can reach it: a page header (24 bytes, 40 at the start
// of a segment) that nothing follows yet is not replayed. https://www.postgresql.org/docs/15/wal-internals.html
[[nodiscard]] std::uint64_t reachable_position(std::uint64_t insert_lsn, std::uint64_t segment_bytes) noexcept;

}  // namespace weir::client
