// Budget: a bound on server connections that several pools share: a PostgreSQL server's (max_per_backend), a database's or a user's
// (max_server_connections). And the line of pools that were refused: who has waited longest is served first.
//
// Monitor, recovery and cancel connections are outside of it (a small reserve that `weir check` counts).
//
// During a hand-over two processes share a server's bound: each may use what it has not lent to the other (proxy/handover.hpp).
//
// Any thread. Its lock is taken when a connection is opened or closed, never for a statement. Lock order: a pool's, then this one.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/deadline.hpp"

namespace weir::pool {

class Pool;

class Budget {
 public:
  static constexpr unsigned kNoBound = std::numeric_limits<unsigned>::max();

  // `name` is for messages: "the server (max_per_backend)".
  explicit Budget(unsigned bound, std::string name = "the server (max_per_backend)") : name_(std::move(name)), bound_(bound) {}

  // Takes one connection for `who`, whose oldest client waits since `since` (max: nobody waits). False: the bound is used up, or a pool
  // whose client came earlier stands in line for what is free.
  [[nodiscard]] bool take(const Pool* who = nullptr, TimePoint since = TimePoint::max());
  // What was taken is kept: it counts in high_water(). (Another bound may refuse after this one gave.)
  void keep();
  void give_back();

  // `who` was refused: it stands in line by its oldest client's arrival. Called again when that changes.
  void starve(const std::shared_ptr<Pool>& who, TimePoint since);
  void sated(const Pool* who);
  [[nodiscard]] bool starving() const { return starving_.load(std::memory_order_relaxed); }
  // Since when the first in line waits; max: nobody does.
  [[nodiscard]] TimePoint starving_since() const { return TimePoint(Duration(since_.load(std::memory_order_relaxed))); }
  // The first in line; nullptr: nobody.
  [[nodiscard]] std::shared_ptr<Pool> hungriest() const;

  void set_bound(unsigned bound);
  // Of this process: less what is lent.
  [[nodiscard]] unsigned bound() const;
  [[nodiscard]] unsigned used() const;
  [[nodiscard]] unsigned high_water() const;
  [[nodiscard]] bool is_used_up() const;
  // More is used than the bound allows since it was lowered: whoever is released is to be closed.
  [[nodiscard]] bool exceeded() const { return exceeded_.load(std::memory_order_relaxed); }
  [[nodiscard]] const std::string& name() const { return name_; }

  // --- sharing with another process ---
  [[nodiscard]] unsigned whole_bound() const;
  // Connections that the other process holds, or gave up.
  void change_lent(int change);
  [[nodiscard]] unsigned free() const;
  // Lends up to `most` free ones; how many it were.
  [[nodiscard]] unsigned lend(unsigned most);
  // The next `count` that are given back are lent at once, before anybody here can take them; the last call counts.
  void promise(unsigned count);
  // Somebody waits for what was promised: close a server rather than keep it.
  [[nodiscard]] bool promised() const { return promised_.load(std::memory_order_relaxed) > 0; }
  // How many were lent by promise since the last call.
  [[nodiscard]] unsigned collect_promised();

 private:
  struct InLine {
    const Pool* pool;
    std::weak_ptr<Pool> held;
    TimePoint since;
  };
  // With the lock held.
  [[nodiscard]] unsigned limit() const { return bound_ > lent_ ? bound_ - lent_ : 0; }
  [[nodiscard]] const InLine* first() const;
  void note_first();
  void note_use() { exceeded_.store(used_ > limit(), std::memory_order_relaxed); }

  const std::string name_;
  mutable std::mutex mutex_;
  unsigned bound_;
  unsigned lent_ = 0;
  unsigned used_ = 0;
  unsigned high_water_ = 0;
  unsigned collected_ = 0;
  std::vector<InLine> line_;   // unordered: there are few
  std::atomic<unsigned> promised_{0};
  std::atomic<bool> exceeded_{false};
  std::atomic<bool> starving_{false};
  std::atomic<Duration::rep> since_{TimePoint::max().time_since_epoch().count()};
};

}  // namespace weir::pool
