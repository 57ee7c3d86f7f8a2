#include "router/analysis_bind.hpp"

#include <algorithm>

#include "base/strings.hpp"
#include "router/classify.hpp"

namespace weir::router {
namespace {

constexpr std::size_t kMaxTables = 64;  // listed in a plan

// Counts how deep queries and joins are nested.
class Nesting {
 public:
  explicit Nesting(int& depth) : depth_(depth) { ++depth_; }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  [[nodiscard]] bool too_deep() const { return depth_ > kMaxNesting; }

 private:
  int& depth_;
};

// A relation's name for messages: qualified, if the catalog knows it or the statement does so.
std::string shown(const schema::Relation* relation, std::string_view schema, std::string_view name) {
  if (relation != nullptr && !relation->name.empty()) return relation->qualified();
  return schema.empty() ? std::string(name) : concat(schema, ".", name);
}

void keep_first(std::string& slot, const std::string& name) {
  if (slot.empty()) slot = name;
}

}  // namespace

Binder::Binder(const AnalysisInput& input, const Survey& survey)
    : input_(input), catalog_(*input.catalog), survey_(survey), reader_(input, survey) {}

void Binder::refuse(std::string message, std::string hint) {
  if (!refusal_) refusal_ = Error(sqlstate::kFeatureNotSupported, std::move(message), std::move(hint));
}

void Binder::leave_unbound(std::string message, std::string hint) {
  if (!unbound_) unbound_ = Error(sqlstate::kFeatureNotSupported, std::move(message), std::move(hint));
}

std::optional<ColumnMeaning> Binder::meaning(const ColumnRef& ref) const {
  const auto found = meanings_.find(&ref);
  return found == meanings_.end() ? std::nullopt : std::optional(found->second);
}

void Binder::query(Node* stmt, const CteScope* ctes, Level* outer, InsertKey* insert_into) {
  const Nesting nesting(nesting_);
  too_deep_ |= nesting.too_deep();
  if (too_deep_ || stmt == nullptr) return;
  switch (stmt->type) {
    case T_SelectStmt:
      return select(reinterpret_cast<SelectStmt*>(stmt), ctes, outer, insert_into);
    case T_InsertStmt:
      return insert(*reinterpret_cast<InsertStmt*>(stmt), ctes, outer);
    case T_UpdateStmt:
      return update(*reinterpret_cast<UpdateStmt*>(stmt), ctes, outer);
    case T_DeleteStmt:
      return remove(*reinterpret_cast<DeleteStmt*>(stmt), ctes, outer);
    case T_MergeStmt:
      return merge(*reinterpret_cast<MergeStmt*>(stmt), ctes, outer);
    default:
      return refuse("this kind of query cannot be routed", "Run it on a shard's database directly.");
  }
}

// Each CTE of a plain WITH sees those before it; of WITH RECURSIVE, all.
void Binder::with(const WithClause* clause, CteScope& scope, Level* outer) {
  if (clause == nullptr) return;
  const pg::ListOf<CommonTableExpr> ctes(clause->ctes);
  if (clause->recursive)
    for (const CommonTableExpr* cte : ctes) scope.names.push_back(pg::text(cte->ctename));
  for (const CommonTableExpr* cte : ctes) {
    query(cte->ctequery, &scope, outer);
    if (cte->cycle_clause != nullptr) {
      expression(cte->cycle_clause->cycle_mark_value);
      expression(cte->cycle_clause->cycle_mark_default);
    }
    if (!clause->recursive) scope.names.push_back(pg::text(cte->ctename));
  }
}

void Binder::select(const SelectStmt* stmt, const CteScope* ctes, Level* outer, InsertKey* insert_into) {
  std::deque<CteScope> scopes;  // addresses stay
  // Chains of UNION are left-deep: a loop along the left arms.
  for (;; stmt = stmt->larg) {
    if (stmt->withClause != nullptr) {
      scopes.push_back({{}, ctes});
      with(stmt->withClause, scopes.back(), outer);
      ctes = &scopes.back();
    }
    if (stmt->op == SETOP_NONE) return leaf(*stmt, ctes, outer, insert_into);
    insert_into = nullptr;  // the key of each arm's rows would have to be bound
    query(reinterpret_cast<Node*>(stmt->rarg), ctes, outer);
    if (too_deep_) return;
    Level output(outer);  // ORDER BY and LIMIT see output columns, which nobody knows here
    opaque({}, output);
    for (void* part : {static_cast<void*>(stmt->sortClause), static_cast<void*>(stmt->limitOffset),
                       static_cast<void*>(stmt->limitCount)})
      walk(part, output, ctes);
  }
}

void Binder::leaf(const SelectStmt& stmt, const CteScope* ctes, Level* outer, InsertKey* insert_into) {
  Level level(outer);
  level.query = &stmt;
  const SelectStmt* around = std::exchange(root_, root_ == nullptr ? &stmt : root_);
  from(stmt.fromClause, level, ctes);
  conditions(stmt.whereClause, {&level, &level.all, 0, level.items.size()});
  for (void* part :
       {static_cast<void*>(stmt.targetList), static_cast<void*>(stmt.whereClause), static_cast<void*>(stmt.groupClause),
        static_cast<void*>(stmt.havingClause), static_cast<void*>(stmt.windowClause),
        static_cast<void*>(stmt.distinctClause), static_cast<void*>(stmt.valuesLists),
        static_cast<void*>(stmt.sortClause), static_cast<void*>(stmt.limitOffset), static_cast<void*>(stmt.limitCount)})
    walk(part, level, ctes);
  if (stmt.intoClause != nullptr && stmt.intoClause->rel != nullptr) make_table(*stmt.intoClause->rel);
  locking(stmt, level);
  root_ = around;
  if (insert_into == nullptr) return;
  if (stmt.valuesLists != nullptr) return insert_rows(stmt, *insert_into);
  insert_select(stmt, level, *insert_into);
}

// SELECT INTO. A temporary table of a listed name would hide the listed one.
void Binder::make_table(const RangeVar& var) {
  read_only_ = false;
  makes(var);
  const schema::Relation* existing = name(var, Access::write);
  if (existing == nullptr || existing->rule == nullptr) return;
  refuse(concat("SELECT INTO ", existing->qualified(), ": that is a listed table"), "Give the new table another name.");
}

namespace {

// Each of its rows is made of one row of its FROM list, and none is left out but by WHERE.
bool is_plain(const SelectStmt& select) {
  return select.op == SETOP_NONE && select.valuesLists == nullptr && select.groupClause == nullptr &&
         select.havingClause == nullptr && select.limitCount == nullptr && select.limitOffset == nullptr &&
         select.withClause == nullptr && select.distinctClause == nullptr;
}

}  // namespace

// Finds the subqueries of an expression (or a list of them). Not recursive but for the subqueries.
void Binder::walk(void* root, Level& level, const CteScope* ctes) {
  std::vector<Node*> pending;
  if (root != nullptr) pending.push_back(static_cast<Node*>(root));
  while (!pending.empty() && !too_deep_) {
    Node* node = pending.back();
    pending.pop_back();
    if (auto* link = pg::as<SubLink>(node, T_SubLink)) {
      if (link->testexpr != nullptr) pending.push_back(link->testexpr);
      query(link->subselect, ctes, &level);
      carry_into(*link, level);
      continue;
    }
    if (const auto* ref = pg::as<ColumnRef>(node, T_ColumnRef)) {
      const pg::ListOf<> fields(ref->fields);
      if (fields.size() < 2 && !catalog_.sharded()) continue;
      const Resolved resolved = resolve_column(*ref, level, level.all);
      if (resolved.state == Lookup::found) {
        const Item& item = resolved.at.level->items[resolved.at.item];
        meanings_.try_emplace(ref, ColumnMeaning{item.var, item.relation, resolved.at.column, resolved.merged});
      } else if (fields.size() > 1) {
        attribute(pg::text(fields[fields.size() - 1]));
      } else if (resolved.state == Lookup::absent) {
        absent_.insert(ref);
      }
      continue;
    }
    if (const auto* indirection = pg::as<A_Indirection>(node, T_A_Indirection))
      for (Node* step : pg::ListOf<>(indirection->indirection)) attribute(pg::text(step));
    if (pg::walker_knows(node->type)) pg::children_of(node, pending);
  }
}

// column IN (SELECT key FROM ...): of the subquery's rows only those with the column's value matter, if the column is not
// NULL (for then it matters whether there are rows at all).
void Binder::carry_into(const SubLink& link, Level& level) {
  const auto* inner = pg::as<SelectStmt>(link.subselect, T_SelectStmt);
  const auto* test = pg::as<ColumnRef>(link.testexpr, T_ColumnRef);
  if (link.subLinkType != ANY_SUBLINK || inner == nullptr || test == nullptr || !is_plain(*inner)) return;
  if (catalog_.has_user_operator("=") || (link.operName != nullptr && !reader_.is_builtin_operator(link.operName, "="))) return;
  const pg::ListOf<ResTarget> targets(inner->targetList);
  const auto* value = targets.size() != 1 ? nullptr : pg::as<ColumnRef>(targets[0]->val, T_ColumnRef);
  const auto meant = value == nullptr ? std::nullopt : meaning(*value);
  const auto at = meant ? sharded_at_.find(meant->var) : sharded_at_.end();
  if (at == sharded_at_.end()) return;
  const ShardedItem& item = sharded_items_[at->second];
  if (item.query != inner || item.nullable || meant->column != item.relation->key_column) return;
  const Resolved outer = resolve_column(*test, level, level.all);
  if (outer.state != Lookup::found || outer.at.level != &level) return;
  const auto tested = sharded_at_.find(level.items[outer.at.item].var);
  if (tested == sharded_at_.end() || sharded_items_[tested->second].nullable || !column_of(outer.at).not_null) return;
  const auto left = type_of(outer.at), right = schema::key_type_of(item.relation->columns[static_cast<std::size_t>(meant->column)].type);
  if (left && right && family_of(*left) == family_of(*right)) graph_.implies(node_of(outer.at), item.key);
}

// "row.name" calls the function name(row) if the row has no such column.
void Binder::attribute(std::string_view name) {
  if (name.empty()) return;
  const auto facts = catalog_.find_function({}, name);
  if (!facts || !facts->user_defined) return;
  if (facts->leaves_trace) effects_.add(kOpaqueEffects);
  if (facts->computes_setting) effects_.taints = effects_.pins = true;
  read_only_ &= !facts->is_volatile;
  attribute_reads_data_ |= facts->reads_data;
}

void Binder::expression(Node* expr) {
  Level none(nullptr);
  opaque({}, none);
  walk(expr, none, nullptr);
}

// A reference table's rows lie on every shard, and a lock on one of them keeps nobody away from the others.
void Binder::locking(const SelectStmt& stmt, const Level& level) {
  const pg::ListOf<LockingClause> clauses(stmt.lockingClause);
  for (const LockingClause* clause : clauses) {
    for (const Item& item : level.items) {
      bool named = clause->lockedRels == nullptr;
      for (const RangeVar* of : pg::ListOf<RangeVar>(clause->lockedRels)) named |= pg::text(of->relname) == item.name;
      if (!named) continue;
      locks_unknown_ |= item.relation == nullptr;
      if (item.relation == nullptr || item.relation->placement != schema::Placement::reference) continue;
      refuse(concat("FOR UPDATE / SHARE of reference table ", item.relation->qualified(), " cannot be routed"),
             "Its rows are on every shard. Name the other tables: FOR UPDATE OF ...");
    }
  }
}

void Binder::finish() {
  graph_.solve([this](const KeySource& source) { return reader_.usable(source); });
  if (locks_unknown_ && !touched_.reference.empty())
    refuse(concat("FOR UPDATE / SHARE of a subquery cannot be routed beside reference table ", touched_.reference),
           "Name the tables to be locked: FOR UPDATE OF ...");
  if (!catalog_.sharded()) return;
  for (const RangeVar* var : survey_.relations)
    if (!visited_.contains(var))
      refuse(concat("table ", pg::text(var->relname), " stands where it cannot be routed"),
             "Run the statement on a shard's database directly, and please report it.");
  for (const Need& need : needs_) {
    const std::vector<KeySource>* values = need.values.empty() ? graph_.values(need.node) : &need.values;
    const std::string& key = need.relation->columns[static_cast<std::size_t>(need.relation->key_column)].name;
    const std::string table = need.relation->qualified();
    if (values == nullptr)
      leave_unbound(concat("nothing binds the sharding key ", key, " of table ", table, " to a value"),
             concat("Add a condition \"", key,
                    " = ...\" with a constant or parameter to the part of the query that names ", table, "."));
    else if (!std::all_of(values->begin(), values->end(), [this](const KeySource& s) { return reader_.usable(s); }))
      leave_unbound(concat("the parameter that binds the sharding key ", key, " of table ", table, " may have another type"),
             "It is used elsewhere in the statement, too: declare the parameter's type, or cast it each time.");
    else
      bindings_.push_back({table, *values, need.inserts});
  }
}

const schema::Relation* Binder::name(const RangeVar& var, Access access) {
  visited_.insert(&var);
  const std::string_view schema = pg::text(var.schemaname), relation = pg::text(var.relname);
  if (!is_temporary(var)) return name(schema, relation, access);
  return use(catalog_.find_relation(schema, relation, input_.search_path), schema, relation, access);
}

void Binder::makes(const RangeVar& var) {
  if (!catalog_.rejects_unlisted() || is_temporary(var)) return;
  const std::string_view schema = pg::text(var.schemaname), relation = pg::text(var.relname);
  const schema::Relation* existing = catalog_.find_relation(schema, relation, input_.search_path);
  if (existing != nullptr && existing->rule != nullptr) return;
  keep_first(touched_.rejected, shown(existing, schema, relation));
}

const schema::Relation* Binder::name(std::string_view schema, std::string_view relation, Access access) {
  const schema::Relation* found = catalog_.find_relation(schema, relation, input_.search_path);
  reject_unlisted(found, schema, relation);
  return use(found, schema, relation, access);
}

namespace {

// System views that show this very server or session: a replica's answer would be another.
bool shows_the_server(std::string_view name) {
  for (const std::string_view prefix :
       {"pg_stat", "pg_lock", "pg_prepared", "pg_cursors", "pg_replication", "pg_settings", "pg_file_settings",
        "pg_hba", "pg_ident_file", "pg_shmem", "pg_backend", "pg_sequences", "pg_largeobject"})
    if (name.starts_with(prefix)) return true;
  return false;
}

}  // namespace

const schema::Relation* Binder::use(const schema::Relation* relation, std::string_view schema, std::string_view name,
                                    Access access) {
  const std::string qualified = shown(relation, schema, name);
  if (tables_.size() < kMaxTables && std::find(tables_.begin(), tables_.end(), qualified) == tables_.end())
    tables_.push_back(qualified);
  if (relation == nullptr && catalog_.awaits(schema, name) && !refusal_)
    refusal_ = Error(SqlState("42P01"), concat("relation \"", qualified, "\" does not exist"),
                     "It is listed in weir.toml. If it was made just now, the catalog is being loaded: try again behind COMMIT.");
  if (relation == nullptr) {
    keep_first(touched_.unlisted, qualified);
    if (!catalog_.from_database()) return nullptr;
    effects_.taints = true;  // made since the catalog was loaded, and made of anything
    read_only_ = false;
    return nullptr;
  }
  use_effects(*relation, access);
  switch (relation->placement) {
    case schema::Placement::unlisted:
      keep_first(touched_.unlisted, qualified);
      break;
    case schema::Placement::sharded:
      keep_first(touched_.sharded, qualified);
      break;
    case schema::Placement::reference:
      keep_first(access == Access::write ? touched_.reference_written : touched_.reference, qualified);
      keep_first(touched_.reference, qualified);
      break;
    case schema::Placement::reaches_sharded:
      keep_first(touched_.reaches_sharded, qualified);
      break;
    case schema::Placement::catalog:
      keep_first(touched_.catalog, qualified);
      if (shows_the_server(name)) read_only_ = false;
      break;
  }
  return relation;
}

void Binder::use_effects(const schema::Relation& relation, Access access) {
  if (relation.placement == schema::Placement::catalog) {
    read_only_ &= access == Access::read;
    effects_.taints |= access == Access::write;
    return;
  }
  const bool impure_view = relation.kind == schema::RelationKind::view && !relation.view_is_pure;
  const bool triggers = access == Access::write && relation.has_triggers;
  if (relation.traces_on_read || (access == Access::write && relation.traces_on_write)) effects_.add(kOpaqueEffects);
  if (!impure_view && !triggers && !relation.runs_code_on_read) return;
  read_only_ = false;
  why_.push_back(concat(relation.qualified(),
                        impure_view ? " is a view"
                        : triggers  ? " has triggers, rules or expressions that call user functions"
                                    : " has policies, or columns or indexes that call user functions",
                        ": it may run anything"));
}

// A bare name that a database's catalog does not know may be a temporary table's, so it goes home; one with a schema is
// none, and offline only listed tables are known.
void Binder::reject_unlisted(const schema::Relation* relation, std::string_view schema, std::string_view name) {
  if (!catalog_.rejects_unlisted() || schema.starts_with("pg_temp")) return;
  if (relation == nullptr && schema.empty() && catalog_.from_database()) return;
  const bool listable = relation == nullptr || (relation->placement == schema::Placement::unlisted &&
                                                relation->kind != schema::RelationKind::sequence);
  if (listable) keep_first(touched_.rejected, shown(relation, schema, name));
}

}  // namespace weir::router
