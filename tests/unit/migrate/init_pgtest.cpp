#include "migrate/init.hpp"
#include "migrate/status.hpp"
#include "tests/unit/migrate/fixture.hpp"

namespace weir::migrate {
namespace {

class Init : public ThreeShards {
 protected:
  void run(const InitOptions& options = {}) {
    const auto settings = load_settings(file());
    init(settings.databases.front(), options, out_);
  }
  std::ostringstream out_;
};

TEST_F(Init, GivesEveryShardItsNameAndOneClusterToAll) {
  run();
  const std::string cluster = value(0, "SELECT cluster FROM weir.identity");
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(value(i, "SELECT cluster FROM weir.identity"), cluster);
    EXPECT_EQ(value(i, "SELECT shard FROM weir.identity"), "s" + std::to_string(i));
    EXPECT_EQ(value(i, "SELECT map_version FROM weir.identity"), "1");
  }
}

TEST_F(Init, ChangesNothingTheSecondTime) {
  run();
  const std::string before = value(1, "SELECT i::text FROM weir.identity i");
  run();
  EXPECT_EQ(value(1, "SELECT i::text FROM weir.identity i"), before);
}

TEST_F(Init, GivesAShardThatWasAddedTheClusterOfTheOthers) {
  run();
  sql(2, "DROP SCHEMA weir CASCADE");
  run();
  EXPECT_EQ(value(2, "SELECT cluster FROM weir.identity"), value(0, "SELECT cluster FROM weir.identity"));
}

TEST_F(Init, OnlyPrintsWithPlan) {
  run({.plan_only = true});
  EXPECT_EQ(value(0, "SELECT to_regnamespace('weir') IS NULL"), "t");
  EXPECT_NE(out_.str().find("CREATE SCHEMA"), std::string::npos);
}

TEST_F(Init, RefusesAShardWithAnothersIdentityAndTouchesNone) {
  run();
  sql(1, "UPDATE weir.identity SET shard = 's2'");
  sql(0, "DROP SCHEMA weir CASCADE");
  EXPECT_NE(failure_of([&] { run(); }).find("s1"), std::string::npos);
  EXPECT_EQ(value(0, "SELECT to_regnamespace('weir') IS NULL"), "t");
}

TEST_F(Init, RefusesShardsOfTwoClusters) {
  run();
  sql(1, "UPDATE weir.identity SET cluster = gen_random_uuid()");
  EXPECT_NE(failure_of([&] { run(); }).find("two clusters"), std::string::npos);
}

TEST_F(Init, RefusesAnotherMapVersionUnlessToldToRaiseIt) {
  run();
  write_config("  map_version = 2\n");
  EXPECT_NE(failure_of([&] { run(); }).find("map version"), std::string::npos);
  EXPECT_EQ(value(0, "SELECT map_version FROM weir.identity"), "1");
  run({.raise_map_version = true});
  EXPECT_EQ(value(2, "SELECT map_version FROM weir.identity"), "2");
  write_config("  map_version = 1\n");
  EXPECT_NE(failure_of([&] { run({.raise_map_version = true}); }), "") << "never lowered";
}

TEST_F(Init, RefusesTwoShardsInOneDatabase) {
  auto settings = load_settings(file());
  auto& shards = settings.databases.front().shards;
  shards[2].primary = shards[1].primary + " connect_timeout=9";
  // The second waits for the first's uncommitted schema, so it is told to give up.
  sql(1, "ALTER DATABASE app SET lock_timeout = '500ms'");
  EXPECT_THROW(init(settings.databases.front(), {}, out_), std::exception);
  sql(1, "ALTER DATABASE app RESET lock_timeout");
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(value(i, "SELECT to_regnamespace('weir') IS NULL"), "t");
}

TEST_F(Init, NamesAShardThatIsAway) {
  auto settings = load_settings(file());
  settings.databases.front().shards[1].primary = "host=127.0.0.1 port=1 dbname=app user=postgres";
  EXPECT_NE(failure_of([&] { init(settings.databases.front(), {}, out_); }).find("s1"), std::string::npos);
}

TEST_F(Init, StatusSaysWhatIsRightAndWhatIsNot) {
  const auto settings = load_settings(file());
  EXPECT_FALSE(status(settings.databases.front(), out_)) << "no identities yet";
  EXPECT_NE(out_.str().find("weirctl init"), std::string::npos) << out_.str();
  run();
  out_.str("");
  EXPECT_TRUE(status(settings.databases.front(), out_)) << out_.str();
  EXPECT_NE(out_.str().find("0-5"), std::string::npos);
  sql(1, "UPDATE weir.identity SET map_version = 9");
  out_.str("");
  EXPECT_FALSE(status(settings.databases.front(), out_));
  EXPECT_NE(out_.str().find("map version 9"), std::string::npos) << out_.str();
}

}  // namespace
}  // namespace weir::migrate
