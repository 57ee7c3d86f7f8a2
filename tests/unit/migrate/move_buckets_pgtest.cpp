// Moving buckets without a proxy; tests/integration/test_move_buckets.py has one.
#include <atomic>
#include <thread>

#include "migrate/move_buckets.hpp"
#include "migrate/move_stage.hpp"
#include "tests/unit/migrate/fixture.hpp"

namespace weir::migrate {
namespace {

const Checkpoint kGoOn = [] {};

class Move : public ThreeShards {
 protected:
  void SetUp() override {
    ThreeShards::SetUp();
    everywhere(R"(
      CREATE TABLE users (id bigint PRIMARY KEY, name text, score numeric, note jsonb, picture bytea, ratio float8,
                          doubled bigint GENERATED ALWAYS AS (id * 2) STORED);
      CREATE TABLE orders (id bigint, user_id bigint REFERENCES users, product text, PRIMARY KEY (user_id, id));
      CREATE TABLE works (user_id bigint, id bigint, created_at timestamptz, title text,
                          PRIMARY KEY (user_id, id, created_at)) PARTITION BY RANGE (created_at);
      CREATE TABLE works_202401 PARTITION OF works FOR VALUES FROM ('2024-01-01 00:00+00') TO ('2024-02-01 00:00+00');
      CREATE TABLE countries (code text PRIMARY KEY);)");
    sql(0, R"(
      CREATE TABLE works_202312 PARTITION OF works FOR VALUES FROM ('2023-12-01 00:00+00') TO ('2024-01-01 00:00+00');
      INSERT INTO users SELECT g, E'tab\there \\ "quote" \n' || g, CASE WHEN g % 2 = 0 THEN 1.0 ELSE 1.00 END,
             '{"a": [1, null]}', '\x00ff27', 1.0 / 3 FROM generate_series(-200, 200) g
        WHERE (hashint8extended(g, 0) & 15) BETWEEN 0 AND 5;
      UPDATE users SET name = NULL WHERE id % 7 = 0;
      INSERT INTO orders SELECT n, id, 'p' || n FROM users, generate_series(1, 3) n;
      INSERT INTO works SELECT id, 1, CASE WHEN id % 2 = 0 THEN '2023-12-31 12:00+00' ELSE '2024-01-15 12:00+00' END::timestamptz, 't'
        FROM users;)");
    initialise();
    config_ = read_file(file());
    before_ = contents();
    rows_ = value(0, "SELECT count(*) FROM users WHERE " + moved());
  }

  static std::string moved(const std::string& column = "id") {
    return "(hashint8extended(" + column + ", 0) & 15) IN (1, 4)";
  }

  // Everything of all shards, however it lies.
  static std::string contents() {
    std::string all;
    for (const char* table : {"users", "orders", "works"}) {
      std::vector<std::string> rows;
      for (std::size_t i = 0; i < 3; ++i)
        for (const auto& row : sql(i, std::string("SELECT t::text FROM ") + table + " t"))
          rows.push_back(row[0].value_or(""));
      std::sort(rows.begin(), rows.end());
      for (const auto& row : rows) all += row + "\n";
    }
    return all;
  }

  // Rows that lie where the old map (or the new one, with buckets 1 and 4 on s1) does not have them.
  static int misplaced(bool after) {
    int count = 0;
    const std::string on_s0 = after ? "(0,2,3,5)" : "(0,1,2,3,4,5)";
    const std::string on_s1 = after ? "(1,4,6,7,8,9,10)" : "(6,7,8,9,10)";
    for (const auto& [table, key] : {std::pair("users", "id"), {"orders", "user_id"}, {"works", "user_id"}}) {
      const std::string bucket = std::string("(hashint8extended(") + key + ", 0) & 15)";
      count +=
          std::stoi(value(0, std::string("SELECT count(*) FROM ") + table + " WHERE " + bucket + " NOT IN " + on_s0));
      count +=
          std::stoi(value(1, std::string("SELECT count(*) FROM ") + table + " WHERE " + bucket + " NOT IN " + on_s1));
    }
    return count;
  }

  [[nodiscard]] MoveOptions options() const {
    MoveOptions o;
    o.config_file = file();
    o.from = "s0";
    o.to = "s1";
    o.buckets = "1,4";
    o.no_proxy = true;
    o.lock_timeout = std::chrono::milliseconds(500);
    return o;
  }
  void move() { move_buckets(options(), out_); }

  [[nodiscard]] config::Database now() const { return load_settings(file()).databases.front(); }

  void expect_old_state() const {
    EXPECT_EQ(read_file(file()), config_) << "weir.toml as it was";
    EXPECT_EQ(now().sharding->map_version, 1U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(value(i, "SELECT map_version FROM weir.identity"), "1");
    EXPECT_EQ(contents(), before_);
    EXPECT_EQ(misplaced(false), 0);
    EXPECT_FALSE(MoveJournal::load(file()));
  }
  void expect_new_state() const {
    EXPECT_EQ(now().sharding->map_version, 2U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(value(i, "SELECT map_version FROM weir.identity"), "2");
    EXPECT_EQ(contents(), before_);
    EXPECT_EQ(misplaced(true), 0);
    EXPECT_EQ(value(1, "SELECT count(*) FROM users WHERE " + moved()), rows_);
    EXPECT_FALSE(MoveJournal::load(file()));
    EXPECT_EQ(read_file(file() + ".map-1"), config_) << "the backup";
  }

  std::ostringstream out_;
  std::string before_, rows_, config_;
};

TEST_F(Move, MovesTheRowsOfTheBucketsAndNothingElse) {
  ASSERT_NE(rows_, "0");
  move();
  expect_new_state();
  EXPECT_EQ(value(1, "SELECT count(*) FROM users WHERE doubled <> id * 2 OR doubled IS NULL"), "0");
  const std::string text = read_file(file());
  EXPECT_NE(text.find("# A comment that stays."), std::string::npos);
  EXPECT_NE(text.find("buckets = \"0,2-3,5\"   # of s0"), std::string::npos) << text;
}

TEST_F(Move, CanMoveThemBack) {
  move();
  auto back = options();
  std::swap(back.from, back.to);
  move_buckets(back, out_);
  EXPECT_EQ(now().sharding->map_version, 3U);
  EXPECT_EQ(contents(), before_);
  EXPECT_EQ(misplaced(false), 0);
}

TEST_F(Move, ChangesNothingInADryRun) {
  auto dry = options();
  dry.dry_run = true;
  dry.no_proxy = false;
  move_buckets(dry, out_);
  expect_old_state();
  EXPECT_NE(out_.str().find("\"public\".\"users\": " + rows_ + " rows"), std::string::npos) << out_.str();
  EXPECT_NE(out_.str().find("make works_202312 on s1"), std::string::npos) << out_.str();
  EXPECT_EQ(value(1, "SELECT to_regclass('works_202312') IS NULL"), "t");
}

TEST_F(Move, WantsToKnowTheProxies) {
  auto nobody = options();
  nobody.no_proxy = false;
  EXPECT_NE(failure_of([&] { move_buckets(nobody, out_); }).find("--admin"), std::string::npos);
  expect_old_state();
}

TEST_F(Move, RefusesATargetThatHasRowsOfTheBuckets) {
  sql(1, "INSERT INTO users (id) SELECT g FROM generate_series(1000, 2000) g WHERE " + moved("g") + " LIMIT 1");
  before_ = contents();
  EXPECT_NE(failure_of([&] { move(); }).find("already"), std::string::npos);
  EXPECT_EQ(contents(), before_) << "rows that are not ours stay";
}

TEST_F(Move, RefusesDifferentColumns) {
  sql(1, "ALTER TABLE users ALTER name TYPE varchar(10)");
  EXPECT_NE(failure_of([&] { move(); }).find("name"), std::string::npos);
  expect_old_state();
}

TEST_F(Move, RefusesBucketsTheSourceDoesNotHold) {
  auto wrong = options();
  wrong.buckets = "4-6";
  EXPECT_NE(failure_of([&] { move_buckets(wrong, out_); }).find("bucket 6"), std::string::npos);
  expect_old_state();
}

TEST_F(Move, RefusesAForeignKeyFromATableThatStays) {
  sql(0, "CREATE TABLE staying (user_id bigint REFERENCES users)");
  EXPECT_NE(failure_of([&] { move(); }).find("staying"), std::string::npos);
  expect_old_state();
}

TEST_F(Move, RefusesARule) {
  sql(0, "CREATE RULE no_delete AS ON DELETE TO orders DO INSTEAD NOTHING");
  EXPECT_NE(failure_of([&] { move(); }).find("no_delete"), std::string::npos);
  expect_old_state();
}

TEST_F(Move, RefusesAnotherMapVersionOnAShard) {
  sql(2, "UPDATE weir.identity SET map_version = 2");
  EXPECT_NE(failure_of([&] { move(); }).find("map version 2"), std::string::npos);
}

TEST_F(Move, FiresNoTriggersOnEitherSide) {
  everywhere(
      "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;"
      "CREATE TRIGGER t BEFORE INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION boom()");
  move();
  expect_new_state();
}

TEST_F(Move, RefusesTriggersThatItsRoleMayNotQuiet) {
  everywhere(
      "DROP ROLE IF EXISTS mover; CREATE ROLE mover LOGIN; GRANT USAGE ON SCHEMA public, weir TO mover;"
      "GRANT ALL ON ALL TABLES IN SCHEMA public, weir TO mover");
  write_config("", "");
  std::string text = read_file(file());
  for (std::size_t at = 0; (at = text.find("user=postgres", at)) != std::string::npos;)
    text.replace(at, 13, "user=mover");
  std::ofstream(file()) << text << kTables;
  EXPECT_NE(failure_of([&] { move(); }).find("may not quiet"), std::string::npos);
  EXPECT_EQ(contents(), before_);
  everywhere("DROP OWNED BY mover; DROP ROLE mover");
}

TEST_F(Move, IsUndoneWhenTheCopyFails) {
  sql(1, "ALTER TABLE works ADD CHECK (user_id < 100)");  // some rows go in before one does not
  const std::string failure = failure_of([&] { move(); });
  EXPECT_NE(failure.find("everything was undone"), std::string::npos) << failure << out_.str();
  expect_old_state();
  sql(1, "ALTER TABLE works DROP CONSTRAINT works_user_id_check");
  move();
  expect_new_state();
}

TEST_F(Move, IsUndoneWhenAnIdentityRowCannotBeRaised) {
  sql(2,
      "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
      "CREATE TRIGGER t BEFORE UPDATE ON weir.identity FOR EACH ROW EXECUTE FUNCTION boom()");
  const std::string failure = failure_of([&] { move(); });
  EXPECT_NE(failure.find("everything was undone"), std::string::npos) << failure << out_.str();
  expect_old_state();
}

TEST_F(Move, IsUndoneWhenAWriterAroundTheProxyDoesNotEnd) {
  tests::PgConnection writer(clusters_->conninfo(0));
  writer.exec("BEGIN; UPDATE users SET name = 'open' WHERE id = (SELECT min(id) FROM users)");
  const std::string failure = failure_of([&] { move(); });
  EXPECT_NE(failure.find("everything was undone"), std::string::npos) << failure << out_.str();
  writer.exec("ROLLBACK");
  expect_old_state();
}

TEST_F(Move, RunsOneAtATime) {
  tests::PgConnection other(clusters_->conninfo(0));
  other.exec("SELECT pg_advisory_lock(x'77656972'::int, 3)");
  try {
    move();
    FAIL() << "two at once";
  } catch (const Failure& e) {
    EXPECT_EQ(e.status(), kBusy);
  }
}

// --- killed after each step: the stage is dropped as a killed process drops its connections ----

class KilledMove : public Move, public testing::WithParamInterface<int> {
 protected:
  // Runs the first `steps` steps of move_buckets(), then "dies".
  void die_after(int steps) {
    const MoveOptions o = options();
    MoveStage stage(o, "", o.from, o.to, o.buckets, out_);
    stage.take_locks();
    stage.require_source_holds_buckets();
    stage.require_identities();
    stage.examine();
    stage.compare_partitions();
    stage.print_plan();
    stage.prepare_configuration();
    stage.make_months();
    const std::function<void()> all[] = {
        [&] { stage.journal().save(stage.file()); },
        [&] { stage.lock_source(); },
        [&] { stage.lock_empty_target(); },
        [&] { stage.copy(kGoOn); },
        [&] { stage.write_new_configuration(); },
        [&] { stage.set_map_version(1, 2); },
        [&] { stage.install_configuration(); },
        [&] { stage.unlock_source(); },
        [&] {
          sql(0, "DELETE FROM orders WHERE ctid IN (SELECT ctid FROM orders WHERE " + moved("user_id") + " LIMIT 5)");
        },
    };
    for (int i = 0; i < steps; ++i) all[i]();
    if (steps == kDeleting) {  // as delete_moved() notes before its first batch
      stage.journal().deleting = true;
      stage.journal().save(stage.file());
    }
  }
  void recover() { recover_move(options(), out_); }

  static constexpr int kDecided = 7;  // steps after which the new weir.toml is in place
  static constexpr int kDeleting = 9;
};

TEST_P(KilledMove, IsFinishedOrUndoneByRecover) {
  die_after(GetParam());
  EXPECT_NE(failure_of([&] { move(); }).find("--recover"), std::string::npos) << "a new move must not begin";
  recover();
  if (GetParam() >= kDecided)
    expect_new_state();
  else
    expect_old_state();
  recover();
  EXPECT_NE(out_.str().find("no move was interrupted"), std::string::npos);
  if (GetParam() < kDecided) {
    move();
    expect_new_state();
  }
}

INSTANTIATE_TEST_SUITE_P(AfterEachStep, KilledMove, testing::Range(1, 10));

TEST_F(KilledMove, CanBeRecoveredWhenSomeIdentityRowsWereRaised) {
  die_after(5);
  sql(0, "UPDATE weir.identity SET map_version = 2");
  recover();
  expect_old_state();
}

TEST_F(KilledMove, DeletesNothingThatSomebodyChangedOnTheSource) {
  die_after(8);
  sql(0,
      "UPDATE users SET name = 'changed behind our back' WHERE id = (SELECT min(id) FROM users WHERE " + moved() + ")");
  const std::string failure = failure_of([&] { recover(); });
  EXPECT_NE(failure.find("writes around Weir"), std::string::npos) << failure;
  EXPECT_EQ(value(0, "SELECT count(*) FROM users WHERE " + moved()), rows_);
  EXPECT_TRUE(MoveJournal::load(file()));
  // Told so, the operator sees to that row and takes the table's old rows away; the rest is recovered.
  sql(0, "SET session_replication_role = replica; DELETE FROM users WHERE " + moved());
  recover();
  expect_new_state();
}

TEST_F(KilledMove, HoldsOffWritersUntilTheMapIsDecided) {
  const MoveOptions o = options();
  MoveStage stage(o, "", o.from, o.to, o.buckets, out_);
  stage.examine();
  stage.lock_source();
  tests::PgConnection writer(clusters_->conninfo(0));
  writer.exec("SET lock_timeout = '200ms'");
  EXPECT_THROW(writer.exec("DELETE FROM orders"), tests::SqlError);
  EXPECT_NO_THROW(writer.exec("SELECT * FROM orders")) << "readers go on";
  stage.unlock_source();
  EXPECT_NO_THROW(writer.exec("UPDATE orders SET product = 'x'"));
}

}  // namespace
}  // namespace weir::migrate
