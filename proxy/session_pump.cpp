// Replies: from the server's bytes to the client's, counting what is still owed; COPY data the other way; a lost server.
#include "base/log.hpp"
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Verb;

namespace {


// Rows and COPY data are passed on as they come; everything else is looked at whole.
bool is_bulk(char type) { return type == 'D' || type == 'd' || type == 'V'; }

Error as_error(const wire::ErrorView& view) {
  Error e(SqlState::parse(view.code), std::string(view.message), std::string(view.hint));
  e.detail = view.detail;
  return e;
}

Error out_of_step(char type) {
  return {sqlstate::kProtocolViolation, concat("the server sent a message of type '", std::string(1, type), "' out of turn"),
          "The server connection was closed; try again."};
}

}  // namespace

net::Task<Session::Outcome> Session::pump(bool may_retry) {
  stash();
  emit_local_replies();
  flush_own();
  for (;;) {
    if (server_broken_ && nothing_owed() && !in_transaction() && !mid_sequence_ && !pin_after_ && server_ != pinned_) {
      server_fatal_.reset();   // it said goodbye after it had answered all
      drop_server();
      co_return Outcome::done;
    }
    if (server_broken_) co_return lost_server(may_retry);
    if (nothing_owed()) co_return Outcome::done;
    bool progress = false;
    // A client that stops reading: no more than one receive buffer of its result is held.
    if (out_.empty()) progress = receive_from_server();
    if (copy_in_ && !server_broken_ && !client_eof_) progress |= forward_copy_data();
    if (!server_broken_ && !to_server_.empty()) flush_server();
    if (!out_.empty()) {
      flush_client();
      progress |= out_.empty();
    }
    if (progress || server_broken_) continue;
    if (client_->hung_up() || client_eof_ || (end_with_ && end_now_)) {
      if (end_with_ && end_now_) fatal(*end_with_);
      co_return Outcome::closed;
    }
    stash();
    co_await waiter_.wait();
  }
}

bool Session::nothing_owed() const { return expected_.empty() && !copy_in_ && carry_.empty() && bulk_left_ == 0; }

bool Session::receive_from_server() {
  net::Socket& socket = *server_->socket;
  if (!socket.may_receive()) {
    if (socket.hung_up()) server_broken_ = true;
    return socket.hung_up();
  }
  stash();   // both sides share the loop's receive buffer
  const net::Received r = socket.receive();
  switch (r.kind) {
    case net::Received::Kind::data: process_replies(r.bytes); return true;
    case net::Received::Kind::nothing: return false;
    case net::Received::Kind::end:
    case net::Received::Kind::failed: server_broken_ = true; return true;
  }
  return false;
}

void Session::to_client(ByteView bytes) {
  if (bytes.empty() || client_dead_) return;
  forwarded_ += bytes.size();
  if (out_.empty() && client_->can_send()) {
    const auto sent = client_->send(bytes);
    if (!sent) {
      client_eof_ = true;
      return;
    }
    if (database_) database_->stats.sent.add(*sent);
    bytes = bytes.subspan(*sent);
  }
  if (!bytes.empty()) out_.append(bytes);
}

void Session::flush_own() {
  if (own_.empty()) return;
  to_client(own_.view());
  own_.clear();
}

// Walks whole messages; what is forwarded goes out in as few pieces as possible.
void Session::process_replies(ByteView bytes) {
  ByteBuffer whole;
  if (!carry_.empty()) {
    std::swap(whole, carry_);
    whole.append(bytes);
    bytes = whole.view();
  }
  std::size_t at = std::min<std::uint64_t>(bulk_left_, bytes.size());
  std::size_t from = own_running_ ? at : 0;   // the rest of a row of the proxy's own statement
  bulk_left_ -= at;
  while (at < bytes.size() && !server_broken_) {
    const wire::Frame f = wire::next_message(bytes.subspan(at));
    if (f.status == wire::FrameStatus::message) {
      bool forward = true;
      if (!is_bulk(f.message.type)) process_message(f.message, forward);
      forward &= !own_running_;
      const std::size_t end = at + f.needed;
      if (!forward || !own_.empty()) {
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
    if (have < wire::kHeader || (!is_bulk(f.message.type) && f.needed <= kMaxControl)) break;   // wait for the rest
    bulk_left_ = f.needed - have;
    at = bytes.size();
  }
  if (!own_running_) to_client(bytes.subspan(from, at - from));
  if (at < bytes.size() && !server_broken_) carry_.append(bytes.subspan(at));
}

void Session::break_server(Error why) {
  server_broken_ = true;
  if (!server_fatal_) server_fatal_ = std::move(why);
}

// One whole message that is no row. `forward`: does the client get it?
void Session::process_message(const wire::Message& m, bool& forward) {
  const Expect due = expected_.empty() ? Expect::local : expected_.front().kind;
  const auto settle = [&](Expect kind) {
    if (due != kind) return break_server(out_of_step(m.type));
    forward = !expected_.front().swallow;
    expected_.pop();
  };
  switch (m.type) {
    case 'Z': return on_ready_for_query(m, forward);
    case 'E': return on_error(m, forward);
    case '1':
      if (decision_.check_only && due == Expect::parse) {
        settle(Expect::parse);
        forward = false;
        error_seen_ = true;
        wire::write_error(own_, wire::Severity::error, *poison_error_);
      } else {
        if (due == Expect::parse && !expected_.front().swallow) note_accepted(expected_.front().op);
        settle(Expect::parse);
      }
      break;
    case '2': settle(Expect::bind); break;
    case '3': settle(Expect::close); break;
    case 'n': settle(Expect::describe); break;
    case 'T':
      if (due == Expect::describe) settle(Expect::describe);
      break;
    case 'C':
      if (const auto tag = wire::read_command_complete(m.body)) on_command_complete(*tag);
      if (due == Expect::execute) settle(Expect::execute);
      else if (due == Expect::query) forward = !expected_.front().swallow;
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
    case 'A':
    case 'H':
    case 'c':
    case 't': break;
    default: return break_server(out_of_step(m.type));
  }
  emit_local_replies();
}

void Session::note_accepted(std::uint32_t op) {
  if (op < ops_.size() && ops_[op].interned) ops_[op].interned->accepted.store(true, std::memory_order_relaxed);
}

// Replies that the proxy gives itself, at their place in the order.
void Session::emit_local_replies() {
  while (!expected_.empty() && expected_.front().kind == Expect::local) {
    const char cause = ops_[expected_.front().op].type;
    wire::write_message(own_, cause == 'P' ? '1' : '3', std::string_view{});
    expected_.pop();
  }
}

// ---- ReadyForQuery ----

void Session::on_ready_for_query(const wire::Message& m, bool& forward) {
  const char status = wire::read_ready_for_query(m.body);
  const Expect due = expected_.empty() ? Expect::local : expected_.front().kind;
  if (expected_.empty() && std::exchange(dropped_sync_, false) && status != '\0') {
    // The COPY failed before the server came to the Sync that came along: it was not ignored after all.
    mid_sequence_ = skip_to_sync_ = false;
    return on_ready(status);
  }
  if (status == '\0' || (due != Expect::query && due != Expect::sync && due != Expect::function_call))
    return break_server(out_of_step('Z'));
  const bool swallow = expected_.front().swallow;
  expected_.pop();
  if (swallow && !own_running_ && !client_dead_ && status == 'I' && !decision_.check_only)
    return break_server({sqlstate::kConnectionFailure, "the server did not begin the transaction"});
  if (!own_running_) on_ready(status);
  if (swallow) {
    forward = false;
  } else if (status_letter() != status) {
    forward = false;
    wire::write_ready_for_query(own_, status_letter());
  }
  emit_local_replies();
}

void Session::on_ready(char status) {
  if (aside_) {   // the held transaction still waits for its first statement
    if (error_seen_) transaction_ = Transaction::held_failed;
    return;
  }
  if (status == 'I') {
    const bool rolled_back = error_seen_ || rolled_back_;
    sequence_wrote_ = false;
    if (decision_.writes || transaction_wrote_) mark_writes();
    drop_pin_of_failed_text();
    leave_transaction(!rolled_back);
    server_->settings = std::exchange(discarded_, false) ? nullptr : settings_.current();
    database_->stats.transactions.add();
    const auto took = worker_.loop().now() - sent_at_;
    database_->stats.query_us.add(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
    rolled_back_ = false;
    return;
  }
  if (transaction_ == Transaction::none || transaction_ == Transaction::held) transaction_shard_ = server_shard_;
  transaction_ = status == 'T' ? Transaction::open : Transaction::failed;
  if (decision_.writes) {   // also where BEGIN came in the same batch
    transaction_wrote_ = true;
    transaction_scope_.add(decision_.scope);
  }
  if (status == 'E') lost_by_reset_.clear();   // whatever ends this state undoes the RESET
  if (decision_.check_only && status == 'T') failed_locally_ = true;
}

// Text that neither our parser nor the server understood left nothing behind.
void Session::drop_pin_of_failed_text() {
  if (!error_seen_ || !pin_after_) return;
  for (const Op& op : ops_)
    if (op.plan && op.plan->effects.pins && op.plan->verb != Verb::unparsable) return;
  pin_after_ = false;
}

// What is written now must not be read from a replica before it is there. Said when it is sent, and again when it is done.
void Session::mark_writes() {
  if (in_transaction()) transaction_wrote_ = true;
  if (!marks_matter()) return;
  WriteMarks::Scope scope = decision_.writes ? decision_.scope : WriteMarks::Scope{};
  if (transaction_wrote_) {
    transaction_scope_.add(scope);
    scope = transaction_scope_;
  }
  database_->state->marks->wrote(scope, server_shard_, worker_.loop().now());
}

// ---- completion ----

const Session::Op* Session::completed_op() const {
  if (expected_.empty() || own_running_) return nullptr;
  const Expected& e = expected_.front();
  if (e.swallow || e.op >= ops_.size()) return nullptr;
  return e.kind == Expect::execute || e.kind == Expect::query ? &ops_[e.op] : nullptr;
}

void Session::on_command_complete(std::string_view tag) {
  const Op* op = completed_op();
  if (!op) return;
  rolled_back_ = tag == "ROLLBACK";
  if (op->plan) apply_verb(*op->plan, *op, tag);
}

std::string Session::text_of(const Op& op) const {
  const ByteView body = input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader);
  if (op.type == 'Q') return std::string(*wire::read_query(body));
  const Portal* portal = find_portal(wire::read_execute(body)->portal);
  return portal ? portal->sql : std::string{};
}

// What a statement that succeeded changes in the session.
void Session::apply_verb(const router::Plan& plan, const Op& op, std::string_view tag) {
  switch (plan.verb) {
    case Verb::set: return settings_.set(plan.setting, text_of(op));
    case Verb::set_local: set_locally_ = in_transaction(); return;
    case Verb::reset:
      lost_by_reset_ += settings_.reset(plan.setting);
      if (!lost_by_reset_.empty()) lost_by_reset_ += ";";
      return;
    case Verb::reset_all:
      lost_by_reset_ = settings_.reset_all();
      return;
    case Verb::savepoint: return settings_.savepoint(plan.setting);
    case Verb::release_savepoint: return settings_.release(plan.setting);
    case Verb::rollback_to_savepoint:
      failed_locally_ = false;
      rolled_back_ = false;   // the tag is ROLLBACK, the transaction goes on
      return settings_.rollback_to(plan.setting);
    case Verb::commit: return tag == "COMMIT" ? settings_.commit() : settings_.rollback();
    case Verb::rollback: return settings_.rollback();
    case Verb::deallocate_all:
      names_.clear();
      return server_->prepared.clear();
    case Verb::discard_all: return on_discard_all();
    case Verb::utility:
    case Verb::multi: return worker_.proxy().schema_may_have_changed(database_->name);
    case Verb::empty:
    case Verb::query:
    case Verb::dml:
    case Verb::copy_from:
    case Verb::copy_to:
    case Verb::begin:
    case Verb::set_transaction:
    case Verb::deallocate:
    case Verb::unparsable: return;
  }
}

void Session::on_discard_all() {
  names_.clear();
  has_unnamed_ = false;
  settings_.discard_all();
  server_->prepared.clear();
  server_->unnamed_statement = 0;
  tainted_ = pin_after_ = false;
  lost_by_reset_.clear();
  if (server_ == pinned_) pinned_ = nullptr;
  // The server has no settings now; the start-up ones are replayed before the next statement.
  discarded_ = true;
}

// ---- errors ----

void Session::on_error(const wire::Message& m, bool& forward) {
  const auto view = wire::read_error(m.body);
  if (!view) return break_server(out_of_step('E'));
  if (view->severity == "FATAL" || view->severity == "PANIC") {
    forward = false;
    server_fatal_ = as_error(*view);
    server_broken_ = true;
    return;
  }
  if (expected_.empty()) return break_server(as_error(*view));
  const Expected head = expected_.front();
  if (own_running_ || (head.kind == Expect::query && head.swallow)) {
    forward = false;
    if (!swallowed_error_) swallowed_error_ = as_error(*view);
    return;
  }
  error_seen_ = true;
  database_->stats.errors.add();
  // "cached plan must not change result type": a statement prepared before somebody's DDL would fail every client from now on.
  if (view->code == sqlstate::kFeatureNotSupported.view() && server_->prepared.size() > 0) tainted_ = true;
  if (copy_in_) copy_bulk_left_ == 0 ? void(copy_in_ = false) : void(copy_failed_ = true);
  if (view->code == sqlstate::kInFailedTransaction.view() && swallowed_error_) {
    forward = false;   // a held-back SET LOCAL or the like had failed: that is what the client must know
    wire::write_error(own_, wire::Severity::error, *std::exchange(swallowed_error_, std::nullopt));
  }
  if (head.kind == Expect::query || head.kind == Expect::function_call) return;   // its ReadyForQuery comes
  if (head.kind == Expect::poison) {
    forward = false;
    wire::write_error(own_, wire::Severity::error, *poison_error_);
  }
  expected_.drop_to_sync([&](const Expected& e) { undo(e); });
  if (!expected_.empty()) return;
  skip_to_sync_ = mid_sequence_ = true;
}

// The server skipped the message that would have caused this reply.
void Session::undo(const Expected& e) {
  if (e.kind == Expect::close && e.swallow) tainted_ = true;   // an evicted statement is still there
  if (e.kind == Expect::local && e.op < ops_.size()) {
    const Op& op = ops_[e.op];
    if (op.type == 'P') names_.remove(op.name);
    if (op.type == 'C' && op.statement) names_.add(op.name, {op.statement, op.interned});
  }
  if (e.kind != Expect::parse) return;
  if (e.op >= ops_.size() || !ops_[e.op].statement) {
    server_->unnamed_statement = 0;
    if (!e.swallow) has_unnamed_ = false;
    return;
  }
  const Op& op = ops_[e.op];
  server_->prepared.remove(op.statement->id);
  if (!e.swallow) names_.remove(op.name);
}

// ---- COPY FROM STDIN ----

void Session::on_copy_in() {
  if (expected_.empty()) return break_server(out_of_step('G'));
  copy_in_ = true;
  copy_failed_ = false;
  copy_extended_ = expected_.front().kind == Expect::execute;
  if (copy_extended_) dropped_sync_ = expected_.drop_syncs();   // the server ignores them while it copies
  consume(std::exchange(scanned_, 0));          // the client's bytes are COPY data from here on
}

// Passes COPY data on, as long as the server takes it. True: something moved.
bool Session::forward_copy_data() {
  bool moved = false;
  while (copy_in_ && to_server_.empty() && !server_broken_ && !client_eof_) {
    if (input_.empty() && !receive_from_client()) break;
    const std::size_t ready = copy_data_ready();
    if (ready > 0) {
      send_to_server(input_.first(ready));
      consume(ready);
      // Its CommandComplete would wait in the server for the Sync, which is a batch of its own.
      if (!copy_in_ && copy_extended_) send_to_server(kFlush);
      moved = true;
    } else if (copy_in_ && !receive_from_client()) {
      break;
    }
    if (copy_failed_ && copy_bulk_left_ == 0) copy_in_ = false;
  }
  return moved;
}

// How many bytes at the front of the input may go to the server now. Ends copy mode at CopyDone and CopyFail.
std::size_t Session::copy_data_ready() {
  std::size_t at = std::min<std::uint64_t>(copy_bulk_left_, input_.size());
  copy_bulk_left_ -= at;
  while (at < input_.size() && !copy_failed_) {
    const wire::Frame f = wire::next_message(input_.subspan(at));
    const char type = static_cast<char>(input_[at]);
    if (f.status == wire::FrameStatus::bad_length || std::string_view("dcfSHX").find(type) == std::string_view::npos) {
      fatal({sqlstate::kProtocolViolation, concat("unexpected message type ", std::to_string(input_[at]), " during COPY from stdin")});
      client_eof_ = true;
      return at;
    }
    if (type == 'X') {
      client_eof_ = true;
      return at;
    }
    if (f.status == wire::FrameStatus::incomplete) {
      if (type != 'd' || input_.size() - at < wire::kHeader) return at;
      copy_bulk_left_ = f.needed - (input_.size() - at);
      return input_.size();
    }
    at += f.needed;
    if (type == 'c' || type == 'f') {
      copy_in_ = false;
      mid_sequence_ |= copy_extended_;   // its Sync comes as a batch of its own
      return at;
    }
  }
  return at;
}

// The Sync that ends an extended COPY comes after its data.
bool Session::copy_extended_in_progress() const { return copy_extended_ && (copy_in_ || mid_sequence_ || dropped_sync_); }

// ---- a lost server ----

Session::Outcome Session::lost_server(bool may_retry) {
  const bool pinned = server_ == pinned_;
  const bool explicit_transaction = transaction_ == Transaction::open || transaction_ == Transaction::failed;
  const bool wrote = decision_.writes || sequence_wrote_ || (ends_failed_transaction() && transaction_wrote_);
  const bool sequence = mid_sequence_ || in_sequence_;
  const bool spoke = server_fatal_.has_value();   // a server that was told to stop, or crashed on it, is not asked again
  if (may_retry && !spoke && forwarded_ == 0 && decision_.runs && decision_.read_only && !wrote && !explicit_transaction && !in_transaction() && !pinned && !sequence) {
    server_fatal_.reset();
    drop_server();
    return Outcome::retry;
  }
  Error error = server_fatal_.value_or(Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", server_->pool->name(), ")")));
  server_fatal_.reset();
  if (wrote && (!explicit_transaction || ends_failed_transaction())) {
    error = Error(sqlstate::kTransactionResolutionUnknown,
                  concat("the server connection was lost while a write was running: its outcome is unknown (", error.message, ")"),
                  "Look whether the write happened before you try again.");
    error.outcome_known = false;
  }
  const bool cut_in_message = bulk_left_ > 0 && forwarded_ > 0;
  const bool awaits_sync = (!ops_.empty() && ops_.back().type == 'H') || copy_extended_in_progress();
  for (; !expected_.empty(); expected_.pop()) undo(expected_.front());
  drop_server();
  if (pinned || cut_in_message || client_dead_) {
    fatal(error);
    return Outcome::closed;
  }
  database_->stats.errors.add();
  const bool over = ends_failed_transaction();
  const bool in_block = in_transaction() && !over;
  if (!in_block) leave_transaction(false);
  if (in_block) {
    transaction_ = Transaction::held_failed;   // the client must still say ROLLBACK
    held_.clear();
    transaction_shard_.reset();
    failed_locally_ = false;
  }
  wire::write_error(out_, wire::Severity::error, error);
  skip_to_sync_ = awaits_sync;
  if (!awaits_sync) wire::write_ready_for_query(out_, status_letter());
  return Outcome::done;
}

// Bytes from a server that owes nothing: notices, notifications, or its end. False: the client must go, too.
bool Session::process_idle_server(pool::Server& server) {
  if (!server.socket->may_receive() && !server.socket->hung_up()) return true;
  pool::Server* const current = std::exchange(server_, &server);
  while (receive_from_server() && !server_broken_) {
  }
  if (!server_broken_) {
    server_ = current;
    return true;
  }
  fatal(server_fatal_.value_or(Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", server.pool->name(), ")"))));
  drop_server();
  server_ = current == &server ? nullptr : current;
  transaction_ = server_ ? transaction_ : Transaction::none;
  return false;
}

}  // namespace weir::proxy
