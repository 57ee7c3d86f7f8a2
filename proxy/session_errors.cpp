// ErrorResponses: whose they are, what the server skips behind them, and what therefore did not happen.
#include <algorithm>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

Error as_error(const wire::ErrorView& view) {
  Error e(SqlState::parse(view.code), std::string(view.message), std::string(view.hint));
  e.detail = view.detail;
  return e;
}

}  // namespace

void Session::on_error(const wire::Message& m, bool& forward) {
  const auto view = wire::read_error(m.body);
  if (!view) return break_server(out_of_step('E'));
  if (view->severity == "FATAL" || view->severity == "PANIC") {
    forward = false;
    server_fatal_ = as_error(*view);
    server_broken_ = true;
    return;
  }
  if (work_->expected.empty()) return break_server(as_error(*view));
  if (again_ || will_run_again(m)) {
    forward = false;
    if (!again_) forget_stale(work_->ops[work_->expected.first_owed()->op]);
    again_ = true;
    ++runs_again_;
    if (work_->expected.first_owed()->kind != Expect::query) work_->expected.drop_to_sync([&](const Expected& e) { undo_on_server(e); });
    return;
  }
  const Expected head = work_->expected.front();
  if (head.kind == Expect::settings) {
    settings_error_ = as_error(*view);
    return;
  }
  if (head.swallow && head.kind == Expect::parse && own_sync_follows()) {
    // What a Query names could not be prepared: the Query fails for want of it, and is told this reason.
    forward = false;
    swallowed_error_ = as_error(*view);
    work_->expected.drop_to_sync([&](const Expected& e) { undo_on_server(e); });
    return;
  }
  if (own_running_ || (head.kind == Expect::query && head.swallow)) {
    forward = false;
    if (!swallowed_error_) swallowed_error_ = as_error(*view);
    return;
  }
  error_seen_ = true;
  traffic_->errors.add(view->code);
  const Op* const op = head.op < work_->ops.size() ? &work_->ops[head.op] : nullptr;
  if (op && is_stale_plan(m.body)) forget_stale(*op);   // it would fail every client from now on
  if (std::exchange(copy_given_up_, false) && view->message.find(kCopyGivenUp) != std::string_view::npos) {
    forward = false;
    client_eof_ = client_dead_ = true;
    return fatal({sqlstate::kProtocolViolation, concat("unexpected message type ", std::to_string(input_.front()), " during COPY from stdin")});
  }
  const bool follows = view->code == sqlstate::kInFailedTransaction.view() || view->code == sqlstate::kInvalidStatementName.view();
  if (follows && swallowed_error_) {
    forward = false;   // a held-back SET LOCAL, a Parse or the like had failed: that is what the client must know
    wire::write_error(work_->own, wire::Severity::error, *std::exchange(swallowed_error_, std::nullopt));
  } else if (head.kind != Expect::poison && translate_error(m, op)) {
    forward = false;
  }
  if (head.kind == Expect::query || head.kind == Expect::function_call)   // its ReadyForQuery comes
    return copy_in_ || copy_syncs_ > 0 ? end_failed_copy() : void();
  if (head.kind == Expect::poison) {
    forward = false;
    wire::write_error(work_->own, wire::Severity::error, *poison_error_);
  }
  work_->expected.drop_to_sync([&](const Expected& e) { undo(e); });
  restore_unnamed(head.op);
  if (flushes_apart()) {
    skip_to_sync_ = true;
    if (transaction_ == Transaction::held) transaction_ = Transaction::held_failed;
    return;
  }
  if (work_->expected.empty()) {
    skip_to_sync_ = mid_sequence_ = true;
    if (copy_in_ || copy_syncs_ > 0) end_failed_copy();
    return;
  }
  // The Sync that stands for a Query of which the proxy would have complained: the Query is skipped like all that follows.
  const Expected& ends = work_->expected.front();
  if (head.kind == Expect::poison || ends.kind != Expect::sync || ends.op >= work_->ops.size() || work_->ops[ends.op].type != 'Q') return;
  if (ends.op == head.op) return;   // it failed itself, as a Parse of the proxy's: its ReadyForQuery comes
  work_->expected.swallow_front();
  skip_to_sync_ = true;
}

// The unnamed statement when `failed` (an index of work_->ops) failed and all after it was skipped: that of the last message that came to pass.
void Session::restore_unnamed(std::size_t failed) {
  if (failed >= work_->ops.size()) return;
  const auto parses = [&](const Op& op) { return op.type == 'P' && !op.statement && op.name.empty(); };
  const auto drops = [&](const Op& op) {
    if (op.type != 'C' || scanned_ == 0) return op.type == 'Q' || op.type == 'C';   // COPY data took the messages' place
    const auto named = wire::read_named(input_.subspan(op.offset + wire::kHeader, op.size - wire::kHeader), "Close");
    return named && named->kind == 'S' && named->name.empty();
  };
  std::size_t last = failed + 1;
  while (last > 0 && !parses(work_->ops[last - 1]) && !drops(work_->ops[last - 1])) --last;
  if (last == 0) return take_unnamed_back();
  const std::size_t at = last - 1;
  has_unnamed_ = at != failed && parses(work_->ops[at]);
  const bool is_latest = std::none_of(work_->ops.begin() + static_cast<std::ptrdiff_t>(last), work_->ops.end(), parses);
  if (!has_unnamed_ || is_latest) return;
  const auto parse = scanned_ == 0 ? wire::read_parse({}) : wire::read_parse(input_.subspan(work_->ops[at].offset + wire::kHeader, work_->ops[at].size - wire::kHeader));
  has_unnamed_ = static_cast<bool>(parse);
  if (!has_unnamed_) return;
  read_into(*unnamed_, *parse);
  unnamed_->id = worker_.next_unnamed();
}

// As it was before the batch.
void Session::take_unnamed_back() {
  if (std::exchange(unnamed_replaced_, false)) std::swap(unnamed_, work_->unnamed_before);
  has_unnamed_ = had_unnamed_;
}

// The server skipped the message that would have caused this reply.
void Session::undo(const Expected& e) {
  undo_on_server(e);
  if (e.swallow || e.op >= work_->ops.size()) return;
  Op& op = work_->ops[e.op];
  const bool named = op.statement != nullptr || !op.name.empty();
  if (e.kind == Expect::parse || (e.kind == Expect::local && (op.type == 'P' || (op.plan && op.plan->verb == Verb::prepare && op.local == 'C'))))
    named ? names_.remove(op.name) : void(has_unnamed_ = false);
  else if (e.kind == Expect::local)
    restore_names(op);
}

}  // namespace weir::proxy
