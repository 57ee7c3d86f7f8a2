// What the servers of a scattered batch say, message by message.
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"
#include "router/merge/row_view.hpp"

namespace weir::proxy {

namespace {

Error as_error(const wire::ErrorView& view) {
  Error e(SqlState::parse(view.code), std::string(view.message), std::string(view.hint));
  e.detail = view.detail;
  return e;
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
    if (row.type == 'D' && link.step() == Step::run) return true;
    take_message(link, row);
    link.pop();
    if (cancel_wanted_ && link.step() == Step::run && !link.cancelled) cancel_run(link);
  }
}

void Scatter::take_message(ScatterLink& link, const wire::Message& m) {
  const auto step = link.step();
  switch (m.type) {
    case 'S':
    case 'A': return;   // nothing that is read here changes a parameter
    case 'N':
      if (step == Step::run || step == Step::check) wire::write_message(reply(), 'N', m.body);
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
  }
}

void Scatter::take_settings(ScatterLink& link, const wire::Message& m) {
  if (m.type == 'C') return;
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

// Only where every statement has its own snapshot does it not matter that this one runs outside of the transaction.
void Scatter::take_isolation(ScatterLink& link, const wire::Message& m) {
  switch (m.type) {
    case 'T':
    case 'C': return;
    case 'D':
      if (joined(m.body) != "read committed") fail(running_ && running_->plan ? running_->plan->refusal : Error(sqlstate::kFeatureNotSupported, "the transaction is not READ COMMITTED"));
      return;
    case 'Z': return link.step_is_over();
    default: return out_of_step(link, m.type);
  }
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
    case '1': return;
    case '2': link.bound = true; return;
    case 'n': link.described = true; return;
    case 'T':
      if (auto fields = wire::read_row_description(m.body)) {
        link.fields = std::move(*fields);
        link.described = link.returns_rows = true;
        return;
      }
      break;
    case 'C':
      if (const auto tag = wire::read_command_complete(m.body)) tag_ = *tag;
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
  if (step == Step::settings) link.settings_failed = true;
  const bool of_check = step == Step::check;
  if (of_check) link.check_failed = true; else link.failed = true;
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
  else if (running_ && is_unconfirmed(running_->op) && (of_check || !link.bound)) failure_->op = running_->op;
  failure_->response.emplace();
  if (of_check || plain_text_)
    failure_->response->append(m.body);
  else
    append_without_position(*failure_->response, m.body);
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
  const bool may_try = (!last_words || told_to_stop) && !link.kept();
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
  for (ScatterLink& link : links_) link.flush();
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
