// Binder: walks the query levels of one statement and finds out what binds the key of every sharded table (design §5).
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "router/analysis.hpp"
#include "router/analysis_graph.hpp"
#include "router/analysis_key.hpp"
#include "router/analysis_scope.hpp"
#include "router/analysis_survey.hpp"
#include "router/key_fill.hpp"

namespace weir::router {

// Queries, joins and subqueries nested deeper than this are not analysed.
inline constexpr int kMaxNesting = 400;

enum class Access : std::uint8_t { read, write };

// An item of a FROM list that is a sharded table, as the planner of statements over several shards sees it.
struct ShardedItem {
  const RangeVar* var = nullptr;
  const schema::Relation* relation = nullptr;
  KeyGraph::Node key = KeyGraph::kNone;
  const SelectStmt* query = nullptr;  // whose FROM list holds it; null: of no SELECT
  const SelectStmt* root = nullptr;   // the outermost query around that one, WITH queries apart
  bool nullable = false;              // on a side of an outer join that may be filled with NULLs
};

// What a column reference means: the column of the table that stands there.
struct ColumnMeaning {
  const RangeVar* var = nullptr;
  const schema::Relation* relation = nullptr;
  int column = 0;
  bool merged = false;  // by USING: perhaps of another type
  bool operator==(const ColumnMeaning&) const = default;
};

// A table that INSERT, UPDATE, DELETE or MERGE writes to. Null: the catalog does not know it.
struct WriteTarget {
  const RangeVar* var = nullptr;
  const schema::Relation* relation = nullptr;
};

// What kinds of relations a statement names, with one of each for messages.
struct Touched {
  std::string sharded, reference, reference_written, unlisted, catalog, reaches_sharded;  // empty: none
  std::string rejected;  // unlisted, where the configuration rejects such tables
  [[nodiscard]] bool listed() const { return !sharded.empty() || !reference.empty() || !reaches_sharded.empty(); }
  [[nodiscard]] bool home() const { return !unlisted.empty() || !catalog.empty(); }
};

class Binder {
 public:
  // All must outlive the binder. `input.catalog` is not null.
  Binder(const AnalysisInput& input, const Survey& survey);

  // SELECT, INSERT, UPDATE, DELETE, MERGE.
  void statement(Node* stmt) { query(stmt, nullptr, nullptr); }
  // An expression outside of any query.
  void expression(Node* expr);
  // A relation that a utility statement names. Null if the catalog does not know it.
  const schema::Relation* name(const RangeVar& var, Access access);
  const schema::Relation* name(std::string_view schema, std::string_view relation, Access access);
  // A table or view that the statement makes.
  void makes(const RangeVar& var);

  // When everything was shown: binds the keys. The first reason against routing, if any.
  void finish();

  [[nodiscard]] const Touched& touched() const { return touched_; }
  [[nodiscard]] const std::vector<Binding>& bindings() const { return bindings_; }
  [[nodiscard]] const std::optional<Error>& refusal() const { return refusal_; }
  // Why the key of some sharded table is not bound: the statement needs every shard.
  [[nodiscard]] const std::optional<Error>& unbound() const { return unbound_; }
  [[nodiscard]] const std::vector<ShardedItem>& sharded_items() const { return sharded_items_; }
  // Those of WITH queries first.
  [[nodiscard]] const std::vector<WriteTarget>& write_targets() const { return write_targets_; }
  // None: it cannot be told, or is no column of a table.
  [[nodiscard]] std::optional<ColumnMeaning> meaning(const ColumnRef& ref) const;
  // No column of any FROM list that it can see has that name.
  [[nodiscard]] bool is_absent(const ColumnRef& ref) const { return absent_.contains(&ref); }
  [[nodiscard]] const KeyGraph& graph() const { return graph_; }
  [[nodiscard]] const std::vector<std::string>& tables() const { return tables_; }
  [[nodiscard]] const Effects& effects() const { return effects_; }
  [[nodiscard]] bool read_only() const { return read_only_; }
  [[nodiscard]] bool too_deep() const { return too_deep_; }
  [[nodiscard]] bool calls_data_reader() const { return attribute_reads_data_; }
  [[nodiscard]] const std::vector<std::string>& why() const { return why_; }
  // How ids make an INSERT routable that lacks its key.
  [[nodiscard]] const std::optional<KeyFill>& fill() const { return fill_; }

 private:
  // A sharded table whose key must be bound: by a node of the graph, or by the values of an INSERT.
  struct Need {
    const schema::Relation* relation = nullptr;
    KeyGraph::Node node = KeyGraph::kNone;
    std::vector<KeySource> values;
    bool inserts = false;
  };
  // Which columns the conjuncts of a condition may bind: those of the level's items in [begin, end).
  struct Condition {
    Level* level;
    const Side* visible;
    std::size_t begin, end;
  };
  // Where an INSERT's key stands in the rows of its VALUES or SELECT.
  struct InsertKey {
    const schema::Relation* relation;
    std::vector<int> columns;  // per position of a row: index into relation->columns, -1: unknown
    int position;              // of the key
    bool bound = false;
    bool fills = false;        // what lacks can be filled in: the statement itself, of a table with a default_key
  };
  using Facts = std::vector<std::pair<ColumnAt, std::vector<KeySource>>>;

  // Queries (analysis_bind.cpp).
  void query(Node* stmt, const CteScope* ctes, Level* outer, InsertKey* insert = nullptr);
  void select(const SelectStmt* stmt, const CteScope* ctes, Level* outer, InsertKey* insert);
  void leaf(const SelectStmt& stmt, const CteScope* ctes, Level* outer, InsertKey* insert);
  void with(const WithClause* clause, CteScope& scope, Level* outer);
  void walk(void* root, Level& level, const CteScope* ctes);
  void carry_into(const SubLink& link, Level& level);
  void attribute(std::string_view name);
  void make_table(const RangeVar& var);
  void locking(const SelectStmt& stmt, const Level& level);

  // FROM (analysis_from.cpp).
  void from(const List* clause, Level& level, const CteScope* ctes);
  void add_from(Node* item, Level& level, const CteScope* ctes);
  Side from_item(Node* node, Level& level, const CteScope* ctes);
  Side relation_item(const RangeVar& var, Level& level, const CteScope* ctes);
  Side join(const JoinExpr& join, Level& level, const CteScope* ctes);
  void merge_using(const JoinExpr& join, Level& level, const Side& left, const Side& right, Side& both);
  void join_condition(const JoinExpr& join, Level& level, const Side& left, const Side& right, Side& both,
                      const CteScope* ctes);
  std::size_t add_table(const RangeVar& var, const schema::Relation* relation, Level& level);
  static Side opaque(std::string_view name, Level& level, bool unqualified = true);
  const schema::Relation* use(const schema::Relation* relation, std::string_view schema, std::string_view name,
                              Access access);
  void use_effects(const schema::Relation& relation, Access access);
  void reject_unlisted(const schema::Relation* relation, std::string_view schema, std::string_view name);

  // Conditions (analysis_conditions.cpp).
  void conditions(Node* expr, const Condition& where);
  void carry(const ColumnAt& left, const ColumnAt& right, const Condition& where);
  void equalities(Node* conjunct, const Condition& where);
  void compare(Node* left, Node* right, const Condition& where, Facts& facts);
  void facts_of(Node* conjunct, const Condition& where, Facts& facts);
  void disjunction(const BoolExpr& expr, const Condition& where);
  void learn(const Facts& facts, const Condition& where);
  [[nodiscard]] static bool may_bind(const ColumnAt& at, const Condition& where);
  std::optional<ColumnAt> column(Node* expr, const Condition& where);
  [[nodiscard]] static std::optional<schema::KeyType> type_of(const ColumnAt& at);
  KeyGraph::Node node_of(const ColumnAt& at);

  // Writes (analysis_modify.cpp).
  void insert(const InsertStmt& stmt, const CteScope* ctes, Level* outer);
  void insert_rows(const SelectStmt& values, InsertKey& key);
  void insert_select(const SelectStmt& stmt, Level& level, InsertKey& key);
  [[nodiscard]] static bool becomes_key(const ColumnAt& at, const schema::Relation& relation);
  std::optional<InsertKey> insert_key(const InsertStmt& stmt, const schema::Relation& relation, bool outermost);
  bool key_is_ignored(OverridingKind kind, const schema::Relation& relation);
  void refuse_without_key(const schema::Relation& relation, const std::optional<KeyFill>& fill, std::string_view with = {});
  void insert_value(const Node* value, InsertKey& key, std::vector<KeySource>& values);
  void on_conflict(const InsertStmt& stmt, const schema::Relation* relation, const CteScope* ctes, Level* outer);
  void update(const UpdateStmt& stmt, const CteScope* ctes, Level* outer);
  void remove(const DeleteStmt& stmt, const CteScope* ctes, Level* outer);
  void merge(const MergeStmt& stmt, const CteScope* ctes, Level* outer);
  void merge_insert(const MergeWhenClause& clause, const schema::Relation& relation, Level& level);
  void assignments(const List* targets, const schema::Relation* relation);
  const schema::Relation* target(const RangeVar& var, Level& level);

  void refuse(std::string message, std::string hint);
  void leave_unbound(std::string message, std::string hint);
  void make_nullable(const Side& side, const Level& level);

  const AnalysisInput& input_;
  const schema::Catalog& catalog_;
  const Survey& survey_;
  KeyReader reader_;
  KeyGraph graph_;
  std::vector<Need> needs_;
  std::unordered_set<const RangeVar*> visited_;
  Touched touched_;
  std::vector<Binding> bindings_;
  std::vector<std::string> tables_, why_;
  std::optional<Error> refusal_, unbound_;
  std::optional<KeyFill> fill_;
  std::vector<ShardedItem> sharded_items_;
  std::vector<WriteTarget> write_targets_;
  std::unordered_map<const RangeVar*, std::size_t> sharded_at_;
  std::unordered_map<const ColumnRef*, ColumnMeaning> meanings_;
  std::unordered_set<const ColumnRef*> absent_;
  const SelectStmt* root_ = nullptr;
  Effects effects_;
  bool read_only_ = true;
  bool too_deep_ = false;
  bool attribute_reads_data_ = false;
  bool locks_unknown_ = false;
  int nesting_ = 0;
};

}  // namespace weir::router
