// Rows of the catalog queries into CatalogBuilder::State. The columns are those of schema/catalog_queries.cpp.

#include <charconv>

#include "base/strings.hpp"
#include "schema/catalog_builder.hpp"
#include "schema/catalog_queries.hpp"
#include "schema/function_body.hpp"
#include "schema/name_key.hpp"
#include "schema/setting_names.hpp"

namespace weir::schema {
namespace {

// One row, read column by column; remembers whether all of it made sense.
class Fields {
 public:
  explicit Fields(const CatalogRow& row) : row_(row) {}

  [[nodiscard]] bool is_null(std::size_t i) const { return !row_[i]; }
  [[nodiscard]] std::string text(std::size_t i) { return std::string(view(i)); }
  [[nodiscard]] std::string text_or_empty(std::size_t i) const { return std::string(row_[i].value_or("")); }
  [[nodiscard]] char letter(std::size_t i) {
    if (view(i).size() != 1) ok_ = false;
    return view(i).empty() ? '\0' : view(i).front();
  }
  [[nodiscard]] bool flag(std::size_t i) { return letter(i) == 't'; }
  template <class T>
  [[nodiscard]] T number(std::size_t i) {
    T n{};
    const std::string_view s = view(i);
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
    if (error != std::errc() || end != s.data() + s.size()) ok_ = false;
    return n;
  }
  [[nodiscard]] Oid oid(std::size_t i) { return number<Oid>(i); }
  void fail() { ok_ = false; }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::string_view view(std::size_t i) {
    if (!row_[i]) ok_ = false;
    return row_[i].value_or("");
  }

  const CatalogRow& row_;
  bool ok_ = true;
};

std::optional<RelationKind> kind_of(char relkind, bool is_partition) {
  switch (relkind) {
    case 'r':
      return is_partition ? RelationKind::partition : RelationKind::table;
    case 'p':
      return is_partition ? RelationKind::partition : RelationKind::partitioned;
    case 'v':
      return RelationKind::view;
    case 'm':
      return RelationKind::materialized_view;
    case 'S':
      return RelationKind::sequence;
    case 'f':
      return is_partition ? RelationKind::partition : RelationKind::foreign_table;
    default:
      return std::nullopt;
  }
}

using Relations = std::map<Oid, LoadedRelation>;

void read_type(std::map<Oid, TypeRow>& types, Fields& f) {
  TypeRow type;
  type.name = f.text(2);
  type.kind = f.letter(3);
  type.base = f.oid(4);
  type.element = f.oid(5);
  type.not_null = f.flag(6);
  type.has_default = f.flag(7);
  types[f.oid(0)] = std::move(type);
}

void read_relation(Relations& relations, Fields& f) {
  LoadedRelation loaded;
  loaded.relation.schema = f.text(1);
  loaded.relation.name = f.text(2);
  loaded.is_partition = f.flag(4);
  const auto kind = kind_of(f.letter(3), loaded.is_partition);
  if (!kind) f.fail();
  loaded.relation.kind = kind.value_or(RelationKind::table);
  loaded.relation.range_column = f.text_or_empty(5);
  relations[f.oid(0)] = std::move(loaded);
}

void read_column(Relations& relations, Fields& f) {
  const auto it = relations.find(f.oid(0));
  if (it == relations.end()) return;
  Column column;
  column.name = f.text(1);
  column.type = f.oid(2);
  column.type_name = f.text(3);
  column.collation = f.text_or_empty(4);
  column.collation_deterministic = f.flag(5);
  column.not_null = f.flag(6);
  column.has_default = f.flag(7);
  // atttypmod of varchar(n) is n + 4, the size of a varlena header.
  const auto typmod = f.number<std::int32_t>(8);
  if (column.type == oid::kVarchar && typmod > 4) column.max_length = static_cast<std::uint32_t>(typmod - 4);
  column.per_shard_sequence = f.flag(9);
  it->second.column_types.push_back(column.type);
  it->second.relation.columns.push_back(std::move(column));
}

void read_inheritance(Relations& relations, Fields& f) {
  const Oid child = f.oid(0);
  const Oid parent = f.oid(1);
  const auto c = relations.find(child);
  const auto p = relations.find(parent);
  if (c == relations.end() || p == relations.end()) return;
  if (c->second.parents.empty()) c->second.relation.parent = p->second.relation.qualified();
  c->second.parents.push_back(parent);
  p->second.children.push_back(child);
  if (!c->second.is_partition) p->second.relation.has_children = true;
}

void read_unique_index(Relations& relations, Fields& f) {
  const auto it = relations.find(f.oid(0));
  if (it == relations.end()) return;
  auto& indexes = it->second.relation.unique_indexes;
  const std::string name = f.text(1);
  if (indexes.empty() || indexes.back().name != name) indexes.push_back({name, {}, f.flag(2), f.flag(3)});
  if (!f.is_null(4)) indexes.back().columns.push_back(f.text(4));
}

void read_foreign_key(Relations& relations, Fields& f) {
  const auto it = relations.find(f.oid(0));
  const auto target = relations.find(f.oid(2));
  if (it == relations.end() || target == relations.end()) return;
  auto& keys = it->second.relation.foreign_keys;
  const std::string name = f.text(1);
  if (keys.empty() || keys.back().name != name) keys.push_back({name, {}, target->second.relation.qualified(), {}});
  keys.back().columns.push_back(f.text(3));
  keys.back().referenced_columns.push_back(f.text(4));
}

void read_view_dependency(std::map<Oid, ViewDependencies>& views, Fields& f) {
  ViewDependencies& view = views[f.oid(0)];
  if (f.flag(2)) {
    view.reads_by_function = true;
  } else {
    view.relations.push_back(f.oid(1));
  }
}

FunctionFacts function_facts(Fields& f) {
  FunctionFacts facts;
  // information_schema's helpers are initdb's, so they count as built in.
  facts.user_defined = f.flag(2);
  facts.is_volatile = f.flag(3);
  facts.reads_data = f.flag(4);
  facts.is_procedure = f.flag(5);
  facts.is_aggregate = f.flag(6);
  return facts;
}

void read_function_source(std::map<Oid, LoadedFunction>& functions, std::vector<std::string>& settings, Fields& f) {
  LoadedFunction& function = functions[f.oid(0)];
  function.schema = f.text(1);
  function.name = f.text(2);
  const char kind = f.letter(3);
  if (kind == 'h') function.traces = false;
  if (f.is_null(4) || (kind != 's' && kind != 'a')) return;
  const std::string source = f.text(4);
  FunctionBody body = look_into(source);
  function.traces = body.leaves_trace && kind == 's';
  function.has_text = true;
  function.computes = body.computes_setting;
  function.words = std::move(body.words);
  find_setting_names(source, settings);
}

void read_hidden_code(HiddenCode& code, Fields& f) {
  code.known = true;
  if (f.is_null(1)) return;
  const Oid function = f.oid(1);
  function == 0 ? void(code.anything = true) : code.functions.push_back(function);
}

void read_default(Relation& relation, const std::string& column, std::string expression) {
  const int index = relation.column_index(column);
  if (index >= 0) relation.columns[static_cast<std::size_t>(index)].default_expression = std::move(expression);
}

Error misshapen(std::size_t query, std::string_view what) {
  const std::string_view name = query < kQueries ? catalog_queries()[query].name : std::string_view("unknown");
  return Error(sqlstate::kInternal, concat("catalog query ", name, ": ", what),
               "The server may be newer than this version of Weir; please report it.");
}

}  // namespace

Result<void> CatalogBuilder::add_row(std::size_t query, const CatalogRow& row) {
  if (query >= kQueries) return misshapen(query, "there is no query of that number");
  if (row.size() != kQueryColumns[query]) return misshapen(query, "unexpected number of columns");
  return state_->read(query, row);
}

void CatalogBuilder::State::read_dependent(Oid table, char kind, const std::string& first, std::string second) {
  const auto it = relations.find(table);
  if (it == relations.end()) return;
  const Relation& relation = it->second.relation;
  if (kind == 'd')
    read_default(it->second.relation, first, std::move(second));
  else
    catalog->owners_[name_key(first, second)] = name_key(relation.schema, relation.name);
}

Result<void> CatalogBuilder::State::read(std::size_t query, const CatalogRow& row) {
  Fields f(row);
  switch (static_cast<QueryId>(query)) {
    case QueryId::search_path:
      search_path.push_back(f.text(0));
      break;
    case QueryId::database:
      catalog->encoding_ = f.text(0);
      catalog->default_collation_ = f.text(1);
      break;
    case QueryId::types:
      read_type(types, f);
      break;
    case QueryId::relations:
      read_relation(relations, f);
      break;
    case QueryId::columns:
      read_column(relations, f);
      break;
    case QueryId::system_relations:
      catalog->add_system_relation(f.text(0), f.text(1));
      break;
    case QueryId::inherits:
      read_inheritance(relations, f);
      break;
    case QueryId::hazardous_relations:
      if (const auto it = relations.find(f.oid(0)); it != relations.end())
        (f.flag(1) ? it->second.relation.runs_code_on_read : it->second.relation.has_triggers) = true;
      break;
    case QueryId::unique_indexes:
      read_unique_index(relations, f);
      break;
    case QueryId::view_dependencies:
      read_view_dependency(views, f);
      break;
    case QueryId::foreign_keys:
      read_foreign_key(relations, f);
      break;
    case QueryId::functions:
      catalog->add_function(f.text(0), f.text(1), function_facts(f));
      break;
    case QueryId::hazardous_operators:
      catalog->user_operators_.push_back(f.text(0));
      break;
    case QueryId::hazardous_types:
      hazardous_types.insert(f.oid(0));
      catalog->user_types_.push_back(f.text(1));
      break;
    case QueryId::function_sources:
      read_function_source(functions, catalog->custom_settings_, f);
      break;
    case QueryId::hidden_code:
      if (const char at = f.letter(2); at == 'c')
        cascades.emplace_back(f.oid(0), f.oid(1));
      else
        read_hidden_code((at == 'r' ? code_on_read : code_on_write)[f.oid(0)], f);
      break;
    case QueryId::dependents:
      read_dependent(f.oid(1), f.letter(0), f.text(2), f.text(3));
      break;
  }
  if (!f.ok()) return misshapen(query, "a value is missing or malformed");
  return {};
}

}  // namespace weir::schema
