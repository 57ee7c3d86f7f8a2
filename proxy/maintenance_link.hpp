// MaintenanceLink: a connection of the proxy's own to one shard, as the maintenance user, outside of the pools' bounds: opened when needed and
// kept. Whoever needs one derives from it and adds its statements. Used by one thread; blocks.
#pragma once

#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "config/settings.hpp"
#include "pool/connector.hpp"

namespace weir::proxy {

class MaintenanceLink {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(6);      // one statement; the server gives up a second before
  static constexpr Duration kLoginPatience = std::chrono::seconds(2);
  static constexpr Duration kRetry = std::chrono::seconds(2);         // after a failed login

  virtual ~MaintenanceLink() = default;
  MaintenanceLink(const MaintenanceLink&) = delete;
  MaintenanceLink& operator=(const MaintenanceLink&) = delete;

  // Opens the connection unless it is there, and checks the shard's identity. False: it cannot be had; problem() says why, and was
  // logged when it changed.
  bool open(const config::Database& database, const config::Shard& shard, const pool::Backend& primary, const pool::LoginCheck& check);
  [[nodiscard]] bool is_open() const { return connection_ != nullptr; }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  void close() { connection_.reset(); }

 protected:
  using Rows = std::vector<pool::QueryRow>;
  // For the log: "<what> cannot be <done>".
  MaintenanceLink(std::string what, std::string done) : what_(std::move(what)), done_(std::move(done)) {}
  [[nodiscard]] Result<Rows> query(const std::string& sql);

 private:
  // The first statements on a new connection, whose writes are read committed and wait for at most 3 s for a lock.
  [[nodiscard]] virtual Result<void> prepare() = 0;
  [[nodiscard]] Result<void> log_in(const config::Database& database, const pool::Backend& primary, const pool::LoginCheck& check);

  const std::string what_, done_;
  pool::PgConn connection_;
  TimePoint next_attempt_{};
  std::string problem_;
};

// What the client of a server without the functions it needs is told.
[[nodiscard]] Error schema_is_old();

}  // namespace weir::proxy
