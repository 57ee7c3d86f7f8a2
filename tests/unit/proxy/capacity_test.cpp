#include "proxy/capacity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

using testing::HasSubstr;

config::Settings two_databases_on_one_server() {
  config::Settings settings;
  settings.pool.max_per_backend = 50;
  settings.pool.size = 20;
  settings.pool.reserve = 5;
  for (const char* name : {"app", "billing"}) {
    config::Database& database = settings.databases.emplace_back();
    database.name = name;
    config::Shard& shard = database.shards.emplace_back();
    shard.name = "main";
    shard.primary = std::string("host=db1 dbname=") + name;
    shard.replicas.push_back({std::string("host=db2 port=5433 dbname=") + name, 1});
  }
  return settings;
}

TEST(Capacity, CountsABoundForTheServerAndAReserveForEachBackend) {
  const Capacity capacity(two_databases_on_one_server());
  EXPECT_EQ(capacity.needed("db1:5432"), 50 + 2 * 2 + 2);   // two monitors, two listeners, two to spare
  EXPECT_EQ(capacity.needed("db2:5433"), 50 + 2 + 2);       // nobody listens on a replica
}

TEST(Capacity, AShardsPrimaryHasOneMoreForRecovery) {
  config::Settings settings = two_databases_on_one_server();
  settings.databases[0].sharding.emplace();
  EXPECT_EQ(Capacity(settings).needed("db1:5432"), 50 + 2 * 2 + 1 + 2);
  EXPECT_EQ(Capacity(settings).needed("db2:5433"), 50 + 2 + 2);
}

TEST(Capacity, WhatTheFallbackServesIsReadByOneConnection) {
  config::Settings settings = two_databases_on_one_server();
  settings.fallback.emplace().shards.emplace_back().primary = "host=db1";
  EXPECT_EQ(Capacity(settings).needed("db1:5432"), 50 + 2 * 2 + 1 + 2);
}

TEST(Capacity, EveryPeerTakesAsMuch) {
  config::Settings settings = two_databases_on_one_server();
  settings.peers.resize(2);
  EXPECT_EQ(Capacity(settings).needed("db1:5432"), 3 * 56);
}

TEST(Capacity, AHandOverHasTwoReservesButOneBound) {
  config::Settings settings = two_databases_on_one_server();
  settings.listen.takeover_socket = "/run/weir/takeover";
  EXPECT_EQ(Capacity(settings).needed("db1:5432"), 50 + 2 * 4 + 2);
}

TEST(Capacity, SaysOnceWhatIsMissingAndWhatWouldFit) {
  config::Settings settings = two_databases_on_one_server();
  settings.peers.resize(1);
  Capacity capacity(settings);
  const std::string mistake = capacity.mistake("db1:5432", 97);
  EXPECT_THAT(mistake, HasSubstr("gives 97 connections"));
  EXPECT_THAT(mistake, HasSubstr("may take 112: 2 proxies x (pool.max_per_backend = 50 and 6 for"));
  EXPECT_THAT(mistake, HasSubstr("lower pool.max_per_backend to 42"));   // 2 x (42 + 6) = 96
  EXPECT_THAT(mistake, HasSubstr("sized 50 for each user"));
  EXPECT_EQ(capacity.mistake("db1:5432", 97), "");
}

TEST(Capacity, WhatFitsIsNoMistake) {
  Capacity capacity(two_databases_on_one_server());
  EXPECT_EQ(capacity.mistake("db1:5432", 56), "");
}

TEST(Capacity, AServerIsItsHostAndPort) {
  EXPECT_EQ(server_of("host=a port=6000 dbname=x"), "a:6000");
  EXPECT_EQ(server_of("hostaddr=10.0.0.1 dbname=x"), "10.0.0.1:5432");
  EXPECT_EQ(server_of("postgresql://b/x"), "b:5432");
}

}  // namespace
}  // namespace weir::proxy
