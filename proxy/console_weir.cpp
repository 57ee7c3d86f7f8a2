// Views of Weir's own: shards, backends, breakers, buckets, limits, transactions in doubt.
#include <algorithm>
#include <array>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/console.hpp"
#include "proxy/proxy.hpp"
#include "proxy/recovery.hpp"
#include "proxy/survey.hpp"

namespace weir::proxy {

namespace {

using Row = ConsoleTable::Row;
const auto num = console_number;
constexpr const char* kBreaker[] = {"closed", "open", "half-open"};

std::string_view role_of(const pool::Backend& b) { return b.id().role == policy::Role::primary ? "primary" : "replica"; }

template <class F>
void for_each_backend(const Topology& topology, F&& f) {
  for (const DatabaseState& d : topology.databases)
    for (const ShardBackends& s : d.shards) {
      f(*s.primary);
      for (const auto& r : s.replicas) f(*r);
    }
}

}  // namespace

ConsoleTable show_shards(Proxy& proxy) {
  ConsoleTable table{{"database", "shard", "buckets", "map_version", "home", "primary", "replicas", "replicas_usable"}, {}};
  const TopologyRef topology = proxy.topology();
  for (const DatabaseState& d : topology->databases)
    for (std::size_t i = 0; i < d.config->shards.size(); ++i) {
      const config::Shard& s = d.config->shards[i];
      unsigned usable = 0;
      for (const auto& r : d.shards[i].replicas) usable += r->usable() ? 1 : 0;
      table.rows.push_back({d.config->name, s.name, d.sharded() ? config::format_bucket_ranges(s.buckets) : std::string("all"), num(d.map->version()),
                            i == 0 ? "yes" : "no", concat(d.shards[i].primary->host(), ":", d.shards[i].primary->port()), num(s.replicas.size()), num(usable)});
    }
  return table;
}

ConsoleTable show_backends(Proxy& proxy) {
  ConsoleTable table{{"database", "shard", "role", "host", "port", "dbname", "state", "reason", "breaker", "lag_ms", "active", "idle", "login", "waiting",
                      "server_connections", "server_connections_max_seen", "server_connections_bound", "assignments", "errors"},
                     {}};
  const TimePoint now = Clock::now();
  const TopologyRef topology = proxy.topology();
  auto traffic = proxy.stats().traffic();
  for_each_backend(*topology, [&](const pool::Backend& b) {
    const TrafficTotals& passed = traffic[labels_of(b)];
    std::uint64_t errors = 0;
    for (const std::uint64_t n : passed.errors) errors += n;
    const auto own = [&](std::uint64_t count) { return b.id().counted_with ? std::nullopt : std::optional(num(count)); };   // not for one of many
    pool::PoolCounts sum;
    for (const auto& pool : proxy.pools().all())
      if (&pool->backend() == &b) sum += pool->counts(now);
    const policy::Probe probe = b.last_probe();
    const auto lag = probe.lag ? std::optional(num(console_micros(*probe.lag) / 1000)) : std::nullopt;
    table.rows.push_back({b.id().database, b.id().shard_name, std::string(role_of(b)), b.host(), b.port(), b.dbname(), b.usable() ? "usable" : "not usable",
                          b.why_not(), kBreaker[static_cast<int>(b.breaker_state(now))], lag, num(sum.active), num(sum.idle), num(sum.opening),
                          num(sum.waiting), num(b.budget().used()), num(b.budget().high_water()), num(b.budget().bound()), own(passed.assignments),
                          own(errors)});
  });
  return table;
}

ConsoleTable show_breakers(Proxy& proxy) {
  ConsoleTable table{{"database", "shard", "role", "host", "port", "breaker", "reason"}, {}};
  const TimePoint now = Clock::now();
  const TopologyRef topology = proxy.topology();
  for_each_backend(*topology, [&](const pool::Backend& b) {
    table.rows.push_back({b.id().database, b.id().shard_name, std::string(role_of(b)), b.host(), b.port(), kBreaker[static_cast<int>(b.breaker_state(now))],
                          b.why_not()});
  });
  return table;
}

namespace {

// One database's counts, over all workers.
struct RouteTotals {
  std::array<std::uint64_t, kRouteNames.size()> kinds{};
  std::vector<std::uint64_t> shards;
  std::uint64_t spanning_transactions = 0;
  RefusalsByReason refusals;
};

RouteTotals totals_of(Proxy& proxy, const config::Database& database) {
  RouteTotals sum;
  sum.shards.resize(std::min(database.shards.size(), RouteCounts::kShards));
  proxy.stats().for_each_database([&](const std::string& name, const DatabaseStats& s) {
    if (name != database.name) return;
    for (std::size_t i = 0; i < sum.kinds.size(); ++i) sum.kinds[i] += s.routes.get(static_cast<RouteKind>(i));
    for (std::size_t i = 0; i < sum.shards.size(); ++i) sum.shards[i] += s.routes.single(i);
    sum.spanning_transactions += s.routes.spanning_transactions();
    s.routes.add_refusals_to(sum.refusals);
  });
  return sum;
}

std::string_view mode_of(const DatabaseState& d) { return d.config->observed ? "observe" : "route"; }

// Databases whose routes are counted.
template <class F>
void for_each_counted(Proxy& proxy, F&& f) {
  const TopologyRef topology = proxy.topology();
  for (const DatabaseState& d : topology->databases)
    if (d.described().sharding) f(d, totals_of(proxy, d.described()));
}

}  // namespace

// Where statements went, or would have gone.
ConsoleTable show_routes(Proxy& proxy) {
  ConsoleTable table{{"database", "mode", "route", "shard", "statements"}, {}};
  for_each_counted(proxy, [&](const DatabaseState& d, const RouteTotals& sum) {
    const auto add = [&](std::string_view route, std::optional<std::string> shard, std::uint64_t statements) {
      table.rows.push_back({d.config->name, std::string(mode_of(d)), std::string(route), std::move(shard), num(statements)});
    };
    for (std::size_t i = 0; i < sum.shards.size(); ++i) add(kRouteNames[0], d.described().shards[i].name, sum.shards[i]);
    for (std::size_t i = 1; i < sum.kinds.size(); ++i) add(kRouteNames[i], std::nullopt, sum.kinds[i]);
    add("transactions over several shards", std::nullopt, sum.spanning_transactions);
  });
  return table;
}

// Why statements were refused, or would have been: most often first.
ConsoleTable show_refusals(Proxy& proxy) {
  ConsoleTable table{{"database", "mode", "statements", "reason", "hint", "example"}, {}};
  for_each_counted(proxy, [&](const DatabaseState& d, const RouteTotals& sum) {
    std::vector<std::pair<std::string, Refusals>> sorted(sum.refusals.begin(), sum.refusals.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.statements > b.second.statements; });
    for (const auto& [reason, r] : sorted)
      table.rows.push_back({d.config->name, std::string(mode_of(d)), num(r.statements), reason, r.hint, r.example});
  });
  return table;
}

// Which shard holds which buckets, range by range in the order of the buckets.
ConsoleTable show_buckets(Proxy& proxy) {
  ConsoleTable table{{"database", "first", "last", "shard"}, {}};
  const TopologyRef topology = proxy.topology();
  for (const DatabaseState& d : topology->databases) {
    if (!d.sharded()) continue;
    std::vector<std::pair<config::BucketRange, std::string>> ranges;
    for (const config::Shard& s : d.config->shards)
      for (const config::BucketRange& r : s.buckets) ranges.emplace_back(r, s.name);
    std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.first.first < b.first.first; });
    for (const auto& [range, shard] : ranges) table.rows.push_back({d.config->name, num(range.first), num(range.last), shard});
  }
  return table;
}

// The bounds of connections, and how near each is: a PostgreSQL server's, and those that databases and users have of their own.
ConsoleTable show_limits(Proxy& proxy) {
  ConsoleTable table{{"limit", "name", "used", "bound", "max_seen"}, {}};
  const TopologyRef topology = proxy.topology();
  const ClientPlaces& clients = proxy.client_places();
  const config::Settings& settings = *topology->settings;
  table.rows.push_back({"clients", "all", num(proxy.clients()), num(settings.listen.max_clients), std::nullopt});
  const auto clients_of = [&](const std::string& whose, unsigned used, std::optional<unsigned> bound) {
    if (bound.value_or(0) > 0) table.rows.push_back({"clients", whose, num(used), num(*bound), std::nullopt});
  };
  for (const DatabaseState& d : topology->databases)
    clients_of(concat("database ", d.config->name), clients.of_database(d.config->name), d.config->max_clients);
  if (topology->fallback) {
    const auto served = std::ranges::count_if(topology->databases, [](const DatabaseState& d) { return d.use != nullptr; });
    table.rows.push_back({"databases", "*", num(static_cast<std::uint64_t>(served)), num(settings.pool.max_fallback_databases), std::nullopt});
  }
  for (const config::User& u : settings.users) clients_of(concat("user ", u.name), clients.of_user(u.name), u.max_clients);
  auto budgets = proxy.pools().budgets();
  budgets.merge(proxy.pools().limits());
  for (const auto& [whose, budget] : budgets)
    if (budget->bound() != pool::Budget::kNoBound)
      table.rows.push_back({"server_connections", whose, num(budget->used()), num(budget->bound()), num(budget->high_water())});
  return table;
}

// Prepared transactions of distributed commits that are not finished yet.
ConsoleTable show_in_doubt(Proxy& proxy) {
  ConsoleTable table{{"database", "shard", "gid", "owner", "age_ms", "state"}, {}};
  for (const InDoubt& t : proxy.recovery().seen().transactions)
    table.rows.push_back({t.database, t.shard, t.gid, t.owner, num(console_micros(t.age) / 1000), t.state});
  return table;
}

// Who is listened for: a row a channel, then a row a server connection that listens.
ConsoleTable show_listeners(Proxy& proxy) {
  ConsoleTable table{{"database", "user", "client_encoding", "channel", "clients", "shard", "server_pid", "state"}, {}};
  const ListenHub::Survey survey = proxy.listen_hub().survey();
  const auto row = [&](const ListenLogin& l) -> Row& { return table.rows.emplace_back(Row{l.database, l.user, l.encoding}); };
  for (const ListenerInfo& i : survey.channels) {
    Row& cells = row(i.login);
    cells.insert(cells.end(), {i.channel, num(i.clients), std::nullopt, std::nullopt, std::nullopt});
  }
  for (const ListenConnectionInfo& i : survey.connections) {
    Row& cells = row(i.login);
    cells.insert(cells.end(), {std::nullopt, std::nullopt, i.shard, num(static_cast<std::uint64_t>(i.backend_pid)), i.backend_pid != 0 ? "listens" : "away"});
  }
  return table;
}

}  // namespace weir::proxy
