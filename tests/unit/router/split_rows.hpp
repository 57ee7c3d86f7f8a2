// SplitRows: the tables of random_tables() three times in one database: all rows in schema "whole", and the same rows
// split over schemas "s0" and "s1" as two shards would hold them. A statement that runs on its shard must do what it
// does on the whole.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::router::testing {

inline constexpr std::size_t kShards = 2;

// What a statement did: its rows and, of a write, what the sharded tables hold behind it; both sorted.
struct Outcome {
  std::string error;  // empty: none
  tests::PgConnection::Rows rows, contents;
  bool operator==(const Outcome&) const = default;
};
[[nodiscard]] std::string str(const Outcome& outcome);

class SplitRows {
 public:
  // Throws std::runtime_error if PostgreSQL cannot be started.
  SplitRows();

  [[nodiscard]] const schema::Catalog& catalog() const { return *catalog_; }
  [[nodiscard]] const schema::BucketMap& map() const { return *map_; }

  // Each in a transaction that is rolled back.
  [[nodiscard]] Outcome run_on_whole(const std::string& sql, bool writes);
  [[nodiscard]] Outcome run_on_shard(std::size_t shard, const std::string& sql, bool writes);

 private:
  void fill();
  Outcome run(const std::string& schema, const std::vector<std::string>& read_from, const std::string& sql,
              bool writes);

  tests::Clusters clusters_{1};
  tests::PgConnection connection_;
  config::Database database_;
  std::shared_ptr<const schema::Catalog> catalog_;
  std::optional<schema::BucketMap> map_;
};

}  // namespace weir::router::testing
