#include "schema/catalog.hpp"

#include <algorithm>
#include <iterator>

#include "schema/name_key.hpp"

namespace weir::schema {
namespace {

struct BuiltinFunction {
  std::string_view schema;
  std::string_view name;
  bool is_volatile;
  bool is_aggregate;
};
constexpr BuiltinFunction kBuiltinFunctions[] = {
#include "schema/builtin_functions.inc"
};

struct BuiltinRelation {
  std::string_view schema;
  std::string_view name;
};
constexpr BuiltinRelation kBuiltinRelations[] = {
#include "schema/builtin_relations.inc"
};

// Functions that run SQL given as text, or read a table or view named by an argument, whatever their volatility says:
// xml mapping and text search statistics of the server, tablefunc, xml2.
constexpr std::string_view kRunSql[] = {
    "connectby",
    "crosstab",
    "crosstab2",
    "crosstab3",
    "crosstab4",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "database_to_xml",
    "database_to_xml_and_xmlschema",
    "database_to_xmlschema",
    "query_to_xml",
    "query_to_xml_and_xmlschema",
    "query_to_xmlschema",
    "schema_to_xml",
    "schema_to_xml_and_xmlschema",
    "schema_to_xmlschema",
    "table_to_xml",
    "table_to_xml_and_xmlschema",
    "table_to_xmlschema",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
};

bool runs_sql(std::string_view name) {
  return std::find(std::begin(kRunSql), std::end(kRunSql), name) != std::end(kRunSql);
}

bool is_system_schema(std::string_view schema) { return schema == "pg_catalog" || schema == "information_schema"; }

void merge(FunctionFacts& into, const FunctionFacts& facts) {
  into.user_defined |= facts.user_defined;
  into.is_volatile |= facts.is_volatile;
  into.reads_data |= facts.reads_data;
  into.is_procedure |= facts.is_procedure;
  into.is_aggregate |= facts.is_aggregate;
  into.leaves_trace |= facts.leaves_trace;
  into.computes_setting |= facts.computes_setting;
}

Relation from_rule(const config::Table& table, bool sharded) {
  Relation relation;
  relation.schema = table.schema.empty() ? "public" : table.schema;
  relation.name = table.name;
  relation.rule = &table;
  if (!sharded) return relation;
  relation.placement = table.reference ? Placement::reference : Placement::sharded;
  if (table.key.empty()) return relation;
  Column key;
  key.name = table.key;
  key.type = oid::kInt8;
  key.type_name = "bigint";
  relation.columns.push_back(std::move(key));
  relation.key_column = 0;
  relation.key_type = KeyType::int8;
  return relation;
}

}  // namespace

int Relation::column_index(std::string_view column) const {
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].name == column) return static_cast<int>(i);
  }
  return -1;
}

Catalog::Catalog() {
  // What a qualified name falls back to.
  add_system_relation("pg_catalog", "");
  add_system_relation("information_schema", "");
}

void Catalog::take_sharding(const config::Database& database) {
  sharded_ = database.sharding.has_value();
  for (const config::Shard& shard : database.shards) shard_names_.push_back(shard.name);
  rejects_unlisted_ = sharded_ && database.sharding->unlisted_tables == config::UnlistedTables::reject;
}

void Catalog::add_system_relation(std::string_view schema, std::string_view name) {
  Relation relation;
  relation.schema = schema;
  relation.name = name;
  relation.kind = RelationKind::view;
  relation.placement = Placement::catalog;
  system_.insert_or_assign(name_key(schema, name), std::move(relation));
}

void Catalog::add_function(std::string_view schema, std::string_view name, const FunctionFacts& facts) {
  FunctionFacts known = facts;
  known.reads_data |= known.is_procedure || runs_sql(name);
  merge(functions_[name_key(schema, name)], known);
  merge(functions_any_[std::string(name)], known);
}

void Catalog::index_relations() {
  for (std::size_t i = 0; i < relations_.size(); ++i) by_name_[name_key(relations_[i].schema, relations_[i].name)] = i;
}

const Relation* Catalog::find_qualified(std::string_view schema, std::string_view name) const {
  const std::string key = name_key(schema, name);
  if (const auto it = by_name_.find(key); it != by_name_.end()) return &relations_[it->second];
  const auto it = system_.find(key);
  return it == system_.end() ? nullptr : &it->second;
}

const Relation* Catalog::find_owner(std::string_view schema, std::string_view name,
                                    const std::vector<std::string>& search_path) const {
  const auto in = [&](std::string_view where) -> const Relation* {
    const auto owner = owners_.find(name_key(where, name));
    if (owner == owners_.end()) return nullptr;
    const auto table = by_name_.find(owner->second);
    return table == by_name_.end() ? nullptr : &relations_[table->second];
  };
  if (!schema.empty()) return in(schema);
  for (const std::string& candidate : search_path)
    if (const Relation* found = in(candidate)) return found;
  return nullptr;
}

bool Catalog::awaits(std::string_view schema, std::string_view name) const {
  return std::any_of(awaited_.begin(), awaited_.end(), [&](const config::Table* rule) {
    return rule->name == name && (schema.empty() || rule->schema.empty() || rule->schema == schema);
  });
}

const Relation* Catalog::find_relation(std::string_view schema, std::string_view name,
                                       const std::vector<std::string>& search_path) const {
  if (!schema.empty()) {
    const Relation* found = find_qualified(schema, name);
    if (found == nullptr && is_system_schema(schema)) found = find_qualified(schema, "");
    return found;
  }
  const bool listed = std::find(search_path.begin(), search_path.end(), "pg_catalog") != search_path.end();
  const Relation* found = listed ? nullptr : find_qualified("pg_catalog", name);
  for (std::size_t i = 0; found == nullptr && i < search_path.size(); ++i) found = find_qualified(search_path[i], name);
  return found;
}

std::optional<FunctionFacts> Catalog::find_function(std::string_view schema, std::string_view name) const {
  const auto& functions = schema.empty() ? functions_any_ : functions_;
  const auto it = schema.empty() ? functions.find(name) : functions.find(name_key(schema, name));
  if (it == functions.end()) return std::nullopt;
  return it->second;
}

bool Catalog::has_user_operator(std::string_view name) const {
  return std::binary_search(user_operators_.begin(), user_operators_.end(), name, std::less<>{});
}

bool Catalog::has_user_type(std::string_view name) const {
  return std::binary_search(user_types_.begin(), user_types_.end(), name, std::less<>{});
}

std::shared_ptr<const Catalog> Catalog::offline(const config::Database& database) {
  std::shared_ptr<Catalog> catalog(new Catalog());
  catalog->take_sharding(database);
  for (const config::Table& table : database.tables) catalog->relations_.push_back(from_rule(table, catalog->sharded_));
  catalog->index_relations();
  for (const BuiltinRelation& r : kBuiltinRelations) catalog->add_system_relation(r.schema, r.name);
  for (const BuiltinFunction& f : kBuiltinFunctions) {
    FunctionFacts facts;
    facts.is_volatile = f.is_volatile;
    facts.is_aggregate = f.is_aggregate;
    catalog->add_function(f.schema, f.name, facts);
  }
  FunctionFacts next_id;
  next_id.user_defined = next_id.is_volatile = true;
  catalog->add_function("weir", "next_id", next_id);
  return catalog;
}

}  // namespace weir::schema
