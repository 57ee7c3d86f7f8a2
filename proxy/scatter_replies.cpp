// What the servers of a scattered batch say, message by message.
#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter_copy.hpp"
#include "router/merge/row_view.hpp"

namespace weir::proxy {

namespace {

Error as_error(const wire::ErrorView& view) {
  Error e(SqlState::parse(view.code), std::string(view.message), std::string(view.hint));
  e.detail = view.detail;
  return e;
}

constexpr SqlState kLockNotAvailable{"55P03"};

// An ErrorResponse's body ends with a zero byte.
void append_with_hint(ByteBuffer& out, ByteView body, std::string_view hint) {
  out.append(body.first(body.size() - 1));
  out.append(std::string_view("H"));
  out.append(hint);
  out.append(std::string_view("\0\0", 2));
}

bool ends_connection(const wire::ErrorView& view) { return view.severity == "FATAL" || view.severity == "PANIC"; }

// Of a row of text columns, with slashes between them.
std::string joined(ByteView body) {
  router::merge::RowView row;
  std::string out;
  if (!row.read(body)) return out;
  for (std::size_t i = 0; i < row.columns(); ++i) {
    if (i > 0) out += '/';
    if (row[i]) out += as_text(*row[i]);
  }
  return out;
}

}  // namespace

bool Scatter::next_row(ScatterLink& link, wire::Message& row) {
  for (;;) {
    switch (link.front(row)) {
      case ScatterLink::Front::nothing: return false;
      case ScatterLink::Front::lost: note_lost(link, std::nullopt); return false;
      case ScatterLink::Front::message: break;
    }
    if ((row.type == 'D' || row.type == 'd') && link.step() == Step::run) return true;
    take_message(link, row);
    link.pop();
    if (cancel_wanted_ && link.step() == Step::run && !link.cancelled) cancel_run(link);
  }
}

void Scatter::take_message(ScatterLink& link, const wire::Message& m) {
  const auto step = link.step();
  switch (m.type) {
    case 'S':   // nothing else that is read here changes a parameter; one server tells it for all
      if (step == Step::control && &link == &links().front()) wire::write_message(reply(), 'S', m.body);
      return;
    case 'A': return;
    case 'N':
      if (step == Step::check && checking_) checking_->remarked = true;
      if (step == Step::run && running_ && is_same_everywhere(*running_) && &link != running_->links.front()) return;
      if (step == Step::run || step == Step::check || (step == Step::control && &link == &links().front())) wire::write_message(reply(), 'N', m.body);
      return;
    case 'E': return take_error(link, m);
    default: break;
  }
  if (!step) return out_of_step(link, m.type);
  switch (*step) {
    case Step::settings:
    case Step::rollback: return take_settings(link, m);
    case Step::text_order: return take_text_order(link, m);
    case Step::isolation: return take_isolation(link, m);
    case Step::check: return take_check(link, m);
    case Step::run: return take_run(link, m);
    case Step::begin: return take_begin(link, m);
    case Step::control: return take_control(link, m);
  }
}

// Whatever it was told went well if its transaction is open behind it.
void Scatter::take_begin(ScatterLink& link, const wire::Message& m) {
  if (m.type == 'C' || m.type == 'T' || m.type == 'D') return;
  if (m.type != 'Z' || (wire::read_ready_for_query(m.body) != 'T' && !link.failed)) return out_of_step(link, m.type);
  link.step_is_over();
}

void Scatter::take_control(ScatterLink& link, const wire::Message& m) {
  if (m.type == 'C') {
    if (const auto tag = wire::read_command_complete(m.body)) link.tag = *tag;
    return;
  }
  if (m.type != 'Z') return out_of_step(link, m.type);
  link.step_is_over();
  if (wire::read_ready_for_query(m.body) == 'T')
    link.settings_failed = false;   // ROLLBACK TO has revived it
  else if (!link.failed)
    fail({sqlstate::kInternal, concat("a server did not go on with its transaction behind ", link.tag)});
}

void Scatter::take_settings(ScatterLink& link, const wire::Message& m) {
  if (m.type == 'C' || m.type == 'T' || m.type == 'D') return;   // some are set by set_config()
  const char status = m.type == 'Z' ? wire::read_ready_for_query(m.body) : '\0';
  const bool applies = link.step() == Step::settings;
  link.step_is_over();
  if (status == 'I') {
    if (applies) link.server().settings = s_.settings_.current();
    link.settings_failed = false;
    return;
  }
  if (status != 'E' || !applies) return out_of_step(link, m.type);
  // They are one transaction, which refuses what stands behind it; then it is rolled back.
  wire::write_query(link.out(), "ROLLBACK");
  link.owe(Step::rollback);
}

void Scatter::take_text_order(ScatterLink& link, const wire::Message& m) {
  switch (m.type) {
    case 'T':
    case 'C': return;
    case 'D': link.server().text_order = joined(m.body); return;
    case 'Z': return link.step_is_over();
    default: return out_of_step(link, m.type);
  }
}

void Scatter::take_isolation(ScatterLink& link, const wire::Message& m) {
  switch (m.type) {
    case 'T':
    case 'C': return;
    case 'D': return judge_isolation(joined(m.body));
    case 'Z': return link.step_is_over();
    default: return out_of_step(link, m.type);
  }
}

// "read committed/2026-11-21 13:31:35.123456+00". Only where every statement has its own snapshot does it not matter that there is none which
// all shards share, or that this one runs outside of the transaction.
void Scatter::judge_isolation(const std::string& told) {
  const std::string_view level = std::string_view(told).substr(0, told.find('/'));
  if (s_.spread_) s_.spread_->begun_at = told.substr(std::min(level.size() + 1, told.size()));
  if (level == "read committed" || level == "read uncommitted") return;
  const bool per_shard = s_.database_->state->config->sharding->multi_shard_snapshot == config::MultiShardSnapshot::per_shard;
  if (s_.spread_ && per_shard && level == "repeatable read") return;
  fail({sqlstate::kFeatureNotSupported, concat("a transaction over several shards cannot be ", level == "serializable" ? "SERIALIZABLE" : "REPEATABLE READ", ": there is no snapshot that they share"),
        level == "serializable" ? "Use READ COMMITTED."
                                : "Use READ COMMITTED, or set sharding.multi_shard_snapshot = \"per_shard\", which gives each shard a snapshot of its own."});
}

void Scatter::take_check(ScatterLink& link, const wire::Message& m) {
  switch (m.type) {
    case '1': return;
    case 'n':
      if (checking_) checking_->returns_rows = false;
      return;
    case 't':
      if (auto types = wire::read_parameter_description(m.body); !types || !checking_)
        out_of_step(link, m.type);
      else if (checking_->types != *types)   // where they were known, others look at them
        checking_->types = std::move(*types);
      return;
    case 'T':
      if (auto fields = wire::read_row_description(m.body); !fields || !checking_) {
        out_of_step(link, m.type);
      } else {
        checking_->fields = std::move(*fields);
        checking_->returns_rows = true;
      }
      return;
    case 'Z':
      link.step_is_over();
      if (checking_ && !link.check_failed) checking_->checked = true;
      checking_ = nullptr;
      return;
    default: return out_of_step(link, m.type);
  }
}

void Scatter::take_run(ScatterLink& link, const wire::Message& m) {
  switch (m.type) {
    case '1': link.parsed = true; return;
    case '3': return;
    case '2': link.bound = true; return;
    case 'n': link.described = true; return;
    case 'G':
    case 'H': link.copying.append(m.whole); return;
    case 'c': return;
    case 'T':
      if (auto fields = wire::read_row_description(m.body)) {
        link.fields = std::move(*fields);
        link.described = link.returns_rows = true;
        return;
      }
      break;
    case 'C':
      if (const auto tag = wire::read_command_complete(m.body)) tag_ = link.tag = *tag;
      link.complete = true;
      return;
    case 'I': link.complete = true; return;
    case 'Z':
      if (!link.complete && !link.failed) break;
      return link.step_is_over();
    default: break;
  }
  out_of_step(link, m.type);
}

// The first error is the client's answer, but for that of its own text: the others only follow from it.
void Scatter::take_error(ScatterLink& link, const wire::Message& m) {
  const auto view = wire::read_error(m.body);
  if (!view) return out_of_step(link, 'E');
  if (ends_connection(*view) || !link.step()) return note_lost(link, as_error(*view));
  link.traffic().errors.add(view->code);
  const Step step = *link.step();
  if (step == Step::text_order) return;   // an older server: its order stays unknown
  const bool follows = link.settings_failed;
  if (step == Step::settings || step == Step::begin) link.settings_failed = true;
  const bool of_check = step == Step::check;
  if (of_check) link.check_failed = true; else link.failed = true;
  if (step == Step::run && link.named != 0 && !link.bound) link.server().prepared.spoil(link.named);   // it may not be there, or be out of date
  if (follows || ignores_errors_ || (failure_ && !(of_check && !failure_->of_check))) return;
  failure_.emplace();
  failure_->of_check = of_check;
  failure_->op = op_;
  if (step == Step::settings) {
    failure_->own = settings_refused(as_error(*view));
    return;
  }
  // Held-back replies of the Parse, or of the Bind, are not given.
  if (of_check && checking_ && checking_->parse_op != kNone && is_unconfirmed(checking_->parse_op)) failure_->op = checking_->parse_op;
  else if (running_ && !of_check && !link.parsed && running_->source->parse_op != kNone && is_unconfirmed(running_->source->parse_op)) failure_->op = running_->source->parse_op;
  else if (running_ && is_unconfirmed(running_->op) && (of_check || !link.bound)) failure_->op = running_->op;
  failure_->response.emplace();
  const bool has_ids = s_.work_->ops[std::min(failure_->op, s_.work_->ops.size() - 1)].filled != nullptr;   // the text that was sent is longer than the client's
  if (s_.spread_ && view->code == kLockNotAvailable.view() && view->hint.empty())
    append_with_hint(*failure_->response, m.body,
                     "Two transactions over several shards may have waited for each other, which no PostgreSQL sees: run the transaction again. "
                     "sharding.multi_shard_lock_timeout, or SET LOCAL lock_timeout, bounds the wait.");
  else if (!of_check && running_ && copies(*running_))
    copy_->append_error(*failure_->response, link, m.body);
  else if ((of_check || plain_text_) && !has_ids)
    append_with_position(*failure_->response, m.body, shift_of_text());
  else
    append_without_position(*failure_->response, m.body);
}

// Places are counted from the front of the client's whole text.
std::size_t Scatter::shift_of_text() const {
  if (running_) return running_->source->shift;
  return checking_ ? checking_->shift : 0;
}

bool Scatter::is_unconfirmed(std::size_t op) const {
  for (const Unconfirmed& u : unconfirmed_)
    if (u.op == op) return true;
  return false;
}

// `last_words`: what it said. One that was told to stop may be replaced by another, as one that said nothing.
void Scatter::note_lost(ScatterLink& link, std::optional<Error> last_words) {
  link.break_off();
  if (failure_ || ignores_errors_) return;
  const bool told_to_stop = last_words && last_words->code == sqlstate::kAdminShutdown;
  const bool may_try = (!last_words || told_to_stop) && !link.kept() && !link.enlisted;
  fail(last_words ? std::move(*last_words)
                  : Error(sqlstate::kConnectionFailure, concat("the server connection was lost (", link.server().pool->name(), ")"), "Try again."));
  failure_->lost = may_try;
}

void Scatter::out_of_step(ScatterLink& link, char type) {
  link.break_off();
  if (!ignores_errors_)
    fail({sqlstate::kProtocolViolation, concat("the server sent a message of type '", std::string(1, type), "' out of turn"),
          "The server connection was closed; try again."});
}

net::Task<bool> Scatter::sleep() {
  for (ScatterLink& link : links()) link.flush();
  s_.flush_client();
  if (s_.must_end() || s_.client_->hung_up() || s_.runs_too_long()) {
    if (s_.end_with_ && s_.end_now_) s_.fatal(*s_.end_with_);
    closed_ = true;
    co_return false;
  }
  co_await s_.waiter_.wait();
  s_.flush_client();
  co_return !failed();
}

}  // namespace weir::proxy
