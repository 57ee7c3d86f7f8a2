// Console: what database "weir" (or "pgbouncer") answers: PgBouncer's SHOW ... with its columns, Weir's own, and the commands.
// Runs on a thread of its own, so that it may wait. https://www.pgbouncer.org/usage.html#admin-console
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/deadline.hpp"
#include "base/result.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

class Proxy;

// One statement of the console, taken apart. Words are lower case but for what stood in quotes and for arguments.
struct ConsoleCommand {
  std::string verb;
  std::vector<std::string> arguments;
};
// Statements of one Query, without empty ones.
[[nodiscard]] std::vector<ConsoleCommand> parse_console(std::string_view sql);

// What a view answers.
struct ConsoleTable {
  using Row = std::vector<std::optional<std::string>>;
  std::vector<std::string_view> columns;
  std::vector<Row> rows;
};

class Console {
 public:
  explicit Console(Proxy& proxy) : proxy_(proxy) {}

  // One Query to whole reply messages, ReadyForQuery included. `may_change`: admin.users may, stats_users only SHOW. The right is looked at
  // for every command.
  [[nodiscard]] ByteBuffer execute(std::string_view sql, bool may_change);

 private:
  // False: it failed, and what follows in the same Query is not run.
  bool run(const ConsoleCommand& command, bool may_change);
  bool show(const ConsoleCommand& command);
  void show_help();
  bool fail(const Error& error);
  bool done(const Result<void>& result, std::string_view tag);

  // console_commands.cpp
  bool change(const ConsoleCommand& command);
  bool pause(const std::string& database);
  bool wait_close(const std::string& database);
  bool set(const ConsoleCommand& command);
  bool reload();
  bool shut_down(const ConsoleCommand& command);

  Proxy& proxy_;
  ByteBuffer out_;
};

// The views by name, in lower case; none: unknown. (console_views.cpp, console_stats.cpp, console_weir.cpp)
using ConsoleView = ConsoleTable (*)(Proxy&);
[[nodiscard]] ConsoleView find_console_view(std::string_view name);
[[nodiscard]] std::vector<std::string_view> console_view_names();

ConsoleTable show_pools(Proxy& proxy);
ConsoleTable show_clients(Proxy& proxy);
ConsoleTable show_servers(Proxy& proxy);
ConsoleTable show_sockets(Proxy& proxy);
ConsoleTable show_databases(Proxy& proxy);
ConsoleTable show_users(Proxy& proxy);
ConsoleTable show_lists(Proxy& proxy);
ConsoleTable show_config(Proxy& proxy);
ConsoleTable show_mem(Proxy& proxy);
ConsoleTable show_state(Proxy& proxy);
ConsoleTable show_peers(Proxy& proxy);
ConsoleTable show_stats(Proxy& proxy);
ConsoleTable show_stats_totals(Proxy& proxy);
ConsoleTable show_stats_averages(Proxy& proxy);
ConsoleTable show_totals(Proxy& proxy);
ConsoleTable show_shards(Proxy& proxy);
ConsoleTable show_backends(Proxy& proxy);
ConsoleTable show_routes(Proxy& proxy);
ConsoleTable show_refusals(Proxy& proxy);
ConsoleTable show_breakers(Proxy& proxy);
ConsoleTable show_buckets(Proxy& proxy);
ConsoleTable show_limits(Proxy& proxy);
ConsoleTable show_in_doubt(Proxy& proxy);
ConsoleTable show_listeners(Proxy& proxy);

// Text of a cell.
[[nodiscard]] std::string console_number(std::uint64_t value);
[[nodiscard]] std::uint64_t console_micros(Duration duration);
// A moment of the steady clock as the wall clock's text, UTC.
[[nodiscard]] std::string console_clock(TimePoint moment);

}  // namespace weir::proxy
