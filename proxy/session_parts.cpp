// Strings of several statements: what must not stand in one; and those that no single shard runs, or in which a SET changes how the rest is read:
// each statement is planned by itself, and Scatter runs them in order.
// https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "router/split_text.hpp"

namespace weir::proxy {

using router::Plan;
using router::Target;
using router::Verb;

namespace {

constexpr auto kNames = SessionSettings::Reads::names;   // their text the server has read, or reads, as Weir does

Error not_in_string(std::string_view what) {
  return {sqlstate::kFeatureNotSupported, concat(what, " in one string with statements that need several shards"), "Send the statements one by one."};
}

// PostgreSQL reads the whole string before it runs any of it, and runs it all if it can.
Error not_before_others(std::string_view what) {
  return {sqlstate::kFeatureNotSupported, concat(what, " in one string with statements behind it, which need several shards"), "Send it alone."};
}

}  // namespace

// A SET that the router must be able to read.
std::optional<Error> Session::against_set(const Plan& plan, std::string_view sql) const {
  if (plan.verb != Verb::set && plan.verb != Verb::set_local) return std::nullopt;
  if (!database_->state->sharded() || !router::changes_routing(plan.setting)) return std::nullopt;
  if (!is_plainly_written(sql))
    return Error(sqlstate::kFeatureNotSupported, concat("SET ", plan.setting, " is written in a way that Weir does not read"),
                 "Write its value as a plain word or literal, without comments, E'' or $$.");
  if (plan.verb == Verb::set) return std::nullopt;
  if (plan.setting != "search_path")
    return Error(sqlstate::kFeatureNotSupported, concat("SET LOCAL ", plan.setting, " on a sharded database"), "Use SET, and RESET behind the transaction.");
  if (ascii_lower(search_path_of(sql)) == "default")
    return Error(sqlstate::kFeatureNotSupported, "SET LOCAL search_path TO DEFAULT cannot be followed", "Name the schemas, or use RESET.");
  return std::nullopt;
}

std::optional<Error> Session::against_steps(const Plan& plan, std::string_view sql) const {
  const auto is_read = [](const Plan& step) { return (step.verb == Verb::set || step.verb == Verb::set_local) && router::changes_routing(step.setting); };
  if (!database_->state->sharded() || std::none_of(plan.steps.begin(), plan.steps.end(), is_read)) return std::nullopt;
  const auto pieces = router::split_statements(sql);
  for (std::size_t i = 0; i < std::min(pieces.size(), plan.steps.size()); ++i)
    if (auto against = against_set(plan.steps[i], pieces[i].in(sql))) return against;
  return std::nullopt;
}

// One that a server must not be sent as it is.
bool Session::must_run_in_parts(const Plan& plan) const {
  if (!database_->state->sharded() || spread_) return spread_ && may_run_in_parts(plan);
  const Verb first = plan.steps.front().verb;
  if (transaction_ == Transaction::failed && first != Verb::commit && first != Verb::rollback && first != Verb::rollback_to_savepoint) return false;
  const router::Restores& behind = plan.restores;
  return behind.schema || (behind.reset && settings_.reset_changes(kNames)) || (behind.end && (has_own_schema() || settings_.end_changes(kNames))) ||
         (behind.savepoint && (has_own_schema() || settings_.savepoints_change(kNames)));
}

bool Session::changes_names(const Plan& plan) {
  return plan.changes_schema != router::SchemaChange::none || plan.verb == Verb::rollback_to_savepoint;
}

Error Session::read_otherwise() {
  return {sqlstate::kFeatureNotSupported, "statements behind RESET, COMMIT or ROLLBACK in one string, after a SET search_path or DDL", "Send the statements one by one."};
}

// Its statements may need several shards; what is wrong with the string itself is refused as it is.
bool Session::may_run_in_parts(const Plan& plan) const {
  if (plan.verb != Verb::multi || !database_->state->sharded() || transaction_ == Transaction::failed) return false;
  return !plan.refusal || plan.refusal->code == sqlstate::kFeatureNotSupported;
}

// BEGIN may be the first, outside of a block; COMMIT and ROLLBACK the last, of a block. Each part is a text of its own to the servers: what changes
// how text is read must be the last.
std::optional<Error> Session::against_part(const Plan& plan, std::string_view text, const Reading& reading, PartPlace at) const {
  const bool last = at.index + 1 == at.count;
  if (auto against = against_hints(plan)) return against;
  if (auto against = against_set(plan, text)) return against;
  if (plan.target == Target::refused && !reading.stale) return plan.refusal;
  if (plan.parameters > 0) return Error(SqlState{"42P02"}, "there is no parameter $1");
  if (plan.returns_copy || plan.ends_transaction) return not_in_string("COPY, or PREPARE TRANSACTION,");
  if (plan.path) return not_in_string("set_config('search_path', ...)");
  switch (plan.verb) {
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::set_constraints:
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::rollback_to_savepoint:
    case Verb::utility: return std::nullopt;
    case Verb::begin:
      if (at.index == 0 && !in_transaction()) return std::nullopt;
      return not_in_string("BEGIN behind other statements, or within a block,");
    case Verb::commit:
    case Verb::rollback:
      if (last && at.in_block && !plan.chain) return std::nullopt;
      return not_in_string("COMMIT or ROLLBACK, unless it ends a block and the string,");
    case Verb::set:
    case Verb::reset:
      if (last || !changes_reading(plan.setting)) return std::nullopt;
      return not_before_others(concat(name_of(plan.verb), " ", plan.setting));
    case Verb::reset_all:
      if (last || !settings_.current() || !settings_.current()->changes_reading || settings_.at_start()) return std::nullopt;
      return not_before_others("RESET ALL, after a change of how text is read,");
    case Verb::set_local:
    case Verb::listen:
    case Verb::unlisten: return std::nullopt;
    case Verb::set_transaction:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::discard_all:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::own_setting:
    case Verb::multi:
    case Verb::unparsable: break;
  }
  return not_in_string(name_of(plan.verb));
}

// What stands behind the statement.
void Session::read_on(Reading& reading, const Plan& plan, std::string_view text) const {
  const bool sets = plan.verb == Verb::set || plan.verb == Verb::set_local;
  const bool resets = plan.verb == Verb::reset_all || plan.verb == Verb::reset;
  if (plan.verb == Verb::reset_all) {
    reading.hints = settings_.route() ? settings_.route()->startup_hints() : std::string();
    reading.context.hints = reading.hints;
  } else if (!(sets || resets) || plan.setting != "search_path") {
    return;
  }
  reading.search_path = sets ? search_path_of(text) : std::string(settings_.startup_path());
  reading.context.search_path = reading.search_path.empty() ? std::string_view(default_search_path_) : std::string_view(reading.search_path);
}

void Session::count_in_parts(std::string_view sql) {
  const auto pieces = router::split_statements(sql);
  bool in_block = in_transaction();
  Reading reading{context(), {}, {}, false};
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const std::string_view text = pieces[i].in(sql);
    const router::Planned planned = planner().plan(text, {}, reading.context);
    const Plan& plan = *planned.plan;
    if (auto against = against_part(plan, text, reading, {i, pieces.size(), in_block})) return refuse(std::move(*against));
    in_block |= plan.verb == Verb::begin;
    read_on(reading, plan, text);
    if (!reading.stale) count_part(plan, {text, planned.literals, {}, {}, server_encoding_});
    if (work_->decision.error) return;
    reading.stale |= changes_names(plan);
  }
  spread_out();
}

void Session::count_part(const Plan& plan, const router::Arguments& arguments) {
  const auto route = planner().resolve(plan, arguments);
  route ? count_route(plan, *route) : refuse(route.error());
}

// A string that begins with the end of a transaction which no server knows: that is done, and what stands behind it is a string of its own. In the
// text it becomes blank, so that places in the rest stay what they are.
void Session::end_transaction_first() {
  const Op& op = work_->ops.front();
  if (op.type != 'Q') return;
  const auto sql = wire::read_query(input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader));
  if (!sql) return;
  refresh_context();
  const router::PlanRef plan = planner().plan(*sql, {}, context()).plan;
  if (plan->verb != Verb::multi || (plan->steps.front().verb != Verb::commit && plan->steps.front().verb != Verb::rollback)) return;
  if (listening_ && transaction_ == Transaction::held) return;   // its LISTENs wait for the hub
  const router::TextPiece piece = router::split_statements(*sql).front();
  answer_local_statement(plan->steps.front(), piece.in(*sql), out_);
  stash();
  std::fill_n(in_.at(op.offset + wire::kHeader + piece.offset), piece.size + 1, ' ');   // its semicolon, too
}

}  // namespace weir::proxy
