#include "proxy/capacity.hpp"

#include <algorithm>

#include "base/strings.hpp"
#include "pool/backend.hpp"

namespace weir::proxy {

namespace {

constexpr unsigned kSpareConnections = 2;   // cancel requests, and weirctl
}  // namespace

std::string server_of(const std::string& conninfo) {
  const auto params = pool::parse_conninfo(conninfo);
  if (!params) return conninfo;
  const std::string_view host = pool::get(*params, "host"), port = pool::get(*params, "port");
  return concat(host.empty() ? pool::get(*params, "hostaddr") : host, ":", port.empty() ? "5432" : port);
}

Capacity::Capacity(const config::Settings& settings)
    : bound_(settings.pool.max_per_backend), proxies_(1 + static_cast<unsigned>(settings.peers.size())) {
  const unsigned generations = settings.listen.takeover_socket.empty() ? 1 : 2;
  if (settings.fallback) {
    Server& server = servers_[server_of(settings.fallback->shards.front().primary)];
    server.reserve += generations;   // reads one catalog after the other
    server.pools += settings.fallback->pool_size.value_or(settings.pool.size) + settings.fallback->pool_reserve.value_or(settings.pool.reserve);
  }
  for (const config::Database& database : settings.databases) {
    const unsigned pool = database.pool_size.value_or(settings.pool.size) + database.pool_reserve.value_or(settings.pool.reserve);
    for (const config::Shard& shard : database.shards) {
      Server& primary = servers_[server_of(shard.primary)];
      primary.reserve += (database.sharding ? 3 : 2) * generations;   // a monitor, a listener, and recovery
      primary.pools += pool;
      for (const config::Replica& replica : shard.replicas) {
        Server& server = servers_[server_of(replica.conninfo)];
        server.reserve += generations;
        server.pools += pool;
      }
    }
  }
}

Capacity::Server Capacity::find(const std::string& server) const {
  const auto found = servers_.find(server);
  Server of = found == servers_.end() ? Server{} : found->second;
  of.reserve += kSpareConnections;
  return of;
}

std::int64_t Capacity::needed(const std::string& server) const {
  return std::int64_t{proxies_} * (bound_ + find(server).reserve);
}

std::string Capacity::mistake(const std::string& server, std::int64_t connections) {
  if (!said_.insert(server).second || connections >= needed(server)) return {};
  const Server of = find(server);
  const std::int64_t possible = connections / proxies_ - of.reserve;
  return concat("gives ", std::to_string(connections), " connections (max_connections less those reserved), but Weir may take ",
                std::to_string(needed(server)), ": ", proxies_ == 1 ? "" : concat(std::to_string(proxies_), " proxies x ("),
                "pool.max_per_backend = ", std::to_string(bound_), " and ", std::to_string(of.reserve),
                " for monitoring, listening, recovery and cancelling", proxies_ == 1 ? "" : ")", "; raise max_connections to ",
                std::to_string(needed(server)), " and those reserved, or lower pool.max_per_backend to ",
                std::to_string(std::max<std::int64_t>(possible, 1)), " (its pools are sized ", std::to_string(of.pools), " for each user)");
}

}  // namespace weir::proxy
