#include "router/write_schema.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "router/scatter_context.hpp"
#include "router/scatter_tree.hpp"
#include "router/write_plan.hpp"

namespace weir::router {
namespace {

using schema::Placement;
using schema::Relation;
using Where = SchemaAnswer::Where;

constexpr std::string_view kDirectly = "Run it on each shard's database directly (psql).";

Error refused(std::string message, std::string_view hint) {
  return Error(sqlstate::kFeatureNotSupported, std::move(message), std::string(hint));
}

template <class T>
const T* to(const Node* node) {
  return reinterpret_cast<const T*>(node);
}

bool is_listed(const Relation* relation) {
  return relation != nullptr && (relation->placement == Placement::sharded || relation->placement == Placement::reference ||
                                 relation->placement == Placement::reaches_sharded);
}

bool is_off(const DefElem& option) {
  const std::string_view word = pg::text(option.arg);
  const auto* number = pg::as<Integer>(option.arg, T_Integer);
  return word == "false" || word == "off" || (number != nullptr && number->ival == 0);
}

bool has_option(const List* options, std::string_view name) {
  bool found = false;
  for (const DefElem* option : pg::ListOf<DefElem>(options))
    if (pg::text(option->defname) == name) found = !is_off(*option);
  return found;
}

// 'now' and its like are read where the column is filled.
bool may_be_time(const A_Const& constant) {
  if (constant.isnull || constant.val.node.type != T_String) return false;
  const std::string text = ascii_lower(pg::text(&constant.val.node));
  constexpr std::string_view kWords[] = {"now", "today", "tomorrow", "yesterday"};
  return std::any_of(std::begin(kWords), std::end(kWords), [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

// Calls nothing that might say something else on each shard.
bool is_fixed(Node* expr) {
  bool fixed = true;
  for_each_node(expr, [&](Node* node) {
    const auto* constant = pg::as<A_Const>(node, T_A_Const);
    fixed &= !pg::is(node, T_FuncCall) && !pg::is(node, T_SQLValueFunction) && !(constant != nullptr && may_be_time(*constant));
    return fixed;
  });
  return fixed;
}

bool is_serial(const TypeName* type) {
  return type != nullptr && pg::name_of(type->names).name.find("serial") != std::string_view::npos;
}

// May the command fill the rows there are with something else on each shard? (A domain's default is not looked for.)
bool fills_apart(const AlterTableCmd& command) {
  const auto* column = pg::as<ColumnDef>(command.def, T_ColumnDef);
  if (column == nullptr) return false;
  if (command.subtype == AT_AlterColumnType) return !is_fixed(column->raw_default);
  if (command.subtype != AT_AddColumn) return false;
  const pg::ListOf<Constraint> constraints(column->constraints);
  return is_serial(column->typeName) || std::any_of(constraints.begin(), constraints.end(), [](const Constraint* c) {
           return c->contype == CONSTR_IDENTITY || (c->contype == CONSTR_DEFAULT && !is_fixed(c->raw_expr));
         });
}

// What belongs to the whole server.
bool is_of_server(const Node* stmt) {
  switch (stmt->type) {
    case T_CreateRoleStmt:
    case T_AlterRoleStmt:
    case T_AlterRoleSetStmt:
    case T_DropRoleStmt:
    case T_GrantRoleStmt:
      return true;
    case T_RenameStmt:
      return to<RenameStmt>(stmt)->renameType == OBJECT_ROLE;
    case T_CommentStmt:
      return to<CommentStmt>(stmt)->objtype == OBJECT_ROLE;
    default:
      return false;
  }
}

// What names a database, or reaches beyond one: shards have databases of their own names.
bool is_beyond_shards(const Node* stmt) {
  switch (stmt->type) {
    case T_CreatedbStmt:
    case T_DropdbStmt:
    case T_AlterDatabaseStmt:
    case T_AlterDatabaseSetStmt:
    case T_AlterDatabaseRefreshCollStmt:
    case T_CreateTableSpaceStmt:
    case T_DropTableSpaceStmt:
    case T_AlterTableSpaceOptionsStmt:
    case T_AlterSystemStmt:
    case T_CreateSubscriptionStmt:
    case T_AlterSubscriptionStmt:
    case T_DropSubscriptionStmt:
      return true;
    case T_AlterRoleSetStmt:
      return to<AlterRoleSetStmt>(stmt)->database != nullptr;
    case T_ReindexStmt:
      return to<ReindexStmt>(stmt)->kind == REINDEX_OBJECT_DATABASE || to<ReindexStmt>(stmt)->kind == REINDEX_OBJECT_SYSTEM;
    case T_GrantStmt:
      return to<GrantStmt>(stmt)->objtype == OBJECT_DATABASE || to<GrantStmt>(stmt)->objtype == OBJECT_TABLESPACE;
    case T_CommentStmt:
      return to<CommentStmt>(stmt)->objtype == OBJECT_DATABASE || to<CommentStmt>(stmt)->objtype == OBJECT_TABLESPACE;
    case T_RenameStmt:
      return to<RenameStmt>(stmt)->renameType == OBJECT_DATABASE || to<RenameStmt>(stmt)->renameType == OBJECT_TABLESPACE;
    case T_AlterOwnerStmt:
      return to<AlterOwnerStmt>(stmt)->objectType == OBJECT_DATABASE || to<AlterOwnerStmt>(stmt)->objectType == OBJECT_TABLESPACE;
    default:
      return false;
  }
}

// What no transaction block may hold, and how to go on with it behind a failure. Empty: it is not such.
std::string_view outside_of_blocks(const Node* stmt) {
  constexpr std::string_view kAgain = "Send it again: doing it twice does no harm.";
  switch (stmt->type) {
    case T_IndexStmt:
      return !to<IndexStmt>(stmt)->concurrent ? ""
                                              : "DROP INDEX CONCURRENTLY IF EXISTS removes what the failure left invalid; then send CREATE INDEX CONCURRENTLY "
                                                "IF NOT EXISTS with the index's name: shards that have it leave it as it is.";
    case T_DropStmt:
      return to<DropStmt>(stmt)->concurrent ? "Send it again with IF EXISTS." : "";
    case T_VacuumStmt:
      return to<VacuumStmt>(stmt)->is_vacuumcmd ? kAgain : "";
    case T_ClusterStmt:
      return to<ClusterStmt>(stmt)->relation == nullptr ? kAgain : "";
    case T_ReindexStmt:
      return has_option(to<ReindexStmt>(stmt)->params, "concurrently") || to<ReindexStmt>(stmt)->kind == REINDEX_OBJECT_SCHEMA ? kAgain : "";
    default:
      return "";
  }
}

class SchemaPlanner {
 public:
  SchemaPlanner(Node* stmt, const Utility& utility, const AnalysisInput& input, const Binder& binder, const std::string& construct)
      : stmt_(stmt), utility_(utility), input_(input), catalog_(*input.catalog), binder_(binder), construct_(construct) {}

  SchemaAnswer run() {
    if (utility_.verb != Verb::utility || (utility_.place != Place::every_shard && utility_.place != Place::named)) return {};
    if (utility_.returns_copy || stmt_->type == T_CopyStmt || !utility_.prepared.empty()) return {};
    if (is_beyond_shards(stmt_))
      return refuse(concat(construct_, " cannot be routed: it concerns more than the shards' databases, or one by its name"), kDirectly);
    if (pg::is(stmt_, T_RuleStmt))
      return refuse(concat(construct_, " cannot be routed: a rule rewrites statements where Weir does not see it"), "Use a trigger.");
    if (pg::is(stmt_, T_CreateSchemaStmt) && to<CreateSchemaStmt>(stmt_)->schemaElts != nullptr)
      return refuse(concat(construct_, " with objects in it cannot be routed"), "Make the schema, then each object.");
    look();
    if (refusal_) return {Where::refused, nullptr, std::move(refusal_)};
    if (!every_) return home_only();
    if (!home_.empty() && !divide())
      return refuse(concat(construct_, " names ", listed_, ", which is on every shard, and ", home_, ", which is on the home shard only"),
                    "Send a statement for each.");
    if (auto error = against_change()) return {Where::refused, nullptr, std::move(error)};
    return every();
  }

 private:
  SchemaAnswer refuse(std::string message, std::string_view hint) { return {Where::refused, nullptr, refused(std::move(message), hint)}; }

  // ---- what it names ----

  void look() {
    const auto index = names_an_index();
    for (const auto& [schema, name] : index) by_owner(catalog_.find_owner(schema, name, input_.search_path), name);
    if (!index.empty()) return;
    every_ = utility_.place == Place::every_shard;
    for (const RangeVar* var : utility_.writes) relation(pg::text(var->schemaname), pg::text(var->relname), is_temporary(*var), var == utility_.makes);
    for (const auto& [schema, name] : utility_.names) relation(schema, name, false, false);
    if (!free_sequence_.empty() && home_.empty()) needs_every(free_sequence_);  // else OWNED BY says where it belongs
    if (pg::is(stmt_, T_ViewStmt) || is_materialized_view()) view();
    if (every_ && utility_.makes != nullptr && is_temporary(*utility_.makes))
      refusal_ = refused(concat(construct_, " on ", listed_, ": a temporary table would hide the listed one"), "Give it another name.");
  }

  void needs_every(std::string_view what) {
    every_ = true;
    if (listed_.empty()) listed_ = what;
  }
  void needs_home(std::string_view what) {
    if (home_.empty()) home_ = what;
  }

  void by_owner(const Relation* owner, std::string_view name) {
    if (owner != nullptr && !is_listed(owner))
      needs_home(name);
    else
      needs_every(name);
  }

  void relation(std::string_view schema, std::string_view name, bool temporary, bool made) {
    const Relation* found = catalog_.find_relation(schema, name, input_.search_path);
    const bool sequence = found != nullptr ? found->kind == schema::RelationKind::sequence : concerns_sequence();
    if (is_listed(found) || (found == nullptr && !temporary && catalog_.awaits(schema, name)))
      return needs_every(found != nullptr ? found->qualified() : std::string(name));
    if (temporary) return;
    if (sequence) {
      const Relation* owner = catalog_.find_owner(schema, name, input_.search_path);
      if (owner != nullptr) return by_owner(owner, name);
      free_sequence_ = name;
      return;
    }
    if (!made || found != nullptr) needs_home(found != nullptr ? found->qualified() : std::string(name));
  }

  [[nodiscard]] bool concerns_sequence() const {
    switch (stmt_->type) {
      case T_CreateSeqStmt:
      case T_AlterSeqStmt:
        return true;
      case T_DropStmt:
        return to<DropStmt>(stmt_)->removeType == OBJECT_SEQUENCE;
      case T_CommentStmt:
        return to<CommentStmt>(stmt_)->objtype == OBJECT_SEQUENCE;
      case T_GrantStmt:
        return to<GrantStmt>(stmt_)->objtype == OBJECT_SEQUENCE;
      case T_AlterTableStmt:
        return to<AlterTableStmt>(stmt_)->objtype == OBJECT_SEQUENCE;
      case T_RenameStmt:
        return to<RenameStmt>(stmt_)->renameType == OBJECT_SEQUENCE;
      default:
        return false;
    }
  }

  using Names = std::vector<std::pair<std::string_view, std::string_view>>;

  static void add_name(Names& names, const Node* object) {
    if (!pg::is(object, T_List)) return;
    const pg::Name name = pg::name_of(reinterpret_cast<const List*>(object));
    names.emplace_back(name.schema, name.name);
  }
  static void add_name(Names& names, const RangeVar* var) {
    if (var != nullptr) names.emplace_back(pg::text(var->schemaname), pg::text(var->relname));
  }

  // The indexes that it concerns, if it concerns indexes by their names.
  [[nodiscard]] Names names_an_index() const {
    Names names;
    switch (stmt_->type) {
      case T_DropStmt:
        if (to<DropStmt>(stmt_)->removeType == OBJECT_INDEX)
          for (const Node* object : pg::ListOf<>(to<DropStmt>(stmt_)->objects)) add_name(names, object);
        break;
      case T_CommentStmt:
        if (to<CommentStmt>(stmt_)->objtype == OBJECT_INDEX) add_name(names, to<CommentStmt>(stmt_)->object);
        break;
      case T_AlterTableStmt:
        if (to<AlterTableStmt>(stmt_)->objtype == OBJECT_INDEX) add_name(names, to<AlterTableStmt>(stmt_)->relation);
        break;
      case T_RenameStmt:
        if (to<RenameStmt>(stmt_)->renameType == OBJECT_INDEX) add_name(names, to<RenameStmt>(stmt_)->relation);
        break;
      case T_ReindexStmt:
        if (to<ReindexStmt>(stmt_)->kind == REINDEX_OBJECT_INDEX) add_name(names, to<ReindexStmt>(stmt_)->relation);
        break;
      default:
        break;
    }
    return names;
  }

  [[nodiscard]] bool is_materialized_view() const {
    return pg::is(stmt_, T_CreateTableAsStmt) && to<CreateTableAsStmt>(stmt_)->objtype == OBJECT_MATVIEW;
  }

  // As a Binder shows a name that the catalog does not know: what the statement makes is no table that it reads.
  [[nodiscard]] std::string made_name() const {
    const std::string_view schema = pg::text(utility_.makes->schemaname), name = pg::text(utility_.makes->relname);
    return schema.empty() ? std::string(name) : concat(schema, ".", name);
  }

  // A view is where its tables are. One of a shard's rows alone would hold a part of them.
  void view() {
    const Touched& touched = binder_.touched();
    const std::string& sharded = touched.sharded.empty() ? touched.reaches_sharded : touched.sharded;
    if (!touched.listed() || every_) return;
    if (!sharded.empty() || touched.unlisted.empty() || touched.unlisted == made_name()) {
      home_.clear();
      needs_every(sharded.empty() ? touched.reference : sharded);
    }
    if (is_materialized_view() && !sharded.empty())
      refusal_ = refused(concat(construct_, " of sharded table ", sharded, " cannot be routed: each shard would hold its own rows' view"), "Make a table with a key, and fill it by INSERT ... SELECT.");
  }

  // ---- lists of objects, of which the other shards have some only ----

  [[nodiscard]] List** list_of_objects() const {
    switch (stmt_->type) {
      case T_TruncateStmt:
        return &reinterpret_cast<TruncateStmt*>(stmt_)->relations;
      case T_LockStmt:
        return &reinterpret_cast<LockStmt*>(stmt_)->relations;
      case T_VacuumStmt:
        return &reinterpret_cast<VacuumStmt*>(stmt_)->rels;
      case T_GrantStmt:
        return to<GrantStmt>(stmt_)->targtype == ACL_TARGET_OBJECT ? &reinterpret_cast<GrantStmt*>(stmt_)->objects : nullptr;
      case T_DropStmt:
        return &reinterpret_cast<DropStmt*>(stmt_)->objects;
      default:
        return nullptr;
    }
  }

  [[nodiscard]] bool is_on_every_shard(const Node* object) const {
    SchemaPlanner alone(stmt_, utility_, input_, binder_, construct_);
    if (pg::is(object, T_VacuumRelation)) object = reinterpret_cast<const Node*>(to<VacuumRelation>(object)->relation);
    pg::Name name;
    bool temporary = false;
    if (const auto* var = pg::as<RangeVar>(object, T_RangeVar)) {
      name = {pg::text(var->schemaname), pg::text(var->relname)};
      temporary = is_temporary(*var);
    } else if (pg::is(object, T_List)) {
      name = pg::name_of(reinterpret_cast<const List*>(object));
    }
    if (stmt_->type == T_DropStmt && to<DropStmt>(stmt_)->removeType == OBJECT_INDEX)
      alone.by_owner(catalog_.find_owner(name.schema, name.name, input_.search_path), name.name);
    else
      alone.relation(name.schema, name.name, temporary, false);
    return alone.every_ || !alone.free_sequence_.empty();
  }

  // The home shard has all of them and runs the client's text, so what it says of them (an error, a foreign key, CASCADE) is what one database
  // would say; the others run it of those that they have. False: there is no such list.
  bool divide() {
    List** const list = list_of_objects();
    if (list == nullptr) return false;
    std::vector<Node*> everywhere;
    for (Node* object : pg::ListOf<>(*list))
      if (is_on_every_shard(object)) everywhere.push_back(object);
    if (everywhere.empty()) return false;
    Edits edits;
    edits.set(*list, pg::make_list(everywhere));
    const Draft draft(stmt_);
    if (auto text = draft.text({})) elsewhere_ = std::move(*text);
    return !elsewhere_.empty();
  }

  // ---- where it goes ----

  // Nothing that is on every shard is changed. A foreign key would see the home shard's rows only.
  SchemaAnswer home_only() {
    const Touched& touched = binder_.touched();
    if (pg::is(stmt_, T_CreateTableAsStmt) && touched.listed() && touched.sharded.empty() && touched.reaches_sharded.empty()) return {Where::home, nullptr, std::nullopt};
    if (pg::is(stmt_, T_CreateTableAsStmt) && touched.listed())
      return refuse(concat(construct_, " from ", touched.sharded.empty() ? touched.reaches_sharded : touched.sharded, ", which is sharded, cannot be routed"),
                    "Make the table, list it with a key, and fill it by INSERT ... SELECT.");
    const std::string& read = touched.sharded.empty() ? touched.reaches_sharded : touched.sharded;
    if (!read.empty() && (!utility_.expressions.empty() || !utility_.queries.empty()))
      return refuse(concat(construct_, " on a table of the home shard that reads ", read, ", which is sharded, cannot be routed"), "It would see the home shard's rows only.");
    for (const RangeVar* var : utility_.reads) {
      const Relation* found = catalog_.find_relation(pg::text(var->schemaname), pg::text(var->relname), input_.search_path);
      if (found != nullptr && found->placement == Placement::sharded && !is_template(var))
        return refuse(concat(construct_, ": a foreign key from a table of the home shard to ", found->qualified(), ", which is sharded, cannot be routed"),
                      "List the table with the same key, or leave the foreign key out.");
    }
    return {Where::home, nullptr, std::nullopt};
  }

  // CREATE TABLE (LIKE ...).
  [[nodiscard]] bool is_template(const RangeVar* var) const {
    const auto* create = pg::as<CreateStmt>(stmt_, T_CreateStmt);
    if (create == nullptr) return false;
    for (const Node* element : pg::ListOf<>(create->tableElts))
      if (const auto* like = pg::as<TableLikeClause>(element, T_TableLikeClause); like != nullptr && like->relation == var) return true;
    return false;
  }

  // What would make a listed table another than its rule speaks of.
  [[nodiscard]] std::optional<Error> against_change() const {
    if (pg::is(stmt_, T_RenameStmt)) return against_rename(*to<RenameStmt>(stmt_));
    if (pg::is(stmt_, T_AlterObjectSchemaStmt) && !utility_.writes.empty())
      return refused(concat(construct_, " of listed ", listed_, " cannot be routed: its rule in weir.toml names it"), kDirectly);
    const auto* alter = pg::as<AlterTableStmt>(stmt_, T_AlterTableStmt);
    if (alter == nullptr || alter->relation == nullptr) return std::nullopt;
    const Relation* relation = catalog_.find_relation(pg::text(alter->relation->schemaname), pg::text(alter->relation->relname), input_.search_path);
    for (const AlterTableCmd* command : pg::ListOf<AlterTableCmd>(alter->cmds)) {
      if (command->subtype == AT_DetachPartition || command->subtype == AT_DropInherit)
        return refused(concat(construct_, ": what is taken from listed ", listed_, " would be a table that is not listed, with rows on every shard"),
                       "Drop the partition, or detach it on each shard's database directly.");
      if (relation != nullptr && relation->placement == Placement::reference && fills_apart(*command))
        return refused(concat(construct_, " of reference table ", listed_, " that computes values for the rows there are, on each shard by itself, cannot be routed"),
                       "Add the column without a default and UPDATE it; then SET DEFAULT.");
      const bool changes = command->subtype == AT_DropColumn || command->subtype == AT_AlterColumnType;
      if (changes && is_key(relation, pg::text(command->name)))
        return refused(concat(construct_, " of the sharding key ", pg::text(command->name), " of ", listed_, " cannot be routed"), "Its rows lie where the key's value says.");
    }
    return std::nullopt;
  }

  static bool is_key(const Relation* relation, std::string_view column) {
    return relation != nullptr && relation->key_column >= 0 && relation->columns[static_cast<std::size_t>(relation->key_column)].name == column;
  }

  [[nodiscard]] std::optional<Error> against_rename(const RenameStmt& stmt) const {
    if (stmt.relation == nullptr || stmt.renameType == OBJECT_INDEX || stmt.renameType == OBJECT_SEQUENCE) return std::nullopt;
    const Relation* relation = catalog_.find_relation(pg::text(stmt.relation->schemaname), pg::text(stmt.relation->relname), input_.search_path);
    const bool table = stmt.renameType == OBJECT_TABLE || stmt.renameType == OBJECT_FOREIGN_TABLE;
    if (!table && !is_key(relation, pg::text(stmt.subname))) return std::nullopt;
    return refused(concat(construct_, " of listed ", listed_, " cannot be routed: its rule in weir.toml names it"), kDirectly);
  }

  SchemaAnswer every() const {
    auto write = std::make_shared<WritePlan>();
    write->again = outside_of_blocks(stmt_);
    write->kind = write->again.empty() ? WritePlan::Kind::schema : WritePlan::Kind::one_by_one;
    write->once_a_server = is_of_server(stmt_);
    write->elsewhere = elsewhere_;
    ScatterPlan plan;
    plan.strategy = ScatterPlan::Strategy::write;
    plan.write = std::move(write);
    plan.construct = construct_;
    plan.refusal = refused(concat(construct_, listed_.empty() ? "" : concat(" on ", listed_), " would have to run on every shard"),
                           "Send it as a statement of its own.");
    return {Where::every, std::make_shared<const ScatterPlan>(std::move(plan)), std::nullopt};
  }

  Node* stmt_;
  const Utility& utility_;
  const AnalysisInput& input_;
  const schema::Catalog& catalog_;
  const Binder& binder_;
  const std::string& construct_;
  bool every_ = false;
  std::string listed_, home_, free_sequence_;
  TextTemplate elsewhere_;
  std::optional<Error> refusal_;
};

// Behind a DROP its name may mean a listed table, which another schema has; with CASCADE others go, too.
bool may_uncover(const DropStmt& stmt, const schema::Catalog& catalog) {
  if (stmt.behavior == DROP_CASCADE) return true;
  for (const Node* object : pg::ListOf<>(stmt.objects)) {
    if (!pg::is(object, T_List)) return true;
    const std::string_view name = pg::name_of(reinterpret_cast<const List*>(object)).name;
    const auto is_it = [&](const Relation& relation) { return relation.name == name && is_listed(&relation); };
    if (catalog.awaits({}, name) || std::any_of(catalog.relations().begin(), catalog.relations().end(), is_it)) return true;
  }
  return false;
}

}  // namespace

SchemaChange schema_change_of(const Node* stmt, const schema::Catalog& catalog) {
  switch (stmt->type) {
    case T_TruncateStmt:
    case T_CommentStmt:
    case T_GrantStmt:
    case T_VacuumStmt:
    case T_ClusterStmt:
    case T_ReindexStmt:
    case T_RefreshMatViewStmt:
    case T_LoadStmt:
    case T_CheckPointStmt:
      return SchemaChange::none;
    case T_IndexStmt:   // CONCURRENTLY: a transaction of its own
      return to<IndexStmt>(stmt)->concurrent ? SchemaChange::none : SchemaChange::at_home;
    case T_CreateStmt:
    case T_CreateForeignTableStmt:
    case T_CreateTableAsStmt:
    case T_CreateStatsStmt:
    case T_CreateSeqStmt:
    case T_AlterSeqStmt:
    case T_CreateTrigStmt:
    case T_CreatePolicyStmt:
    case T_AlterPolicyStmt:
    case T_AlterTableStmt:
      return SchemaChange::at_home;
    case T_RenameStmt:
      return to<RenameStmt>(stmt)->renameType == OBJECT_COLUMN ? SchemaChange::at_home : SchemaChange::any;
    case T_DropStmt:
      if (to<DropStmt>(stmt)->concurrent) return SchemaChange::none;
      return may_uncover(*to<DropStmt>(stmt), catalog) ? SchemaChange::any : SchemaChange::at_home;
    default:
      return SchemaChange::any;
  }
}

SchemaAnswer plan_schema(Node* stmt, const Utility& utility, const AnalysisInput& input, const Binder& binder, const std::string& construct) {
  return SchemaPlanner(stmt, utility, input, binder, construct).run();
}

}  // namespace weir::router
