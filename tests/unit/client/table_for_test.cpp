#include <gtest/gtest.h>

#include <chrono>

#include "router/client/cluster.hpp"

namespace weir::client {
namespace {

using namespace std::chrono;

config::Settings settings_with(const std::string& timezone) {
  config::Database database;
  database.name = "app";
  database.shards.push_back({"s0", {}, "host=127.0.0.1 port=1 dbname=app", {}});
  config::Table works;
  works.name = "works";
  works.key = "user_id";
  works.month = config::Month{};
  works.month->column = "created_at";
  works.month->timezone = timezone;
  config::Table users;
  users.name = "users";
  users.key = "id";
  database.tables = {works, users};
  config::Settings settings;
  settings.databases.push_back(database);
  return settings;
}

constexpr system_clock::time_point kNewYear = sys_days{year{2024} / 1 / 1};

TEST(TableFor, NamesTheMonthsPartition) {
  const Cluster cluster(settings_with("UTC"));
  EXPECT_EQ(cluster.table_for("works", sys_days{year{2024} / 1 / 15}), "works_202401");
  EXPECT_EQ(cluster.table_for("works", kNewYear), "works_202401");
  EXPECT_EQ(cluster.table_for("works", kNewYear - seconds(1)), "works_202312");
}

TEST(TableFor, ReadsTheInstantInTheTablesTimeZone) {
  const Cluster shanghai(settings_with("Asia/Shanghai"));
  EXPECT_EQ(shanghai.table_for("works", kNewYear - hours(8)), "works_202401");
  EXPECT_EQ(shanghai.table_for("works", kNewYear - hours(8) - seconds(1)), "works_202312");
}

TEST(TableFor, KeepsTheSchemaOfAQualifiedName) {
  EXPECT_EQ(Cluster(settings_with("UTC")).table_for("public.works", kNewYear), "public.works_202401");
}

TEST(TableFor, RefusesATableWithoutMonths) {
  const Cluster cluster(settings_with("UTC"));
  EXPECT_THROW(static_cast<void>(cluster.table_for("users", kNewYear)), pqxx::argument_error);
  EXPECT_THROW(static_cast<void>(cluster.table_for("nothing", kNewYear)), pqxx::argument_error);
}

TEST(Cluster, NamesTheDatabasesItCouldHaveMeant) {
  auto settings = settings_with("UTC");
  settings.databases.push_back(settings.databases.front());
  settings.databases.back().name = "other";
  EXPECT_THROW(Cluster{settings}, ConfigurationError);
  EXPECT_NO_THROW(Cluster(settings, {.database = "other"}));
  EXPECT_THROW(Cluster(settings, {.database = "third"}), ConfigurationError);
}

TEST(Cluster, ReportsEveryMistakeOfTheFile) {
  try {
    Cluster cluster("/nonexistent/weir.toml");
    FAIL() << "expected a ConfigurationError";
  } catch (const ConfigurationError& e) {
    EXPECT_FALSE(e.problems().empty());
  }
}

}  // namespace
}  // namespace weir::client
