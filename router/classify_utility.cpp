// Utility statements: what each names. A kind that is not listed here would have to run on every shard.
#include <string>

#include "router/classify.hpp"

namespace weir::router {
namespace {

constexpr Effects kNone{};
constexpr Effects kTaints{.taints = true};
constexpr Effects kPins{.taints = true, .pins = true};
constexpr Effects kHolds{.holds = true};
constexpr Effects kReleases{.releases = true};

void reads(Utility& u, const RangeVar* var) {
  if (var != nullptr) u.reads.push_back(var);
}
void writes(Utility& u, const RangeVar* var) {
  u.place = Place::named;
  if (var != nullptr) u.writes.push_back(var);
}
void writes_all(Utility& u, const List* vars) {
  u.place = Place::named;
  for (const RangeVar* var : pg::ListOf<RangeVar>(vars)) writes(u, var);
}

// A name given as a list of strings, without its last `drop` parts.
void writes_name(Utility& u, Node* object, std::size_t drop) {
  if (!pg::is(object, T_List)) return;
  const pg::ListOf<> parts(reinterpret_cast<List*>(object));
  if (parts.size() <= drop) return;
  const std::size_t size = parts.size() - drop;
  u.place = Place::named;
  u.names.emplace_back(size >= 2 ? pg::text(parts[size - 2]) : std::string_view{}, pg::text(parts[size - 1]));
}

// How many parts behind the relation's own name an object's name has. -1: it is not of a relation.
int parts_behind_relation(ObjectType type) {
  switch (type) {
    case OBJECT_TABLE:
    case OBJECT_VIEW:
    case OBJECT_MATVIEW:
    case OBJECT_SEQUENCE:
    case OBJECT_FOREIGN_TABLE:
      return 0;
    case OBJECT_COLUMN:
    case OBJECT_TABCONSTRAINT:
    case OBJECT_TRIGGER:
    case OBJECT_RULE:
    case OBJECT_POLICY:
      return 1;
    default:
      return -1;
  }
}

void object(Utility& u, ObjectType type, Node* name) {
  const int behind = parts_behind_relation(type);
  if (behind >= 0) writes_name(u, name, static_cast<std::size_t>(behind));
}

void constraint(Utility& u, const Node* node) {
  const auto* c = pg::as<Constraint>(node, T_Constraint);
  if (c != nullptr) reads(u, c->pktable);
}

void table_element(Utility& u, const Node* element) {
  constraint(u, element);
  if (const auto* column = pg::as<ColumnDef>(element, T_ColumnDef))
    for (const Node* c : pg::ListOf<>(column->constraints)) constraint(u, c);
  if (const auto* like = pg::as<TableLikeClause>(element, T_TableLikeClause)) reads(u, like->relation);
}

void creates(Utility& u, const RangeVar* var) {
  writes(u, var);
  if (var != nullptr && is_temporary(*var)) u.effects = kHolds;
}

void creates_relation(Utility& u, const RangeVar* var) {
  creates(u, var);
  u.makes = var;
}

void create_table(Utility& u, const CreateStmt& stmt) {
  creates_relation(u, stmt.relation);
  for (const RangeVar* parent : pg::ListOf<RangeVar>(stmt.inhRelations)) writes(u, parent);
  for (const Node* element : pg::ListOf<>(stmt.tableElts)) table_element(u, element);
  for (const Node* c : pg::ListOf<>(stmt.constraints)) constraint(u, c);
}

// An argument that reads the same as text: what a server makes of `EXECUTE a(42)` and of the parameter '42' is equal.
PreparedUse::Argument argument(const Node* node) {
  const auto* constant = pg::as<A_Const>(node, T_A_Const);
  if (constant == nullptr) return {};
  if (constant->isnull) return {.known = true, .is_null = true};
  if (constant->val.node.type == T_Integer) return {.known = true, .text = std::to_string(constant->val.ival.ival)};
  if (constant->val.node.type == T_String) return {.known = true, .text = std::string(pg::text(constant->val.sval.sval))};
  return {};
}

// What the prepared statement itself does, the session knows.
void executes(Utility& u, const ExecuteStmt& stmt) {
  PreparedUse use{.kind = PreparedUse::Kind::execute, .name = std::string(pg::text(stmt.name))};
  for (Node* parameter : pg::ListOf<>(stmt.params)) {
    u.expressions.push_back(parameter);
    use.arguments.push_back(argument(parameter));
  }
  u.prepared.push_back(std::move(use));
}

void create_table_as(Utility& u, const CreateTableAsStmt& stmt) {
  creates_relation(u, stmt.into == nullptr ? nullptr : stmt.into->rel);
  if (const auto* execute = pg::as<ExecuteStmt>(stmt.query, T_ExecuteStmt))
    executes(u, *execute);
  else
    u.queries.push_back(stmt.query);
}

void alter_table(Utility& u, const AlterTableStmt& stmt) {
  if (stmt.objtype == OBJECT_INDEX || stmt.objtype == OBJECT_TYPE) return;  // whose index, the catalog does not know
  writes(u, stmt.relation);
  for (const AlterTableCmd* cmd : pg::ListOf<AlterTableCmd>(stmt.cmds)) {
    if (cmd->def == nullptr) continue;
    table_element(u, cmd->def);
    if (const auto* partition = pg::as<PartitionCmd>(cmd->def, T_PartitionCmd)) writes(u, partition->name);
    if (const auto* parent = pg::as<RangeVar>(cmd->def, T_RangeVar)) writes(u, parent);
  }
}

void drop(Utility& u, const DropStmt& stmt) {
  u.effects.releases = true;
  for (Node* name : pg::ListOf<>(stmt.objects)) object(u, stmt.removeType, name);
}

void grant(Utility& u, const GrantStmt& stmt) {
  const bool relations = stmt.objtype == OBJECT_TABLE || stmt.objtype == OBJECT_SEQUENCE;
  if (stmt.targtype == ACL_TARGET_OBJECT && relations) writes_all(u, stmt.objects);
}

void vacuum(Utility& u, const VacuumStmt& stmt) {
  for (const VacuumRelation* relation : pg::ListOf<VacuumRelation>(stmt.rels)) writes(u, relation->relation);
}

void sequence(Utility& u, const RangeVar* var, const List* options) {
  creates(u, var);
  for (const DefElem* option : pg::ListOf<DefElem>(options))
    if (pg::text(option->defname) == "owned_by") writes_name(u, option->arg, 1);  // NONE has one part
}

void copy(Utility& u, const CopyStmt& stmt) {
  const bool through_client = stmt.filename == nullptr && !stmt.is_program;
  if (through_client) {
    u.verb = stmt.is_from ? Verb::copy_from : Verb::copy_to;
    u.returns_copy = true;
    u.effects = kNone;
  }
  if (stmt.whereClause != nullptr) u.expressions.push_back(stmt.whereClause);
  if (stmt.query != nullptr) {
    u.place = Place::query;
    u.queries.push_back(stmt.query);
    u.may_read_only = through_client;
    return;
  }
  u.place = Place::named;
  (stmt.is_from ? u.writes : u.reads).push_back(stmt.relation);
  u.may_read_only = through_client && !stmt.is_from;
}

bool is_false(const Node* value) {
  const auto* constant = pg::as<A_Const>(value, T_A_Const);
  const Node* v = constant != nullptr ? &constant->val.node : value;
  if (const auto* i = pg::as<Integer>(v, T_Integer)) return i->ival == 0;
  const std::string_view word = pg::text(v);
  return word == "false" || word == "off";
}

bool is_query(const Node* node) {
  switch (node->type) {
    case T_SelectStmt:
    case T_InsertStmt:
    case T_UpdateStmt:
    case T_DeleteStmt:
    case T_MergeStmt:
      return true;
    default:
      return false;
  }
}

void explain(Utility& u, const ExplainStmt& stmt) {
  const bool analyze = runs(stmt);
  if (!is_query(stmt.query))
    u = classify_utility(stmt.query);
  else {
    u.place = Place::query;
    u.queries.push_back(stmt.query);
    u.effects = kNone;
    u.verb = analyze && stmt.query->type != T_SelectStmt ? Verb::dml : Verb::query;
  }
  if (u.verb != Verb::dml) u.verb = Verb::query;
  u.may_read_only = is_query(stmt.query) && (!analyze || stmt.query->type == T_SelectStmt);
}

void declare(Utility& u, const DeclareCursorStmt& stmt) {
  const bool hold = (stmt.options & CURSOR_OPT_HOLD) != 0;
  u.place = Place::query;
  u.queries.push_back(stmt.query);
  u.effects = hold ? kHolds : kNone;
  u.may_read_only = !hold;
}

void policy(Utility& u, const RangeVar* table, Node* qual, Node* check) {
  writes(u, table);
  if (qual != nullptr) u.expressions.push_back(qual);
  if (check != nullptr) u.expressions.push_back(check);
}

void at(Utility& u, Place place, Effects effects) {
  u.place = place;
  u.effects = effects;
}

template <class T>
T& to(Node* node) {
  return *reinterpret_cast<T*>(node);
}

// Statements of a session: cursors, notifications, prepared statements.
bool session_statement(Node* stmt, Utility& u) {
  switch (stmt->type) {
    case T_LoadStmt:
      return at(u, Place::home, kPins), true;
    case T_CheckPointStmt:
      return at(u, Place::home, kTaints), true;
    case T_NotifyStmt:
      return at(u, Place::session, {.notifies = true}), true;
    case T_FetchStmt:
      return at(u, Place::session, kNone), true;
    case T_ClosePortalStmt:
    case T_DiscardStmt:
      return at(u, Place::session, kReleases), true;
    case T_DoStmt:
      return at(u, Place::nowhere, kOpaqueEffects), true;
    case T_CallStmt:
      at(u, Place::nowhere, kNone);
      u.expressions.push_back(reinterpret_cast<Node*>(to<CallStmt>(stmt).funccall));
      return true;
    case T_PrepareStmt:
      at(u, Place::session, kNone);
      u.verb = Verb::prepare;
      u.prepared.push_back({.kind = PreparedUse::Kind::prepare, .name = std::string(pg::text(to<PrepareStmt>(stmt).name))});
      return true;
    case T_ExecuteStmt:
      at(u, Place::session, kNone);
      u.verb = Verb::execute;
      u.may_read_only = true;
      executes(u, to<ExecuteStmt>(stmt));
      return true;
    case T_DeclareCursorStmt:
      return declare(u, to<DeclareCursorStmt>(stmt)), true;
    case T_ExplainStmt:
      return explain(u, to<ExplainStmt>(stmt)), true;
    case T_CopyStmt:
      return copy(u, to<CopyStmt>(stmt)), true;
    default:
      return false;
  }
}

}  // namespace

// Of several the last counts, so only all of them being off is safe.
bool runs(const ExplainStmt& stmt) {
  for (const DefElem* option : pg::ListOf<DefElem>(stmt.options))
    if (pg::text(option->defname) == "analyze" && (option->arg == nullptr || !is_false(option->arg))) return true;
  return false;
}

Utility classify_utility(Node* stmt) {
  Utility u;
  if (session_statement(stmt, u)) return u;
  switch (stmt->type) {
    case T_CreateStmt:
      create_table(u, to<CreateStmt>(stmt));
      break;
    case T_CreateForeignTableStmt:
      create_table(u, to<CreateForeignTableStmt>(stmt).base);
      break;
    case T_CreateTableAsStmt:
      create_table_as(u, to<CreateTableAsStmt>(stmt));
      break;
    case T_ViewStmt:
      creates_relation(u, to<ViewStmt>(stmt).view);
      u.queries.push_back(to<ViewStmt>(stmt).query);
      break;
    case T_RefreshMatViewStmt:
      writes(u, to<RefreshMatViewStmt>(stmt).relation);
      break;
    case T_IndexStmt:
      writes(u, to<IndexStmt>(stmt).relation);
      break;
    case T_CreateStatsStmt:
      for (const Node* relation : pg::ListOf<>(to<CreateStatsStmt>(stmt).relations))
        writes(u, pg::as<RangeVar>(relation, T_RangeVar));
      break;
    case T_CreateSeqStmt:
      sequence(u, to<CreateSeqStmt>(stmt).sequence, to<CreateSeqStmt>(stmt).options);
      break;
    case T_AlterSeqStmt:
      sequence(u, to<AlterSeqStmt>(stmt).sequence, to<AlterSeqStmt>(stmt).options);
      break;
    case T_CreateTrigStmt:
      writes(u, to<CreateTrigStmt>(stmt).relation);
      reads(u, to<CreateTrigStmt>(stmt).constrrel);
      break;
    case T_CreatePolicyStmt:
      policy(u, to<CreatePolicyStmt>(stmt).table, to<CreatePolicyStmt>(stmt).qual,
             to<CreatePolicyStmt>(stmt).with_check);
      break;
    case T_AlterPolicyStmt:
      policy(u, to<AlterPolicyStmt>(stmt).table, to<AlterPolicyStmt>(stmt).qual, to<AlterPolicyStmt>(stmt).with_check);
      break;
    case T_AlterTableStmt:
      alter_table(u, to<AlterTableStmt>(stmt));
      break;
    case T_RenameStmt:
      if (to<RenameStmt>(stmt).renameType != OBJECT_INDEX && to<RenameStmt>(stmt).relation != nullptr)
        writes(u, to<RenameStmt>(stmt).relation);
      break;
    case T_AlterObjectSchemaStmt:
      if (to<AlterObjectSchemaStmt>(stmt).relation != nullptr) writes(u, to<AlterObjectSchemaStmt>(stmt).relation);
      break;
    case T_DropStmt:
      drop(u, to<DropStmt>(stmt));
      break;
    case T_CommentStmt:
      object(u, to<CommentStmt>(stmt).objtype, to<CommentStmt>(stmt).object);
      break;
    case T_GrantStmt:
      grant(u, to<GrantStmt>(stmt));
      break;
    case T_TruncateStmt:
      writes_all(u, to<TruncateStmt>(stmt).relations);  // CASCADE empties more, which refers to these and so is where they are
      break;
    case T_LockStmt:
      writes_all(u, to<LockStmt>(stmt).relations);
      u.effects = kNone;
      break;
    case T_VacuumStmt:
      vacuum(u, to<VacuumStmt>(stmt));
      break;
    case T_ClusterStmt:
      if (to<ClusterStmt>(stmt).relation != nullptr) writes(u, to<ClusterStmt>(stmt).relation);
      break;
    case T_ReindexStmt:
      if (to<ReindexStmt>(stmt).kind == REINDEX_OBJECT_TABLE) writes(u, to<ReindexStmt>(stmt).relation);
      break;
    default:
      break;
  }
  return u;
}

}  // namespace weir::router
