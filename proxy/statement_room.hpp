// Room for a prepared statement on a server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "config/settings.hpp"
#include "pool/server.hpp"

namespace weir::proxy {

// Whom the server must be told to close before a statement of `bytes` is prepared on it: what is of no use any more, and what has no room within
// `limits`. From now on they count as closed.
[[nodiscard]] inline std::vector<std::uint64_t> make_room(pool::PreparedOnServer& prepared, const config::Pool& limits, std::size_t bytes) {
  std::vector<std::uint64_t> closed;
  while (const std::uint64_t spoilt = prepared.take_spoilt()) closed.push_back(spoilt);
  while (const std::uint64_t victim = prepared.to_evict({limits.max_prepared_statements, limits.max_prepared_bytes}, bytes)) {
    prepared.remove(victim);
    closed.push_back(victim);
  }
  return closed;
}

}  // namespace weir::proxy
