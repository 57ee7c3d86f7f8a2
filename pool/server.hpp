// Server: one logged-in server connection. Lives in its pool; used by one session at a time, on that session's thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/deadline.hpp"
#include "net/socket.hpp"
#include "pool/native_login.hpp"
#include "wire/startup.hpp"

namespace weir::pool {

class Pool;

// Which prepared statements a server connection has, least recently used first, and how large their texts are. The names on the
// server are server_statement_name(id). Not thread-safe.
class PreparedOnServer {
 public:
  struct Limits {
    std::size_t count = 0;
    std::size_t bytes = 0;   // of texts; 0: no bound
  };
  // True if `id` is there (and now the most recently used).
  bool touch(std::uint64_t id);
  void add(std::uint64_t id, std::size_t bytes);
  // It is not there: its Parse failed, or it was closed.
  void remove(std::uint64_t id);
  // It may be there, and is of no use: it is to be closed at the next occasion.
  void spoil(std::uint64_t id);
  // One that spoil() left to be closed; 0: none. Once told, it counts as closed.
  [[nodiscard]] std::uint64_t take_spoilt();
  void clear();
  // The one to close before another of `bytes` is added within `limits`; 0: none. Never the one used last: what is added may name it.
  [[nodiscard]] std::uint64_t to_evict(const Limits& limits, std::size_t bytes) const;
  [[nodiscard]] std::size_t size() const { return where_.size(); }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::uint64_t id = 0;
    std::size_t bytes = 0;
  };
  std::list<Entry> order_;
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> where_;
  std::vector<std::uint64_t> spoilt_;
  std::size_t bytes_ = 0;
};

struct Server {
  ~Server();

  // The link's socket on `loop`, from its first use on.
  [[nodiscard]] Result<void> attach(net::Loop& loop);
  // Where to cancel what it runs; none: it cannot be.
  [[nodiscard]] std::optional<CancelTarget> cancel_target() const;

  std::uint64_t id = 0;                   // unique in the process; the tag of its idle events
  Pool* pool = nullptr;
  ServerLink link;                        // owns the descriptor (and TLS); outlives `socket`
  std::optional<wire::CancelKey> key;     // none: the server gave none, nothing on it can be cancelled
  std::unique_ptr<net::Socket> socket;    // null until first attached to a loop
  unsigned worker = 0;                    // whose loop it is on
  int backend_pid = 0;
  TimePoint created{};
  TimePoint last_used{};
  TimePoint expires{};                    // end of its lifetime (staggered)
  std::uint64_t generation = 0;           // of the pool when it logged in; older ones are closed when idle
  std::uint64_t client = 0;               // session that uses it, for SHOW SERVERS (pool's lock)

  // --- what sessions left on it; used by the session that holds it ---
  std::shared_ptr<const void> settings;   // the session settings applied (proxy::SettingsState); null: none
  PreparedOnServer prepared;
  std::uint64_t unnamed_statement = 0;    // which client's Parse of the unnamed statement it holds; 0: none known
  std::string text_order;                 // "provider/LC_COLLATE/version" of its database, once somebody has asked
  std::uint64_t sequences_of = 0;         // the only session that drew from sequences since they were discarded; 0: others did, too
};

}  // namespace weir::pool
