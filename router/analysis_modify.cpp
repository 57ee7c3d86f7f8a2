// Writes: the keys of INSERT's rows, and what UPDATE, DELETE and MERGE may not do.
#include <algorithm>

#include "base/strings.hpp"
#include "router/analysis_bind.hpp"
#include "schema/quote.hpp"

namespace weir::router {
namespace {

std::string key_name(const schema::Relation& relation) {
  return relation.columns[static_cast<std::size_t>(relation.key_column)].name;
}

bool is_sharded(const schema::Relation* relation) {
  return relation != nullptr && relation->placement == schema::Placement::sharded;
}

bool fills_key(const schema::Relation& relation) { return relation.rule != nullptr && relation.rule->fills_key; }

// weir.next_id()
bool is_next_id(const Node* value) {
  const auto* call = pg::as<FuncCall>(value, T_FuncCall);
  const pg::ListOf<> name(call == nullptr ? nullptr : call->funcname);
  const auto part = [&](std::size_t i) { return std::string_view(reinterpret_cast<const String*>(name[i])->sval); };
  return name.size() == 2 && part(0) == "weir" && part(1) == "next_id";
}

// Rows that stand in the statement itself.
bool is_values(const Node* source) {
  const auto* select = pg::as<SelectStmt>(source, T_SelectStmt);
  return select != nullptr && select->valuesLists != nullptr && select->sortClause == nullptr && select->limitCount == nullptr &&
         select->limitOffset == nullptr && select->withClause == nullptr;
}

}  // namespace

// The table that a statement writes to is never a CTE, whatever its name.
const schema::Relation* Binder::target(const RangeVar& var, Level& level) {
  const schema::Relation* relation = name(var, Access::write);
  read_only_ = false;
  add_table(var, relation, level);
  write_targets_.push_back({&var, relation});
  return relation;
}

void Binder::insert(const InsertStmt& stmt, const CteScope* ctes, Level* outer) {
  CteScope scope{{}, ctes};
  with(stmt.withClause, scope, outer);
  Level level(outer);
  const std::size_t needs = needs_.size();
  const schema::Relation* relation = target(*stmt.relation, level);
  needs_.resize(needs);  // rows are put in, not looked for
  std::optional<InsertKey> key;
  if (is_sharded(relation)) key = insert_key(stmt, *relation, outer == nullptr && ctes == nullptr);
  if (stmt.selectStmt != nullptr) query(stmt.selectStmt, &scope, outer, key ? &*key : nullptr);
  if (key && !key->bound)
    refuse(concat("INSERT into ", relation->qualified(), ": its SELECT does not bind the sharding key ",
                  key_name(*relation)),
           "Select a constant, a parameter or the bound key of another table as the key; or read the rows first and "
           "insert "
           "them with VALUES.");
  on_conflict(stmt, relation, &scope, outer);
  walk(stmt.returningList, level, &scope);
}

std::optional<Binder::InsertKey> Binder::insert_key(const InsertStmt& stmt, const schema::Relation& relation, bool outermost) {
  InsertKey key{&relation, {}, -1, false, false};
  const bool all_defaults = stmt.selectStmt == nullptr;
  key.fills = fills_key(relation) && input_.alone && outermost && (all_defaults || is_values(stmt.selectStmt));
  for (const ResTarget* column : pg::ListOf<ResTarget>(stmt.cols)) {
    int index = relation.column_index(pg::text(column->name));
    if (column->indirection != nullptr) index = -1;
    if (index == relation.key_column) key.position = static_cast<int>(key.columns.size());
    key.columns.push_back(index);
  }
  if (stmt.cols == nullptr && catalog_.from_database()) {
    for (std::size_t i = 0; i < relation.columns.size(); ++i) key.columns.push_back(static_cast<int>(i));
    key.position = relation.key_column;
  }
  if (key_is_ignored(stmt.override, relation)) return std::nullopt;
  if (key.position >= 0 && stmt.selectStmt != nullptr) return key;
  if (stmt.cols == nullptr && stmt.selectStmt != nullptr) {
    refuse(concat("INSERT into ", relation.qualified(), " without a list of columns: their order is not known"),
           "Name the columns.");
  } else {
    const auto how = all_defaults ? KeyFill::How::values : KeyFill::How::append;
    const KeyFill fill{how, schema::quote_ident(key_name(relation)), 0};
    refuse_without_key(relation, key.fills ? std::optional(fill) : std::nullopt);
  }
  return std::nullopt;
}

// The row's key would be drawn from a sequence.
bool Binder::key_is_ignored(OverridingKind kind, const schema::Relation& relation) {
  const bool ignored = kind == OVERRIDING_USER_VALUE && relation.columns[static_cast<std::size_t>(relation.key_column)].is_identity();
  if (ignored)
    refuse(concat("INSERT into ", relation.qualified(), " OVERRIDING USER VALUE, which ignores the value of its sharding key ", key_name(relation)),
           "Leave OVERRIDING USER VALUE out.");
  return ignored;
}

void Binder::refuse_without_key(const schema::Relation& relation, const std::optional<KeyFill>& fill, std::string_view with) {
  const std::string name = key_name(relation);
  std::string hint = concat("Give a value for ", name);
  if (fills_key(relation))
    hint += "; the table's default_key fills in rows of an INSERT ... VALUES that is a statement of its own, sent alone.";
  else
    hint += relation.key_type == schema::KeyType::int8 ? ", or let Weir do so: default_key = \"weir.next_id\" of the table in weir.toml." : ".";
  refuse(concat("INSERT into ", relation.qualified(), with, with.empty() ? " without its sharding key " : " as its sharding key ", name), std::move(hint));
  if (fill && !fill_) fill_ = fill;
}

void Binder::insert_value(const Node* value, InsertKey& key, std::vector<KeySource>& values) {
  const schema::Relation& relation = *key.relation;
  const schema::Column& column = relation.columns[static_cast<std::size_t>(relation.key_column)];
  if (pg::is(value, T_SetToDefault) || is_next_id(value)) {
    const KeyFill fill{KeyFill::How::replace, column.name, static_cast<std::uint32_t>(key.position)};
    return refuse_without_key(relation, key.fills ? std::optional(fill) : std::nullopt,
                              pg::is(value, T_SetToDefault) ? " with DEFAULT" : " with weir.next_id()");
  }
  auto source = relation.key_type ? reader_.read(value, *relation.key_type) : std::nullopt;
  if (!source)
    return refuse(concat("INSERT into ", relation.qualified(), ": the sharding key ", column.name,
                         " is not a constant or parameter of its type"),
                  "Compute the key in the application, and give it as a constant or parameter.");
  source->max_length = column.max_length;
  values.push_back(std::move(*source));
}

void Binder::insert_rows(const SelectStmt& values, InsertKey& key) {
  key.bound = true;  // or refused with a better reason
  std::vector<KeySource> sources;
  for (List* row : pg::ListOf<List>(values.valuesLists)) {
    const pg::ListOf<> cells(row);
    if (static_cast<std::size_t>(key.position) >= cells.size())
      return refuse(
          concat("INSERT into ", key.relation->qualified(), " without its sharding key ", key_name(*key.relation)),
          concat("Give a value for ", key_name(*key.relation), "."));
    insert_value(cells[static_cast<std::size_t>(key.position)], key, sources);
    // A parameter in another column of the same type does not cast doubt on the key's.
    for (std::size_t i = 0; i < cells.size() && i < key.columns.size(); ++i) {
      if (!pg::is(cells[i], T_ParamRef) || key.columns[i] < 0) continue;
      const auto type = schema::key_type_of(key.relation->columns[static_cast<std::size_t>(key.columns[i])].type);
      if (type) (void)reader_.read(cells[i], *type);
    }
  }
  if (!sources.empty()) needs_.push_back({key.relation, KeyGraph::kNone, std::move(sources), true});
}

// A value of that column is stored as it is, and lies where its equals do.
bool Binder::becomes_key(const ColumnAt& at, const schema::Relation& relation) {
  const schema::Column& key = relation.columns[static_cast<std::size_t>(relation.key_column)];
  const auto type = type_of(at);
  const bool same_type = type && relation.key_type && family_of(*type) == family_of(*relation.key_type);
  const bool cut = key.max_length != 0 && column_of(at).max_length != key.max_length;
  return same_type && !cut && key.not_null;
}

// INSERT ... SELECT: the key's output column is a constant, or the bound column of a table.
void Binder::insert_select(const SelectStmt& stmt, Level& level, InsertKey& key) {
  const pg::ListOf<ResTarget> targets(stmt.targetList);
  const auto position = static_cast<std::size_t>(key.position);
  if (position >= targets.size()) return;
  for (std::size_t i = 0; i <= position; ++i) {
    const auto* ref = pg::as<ColumnRef>(targets[i]->val, T_ColumnRef);
    const pg::ListOf<> fields(ref == nullptr ? nullptr : ref->fields);
    if (fields.size() > 0 && pg::is(fields[fields.size() - 1], T_A_Star)) return;  // as many columns as the table has
    const auto* indirection = pg::as<A_Indirection>(targets[i]->val, T_A_Indirection);
    for (Node* step : pg::ListOf<>(indirection == nullptr ? nullptr : indirection->indirection))
      if (pg::is(step, T_A_Star)) return;
  }
  Node* value = targets[position]->val;
  const auto at = column(value, {&level, &level.all, 0, 0});
  if (!at) {
    // What a bare parameter of a SELECT list becomes depends on DISTINCT, GROUP BY and the like.
    if (!pg::is(value, T_ParamRef) &&
        (pg::is(value, T_A_Const) || pg::is(value, T_TypeCast) || pg::is(value, T_A_Expr))) {
      std::vector<KeySource> sources;
      insert_value(value, key, sources);
      if (!sources.empty()) needs_.push_back({key.relation, KeyGraph::kNone, std::move(sources), true});
      key.bound = true;
    }
    return;
  }
  if (!becomes_key(*at, *key.relation)) return;
  needs_.push_back({key.relation, node_of(*at), {}, false});  // NOT NULL, and no row without a value
  key.bound = true;
}

void Binder::on_conflict(const InsertStmt& stmt, const schema::Relation* relation, const CteScope* ctes, Level* outer) {
  const OnConflictClause* clause = stmt.onConflictClause;
  if (clause == nullptr) return;
  Level level(outer);
  Item item;
  item.name =
      stmt.relation->alias != nullptr ? pg::text(stmt.relation->alias->aliasname) : pg::text(stmt.relation->relname);
  level.add(std::move(item));
  opaque("excluded", level, false);
  if (clause->infer != nullptr) {
    walk(clause->infer->indexElems, level, ctes);
    walk(clause->infer->whereClause, level, ctes);
  }
  assignments(clause->targetList, relation);
  walk(clause->targetList, level, ctes);
  walk(clause->whereClause, level, ctes);
}

void Binder::assignments(const List* targets, const schema::Relation* relation) {
  if (!is_sharded(relation)) return;
  for (const ResTarget* set : pg::ListOf<ResTarget>(targets)) {
    const int index = relation->column_index(pg::text(set->name));
    if (index == relation->key_column)
      return refuse(concat("UPDATE of the sharding key ", key_name(*relation), " of table ", relation->qualified()),
                    "Delete the row and insert it with the new key; a later version may move it.");
    const auto type =
        index < 0 ? std::nullopt : schema::key_type_of(relation->columns[static_cast<std::size_t>(index)].type);
    if (type && pg::is(set->val, T_ParamRef) && set->indirection == nullptr) (void)reader_.read(set->val, *type);
  }
}

void Binder::update(const UpdateStmt& stmt, const CteScope* ctes, Level* outer) {
  CteScope scope{{}, ctes};
  with(stmt.withClause, scope, outer);
  Level level(outer);
  const schema::Relation* relation = target(*stmt.relation, level);
  from(stmt.fromClause, level, &scope);
  conditions(stmt.whereClause, {&level, &level.all, 0, level.items.size()});
  assignments(stmt.targetList, relation);
  for (void* part : {static_cast<void*>(stmt.targetList), static_cast<void*>(stmt.whereClause),
                     static_cast<void*>(stmt.returningList)})
    walk(part, level, &scope);
}

void Binder::remove(const DeleteStmt& stmt, const CteScope* ctes, Level* outer) {
  CteScope scope{{}, ctes};
  with(stmt.withClause, scope, outer);
  Level level(outer);
  target(*stmt.relation, level);
  from(stmt.usingClause, level, &scope);
  conditions(stmt.whereClause, {&level, &level.all, 0, level.items.size()});
  walk(stmt.whereClause, level, &scope);
  walk(stmt.returningList, level, &scope);
}

// Rows of the target matter where the join condition holds. Those of the source all do, if what does not match is inserted.
void Binder::merge(const MergeStmt& stmt, const CteScope* ctes, Level* outer) {
  CteScope scope{{}, ctes};
  with(stmt.withClause, scope, outer);
  Level level(outer);
  const schema::Relation* relation = target(*stmt.relation, level);
  add_from(stmt.sourceRelation, level, &scope);
  bool inserts = false;
  for (const MergeWhenClause* clause : pg::ListOf<MergeWhenClause>(stmt.mergeWhenClauses)) {
    inserts |= clause->commandType == CMD_INSERT;
    if (clause->commandType == CMD_UPDATE) assignments(clause->targetList, relation);
    if (clause->commandType == CMD_INSERT && is_sharded(relation)) merge_insert(*clause, *relation, level);
  }
  conditions(stmt.joinCondition, {&level, &level.all, 0, inserts ? 1 : level.items.size()});
  walk(stmt.joinCondition, level, &scope);
  walk(stmt.mergeWhenClauses, level, &scope);
}

// The new row's key: a column of the source, or a constant.
void Binder::merge_insert(const MergeWhenClause& clause, const schema::Relation& relation, Level& level) {
  InsertKey key{&relation, {}, relation.key_column, false, false};
  if (key_is_ignored(clause.override, relation)) return;
  const pg::ListOf<ResTarget> columns(clause.targetList);
  if (columns.size() > 0) key.position = -1;
  for (std::size_t i = 0; i < columns.size(); ++i)
    if (relation.column_index(pg::text(columns[i]->name)) == relation.key_column) key.position = static_cast<int>(i);
  const pg::ListOf<> values(clause.values);
  const bool known = columns.size() > 0 || catalog_.from_database();
  if (!known || key.position < 0 || static_cast<std::size_t>(key.position) >= values.size()) return refuse_without_key(relation, std::nullopt);
  Node* value = values[static_cast<std::size_t>(key.position)];
  if (const auto at = column(value, {&level, &level.all, 0, 0})) {
    if (!becomes_key(*at, relation))
      refuse(concat("MERGE into ", relation.qualified(), ": the column that becomes its sharding key ", key_name(relation), " is of another type"),
             "Read the rows first, and insert them with VALUES.");
    return needs_.push_back({&relation, node_of(*at), {}, false});
  }
  std::vector<KeySource> sources;
  insert_value(value, key, sources);
  if (!sources.empty()) needs_.push_back({&relation, KeyGraph::kNone, std::move(sources), true});
}

}  // namespace weir::router
