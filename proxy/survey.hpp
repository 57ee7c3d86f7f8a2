// Survey: what only the workers know, asked of each on its own thread and waited for only so long: a worker that hangs is named, and
// the rest is told without it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "pool/backend.hpp"
#include "proxy/stats.hpp"

namespace weir::proxy {

class Proxy;

enum class ClientState : std::uint8_t { login, idle, active, idle_in_transaction, waiting, closing };
inline constexpr std::array<std::string_view, 6> kClientStates = {"login", "idle", "active", "idle_in_transaction", "waiting", "closing"};
using ClientCounts = std::array<std::uint64_t, kClientStates.size()>;

struct Survey {
  struct PlanCache {
    std::uint64_t hits = 0, misses = 0, evictions = 0, entries = 0, bytes = 0;
  };
  std::vector<unsigned> silent;                        // workers that did not answer in time
  std::map<std::string, ClientCounts> clients;         // by database; "": the console, and who has not named one yet
  std::map<BackendLabels, unsigned> pinned;            // servers kept for a client's session state
  std::map<std::string, PlanCache> plan_caches;        // by database
};

// Not to be called from a worker. `patience`: how long to wait for all of them.
[[nodiscard]] Survey survey(Proxy& proxy, Duration patience);
[[nodiscard]] BackendLabels labels_of(const pool::Backend& backend);

}  // namespace weir::proxy
