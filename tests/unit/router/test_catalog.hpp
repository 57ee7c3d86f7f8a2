// A catalog for the tests of routing, built as from a server's answers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "schema/catalog.hpp"

namespace weir::router::testing {

inline constexpr std::uint32_t kNumericOid = 1700, kTimestamptzOid = 1184, kFloat8Oid = 701;

class TestCatalog {
 public:
  // Sharded: users(id), orders(user_id), works(user_id int4, monthly partitions), accounts(name varchar(10)), docs(id
  // uuid), tags(label text). Reference: countries, currencies. Unlisted: settings, audited (has triggers), guarded (has
  // policies). Views: v_orders, v_settings.
  // Of `filling`, keys are filled in (default_key).
  explicit TestCatalog(bool sharded, config::UnlistedTables unlisted = config::UnlistedTables::home, const std::vector<std::string>& filling = {}) {
    if (sharded) database_.sharding.emplace().unlisted_tables = unlisted;
    database_.name = "app";
    for (const char* name : {"s0", "s1", "s2", "s3"}) database_.shards.emplace_back().name = name;
    list("users", "id"), list("orders", "user_id"), list("works", "user_id"), list("accounts", "name");
    list("docs", "id"), list("tags", "label"), list("countries", ""), list("currencies", "");
    for (config::Table& table : database_.tables) table.fills_key = std::find(filling.begin(), filling.end(), table.name) != filling.end();
    add_relations();
    add_functions();
    build();
  }
  TestCatalog(const TestCatalog&) = delete;
  TestCatalog& operator=(const TestCatalog&) = delete;

  [[nodiscard]] const schema::Catalog& operator*() const { return *catalog_; }
  [[nodiscard]] std::shared_ptr<const schema::Catalog> shared() const { return catalog_; }

 private:
  using Row = std::vector<std::optional<std::string>>;

  void list(std::string name, std::string key) {
    config::Table table;
    table.reference = key.empty();
    table.name = std::move(name);
    table.key = std::move(key);
    database_.tables.push_back(std::move(table));
  }

  struct TestColumn {
    const char* name;
    std::uint32_t type;
    bool not_null = false;
    int typmod = -1;
  };
  static std::string type_name(std::uint32_t type) {
    using namespace schema::oid;
    static const std::map<std::uint32_t, std::string> names{
        {kInt2, "smallint"}, {kInt4, "integer"}, {kInt8, "bigint"}, {kText, "text"}, {kVarchar, "character varying(10)"},
        {kUuid, "uuid"}, {kNumericOid, "numeric(10,2)"}, {kTimestamptzOid, "timestamp with time zone"},
        {kFloat8Oid, "double precision"}};
    return names.at(type);
  }

  void table(const std::string& name, const std::string& kind, const std::vector<TestColumn>& columns,
             bool partition = false) {
    const std::string id = std::to_string(++last_id_);
    ids_[name] = id;
    rows_["relations"].push_back({id, "public", name, kind, partition ? "t" : "f", std::nullopt});
    for (const TestColumn& c : columns)
      rows_["columns"].push_back({id, c.name, std::to_string(c.type), type_name(c.type), std::nullopt, "t",
                                  c.not_null ? "t" : "f", "f", std::to_string(c.typmod), "f"});
  }

  void add_relations() {
    using namespace schema::oid;
    table("users", "r", {{"id", kInt8, true}, {"name", kText}, {"country", kText}, {"score", kFloat8Oid}});
    table("orders", "r",
          {{"id", kInt8, true},
           {"user_id", kInt8, true},
           {"amount", kNumericOid},
           {"status", kText},
           {"created_at", kTimestamptzOid},
           {"approved_by", kInt8}});
    const std::vector<TestColumn> works{
        {"id", kInt8, true}, {"user_id", kInt4, true}, {"title", kText}, {"created_at", kTimestamptzOid, true}};
    table("works", "p", works);
    table("works_202401", "r", works, true);
    table("accounts", "r", {{"name", kVarchar, true, 14}, {"balance", kInt8}});
    table("docs", "r", {{"id", kUuid, true}, {"body", kText}});
    table("tags", "r", {{"label", kText}, {"weight", kInt4}});
    table("countries", "r", {{"code", kText, true}, {"title", kText}});
    table("currencies", "r", {{"code", kText, true}, {"rate", kNumericOid}});
    table("settings", "r", {{"name", kText}, {"value", kText}, {"user_id", kInt8}});
    table("audited", "r", {{"id", kInt8}, {"note", kText}});
    table("guarded", "r", {{"id", kInt8}, {"note", kText}});
    table("v_orders", "v", {{"user_id", kInt8}, {"total", kNumericOid}});
    table("v_settings", "v", {{"name", kText}});
    table("orders_id_seq", "S", {});
    rows_["inherits"] = {{ids_["works_202401"], ids_["works"]}};
    rows_["hazardous_relations"] = {{ids_["audited"], "f"}, {ids_["guarded"], "t"}};
    rows_["view_dependencies"] = {{ids_["v_orders"], ids_["orders"], "f"}, {ids_["v_settings"], ids_["settings"], "f"}};
    rows_["system_relations"] = {{"pg_catalog", "pg_class"},
                                 {"pg_catalog", "pg_attribute"},
                                 {"pg_catalog", "pg_namespace"},
                                 {"pg_catalog", "pg_stat_activity"},
                                 {"information_schema", "tables"}};
    rows_["search_path"] = {{"public"}};
    rows_["database"] = {{"UTF8", "c/C/C"}};
    rows_["hazardous_operators"] = {{"=#="}};
    // A domain whose check calls a user's function.
    rows_["types"] = {{"20001", "public", "checked", "d", "25", "0", "f", "f"}};
    rows_["hazardous_types"] = {{"20001", "t"}};
  }

  void add_functions() {
    struct Builtin {
      std::string_view schema, name;
      bool is_volatile, is_aggregate;
    };
    static constexpr Builtin kBuiltins[] = {
#include "schema/builtin_functions.inc"
    };
    const auto flag = [](bool b) { return std::string(b ? "t" : "f"); };
    for (const Builtin& f : kBuiltins)
      rows_["functions"].push_back(
          {std::string(f.schema), std::string(f.name), "f", flag(f.is_volatile), "f", "f", flag(f.is_aggregate)});
    // name, user-defined, volatile, reads data, procedure, aggregate
    rows_["functions"].push_back({"public", "touch", "t", "t", "t", "f", "f"});
    rows_["functions"].push_back({"public", "peek", "t", "f", "t", "f", "f"});
    rows_["functions"].push_back({"public", "twice", "t", "f", "f", "f", "f"});
    rows_["functions"].push_back({"public", "tick", "t", "t", "f", "f", "f"});
    rows_["functions"].push_back({"public", "upper", "t", "t", "t", "f", "f"});  // shadows the built-in
  }

  void build() {
    schema::CatalogBuilder builder(database_);
    for (std::size_t q = 0; q < schema::catalog_queries().size(); ++q)
      for (const Row& row : rows_[std::string(schema::catalog_queries()[q].name)])
        if (auto added = builder.add_row(q, schema::CatalogRow(row.begin(), row.end())); !added)
          throw std::runtime_error(added.error().message);
    auto catalog = builder.finish(1);
    if (!catalog) throw std::runtime_error(catalog.error().message);
    catalog_ = *catalog;
  }

  config::Database database_;
  int last_id_ = 30000;
  std::map<std::string, std::string> ids_;
  std::map<std::string, std::vector<Row>> rows_;
  std::shared_ptr<const schema::Catalog> catalog_;
};

}  // namespace weir::router::testing
