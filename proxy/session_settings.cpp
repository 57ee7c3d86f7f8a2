// What a server must be told before a client's batch: the client's settings, in one Query of the proxy's own that travels in front of the
// batch, in the same packet. It is one transaction: if any part of it fails, the server refuses the batch behind it (25P02), so that nothing
// ever runs under settings that are not its client's.
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

constexpr std::string_view kDiscardSequences = "DISCARD SEQUENCES;";

// Could the statement end a failed transaction, and what stands behind it then run?
bool may_end_transaction(const router::Plan& plan) {
  const Verb v = plan.verb;
  return v == Verb::commit || v == Verb::rollback || v == Verb::rollback_to_savepoint || v == Verb::multi || v == Verb::unparsable || plan.ends_transaction;
}

}  // namespace

bool Session::needs_preparing() const {
  return server_->settings.get() != settings_.current().get() || needs_sequences();
}

// Another client's currval is not this one's. On a kept server, and where this session alone has drawn since it was cleaned, there is none.
bool Session::needs_sequences() const {
  return work_->decision.effects.needs_clean && server_ != pinned_ && server_->sequences_of != id_;
}

bool Session::settings_fit_one_query() const {
  return fit_one_query(static_cast<const SettingsState*>(server_->settings.get()), settings_.current().get());
}

// May the settings go in front of the batch? Not where the batch itself could end the transaction that they failed in.
bool Session::may_prefix() const {
  if (work_->ops.empty() || work_->decision.check_only || unresolved_types_ || !settings_fit_one_query()) return false;
  for (const Op& op : work_->ops)
    if (op.plan && may_end_transaction(*op.plan)) return false;
  return true;
}

void Session::send_settings() {
  const auto parts = settings_query(static_cast<const SettingsState*>(server_->settings.get()), settings_.current().get(),
                                    needs_sequences());
  wire::write_query(work_->to_server, parts);
  work_->expected.push({Expect::settings, true, kNoOp});
  server_->unnamed_statement = 0;
}

// Each as a Query of its own, where what one sets decides how the next is read.
net::Task<Result<void>> Session::run_settings() {
  const SettingsRef wanted = settings_.current();
  const auto parts = settings_query(static_cast<const SettingsState*>(server_->settings.get()), wanted.get(), needs_sequences());
  std::vector<std::string> steps;
  if (settings_fit_one_query()) {
    std::string& all = steps.emplace_back();
    for (const std::string_view part : parts) all += part;
  } else {
    for (const std::string_view part : parts) {
      if (part.data() != wanted->replay.data()) {
        if (!part.empty()) steps.emplace_back(part);
        continue;
      }
      for (const Setting& setting : wanted->settings) steps.push_back(setting.sql);
    }
  }
  for (const std::string& step : steps)
    if (auto ran = co_await run_own(step); !ran) co_return ran.take_error();
  co_return Result<void>{};
}

// The same by a round trip of its own, where the batch must not be sent before the server has answered.
net::Task<Result<void>> Session::prepare_server() {
  stash();
  auto replayed = co_await run_settings();
  if (replayed) {
    server_->settings = settings_.current();
    if (work_->decision.effects.needs_clean) server_->sequences_of = id_;
    co_return Result<void>{};
  }
  Error error = replayed.take_error();
  if (!server_) co_return error;
  if (auto ended = co_await run_own("ROLLBACK"); !ended && server_) drop_server();
  aside_ = true;   // whatever transaction there is, it has not begun on this server
  co_return settings_refused(std::move(error));
}

// The server is this session's already; its transaction must not be disturbed.
net::Task<Result<void>> Session::prepare_held_server() {
  if (mid_sequence_ || transaction_ == Transaction::failed) co_return Result<void>{};
  std::string sql = std::exchange(work_->lost_by_reset, {});
  // What another client's INSERT drew from a sequence is not this client's currval. Where this transaction wrote, or the
  // server is to be kept, the sequences' state is its own.
  if (needs_sequences() && in_transaction() && !pin_after_ && !transaction_wrote_) {
    sql += kDiscardSequences;
    server_->sequences_of = id_;
  }
  if (sql.empty()) co_return Result<void>{};
  co_return co_await run_own(sql);
}

// ---- the replies ----

// Does the server answer the proxy now, and not the client?
bool Session::replies_are_own() const {
  return own_running_ || settings_error_ || (!work_->expected.empty() && work_->expected.front().kind == Expect::settings);
}

void Session::on_settings_applied(char status) {
  work_->expected.pop();
  if (status != 'I') return break_server({sqlstate::kProtocolViolation, "the server did not end the transaction of the settings"});
  server_->settings = settings_.current();
  if (work_->decision.effects.needs_clean) server_->sequences_of = id_;
  cancelled_settings_ = false;
  if (!work_->expected.first_owed()) emit_local_replies();
}

// What the server says to a batch that it refuses, for its settings have failed. The client gets one error, at the end.
void Session::discard_reply(const wire::Message& m) {
  const Expect due = work_->expected.empty() ? Expect::local : work_->expected.front().kind;
  const bool whole_query = due == Expect::query || due == Expect::settings || due == Expect::function_call;
  switch (m.type) {
    case 'Z':
      if (wire::read_ready_for_query(m.body) != 'E' || !(whole_query || due == Expect::sync || due == Expect::own_sync))
        return break_server({sqlstate::kProtocolViolation, "the server did not refuse a batch whose settings had failed"});
      work_->expected.pop();
      break;
    case 'E':
      if (const auto view = wire::read_error(m.body); !view || view->severity == "FATAL" || view->severity == "PANIC")
        return break_server({sqlstate::kConnectionFailure, "the server ended the connection"});
      if (!whole_query) work_->expected.drop_to_sync([this](const Expected& e) { undo_on_server(e); });
      break;
    case '1':
    case '2':
    case '3':
    case 'n':
    case 'I':
      if (!whole_query && !work_->expected.empty()) work_->expected.pop();
      break;
    default: break;
  }
  while (!work_->expected.empty() && work_->expected.front().kind == Expect::local) work_->expected.pop();
}

// The batch did not run: the client is told why, and the server, whose own settings are as they were before, goes back.
net::Task<Session::Outcome> Session::refuse_unprepared(BatchEnd end, bool may_retry) {
  Error error = *std::exchange(settings_error_, std::nullopt);
  if (std::exchange(mid_sequence_, false)) {   // it skips everything up to a Sync
    wire::write_sync(work_->to_server);
    work_->expected.push({Expect::sync, true, kNoOp});
  }
  pin_after_ = false;
  if (auto ended = co_await run_own("ROLLBACK"); !ended && server_) drop_server();
  // The timeout may have been the last client's; another server is asked. Not where the client itself asked for the end.
  const bool cancelled = std::exchange(cancelled_settings_, false);
  if (error.code == sqlstate::kQueryCanceled && !cancelled && may_retry && transaction_ == Transaction::none && server_ != pinned_) {
    if (server_) drop_server();
    co_return Outcome::retry;
  }
  aside_ = true;
  const bool gives_up = work_->ops.size() == 1 && work_->ops.front().type == 'Q' && work_->ops.front().plan->verb == Verb::discard_all;
  if (gives_up && !pinned_ && transaction_ == Transaction::none)
    answer_local_ops(1), end_channels(true);   // the way out
  else
    fail_locally(end, cancelled ? std::move(error) : settings_refused(std::move(error)));
  co_return Outcome::done;
}

// ---- search_path by a function ----

// SELECT set_config('search_path', ...) as the statement that the session keeps of it. False: refused.
bool Session::take_path(const router::Plan& plan, const router::Arguments& arguments, std::shared_ptr<const std::string>& text) {
  std::string_view value = plan.path->value;
  if (const auto parameter = plan.path->parameter) {
    if (*parameter >= arguments.parameters.size()) return true;   // the server says what is wrong with it
    if (arguments.parameters[*parameter].is_null)
      return refuse({sqlstate::kFeatureNotSupported, "set_config('search_path', NULL, ...) cannot be followed", "Use RESET search_path, or give a value."}), false;
    value = as_text(arguments.parameters[*parameter].value);
  }
  if (value.find('\0') != std::string_view::npos) return true;
  text = std::make_shared<const std::string>(set_config_statement("search_path", value, plan.path->local));
  if (!server_encoding_ && !is_ascii(*text)) work_->decision.effects.pins = true;   // no other server is told what is known in an encoding that may change
  return true;
}

// It ran.
void Session::follow_path(const router::PathCall& path, std::string sql) {
  if (!path.local) return settings_.set("search_path", std::move(sql));
  set_locally_ = in_transaction();
  settings_.set_local("search_path", std::move(sql));
}

}  // namespace weir::proxy
