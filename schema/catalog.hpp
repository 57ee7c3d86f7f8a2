// Catalog: a snapshot of what the databases contain, as far as routing needs it. Immutable; shared freely.
//
// Loaded by running catalog_queries() on a shard and feeding the rows to CatalogBuilder; whoever has a connection
// (the proxy's monitor over libpq, weirctl and the service library over libpqxx) does the I/O.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.hpp"
#include "base/strings.hpp"
#include "config/settings.hpp"
#include "schema/key.hpp"

namespace weir::schema {

struct Column {
  std::string name;
  std::uint32_t type = 0;  // base type of a domain
  std::string type_name;   // format_type() text, for comparing shards
  std::string collation;   // empty: none or default
  bool collation_deterministic = true;
  bool not_null = false;
  bool has_default = false;         // or identity / generated, or its domain's default
  std::uint32_t max_length = 0;     // varchar(n): n characters; 0: no limit. A longer value whose excess is blanks is
                                    // cut on assignment, so an INSERT of such a key must not be routed by its bytes.
  std::string default_expression;   // as pg_get_expr() shows it; "NULL": generated; empty with has_default: identity, a domain's
  bool per_shard_sequence = false;  // its default draws from a sequence (serial, identity), each shard from its own

  // GENERATED ... AS IDENTITY: OVERRIDING USER VALUE ignores what an INSERT gives for it.
  [[nodiscard]] bool is_identity() const { return per_shard_sequence && default_expression.empty(); }
};

struct UniqueIndex {
  std::string name;
  std::vector<std::string> columns;  // plain columns in the order of the index, without INCLUDE
  bool partial = false;
  bool has_expressions = false;
};

struct ForeignKey {
  std::string name;
  std::vector<std::string> columns;
  std::string references;                       // "schema.name"
  std::vector<std::string> referenced_columns;  // matches `columns`
};

enum class RelationKind { table, partitioned, partition, view, materialized_view, sequence, foreign_table };

// How a statement that names the relation is routed.
enum class Placement {
  unlisted,         // lives on the home shard
  sharded,          // listed with a key (or a partition / child of one that is)
  reference,        // the same rows on every shard
  reaches_sharded,  // a view over sharded tables: refused for now
  catalog,          // pg_catalog / information_schema
};

struct Relation {
  std::string schema;
  std::string name;
  RelationKind kind = RelationKind::table;
  std::vector<Column> columns;  // in attnum order, dropped ones left out
  std::string parent;           // "schema.name" of the partitioned table or first inheritance parent; empty: none
  std::string range_column;     // partitioned by range of this one column; empty: not, or by something else
  bool has_children = false;    // inheritance children that are no partitions of it
  // What a statement runs without naming it; also if a child does. Functions in C of an extension and weir.next_id() do
  // not count. A write may run both, a plain SELECT only the second.
  bool has_triggers = false;       // user triggers and rules; user functions in defaults, checks, generated columns,
                                   // index and partition key expressions
  bool runs_code_on_read = false;  // row security with policies, operator classes made of user functions, columns of
                                   // types that has_user_type() names, views that call user functions
  // May what they run change the session's state (settings, temporary tables, locks)? Also of a view and of what it reads.
  bool traces_on_write = false;
  bool traces_on_read = false;
  bool view_is_pure =
      false;  // a view whose text calls nothing but known read-only built-ins (CatalogBuilder cannot know: false)
  std::vector<std::vector<std::string>>
      unique_keys;                          // columns of each unique index that is neither partial nor by expressions
  std::vector<UniqueIndex> unique_indexes;  // all of them, and exclusion constraints; for advice()
  std::vector<ForeignKey> foreign_keys;     // for advice()
  Placement placement = Placement::unlisted;
  const config::Table* rule = nullptr;  // its table rule, if listed (owned by the Settings the catalog was built for)
  int key_column = -1;                  // index into columns of the sharding key
  std::optional<KeyType> key_type;

  [[nodiscard]] int column_index(std::string_view column) const;  // -1: none
  [[nodiscard]] std::string qualified() const { return schema + "." + name; }
};

// All overloads of one function name in one schema, taken together (the worst of them counts).
struct FunctionFacts {
  bool user_defined = false;  // outside pg_catalog
  bool is_volatile = false;
  bool reads_data = false;  // user-defined in a language that can run SQL and not IMMUTABLE, or a procedure; also
                            // what is known to run SQL given as text or to read a table given by name: query_to_xml,
                            // ts_stat, crosstab ... Not: C functions of extensions, weir.next_id().
  bool is_procedure = false;
  bool is_aggregate = false;
  bool leaves_trace = false;        // user-defined: may change the session's state, or nobody knows
  bool computes_setting = false;    // sets settings whose names it computes
};

class Catalog {
 public:
  // Looks a name up as PostgreSQL would: qualified by `schema`, or along `search_path` (pg_catalog first
  // unless listed). nullptr: no such relation there. Temporary tables are the session's and unknown here. Every name
  // in pg_catalog and information_schema is found when qualified (without columns), even one that is not known.
  // `search_path` holds schema names as they are: "$user" must have been replaced.
  [[nodiscard]] const Relation* find_relation(std::string_view schema, std::string_view name,
                                              const std::vector<std::string>& search_path) const;
  // The table that an index or an owned sequence belongs to; nullptr: there is none of that name, or nobody owns it.
  [[nodiscard]] const Relation* find_owner(std::string_view schema, std::string_view name,
                                           const std::vector<std::string>& search_path) const;
  // Is that a table with a rule which is not there yet?
  [[nodiscard]] bool awaits(std::string_view schema, std::string_view name) const;
  // Listed tables that do not exist yet.
  [[nodiscard]] const std::vector<const config::Table*>& awaited() const { return awaited_; }
  // Merged over all schemas a call of that name could mean. none: unknown name.
  [[nodiscard]] std::optional<FunctionFacts> find_function(std::string_view schema, std::string_view name) const;
  // True if some operator of that name may run user code: its function is neither built in nor C of an extension (so
  // citext's = does not count).
  [[nodiscard]] bool has_user_operator(std::string_view name) const;
  // True if a cast to a type of that name may run user code: domains whose checks or defaults call user functions,
  // composite and range types, types with a user-defined cast. Enums, plain domains and types of extensions in C do not
  // count.
  [[nodiscard]] bool has_user_type(std::string_view name) const;
  // May operators, casts and domains of the user's change the session's state?
  [[nodiscard]] bool hidden_code_traces() const { return hidden_code_traces_; }

  [[nodiscard]] const std::vector<std::string>& default_search_path() const { return default_search_path_; }
  // User relations; those of pg_catalog and information_schema are only found by name.
  [[nodiscard]] const std::vector<Relation>& relations() const { return relations_; }
  // "UTF8"; empty offline.
  [[nodiscard]] const std::string& encoding() const { return encoding_; }
  // The database's default collation, as text to compare: provider, LC_COLLATE, LC_CTYPE. Empty offline.
  [[nodiscard]] const std::string& default_collation() const { return default_collation_; }
  // Raised by every load that changed anything; part of the plan cache's key.
  [[nodiscard]] std::uint64_t epoch() const { return epoch_; }
  [[nodiscard]] bool sharded() const { return sharded_; }
  // By ShardId.
  [[nodiscard]] const std::vector<std::string>& shard_names() const { return shard_names_; }
  // [database.sharding] unlisted_tables = "reject": statements that name a table without a rule are refused.
  [[nodiscard]] bool rejects_unlisted() const { return rejects_unlisted_; }
  // False: built without looking at a database (weirctl route without --connect): tables are known by their
  // rules only, key types are taken as int8, every function as known built-in if it is in the built-in list.
  [[nodiscard]] bool from_database() const { return from_database_; }

  // Names of custom settings (app.user_id) that functions of the database may set.
  [[nodiscard]] const std::vector<std::string>& custom_settings() const { return custom_settings_; }

  // From the table rules alone.
  static std::shared_ptr<const Catalog> offline(const config::Database& database);

 private:
  friend class CatalogBuilder;
  Catalog();
  void take_sharding(const config::Database& database);
  void index_relations();
  void add_system_relation(std::string_view schema, std::string_view name);
  void add_function(std::string_view schema, std::string_view name, const FunctionFacts& facts);
  [[nodiscard]] const Relation* find_qualified(std::string_view schema, std::string_view name) const;

  template <class T>
  using ByName = std::unordered_map<std::string, T, StringHash, std::equal_to<>>;
  std::vector<Relation> relations_;
  // Keys are the schema's name, a NUL and the name: a dot may be part of either.
  ByName<std::size_t> by_name_;
  ByName<Relation> system_;
  ByName<std::string> owners_;                            // of indexes and owned sequences: the table's key in by_name_
  std::vector<const config::Table*> awaited_;
  ByName<FunctionFacts> functions_;
  ByName<FunctionFacts> functions_any_;                   // by the bare name
  std::vector<std::string> user_operators_, user_types_;  // sorted
  std::vector<std::string> custom_settings_;
  std::vector<std::string> shard_names_;
  std::vector<std::string> default_search_path_{"public"};
  std::string encoding_, default_collation_;
  std::uint64_t epoch_ = 0;
  bool sharded_ = false;
  bool rejects_unlisted_ = false;
  bool from_database_ = false;
  bool hidden_code_traces_ = true;
};

// One row of a catalog query; SQL NULL is nullopt. Views last as long as the call.
using CatalogRow = std::vector<std::optional<std::string_view>>;

// The queries to run (in one REPEATABLE READ READ ONLY transaction), in order. Text format results. They work on
// PostgreSQL 13 to 17 for any role, and read nothing but pg_catalog. The connection's search_path becomes the catalog's
// default.
struct CatalogQuery {
  std::string_view name;
  std::string_view sql;
};
[[nodiscard]] const std::vector<CatalogQuery>& catalog_queries();

class CatalogBuilder {
 public:
  // `database` must outlive the catalog (it is part of the same Settings snapshot).
  explicit CatalogBuilder(const config::Database& database);
  ~CatalogBuilder();
  CatalogBuilder(CatalogBuilder&&) noexcept;
  // Rows of catalog_queries()[query]. Fails on a shape it does not understand.
  Result<void> add_row(std::size_t query, const CatalogRow& row);
  // Applies the table rules. Listed tables of which there is no trace are awaited(). Fails, naming each, if a listed table exists only
  // in another schema, if its key is missing or has a type that cannot be a key, or if it is a view or the child of a table that is not
  // listed. Call once.
  Result<std::shared_ptr<const Catalog>> finish(std::uint64_t epoch);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Differences that would make answers wrong: columns, types, collations of listed tables that differ between the home
// shard and another. Each a sentence naming both shards. A partition that only one of them has is none: months are made
// shard by shard.
[[nodiscard]] std::vector<std::string> differences(const Catalog& home, std::string_view home_name,
                                                   const Catalog& other, std::string_view other_name);
// Unique keys and foreign keys that lack the sharding key, per-shard sequences as defaults of sharded tables, keys that
// may be NULL, month tables that are not partitioned by their month column; each a sentence with its remedy.
[[nodiscard]] std::vector<std::string> advice(const Catalog& catalog);

}  // namespace weir::schema
