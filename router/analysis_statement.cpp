#include "router/analysis_statement.hpp"

#include <optional>
#include <utility>

#include "base/strings.hpp"
#include "router/analysis_bind.hpp"
#include "router/analysis_copy.hpp"
#include "router/analysis_hint.hpp"
#include "router/analysis_session.hpp"
#include "router/analysis_survey.hpp"
#include "router/classify.hpp"
#include "router/explain_options.hpp"
#include "router/scatter_planner.hpp"
#include "router/write_planner.hpp"
#include "router/write_schema.hpp"

namespace weir::router {
namespace {

Error refused(std::string message, std::string_view hint) {
  return Error(sqlstate::kFeatureNotSupported, std::move(message), std::string(hint));
}

bool is_query(const Node* node) {
  return pg::is(node, T_SelectStmt) || pg::is(node, T_InsertStmt) || pg::is(node, T_UpdateStmt) ||
         pg::is(node, T_DeleteStmt) || pg::is(node, T_MergeStmt);
}

// A query or a utility statement, with all that has to be known to decide where it goes.
class StatementAnalysis {
 public:
  StatementAnalysis(Node* stmt, std::string_view sql, const AnalysisInput& input)
      : stmt_(stmt), sql_(sql), input_(input), utility_(parts_of(stmt)), query_(query_of(stmt)) {}

  Plan run();

 private:
  static Utility parts_of(Node* stmt);
  static Node* query_of(Node* stmt);
  void look();
  [[nodiscard]] bool runs_query() const;
  void describe(Plan& plan) const;
  [[nodiscard]] SchemaChange schema_change() const;
  void place(Plan& plan) const;
  void place_query(Plan& plan) const;
  bool place_schema(Plan& plan) const;
  [[nodiscard]] std::optional<Error> reason_against() const;
  [[nodiscard]] std::optional<Error> needs_several() const;
  [[nodiscard]] bool may_scatter(const Plan& plan) const;
  [[nodiscard]] bool may_write_scattered(const Plan& plan) const;
  [[nodiscard]] SelectStmt* query_to_scatter() const;
  [[nodiscard]] ScatterAnswer plan_over_shards(const Error& one_shard, bool writes) const;
  bool scatter(Plan& plan, const Error& one_shard) const;
  [[nodiscard]] bool copies_listed_table() const;
  void place_copy(Plan& plan) const;
  void scatter_keyed(Plan& plan) const;
  bool explain(Plan& plan) const;
  [[nodiscard]] std::optional<Error> against_unlisted() const;
  [[nodiscard]] std::optional<Error> against_data_readers() const;
  [[nodiscard]] std::optional<Error> against_utility() const;
  [[nodiscard]] std::optional<Error> against_mixing() const;
  [[nodiscard]] Error too_deep() const;

  Node* stmt_;
  std::string_view sql_;
  const AnalysisInput& input_;
  Utility utility_;
  Node* query_;   // the statement, or what it explains; null: no query
  Survey survey_;
  std::optional<Binder> binder_;
};

Utility StatementAnalysis::parts_of(Node* stmt) {
  if (!is_query(stmt)) return classify_utility(stmt);
  Utility query;
  query.place = Place::query;
  query.queries.push_back(stmt);
  query.effects = {};
  query.may_read_only = true;
  query.verb = Verb::query;
  return query;
}

Node* StatementAnalysis::query_of(Node* stmt) {
  if (auto* explain = pg::as<ExplainStmt>(stmt, T_ExplainStmt)) stmt = explain->query;
  return is_query(stmt) ? stmt : nullptr;
}

// Not an EXPLAIN that only tells how it would.
bool StatementAnalysis::runs_query() const {
  const auto* explain = pg::as<ExplainStmt>(stmt_, T_ExplainStmt);
  return query_ != nullptr && (explain == nullptr || runs(*explain));
}

void StatementAnalysis::look() {
  for (Node* query : utility_.queries) survey(query, *input_.catalog, survey_);
  for (Node* expression : utility_.expressions) survey(expression, *input_.catalog, survey_);
  if (survey_.too_deep) return;
  binder_.emplace(input_, survey_);
  for (Node* query : utility_.queries) binder_->statement(query);
  for (Node* expression : utility_.expressions) binder_->expression(expression);
  for (const RangeVar* var : utility_.reads) binder_->name(*var, Access::read);
  for (const RangeVar* var : utility_.writes) binder_->name(*var, Access::write);
  if (utility_.makes != nullptr) binder_->makes(*utility_.makes);
  for (const auto& [schema, name] : utility_.names) binder_->name(schema, name, Access::write);
  binder_->finish();
}

Error StatementAnalysis::too_deep() const {
  return Error(SqlState{"54001"}, "the statement is nested too deeply to be routed",
               "Write long chains of operators as lists (IN, = ANY, concat()), and move subqueries into WITH.");
}

Plan StatementAnalysis::run() {
  look();
  const bool sharded = input_.catalog->sharded();
  if (survey_.too_deep || (binder_ && binder_->too_deep())) return unparsable(sharded, too_deep());
  Plan plan;
  if (sharded && input_.alone) plan.path = path_call(stmt_);
  if (plan.path) survey_.unread_setting = survey_.effects.sets = survey_.effects.sets_locally = false;   // the session follows it
  describe(plan);
  place(plan);
  return plan;
}

bool into_temporary(const Node* stmt) {
  const auto* select = pg::as<SelectStmt>(stmt, T_SelectStmt);
  for (; select != nullptr; select = select->op == SETOP_NONE ? nullptr : select->larg)
    if (select->intoClause != nullptr && select->intoClause->rel != nullptr)
      return is_temporary(*select->intoClause->rel);
  return false;
}

SchemaChange StatementAnalysis::schema_change() const {
  if (survey_.into) return into_temporary(utility_.queries.front()) ? SchemaChange::none : SchemaChange::at_home;
  const bool is_schema_statement = utility_.verb == Verb::utility && utility_.effects.taints && !is_query(stmt_);
  return is_schema_statement ? schema_change_of(stmt_, *input_.catalog) : SchemaChange::none;
}

void StatementAnalysis::describe(Plan& plan) const {
  const bool writes = survey_.writes || survey_.into;
  plan.verb = is_query(stmt_) && writes ? Verb::dml : utility_.verb;
  plan.returns_copy = utility_.returns_copy;
  plan.parameters = static_cast<std::uint16_t>(std::min(survey_.highest_parameter, 65535));
  plan.effects = utility_.effects;
  plan.effects.add(survey_.effects);
  plan.effects.add(binder_->effects());
  if (survey_.into) plan.effects.taints = true;
  for (const Node* query : utility_.queries) plan.effects.holds |= survey_.into && into_temporary(query);
  if (input_.catalog->sharded()) plan.changes_schema = schema_change();
  const bool changes_nothing = utility_.may_read_only && !writes && survey_.read_only && binder_->read_only();
  plan.read_only = changes_nothing && !survey_.locking;
  plan.locks_rows = changes_nothing && survey_.locking;
  if (survey_.unknown_node != T_Invalid) {
    plan.read_only = plan.locks_rows = false;
    plan.effects.taints = plan.effects.pins = true;
  }
  plan.prepared = utility_.prepared;
  plan.tables = binder_->tables();
  // Not within PREPARE, a rule or the like, which run more than once.
  const bool runs_once = is_query(stmt_) || pg::is(stmt_, T_ExplainStmt);
  if (binder_->fill() && runs_once) plan.fill = std::make_shared<const KeyFill>(*binder_->fill());
  plan.why = survey_.why;
  plan.why.insert(plan.why.end(), binder_->why().begin(), binder_->why().end());
}

void StatementAnalysis::place(Plan& plan) const {
  if (!input_.catalog->sharded()) {
    plan.target = survey_.own_setting ? Target::refused : Target::home;
    if (survey_.own_setting)
      plan.refusal = refused("set_config() of a setting of Weir's own", "Use SET or SET LOCAL: no server knows these settings.");
    return;
  }
  if (place_schema(plan)) return;
  plan.refusal = reason_against();
  if (!plan.refusal && copies_listed_table()) return place_copy(plan);
  const std::optional<Error> several = plan.refusal ? std::nullopt : needs_several();
  if (several && scatter(plan, *several)) return;
  if (plan.refusal) {
    plan.target = Target::refused;
    plan.why.push_back(plan.refusal->message);
    return;
  }
  switch (utility_.place) {
    case Place::session:
      plan.target = Target::no_table;
      return;
    case Place::query:
    case Place::named:
      return place_query(plan);
    case Place::home:
    case Place::every_shard:  // refused above
    case Place::nowhere:
      plan.target = Target::home;
      plan.why.push_back("runs on the home shard");
      return;
  }
}

// DDL and the like. False: another kind of statement.
bool StatementAnalysis::place_schema(Plan& plan) const {
  if (is_query(stmt_) || survey_.unknown_node != T_Invalid) return false;
  SchemaAnswer answer = plan_schema(stmt_, utility_, input_, *binder_, construct_of(sql_));
  if (answer.where == SchemaAnswer::Where::elsewhere) return false;
  if (auto error = against_unlisted()) answer = {SchemaAnswer::Where::refused, nullptr, std::move(error)};
  if (answer.where == SchemaAnswer::Where::every && !input_.alone) answer = {SchemaAnswer::Where::refused, nullptr, answer.plan->refusal};
  switch (answer.where) {
    case SchemaAnswer::Where::elsewhere:
      break;
    case SchemaAnswer::Where::home:
      plan.target = Target::home;
      plan.why.push_back("runs on the home shard");
      break;
    case SchemaAnswer::Where::every:
      plan.target = Target::scatter;
      plan.why.push_back("every shard: it concerns what every shard has");
      plan.scatter = std::move(answer.plan);
      break;
    case SchemaAnswer::Where::refused:
      plan.target = Target::refused;
      plan.refusal = std::move(answer.refusal);
      plan.why.push_back(plan.refusal->message);
      break;
  }
  return true;
}

// What no server has to be asked for afterwards: a server that ran code of the user's is cleaned before another client has it.
bool StatementAnalysis::may_write_scattered(const Plan& plan) const {
  Effects rest = plan.effects;
  rest.taints = rest.opaque = rest.releases = false;
  return input_.alone && query_ != nullptr && survey_.writes && !survey_.into && rest == Effects{} && !survey_.home;
}

// COPY of reference tables out reads them like a query.
bool StatementAnalysis::copies_listed_table() const {
  const Touched& touched = binder_->touched();
  const bool writes_reference = utility_.verb == Verb::copy_from && !touched.reference.empty();
  return copies_table(stmt_) && (writes_reference || !touched.sharded.empty());
}

void StatementAnalysis::place_copy(Plan& plan) const {
  const auto& stmt = *reinterpret_cast<const CopyStmt*>(stmt_);
  const RangeVar& name = *stmt.relation;
  const schema::Relation* table = input_.catalog->find_relation(pg::text(name.schemaname), pg::text(name.relname), input_.search_path);
  auto copy = plan_copy(stmt, *table, input_);
  if (!copy) {
    plan.refusal = copy.take_error();
    plan.target = Target::refused;
    plan.why.push_back(plan.refusal->message);
    return;
  }
  plan.target = Target::scatter;
  plan.scatter = std::move(*copy);
  plan.why.push_back(concat("every shard: ", plan.scatter->construct));
}

// The statement, or the query that it copies to the client.
SelectStmt* StatementAnalysis::query_to_scatter() const {
  if (query_ != nullptr) return pg::as<SelectStmt>(query_, T_SelectStmt);
  const auto* copy = pg::as<CopyStmt>(stmt_, T_CopyStmt);
  return copy != nullptr && utility_.verb == Verb::copy_to ? pg::as<SelectStmt>(copy->query, T_SelectStmt) : nullptr;
}

// Only what is proven to read (and lock rows), and leaves nothing behind.
bool StatementAnalysis::may_scatter(const Plan& plan) const {
  return input_.alone && query_to_scatter() != nullptr && (plan.verb == Verb::query || plan.verb == Verb::copy_to) && (plan.read_only || plan.locks_rows) &&
         plan.effects == Effects{} && !survey_.home && !binder_->touched().sharded.empty();
}

ScatterAnswer StatementAnalysis::plan_over_shards(const Error& one_shard, bool writes) const {
  if (writes) return plan_write(query_, input_, survey_, *binder_, one_shard);
  ScatterAnswer answer = plan_scatter(query_to_scatter(), input_, survey_, *binder_, one_shard);
  const bool own_text = answer.plan != nullptr && answer.plan->strategy == ScatterPlan::Strategy::stream && answer.plan->shard_sql.empty();
  if (own_text && pg::is(stmt_, T_ExplainStmt)) {
    answer.refusal = refused("EXPLAIN of a statement of this size over several shards", "Explain one with fewer values.");
    answer.plan.reset();
  }
  const auto* copy = pg::as<CopyStmt>(stmt_, T_CopyStmt);
  if (copy == nullptr || answer.plan == nullptr) return answer;
  auto copied = plan_copy_of_query(*copy, *answer.plan);
  answer.plan = copied ? std::move(*copied) : nullptr;
  if (!copied) answer.refusal = copied.take_error();
  return answer;
}

// Plans a statement that no single shard answers, or says why not.
bool StatementAnalysis::scatter(Plan& plan, const Error& one_shard) const {
  const bool writes = may_write_scattered(plan);
  if (!writes && !may_scatter(plan)) {
    plan.refusal = one_shard;
    return false;
  }
  ScatterAnswer answer = plan_over_shards(one_shard, writes);
  if (answer.plan != nullptr && !explain(plan)) return false;
  if (answer.plan == nullptr) {
    plan.refusal = against_mixing() ? one_shard : answer.refusal;
    return false;
  }
  plan.why.push_back(concat("every shard: ", one_shard.message));
  plan.target = Target::scatter;
  plan.scatter = std::move(answer.plan);
  return true;
}

namespace {

bool same_value(const KeySource& a, const KeySource& b) {
  return a.kind == b.kind && a.index == b.index && a.negated == b.negated && a.type == b.type && a.value == b.value && a.computed == b.computed;
}

// May the keys lie on several shards?
bool may_differ(const std::vector<Binding>& bindings) {
  const KeySource& first = bindings.front().values.front();
  for (const Binding& binding : bindings)
    for (const KeySource& source : binding.values)
      if (source.kind == KeySource::Kind::parameter_array || !same_value(source, first)) return true;
  return false;
}

}  // namespace

// Its keys are known, but perhaps not of one shard.
void StatementAnalysis::scatter_keyed(Plan& plan) const {
  const bool writes = may_write_scattered(plan);
  if (!(writes || may_scatter(plan)) || !may_differ(plan.bindings)) return;
  const Error one_shard = refused(concat("the statement needs several shards: keys of table ", binder_->touched().sharded,
                                         " lie on them"),
                                  "Bind the key to one value, or run one statement a shard.");
  ScatterAnswer answer = plan_over_shards(one_shard, writes);
  plan.scatter = std::move(answer.plan);
  if (writes) plan.apart = std::move(answer.refusal);
  if (plan.scatter == nullptr || explain(plan)) return;
  plan.scatter.reset();   // the refusal matters where the keys do lie on several shards only
  plan.refusal.reset();
}

// Of EXPLAIN: how. False: it cannot be done of several shards, and plan.refusal says why.
bool StatementAnalysis::explain(Plan& plan) const {
  const auto* stmt = pg::as<ExplainStmt>(stmt_, T_ExplainStmt);
  if (stmt == nullptr) return true;
  auto how = explain_plan(*stmt);
  if (!how) {
    plan.refusal = how.take_error();
    return false;
  }
  plan.explain = std::make_shared<const ExplainPlan>(std::move(*how));
  return true;
}

void StatementAnalysis::place_query(Plan& plan) const {
  const Touched& touched = binder_->touched();
  if (!touched.sharded.empty()) {
    plan.target = Target::keyed;
    plan.bindings = binder_->bindings();
    plan.why.push_back(concat("the key of ", touched.sharded, " is bound"));
    scatter_keyed(plan);
  } else if (touched.home() || survey_.home) {
    plan.target = Target::home;
    plan.why.push_back(!touched.unlisted.empty()  ? concat(touched.unlisted, " is not listed: it is on the home shard")
                       : !touched.catalog.empty() ? concat(touched.catalog, " is the home shard's")
                                                  : concat(survey_.home_function, "() is the home shard's"));
  } else if (!touched.reference.empty()) {
    plan.target = Target::any;
    plan.why.push_back(concat(touched.reference, " is a reference table: every shard has it"));
  } else {
    plan.target = Target::no_table;
    plan.why.push_back("names no table");
  }
}

std::optional<Error> StatementAnalysis::reason_against() const {
  if (survey_.unknown_node != T_Invalid)
    return refused("the statement holds a construct that Weir does not know", "Run it on a shard's database directly.");
  if (auto error = against_unlisted()) return error;
  if (auto error = against_utility()) return error;
  const std::string& view = binder_->touched().reaches_sharded;
  if (!view.empty())
    return refused(
        concat("view ", view, " reaches sharded tables"),
        "Write its query into the statement, with the key bound; views over sharded tables come with a later version.");
  if (auto error = against_data_readers()) return error;
  if (survey_.unread_setting)
    return refused("set_config() may change how Weir must read statements: the setting is search_path or its like, or not written as a constant",
                   "Use SET or SET LOCAL, which Weir follows.");
  if (!binder_->refusal()) return std::nullopt;
  if (auto error = against_mixing()) return error;
  return binder_->refusal();
}

// What one shard alone cannot do, and several may.
std::optional<Error> StatementAnalysis::needs_several() const {
  if (auto error = against_mixing()) return error;
  if (runs_query() && !binder_->touched().reference_written.empty())
    return refused(concat("writing reference table ", binder_->touched().reference_written, " needs every shard"),
                   "Send it as a statement of its own.");
  if (binder_->unbound()) return binder_->unbound();
  // Whatever way a sharded table was named: without a binding there is no shard.
  const std::string& table = binder_->touched().sharded;
  if (!table.empty() && binder_->bindings().empty())
    return refused(concat("nothing binds the sharding key of table ", table),
                   "Compare its key with a constant or parameter.");
  return std::nullopt;
}

std::optional<Error> StatementAnalysis::against_unlisted() const {
  const std::string& table = binder_->touched().rejected;
  if (table.empty()) return std::nullopt;
  return refused(concat("table ", table, " is not listed, and unlisted_tables is \"reject\""),
                 "List it in weir.toml (of a view, the tables that it reads), or set unlisted_tables = \"home\".");
}

std::optional<Error> StatementAnalysis::against_utility() const {
  const Touched& touched = binder_->touched();
  const std::string construct = construct_of(sql_);
  if (utility_.place == Place::nowhere)
    return refused(concat(construct, " cannot be routed: what its body touches is not known"),
                   "Send its statements one by one, or run it on a shard's database directly.");
  if (utility_.place != Place::named || copies_table(stmt_)) return std::nullopt;  // else what EXPLAIN shows, and COPY of files
  const bool only_reads = utility_.writes.empty() && utility_.names.empty() && utility_.queries.empty();
  if (!touched.sharded.empty() || (!touched.reference.empty() && !only_reads)) {
    const std::string& table = touched.sharded.empty() ? touched.reference : touched.sharded;
    const bool copy = pg::is(stmt_, T_CopyStmt);
    return refused(concat(construct, copy ? " between a file and " : " on ", table, " cannot be routed", copy ? "" : " yet"),
                   copy ? std::string_view("A server's files and programs are one shard's: use COPY FROM STDIN or TO STDOUT (\\copy of psql).")
                        : std::string_view("Run it on each shard's database directly (psql)."));
  }
  return std::nullopt;
}

std::optional<Error> StatementAnalysis::against_data_readers() const {
  if (binder_->calls_data_reader())
    return refused("a function called in attribute notation may read sharded tables", "Call functions by their names.");
  if (survey_.reads_data.empty()) return std::nullopt;
  if (survey_.reads_data_unknown)
    return refused(
        concat("function ", survey_.reads_data, "() is not known, so it may read sharded tables"),
        "If it exists, it was made since the catalog was loaded: RELOAD on the admin console loads it again.");
  return refused(concat("function ", survey_.reads_data, "() may read sharded tables"),
                 "A function sees one shard's rows only. Write its query into the statement, or run it on a shard's "
                 "database directly; one that reads no table can be declared IMMUTABLE.");
}

std::optional<Error> StatementAnalysis::against_mixing() const {
  const Touched& touched = binder_->touched();
  if (touched.sharded.empty()) return std::nullopt;
  if (touched.home()) {
    const std::string& other = touched.unlisted.empty() ? touched.catalog : touched.unlisted;
    return refused(concat("table ", touched.sharded, " is sharded and ", other, " is on the home shard only"),
                   concat("List ", other, " with reference = true (or with a key), or send two statements."));
  }
  if (survey_.home)
    return refused(
        concat("function ", survey_.home_function, "() belongs to the home shard and table ", touched.sharded,
               " is sharded"),
        concat("Call ", survey_.home_function, "() in a statement of its own, and give its result as a parameter."));
  return std::nullopt;
}

// Statements of one session or transaction: their place is the session's affair, but for a few.
void place_control(const Node* stmt, const AnalysisInput& input, Plan& plan) {
  if (!input.catalog->sharded()) {
    if (plan.target == Target::no_table) plan.target = Target::home;
    return;
  }
  const auto* transaction = pg::as<TransactionStmt>(stmt, T_TransactionStmt);
  if (transaction != nullptr && plan.verb == Verb::utility) {
    plan.refusal = refused("two-phase commit by the client cannot be routed",
                           "Use COMMIT: Weir makes transactions over several shards atomic by itself.");
  }
  if (plan.verb == Verb::set_constraints) place_constraints(*reinterpret_cast<const ConstraintsSetStmt*>(stmt), input, plan);
  if (plan.refusal) plan.target = Target::refused;
}

}  // namespace

Plan unparsable(bool sharded, Error why) {
  Plan plan;
  plan.verb = Verb::unparsable;
  plan.target = sharded ? Target::refused : Target::home;
  plan.effects = {.taints = true, .pins = true};
  plan.why.push_back(why.message);
  plan.refusal = std::move(why);
  return plan;
}

Plan analyse_statement(Node* stmt, std::string_view sql, const AnalysisInput& input) {
  Plan plan;
  if (classify_own_setting(stmt, *input.catalog, plan)) return plan;
  if (!classify_control(stmt, plan)) return StatementAnalysis(stmt, sql, input).run();
  place_control(stmt, input, plan);
  return plan;
}

}  // namespace weir::router
