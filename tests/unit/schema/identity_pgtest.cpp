// The statements of `weirctl init` on a real server.

#include <gtest/gtest.h>

#include <thread>

#include "schema/identity.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::schema {
namespace {

using tests::PgConnection;

constexpr const char* kCluster = "9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11";

class IdentityOnServer : public testing::Test {
 protected:
  static void SetUpTestSuite() { clusters_ = new tests::Clusters(1); }
  static void TearDownTestSuite() {
    delete clusters_;
    clusters_ = nullptr;
  }
  void SetUp() override { admin_.exec("DROP SCHEMA IF EXISTS weir CASCADE"); }

  void init(const Identity& identity, std::uint16_t node = 5) {
    admin_.exec("BEGIN");
    try {
      for (const std::string& statement : init_statements(identity, node)) admin_.exec(statement);
    } catch (...) {
      admin_.exec("ROLLBACK");
      throw;
    }
    admin_.exec("COMMIT");
  }
  std::string init_error(const Identity& identity) {
    try {
      init(identity);
    } catch (const tests::SqlError& e) {
      return e.state();
    }
    return "";
  }
  std::optional<Identity> found() {
    const auto rows = admin_.exec(std::string(identity_query()));
    if (rows.size() != 1) return std::nullopt;
    return Identity{*rows[0][0], *rows[0][1], std::stoull(*rows[0][2])};
  }

  static tests::Clusters* clusters_;
  PgConnection admin_{clusters_->conninfo(0)};
};
tests::Clusters* IdentityOnServer::clusters_ = nullptr;

TEST_F(IdentityOnServer, InitWritesWhatTheQueryReadsAndMayBeRepeated) {
  const Identity identity{kCluster, "o'neil \\ $weir$", 3};
  init(identity);
  EXPECT_EQ(found(), identity);
  init(identity);
  EXPECT_EQ(found(), identity);
}

TEST_F(IdentityOnServer, BeforeInitTheQueryFailsWithUndefinedTable) {
  try {
    admin_.exec(std::string(identity_query()));
    FAIL() << "there is no identity yet";
  } catch (const tests::SqlError& e) {
    EXPECT_EQ(e.state(), "42P01");
  }
}

TEST_F(IdentityOnServer, AHigherMapVersionIsTakenOverALowerOneIsRefused) {
  init({kCluster, "s0", 3});
  init({kCluster, "s0", 4});
  EXPECT_EQ(found()->map_version, 4U);
  EXPECT_EQ(init_error({kCluster, "s0", 3}), "55000");
  EXPECT_EQ(found()->map_version, 4U);
}

TEST_F(IdentityOnServer, AnotherShardOrClusterIsRefused) {
  init({kCluster, "s0", 3});
  EXPECT_EQ(init_error({kCluster, "s1", 3}), "55000");
  EXPECT_EQ(init_error({"00000000-0000-0000-0000-000000000001", "s0", 3}), "55000");
  EXPECT_EQ(found(), (Identity{kCluster, "s0", 3}));
}

TEST_F(IdentityOnServer, ThereIsNeverASecondRow) {
  init({kCluster, "s0", 3});
  EXPECT_THROW(
      admin_.exec("INSERT INTO weir.identity (cluster, shard, map_version) SELECT cluster, 's9', 1 FROM weir.identity"),
      tests::SqlError);
  EXPECT_THROW(admin_.exec("INSERT INTO weir.identity SELECT false, cluster, 's9', 1 FROM weir.identity"),
               tests::SqlError);
}

TEST_F(IdentityOnServer, EverybodyMayReadAndTakeIdsButNotWrite) {
  init({kCluster, "s0", 3});
  admin_.exec("DROP ROLE IF EXISTS nobody_special");
  admin_.exec("CREATE ROLE nobody_special");
  PgConnection client(clusters_->conninfo(0));
  client.exec("SET ROLE nobody_special");
  EXPECT_EQ(client.exec(std::string(identity_query())).size(), 1U);
  EXPECT_NO_THROW(client.exec("SELECT weir.next_id()"));
  for (const char* sql :
       {"UPDATE weir.identity SET map_version = 9", "DELETE FROM weir.identity", "CREATE TABLE weir.mine ()",
        "SELECT setval('weir.id_sequence', 1)", "SELECT weir.set_identity(cluster, shard, 9) FROM weir.identity"}) {
    try {
      client.exec(sql);
      ADD_FAILURE() << sql << " was allowed";
    } catch (const tests::SqlError& e) {
      EXPECT_EQ(e.state(), "42501") << sql;
    }
  }
}

TEST_F(IdentityOnServer, NextIdHoldsTheTimeAndTheNode) {
  init({kCluster, "s0", 3}, 511);
  const auto parts = admin_.exec(
      "SELECT id > 0, (id >> 12) & 1023, abs((id >> 22) + 1704067200000 - extract(epoch FROM clock_timestamp()) * "
      "1000) < 5000 "
      "FROM (SELECT weir.next_id() AS id) q");
  EXPECT_EQ(parts[0][0], "t");
  EXPECT_EQ(parts[0][1], "511");
  EXPECT_EQ(parts[0][2], "t");
}

TEST_F(IdentityOnServer, NextIdIsUniqueOverSessionsAndGrowsFromMillisecondToMillisecond) {
  init({kCluster, "s0", 3});
  admin_.exec("DROP TABLE IF EXISTS ids; CREATE TABLE ids (id bigint PRIMARY KEY)");
  const auto fill = [] {
    PgConnection session(clusters_->conninfo(0));
    session.exec("INSERT INTO ids SELECT weir.next_id() FROM generate_series(1, 50000)");
  };
  std::thread other(fill);
  fill();
  other.join();
  EXPECT_EQ(admin_.value("SELECT count(*) FROM ids"), "100000");
  EXPECT_EQ(admin_.value("SELECT (SELECT weir.next_id()) > max(id) FROM ids"), "t");
}

}  // namespace
}  // namespace weir::schema
