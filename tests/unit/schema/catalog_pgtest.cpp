// The catalog queries on a real server, loaded by a role without rights, and what the builder makes of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/catalog.hpp"
#include "schema/identity.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::schema {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using tests::PgConnection;

constexpr const char* kTables = R"(
CREATE TABLE users (id bigint PRIMARY KEY, name varchar(20) NOT NULL, email text UNIQUE, born date);
CREATE TABLE orders (id bigint NOT NULL, user_id bigint NOT NULL REFERENCES users, amount numeric, PRIMARY KEY (user_id, id));
CREATE UNIQUE INDEX orders_partial ON orders (user_id) WHERE amount IS NULL;
CREATE UNIQUE INDEX orders_expression ON orders (user_id, lower(amount::text));
CREATE UNIQUE INDEX orders_covering ON orders (user_id) INCLUDE (amount);
CREATE TABLE works (user_id bigint NOT NULL, created_at timestamptz NOT NULL) PARTITION BY RANGE (created_at);
CREATE TABLE works_202401 PARTITION OF works FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') PARTITION BY RANGE (user_id);
CREATE TABLE works_202401_a PARTITION OF works_202401 FOR VALUES FROM (0) TO (MAXVALUE);
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE notes (id serial PRIMARY KEY, at int GENERATED ALWAYS AS IDENTITY, text text COLLATE "C");
CREATE TABLE people (id bigint NOT NULL);
CREATE TABLE staff (desk int) INHERITS (people);
CREATE MATERIALIZED VIEW user_names AS SELECT name FROM users;
)";

constexpr const char* kViews = R"(
CREATE VIEW v_users AS SELECT * FROM users;
CREATE VIEW v_nested AS SELECT * FROM v_users;
CREATE VIEW v_partition AS SELECT * FROM works_202401_a;
CREATE VIEW v_matview AS SELECT * FROM user_names;
CREATE VIEW v_countries AS SELECT code FROM countries;
CREATE VIEW v_countries_nested AS SELECT code FROM v_countries;
CREATE VIEW v_mixed AS SELECT code FROM countries, notes;
CREATE VIEW v_notes AS SELECT id FROM notes;
CREATE VIEW v_catalog AS SELECT relname FROM pg_class;
CREATE VIEW v_subquery AS SELECT (SELECT count(*) FROM orders) FROM notes;
)";

constexpr const char* kFunctions = R"(
CREATE FUNCTION f_sql_stable() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM users';
CREATE FUNCTION f_immutable(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE FUNCTION f_plpgsql() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION f_overloaded(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION f_overloaded(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION lower(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION f_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE PROCEDURE f_procedure() LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION f_state(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE AGGREGATE f_user_sum(int) (SFUNC = f_state, STYPE = int);
CREATE AGGREGATE f_builtin_sum(int) (SFUNC = int4pl, STYPE = int);
CREATE FUNCTION f_compare(box, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR <=!=> (LEFTARG = box, RIGHTARG = int, FUNCTION = f_compare);
CREATE VIEW v_function AS SELECT f_sql_stable();
CREATE VIEW v_immutable_function AS SELECT f_immutable(id) FROM notes;
CREATE VIEW v_aggregate AS SELECT f_user_sum(id) FROM notes;
)";

constexpr const char* kHazards = R"(
CREATE DOMAIN plain_id AS bigint CHECK (VALUE > 0);
CREATE DOMAIN checked AS int CHECK (f_immutable(VALUE) > 0);
CREATE DOMAIN checked_twice AS checked;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b int);
CREATE TABLE h_none (id plain_id PRIMARY KEY, m mood, k uuid DEFAULT gen_random_uuid(), CHECK (id > 0));
CREATE TABLE h_trigger (id bigint);
CREATE TRIGGER t BEFORE INSERT ON h_trigger FOR EACH ROW EXECUTE FUNCTION f_trigger();
CREATE TABLE h_rule (id bigint);
CREATE RULE r AS ON INSERT TO h_rule DO ALSO NOTIFY x;
CREATE TABLE h_rls (id bigint);
ALTER TABLE h_rls ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON h_rls USING (id > 0);
CREATE TABLE h_rls_denies (id bigint);
ALTER TABLE h_rls_denies ENABLE ROW LEVEL SECURITY;
CREATE TABLE h_rls_off (id bigint);
CREATE POLICY p ON h_rls_off USING (id > 0);
CREATE TABLE h_default (id bigint DEFAULT f_plpgsql());
CREATE TABLE h_check (id int CHECK (f_immutable(id) > 0));
CREATE TABLE h_generated (id int, x int GENERATED ALWAYS AS (f_immutable(id)) STORED);
CREATE TABLE h_index (id int);
CREATE INDEX ON h_index (f_immutable(id));
CREATE TABLE h_index_where (id int);
CREATE INDEX ON h_index_where (id) WHERE f_immutable(id) > 0;
CREATE TABLE h_partition_key (id int) PARTITION BY RANGE (f_immutable(id));
CREATE FUNCTION f_order(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
CREATE OPERATOR CLASS f_int_ops FOR TYPE int USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 f_order(int, int);
CREATE TABLE h_index_class (id int);
CREATE INDEX ON h_index_class (id f_int_ops);
CREATE TABLE h_partition_class (id int) PARTITION BY RANGE (id f_int_ops);
CREATE TABLE h_class_parent (id int) PARTITION BY RANGE (id);
CREATE TABLE h_class_child PARTITION OF h_class_parent FOR VALUES FROM (0) TO (9);
CREATE INDEX ON h_class_child (id f_int_ops);
CREATE TABLE h_operator (b box, CHECK (b <=!=> 1));
CREATE TABLE h_domain (x checked_twice[]);
CREATE TABLE h_next_id (id bigint DEFAULT weir.next_id());
CREATE TABLE h_parent (id int) PARTITION BY RANGE (id);
CREATE TABLE h_child PARTITION OF h_parent FOR VALUES FROM (0) TO (9);
CREATE TRIGGER t BEFORE INSERT ON h_child FOR EACH ROW EXECUTE FUNCTION f_trigger();
)";

config::Table listed(std::string name, std::string key) {
  config::Table t;
  t.name = std::move(name);
  t.reference = key.empty();
  t.key = std::move(key);
  return t;
}

config::Database database() {
  config::Database db;
  db.name = "app";
  db.sharding.emplace();
  db.tables = {listed("users", "id"), listed("orders", "user_id"), listed("works", "user_id"), listed("countries", ""),
               listed("people", "id")};
  return db;
}

Result<std::shared_ptr<const Catalog>> load(PgConnection& connection, const config::Database& db) {
  CatalogBuilder builder(db);
  connection.exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  for (std::size_t q = 0; q < catalog_queries().size(); ++q) {
    for (const auto& row : connection.exec(std::string(catalog_queries()[q].sql))) {
      if (auto ok = builder.add_row(q, CatalogRow(row.begin(), row.end())); !ok) return ok.take_error();
    }
  }
  connection.exec("COMMIT");
  return builder.finish(1);
}

// One server and one schema for all tests, which only read it.
class CatalogOnServer : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    clusters_ = new tests::Clusters(1);
    PgConnection admin(clusters_->conninfo(0));
    for (const auto& statement : init_statements({"9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11", "s0", 1}, 0))
      admin.exec(statement);
    for (const char* sql : {kTables, kViews, kFunctions, kHazards}) admin.exec(sql);
    admin.exec("CREATE ROLE reader LOGIN; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC");
    PgConnection reader(clusters_->conninfo(0));
    reader.exec("SET ROLE reader");
    const auto loaded = load(reader, *db_);
    ASSERT_TRUE(loaded) << loaded.error().message;
    catalog_ = *loaded;
  }
  static void TearDownTestSuite() {
    catalog_.reset();
    delete clusters_;
    clusters_ = nullptr;
  }
  static const Relation& relation(std::string_view name) {
    const Relation* found = catalog_->find_relation("", name, catalog_->default_search_path());
    if (found == nullptr) throw std::runtime_error("no relation " + std::string(name));
    return *found;
  }
  static const Column& column(std::string_view table, std::string_view name) {
    const Relation& r = relation(table);
    return r.columns.at(static_cast<std::size_t>(r.column_index(name)));
  }
  static Placement placement(std::string_view name) { return relation(name).placement; }

  static const config::Database* db_;
  static tests::Clusters* clusters_;
  static std::shared_ptr<const Catalog> catalog_;
};
const config::Database* CatalogOnServer::db_ = new config::Database(database());
tests::Clusters* CatalogOnServer::clusters_ = nullptr;
std::shared_ptr<const Catalog> CatalogOnServer::catalog_;

TEST_F(CatalogOnServer, ReadsSearchPathEncodingAndCollation) {
  EXPECT_THAT(catalog_->default_search_path(), ElementsAre("public"));
  EXPECT_EQ(catalog_->encoding(), "UTF8");
  EXPECT_THAT(catalog_->default_collation(), HasSubstr("c/"));
}

TEST_F(CatalogOnServer, PlacesTablesByTheirRulesAndChildrenWithTheirParents) {
  EXPECT_EQ(placement("users"), Placement::sharded);
  EXPECT_EQ(placement("works"), Placement::sharded);
  EXPECT_EQ(placement("works_202401"), Placement::sharded);
  EXPECT_EQ(placement("works_202401_a"), Placement::sharded);
  EXPECT_EQ(placement("staff"), Placement::sharded);
  EXPECT_EQ(placement("countries"), Placement::reference);
  EXPECT_EQ(placement("notes"), Placement::unlisted);
  EXPECT_EQ(relation("works_202401_a").parent, "public.works_202401");
  EXPECT_EQ(relation("works_202401_a").rule, relation("works").rule);
  EXPECT_EQ(relation("works_202401_a").key_column, 0);
  EXPECT_EQ(relation("works").range_column, "created_at");
  EXPECT_TRUE(relation("people").has_children);
  EXPECT_FALSE(relation("works").has_children);
}

TEST_F(CatalogOnServer, KnowsWhatKindEachRelationIs) {
  EXPECT_EQ(relation("users").kind, RelationKind::table);
  EXPECT_EQ(relation("works").kind, RelationKind::partitioned);
  EXPECT_EQ(relation("works_202401").kind, RelationKind::partition);
  EXPECT_EQ(relation("v_users").kind, RelationKind::view);
  EXPECT_EQ(relation("user_names").kind, RelationKind::materialized_view);
  EXPECT_EQ(relation("notes_id_seq").kind, RelationKind::sequence);
}

TEST_F(CatalogOnServer, ReadsColumnsAsTheyAre) {
  EXPECT_EQ(column("users", "id").type, oid::kInt8);
  EXPECT_TRUE(column("users", "id").not_null);
  EXPECT_EQ(column("users", "name").max_length, 20U);
  EXPECT_EQ(column("users", "name").type_name, "character varying(20)");
  EXPECT_EQ(column("users", "email").collation, "");
  EXPECT_EQ(column("notes", "text").collation, "pg_catalog.C");
  EXPECT_TRUE(column("notes", "id").per_shard_sequence);
  EXPECT_TRUE(column("notes", "at").per_shard_sequence);
  EXPECT_TRUE(column("notes", "at").has_default);
  EXPECT_FALSE(column("h_next_id", "id").per_shard_sequence);
  EXPECT_TRUE(column("h_next_id", "id").has_default);
  EXPECT_EQ(column("h_none", "id").type, oid::kInt8) << "a domain's base type";
}

TEST_F(CatalogOnServer, ReadsUniqueIndexes) {
  EXPECT_THAT(relation("users").unique_keys, UnorderedElementsAre(ElementsAre("id"), ElementsAre("email")));
  EXPECT_THAT(relation("orders").unique_keys,
              UnorderedElementsAre(ElementsAre("user_id", "id"), ElementsAre("user_id")));
  EXPECT_EQ(relation("orders").unique_indexes.size(), 4U);
}

TEST_F(CatalogOnServer, AViewIsWhereItsTablesAre) {
  for (const char* view : {"v_users", "v_nested", "v_partition", "v_matview", "user_names", "v_subquery"}) {
    EXPECT_EQ(placement(view), Placement::reaches_sharded) << view;
  }
  EXPECT_EQ(placement("v_countries"), Placement::reference);
  EXPECT_EQ(placement("v_countries_nested"), Placement::reference);
  for (const char* view : {"v_mixed", "v_notes", "v_catalog", "v_immutable_function"})
    EXPECT_EQ(placement(view), Placement::unlisted) << view;
}

TEST_F(CatalogOnServer, AViewThatCallsAReadingFunctionMayReachShardedRows) {
  EXPECT_EQ(placement("v_function"), Placement::reaches_sharded);
  EXPECT_EQ(placement("v_aggregate"), Placement::reaches_sharded);
  EXPECT_TRUE(relation("v_immutable_function").runs_code_on_read);
  EXPECT_FALSE(relation("v_users").runs_code_on_read);
}

TEST_F(CatalogOnServer, SystemRelationsAreFoundByName) {
  EXPECT_EQ(placement("pg_class"), Placement::catalog);
  EXPECT_EQ(placement("pg_stat_activity"), Placement::catalog);
  EXPECT_EQ(catalog_->find_relation("information_schema", "tables", {})->placement, Placement::catalog);
  EXPECT_EQ(catalog_->find_relation("", "tables", {"public"}), nullptr);
}

TEST_F(CatalogOnServer, FindsEveryWayToRunUserCodeOnAWrite) {
  for (const char* table : {"h_trigger", "h_rule", "h_default", "h_check", "h_generated", "h_index", "h_index_where",
                            "h_operator", "h_partition_key", "h_child", "h_parent"}) {
    EXPECT_TRUE(relation(table).has_triggers) << table;
    EXPECT_FALSE(relation(table).runs_code_on_read) << table;
  }
}

TEST_F(CatalogOnServer, FindsEveryWayToRunUserCodeOnARead) {
  for (const char* table :
       {"h_rls", "h_index_class", "h_partition_class", "h_class_child", "h_class_parent", "h_domain"})
    EXPECT_TRUE(relation(table).runs_code_on_read) << table;
}

TEST_F(CatalogOnServer, ATableOfItsOwnRunsNothing) {
  for (const char* table : {"h_none", "h_next_id", "h_rls_denies", "h_rls_off", "users", "orders", "works", "notes"}) {
    EXPECT_FALSE(relation(table).has_triggers) << table;
    EXPECT_FALSE(relation(table).runs_code_on_read) << table;
  }
}

TEST_F(CatalogOnServer, KnowsWhichFunctionsMayRead) {
  const auto reads = [&](std::string_view name) { return catalog_->find_function("", name)->reads_data; };
  for (const char* name :
       {"f_sql_stable", "f_plpgsql", "f_overloaded", "f_procedure", "f_user_sum", "lower", "query_to_xml", "ts_stat"}) {
    EXPECT_TRUE(reads(name)) << name;
  }
  for (const char* name : {"f_immutable", "f_builtin_sum", "upper", "count", "next_id"})
    EXPECT_FALSE(reads(name)) << name;
}

TEST_F(CatalogOnServer, TheWorstOverloadCounts) {
  EXPECT_TRUE(catalog_->find_function("", "f_overloaded")->is_volatile);
  EXPECT_TRUE(catalog_->find_function("", "lower")->user_defined) << "public.lower(int) may be meant";
  EXPECT_FALSE(catalog_->find_function("pg_catalog", "lower")->user_defined);
  EXPECT_TRUE(catalog_->find_function("", "f_user_sum")->is_volatile) << "its state function is";
  EXPECT_FALSE(catalog_->find_function("", "f_builtin_sum")->is_volatile);
  EXPECT_TRUE(catalog_->find_function("", "f_user_sum")->is_aggregate);
  EXPECT_TRUE(catalog_->find_function("", "f_procedure")->is_procedure);
  EXPECT_TRUE(catalog_->find_function("weir", "next_id")->is_volatile);
  EXPECT_FALSE(catalog_->find_function("", "no_such_function"));
  EXPECT_FALSE(catalog_->find_function("information_schema", "_pg_expandarray")->user_defined);
}

TEST_F(CatalogOnServer, OperatorsAndTypesCountWhenTheyRunUserCode) {
  EXPECT_TRUE(catalog_->has_user_operator("<=!=>"));
  EXPECT_FALSE(catalog_->has_user_operator("="));
  EXPECT_TRUE(catalog_->has_user_type("checked"));
  EXPECT_TRUE(catalog_->has_user_type("checked_twice"));
  EXPECT_TRUE(catalog_->has_user_type("pair"));
  EXPECT_FALSE(catalog_->has_user_type("mood"));
  EXPECT_FALSE(catalog_->has_user_type("plain_id"));
  EXPECT_FALSE(catalog_->has_user_type("int8"));
}

TEST_F(CatalogOnServer, TheBuiltInListIsThisServersForEveryFunction) {
  const auto offline = Catalog::offline(*db_);
  PgConnection reader(clusters_->conninfo(0));
  std::size_t functions = 0;
  for (const auto& row :
       reader.exec("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace")) {
    const auto a = offline->find_function("pg_catalog", *row[0]);
    const auto b = catalog_->find_function("pg_catalog", *row[0]);
    ASSERT_TRUE(a && b) << *row[0];
    EXPECT_EQ(a->is_volatile, b->is_volatile) << *row[0];
    EXPECT_EQ(a->is_aggregate, b->is_aggregate) << *row[0];
    EXPECT_EQ(a->reads_data, b->reads_data) << *row[0];
    ++functions;
  }
  EXPECT_GT(functions, 2000U);
}

TEST_F(CatalogOnServer, AdviceNamesWhatCannotHoldOverShards) {
  const auto sentences = advice(*catalog_);
  EXPECT_THAT(sentences, UnorderedElementsAre(HasSubstr("users_email_key")));
}

TEST_F(CatalogOnServer, AForeignKeyWithoutTheKeyIsNamed) {
  PgConnection admin(clusters_->conninfo(0));
  admin.exec(
      "CREATE TABLE gifts (user_id bigint NOT NULL, giver bigint REFERENCES users (id), taker bigint, code text "
      "REFERENCES countries)");
  config::Database db = *db_;
  db.tables.push_back(listed("gifts", "user_id"));
  const auto loaded = load(admin, db);
  admin.exec("DROP TABLE gifts");
  ASSERT_TRUE(loaded);
  EXPECT_THAT(advice(**loaded), Contains(HasSubstr("gifts_giver_fkey")));
  EXPECT_THAT(advice(**loaded), testing::Not(Contains(HasSubstr("gifts_code_fkey"))));
}

TEST_F(CatalogOnServer, AChangedTableIsADifference) {
  PgConnection admin(clusters_->conninfo(0));
  admin.exec("ALTER TABLE countries ALTER name TYPE varchar(5)");
  const auto changed = load(admin, *db_);
  admin.exec("ALTER TABLE countries ALTER name TYPE text");
  ASSERT_TRUE(changed);
  EXPECT_THAT(differences(*catalog_, "s0", **changed, "s1"),
              ElementsAre(HasSubstr("character varying(5) on shard s1")));
  const auto same = load(admin, *db_);
  EXPECT_THAT(differences(*catalog_, "s0", **same, "s1"), testing::IsEmpty());
}

}  // namespace
}  // namespace weir::schema
