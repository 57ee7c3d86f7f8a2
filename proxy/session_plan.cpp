// Planning a batch: what each message asks for, and what the batch as a whole therefore needs. No suspension in here.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "router/scatter_plan.hpp"

namespace weir::proxy {

using router::Plan;
using router::Target;
using router::Verb;

namespace {

constexpr std::size_t kBeforeFirst = ~std::size_t{0};

Error cannot_go_on(std::string_view why) {
  return {sqlstate::kFeatureNotSupported, concat("this transaction cannot go on to a second shard: ", why),
          "Put BEGIN first in its string, use SET LOCAL instead of set_config(), or end the transaction first."};
}

// Transaction control and settings change no data; what touches no table and leaves no trace neither.
bool may_write(const Plan& plan) {
  switch (plan.verb) {
    case Verb::dml:
    case Verb::copy_from:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return true;
    case Verb::query:
    case Verb::copy_to: return !plan.read_only && (plan.target != Target::no_table || plan.effects.taints || plan.effects.opaque);
    case Verb::empty:
    case Verb::begin:
    case Verb::commit:
    case Verb::rollback:
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::rollback_to_savepoint:
    case Verb::set:
    case Verb::set_local:
    case Verb::set_transaction:
    case Verb::set_constraints:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::discard_all:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::listen:
    case Verb::unlisten:
    case Verb::own_setting: return false;
  }
  return true;
}

// What these leave behind the session knows itself (settings_, names_).
bool is_tracked(Verb verb) {
  return verb == Verb::set || verb == Verb::set_local || verb == Verb::set_transaction || verb == Verb::set_constraints || verb == Verb::reset ||
         verb == Verb::reset_all || verb == Verb::discard_all;
}

// Statements that wait with a held BEGIN until a shard is known.
bool may_be_held(Verb verb) {
  return verb == Verb::begin || verb == Verb::savepoint || verb == Verb::release_savepoint || verb == Verb::rollback_to_savepoint ||
         verb == Verb::set_local || verb == Verb::set_transaction || verb == Verb::set_constraints;
}

// Statements whose text the transaction's log may need.
bool may_be_logged(Verb verb) { return may_be_held(verb) || verb == Verb::reset || verb == Verb::reset_all; }

// May it name tables that only the home shard has? (What reads several shards may be finished there, beside its own tables.)
bool may_read_home(const Plan& plan) { return plan.target == Target::home || plan.target == Target::scatter; }

// On a sharded database, text that the parser rejects as wrong (not as too deep, or not text at all): the server is asked what it is.
bool is_newer_than_parser(const Plan& plan) {
  return plan.verb == Verb::unparsable && plan.target == Target::refused && plan.refusal->code == sqlstate::kFeatureNotSupported;
}

bool safe_encoding(std::string_view sql) {
  const std::string lower = ascii_lower(sql);
  for (const char* unsafe : {"sjis", "shift_jis", "big5", "gbk", "uhc", "gb18030", "johab", "euc", "mule"})
    if (lower.find(unsafe) != std::string::npos) return false;
  return true;
}

}  // namespace

// ---- the batch ----

void Session::plan_batch(BatchEnd& end) {
  planned_generation_ = planner().generation();
  raw_ = true;
  had_unnamed_ = has_unnamed_;
  unnamed_replaced_ = false;
  unresolved_types_ = false;
  if (!in_transaction() && !mid_sequence_) {
    counted_shard_.reset();
    counted_spanning_ = false;
  }
  refresh_context();
  for (std::size_t i = 0; i < work_->ops.size() && !work_->decision.error; ++i) {
    work_->decision.error_at = i;
    const bool was_scattered = work_->decision.scatter;
    plan_op(i);
    if (!was_scattered && work_->decision.scatter && cut_at_boundary(i, end)) {
      i = kBeforeFirst;
    } else if (work_->ops[i].type == 'E' && work_->ops[i].plan) {
      const Plan& plan = *work_->ops[i].plan;
      const bool ends = plan.verb == Verb::commit || plan.verb == Verb::rollback;
      const bool ends_spread = ends && (work_->decision.scatter || spread_);
      if (!ends_spread && !changes_what_follows(plan) && !changes_schema_of_block(plan)) continue;
      const bool is_cut = end_batch_behind(i, end);
      cut_apart_ |= is_cut && ends && !ends_spread;
    }
  }
  put_rewritten();
  // More may follow before the Sync: only the primary can take whatever it is.
  if (end == BatchEnd::flush) work_->decision.read_only = false;
}

// What stands behind such an Execute means something else once it ran: COPY data, names that are gone or mean other tables, statements that run
// elsewhere.
bool Session::changes_what_follows(const Plan& plan) const {
  constexpr auto kText = SessionSettings::Reads::text;
  const bool sharded = database_->state->sharded();
  switch (plan.verb) {
    case Verb::discard_all:
    case Verb::copy_from:
    case Verb::own_setting: return true;
    case Verb::set:
    case Verb::set_local:
    case Verb::reset: return sharded && router::changes_routing(plan.setting);
    case Verb::reset_all: return sharded && settings_.reset_changes(kText);
    case Verb::commit:
    case Verb::rollback: return sharded && settings_.end_changes(kText);
    case Verb::rollback_to_savepoint: return sharded && settings_.savepoints_change(kText);
    default: return sharded && plan.path.has_value();
  }
}

// Behind it the transaction's own catalog is another.
bool Session::changes_schema_of_block(const Plan& plan) const {
  if ((transaction_ != Transaction::open && transaction_ != Transaction::held) || !database_->state->sharded()) return false;
  const bool ends = plan.verb == Verb::commit || plan.verb == Verb::rollback || plan.verb == Verb::rollback_to_savepoint;
  return (plan.verb == Verb::utility && plan.effects.taints) || (ends && own_router_);
}

// What follows in the pipeline is planned when this message has happened. False: nothing does.
bool Session::end_batch_behind(std::size_t index, BatchEnd& end) {
  if (index + 1 == work_->ops.size() || work_->ops[index + 1].type == 'S') return false;
  scanned_ = work_->ops[index + 1].offset;
  work_->ops.resize(index + 1);
  flush_after_ = true;
  end = BatchEnd::flush;
  return true;
}

// While the batch waited for a server, a reload may have moved its rows to another shard.
bool Session::plan_is_stale() const {
  return planned_generation_ != planner().generation() && !was_held();
}

// As if the batch had just come in.
void Session::forget_plan() {
  undo_names_from(0);
  take_unnamed_back();
  for (const auto& [index, message] : work_->rewritten) work_->ops[index].filled.reset();   // those that are in input_ already stay
  work_->rewritten.clear();
  for (Op& op : work_->ops) {
    op.plan.reset();
    op.text.reset();
    op.statement.reset();
    op.interned.reset();
    op.local = 0;
    op.prepared.reset();
  }
  unresolved_types_ = false;
  work_->decision = {};
}

// The server, clean and unused, goes back.
void Session::take_plan_back() {
  forget_plan();
  if (work_->queued_at) std::exchange(work_->queued_at, nullptr)->cancel(work_->request);
  if (server_ == pinned_)
    server_ = nullptr;
  else if (server_)
    server_->pool->release(std::exchange(server_, nullptr), worker_.loop().now());
  if (transaction_ == Transaction::held) transaction_shard_.reset();
}

// What the messages from `first` on gave names to, and took them from: they did not happen.
void Session::undo_names_from(std::size_t first) {
  // Backwards, one by one: what a Parse named a Close of the same batch may have removed.
  for (std::size_t i = work_->ops.size(); i > first; --i) {
    restore_names(work_->ops[i - 1]);
    forget_new_name(work_->ops[i - 1]);
  }
}

void Session::forget_new_name(const Op& op) {
  if (!op.statement || (op.type != 'P' && !(op.plan && op.plan->verb == Verb::prepare))) return;
  const auto* entry = names_.find(op.name);
  if (entry && entry->statement == op.statement) names_.remove(op.name);
}

void Session::plan_op(std::size_t index) {
  Op& op = work_->ops[index];
  const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
  switch (op.type) {
    case 'Q': return plan_query(op, body);
    case 'P': return plan_parse(op, body);
    case 'B': return plan_bind(op, body);
    case 'E': return plan_execute(op, body);
    case 'D':
    case 'C': return plan_named(op, body);
    case 'F':
      work_->decision.runs = work_->decision.home = true;
      work_->decision.read_only = false;
      work_->decision.effects.opaque = true;
      if (database_->state->sharded())
        refuse({sqlstate::kFeatureNotSupported, "FunctionCall is not supported on a sharded database",
                "Call the function in a SELECT statement."});
      return;
    default: return;   // Sync, Flush
  }
}

// What of the session changes a statement's meaning; recomputed only when its settings changed.
void Session::refresh_context() {
  if (context_of_ == settings_.reading()) return;
  context_of_ = settings_.reading();
  standard_conforming_strings_ = safe_encoding_ = server_encoding_ = true;
  if (!context_of_) return;
  for (const Setting& s : context_of_->settings) {
    if (s.name == "standard_conforming_strings") {
      const std::string value = value_of(s.sql);
      standard_conforming_strings_ = value == "on" || value == "true" || value == "yes" || value == "1" || value == "t" || value == "y";
    } else if (s.name == "client_encoding") {
      safe_encoding_ = safe_encoding(s.sql);
      server_encoding_ = false;   // its start-up value is not kept where it is the server's own
    }
  }
}

router::SessionContext Session::context() const {
  router::SessionContext c;
  c.search_path = context_of_ && !context_of_->search_path.empty() ? context_of_->search_path : default_search_path_;
  c.user = server_user_;
  c.standard_conforming_strings = standard_conforming_strings_;
  c.ascii_safe_encoding = safe_encoding_;
  if (const RouteSettings* route = settings_.route()) c.hints = route->hints();
  return c;
}

void Session::plan_query(Op& op, ByteView body) {
  auto sql = wire::read_query(body);
  if (!sql) return refuse(sql.error());
  router::Planned planned = planner().plan(*sql, {}, context());
  op.plan = planned.plan;
  has_unnamed_ = false;   // a simple Query drops the unnamed statement
  if (op.plan->fill)
    if (const auto filled = fill_query(op, *sql)) {
      sql = wire::read_query(*filled);
      planned = planner().plan(*sql, {}, context());
      op.plan = planned.plan;
    }
  const router::Arguments arguments{*sql, planned.literals, {}, {}, server_encoding_};
  if (database_->observer) observe_route(database_->observer->plan(*sql, {}, context()).plan.get(), arguments);
  if (op.plan->path && !take_path(*op.plan, arguments, op.text)) return;
  count_in(*op.plan, &arguments);
  if (!op.plan->prepared.empty()) plan_prepared_query(op, *sql);
  if (op.plan->verb == Verb::own_setting) answer_in_place(op);
}

void Session::plan_parse(Op& op, ByteView body) {
  database_->stats->client_parses.add();
  const auto parse = wire::read_parse(body);
  if (!parse) return refuse(parse.error());
  PreparedStatement* statement = nullptr;
  if (!parse->statement.empty()) {
    raw_ = false;
    op.name = parse->statement;
    if (names_.find(op.name))
      return refuse({sqlstate::kDuplicatePreparedStatement, concat("prepared statement \"", op.name, "\" already exists")});
    op.statement = std::make_shared<PreparedStatement>();
    statement = op.statement.get();
  } else {
    statement = &make_unnamed();
  }
  read_into(*statement, *parse);
  op.plan = statement->plan;
  op.filled = statement->filled;
  if (op.filled) raw_ = false;
  if (auto against = against_hints(*op.plan)) return refuse(std::move(*against));
  if (op.plan->hinted && op.plan->refusal) return refuse(*op.plan->refusal);
  const bool ends_nothing = op.plan->verb == Verb::query || op.plan->verb == Verb::dml || is_tracked(op.plan->verb);
  if (op.statement && ends_nothing && is_aborted()) return refuse(transaction_is_aborted());   // also where a server has it already
  if (op.statement && !fits_client(op.name, *statement)) return;
  if ((!op.plan->prepared.empty() && op.plan->verb != Verb::multi) || op.plan->verb == Verb::own_setting) return plan_prepared_parse(op);
  note_place(*op.plan);
  if (op.statement) {
    op.interned = intern(*statement);
    if (!op.interned) return refuse(too_many_texts());
    statement->id = op.interned->id;
    names_.add(op.name, {op.statement, op.interned});
  } else {
    has_unnamed_ = true;
    statement->id = worker_.next_unnamed();
  }
  if (is_newer_than_parser(*op.plan))
    work_->decision.check_only = true;
  else if (op.plan->target == Target::refused)
    refuse(*op.plan->refusal);
  else if (may_read_home(*op.plan) && transaction_ == Transaction::open && server_ && server_shard_ != schema::kHomeShard)
    spread_out();   // the server that the transaction has does not know its tables
}

// Where the batch's next unnamed Parse is read into. Messages before it mean the old one, and it may be skipped: that is kept.
PreparedStatement& Session::make_unnamed() {
  if (!std::exchange(unnamed_replaced_, true)) std::swap(unnamed_, work_->unnamed_before);
  if (!unnamed_) unnamed_ = std::make_unique<PreparedStatement>();
  return *unnamed_;
}

const PreparedStatement& Session::statement_at(const std::unique_ptr<PreparedStatement>& place) {
  static const PreparedStatement none;
  return place ? *place : none;
}

// All that the statement was before, another client's perhaps, is gone.
void Session::read_into(PreparedStatement& statement, const wire::ParseView& parse) {
  statement.id = 0;
  statement.type_names.clear();
  statement.sql = parse.query;
  statement.types.resize(parse.types);
  for (std::size_t i = 0; i < parse.types; ++i) statement.types[i] = parse.type(i);
  statement.by_protocol = true;
  statement.filled.reset();
  replan(statement);
}

// Equal texts are one statement on a server only if they mean the same: a literal of type timestamptz is read by the TimeZone
// of its Parse. What SET LOCAL or the same batch changed is known to this session alone.
InternedRef Session::intern(const PreparedStatement& statement) const {
  bool own = set_locally_;
  for (const Op& op : work_->ops) own |= op.plan && (op.plan->verb == Verb::set || op.plan->verb == Verb::set_local || op.plan->verb == Verb::reset);
  std::string scope = concat(database_->name, "/", user_, "/", context().search_path);
  if (context_of_) scope += concat("/", context_of_->meaning);
  if (own) scope += concat("/session ", std::to_string(id_));
  return intern_statement(scope, statement.sql, statement.types);
}

void Session::replan(PreparedStatement& statement) {
  if (statement.filled) empty_statement(statement);
  router::Planned planned = planner().plan(statement.sql, statement.types, context());
  statement.plan = planned.plan;
  if (statement.plan->fill && statement.by_protocol) {
    fill_statement(statement);
    planned = planner().plan(statement.sql, statement.types, context());
    statement.plan = planned.plan;
  }
  statement.literals.assign(planned.literals.begin(), planned.literals.end());
  statement.observed = database_->observer ? database_->observer->plan(statement.sql, statement.types, context()).plan : nullptr;
  statement.generation = planner().generation();
  statement.planned_for = context_of_;
  statement.planned_hints = hints_version();
}

PreparedStatement* Session::find_statement(Op& op, std::string_view name) {
  PreparedStatement* statement = nullptr;
  if (name.empty()) {
    if (has_unnamed_) statement = unnamed_.get();
  } else {
    raw_ = false;
    if (const auto* entry = names_.find(name)) {
      op.statement = entry->statement;
      op.interned = entry->interned;
      statement = op.statement.get();
    }
  }
  if (!statement) {
    refuse({sqlstate::kInvalidStatementName, name.empty() ? std::string("unnamed prepared statement does not exist")
                                                          : concat("prepared statement \"", name, "\" does not exist")});
    return nullptr;
  }
  const bool other_settings = statement->planned_for != context_of_;
  bool other_text = false;
  if (other_settings || statement->planned_hints != hints_version() || statement->generation != planner().generation()) {
    const std::string before = statement->filled ? statement->sql : std::string();
    replan(*statement);
    other_text = before != (statement->filled ? std::string_view(statement->sql) : std::string_view());
  }
  if (other_text && name.empty()) statement->id = worker_.next_unnamed();
  if ((other_settings || other_text) && op.interned) {
    op.interned = intern(*statement);
    if (!op.interned) {
      refuse(too_many_texts());
      return nullptr;
    }
    statement->id = op.interned->id;
    names_.add(name, {op.statement, op.interned});
  }
  op.plan = statement->plan;
  return statement;
}

void Session::plan_bind(Op& op, ByteView body) {
  database_->stats->binds.add();
  auto bind = wire::read_bind(body);
  if (!bind) return refuse(bind.error());
  PreparedStatement* statement = find_statement(op, bind->statement);
  if (!statement) return;
  if (statement->filled && !op.filled) {
    const auto filled = fill_bind(op, *bind, statement->filled);
    if (!filled) return;
    bind = wire::read_bind(*filled);
  }
  if (op.plan->verb == Verb::empty && is_aborted()) return refuse(transaction_is_aborted());
  if (!op.plan->prepared.empty() && op.plan->verb != Verb::multi) return plan_prepared_bind(op, *bind, *statement);
  auto& parameters = worker_.parameters;
  parameters.resize(bind->parameters);
  wire::for_each_parameter(*bind, [&](std::size_t i, const wire::BindParameter& p) {
    parameters[i] = {p.is_null, bind->binary(i), p.value};
  });
  const router::Arguments arguments{statement->sql, statement->literals, parameters, statement->types, server_encoding_};
  observe_route(statement->observed.get(), arguments);
  if (op.plan->path && !take_path(*op.plan, arguments, op.text)) return;
  Portal* const portal = bind_portal(bind->portal, op.plan, op.text ? *op.text : statement->sql);
  if (!portal) return;
  count_in(*op.plan, &arguments);
  if (op.plan->verb == Verb::own_setting) bind_own_setting(op, *bind, *statement, *portal);
}

// Null: refused.
Portal* Session::bind_portal(std::string_view name, const router::PlanRef& plan, std::string_view sql) {
  const bool sets = plan->verb == Verb::set || plan->verb == Verb::set_local || plan->path;
  const bool text_matters = sets || runs_in_proxy(*plan) || (database_->state->sharded() && may_be_logged(plan->verb));
  Portal* portal = work_->portals.add(name, plan, text_matters ? std::make_shared<const std::string>(sql) : nullptr);
  if (!portal)
    refuse({sqlstate::kConfigurationLimit, concat("the portals of this client's transaction take more than ", std::to_string(Portals::kMaxBytes), " bytes"),
            "Close portals that are no longer used."});
  return portal;
}

void Session::plan_named(Op& op, ByteView body) {
  const auto named = wire::read_named(body, op.type == 'D' ? "Describe" : "Close");
  if (!named) return refuse(named.error());
  if (named->kind != 'S') {
    const Portal* portal = work_->portals.find(named->name);
    if (portal) op.plan = portal->plan;
    if (portal && op.type == 'D' && op.plan->verb == Verb::own_setting) answer_in_place(op, portal->format == 0 ? kOwnPortal : kOwnBinaryPortal);
    const bool unknown = portal && !portal->executes && !portal->executes_name.empty() && portal->plan->verb == Verb::execute;
    if (portal && op.type == 'D' && (unknown || runs_in_proxy(*portal->plan))) {
      raw_ = false;
      op.local = 'n';
    }
    if (op.type == 'C') work_->portals.close(named->name);
    return;
  }
  if (op.type == 'D') {
    const PreparedStatement* statement = find_statement(op, named->name);
    if (statement) op.filled = statement->filled;
    if (statement && !op.plan->prepared.empty() && op.plan->verb != Verb::multi) plan_prepared_describe(op, *statement);
    if (statement && op.plan->verb == Verb::own_setting) answer_in_place(op);
    if (statement) note_place(*op.plan);
    return;
  }
  raw_ = false;   // the server keeps its copy for others; closing a name that does not exist is no error
  if (named->name.empty()) {
    has_unnamed_ = false;
  } else if (const auto* entry = names_.find(named->name)) {
    op.name = named->name;   // kept, should the server skip this Close
    op.statement = entry->statement;
    op.interned = entry->interned;
    names_.remove(op.name);
  }
}

void Session::plan_execute(Op& op, ByteView body) {
  const auto execute = wire::read_execute(body);
  if (!execute) return refuse(execute.error());
  const Portal* portal = work_->portals.find(execute->portal);
  if (!portal) return;
  op.plan = portal->plan;
  note_channels(*op.plan);
  op.text = portal->sql;
  if (op.plan->target == Target::scatter && !work_->decision.scatter)
    return refuse({sqlstate::kFeatureNotSupported, concat("portal \"", execute->portal, "\" over several shards was closed by the Sync behind it"),
                   "Fetch all its rows before the Sync, or use LIMIT and OFFSET."});
  if (!op.plan->prepared.empty() && op.plan->verb != Verb::multi) plan_prepared_execute(op, *portal);
  if (op.plan->verb == Verb::own_setting) answer_in_place(op);
}

// ---- what the statements together need ----

void Session::use_shard(schema::ShardId shard) {
  if (work_->decision.scatter || spread_) return;   // each statement of the batch has its own servers
  if (work_->decision.shard && *work_->decision.shard != shard) return spread_out();
  if (was_held() && server_ && server_shard_ != shard) return spread_out();
  work_->decision.shard = shard;
}

// A string of several statements that begins the transaction's second shard is run statement by statement.
void Session::use_shard_of(const Plan& plan, const router::Arguments& arguments, schema::ShardId shard) {
  use_shard(shard);
  if (work_->decision.scatter && !work_->decision.error && may_run_in_parts(plan)) count_in_parts(arguments.sql);
}

// The batch needs several servers. What has run already must be able to become a part of one transaction with it.
void Session::spread_out() {
  work_->decision.scatter |= spread_ != nullptr;
  if (work_->decision.scatter) return;
  if (mid_sequence_ && !in_transaction() && (sequence_wrote_ || settings_.reading() != settings_.current()))
    return refuse({sqlstate::kFeatureNotSupported, "a pipeline wrote, or used SET LOCAL, on one shard, and then touches another",
                   "Use BEGIN, or send a Sync between them."});
  if (in_transaction() && transaction_ != Transaction::held_failed && !log_is_whole())
    return refuse(cannot_go_on("it was begun, or a setting was changed in it, in a way that Weir cannot repeat on another server"));
  work_->decision.scatter = true;
}

// What comes behind a BEGIN or COMMIT of the same pipeline is another transaction than what stood before. True: the batch now ends there, and
// is planned again. Behind a COMMIT the server gets a Sync, so that it is known how the transaction ended.
bool Session::cut_at_boundary(std::size_t index, BatchEnd& end) {
  const auto is_boundary = [](const Op& op) {
    return op.type == 'E' && op.plan && (op.plan->verb == Verb::begin || op.plan->verb == Verb::commit || op.plan->verb == Verb::rollback);
  };
  std::size_t at = index;
  while (at > 0 && !is_boundary(work_->ops[at - 1])) --at;
  if (at == 0) return false;
  if (work_->ops[at - 1].plan->verb == Verb::begin) {   // the end of the transaction before it is the better place
    std::size_t ended = at - 1;
    while (ended > 0 && !is_boundary(work_->ops[ended - 1])) --ended;
    if (ended > 0) at = ended;
  }
  cut_apart_ = work_->ops[at - 1].plan->verb != Verb::begin;
  forget_plan();
  end_batch_behind(at - 1, end);
  return true;
}

void Session::count_in(const Plan& plan, const router::Arguments* arguments) {
  work_->decision.runs = true;
  work_->decision.read_only &= (plan.read_only || (plan.verb == Verb::begin && plan.begin_read_only) || plan.verb == Verb::empty) && !plan.primary;
  work_->decision.writes |= may_write(plan);
  if (!is_tracked(plan.verb)) work_->decision.effects.add(plan.effects);
  note_channels(plan);
  if (auto against = against_hints(plan)) return refuse(std::move(*against));
  if (mode_ == config::PoolMode::statement && plan.verb == Verb::begin)   // one within a text is seen when it is over: on_ready_for_query
    return refuse({sqlstate::kFeatureNotSupported, "transaction blocks are not allowed in statement pooling mode",
                   "Use pool_mode = \"transaction\" for this database or user."});
  // What it says is known in an encoding that may change: no other server is told it.
  const bool sets = plan.verb == Verb::set || std::any_of(plan.steps.begin(), plan.steps.end(), [](const Plan& step) { return step.verb == Verb::set; });
  if (sets && !server_encoding_ && !is_ascii(arguments->sql)) work_->decision.effects.pins = true;
  if (auto against = plan.verb == Verb::multi ? against_steps(plan, arguments->sql) : against_set(plan, arguments ? arguments->sql : std::string_view()))
    return refuse(std::move(*against));
  if (is_newer_than_parser(plan)) {
    work_->decision.check_only = true;
    count_refusal(plan, *plan.refusal, arguments->sql);
    return use_shard(transaction_shard_.value_or(schema::kHomeShard));
  }
  if (plan.verb == Verb::multi && must_run_in_parts(plan)) return may_run_in_parts(plan) ? count_in_parts(arguments->sql) : refuse(read_otherwise());
  if (plan.target != Target::keyed && plan.target != Target::named) note_scope(plan, nullptr);
  switch (plan.target) {
    case Target::transaction:
    case Target::no_table:
    case Target::any: return count_route(plan, {});
    case Target::home: count_route(plan, {}); return use_shard_of(plan, *arguments, schema::kHomeShard);
    case Target::refused: return may_run_in_parts(plan) ? count_in_parts(arguments->sql) : refuse(*plan.refusal);
    case Target::named:
    case Target::scatter:
    case Target::keyed: break;
  }
  const auto route = planner().resolve(plan, *arguments);
  if (!route) return may_run_in_parts(plan) ? count_in_parts(arguments->sql) : refuse(route.error());
  count_route(plan, *route);
  if (!route->shards.empty()) return count_in_scattered(plan, *arguments);
  use_shard_of(plan, *arguments, route->shard);
  note_scope(plan, &*route);
}

void Session::note_channels(const Plan& plan) {
  for (const router::ChannelStep& step : plan.channels) work_->decision.channels |= step.verb == Verb::listen;
  if (plan.effects.tells_channels && listening_ && !listening_->channels.committed().empty())
    refuse({sqlstate::kFeatureNotSupported, "pg_listening_channels() does not know the channels that Weir listens to for this client",
            "The client knows what it said; SHOW LISTENERS in Weir's console shows the channels of all."});
}

void Session::count_in_scattered(const Plan& plan, const router::Arguments& arguments) {
  if (arguments.parameters.size() < plan.parameters) return use_shard(schema::kHomeShard);   // the server says what is wrong with it
  if (plan.verb == Verb::query && plan.effects != router::Effects{}) return refuse(plan.scatter->refusal);
  spread_out();
}

// For read_your_writes: what a statement reads or writes, as narrowly as is certain.
void Session::note_scope(const Plan& plan, const router::Route* route) {
  if (!marks_matter()) return;
  WriteMarks::Scope& scope = work_->decision.scope;
  if (plan.verb == Verb::begin) scope.whole = true;   // what it will read is not known
  const WriteMarks& marks = *database_->state->marks;
  if (plan.effects.taints || plan.effects.opaque || plan.verb == Verb::multi || plan.verb == Verb::utility) {
    scope.whole = true;
  } else if (!route) {
    for (const std::string& table : plan.tables) scope.add(marks.table_cell(table));
  } else if (route->bucket) {
    scope.add(marks.bucket_cell(*route->bucket));
  } else {
    scope.whole = true;
  }
}

void Session::refuse(Error error) {
  if (work_->decision.error) return;
  if (error.code == sqlstate::kFeatureNotSupported) {
    database_->stats->refused.add();
    if (database_->state->sharded()) database_->stats->routes.count_refused(error.message, error.hint, text_sent(work_->ops[work_->decision.error_at]));
  }
  work_->decision.error = std::move(error);
}

}  // namespace weir::proxy
