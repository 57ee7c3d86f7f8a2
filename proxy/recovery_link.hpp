// RecoveryLink: recovery's maintenance connection to one shard, opened when needed and kept, and the statements it runs there.
// Used by one thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "config/settings.hpp"
#include "pool/connector.hpp"
#include "proxy/topology.hpp"

namespace weir::proxy {

class RecoveryLink {
 public:
  static constexpr Duration kPatience = std::chrono::seconds(6);      // one statement; the server gives up a second before
  static constexpr Duration kLoginPatience = std::chrono::seconds(2);
  static constexpr Duration kRetry = std::chrono::seconds(2);         // after a failed login
  static constexpr std::size_t kForgetAtOnce = 10000;

  // Opens the connection unless it is there, and checks the shard's identity. False: it cannot be had; problem() says why, and was
  // logged when it changed.
  bool open(const config::Database& database, const config::Shard& shard, const pool::Backend& primary, const pool::LoginCheck& check);
  [[nodiscard]] bool is_open() const { return connection_ != nullptr; }
  [[nodiscard]] const std::string& problem() const { return problem_; }
  // Of weir.identity, once it was open.
  [[nodiscard]] const std::string& cluster() const { return cluster_; }
  [[nodiscard]] bool can_prepare() const { return can_prepare_; }
  [[nodiscard]] const std::string& user() const { return user_; }

  struct Prepared {
    std::string gid, owner;
    Duration age{};
  };
  // Those of Weir's in this shard's database.
  [[nodiscard]] Result<std::vector<Prepared>> prepared();
  // "commit", "abort", or "" where nothing is decided.
  [[nodiscard]] Result<std::string> decided(const std::string& decision);
  // Writes an abort unless something is decided; what stands.
  [[nodiscard]] Result<std::string> abort(const std::string& decision);
  // COMMIT PREPARED or ROLLBACK PREPARED with the owner's rights.
  [[nodiscard]] Result<void> finish(const std::string& gid, const std::string& owner, bool commit);

  // Commits decided long ago (10 minutes) whose participants are all among `shards`: to be forgotten if none of these holds them, which is
  // to be asked after this. At most kForgetAtOnce.
  [[nodiscard]] Result<std::vector<std::string>> old_commits(const std::vector<std::string>& shards);
  [[nodiscard]] Result<void> forget(const std::vector<std::string>& decisions);
  // Aborts of 24 hours ago; while the transaction that might still decide is running, they stay.
  [[nodiscard]] Result<void> forget_old_aborts();

 private:
  using Rows = std::vector<pool::QueryRow>;
  [[nodiscard]] Result<Rows> query(const std::string& sql);
  [[nodiscard]] Result<void> log_in(const config::Database& database, const pool::Backend& primary, const pool::LoginCheck& check);
  [[nodiscard]] Result<void> read_facts();

  pool::PgConn connection_;
  TimePoint next_attempt_{};
  std::string problem_;
  std::string cluster_, user_;
  bool can_prepare_ = true;
};

}  // namespace weir::proxy
