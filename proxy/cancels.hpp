// Cancels: sends CancelRequests, to servers for what they run and to other proxies for their clients. They block, so on threads of their
// own: so many at once, the rest waits; each ends at pool.cancel_wait_timeout.
//
// Keys between proxies. A key of a proxy with listen.peer_id says whose it is in the upper bits of its process number, so that whichever
// proxy gets the request knows whom to pass it to. What was passed on once is not passed on again: its topmost bit says so.
#pragma once

#include <cstdint>
#include <functional>

#include "base/deadline.hpp"
#include "config/settings.hpp"
#include "pool/connector.hpp"
#include "pool/pool.hpp"
#include "wire/startup.hpp"

namespace weir::proxy {

namespace peer_key {
inline constexpr std::uint32_t kPassedOn = 1U << 31;
inline constexpr unsigned kIdBits = 8;   // config: peer_id is at most 255
inline constexpr unsigned kShift = 31 - kIdBits;
// `random` with the proxy's number in it; number 0: `random` but for the topmost bit. Never 0 unless both are.
[[nodiscard]] constexpr std::uint32_t number(unsigned peer_id, std::uint32_t random) {
  return peer_id == 0 ? random & ~kPassedOn : (peer_id << kShift) | (random & ((1U << kShift) - 1));
}
// Whose key it is, where every proxy has a number.
[[nodiscard]] constexpr unsigned id_of(std::uint32_t number) { return (number & ~kPassedOn) >> kShift; }
}  // namespace peer_key

class Cancels {
 public:
  static constexpr unsigned kAtOnce = 8;

  Cancels() : senders_(kAtOnce) {}

  // For what `server` runs now. `told` runs on a sender's thread, when the server has signalled its process, or it is known that none will
  // be (true); or when nobody knows (false): a cancel may still come, so that the connection must not serve another client.
  void send(const pool::Server& server, Duration patience, std::function<void(bool certain)> told);
  // The client of `key` is another proxy's.
  void pass_on(const config::Peer& peer, wire::CancelKey key, Duration patience);

 private:
  pool::Connector senders_;
};

}  // namespace weir::proxy
