#include "policy/id_generator.hpp"

#include <algorithm>

namespace weir::policy {
namespace {

constexpr std::uint64_t kLastSequence = Id::kSequences - 1;

// The smallest id of `node` behind `last`, not before `now`. Behind an id of another node it has a later time, so that ids grow.
std::uint64_t following(std::uint64_t last, std::uint64_t node, std::uint64_t now) {
  const std::uint64_t time = Id::time(last);
  if (now > time) return Id::make(now, node, 0);
  const bool room = Id::node(last) == node && Id::sequence(last) < kLastSequence;
  return room ? last + 1 : Id::make(time + 1, node, 0);
}

}  // namespace

IdAnswer IdGenerator::next(std::uint64_t now) {
  for (std::uint64_t last = last_.load(std::memory_order_relaxed);;) {
    const std::uint64_t lease = lease_.load(std::memory_order_acquire);
    if (lease == 0) return {IdAnswer::Why::no_lease, 0};
    const std::uint64_t id = following(last, lease % Id::kNodes, now);
    if (Id::time(id) >= lease / Id::kNodes) return {IdAnswer::Why::lease_over, 0};
    if (Id::time(id) > now + static_cast<std::uint64_t>(kMaxAhead.count())) return {IdAnswer::Why::clock, 0};
    if (last_.compare_exchange_weak(last, id)) return {IdAnswer::Why::given, static_cast<std::int64_t>(id)};
  }
}

// The last id is moved to the range's front before the lease can be seen: no thread may give an id of the new lease with an earlier time.
void IdGenerator::adopt(const IdLease& lease) {
  const std::uint64_t front = lease.from == 0 ? 0 : Id::make(lease.from - 1, Id::kNodes - 1, kLastSequence);
  std::uint64_t last = last_.load();
  while (last < front && !last_.compare_exchange_weak(last, front)) {
  }
  lease_.store(lease.until * Id::kNodes + lease.node, std::memory_order_release);
}

}  // namespace weir::policy
