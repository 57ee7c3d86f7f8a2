#include "schema/catalog_builder.hpp"

#include <algorithm>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (const std::string& part : parts) out += out.empty() ? part : concat(separator, part);
  return out;
}

std::string rule_name(const config::Table& table) {
  return table.schema.empty() ? table.name : concat(table.schema, ".", table.name);
}

void sort_unique(std::vector<std::string>& names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
}

}  // namespace

CatalogBuilder::CatalogBuilder(const config::Database& database) : state_(std::make_unique<State>(database)) {
  state_->catalog.reset(new Catalog());
}
CatalogBuilder::~CatalogBuilder() = default;
CatalogBuilder::CatalogBuilder(CatalogBuilder&&) noexcept = default;

Result<std::shared_ptr<const Catalog>> CatalogBuilder::finish(std::uint64_t epoch) {
  State& state = *state_;
  Catalog& catalog = *state.catalog;
  catalog.take_sharding(state.database);
  catalog.from_database_ = true;
  catalog.epoch_ = epoch;
  catalog.default_search_path_ = state.search_path;
  state.resolve_types();
  state.propagate(&Relation::has_triggers);
  state.propagate(&Relation::runs_code_on_read);
  state.apply_rules();
  state.inherit_rules();
  if (catalog.sharded_) state.place_views();
  state.find_traces();
  if (!state.problems.empty()) {
    return Error(sqlstate::kConfigFile, concat("database ", state.database.name, ": ", join(state.problems, "; ")),
                 "Correct [[database.table]] in weir.toml or the tables; `weir check --connect` shows the rest.");
  }
  for (auto& [id, loaded] : state.relations) catalog.relations_.push_back(std::move(loaded.relation));
  catalog.index_relations();
  sort_unique(catalog.user_operators_);
  sort_unique(catalog.user_types_);
  return std::shared_ptr<const Catalog>(std::move(state.catalog));
}

// Follows domains to their base type, and looks for user code that a column's type calls.
void CatalogBuilder::State::resolve_types() {
  for (const auto& [id, type] : types) {
    if (hazardous(id)) catalog->user_types_.push_back(type.name);
  }
  for (auto& [id, loaded] : relations) {
    Relation& relation = loaded.relation;
    for (Column& column : relation.columns) {
      relation.runs_code_on_read |= hazardous(column.type);
      for (auto it = types.find(column.type); it != types.end() && it->second.kind == 'd';
           it = types.find(column.type)) {
        column.not_null |= it->second.not_null;
        column.has_default |= it->second.has_default;
        column.type = it->second.base;
      }
    }
    for (const UniqueIndex& index : relation.unique_indexes) {
      if (!index.partial && !index.has_expressions) relation.unique_keys.push_back(index.columns);
    }
  }
}

bool CatalogBuilder::State::hazardous(Oid type, int depth) const {
  if (hazardous_types.contains(type)) return true;
  const auto it = types.find(type);
  // Depth: a guard against a catalog that makes no sense; real chains are two or three long.
  if (it == types.end() || depth > 32) return false;
  return (it->second.base != 0 && hazardous(it->second.base, depth + 1)) ||
         (it->second.element != 0 && hazardous(it->second.element, depth + 1));
}

// A write to a parent fires the triggers of the child it lands in, and a read of it scans the child's indexes.
void CatalogBuilder::State::propagate(bool Relation::*flag) {
  for (const auto& [id, loaded] : relations) {
    if (!(loaded.relation.*flag)) continue;
    std::vector<Oid> up = loaded.parents;
    std::set<Oid> seen;
    while (!up.empty()) {
      const Oid parent = up.back();
      up.pop_back();
      if (!seen.insert(parent).second) continue;
      LoadedRelation& p = relations.at(parent);
      p.relation.*flag = true;
      up.insert(up.end(), p.parents.begin(), p.parents.end());
    }
  }
}

void CatalogBuilder::State::apply_rules() {
  for (const config::Table& table : database.tables) apply_rule(table);
}

std::vector<Oid> CatalogBuilder::State::matches(const config::Table& table) const {
  std::vector<Oid> found;
  for (const auto& [id, loaded] : relations) {
    const Relation& r = loaded.relation;
    if (r.name != table.name) continue;
    const bool on_path = std::find(search_path.begin(), search_path.end(), r.schema) != search_path.end();
    if (table.schema.empty() ? on_path : r.schema == table.schema) found.push_back(id);
  }
  return found;
}

void CatalogBuilder::State::apply_rule(const config::Table& table) {
  const std::vector<Oid> found = matches(table);
  if (found.empty()) await(table);
  for (Oid id : found) list_relation(table, id);
}

// Migrations make it through Weir: until then it is awaited. But one of that name elsewhere may be the one that is meant, and would be taken
// for a table of the home shard.
void CatalogBuilder::State::await(const config::Table& table) {
  const bool elsewhere = std::any_of(relations.begin(), relations.end(), [&](const auto& r) { return r.second.relation.name == table.name; });
  if (!elsewhere) return catalog->awaited_.push_back(&table);
  if (table.schema.empty())
    problems.push_back(concat("listed table ", table.name, " does not exist in any schema of the search path (",
                              join(search_path, ", "), "): create it, or write its name with its schema"));
  else
    problems.push_back(concat("listed table ", rule_name(table), " does not exist: create it, or remove its rule"));
}

void CatalogBuilder::State::list_relation(const config::Table& table, Oid id) {
  Relation& relation = relations.at(id).relation;
  if (relation.rule != nullptr) {
    problems.push_back(concat("table ", relation.qualified(), " is listed twice"));
    return;
  }
  if (relation.kind == RelationKind::view || relation.kind == RelationKind::sequence) {
    problems.push_back(concat(relation.qualified(), " is no table: list the tables that hold its rows"));
    return;
  }
  relation.rule = &table;
  if (!catalog->sharded_) return;
  relation.placement = table.reference ? Placement::reference : Placement::sharded;
  if (!table.reference) give_key(table, relation);
}

void CatalogBuilder::State::give_key(const config::Table& table, Relation& relation) {
  relation.key_column = relation.column_index(table.key);
  if (relation.key_column < 0) {
    problems.push_back(concat("table ", relation.qualified(), " has no column ", table.key, ", its key"));
    return;
  }
  const Column& column = relation.columns[static_cast<std::size_t>(relation.key_column)];
  relation.key_type = key_type_of(column.type);
  if (!relation.key_type) {
    problems.push_back(concat("key ", table.key, " of table ", relation.qualified(), " has type ", column.type_name,
                              ": a key is smallint, integer, bigint, text, character varying or uuid"));
  } else if (!column.collation_deterministic) {
    problems.push_back(concat("key ", table.key, " of table ", relation.qualified(),
                              " has the nondeterministic collation ", column.collation,
                              ": equal keys would have different hashes"));
  }
  if (table.fills_key && relation.key_type && *relation.key_type != KeyType::int8)
    problems.push_back(concat("key ", table.key, " of table ", relation.qualified(), " has type ", column.type_name,
                              ": default_key = \"weir.next_id\" gives a bigint"));
  const bool integer = relation.key_type && *relation.key_type <= KeyType::int8;
  if (relation.key_type && !integer && database.sharding->function == config::HashFunction::modulo) {
    problems.push_back(concat("key ", table.key, " of table ", relation.qualified(), " has type ", column.type_name,
                              ": sharding.function = \"modulo\" takes integers only"));
  }
}

// Children hold rows of their parents, so they live where those live.
void CatalogBuilder::State::inherit_rules() {
  if (!catalog->sharded_) return;
  std::vector<Oid> listed;
  for (const auto& [id, loaded] : relations) {
    if (loaded.relation.rule != nullptr) listed.push_back(id);
  }
  for (Oid id : listed) inherit_rule(id);
  for (const auto& [id, loaded] : relations) {
    if (loaded.relation.rule == nullptr) continue;
    for (Oid parent : loaded.parents) {
      if (relations.at(parent).relation.rule != nullptr) continue;
      problems.push_back(concat("table ", loaded.relation.qualified(), " is listed, but its parent ",
                                relations.at(parent).relation.qualified(), " is not: list the parent"));
    }
  }
}

void CatalogBuilder::State::inherit_rule(Oid id) {
  const Relation& parent = relations.at(id).relation;
  for (Oid child_id : relations.at(id).children) {
    Relation& child = relations.at(child_id).relation;
    if (child.rule == nullptr) {
      child.rule = parent.rule;
      child.placement = parent.placement;
      if (parent.placement == Placement::sharded) give_key(*parent.rule, child);
      inherit_rule(child_id);
    } else if (child.placement != parent.placement || child.rule->key != parent.rule->key) {
      problems.push_back(concat("table ", child.qualified(), " has another rule than its parent ", parent.qualified(),
                                ": they share rows, so give both the same key"));
    }
  }
}

void CatalogBuilder::State::place_views() {
  for (auto& [id, loaded] : relations) {
    std::set<Oid> visiting;
    const RelationKind kind = loaded.relation.kind;
    if (kind != RelationKind::view && kind != RelationKind::materialized_view) continue;
    if (loaded.relation.rule == nullptr) loaded.relation.placement = place_view(id, visiting);
  }
}

// The worst of what the view reads: sharded rows, then rows of the home shard only, then reference rows only.
Placement CatalogBuilder::State::place_view(Oid id, std::set<Oid>& visiting) {
  const auto view = views.find(id);
  if (view == views.end() || !visiting.insert(id).second) return Placement::unlisted;
  if (view->second.reads_by_function) return Placement::reaches_sharded;
  bool any_reference = false;
  bool any_unlisted = false;
  for (Oid dependency : view->second.relations) {
    const auto it = relations.find(dependency);
    if (it == relations.end()) continue;
    const bool nested = views.contains(dependency) && it->second.relation.rule == nullptr;
    const Placement p = nested ? place_view(dependency, visiting) : it->second.relation.placement;
    if (p == Placement::sharded || p == Placement::reaches_sharded) return Placement::reaches_sharded;
    any_reference |= p == Placement::reference;
    any_unlisted |= p == Placement::unlisted;
  }
  return any_reference && !any_unlisted ? Placement::reference : Placement::unlisted;
}

}  // namespace weir::schema
