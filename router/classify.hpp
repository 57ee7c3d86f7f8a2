// Classification: what kind of statement a tree is, and what a utility statement names and leaves behind.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "router/pg_tree.hpp"
#include "router/plan.hpp"

namespace weir::router {

// Transaction control, SET, SET CONSTRAINTS, RESET, DISCARD ALL, DEALLOCATE, LISTEN, UNLISTEN and SHOW: fills in everything of `plan` that does not depend
// on the catalog, and returns true. False: some other statement, `plan` is untouched.
bool classify_control(const Node* stmt, Plan& plan);

// Where a utility statement belongs in a sharded database.
enum class Place : std::uint8_t {
  query,        // where its query goes (EXPLAIN, DECLARE, COPY (...) TO)
  named,        // the home shard, if it names no listed table
  home,         // the home shard
  session,      // wherever the transaction is (FETCH, CLOSE, NOTIFY)
  every_shard,  // would have to run on every shard
  nowhere,      // cannot be looked into (DO, CALL)
};

struct Utility {
  Verb verb = Verb::utility;
  Place place = Place::every_shard;
  std::vector<Node*> queries;                                        // SELECT, INSERT, UPDATE, DELETE, MERGE in it
  std::vector<Node*> expressions;                                    // and expressions that run with it
  std::vector<const RangeVar*> reads, writes;                        // relations it names
  std::vector<std::pair<std::string_view, std::string_view>> names;  // the same as schema and name
  const RangeVar* makes = nullptr;  // the one of `writes` that is a table or view to be made
  Effects effects{.taints = true};
  bool may_read_only = false;  // read-only if its query is
  bool returns_copy = false;
  std::vector<PreparedUse> prepared;
};

// `stmt` is not one of SELECT, INSERT, UPDATE, DELETE, MERGE, nor one that classify_control() takes.
[[nodiscard]] Utility classify_utility(Node* stmt);

// EXPLAIN ANALYZE: its statement is executed.
[[nodiscard]] bool runs(const ExplainStmt& stmt);

// True if the relation will be a temporary one.
[[nodiscard]] bool is_temporary(const RangeVar& var);

// The first words of a statement as a name for messages: "CREATE INDEX".
[[nodiscard]] std::string construct_of(std::string_view sql);

}  // namespace weir::router
