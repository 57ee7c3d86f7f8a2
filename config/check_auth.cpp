#include "config/check_auth.hpp"

#include <algorithm>

#include "base/strings.hpp"
#include "config/conninfo.hpp"
#include "config/scram_secret.hpp"

namespace weir::config {
namespace {

// Is there a way in that asks for a password by one of these methods?
bool asks_by(const Settings& settings, AuthMethod method) {
  if (settings.auth.method != AuthMethod::hba) return settings.auth.method == method;
  switch (method) {
    case AuthMethod::md5: return settings.hba.has(HbaMethod::md5) || settings.hba.has(HbaMethod::password);
    case AuthMethod::scram_sha_256: return settings.hba.has(HbaMethod::scram_sha_256);
    case AuthMethod::trust: return settings.hba.has(HbaMethod::trust);
    case AuthMethod::cert: return settings.hba.has(HbaMethod::cert);
    case AuthMethod::hba: break;
  }
  return false;
}

bool names_a_user(const std::string& conninfo) {
  const auto parsed = parse_conninfo(conninfo);
  const auto* parameters = std::get_if<ConninfoParameters>(&parsed);
  return parameters == nullptr || !parameter(*parameters, "user").empty();
}

bool clients_names_are_used(const Database& database) {
  for (const Shard& shard : database.shards) {
    if (!names_a_user(shard.primary)) return true;
    for (const Replica& replica : shard.replicas)
      if (!names_a_user(replica.conninfo)) return true;
  }
  return false;
}

bool clients_names_are_used(const Settings& settings) {
  if (settings.fallback && clients_names_are_used(*settings.fallback)) return true;
  return std::any_of(settings.databases.begin(), settings.databases.end(), [](const Database& d) { return clients_names_are_used(d); });
}

bool uses_the_console(const Admin& admin, const std::string& name) {
  const auto among = [&](const std::vector<std::string>& names) { return std::find(names.begin(), names.end(), name) != names.end(); };
  return among(admin.users) || among(admin.stats_users);
}

}  // namespace

std::vector<std::pair<std::string_view, std::string>> auth_mistakes(const Settings& settings) {
  std::vector<std::pair<std::string_view, std::string>> out;
  const Auth& auth = settings.auth;
  if ((auth.method == AuthMethod::hba) != !auth.hba_file.empty())
    out.emplace_back("hba_file", auth.hba_file.empty() ? "missing: method \"hba\" reads it" : "is read only with method = \"hba\"");
  if (auth.method == AuthMethod::cert && (settings.tls.certificate.empty() || settings.tls.ca.empty()))
    out.emplace_back("method", "\"cert\" needs tls.certificate, and tls.ca to verify the clients' certificates");
  if (auth.query_user.empty()) {
    if (!auth.query.empty()) out.emplace_back("query", "needs query_user, a user of the users file who runs it");
    if (!auth.query_database.empty()) out.emplace_back("query_database", "needs query_user, a user of the users file who runs the query there");
    return out;
  }
  if (!auth.query.empty() && auth.query.find("$1") == std::string::npos) out.emplace_back("query", "expected $1 in it, the name of the user who logs in");
  if (!auth.query_database.empty() && settings.find_database(auth.query_database) == nullptr && !settings.fallback)
    out.emplace_back("query_database", concat("no [[database]] is named \"", auth.query_database, "\""));
  if (auth.query_database.empty() && settings.fallback)
    out.emplace_back("query_database", "missing: with a [[database]] named \"*\" clients would choose where users are looked up; name a database, such as \"postgres\"");
  const User* user = settings.find_user(auth.query_user);
  if (user == nullptr)
    out.emplace_back("query_user", concat("user \"", auth.query_user, "\" is not in ", auth.users_file));
  else if (secret_kind(user->password) != SecretKind::plain)
    out.emplace_back("query_user", concat("user \"", auth.query_user, "\" needs its plain password in the users file: nobody brings the keys for it"));
  return out;
}

std::string useless_secret(const Settings& settings, const User& user) {
  const SecretKind kind = secret_kind(user.password);
  const bool by_password = asks_by(settings, AuthMethod::md5), by_scram = asks_by(settings, AuthMethod::scram_sha_256);
  const bool by_nothing = asks_by(settings, AuthMethod::trust) || asks_by(settings, AuthMethod::cert);
  if (kind == SecretKind::md5 && by_scram && !by_password && !by_nothing)
    return "an md5 secret cannot prove anybody with scram-sha-256: set auth.method = \"md5\", or store the plain password or a SCRAM-SHA-256 secret";
  if (kind != SecretKind::scram || by_password || by_scram || uses_the_console(settings.admin, user.name) || !clients_names_are_used(settings)) return {};
  return "nothing can log in to a server with this SCRAM secret: its keys come from clients that log in with scram-sha-256 or md5. Store the plain "
         "password, or give user= and password= in every backend's connection string, or leave this password out";
}

}  // namespace weir::config
