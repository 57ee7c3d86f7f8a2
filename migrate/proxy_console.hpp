// The admin consoles of the proxies that serve a database: PAUSE, RELOAD, RESUME on all of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "router/client/server_connection.hpp"

namespace weir::migrate {

class ProxyConsoles {
 public:
  // Connection strings of consoles ("host=127.0.0.1 port=6432 user=weir"); the database is always "weir". Connects to
  // all of them. Throws Failure naming the one that does not answer.
  ProxyConsoles(const std::vector<std::string>& conninfos, Duration patience);

  // Waits until open transactions of `database` are over on every proxy. On failure those paused already are resumed;
  // throws Failure.
  void pause(const std::string& database);
  // Every proxy takes the new configuration file. Throws Failure naming the first that does not; reloaded() counts
  // those before it.
  void reload();
  [[nodiscard]] std::size_t reloaded() const { return reloaded_; }
  // Tries all of them before it throws Failure naming those that failed. One that was not paused is as it should be.
  void resume(const std::string& database);

  [[nodiscard]] bool empty() const { return proxies_.empty(); }

 private:
  struct Proxy {
    std::string label;
    std::string conninfo;
    std::unique_ptr<client::ServerConnection> connection;
  };
  void tell(Proxy& proxy, const std::string& command);

  std::vector<Proxy> proxies_;
  Duration patience_;
  std::size_t reloaded_ = 0;
};

}  // namespace weir::migrate
