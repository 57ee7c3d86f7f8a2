// ConnectionEvents: what became of a backend's server connections, counted for the metrics. Rare events; any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::pool {

enum class CloseReason : std::uint8_t {
  idle_timeout,      // pool.idle_timeout
  lifetime,          // pool.lifetime
  renewed,           // RECONNECT, or another bucket map
  retired,           // a reload took its pool away
  making_room,       // another pool of the same server starves
  closed_by_server,  // while it was idle
  lost,              // while a client used it
  unclean,           // what a client left behind could not be undone
  surplus,           // of the reserve, or of before a reload made the pool smaller
};
inline constexpr std::array<std::string_view, 9> kCloseReasons = {"idle_timeout", "lifetime",         "renewed", "retired",
                                                                  "making_room",  "closed_by_server", "lost",    "unclean",
                                                                  "surplus"};

struct ConnectionEvents {
  std::atomic<std::uint64_t> logins{0}, login_failures{0};
  std::array<std::atomic<std::uint64_t>, kCloseReasons.size()> closed{};
  void count_closed(CloseReason why) { closed[static_cast<std::size_t>(why)].fetch_add(1, std::memory_order_relaxed); }
};

}  // namespace weir::pool
