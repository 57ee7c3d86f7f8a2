#include "config/rows.hpp"

namespace weir::config {
namespace {

constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr std::int64_t kNameBytes = 63;           // NAMEDATALEN - 1
constexpr std::int64_t kMaxConnections = 262143;  // PostgreSQL's own limit of max_connections

constexpr std::int64_t kMaxPeer = 255;

constexpr Limits kOneName{.min = 1, .max = kNameBytes};
constexpr Limits kAnyText{.min = 0, .max = 4096};

constexpr Row<Listen> kListen[]{
    row<&Listen::addresses>("address", {.limits = {.min = 1, .max = 255}, .reload = Reload::no},
                            "Addresses or host names to listen on for TCP; `[]` for none."),
    row<&Listen::port>("port", {.limits = {.min = 0, .max = 65535}, .reload = Reload::no},
                       "TCP port; 0 lets the kernel choose one, which is printed at start."),
    row<&Listen::unix_socket_dir>(
        "unix_socket_dir", {.limits = {.min = 0, .max = 90}, .reload = Reload::no},
        "Folder of the unix socket `.s.PGSQL.<port>`; empty for none. Relative to this file."),
    row<&Listen::workers>("workers", {.limits = {.min = 0, .max = 1024}, .unit = "threads", .reload = Reload::no},
                          "Worker threads; 0 for one per CPU."),
    row<&Listen::max_clients>("max_clients", {.limits = {.min = 1, .max = 1'000'000}, .unit = "connections"},
                              "Client connections at once; the next one is refused with SQLSTATE 53300."),
    row<&Listen::io>("io", {.reload = Reload::no},
                     "How the kernel is asked for network I/O. `auto` is `io_uring` where it works (Linux 6.1, and "
                     "permission), else `epoll` (see performance.md)."),
    row<&Listen::takeover_socket>("takeover_socket", {.limits = {.min = 0, .max = 100}, .reload = Reload::no},
                                  "Unix socket by which a newly started Weir takes over from the running one, without a "
                                  "refused connection; empty for none. Relative to this file."),
    row<&Listen::drain_timeout>("drain_timeout", {.limits = {.min = 0, .max = kDay}},
                                "How long clients may stay after a hand-over or a shutdown that waits for them; then "
                                "they are disconnected (SQLSTATE 57P01); 0: as long as they like."),
    row<&Listen::peer_id>("peer_id", {.limits = {.min = 0, .max = kMaxPeer}, .reload = Reload::no},
                          "This proxy's own number among several behind one address, see `[[peer]]`; 0: it is alone."),
};

constexpr Row<Peer> kPeer[]{
    row<&Peer::id>("id", {.limits = {.min = 1, .max = kMaxPeer}, .required = true}, "The other proxy's `listen.peer_id`."),
    row<&Peer::address>("address", {.limits = {.min = 1, .max = 255}, .required = true},
                        "Where cancel requests for its clients are sent: `host:port`, or the path of its unix socket."),
};

constexpr Row<Admin> kAdmin[]{
    row<&Admin::http>("http", {.limits = {.min = 0, .max = 255}, .reload = Reload::no},
                      "`host:port` where `/metrics`, `/healthz` and `/readyz` are served, e.g. `127.0.0.1:9632`; empty for none."),
    row<&Admin::users>("users", {.limits = {.min = 1, .max = kNameBytes}},
                       "Users who may use the console (database `weir`, also called `pgbouncer`)."),
    row<&Admin::stats_users>("stats_users", {.limits = {.min = 1, .max = kNameBytes}},
                             "Users who may only SHOW in the console."),
};

constexpr Row<Log> kLog[]{
    row<&Log::level>("level", {}, "The lowest level that is written."),
    row<&Log::format>("format", {.reload = Reload::no}, "How a line looks."),
    row<&Log::slow_query>("slow_query", {.limits = {.min = 0, .max = kDay}},
                          "A statement that takes longer is logged, with its literals lifted out; 0: never."),
    row<&Log::stats_interval>("stats_interval", {.limits = {.min = 0, .max = kDay}},
                              "Time between two lines of averages; 0: none."),
    row<&Log::connections>("connections", {}, "Log clients that log in."),
    row<&Log::disconnections>("disconnections", {}, "Log clients that leave, with reason and age."),
};

constexpr Row<Auth> kAuth[]{
    row<&Auth::method>("method", {}, "How clients prove who they are. `trust` asks for nothing: for tests only."),
    row<&Auth::users_file>("users_file", {.limits = {.min = 1, .max = 4096}},
                           "File of `[[user]]` tables, or in the format of PgBouncer's userlist.txt. Relative to this file. "
                           "With `trust` it may be absent."),
    row<&Auth::hba_file>("hba_file", {.limits = kAnyText},
                         "File in the format of pg_hba.conf; for `method = \"hba\"`. Relative to this file."),
    row<&Auth::query>("query", {.limits = kAnyText},
                      "Query that gives name and secret (and, if it has a third column, the end of its validity) of a user who is not in the "
                      "users file; `$1` is the name. Empty: pg_authid's row, with VALID UNTIL."),
    row<&Auth::query_user>("query_user", {.limits = {.min = 0, .max = kNameBytes}},
                           "Who runs `query`; a user of the users file. Empty: users are not looked up."),
    row<&Auth::query_database>("query_database", {.limits = {.min = 0, .max = kNameBytes}},
                               "The database where `query` runs (its home shard's primary). Empty: the one the client asks for. With a "
                             "database `*` it must be given."),
};

constexpr Row<Tls> kTls[]{
    row<&Tls::client>("client", {},
                      "Whether clients use TLS. `allow` and `prefer`: as they like; `require`: they must; `verify-ca`, "
                      "`verify-full`: with a certificate that `ca` signed. Without `certificate` none is offered."),
    row<&Tls::certificate>("certificate", {.limits = kAnyText}, "Certificate chain shown to clients (PEM). Relative to this file."),
    row<&Tls::key>("key", {.limits = kAnyText}, "Its private key (PEM). Relative to this file."),
    row<&Tls::ca>("ca", {.limits = kAnyText}, "Certificates that sign those of clients (PEM). Relative to this file."),
    row<&Tls::ciphers>("ciphers", {.limits = kAnyText}, "OpenSSL's cipher list for TLS 1.2; empty: its default."),
    row<&Tls::min_version>("min_version", {}, "The oldest version of TLS that is spoken."),
};

constexpr Row<Pool> kPool[]{
    row<&Pool::mode>("mode", {}, "What a client holds a server connection for."),
    row<&Pool::size>("size", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
                     "Server connections for each backend and user."),
    row<&Pool::min>("min", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"},
                    "Server connections kept open for each backend and user that has been used."),
    row<&Pool::reserve>("reserve", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"},
                        "More server connections for each backend and user, once a client has waited for `reserve_timeout`."),
    row<&Pool::reserve_timeout>("reserve_timeout", {.limits = {.min = 0, .max = kDay}},
                                "How long a client waits before the reserve is opened for it."),
    row<&Pool::enlist_reserve>("enlist_reserve", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"},
                               "More server connections for each backend and user, while a transaction over several shards waits that holds servers of others."),
    row<&Pool::max_per_backend>(
        "max_per_backend", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
        "Hard bound of connections to one PostgreSQL server (host and port), over all its databases and users. "
        "`weir check --connect` compares it with PostgreSQL's max_connections."),
    row<&Pool::wait_timeout>(
        "wait_timeout", {.limits = {.min = 0, .max = kDay}},
        "How long a client waits for a server connection before it gets SQLSTATE 53300; 0: for ever."),
    row<&Pool::wait_notify>("wait_notify", {.limits = {.min = 0, .max = kDay}},
                            "A client that has waited for so long is told so by a NOTICE; 0: never."),
    row<&Pool::connect_timeout>("connect_timeout", {.limits = {.min = 100, .max = 10 * kMinute}},
                                "How long one login at a server may take."),
    row<&Pool::idle_timeout>("idle_timeout", {.limits = {.min = 0, .max = 30 * kDay}},
                             "A server connection that nobody used for so long is closed; 0: never."),
    row<&Pool::lifetime>("lifetime", {.limits = {.min = 0, .max = 30 * kDay}},
                         "A server connection this old is closed when it is next free; 0: never."),
    row<&Pool::idle_transaction_timeout>("idle_transaction_timeout", {.limits = {.min = 0, .max = 30 * kDay}},
                                         "A client idle in a transaction for so long is disconnected "
                                         "(SQLSTATE 25P03); 0: never."),
    row<&Pool::client_login_timeout>("client_login_timeout", {.limits = {.min = 100, .max = kHour}},
                                     "How long a client may take to log in."),
    row<&Pool::query_timeout>("query_timeout", {.limits = {.min = 0, .max = 30 * kDay}},
                              "A statement that runs for so long is cancelled and its client disconnected; 0: never."),
    row<&Pool::transaction_timeout>("transaction_timeout", {.limits = {.min = 0, .max = 30 * kDay}},
                                    "A client that holds a transaction for so long is disconnected; 0: never."),
    row<&Pool::client_idle_timeout>("client_idle_timeout", {.limits = {.min = 0, .max = 30 * kDay}},
                                    "A client that is idle outside of a transaction for so long is disconnected; 0: never."),
    row<&Pool::cancel_wait_timeout>("cancel_wait_timeout", {.limits = {.min = 0, .max = kHour}},
                                    "How long the delivery of a cancel request may take."),
    row<&Pool::login_threads>("login_threads",
                              {.limits = {.min = 1, .max = 256}, .unit = "threads", .reload = Reload::no},
                              "Logins at servers that may run at once."),
    row<&Pool::max_prepared_statements>(
        "max_prepared_statements", {.limits = {.min = 1, .max = 100'000}, .unit = "statements"},
        "Prepared statements kept on one server connection; the least recently used one makes room."),
    row<&Pool::max_prepared_bytes>(
        "max_prepared_bytes", {.limits = {.min = 0, .max = std::int64_t{1} << 40}, .unit = "bytes"},
        "Text of the prepared statements kept on one server connection; 0: no bound."),
    row<&Pool::max_pinned>("max_pinned", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"},
                           "Server connections of one pool that clients may keep for temporary tables, session locks and the "
                           "like; 0: all but one."),
    row<&Pool::tag_servers>("tag_servers", {},
                            "Servers show the client they work for in their application_name (at the cost of a SET where clients change)."),
    row<&Pool::max_fallback_databases>("max_fallback_databases", {.limits = {.min = 1, .max = 100'000}, .unit = "databases"},
                                       "Databases served at once by the one named `*`; beyond them the one idle for longest makes room, or "
                                       "the client is refused with SQLSTATE 53300."),
    row<&Pool::fallback_idle_timeout>("fallback_idle_timeout", {.limits = {.min = 0, .max = 30 * kDay}},
                                      "A database served by the one named `*` that had no client for so long is forgotten, with its server "
                                      "connections; 0: never."),
};

// The keys of PoolOverrides.
template <class S>
constexpr Row<S> overridden_pool_size = row<&S::pool_size, Codec<std::optional<unsigned>>, S>(
    "pool_size", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"}, "`pool.size` for it.");
template <class S>
constexpr Row<S> overridden_mode = row<&S::pool_mode, Codec<std::optional<PoolMode>>, S>("pool_mode", {}, "`pool.mode` for it.");
template <class S>
constexpr Row<S> overridden_reserve = row<&S::pool_reserve, Codec<std::optional<unsigned>>, S>(
    "pool_reserve", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"}, "`pool.reserve` for it.");
template <class S>
constexpr Row<S> overridden_servers = row<&S::max_server_connections, Codec<std::optional<unsigned>>, S>(
    "max_server_connections", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
    "Bound of its server connections, over all its pools and all PostgreSQL servers.");
template <class S>
constexpr Row<S> overridden_clients = row<&S::max_clients, Codec<std::optional<unsigned>>, S>(
    "max_clients", {.limits = {.min = 1, .max = 1'000'000}, .unit = "connections"},
    "Bound of its client connections; the next one is refused with SQLSTATE 53300.");
template <class S, auto M>
constexpr Row<S> overridden_time(std::string_view key, std::string_view help) {
  return row<M, Codec<std::optional<Millis>>, S>(key, {.limits = {.min = 0, .max = 30 * kDay}}, help);
}

constexpr Row<Health> kHealth[]{
    row<&Health::interval>("interval", {.limits = {.min = 10, .max = kHour}}, "Time between two probes of a backend."),
    row<&Health::timeout>("timeout", {.limits = {.min = 10, .max = 10 * kMinute}}, "How long one probe may take."),
    row<&Health::failure_threshold>("failure_threshold", {.limits = {.min = 1, .max = 1000}, .unit = "failures"},
                                    "Consecutive connection failures or timeouts that open the circuit breaker."),
    row<&Health::recovery_time>("recovery_time", {.limits = {.min = 10, .max = kHour}},
                                "Time after which an open breaker lets one attempt through."),
};

constexpr Row<Database> kDatabase[]{
    row<&Database::name>("name", {.limits = kOneName, .required = true},
                         "What clients connect to. `weir` and `pgbouncer` are the console. `*` serves every name that no other database "
                         "has, as the database of that name on the server (see from-pgbouncer.md)."),
    row<&Database::maintenance, OverridesCodec>(
        "maintenance", {.secret = true},
        "Who monitors and runs DDL for Weir: libpq parameters that override the backends' strings, "
        "e.g. `user=weir_maintenance`. Empty: the backend string's own user."),
    overridden_pool_size<Database>,
    row<&Database::pool_min>("pool_min", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"}, "`pool.min` for it."),
    overridden_mode<Database>,
    overridden_reserve<Database>,
    overridden_servers<Database>,
    overridden_clients<Database>,
    overridden_time<Database, &Database::query_timeout>("query_timeout", "`pool.query_timeout` for it."),
    overridden_time<Database, &Database::transaction_timeout>("transaction_timeout", "`pool.transaction_timeout` for it."),
    overridden_time<Database, &Database::idle_transaction_timeout>("idle_transaction_timeout", "`pool.idle_transaction_timeout` for it."),
    overridden_time<Database, &Database::client_idle_timeout>("client_idle_timeout", "`pool.client_idle_timeout` for it."),
};

constexpr Row<Sharding> kSharding[]{
    row<&Sharding::function>("function", {.reload = Reload::never},
                             "Key to bucket: `hash` is PostgreSQL's own extended hash, `modulo` is key % buckets."),
    row<&Sharding::buckets>("buckets",
                            {.limits = {.min = 1, .max = 1'048'576}, .unit = "buckets", .reload = Reload::never},
                            "How many buckets there are; a power of two for `hash`. Fixed for the life of the data."),
    row<&Sharding::map_version>(
        "map_version", {.limits = {.min = 1, .max = std::numeric_limits<std::int64_t>::max()}},
        "Version of the bucket map; it must equal every shard's identity row. Raised when buckets move."),
    row<&Sharding::unlisted_tables>("unlisted_tables", {},
                                    "Tables without a rule live on the home shard (the first listed), or are refused."),
    row<&Sharding::multi_shard_snapshot>(
        "multi_shard_snapshot", {},
        "REPEATABLE READ over several shards: `refuse` it, or `per_shard`: each shard has a snapshot of its own (see consistency.md)."),
    row<&Sharding::multi_shard_lock_timeout>(
        "multi_shard_lock_timeout", {.limits = {.min = 0, .max = kHour}},
        "`lock_timeout` of a transaction over several shards that has none of its own, since no PostgreSQL sees a deadlock over shards; 0: none."),
    row<&Sharding::in_doubt_after>(
        "in_doubt_after", {.limits = {.min = kSecond, .max = kHour}},
        "How old a prepared transaction without a decision is when its coordinator is taken for dead and it is rolled back (see consistency.md)."),
    row<&Sharding::mode>("mode", {.reload = Reload::no},
                         "`observe`: a plain database on the home shard, whose statements are counted by where they would go "
                         "(SHOW ROUTES, SHOW REFUSALS). No other shard is connected to."),
};

constexpr Row<Shard> kShard[]{
    row<&Shard::name, NameCodec>("name", {.limits = {.min = 1, .max = 32}, .required = true},
                                 "The shard's name; it must equal its identity row."),
    row<&Shard::buckets>("buckets", {},
                         "The buckets it holds, in a sharded database: `\"0-2047\"`, `\"0,10,20\"`, `\"0-9,40-49\"`; "
                         "`\"\"` for none yet."),
    row<&Shard::primary, PrimaryCodec>(
        "primary", {.secret = true},
        "libpq connection string of the primary, one host, with dbname (`*` may lack it). With `user` every client "
        "works as that role there; without, each as itself. Required; with `mode = \"observe\"` of the first shard only."),
    row<&Shard::replicas, ReplicasCodec>(
        "replicas", {.secret = true}, "Connection strings of its replicas, or `{ conninfo = \"...\", weight = 2 }`."),
};

constexpr Row<Table> kTable[]{
    row<&Table::name>("name", {.limits = {.min = 1, .max = 2 * kNameBytes + 1}, .required = true},
                      "The table, spelt as in the catalog: `schema.table`, or `table` to be found by search_path."),
    row<&Table::key>("key", {.limits = kOneName}, "The column whose value decides the bucket."),
    row<&Table::reference>("reference", {}, "The same rows on every shard."),
    row<&Table::unique_per_shard, UniqueCodec>(
        "unique", {}, "`per_shard` accepts unique keys that lack the sharding key and so hold only within a shard."),
    row<&Table::fills_key, DefaultKeyCodec>(
        "default_key", {}, "`weir.next_id` gives an INSERT without the key one: see [ids.md](ids.md). The key must be a bigint."),
};

constexpr Row<Month> kMonth[]{
    row<&Month::column>("column", {.limits = kOneName, .required = true},
                        "The column whose month decides the partition."),
    row<&Month::layout>("layout", {}, "`native`: a table partitioned by range; partitions are named `works_202401`."),
    row<&Month::ahead>("ahead", {.limits = {.min = 0, .max = 120}, .unit = "months"},
                       "Months whose partitions are made in advance."),
    row<&Month::keep>("keep", {.limits = {.min = 0, .max = 1200}, .unit = "months"},
                      "Months that are kept; 0: for ever."),
    row<&Month::timezone>("timezone", {.limits = {.min = 1, .max = 64}}, "Time zone in which a month begins."),
};

constexpr Row<Reads> kReads[]{
    row<&Reads::balance>("balance", {}, "How a replica is chosen."),
    row<&Reads::consistency>(
        "consistency", {},
        "`eventual`: any replica; `read_your_writes`: what was just written through this proxy is read "
        "from the primary; `primary`: every statement there."),
    row<&Reads::max_lag>("max_lag", {.limits = {.min = 0, .max = kDay}},
                         "A replica further behind serves no reads; 0: any lag."),
};

constexpr Row<User> kUser[]{
    row<&User::name>("name", {.limits = kOneName, .required = true}, "The user's name."),
    row<&User::password, PasswordCodec>(
        "password", {.limits = kAnyText, .secret = true},
        "Plain text, or a `SCRAM-SHA-256$...` or `md5...` secret as PostgreSQL stores it. Needed where `auth.method` asks for one."),
    overridden_pool_size<User>,
    overridden_mode<User>,
    overridden_reserve<User>,
    overridden_servers<User>,
    overridden_clients<User>,
    overridden_time<User, &User::query_timeout>("query_timeout", "`pool.query_timeout` for it."),
    overridden_time<User, &User::transaction_timeout>("transaction_timeout", "`pool.transaction_timeout` for it."),
    overridden_time<User, &User::idle_transaction_timeout>("idle_transaction_timeout", "`pool.idle_transaction_timeout` for it."),
    overridden_time<User, &User::client_idle_timeout>("client_idle_timeout", "`pool.client_idle_timeout` for it."),
    row<&User::route_hints>("route_hints", {},
                            "It may say on which shard a statement runs, by comments `/* weir: ... */` and `SET weir.shard`, `weir.key`, `weir.role` "
                            "([manual routing](manual-routing.md))."),
};

constexpr SectionFacts kSections[]{
    {"listen", Form::table, false, "Where clients connect."},
    {"admin", Form::table, false, "The console."},
    {"log", Form::table, false, "What is logged, to standard error."},
    {"auth", Form::table, false, "How clients log in."},
    {"tls", Form::table, false, "TLS towards clients. Towards servers it is `sslmode` of their connection strings."},
    {"pool", Form::table, false, "Server connections."},
    {"health", Form::table, false, "How backends are watched."},
    {"peer", Form::array, false, "Another proxy behind the same address."},
    {"database", Form::array, false, "One database that clients may connect to; at least one."},
    {"database.sharding", Form::table, false,
     "Makes the database a sharded one. Without it, it has one shard, without buckets."},
    {"database.shard", Form::array, false,
     "One shard: a primary and its replicas. The first listed is the home shard."},
    {"database.table", Form::array, false,
     "The rule of one table. In a sharded database it has a key, or is a reference table."},
    {"database.table.month", Form::table, false,
     "Monthly partitions of the table, e.g. `month = { column = \"created_at\" }`."},
    {"database.reads", Form::table, false, "Where reads outside transactions go."},
    {"user", Form::array, true, "One user who may log in."},
};

constexpr LaterKey kLater[]{
    {"", "stats", "", "leave the table out"},
    {"", "limits", "", "leave the table out"},
    {"", "catalog", "", "the bucket map is the one in this file; leave the key out"},
    {"database", "catalog", "", "the bucket map is the one in this file; leave the key out"},
    {"database.sharding", "map_lease", "", "the bucket map is the one in this file; leave the key out"},
    {"database.reads", "in_transaction", "\"primary\"", "transactions always read from the primary"},
};

}  // namespace

template <>
std::span<const Row<Listen>> rows_of() {
  return kListen;
}
template <>
std::span<const Row<Admin>> rows_of() {
  return kAdmin;
}
template <>
std::span<const Row<Log>> rows_of() {
  return kLog;
}
template <>
std::span<const Row<Auth>> rows_of() {
  return kAuth;
}
template <>
std::span<const Row<Tls>> rows_of() {
  return kTls;
}
template <>
std::span<const Row<Peer>> rows_of() {
  return kPeer;
}
template <>
std::span<const Row<Pool>> rows_of() {
  return kPool;
}
template <>
std::span<const Row<Health>> rows_of() {
  return kHealth;
}
template <>
std::span<const Row<Database>> rows_of() {
  return kDatabase;
}
template <>
std::span<const Row<Sharding>> rows_of() {
  return kSharding;
}
template <>
std::span<const Row<Shard>> rows_of() {
  return kShard;
}
template <>
std::span<const Row<Table>> rows_of() {
  return kTable;
}
template <>
std::span<const Row<Month>> rows_of() {
  return kMonth;
}
template <>
std::span<const Row<Reads>> rows_of() {
  return kReads;
}
template <>
std::span<const Row<User>> rows_of() {
  return kUser;
}

std::span<const SectionFacts> sections() { return kSections; }
std::span<const LaterKey> later_keys() { return kLater; }

}  // namespace weir::config
