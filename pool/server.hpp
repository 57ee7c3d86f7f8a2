// Server: one logged-in server connection. Lives in its pool; used by one session at a time, on that session's thread.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/deadline.hpp"
#include "net/socket.hpp"
#include "pool/connector.hpp"

namespace weir::pool {

class Pool;

// Which prepared statements a server connection has, least recently used first. The names on the server are
// server_statement_name(id). Not thread-safe.
class PreparedOnServer {
 public:
  // True if `id` is there (and now the most recently used).
  bool touch(std::uint64_t id);
  void add(std::uint64_t id);
  void remove(std::uint64_t id);
  void clear();
  // The one to close before another is added, when `limit` is reached; 0: none.
  [[nodiscard]] std::uint64_t to_evict(std::size_t limit) const;
  [[nodiscard]] std::size_t size() const { return where_.size(); }

 private:
  std::list<std::uint64_t> order_;
  std::unordered_map<std::uint64_t, std::list<std::uint64_t>::iterator> where_;
};

struct Server {
  ~Server();

  std::uint64_t id = 0;                   // unique in the process; the tag of its idle events
  Pool* pool = nullptr;
  PgConn conn;                            // owns the descriptor (and TLS); outlives `socket`
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
  bool wrote_since_clean = false;         // sequences may hold another client's currval
};

}  // namespace weir::pool
