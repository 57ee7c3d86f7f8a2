#include "proxy/scatter.hpp"

#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter_copy.hpp"

namespace weir::proxy {

using router::Target;
using router::Verb;

namespace {

constexpr int kAttempts = 3;

// Reads, and nothing else: what may run on servers that share no transaction.
bool only_reads(const router::Plan& plan) {
  return ((plan.verb == Verb::query || plan.verb == Verb::copy_to) && plan.read_only && plan.effects == router::Effects{}) || plan.verb == Verb::empty;
}

Error not_beside_scatter(std::string_view what) {
  return {sqlstate::kFeatureNotSupported, concat(what, " cannot be in one pipeline with a statement over several shards"),
          "Send a Sync between them."};
}

// What every server of a transaction is told.
bool is_control(Verb verb) {
  switch (verb) {
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
    case Verb::reset_all: return true;
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::discard_all:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::listen:
    case Verb::unlisten:
    case Verb::own_setting:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return false;
  }
  return false;
}

// What no server is told.
bool is_local(Verb verb) { return verb == Verb::listen || verb == Verb::unlisten || verb == Verb::deallocate || verb == Verb::deallocate_all; }

// FETCH does not say where its cursor is: it goes to the transaction's first server.
bool declares_cursor(const router::Plan& plan, std::string_view sql) {
  const auto first = sql.find_first_not_of(" \t\r\n");
  return plan.verb == Verb::utility && first != std::string_view::npos && ascii_lower(sql.substr(first, 7)) == "declare";
}

// BEGIN without a word on how the transaction behaves.
bool is_plain_begin(std::string_view sql) {
  std::string words = ascii_lower(sql);
  const auto last = words.find_last_not_of(" \t\r\n;");
  words.resize(last == std::string::npos ? 0 : last + 1);
  return words == "begin" || words == "begin work" || words == "begin transaction" || words == "start transaction";
}

// Text that our parser rejects.
bool is_not_understood(const Op& op) { return (op.type == 'P' || op.type == 'Q') && op.plan && op.plan->verb == Verb::unparsable; }

bool uses_now(const router::ScatterPlan& plan) { return plan.uses_now || (plan.otherwise && plan.otherwise->uses_now); }

Error not_over_shards(std::string_view what, std::string_view hint) {
  return {sqlstate::kFeatureNotSupported, concat(what, " in a transaction over several shards is not supported"), std::string(hint)};
}

}  // namespace

net::Task<Session::Outcome> Session::run_scatter(BatchEnd end) {
  Scatter scatter(*this);
  scatter_ = &scatter;
  const Scatter::End how = co_await scatter.run(end);
  scatter_ = nullptr;
  if (how == Scatter::End::replan) server_ ? forget_plan() : take_plan_back();   // in a block it stays
  co_return how == Scatter::End::done ? Outcome::done : how == Scatter::End::closed ? Outcome::closed : Outcome::retry;
}

Scatter::Scatter(Session& session) : s_(session) {}

Scatter::~Scatter() {
  for (ScatterLink& link : links_) {
    if (link.kept()) continue;
    link.server().socket->set_waiter(nullptr);
    link.server().pool->discard(&link.server(), pool::CloseReason::unclean);
  }
}

net::Task<Scatter::End> Scatter::run(Session::BatchEnd end) {
  s_.stash();
  s_.sent_at_ = s_.worker_.loop().now();
  if (!s_.was_held() && !s_.spread_) s_.transaction_sent_at_ = s_.sent_at_;
  s_.forwarded_ = 0;
  now_ = timestamp_text(std::chrono::system_clock::now());
  s_.database_->stats->scattered.add();
  if (s_.mid_sequence_) {
    const auto before = s_.transaction_;
    auto closed = co_await close_sequence();
    if (closed && s_.transaction_ != before) co_return End::replan;   // a BEGIN or COMMIT was among what ran
    if (!closed) fail(closed.take_error());
  }
  if (s_.transaction_ == Session::Transaction::held_failed && !failure_)
    fail(not_beside_scatter("ROLLBACK TO in a transaction that failed before its first statement"));
  bool again = !failure_ && read_batch(end), stale = false;
  if (again) begin_block();
  for (int attempt = 1; again; ++attempt) {
    start_over();
    stale = co_await is_stale_once_leased();
    if (!stale && !failed()) static_cast<void>(co_await answer());
    co_await quiet();
    const bool lost = failure_ && failure_->lost && attempt < kAttempts && s_.forwarded_ == 0 && !closed_ && !s_.spread_;
    again = lost || doubts_kept();
    if (again || stale) give_back();
  }
  if (stale && !closed_) {
    take_begin_back();
    co_return End::replan;
  }
  if (failure_ && s_.spread_ && !closed_) co_await end_failed_spread();
  if (copy_ && copy_->is_from() && copy_->has_begun() && end == Session::BatchEnd::sync) end = Session::BatchEnd::flush;   // its Sync was among the data
  if (!closed_) conclude(end);
  give_back();
  co_return closed_ ? End::closed : End::done;
}

// Leases its servers. True: while it waited, the map has changed.
net::Task<bool> Scatter::is_stale_once_leased() {
  if (needs_spread() && s_.server_) adopt_session_server();
  auto leased = co_await lease();
  if (leased && s_.plan_is_stale()) co_return true;
  if (!leased) {
    closed_ |= s_.client_gone();
    const bool gave_way = leased.error().code == sqlstate::kSerializationFailure;
    fail(leased.take_error());
    failure_->lost = gave_way;   // nothing has run: it may stand in line again
  } else if (needs_spread()) {
    enlist();
  }
  s_.arm_running_timer();
  co_return false;
}

// Another try, with other servers.
void Scatter::start_over() {
  failure_.reset();
  pending_.clear();
  unconfirmed_.clear();
  gathered_.clear();
  copy_.reset();
  running_ = nullptr;
  checking_ = nullptr;
  ignores_errors_ = isolation_asked_ = believes_kept_ = false;
  op_ = 0;
  for (auto& source : sources_) {
    source->checked = false;
    source->types = source->declared;
  }
  for (Portal& portal : portals_) portal.state = Portal::State::unbound;
}

// ---- what the batch holds ----

ByteView Scatter::body_of(const Op& op) const { return s_.input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader); }

// All its statements, where they run, and whether they may run beside each other.
bool Scatter::read_batch(Session::BatchEnd end) {
  for (op_ = 0; op_ < s_.work_->ops.size(); ++op_) {
    if (s_.work_->decision.error && op_ == s_.work_->decision.error_at) break;
    if (!read_op(op_)) return false;
    if (is_not_understood(s_.work_->ops[op_])) break;   // nothing behind it is reached
  }
  if (!may_run_beside()) return false;
  // What stays open behind a Flush is gone: the servers go back, or go on to the next statement.
  if (end != Session::BatchEnd::flush) return true;
  for (const Portal& portal : portals_) {
    op_ = portal.op;
    if (!is_executed(portal)) return fail(not_beside_scatter("a portal that is not executed before the Flush")), false;
  }
  return true;
}

// What no transaction may hold stands alone.
bool Scatter::may_run_beside() {
  const auto alone = std::find_if(portals_.begin(), portals_.end(), is_one_by_one);
  if (alone == portals_.end() || (portals_.size() == 1 && !has_more_parts() && !s_.in_transaction())) return true;
  fail({sqlstate::kActiveSqlTransaction, concat(alone->plan->construct, " cannot run inside a transaction block"),
        "Send it alone, outside of a transaction: it runs on one shard after the other."});
  return false;
}

bool Scatter::read_op(std::size_t index) {
  const Op& op = s_.work_->ops[index];
  const bool here = op.plan && is_local(op.plan->verb);
  if (op.prepared && !here) return fail({sqlstate::kFeatureNotSupported, "EXECUTE cannot run a statement over several shards",
                                "Send the SELECT itself, or prepare it by the protocol, as drivers do."}), false;
  if (op.plan && op.plan->verb == Verb::own_setting) return true;
  if (op.local != 0 && !here) return fail(not_beside_scatter("PREPARE")), false;
  if (op.type == 'P') {
    const auto parse = wire::read_parse(body_of(op));   // read once before: it is well-formed, as all that follow here
    std::vector<std::uint32_t> types(parse->types);
    for (std::size_t i = 0; i < types.size(); ++i) types[i] = parse->type(i);
    const auto source = op.filled ? make_source(op.filled->sql, op.filled->types, index) : make_source(parse->query, std::move(types), index);
    source->name = parse->statement;
    source->filled = op.filled;
  } else if (op.type == 'B') {
    return read_portal(index, source_of(index, wire::read_bind(body_of(op))->statement));
  } else if (op.type == 'Q') {
    const auto sql = wire::read_query(body_of(op));
    if (is_not_understood(op)) return static_cast<void>(make_source(*sql, {}, kNone)), true;
    return op.plan->verb == Verb::multi ? read_parts(index, *sql) : read_portal(index, make_source(*sql, {}, kNone));
  } else if (op.type == 'F') {
    return fail(not_beside_scatter("a FunctionCall")), false;
  }
  return true;
}

bool Scatter::read_portal(std::size_t index, std::shared_ptr<Source> source) {
  const router::Plan& plan = *source->plan;
  Portal& portal = portals_.emplace_back();
  portal.op = index;
  portal.source = std::move(source);
  if (s_.work_->ops[index].type == 'B') {
    const auto bind = wire::read_bind(body_of(s_.work_->ops[index]));
    portal.name = bind->portal;
    wire::for_each_parameter(*bind, [&](std::size_t i, const wire::BindParameter& p) {
      portal.parameters.push_back({p.is_null, bind->binary(i), p.value});
    });
    for (std::size_t i = 0; i < bind->result_formats; ++i) portal.formats.push_back(wire::load16(bind->result_format_bytes.data() + 2 * i));
  }
  portal.control = is_control(plan.verb);
  portal.local = is_local(plan.verb);
  if (plan.verb == Verb::empty || portal.control || portal.local) return true;
  if (auto misfit = does_not_fit(plan)) return fail(std::move(*misfit)), false;
  portal.writes = !plan.read_only && !plan.path && (!plan.explain || plan.explain->executes);
  if (plan.target == Target::no_table || plan.target == Target::any || plan.target == Target::transaction) {
    portal.shards.push_back(shard_of_no_table());
    return true;
  }
  const auto route = s_.planner().resolve(plan, arguments_of(portal));
  if (!route) return fail(route.error()), false;
  portal.shards = route->shards;
  if (route->shards.empty())
    portal.shards.push_back(route->shard);
  else
    portal.plan = plan.scatter.get();
  if (portal.plan && portal.plan->copy && portal.plan->copy->way == router::copy::CopyPlan::Way::query) return read_copied_query(portal);
  if (declares_cursor(plan, portal.source->sql) && portal.shards.front() != shard_of_no_table())
    return fail(not_over_shards("a cursor on another shard than the first", "Declare it in a transaction of its own.")), false;
  return true;
}

// COPY (query) TO whose rows no server has: the query runs in its place.
bool Scatter::read_copied_query(Portal& portal) {
  const std::shared_ptr<Source> copy = portal.source;
  const std::string_view sql = copy->sql, query = router::copy::query_of(sql);
  portal.copied = &portal.plan->copy->options;   // its plan lives with `copy`, among sources_
  portal.plan = nullptr;
  portal.source = make_source(query, {}, kNone);
  portal.source->name.assign(1, '\0');           // no Bind means this one
  portal.source->shift = copy->shift + characters_in(sql.substr(0, static_cast<std::size_t>(query.data() - sql.data())));
  portal.formats.clear();
  if (portal.copied->format == router::copy::Format::binary) portal.formats.push_back(1);
  if (portal.copied->format != router::copy::Format::binary && !s_.safe_encoding_)
    return fail({sqlstate::kFeatureNotSupported, "COPY of a query over several shards in this client_encoding", "SET client_encoding = 'UTF8'."}), false;
  const router::Plan& plan = *portal.source->plan;
  if (plan.refusal) return fail(*plan.refusal), false;
  const auto route = s_.planner().resolve(plan, arguments_of(portal));
  if (!route) return fail(route.error()), false;
  portal.shards = route->shards;
  if (route->shards.empty()) return fail({sqlstate::kInternal, "the query of a COPY does not fit its plan", "report this"}), false;
  portal.plan = plan.scatter.get();
  return true;
}

// What a transaction over shards cannot hold: state that a server would keep for its client, and what says more than one server can know.
std::optional<Error> Scatter::does_not_fit(const router::Plan& plan) const {
  const router::Effects& e = plan.effects;
  if (plan.target == Target::refused) return plan.refusal;
  if (auto unknown = s_.against_unknown_schema(plan)) return unknown;
  if (plan.verb == Verb::multi || plan.verb == Verb::unparsable || plan.verb == Verb::prepare || plan.verb == Verb::execute)
    return not_over_shards(concat("a ", name_of(plan.verb), " statement"), "Send each statement by itself, or end the transaction first.");
  if (plan.verb == Verb::discard_all || plan.ends_transaction)
    return Error(sqlstate::kActiveSqlTransaction, "DISCARD ALL and PREPARE TRANSACTION cannot run inside a transaction over several shards");
  if (e.pins || e.holds)
    return not_over_shards("what stays on a server behind it (a temporary table, a session's advisory lock, a cursor WITH HOLD)",
                           "Make it in a transaction of its own.");
  if (e.sets || e.sets_locally) return not_over_shards("a setting changed by set_config() or the like", "Use SET or SET LOCAL, which Weir gives to every shard.");
  if (e.needs_clean && !e.soft) return not_over_shards("currval() or lastval()", "Use INSERT ... RETURNING, or nextval().");
  return std::nullopt;
}

// In a transaction it is wherever that began.
schema::ShardId Scatter::shard_of_no_table() const {
  if (s_.spread_) return s_.spread_->first().shard();
  if (s_.server_ && s_.in_transaction()) return s_.server_shard_;
  return schema::kHomeShard;
}

// Must the batch be part of a transaction on all its servers? Not if it only reads, outside of a block, or in one that has done nothing since
// its plain BEGIN: then each statement has a snapshot of its own anyway.
bool Scatter::needs_spread() const {
  if (std::any_of(portals_.begin(), portals_.end(), is_one_by_one)) return false;
  if (s_.spread_ || s_.transaction_ == Session::Transaction::open || s_.transaction_ == Session::Transaction::failed) return true;
  const bool block = s_.transaction_ == Session::Transaction::held;
  if (block && (s_.set_locally_ || s_.work_->held.size() != 1 || !is_plain_begin(s_.work_->held.front()))) return true;
  return std::any_of(portals_.begin(), portals_.end(), [&](const Portal& portal) {
    return portal.control || portal.source->plan->verb == Verb::listen || portal.source->plan->verb == Verb::unlisten || !only_reads(*portal.source->plan) || (block && portal.plan && uses_now(*portal.plan));
  });
}

router::Arguments Scatter::arguments_of(const Portal& portal) const {
  const Source& source = *portal.source;
  return {source.sql, source.literals, portal.parameters, source.types, s_.server_encoding_};
}

std::shared_ptr<Scatter::Source> Scatter::make_source(std::string_view sql, std::vector<std::uint32_t> types, std::size_t parse_op) {
  return make_source(sql, std::move(types), parse_op, s_.context());
}

std::shared_ptr<Scatter::Source> Scatter::make_source(std::string_view sql, std::vector<std::uint32_t> types, std::size_t parse_op, const router::SessionContext& context) {
  auto source = std::make_shared<Source>();
  source->sql = sql;
  source->types = source->declared = std::move(types);
  source->parse_op = parse_op;
  const router::Planned planned = s_.planner().plan(source->sql, source->types, context);
  source->plan = planned.plan;
  source->literals.assign(planned.literals.begin(), planned.literals.end());
  sources_.push_back(source);
  return source;
}

// What the name means at this place of the batch.
std::shared_ptr<Scatter::Source> Scatter::source_of(std::size_t index, std::string_view name) {
  for (auto source = sources_.rbegin(); source != sources_.rend(); ++source)
    if ((*source)->name == name && ((*source)->parse_op == kNone || (*source)->parse_op < index)) return *source;
  const Op& op = s_.work_->ops[index];
  const PreparedStatement& statement = op.statement ? *op.statement : s_.unnamed_before();
  auto source = make_source(statement.sql, statement.types, kNone);
  source->name = name;
  source->filled = statement.filled;
  return source;
}

bool Scatter::copies(const Portal& portal) {
  return portal.source->plan->verb == Verb::copy_from || portal.source->plan->verb == Verb::copy_to;
}

bool Scatter::writes_by_rows(const Portal& portal) {
  const auto* copy = portal.plan ? portal.plan->copy.get() : nullptr;
  return copy && copy->way == router::copy::CopyPlan::Way::split && !copy->has_triggers;
}

bool Scatter::is_executed(const Portal& portal) const {
  for (std::size_t i = portal.op + 1; i < s_.work_->ops.size(); ++i)
    if (s_.work_->ops[i].type == 'E' && wire::read_execute(body_of(s_.work_->ops[i]))->portal == portal.name) return true;
  return s_.work_->ops[portal.op].type == 'Q';
}

// ---- the end ----

// What the client is still to be told: the error, and what it did to the messages behind it.
void Scatter::conclude(Session::BatchEnd end) {
  if (failure_) {
    const std::size_t at = std::min(failure_->op, s_.work_->ops.size() - 1);
    confirm(at);
    if (failure_->response) {
      wire::write_message(pending_, 'E', failure_->response->view());
    } else {
      s_.database_->stats->errors.add(failure_->own->code.view());
      wire::write_error(pending_, wire::Severity::error, *failure_->own);
    }
    for (std::size_t i = s_.work_->ops.size(); i > at; --i) {
      s_.restore_names(s_.work_->ops[i - 1]);
      s_.forget_new_name(s_.work_->ops[i - 1]);
    }
    s_.restore_unnamed(at);
    if (s_.transaction_ == Session::Transaction::held) s_.transaction_ = Session::Transaction::held_failed;
    if (s_.transaction_ == Session::Transaction::open) s_.fail_open_transaction();
    const bool ready = end == Session::BatchEnd::sync || (end == Session::BatchEnd::query && s_.work_->ops[at].type == 'Q');
    if (ready)
      wire::write_ready_for_query(pending_, s_.status_letter());
    else
      s_.skip_to_sync_ = true;
  }
  confirm(kNone);
  if (!s_.in_transaction() && (failure_ || end != Session::BatchEnd::flush)) failure_ ? s_.settings_.rollback() : s_.settings_.commit();
  forward();
  if (s_.traffic_) s_.note_query(s_.worker_.loop().now() - s_.sent_at_);
}

void Scatter::fail(Error error) {
  if (failure_) return;
  failure_.emplace();
  failure_->own = std::move(error);
  failure_->op = running_ && is_unconfirmed(running_->op) ? running_->op : op_;   // its Bind was not answered yet
}

}  // namespace weir::proxy
