// A string of several statements, one portal each: they run one after the other, and what ends the transaction ends it for all. What stands behind DDL
// or ROLLBACK TO is planned, and its servers are leased, when that has run.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"
#include "router/split_text.hpp"

namespace weir::proxy {

using router::Verb;

namespace {

Error map_has_changed() {
  return {sqlstate::kSerializationFailure, "the shards' map, or the catalog, has changed while this string of statements ran", "Run it again."};
}

}  // namespace

bool Scatter::read_parts(std::size_t index, std::string_view sql) {
  parts_ = {index, router::split_statements(sql), 0};
  return read_next_parts(sql);
}

// Up to one behind which names may mean something else.
bool Scatter::read_next_parts(std::string_view sql) {
  Session::Reading reading{s_.context(), {}, {}, false};
  for (bool known = true; known && has_more_parts();) {
    const router::TextPiece piece = parts_.pieces[parts_.next++];
    auto source = make_source(piece.in(sql), {}, kNone, reading.context);
    s_.read_on(reading, *source->plan, source->sql);
    source->shift = characters_in(sql.substr(0, piece.offset));
    if (source->plan->verb == Verb::begin) {   // the first: against_part()
      begin_ = std::move(source);
      continue;
    }
    known = !Session::changes_names(*source->plan);
    if (!read_portal(parts_.op, std::move(source))) return false;
  }
  return true;
}

// What was planned so far has run.
net::Task<bool> Scatter::plan_next_parts() {
  const bool settled = co_await settle(true);
  if (!settled) co_return false;
  if (s_.own_schema_stale_) co_await s_.learn_schema();
  s_.refresh_context();
  s_.planned_generation_ = s_.planner().generation();
  const std::size_t first = portals_.size();
  if (!read_next_parts(*wire::read_query(body_of(s_.work_->ops[parts_.op])))) co_return false;
  for (std::size_t i = first; i < portals_.size(); ++i)
    if (!portals_[i].control && !portals_[i].local) s_.count_part(*portals_[i].source->plan, arguments_of(portals_[i]));
  if (!may_run_beside()) co_return false;
  const bool stale = co_await is_stale_once_leased();
  if (stale) fail(map_has_changed());
  co_return !failed();
}

// The string's own BEGIN, before servers are leased for what is behind it.
void Scatter::begin_block() {
  if (begin_) s_.run_local(*begin_->plan, begin_->sql);
}

// The map has changed before anything ran: the string is planned again, from its BEGIN on.
void Scatter::take_begin_back() {
  if (!begin_) return;
  s_.transaction_ = Session::Transaction::none;
  s_.work_->held.clear();
}

// The portals of a Query, one after the other.
net::Task<bool> Scatter::answer_query() {
  if (begin_) wire::write_command_complete(reply(), "BEGIN");
  for (std::size_t i = 0; i < portals_.size(); ++i) {
    if (portals_[i].op != op_) continue;
    const bool answered = co_await answer_statement(portals_[i]);
    if (!answered) co_return false;
    if (i + 1 == portals_.size() && has_more_parts()) {
      const bool planned = co_await plan_next_parts();
      if (!planned) co_return false;
    }
    if (pending_.size() < kPiece) continue;
    const bool sent = co_await send_out();
    if (!sent) co_return false;
  }
  co_return co_await answer_at_once('S');   // an empty one ends what stood before it, too
}

}  // namespace weir::proxy
