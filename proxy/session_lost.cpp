// A server that is lost: what runs again elsewhere, what the client is told, and what is left of its transaction.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

// Within a transaction block: may what was written stand, once the statement ran?
bool may_commit_transaction(const router::Plan& plan) {
  return plan.verb == Verb::commit || plan.verb == Verb::unparsable || plan.ends_transaction;
}

}  // namespace

// Was it the batch that ended the server? What it crashed on, or was told to stop with, is not run again elsewhere. A server that was told
// to stop while it was idle says so only when it gets to it, which may be after the batch was sent: the words are the same, only the time
// tells.
bool Session::spoke_of_the_batch() const {
  constexpr Duration kToldWhileIdle = std::chrono::seconds(5);
  if (!server_fatal_) return false;
  return server_fatal_->code != sqlstate::kAdminShutdown || worker_.loop().now() - sent_at_ > kToldWhileIdle;
}

Session::Outcome Session::lost_server(bool may_retry) {
  const bool pinned = server_ == pinned_;
  const bool explicit_transaction = transaction_ == Transaction::open || transaction_ == Transaction::failed;
  const bool may_commit = std::any_of(work_->ops.begin(), work_->ops.end(), [](const Op& op) { return op.plan && may_commit_transaction(*op.plan); });
  const bool wrote = work_->decision.writes || sequence_wrote_ || (may_commit && transaction_wrote_);
  const bool sequence = mid_sequence_ || in_sequence_;
  if (may_retry && !spoke_of_the_batch() && forwarded_ == 0 && work_->decision.runs && work_->decision.read_only && !wrote && !explicit_transaction && !in_transaction() && !pinned && !sequence) {
    server_fatal_.reset();
    drop_server();
    return Outcome::retry;
  }
  Error error = server_fatal_.value_or(Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", server_->pool->name(), ")")));
  server_fatal_.reset();
  if (wrote && (!explicit_transaction || may_commit)) {
    error = Error(sqlstate::kTransactionResolutionUnknown,
                  concat("the server connection was lost while a write was running: its outcome is unknown (", error.message, ")"),
                  "Look whether the write happened before you try again.");
    error.outcome_known = false;
  }
  const bool cut_in_message = (bulk_left_ > 0 && forwarded_ > 0) || (error_seen_ && copy_syncs_ > 0);
  const bool awaits_sync = (!work_->ops.empty() && work_->ops.back().type == 'H') || copy_extended_in_progress();
  work_->expected.drop_all([&](const Expected& e) { undo(e); });
  drop_server();
  if (cut_in_message) {   // whatever is said now would be taken for the rest of that message
    note_last_words(error);
    return Outcome::closed;
  }
  if (pinned || client_dead_) {
    fatal(error);
    return Outcome::closed;
  }
  database_->stats->errors.add(error.code.view());
  const bool over = ends_failed_transaction();
  const bool in_block = in_transaction() && !over;
  if (!in_block) leave_transaction(false);
  if (in_block) {
    transaction_ = Transaction::held_failed;   // the client must still say ROLLBACK
    work_->held.clear();
    transaction_shard_.reset();
    failed_locally_ = false;
  }
  if (!awaits_sync) fail_begin();
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
