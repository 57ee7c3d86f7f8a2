// Names: which column of which FROM item a name means, by PostgreSQL's rules (src/backend/parser/parse_relation.c).
// Where that is not certain, nothing is meant.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "router/analysis_graph.hpp"
#include "router/analysis_key.hpp"
#include "router/pg_tree.hpp"
#include "schema/catalog.hpp"

namespace weir::router {

// The names a WITH clause makes visible, innermost first.
struct CteScope {
  std::vector<std::string_view> names;
  const CteScope* parent = nullptr;
  [[nodiscard]] bool has(std::string_view name) const;
};

// One item of a FROM list. `relation` is null for subqueries, CTEs, functions, join aliases and relations
// that the catalog does not know: their columns are unknown.
struct Item {
  const RangeVar* var = nullptr;  // of a relation
  std::string_view name;    // alias or relation name; empty: cannot be told
  std::string_view schema;  // of a relation without alias: may qualify a column
  const schema::Relation* relation = nullptr;
  std::vector<std::string_view> columns;          // of `relation`, renamed by the alias
  bool visible = true;                            // false: hidden behind a join's alias
  bool unqualified = true;                        // its columns may be named without qualification
  std::unordered_map<int, KeyGraph::Node> nodes;  // column index to node
};

struct Level;

// A column of an item of some level.
struct ColumnAt {
  Level* level = nullptr;
  std::size_t item = 0;
  int column = 0;
};

// Items [begin, end) of a level, as one operand of a join, with what USING merged in it (none: not simply one side's
// column).
struct Side {
  std::size_t begin = 0, end = 0;
  bool natural = false;  // holds a NATURAL JOIN: which unqualified names it merged is not looked into
  std::vector<std::pair<std::string_view, std::optional<ColumnAt>>> merged;
};

// One query level: SELECT, UPDATE, DELETE, or the target of INSERT.
struct Level {
  explicit Level(Level* outer) : parent(outer) {}
  Level* parent;  // the level whose names are looked up next
  const SelectStmt* query = nullptr;  // whose FROM list it is
  std::vector<Item> items;
  Side all;  // what names can mean now: the items so far, or the operands of one join

  // The item's index.
  std::size_t add(Item item) {
    items.push_back(std::move(item));
    all.end = items.size();
    return items.size() - 1;
  }
};

enum class Lookup : std::uint8_t { found, absent, uncertain };
struct Resolved {
  Lookup state = Lookup::uncertain;
  ColumnAt at;
  bool merged = false;  // found as a column of USING: the same value, but perhaps of the other side's type
};

// What an unqualified name means among the items of one side.
[[nodiscard]] Resolved find_in_side(Level& level, const Side& side, std::string_view column);

// What a column reference means, seen from `level` where the items of `visible` can be named (an ON clause sees only
// its join's operands; elsewhere: level.all), and then from the levels around.
[[nodiscard]] Resolved resolve_column(const ColumnRef& ref, Level& level, const Side& visible);

[[nodiscard]] inline const schema::Column& column_of(const ColumnAt& at) {
  return at.level->items[at.item].relation->columns[static_cast<std::size_t>(at.column)];
}

}  // namespace weir::router
