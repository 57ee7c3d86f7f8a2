// What needs no server: statements that the proxy answers by itself, and errors of its own.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Plan;
using router::Verb;

namespace {

constexpr SqlState kInvalidSavepoint{"3B001"};

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
    case Verb::listen: return "LISTEN";
    case Verb::unlisten: return "UNLISTEN";
    case Verb::own_setting: return "";   // write_own_setting()
    case Verb::set_local:
    case Verb::set_transaction: return "SET";
    case Verb::set_constraints: return "SET CONSTRAINTS";
    case Verb::deallocate: return "DEALLOCATE";
    case Verb::deallocate_all: return "DEALLOCATE ALL";
    case Verb::prepare: return "PREPARE";
    case Verb::discard_all: return "DISCARD ALL";
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::execute:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return "";
  }
  return "";
}

// Of a string: what it does first.
Verb leading_verb(const Plan& plan) { return plan.verb == Verb::multi && !plan.steps.empty() ? plan.steps.front().verb : plan.verb; }

}  // namespace

Error Session::transaction_is_aborted() {
  return {sqlstate::kInFailedTransaction, "current transaction is aborted, commands ignored until end of transaction block"};
}

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
  for (const Op& op : work_->ops)
    if (op.plan && (leading_verb(*op.plan) == Verb::commit || leading_verb(*op.plan) == Verb::rollback)) return true;
  return false;
}

void Session::leave_transaction(bool committed) {
  end_channels(committed);
  committed ? settings_.commit() : settings_.rollback();
  if (!committed) work_->lost_by_reset.clear();
  set_locally_ = false;
  transaction_ = Transaction::none;
  failed_locally_ = false;
  work_->held.clear();
  begin_read_only_ = false;
  transaction_shard_.reset();
  transaction_wrote_ = transaction_notified_ = false;
  const bool has_changed_schema = own_schema_stale_ || has_own_schema();
  forget_own_schema();
  if (has_changed_schema) {   // a COMMIT may have stood before what failed; what comes next waits for it: await_schema()
    ++schema_loads_;
    worker_.proxy().load_schema(database_->name, worker_.index(), id_);
  }
  work_->scope = {};
}

// Can the proxy answer this statement by itself, where the client's transaction is `at`?
bool Session::is_local(const Plan& plan, Transaction at) const {
  const bool held = at == Transaction::held || at == Transaction::held_failed;
  switch (plan.verb) {
    case Verb::empty: return true;
    case Verb::begin: return held || (at == Transaction::none && database_->state->sharded());
    case Verb::commit:
    case Verb::rollback:
    case Verb::rollback_to_savepoint: return held;
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::set_local:
    case Verb::set_transaction:
    case Verb::set_constraints: return at == Transaction::held;
    case Verb::deallocate:
    case Verb::deallocate_all: return true;
    case Verb::listen:
    case Verb::unlisten: return mode_ != config::PoolMode::session && at != Transaction::failed;
    case Verb::discard_all: return at == Transaction::none && !pinned_ && !server_ && settings_.at_start();   // else a server reports what changes
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::own_setting:   // its messages are marked
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return false;
  }
  return false;
}

// What the transaction is after a statement that the proxy answered.
Session::Transaction Session::after_local(const Plan& plan, Transaction at) {
  const bool held = at == Transaction::held || at == Transaction::held_failed;
  if (at == Transaction::none && plan.verb == Verb::begin) return Transaction::held;
  if (!held) return at;
  if (plan.verb == Verb::commit || plan.verb == Verb::rollback) return plan.chain ? Transaction::held : Transaction::none;
  return plan.verb == Verb::rollback_to_savepoint ? Transaction::held : at;
}

bool Session::is_local(const Op& op, Transaction at) const {
  if (op.local != 0 || is_local(*op.plan, at) || is_accepted_parse(op)) return true;
  if (op.plan->verb != Verb::prepare || !op.interned) return false;
  return server_ ? server_->prepared.touch(op.interned->id) : op.interned->accepted.load(std::memory_order_relaxed);
}

// COMMIT or ROLLBACK of a transaction that no server knows; AND CHAIN begins another like it.
void Session::end_held(const Plan& plan) {
  std::vector<std::string> next = plan.chain ? held_characteristics() : std::vector<std::string>{};
  const bool read_only = begin_read_only_;
  leave_transaction(plan.verb == Verb::commit && transaction_ == Transaction::held);
  if (!plan.chain) return;
  transaction_ = Transaction::held;
  begin_read_only_ = read_only;
  work_->held = std::move(next);
}

void Session::run_local(const Plan& plan, std::string_view sql) {
  if (plan.verb != Verb::commit && plan.verb != Verb::rollback) follow_channels(plan.verb, plan.setting);
  switch (plan.verb) {
    case Verb::begin:
      if (transaction_ != Transaction::none) {
        notice({sqlstate::kActiveSqlTransaction, "there is already a transaction in progress"});
        return;
      }
      transaction_ = Transaction::held;
      transaction_began_ = worker_.loop().now();
      begin_read_only_ = plan.begin_read_only;
      work_->held.assign(1, std::string(sql));
      return;
    case Verb::savepoint:
      settings_.savepoint(plan.setting);
      work_->held.emplace_back(sql);
      return;
    case Verb::release_savepoint:
      settings_.release(plan.setting);
      work_->held.emplace_back(sql);
      return;
    case Verb::set_local:
      set_locally_ = true;
      settings_.set_local(plan.setting, std::string(sql));
      [[fallthrough]];
    case Verb::set_transaction:
    case Verb::set_constraints: work_->held.emplace_back(sql); return;
    case Verb::rollback_to_savepoint:
      settings_.rollback_to(plan.setting);
      work_->held.emplace_back(sql);
      transaction_ = Transaction::held;
      return;
    case Verb::commit:
    case Verb::rollback: return end_held(plan);
    case Verb::deallocate: return names_.remove(plan.setting);
    case Verb::deallocate_all: return names_.clear();
    case Verb::discard_all:
      names_.clear();
      return settings_.discard_all();
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::set:
    case Verb::reset:
    case Verb::reset_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::listen:
    case Verb::unlisten:
    case Verb::own_setting:
    case Verb::utility:
    case Verb::multi:
    case Verb::unparsable: return;
  }
}

// The first statement of the batch that goes back to, or releases, a savepoint which a transaction without a server may lack.
std::optional<std::size_t> Session::lacks_savepoint() const {
  if (transaction_ == Transaction::open || transaction_ == Transaction::failed) return std::nullopt;
  if (transaction_ == Transaction::held_failed && work_->held.empty()) return std::nullopt;   // its server was lost: nothing but ROLLBACK is left
  std::vector<std::string_view> made;
  bool undone = false;   // then nobody looks further what is left of them
  for (std::size_t i = 0; i < work_->ops.size(); ++i) {
    const Op& op = work_->ops[i];
    if (!op.plan || (op.type != 'Q' && op.type != 'E')) continue;
    const Plan& plan = *op.plan;
    if (plan.verb == Verb::savepoint) made.emplace_back(plan.setting);
    if (plan.verb != Verb::rollback_to_savepoint && (plan.verb != Verb::release_savepoint || transaction_ == Transaction::held_failed)) continue;
    const bool known = settings_.has_savepoint(plan.setting) || std::find(made.begin(), made.end(), plan.setting) != made.end();
    if (undone || !known) return i;
    undone = true;
  }
  return std::nullopt;
}

// Is that savepoint named before anything else is done? Then the error is PostgreSQL's own and no server is needed for it.
bool Session::fails_for_savepoint(std::size_t at) const {
  if (transaction_ == Transaction::none) return false;
  for (std::size_t i = 0; i < at; ++i)
    if (work_->ops[i].plan && (work_->ops[i].type == 'Q' || work_->ops[i].type == 'E')) return false;
  return true;
}

bool Session::answer_locally(BatchEnd end) {
  if (spread_) return false;
  const bool failed = failed_locally_ || transaction_ == Transaction::held_failed;
  bool all_local = true;
  bool returns_to_savepoint = false;
  Transaction at = transaction_;
  for (const Op& op : work_->ops) {
    if (op.plan && leading_verb(*op.plan) == Verb::rollback_to_savepoint) returns_to_savepoint = true;
    if (op.plan && !is_local(op, at)) all_local = false;
    if (op.plan && (op.type == 'Q' || op.type == 'E')) at = after_local(*op.plan, at);
    if (!op.plan && op.type != 'S' && op.type != 'H') all_local &= op.type == 'C' && !mid_sequence_;
  }
  if (const auto named = lacks_savepoint(); named && !work_->decision.error) {
    all_local = false;
    if (fails_for_savepoint(*named)) {
      const std::string& name = work_->ops[*named].plan->setting;
      fail_locally(end, {kInvalidSavepoint, concat("savepoint \"", name, "\" does not exist")});
      return true;
    }
  }
  // Of a transaction whose server was lost no savepoint is left.
  if (transaction_ == Transaction::held_failed && work_->held.empty()) returns_to_savepoint = false;
  if (transaction_ == Transaction::held_failed && returns_to_savepoint && !all_local) {   // a server is told of the transaction, and goes back in it
    const Op& first = work_->ops[first_to_fail()];
    returns_to_savepoint = first.plan && leading_verb(*first.plan) == Verb::rollback_to_savepoint;
    if (returns_to_savepoint) transaction_ = Transaction::held;
  }
  if (failed && !returns_to_savepoint && !(all_local && ends_failed_transaction()) && runs_something()) {
    if (!mid_sequence_) {
      fail_locally(end, transaction_is_aborted());
      return true;
    }
    fail_on_server_at(transaction_is_aborted());
    return false;
  }
  if (work_->decision.error) {
    if (can_fail_in_place()) return false;
    fail_locally(end, *work_->decision.error);
    return true;
  }
  if (end == BatchEnd::flush && work_->decision.channels) all_local = false;   // the sequence it belongs to may fail yet
  if (mid_sequence_ || !all_local) return false;
  answer_local_ops(work_->ops.size());
  if (!in_transaction()) end_channels(true);
  if (!in_transaction() && end != BatchEnd::flush) settings_.commit();
  return true;
}

// The first message that fails where the proxy cannot go on: a Close never does, nor an empty Query or Parse.
std::size_t Session::first_to_fail() const {
  const auto never = [](const Op& op) { return op.type == 'C' || ((op.type == 'Q' || op.type == 'P') && op.plan && op.plan->verb == Verb::empty); };
  std::size_t i = 0;
  while (i + 1 < work_->ops.size() && never(work_->ops[i])) ++i;
  return work_->decision.error ? std::min(i, work_->decision.error_at) : i;
}

// An error of the proxy's own in a sequence that a server knows: what ran before is rolled back by an error of the server's.
void Session::fail_on_server_at(Error error) {
  const std::size_t failed = first_to_fail();
  undo_names_from(failed);
  work_->decision.error = std::move(error);
  work_->decision.error_at = failed;
}

// What ran before the error in the same implicit transaction must be rolled back by the server: it gets an error of its own.
bool Session::can_fail_in_place() const {
  if (mid_sequence_) return true;
  return work_->decision.error_at > 0;   // what came before it has replies of its own, and may have run
}

// A Parse that some server has accepted before: it would only be queued for a server to hear the same again.
bool Session::is_accepted_parse(const Op& op) const {
  return op.type == 'P' && op.interned && !server_ && op.interned->accepted.load(std::memory_order_relaxed);
}

// Drivers prepare by a Parse with a Sync of its own: that says nothing of the shard on which the held transaction will run. After a
// SET LOCAL the text may mean something else inside than outside. With a Flush it is the same, on a sharded database also outside of a
// transaction: which shard is meant is known at the Bind.
bool Session::only_prepares(BatchEnd end) const {
  if (work_->decision.runs || set_locally_ || mid_sequence_) return false;
  if (end == BatchEnd::sync) return transaction_ == Transaction::held;
  if (work_->decision.check_only || (transaction_ != Transaction::held && transaction_ != Transaction::none)) return false;
  return database_->state->sharded() && mode_ != config::PoolMode::session && work_->ops.back().type == 'H' && names_statements_only();
}

bool Session::names_statements_only() const {
  for (const Op& op : work_->ops) {
    if (op.type != 'P' && op.type != 'D' && op.type != 'H') return false;
    if (op.type == 'D' && static_cast<char>(input_[op.offset + wire::kHeader]) != 'S') return false;
  }
  return true;
}

bool Session::runs_something() const {
  for (const Op& op : work_->ops)
    if (op.type != 'S' && op.type != 'H' && op.type != 'C' && !(op.plan && op.plan->verb == Verb::empty)) return true;
  return false;
}

// The first `count` messages of the batch.
void Session::answer_local_ops(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const Op& op = work_->ops[i];
    const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
    const std::string_view nothing{};
    if (op.local >= kOwnSetting) {
      write_own_setting(op, out_);
      if (op.type == 'Q') wire::write_ready_for_query(out_, status_letter());
      continue;
    }
    switch (op.type) {
      case 'P': wire::write_message(out_, '1', nothing); break;
      case 'B': wire::write_message(out_, '2', nothing); break;
      case 'C': wire::write_message(out_, '3', nothing); break;
      case 'D':
        if (body[0] == 'S') wire::write_message(out_, 't', std::string_view("\0\0", 2));
        wire::write_message(out_, 'n', nothing);
        break;
      case 'E': answer_local_statement(*op.plan, op.text ? std::string_view(*op.text) : std::string_view(), out_); break;
      case 'Q':
        answer_local_statement(*op.plan, *wire::read_query(body), out_);
        wire::write_ready_for_query(out_, status_letter());
        break;
      case 'S': wire::write_ready_for_query(out_, status_letter()); break;
      default: break;
    }
  }
}

void Session::answer_local_statement(const Plan& plan, std::string_view sql, ByteBuffer& out) {
  const bool failed = transaction_ != Transaction::held;
  const std::string_view tag = tag_of(plan.verb, sql, failed);
  run_local(plan, sql);
  if (plan.verb == Verb::empty)
    wire::write_empty_query_response(out);
  else
    wire::write_command_complete(out, tag);
}

// The batch that was to begin a transaction did not run. What the client sent behind it without waiting is meant for that transaction, and
// must not run outside of it: there is one that has failed, until the client ends it. A client that waits is told, and has none.
void Session::fail_begin() {
  Transaction at = transaction_;
  for (const Op& op : work_->ops)
    if (op.plan && (op.type == 'Q' || op.type == 'E')) at = after_local(*op.plan, at);
  if (transaction_ != Transaction::none || at == Transaction::none) return;
  receive_from_client();
  if (input_.size() > scanned_) transaction_ = Transaction::held_failed;
}

// Nothing is left of a transaction that has lost its server.
void Session::fail_open_transaction() {
  if (spread_) {
    transaction_ = Transaction::failed;
  } else if (server_) {
    failed_locally_ = true;
  } else {
    transaction_ = Transaction::held_failed;
    work_->held.clear();
  }
}

// An error of the proxy's own that no server needs to know of. Messages behind the one that fails are skipped, up to the Sync.
void Session::fail_locally(BatchEnd end, const Error& error) {
  database_->stats->errors.add(error.code.view());
  const std::size_t at = first_to_fail();
  answer_local_ops(at);
  undo_names_from(at);
  restore_unnamed(at);
  if (transaction_ == Transaction::held) transaction_ = Transaction::held_failed;
  if (transaction_ == Transaction::open) fail_open_transaction();
  fail_begin();
  if (!in_transaction()) settings_.rollback();   // what stands before it in the pipeline may have set some
  wire::write_error(out_, wire::Severity::error, error);
  // Behind a failed message of the extended protocol everything is skipped up to the Sync, a Query, too.
  const char failed = work_->ops[at].type;
  if (end == BatchEnd::flush || (end == BatchEnd::query && failed != 'Q' && failed != 'F'))
    skip_to_sync_ = true;
  else
    wire::write_ready_for_query(out_, status_letter());
}

}  // namespace weir::proxy
