// WrittenShards: tables in one schema with all rows, and in four with the same rows split as shards hold them; and a driver of writes over
// these, the plainest that keeps the contract (router/write_plan.hpp). Every statement runs in transactions that are rolled back.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "router/plan.hpp"
#include "router/write_plan.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::router::testing {

// What a write did: its count, the rows it returned, and what all tables hold behind it.
struct Written {
  std::string error;  // SQLSTATE; empty: none
  std::string count;
  tests::PgConnection::Rows rows;
  std::vector<tests::PgConnection::Rows> contents;   // by table, sorted
  bool operator==(const Written&) const = default;
};
[[nodiscard]] std::string str(const Written& written);

class WrittenShards {
 public:
  WrittenShards();

  [[nodiscard]] const schema::Catalog& catalog() const { return *catalog_; }
  [[nodiscard]] const schema::BucketMap& map() const { return *map_; }

  // One after the other: run() takes its time from the last run_on_whole().
  [[nodiscard]] Written run_on_whole(const std::string& sql);
  [[nodiscard]] Written run(const Plan& plan, const Route& route, const Arguments& arguments);

 private:
  struct Part {
    schema::ShardId shard;
    std::string sql;
  };
  std::vector<Part> parts_of(const Plan& plan, const Route& route, const Arguments& arguments, std::vector<schema::ShardId>& rows);
  Written exec(std::size_t connection, const std::string& sql);
  void read_contents(Written& written, std::size_t first, std::size_t last);

  tests::Clusters clusters_{1};
  std::vector<std::unique_ptr<tests::PgConnection>> connections_;  // the shards', and last the whole's
  config::Database database_;
  std::shared_ptr<const schema::Catalog> catalog_;
  std::optional<schema::BucketMap> map_;
  std::string now_;
};

}  // namespace weir::router::testing
