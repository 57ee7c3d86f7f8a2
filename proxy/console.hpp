// Console: what database "weir" (or "pgbouncer") answers: SHOW ..., PAUSE, RESUME, RECONNECT, RELOAD, SHUTDOWN.
// Runs on a thread of its own, so that it may wait.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

class Proxy;

class Console {
 public:
  explicit Console(Proxy& proxy) : proxy_(proxy) {}

  // One command to whole reply messages, ReadyForQuery included. `may_change`: admin.users may, stats_users only SHOW.
  [[nodiscard]] ByteBuffer execute(std::string_view sql, bool may_change);

 private:
  using Row = std::vector<std::optional<std::string>>;
  void table(std::vector<std::string_view> columns, const std::vector<Row>& rows);
  void show(std::string_view what);
  void show_pools();
  void show_clients();
  void show_servers();
  void show_databases();
  void show_stats();
  void show_shards();
  void show_backends();
  void show_config();
  void show_help();
  void command(const std::string& verb, const std::string& argument);
  void reload();

  Proxy& proxy_;
  ByteBuffer out_;
};

}  // namespace weir::proxy
