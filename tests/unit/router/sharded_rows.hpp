// ShardedRows: four tables in one schema with all rows, and in four with the same rows split as shards hold them; and a
// driver of scatter plans over these, the plainest that keeps the contract (router/scatter_plan.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "router/plan.hpp"
#include "router/scatter_plan.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::router::testing {

inline constexpr std::size_t kScatterShards = 4;

// What a statement answered: rows of texts, and the names and types of the columns.
struct Answer {
  std::string error;  // empty: none
  std::vector<std::string> columns;
  std::vector<std::uint32_t> types;
  tests::PgConnection::Rows rows;
  bool operator==(const Answer&) const = default;
};
[[nodiscard]] std::string str(const Answer& answer);

class ShardedRows {
 public:
  ShardedRows();

  [[nodiscard]] const schema::Catalog& catalog() const { return *catalog_; }
  [[nodiscard]] const schema::BucketMap& map() const { return *map_; }

  [[nodiscard]] Answer run_on_whole(const std::string& sql);
  // The plan's answer. An error that begins with "driver:" is a check of the contract's that failed: refused.
  [[nodiscard]] Answer run(const ScatterPlan& plan, const Route& route, const Arguments& arguments);

 private:
  Answer stream(const ScatterPlan& plan, const Route& route, const Rendering& rendering);
  Answer finish(const ScatterPlan& plan, const Route& route, const Rendering& rendering);
  Answer gather(const TextTemplate& text, const Route& route, const Rendering& rendering);
  Answer exec(std::size_t connection, const std::string& sql, const std::vector<std::uint32_t>& types = {},
              const std::vector<std::string>& values = {});
  std::uint32_t array_of(std::uint32_t type);

  tests::Clusters clusters_{1};
  std::vector<std::unique_ptr<tests::PgConnection>> connections_;  // the shards', and last the whole's
  config::Database database_;
  std::shared_ptr<const schema::Catalog> catalog_;
  std::optional<schema::BucketMap> map_;
};

}  // namespace weir::router::testing
