#include "migrate/session.hpp"

#include <pqxx/except>
#include <pqxx/nontransaction>
#include <pqxx/result>

#include "config/load.hpp"
#include "router/client/conninfo.hpp"

namespace weir::migrate {

namespace {

bool exists(pqxx::transaction_base& tx, const std::string& relation) {
  return !tx.exec1("SELECT to_regclass(" + tx.quote(relation) + ")")[0].is_null();
}

void require_primary(Session& session) {
  pqxx::nontransaction tx{*session};
  if (tx.exec1("SELECT pg_is_in_recovery()")[0].as<bool>())
    throw Failure("shard " + session.shard() + " (" + session.label() +
                  ") is in recovery, but weir.toml names it as primary; correct `primary`, or promote it");
}

}  // namespace

std::string maintenance_conninfo(const config::Database& database, const std::string& conninfo) {
  const std::string own =
      database.maintenance.empty() ? conninfo : client::merge_conninfo(conninfo, database.maintenance);
  client::ConninfoMap parts = client::parse_conninfo(client::with_weir_defaults(own, "weirctl"));
  parts.emplace("connect_timeout", "10");
  return client::format_conninfo(parts);
}

Session::Session(const config::Database& database, const std::string& shard, const std::string& conninfo)
    : shard_(shard), label_(client::conninfo_label(conninfo)) {
  try {
    connection_ = std::make_unique<pqxx::connection>(maintenance_conninfo(database, conninfo));
  } catch (const pqxx::failure& e) {
    throw Failure("shard " + shard + " of database " + database.name + " (" + label_ +
                  ") cannot be reached: " + e.what());
  }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  connection_->inhibit_reactivation(true);
#pragma GCC diagnostic pop
  quiet_ = std::make_unique<pqxx::quiet_errorhandler>(*connection_);
}

std::vector<Session> connect_primaries(const config::Database& database) {
  std::vector<Session> sessions;
  for (const auto& shard : database.shards) {
    sessions.emplace_back(database, shard.name, shard.primary);
    require_primary(sessions.back());
  }
  return sessions;
}

// Looked for first: an error would spoil the transaction.
std::optional<schema::Identity> read_identity(pqxx::transaction_base& tx) {
  if (!exists(tx, "weir.identity")) return std::nullopt;
  const pqxx::result rows = tx.exec(std::string(schema::identity_query()));
  if (rows.empty()) return std::nullopt;
  return schema::Identity{rows[0][0].as<std::string>(), rows[0][1].as<std::string>(), rows[0][2].as<std::uint64_t>()};
}

config::Settings load_settings(const std::string& file) {
  auto loaded = config::load(file, {.require_auth = false});
  if (auto* settings = std::get_if<config::Settings>(&loaded)) return std::move(*settings);
  std::string message = file + " has mistakes:";
  for (const auto& problem : std::get<std::vector<config::Problem>>(loaded)) message += "\n  " + problem.str();
  throw Failure(message);
}

std::vector<const config::Database*> databases_of(const config::Settings& settings, const std::string& name) {
  std::vector<const config::Database*> chosen;
  for (const auto& database : settings.databases)
    if (name.empty() || database.name == name) chosen.push_back(&database);
  if (chosen.empty())
    throw Failure(settings.file + " has no database " + (name.empty() ? "at all" : "\"" + name + "\""));
  return chosen;
}

const config::Database& one_database(const config::Settings& settings, const std::string& name) {
  const auto chosen = databases_of(settings, name);
  if (chosen.size() == 1) return *chosen.front();
  std::string names;
  for (const auto* database : chosen) names += " " + database->name;
  throw Failure(settings.file + " holds several databases; choose one with --database:" + names);
}

}  // namespace weir::migrate
