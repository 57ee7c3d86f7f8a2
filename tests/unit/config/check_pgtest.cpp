// `weir check --connect` against two shards with a replica each: every finding, and a good configuration.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <cstdlib>
#include <memory>
#include <sstream>

#include "proxy/check.hpp"
#include "schema/identity.hpp"
#include "tests/unit/config/config_file.hpp"

namespace weir::proxy {
namespace {

using config::ConfigFile;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kClusterA = "5a6f2f2e-0000-4000-8000-000000000001";
constexpr std::string_view kClusterB = "5a6f2f2e-0000-4000-8000-000000000002";

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  char buffer[4096];
  while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) out += buffer;
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return out;
}

void execute(const std::string& port, const std::string& sql) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
      PQconnectdb(
          ("host=127.0.0.1 dbname=app user=postgres options='-c client_min_messages=warning' port=" + port).c_str()),
      &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), sql.c_str()), &PQclear);
  const auto status = PQresultStatus(result.get());
  ASSERT_TRUE(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
      << sql << ": " << PQerrorMessage(connection.get());
}

class CheckConnect : public testing::Test {
 protected:
  // One set of clusters for all tests; each test gives the schemas their first state again.
  static void SetUpTestSuite() {
    std::string pattern = "/tmp/wXXXXXX";
    folder_ = new std::string(::mkdtemp(pattern.data()));
    const std::string clusters = WEIR_SOURCE_DIR "/scripts/lib/clusters";
    output_of(clusters + " start --dir " + *folder_ +
              " --shards 2 --replicas 1 --set max_prepared_transactions=0 --owner-pid " + std::to_string(::getpid()));
    const std::string reader =
        "import json,sys\n"
        "for s in json.load(open(sys.argv[1]))[\"shards\"]: print(s[\"primary\"][\"port\"], "
        "s[\"replicas\"][0][\"port\"])";
    std::istringstream ports(output_of("/usr/bin/python3 -c '" + reader + "' " + *folder_ + "/clusters.json"));
    for (std::string& port : ports_) ports >> port;
  }
  static void TearDownTestSuite() {
    output_of(WEIR_SOURCE_DIR "/scripts/lib/clusters stop --dir " + *folder_);
    std::filesystem::remove_all(*folder_);
    delete folder_;
  }

  void SetUp() override {
    ASSERT_NE(ports_[3], "") << "no clusters";
    for (const int shard : {0, 1}) {
      execute(primary(shard),
              "DROP SCHEMA IF EXISTS weir CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;"
              "CREATE TABLE orders (user_id bigint, id bigint, note text, PRIMARY KEY (user_id, id))");
      initialise(shard, kClusterA, "s" + std::to_string(shard));
    }
  }

  static void initialise(int shard, std::string_view cluster, const std::string& name, std::uint64_t map_version = 1) {
    execute(primary(shard), "DROP SCHEMA IF EXISTS weir CASCADE");
    for (const std::string& sql :
         schema::init_statements({std::string(cluster), name, map_version}, static_cast<std::uint16_t>(shard)))
      execute(primary(shard), sql);
  }

  static std::string primary(int shard) { return ports_[shard == 0 ? 0 : 2]; }
  static std::string replica(int shard) { return ports_[shard == 0 ? 1 : 3]; }
  static std::string conninfo(const std::string& port) { return "host=127.0.0.1 dbname=app port=" + port; }

  struct Wanted {
    std::string primary[2], replica[2];
    std::string pool = "max_per_backend = 20";
    std::string database = "maintenance = 'user=postgres'";
    std::string tables = "[[database.table]]\nname = 'orders'\nkey = 'user_id'\n";
  };
  static Wanted good() { return {{primary(0), primary(1)}, {replica(0), replica(1)}}; }

  static std::string text_of(const Wanted& w) {
    std::string text = "[auth]\nmethod = 'trust'\n[pool]\n" + w.pool + "\n[[database]]\nname = 'app'\n" + w.database +
                       "\n[database.sharding]\nbuckets = 2\n";
    for (const int i : {0, 1}) {
      const std::string n = std::to_string(i);
      text += "[[database.shard]]\nname = 's" + n + "'\nbuckets = '" + n + "'\nprimary = '" + conninfo(w.primary[i]) +
              "'\nreplicas = ['" + conninfo(w.replica[i]) + "']\n";
    }
    return text + w.tables;
  }

  struct Outcome {
    int status;
    std::string text;
  };
  static Outcome check(const Wanted& wanted) {
    const ConfigFile file(text_of(wanted));
    std::ostringstream out;
    const int status = run_check(file.path(), true, out);
    return {status, out.str()};
  }

  static std::string at(int shard, const std::string& role, const std::string& port) {
    return "database app, shard s" + std::to_string(shard) + ", " + role + " 127.0.0.1:" + port + ": ";
  }

  // Replays on the replicas what SetUp() and the test did on the primaries.
  static void wait_for_replicas() {
    for (const int shard : {0, 1}) {
      const auto value = [](const std::string& port, const std::string& sql) {
        const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(
            PQconnectdb((conninfo(port) + " user=postgres").c_str()), &PQfinish);
        const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), sql.c_str()), &PQclear);
        return PQntuples(result.get()) == 1 ? std::string(PQgetvalue(result.get(), 0, 0)) : std::string();
      };
      const std::string lsn = value(primary(shard), "SELECT pg_current_wal_flush_lsn()");
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
      while (value(replica(shard), "SELECT pg_last_wal_replay_lsn() >= '" + lsn + "'") != "t")
        ASSERT_LT(std::chrono::steady_clock::now(), deadline)
            << "the replica of shard " << shard << " does not catch up";
    }
  }

  static inline std::string* folder_ = nullptr;
  static inline std::string ports_[4];
};

TEST_F(CheckConnect, AGoodClusterPassesWithItsWarnings) {
  wait_for_replicas();
  const Outcome outcome = check(good());
  EXPECT_EQ(outcome.status, 0) << outcome.text;
  EXPECT_THAT(outcome.text, Not(HasSubstr("error")));
  EXPECT_THAT(outcome.text, HasSubstr("warning: " + at(0, "primary", primary(0)) + "max_prepared_transactions is 0"));
  EXPECT_THAT(outcome.text, HasSubstr("weir.toml: ok, 2 warnings\n"));
}

TEST_F(CheckConnect, SwappedShardsAreTold) {
  wait_for_replicas();
  Wanted wanted = good();
  std::swap(wanted.primary[0], wanted.primary[1]);
  const Outcome outcome = check(wanted);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(0, "primary", primary(1)) +
                                      "shard s0 of database app: the server says it is shard s1"));
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(1, "primary", primary(0)) +
                                      "shard s1 of database app: the server says it is shard s0"));
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(0, "replica", replica(0)) +
                                      "belongs to another cluster than the shard's primary"));
}

TEST_F(CheckConnect, AShardThatWasNeverInitialisedGetsAHint) {
  execute(primary(1), "DROP SCHEMA weir CASCADE");
  const Outcome outcome = check(good());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("error: " + at(1, "primary", primary(1))), HasSubstr("weirctl init")));
}

TEST_F(CheckConnect, WhatRecoveryWillLackIsTold) {
  execute(primary(0), "DROP ROLE IF EXISTS bystander; CREATE ROLE bystander LOGIN; GRANT USAGE ON SCHEMA public TO bystander");
  execute(primary(1), "DROP ROLE IF EXISTS bystander; CREATE ROLE bystander LOGIN; DROP FUNCTION weir.abort(text)");
  Wanted wanted = good();
  wanted.database = "maintenance = 'user=bystander'";
  const Outcome outcome = check(wanted);
  EXPECT_THAT(outcome.text, HasSubstr("warning: " + at(0, "primary", primary(0)) + "user bystander cannot recover distributed transactions"));
  EXPECT_THAT(outcome.text, HasSubstr("warning: " + at(1, "primary", primary(1)) + "schema weir is of an earlier version: run `weirctl init"));
  execute(primary(0), "DROP OWNED BY bystander; DROP ROLE bystander");
  execute(primary(1), "DROP ROLE bystander");
}

TEST_F(CheckConnect, ShardsOfTwoClustersAndOtherMapVersionsAreTold) {
  initialise(1, kClusterB, "s1");
  EXPECT_THAT(check(good()).text,
              HasSubstr("error: " + at(1, "primary", primary(1)) + "is a shard of cluster " + std::string(kClusterB)));
  initialise(1, kClusterA, "s1", 2);
  const Outcome outcome = check(good());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(1, "primary", primary(1))));
}

TEST_F(CheckConnect, RolesMustBeAsConfigured) {
  wait_for_replicas();
  Wanted wanted = good();
  std::swap(wanted.primary[0], wanted.replica[0]);
  const Outcome outcome = check(wanted);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(0, "primary", replica(0)) + "is a standby"));
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(0, "replica", primary(0)) + "is no standby"));
}

TEST_F(CheckConnect, AnUnreachableBackendDoesNotHideTheOthers) {
  execute(primary(1), "DROP SCHEMA weir CASCADE");
  Wanted wanted = good();
  wanted.primary[0] = "1";
  const Outcome outcome = check(wanted);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, AllOf(HasSubstr("error: " + at(0, "primary", "1") + "connection to server at"),
                                  HasSubstr("Connection refused")));
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(1, "primary", primary(1))));
}

TEST_F(CheckConnect, TheBoundMustFitIntoMaxConnections) {
  Wanted wanted = good();
  wanted.pool = "max_per_backend = 95";  // of 100 less 3
  const Outcome outcome = check(wanted);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(0, "primary", primary(0)) +
                                      "gives 97 connections (max_connections less those reserved), "
                                      "but Weir may take 100: pool.max_per_backend = 95 and 5 for monitoring"));
}

TEST_F(CheckConnect, SchemaDifferencesAreErrorsAndAdviceIsAWarning) {
  execute(primary(1), "ALTER TABLE orders ALTER note TYPE varchar(10)");
  execute(primary(0), "ALTER TABLE orders ADD UNIQUE (id)");
  const Outcome outcome = check(good());
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(1, "primary", primary(1)) +
                                      "column note of table public.orders is text on shard s0"));
  EXPECT_THAT(outcome.text, HasSubstr("warning: " + at(0, "primary", primary(0))));
  EXPECT_THAT(outcome.text, HasSubstr("unique"));
}

TEST_F(CheckConnect, AListedTableThatIsNotThereYetIsAWarning) {
  Wanted wanted = good();
  wanted.tables += "[[database.table]]\nname = 'works'\nkey = 'user_id'\n";
  const Outcome outcome = check(wanted);
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.text, HasSubstr("warning: " + at(0, "primary", primary(0)) + "listed table works does not exist"));
}

TEST_F(CheckConnect, TheFileAloneSaysWhereAndAsWhomToLogIn) {
  wait_for_replicas();
  ::setenv("PGHOSTADDR", "127.0.0.2", 1);
  ::setenv("PGPORT", "1", 1);
  ::setenv("PGUSER", "nobody", 1);
  EXPECT_EQ(check(good()).status, 0);
  Wanted wanted = good();
  wanted.database = "";
  const Outcome outcome = check(wanted);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_THAT(outcome.text, HasSubstr("error: " + at(0, "primary", primary(0)) +
                                      "nobody to log in as: set maintenance = \"user=...\" in database app"));
}

TEST(Check, CountsTheMistakesOfTheFile) {
  const ConfigFile file("[pool]\nsize = 0\nmin = 'x'\n" + std::string(config::kPlainDatabase));
  std::ostringstream out;
  EXPECT_EQ(run_check(file.path(), false, out), 1);
  EXPECT_THAT(out.str(), HasSubstr("weir.toml:2: pool.size: expected an integer from 1 to 262143, got 0\n"));
  EXPECT_THAT(out.str(), HasSubstr("weir.toml: 2 errors\n"));
}

TEST(Check, SaysThatTheConsoleHasNoUser) {
  const ConfigFile file("[admin]\nstats_users = ['app']\n" + std::string(config::kPlainDatabase));
  std::ostringstream out;
  EXPECT_EQ(run_check(file.path(), false, out), 0);
  EXPECT_THAT(out.str(), HasSubstr("admin: user \"weir\" is not in "));
  EXPECT_THAT(out.str(), HasSubstr("weir.toml: ok, 1 warning\n"));
}

}  // namespace
}  // namespace weir::proxy
