#include "config/rows.hpp"

namespace weir::config {
namespace {

constexpr std::int64_t kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;
constexpr std::int64_t kNameBytes = 63;           // NAMEDATALEN - 1
constexpr std::int64_t kMaxConnections = 262143;  // PostgreSQL's own limit of max_connections

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
};

constexpr Row<Admin> kAdmin[]{
    row<&Admin::users>("users", {.limits = {.min = 1, .max = kNameBytes}},
                       "Users who may use the console (database `weir`, also called `pgbouncer`)."),
    row<&Admin::stats_users>("stats_users", {.limits = {.min = 1, .max = kNameBytes}},
                             "Users who may only SHOW in the console."),
};

constexpr Row<Log> kLog[]{
    row<&Log::level>("level", {}, "The lowest level that is written."),
    row<&Log::format>("format", {}, "How a line looks."),
};

constexpr Row<Auth> kAuth[]{
    row<&Auth::method>("method", {}, "How clients prove who they are. `trust` asks for nothing: for tests only."),
    row<&Auth::users_file>("users_file", {.limits = {.min = 1, .max = 4096}},
                           "File of `[[user]]` tables. Relative to this file. With `trust` it may be absent."),
};

constexpr Row<Pool> kPool[]{
    row<&Pool::mode>("mode", {}, "What a client holds a server connection for."),
    row<&Pool::size>("size", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
                     "Server connections for each backend and user."),
    row<&Pool::min>("min", {.limits = {.min = 0, .max = kMaxConnections}, .unit = "connections"},
                    "Server connections kept open for each backend and user that has been used."),
    row<&Pool::max_per_backend>(
        "max_per_backend", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
        "Hard bound of connections to one PostgreSQL server (host and port), over all its databases and users. "
        "`weir check --connect` compares it with PostgreSQL's max_connections."),
    row<&Pool::wait_timeout>(
        "wait_timeout", {.limits = {.min = 0, .max = kDay}},
        "How long a client waits for a server connection before it gets SQLSTATE 53300; 0: for ever."),
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
    row<&Pool::login_threads>("login_threads",
                              {.limits = {.min = 1, .max = 256}, .unit = "threads", .reload = Reload::no},
                              "Logins at servers that may run at once."),
    row<&Pool::max_prepared_statements>(
        "max_prepared_statements", {.limits = {.min = 1, .max = 100'000}, .unit = "statements"},
        "Prepared statements kept on one server connection; the least recently used one makes room."),
};

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
                         "What clients connect to. `weir` and `pgbouncer` are the console."),
    row<&Database::maintenance, OverridesCodec>(
        "maintenance", {.secret = true},
        "Who monitors and runs DDL for Weir: libpq parameters that override the backends' strings, "
        "e.g. `user=weir_maintenance`. Empty: the backend string's own user."),
    row<&Database::pool_size>("pool_size", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
                              "`pool.size` for this database."),
    row<&Database::pool_mode>("pool_mode", {}, "`pool.mode` for this database."),
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
};

constexpr Row<Shard> kShard[]{
    row<&Shard::name, NameCodec>("name", {.limits = {.min = 1, .max = 32}, .required = true},
                                 "The shard's name; it must equal its identity row."),
    row<&Shard::buckets>("buckets", {},
                         "The buckets it holds, in a sharded database: `\"0-2047\"`, `\"0,10,20\"`, `\"0-9,40-49\"`; "
                         "`\"\"` for none yet."),
    row<&Shard::primary, BackendCodec>(
        "primary", {.required = true, .secret = true},
        "libpq connection string of the primary, one host, with dbname. With `user` every client "
        "works as that role there; without, each as itself."),
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
        "Plain text, or a `SCRAM-SHA-256$...` secret as PostgreSQL stores it. Needed unless `auth.method` is `trust`."),
    row<&User::pool_size>("pool_size", {.limits = {.min = 1, .max = kMaxConnections}, .unit = "connections"},
                          "`pool.size` for this user."),
    row<&User::pool_mode>("pool_mode", {}, "`pool.mode` for this user."),
};

constexpr SectionFacts kSections[]{
    {"listen", Form::table, false, "Where clients connect."},
    {"admin", Form::table, false, "The console."},
    {"log", Form::table, false, "What is logged, to standard error."},
    {"auth", Form::table, false, "How clients log in."},
    {"pool", Form::table, false, "Server connections."},
    {"health", Form::table, false, "How backends are watched."},
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
    {"", "tls", "", "clients connect without TLS; leave the table out"},
    {"", "stats", "", "leave the table out"},
    {"", "limits", "", "leave the table out"},
    {"", "catalog", "", "the bucket map is the one in this file; leave the key out"},
    {"admin", "http", "\"\"", "use the console (database weir)"},
    {"log", "slow_query", "\"0\"", "use PostgreSQL's log_min_duration_statement"},
    {"auth", "auth_query", "\"\"", "list the users in auth.users_file"},
    {"pool", "reserve", "0", "leave the key out"},
    {"pool", "enlist_reserve", "0", "leave the key out"},
    {"database", "catalog", "", "the bucket map is the one in this file; leave the key out"},
    {"database.sharding", "mode", "\"route\"", "statements are always routed"},
    {"database.sharding", "multi_shard_snapshot", "", "a transaction stays on one shard; leave the key out"},
    {"database.sharding", "multi_shard_lock_timeout", "", "a transaction stays on one shard; leave the key out"},
    {"database.sharding", "in_doubt_after", "", "a transaction stays on one shard; leave the key out"},
    {"database.sharding", "map_lease", "", "the bucket map is the one in this file; leave the key out"},
    {"database.table", "default_key", "", "let each INSERT carry its key"},
    {"database.reads", "in_transaction", "\"primary\"", "transactions always read from the primary"},
    {"user", "route_hints", "false", "leave the key out"},
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
