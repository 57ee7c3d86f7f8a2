// Writes over several shards: which of them are certain to do what one PostgreSQL would, and the texts that the shards run.
//
// UPDATE, DELETE: every row of the target lies on the shard of its key, and the graph says that of every other sharded table only rows of the same
// key matter, so each shard changes its rows as one server would. INSERT ... SELECT: its rows are made of rows of one key, which is their
// key. Reference tables: nothing in the statement may come out otherwise on another shard.
#include "router/write_planner.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/strings.hpp"
#include "router/scatter_context.hpp"
#include "router/scatter_strategies.hpp"
#include "router/write_insert.hpp"
#include "router/write_plan.hpp"
#include "router/write_text.hpp"
#include "schema/quote.hpp"

namespace weir::router {
namespace {

using schema::Column;
using schema::Placement;
using schema::Relation;

constexpr std::string_view kByKey = "Bind the sharding key of every table to one value, or run one statement a shard.";

Error refusal(std::string construct, std::string hint) {
  return Error(sqlstate::kFeatureNotSupported, concat(construct, " cannot be routed"), std::move(hint));
}

bool has_column(const schema::UniqueIndex& index, std::string_view column) {
  return std::find(index.columns.begin(), index.columns.end(), column) != index.columns.end();
}

class WritePlanner {
 public:
  WritePlanner(Node* stmt, const AnalysisInput& input, const Survey& survey, const Binder& binder, const Error& one_shard)
      : stmt_(stmt), input_(input), binder_(binder), one_shard_(one_shard), context_(stmt, input, survey, binder), text_(stmt, input) {}

  std::optional<Error> run() {
    if (auto error = against_shape()) return error;
    relation_ = binder_.write_targets().front().relation;
    returning_ = insert_ != nullptr ? insert_->returningList : update_ != nullptr ? update_->returningList : delete_ != nullptr ? delete_->returningList : nullptr;
    const bool reference = relation_->placement == Placement::reference;
    find_begin();
    if (!reference) context_.let_rows_differ();
    if (auto error = context_.look_at_nodes()) return error;
    if (!shards_agree(context_))
      return refusal("a write with a subquery that may have another answer on each shard (LIMIT, an aggregate that depends on the order of rows)",
                     "Run it first, and give its result as parameters.");
    if (auto error = fix_times()) return error;
    if (merge_ != nullptr) return merge();
    return reference ? same() : insert_ != nullptr ? insert() : each();
  }

  WritePlan take() { return std::move(plan_); }
  [[nodiscard]] std::string_view construct() const { return insert_ != nullptr ? "INSERT" : update_ != nullptr ? "UPDATE" : delete_ != nullptr ? "DELETE" : "MERGE"; }

 private:
  std::optional<Error> against_shape() {
    insert_ = pg::as<InsertStmt>(stmt_, T_InsertStmt);
    update_ = pg::as<UpdateStmt>(stmt_, T_UpdateStmt);
    delete_ = pg::as<DeleteStmt>(stmt_, T_DeleteStmt);
    merge_ = pg::as<MergeStmt>(stmt_, T_MergeStmt);
    if (insert_ == nullptr && update_ == nullptr && delete_ == nullptr && merge_ == nullptr)
      return refusal("a write in a WITH query that needs several shards", "Send it as a statement of its own, and read what it RETURNs.");
    if (binder_.write_targets().size() != 1)
      return refusal("a statement of several writes that needs several shards", "Send each write as a statement of its own, in one transaction.");
    const Relation* relation = binder_.write_targets().front().relation;
    const bool fits = relation != nullptr && (relation->placement == Placement::sharded || relation->placement == Placement::reference);
    const Touched& touched = binder_.touched();
    if (!fits || touched.home()) {
      const std::string& other = touched.unlisted.empty() ? touched.catalog : touched.unlisted;
      const std::string& mine = touched.sharded.empty() ? touched.reference : touched.sharded;
      return refusal(concat("a write with table ", mine, ", which is on every shard, and ", other, ", which is on the home shard only"),
                     concat("List ", other, " with reference = true (or with a key), or send two statements."));
    }
    if (relation->kind == schema::RelationKind::view || relation->kind == schema::RelationKind::materialized_view)
      return refusal(concat("a write to view ", relation->qualified(), " over several shards"), "Write to its table.");
    if (!text_.readable()) return refusal("a statement whose text is not certain, over several shards", "Write it without U&'' and without strings continued over lines.");
    return std::nullopt;
  }

  // ---- now() ----

  std::optional<Error> fix_times() {
    for (const ScatterContext::TimeCall& call : context_.time_calls()) {
      const int at = call.node->type == T_FuncCall ? reinterpret_cast<FuncCall*>(call.node)->location
                                                   : reinterpret_cast<SQLValueFunction*>(call.node)->location;
      const auto end = at < 0 ? std::nullopt : end_of_call(static_cast<std::size_t>(at), call.node->type == T_FuncCall);
      if (!end || text_.holds_literal(static_cast<std::size_t>(at), *end))
        return refusal("a time function written in this way, over several shards", "Write now() or current_timestamp.");
      text_.exchange(static_cast<std::size_t>(at), *end, fixed_time(call.cast));
    }
    if (context_.time_calls().empty()) return std::nullopt;
    for (const ResTarget* target : pg::ListOf<ResTarget>(returning_))
      if (target->name == nullptr && calls_time(target->val))
        return refusal("RETURNING of a time function without a name, over several shards", "Give the column a name with AS.");
    return std::nullopt;
  }

  // Behind "pg_catalog.now()" or "current_timestamp (3)".
  [[nodiscard]] std::optional<std::size_t> end_of_call(std::size_t at, bool call) const {
    const auto& tokens = text_.tokens();
    std::size_t i = text_.token_at(at);
    if (i == tokens.size()) return std::nullopt;
    if (call)
      while (i + 1 < tokens.size() && tokens[i + 1].kind != TokenKind::open) ++i;
    const bool opens = i + 1 < tokens.size() && tokens[i + 1].kind == TokenKind::open;
    if (!opens) return call ? std::nullopt : std::optional(tokens[i].end());
    const std::size_t close = text_.closing(i + 1);
    if (close == tokens.size() || (call && close != i + 2)) return std::nullopt;
    return tokens[close].end();
  }

  [[nodiscard]] bool calls_time(Node* expr) const {
    bool found = false;
    for_each_node(expr, [&](Node* node) {
      for (const auto& call : context_.time_calls()) found |= call.node == node;
      return !found;
    });
    return found;
  }

  // ---- sharded tables ----

  [[nodiscard]] const ShardedItem* target_item() const {
    const auto& items = binder_.sharded_items();
    const auto found = std::find_if(items.begin(), items.end(), [&](const ShardedItem& i) { return i.var == binder_.write_targets().front().var; });
    return found == items.end() ? nullptr : &*found;
  }

  std::optional<Error> each() {
    const ShardedItem* target = target_item();
    if (target == nullptr) return refusal("this write over several shards", std::string(kByKey));
    if (auto error = update_ != nullptr ? against_new_numbers(update_->targetList) : std::nullopt) return error;
    const std::vector<bool> reached = binder_.graph().reachable(anchor_ != nullptr ? anchor_->key : target->key);
    for (const ShardedItem& item : binder_.sharded_items())
      if (!reached[static_cast<std::size_t>(item.key)])
        return refusal(concat(construct(), " of ", relation_->qualified(), " over several shards that reads ", item.relation->qualified(),
                              " without their sharding keys being equal"),
                       "Join them by their keys, or run the query first and give its result as parameters.");
    plan_.kind = WritePlan::Kind::each;
    return take_text();
  }

  // Matched rows are those of one key. What is inserted must be found, or not, and put in where its source is.
  std::optional<Error> merge() {
    const auto& items = binder_.sharded_items();
    const auto source = std::find_if(items.begin(), items.end(), [&](const ShardedItem& i) { return reinterpret_cast<const Node*>(i.var) == merge_->sourceRelation; });
    for (const MergeWhenClause* clause : pg::ListOf<MergeWhenClause>(merge_->mergeWhenClauses)) {
      if (auto error = clause->commandType == CMD_UPDATE ? against_new_numbers(clause->targetList) : std::nullopt) return error;
      if (clause->commandType != CMD_INSERT) continue;
      if (source == items.end() || !inserts_key_of(*clause, *source))
        return refusal(concat("MERGE into ", relation_->qualified(), " over several shards that inserts rows which are not made of rows of a sharded table with the same key"),
                       "Merge a table whose sharding key becomes the key; or use INSERT ... ON CONFLICT.");
      if (auto error = against_sequences(inserted_columns(*clause))) return error;
      anchor_ = &*source;
    }
    if (relation_->placement != Placement::sharded) return refusal(concat("MERGE into reference table ", relation_->qualified()), "Use INSERT ... ON CONFLICT, UPDATE or DELETE.");
    return each();
  }

  [[nodiscard]] std::vector<int> inserted_columns(const MergeWhenClause& clause) const {
    std::vector<int> columns;
    for (const ResTarget* column : pg::ListOf<ResTarget>(clause.targetList)) columns.push_back(relation_->column_index(pg::text(column->name)));
    const std::size_t values = pg::ListOf<>(clause.values).size();
    for (std::size_t i = 0; clause.targetList == nullptr && i < values; ++i) columns.push_back(static_cast<int>(i));
    leave_out_ignored(columns, clause.override, *relation_);
    return columns;
  }

  [[nodiscard]] bool inserts_key_of(const MergeWhenClause& clause, const ShardedItem& source) const {
    const auto columns = inserted_columns(clause);
    const pg::ListOf<> values(clause.values);
    for (std::size_t i = 0; i < columns.size() && i < values.size(); ++i)
      if (columns[i] == relation_->key_column) return is_key(values[i], {&source}, context_);
    return false;
  }

  std::optional<Error> take_text() {
    if (text_.is_changed() || explained_) plan_.text = text_.part(begin_, input_.sql.size());
    return std::nullopt;
  }

  // Behind EXPLAIN and its options, which are in parentheses or are other words.
  void find_begin() {
    const auto& tokens = text_.tokens();
    std::size_t depth = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i].kind == TokenKind::open) ++depth;
      if (tokens[i].kind == TokenKind::close) --depth;
      const bool begins = text_.is_word(i, "insert") || text_.is_word(i, "update") || text_.is_word(i, "delete") || text_.is_word(i, "merge") || text_.is_word(i, "with");
      if (depth > 0 || !begins) continue;
      explained_ = i > 0;
      begin_ = explained_ ? tokens[i].begin() : 0;
      return;
    }
  }

  std::optional<Error> insert() {
    if (auto error = against_conflict()) return error;
    if (const OnConflictClause* clause = insert_->onConflictClause)
      if (auto error = against_new_numbers(clause->targetList)) return error;
    const auto* select = pg::as<SelectStmt>(insert_->selectStmt, T_SelectStmt);
    if (select == nullptr) return refusal("INSERT ... DEFAULT VALUES into a sharded table", "Give the key.");
    return select->valuesLists != nullptr ? insert_rows() : insert_select(*select);
  }

  // A conflict is seen by the shard that has both rows: they must have the same key.
  [[nodiscard]] std::optional<Error> against_conflict() const {
    const OnConflictClause* clause = insert_->onConflictClause;
    if (clause == nullptr) return std::nullopt;
    const std::string& key = relation_->columns[static_cast<std::size_t>(relation_->key_column)].name;
    bool holds = true;
    if (const InferClause* infer = clause->infer; infer == nullptr) {
      for (const schema::UniqueIndex& index : relation_->unique_indexes) holds &= has_column(index, key);
    } else if (infer->conname != nullptr) {
      const auto& all = relation_->unique_indexes;
      const auto index = std::find_if(all.begin(), all.end(), [&](const auto& i) { return i.name == pg::text(infer->conname); });
      holds = index != all.end() && has_column(*index, key);
    } else {
      holds = false;
      for (const IndexElem* element : pg::ListOf<IndexElem>(infer->indexElems)) holds |= pg::text(element->name) == key;
    }
    if (holds) return std::nullopt;
    return refusal(concat("ON CONFLICT on a unique key of ", relation_->qualified(), " that does not contain its sharding key ", key, ", over several shards"),
                   concat("Add ", key, " to the unique key, or insert the rows of one shard at a time."));
  }

  // What each shard draws from a sequence of its own is not unique over them.
  [[nodiscard]] std::optional<Error> against_sequences(const std::vector<int>& given) const {
    if (relation_->rule == nullptr || relation_->rule->unique_per_shard) return std::nullopt;
    for (std::size_t i = 0; i < relation_->columns.size(); ++i) {
      const Column& column = relation_->columns[i];
      const bool has_value = std::find(given.begin(), given.end(), static_cast<int>(i)) != given.end();
      if (column.per_shard_sequence && !has_value) return own_number("INSERT into ", column);
    }
    return std::nullopt;
  }

  // SET column = DEFAULT.
  [[nodiscard]] std::optional<Error> against_new_numbers(const List* targets) const {
    if (relation_->rule == nullptr || relation_->rule->unique_per_shard) return std::nullopt;
    for (const ResTarget* set : pg::ListOf<ResTarget>(targets)) {
      const int index = relation_->column_index(pg::text(set->name));
      if (!pg::is(assigned_value(*set), T_SetToDefault) || index < 0) continue;
      const Column& column = relation_->columns[static_cast<std::size_t>(index)];
      if (column.per_shard_sequence) return own_number("UPDATE of ", column);
    }
    return std::nullopt;
  }

  [[nodiscard]] Error own_number(std::string_view verb, const Column& column) const {
    return refusal(concat(verb, relation_->qualified(), " over several shards, whose column ", column.name, " is drawn from each shard's own sequence"),
                   concat("Give ", column.name, " a value, or say unique = \"per_shard\" in the table's rule."));
  }

  // Of SET (a, b) = (x, y), too; null: a subquery's.
  static Node* assigned_value(const ResTarget& set) {
    const auto* several = pg::as<MultiAssignRef>(set.val, T_MultiAssignRef);
    if (several == nullptr) return set.val;
    const auto* row = pg::as<RowExpr>(several->source, T_RowExpr);
    const pg::ListOf<> cells(row == nullptr ? nullptr : row->args);
    const auto column = static_cast<std::size_t>(several->colno - 1);
    return column < cells.size() ? cells[column] : nullptr;
  }

  std::optional<Error> insert_rows() {
    if (binder_.bindings().empty()) return one_shard_;   // it says why the keys are not known
    if (binder_.sharded_items().size() != 1 || insert_->withClause != nullptr)
      return refusal("INSERT of rows of several shards with a query in it", "Run the query first, and give its result as parameters.");
    auto given = columns_of(*insert_, *relation_);
    const auto& values = *reinterpret_cast<const SelectStmt*>(insert_->selectStmt);
    for (List* row : pg::ListOf<List>(values.valuesLists)) {
      const pg::ListOf<> cells(row);
      std::vector<int> own(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(std::min(given.size(), cells.size())));
      for (std::size_t i = 0; i < own.size(); ++i)
        if (pg::is(cells[i], T_SetToDefault)) own[i] = -1;
      if (auto error = against_sequences(own)) return error;
    }
    const auto rows = rows_of(*insert_, text_);
    if (!rows || binder_.bindings().size() != 1 || binder_.bindings().front().values.size() != rows->size())
      return refusal("INSERT whose rows cannot be told apart in its text", "Write VALUES (...), (...) plainly.");
    const auto& tokens = text_.tokens();
    plan_.kind = WritePlan::Kind::rows;
    plan_.head = text_.part(begin_, tokens[rows->front().open].begin());
    for (const RowSpan& row : *rows) plan_.rows.push_back(text_.part(tokens[row.open].begin(), tokens[row.close].end()));
    plan_.tail = text_.part(tokens[rows->back().close].end(), input_.sql.size());
    return std::nullopt;
  }

  std::optional<Error> insert_select(const SelectStmt& select) {
    for (const ShardedItem& item : binder_.sharded_items())
      if (item.var != binder_.write_targets().front().var && item.root != &select)
        return refusal(concat("INSERT into ", relation_->qualified(), " over several shards that reads ", item.relation->qualified(), " in a WITH query"), std::string(kByKey));
    if (select.limitCount != nullptr || select.limitOffset != nullptr)
      return refusal("INSERT ... SELECT with LIMIT or OFFSET, over several shards", "Run the query first, and insert its rows with VALUES.");
    const auto columns = columns_of(*insert_, *relation_);
    if (auto error = against_sequences(columns)) return error;
    const auto position = std::find(columns.begin(), columns.end(), relation_->key_column) - columns.begin();
    const pg::ListOf<ResTarget> targets(select.targetList);
    const auto anchors = anchors_of(&select, binder_);
    const bool plain = std::none_of(targets.begin(), targets.end(), [](const ResTarget* t) { return is_star(t->val); });
    if (!plain || static_cast<std::size_t>(position) >= targets.size() || !is_by_shard(select, context_) ||
        !is_key(targets[static_cast<std::size_t>(position)]->val, anchors, context_))
      return refusal(concat("INSERT into ", relation_->qualified(), " over several shards whose rows are not made of rows with the same sharding key"),
                     "Select the source table's key as the key; or read the rows first, and insert them with VALUES.");
    plan_.kind = WritePlan::Kind::each;
    return take_text();
  }

  // ---- reference tables ----

  std::optional<Error> same() {
    plan_.kind = WritePlan::Kind::same;
    const std::string table = relation_->qualified();
    if (!binder_.touched().sharded.empty())
      return refusal(concat("a write to reference table ", table, " that reads sharded table ", binder_.touched().sharded),
                     "Run the query first, and give its result as parameters.");
    if (relation_->has_triggers)
      return refusal(concat("a write to reference table ", table, ", which has triggers, rules or expressions that call user functions"),
                     "They run on each shard by itself, and may do something else there: run it on each shard's database directly.");
    if (update_ != nullptr && update_->fromClause != nullptr)
      return refusal(concat("UPDATE ... FROM of reference table ", table), "If several rows match, each shard takes one by chance: use a subquery, SET x = (SELECT ...).");
    if (auto error = update_ != nullptr ? fill_update() : insert_ != nullptr ? fill_insert() : std::nullopt) return error;
    return take_text();
  }

  [[nodiscard]] Error own_default(const Column& column) const {
    return refusal(concat("a write to reference table ", relation_->qualified(), " whose column ", column.name, " gets a default that each shard computes by itself"),
                   concat("Give ", column.name, " a value."));
  }

  // DEFAULT in the text.
  std::optional<Error> fill_default(Node* value, int column) {
    if (!pg::is(value, T_SetToDefault)) return std::nullopt;
    if (column < 0) return refusal("DEFAULT of a column that is not known", "RELOAD loads the catalog again.");
    const Column& c = relation_->columns[static_cast<std::size_t>(column)];
    const DefaultKind kind = default_of(c);
    if (kind == DefaultKind::constant) return std::nullopt;
    const int at = reinterpret_cast<SetToDefault*>(value)->location;
    const std::size_t token = at < 0 ? text_.tokens().size() : text_.token_at(static_cast<std::size_t>(at));
    if (kind == DefaultKind::own || !text_.is_word(token, "default")) return own_default(c);
    text_.exchange(text_.tokens()[token].begin(), text_.tokens()[token].end(), fixed_time(time_cast(c)));
    return std::nullopt;
  }

  std::optional<Error> fill_update() {
    for (const ResTarget* set : pg::ListOf<ResTarget>(update_->targetList))
      if (auto error = fill_default(assigned_value(*set), relation_->column_index(pg::text(set->name)))) return error;
    return std::nullopt;
  }

  std::optional<Error> fill_insert() {
    const auto* select = pg::as<SelectStmt>(insert_->selectStmt, T_SelectStmt);
    if (insert_->cols == nullptr && !input_.catalog->from_database()) return refusal("INSERT without a list of columns", "Name the columns.");
    if (select != nullptr && select->valuesLists == nullptr && insert_->onConflictClause != nullptr)
      return refusal(concat("INSERT ... SELECT ... ON CONFLICT into reference table ", relation_->qualified()),
                     "Which row comes first is each shard's affair: insert the rows with VALUES.");
    if (const OnConflictClause* clause = insert_->onConflictClause)
      for (const ResTarget* set : pg::ListOf<ResTarget>(clause->targetList))
        if (auto error = fill_default(assigned_value(*set), relation_->column_index(pg::text(set->name)))) return error;
    return select != nullptr && select->valuesLists != nullptr ? fill_rows(*select) : fill_nothing(select);
  }

  // What is left out must have a default that is the same everywhere.
  std::optional<Error> fill_nothing(const SelectStmt* select) {
    const auto given = select == nullptr ? std::vector<int>() : columns_of(*insert_, *relation_);
    const std::size_t values = select == nullptr ? 0 : insert_->cols != nullptr ? given.size() : pg::ListOf<>(select->targetList).size();
    if (select != nullptr && insert_->cols == nullptr)
      for (const ResTarget* target : pg::ListOf<ResTarget>(select->targetList))
        if (is_star(target->val)) return refusal("INSERT ... SELECT * into a reference table without a list of columns", "Name the columns.");
    for (std::size_t i = 0; i < relation_->columns.size(); ++i) {
      const auto end = given.begin() + static_cast<std::ptrdiff_t>(std::min(values, given.size()));
      if (std::find(given.begin(), end, static_cast<int>(i)) == end && default_of(relation_->columns[i]) != DefaultKind::constant)
        return own_default(relation_->columns[i]);
    }
    return std::nullopt;
  }

  std::optional<Error> fill_rows(const SelectStmt& values) {
    const std::vector<int> given = columns_of(*insert_, *relation_);
    std::vector<std::size_t> times;  // columns to be added to each row
    const pg::ListOf<List> lists(values.valuesLists);
    const std::size_t width = lists.size() == 0 ? 0 : pg::ListOf<>(lists[0]).size();
    for (List* row : lists) {
      const pg::ListOf<> cells(row);
      for (std::size_t i = 0; i < cells.size(); ++i)
        if (auto error = fill_default(cells[i], i < given.size() ? given[i] : -1)) return error;
    }
    for (std::size_t i = 0; i < relation_->columns.size(); ++i) {
      const auto end = given.begin() + static_cast<std::ptrdiff_t>(std::min(width, given.size()));
      if (std::find(given.begin(), end, static_cast<int>(i)) != end) continue;
      const DefaultKind kind = default_of(relation_->columns[i]);
      if (kind == DefaultKind::own) return own_default(relation_->columns[i]);
      if (kind == DefaultKind::time) times.push_back(i);
    }
    return times.empty() ? std::nullopt : add_times(times, width);
  }

  // Writes the default into the text, for the columns that the rows leave out.
  std::optional<Error> add_times(const std::vector<std::size_t>& times, std::size_t width) {
    using Piece = TextTemplate::Piece;
    const auto rows = rows_of(*insert_, text_);
    const bool named = insert_->cols != nullptr;
    const std::size_t list_end = column_list_end(*insert_, text_);
    if (!rows || (named && list_end == text_.tokens().size())) return own_default(relation_->columns[times.front()]);
    std::vector<Piece> cells, names;
    for (std::size_t i = named ? relation_->columns.size() : width; i < times.front(); ++i) cells.push_back({Piece::Kind::text, ", DEFAULT"});
    for (std::size_t t = 0; t < times.size(); ++t) {
      const Column& column = relation_->columns[times[t]];
      if (!named && t > 0)
        for (std::size_t i = times[t - 1] + 1; i < times[t]; ++i) cells.push_back({Piece::Kind::text, ", DEFAULT"});
      cells.push_back({Piece::Kind::text, ", "});
      for (Piece& piece : fixed_time(time_cast(column))) cells.push_back(std::move(piece));
      names.push_back({Piece::Kind::text, concat(", ", schema::quote_ident(column.name))});
    }
    const auto& tokens = text_.tokens();
    if (named) text_.exchange(tokens[list_end].begin(), tokens[list_end].begin(), names);
    for (const RowSpan& row : *rows) text_.exchange(tokens[row.close].begin(), tokens[row.close].begin(), cells);
    return std::nullopt;
  }

  Node* stmt_;
  const AnalysisInput& input_;
  const Binder& binder_;
  const Error& one_shard_;
  ScatterContext context_;
  TextParts text_;
  InsertStmt* insert_ = nullptr;
  UpdateStmt* update_ = nullptr;
  DeleteStmt* delete_ = nullptr;
  MergeStmt* merge_ = nullptr;
  const ShardedItem* anchor_ = nullptr;   // of a MERGE that inserts: what its new rows are made of; else the target is
  const Relation* relation_ = nullptr;
  const List* returning_ = nullptr;
  std::size_t begin_ = 0;     // of what the shards run, in the text
  bool explained_ = false;
  WritePlan plan_;
};

bool uses_now(const WritePlan& plan) {
  return plan.text.uses_now() || plan.head.uses_now() || plan.tail.uses_now() ||
         std::any_of(plan.rows.begin(), plan.rows.end(), [](const TextTemplate& row) { return row.uses_now(); });
}

}  // namespace

ScatterAnswer plan_write(Node* stmt, const AnalysisInput& input, const Survey& survey, const Binder& binder, const Error& one_shard) {
  WritePlanner planner(stmt, input, survey, binder, one_shard);
  ScatterAnswer answer;
  answer.refusal = planner.run();
  if (answer.refusal) return answer;
  auto write = std::make_shared<WritePlan>(planner.take());
  ScatterPlan plan;
  plan.strategy = ScatterPlan::Strategy::write;
  plan.uses_now = uses_now(*write);
  plan.construct = concat(planner.construct(), write->kind == WritePlan::Kind::same ? " of a reference table" : "");
  plan.write = std::move(write);
  plan.refusal = one_shard;
  answer.plan = std::make_shared<const ScatterPlan>(std::move(plan));
  return answer;
}

}  // namespace weir::router
