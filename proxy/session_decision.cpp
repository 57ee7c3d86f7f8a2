// What the statements of a batch together need (work.hpp: Decision): a shard or several, what they write and leave behind; or why they are refused.
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

}  // namespace

// What these leave behind the session knows itself (settings_, names_).
bool Session::is_tracked(Verb verb) {
  return verb == Verb::set || verb == Verb::set_local || verb == Verb::set_transaction || verb == Verb::set_constraints || verb == Verb::reset ||
         verb == Verb::reset_all || verb == Verb::discard_all;
}

// On a sharded database, text that the parser rejects as wrong (not as too deep, or not text at all): the server is asked what it is.
bool Session::is_newer_than_parser(const Plan& plan) {
  return plan.verb == Verb::unparsable && plan.target == Target::refused && plan.refusal->code == sqlstate::kFeatureNotSupported;
}

Error Session::newer_than_parser() {
  return {sqlstate::kFeatureNotSupported, "this statement is newer than Weir's parser", "Weir reads PostgreSQL 15's grammar; run the statement on each shard directly."};
}

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
  if (auto unknown = against_unknown_schema(plan)) return refuse(std::move(*unknown));
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
