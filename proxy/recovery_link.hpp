// RecoveryLink: recovery's maintenance connection to one shard, and the statements it runs there.
#pragma once

#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "proxy/maintenance_link.hpp"

namespace weir::proxy {

class RecoveryLink : public MaintenanceLink {
 public:
  static constexpr std::size_t kForgetAtOnce = 10000;

  RecoveryLink() : MaintenanceLink("prepared transactions", "looked at") {}
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
  [[nodiscard]] Result<void> prepare() override;

  std::string cluster_, user_;
  bool can_prepare_ = true;
};

}  // namespace weir::proxy
