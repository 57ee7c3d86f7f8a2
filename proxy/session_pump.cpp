// Replies: from the server's bytes to the client's, counting what is still owed.
#include <algorithm>
#include <cerrno>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"
#include "router/split_text.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

constexpr std::uint64_t kPassed = 64 << 10;   // of a row, so that passing it on uncopied is worth it

// May it matter to another server that the transaction comes to?
bool is_logged(const router::Plan& plan) {
  switch (plan.verb) {
    case Verb::begin:
    case Verb::savepoint:
    case Verb::release_savepoint:
    case Verb::rollback_to_savepoint:
    case Verb::set:
    case Verb::set_local:
    case Verb::set_transaction:
    case Verb::set_constraints:
    case Verb::reset:
    case Verb::reset_all: return true;
    case Verb::commit:
    case Verb::rollback: return plan.chain;
    case Verb::query:
    case Verb::dml:
    case Verb::utility: return plan.effects.sets || plan.effects.sets_locally || plan.ends_transaction || plan.path;
    default: return false;
  }
}

// Rows and COPY data are passed on as they come; everything else is looked at whole.
bool is_bulk(char type) { return type == 'D' || type == 'd' || type == 'V'; }

// What decides how things go on is looked at, however long it is: PostgreSQL's error of an open string quotes all of it.
bool may_pass_unread(char type) { return is_bulk(type) || type == 'N'; }
std::size_t held_whole(char type) { return may_pass_unread(type) ? Session::kMaxControl : Session::kMaxHeld; }

}  // namespace

Error Session::out_of_step(char type) {
  return {sqlstate::kProtocolViolation, concat("the server sent a message of type '", std::string(1, type), "' out of turn"),
          "The server connection was closed; try again."};
}

net::Task<Session::Outcome> Session::pump(bool may_retry) {
  stash();
  if (!work_->expected.first_owed()) emit_local_replies();   // else they go with the first reply, should the batch have to run again
  flush_own();
  arm_running_timer();
  for (;;) {
    if (server_broken_ && nothing_owed() && !in_transaction() && !mid_sequence_ && !pin_after_ && server_ != pinned_) {
      server_fatal_.reset();   // it said goodbye after it had answered all
      drop_server();
      co_return again_ ? Outcome::retry : Outcome::done;
    }
    if (server_broken_) co_return lost_server(may_retry);
    // Data of a COPY that failed may still be on its way: a message sent in part would swallow the next client's.
    if (nothing_owed() && work_->to_server.empty()) co_return settings_error_ ? Outcome::unprepared : again_ ? Outcome::retry : Outcome::done;
    bool progress = false;
    // A client that stops reading: no more than one receive buffer of its result is held.
    if (!output_waits()) progress = receive_from_server();
    if (copy_in_ && !server_broken_ && !client_eof_) progress |= forward_copy_data();
    if (!server_broken_ && !work_->to_server.empty()) {
      flush_server();
      progress |= work_->to_server.empty();   // COPY data that waits here already is told of no more
    }
    if (output_waits()) {
      flush_client();
      progress |= !output_waits();
    }
    if (progress || server_broken_) continue;
    if (client_->hung_up() || client_eof_ || (end_with_ && end_now_)) {
      if (end_with_ && end_now_ && bulk_left_ == 0) fatal(*end_with_);
      co_return Outcome::closed;
    }
    if (runs_too_long()) co_return Outcome::closed;
    stash();
    co_await waiter_.wait();
  }
}

bool Session::nothing_owed() const { return work_->expected.empty() && !copy_in_ && work_->carry.empty() && bulk_left_ == 0; }

bool Session::receive_from_server() {
  net::Socket& socket = *server_->socket;
  if (!socket.may_receive()) {
    if (socket.hung_up()) server_broken_ = true;
    return socket.hung_up();
  }
  if (may_pass())
    if (const auto progress = pass_bulk()) return *progress;
  stash();   // both sides share the loop's receive buffer
  const net::Received r = socket.receive();
  switch (r.kind) {
    case net::Received::Kind::data:
      traffic_->received.add(r.bytes.size());
      process_replies(r.bytes);
      return true;
    case net::Received::Kind::nothing: return false;
    case net::Received::Kind::end:
    case net::Received::Kind::failed: server_broken_ = true; return true;
  }
  return false;
}

// The middle of a row so long that splicing costs less than copying, on a way where nothing else is in between.
bool Session::may_pass() const {
  return bulk_left_ >= kPassed && !client_dead_ && !output_waits() && !replies_are_own() && !client_->has_tls() && server_->socket->can_pass();
}

// none: it cannot be passed on this way; receive it.
std::optional<bool> Session::pass_bulk() {
  conduit_ = worker_.conduits.take();
  if (!conduit_) return std::nullopt;
  const net::Passed r = server_->socket->receive_into(*conduit_, bulk_left_);
  if (r.kind == net::Received::Kind::data) {
    traffic_->received.add(r.bytes);
    forwarded_ += r.bytes;
    bulk_left_ -= r.bytes;
    server_->socket->expect_bytes(bulk_left_);
    flush_client();
    return true;
  }
  worker_.conduits.give_back(std::move(conduit_));
  if (r.kind == net::Received::Kind::nothing) return false;
  if (r.error == EINVAL || r.error == ENOSYS || r.error == EPERM) {
    worker_.conduits.disable();
    return std::nullopt;
  }
  server_broken_ = true;
  return true;
}

void Session::to_client(ByteView bytes) {
  if (bytes.empty() || client_dead_) return;
  forwarded_ += bytes.size();
  if (!output_waits() && client_->can_send()) {
    const auto sent = client_->send(bytes);
    if (!sent) {
      client_eof_ = true;
      return;
    }
    if (database_) database_->stats->sent.add(*sent);
    bytes = bytes.subspan(*sent);
  }
  if (!bytes.empty()) out_.append(bytes);
}

void Session::flush_own() {
  if (work_->own.empty()) return;
  to_client(work_->own.view());
  work_->own.clear();
}

// Walks whole messages; what is forwarded goes out in as few pieces as possible.
void Session::process_replies(ByteView bytes) {
  ByteBuffer whole;
  if (!work_->carry.empty()) {
    std::swap(whole, work_->carry);
    whole.append(bytes);
    bytes = whole.view();
  }
  std::size_t at = std::min<std::uint64_t>(bulk_left_, bytes.size());
  std::size_t from = replies_are_own() ? at : 0;   // the rest of a row of the proxy's own statement
  bulk_left_ -= at;
  if (at > 0) server_->socket->expect_bytes(bulk_left_);
  while (at < bytes.size() && !server_broken_) {
    const wire::Frame f = wire::next_message(bytes.subspan(at));
    if (f.status == wire::FrameStatus::message) {
      if (!work_->expected.empty() && work_->expected.front().kind == Expect::local && !settings_error_ && !(f.message.type == 'E' && will_run_again(f.message))) {
        emit_local_replies();
        to_client(bytes.subspan(from, at - from));
        flush_own();
        from = at;
        answered_ = true;
      }
      bool forward = !replies_are_own();
      if (!is_bulk(f.message.type))
        process_message(f.message, forward);
      else if (own_row_)
        read_own_row(f.message);
      else if (own_running_ && own_rows_ && f.message.type == 'D')
        take_own_row(f.message.body);
      answered_ |= forward || !work_->own.empty();
      const std::size_t end = at + f.needed;
      if (!forward || !work_->own.empty()) {
        to_client(bytes.subspan(from, (forward ? end : at) - from));
        flush_own();
        from = end;
      }
      at = end;
      continue;
    }
    if (f.status == wire::FrameStatus::bad_length) {
      break_server({sqlstate::kProtocolViolation, "the server sent a message with an invalid length"});
      break;
    }
    const std::size_t have = bytes.size() - at;
    if (have < wire::kHeader || ((!is_bulk(f.message.type) || own_rows_) && f.needed <= held_whole(f.message.type))) break;   // wait for the rest
    if (!may_pass_unread(f.message.type)) {
      break_server({sqlstate::kProtocolViolation, "the server sent a message that is too long to be looked at"});
      break;
    }
    bulk_left_ = f.needed - have;
    server_->socket->expect_bytes(bulk_left_);
    at = bytes.size();
    if (replies_are_own()) {
      to_client(bytes.subspan(from, bytes.size() - have - from));
      from = at;
    }
  }
  if (!own_running_) to_client(bytes.subspan(from, at - from));
  if (at < bytes.size() && !server_broken_) work_->carry.append(bytes.subspan(at));
}

void Session::break_server(Error why) {
  server_broken_ = true;
  if (!server_fatal_) server_fatal_ = std::move(why);
}

// One whole message that is no row. `forward`: does the client get it? False already where it answers the proxy's own.
void Session::process_message(const wire::Message& m, bool& forward) {
  if (settings_error_) {
    forward = false;
    return discard_reply(m);
  }
  const Expect due = work_->expected.empty() ? Expect::local : work_->expected.front().kind;
  const auto settle = [&](Expect kind) {
    if (due != kind) return break_server(out_of_step(m.type));
    forward = !work_->expected.front().swallow;
    work_->expected.pop();
  };
  switch (m.type) {
    case 'Z': return on_ready_for_query(m, forward);
    case 'E': return on_error(m, forward);
    case '1':
      if (work_->decision.check_only && due == Expect::parse) {
        settle(Expect::parse);
        forward = false;
        error_seen_ = true;
        undo_names_from(0);
        if (!in_sequence_) wire::write_error(work_->own, wire::Severity::error, *poison_error_);   // else the server's next error stands for it
      } else {
        const bool asked = due == Expect::parse && !work_->expected.front().swallow;
        const std::uint32_t op = due == Expect::parse ? work_->expected.front().op : kNoOp;
        if (asked) note_accepted(op);
        settle(Expect::parse);
        if (asked && op < work_->ops.size() && work_->ops[op].type != 'P') {   // PREPARE
          forward = false;
          wire::write_command_complete(work_->own, "PREPARE");
        }
      }
      break;
    case '2': settle(Expect::bind); break;
    case '3':
      if (due == Expect::copy_end) {
        forward = false;
        on_copy_syncs_counted();
      } else {
        settle(Expect::close);
      }
      break;
    case 'n': settle(Expect::describe); break;
    case 'T':
      if (due == Expect::describe) settle(Expect::describe);
      break;
    case 'C':
      if (const auto tag = wire::read_command_complete(m.body)) on_command_complete(*tag);
      if (due == Expect::execute) settle(Expect::execute);
      else if (due == Expect::query) forward = !work_->expected.front().swallow;
      break;
    case 'I':
    case 's':
      if (due == Expect::execute) settle(Expect::execute);
      break;
    case 'G': on_copy_in(); break;
    case 'S':
      if (own_running_ && own_parameters_)
        if (const auto p = wire::read_parameter_status(m.body)) own_parameters_->emplace_back(p->name, p->value);
      break;
    case 'N':
      if (!work_->expected.empty() && work_->expected.front().kind == Expect::query && work_->expected.front().swallow) forward = false;
      break;
    case 'A': forward = mode_ == config::PoolMode::session; break;   // else the hub tells it
    case 't':
      if (due == Expect::describe && work_->expected.front().op < work_->ops.size() && work_->ops[work_->expected.front().op].filled) {
        forward = false;
        write_own_parameters(m, *work_->ops[work_->expected.front().op].filled);
      }
      break;
    case 'H':
    case 'c': break;
    default: return break_server(out_of_step(m.type));
  }
  emit_local_replies();
}

void Session::note_accepted(std::uint32_t op) {
  if (op < work_->ops.size() && work_->ops[op].interned) work_->ops[op].interned->accepted.store(true, std::memory_order_relaxed);
}

// Replies that the proxy gives itself, at their place in the order.
void Session::emit_local_replies() {
  while (!work_->expected.empty() && work_->expected.front().kind == Expect::local) {
    write_local_reply(work_->ops[work_->expected.front().op]);
    work_->expected.pop();
  }
}

// ---- ReadyForQuery ----

void Session::on_ready_for_query(const wire::Message& m, bool& forward) {
  const char status = wire::read_ready_for_query(m.body);
  const Expect due = work_->expected.empty() ? Expect::local : work_->expected.front().kind;
  if (due == Expect::settings) return on_settings_applied(status);
  if (due == Expect::copy_end && status != '\0') {
    forward = false;
    return on_copy_sync_ready(status);
  }
  if (due == Expect::own_sync && status != '\0') {
    work_->expected.pop();
    forward = false;
    return emit_local_replies();
  }
  if (status == '\0' || (due != Expect::query && due != Expect::sync && due != Expect::function_call))
    return break_server(out_of_step('Z'));
  const bool swallow = work_->expected.front().swallow;
  work_->expected.pop();
  if (again_) {
    forward = false;
    return;
  }
  if (swallow && due == Expect::query && !own_running_ && !client_dead_ && status == 'I' && !work_->decision.check_only)
    return break_server({sqlstate::kConnectionFailure, "the server did not begin the transaction"});
  if (!own_running_ && !swallow) note_query(worker_.loop().now() - sent_at_);
  if (!own_running_) on_ready(status);
  if (swallow) {
    forward = false;
  } else if (mode_ == config::PoolMode::statement && status != 'I') {
    forward = false;   // a BEGIN that could not be seen before it ran
    terminate({sqlstate::kFeatureNotSupported, "transaction blocks are not allowed in statement pooling mode",
               "Use pool_mode = \"transaction\" for this database or user."}, true);
  } else if (status_letter() != status) {
    forward = false;
    wire::write_ready_for_query(work_->own, status_letter());
  }
  emit_local_replies();
}

void Session::on_ready(char status) {
  if (aside_) {   // the held transaction still waits for its first statement
    if (error_seen_) transaction_ = Transaction::held_failed;
    return;
  }
  drop_pin_of_failed_text();
  if (status == 'I') {
    const bool rolled_back = error_seen_ || rolled_back_;
    sequence_wrote_ = false;
    if (work_->decision.writes || transaction_wrote_) mark_writes();
    leave_transaction(!rolled_back);
    server_->settings = std::exchange(discarded_, false) ? nullptr : settings_.current();
    traffic_->transactions.observe(worker_.loop().now() - transaction_sent_at_);
    rolled_back_ = false;
    return;
  }
  if (transaction_ == Transaction::none || transaction_ == Transaction::held) transaction_shard_ = server_shard_;
  transaction_ = status == 'T' ? Transaction::open : Transaction::failed;
  if (work_->decision.writes) {   // also where BEGIN came in the same batch
    transaction_wrote_ = true;
    transaction_notified_ |= work_->decision.effects.notifies;
    work_->scope.add(work_->decision.scope);
  }
  if (status == 'E') work_->lost_by_reset.clear();   // whatever ends this state undoes the RESET
  if (work_->decision.check_only && status == 'T') failed_locally_ = true;
}

// Text that neither our parser nor the server understood left nothing behind.
void Session::drop_pin_of_failed_text() {
  if (!error_seen_ || !pins_first_ || mode_ == config::PoolMode::session) return;
  for (const Op& op : work_->ops)
    if (op.plan && op.plan->effects.pins && op.plan->verb != Verb::unparsable) return;
  pin_after_ = false;
}

// What is written now must not be read from a replica before it is there. Said when it is sent, and again when it is done.
void Session::mark_writes() {
  if (in_transaction()) transaction_wrote_ = true;
  if (!marks_matter()) return;
  WriteMarks::Scope scope = work_->decision.writes ? work_->decision.scope : WriteMarks::Scope{};
  if (transaction_wrote_) {
    work_->scope.add(scope);
    scope = work_->scope;
  }
  database_->state->marks->wrote(scope, server_shard_, worker_.loop().now());
}

// ---- completion ----

const Op* Session::completed_op() const {
  if (work_->expected.empty() || own_running_) return nullptr;
  const Expected& e = work_->expected.front();
  if (e.swallow || e.op >= work_->ops.size()) return nullptr;
  return e.kind == Expect::execute || e.kind == Expect::query ? &work_->ops[e.op] : nullptr;
}

void Session::on_command_complete(std::string_view tag) {
  const Op* op = completed_op();
  if (!op) return;
  rolled_back_ = tag == "ROLLBACK";
  copy_syncs_ = 0;
  if (op->prepared && op->plan->verb == Verb::multi) on_prepared_complete(*op);
  if (!op->plan) return;
  if (op->plan->verb == Verb::multi) return apply_step(*op, completed_++, tag);
  apply_verb(*op->plan, is_logged(*op->plan) ? text_of(*op) : std::string_view(), tag);
}

std::string_view Session::text_of(const Op& op) const {
  if (op.text || op.type != 'Q') return op.text ? std::string_view(*op.text) : std::string_view();
  return *wire::read_query(input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader));
}

// A statement of a Query of several. One within a block that was begun behind others is in a transaction that nobody can begin elsewhere.
void Session::apply_step(const Op& op, std::size_t index, std::string_view tag) {
  const std::vector<router::Plan>& steps = op.plan->steps;
  if (index >= steps.size()) return;
  const router::Plan& step = steps[index];
  const bool ends = step.verb == Verb::commit || step.verb == Verb::rollback;
  const bool begins_late = step.verb == Verb::begin && index > 0 && steps[index - 1].verb != Verb::commit && steps[index - 1].verb != Verb::rollback;
  if (begins_late && work_->held.empty()) log_unknown();
  apply_verb(step, is_logged(step) ? text_of_step(op, index) : std::string_view(), tag);
  if (step.verb == Verb::set_local) set_locally_ = true;
  if (!ends || step.chain) return;
  work_->held.clear();
  set_locally_ = false;
  tainted_ |= !std::exchange(work_->lost_by_reset, {}).empty();   // what fails behind a COMMIT does not undo the RESET before it
}

std::string_view Session::text_of_step(const Op& op, std::size_t index) {
  const std::string_view text = text_of(op);
  if (work_->steps_in_text.empty()) work_->steps_in_text = router::split_statements(text);
  return index < work_->steps_in_text.size() ? work_->steps_in_text[index].in(text) : std::string_view();
}

// What a statement that succeeded changes in the session.
void Session::apply_verb(const router::Plan& plan, std::string_view text, std::string_view tag) {
  follow_channels(plan.verb == Verb::commit && tag == "ROLLBACK" ? Verb::rollback : plan.verb, plan.setting);
  if (is_logged(plan)) log_statement(plan, std::string(text));
  note_schema_change(plan);
  switch (plan.verb) {
    case Verb::set: return settings_.set(plan.setting, std::string(text));
    case Verb::set_local:   // outside of a block it counts up to the Sync
      set_locally_ = in_transaction();
      settings_.set_local(plan.setting, std::string(text));
      return;
    case Verb::reset: {
      const std::string lost = settings_.reset(plan.setting);
      if (!lost.empty() && !work_->held.empty()) work_->held.push_back(lost);
      work_->lost_by_reset += lost;
      if (!work_->lost_by_reset.empty()) work_->lost_by_reset += ";";
      return;
    }
    case Verb::reset_all:
      work_->lost_by_reset = settings_.reset_all();
      if (!work_->lost_by_reset.empty() && !work_->held.empty()) work_->held.push_back(work_->lost_by_reset);
      return;
    case Verb::savepoint: return settings_.savepoint(plan.setting);
    case Verb::release_savepoint: return settings_.release(plan.setting);
    case Verb::rollback_to_savepoint:
      failed_locally_ = false;
      rolled_back_ = false;   // the tag is ROLLBACK, the transaction goes on
      return settings_.rollback_to(plan.setting);
    case Verb::commit: return tag == "COMMIT" ? settings_.commit() : settings_.rollback();
    case Verb::rollback: return settings_.rollback();
    case Verb::discard_all: return on_discard_all();
    case Verb::dml:   // SELECT INTO
      if (plan.changes_schema != router::SchemaChange::none) worker_.proxy().schema_may_have_changed(database_->name);
      return;
    case Verb::utility:
      if (plan.effects != router::Effects{.releases = true}) worker_.proxy().schema_may_have_changed(database_->name);   // not CLOSE and DISCARD
      return;
    case Verb::query:
      if (plan.path) follow_path(*plan.path, std::string(text));
      return;
    case Verb::multi:
    case Verb::empty:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::begin:
    case Verb::set_transaction:
    case Verb::set_constraints:
    case Verb::deallocate:
    case Verb::deallocate_all:
    case Verb::prepare:
    case Verb::execute:
    case Verb::listen:
    case Verb::unlisten:
    case Verb::own_setting:
    case Verb::unparsable: return;
  }
}

void Session::on_discard_all() {
  names_.clear();
  settings_.discard_all();
  server_->prepared.clear();
  const bool keeps = mode_ == config::PoolMode::session;   // whatever it says, until it goes
  tainted_ = soft_after_ = false;
  if (server_ == pinned_) pinned_tainted_ = false;
  asks_ = {};
  pin_after_ = keeps && server_ != pinned_;
  work_->lost_by_reset.clear();
  if (!keeps && (!pinned_ || server_ == pinned_)) unpin();
  // The server has no settings now; the start-up ones are replayed before the next statement.
  discarded_ = true;
}

}  // namespace weir::proxy
