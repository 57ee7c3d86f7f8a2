#include "router/analysis_scope.hpp"

#include <algorithm>

namespace weir::router {
namespace {

Resolved certain(Level& level, std::size_t item, std::string_view column) {
  const auto& columns = level.items[item].columns;
  const auto at = std::find(columns.begin(), columns.end(), column);
  // A system column, a whole row or a function in attribute notation.
  if (at == columns.end()) return {};
  // Two columns of one name after an alias list: the server calls it ambiguous.
  if (std::find(at + 1, columns.end(), column) != columns.end()) return {};
  return {Lookup::found, {&level, item, static_cast<int>(at - columns.begin())}, false};
}

bool in_catalog(const Item& item) {
  return item.relation != nullptr && item.relation->placement != schema::Placement::catalog && !item.columns.empty();
}

// The item that a qualifier names at one level. `absent`: none there.
Lookup find_item(const Level& level, const Side& side, std::string_view schema, std::string_view table,
                 std::size_t& out) {
  std::size_t found = 0;
  bool nameless = false;
  for (std::size_t i = side.begin; i < side.end; ++i) {
    const Item& item = level.items[i];
    if (!item.visible) continue;
    nameless |= item.name.empty();
    if (item.name != table) continue;
    if (!schema.empty() && (item.relation == nullptr || item.schema.empty() || item.relation->schema != schema)) {
      // "s.t.c" does not mean an alias; an unknown relation of that name might be it.
      nameless |= item.relation == nullptr;
      continue;
    }
    out = i;
    ++found;
  }
  if (found == 1) return Lookup::found;
  return found > 1 || nameless ? Lookup::uncertain : Lookup::absent;
}

}  // namespace

bool CteScope::has(std::string_view name) const {
  for (const CteScope* s = this; s != nullptr; s = s->parent)
    if (std::find(s->names.begin(), s->names.end(), name) != s->names.end()) return true;
  return false;
}

Resolved find_in_side(Level& level, const Side& side, std::string_view column) {
  for (const auto& [name, at] : side.merged)
    if (name == column) return at ? Resolved{Lookup::found, *at, true} : Resolved{};
  if (side.natural) return {};
  Resolved found{Lookup::absent, {}, false};
  bool unknown = false;
  for (std::size_t i = side.begin; i < side.end; ++i) {
    const Item& item = level.items[i];
    if (!item.visible || !item.unqualified) continue;
    if (!in_catalog(item)) {
      unknown = true;
      continue;
    }
    if (std::find(item.columns.begin(), item.columns.end(), column) == item.columns.end()) continue;
    if (found.state != Lookup::absent) return {};
    found = certain(level, i, column);
  }
  // A column that a known item has is that item's, or the server calls it ambiguous; one that none has may be an
  // unknown's.
  return found.state == Lookup::absent && unknown ? Resolved{} : found;
}

Resolved resolve_column(const ColumnRef& ref, Level& level, const Side& visible) {
  const pg::ListOf<> fields(ref.fields);
  if (fields.size() < 1 || fields.size() > 3) return {};
  for (Node* field : fields)
    if (!pg::is(field, T_String)) return {};
  const std::string_view column = pg::text(fields[fields.size() - 1]);
  const std::string_view table = fields.size() > 1 ? pg::text(fields[fields.size() - 2]) : std::string_view{};
  const std::string_view schema = fields.size() > 2 ? pg::text(fields[0]) : std::string_view{};
  const Side* side = &visible;
  for (Level* at = &level; at != nullptr; at = at->parent, side = at == nullptr ? nullptr : &at->all) {
    if (table.empty()) {
      const Resolved found = find_in_side(*at, *side, column);
      if (found.state != Lookup::absent) return found;
      continue;
    }
    std::size_t item = 0;
    const Lookup found = find_item(*at, *side, schema, table, item);
    if (found == Lookup::uncertain) return {};
    if (found == Lookup::found) return in_catalog(at->items[item]) ? certain(*at, item, column) : Resolved{};
  }
  return {Lookup::absent, {}, false};
}

}  // namespace weir::router
