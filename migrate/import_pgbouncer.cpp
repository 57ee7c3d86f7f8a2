#include "migrate/import_pgbouncer.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "base/strings.hpp"
#include "config/pgbouncer_names.hpp"
#include "config/scram_secret.hpp"
#include "migrate/import_settings.hpp"
#include "migrate/pgbouncer_files.hpp"
#include "migrate/session.hpp"
#include "migrate/toml_text.hpp"

namespace weir::migrate {

namespace {

constexpr std::string_view kDefaultAuthQuery =
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname = $1 AND rolcanlogin";
constexpr std::int64_t kMaxConnections = 262143;

std::string duration(std::int64_t ms) {
  if (ms == 0) return "\"0\"";
  return ms % 1000 == 0 ? concat("\"", std::to_string(ms / 1000), "s\"") : concat("\"", std::to_string(ms), "ms\"");
}

// A value of a libpq connection string.
std::string conninfo_value(std::string_view value) {
  if (!value.empty() && value.find_first_of(" '\\\t\n") == value.npos) return std::string(value);
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

bool is_md5(std::string_view secret) { return config::secret_kind(secret) == config::SecretKind::md5; }

class Importer {
 public:
  explicit Importer(PgBouncerFiles files) : files_(std::move(files)), notes_(files_.notes) {}

  Imported run() {
    write_listen();
    write_admin();
    write_log();
    write_auth();
    write_tls();
    write_pool();
    for (const PgBouncerItem& peer : files_.peers) write_peer(peer);
    for (const PgBouncerItem& database : files_.databases) write_database(database);
    write_users();
    name_unlike_settings();
    Imported imported;
    TomlText head;
    head.comment(concat("Written by weirctl import from ", files_.ini, "; see docs/from-pgbouncer.md."));
    for (const std::string& note : notes_) head.comment(note);
    imported.weir_toml = head.str() + toml_.str();
    imported.users_toml = users_toml_.str();
    imported.notes = notes_;
    return imported;
  }

 private:
  // ---- asking ----

  const IniEntry* setting(std::string_view name) {
    done_.emplace(name);
    const auto it = files_.settings.find(name);
    return it == files_.settings.end() ? nullptr : &it->second;
  }
  std::string value(std::string_view name, std::string_view otherwise = "") {
    const IniEntry* entry = setting(name);
    return entry ? entry->value : std::string(otherwise);
  }
  [[nodiscard]] std::string where(std::string_view name) const {
    const auto it = files_.settings.find(name);
    return it == files_.settings.end() ? files_.ini : it->second.where;
  }
  void note(const std::string& at, std::string_view name, std::string_view text) { notes_.push_back(concat(at, ": ", name, ": ", text)); }

  // A number of Weir's within its bounds; outside of them it is moved to the nearest one, which is said.
  std::int64_t bounded(double wanted, std::int64_t least, std::int64_t most, const std::string& at, std::string_view name, std::string_view unit) {
    const auto whole = static_cast<std::int64_t>(std::llround(std::min(wanted, 1e15)));
    const std::int64_t got = std::clamp(whole, least, most);
    if (got != whole) note(at, name, concat(std::to_string(whole), unit, " became ", std::to_string(got), unit, ", the nearest that Weir takes"));
    return got;
  }

  // ---- [pgbouncer] ----

  void write_imported(std::string_view table) {
    using Unit = config::PgBouncerName::Unit;
    for (const ImportedSetting& s : imported_settings()) {
      const config::PgBouncerName& known = *config::find_pgbouncer_name(s.name);
      const std::size_t dot = known.key.find('.');
      const std::string_view key = known.key.substr(dot + 1);
      if (known.key.substr(0, dot) != table || s.name == "min_pool_size" || s.name == "reserve_pool_size") continue;
      const std::string text = value(s.name, s.fallback);
      if (known.unit == Unit::flag) {
        const auto on = pgbouncer_flag(text);
        if (!on) throw Failure(concat(where(s.name), ": ", s.name, ": expected 0 or 1, got ", text));
        toml_.raw(key, *on ? "true" : "false");
        continue;
      }
      const auto n = pgbouncer_number(text);
      if (!n) throw Failure(concat(where(s.name), ": ", s.name, ": expected a number, got ", text));
      if (known.unit == Unit::seconds)
        // 0 is "never" in both, but where Weir insists on an end: then the longest.
        toml_.raw(key, duration(bounded(*n == 0 && s.least > 0 ? static_cast<double>(s.most) : *n * 1000, s.least, s.most, where(s.name), s.name, " ms")));
      else
        toml_.raw(key, std::to_string(bounded(*n, s.least, s.most, where(s.name), s.name, "")));
    }
  }

  void write_listen() {
    toml_.table("[listen]");
    toml_.raw("address", toml_strings(pgbouncer_list(value("listen_addr"))));
    std::string folder = value("unix_socket_dir", "/tmp");
    if (folder.starts_with("@")) {
      note(where("unix_socket_dir"), "unix_socket_dir", "Weir has no abstract sockets: name a folder");
      folder.clear();
    }
    if (!folder.empty()) toml_.text("unix_socket_dir", files_.path(folder));
    write_imported("listen");
  }

  void write_admin() {
    toml_.table("[admin]");
    toml_.raw("users", toml_strings(pgbouncer_list(value("admin_users"))));
    toml_.raw("stats_users", toml_strings(pgbouncer_list(value("stats_users"))));
  }

  void write_log() {
    toml_.table("[log]");
    if (pgbouncer_number(value("verbose", "0")).value_or(0) > 0) toml_.text("level", "debug");
    const double period = pgbouncer_flag(value("log_stats", "1")).value_or(true) ? pgbouncer_number(value("stats_period", "60")).value_or(60) : 0;
    toml_.raw("stats_interval", duration(bounded(period * 1000, 0, 86'400'000, where("stats_period"), "stats_period", " ms")));
    write_imported("log");
  }

  void write_auth() {
    static const std::map<std::string, std::pair<std::string, std::string>, std::less<>> kTypes{
        {"trust", {"trust", "Weir lets everybody in by any name, PgBouncer only names of auth_file"}},
        {"any", {"trust", "Weir asks for no password then, but the client's own name counts"}},
        {"plain", {"scram-sha-256", "clear-text passwords are not asked for: clients answer by SCRAM"}},
        {"pam", {"scram-sha-256", "Weir has no PAM: use auth.query or the users file"}},
        {"ldap", {"scram-sha-256", "Weir has no LDAP: use auth.query or the users file"}}};
    toml_.table("[auth]");
    method_ = value("auth_type", "md5");
    if (const auto unlike = kTypes.find(method_); unlike != kTypes.end()) {
      note(where("auth_type"), concat("auth_type = ", method_), unlike->second.second);
      method_ = unlike->second.first;
    }
    toml_.text("method", method_);
    toml_.text("users_file", "users.toml");
    if (const std::string hba = value("auth_hba_file"); !hba.empty()) toml_.text("hba_file", files_.path(hba));
    auth_user_ = value("auth_user");
    const std::string query = value("auth_query", kDefaultAuthQuery), database = value("auth_dbname");
    for (const PgBouncerItem& d : files_.databases)
      if (auth_user_.empty()) auth_user_ = d.get("auth_user");
    if (auth_user_.empty()) return;
    toml_.text("query", query);
    toml_.text("query_user", auth_user_);
    const auto is_fallback = [](const PgBouncerItem& d) { return d.name == config::kFallbackName; };
    if (database.empty() && std::any_of(files_.databases.begin(), files_.databases.end(), is_fallback)) {
      note(files_.ini, "auth_query", "asks \"postgres\", since with \"*\" clients would choose the database: if it cannot answer there, set auth.query_database");
      return toml_.text("query_database", "postgres");
    }
    if (database.empty()) return;
    const auto serves = [&](const PgBouncerItem& d) { return d.name == database || d.name == config::kFallbackName; };
    if (std::any_of(files_.databases.begin(), files_.databases.end(), serves))
      toml_.text("query_database", database);
    else
      note(where("auth_dbname"), "auth_dbname", "is no database that Weir serves: auth.query asks the one that the client wants");
  }

  void write_tls() {
    static constexpr std::pair<std::string_view, std::string_view> kFiles[] = {
        {"client_tls_cert_file", "certificate"}, {"client_tls_key_file", "key"}, {"client_tls_ca_file", "ca"}};
    toml_.table("[tls]");
    toml_.text("client", value("client_tls_sslmode", "disable"));
    for (const auto& [name, key] : kFiles)
      if (const std::string file = value(name); !file.empty()) toml_.text(key, files_.path(file));
    static const std::set<std::string, std::less<>> kKeywords{"", "default", "secure", "fast", "normal", "all"};
    if (const std::string ciphers = value("client_tls_ciphers"); !kKeywords.contains(ciphers)) toml_.text("ciphers", ciphers);
    const std::string protocols = ascii_lower(value("client_tls_protocols", "secure"));
    if (protocols == "tlsv1.3") toml_.text("min_version", "TLSv1.3");
    for (const std::string& protocol : pgbouncer_list(protocols))
      if (protocol == "all" || protocol == "legacy" || protocol == "tlsv1.0" || protocol == "tlsv1.1")
        note(where("client_tls_protocols"), concat("client_tls_protocols = ", protocol), "TLS 1.2 is the oldest version that Weir speaks");
  }

  void write_pool() {
    const std::string mode = value("pool_mode", "session");
    const double size = pgbouncer_number(value("default_pool_size", "20")).value_or(20);
    const double reserve = pgbouncer_number(value("reserve_pool_timeout", "5")).value_or(5) > 0 ? pgbouncer_number(value("reserve_pool_size", "0")).value_or(0) : 0;
    toml_.table("[pool]");
    toml_.text("mode", mode);
    write_imported("pool");
    // PgBouncer caps it as silently.
    toml_.raw("min", std::to_string(static_cast<std::int64_t>(std::min(pgbouncer_number(value("min_pool_size", "0")).value_or(0), size))));
    toml_.raw("reserve", std::to_string(bounded(reserve, 0, kMaxConnections, where("reserve_pool_size"), "reserve_pool_size", "")));
    toml_.comment("The most that PgBouncer could open on one server with the databases and users of its files. weir check --connect");
    toml_.comment("compares it with PostgreSQL's max_connections: lower it to what the server bears.");
    toml_.raw("max_per_backend", std::to_string(most_connections(size + reserve)));
  }

  // Over all servers, the sum of what the databases behind one may take.
  [[nodiscard]] std::int64_t most_connections(double pool) {
    const double everybody = pgbouncer_number(value("max_db_connections", "0")).value_or(0);
    std::map<std::string, double> servers;
    for (const PgBouncerItem& d : files_.databases) {
      const double size = d.find("pool_size") ? pgbouncer_number(d.get("pool_size")).value_or(0) + pool - pgbouncer_number(value("default_pool_size", "20")).value_or(20) : pool;
      double most = size * (d.find("user") ? 1.0 : std::max<double>(1, static_cast<double>(files_.users.size())));
      const double bound = pgbouncer_number(d.get("max_db_connections")).value_or(everybody);
      if (bound > 0) most = std::min(most, bound);
      servers[concat(d.get("host"), ":", d.get("port", "5432"))] += most;
    }
    double most = 1;
    for (const auto& [server, sum] : servers) most = std::max(most, sum);
    return static_cast<std::int64_t>(std::min<double>(most, kMaxConnections));
  }

  void name_unlike_settings() {
    for (const auto& [name, entry] : files_.settings) {
      if (done_.contains(name)) continue;
      const UnlikeSetting* unlike = unlike_setting(name);
      note(entry.where, name, unlike ? unlike->instead : "PgBouncer has no such setting");
    }
  }

  // ---- [peers] ----

  void write_peer(const PgBouncerItem& peer) {
    const auto id = pgbouncer_number(peer.name);
    if (!id || *id < 1 || *id > 255) return note(peer.where, concat("peer ", peer.name), "Weir's peers have numbers from 1 to 255");
    toml_.table("[[peer]]");
    toml_.raw("id", std::to_string(static_cast<int>(*id)));
    const std::string host = peer.get("host", "/tmp");
    toml_.text("address", host.starts_with("/") ? host : concat(host, ":", peer.get("port", "6432")));
    if (peer.find("pool_size")) note(peer.where, "pool_size of a peer", "cancel requests have their own threads");
    name_unlike_parameters(peer, "peer", {"host", "port", "pool_size"});
  }

  // ---- [databases] ----

  void write_database(const PgBouncerItem& d) {
    toml_.table("[[database]]");
    toml_.text("name", d.name);
    write_overrides(d, {{"min_pool_size", "pool_min"}, {"reserve_pool", "pool_reserve"}, {"max_db_connections", "max_server_connections"},
                        {"max_db_client_connections", "max_clients"}});
    write_bounds_of_all(d, {{"max_db_connections", "max_server_connections"}, {"max_db_client_connections", "max_clients"}});
    if (d.name == config::kFallbackName)
      note(d.where, "*", "how many databases it stands for nobody knows: pool.max_per_backend counts them as one, pool.max_fallback_databases bounds them");
    if (!d.find("user")) write_maintenance(d);
    toml_.table("[[database.shard]]");
    toml_.text("name", "main");
    toml_.text("primary", conninfo(d));
    name_unlike_parameters(d, "database",
                           {"host", "port", "dbname", "user", "password", "application_name", "client_encoding", "datestyle", "timezone", "pool_size",
                            "pool_mode", "min_pool_size", "reserve_pool", "reserve_pool_size", "max_db_connections", "max_db_client_connections",
                            "query_timeout", "transaction_timeout", "idle_transaction_timeout", "client_idle_timeout"});
  }

  // Settings of a database or user that override [pool]. `own`: those that only this kind of item has.
  void write_overrides(const PgBouncerItem& item, std::vector<std::pair<std::string_view, std::string_view>> own) {
    own.insert(own.end(), {{"pool_size", "pool_size"}, {"reserve_pool_size", "pool_reserve"}});
    if (const std::string* mode = item.find("pool_mode")) toml_.text("pool_mode", *mode);
    for (const auto& [name, key] : own) {
      const std::string* text = item.find(name);
      const auto n = text ? pgbouncer_number(*text) : std::nullopt;
      if (text && !n) throw Failure(concat(item.where, ": ", name, ": expected a number, got ", *text));
      const bool none_allowed = key == "pool_reserve" || key == "pool_min";
      if (n && (*n > 0 || none_allowed)) toml_.raw(key, std::to_string(bounded(*n, 0, kMaxConnections, item.where, name, "")));
    }
    for (const std::string_view name : {"query_timeout", "transaction_timeout", "idle_transaction_timeout", "client_idle_timeout"})
      if (const auto seconds = pgbouncer_number(item.get(name))) toml_.raw(name, duration(static_cast<std::int64_t>(*seconds * 1000)));
  }

  // PgBouncer's bounds for every database or user; Weir's stand at each.
  void write_bounds_of_all(const PgBouncerItem& item, const std::vector<std::pair<std::string_view, std::string_view>>& bounds) {
    for (const auto& [name, key] : bounds) {
      const auto n = pgbouncer_number(value(name, "0"));
      if (!item.find(name) && n && *n > 0) toml_.raw(key, std::to_string(bounded(*n, 1, kMaxConnections, where(name), name, "")));
    }
  }

  void write_maintenance(const PgBouncerItem& d) {
    const std::string user = d.get("auth_user", auth_user_);
    if (user.empty())
      return note(d.where, concat("database ", d.name),
                  "nobody is known to monitor its server: add maintenance = \"user=... password=...\" (any login role)");
    std::string text = concat("user=", conninfo_value(user));
    if (const std::string password = plain_password(user); !password.empty()) text += concat(" password=", conninfo_value(password));
    toml_.text("maintenance", text);
  }

  [[nodiscard]] std::string plain_password(const std::string& user) const {
    const auto it = files_.secrets.find(user);
    return it == files_.secrets.end() || config::secret_kind(it->second) != config::SecretKind::plain ? "" : it->second;
  }

  std::string conninfo(const PgBouncerItem& d) {
    std::string host = d.get("host");
    if (const auto hosts = pgbouncer_list(host); hosts.size() > 1) {
      note(d.where, concat("host of database ", d.name), concat("Weir takes one host a connection string: only ", hosts[0], " is used; list replicas under replicas"));
      host = hosts[0];
    }
    if (host.empty()) host = value("unix_socket_dir", "/tmp");
    std::string text = concat("host=", conninfo_value(host), " port=", d.get("port", "5432"));
    // "*": each client's own.
    if (d.name != config::kFallbackName || d.find("dbname")) text += concat(" dbname=", conninfo_value(d.get("dbname", d.name)));
    if (const std::string* user = d.find("user")) {
      text += concat(" user=", conninfo_value(*user));
      const std::string password = d.get("password", plain_password(*user));
      if (!password.empty()) text += concat(" password=", conninfo_value(password));
      if (password.empty() && files_.secrets.contains(*user))
        note(d.where, concat("user of database ", d.name), "its password is known only as a secret: add password= to the primary's string if the server asks for it");
    }
    if (const std::string* name = d.find("application_name")) text += concat(" application_name=", conninfo_value(*name));
    text += server_options(d);
    if (!host.starts_with("/")) text += server_tls();
    return text;
  }

  // A server's settings at log-in, which a client's own override.
  static std::string server_options(const PgBouncerItem& d) {
    std::string options;
    for (const std::string_view name : {"client_encoding", "datestyle", "timezone"})
      if (const std::string* value = d.find(name)) {
        options += concat(options.empty() ? "" : " ", "-c ", name, "=");
        for (const char c : *value) options += concat(c == ' ' || c == '\\' ? "\\" : "", std::string_view(&c, 1));
      }
    return options.empty() ? "" : concat(" options=", conninfo_value(options));
  }

  std::string server_tls() {
    static constexpr std::pair<std::string_view, std::string_view> kFiles[] = {
        {"server_tls_ca_file", "sslrootcert"}, {"server_tls_key_file", "sslkey"}, {"server_tls_cert_file", "sslcert"}};
    std::string text;
    if (const std::string mode = value("server_tls_sslmode"); !mode.empty()) text += concat(" sslmode=", mode);
    for (const auto& [name, key] : kFiles)
      if (const std::string file = value(name); !file.empty()) text += concat(" ", key, "=", conninfo_value(files_.path(file)));
    if (ascii_lower(value("server_tls_protocols")) == "tlsv1.3") text += " ssl_min_protocol_version=TLSv1.3";
    return text;
  }

  void name_unlike_parameters(const PgBouncerItem& item, std::string_view kind, const std::set<std::string, std::less<>>& known) {
    static const std::map<std::string_view, std::string_view> kUnlike{
        {"connect_query", "not run: write its SETs as options='-c name=value' into the primary's string, or use ALTER ROLE ... SET"},
        {"auth_user", "Weir has one auth.query_user for all databases"},
        {"auth_query", "Weir has one auth.query for all databases"},
        {"auth_dbname", "Weir has one auth.query_database for all databases"},
        {"load_balance_hosts", "reads are spread over the replicas listed under replicas"},
        {"query_wait_timeout", "Weir has one pool.wait_timeout for all databases and users"},
        {"server_lifetime", "Weir has one pool.lifetime for all databases"}};
    for (const auto& [name, text] : item.values) {
      if (known.contains(name) || (name == "auth_user" && text == auth_user_)) continue;
      const auto unlike = kUnlike.find(name);
      note(item.where, concat(name, " of ", kind, " ", item.name), unlike == kUnlike.end() ? "PgBouncer has no such parameter" : unlike->second);
    }
  }

  // ---- [users] and auth_file ----

  void write_users() {
    for (const PgBouncerItem& user : files_.users)
      name_unlike_parameters(user, "user",
                             {"pool_size", "reserve_pool_size", "pool_mode", "max_user_connections", "max_user_client_connections", "query_timeout",
                              "transaction_timeout", "idle_transaction_timeout", "client_idle_timeout"});
    users_toml_.comment(concat("Written by weirctl import from ", files_.ini, " and its auth_file. It holds passwords: keep it from others."));
    for (const PgBouncerItem& user : files_.users) {
      const auto secret = files_.secrets.find(user.name);
      if (secret == files_.secrets.end() && method_ != "trust") {
        note(user.where, concat("user ", user.name), "is not in auth_file: give the password in users.toml, then its settings, too");
        continue;
      }
      if (secret != files_.secrets.end() && method_ == "scram-sha-256" && is_md5(secret->second)) {
        note(files_.ini, concat("user ", user.name), "has an md5 secret, which proves nobody by SCRAM-SHA-256 (PgBouncer refuses him, too)");
        continue;
      }
      users_toml_.table("[[user]]");
      users_toml_.text("name", user.name);
      if (secret != files_.secrets.end()) users_toml_.text("password", secret->second);
      std::swap(toml_, users_toml_);
      write_overrides(user, {{"max_user_connections", "max_server_connections"}, {"max_user_client_connections", "max_clients"}});
      write_bounds_of_all(user, {{"max_user_connections", "max_server_connections"}, {"max_user_client_connections", "max_clients"}});
      std::swap(toml_, users_toml_);
    }
    for (const char* name : {"max_user_connections", "max_user_client_connections"})
      if (const IniEntry* bound = setting(name); bound && !auth_user_.empty())
        note(bound->where, name, "holds for the users of users.toml; those found by auth.query have no bound of their own");
  }

  const PgBouncerFiles files_;
  std::set<std::string, std::less<>> done_{"auth_file"};   // settings that were asked for
  std::string method_, auth_user_;
  std::vector<std::string> notes_;
  TomlText toml_, users_toml_;
};

}  // namespace

Imported import_pgbouncer(const std::string& ini, const std::vector<std::string>& databases) { return Importer(read_pgbouncer_files(ini, databases)).run(); }

}  // namespace weir::migrate
