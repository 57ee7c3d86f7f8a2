// PgBouncer's views of connections and configuration, with its columns. A sharded database aggregates to one row a (database, user): exporters
// fail on repeated labels and on added columns. https://www.pgbouncer.org/usage.html#show-commands
#include <algorithm>
#include <malloc.h>
#include <map>
#include <mutex>

#include "base/strings.hpp"
#include "config/pgbouncer_names.hpp"
#include "proxy/console.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

using Row = ConsoleTable::Row;

const auto num = console_number;
constexpr const char* kModes[] = {"session", "transaction", "statement"};

std::vector<std::string_view> connection_columns() {
  return {"type",         "user",       "database", "replication", "state",        "addr", "port", "local_addr", "local_port",       "connect_time",
          "request_time", "wait",       "wait_us",  "close_needed", "ptr",          "link", "remote_pid", "tls", "application_name", "prepared_statements", "id"};
}

std::string pointer(std::uint64_t id) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(id));
  return text;
}

// Every client, as its worker knows it. Not from a worker's thread.
std::vector<ClientInfo> clients_of(Proxy& proxy) {
  std::mutex mutex;
  std::vector<ClientInfo> all;
  proxy.on_workers([&](Worker& worker) {
    std::vector<ClientInfo> mine;
    worker.for_each_session([&](Session& session) { mine.push_back(session.info()); });
    const std::lock_guard lock(mutex);
    std::move(mine.begin(), mine.end(), std::back_inserter(all));
  });
  std::sort(all.begin(), all.end(), [](const ClientInfo& a, const ClientInfo& b) { return a.connected < b.connected; });
  return all;
}

unsigned connections(const pool::PoolCounts& c) { return c.active + c.idle + c.opening; }

config::PoolMode mode_of(const config::Settings& settings, const config::Database* database, const config::User* user) {
  if (user != nullptr && user->pool_mode) return *user->pool_mode;
  if (database != nullptr && database->pool_mode) return *database->pool_mode;
  return settings.pool.mode;
}

std::optional<std::string> limit(std::optional<unsigned> value) { return num(value.value_or(0)); }

struct PoolRow {
  pool::PoolCounts servers;
  unsigned active = 0, waiting = 0;
};

Row client_row(const ClientInfo& c) {
  const std::uint64_t wait = console_micros(c.wait);
  const std::string state = c.pinned ? concat(c.state, " (pinned", c.pin_reason.empty() ? "" : ": ", c.pin_reason, ")") : c.state;
  return {"C",           c.user,        c.database.empty() && c.console ? "pgbouncer" : c.database,
          "none",        state,         c.address,
          num(c.port),   c.local_address, num(c.local_port),
          console_clock(c.connected), console_clock(c.last_request), num(wait / 1'000'000),
          num(wait % 1'000'000), "0",   pointer(c.id),
          c.server_id == 0 ? std::string() : pointer(c.server_id), num(static_cast<std::uint64_t>(c.server_pid)), c.tls,
          c.application_name, num(c.prepared), num(c.id)};
}

std::vector<Row> client_rows(Proxy& proxy) {
  std::vector<Row> rows;
  for (const ClientInfo& c : clients_of(proxy)) rows.push_back(client_row(c));
  return rows;
}

std::vector<Row> server_rows(Proxy& proxy) {
  std::vector<Row> rows;
  for (const auto& pool : proxy.pools().all()) {
    const pool::Backend& b = pool->backend();
    for (const pool::ServerInfo& s : pool->servers())
      rows.push_back({"S", pool->user(), b.id().database, "none", s.active ? "active" : "idle", b.host(), b.port(), std::nullopt, std::nullopt,
                      console_clock(s.created), console_clock(s.last_used), "0", "0", s.close_needed ? "1" : "0", pointer(s.id),
                      s.client != 0 ? pointer(s.client) : std::string(), num(static_cast<std::uint64_t>(s.backend_pid)), s.tls ? "TLS" : "", "weir", num(s.prepared), num(s.id)});
  }
  return rows;
}

}  // namespace

ConsoleTable show_clients(Proxy& proxy) { return {connection_columns(), client_rows(proxy)}; }
ConsoleTable show_servers(Proxy& proxy) { return {connection_columns(), server_rows(proxy)}; }

ConsoleTable show_sockets(Proxy& proxy) {
  ConsoleTable table{connection_columns(), client_rows(proxy)};
  for (Row& row : server_rows(proxy)) table.rows.push_back(std::move(row));
  return table;
}

ConsoleTable show_pools(Proxy& proxy) {
  std::map<std::pair<std::string, std::string>, PoolRow> rows;
  const TimePoint now = Clock::now();
  for (const auto& pool : proxy.pools().all()) rows[{pool->backend().id().database, pool->user()}].servers += pool->counts(now);
  for (const ClientInfo& c : clients_of(proxy)) {
    if (c.database.empty()) continue;
    // Where the backend's own user serves everybody, clients are counted under that user's pool.
    PoolRow& row = rows[{c.database, c.server_user.empty() ? c.user : c.server_user}];
    ++(c.state == "waiting" ? row.waiting : row.active);
  }
  const TopologyRef topology = proxy.topology();
  const config::Settings& settings = *topology->settings;
  ConsoleTable table{{"database", "user", "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active", "sv_active_cancel",
                      "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us", "pool_mode", "load_balance_hosts"},
                     {}};
  for (const auto& [key, r] : rows) {
    const std::uint64_t wait = console_micros(r.servers.max_wait);
    const DatabaseState* database = topology->find(key.first);
    const auto mode = mode_of(settings, database ? database->config : nullptr, settings.find_user(key.second));
    table.rows.push_back({key.first, key.second, num(r.active), num(r.waiting), num(r.servers.cancels_active), num(r.servers.cancels_waiting),
                          num(r.servers.active - r.servers.being_canceled), num(r.servers.cancels_active), num(r.servers.being_canceled), num(r.servers.idle),
                          "0", "0", num(r.servers.opening), num(wait / 1'000'000), num(wait % 1'000'000), kModes[static_cast<int>(mode)], std::nullopt});
  }
  return table;
}

ConsoleTable show_databases(Proxy& proxy) {
  const TopologyRef topology = proxy.topology();
  const config::Settings& settings = *topology->settings;
  const auto paused = proxy.paused(), disabled = proxy.disabled();
  std::map<std::string, unsigned> servers, clients;
  for (const auto& pool : proxy.pools().all()) servers[pool->backend().id().database] += connections(pool->counts(Clock::now()));
  for (const ClientInfo& c : clients_of(proxy)) ++clients[c.database];
  ConsoleTable table{{"name", "host", "port", "database", "force_user", "pool_size", "min_pool_size", "reserve_pool_size", "server_lifetime", "pool_mode",
                      "load_balance_hosts", "max_connections", "current_connections", "max_client_connections", "current_client_connections", "paused",
                      "disabled"},
                     {}};
  for (const DatabaseState& d : topology->databases) {
    const config::Database& c = *d.config;
    const pool::Backend& home = *d.shards.front().primary;
    const std::string user(pool::get(home.id().params, "user"));
    table.rows.push_back({c.name, home.host(), home.port(), home.dbname(), user.empty() ? std::optional<std::string>{} : user,
                          num(c.pool_size.value_or(settings.pool.size)), num(c.pool_min.value_or(settings.pool.min)),
                          num(c.pool_reserve.value_or(settings.pool.reserve)), num(static_cast<std::uint64_t>(settings.pool.lifetime.count() / 1000)),
                          c.pool_mode ? std::optional<std::string>(kModes[static_cast<int>(*c.pool_mode)]) : std::nullopt, std::nullopt,
                          limit(c.max_server_connections), num(servers[c.name]), limit(c.max_clients), num(clients[c.name]),
                          paused.contains(c.name) ? "1" : "0", disabled.contains(c.name) ? "1" : "0"});
  }
  return table;
}

ConsoleTable show_users(Proxy& proxy) {
  struct Count {
    unsigned servers = 0, clients = 0;
  };
  const TopologyRef topology = proxy.topology();
  std::map<std::string, Count> users;
  for (const config::User& u : topology->settings->users) users[u.name];
  for (const auto& pool : proxy.pools().all()) users[pool->user()].servers += connections(pool->counts(Clock::now()));
  for (const ClientInfo& c : clients_of(proxy))
    if (!c.user.empty()) ++users[c.user].clients;
  ConsoleTable table{{"name", "pool_size", "reserve_pool_size", "pool_mode", "max_user_connections", "current_connections", "max_user_client_connections",
                      "current_client_connections"},
                     {}};
  for (const auto& [name, count] : users) {
    const config::User* u = topology->settings->find_user(name);
    const auto text = [](std::optional<unsigned> v) { return v ? std::optional(num(*v)) : std::nullopt; };
    table.rows.push_back({name, u ? text(u->pool_size) : std::nullopt, u ? text(u->pool_reserve) : std::nullopt,
                          u && u->pool_mode ? std::optional<std::string>(kModes[static_cast<int>(*u->pool_mode)]) : std::nullopt,
                          limit(u ? u->max_server_connections : std::nullopt), num(count.servers), limit(u ? u->max_clients : std::nullopt),
                          num(count.clients)});
  }
  return table;
}

ConsoleTable show_lists(Proxy& proxy) {
  const TopologyRef topology = proxy.topology();
  pool::PoolCounts servers;
  const auto pools = proxy.pools().all();
  for (const auto& pool : pools) servers += pool->counts(Clock::now());
  const ConsoleTable users = show_users(proxy), rows = show_pools(proxy);
  unsigned used = 0, login = 0;
  for (const ClientInfo& c : clients_of(proxy)) ++(c.state == "login" ? login : used);
  const std::pair<std::string_view, std::uint64_t> lists[] = {
      {"databases", topology->databases.size()}, {"users", users.rows.size()}, {"peers", topology->settings->peers.size()}, {"pools", rows.rows.size()},
      {"peer_pools", 0}, {"free_clients", 0}, {"used_clients", used}, {"login_clients", login}, {"free_servers", servers.idle},
      {"used_servers", servers.active}, {"dns_names", 0}, {"dns_zones", 0}, {"dns_queries", 0}, {"dns_pending", 0}};
  ConsoleTable table{{"list", "items"}, {}};
  for (const auto& [name, items] : lists) table.rows.push_back({std::string(name), num(items)});
  return table;
}

// Weir's own keys, then the same under PgBouncer's names.
ConsoleTable show_config(Proxy& proxy) {
  ConsoleTable table{{"key", "value", "default", "changeable"}, {}};
  const auto add = [&](const std::vector<config::Setting>& settings) {
    for (const auto& s : settings) table.rows.push_back({s.key, s.value, s.default_value, s.reloadable ? "yes" : "no"});
  };
  const TopologyRef topology = proxy.topology();
  add(config::describe_as_pgbouncer(*topology->settings));
  // Bounds that Weir has for single databases and users only.
  for (const std::string name : {"max_db_connections", "max_user_connections", "max_db_client_connections", "max_user_client_connections"})
    table.rows.push_back({name, "0", "0", "no"});
  add(config::describe(*topology->settings));
  return table;
}

// Weir has no slabs: one row for the process' heap.
ConsoleTable show_mem(Proxy&) {
  const struct mallinfo2 heap = mallinfo2();
  return {{"name", "size", "used", "free", "memtotal"},
          {{"heap", "1", num(heap.uordblks), num(heap.fordblks), num(heap.arena + heap.hblkhd)}}};
}

ConsoleTable show_state(Proxy& proxy) {
  const auto yes = [](bool is) { return std::optional<std::string>(is ? "yes" : "no"); };
  const bool suspended = proxy.suspended();
  const TopologyRef topology = proxy.topology();
  const auto names = proxy.paused();
  const auto is_paused = [&](const DatabaseState& d) { return names.contains(d.config->name); };
  const bool paused = !suspended && std::ranges::all_of(topology->databases, is_paused) && (!topology->fallback || is_paused(*topology->fallback));
  return {{"key", "value"}, {{"active", yes(!paused && !suspended)}, {"paused", yes(paused)}, {"suspended", yes(suspended)}}};
}

ConsoleTable show_peers(Proxy& proxy) {
  ConsoleTable table{{"peer_id", "host", "port", "pool_size"}, {}};
  const TopologyRef topology = proxy.topology();
  for (const config::Peer& p : topology->settings->peers) {
    const std::size_t colon = p.address.starts_with('/') ? std::string::npos : p.address.rfind(':');
    table.rows.push_back({num(p.id), p.address.substr(0, colon), colon == std::string::npos ? std::optional<std::string>{} : p.address.substr(colon + 1), std::nullopt});
  }
  return table;
}

}  // namespace weir::proxy
