// Leases of node numbers on a real server.

#include "schema/id_nodes.hpp"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "schema/identity.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::schema {
namespace {

using tests::PgConnection;

constexpr const char* kCluster = "9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11";
constexpr std::int64_t kLease = kIdLease.count();

struct Lease {
  std::int64_t node, from, until, now;
};

std::string holder(int number) { return "00000000-0000-0000-0001-" + std::to_string(100000000000 + number); }

class IdNodesOnServer : public testing::Test {
 protected:
  static void SetUpTestSuite() { clusters_ = new tests::Clusters(1); }
  static void TearDownTestSuite() {
    delete clusters_;
    clusters_ = nullptr;
  }
  void SetUp() override {
    admin_.exec("DROP SCHEMA IF EXISTS weir CASCADE");
    for (const std::string& statement : init_statements({kCluster, "s0", 1}, 0)) admin_.exec(statement);
  }
  static Lease lease(PgConnection& connection, int number) {
    const auto rows = connection.exec(lease_id_node_query(holder(number), "pid 1 on a host"));
    return {std::stoll(*rows[0][0]), std::stoll(*rows[0][1]), std::stoll(*rows[0][2]), std::stoll(*rows[0][3])};
  }
  Lease lease(int number) { return lease(admin_, number); }
  std::string lease_error(int number) {
    try {
      (void)lease(number);
    } catch (const tests::SqlError& e) {
      return e.state();
    }
    return "";
  }
  // Every number but `node` is somebody's.
  void take_all_but(std::int64_t node) {
    admin_.exec("INSERT INTO weir.id_node SELECT n, gen_random_uuid(), 'another', 4000000000000 FROM generate_series(" +
                std::to_string(kFirstProxyNode) + ", 1023) n WHERE n <> " + std::to_string(node) + " ON CONFLICT (node) DO UPDATE "
                "SET until_ms = 4000000000000, holder = excluded.holder WHERE weir.id_node.node <> " + std::to_string(node));
  }

  static tests::Clusters* clusters_;
  PgConnection admin_{clusters_->conninfo(0)};
};
tests::Clusters* IdNodesOnServer::clusters_ = nullptr;

TEST_F(IdNodesOnServer, ALeaseBeginsNowAndIsRenewedForItsHolder) {
  EXPECT_EQ(admin_.value(std::string(has_id_nodes_query())), "t");
  const Lease first = lease(1);
  EXPECT_GE(first.node, kFirstProxyNode);
  EXPECT_LT(first.node, kIdNodes);
  EXPECT_EQ(first.from, first.now);
  EXPECT_EQ(first.until, first.now + kLease);
  const Lease again = lease(1);
  EXPECT_EQ(again.node, first.node);
  EXPECT_GE(again.until, first.until);
  EXPECT_EQ(again.from, 0);
  EXPECT_EQ(admin_.value("SELECT count(*) FROM weir.id_node"), "1");
}

TEST_F(IdNodesOnServer, HoldersAtOnceHaveDifferentNumbers) {
  std::vector<std::vector<std::int64_t>> nodes(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&nodes, t] {
      PgConnection mine(clusters_->conninfo(0));
      for (int i = 0; i < 60; ++i) nodes[static_cast<std::size_t>(t)].push_back(lease(mine, 100 * t + i).node);
    });
  for (auto& thread : threads) thread.join();
  std::set<std::int64_t> all;
  for (const auto& mine : nodes) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 240U);
}

TEST_F(IdNodesOnServer, ANumberIsSomebodyElsesOnlyWhenItsLeaseIsOverAndFromThereOn) {
  const Lease first = lease(1);
  take_all_but(first.node);
  EXPECT_EQ(lease_error(2), "53400");
  admin_.exec("UPDATE weir.id_node SET until_ms = " + std::to_string(first.now) + " WHERE holder = '" + holder(1) + "'");
  const Lease second = lease(2);
  EXPECT_EQ(second.node, first.node);
  EXPECT_GE(second.from, first.now);
  EXPECT_EQ(lease_error(1), "53400") << "who was late has no number any more";
}

TEST_F(IdNodesOnServer, WhoIsLateGetsMoreTimeIfNobodyTookTheNumber) {
  const Lease first = lease(1);
  admin_.exec("UPDATE weir.id_node SET until_ms = 5 WHERE holder = '" + holder(1) + "'");
  EXPECT_EQ(lease(1).node, first.node);
}

TEST_F(IdNodesOnServer, AReleasedNumberBeginsBehindWhatWasUsed) {
  const Lease first = lease(1);
  take_all_but(first.node);
  admin_.exec(release_id_node_query(holder(1), static_cast<std::uint64_t>(first.now + 600'000)));
  EXPECT_EQ(lease_error(2), "53400") << "ids were given in advance: the number is free when they are past";
  admin_.exec("UPDATE weir.id_node SET holder = '" + holder(1) + "' WHERE node = " + std::to_string(first.node));
  admin_.exec(release_id_node_query(holder(1), static_cast<std::uint64_t>(first.now)));
  const Lease second = lease(2);
  EXPECT_EQ(second.node, first.node);
  EXPECT_GT(second.from, first.now);
  EXPECT_EQ(admin_.value("SELECT about FROM weir.id_node WHERE holder = '" + holder(2) + "'"), "pid 1 on a host");
}

// A clock that went back must not free numbers early, nor make a lease shorter than what was granted.
TEST_F(IdNodesOnServer, ALeaseIsNeverMadeShorter) {
  const Lease first = lease(1);
  admin_.exec("UPDATE weir.id_node SET until_ms = until_ms + 1000000");
  EXPECT_EQ(lease(1).until, first.until + 1'000'000);
}

TEST_F(IdNodesOnServer, ALeaseIsOnDiskThoughCommitsAreNot) {
  admin_.exec("SET synchronous_commit = off");
  admin_.exec("BEGIN");
  (void)lease(1);
  EXPECT_EQ(admin_.value("SHOW synchronous_commit"), "on");
  admin_.exec("COMMIT");
  admin_.exec("RESET synchronous_commit");
}

TEST_F(IdNodesOnServer, ClientsMayNotTouchLeases) {
  admin_.exec("DROP ROLE IF EXISTS nobody_special");
  admin_.exec("CREATE ROLE nobody_special");
  PgConnection client(clusters_->conninfo(0));
  client.exec("SET ROLE nobody_special");
  for (const std::string& sql : {lease_id_node_query(holder(9), ""), release_id_node_query(holder(9), 1), std::string("DELETE FROM weir.id_node"),
                                 std::string("SELECT * FROM weir.id_node")}) {
    try {
      client.exec(sql);
      ADD_FAILURE() << sql << " was allowed";
    } catch (const tests::SqlError& e) {
      EXPECT_EQ(e.state(), "42501") << sql;
    }
  }
}

}  // namespace
}  // namespace weir::schema
