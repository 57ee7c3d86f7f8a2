// Planning a batch: what each message asks for, and what the batch as a whole therefore needs. No suspension in here.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Plan;
using router::Target;
using router::Verb;

namespace {

Error transaction_is_aborted() {
  return {sqlstate::kInFailedTransaction, "current transaction is aborted, commands ignored until end of transaction block"};
}

Error second_shard(std::string_view in_use, std::string_view wanted) {
  return {sqlstate::kFeatureNotSupported,
          concat("a transaction that touches two shards (", in_use, " and ", wanted, ") is not supported by this version of Weir"),
          "End the transaction first, or keep to keys of one shard within it."};
}

// Tags of statements that the proxy answers itself.
std::string_view tag_of(Verb verb, std::string_view sql, bool failed) {
  switch (verb) {
    case Verb::begin: {
      const auto at = sql.find_first_not_of(" \t\r\n");
      return at != std::string_view::npos && (sql[at] | 0x20) == 's' ? "START TRANSACTION" : "BEGIN";
    }
    case Verb::commit: return failed ? "ROLLBACK" : "COMMIT";
    case Verb::rollback:
    case Verb::rollback_to_savepoint: return "ROLLBACK";
    case Verb::savepoint: return "SAVEPOINT";
    case Verb::release_savepoint: return "RELEASE";
    case Verb::set_local:
    case Verb::set_transaction: return "SET";
    case Verb::deallocate: return "DEALLOCATE";
    case Verb::deallocate_all: return "DEALLOCATE ALL";
    case Verb::discard_all: return "DISCARD ALL";
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return "";
  }
  return "";
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
    case Verb::copy_to: return !plan.read_only && (plan.target != Target::no_table || plan.effects.taints);
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
    case Verb::reset:
    case Verb::reset_all:
    case Verb::discard_all:
    case Verb::deallocate:
    case Verb::deallocate_all: return false;
  }
  return true;
}

// What these leave behind the session knows itself (settings_, names_).
bool is_tracked(Verb verb) {
  return verb == Verb::set || verb == Verb::set_local || verb == Verb::set_transaction || verb == Verb::reset || verb == Verb::reset_all ||
         verb == Verb::discard_all || verb == Verb::deallocate_all;
}

// Settings that change how the router must read statements.
bool changes_reading(std::string_view setting) {
  return setting == "search_path" || setting == "standard_conforming_strings" || setting == "client_encoding";
}

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

void Session::plan_batch(BatchEnd end) {
  planned_generation_ = database_->router->generation();
  raw_ = !late_copy_data_;
  late_copy_data_ = false;
  refresh_context();
  for (std::size_t i = 0; i < ops_.size() && !decision_.error; ++i) {
    decision_.error_at = i;
    plan_op(i);
  }
  // More may follow before the Sync: only the primary can take whatever it is.
  if (end == BatchEnd::flush) decision_.read_only = false;
}

// While the batch waited for a server, a reload may have moved its rows to another shard.
bool Session::plan_is_stale() const {
  return planned_generation_ != database_->router->generation() && !was_held();
}

// As if the batch had just come in. The server, clean and unused, goes back.
void Session::take_plan_back() {
  forget_new_names();
  for (Op& op : ops_) {
    op.plan.reset();
    op.statement.reset();
    op.interned.reset();
  }
  decision_ = {};
  if (queued_at_) std::exchange(queued_at_, nullptr)->cancel(request_);
  if (server_ == pinned_)
    server_ = nullptr;
  else if (server_)
    server_->pool->release(std::exchange(server_, nullptr), worker_.loop().now());
  if (transaction_ == Transaction::held) transaction_shard_.reset();
}

// Names that this batch's Parses took and that no server confirmed.
void Session::forget_new_names() {
  for (const Op& op : ops_)
    if (op.type == 'P' && op.statement && names_.find(op.name) && names_.find(op.name)->statement == op.statement) names_.remove(op.name);
}

void Session::plan_op(std::size_t index) {
  Op& op = ops_[index];
  const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
  switch (op.type) {
    case 'Q': return plan_query(op, body);
    case 'P': return plan_parse(op, body);
    case 'B': return plan_bind(op, body);
    case 'E': return plan_execute(op, body);
    case 'D':
    case 'C': return plan_named(op, body);
    case 'F':
      decision_.runs = decision_.home = true;
      decision_.read_only = false;
      decision_.effects.taints = true;
      if (database_->state->sharded())
        refuse({sqlstate::kFeatureNotSupported, "FunctionCall is not supported on a sharded database",
                "Call the function in a SELECT statement."});
      return;
    default: return;   // Sync, Flush
  }
}

// What of the session changes a statement's meaning; recomputed only when its settings changed.
void Session::refresh_context() {
  if (context_of_ == settings_.current()) return;
  context_of_ = settings_.current();
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
  return c;
}

void Session::plan_query(Op& op, ByteView body) {
  database_->stats.queries.add();
  const auto sql = wire::read_query(body);
  if (!sql) return refuse(sql.error());
  const router::Planned planned = database_->router->plan(*sql, {}, context());
  op.plan = planned.plan;
  has_unnamed_ = false;   // a simple Query drops the unnamed statement
  const router::Arguments arguments{*sql, planned.literals, {}, {}, server_encoding_};
  count_in(*op.plan, &arguments);
}

void Session::plan_parse(Op& op, ByteView body) {
  database_->stats.client_parses.add();
  const auto parse = wire::read_parse(body);
  if (!parse) return refuse(parse.error());
  PreparedStatement* statement = &unnamed_;
  if (!parse->statement.empty()) {
    raw_ = false;
    op.name = parse->statement;
    if (names_.find(op.name))
      return refuse({sqlstate::kDuplicatePreparedStatement, concat("prepared statement \"", op.name, "\" already exists")});
    op.statement = std::make_shared<PreparedStatement>();
    statement = op.statement.get();
  }
  statement->sql = parse->query;
  statement->types.resize(parse->types);
  for (std::size_t i = 0; i < parse->types; ++i) statement->types[i] = parse->type(i);
  replan(*statement);
  op.plan = statement->plan;
  if (op.statement) {
    op.interned = intern(*statement);
    statement->id = op.interned->id;
    names_.add(op.name, {op.statement, op.interned});
  } else {
    has_unnamed_ = true;
    unnamed_.id = worker_.next_unnamed();
  }
  if (is_newer_than_parser(*op.plan))
    decision_.check_only = true;
  else if (op.plan->target == Target::refused)
    refuse(*op.plan->refusal);
}

// Equal texts are one statement on a server only if they mean the same: a literal of type timestamptz is read by the TimeZone
// of its Parse. What SET LOCAL or the same batch changed is known to this session alone.
InternedRef Session::intern(const PreparedStatement& statement) const {
  bool own = set_locally_;
  for (const Op& op : ops_) own |= op.plan && (op.plan->verb == Verb::set || op.plan->verb == Verb::set_local || op.plan->verb == Verb::reset);
  std::string scope = concat(database_->name, "/", user_, "/", context().search_path);
  if (context_of_) scope += concat("/", context_of_->meaning);
  if (own) scope += concat("/session ", std::to_string(id_));
  return intern_statement(scope, statement.sql, statement.types);
}

void Session::replan(PreparedStatement& statement) {
  const router::Planned planned = database_->router->plan(statement.sql, statement.types, context());
  statement.plan = planned.plan;
  statement.literals.assign(planned.literals.begin(), planned.literals.end());
  statement.generation = database_->router->generation();
  statement.planned_for = context_of_;
}

PreparedStatement* Session::find_statement(Op& op, std::string_view name) {
  PreparedStatement* statement = nullptr;
  if (name.empty()) {
    if (has_unnamed_) statement = &unnamed_;
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
  if (other_settings || statement->generation != database_->router->generation()) replan(*statement);
  if (other_settings && op.statement) {
    op.interned = intern(*statement);
    statement->id = op.interned->id;
    names_.add(name, {op.statement, op.interned});
  }
  op.plan = statement->plan;
  return statement;
}

void Session::plan_bind(Op& op, ByteView body) {
  database_->stats.binds.add();
  const auto bind = wire::read_bind(body);
  if (!bind) return refuse(bind.error());
  PreparedStatement* statement = find_statement(op, bind->statement);
  if (!statement) return;
  auto& parameters = worker_.parameters;
  parameters.resize(bind->parameters);
  wire::for_each_parameter(*bind, [&](std::size_t i, const wire::BindParameter& p) {
    parameters[i] = {p.is_null, bind->binary(i), p.value};
  });
  const router::Arguments arguments{statement->sql, statement->literals, parameters, statement->types, server_encoding_};
  remember_portal(bind->portal, op.plan, *statement);
  count_in(*op.plan, &arguments);
}

void Session::remember_portal(std::string_view name, const router::PlanRef& plan, const PreparedStatement& statement) {
  for (Portal& p : portals_)
    if (p.name == name) {
      p.plan = plan;
      p.sql = statement.sql;
      return;
    }
  portals_.push_back({std::string(name), plan, statement.sql});
}

const Session::Portal* Session::find_portal(std::string_view name) const {
  for (const Portal& p : portals_)
    if (p.name == name) return &p;
  return nullptr;
}

void Session::plan_named(Op& op, ByteView body) {
  const auto named = wire::read_named(body, op.type == 'D' ? "Describe" : "Close");
  if (!named) return refuse(named.error());
  if (named->kind != 'S') {
    if (const Portal* portal = find_portal(named->name)) op.plan = portal->plan;
    return;
  }
  if (op.type == 'D') {
    find_statement(op, named->name);
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
  database_->stats.queries.add();
  const auto execute = wire::read_execute(body);
  if (!execute) return refuse(execute.error());
  if (const Portal* portal = find_portal(execute->portal)) op.plan = portal->plan;
}

// ---- what the statements together need ----

void Session::use_shard(schema::ShardId shard) {
  if (decision_.shard && *decision_.shard != shard) {
    return refuse(second_shard(shard_name(*decision_.shard), shard_name(shard)));
  }
  decision_.shard = shard;
}

void Session::count_in(const Plan& plan, const router::Arguments* arguments) {
  decision_.runs = true;
  decision_.read_only &= plan.read_only || (plan.verb == Verb::begin && plan.begin_read_only) || plan.verb == Verb::empty;
  decision_.writes |= may_write(plan);
  decision_.effects.taints |= plan.effects.taints && !is_tracked(plan.verb);
  decision_.effects.pins |= plan.effects.pins;
  decision_.effects.needs_clean |= plan.effects.needs_clean;
  if (mode_ == config::PoolMode::statement && (plan.verb == Verb::begin || plan.ends_transaction))
    return refuse({sqlstate::kFeatureNotSupported, "transaction blocks are not allowed in statement pooling mode",
                   "Use pool_mode = \"transaction\" for this database or user."});
  if (plan.verb == Verb::set && database_->state->sharded() && changes_reading(plan.setting) && !is_plainly_written(arguments->sql))
    return refuse({sqlstate::kFeatureNotSupported, concat("SET ", plan.setting, " is written in a way that Weir does not read"),
                   "Write its value as a plain word or literal, without comments, E'' or $$."});
  if (is_newer_than_parser(plan)) {
    decision_.check_only = true;
    return use_shard(transaction_shard_.value_or(schema::kHomeShard));
  }
  if (plan.target != Target::keyed) note_scope(plan, nullptr);
  switch (plan.target) {
    case Target::transaction:
    case Target::no_table:
    case Target::any: return;
    case Target::home: return use_shard(schema::kHomeShard);
    case Target::refused: return refuse(*plan.refusal);
    case Target::keyed: break;
  }
  const auto route = database_->router->resolve(plan, *arguments);
  if (!route) return refuse(route.error());
  use_shard(route->shard);
  note_scope(plan, &*route);
}

// For read_your_writes: what a statement reads or writes, as narrowly as is certain.
void Session::note_scope(const Plan& plan, const router::Route* route) {
  if (!marks_matter()) return;
  WriteMarks::Scope& scope = decision_.scope;
  if (plan.verb == Verb::begin) scope.whole = true;   // what it will read is not known
  const WriteMarks& marks = *database_->state->marks;
  if (plan.effects.taints || plan.verb == Verb::multi || plan.verb == Verb::utility) {
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
  if (decision_.error) return;
  if (error.code == sqlstate::kFeatureNotSupported) database_->stats.refused.add();
  decision_.error = std::move(error);
}

// ---- what needs no server ----

char Session::status_letter() const {
  switch (transaction_) {
    case Transaction::none: return 'I';
    case Transaction::held: return 'T';
    case Transaction::open: return failed_locally_ ? 'E' : 'T';
    case Transaction::held_failed:
    case Transaction::failed: return 'E';
  }
  return 'I';
}

bool Session::ends_failed_transaction() const {
  for (const Op& op : ops_)
    if (op.plan && (op.plan->verb == Verb::commit || op.plan->verb == Verb::rollback)) return true;
  return false;
}

void Session::leave_transaction(bool committed) {
  committed ? settings_.commit() : settings_.rollback();
  if (!committed) lost_by_reset_.clear();
  set_locally_ = false;
  transaction_ = Transaction::none;
  failed_locally_ = false;
  held_.clear();
  begin_read_only_ = false;
  transaction_shard_.reset();
  transaction_wrote_ = false;
  transaction_scope_ = {};
}

// Can the proxy answer this statement by itself, as things stand?
bool Session::is_local(const Plan& plan) const {
  const bool held = transaction_ == Transaction::held || transaction_ == Transaction::held_failed;
  switch (plan.verb) {
    case Verb::empty: return true;
    case Verb::begin: return held || (transaction_ == Transaction::none && database_->state->sharded());
    case Verb::commit:
    case Verb::rollback:
    case Verb::rollback_to_savepoint: return held;
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::set_local:
    case Verb::set_transaction: return transaction_ == Transaction::held;
    case Verb::deallocate: return names_.find(plan.setting) != nullptr;
    case Verb::deallocate_all: return !pinned_;
    case Verb::discard_all: return transaction_ == Transaction::none && !pinned_ && !server_;
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return false;
  }
  return false;
}

// COMMIT or ROLLBACK of a transaction that no server knows; AND CHAIN begins another like it.
void Session::end_held(const Plan& plan) {
  std::string begin = held_.empty() ? "BEGIN" : held_.front();
  const bool read_only = begin_read_only_;
  leave_transaction(plan.verb == Verb::commit && transaction_ == Transaction::held);
  if (!plan.chain) return;
  transaction_ = Transaction::held;
  begin_read_only_ = read_only;
  held_.assign(1, std::move(begin));
}

void Session::run_local(const Plan& plan, std::string_view sql) {
  switch (plan.verb) {
    case Verb::begin:
      if (transaction_ != Transaction::none) {
        notice({sqlstate::kActiveSqlTransaction, "there is already a transaction in progress"});
        return;
      }
      transaction_ = Transaction::held;
      transaction_began_ = worker_.loop().now();
      begin_read_only_ = plan.begin_read_only;
      held_.assign(1, std::string(sql));
      return;
    case Verb::savepoint:
      settings_.savepoint(plan.setting);
      held_.emplace_back(sql);
      return;
    case Verb::set_local: set_locally_ = true; [[fallthrough]];
    case Verb::release_savepoint:
    case Verb::set_transaction: held_.emplace_back(sql); return;
    case Verb::rollback_to_savepoint:
      settings_.rollback_to(plan.setting);
      held_.emplace_back(sql);
      transaction_ = Transaction::held;
      return;
    case Verb::commit:
    case Verb::rollback: return end_held(plan);
    case Verb::deallocate: return names_.remove(plan.setting);
    case Verb::deallocate_all: return names_.clear();
    case Verb::discard_all:
      names_.clear();
      has_unnamed_ = false;
      return settings_.discard_all();
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return;
  }
}

bool Session::answer_locally(BatchEnd end) {
  if (decision_.error) {
    if (can_fail_in_place()) return false;
    fail_locally(end, *decision_.error);
    return true;
  }
  const bool failed = failed_locally_ || transaction_ == Transaction::held_failed;
  bool all_local = true;
  bool returns_to_savepoint = false;
  for (const Op& op : ops_) {
    if (op.plan && op.plan->verb == Verb::rollback_to_savepoint) returns_to_savepoint = true;
    if (op.plan && !is_local(*op.plan) && !is_accepted_parse(op)) all_local = false;
    if (!op.plan && op.type != 'S' && op.type != 'H') all_local &= op.type == 'C' && !mid_sequence_;
  }
  // Of a transaction whose server was lost no savepoint is left.
  if (transaction_ == Transaction::held_failed && held_.empty()) returns_to_savepoint = false;
  if (failed && !returns_to_savepoint && !(all_local && ends_failed_transaction()) && runs_something()) {
    decision_.error = transaction_is_aborted();
    decision_.error_at = 0;
    if (mid_sequence_) return false;
    fail_locally(end, *decision_.error);
    return true;
  }
  if (mid_sequence_ || !all_local) return false;
  answer_local_ops();
  return true;
}

// What ran before the error in the same implicit transaction must be rolled back by the server: it gets an error of its own.
bool Session::can_fail_in_place() const {
  if (mid_sequence_) return true;
  return decision_.error_at > 0;   // what came before it has replies of its own, and may have run
}

// A Parse that some server has accepted before: it would only be queued for a server to hear the same again.
bool Session::is_accepted_parse(const Op& op) const {
  return op.type == 'P' && op.interned && !server_ && op.interned->accepted.load(std::memory_order_relaxed);
}

// Drivers prepare by a Parse with a Sync of its own: that says nothing of the shard on which the held transaction will run. After a
// SET LOCAL the text may mean something else inside than outside.
bool Session::only_prepares(BatchEnd end) const {
  return transaction_ == Transaction::held && end == BatchEnd::sync && !decision_.runs && !set_locally_ && !mid_sequence_;
}

bool Session::runs_something() const {
  for (const Op& op : ops_)
    if (op.type != 'S' && op.type != 'H' && op.type != 'C' && !(op.plan && op.plan->verb == Verb::empty)) return true;
  return false;
}

void Session::answer_local_ops() {
  for (const Op& op : ops_) {
    const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
    const std::string_view nothing{};
    switch (op.type) {
      case 'P': wire::write_message(out_, '1', nothing); break;
      case 'B': wire::write_message(out_, '2', nothing); break;
      case 'C': wire::write_message(out_, '3', nothing); break;
      case 'D':
        if (body[0] == 'S') wire::write_message(out_, 't', std::string_view("\0\0", 2));
        wire::write_message(out_, 'n', nothing);
        break;
      case 'E': answer_local_statement(*op.plan, find_portal(wire::read_execute(body)->portal)->sql); break;
      case 'Q':
        answer_local_statement(*op.plan, *wire::read_query(body));
        wire::write_ready_for_query(out_, status_letter());
        break;
      case 'S': wire::write_ready_for_query(out_, status_letter()); break;
      default: break;
    }
  }
}

void Session::answer_local_statement(const Plan& plan, std::string_view sql) {
  const bool failed = transaction_ != Transaction::held;
  const std::string_view tag = tag_of(plan.verb, sql, failed);
  run_local(plan, sql);
  if (plan.verb == Verb::empty)
    wire::write_empty_query_response(out_);
  else
    wire::write_command_complete(out_, tag);
}

// An error of the proxy's own that no server needs to know of. Later messages up to the Sync are skipped.
void Session::fail_locally(BatchEnd end, const Error& error) {
  database_->stats.errors.add();
  forget_new_names();
  if (transaction_ == Transaction::held) transaction_ = Transaction::held_failed;
  if (transaction_ == Transaction::open) server_ ? void(failed_locally_ = true) : void(transaction_ = Transaction::held_failed);
  wire::write_error(out_, wire::Severity::error, error);
  // Behind a failed message of the extended protocol everything is skipped up to the Sync, a Query, too.
  const char failed = ops_[decision_.error ? decision_.error_at : 0].type;
  if (end == BatchEnd::flush || (end == BatchEnd::query && failed != 'Q' && failed != 'F'))
    skip_to_sync_ = true;
  else
    wire::write_ready_for_query(out_, status_letter());
}

}  // namespace weir::proxy
