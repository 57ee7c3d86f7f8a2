#include "proxy/console.hpp"

#include <algorithm>
#include <mutex>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/proxy.hpp"

namespace weir::proxy {

namespace {

constexpr Duration kPauseLimit = std::chrono::hours(1);

std::vector<std::string> words_of(std::string_view sql) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false;
  for (const char c : sql) {
    if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == ';' || std::isspace(static_cast<unsigned char>(c)))) {
      if (!word.empty()) words.push_back(std::exchange(word, {}));
    } else {
      word += c;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

std::string num(std::uint64_t v) { return std::to_string(v); }

std::uint64_t micros(Duration d) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(d).count()));
}

// A steady time point as the wall clock's text.
std::string clock_text(TimePoint t) {
  const auto wall = std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(Clock::now() - t);
  const std::time_t seconds = std::chrono::system_clock::to_time_t(wall);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &parts);
  return text;
}

struct PoolRow {
  unsigned cl_active = 0, cl_waiting = 0, sv_active = 0, sv_idle = 0, sv_login = 0;
  Duration max_wait{};
};

}  // namespace

ByteBuffer Console::execute(std::string_view sql, bool may_change) {
  const std::vector<std::string> words = words_of(sql);
  const std::string verb = words.empty() ? "" : ascii_lower(words[0]);
  if (verb.empty()) {
    wire::write_empty_query_response(out_);
  } else if (verb == "show") {
    show(words.size() > 1 ? ascii_lower(words[1]) : "help");
  } else if (verb == "set" || verb == "begin" || verb == "commit" || verb == "rollback") {
    wire::write_command_complete(out_, verb == "set" ? "SET" : "OK");   // drivers say these by habit
  } else if (!may_change) {
    wire::write_error(out_, wire::Severity::error,
                      {sqlstate::kInsufficientPrivilege, concat(words[0], " needs a user of admin.users"), "stats_users may only SHOW."});
  } else {
    command(verb, words.size() > 1 ? words[1] : "");
  }
  wire::write_ready_for_query(out_, 'I');
  return std::move(out_);
}

void Console::table(std::vector<std::string_view> columns, const std::vector<Row>& rows) {
  std::vector<wire::ColumnDescription> described;
  for (const auto& c : columns) described.push_back({c});
  wire::write_row_description(out_, described);
  for (const Row& row : rows) wire::write_data_row(out_, row);
  wire::write_command_complete(out_, "SHOW");
}

void Console::show(std::string_view what) {
  if (what == "pools") return show_pools();
  if (what == "clients") return show_clients();
  if (what == "servers") return show_servers();
  if (what == "databases") return show_databases();
  if (what == "stats") return show_stats();
  if (what == "shards") return show_shards();
  if (what == "backends") return show_backends();
  if (what == "config") return show_config();
  if (what == "version") return table({"version"}, {{"Weir 0.1.0"}});
  if (what == "help") return show_help();
  wire::write_error(out_, wire::Severity::error,
                    {sqlstate::kSyntaxError, concat("SHOW ", what, " is not known"), "SHOW HELP lists what is."});
}

void Console::show_help() {
  table({"command"}, {{"SHOW POOLS|CLIENTS|SERVERS|DATABASES|STATS|SHARDS|BACKENDS|CONFIG|VERSION"},
                      {"PAUSE [database]"},
                      {"RESUME [database]"},
                      {"RECONNECT [database]"},
                      {"RELOAD"},
                      {"SHUTDOWN"}});
}

// ---- SHOW, with PgBouncer's columns where it has the view; one row a (database, user) ----

void Console::show_pools() {
  std::map<std::pair<std::string, std::string>, PoolRow> rows;
  const TimePoint now = Clock::now();
  for (const auto& pool : proxy_.pools().all()) {
    const auto counts = pool->counts(now);
    PoolRow& row = rows[{pool->backend().id().database, pool->credentials().user}];
    row.sv_active += counts.active;
    row.sv_idle += counts.idle;
    row.sv_login += counts.opening;
    row.max_wait = std::max(row.max_wait, counts.max_wait);
  }
  std::mutex mutex;
  proxy_.on_workers([&](Worker& worker) {
    worker.for_each_session([&](Session& session) {
      const ClientInfo c = session.info();
      if (c.database.empty()) return;
      std::lock_guard lock(mutex);
      // Where the backend's own user serves everybody, clients are counted under that user's pool.
      auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.first == std::pair(c.database, c.user); });
      if (row == rows.end()) row = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.first.first == c.database; });
      if (row == rows.end()) row = rows.emplace(std::pair(c.database, c.user), PoolRow{}).first;
      ++(c.state == "waiting" ? row->second.cl_waiting : row->second.cl_active);
    });
  });
  const config::Settings& settings = *proxy_.topology()->settings;
  static constexpr const char* kModes[] = {"session", "transaction", "statement"};
  std::vector<Row> out;
  for (const auto& [key, r] : rows)
    out.push_back({key.first, key.second, num(r.cl_active), num(r.cl_waiting), "0", "0", num(r.sv_active), "0", "0", num(r.sv_idle),
                   "0", "0", num(r.sv_login), num(micros(r.max_wait) / 1000000), num(micros(r.max_wait) % 1000000),
                   kModes[static_cast<int>(settings.pool.mode)], std::nullopt});
  table({"database", "user", "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active", "sv_active_cancel",
         "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us", "pool_mode", "load_balance_hosts"},
        out);
}

namespace {
constexpr std::string_view kConnectionColumns[] = {
    "type", "user", "database", "replication", "state", "addr", "port", "local_addr", "local_port", "connect_time", "request_time",
    "wait", "wait_us", "close_needed", "ptr", "link", "remote_pid", "tls", "application_name", "prepared_statements", "id"};
}

void Console::show_clients() {
  std::mutex mutex;
  std::vector<Row> out;
  proxy_.on_workers([&](Worker& worker) {
    worker.for_each_session([&](Session& session) {
      const ClientInfo c = session.info();
      const std::uint64_t wait = micros(c.wait);
      std::lock_guard lock(mutex);
      out.push_back({"C", c.user, c.database, "none", c.pinned ? c.state + " (pinned)" : c.state, c.address, num(c.port), std::nullopt,
                     std::nullopt, clock_text(c.connected), clock_text(c.last_request), num(wait / 1000000), num(wait % 1000000), "0",
                     num(c.id), std::nullopt, num(static_cast<std::uint64_t>(c.server_pid)), "", c.application_name, num(c.prepared),
                     num(c.id)});
    });
  });
  table({std::begin(kConnectionColumns), std::end(kConnectionColumns)}, out);
}

void Console::show_servers() {
  std::vector<Row> out;
  for (const auto& pool : proxy_.pools().all()) {
    const pool::Backend& b = pool->backend();
    for (const pool::ServerInfo& s : pool->servers())
      out.push_back({"S", pool->credentials().user, b.id().database, "none", s.active ? "active" : "idle", b.host(), b.port(), std::nullopt,
                     std::nullopt, clock_text(s.created), clock_text(s.last_used), "0", "0", "0", num(s.id),
                     s.client ? num(s.client) : std::string{}, num(static_cast<std::uint64_t>(s.backend_pid)), "", "weir",
                     num(s.prepared), num(s.id)});
  }
  table({std::begin(kConnectionColumns), std::end(kConnectionColumns)}, out);
}

void Console::show_databases() {
  const TopologyRef topology = proxy_.topology();
  const auto paused = proxy_.paused();
  std::vector<Row> out;
  for (const DatabaseState& d : topology->databases) {
    const pool::Backend& home = *d.shards.front().primary;
    unsigned connections = 0;
    for (const auto& pool : proxy_.pools().all())
      if (pool->backend().id().database == d.config->name) {
        const auto c = pool->counts(Clock::now());
        connections += c.active + c.idle + c.opening;
      }
    const std::string user(pool::get(home.id().params, "user"));
    out.push_back({d.config->name, home.host(), home.port(), home.dbname(), user.empty() ? std::optional<std::string>{} : user,
                   num(d.config->pool_size.value_or(topology->settings->pool.size)), num(topology->settings->pool.min), "0",
                   num(static_cast<std::uint64_t>(topology->settings->pool.lifetime.count() / 1000)), std::nullopt, std::nullopt,
                   num(topology->settings->pool.max_per_backend), num(connections), "0", "0", paused.contains(d.config->name) ? "1" : "0", "0"});
  }
  table({"name", "host", "port", "database", "force_user", "pool_size", "min_pool_size", "reserve_pool_size", "server_lifetime", "pool_mode",
         "load_balance_hosts", "max_connections", "current_connections", "max_client_connections", "current_client_connections", "paused",
         "disabled"},
        out);
}

void Console::show_stats() {
  std::vector<Row> out;
  for (const DatabaseState& d : proxy_.topology()->databases) {
    std::uint64_t total[15] = {};
    std::mutex mutex;
    proxy_.on_workers([&](Worker& w) {
      if (const WorkerDatabase* database = w.database(d.config->name)) {
        const DatabaseStats& s = database->stats;
        const Counter* counters[] = {&s.assignments, &s.transactions, &s.queries, &s.received, &s.sent, &s.query_us, &s.query_us, &s.wait_us,
                                     &s.client_parses, &s.server_parses, &s.binds, &s.logins, &s.errors, &s.to_primary, &s.to_replica};
        const std::lock_guard lock(mutex);
        for (std::size_t i = 0; i < std::size(counters); ++i) total[i] += counters[i]->get();
      }
    });
    Row row{d.config->name};
    for (const std::uint64_t v : total) row.push_back(num(v));
    out.push_back(std::move(row));
  }
  table({"database", "total_server_assignment_count", "total_xact_count", "total_query_count", "total_received", "total_sent",
         "total_xact_time", "total_query_time", "total_wait_time", "total_client_parse_count", "total_server_parse_count",
         "total_bind_count", "total_client_login_count", "total_error_count", "total_to_primary", "total_to_replica"},
        out);
}

void Console::show_shards() {
  std::vector<Row> out;
  for (const DatabaseState& d : proxy_.topology()->databases)
    for (std::size_t i = 0; i < d.config->shards.size(); ++i) {
      const config::Shard& s = d.config->shards[i];
      unsigned usable = 0;
      for (const auto& r : d.shards[i].replicas) usable += r->usable() ? 1 : 0;
      out.push_back({d.config->name, s.name, d.sharded() ? config::format_bucket_ranges(s.buckets) : std::string("all"),
                     num(d.map->version()), i == 0 ? "yes" : "no",
                     concat(d.shards[i].primary->host(), ":", d.shards[i].primary->port()), num(s.replicas.size()), num(usable)});
    }
  table({"database", "shard", "buckets", "map_version", "home", "primary", "replicas", "replicas_usable"}, out);
}

void Console::show_backends() {
  static constexpr const char* kBreaker[] = {"closed", "open", "half-open"};
  const TimePoint now = Clock::now();
  std::vector<Row> out;
  const auto add = [&](const pool::Backend& b) {
    pool::PoolCounts sum;
    for (const auto& pool : proxy_.pools().all())
      if (&pool->backend() == &b) {
        const auto c = pool->counts(now);
        sum.active += c.active;
        sum.idle += c.idle;
        sum.opening += c.opening;
        sum.waiting += c.waiting;
      }
    const policy::Probe probe = b.last_probe();
    const auto lag = probe.lag ? std::optional(num(micros(*probe.lag) / 1000)) : std::nullopt;
    out.push_back({b.id().database, b.id().shard_name, b.id().role == policy::Role::primary ? "primary" : "replica", b.host(), b.port(),
                   b.dbname(), b.usable() ? "usable" : "not usable", b.why_not(), kBreaker[static_cast<int>(b.breaker_state(now))], lag,
                   num(sum.active), num(sum.idle), num(sum.opening), num(sum.waiting), num(b.budget().used()), num(b.budget().high_water()),
                   num(b.budget().bound())});
  };
  for (const DatabaseState& d : proxy_.topology()->databases)
    for (const ShardBackends& s : d.shards) {
      add(*s.primary);
      for (const auto& r : s.replicas) add(*r);
    }
  table({"database", "shard", "role", "host", "port", "dbname", "state", "reason", "breaker", "lag_ms", "active", "idle", "login", "waiting",
         "server_connections", "server_connections_max_seen", "server_connections_bound"},
        out);
}

void Console::show_config() {
  std::vector<Row> out;
  for (const auto& line : config::describe(*proxy_.topology()->settings))
    out.push_back({line.key, line.value, line.default_value, line.reloadable ? "yes" : "no"});
  table({"key", "value", "default", "changeable"}, out);
}

// ---- commands ----

void Console::command(const std::string& verb, const std::string& argument) {
  const auto done = [&](const Result<void>& result, std::string_view tag) {
    if (result)
      wire::write_command_complete(out_, tag);
    else
      wire::write_error(out_, wire::Severity::error, result.error());
  };
  if (verb == "pause") {
    auto paused = proxy_.pause(argument, Deadline::after(Clock::now(), kPauseLimit));
    if (paused && *paused) return done({}, "PAUSE");
    return done(paused ? Error(sqlstate::kQueryCanceled, "PAUSE was ended before all servers were idle", "RESUME, and look for long transactions.")
                       : paused.take_error(), "");
  }
  if (verb == "resume") return done(proxy_.resume(argument), "RESUME");
  if (verb == "reconnect") return done(proxy_.reconnect(argument), "RECONNECT");
  if (verb == "reload") return reload();
  if (verb == "shutdown") {
    proxy_.ask_shutdown();
    return done({}, "SHUTDOWN");
  }
  wire::write_error(out_, wire::Severity::error, {sqlstate::kSyntaxError, concat("unknown command ", verb), "SHOW HELP lists the commands."});
}

void Console::reload() {
  const Proxy::ReloadOutcome outcome = proxy_.reload();
  for (const std::string& line : outcome.lines) {
    if (outcome.ok)
      wire::write_notice(out_, wire::Severity::warning, {sqlstate::kConfigFile, line});
  }
  if (outcome.ok) return wire::write_command_complete(out_, "RELOAD");
  Error error(sqlstate::kConfigFile, "the configuration was not reloaded: the old one serves on", "weir check names all mistakes.");
  for (const std::string& line : outcome.lines) error.detail += line + "\n";
  wire::write_error(out_, wire::Severity::error, error);
}

}  // namespace weir::proxy
