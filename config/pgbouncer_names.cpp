#include "config/pgbouncer_names.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/strings.hpp"
#include "config/codec.hpp"

namespace weir::config {
namespace {

using Unit = PgBouncerName::Unit;

constexpr PgBouncerName kNames[]{
    {"max_client_conn", "listen.max_clients"},
    {"default_pool_size", "pool.size"},
    {"min_pool_size", "pool.min"},
    {"reserve_pool_size", "pool.reserve"},
    {"reserve_pool_timeout", "pool.reserve_timeout", Unit::seconds},
    {"pool_mode", "pool.mode"},
    {"max_prepared_statements", "pool.max_prepared_statements"},
    {"application_name_add_host", "pool.tag_servers", Unit::flag},
    {"query_wait_timeout", "pool.wait_timeout", Unit::seconds},
    {"query_wait_notify", "pool.wait_notify", Unit::seconds},
    {"cancel_wait_timeout", "pool.cancel_wait_timeout", Unit::seconds},
    {"client_login_timeout", "pool.client_login_timeout", Unit::seconds},
    {"client_idle_timeout", "pool.client_idle_timeout", Unit::seconds},
    {"query_timeout", "pool.query_timeout", Unit::seconds},
    {"transaction_timeout", "pool.transaction_timeout", Unit::seconds},
    {"idle_transaction_timeout", "pool.idle_transaction_timeout", Unit::seconds},
    {"server_connect_timeout", "pool.connect_timeout", Unit::seconds},
    {"server_login_retry", "health.recovery_time", Unit::seconds},
    {"server_lifetime", "pool.lifetime", Unit::seconds},
    {"server_idle_timeout", "pool.idle_timeout", Unit::seconds},
    {"autodb_idle_timeout", "pool.fallback_idle_timeout", Unit::seconds},
    {"listen_addr", "listen.address"},
    {"listen_port", "listen.port"},
    {"peer_id", "listen.peer_id"},
    {"unix_socket_dir", "listen.unix_socket_dir"},
    {"auth_type", "auth.method"},
    {"auth_file", "auth.users_file"},
    {"auth_hba_file", "auth.hba_file"},
    {"auth_user", "auth.query_user"},
    {"auth_query", "auth.query"},
    {"auth_dbname", "auth.query_database"},
    {"client_tls_sslmode", "tls.client"},
    {"client_tls_key_file", "tls.key"},
    {"client_tls_cert_file", "tls.certificate"},
    {"client_tls_ca_file", "tls.ca"},
    {"log_connections", "log.connections", Unit::flag},
    {"log_disconnections", "log.disconnections", Unit::flag},
    {"stats_period", "log.stats_interval", Unit::seconds},
    {"admin_users", "admin.users"},
    {"stats_users", "admin.stats_users"},
};

// "abc" without its quotes; a list's elements with commas between.
std::string plain(std::string_view shown) {
  std::string out;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (shown[i] == '"' || ((shown[i] == '[' || shown[i] == ']') && (i == 0 || i + 1 == shown.size()))) continue;
    out += shown[i];
  }
  return out;
}

std::string to_pgbouncer(const PgBouncerName& name, std::string_view shown) {
  const std::string text = plain(shown);
  if (name.unit == Unit::flag) return text == "true" ? "1" : "0";
  if (name.unit != Unit::seconds) return text;
  const auto duration = parse_duration(text);
  if (!duration) return text;
  const auto ms = duration->count();
  if (ms % 1000 == 0) return std::to_string(ms / 1000);
  std::string fraction = std::to_string(ms % 1000 + 1000).substr(1);
  while (fraction.back() == '0') fraction.pop_back();
  return concat(std::to_string(ms / 1000), ".", fraction);
}

}  // namespace

const PgBouncerName* find_pgbouncer_name(std::string_view name) {
  const auto found = std::find_if(std::begin(kNames), std::end(kNames), [&](const PgBouncerName& n) { return n.name == name; });
  return found == std::end(kNames) ? nullptr : found;
}

std::string from_pgbouncer(const PgBouncerName& name, std::string_view value) {
  if (name.unit == Unit::flag) return value == "1" || value == "on" || value == "yes" || value == "true" ? "true" : value == "0" ? "false" : std::string(value);
  if (name.unit != Unit::seconds) return std::string(value);
  double seconds = 0;
  const auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc{} || rest != value.data() + value.size() || seconds < 0 || seconds > 1e9) return std::string(value);
  return concat(std::to_string(std::llround(seconds * 1000)), "ms");
}

std::vector<Setting> describe_as_pgbouncer(const Settings& settings) {
  std::vector<Setting> out;
  const std::vector<Setting> all = describe(settings);
  for (const PgBouncerName& name : kNames)
    for (const Setting& s : all)
      if (s.key == name.key) out.push_back({std::string(name.name), to_pgbouncer(name, s.value), to_pgbouncer(name, s.default_value), s.reloadable});
  return out;
}

}  // namespace weir::config
