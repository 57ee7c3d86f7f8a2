// IdLeases: sees to it that every database with a default_key has a node number of its home shard's, so that the ids of no two proxies are
// alike (schema/id_nodes.hpp says how). A lease is renewed long before it is over, and given back at the end.
//
// A thread of its own, with one maintenance connection a database; neither exists until some database needs it.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/deadline.hpp"
#include "proxy/id_source.hpp"
#include "proxy/maintenance_link.hpp"
#include "proxy/topology.hpp"

namespace weir::proxy {

class IdLink : public MaintenanceLink {
 public:
  struct Grant {
    policy::IdLease lease;
    std::uint64_t now = 0;   // by the server's clock
  };
  IdLink() : MaintenanceLink("node numbers of weir.next_id", "leased") {}
  [[nodiscard]] Result<Grant> lease(const std::string& holder, const std::string& about);
  [[nodiscard]] Result<void> release(const std::string& holder, std::uint64_t used);

 private:
  [[nodiscard]] Result<void> prepare() override;
};

class IdLeases {
 public:
  static constexpr Duration kInterval = std::chrono::seconds(30);
  static constexpr Duration kPatience = std::chrono::seconds(3);       // of whoever waits for the first ones
  static constexpr Duration kRetry = std::chrono::seconds(1);           // while some database has no lease

  IdLeases() = default;
  // Gives the numbers back, where their servers answer within MaintenanceLink::kPatience. No session may still take ids.
  ~IdLeases();
  IdLeases(const IdLeases&) = delete;
  IdLeases& operator=(const IdLeases&) = delete;

  // Of the databases of this topology from now on: called before clients are served by it. Blocks until every one that needs a lease was tried
  // once, or the deadline has passed. Any thread.
  void serve(TopologyRef topology, Deadline deadline);

 private:
  struct Held {
    std::shared_ptr<IdSource> source;
    std::shared_ptr<pool::Backend> home;   // who granted it
    std::string holder, problem;
    IdLink link;
    std::uint32_t node = policy::Id::kNodes;   // none
  };

  void run();
  [[nodiscard]] bool look_at_all(const TopologyRef& topology);
  [[nodiscard]] bool renew(const DatabaseState& database, Held& held);
  void take(const DatabaseState& database, Held& held, const IdLink::Grant& grant, TimePoint asked);
  void tell(const DatabaseState& database, Held& held, const std::string& problem);

  std::mutex mutex_;
  std::condition_variable wake_, looked_;
  TopologyRef topology_;
  std::uint64_t wanted_ = 0, done_ = 0;   // rounds
  bool stopping_ = false;
  std::thread thread_;
  // The thread's own.
  std::map<std::string, Held> held_;      // by database
  std::uint64_t settings_version_ = 0;    // that the links were made for
};

}  // namespace weir::proxy
