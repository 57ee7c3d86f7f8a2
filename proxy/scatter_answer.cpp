// The client's messages of a scattered batch, answered one by one in their order.
//
// A Parse or Bind is answered before a server has seen it, for the client's text is tried in the same packet as the statement itself. Its
// reply is held back (Unconfirmed) until the servers have agreed, so that an error takes its place.
#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter_copy.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

constexpr std::string_view kNothing{};

// No server is asked what such a statement means.
bool is_answered_here(const router::Plan& plan) { return plan.target == router::Target::transaction && plan.verb != Verb::utility; }

Error no_such_portal(std::string_view name) {
  return {SqlState("34000"), concat("portal \"", name, "\" does not exist")};
}

}  // namespace

net::Task<bool> Scatter::answer() {
  for (op_ = 0; op_ < s_.work_->ops.size(); ++op_) {
    cancel_wanted_ = false;
    if (s_.work_->decision.error && op_ == s_.work_->decision.error_at) {
      fail(*s_.work_->decision.error);
      co_return false;
    }
    if (is_ignored(s_.work_->ops[op_])) continue;
    if (!may_be_answered(s_.work_->ops[op_])) {
      fail(Session::transaction_is_aborted());
      co_return false;
    }
    const bool answered = co_await answer_op(s_.work_->ops[op_]);
    if (!answered || failed()) co_return false;
    if (pending_.size() < kPiece) continue;
    const bool sent = co_await send_out();
    if (!sent) co_return false;
  }
  co_return co_await settle(false);
}

// A Sync or Flush sent along with the Execute of COPY FROM came among its data.
bool Scatter::is_ignored(const Op& op) const {
  return copy_ && copy_->is_from() && copy_->has_begun() && (op.type == 'S' || op.type == 'H');
}

// Text that the parser rejects is never executed: a server says what is wrong with it. It is the last that was read.
net::Task<bool> Scatter::answer_not_understood() {
  const bool right = co_await check(*sources_.back());
  if (right) fail(Session::newer_than_parser());
  co_return false;
}

net::Task<bool> Scatter::answer_op(const Op& op) {
  if (op.plan && op.plan->verb == Verb::own_setting) return answer_own_setting(op);
  if (op.plan && op.plan->verb == Verb::unparsable) return answer_not_understood();
  const ByteView body = body_of(op);
  switch (op.type) {
    case 'Q': return answer_query();
    case 'P': return answer_parse();
    case 'D': return answer_describe(*wire::read_named(body, "Describe"));
    case 'E': return answer_execute(*wire::read_execute(body));
    case 'C': return answer_close(*wire::read_named(body, "Close"));
    default: break;
  }
  return answer_at_once(op.type);
}

net::Task<bool> Scatter::answer_own_setting(const Op& op) {
  s_.write_own_setting(op, reply());
  if (op.type != 'Q') co_return true;
  co_return co_await answer_at_once('S');
}

net::Task<bool> Scatter::answer_at_once(char type) {
  if (type == 'B') co_return answer_bind();
  if (type == 'S') {
    const bool settled = co_await settle(false);
    if (!settled) co_return false;
    const bool ended = co_await end_implicit();
    if (!ended) co_return false;
    wire::write_ready_for_query(reply(), s_.status_letter());
  }
  co_return true;
}

// Where its own Bind comes next, the text is tried with it.
net::Task<bool> Scatter::answer_parse() {
  const auto found = std::find_if(sources_.begin(), sources_.end(), [&](const auto& s) { return s->parse_op == op_; });
  const auto next = std::find_if(portals_.begin(), portals_.end(), [&](const Portal& p) { return p.op == op_ + 1; });
  const bool goes_with_it = next != portals_.end() && next->source == *found && (next->plan || is_executed(*next));
  if (goes_with_it || is_answered_here(*(*found)->plan)) {
    unconfirmed_.push_back({op_, {}});
  } else {
    const bool right = co_await check(**found);
    if (!right) co_return false;
  }
  wire::write_message(reply(), '1', kNothing);
  co_return true;
}

bool Scatter::answer_bind() {
  Portal& portal = *std::find_if(portals_.begin(), portals_.end(), [&](const Portal& p) { return p.op == op_; });
  for (Portal& other : portals_)
    if (other.name == portal.name && other.state != Portal::State::unbound) other.state = Portal::State::given_up;
  portal.state = Portal::State::bound;
  unconfirmed_.push_back({op_, {}});
  wire::write_message(reply(), '2', kNothing);
  return true;
}

// The latest of that name.
Scatter::Portal* Scatter::find_portal(std::string_view name) {
  for (auto portal = portals_.rbegin(); portal != portals_.rend(); ++portal)
    if (portal->name == name && portal->state != Portal::State::unbound) return &*portal;
  if (s_.work_->portals.find(name))
    fail({sqlstate::kFeatureNotSupported, concat("portal \"", name, "\" was bound in an earlier batch of a transaction that is now over several shards"),
          "Fetch all its rows before the Sync, or use LIMIT and OFFSET."});
  else
    fail(no_such_portal(name));
  return nullptr;
}

net::Task<bool> Scatter::answer_describe(wire::NamedView named) {
  if (named.kind == 'P') {
    Portal* portal = find_portal(named.name);
    if (!portal) co_return false;
    if (portal->control || portal->local || portal->copied || copies(*portal)) {
      write_description(*portal);
      co_return true;
    }
    const bool describes_only = !portal->source->plan->read_only && portal->state == Portal::State::bound && !is_executed_next(*portal);
    auto described = describes_only ? describe_write(*portal) : start(*portal);
    const bool known = co_await described;
    if (known) write_description(*portal);
    co_return known;
  }
  const std::shared_ptr<Source> source = source_of(op_, named.name);
  if (!is_answered_here(*source->plan)) {
    const bool right = co_await check(*source);
    if (!right) co_return false;
  }
  wire::write_parameter_description(reply(), std::span(source->types).first(source->filled ? source->filled->parameters : source->types.size()));
  if (source->returns_rows)
    wire::write_row_description(reply(), source->fields);
  else
    wire::write_message(reply(), 'n', kNothing);
  co_return true;
}

void Scatter::write_description(const Portal& portal) {
  if (portal.returns_rows && !portal.copied)
    wire::write_row_description(reply(), portal.fields);
  else
    wire::write_message(reply(), 'n', kNothing);
}

net::Task<bool> Scatter::answer_execute(wire::ExecuteView asked) {
  Portal* portal = find_portal(asked.portal);
  if (!portal) co_return false;
  co_return co_await execute(*portal, asked.max_rows);
}

net::Task<bool> Scatter::answer_close(wire::NamedView named) {
  if (named.kind == 'P') {
    for (Portal& portal : portals_) {
      if (portal.name != named.name || portal.state == Portal::State::unbound) continue;
      if (running_ == &portal) {
        const bool settled = co_await settle(false);
        if (!settled) co_return false;
      }
      portal.state = Portal::State::unbound;
    }
  }
  wire::write_message(reply(), '3', kNothing);
  co_return true;
}

// A statement of a Query, but for the ReadyForQuery behind the last one.
net::Task<bool> Scatter::answer_statement(Portal& portal) {
  portal.state = Portal::State::bound;
  if (!portal.control && !portal.local) {
    const bool started = co_await start(portal);
    if (!started) co_return false;
  }
  if (portal.returns_rows && !portal.copied) write_description(portal);
  co_return co_await execute(portal, 0);
}

// Up to `max_rows` rows (0: all), and CommandComplete or PortalSuspended.
net::Task<bool> Scatter::execute(Portal& portal, std::uint32_t max_rows) {
  if (portal.state == Portal::State::given_up) {
    fail({sqlstate::kFeatureNotSupported, concat("portal \"", portal.name, "\" was left unfinished for another statement over several shards"),
          "Fetch all rows of a portal before the next one is executed."});
    co_return false;
  }
  if (portal.control) co_return co_await execute_control(portal);
  if (portal.local) co_return co_await execute_local(portal);
  const bool started = co_await start(portal);
  if (!started) co_return false;
  if (portal.source->plan->verb == Verb::empty) {
    wire::write_empty_query_response(reply());
    co_return true;
  }
  if (portal.copied) {
    if (portal.state == Portal::State::done) co_return refuse_to_run_again(portal);
    max_rows = 0;
    begin_copied_rows(portal);
    if (failed()) co_return false;
  }
  portal.rows = 0;
  const bool explains = portal.plan && portal.source->plan->explain;
  if (explains) {
    send_explained(portal, max_rows);
  } else if (copies(portal)) {
    const bool copied = co_await execute_copy(portal);
    if (!copied) co_return false;
  } else if (portal.state != Portal::State::done) {
    const bool streamed = co_await stream(portal, max_rows);
    if (!streamed) co_return false;
  }
  if (portal.source->plan->path && portal.state == Portal::State::done) {
    const bool followed = co_await follow_path(portal);
    if (!followed) co_return false;
  }
  const bool writes_apart = portal.plan && portal.plan->write && !explains;
  if (writes_apart && portal.state == Portal::State::done && portal.tag.empty() && !take_tags(portal)) co_return false;
  const bool ended = co_await end_with(portal);
  if (!ended) co_return false;
  if (portal.state == Portal::State::suspended) {
    portal.whole = false;
    wire::write_message(reply(), 's', kNothing);
  } else if (portal.copied) {
    end_copied_rows(portal);
    wire::write_command_complete(reply(), concat("COPY ", std::to_string(portal.rows)));
  } else if (writes_apart) {
    wire::write_command_complete(reply(), portal.tag);
  } else if ((!portal.plan || copies(portal)) && portal.whole && !tag_.empty()) {
    wire::write_command_complete(reply(), std::exchange(tag_, {}));
  } else if (explains) {
    wire::write_command_complete(reply(), "EXPLAIN");
  } else {
    wire::write_command_complete(reply(), concat("SELECT ", std::to_string(portal.rows)));
  }
  co_return true;
}

bool Scatter::refuse_to_run_again(const Portal& portal) {
  fail({SqlState("55000"), concat("portal \"", portal.name, "\" cannot be run")});
  return false;
}

net::Task<bool> Scatter::execute_copy(const Portal& portal) {
  if (portal.state == Portal::State::done) co_return refuse_to_run_again(portal);
  const bool copied = co_await copy_->run();
  if (copied)
    tag_ = copy_->tag();
  else
    copy_->abandon();
  co_return copied;
}

// Replies to what came before the client's message `before` stand now.
void Scatter::confirm(std::size_t before) {
  for (const Unconfirmed& u : unconfirmed_)
    if (u.op < before) pending_.append(u.bytes.view());
  unconfirmed_.clear();
}

void Scatter::forward() {
  s_.to_client(pending_.view());
  pending_.clear();
}

}  // namespace weir::proxy
