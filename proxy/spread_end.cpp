// How a transaction over shards ends: by router::TwoPhase or by ROLLBACK, and its servers go back.
#include <algorithm>
#include <random>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/recovery.hpp"
#include "proxy/spread.hpp"
#include "router/merge/row_view.hpp"

namespace weir::proxy {

using router::TwoPhase;
using Step = ScatterLink::Step;

namespace {

constexpr Duration kCleanUpTime = std::chrono::seconds(5);

Error as_error(const wire::ErrorView& view) {
  Error e(SqlState::parse(view.code), std::string(view.message), std::string(view.hint));
  e.detail = view.detail;
  return e;
}

bool ends_connection(const wire::ErrorView& view) { return view.severity == "FATAL" || view.severity == "PANIC"; }

std::uint64_t unpredictable_bits() {
  std::random_device random;
  return ((static_cast<std::uint64_t>(random()) << 32) | random()) >> 8;
}

}  // namespace

// ---- one statement to a link, and its answer ----

void Spread::ask(std::size_t i, std::string_view sql) {
  ScatterLink& link = links_[i];
  wire::write_query(link.out(), sql);
  link.owe(Step::control);
  link.server().unnamed_statement = 0;
  link.begin_run();
  hearings_[i] = {true, link.out().size(), {}, {}};
  link.flush();
}

// May bytes of what is under way have reached the server?
bool Spread::was_sent(std::size_t i) const { return !hearings_[i].busy || links_[i].sent_since(hearings_[i].unsent); }

// True: it has answered.
bool Spread::hear(std::size_t i) {
  ScatterLink& link = links_[i];
  link.flush();
  wire::Message message;
  while (hearings_[i].busy && link.front(message) == ScatterLink::Front::message) {
    hear_message(i, message);
    link.pop();
  }
  return !hearings_[i].busy;
}

void Spread::hear_message(std::size_t i, const wire::Message& m) {
  Hearing& hearing = hearings_[i];
  ScatterLink& link = links_[i];
  switch (m.type) {
    case 'C':
      if (const auto tag = wire::read_command_complete(m.body)) hearing.reply.tags.emplace_back(*tag);
      return;
    case 'D': {
      if (s_.own_rows_) return s_.take_own_row(m.body);
      router::merge::RowView row;
      if (!hearing.reply.value && row.read(m.body) && row.columns() > 0 && row[0]) hearing.reply.value = as_text(*row[0]);
      return;
    }
    case 'E': {
      const auto view = wire::read_error(m.body);
      if (!view || ends_connection(*view)) return link.break_off();
      link.traffic().errors.add(view->code);
      if (hearing.reply.error) return;
      hearing.reply.error = as_error(*view);
      hearing.error.append(m.body);
      return;
    }
    case 'N': wire::write_message(notices_, 'N', m.body); return;
    case 'Z':
      hearing.reply.status = wire::read_ready_for_query(m.body);
      hearing.busy = false;
      return link.step_is_over();
    case 'S':   // one tells it for all; of the proxy's own statement it is nobody's
      if (i == 0 && !s_.own_rows_) wire::write_message(notices_, 'S', m.body);
      return;
    case 'T':
    case 'A': return;
    default: return link.break_off();
  }
}

net::Task<Result<void>> Spread::ask_own(ScatterLink& link, std::string_view sql) {
  std::size_t i = 0;
  while (&links_[i] != &link) ++i;
  if (link.lost()) co_return Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", link.server().pool->name(), ")"));
  hearings_.assign(links_.size(), {});
  ask(i, sql);
  net::Timer timer(s_.waiter_);
  timer.arm(Deadline::after(s_.worker_.loop().now(), kCleanUpTime));
  while (!hear(i) && !link.lost()) {
    if (timer.fired()) link.break_off();
    if (!link.lost()) co_await s_.waiter_.wait();
  }
  timer.cancel();
  if (link.lost()) co_return Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", link.server().pool->name(), ")"));
  if (hearings_[i].reply.error) co_return *hearings_[i].reply.error;
  co_return Result<void>{};
}

// ---- COMMIT ----

router::TwoPhaseSettings Spread::two_phase_settings() const {
  router::TwoPhaseSettings settings;
  if (writers_ > 1) {
    settings.cluster = s_.worker_.proxy().recovery().cluster(s_.database_->name);
    settings.random = unpredictable_bits();
  }
  for (const ScatterLink& link : links_) settings.shards.push_back({std::string(s_.shard_name(link.shard())), link.first_write, &link == notifier_});
  return settings;
}

// Sends what is to be sent, and tells what has come. False: nothing has happened.
bool Spread::step(TwoPhase& commit) {
  for (const TwoPhase::Send& send : commit.take_sends()) ask(send.shard, send.sql);
  bool progress = false;
  const TimePoint now = s_.worker_.loop().now();
  for (std::size_t i = 0; i < links_.size(); ++i) {
    if (!hearings_[i].busy) continue;
    const bool answered = hear(i);
    if (!answered && !links_[i].lost()) continue;
    progress = true;
    if (answered) {
      commit.answered(i, hearings_[i].reply, now);
    } else {
      const bool sent = was_sent(i);
      hearings_[i].busy = false;
      commit.lost(i, sent, now);
    }
  }
  commit.time_passed(now);
  return progress;
}

net::Task<Spread::Outcome> Spread::commit() {
  hearings_.assign(links_.size(), {});
  mark_writes();
  TwoPhase commit(two_phase_settings(), s_.worker_.loop().now());
  net::Timer timer(s_.waiter_);
  while (!commit.finished()) {
    if (step(commit) || commit.finished()) continue;
    timer.arm(commit.deadline());
    co_await s_.waiter_.wait();
  }
  timer.cancel();
  mark_writes();
  if (commit.outcome().recovery_needed) s_.worker_.proxy().recovery().look_soon();
  Outcome outcome;
  take_outcome(commit, outcome);
  std::vector<bool> reusable;
  for (std::size_t i = 0; i < links_.size(); ++i) reusable.push_back(commit.reusable(i) && !links_[i].lost());
  co_await leave(outcome.committed, reusable);
  if (outcome.committed && changes_schema_) co_await s_.await_schema();
  co_return outcome;
}

void Spread::take_outcome(const TwoPhase& commit, Outcome& outcome) {
  const TwoPhase::Outcome& told = commit.outcome();
  outcome.committed = told.kind == TwoPhase::Outcome::Kind::committed;
  for (const std::string& warning : told.warnings) wire::write_notice(notices_, wire::Severity::warning, {sqlstate::kWarning, warning});
  std::swap(outcome.notices, notices_);
  if (told.error_shard && !hearings_[*told.error_shard].error.empty())
    outcome.response = std::move(hearings_[*told.error_shard].error);
  else
    outcome.error = told.error;
}

// Before the first byte is sent, and again before the client is told.
void Spread::mark_writes() {
  if (!s_.marks_matter()) return;
  WriteMarks::Scope whole;
  whole.whole = true;
  for (const ScatterLink& link : links_)
    if (link.first_write != 0) s_.database_->state->marks->wrote(whole, link.shard(), s_.worker_.loop().now());
}

// ---- ROLLBACK ----

net::Task<> Spread::roll_back() {
  hearings_.assign(links_.size(), {});
  for (std::size_t i = 0; i < links_.size(); ++i)
    if (!links_[i].lost()) ask(i, "ROLLBACK");
  net::Timer timer(s_.waiter_);
  timer.arm(Deadline::after(s_.worker_.loop().now(), kCleanUpTime));
  for (;;) {
    bool over = true;
    for (std::size_t i = 0; i < links_.size(); ++i) over &= links_[i].lost() || hear(i) || links_[i].lost();
    if (over || timer.fired()) break;
    co_await s_.waiter_.wait();
  }
  timer.cancel();
  std::vector<bool> reusable;
  for (std::size_t i = 0; i < links_.size(); ++i)
    reusable.push_back(!links_[i].lost() && !hearings_[i].busy && !hearings_[i].reply.error && hearings_[i].reply.status == 'I');
  co_await leave(false, reusable);
}

// ---- the servers go back ----

// A cancel that comes late must not hit another client's statement.
net::Task<> Spread::leave(bool committed, const std::vector<bool>& reusable) {
  while (s_.cancels_in_flight_ > 0) co_await s_.waiter_.wait();
  const bool cancel_may_come = std::exchange(s_.cancel_may_come_, false);
  first().traffic().transactions.observe(s_.worker_.loop().now() - s_.transaction_sent_at_);
  s_.leave_transaction(committed);
  const SettingsRef settings = s_.settings_.current();
  for (const bool is_reusable : reusable) {
    ScatterLink link = std::move(links_.front());
    links_.pop_front();   // it is the session's from here on
    co_await give_back(link, is_reusable && !(cancel_may_come && link.was_cancelled), settings);
  }
}

// By the session's own way, with what this server was left with.
net::Task<> Spread::give_back(ScatterLink& link, bool reusable, const SettingsRef& settings) {
  pool::Server& server = link.server();
  s_.server_ = &server;
  s_.server_shard_ = link.shard();
  s_.traffic_ = &link.traffic();
  s_.server_broken_ = link.lost();
  if (!reusable) {
    const bool kept = link.kept();
    s_.drop_server();
    if (kept && !s_.end_with_) s_.terminate({sqlstate::kConnectionFailure, "the server that this session kept was lost"}, true);
    co_return;
  }
  server.settings = settings;
  s_.tainted_ = link.left.taints;
  s_.soft_after_ = link.left.soft;
  s_.pin_after_ = link.left.pins;
  s_.asks_.settings = link.left.asks_settings;
  s_.asks_.holds = link.left.asks_holds;
  if (!s_.give_back_now()) co_await s_.give_back();
}

}  // namespace weir::proxy
