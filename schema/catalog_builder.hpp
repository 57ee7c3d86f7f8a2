// What CatalogBuilder has read so far, by OID, and the steps of finish(). Private to schema/.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "schema/catalog.hpp"

namespace weir::schema {

using Oid = std::uint32_t;

// A user type, or any domain.
struct TypeRow {
  std::string name;
  char kind = 'b';           // pg_type.typtype
  Oid base = 0;              // domains
  Oid element = 0;           // arrays
  bool not_null = false;     // domains
  bool has_default = false;  // domains
};

struct ViewDependencies {
  std::vector<Oid> relations;
  bool reads_by_function = false;
};

struct LoadedRelation {
  Relation relation;
  std::vector<Oid> column_types;  // as declared, domains not yet followed
  std::vector<Oid> parents;       // in pg_inherits' order
  std::vector<Oid> children;
  bool is_partition = false;
};

// A user's function, as far as the session's state goes.
struct LoadedFunction {
  std::string schema, name;
  bool traces = true;      // may change it
  bool computes = false;   // sets a setting whose name it computes
  bool has_text = false;   // it was judged by its text
  std::vector<std::string> words;
};

// What a statement on a relation runs without naming it.
struct HiddenCode {
  bool known = false;      // else anything
  bool anything = false;
  std::vector<Oid> functions;
};

struct CatalogBuilder::State {
  explicit State(const config::Database& d) : database(d) {}

  const config::Database& database;
  std::shared_ptr<Catalog> catalog;
  std::vector<std::string> search_path;
  std::map<Oid, LoadedRelation> relations;
  std::map<Oid, TypeRow> types;
  std::map<Oid, ViewDependencies> views;
  std::set<Oid> hazardous_types;
  std::map<Oid, LoadedFunction> functions;
  std::map<Oid, HiddenCode> code_on_read, code_on_write;   // 0: of no relation in particular
  std::vector<std::pair<Oid, Oid>> cascades;               // (referenced, referencing)
  std::vector<std::string> problems;

  // Reading, one function a query (catalog_read.cpp).
  Result<void> read(std::size_t query, const CatalogRow& row);

  void read_dependent(Oid table, char kind, const std::string& first, std::string second);

  // Finishing, in this order.
  void resolve_types();
  void propagate(bool Relation::*flag);  // from children to parents
  void apply_rules();
  void apply_rule(const config::Table& table);
  void await(const config::Table& table);
  void list_relation(const config::Table& table, Oid id);
  void give_key(const config::Table& table, Relation& relation);
  void inherit_rules();
  void inherit_rule(Oid id);
  void place_views();
  // Which functions and relations leave a trace in the session (catalog_traces.cpp).
  void find_traces();
  [[nodiscard]] bool traces(const std::map<Oid, HiddenCode>& code, Oid relation, bool runs_code) const;
  void judge_functions();
  void spread_traces();
  bool spread_to_functions();
  bool spread_to_relations();
  Placement place_view(Oid id, std::set<Oid>& visiting);
  [[nodiscard]] bool hazardous(Oid type, int depth = 0) const;
  [[nodiscard]] std::vector<Oid> matches(const config::Table& table) const;
};

}  // namespace weir::schema
