#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Settings sharded() {
  Settings settings;
  Database& database = settings.databases.emplace_back();
  database.name = "app";
  database.sharding.emplace().buckets = 16;
  database.shards = {{"s0", {{0, 7}}, "host=a dbname=app", {}}, {"s1", {{8, 15}}, "host=b dbname=app", {}}};
  return settings;
}

TEST(Reload, AppliesWhatNeedsNoRestart) {
  const Settings before = sharded();
  Settings after = before;
  after.listen.max_clients = 1;
  after.pool.size = 1;
  after.log.level = LogLevel::debug;
  after.auth.users_file = "/other";
  after.databases[0].shards[0].primary = "host=c dbname=app";
  after.databases[0].shards[0].replicas = {{"host=d dbname=app", 1}};
  after.databases[0].reads.max_lag = Millis{1};
  after.databases.emplace_back().name = "other";
  EXPECT_THAT(not_reloadable(before, before), IsEmpty());
  EXPECT_THAT(not_reloadable(before, after), IsEmpty());
  EXPECT_THAT(not_reloadable(after, before), IsEmpty());
}

TEST(Reload, NamesWhatNeedsARestart) {
  const Settings before = sharded();
  Settings after = before;
  after.listen.port = 7000;
  after.listen.addresses = {"::1"};
  after.listen.workers = 2;
  after.pool.login_threads = 1;
  EXPECT_THAT(not_reloadable(before, after),
              ElementsAre("listen.address: [\"127.0.0.1\"] -> [\"::1\"] needs a restart",
                          "listen.port: 6432 -> 7000 needs a restart", "listen.workers: 0 -> 2 needs a restart",
                          "pool.login_threads: 8 -> 1 needs a restart"));
}

TEST(Reload, NeverChangesHowKeysBecomeBuckets) {
  const Settings before = sharded();
  Settings after = before;
  after.databases[0].sharding->function = HashFunction::modulo;
  after.databases[0].sharding->buckets = 32;
  after.databases[0].shards[1].buckets = {{8, 31}};
  after.databases[0].sharding->map_version = 2;
  EXPECT_THAT(
      not_reloadable(before, after),
      ElementsAre(
          "database.app.sharding.function: \"hash\" -> \"modulo\" needs the data to be moved: keep the old value",
          "database.app.sharding.buckets: 16 -> 32 needs the data to be moved: keep the old value"));
}

TEST(Reload, MovesBucketsOnlyWithAHigherMapVersion) {
  const Settings before = sharded();
  Settings after = before;
  after.databases[0].shards[0].buckets = {{0, 3}};
  after.databases[0].shards[1].buckets = {{4, 15}};
  EXPECT_THAT(not_reloadable(before, after), ElementsAre(HasSubstr("sharding.map_version is still 1")));
  after.databases[0].sharding->map_version = 2;
  EXPECT_THAT(not_reloadable(before, after), IsEmpty());
  EXPECT_THAT(not_reloadable(after, before), ElementsAre(HasSubstr("map_version: 2 -> 1 goes backwards")));
}

TEST(Reload, AddsAndRemovesShardsOnlyWithAHigherMapVersion) {
  const Settings before = sharded();
  Settings after = before;
  after.databases[0].shards.push_back({"s2", {}, "host=c dbname=app", {}});
  EXPECT_THAT(not_reloadable(before, after),
              ElementsAre(HasSubstr("database.app.shard: shards or their buckets differ")));
  after.databases[0].sharding->map_version = 2;
  EXPECT_THAT(not_reloadable(before, after), IsEmpty());
}

TEST(Reload, KeepsTheHomeShardAndTheKindOfADatabase) {
  const Settings before = sharded();
  Settings after = before;
  std::swap(after.databases[0].shards[0], after.databases[0].shards[1]);
  EXPECT_THAT(
      not_reloadable(before, after),
      ElementsAre("database.app.shard: the first shard (the home of unlisted tables) s0 -> s1 needs a restart"));
  Settings plain = before;
  plain.databases[0].sharding.reset();
  EXPECT_THAT(not_reloadable(before, plain), ElementsAre("database.app.sharding: sharded -> plain needs a restart"));
}

}  // namespace
}  // namespace weir::config
