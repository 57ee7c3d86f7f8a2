#include "proxy/metrics.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>

#include "proxy/log_spdlog.hpp"
#include "proxy/metric_families.hpp"
#include "proxy/proxy.hpp"
#include "proxy/recovery.hpp"
#include "proxy/survey.hpp"

namespace weir::proxy {

namespace {

constexpr Duration kPatience = std::chrono::seconds(1);

// Classes that are there from the start, so that the first error of one is seen as a rise.
constexpr std::string_view kCommonClasses[] = {"08", "0A", "22", "23", "25", "28", "40", "42", "53", "57"};

bool is_common(std::string_view name) {
  for (const std::string_view c : kCommonClasses)
    if (c == name) return true;
  return false;
}

double seconds(Duration d) { return std::chrono::duration<double>(d).count(); }

MetricLabels labels(const BackendLabels& b) {
  return {{"database", b.database}, {"shard", b.shard}, {"role", b.role == policy::Role::primary ? "primary" : "replica"}, {"backend", b.server}};
}

MetricLabels with(MetricLabels labels, std::string_view name, std::string_view value) {
  labels.push_back({std::string(name), std::string(value)});
  return labels;
}

MetricLabels of_database(const std::string& name) { return {{"database", name}}; }

// ---- the process and its clients ----

void collect_proxy(MetricFamilies& m, Proxy& proxy, const Survey& seen) {
  const TopologyRef topology = proxy.topology();
  m.gauge("weir_workers", "Worker threads.").add({}, proxy.workers().size());
  m.gauge("weir_workers_silent", "Worker threads that did not answer the scrape within a second.").add({}, seen.silent.size());
  m.gauge("weir_client_slots", "Client connections that listen.max_clients allows.").add({}, topology->settings->listen.max_clients);
  m.gauge("weir_client_slots_used", "Client connections there are, of every kind.").add({}, proxy.clients());
  auto clients = m.gauge("weir_clients", "Clients by what they do; database \"\" is the console, and clients that have not named one yet.");
  for (const auto& [name, counts] : seen.clients)
    for (std::size_t i = 0; i < counts.size(); ++i) clients.add(with(of_database(name), "state", kClientStates[i]), counts[i]);
  auto reloads = m.counter("weir_reloads_total", "Reloads of the configuration, by outcome.");
  reloads.add({{"result", "applied"}}, proxy.reloads().applied.load());
  reloads.add({{"result", "refused"}}, proxy.reloads().refused.load());
  m.gauge("weir_topology_version", "Raised by every change of settings, bucket map or catalog.").add({}, topology->version);
  m.counter("weir_log_lines_dropped_total", "Log lines dropped because whoever reads Weir's log was too slow.").add({}, dropped_log_lines());
}

// ---- databases ----

using DatabaseCells = std::map<std::string, std::vector<const DatabaseStats*>>;

void collect_counter(MetricFamilies& m, const DatabaseCells& cells, const char* name, const char* help, Counter DatabaseStats::*counter) {
  auto family = m.counter(name, help);
  for (const auto& [database, workers] : cells) {
    std::uint64_t sum = 0;
    for (const DatabaseStats* s : workers) sum += (s->*counter).get();
    family.add(of_database(database), sum);
  }
}

// One series a name of `names`, from an array of counters.
template <std::size_t N>
void collect_kinds(MetricFamilies& m, const DatabaseCells& cells, const char* name, const char* help, const char* label,
                   const std::array<std::string_view, N>& names, std::array<Counter, N> DatabaseStats::*counters) {
  auto family = m.counter(name, help);
  for (const auto& [database, workers] : cells)
    for (std::size_t i = 0; i < N; ++i) {
      std::uint64_t sum = 0;
      for (const DatabaseStats* s : workers) sum += (s->*counters)[i].get();
      family.add(with(of_database(database), label, names[i]), sum);
    }
}

void collect_own_errors(MetricFamilies& m, const DatabaseCells& cells) {
  auto family = m.counter("weir_errors_total", "Errors that Weir itself gave to clients, by the first two characters of their SQLSTATE.");
  for (const auto& [database, workers] : cells)
    for (std::size_t i = 0; i < ErrorCounters::kClasses.size(); ++i) {
      std::uint64_t sum = 0;
      for (const DatabaseStats* s : workers) sum += s->errors.get(i);
      if (sum > 0 || is_common(ErrorCounters::kClasses[i])) family.add(with(of_database(database), "sqlstate_class", ErrorCounters::kClasses[i]), sum);
    }
}

void collect_databases(MetricFamilies& m, Proxy& proxy) {
  DatabaseCells cells;
  proxy.stats().for_each_database([&](const std::string& name, const DatabaseStats& s) { cells[name].push_back(&s); });
  using S = DatabaseStats;
  collect_counter(m, cells, "weir_client_logins_total", "Clients that logged in.", &S::logins);
  collect_counter(m, cells, "weir_client_received_bytes_total", "Bytes from clients.", &S::received);
  collect_counter(m, cells, "weir_client_sent_bytes_total", "Bytes to clients.", &S::sent);
  collect_counter(m, cells, "weir_local_queries_total", "Requests that Weir answered without a server.", &S::local_queries);
  collect_counter(m, cells, "weir_scattered_requests_total", "Requests with a statement that ran on several shards.", &S::scattered);
  collect_counter(m, cells, "weir_refused_statements_total", "Statements refused with SQLSTATE 0A000.", &S::refused);
  collect_counter(m, cells, "weir_cancel_requests_total", "Cancel requests of clients.", &S::cancels);
  collect_counter(m, cells, "weir_binds_total", "Bind messages of clients.", &S::binds);
  collect_counter(m, cells, "weir_client_parses_total", "Parse messages of clients.", &S::client_parses);
  collect_counter(m, cells, "weir_server_parses_total", "Parses of named statements that Weir sent to servers.", &S::server_parses);
  collect_counter(m, cells, "weir_prepared_hits_total", "Uses of a named statement on a server that had it already.", &S::prepared_hits);
  collect_kinds(m, cells, "weir_timeouts_total", "Timeouts that ended a statement or a client, by kind.", "kind", kTimeoutNames, &S::timeouts);
  collect_kinds(m, cells, "weir_client_disconnections_total", "Clients that went, by reason; database \"\" is the console, and those that never got so far.", "reason",
                kDepartureNames, &S::departures);
  collect_own_errors(m, cells);
}

// Only of databases that have shards, or will have.
void collect_routes(MetricFamilies& m, Proxy& proxy) {
  const TopologyRef topology = proxy.topology();
  DatabaseCells cells;
  proxy.stats().for_each_database([&](const std::string& name, const DatabaseStats& s) { cells[name].push_back(&s); });
  auto routes = m.counter("weir_routes_total", "Statements of a sharded database by where they went; with sharding.mode = \"observe\", where they would have gone.");
  auto spanning = m.counter("weir_spanning_transactions_total", "Transactions that came (or would have come) to a second shard.");
  for (const DatabaseState& d : topology->databases) {
    if (!d.described().sharding) continue;
    const auto sum = [&](auto&& value) {
      std::uint64_t total = 0;
      for (const DatabaseStats* s : cells[d.config->name]) total += value(s->routes);
      return total;
    };
    const auto& shards = d.described().shards;
    for (std::size_t i = 0; i < std::min(shards.size(), RouteCounts::kShards); ++i)
      routes.add({{"database", d.config->name}, {"route", std::string(kRouteNames[0])}, {"shard", shards[i].name}}, sum([i](const RouteCounts& r) { return r.single(i); }));
    for (std::size_t i = 1; i < kRouteNames.size(); ++i)
      routes.add({{"database", d.config->name}, {"route", std::string(kRouteNames[i])}, {"shard", ""}}, sum([i](const RouteCounts& r) { return r.get(static_cast<RouteKind>(i)); }));
    spanning.add(of_database(d.config->name), sum([](const RouteCounts& r) { return r.spanning_transactions(); }));
  }
}

void collect_plan_caches(MetricFamilies& m, const Survey& seen) {
  using C = Survey::PlanCache;
  const auto each = [&](FamilyBuilder family, std::uint64_t C::*value) {
    for (const auto& [name, c] : seen.plan_caches) family.add(of_database(name), c.*value);
  };
  each(m.counter("weir_plan_cache_hits_total", "Statements whose plan was known."), &C::hits);
  each(m.counter("weir_plan_cache_misses_total", "Statements that had to be parsed."), &C::misses);
  each(m.counter("weir_plan_cache_evictions_total", "Plans that made room for others."), &C::evictions);
  each(m.gauge("weir_plan_cache_entries", "Plans kept, over all workers."), &C::entries);
  each(m.gauge("weir_plan_cache_bytes", "Memory of the plans kept, over all workers."), &C::bytes);
}

void collect_topology(MetricFamilies& m, Proxy& proxy) {
  const TopologyRef topology = proxy.topology();
  const auto paused = proxy.paused();
  auto is_paused = m.gauge("weir_database_paused", "1 while PAUSE holds the database.");
  const auto add_paused = [&](const std::string& name) { is_paused.add(of_database(name), paused.contains(name) ? 1 : 0); };
  for (const DatabaseState& d : topology->databases)
    if (!d.use) add_paused(d.config->name);
  if (topology->fallback) add_paused(topology->fallback->config->name);
  m.gauge("weir_fallback_databases", "Databases that the one named \"*\" serves now; in other figures they are counted together, as \"*\".")
      .add({}, static_cast<std::uint64_t>(std::ranges::count_if(topology->databases, [](const DatabaseState& d) { return d.use != nullptr; })));
  m.gauge("weir_fallback_databases_max", "How many there may be (pool.max_fallback_databases).").add({}, topology->settings->pool.max_fallback_databases);
  auto epochs = m.gauge("weir_catalog_epoch", "Which reading of the database's catalog is in force.");
  for (const DatabaseState& d : topology->databases)
    if (d.catalog && !d.use) epochs.add(of_database(d.config->name), d.catalog->epoch());
  auto maps = m.gauge("weir_bucket_map_version", "Version of the bucket map in force.");
  for (const DatabaseState& d : topology->databases)
    if (d.sharded()) maps.add(of_database(d.config->name), d.map->version());
}

void collect_recovery(MetricFamilies& m, Proxy& proxy) {
  const TopologyRef topology = proxy.topology();
  const Recovery::Seen seen = proxy.recovery().seen();
  std::map<std::pair<std::string, std::string>, std::uint64_t> waiting;
  for (const DatabaseState& d : topology->databases)
    for (const config::Shard& s : d.config->shards)
      if (d.sharded()) waiting[{d.config->name, s.name}] = 0;
  for (const InDoubt& t : seen.transactions) ++waiting[{t.database, t.shard}];
  auto in_doubt = m.gauge("weir_in_doubt_transactions", "Prepared transactions of distributed commits that recovery has yet to finish.");
  for (const auto& [name, n] : waiting) in_doubt.add({{"database", name.first}, {"shard", name.second}}, n);
  auto finished = m.counter("weir_recovered_transactions_total", "Prepared transactions that recovery finished, by outcome.");
  for (const DatabaseState& d : topology->databases) {
    if (!d.sharded()) continue;
    const auto found = seen.finished.find(d.config->name);
    const Recovery::Counts counts = found == seen.finished.end() ? Recovery::Counts{} : found->second;
    finished.add(with(of_database(d.config->name), "outcome", "commit"), counts.committed);
    finished.add(with(of_database(d.config->name), "outcome", "abort"), counts.rolled_back);
  }
}

// ---- backends ----

void collect_traffic(MetricFamilies& m, Proxy& proxy) {
  const auto traffic = proxy.stats().traffic();
  const auto each = [&](FamilyBuilder family, auto TrafficTotals::*value) {
    for (const auto& [backend, sum] : traffic) family.add(labels(backend), sum.*value);
  };
  using T = TrafficTotals;
  each(m.histogram("weir_backend_query_duration_seconds", "Requests (a Query message, or everything up to a Sync) from the first byte sent to the server to its ReadyForQuery."), &T::queries);
  each(m.histogram("weir_backend_transaction_duration_seconds", "Transactions from the first byte sent to the server to the ReadyForQuery that ends them."), &T::transactions);
  each(m.histogram("weir_backend_wait_duration_seconds", "How long a client waited each time it needed a server connection."), &T::waits);
  each(m.counter("weir_backend_received_bytes_total", "Bytes from the server."), &T::received);
  each(m.counter("weir_backend_sent_bytes_total", "Bytes to the server."), &T::sent);
  each(m.counter("weir_backend_assignments_total", "Times a client got a server connection."), &T::assignments);
  auto errors = m.counter("weir_backend_errors_total", "Errors of the server, by the first two characters of their SQLSTATE.");
  for (const auto& [backend, sum] : traffic)
    for (std::size_t i = 0; i < sum.errors.size(); ++i)
      if (sum.errors[i] > 0 || is_common(ErrorCounters::kClasses[i]))
        errors.add(with(labels(backend), "sqlstate_class", ErrorCounters::kClasses[i]), sum.errors[i]);
}

struct BackendNow {
  std::vector<const pool::Backend*> backends;   // more than one if connection strings differ in other things
  pool::PoolCounts pools;
};
using Backends = std::map<BackendLabels, BackendNow>;

Backends look_at_backends(Proxy& proxy, const Topology& topology) {
  Backends found;
  if (topology.fallback) {   // before those that are counted with it
    const pool::Backend& counted = *topology.fallback->shards.front().primary;
    found[labels_of(counted)].backends.push_back(&counted);
  }
  for (const DatabaseState& d : topology.databases)
    for (const ShardBackends& s : d.shards) {
      found[labels_of(*s.primary)].backends.push_back(s.primary.get());
      for (const auto& r : s.replicas) found[labels_of(*r)].backends.push_back(r.get());
    }
  for (const auto& pool : proxy.pools().all()) {
    const auto known = found.find(labels_of(pool->backend()));
    if (known == found.end()) continue;
    known->second.pools += pool->counts(Clock::now());
  }
  return found;
}

void collect_connections(MetricFamilies& m, const Backends& backends, const Survey& seen) {
  auto family = m.gauge("weir_backend_connections", "Server connections by state; pinned: kept for the session state of one client.");
  for (const auto& [name, b] : backends) {
    const auto kept = seen.pinned.find(name);
    const unsigned pinned = kept == seen.pinned.end() ? 0 : std::min(kept->second, b.pools.active);
    family.add(with(labels(name), "state", "active"), b.pools.active - pinned);
    family.add(with(labels(name), "state", "pinned"), pinned);
    family.add(with(labels(name), "state", "idle"), b.pools.idle);
    family.add(with(labels(name), "state", "login"), b.pools.opening);
  }
  auto waiting = m.gauge("weir_backend_clients_waiting", "Clients in the queue for a server connection.");
  for (const auto& [name, b] : backends) waiting.add(labels(name), b.pools.waiting);
  auto longest = m.gauge("weir_backend_longest_wait_seconds", "How long the first in the queue has waited.");
  for (const auto& [name, b] : backends) longest.add(labels(name), seconds(b.pools.max_wait));
}

// Not of what the fallback serves, which nobody watches.
bool is_watched(const BackendNow& b) { return b.backends.front()->id().database != config::kFallbackName; }

void collect_health(MetricFamilies& m, const Backends& backends) {
  static constexpr std::array<std::string_view, 3> kBreaker = {"closed", "open", "half_open"};
  const TimePoint now = Clock::now();
  auto up = m.gauge("weir_backend_up", "1 where the backend is usable for its role.");
  for (const auto& [name, b] : backends)
    if (is_watched(b)) up.add(labels(name), b.backends.front()->usable() ? 1 : 0);
  auto breaker = m.gauge("weir_backend_breaker_state", "1 for the state the circuit breaker of logins is in.");
  for (const auto& [name, b] : backends)
    for (std::size_t i = 0; is_watched(b) && i < kBreaker.size(); ++i)
      breaker.add(with(labels(name), "state", kBreaker[i]), static_cast<std::size_t>(b.backends.front()->breaker_state(now)) == i ? 1 : 0);
  auto lag = m.gauge("weir_backend_replica_lag_seconds", "How far a replica's last probe was behind, where that is known.");
  for (const auto& [name, b] : backends)
    if (const auto probe = b.backends.front()->last_probe(); name.role == policy::Role::replica && probe.lag) lag.add(labels(name), seconds(*probe.lag));
}

void collect_connection_events(MetricFamilies& m, const Backends& backends) {
  const auto sum = [](const BackendNow& b, const std::function<std::uint64_t(const pool::ConnectionEvents&)>& value) {
    std::uint64_t total = 0;
    for (const pool::Backend* backend : b.backends)
      if (!backend->id().counted_with) total += value(*backend->events);
    return total;
  };
  auto logins = m.counter("weir_backend_logins_total", "Server connections opened.");
  for (const auto& [name, b] : backends) logins.add(labels(name), sum(b, [](const auto& e) { return e.logins.load(); }));
  auto failures = m.counter("weir_backend_login_failures_total", "Logins to the server that failed.");
  for (const auto& [name, b] : backends) failures.add(labels(name), sum(b, [](const auto& e) { return e.login_failures.load(); }));
  auto closed = m.counter("weir_backend_connections_closed_total", "Server connections closed, by reason.");
  for (const auto& [name, b] : backends)
    for (std::size_t i = 0; i < pool::kCloseReasons.size(); ++i)
      closed.add(with(labels(name), "reason", pool::kCloseReasons[i]), sum(b, [i](const auto& e) { return e.closed[i].load(); }));
}

// The bound is one for each PostgreSQL server, whatever databases and roles are on it.
void collect_budgets(MetricFamilies& m, const Backends& backends) {
  std::map<std::string, const pool::Budget*> budgets;
  for (const auto& [name, b] : backends) budgets[name.server] = &b.backends.front()->budget();
  auto used = m.gauge("weir_server_connections_used", "Connections to the PostgreSQL server, logins under way among them, over all databases and users.");
  for (const auto& [server, budget] : budgets) used.add({{"server", server}}, budget->used());
  auto bound = m.gauge("weir_server_connections_max", "How many there may be (pool.max_per_backend).");
  for (const auto& [server, budget] : budgets) bound.add({{"server", server}}, budget->bound());
}

// Outside of the pools' bounds, and in none of the figures above.
void collect_listening(MetricFamilies& m, Proxy& proxy) {
  const TopologyRef topology = proxy.topology();
  const auto counted_as = [&](const std::string& database) {
    const DatabaseState* known = topology->find(database);
    return known && known->use ? topology->fallback->config->name : database;
  };
  const ListenHub::Survey seen = proxy.listen_hub().survey();
  std::map<std::pair<std::string, std::string>, unsigned> connections;
  for (const ListenConnectionInfo& c : seen.connections) connections[{counted_as(c.login.database), c.shard}] += c.backend_pid != 0 ? 1 : 0;
  auto up = m.gauge("weir_listen_connections", "Server connections that listen for clients.");
  for (const auto& [place, count] : connections) up.add({{"database", place.first}, {"shard", place.second}}, count);
  std::map<std::string, std::size_t> clients;
  for (const ListenerInfo& c : seen.channels) clients[counted_as(c.login.database)] += c.clients;
  auto subscriptions = m.gauge("weir_listen_subscriptions", "Channels that clients listen to: each counts once for every client.");
  for (const auto& [database, count] : clients) subscriptions.add({{"database", database}}, count);
}

}  // namespace

std::vector<prometheus::MetricFamily> collect_metrics(Proxy& proxy) {
  std::vector<prometheus::MetricFamily> families;
  collect_process(families);
  MetricFamilies m(families);
  const Survey seen = survey(proxy, kPatience);
  const TopologyRef topology = proxy.topology();   // keeps the backends
  const Backends backends = look_at_backends(proxy, *topology);
  collect_proxy(m, proxy, seen);
  collect_databases(m, proxy);
  collect_routes(m, proxy);
  collect_plan_caches(m, seen);
  collect_topology(m, proxy);
  collect_recovery(m, proxy);
  collect_traffic(m, proxy);
  collect_connections(m, backends, seen);
  collect_health(m, backends);
  collect_connection_events(m, backends);
  collect_budgets(m, backends);
  collect_listening(m, proxy);
  return families;
}

std::string metrics_text(const std::vector<prometheus::MetricFamily>& families) { return prometheus::TextSerializer().Serialize(families); }

}  // namespace weir::proxy
