// Partition plans on a real server, and time zones against the server's own.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/month.hpp"
#include "schema/time_zone.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::schema {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using tests::PgConnection;

class PartitionOnServer : public testing::Test {
 protected:
  static void SetUpTestSuite() { clusters_ = new tests::Clusters(1); }
  static void TearDownTestSuite() {
    delete clusters_;
    clusters_ = nullptr;
  }
  void SetUp() override { db_.exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public"); }

  static config::Table works(std::string timezone = "UTC", unsigned ahead = 2) {
    config::Table t;
    t.name = "works";
    t.month.emplace();
    t.month->column = "created_at";
    t.month->ahead = ahead;
    t.month->timezone = std::move(timezone);
    return t;
  }
  void create_works(const std::string& type = "timestamptz") {
    db_.exec("CREATE TABLE works (user_id bigint NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, created_at " + type +
             " NOT NULL, title text DEFAULT 'x' CHECK (title <> ''), PRIMARY KEY (user_id, id, created_at)) PARTITION "
             "BY RANGE (created_at)");
    db_.exec("CREATE INDEX ON works (title)");
  }
  PartitionPlan plan(const config::Table& table, Month now) {
    std::vector<ExistingPartition> existing;
    for (const auto& row : db_.exec("SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN "
                                    "pg_class c ON c.oid = i.inhrelid "
                                    "WHERE i.inhparent = 'works'::regclass ORDER BY 1")) {
      existing.push_back({*row[0], row[1].value_or("")});
    }
    const std::string type = db_.value(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'works'::regclass AND attname = "
        "'created_at'");
    return plan_partitions(table, "public", type, existing, now);
  }
  void run(const std::vector<std::string>& transaction) {
    db_.exec("BEGIN");
    for (const std::string& statement : transaction) db_.exec(statement);
    db_.exec("COMMIT");
  }
  void apply(const PartitionPlan& plan) {
    EXPECT_THAT(plan.problems, IsEmpty());
    for (const auto& step : plan.steps) {
      for (const auto& transaction : step.transactions) run(transaction);
    }
  }
  std::string partition_of(const std::string& created_at) {
    return db_.value("INSERT INTO works (user_id, created_at) VALUES (1, " + created_at +
                     ") RETURNING tableoid::regclass");
  }
  std::string error_of(const std::string& sql) {
    try {
      db_.exec(sql);
    } catch (const tests::SqlError& e) {
      return e.state();
    }
    return "";
  }

  static tests::Clusters* clusters_;
  PgConnection db_{clusters_->conninfo(0)};
};
tests::Clusters* PartitionOnServer::clusters_ = nullptr;

TEST_F(PartitionOnServer, RowsAtTheBoundariesLandInTheirMonth) {
  create_works();
  apply(plan(works(), Month(2023, 12)));
  EXPECT_EQ(partition_of("'2023-12-01 00:00:00+00'"), "works_202312");
  EXPECT_EQ(partition_of("'2023-12-31 23:59:59.999999+00'"), "works_202312");
  EXPECT_EQ(partition_of("'2024-01-01 00:00:00+00'"), "works_202401");
  EXPECT_EQ(partition_of("'2024-02-29 23:59:59.999999+00'"), "works_202402");
  EXPECT_EQ(error_of("INSERT INTO works (user_id, created_at) VALUES (1, '2024-03-01 00:00:00+00')"), "23514");
  EXPECT_THAT(plan(works(), Month(2023, 12)).steps, IsEmpty()) << "a second run has nothing to do";
}

TEST_F(PartitionOnServer, BoundsFollowTheTablesTimeZoneWhateverTheSessionsIs) {
  create_works();
  db_.exec("SET TimeZone = 'Asia/Tokyo'");
  apply(plan(works("Europe/Berlin"), Month(2024, 3)));
  EXPECT_EQ(partition_of("'2024-03-01 00:00:00 Europe/Berlin'"), "works_202403");
  EXPECT_EQ(partition_of("'2024-03-31 23:59:59.999999 Europe/Berlin'"), "works_202403");
  EXPECT_EQ(partition_of("'2024-04-01 00:00:00 Europe/Berlin'"), "works_202404");
  EXPECT_THAT(plan(works("Europe/Berlin"), Month(2024, 3)).steps, IsEmpty());
  db_.exec("SET TimeZone = 'America/New_York'");
  EXPECT_THAT(plan(works("Europe/Berlin"), Month(2024, 3)).steps, IsEmpty())
      << "the bounds are printed in another zone now";
  EXPECT_EQ(plan(works("UTC"), Month(2024, 3)).problems.size(), 3U) << "another zone's months overlap";
}

TEST_F(PartitionOnServer, DatesAndPlainTimestampsWorkToo) {
  for (const std::string type : {"date", "timestamp", "timestamp(3)"}) {
    SetUp();
    create_works(type);
    apply(plan(works("Europe/Berlin"), Month(2023, 12)));
    EXPECT_EQ(partition_of("'2023-12-31'"), "works_202312") << type;
    EXPECT_EQ(partition_of("'2024-01-01'"), "works_202401") << type;
    EXPECT_THAT(plan(works("Europe/Berlin"), Month(2023, 12)).steps, IsEmpty()) << type;
  }
}

TEST_F(PartitionOnServer, PartitionsHaveTheParentsIndexesChecksAndDefaultsAndNoCheckOfOurs) {
  create_works();
  apply(plan(works("UTC", 0), Month(2024, 1)));
  EXPECT_EQ(db_.value("SELECT count(*) FROM pg_index WHERE indrelid = 'works_202401'::regclass"), "2");
  EXPECT_EQ(db_.value("SELECT count(*) FROM pg_inherits WHERE inhparent IN (SELECT indexrelid FROM pg_index WHERE "
                      "indrelid = 'works'::regclass)"),
            "2");
  EXPECT_EQ(db_.value("SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE conrelid = "
                      "'works_202401'::regclass AND contype = 'c'"),
            "works_title_check");
  EXPECT_EQ(
      db_.value(
          "SELECT attidentity = '' FROM pg_attribute WHERE attrelid = 'works_202401'::regclass AND attname = 'id'"),
      "t");
  EXPECT_EQ(db_.value("INSERT INTO works (user_id, created_at) VALUES (1, '2024-01-02') RETURNING id || title"), "1x");
}

TEST_F(PartitionOnServer, AnInterruptedRunIsTakenUpAgain) {
  create_works();
  const auto first = plan(works("UTC", 0), Month(2024, 1));
  run(first.steps.at(0).transactions.at(0));
  db_.exec("INSERT INTO works_202401 (user_id, id, created_at) VALUES (7, 7, '2024-01-31')");
  apply(plan(works("UTC", 0), Month(2024, 1)));
  EXPECT_EQ(db_.value("SELECT count(*) FROM works"), "1");
  EXPECT_EQ(db_.value("SELECT count(*) FROM pg_constraint WHERE conname = 'weir_month_bounds'"), "0");
}

TEST_F(PartitionOnServer, RowsOfAnotherMonthInALeftTableStopTheRun) {
  create_works();
  db_.exec("CREATE TABLE works_202401 (LIKE works)");
  db_.exec("INSERT INTO works_202401 VALUES (7, 7, '2024-02-01', 'x')");
  EXPECT_THROW(apply(plan(works("UTC", 0), Month(2024, 1))), tests::SqlError);
  db_.exec("ROLLBACK");
}

TEST_F(PartitionOnServer, AnotherTablesPartitionOfThatNameIsLeftAlone) {
  create_works();
  db_.exec("CREATE TABLE other (LIKE works) PARTITION BY RANGE (created_at)");
  db_.exec("CREATE TABLE works_202401 PARTITION OF other FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')");
  try {
    apply(plan(works("UTC", 0), Month(2024, 1)));
    FAIL() << "it was taken";
  } catch (const tests::SqlError& e) {
    EXPECT_EQ(e.state(), "55000");
  }
  db_.exec("ROLLBACK");
  EXPECT_EQ(db_.value("SELECT count(*) FROM pg_constraint WHERE conrelid = 'works_202401'::regclass AND contype = 'c'"),
            "0");
}

TEST_F(PartitionOnServer, OwnerAndReplicaIdentityAreTheParents) {
  db_.exec("DROP ROLE IF EXISTS works_owner; CREATE ROLE works_owner");
  for (const auto& [clause, expected] : std::vector<std::pair<std::string, std::string>>{
           {"FULL", "f"}, {"NOTHING", "n"}, {"DEFAULT", "d"}, {"USING INDEX works_by_title", "i"}}) {
    SetUp();
    create_works();
    db_.exec(
        "GRANT ALL ON SCHEMA public TO works_owner; ALTER TABLE works OWNER TO works_owner; ALTER TABLE works ALTER "
        "title SET NOT NULL");
    db_.exec("CREATE UNIQUE INDEX works_by_title ON works (title, created_at)");
    db_.exec("ALTER TABLE works REPLICA IDENTITY " + clause);
    apply(plan(works("UTC", 0), Month(2024, 1)));
    EXPECT_EQ(db_.value("SELECT relreplident FROM pg_class WHERE oid = 'works_202401'::regclass"), expected) << clause;
    EXPECT_EQ(db_.value("SELECT relowner::regrole FROM pg_class WHERE oid = 'works_202401'::regclass"), "works_owner");
  }
  EXPECT_EQ(db_.value("SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute a JOIN pg_index i ON "
                      "i.indexrelid = a.attrelid "
                      "WHERE i.indrelid = 'works_202401'::regclass AND i.indisreplident"),
            "title,created_at");
  db_.exec("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP ROLE works_owner");
}

TEST_F(PartitionOnServer, AttachGivesUpSoonWhereTheParentIsLocked) {
  create_works();
  const auto p = plan(works("UTC", 0), Month(2024, 1));
  run(p.steps.at(0).transactions.at(0));
  PgConnection other(clusters_->conninfo(0));
  other.exec("BEGIN; LOCK TABLE works IN SHARE MODE");
  try {
    run(p.steps.at(0).transactions.at(1));
    FAIL() << "it did not wait for the lock";
  } catch (const tests::SqlError& e) {
    EXPECT_EQ(e.state(), "55P03");
  }
  db_.exec("ROLLBACK");
  other.exec("ROLLBACK");
  run(p.steps.at(0).transactions.at(1));
  EXPECT_EQ(partition_of("'2024-01-15'"), "works_202401");
}

TEST_F(PartitionOnServer, OddNamesAreQuoted) {
  db_.exec(
      "CREATE SCHEMA \"we'ird\"; CREATE TABLE \"we'ird\".\"Wor\"\"ks$weir$\" (\"At\" date NOT NULL) PARTITION BY RANGE "
      "(\"At\")");
  config::Table t = works("UTC", 0);
  t.name = "Wor\"ks$weir$";
  t.month->column = "At";
  apply(plan_partitions(t, "we'ird", "date", {}, Month(2024, 1)));
  EXPECT_EQ(db_.value("INSERT INTO \"we'ird\".\"Wor\"\"ks$weir$\" VALUES ('2024-01-31') RETURNING 'ok'"), "ok");
  db_.exec("DROP SCHEMA \"we'ird\" CASCADE");
}

// Every zone of the database: where its months begin.
TEST_F(PartitionOnServer, MonthsBeginWhereTheServerSaysInEveryTimeZone) {
  std::size_t zones = 0;
  for (const auto& row :
       db_.exec("SELECT name FROM pg_timezone_names WHERE name ~ "
                "'^(Africa|America|Antarctica|Asia|Atlantic|Australia|Europe|Indian|Pacific)/' ORDER BY 1")) {
    const std::string& name = *row[0];
    const auto zone = TimeZone::load(name);
    ASSERT_TRUE(zone) << name;
    const auto begins = db_.exec(
        "SELECT extract(epoch FROM m AT TIME ZONE $1)::bigint, extract(year FROM m)::int, extract(month FROM m)::int "
        "FROM generate_series('1950-01-01'::timestamp, '2090-12-01', '1 month') m ORDER BY m",
        {name});
    for (const auto& begin : begins) {
      const int year = std::stoi(*begin[1]);
      const auto month = static_cast<unsigned>(std::stoi(*begin[2]));
      const Seconds instant = std::stoll(*begin[0]);
      ASSERT_EQ((*zone)->instant_of(midnight_of(year, month, 1)), instant) << name << " " << year << "-" << month;
      ASSERT_EQ(*Month::of(std::chrono::system_clock::time_point(std::chrono::seconds(instant)), name),
                Month(year, month))
          << name;
      ASSERT_EQ(*Month::of(std::chrono::system_clock::time_point(std::chrono::seconds(instant - 1)), name),
                Month(year, month).plus(-1))
          << name;
    }
    ++zones;
  }
  EXPECT_GT(zones, 300U);
}

}  // namespace
}  // namespace weir::schema
