// Recovery: finishes distributed transactions whose coordinator died, or lost touch, between PREPARE TRANSACTION and COMMIT PREPARED.
//
// Every Weir does so at its start and every few seconds, for each sharded database; no state of its own is needed but what PostgreSQL
// keeps. Each prepared transaction with a gid of this installation is settled by the decision on its deciding shard: the one that stands,
// or, if there is none and it is older than in_doubt_after, an abort written there first. Several at once are harmless: a decision is
// written once, and whoever comes second finds the transaction gone (42704). What cannot be settled now, because a shard is
// away, is tried again; what is not of this installation is left alone and told.
//
// It acts on maintenance connections of its own, one a shard, outside of the pools' bounds, with the owner's rights (SET ROLE): the
// maintenance user must be a superuser, or the owner of schema weir and a member of the roles of the clients.
// https://www.postgresql.org/docs/15/view-pg-prepared-xacts.html
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/deadline.hpp"
#include "proxy/recovery_link.hpp"
#include "proxy/topology.hpp"
#include "router/in_doubt.hpp"

namespace weir::proxy {

// A prepared transaction that is not settled yet.
struct InDoubt {
  std::string database, shard, gid, owner;
  Duration age{};
  std::string state;      // what it waits for, or why it is left alone
  bool problem = false;   // somebody may have to do something
};

class Recovery {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(3);
  static constexpr Duration kBusyInterval = std::chrono::milliseconds(500);   // while there is something to finish
  static constexpr Duration kCleanInterval = std::chrono::minutes(1);

  explicit Recovery(std::function<TopologyRef()> topology);
  ~Recovery();   // waits for the statement under way, at most RecoveryLink::kPatience
  Recovery(const Recovery&) = delete;
  Recovery& operator=(const Recovery&) = delete;

  // A coordinator has left something to finish (TwoPhase::Outcome::recovery_needed). Any thread.
  void look_soon();

  struct Counts {
    std::uint64_t committed = 0, rolled_back = 0;
  };
  struct Seen {
    std::vector<InDoubt> transactions;
    std::map<std::string, Counts> finished;   // by database, by this process
  };
  // Any thread.
  [[nodiscard]] Seen seen() const;
  // False: max_prepared_transactions is known to be 0 on that shard, so that it cannot be the second one a transaction writes to. Any thread.
  [[nodiscard]] bool can_prepare(const std::string& database, const std::string& shard) const;
  // The database's uuid of weir.identity, for TwoPhaseSettings; "" until a shard has told it. Any thread.
  [[nodiscard]] std::string cluster(const std::string& database) const;

 private:
  using ShardName = std::pair<std::string, std::string>;   // database, shard
  struct Database {                                        // of one round
    const DatabaseState* state = nullptr;
    std::vector<RecoveryLink*> links;                      // by ShardId
    router::InDoubtRules rules;
  };

  void run();
  void look_at_all(const TopologyRef& topology);
  void look_at(Database& database, std::vector<InDoubt>& found);
  [[nodiscard]] bool list(Database& database, std::size_t shard, std::vector<InDoubt>& found, std::set<std::string>& held);
  void remember(const Database& database, std::size_t shard, std::vector<InDoubt>& found) const;
  void settle(Database& database, std::size_t shard, InDoubt& transaction);
  [[nodiscard]] Result<std::string> decision(RecoveryLink& decider, const router::InDoubtVerdict& verdict);
  void finish(RecoveryLink& link, const std::string& outcome, InDoubt& transaction);
  void publish(std::vector<InDoubt> found);
  void tell(const std::vector<InDoubt>& found);

  std::function<TopologyRef()> topology_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_{false};
  bool soon_ = false;
  Seen seen_;
  std::set<ShardName> unable_;                    // max_prepared_transactions = 0
  std::map<std::string, std::string> clusters_;   // by database

  // The thread's own.
  std::map<ShardName, RecoveryLink> links_;
  std::uint64_t settings_version_ = 0;            // that the links were made for
  TimePoint clean_at_{};
  bool cleaning_ = false;
  std::set<std::string> told_;
  std::thread thread_;
};

}  // namespace weir::proxy
