// Where leases lead, and what is refused.
#include <pqxx/pqxx>

#include "tests/unit/client/fixture.hpp"

namespace weir::client {
namespace {

class ClusterTest : public TwoShards {};

TEST_F(ClusterTest, WritesEveryKeyToTheShardItsHashNames) {
  Cluster cluster(settings(false));
  for (int user = -20; user < 80; ++user) {
    auto lease = cluster.write(user);
    pqxx::work tx{lease.connection()};
    tx.exec_params("INSERT INTO users VALUES ($1, $2)", user, "n" + std::to_string(user));
    tx.commit();
  }
  int found = 0;
  for (std::size_t shard = 0; shard < 2; ++shard) {
    tests::PgConnection server(clusters_->conninfo(shard));
    EXPECT_EQ(server.value("SELECT count(*) FROM users WHERE (hashint8extended(id, 0) & 4095) / 2048 <> " +
                           std::to_string(shard)),
              "0");
    found += std::stoi(server.value("SELECT count(*) FROM users"));
  }
  EXPECT_EQ(found, 100);
}

TEST_F(ClusterTest, KeepsReadLeasesFromWriting) {
  Cluster cluster(settings(false));
  auto lease = cluster.read(1);
  EXPECT_TRUE(lease.read_only());
  pqxx::work tx{lease.connection()};
  try {
    tx.exec("INSERT INTO users VALUES (1000, 'x')");
    FAIL() << "a read lease wrote";
  } catch (const pqxx::sql_error& e) {
    EXPECT_EQ(e.sqlstate(), "25006");
  }
}

TEST_F(ClusterTest, RefusesAKeyOfAnotherKindThanTheKeyColumns) {
  Cluster cluster(settings(false));
  EXPECT_THROW(static_cast<void>(cluster.read("42")), pqxx::argument_error);
  EXPECT_THROW(static_cast<void>(cluster.write(schema::Uuid{})), pqxx::argument_error);
  EXPECT_NO_THROW(static_cast<void>(cluster.read(42)));
}

TEST_F(ClusterTest, RefusesSwappedShards) {
  auto swapped = settings(false);
  std::swap(swapped.databases[0].shards[0].primary, swapped.databases[0].shards[1].primary);
  Cluster cluster(swapped);
  try {
    static_cast<void>(cluster.write_shard(0));
    FAIL() << "a swapped shard was accepted";
  } catch (const BackendUnavailable& e) {
    EXPECT_EQ(e.sqlstate(), "57P03");
    EXPECT_NE(std::string(e.what()).find("s1"), std::string::npos) << e.what();
  }
}

TEST_F(ClusterTest, RefusesAnotherMapVersion) {
  auto newer = settings(false);
  newer.databases[0].sharding->map_version = 2;
  Cluster cluster(newer);
  EXPECT_THROW(static_cast<void>(cluster.write(1)), BackendUnavailable);
}

TEST_F(ClusterTest, RefusesAReplicaInThePrimarysPlace) {
  auto wrong = settings(false);
  wrong.databases[0].shards[0].primary = clusters_->replica_conninfo(0, 0);
  Cluster cluster(wrong);
  try {
    static_cast<void>(cluster.write_shard(0));
    FAIL() << "a replica was taken for a primary";
  } catch (const BackendUnavailable& e) {
    EXPECT_NE(std::string(e.what()).find("in recovery"), std::string::npos) << e.what();
  }
}

TEST_F(ClusterTest, FailsAtOnceWhileTheCircuitIsOpenAndSaysWhy) {
  auto away = settings(false);
  away.databases[0].shards[1].primary = "host=127.0.0.1 port=1 dbname=app user=postgres";
  away.health.recovery_time = config::Millis(60'000);
  Cluster cluster(away);
  EXPECT_THROW(static_cast<void>(cluster.write_shard(1)), BackendUnavailable);  // opens it
  const TimePoint begun = Clock::now();
  try {
    static_cast<void>(cluster.write_shard(1));
    FAIL() << "nobody listens on port 1";
  } catch (const BackendUnavailable& e) {
    EXPECT_NE(std::string(e.what()).find("circuit open"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("app/s1/primary"), std::string::npos) << e.what();
  }
  EXPECT_LT(Clock::now() - begun, std::chrono::milliseconds(100));
  EXPECT_NO_THROW(static_cast<void>(cluster.write_shard(0))) << "the other shard is not concerned";
}

TEST_F(ClusterTest, OutlivesNothingThatALeaseNeeds) {
  auto cluster = std::make_unique<Cluster>(settings());
  auto lease = cluster->write(7);
  cluster.reset();
  pqxx::work tx{lease.connection()};
  EXPECT_EQ(tx.exec1("SELECT 1")[0].as<int>(), 1);
}

}  // namespace
}  // namespace weir::client
