// Two shards with one replica each, initialised, with the demo's tables; and settings for them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "config/settings.hpp"
#include "router/client/cluster.hpp"
#include "schema/identity.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::client {

class TwoShards : public testing::Test {
 protected:
  static constexpr const char* kCluster = "5b1f9f5e-0d3c-4c6b-9d5e-2a9a7f0c1d11";

  static void SetUpTestSuite() {
    clusters_ = std::make_unique<tests::Clusters>(2, 1, std::vector<std::string>{"--max-connections", "60"});
    for (std::size_t i = 0; i < 2; ++i) {
      tests::PgConnection connection(clusters_->conninfo(i));
      const schema::Identity identity{kCluster, "s" + std::to_string(i), 1};
      for (const auto& statement : schema::init_statements(identity, static_cast<std::uint16_t>(i)))
        connection.exec(statement);
      connection.exec(
          "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);"
          "CREATE TABLE orders (id bigint, user_id bigint, product text NOT NULL, amount numeric,"
          " created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (user_id, id))");
    }
  }
  static void TearDownTestSuite() { clusters_.reset(); }

  static config::Settings settings(bool replicas = true) {
    config::Database database;
    database.name = "app";
    database.sharding = config::Sharding{};
    for (std::size_t i = 0; i < 2; ++i) {
      config::Shard shard{"s" + std::to_string(i),
                          {{static_cast<std::uint32_t>(i * 2048), static_cast<std::uint32_t>(i * 2048 + 2047)}},
                          clusters_->conninfo(i),
                          {}};
      if (replicas) shard.replicas.push_back({clusters_->replica_conninfo(i, 0), 1});
      database.shards.push_back(shard);
    }
    config::Table users, orders;
    users.name = "users";
    users.key = "id";
    orders.name = "orders";
    orders.key = "user_id";
    database.tables = {users, orders};
    config::Settings all;
    all.health.interval = config::Millis(100);
    all.databases.push_back(database);
    return all;
  }

  // Connections of the application at the server, as the server counts them.
  static int connections(std::size_t shard, const std::string& application) {
    tests::PgConnection connection(clusters_->conninfo(shard));
    return std::stoi(
        connection.value("SELECT count(*) FROM pg_stat_activity WHERE application_name = '" + application + "'"));
  }

  static bool eventually(const std::function<bool()>& condition,
                         std::chrono::seconds patience = std::chrono::seconds(20)) {
    for (const TimePoint end = Clock::now() + patience; Clock::now() < end;
         std::this_thread::sleep_for(std::chrono::milliseconds(20)))
      if (condition()) return true;
    return false;
  }

  static Deadline in(std::chrono::milliseconds time) { return Deadline::after(Clock::now(), time); }

  static inline std::unique_ptr<tests::Clusters> clusters_;
};

}  // namespace weir::client
