// Catalogs: loads each database's schema::Catalog from its shards at start, after DDL, and now and then; off the workers.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"
#include "proxy/topology.hpp"

namespace weir::proxy {

// What one shard's primary says. `fingerprint` is equal for equal contents.
struct LoadedCatalog {
  std::shared_ptr<const schema::Catalog> catalog;
  std::shared_ptr<const schema::Catalog> observed;   // by the rules of config::Database::observed; null: there are none,
  std::string observed_problem;                      // or why they do not fit the database
  std::uint64_t fingerprint = 0;
  std::uint64_t settings_version = 0;                // of the topology it was read for
};
// Blocks. Connects as the maintenance user, checks the identity, reads in one REPEATABLE READ transaction.
[[nodiscard]] Result<LoadedCatalog> load_catalog(const config::Database& database, const ShardBackends& shard,
                                                 const pool::LoginCheck& check, Deadline deadline);
// With catalogs that keep the settings they point into alive: those of the topology, or the database's own.
[[nodiscard]] LoadedCatalog keep_alive(LoadedCatalog loaded, const Topology& topology, const DatabaseState& database);
// The backend's connection parameters as monitor, catalog and recovery use them: database.maintenance on top.
[[nodiscard]] pool::ConnParams maintenance_params(const config::Database& database, const pool::Backend& backend);

class Catalogs {
 public:
  static constexpr Duration kRetry = std::chrono::seconds(1);
  static constexpr Duration kRefresh = std::chrono::seconds(10);
  static constexpr Duration kRefreshFallback = std::chrono::minutes(1);   // of a database that only the fallback serves: there may be many

  // `publish` is told (on the loader's thread) of a catalog that changed, or of none and why it cannot be had.
  using Publish = std::function<void(const std::string& database, LoadedCatalog loaded, const std::string& problem)>;
  Catalogs(std::function<TopologyRef()> topology, Publish publish);
  ~Catalogs();
  Catalogs(const Catalogs&) = delete;
  Catalogs& operator=(const Catalogs&) = delete;

  // DDL ran through the proxy, or the topology changed. Any thread.
  void refresh_soon(const std::string& database);
  // The same, and tells (on the loader's thread) when a load that began after this call is published, or has failed. Not when it is stopping.
  void refresh_then(const std::string& database, std::function<void()> told);
  void refresh_all();
  // Blocks until every database was tried once.
  void wait_first_round(Deadline deadline);

 private:
  void run();
  void forget_removed(const Topology& topology);
  std::shared_ptr<const schema::Catalog> load(const TopologyRef& topology, const DatabaseState& database);
  void compare_shards(const DatabaseState& database, const schema::Catalog& home);

  struct Known {
    std::uint64_t fingerprint = 0;
    std::uint64_t settings = 0;                            // version of the settings it was read for,
    std::shared_ptr<const config::Database> own_config;   // or of a database that only the fallback serves
    bool loaded = false;
    TimePoint next{};
  };
  std::function<TopologyRef()> topology_;
  Publish publish_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Known> known_;
  std::set<std::string> wanted_;
  std::map<std::string, std::vector<std::function<void()>>> to_tell_;
  std::uint64_t epoch_ = 0;
  bool stopping_ = false;
  bool first_round_done_ = false;
  std::thread thread_;
};

}  // namespace weir::proxy
