// What a good file means: values, defaults, environment, paths, users.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/config/config_file.hpp"

namespace weir::config {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""h;
using testing::ElementsAre;
using testing::IsEmpty;

std::string plain(std::string_view before = "", std::string_view after = "") {
  return std::string(before) + std::string(kPlainDatabase) + std::string(after);
}

TEST(Load, FillsEveryKeyThatIsLeftOutWithItsDefault) {
  const ConfigFile file(plain());
  const Settings settings = file.settings();
  EXPECT_EQ(settings.file, file.path());
  EXPECT_THAT(settings.listen.addresses, ElementsAre("127.0.0.1"));
  EXPECT_EQ(settings.listen.port, 6432);
  EXPECT_EQ(settings.auth.method, AuthMethod::scram_sha_256);
  EXPECT_EQ(settings.auth.users_file, (file.folder() / "users.toml").string());
  EXPECT_EQ(settings.pool.mode, PoolMode::transaction);
  EXPECT_EQ(settings.pool.wait_timeout, 30s);
  ASSERT_EQ(settings.databases.size(), 1U);
  EXPECT_FALSE(settings.databases[0].sharding);
  EXPECT_FALSE(settings.databases[0].pool_size);
  EXPECT_EQ(settings.databases[0].reads.max_lag, 5s);
}

TEST(Load, ReadsEveryKeyOfTheGeneralTables) {
  const ConfigFile file(plain(R"(
[listen]
address = ["::1", "0.0.0.0"]
port = 0
unix_socket_dir = "run"
workers = 3
max_clients = 5
[admin]
users = "root"
stats_users = ["a", "b"]
[log]
level = "debug"
format = "json"
[auth]
method = "trust"
[pool]
mode = "session"
size = 7
min = 2
max_per_backend = 9
wait_timeout = "500ms"
connect_timeout = "2s"
idle_timeout = "0"
lifetime = "2h"
idle_transaction_timeout = "10m"
client_login_timeout = "3s"
login_threads = 4
max_prepared_statements = 11
[health]
interval = "250ms"
timeout = "1s"
failure_threshold = 5
recovery_time = "4s"
)"));
  const Settings s = file.settings();
  EXPECT_THAT(s.listen.addresses, ElementsAre("::1", "0.0.0.0"));
  EXPECT_EQ(s.listen.port, 0);
  EXPECT_EQ(s.listen.unix_socket_dir, (file.folder() / "run").string());
  EXPECT_EQ(s.listen.workers, 3U);
  EXPECT_EQ(s.listen.max_clients, 5U);
  EXPECT_THAT(s.admin.users, ElementsAre("root"));
  EXPECT_THAT(s.admin.stats_users, ElementsAre("a", "b"));
  EXPECT_EQ(s.log.level, LogLevel::debug);
  EXPECT_EQ(s.log.format, LogFormat::json);
  EXPECT_EQ(s.auth.method, AuthMethod::trust);
  EXPECT_EQ(s.pool.mode, PoolMode::session);
  EXPECT_EQ(s.pool.size, 7U);
  EXPECT_EQ(s.pool.min, 2U);
  EXPECT_EQ(s.pool.max_per_backend, 9U);
  EXPECT_EQ(s.pool.wait_timeout, 500ms);
  EXPECT_EQ(s.pool.connect_timeout, 2s);
  EXPECT_EQ(s.pool.idle_timeout, 0ms);
  EXPECT_EQ(s.pool.lifetime, 2h);
  EXPECT_EQ(s.pool.idle_transaction_timeout, 600s);
  EXPECT_EQ(s.pool.client_login_timeout, 3s);
  EXPECT_EQ(s.pool.login_threads, 4U);
  EXPECT_EQ(s.pool.max_prepared_statements, 11U);
  EXPECT_EQ(s.health.interval, 250ms);
  EXPECT_EQ(s.health.timeout, 1s);
  EXPECT_EQ(s.health.failure_threshold, 5U);
  EXPECT_EQ(s.health.recovery_time, 4s);
}

TEST(Load, ReadsEveryKeyOfAShardedDatabase) {
  const ConfigFile file(R"(
[[database]]
name = "app"
maintenance = "user=m"
pool_size = 3
pool_mode = "statement"
  [database.sharding]
  function = "modulo"
  buckets = 10
  map_version = 4
  unlisted_tables = "reject"
  [[database.shard]]
  name = "s0"
  buckets = "0-4,9"
  primary = "host=a dbname=app"
  replicas = ["host=b dbname=app", { conninfo = "host=c dbname=app", weight = 2 }]
  [[database.shard]]
  name = "s1"
  buckets = "5-8"
  primary = "postgresql://u@d:5433/app"
  [[database.shard]]
  name = "empty"
  buckets = ""
  primary = "host=e dbname=app"
  [[database.table]]
  name = "shop.works"
  key = "user_id"
  unique = "per_shard"
  month = { column = "created_at", layout = "native", ahead = 6, keep = 24, timezone = "Europe/Berlin" }
  [[database.table]]
  name = "countries"
  reference = true
  [database.reads]
  balance = "round_robin"
  consistency = "eventual"
  max_lag = "1s"
)");
  const Settings settings = file.settings();
  const Database* d = settings.find_database("app");
  ASSERT_NE(d, nullptr);
  EXPECT_EQ(d->maintenance, "user=m");
  EXPECT_EQ(d->pool_size, 3U);
  EXPECT_EQ(d->pool_mode, PoolMode::statement);
  ASSERT_TRUE(d->sharding);
  EXPECT_EQ(d->sharding->function, HashFunction::modulo);
  EXPECT_EQ(d->sharding->buckets, 10U);
  EXPECT_EQ(d->sharding->map_version, 4U);
  EXPECT_EQ(d->sharding->unlisted_tables, UnlistedTables::reject);
  ASSERT_EQ(d->shards.size(), 3U);
  EXPECT_THAT(d->shards[0].buckets, ElementsAre(BucketRange{0, 4}, BucketRange{9, 9}));
  EXPECT_EQ(d->shards[0].primary, "host=a dbname=app");
  ASSERT_EQ(d->shards[0].replicas.size(), 2U);
  EXPECT_EQ(d->shards[0].replicas[0].weight, 1U);
  EXPECT_EQ(d->shards[0].replicas[1].conninfo, "host=c dbname=app");
  EXPECT_EQ(d->shards[0].replicas[1].weight, 2U);
  EXPECT_EQ(d->shards[1].name, "s1");
  EXPECT_THAT(d->shards[2].buckets, IsEmpty());
  ASSERT_EQ(d->tables.size(), 2U);
  EXPECT_EQ(d->tables[0].schema, "shop");
  EXPECT_EQ(d->tables[0].name, "works");
  EXPECT_EQ(d->tables[0].key, "user_id");
  EXPECT_TRUE(d->tables[0].unique_per_shard);
  ASSERT_TRUE(d->tables[0].month);
  EXPECT_EQ(d->tables[0].month->column, "created_at");
  EXPECT_EQ(d->tables[0].month->ahead, 6U);
  EXPECT_EQ(d->tables[0].month->keep, 24U);
  EXPECT_EQ(d->tables[0].month->timezone, "Europe/Berlin");
  EXPECT_EQ(d->tables[1].schema, "");
  EXPECT_TRUE(d->tables[1].reference);
  EXPECT_FALSE(d->tables[1].unique_per_shard);
  EXPECT_EQ(d->reads.balance, Balance::round_robin);
  EXPECT_EQ(d->reads.consistency, Consistency::eventual);
  EXPECT_EQ(d->reads.max_lag, 1s);
}

TEST(Load, ReplacesEnvironmentVariablesInStringsAndLeavesTheLiteralForm) {
  ::setenv("WEIR_TEST_HOST", "db.example", 1);
  ::setenv("WEIR_TEST_SECRET", "s3cret", 1);
  const ConfigFile file(
      "[[database]]\nname = 'app'\n[[database.shard]]\nname = 's0'\nprimary = 'host=${WEIR_TEST_HOST} dbname=app "
      "password=a$${b}$c'\n",
      "[[user]]\nname = 'app'\npassword = '${WEIR_TEST_SECRET}!'\n");
  const Settings settings = file.settings();
  EXPECT_EQ(settings.databases.at(0).shards.at(0).primary, "host=db.example dbname=app password=a${b}$c");
  EXPECT_EQ(settings.users.at(0).password, "s3cret!");
}

TEST(Load, ReadsUsersWithPlainAndScramPasswords) {
  const std::string scram =
      "SCRAM-SHA-256$4096:d2Vpci1leGFtcGxlLXNhbA==$weUPwTUgheEAzc9ilbCyLlNhfYV0XBFD6JoRrGoAgts=:"
      "g1imSAXs/yLSngh6SqL7RPv5jVaHjZ4MMFrVpjfCciQ=";
  const ConfigFile file(plain(),
                        "[[user]]\nname = 'a'\npassword = 'plain'\npool_size = 4\npool_mode = 'session'\n"
                        "[[user]]\nname = 'b'\npassword = '" +
                            scram + "'\n");
  const Settings settings = file.settings();
  ASSERT_NE(settings.find_user("a"), nullptr);
  EXPECT_EQ(settings.find_user("a")->pool_size, 4U);
  EXPECT_EQ(settings.find_user("a")->pool_mode, PoolMode::session);
  EXPECT_EQ(settings.find_user("b")->password, scram);
  EXPECT_EQ(settings.find_user("c"), nullptr);
}

TEST(Load, NeedsNoUsersFileForTrustNorForTheLibrary) {
  const ConfigFile trust(plain("[auth]\nmethod = 'trust'\n"));
  std::filesystem::remove(trust.folder() / "users.toml");
  EXPECT_THAT(trust.settings().users, IsEmpty());
  const ConfigFile library(plain());
  std::filesystem::remove(library.folder() / "users.toml");
  EXPECT_THAT(library.settings({.require_auth = false}).users, IsEmpty());
}

TEST(Load, TrustLetsUsersHaveNoPassword) {
  const ConfigFile file(plain("[auth]\nmethod = 'trust'\n"), "[[user]]\nname = 'app'\n");
  EXPECT_EQ(file.settings().users.at(0).password, "");
}

TEST(Load, AcceptsLaterKeysThatAskForWhatThisVersionDoes) {
  const ConfigFile file(
      plain("[log]\nslow_query = '0'\n[pool]\nreserve = 0\n", "[database.reads]\nin_transaction = 'primary'\n"));
  EXPECT_THAT(file.problems(), IsEmpty());
}

TEST(Load, APlainDatabaseMayHaveTableRulesWithoutKeys) {
  const ConfigFile file(plain("", "[[database.table]]\nname = 'works'\nmonth = { column = 'created_at' }\n"));
  EXPECT_EQ(file.settings().databases.at(0).tables.at(0).month->column, "created_at");
}

TEST(Load, TheDatabaseCalledStarIsTheFallbackAndNoDatabaseByName) {
  const Settings settings = ConfigFile(plain("", "[[database]]\nname = '*'\npool_size = 3\n[[database.shard]]\nname = 'main'\nprimary = 'host=b'\n"
                                                 "[pool]\nmax_fallback_databases = 7\nfallback_idle_timeout = '1m'\n"))
                                .settings();
  ASSERT_EQ(settings.databases.size(), 1U);
  EXPECT_EQ(settings.find_database("*"), nullptr);
  ASSERT_TRUE(settings.fallback);
  EXPECT_EQ(settings.fallback->pool_size, 3U);
  EXPECT_EQ(settings.fallback->shards.at(0).primary, "host=b");
  EXPECT_EQ(settings.pool.max_fallback_databases, 7U);
  EXPECT_EQ(settings.pool.fallback_idle_timeout, 60s);
}

TEST(Load, TheFallbackMayBeTheOnlyDatabaseAndWhereUsersAreLookedUp) {
  const Settings settings = ConfigFile("[auth]\nquery_user = 'app'\nquery_database = 'anything'\n"
                                       "[[database]]\nname = '*'\n[[database.shard]]\nname = 'main'\nprimary = 'host=b dbname=all'\n")
                                .settings();
  EXPECT_THAT(settings.databases, IsEmpty());
  EXPECT_TRUE(settings.fallback);
  EXPECT_EQ(settings.auth.query_database, "anything");
}

TEST(Load, ReadsTheExampleFiles) {
  for (const std::string name : {"plain.toml", "sharded.toml"}) {
    const auto result = load(WEIR_SOURCE_DIR "/config/examples/" + name);
    if (const auto* problems = std::get_if<std::vector<Problem>>(&result))
      for (const Problem& problem : *problems) ADD_FAILURE() << problem.str();
  }
}

TEST(Load, WhatIsObservedIsAPlainDatabaseThatKnowsItsRules) {
  const ConfigFile file(R"([[database]]
name = "app"
  [database.sharding]
  buckets = 2
  mode = "observe"
  [[database.shard]]
  name = "s0"
  buckets = "0"
  primary = "host=a dbname=app"
  replicas = ["host=b dbname=app"]
  [[database.shard]]
  name = "s1"
  buckets = "1"
  [[database.table]]
  name = "users"
  key = "id"
  [[database.table]]
  name = "works"
  key = "user_id"
  month = { column = "created_at" }
)");
  const Settings settings = file.settings();
  const Database& plain = *settings.find_database("app");
  EXPECT_FALSE(plain.sharding);
  ASSERT_EQ(plain.shards.size(), 1U);
  EXPECT_THAT(plain.shards[0].buckets, IsEmpty());
  EXPECT_EQ(plain.shards[0].replicas.size(), 1U);
  ASSERT_EQ(plain.tables.size(), 1U);   // months are made in a plain database, too
  EXPECT_EQ(plain.tables[0].name, "works");
  EXPECT_EQ(plain.tables[0].key, "");
  const Database& observed = described(plain);
  ASSERT_TRUE(observed.sharding);
  EXPECT_EQ(observed.sharding->mode, ShardingMode::observe);
  EXPECT_EQ(observed.shards.size(), 2U);
  EXPECT_EQ(observed.tables.size(), 2U);
  EXPECT_EQ(&described(observed), &observed);
}

}  // namespace
}  // namespace weir::config
