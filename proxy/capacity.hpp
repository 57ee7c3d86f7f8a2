// Capacity: how many connections all proxies may take of each PostgreSQL server, for `weir check --connect`. Pure.
//
//   proxies x (max_per_backend + reserve)  <=  max_connections - superuser_reserved_connections - reserved_connections
//
// The reserve is what Weir opens beside its pools: for each backend a monitor, for each primary a listener, and some for cancel requests and
// weirctl; with listen.takeover_socket a second set, for the process that takes over.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "config/settings.hpp"

namespace weir::proxy {

// "host:port" of a backend's connection string.
[[nodiscard]] std::string server_of(const std::string& conninfo);

class Capacity {
 public:
  explicit Capacity(const config::Settings& settings);

  // What is wrong with a server that gives ordinary users `connections`; empty: nothing, or said before.
  [[nodiscard]] std::string mistake(const std::string& server, std::int64_t connections);
  // What Weir may ask of it: what max_per_backend = N of each proxy amounts to.
  [[nodiscard]] std::int64_t needed(const std::string& server) const;

 private:
  struct Server {
    unsigned reserve = 0;            // of each proxy
    std::uint64_t pools = 0;         // sizes of all pools, for one user
  };
  [[nodiscard]] Server find(const std::string& server) const;

  const unsigned bound_;
  const unsigned proxies_;           // this one and its peers
  std::map<std::string, Server> servers_;
  std::set<std::string> said_;
};

}  // namespace weir::proxy
