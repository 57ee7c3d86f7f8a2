#include "proxy/check.hpp"

#include <libpq-fe.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <set>
#include <vector>

#include "base/result.hpp"
#include "base/strings.hpp"
#include "config/load.hpp"
#include "proxy/capacity.hpp"
#include "proxy/client_tls.hpp"
#include "schema/catalog.hpp"
#include "schema/identity.hpp"

namespace weir::proxy {
namespace {

using Params = std::map<std::string, std::string, std::less<>>;
using Row = std::vector<std::optional<std::string>>;

constexpr int kOldestServer = 120000;      // PQserverVersion() of the oldest release whose catalogs are read right
constexpr int kParserMajor = 15;           // libpg_query's

// One line, as every finding is.
std::string flattened(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '\n' && c != '\t') {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

class Findings {
 public:
  explicit Findings(std::ostream& out) : out_(out) {}

  void problem(const config::Problem& problem) {
    out_ << problem.str() << '\n';
    ++errors_;
  }
  void error(std::string_view where, std::string_view what) {
    out_ << "error: " << where << ": " << flattened(what) << '\n';
    ++errors_;
  }
  void warning(std::string_view where, std::string_view what) {
    out_ << "warning: " << where << ": " << flattened(what) << '\n';
    ++warnings_;
  }
  // The last line; the command's exit status.
  int finish(const std::string& path) {
    const auto count = [](unsigned n, std::string_view what) {
      return concat(std::to_string(n), " ", what, n == 1 ? "" : "s");
    };
    out_ << path << ": ";
    if (errors_ == 0) out_ << "ok" << (warnings_ == 0 ? "" : ", ");
    if (errors_ != 0) out_ << count(errors_, "error") << (warnings_ == 0 ? "" : ", ");
    if (warnings_ != 0) out_ << count(warnings_, "warning");
    out_ << '\n';
    return errors_ == 0 ? 0 : 1;
  }

 private:
  std::ostream& out_;
  unsigned errors_ = 0;
  unsigned warnings_ = 0;
};

// PGHOSTADDR and the like would change where a connection leads; not every parameter can be given explicitly.
void forget_environment() {
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconndefaults(), &PQconninfoFree);
  for (const PQconninfoOption* option = options.get(); option != nullptr && option->keyword != nullptr; ++option)
    if (option->envvar != nullptr) ::unsetenv(option->envvar);
}

// Adds the parameters of `conninfo` to `params`, over those that are there.
Result<void> overlay(const std::string& conninfo, Params& params) {
  char* why = nullptr;
  const std::unique_ptr<PQconninfoOption, decltype(&PQconninfoFree)> options(PQconninfoParse(conninfo.c_str(), &why),
                                                                             &PQconninfoFree);
  const std::unique_ptr<char, decltype(&PQfreemem)> message(why, &PQfreemem);
  if (!options)
    return Error(sqlstate::kConfigFile, concat("bad connection string: ", why == nullptr ? "out of memory" : why));
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option)
    if (option->val != nullptr && *option->val != '\0') params[option->keyword] = option->val;
  return {};
}

// How Weir itself would log in there: the backend's string with database.maintenance over it.
Result<Params> params_of(const config::Database& database, const std::string& conninfo) {
  Params params;
  if (auto parsed = overlay(conninfo, params); !parsed) return parsed.take_error();
  if (auto parsed = overlay(database.maintenance, params); !parsed) return parsed.take_error();
  if (!params.contains("user"))
    return Error(sqlstate::kConfigFile, concat("nobody to log in as: set maintenance = \"user=...\" in database ",
                                               database.name, ", or add user= to the connection string"));
  params.emplace("port", "5432");
  params.emplace("dbname", "postgres");   // of the fallback database "*", whose string may name none
  params["gssencmode"] = "disable";
  params["connect_timeout"] = "5";
  params["client_encoding"] = "UTF8";
  params.emplace("sslmode", "prefer");
  // A file that cannot exist: of /dev/null libpq would complain on standard error.
  params.emplace("passfile", "/dev/null/none");
  params.emplace("fallback_application_name", "weir check");
  return params;
}

// A login at one server, with statements that wait at most 10 s.
class Connection {
 public:
  static Result<Connection> open(const Params& params) {
    std::vector<const char*> names, values;
    for (const auto& [name, value] : params) {
      names.push_back(name.c_str());
      values.push_back(value.c_str());
    }
    names.push_back(nullptr);
    values.push_back(nullptr);
    Connection connection(PQconnectdbParams(names.data(), values.data(), 0));
    if (PQstatus(connection.get()) != CONNECTION_OK)
      return Error(sqlstate::kConnectionFailure, flattened(PQerrorMessage(connection.get())));
    if (auto set = connection.query("SELECT set_config('statement_timeout', '10s', false)"); !set)
      return set.take_error();
    return connection;
  }

  Result<std::vector<Row>> query(std::string_view sql) {
    const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(get(), std::string(sql).c_str()), &PQclear);
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
      const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
      return Error(SqlState::parse(code == nullptr ? "" : code), flattened(PQerrorMessage(get())));
    }
    std::vector<Row> rows(static_cast<std::size_t>(PQntuples(result.get())));
    for (int r = 0; r < PQntuples(result.get()); ++r)
      for (int c = 0; c < PQnfields(result.get()); ++c) {
        auto& cell = rows[static_cast<std::size_t>(r)].emplace_back();
        if (!PQgetisnull(result.get(), r, c)) cell = PQgetvalue(result.get(), r, c);
      }
    return rows;
  }

  [[nodiscard]] int version() const { return PQserverVersion(get()); }

 private:
  explicit Connection(PGconn* connection) : connection_(connection) {}
  [[nodiscard]] PGconn* get() const { return connection_.get(); }

  struct Closer {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  std::unique_ptr<PGconn, Closer> connection_;
};

// What a server says of itself.
// https://www.postgresql.org/docs/15/functions-admin.html#FUNCTIONS-RECOVERY-CONTROL
struct ServerFacts {
  bool in_recovery = false;
  std::int64_t connections = 0;  // for ordinary users
  std::int64_t prepared_transactions = 0;
  std::string system;  // equal on a primary and its standbys
  bool receiving = false;
  std::optional<std::int64_t> lag_ms;  // none: nothing was ever replayed
};

constexpr std::string_view kFactsQuery = R"(
SELECT pg_is_in_recovery(),
       current_setting('max_connections')::int - (SELECT sum(setting::int) FROM pg_settings
           WHERE name IN ('superuser_reserved_connections', 'reserved_connections')),
       current_setting('max_prepared_transactions')::int,
       (SELECT system_identifier FROM pg_control_system()),
       EXISTS (SELECT FROM pg_stat_wal_receiver),
       CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE floor(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint END)";

std::int64_t number(const std::optional<std::string>& text) {
  std::int64_t value = 0;
  if (text) std::from_chars(text->data(), text->data() + text->size(), value);
  return value;
}

Result<ServerFacts> facts_of(Connection& connection) {
  auto rows = connection.query(kFactsQuery);
  if (!rows) return rows.take_error();
  const Row& row = rows->at(0);
  ServerFacts facts;
  facts.in_recovery = row[0] == "t";
  facts.connections = number(row[1]);
  facts.prepared_transactions = number(row[2]);
  facts.system = row[3].value_or("");
  facts.receiving = row[4] == "t";
  if (row[5]) facts.lag_ms = number(row[5]);
  return facts;
}

// None where `weirctl init` never ran.
Result<std::optional<schema::Identity>> identity_of(Connection& connection) {
  constexpr SqlState kUndefinedTable{"42P01"}, kUndefinedSchema{"3F000"};
  auto rows = connection.query(schema::identity_query());
  if (!rows && (rows.error().code == kUndefinedTable || rows.error().code == kUndefinedSchema))
    return std::optional<schema::Identity>{};
  if (!rows) return rows.take_error();
  if (rows->empty()) return std::optional<schema::Identity>{};
  const Row& row = rows->at(0);
  return std::optional(
      schema::Identity{row.at(0).value_or(""), row.at(1).value_or(""), static_cast<std::uint64_t>(number(row.at(2)))});
}

Result<std::shared_ptr<const schema::Catalog>> catalog_of(Connection& connection, const config::Database& database) {
  if (auto begun = connection.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); !begun)
    return begun.take_error();
  schema::CatalogBuilder builder(database);
  const auto& queries = schema::catalog_queries();
  for (std::size_t i = 0; i < queries.size(); ++i) {
    auto rows = connection.query(queries[i].sql);
    if (!rows)
      return Error(rows.error().code, concat("reading the catalog (", queries[i].name, "): ", rows.error().message));
    for (const Row& row : *rows)
      if (auto added = builder.add_row(i, schema::CatalogRow(row.begin(), row.end())); !added)
        return added.take_error();
  }
  if (auto ended = connection.query("COMMIT"); !ended) return ended.take_error();
  return builder.finish(1);
}

std::string text_of(const Error& error) {
  return error.hint.empty() ? error.message : concat(error.message, ". ", error.hint);
}

class DatabaseCheck {
 public:
  DatabaseCheck(const config::Database& database, Capacity& capacity, Findings& findings)
      : database_(database), capacity_(capacity), findings_(findings) {}

  void run() {
    for (const config::Shard& shard : database_.shards) {
      primary_system_.clear();
      check_primary(shard);
      for (const config::Replica& replica : shard.replicas) check_replica(shard, replica);
    }
  }

 private:
  [[nodiscard]] std::string where(const config::Shard& shard, std::string_view role,
                                  const std::string& conninfo) const {
    return concat("database ", database_.name, ", shard ", shard.name, ", ", role, " ", server_of(conninfo));
  }

  // Logs in and looks at what matters on primaries and replicas alike; none (reported): no use to look further.
  std::optional<Connection> open(const std::string& at, const std::string& conninfo, ServerFacts& facts) {
    auto params = params_of(database_, conninfo);
    auto connection = params ? Connection::open(*params) : Result<Connection>(params.take_error());
    if (!connection) {
      findings_.error(at, connection.error().message);
      return std::nullopt;
    }
    auto found = facts_of(*connection);
    if (!found) {
      findings_.error(at, found.error().message);
      return std::nullopt;
    }
    facts = std::move(*found);
    check_version(at, connection->version());
    const std::string mistake = capacity_.mistake(server_of(conninfo), facts.connections);
    if (!mistake.empty()) findings_.error(at, mistake);
    return std::move(*connection);
  }

  void check_version(const std::string& at, int version) {
    const std::string major = std::to_string(version / 10000);
    if (version < kOldestServer)
      findings_.error(at, concat("PostgreSQL ", major, " is too old: Weir needs ",
                                 std::to_string(kOldestServer / 10000), " or newer"));
    if (version / 10000 > kParserMajor && database_.sharding)
      findings_.warning(at, concat("PostgreSQL ", major, " is newer than Weir's parser (", std::to_string(kParserMajor),
                                   "): statements with newer syntax are refused"));
  }

  void check_primary(const config::Shard& shard) {
    const std::string at = where(shard, "primary", shard.primary);
    ServerFacts facts;
    auto connection = open(at, shard.primary, facts);
    if (!connection) return;
    primary_system_ = facts.system;
    if (facts.in_recovery)
      findings_.error(at,
                      "is a standby (pg_is_in_recovery() is true): put its primary here, and this one under replicas");
    if (database_.sharding && database_.shards.size() > 1 && facts.prepared_transactions == 0)
      findings_.warning(
          at,
          "max_prepared_transactions is 0: transactions that write to this shard and another need about as many as "
          "pool.max_per_backend; set it in postgresql.conf and restart the server");
    check_identity(at, shard, *connection);
    check_functions(at, shard, *connection);
    check_catalog(at, shard, *connection);
  }

  void check_replica(const config::Shard& shard, const config::Replica& replica) {
    const std::string at = where(shard, "replica", replica.conninfo);
    ServerFacts facts;
    auto connection = open(at, replica.conninfo, facts);
    if (!connection) return;
    if (!primary_system_.empty() && facts.system != primary_system_)
      findings_.error(at,
                      "belongs to another cluster than the shard's primary (its system identifier differs): correct "
                      "the connection string");
    if (facts.in_recovery) {
      check_lag(at, facts);
    } else {
      findings_.error(at, "is no standby (pg_is_in_recovery() is false): if it was promoted, put it under primary");
    }
    check_identity(at, shard, *connection);
  }

  void check_lag(const std::string& at, const ServerFacts& facts) {
    if (!facts.receiving)
      findings_.warning(
          at, "receives nothing from its primary (no WAL receiver runs): look at primary_conninfo and at its log");
    const auto limit = database_.reads.max_lag.count();
    if (limit != 0 && facts.lag_ms.value_or(0) > limit)
      findings_.warning(at, concat("is ", std::to_string(*facts.lag_ms), " ms behind; reads.max_lag is ",
                                   std::to_string(limit), " ms, so that it serves no reads"));
  }

  void check_identity(const std::string& at, const config::Shard& shard, Connection& connection) {
    if (!database_.sharding) return;
    const auto found = identity_of(connection);
    if (!found) return findings_.error(at, concat("reading weir.identity: ", found.error().message));
    if (const auto fits = schema::check_identity(database_, shard.name, *found); !fits)
      return findings_.error(at, text_of(fits.error()));
    if (cluster_.empty()) cluster_ = (*found)->cluster;
    if ((*found)->cluster != cluster_)
      findings_.error(at, concat("is a shard of cluster ", (*found)->cluster, ", the ones before are of ", cluster_,
                                 ": correct the connection string"));
  }

  // Whether distributed transactions could be decided there, and recovered by the maintenance user; and node numbers leased.
  void check_functions(const std::string& at, const config::Shard& shard, Connection& connection) {
    if (!database_.sharding) return;
    const auto rows = connection.query(
        "SELECT to_regnamespace('weir') IS NULL, to_regprocedure('weir.abort(text)') IS NULL OR to_regprocedure('weir.lease_id_node(uuid, text)') IS NULL, "
        "has_function_privilege(to_regprocedure('weir.abort(text)'), 'EXECUTE') AND has_table_privilege(to_regclass('weir.decision'), 'SELECT') "
        "AND has_table_privilege(to_regclass('weir.decision'), 'DELETE'), current_user, "
        "has_function_privilege(to_regprocedure('weir.lease_id_node(uuid, text)'), 'EXECUTE')");
    if (!rows) return findings_.error(at, concat("reading schema weir: ", rows.error().message));
    const Row& row = rows->at(0);
    if (row[0] == "t") return;   // told as a missing identity
    if (row[1] == "t") {
      findings_.warning(at, "schema weir is of an earlier version: run `weirctl init -c weir.toml`");
    } else if (row[2] != "t") {
      findings_.warning(at, concat("user ", row[3].value_or(""),
                                   " cannot recover distributed transactions: it must be the owner of schema weir, or a member of that role"));
    }
    const bool leases = &shard == &database_.shards.front() &&
                        std::ranges::any_of(database_.tables, [](const config::Table& table) { return table.fills_key; });
    if (leases && row[4] != "t")
      findings_.error(at, concat("user ", row[3].value_or(""), " cannot lease node numbers for default_key = \"weir.next_id\": ",
                                 row[4] ? "GRANT EXECUTE ON FUNCTION weir.lease_id_node(uuid, text), weir.release_id_node(uuid, bigint) to it"
                                        : "run `weirctl init -c weir.toml`"));
  }

  void check_catalog(const std::string& at, const config::Shard& shard, Connection& connection) {
    auto catalog = catalog_of(connection, database_);
    if (!catalog) return findings_.error(at, catalog.error().message);
    if (&shard == &database_.shards.front()) {
      home_ = *catalog;
      for (const std::string& sentence : schema::advice(**catalog)) findings_.warning(at, sentence);
    } else if (home_ != nullptr) {
      for (const std::string& sentence :
           schema::differences(*home_, database_.shards.front().name, **catalog, shard.name))
        findings_.error(at, sentence);
    }
  }

  const config::Database& database_;
  Capacity& capacity_;
  Findings& findings_;
  std::string primary_system_;  // of the shard being looked at
  std::string cluster_;         // of the first identity found
  std::shared_ptr<const schema::Catalog> home_;
};

// Names in [admin] that nobody can log in with.
void check_console_users(const config::Settings& settings, Findings& findings) {
  if (settings.auth.method == config::AuthMethod::trust) return;
  for (const auto* names : {&settings.admin.users, &settings.admin.stats_users})
    for (const std::string& name : *names)
      if (settings.find_user(name) == nullptr)
        findings.warning(settings.file, concat("admin: user \"", name, "\" is not in ", settings.auth.users_file,
                                               ", so that nobody can use the console as ", name));
}

}  // namespace

int run_check(const std::string& path, bool connect, std::ostream& out) {
  Findings findings(out);
  const config::LoadResult loaded = config::load(path);
  if (const auto* problems = std::get_if<std::vector<config::Problem>>(&loaded)) {
    for (const config::Problem& problem : *problems) findings.problem(problem);
    return findings.finish(path);
  }
  const auto& settings = std::get<config::Settings>(loaded);
  check_console_users(settings, findings);
  if (auto tls = load_client_tls(settings.tls); !tls)
    findings.error(settings.file, concat(tls.error().message, ". ", tls.error().hint));
  if (connect) {
    forget_environment();
    Capacity capacity(settings);
    for (const config::Database& database : settings.databases) DatabaseCheck(database, capacity, findings).run();
    if (settings.fallback) DatabaseCheck(*settings.fallback, capacity, findings).run();
  }
  return findings.finish(path);
}

}  // namespace weir::proxy
