// Reads on replicas: fresh enough, balanced, and without those that are away.
#include <pqxx/pqxx>

#include "tests/unit/client/fixture.hpp"

namespace weir::client {
namespace {

class ReplicaTest : public TwoShards {
 protected:
  static void SetUpTestSuite() {
    TwoShards::SetUpTestSuite();
    tests::PgConnection(clusters_->conninfo(0)).exec("CREATE TABLE counter (key bigint PRIMARY KEY, n int)");
  }

  // Of shard 0.
  static int key_on_home(const Cluster& cluster, int from = 1) {
    while (cluster.shard_of(from) != 0) ++from;
    return from;
  }

  static void delay_replay(const std::string& time) {
    tests::PgConnection replica(clusters_->replica_conninfo(0, 0));
    replica.exec("ALTER SYSTEM SET recovery_min_apply_delay = '" + time + "'");
    replica.exec("SELECT pg_reload_conf()");
  }

  static void set(Cluster& cluster, int key, int n) {
    auto lease = cluster.write(key);
    pqxx::work tx{lease.connection()};
    tx.exec_params("INSERT INTO counter VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET n = $2", key, n);
    tx.commit();
  }

  static int get(Cluster& cluster, int key, bool& on_replica) {
    auto lease = cluster.read(key);
    on_replica = lease.on_replica();
    pqxx::read_transaction tx{lease.connection()};
    return tx.exec_params1("SELECT n FROM counter WHERE key = $1", key)[0].as<int>();
  }

  static bool reads_on_replica(Cluster& cluster, int key) {
    return eventually([&] { return cluster.read(key).on_replica(); });
  }
};

TEST_F(ReplicaTest, SendsReadsToAReplicaAndWritesToThePrimary) {
  Cluster cluster(settings());
  const int key = key_on_home(cluster);
  ASSERT_TRUE(reads_on_replica(cluster, key));
  auto reader = cluster.read(key);
  pqxx::nontransaction tx{reader.connection()};
  EXPECT_TRUE(tx.exec1("SELECT pg_is_in_recovery()")[0].as<bool>());
  EXPECT_EQ(tx.exec1("SHOW default_transaction_read_only")[0].as<std::string>(), "on");
  EXPECT_FALSE(cluster.write(key).on_replica());
}

TEST_F(ReplicaTest, ReadsWhatItWroteFromAReplicaThatIsLate) {
  delay_replay("300ms");
  Cluster cluster(settings());
  const int key = key_on_home(cluster);
  int on_primary = 0;
  for (int n = 1; n <= 25; ++n) {
    set(cluster, key, n);
    bool on_replica = false;
    ASSERT_EQ(get(cluster, key, on_replica), n);
    on_primary += on_replica ? 0 : 1;
    // Every fifth time the replica is waited for: it must come back into use, and then have the row.
    if (n % 5 != 0) continue;
    ASSERT_TRUE(reads_on_replica(cluster, key));
    ASSERT_EQ(get(cluster, key, on_replica), n);
  }
  EXPECT_GT(on_primary, 0) << "the replica was never late, so this test shows nothing";
  delay_replay("0");
}

TEST_F(ReplicaTest, KeepsOtherBucketsOnTheReplicaWhileOneIsWritten) {
  Cluster cluster(settings());
  const int key = key_on_home(cluster);
  int other = key_on_home(cluster, key + 1);
  while (cluster.bucket_of(other) == cluster.bucket_of(key)) other = key_on_home(cluster, other + 1);
  ASSERT_TRUE(reads_on_replica(cluster, key));
  auto writer = cluster.write(key);
  EXPECT_FALSE(cluster.read(key).on_replica());
  EXPECT_TRUE(cluster.read(other).on_replica());
  EXPECT_FALSE(cluster.read_shard(0).on_replica()) << "a read of the whole shard reads the written bucket, too";
}

TEST_F(ReplicaTest, KeepsABucketOnThePrimaryUntilABrokenWritersProcessIsGone) {
  Cluster cluster(settings());
  const int key = key_on_home(cluster);
  ASSERT_TRUE(reads_on_replica(cluster, key));
  {
    auto lease = cluster.write(key);
    lease.discard();
  }
  EXPECT_FALSE(cluster.read(key).on_replica());
  EXPECT_TRUE(reads_on_replica(cluster, key)) << "the process ended, so the bucket is free again";
}

TEST_F(ReplicaTest, ReadsFromThePrimaryWhenTold) {
  auto always = settings();
  always.databases[0].reads.consistency = config::Consistency::primary;
  Cluster cluster(always);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(cluster.read_shard(0).on_replica());
}

TEST_F(ReplicaTest, LeavesOutADeadReplicaAndTakesItBack) {
  Cluster cluster(settings());
  const int key = key_on_home(cluster);
  set(cluster, key, 7);
  ASSERT_TRUE(reads_on_replica(cluster, key));
  clusters_->kill(0, "0");
  bool on_replica = true;
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(get(cluster, key, on_replica), 7) << "the primary steps in at once";
    EXPECT_FALSE(on_replica);
  }
  ASSERT_TRUE(eventually([&] { return !cluster.backends()[1].usable; }));
  EXPECT_FALSE(cluster.backends()[1].reason.empty());
  clusters_->restart(0, "0");
  EXPECT_TRUE(reads_on_replica(cluster, key));
}

TEST_F(ReplicaTest, RecoversWhenADeadPrimaryComesBack) {
  Cluster cluster(settings());
  const int key = key_on_home(cluster);
  set(cluster, key, 1);
  clusters_->kill(0, "primary");
  EXPECT_THROW(set(cluster, key, 2), std::exception);
  int other = 1;
  while (cluster.shard_of(other) != 1) ++other;
  EXPECT_NO_THROW(static_cast<void>(cluster.write(other))) << "the other shard sees nothing of it";
  clusters_->restart(0, "primary");
  EXPECT_TRUE(eventually([&] {
    try {
      set(cluster, key, 3);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }));
  bool on_replica = false;
  EXPECT_EQ(get(cluster, key, on_replica), 3);
  EXPECT_TRUE(reads_on_replica(cluster, key));
}

}  // namespace
}  // namespace weir::client
