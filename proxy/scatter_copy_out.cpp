// COPY TO STDOUT over shards: one header, the rows of all, one trailer.
#include <algorithm>
#include <utility>

#include "proxy/proxy.hpp"
#include "proxy/scatter_copy.hpp"

namespace weir::proxy {

using router::copy::Format;

namespace {

constexpr std::string_view kTrailer("\377\377", 2);
constexpr std::size_t kFixedHeader = 19;   // of the binary format: signature, flags, length of the extension

// Of the binary format; 0: it is none.
std::size_t header_size(ByteView data) {
  if (data.size() < kFixedHeader || !as_text(data).starts_with("PGCOPY\n\377\r\n")) return 0;
  const std::size_t size = kFixedHeader + wire::load32(data.data() + kFixedHeader - 4);
  return size <= data.size() ? size : 0;
}

}  // namespace

net::Task<bool> Scatter::Copy::copy_out() {
  for (;;) {
    const bool full = take_rows();
    if (failed()) co_return false;
    if (std::all_of(shards_.begin(), shards_.end(), [](const Shard& s) { return s.link->complete; })) break;
    const bool sent = co_await scatter_.send_out();
    if (!sent) co_return false;
    if (full && !s_.client_eof_) continue;
    const bool awake = co_await scatter_.sleep();
    if (!awake) co_return false;
  }
  end_out();
  co_return true;
}

// True: there is as much as is sent at once.
bool Scatter::Copy::take_rows() {
  wire::Message data;
  for (std::size_t tried = 0; tried < shards_.size(); ++tried, turn_ = (turn_ + 1) % shards_.size()) {
    Shard& shard = shards_[turn_];
    while (scatter_.next_row(*shard.link, data)) {
      pass_on(shard, data);
      shard.link->pop();
      if (failed()) return false;
      if (scatter_.reply().size() >= Scatter::kPiece) return true;
    }
    if (failed()) return false;
  }
  return false;
}

// A message is a row, or the header; of the binary format the header stands before the first row.
void Scatter::Copy::pass_on(Shard& shard, const wire::Message& data) {
  const bool first = !std::exchange(shard.begun, true);
  const bool binary = plan_ && plan_->options.format == Format::binary;
  if (first && plan_ && plan_->options.header && !binary) return pass_on_header(data);
  if (!binary) return scatter_.reply().append(data.whole);
  const std::size_t header = first ? header_size(data.body) : 0;
  if (first && header == 0) return scatter_.out_of_step(*shard.link, data.type);
  if (first && !std::exchange(has_header_, true)) header_ = as_text(data.body.first(header));
  pass_on_binary(data.body.subspan(header));
}

void Scatter::Copy::pass_on_header(const wire::Message& data) {
  if (!std::exchange(has_header_, true)) {
    header_ = as_text(data.body);
    return scatter_.reply().append(data.whole);
  }
  if (as_text(data.body) != header_)
    scatter_.fail({sqlstate::kFeatureNotSupported, "the columns of this COPY stand in another order on another shard", "Name the columns."});
}

// Readers expect the header and the first row together, as PostgreSQL sends them.
void Scatter::Copy::pass_on_binary(ByteView data) {
  if (data.empty() || as_text(data) == kTrailer) return;
  if (header_.empty()) return wire::write_message(scatter_.reply(), 'd', data);
  header_.append(as_text(data));
  wire::write_message(scatter_.reply(), 'd', std::exchange(header_, {}));
}

void Scatter::Copy::end_out() {
  if (plan_ && plan_->options.format == Format::binary) {
    header_.append(kTrailer);
    wire::write_message(scatter_.reply(), 'd', header_);
  }
  wire::write_message(scatter_.reply(), 'c', std::string_view());
}

}  // namespace weir::proxy
