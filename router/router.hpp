// Router: statement text to plan, by way of the literal-lifting plan cache. Pure decisions, no I/O.
//
// One Router for each worker and database: not thread-safe, nothing shared but immutable snapshots. Part of the public library
// (libweir): `weir::router::Router`.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "router/analysis.hpp"
#include "router/plan.hpp"
#include "router/plan_cache.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"

namespace weir::router {

struct RouterSettings {
  std::size_t cache_bytes = 8 << 20;      // bound of the plan cache; 0: none
  std::size_t max_statement = 16 << 20;   // longer text: refused (sharded) or Verb::unparsable (plain)
};

// What of the session changes a statement's meaning. Part of the plan cache's key.
struct SessionContext {
  std::string_view search_path;           // text as set ("a, \"B\", public"); empty: the catalog's default
  bool standard_conforming_strings = true;
  bool ascii_safe_encoding = true;        // client_encoding is UTF8 or single-byte
  std::string_view user;                  // the role statements run as: what "$user" in a search_path means
  std::string_view hints;                 // weir.shard, weir.key and weir.role of the session, as words_of(Hint)
};

// A plan and where this text's literals stand. `literals` lasts until the next call of plan().
struct Planned {
  PlanRef plan;
  std::span<const Literal> literals;
};

class Router {
 public:
  // `analysis`: what is asked of a text that no cache knows; tests count its calls.
  Router(std::shared_ptr<const schema::Catalog> catalog, std::shared_ptr<const schema::BucketMap> map,
         RouterSettings settings = {}, Analysis& analysis = analyse);
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // Never fails: what cannot be routed is a plan with Target::refused. `declared`: parameter types of Parse.
  // Bounded in time and memory for any bytes (may hold NULs or broken UTF-8). A plan that is cached costs no allocation.
  // Parsed anew each time: text the lexer is not certain of, and sessions whose strings or encoding are not the usual ones.
  Planned plan(std::string_view sql, std::span<const std::uint32_t> declared, const SessionContext& session);

  [[nodiscard]] Result<Route> resolve(const Plan& plan, const Arguments& arguments) const {
    return router::resolve(plan, arguments, *map_);
  }

  // Another snapshot: drops the cache if either differs. Prepared statements planned before must be planned
  // again: compare generation(), which no two routers of the process and no two snapshots have in common.
  void update(std::shared_ptr<const schema::Catalog> catalog, std::shared_ptr<const schema::BucketMap> map);
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

  [[nodiscard]] const CacheCounters& counters() const;
  [[nodiscard]] const schema::BucketMap& map() const { return *map_; }
  [[nodiscard]] const schema::Catalog& catalog() const { return *catalog_; }

 private:
  struct Impl;
  PlanRef parse(std::string_view sql, std::span<const Literal> literals, std::span<const std::uint32_t> declared,
                const SessionContext& session) const;
  [[nodiscard]] PlanRef too_long(std::string_view sql) const;

  std::shared_ptr<const schema::Catalog> catalog_;
  std::shared_ptr<const schema::BucketMap> map_;
  std::uint64_t generation_;
  Analysis& analysis_;
  std::unique_ptr<Impl> impl_;
};

// Compares the C tree with protobuf for a statement of each node kind (libpg_query's enum order differs from the server headers' in places).
// Called once at start of every binary. Fails naming the node.
[[nodiscard]] Result<void> self_test();

}  // namespace weir::router
