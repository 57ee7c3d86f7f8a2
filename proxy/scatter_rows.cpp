// The rows of a scattered statement: from the shards' receive buffers into the client's output, as fast as the client takes them.
#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter.hpp"

namespace weir::proxy {

namespace {
constexpr std::uint64_t kDrained = 256 << 10;    // what a shard may still send of an answer that is complete before it is cancelled
}  // namespace

net::Task<bool> Scatter::stream(Portal& portal, std::uint32_t max_rows) {
  for (;;) {
    const Rows got = portal.merger             ? take_merged(portal, max_rows)
                     : !portal.order.empty()   ? take_in_turns(portal, max_rows)
                     : is_same_everywhere(portal) ? take_first(portal, max_rows)
                                               : take_any(portal, max_rows);
    if (failed()) co_return false;
    if (got == Rows::suspended) {
      portal.state = Portal::State::suspended;
      co_return true;
    }
    if (got == Rows::over) break;
    if (portal.rows > 0) {
      const bool sent = co_await send_out();
      if (!sent) co_return false;
    }
    if (got == Rows::output_full && !s_.client_eof_) continue;
    const bool awake = co_await sleep();
    if (!awake) co_return false;
  }
  portal.state = Portal::State::done;
  co_return co_await settle(!portal.window.full());
}

// A client that does not read: the shards wait with it.
net::Task<bool> Scatter::send_out() {
  forward();
  while (s_.output_waits()) {
    const bool awake = co_await sleep();
    if (!awake) co_return false;
  }
  co_return true;
}

Scatter::Rows Scatter::take_merged(Portal& portal, std::uint32_t max_rows) {
  router::merge::Merger& merger = *portal.merger;
  wire::Message row;
  for (;;) {
    if (portal.window.full()) return Rows::over;
    for (std::size_t i = 0; i < portal.links.size(); ++i) {
      if (!merger.wants(i)) continue;
      ScatterLink& link = *portal.links[i];
      if (next_row(link, row)) {
        if (auto put = merger.put(i, row.body); !put) return fail(put.take_error()), Rows::over;
        link.row = row;
      } else if (link.complete) {
        merger.end(i);
      }
      if (failed()) return Rows::over;
    }
    if (!merger.ready()) return Rows::awaited;
    if (merger.done()) return Rows::over;
    ScatterLink& least = *portal.links[merger.least()];
    const bool taken = portal.window.take();
    if (taken) send_row(portal, least.row, &merger.row(merger.least()));
    merger.take();
    least.pop();
    if (!taken) continue;
    if (max_rows != 0 && portal.rows == max_rows) return Rows::suspended;
    if (pending_.size() >= kPiece) return Rows::output_full;
  }
}

// In any order: whoever has rows.
Scatter::Rows Scatter::take_any(Portal& portal, std::uint32_t max_rows) {
  wire::Message row;
  std::size_t over = 0;
  for (std::size_t tried = 0; tried < portal.links.size(); ++tried) {
    ScatterLink& link = *portal.links[portal.turn];
    while (!portal.window.full() && next_row(link, row)) {
      const bool taken = portal.window.take();
      if (taken) send_row(portal, row, nullptr);
      link.pop();
      if (failed()) return Rows::over;
      if (!taken) continue;
      if (max_rows != 0 && portal.rows == max_rows) return Rows::suspended;
      if (pending_.size() >= kPiece) return Rows::output_full;
    }
    if (failed() || portal.window.full()) return Rows::over;
    over += link.complete ? 1 : 0;
    portal.turn = (portal.turn + 1) % portal.links.size();
  }
  return over == portal.links.size() ? Rows::over : Rows::awaited;
}

// ---- COPY (query) TO ----

// CopyOutResponse, and what stands in front of the rows.
void Scatter::begin_copied_rows(Portal& portal) {
  std::vector<std::string> names;
  for (const auto& field : portal.fields) names.push_back(field.name);
  for (const std::string& forced : portal.copied->force_quote)
    if (std::find(names.begin(), names.end(), forced) == names.end())
      return fail({SqlState("42703"), concat("column \"", forced, "\" does not exist")});
  const char format = portal.copied->format == router::copy::Format::binary ? 1 : 0;
  std::string response{format, static_cast<char>(names.size() >> 8), static_cast<char>(names.size() & 0xFF)};
  for (std::size_t i = 0; i < names.size(); ++i) response += {'\0', format};
  wire::write_message(pending_, 'H', response);
  portal.writer.emplace(*portal.copied, std::move(names));
  if (const std::string header = portal.writer->begin(); !header.empty()) wire::write_message(pending_, 'd', header);
}

void Scatter::end_copied_rows(Portal& portal) {
  if (const std::string trailer = portal.writer->end(); !trailer.empty()) wire::write_message(pending_, 'd', trailer);
  wire::write_message(pending_, 'c', std::string_view());
}

// `view`: its columns, where they were read already.
void Scatter::send_row(Portal& portal, const wire::Message& row, const router::merge::RowView* view) {
  ++portal.rows;
  if (!portal.cuts && !portal.writer) return pending_.append(row.whole);
  router::merge::RowView own;
  if (!view) {
    if (!own.read(row.body)) return fail({sqlstate::kProtocolViolation, "a shard sent a malformed DataRow"});
    view = &own;
  }
  if (view->columns() < portal.fields.size()) return fail({sqlstate::kProtocolViolation, "a shard sent a row with too few columns"});
  if (portal.writer) return wire::write_message(pending_, 'd', portal.writer->row(*view));
  router::merge::write_first_columns(pending_, *view, portal.fields.size());
}

// Until the servers are at rest again. `rest_matters`: nothing but the end of their replies is owed; else what still comes of a complete
// (or abandoned) answer is dropped, errors too, and outside of a transaction a shard that goes on and on is cancelled.
net::Task<bool> Scatter::settle(bool rest_matters) {
  ignores_errors_ = !rest_matters;
  for (ScatterLink& link : links()) link.reset_received();
  for (bool at_rest = false; !at_rest;) {
    at_rest = true;
    for (ScatterLink& link : links()) {
      wire::Message row;
      while (next_row(link, row)) {
        link.pop();
        if (link.received() > kDrained && !link.cancelled && !s_.spread_) cancel_run(link);   // it would fail the transaction
      }
      link.flush();
      at_rest &= link.at_rest() || link.lost();
    }
    at_rest &= s_.cancels_in_flight_ == 0;
    if (failed()) break;
    if (at_rest) break;
    const bool awake = co_await sleep();
    if (!awake) break;
  }
  ignores_errors_ = false;
  if (running_ && running_->state != Portal::State::done && running_->state != Portal::State::unbound) running_->state = Portal::State::given_up;
  running_ = nullptr;
  co_return !failed();
}

}  // namespace weir::proxy
