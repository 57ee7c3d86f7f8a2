// EXPLAIN of a SELECT or a write over several shards: each shard explains its part, and Weir's own step stands on top. Pure.
// https://www.postgresql.org/docs/15/sql-explain.html
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "router/plan.hpp"
#include "router/scatter_plan.hpp"

namespace weir::router {

// How the parts of a plan are explained. Part of a Plan (router/plan.hpp).
struct ExplainPlan {
  bool json = false;           // FORMAT JSON; else text
  bool executes = false;       // ANALYZE
  std::string prefix;          // in front of what the shards run: "EXPLAIN (ANALYZE, FORMAT JSON) "
  std::string finish_prefix;   // in front of finish_sql, which is never run: without ANALYZE and what needs it
};

// What one server said.
struct ExplainedPart {
  std::string shard;                // its name
  std::string sql;                  // what it was asked to explain
  std::string what;                 // of gathered rows: what they are; else empty
  std::vector<std::string> rows;    // of the column QUERY PLAN
};
struct Explained {
  const ScatterPlan* plan = nullptr;
  std::vector<ExplainedPart> parts;         // of the shards
  std::optional<ExplainedPart> finish;      // of the finish on the home shard
  std::optional<std::uint64_t> limit, offset;
};

// The rows of QUERY PLAN that the client gets: one a line, or one document.
[[nodiscard]] std::vector<std::string> explained_rows(const Explained& explained, bool json);

}  // namespace weir::router
