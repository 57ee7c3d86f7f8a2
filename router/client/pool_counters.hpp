// PoolCounters: how a pool of connections stands.
#pragma once

#include <string>

#include "policy/circuit_breaker.hpp"

namespace weir::client {

struct PoolCounters {
  std::string name;  // "app/s0/primary"
  unsigned size = 0, open = 0, idle = 0, waiting = 0;
  policy::CircuitBreaker::State circuit = policy::CircuitBreaker::State::closed;
  [[nodiscard]] unsigned in_use() const { return open - idle; }  // logins under way included
};

}  // namespace weir::client
