#include "proxy/catalogs.hpp"

#include <libpq-fe.h>

#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "schema/bucket.hpp"

namespace weir::proxy {

namespace {

using PgResult = std::unique_ptr<PGresult, decltype(&PQclear)>;

Result<PgResult> exec(PGconn* conn, const std::string& sql, ExecStatusType wanted) {
  PgResult result(PQexec(conn, sql.c_str()), &PQclear);
  if (PQresultStatus(result.get()) == wanted) return result;
  const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  return Error(code ? SqlState::parse(code) : sqlstate::kConnectionFailure, concat("reading the catalog: ", PQerrorMessage(conn)));
}

schema::CatalogRow row_of(const PGresult* result, int row) {
  schema::CatalogRow out;
  for (int c = 0; c < PQnfields(result); ++c)
    out.push_back(PQgetisnull(result, row, c) ? std::nullopt
                                              : std::optional<std::string_view>(PQgetvalue(result, row, c)));
  return out;
}

std::uint64_t mix_row(std::uint64_t hash, const schema::CatalogRow& row) {
  for (const auto& cell : row) hash = schema::hash_bytes_extended(as_bytes(cell.value_or("\x01")), hash) + 1;
  return hash;
}

}  // namespace

pool::ConnParams maintenance_params(const config::Database& database, const pool::Backend& backend) {
  pool::ConnParams params = backend.id().params;
  pool::set(params, "dbname", backend.dbname());
  // Tells the few connections outside of max_per_backend from those that serve clients.
  if (pool::get(params, "fallback_application_name").empty()) pool::set(params, "fallback_application_name", "weir maintenance");
  if (auto over = pool::parse_conninfo(database.maintenance))
    for (const auto& [name, value] : *over) pool::set(params, name, value);
  return params;
}

Result<LoadedCatalog> load_catalog(const config::Database& database, const ShardBackends& shard, const pool::LoginCheck& check,
                                   Deadline deadline) {
  auto conn = pool::connect_blocking(maintenance_params(database, *shard.primary), {}, deadline);
  if (!conn) return conn.take_error();
  if (check)
    if (auto checked = check(pool::run_query_by(conn->get())); !checked) return checked.take_error();
  if (auto begun = exec(conn->get(), "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", PGRES_COMMAND_OK); !begun) return begun.take_error();
  schema::CatalogBuilder builder(database);
  std::optional<schema::CatalogBuilder> observer;
  if (database.observed) observer.emplace(*database.observed);
  LoadedCatalog loaded;
  const auto& queries = schema::catalog_queries();
  for (std::size_t q = 0; q < queries.size(); ++q) {
    auto result = exec(conn->get(), std::string(queries[q].sql), PGRES_TUPLES_OK);
    if (!result) return result.take_error();
    for (int r = 0; r < PQntuples(result->get()); ++r) {
      const schema::CatalogRow row = row_of(result->get(), r);
      loaded.fingerprint = mix_row(loaded.fingerprint + q, row);
      if (auto added = builder.add_row(q, row); !added) return added.take_error();
      if (observer)
        if (auto added = observer->add_row(q, row); !added) return added.take_error();
    }
  }
  if (auto ended = exec(conn->get(), "COMMIT", PGRES_COMMAND_OK); !ended) return ended.take_error();
  auto catalog = builder.finish(loaded.fingerprint);
  if (!catalog) return catalog.take_error();
  loaded.catalog = std::move(*catalog);
  if (!observer) return loaded;
  // Rules that do not fit are for the log: nothing depends on them yet.
  if (auto observed = observer->finish(loaded.fingerprint))
    loaded.observed = std::move(*observed);
  else
    loaded.observed_problem = observed.error().message;
  return loaded;
}

LoadedCatalog keep_alive(LoadedCatalog loaded, const Topology& topology, const DatabaseState& database) {
  for (std::shared_ptr<const schema::Catalog>* catalog : {&loaded.catalog, &loaded.observed}) {
    const schema::Catalog* raw = catalog->get();
    if (raw) *catalog = {raw, [kept = *catalog, settings = topology.settings, own = database.own_config](const schema::Catalog*) {}};
  }
  return loaded;
}

Catalogs::Catalogs(std::function<TopologyRef()> topology, Publish publish)
    : topology_(std::move(topology)), publish_(std::move(publish)), thread_([this] { run(); }) {}

Catalogs::~Catalogs() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Catalogs::refresh_soon(const std::string& database) {
  std::lock_guard lock(mutex_);
  wanted_.insert(database);
  wake_.notify_all();
}

void Catalogs::refresh_then(const std::string& database, std::function<void()> told) {
  std::lock_guard lock(mutex_);
  wanted_.insert(database);
  to_tell_[database].push_back(std::move(told));
  wake_.notify_all();
}

void Catalogs::refresh_all() {
  std::lock_guard lock(mutex_);
  for (const auto& [name, known] : known_) wanted_.insert(name);
  wake_.notify_all();
}

void Catalogs::wait_first_round(Deadline deadline) {
  std::unique_lock lock(mutex_);
  wake_.wait_until(lock, deadline.at(), [this] { return first_round_done_ || stopping_; });
}

void Catalogs::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const TopologyRef topology = topology_();
    TimePoint next = Clock::now() + kRetry;
    bool loaded_one_of_many = false;
    forget_removed(*topology);
    for (const DatabaseState& database : topology->databases) {
      if (database.use && !database.shards.front().primary->proven) {   // nobody knows whether it exists
        known_.erase(database.config->name);
        wanted_.erase(database.config->name);
        continue;
      }
      Known& known = known_[database.config->name];
      if (!wanted_.contains(database.config->name) && known.next > Clock::now()) continue;
      if (database.use && std::exchange(loaded_one_of_many, true)) continue;   // the named ones must not wait for many
      wanted_.erase(database.config->name);
      const auto to_tell = std::exchange(to_tell_[database.config->name], {});
      lock.unlock();
      const auto changed = load(topology, database);
      for (const auto& told : to_tell) told();
      if (changed) compare_shards(database, *changed);
      lock.lock();
      if (stopping_) return;
    }
    first_round_done_ = true;
    wake_.notify_all();
    for (const auto& [name, known] : known_) next = std::min(next, std::max(known.next, Clock::now()));
    wake_.wait_until(lock, next, [this] { return stopping_ || !wanted_.empty(); });
  }
}

// The fallback's databases come and go. With the lock held; whoever wants to be told of one is told that nothing will come.
void Catalogs::forget_removed(const Topology& topology) {
  const auto removed = [&](const std::string& name) { return topology.find(name) == nullptr; };
  std::erase_if(known_, [&](const auto& entry) { return removed(entry.first); });
  std::erase_if(wanted_, removed);
  std::erase_if(to_tell_, [&](const auto& entry) {
    if (!removed(entry.first)) return false;
    for (const auto& told : entry.second) told();
    return true;
  });
}

// What was published; null: nothing new.
std::shared_ptr<const schema::Catalog> Catalogs::load(const TopologyRef& topology, const DatabaseState& database) {
  const std::string& name = database.config->name;
  const auto home_check = database.checks.empty() ? pool::LoginCheck{} : database.checks.front();
  auto loaded = load_catalog(*database.config, database.shards.front(), home_check, Deadline::after(Clock::now(), std::chrono::seconds(5)));
  std::unique_lock lock(mutex_);
  Known& known = known_[name];
  known.next = Clock::now() + (database.use ? kRefreshFallback : loaded ? kRefresh : kRetry);
  if (!loaded) {
    if (!known.loaded) {
      lock.unlock();
      publish_(name, {}, loaded.error().message);
    }
    return nullptr;
  }
  if (known.loaded && known.fingerprint == loaded->fingerprint && known.settings == topology->settings_version && known.own_config == database.own_config)
    return nullptr;
  known = {loaded->fingerprint, topology->settings_version, database.own_config, true, known.next};
  lock.unlock();
  std::shared_ptr<const schema::Catalog> home = loaded->catalog;
  loaded->settings_version = topology->settings_version;
  publish_(name, keep_alive(std::move(*loaded), *topology, database), "");
  return home;
}

// Shards that differ would answer wrongly: said loudly, each difference by name.
void Catalogs::compare_shards(const DatabaseState& database, const schema::Catalog& home) {
  for (std::size_t i = 1; i < database.shards.size(); ++i) {
    const auto other = load_catalog(*database.config, database.shards[i], database.checks[i], Deadline::after(Clock::now(), std::chrono::seconds(5)));
    const auto& names = database.config->shards;
    if (!other) {
      log::warning(concat("database ", database.config->name, ", shard ", names[i].name, ": ", other.error().message));
      continue;
    }
    for (const std::string& d : schema::differences(home, names[0].name, *other->catalog, names[i].name))
      log::error(concat("database ", database.config->name, ": ", d));
  }
}

}  // namespace weir::proxy
