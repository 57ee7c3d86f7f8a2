// Planning a batch, message by message: what each asks for, by which statement and portal it means. No suspension in here.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Plan;
using router::Target;
using router::Verb;

namespace {

// Statements that wait with a held BEGIN until a shard is known.
bool may_be_held(Verb verb) {
  return verb == Verb::begin || verb == Verb::savepoint || verb == Verb::release_savepoint || verb == Verb::rollback_to_savepoint ||
         verb == Verb::set_local || verb == Verb::set_transaction || verb == Verb::set_constraints;
}

// Statements whose text the transaction's log may need.
bool may_be_logged(Verb verb) { return may_be_held(verb) || verb == Verb::reset || verb == Verb::reset_all; }

// May it name tables that only the home shard has? (What reads several shards may be finished there, beside its own tables.)
bool may_read_home(const Plan& plan) { return plan.target == Target::home || plan.target == Target::scatter; }

bool safe_encoding(std::string_view sql) {
  const std::string lower = ascii_lower(sql);
  for (const char* unsafe : {"sjis", "shift_jis", "big5", "gbk", "uhc", "gb18030", "johab", "euc", "mule"})
    if (lower.find(unsafe) != std::string::npos) return false;
  return true;
}

}  // namespace

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
// of its Parse. What SET LOCAL or the same batch changed is known to this session alone, and what its transaction has made.
InternedRef Session::intern(const PreparedStatement& statement) const {
  bool own = set_locally_;
  for (const Op& op : work_->ops) own |= op.plan && (op.plan->verb == Verb::set || op.plan->verb == Verb::set_local || op.plan->verb == Verb::reset);
  std::string scope = concat(database_->name, "/", user_, "/", context().search_path);
  if (context_of_) scope += concat("/", context_of_->meaning);
  if (own) scope += concat("/session ", std::to_string(id_));
  if (own_router_) scope += concat("/schema ", std::to_string(own_router_->generation()));
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
  const bool other_catalog = statement->generation != planner().generation();
  bool other_text = false;
  if (other_settings || statement->planned_hints != hints_version() || other_catalog) {
    const std::string before = statement->filled ? statement->sql : std::string();
    replan(*statement);
    other_text = before != (statement->filled ? std::string_view(statement->sql) : std::string_view());
  }
  if (other_text && name.empty()) statement->id = worker_.next_unnamed();
  if ((other_settings || other_text || other_catalog) && op.interned) {
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

}  // namespace weir::proxy
