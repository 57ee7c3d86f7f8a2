#include "config/load.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/check_auth.hpp"
#include "config/check_database.hpp"
#include "config/hba.hpp"
#include "config/read_rows.hpp"
#include "config/scram_secret.hpp"
#include "config/userlist.hpp"

namespace weir::config {
namespace {

namespace fs = std::filesystem;

// The file's text; an error text otherwise.
std::variant<std::string, std::error_code> read_file(const std::string& path) {
  std::error_code failure;
  if (fs::is_directory(path, failure)) return std::make_error_code(std::errc::is_a_directory);
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::error_code(errno != 0 ? errno : EIO, std::generic_category());
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return std::error_code(EIO, std::generic_category());
  return std::move(text).str();
}

// `path` as meant by a file that stands in `folder`.
std::string relative_to(const fs::path& folder, const std::string& path) {
  if (path.empty()) return path;
  return (fs::path(path).is_absolute() ? fs::path(path) : folder / path).lexically_normal().string();
}

std::vector<Problem> appended(std::vector<Problem> all, std::vector<Problem> more) {
  for (Problem& problem : more) all.push_back(std::move(problem));
  return all;
}

class Loader {
 public:
  Loader(const std::string& path, const LoadOptions& options) : path_(path), options_(options), reader_(path) {}

  LoadResult load() {
    std::error_code ignored;
    settings_.file = fs::absolute(path_, ignored).lexically_normal().string();
    const auto text = read_file(path_);
    if (const auto* failure = std::get_if<std::error_code>(&text)) {
      reader_.report(0, "", concat("cannot be read: ", failure->message(), "; name the file with -c"));
    } else if (const auto root = reader_.parse(std::get<std::string>(text))) {
      read_root({&*root, "", ""});
    }
    auto problems = appended(appended(reader_.take_problems(), std::move(hba_problems_)), std::move(users_problems_));
    if (!problems.empty()) return problems;
    return std::move(settings_);
  }

 private:
  void read_root(const Section& root) {
    report_root_strangers(root);
    read_table(root, "listen", settings_.listen);
    read_table(root, "admin", settings_.admin);
    read_table(root, "log", settings_.log);
    read_table(root, "auth", settings_.auth);
    read_table(root, "tls", settings_.tls);
    read_table(root, "pool", settings_.pool);
    read_table(root, "health", settings_.health);
    make_paths_absolute();
    check_listen(root);
    check_pool(root);
    check_tls(root);
    read_peers(root);
    read_databases(root);
    if (!options_.require_auth) return;
    read_hba(root);
    read_users(root);
    check_auth(root);
  }

  void report_root_strangers(const Section& root) {
    const auto known = nested_tables("", false);
    for (const auto& [key, node] : *root.table)
      if (std::find(known.begin(), known.end(), key.str()) == known.end())
        report_stranger(reader_, root, key.str(), known);
  }

  template <class S>
  void read_table(const Section& parent, std::string_view name, S& out) {
    if (const auto section = reader_.child(parent, name)) read_rows(reader_, *section, out);
  }

  void make_paths_absolute() {
    const fs::path folder = fs::path(settings_.file).parent_path();
    for (std::string* path : {&settings_.auth.users_file, &settings_.auth.hba_file, &settings_.listen.unix_socket_dir,
                              &settings_.listen.takeover_socket, &settings_.tls.certificate, &settings_.tls.key, &settings_.tls.ca})
      *path = relative_to(folder, *path);
  }

  void check_listen(const Section& root) {
    if (!settings_.listen.addresses.empty() || !settings_.listen.unix_socket_dir.empty()) return;
    const auto listen = section_of(root, "listen");
    if (!listen || reader_.reported(*listen, "address") || reader_.reported(*listen, "unix_socket_dir")) return;
    reader_.report(*listen, "address",
                   "no address and no unix_socket_dir: nobody could connect; give at least one of them");
  }

  void check_pool(const Section& root) {
    const Pool& pool = settings_.pool;
    const auto section = section_of(root, "pool");
    if (!section || pool.min <= pool.size) return;
    if (reader_.reported(*section, "min") || reader_.reported(*section, "size")) return;
    reader_.report(
        *section, "min",
        concat("expected at most pool.size (", std::to_string(pool.size), "), got ", std::to_string(pool.min)));
  }

  void check_tls(const Section& root) {
    const Tls& tls = settings_.tls;
    const auto section = section_of(root, "tls");
    if (!section) return;
    const bool verifies = tls.client == TlsMode::verify_ca || tls.client == TlsMode::verify_full;
    const auto missing = [&](std::string_view key, std::string_view why) {
      if (!reader_.reported(*section, key) && !reader_.reported(*section, "client"))
        reader_.report(*section, key, concat("missing: expected the path of a PEM file (", why, ")"));
    };
    if (tls.certificate.empty() && (tls.client == TlsMode::require || verifies)) missing("certificate", "clients must use TLS");
    if (!tls.certificate.empty() && tls.key.empty()) missing("key", "the certificate's private key");
    if (verifies && tls.ca.empty()) missing("ca", "it signs the clients' certificates");
  }

  void read_peers(const Section& root) {
    const auto sections = reader_.children(root, "peer");
    std::vector<std::string> ids;
    for (const Section& section : sections) {
      read_rows(reader_, section, settings_.peers.emplace_back());
      ids.push_back(std::to_string(settings_.peers.back().id));
    }
    check_names_differ(reader_, sections, ids, "peer");
  }

  // A table of the root that has been read already; nothing where it is absent or no table.
  static std::optional<Section> section_of(const Section& root, std::string_view name) {
    const auto* table = root.table->get_as<toml::table>(name);
    if (table == nullptr) return std::nullopt;
    return Section{table, std::string(name), std::string(name)};
  }

  void read_databases(const Section& root) {
    const auto sections = reader_.children(root, "database");
    std::vector<std::string> names;
    for (const Section& section : sections) {
      Database database = read_database(section);
      names.push_back(database.name);
      if (database.name == kFallbackName)
        settings_.fallback = std::move(database);
      else
        settings_.databases.push_back(std::move(database));
    }
    check_names_differ(reader_, sections, names, "database");
    if (sections.empty() && !root.has("database"))
      reader_.report(0, "database", "missing: expected at least one [[database]] with a [[database.shard]]");
  }

  Database read_database(const Section& section) {
    Database database;
    read_rows(reader_, section, database);
    DatabaseSource source{section, reader_.child(section, "sharding"), reader_.children(section, "shard"),
                          reader_.children(section, "table")};
    if (source.sharding) read_rows(reader_, *source.sharding, database.sharding.emplace());
    for (const Section& shard : source.shards) read_rows(reader_, shard, database.shards.emplace_back());
    for (const Section& table : source.tables) database.tables.push_back(read_table_rule(table));
    read_table(section, "reads", database.reads);
    check_database(reader_, source, database);
    const bool observes = database.sharding && database.sharding->mode == ShardingMode::observe;
    return observes ? plain_and_observed(std::move(database)) : database;
  }

  // What observes is a plain database to everybody who does not ask for the rules, so that it works exactly as one. Months are
  // a plain database's affair, too.
  static Database plain_and_observed(Database database) {
    Database plain = database;
    plain.sharding.reset();
    plain.shards.resize(std::min<std::size_t>(plain.shards.size(), 1));
    for (Shard& home : plain.shards) home.buckets.clear();
    std::erase_if(plain.tables, [](const Table& table) { return !table.month; });
    for (Table& table : plain.tables) table.key.clear();
    plain.observed = std::make_shared<const Database>(std::move(database));
    return plain;
  }

  Table read_table_rule(const Section& section) {
    Table table;
    read_rows(reader_, section, table);
    if (const auto month = reader_.child(section, "month")) read_rows(reader_, *month, table.month.emplace());
    const std::size_t dot = table.name.find('.');
    if (dot == std::string::npos) return table;
    table.schema = table.name.substr(0, dot);
    table.name = table.name.substr(dot + 1);
    if (table.schema.empty() || table.name.empty() || table.name.find('.') != std::string::npos)
      reader_.report(section, "name", "expected \"table\" or \"schema.table\", each part without dots");
    return table;
  }

  // Without a file `trust` lets everybody in, and `cert` and `hba` those who need no password; any other method needs its users.
  void read_users(const Section& root) {
    const auto auth = section_of(root, "auth");
    if (auth && (reader_.reported(*auth, "method") || reader_.reported(*auth, "users_file"))) return;
    const bool named = auth && auth->has("users_file");
    const std::string& path = settings_.auth.users_file;
    const auto text = read_file(path);
    if (const auto* good = std::get_if<std::string>(&text)) {
      users_read_ = true;
      return is_userlist(path, *good) ? read_userlist(path, *good) : read_users_text(path, *good);
    }
    if (may_lack_passwords() && !named) return;
    const unsigned line = auth ? auth->line("users_file") : 0;
    reader_.report(line, "auth.users_file",
                   concat("cannot read ", path, ": ", std::get<std::error_code>(text).message(),
                          "; expected a readable file of [[user]] tables, or of PgBouncer's \"name\" \"secret\" lines"));
  }

  [[nodiscard]] bool may_lack_passwords() const {
    const AuthMethod method = settings_.auth.method;
    return method == AuthMethod::trust || method == AuthMethod::cert || method == AuthMethod::hba;
  }

  void read_users_text(const std::string& path, const std::string& text) {
    Reader reader(path);
    if (const auto root = reader.parse(text)) {
      const Section top{&*root, "", ""};
      const auto sections = reader.children(top, "user");
      std::vector<std::string> names;
      for (const Section& section : sections) names.push_back(read_user(reader, section).name);
      check_names_differ(reader, sections, names, "user");
      for (const auto& [key, node] : *root)
        if (key != "user") report_stranger(reader, top, key.str(), nested_tables("", true));
    }
    users_problems_ = reader.take_problems();
  }

  const User& read_user(Reader& reader, const Section& section) {
    User& user = settings_.users.emplace_back();
    read_rows(reader, section, user, true);
    user_lines_.push_back(section.has("password") ? section.line("password") : 0);
    if (!may_lack_passwords() && !section.has("password"))
      reader.report(section, "password",
                    "missing: expected a password, or a SCRAM-SHA-256 or md5 secret (auth.method asks for one)");
    return user;
  }

  void read_userlist(const std::string& path, const std::string& text) {
    Userlist list = parse_userlist(path, text, users_problems_);
    for (std::size_t i = 0; i < list.users.size(); ++i)
      if (const std::string mistake = password_mistake(list.users[i].password); !mistake.empty())
        users_problems_.push_back({path, list.lines[i], "user." + list.users[i].name + ".password", mistake});
    settings_.users = std::move(list.users);
    user_lines_ = std::move(list.lines);
  }

  void read_hba(const Section& root) {
    const std::string& path = settings_.auth.hba_file;
    if (settings_.auth.method != AuthMethod::hba || path.empty()) return;
    const auto text = read_file(path);
    if (const auto* failure = std::get_if<std::error_code>(&text)) {
      const auto auth = section_of(root, "auth");
      return reader_.report(auth ? auth->line("hba_file") : 0, "auth.hba_file", concat("cannot read ", path, ": ", failure->message()));
    }
    const fs::path folder = fs::path(path).parent_path();
    const auto included = [&](const std::string& name) -> std::optional<std::string> {
      auto more = read_file(relative_to(folder, name));
      if (auto* good = std::get_if<std::string>(&more)) return std::move(*good);
      return std::nullopt;
    };
    settings_.hba = parse_hba(path, std::get<std::string>(text), included, hba_problems_);
    settings_.hba.own = own_networks();
    if (settings_.hba.lines.empty() && hba_problems_.empty()) hba_problems_.push_back({path, 0, "", "has no line: nobody could connect"});
  }

  // Only what was read whole is looked at as a whole.
  void check_auth(const Section& root) {
    const auto auth = section_of(root, "auth");
    if (!hba_problems_.empty() || !users_problems_.empty() || (auth && reader_.reported(*auth, "method"))) return;
    for (const auto& [key, mistake] : auth_mistakes(settings_)) {
      if (key == "query_user" && !users_read_) continue;
      reader_.report(auth ? auth->line(key) : 0, concat("auth.", key), mistake);
    }
    for (std::size_t i = 0; i < settings_.users.size(); ++i)
      if (const std::string why = useless_secret(settings_, settings_.users[i]); !why.empty())
        users_problems_.push_back({settings_.auth.users_file, user_lines_[i], "user." + settings_.users[i].name + ".password", why});
  }

  const std::string& path_;
  const LoadOptions& options_;
  Reader reader_;
  Settings settings_;
  std::vector<Problem> users_problems_, hba_problems_;
  std::vector<unsigned> user_lines_;   // of settings_.users' passwords
  bool users_read_ = false;
};

}  // namespace

std::string Problem::str() const {
  std::string out = file;
  if (line != 0) out += ":" + std::to_string(line);
  if (!key.empty()) out += ": " + key;
  return out + ": " + message;
}

LoadResult load(const std::string& path, const LoadOptions& options) { return Loader(path, options).load(); }

}  // namespace weir::config
