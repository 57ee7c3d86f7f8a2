// Settings: the validated contents of weir.toml (design §4) as plain structs.
//
// A Settings is built by config::load() and never changed afterwards; the proxy swaps whole snapshots on
// RELOAD. Nothing here does I/O. Every duration is std::chrono; zero means "off" unless said otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/hba.hpp"

namespace weir::config {

using Millis = std::chrono::milliseconds;

enum class PoolMode { session, transaction, statement };
enum class AuthMethod { trust, md5, scram_sha_256, cert, hba };
enum class IoBackend { automatic, epoll, io_uring };
enum class TlsMode { disable, allow, prefer, require, verify_ca, verify_full };
enum class TlsVersion { tls_1_2, tls_1_3 };
enum class LogFormat { text, json };
enum class LogLevel { debug, info, warning, error };
enum class HashFunction { hash, modulo };
enum class UnlistedTables { home, reject };
enum class ShardingMode { route, observe };
enum class MultiShardSnapshot { refuse, per_shard };
enum class Balance { least_connections, round_robin, random };
enum class Consistency { eventual, read_your_writes, primary };
enum class MonthLayout { native };

struct Listen {
  std::vector<std::string> addresses{"127.0.0.1"};
  std::uint16_t port = 6432;          // 0: the kernel picks one (tests); printed at start
  std::string unix_socket_dir;        // empty: none
  unsigned workers = 0;               // 0: one per CPU
  unsigned max_clients = 10000;
  IoBackend io = IoBackend::automatic;
  std::string takeover_socket;        // absolute after load; empty: no restart by hand-over
  Millis drain_timeout{60'000};       // after a hand-over or SIGTERM: then clients are disconnected
  unsigned peer_id = 0;               // this proxy's own number among [[peer]]s; 0: none
};

// Another proxy behind the same address: cancel requests for its clients are passed on to it.
struct Peer {
  unsigned id = 0;
  std::string address;                // "host:port", or the folder of a unix socket
};

struct Admin {
  std::string http;                   // "host:port" of /metrics, /healthz and /readyz; empty: none
  std::vector<std::string> users{"weir"};   // may use the console
  std::vector<std::string> stats_users;     // may only SHOW
};

struct Log {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  Millis slow_query{500};             // logged with its literals lifted out; zero: never
  Millis stats_interval{60'000};      // a line of averages; zero: never
  bool connections = true;            // clients that came
  bool disconnections = true;         // clients that went, with reason and age
};

struct Auth {
  AuthMethod method = AuthMethod::scram_sha_256;
  std::string users_file = "users.toml";    // absolute after load (relative paths: to weir.toml)
  std::string hba_file;                     // absolute after load; method hba
  std::string query;                        // SELECT of name and secret for users who are not in the file; $1 is the name
  std::string query_user;                   // who runs it; empty: nobody is looked up
  std::string query_database;               // where; empty: the database that the client asks for
};

// TLS towards clients. Paths are absolute after load.
struct Tls {
  TlsMode client = TlsMode::prefer;         // without a certificate, disable and prefer are the same
  std::string certificate, key, ca;
  std::string ciphers;                      // OpenSSL's list for TLS 1.2; empty: OpenSSL's default
  TlsVersion min_version = TlsVersion::tls_1_2;
};

// What a database or a user may have otherwise than [pool] says; none: as there.
struct PoolOverrides {
  std::optional<unsigned> pool_size;
  std::optional<PoolMode> pool_mode;
  std::optional<unsigned> pool_reserve;
  std::optional<unsigned> max_server_connections;   // over all its pools
  std::optional<unsigned> max_clients;
  std::optional<Millis> query_timeout, transaction_timeout, idle_transaction_timeout, client_idle_timeout;
};

struct User : PoolOverrides {
  std::string name;
  std::string password;                     // plain text, or a "SCRAM-SHA-256$..." or "md5..." secret as PostgreSQL stores it
  bool route_hints = false;                 // may say where statements run (docs/manual-routing.md)
};

struct Pool {
  PoolMode mode = PoolMode::transaction;
  unsigned size = 20;                 // server connections for each (backend, user)
  unsigned min = 0;
  unsigned reserve = 0;               // more of them once a client has waited for reserve_timeout
  Millis reserve_timeout{5'000};
  unsigned enlist_reserve = 2;        // more of them for transactions that hold servers of other shards already
  unsigned max_per_backend = 80;      // hard bound per PostgreSQL database server, over all users
  Millis wait_timeout{30'000};        // in the queue; then 53300
  Millis wait_notify{5'000};          // in the queue; then a NOTICE
  Millis connect_timeout{15'000};     // one login of a server
  Millis idle_timeout{600'000};
  Millis lifetime{3'600'000};
  Millis idle_transaction_timeout{300'000};
  Millis client_login_timeout{60'000};
  Millis query_timeout{0};
  Millis transaction_timeout{0};
  Millis client_idle_timeout{0};
  Millis cancel_wait_timeout{10'000}; // for a cancel request to reach its server
  unsigned login_threads = 8;         // server logins that may run at once
  unsigned max_prepared_statements = 200;   // per server connection
  std::uint64_t max_prepared_bytes = 16 << 20;   // text of these; 0: no bound
  unsigned max_pinned = 0;            // servers of a pool that clients' session state may keep; 0: all but one
  bool tag_servers = false;           // the client's address and user in the server's application_name
  unsigned max_fallback_databases = 500;    // served at once by the database "*"
  Millis fallback_idle_timeout{3'600'000};  // one of them that nobody used for so long is forgotten; zero: never
};

struct Health {
  Millis interval{1000};              // between two probes of a backend
  Millis timeout{2000};               // one probe
  unsigned failure_threshold = 3;     // consecutive failures that open the breaker
  Millis recovery_time{2000};         // open -> half-open
};

struct Replica {
  std::string conninfo;
  unsigned weight = 1;
};

struct BucketRange {
  std::uint32_t first = 0;
  std::uint32_t last = 0;             // inclusive
  friend bool operator==(const BucketRange&, const BucketRange&) = default;
};

struct Shard {
  std::string name;
  std::vector<BucketRange> buckets;   // sorted, disjoint; empty in a plain database
  std::string primary;                // libpq connection string, one host
  std::vector<Replica> replicas;
};

struct Month {
  std::string column;
  MonthLayout layout = MonthLayout::native;
  unsigned ahead = 3;                 // months made in advance
  unsigned keep = 0;                  // 0: keep for ever
  std::string timezone = "UTC";
};

struct Table {
  std::string schema;                 // empty: found by search_path (name matches in any schema on the path)
  std::string name;
  std::string key;                    // empty for reference tables
  bool reference = false;
  bool unique_per_shard = false;      // unique = "per_shard"
  bool fills_key = false;             // default_key = "weir.next_id": an INSERT without the key gets one
  std::optional<Month> month;
};

struct Sharding {
  HashFunction function = HashFunction::hash;
  std::uint32_t buckets = 4096;       // power of two for hash
  std::uint64_t map_version = 1;      // raised by scripts/move-buckets; stored in every shard's identity row
  UnlistedTables unlisted_tables = UnlistedTables::home;
  MultiShardSnapshot multi_shard_snapshot = MultiShardSnapshot::refuse;
  Millis multi_shard_lock_timeout{5'000};   // of a transaction over shards that sets none itself; 0: none
  Millis in_doubt_after{10'000};      // then recovery takes a distributed transaction's coordinator for dead
  ShardingMode mode = ShardingMode::route;
};

struct Reads {
  Balance balance = Balance::least_connections;
  // read_your_writes: what was just written through this proxy is read from the primary until every usable replica
  // must have it (max_lag and a probe later). primary: every statement to the primary.
  Consistency consistency = Consistency::read_your_writes;
  Millis max_lag{5000};               // a replica further behind serves no reads; 0: any lag
};

struct Database : PoolOverrides {
  std::string name;                   // what clients connect to
  std::string maintenance;            // conninfo overrides for monitor and DDL, e.g. "user=weir_maintenance"
  std::optional<Sharding> sharding;   // none: a plain database (exactly one shard)
  std::vector<Shard> shards;          // the first listed is the home shard
  std::vector<Table> tables;
  Reads reads;
  std::optional<unsigned> pool_min;
  // sharding.mode = "observe": the database as the file describes it, by whose rules would-be routes are counted. The rest
  // of this struct is then a plain database: its home shard alone, without sharding and keys.
  std::shared_ptr<const Database> observed;
};
// The name of the entry that serves every database without one of its own.
inline constexpr std::string_view kFallbackName = "*";
// The database as the file describes it: `observed`, if anything is.
[[nodiscard]] const Database& described(const Database& database);

struct Settings {
  std::string file;                   // absolute path it was read from
  Listen listen;
  Admin admin;
  Log log;
  Auth auth;
  Tls tls;
  Pool pool;
  Health health;
  std::vector<Peer> peers;
  std::vector<Database> databases;
  std::optional<Database> fallback;   // the one named "*": a plain database without replicas, whose primary may lack a dbname
  std::vector<User> users;            // of auth.users_file; empty for `trust` without a file
  Hba hba;                            // of auth.hba_file

  [[nodiscard]] const Database* find_database(std::string_view name) const;
  [[nodiscard]] const User* find_user(std::string_view name) const;
};

}  // namespace weir::config
