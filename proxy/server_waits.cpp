#include "proxy/server_waits.hpp"

#include <algorithm>
#include <utility>

namespace weir::proxy {

void ServerWaits::begin(std::uint64_t client, Wait wait) {
  std::lock_guard lock(mutex_);
  waits_[client] = std::move(wait);
}

void ServerWaits::end(std::uint64_t client) {
  std::lock_guard lock(mutex_);
  waits_.erase(client);
}

// Whoever waits for a pool that has a server to give, or one in the hands of somebody who does not wait, is not blocked; nor is who waits for
// what such a one holds.
std::set<std::uint64_t> ServerWaits::blocked() const {
  std::set<std::uint64_t> left;
  for (const auto& [client, wait] : waits_) left.insert(client);
  for (bool smaller = true; smaller;) {
    smaller = false;
    std::map<const pool::Pool*, unsigned> held;
    for (const std::uint64_t client : left)
      for (const pool::Pool* pool : waits_.at(client).holds) ++held[pool];
    for (auto client = left.begin(); client != left.end();) {
      const pool::Pool* pool = waits_.at(*client).wanted.get();
      const unsigned all = pool->all_in_use();
      const bool may_go_on = all == 0 || held[pool] < all;
      client = may_go_on ? left.erase(client) : std::next(client);
      smaller |= may_go_on;
    }
  }
  return left;
}

bool ServerWaits::must_give_way(std::uint64_t client) const {
  std::lock_guard lock(mutex_);
  const std::set<std::uint64_t> left = blocked();
  if (!left.contains(client)) return false;
  const auto age = [&](std::uint64_t who) { return std::pair(waits_.at(who).began, who); };
  return std::all_of(left.begin(), left.end(), [&](std::uint64_t other) { return age(other) <= age(client); });
}

}  // namespace weir::proxy
