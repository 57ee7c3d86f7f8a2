// A string of several statements, one portal each: they run one after the other, and what ends the transaction ends it for all.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"
#include "router/split_text.hpp"

namespace weir::proxy {

using router::Verb;

bool Scatter::read_parts(std::size_t index, std::string_view sql) {
  const auto pieces = router::split_statements(sql);
  Session::Reading reading{s_.context(), {}, {}, false};
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    auto source = make_source(pieces[i].in(sql), {}, kNone, reading.context);
    s_.read_on(reading, *source->plan, source->sql);
    source->shift = characters_in(sql.substr(0, pieces[i].offset));
    if (source->plan->verb == Verb::begin) {   // the first: against_part()
      begin_ = std::move(source);
      continue;
    }
    if (!read_portal(index, std::move(source))) return false;
  }
  return true;
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
  for (Portal& portal : portals_) {
    const bool answered = co_await answer_statement(portal);
    if (!answered) co_return false;
    if (pending_.size() < kPiece) continue;
    const bool sent = co_await send_out();
    if (!sent) co_return false;
  }
  wire::write_ready_for_query(reply(), s_.status_letter());
  co_return true;
}

}  // namespace weir::proxy
