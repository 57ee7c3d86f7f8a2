#include <atomic>
#include <thread>

#include "migrate/partitions.hpp"
#include "tests/unit/migrate/fixture.hpp"

namespace weir::migrate {
namespace {

class Partitions : public ThreeShards {
 protected:
  void SetUp() override {
    ThreeShards::SetUp();
    everywhere(
        "CREATE TABLE works (user_id bigint, id bigint, created_at timestamptz, title text,"
        " PRIMARY KEY (user_id, id, created_at)) PARTITION BY RANGE (created_at)");
  }

  bool run(bool apply, std::chrono::seconds patience = std::chrono::seconds(20)) {
    const auto settings = load_settings(file());
    out_.str("");
    return partitions(settings.databases.front(), {apply, schema::Month(2024, 1), patience}, out_);
  }
  static std::string list(std::size_t shard) {
    return value(shard,
                 "SELECT coalesce(string_agg(inhrelid::regclass::text, ' ' ORDER BY 1), '')"
                 " FROM pg_inherits WHERE inhparent = 'works'::regclass");
  }
  std::ostringstream out_;
};

TEST_F(Partitions, MakesTheMonthsAheadOnEveryShardOnce) {
  EXPECT_FALSE(run(false)) << "something is missing";
  EXPECT_EQ(list(0), "");
  EXPECT_TRUE(run(true)) << out_.str();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(list(i), "works_202401 works_202402 works_202403");
  EXPECT_NE(out_.str().find("admitted: works_202401 works_202402 works_202403"), std::string::npos) << out_.str();
  EXPECT_TRUE(run(false));
  EXPECT_TRUE(run(true));
  EXPECT_EQ(out_.str().find("made"), std::string::npos) << out_.str();
}

TEST_F(Partitions, MakesPartitionsThatTakeTheMonthsRows) {
  ASSERT_TRUE(run(true));
  sql(0, "INSERT INTO works VALUES (1, 1, '2024-01-31 23:59:59.999999+00', 't'), (1, 2, '2024-02-01 00:00+00', 't')");
  EXPECT_EQ(value(0, "SELECT string_agg(tableoid::regclass::text, ' ' ORDER BY id) FROM works"),
            "works_202401 works_202402");
}

TEST_F(Partitions, AdmitsAMonthOnlyWhenEveryShardHasIt) {
  sql(2,
      "CREATE TABLE works_202402 PARTITION OF works FOR VALUES FROM ('2024-02-01 00:00+00') TO ('2024-02-15 "
      "00:00+00')");
  EXPECT_FALSE(run(true)) << "the half month on s2 stands in the way";
  EXPECT_NE(out_.str().find("PROBLEM"), std::string::npos) << out_.str();
  EXPECT_EQ(list(0), "works_202401 works_202402 works_202403");
  EXPECT_NE(list(2).find("works_202403"), std::string::npos) << "the other months are made all the same: " << list(2);
}

TEST_F(Partitions, WaitsForALongTransactionWithoutBlockingOthersForLong) {
  tests::PgConnection reader(clusters_->conninfo(1));
  reader.exec("BEGIN");
  reader.exec("LOCK TABLE works IN SHARE MODE");  // conflicts with ATTACH's SHARE UPDATE EXCLUSIVE
  std::atomic<bool> done{false};
  bool good = false;
  std::thread job([&] {
    good = run(true);
    done = true;
  });
  auto longest = Duration::zero();
  for (int i = 0; i < 30; ++i) {
    const TimePoint begun = Clock::now();
    value(1, "SELECT count(*) FROM works");
    longest = std::max(longest, Duration(Clock::now() - begun));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_FALSE(done);
  reader.exec("COMMIT");
  job.join();
  EXPECT_TRUE(good) << out_.str();
  EXPECT_LT(longest, std::chrono::seconds(1));
}

TEST_F(Partitions, GivesUpAndNamesShardAndPartition) {
  tests::PgConnection reader(clusters_->conninfo(1));
  reader.exec("BEGIN");
  reader.exec("LOCK TABLE works IN SHARE MODE");
  const std::string failure = failure_of([&] { run(true, std::chrono::seconds(1)); });
  EXPECT_NE(failure.find("s1"), std::string::npos) << failure;
  EXPECT_NE(failure.find("works_202401"), std::string::npos) << failure;
  reader.exec("ROLLBACK");
  EXPECT_TRUE(run(true)) << "and goes on where it stopped";
}

TEST_F(Partitions, RunOneAtATime) {
  tests::PgConnection other(clusters_->conninfo(0));
  other.exec("SELECT pg_advisory_lock(x'77656972'::int, 2)");
  try {
    run(true);
    FAIL() << "two at once";
  } catch (const Failure& e) {
    EXPECT_EQ(e.status(), kBusy);
  }
}

TEST_F(Partitions, NameATableThatIsNotPartitioned) {
  everywhere("DROP TABLE works; CREATE TABLE works (user_id bigint, created_at timestamptz)");
  EXPECT_NE(failure_of([&] { run(true); }).find("not partitioned"), std::string::npos);
}

}  // namespace
}  // namespace weir::migrate
