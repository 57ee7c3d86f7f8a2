// BudgetShare: the bounds of all PostgreSQL servers (pool.max_per_backend) as this process and one other share them during a hand-over.
//
// What one process may use it takes off its own budget before it gives it to the other, and a connection's place is given only a round
// after the connection was closed, when PostgreSQL has seen that: so both together never exceed the bound. The process that drains gives
// all it does not use; the other one gives what its neighbour's clients wait for. Not thread-safe; one thread of Handover's calls it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/deadline.hpp"
#include "pool/pools.hpp"

namespace weir::proxy {

class BudgetShare {
 public:
  static constexpr Duration kRound = std::chrono::milliseconds(20);

  explicit BudgetShare(pool::Pools& pools) : pools_(pools) {}

  // "share <connections> <server>" lines: all that this process (with whom it shares already) may use.
  [[nodiscard]] static std::string whole(const pool::Pools& pools);
  // What the other process may use from the start, as its whole() told it.
  void hear_whole(std::string_view lines);
  // Once a round: lends, and returns the lines for the other process. `all`: everything that is free, asked for or not.
  [[nodiscard]] std::string round(bool all, TimePoint now);
  // What the other's round() said.
  void hear(std::string_view lines);
  // The other process is gone, and its connections with it.
  void end();

 private:
  struct Server {
    unsigned elsewhere = 0;       // what the other process may use
    bool known = false;           // and our own budget knows that
    unsigned free_before = 0;     // free for the whole of the last round
    unsigned closing = 0;         // promised and closed in the last round
    unsigned wanted = 0;          // how many clients wait for a connection there
    Duration wanted_since{};      // and the longest of them
    bool asked = false;           // whether we told that ours wait
  };
  // Clients here that wait for a connection beyond the bound.
  struct Waiting {
    unsigned clients = 0;
    Duration longest{};
  };
  [[nodiscard]] Waiting waiting_for(const pool::Budget& budget, TimePoint now) const;
  [[nodiscard]] unsigned lend(Server& server, pool::Budget& budget, bool all) const;
  void make_room(Server& server, pool::Budget& budget, unsigned given, const Waiting& ours) const;

  pool::Pools& pools_;
  std::map<std::string, Server> servers_;
};

}  // namespace weir::proxy
