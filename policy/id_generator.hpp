// IdGenerator: 64-bit ids that no two generators ever give alike. Pure: it is told what time it is.
//
// An id is a positive bigint: 41 bits of milliseconds since 2024-01-01 00:00 UTC (to 2093), 10 bits of node, 12 bits of sequence. Ids of one
// generator grow strictly.
//
// What keeps two generators apart is the lease: the right to ids of one node with a time in [from, until). Whoever grants leases never grants
// a time of a node twice. So nothing depends on clocks being right, nor on a holder noticing that time has passed: a process that was stopped
// for longer than its lease can only give ids of its own range, or none.
//
// Time never goes back: where the clock does, or where more than 4,096 ids are wanted in a millisecond, ids take the following milliseconds
// in advance, up to kMaxAhead. Beyond that, and at the lease's end, there is no id.
//
// It stands in policy/ because it decides from values and a clock, and knows nothing of SQL, servers or threads' owners.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace weir::policy {

struct Id {
  static constexpr std::int64_t kEpoch = 1704067200000;   // 2024-01-01 UTC, in milliseconds of Unix time
  static constexpr int kNodeBits = 10, kSequenceBits = 12, kTimeBits = 41;
  static constexpr std::uint64_t kNodes = 1U << kNodeBits, kSequences = 1U << kSequenceBits;

  // time: milliseconds since kEpoch.
  [[nodiscard]] static constexpr std::uint64_t make(std::uint64_t time, std::uint64_t node, std::uint64_t sequence) {
    return (time << (kNodeBits + kSequenceBits)) | (node << kSequenceBits) | sequence;
  }
  [[nodiscard]] static constexpr std::uint64_t time(std::uint64_t id) { return id >> (kNodeBits + kSequenceBits); }
  [[nodiscard]] static constexpr std::uint64_t node(std::uint64_t id) { return (id >> kSequenceBits) % kNodes; }
  [[nodiscard]] static constexpr std::uint64_t sequence(std::uint64_t id) { return id % kSequences; }
};

struct IdLease {
  std::uint32_t node = 0;                // < Id::kNodes
  std::uint64_t from = 0, until = 0;     // milliseconds since Id::kEpoch; ids have a time in [from, until), until < 2^41
};

struct IdAnswer {
  enum class Why : std::uint8_t {
    given,
    no_lease,     // none was ever adopted, or it was revoked
    lease_over,   // the next id's time would not be the lease's
    clock,        // it would be more than kMaxAhead ahead of the clock
  };
  Why why = Why::given;
  std::int64_t id = 0;
};

// Any thread may call any of it; lock-free.
class IdGenerator {
 public:
  static constexpr std::chrono::milliseconds kMaxAhead = std::chrono::minutes(10);

  // `now`: milliseconds since Id::kEpoch.
  [[nodiscard]] IdAnswer next(std::uint64_t now);

  // Ids are of this lease from now on: a new one, or the same one for longer. (A thread in the middle of next() may still give one of the
  // lease before, which is as good.)
  void adopt(const IdLease& lease);
  void revoke() { lease_.store(0, std::memory_order_release); }
  // No id that was given has a later time. Certain only once nobody calls next() any more.
  [[nodiscard]] std::uint64_t last_time() const { return Id::time(last_.load()); }

 private:
  std::atomic<std::uint64_t> last_{0};    // the last id
  std::atomic<std::uint64_t> lease_{0};   // until and node in one word; 0: none
};

}  // namespace weir::policy
