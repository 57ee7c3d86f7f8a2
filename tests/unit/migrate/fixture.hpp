// Three shards without replicas, empty before every test; and a weir.toml for them.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include "migrate/init.hpp"
#include "migrate/session.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::migrate {

class ThreeShards : public testing::Test {
 protected:
  static void SetUpTestSuite() { clusters_ = std::make_unique<tests::Clusters>(3); }
  static void TearDownTestSuite() { clusters_.reset(); }

  void SetUp() override {
    folder_ = testing::TempDir() + "weir_migrate." + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    for (std::size_t i = 0; i < 3; ++i)
      sql(i, "DROP SCHEMA IF EXISTS weir CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public");
    write_config();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string file() const { return folder_ + "/weir.toml"; }

  // 16 buckets by hash: 0-5, 6-10, 11-15.
  void write_config(const std::string& sharding = "", const std::string& tables = kTables) const {
    const char* const ranges[] = {"0-5", "6-10", "11-15"};
    std::ofstream out(file());
    out << "# A comment that stays.\n[[database]]\nname = \"app\"\n\n  [database.sharding]\n  buckets = 16\n"
        << sharding << "\n";
    for (std::size_t i = 0; i < 3; ++i)
      out << "  [[database.shard]]\n  name = \"s" << i << "\"\n  buckets = \"" << ranges[i] << "\"   # of s" << i
          << "\n  primary = \"" << clusters_->conninfo(i) << "\"\n\n";
    out << tables;
  }

  static tests::PgConnection::Rows sql(std::size_t shard, const std::string& text) {
    return tests::PgConnection(clusters_->conninfo(shard)).exec(text);
  }
  static std::string value(std::size_t shard, const std::string& text) {
    return tests::PgConnection(clusters_->conninfo(shard)).value(text);
  }
  static void everywhere(const std::string& text) {
    for (std::size_t i = 0; i < 3; ++i) sql(i, text);
  }

  void initialise() const {
    std::ostringstream out;
    const auto settings = load_settings(file());
    init(settings.databases.front(), {}, out);
  }

  static constexpr const char* kTables =
      "  [[database.table]]\n  name = \"users\"\n  key = \"id\"\n\n  [[database.table]]\n  name = \"orders\"\n  key = "
      "\"user_id\"\n\n"
      "  [[database.table]]\n  name = \"works\"\n  key = \"user_id\"\n  month = { column = \"created_at\", ahead = 2 "
      "}\n\n"
      "  [[database.table]]\n  name = \"countries\"\n  reference = true\n";

  static inline std::unique_ptr<tests::Clusters> clusters_;
  std::string folder_;
};

// The message of the Failure that `action` throws; "" if it throws none.
template <class Action>
std::string failure_of(Action action) {
  try {
    action();
    return "";
  } catch (const Failure& e) {
    return e.what();
  }
}

}  // namespace weir::migrate
