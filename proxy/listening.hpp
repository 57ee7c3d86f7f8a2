// Listening: what a session that has said LISTEN keeps: its channels, what it asked of the hub, and notifications until they may be sent.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "base/held.hpp"
#include "proxy/listen_hub.hpp"
#include "proxy/session_channels.hpp"

namespace weir::proxy {

struct Listening {
  static constexpr std::size_t kMaxChannels = 1000;      // of one client
  static constexpr std::size_t kMaxQueued = 16 << 20;    // bytes; the messages themselves are shared by all who wait for them

  Listening(ListenHub& at, ListenHub::Listener me, ListenLogin as) : hub(at), who(me), login(std::move(as)) {}
  ~Listening() { hub.forget(who, login); }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

  ListenHub& hub;
  const ListenHub::Listener who;
  const ListenLogin login;
  SessionChannels channels;
  std::map<std::string, std::uint64_t, std::less<>> tickets;   // of the subscriptions; 0: not live yet
  std::uint64_t last_ticket = 0, answered = 0;
  Held<Error> error;                                     // the answer to `answered`
  std::deque<Delivery> queue;                            // a transaction is open, or the client does not read
  std::size_t queued = 0;                                // bytes in it
};

}  // namespace weir::proxy
