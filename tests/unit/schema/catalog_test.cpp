#include "schema/catalog.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace weir::schema {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

using Rows = std::vector<std::vector<std::optional<std::string>>>;

config::Table listed(std::string name, std::string key, std::string schema = "") {
  config::Table t;
  t.schema = std::move(schema);
  t.name = std::move(name);
  t.reference = key.empty();
  t.key = std::move(key);
  return t;
}

config::Database sharded(std::vector<config::Table> tables) {
  config::Database db;
  db.name = "app";
  db.sharding.emplace();
  db.tables = std::move(tables);
  return db;
}

// What a server would answer, query by query; the rest is empty.
struct Server {
  std::map<std::string, Rows> rows{{"search_path", {{"public"}}}, {"database", {{"UTF8", "c/C/C"}}}};

  void table(const std::string& id, const std::string& name, const std::string& kind = "r", bool partition = false) {
    rows["relations"].push_back({id, "public", name, kind, partition ? "t" : "f", std::nullopt});
  }
  void column(const std::string& table, const std::string& name, std::uint32_t type, const std::string& type_name) {
    rows["columns"].push_back({table, name, std::to_string(type), type_name, std::nullopt, "t", "t", "f", "-1", "f"});
  }
  void users_table() {
    table("1", "users");
    column("1", "id", oid::kInt8, "bigint");
    column("1", "name", oid::kText, "text");
  }
  [[nodiscard]] Result<std::shared_ptr<const Catalog>> load(const config::Database& db) const {
    CatalogBuilder builder(db);
    for (std::size_t q = 0; q < catalog_queries().size(); ++q) {
      const auto found = rows.find(std::string(catalog_queries()[q].name));
      if (found == rows.end()) continue;
      for (const auto& row : found->second) {
        if (auto ok = builder.add_row(q, CatalogRow(row.begin(), row.end())); !ok) return ok.take_error();
      }
    }
    return builder.finish(7);
  }
};

std::string failure(const Server& server, const config::Database& db) {
  const auto catalog = server.load(db);
  return catalog ? "" : catalog.error().message;
}

TEST(CatalogOffline, KnowsListedTablesByTheirRules) {
  const auto db = sharded({listed("users", "id"), listed("countries", ""), listed("orders", "user_id", "shop")});
  const auto catalog = Catalog::offline(db);
  EXPECT_FALSE(catalog->from_database());
  EXPECT_TRUE(catalog->sharded());
  const Relation* users = catalog->find_relation("", "users", {"public"});
  ASSERT_NE(users, nullptr);
  EXPECT_EQ(users->placement, Placement::sharded);
  EXPECT_EQ(users->key_type, KeyType::int8);
  EXPECT_EQ(users->columns.at(static_cast<std::size_t>(users->key_column)).name, "id");
  EXPECT_EQ(users->rule, db.tables.data());
  EXPECT_EQ(catalog->find_relation("", "countries", {"public"})->placement, Placement::reference);
  EXPECT_NE(catalog->find_relation("shop", "orders", {}), nullptr);
  EXPECT_EQ(catalog->find_relation("", "orders", {"public"}), nullptr);
}

TEST(CatalogOffline, CarriesTheRuleForUnlistedTables) {
  auto db = sharded({});
  EXPECT_FALSE(Catalog::offline(db)->rejects_unlisted());
  db.sharding->unlisted_tables = config::UnlistedTables::reject;
  EXPECT_TRUE(Catalog::offline(db)->rejects_unlisted());
  EXPECT_TRUE((*Server().load(db))->rejects_unlisted());
  db.sharding.reset();
  EXPECT_FALSE(Catalog::offline(db)->rejects_unlisted());
}

TEST(CatalogOffline, KnowsTheBuiltInFunctionsAndTheirVolatility) {
  const auto db = sharded({});
  const auto catalog = Catalog::offline(db);
  EXPECT_FALSE(catalog->find_function("", "lower")->is_volatile);
  EXPECT_FALSE(catalog->find_function("", "now")->is_volatile);
  EXPECT_TRUE(catalog->find_function("", "random")->is_volatile);
  EXPECT_TRUE(catalog->find_function("pg_catalog", "nextval")->is_volatile);
  EXPECT_TRUE(catalog->find_function("", "count")->is_aggregate);
  EXPECT_FALSE(catalog->find_function("", "count")->user_defined);
  EXPECT_TRUE(catalog->find_function("", "query_to_xml")->reads_data);
  EXPECT_TRUE(catalog->find_function("", "ts_stat")->reads_data);
  EXPECT_FALSE(catalog->find_function("", "my_function"));
  EXPECT_FALSE(catalog->find_function("public", "lower"));
  EXPECT_TRUE(catalog->find_function("weir", "next_id")->is_volatile);
  EXPECT_FALSE(catalog->find_function("weir", "next_id")->reads_data);
}

TEST(Catalog, FindsSystemRelationsFirstUnlessThePathListsPgCatalogLater) {
  Server server;
  server.table("1", "pg_class");
  server.rows["system_relations"] = {{"pg_catalog", "pg_class"}, {"information_schema", "tables"}};
  const auto db = sharded({});
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  EXPECT_EQ((*catalog)->find_relation("", "pg_class", {"public"})->placement, Placement::catalog);
  EXPECT_EQ((*catalog)->find_relation("", "pg_class", {"public", "pg_catalog"})->placement, Placement::unlisted);
  EXPECT_EQ((*catalog)->find_relation("pg_catalog", "pg_brand_new", {})->placement, Placement::catalog);
  EXPECT_EQ((*catalog)->find_relation("", "pg_brand_new", {"public"}), nullptr);
  EXPECT_EQ((*catalog)->find_relation("", "tables", {"public"}), nullptr);
  EXPECT_EQ((*catalog)->find_relation("", "tables", {"information_schema"})->placement, Placement::catalog);
}

TEST(Catalog, NamesWithDotsAreNotMixedUp) {
  Server server;
  server.rows["relations"] = {{"1", "a.b", "c", "r", "f", std::nullopt}, {"2", "a", "b.c", "v", "f", std::nullopt}};
  const auto db = sharded({});
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  EXPECT_EQ((*catalog)->find_relation("a.b", "c", {})->kind, RelationKind::table);
  EXPECT_EQ((*catalog)->find_relation("a", "b.c", {})->kind, RelationKind::view);
}

TEST(Catalog, GivesListedTablesTheirKey) {
  Server server;
  server.users_table();
  const auto db = sharded({listed("users", "id")});
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  const Relation* users = (*catalog)->find_relation("", "users", {"public"});
  EXPECT_EQ(users->placement, Placement::sharded);
  EXPECT_EQ(users->key_column, 0);
  EXPECT_EQ(users->key_type, KeyType::int8);
  EXPECT_EQ((*catalog)->epoch(), 7U);
  EXPECT_TRUE((*catalog)->from_database());
}

TEST(Catalog, InAPlainDatabaseNothingIsSharded) {
  Server server;
  server.users_table();
  auto db = sharded({listed("users", "id")});
  db.sharding.reset();
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  EXPECT_EQ((*catalog)->find_relation("", "users", {"public"})->placement, Placement::unlisted);
}

TEST(Catalog, NamesEveryMistakeOfTheRulesAtOnce) {
  Server server;
  server.users_table();
  server.table("2", "v", "v");
  server.column("2", "id", oid::kInt8, "bigint");
  const auto db =
      sharded({listed("users", "id", "shop"), listed("users", "uid"), listed("v", "id")});
  const std::string message = failure(server, db);
  for (const char* part : {"shop.users", "public.users has no column uid", "public.v is no table"})
    EXPECT_THAT(message, HasSubstr(part));
}

TEST(Catalog, AListedTableOfWhichThereIsNoTraceIsNoMistake) {
  Server server;
  server.users_table();
  EXPECT_EQ(failure(server, sharded({listed("users", "id"), listed("missing", "id"), listed("gone", "id", "shop")})), "");
}

TEST(Catalog, RefusesKeysThatCannotBeHashed) {
  constexpr std::uint32_t kFloat8 = 701;
  Server server;
  server.table("1", "users");
  server.column("1", "id", kFloat8, "double precision");
  server.rows["columns"].push_back({"1", "name", "25", "text", "public.nocase", "f", "t", "f", "-1", "f"});
  EXPECT_THAT(failure(server, sharded({listed("users", "id")})), HasSubstr("double precision"));
  EXPECT_THAT(failure(server, sharded({listed("users", "name")})), HasSubstr("public.nocase"));
}

TEST(Catalog, ModuloRefusesTextKeys) {
  Server server;
  server.users_table();
  auto db = sharded({listed("users", "name")});
  EXPECT_EQ(failure(server, db), "");
  db.sharding->function = config::HashFunction::modulo;
  EXPECT_THAT(failure(server, db), HasSubstr("modulo"));
}

TEST(Catalog, AListedTableWhoseParentIsNotListedIsRefused) {
  Server server;
  server.users_table();
  server.table("2", "people");
  server.column("2", "id", oid::kInt8, "bigint");
  server.rows["inherits"] = {{"1", "2"}};
  EXPECT_THAT(failure(server, sharded({listed("users", "id")})), HasSubstr("list the parent"));
  EXPECT_EQ(failure(server, sharded({listed("people", "id")})), "");
}

TEST(Catalog, FollowsDomainsToTheirBaseType) {
  Server server;
  server.table("1", "users");
  server.column("1", "id", 20002, "user_id");
  server.rows["types"] = {{"20001", "public", "any_id", "d", "20", "0", "t", "f"},
                          {"20002", "public", "user_id", "d", "20001", "0", "f", "t"}};
  const auto db = sharded({listed("users", "id")});
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  const Column& id = (*catalog)->find_relation("", "users", {"public"})->columns[0];
  EXPECT_EQ(id.type, oid::kInt8);
  EXPECT_TRUE(id.not_null);
  EXPECT_TRUE(id.has_default);
  EXPECT_FALSE((*catalog)->has_user_type("user_id")) << "a plain domain calls no user code";
}

TEST(Catalog, ADomainOverAHazardousOneIsHazardous) {
  Server server;
  server.table("1", "t");
  server.column("1", "x", 20003, "outer[]");
  server.rows["types"] = {{"20001", "public", "inner", "d", "25", "0", "f", "f"},
                          {"20002", "public", "outer", "d", "20001", "0", "f", "f"},
                          {"20003", "public", "_outer", "b", "0", "20002", "f", "f"}};
  server.rows["hazardous_types"] = {{"20001", "inner"}};
  const auto db = sharded({});
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  EXPECT_TRUE((*catalog)->has_user_type("outer"));
  EXPECT_TRUE((*catalog)->find_relation("", "t", {"public"})->runs_code_on_read);
}

// CREATE OR REPLACE lets an older view name a newer one.
TEST(Catalog, AViewOverANewerViewIsWhereThatOnesTablesAre) {
  Server server;
  server.table("1", "outer_view", "v");
  server.table("2", "inner_view", "v");
  server.table("3", "users");
  server.column("3", "id", oid::kInt8, "bigint");
  server.rows["view_dependencies"] = {{"1", "2", "f"}, {"2", "3", "f"}};
  const auto db = sharded({listed("users", "id")});
  const auto catalog = server.load(db);
  ASSERT_TRUE(catalog);
  EXPECT_EQ((*catalog)->find_relation("", "outer_view", {"public"})->placement, Placement::reaches_sharded);
}

TEST(Catalog, RefusesRowsItDoesNotUnderstand) {
  const auto db = sharded({});
  CatalogBuilder builder(db);
  const auto add = [&](std::size_t query, const CatalogRow& row) { return builder.add_row(query, row).ok(); };
  EXPECT_FALSE(add(999, {}));
  EXPECT_FALSE(add(0, {}));
  EXPECT_FALSE(add(0, {std::nullopt}));
  EXPECT_FALSE(add(3, {"x", "public", "t", "r", "f", std::nullopt}));
  EXPECT_FALSE(add(3, {"1", "public", "t", "?", "f", std::nullopt}));
  EXPECT_FALSE(add(3, {"-1", "public", "t", "r", "f", std::nullopt}));
  EXPECT_TRUE(add(3, {"1", "public", "t", "r", "f", std::nullopt}));
}

// ---- differences ----

std::vector<std::string> compared(const Server& home, const Server& other) {
  const auto db = sharded({listed("users", "id")});
  const auto a = home.load(db);
  const auto b = other.load(db);
  return a && b ? differences(**a, "s0", **b, "s1") : std::vector<std::string>{"load failed"};
}

TEST(Differences, EqualShardsHaveNone) {
  Server server;
  server.users_table();
  EXPECT_THAT(compared(server, server), IsEmpty());
}

TEST(Differences, NameColumnsTypesAndCollationsOnBothShards) {
  Server home;
  home.users_table();
  Server other = home;
  other.rows["columns"][0][3] = "integer";
  other.rows["columns"][1][4] = "pg_catalog.C";
  other.column("1", "email", oid::kText, "text");
  EXPECT_THAT(compared(home, other),
              ElementsAre(testing::AllOf(HasSubstr("email"), HasSubstr("on shard s1 but not on shard s0")),
                          testing::AllOf(HasSubstr("column id"), HasSubstr("bigint on shard s0"),
                                         HasSubstr("integer on shard s1")),
                          testing::AllOf(HasSubstr("column name"), HasSubstr("pg_catalog.C"))));
}

TEST(Differences, TheOrderOfColumnsIsOne) {
  Server home;
  home.users_table();
  Server other = home;
  std::swap(other.rows["columns"][0], other.rows["columns"][1]);
  EXPECT_THAT(compared(home, other), ElementsAre(HasSubstr("another order")));
}

TEST(Differences, EncodingAndDefaultCollationAreCompared) {
  Server home;
  home.users_table();
  Server other = home;
  other.rows["database"] = {{"LATIN1", "c/de_DE/de_DE"}};
  EXPECT_THAT(compared(home, other), ElementsAre(HasSubstr("LATIN1"), HasSubstr("de_DE")));
}

// ---- advice ----

std::vector<std::string> advised(const Server& server, const config::Database& db) {
  const auto catalog = server.load(db);
  return catalog ? advice(**catalog) : std::vector<std::string>{catalog.error().message};
}

TEST(Advice, ASoundSchemaGetsNone) {
  Server server;
  server.users_table();
  server.rows["unique_indexes"] = {{"1", "users_pkey", "f", "f", "id"}};
  EXPECT_THAT(advised(server, sharded({listed("users", "id")})), IsEmpty());
}

TEST(Advice, UniqueIndexesWithoutTheKeyAreNamedUnlessPerShard) {
  Server server;
  server.users_table();
  server.rows["unique_indexes"] = {{"1", "users_name", "f", "f", "name"}, {"1", "users_lower", "f", "t", std::nullopt}};
  auto db = sharded({listed("users", "id")});
  EXPECT_THAT(advised(server, db), ElementsAre(HasSubstr("users_name"), HasSubstr("users_lower")));
  db.tables[0].unique_per_shard = true;
  EXPECT_THAT(advised(server, db), IsEmpty());
}

TEST(Advice, SequencesNullableKeysAndCutKeysAreNamed) {
  Server server;
  server.table("1", "users");
  server.rows["columns"] = {{"1", "id", "1043", "character varying(10)", std::nullopt, "t", "f", "t", "14", "t"}};
  const auto db = sharded({listed("users", "id")});
  EXPECT_THAT(advised(server, db),
              ElementsAre(HasSubstr("sequence"), HasSubstr("NULL"), HasSubstr("character varying(10)")));
  const auto catalog = server.load(db);
  EXPECT_EQ((*catalog)->relations()[0].columns[0].max_length, 10U);
}

TEST(Advice, ForeignKeysMustStayOnOneShard) {
  Server server;
  server.users_table();
  server.table("2", "orders");
  server.column("2", "user_id", oid::kInt8, "bigint");
  server.column("2", "friend", oid::kInt8, "bigint");
  server.column("2", "country", oid::kText, "text");
  server.table("3", "countries");
  server.column("3", "code", oid::kText, "text");
  server.table("4", "local");
  server.column("4", "id", oid::kInt8, "bigint");
  server.rows["foreign_keys"] = {{"2", "by_user", "1", "user_id", "id"},
                                 {"2", "by_friend", "1", "friend", "id"},
                                 {"2", "by_country", "3", "country", "code"},
                                 {"2", "by_local", "4", "friend", "id"}};
  const auto db = sharded({listed("users", "id"), listed("orders", "user_id"), listed("countries", "")});
  EXPECT_THAT(advised(server, db), ElementsAre(HasSubstr("by_friend"), HasSubstr("by_local")));
}

TEST(Advice, MonthTablesMustBePartitionedByTheirMonthColumn) {
  Server server;
  server.users_table();
  auto db = sharded({listed("users", "id")});
  db.tables[0].month.emplace();
  db.tables[0].month->column = "created_at";
  EXPECT_THAT(advised(server, db), ElementsAre(HasSubstr("no column created_at")));
  db.tables[0].month->column = "name";
  EXPECT_THAT(advised(server, db), ElementsAre(HasSubstr("PARTITION BY RANGE (name)")));
  server.rows["relations"][0] = {"1", "public", "users", "p", "f", "name"};
  EXPECT_THAT(advised(server, db), IsEmpty());
}

}  // namespace
}  // namespace weir::schema
