#include "proxy/scatter_copy.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/statements.hpp"
#include "router/scatter_plan.hpp"

namespace weir::proxy {

using router::Verb;
using router::copy::CopyPlan;
using router::copy::CopySplitter;

namespace {

// "COPY 3"
std::uint64_t count_of(std::string_view tag) {
  std::uint64_t count = 0;
  const auto blank = tag.rfind(' ');
  if (blank != std::string_view::npos) std::from_chars(tag.data() + blank + 1, tag.data() + tag.size(), count);
  return count;
}

std::size_t columns_of(ByteView copying) {
  const ByteView body = copying.subspan(wire::kHeader);
  return body.size() < 3 ? 0 : wire::load16(body.data() + 1);
}

}  // namespace

Scatter::Copy::Copy(Scatter& scatter, Scatter::Portal& portal)
    : scatter_(scatter),
      s_(scatter.s_),
      portal_(portal),
      plan_(portal.plan ? portal.plan->copy.get() : nullptr),
      from_(portal.source->plan->verb == Verb::copy_from),
      map_(s_.planner().map()),
      place_of_(map_.shards()) {
  portal_.links = scatter_.links_of(portal_);
  for (ScatterLink* link : portal_.links) {
    place_of_[link->shard()] = shards_.size();
    shards_.emplace_back().link = link;
  }
}

std::optional<std::string> Scatter::Copy::text() {
  if (!portal_.plan || portal_.plan->shard_sql.empty()) return portal_.source->sql;
  const router::Arguments arguments = scatter_.arguments_of(portal_);
  const auto rendering = scatter_.rendering_of(portal_, *portal_.plan, arguments);
  return rendering ? std::optional(portal_.plan->shard_sql.render(*rendering)) : std::nullopt;
}

net::Task<bool> Scatter::Copy::start() {
  const std::optional<std::string> sql = text();
  if (!sql || !is_readable()) co_return false;
  if (s_.planned_generation_ != s_.planner().generation()) {   // rows would be split by another map than the shards were chosen by
    scatter_.fail({sqlstate::kSerializationFailure, "the configuration changed while this COPY began", "Run the transaction again."});
    co_return false;
  }
  scatter_.plain_text_ = *sql == portal_.source->sql;
  for (ScatterLink* link : portal_.links) {
    link->begin_run();
    wire::write_query(link->out(), *sql);
    link->owe(ScatterLink::Step::run);
    link->server().unnamed_statement = 0;
  }
  while (hear() && !std::all_of(shards_.begin(), shards_.end(), [](const Shard& s) { return !s.link->copying.empty(); })) {
    const bool awake = co_await scatter_.sleep();
    if (!awake) break;
  }
  co_return !failed() && agree();
}

// In the encoding of the data, whose bytes are not converted here, every character that means something is one byte of its own.
bool Scatter::Copy::is_readable() {
  if (!plan_ || plan_->way != CopyPlan::Way::split || plan_->options.format == router::copy::Format::binary) return true;
  const bool ascii_null = std::all_of(plan_->options.null.begin(), plan_->options.null.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  const bool safe = !plan_->options.encoding.empty() || s_.safe_encoding_;
  if (safe && (ascii_null || is_in_server_encoding())) return true;
  scatter_.fail({sqlstate::kFeatureNotSupported, concat("COPY into ", plan_->table, " with data in this client_encoding cannot be split"), "SET client_encoding = 'UTF8'."});
  return false;
}

// What the shards say, other than rows. False: something failed.
bool Scatter::Copy::hear() {
  wire::Message row;
  for (const Shard& shard : shards_)
    if (from_ || shard.link->copying.empty())
      if (scatter_.next_row(*shard.link, row) && from_) scatter_.out_of_step(*shard.link, row.type);
  return !failed();
}

// Their CopyInResponses or CopyOutResponses are equal.
bool Scatter::Copy::agree() {
  const ByteView first = shards_.front().link->copying.view();
  const bool alike = std::all_of(shards_.begin(), shards_.end(), [&](const Shard& s) { return as_text(s.link->copying.view()) == as_text(first); });
  const bool as_known = !plan_ || plan_->way != CopyPlan::Way::split || columns_of(first) == plan_->columns;
  if (alike && as_known) return true;
  scatter_.fail(alike ? Error(sqlstate::kFeatureNotSupported, concat("COPY of ", plan_->table, " has ", std::to_string(columns_of(first)), " columns, of which Weir knows ",
                                                                      std::to_string(plan_->columns)),
                              "Name the columns; generated ones are none of them.")
                      : Error(sqlstate::kFeatureNotSupported, "the tables of this COPY differ on the shards", "weir check --connect says how."));
  return false;
}

net::Task<bool> Scatter::Copy::run() {
  begun_ = true;
  scatter_.reply().append(shards_.front().link->copying.view());
  bool sent = co_await scatter_.send_out();
  if (sent) {
    auto copying = from_ ? copy_in() : copy_out();
    sent = co_await copying;
  }
  if (!sent) co_return false;
  portal_.state = Scatter::Portal::State::done;
  const bool settled = co_await scatter_.settle(true);
  co_return settled && sum_tags();
}

bool Scatter::Copy::sum_tags() {
  std::uint64_t count = 0;
  const bool same_rows = plan_ && plan_->way == CopyPlan::Way::every_shard;
  for (const Shard& shard : shards_) count += count_of(shard.link->tag);
  if (same_rows) {
    for (const Shard& shard : shards_)
      if (shard.link->tag != shards_.front().link->tag)
        return scatter_.fail({sqlstate::kInternal, concat("the shards did not take the same rows of reference table ", plan_->table),
                              "Compare the table on the shards: weir check --connect."}), false;
    count = count_of(shards_.front().link->tag);
  }
  tag_ = concat("COPY ", std::to_string(count));
  return true;
}

void Scatter::Copy::abandon() {
  if (!from_ || std::exchange(abandoned_, true)) return;
  for (const Shard& shard : shards_) {
    ScatterLink& link = *shard.link;
    if (link.step() && !link.complete && !link.failed && !link.lost()) wire::write_message(link.out(), 'f', concat("weir: the COPY failed elsewhere", std::string_view("\0", 1)));
  }
}

void Scatter::Copy::append_error(ByteBuffer& out, const ScatterLink& link, ByteView body) const {
  const Shard& shard = shards_[place_of_[link.shard()]];
  for_each_error_field(body, [&](char code, std::string_view value) {
    if (code == 'P' && !scatter_.plain_text_) return;
    out.append(static_cast<std::uint8_t>(code));
    if (code == 'W' && splitter_)
      out.append(router::copy::with_client_line(value, plan_->relation, shard.lines, s_.shard_name(link.shard())));
    else
      out.append(value);
    out.append(std::uint8_t{0});
  });
  out.append(std::uint8_t{0});
}

}  // namespace weir::proxy
