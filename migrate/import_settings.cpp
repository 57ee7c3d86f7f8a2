#include "migrate/import_settings.hpp"

#include <algorithm>

namespace weir::migrate {

namespace {

constexpr std::int64_t kConnections = 262143, kSecond = 1000, kHour = 3600 * kSecond, kDay = 24 * kHour, kMonth = 30 * kDay;

constexpr ImportedSetting kImported[]{
    {"listen_port", "6432", 0, 65535},
    {"max_client_conn", "100", 1, 1'000'000},
    {"peer_id", "0", 0, 255},
    {"default_pool_size", "20", 1, kConnections},
    {"min_pool_size", "0", 0, kConnections},
    {"reserve_pool_size", "0", 0, kConnections},
    {"reserve_pool_timeout", "5", 0, kDay},
    {"query_wait_timeout", "120", 0, kDay},
    {"query_wait_notify", "5", 0, kDay},
    {"server_connect_timeout", "15", 100, 600 * kSecond},
    {"server_idle_timeout", "600", 0, kMonth},
    {"autodb_idle_timeout", "3600", 0, kMonth},
    {"server_lifetime", "3600", 0, kMonth},
    {"idle_transaction_timeout", "0", 0, kMonth},
    {"client_login_timeout", "60", 100, kHour},
    {"query_timeout", "0", 0, kMonth},
    {"transaction_timeout", "0", 0, kMonth},
    {"client_idle_timeout", "0", 0, kMonth},
    {"cancel_wait_timeout", "10", 0, kHour},
    {"max_prepared_statements", "200", 1, 100'000},
    {"application_name_add_host", "0", 0, 1},
    {"log_connections", "1", 0, 1},
    {"log_disconnections", "1", 0, 1},
};

constexpr UnlikeSetting kUnlike[]{
    {"auth_ident_file", "Weir does not map names of certificates: the certificate's CN is the user's name"},
    {"auth_ldap_options", "Weir has no LDAP: use auth.query or the users file"},
    {"client_tls13_ciphers", "OpenSSL's list for TLS 1.3 is used"},
    {"client_tls_dheparams", "OpenSSL's own parameters are used"},
    {"client_tls_ecdhcurve", "OpenSSL's own curves are used"},
    {"conffile", "RELOAD reads the file that -c named"},
    {"disable_pqexec", "the simple protocol cannot be switched off"},
    {"dns_max_ttl", "a name is asked for at each login of a server"},
    {"dns_nxdomain_ttl", "a name is asked for at each login of a server"},
    {"dns_zone_check_period", "a name is asked for at each login of a server; RECONNECT moves to new addresses at once"},
    {"ignore_startup_parameters", "not needed: every parameter of a client is taken and is its own"},
    {"job_name", "of Windows"},
    {"listen_backlog", "the kernel's bound (net.core.somaxconn) is used"},
    {"log_pooler_errors", "errors sent to clients are counted and logged as log.level says"},
    {"login_notify_message", "Weir says nothing to a client that logs in"},
    {"logfile", "Weir logs to standard error: systemd's journal keeps it, or redirect it"},
    {"max_packet_size", "a message that must be held whole may have 64 MB; COPY data and results stream"},
    {"pidfile", "systemd knows the process; without it use the shell's $!"},
    {"pkt_buf", "buffers adapt"},
    {"pool_idle_timeout", "pool.idle_timeout closes the servers of a pool that nobody uses"},
    {"resolv_conf", "the system's resolver is used"},
    {"sbuf_loopcnt", "workers divide their turns fairly by themselves"},
    {"scram_iterations", "4096, as PostgreSQL has it"},
    {"server_check_delay", "not needed: a server connection that was closed is noticed when it happens"},
    {"server_check_query", "not needed: a server connection that was closed is noticed when it happens"},
    {"server_fast_close", "RECONNECT closes servers when they are next free"},
    {"server_login_retry", "Weir tries again after 0.1 s, then as its circuit breaker says ([health])"},
    {"server_reset_query", "Weir itself undoes what a client leaves behind, and gives its settings back on another server"},
    {"server_reset_query_always", "Weir itself undoes what a client leaves behind, in every mode"},
    {"server_round_robin", "the server connection used last is used first"},
    {"server_tls13_ciphers", "OpenSSL's list for TLS 1.3 is used"},
    {"server_tls_ciphers", "OpenSSL's list is used"},
    {"service_name", "of Windows"},
    {"so_reuseport", "not needed: one Weir uses all CPUs (listen.workers)"},
    {"suspend_timeout", "a restart by hand-over (listen.takeover_socket) needs no SUSPEND"},
    {"syslog", "Weir logs to standard error: systemd's journal keeps it"},
    {"syslog_facility", "Weir logs to standard error: systemd's journal keeps it"},
    {"syslog_ident", "Weir logs to standard error: systemd's journal keeps it"},
    {"tcp_defer_accept", "the kernel's default is used"},
    {"tcp_keepalive", "keepalive is on towards clients; towards servers see keepalives in the connection string"},
    {"tcp_keepcnt", "towards servers: keepalives_count in the connection string"},
    {"tcp_keepidle", "towards servers: keepalives_idle in the connection string"},
    {"tcp_keepintvl", "towards servers: keepalives_interval in the connection string"},
    {"tcp_socket_buffer", "the kernel's default is used"},
    {"tcp_user_timeout", "towards servers: tcp_user_timeout in the connection string"},
    {"track_extra_parameters", "not needed: every setting a client makes is its own"},
    {"unix_socket_group", "the unix socket's mode is 0777, as PostgreSQL's: protect its folder"},
    {"unix_socket_mode", "the unix socket's mode is 0777, as PostgreSQL's: protect its folder"},
    {"user", "start Weir as the user it is to run as (User= of the systemd unit)"},
};

}  // namespace

std::span<const ImportedSetting> imported_settings() { return kImported; }

const UnlikeSetting* unlike_setting(std::string_view name) {
  const auto found = std::find_if(std::begin(kUnlike), std::end(kUnlike), [&](const UnlikeSetting& s) { return s.name == name; });
  return found == std::end(kUnlike) ? nullptr : found;
}

}  // namespace weir::migrate
