// ServerWaits: who holds servers and waits for another. Several such clients may wait for each other for ever, where pools are small: then the
// one whose transaction is the youngest gives way.
//
// Any thread. Asked only by who has waited for a while (kPatience).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/deadline.hpp"
#include "pool/pool.hpp"

namespace weir::proxy {

class ServerWaits {
 public:
  // So long it waits before it asks, and between two times.
  static constexpr Duration kPatience = std::chrono::milliseconds(100);

  struct Wait {
    TimePoint began{};                        // the transaction, or the statement
    std::vector<const pool::Pool*> holds;     // one entry a server
    std::shared_ptr<pool::Pool> wanted;
  };
  void begin(std::uint64_t client, Wait wait);
  void end(std::uint64_t client);
  // Do all servers of the pool that it waits for belong to clients which wait, in the end, for each other, and is it the youngest of these?
  [[nodiscard]] bool must_give_way(std::uint64_t client) const;

 private:
  // With the lock held: those that none but one of them could help on.
  [[nodiscard]] std::set<std::uint64_t> blocked() const;

  mutable std::mutex mutex_;
  std::map<std::uint64_t, Wait> waits_;
};

}  // namespace weir::proxy
