// COPY FROM STDIN over shards: the client's data, split as it comes.
#include <algorithm>
#include <utility>

#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/scatter_copy.hpp"
#include "proxy/statements.hpp"

namespace weir::proxy {

using router::copy::CopyPlan;
using router::copy::CopySplitter;

net::Task<bool> Scatter::Copy::copy_in() {
  s_.consume(std::exchange(s_.scanned_, 0));   // the client's bytes are COPY data from here on
  if (plan_ && plan_->way == CopyPlan::Way::split) splitter_.emplace(CopySplitter::Settings{plan_, &map_, is_in_server_encoding(), Session::kMaxHeld});
  for (unsigned turns = 0; !over_ && hear();) {
    const bool sent = co_await scatter_.send_out();   // notices
    if (!sent) break;
    if (take_from_client()) {
      if (++turns % kTurns == 0) co_await s_.yield();
      continue;
    }
    if (failed() || over_) break;
    for (Shard& shard : shards_) seal(shard);
    const bool awake = co_await scatter_.sleep();
    if (!awake) break;
  }
  if (failed()) {
    abandon();
    co_await skip_message();
    co_return false;
  }
  end_data();
  co_return !failed();
}

// Behind the message of which a part was taken the session finds the next one.
net::Task<> Scatter::Copy::skip_message() {
  while (left_ > 0 && !scatter_.closed_) {
    if (s_.input_.empty() && !s_.receive_from_client()) {
      for (const Shard& shard : shards_) shard.link->flush();
      scatter_.closed_ |= s_.must_end() || s_.client_->hung_up();
      if (!scatter_.closed_) co_await s_.waiter_.wait();
      continue;
    }
    const std::size_t n = std::min<std::uint64_t>(left_, s_.input_.size());
    s_.consume(n);
    left_ -= n;
  }
}

// The text formats are in the encoding that the COPY names, or else the client's; binary is in the client's.
bool Scatter::Copy::is_in_server_encoding() const {
  const auto& options = plan_->options;
  if (options.format == router::copy::Format::binary || options.encoding.empty()) return s_.server_encoding_;
  std::string server;
  for (const char c : ascii_lower(s_.planner().catalog().encoding()))
    if (c != '_' && c != '-') server += c;
  return options.encoding == server;
}

// As much as there is, while no shard is behind. True: something.
bool Scatter::Copy::take_from_client() {
  bool moved = false;
  while (!over_ && !failed() && !is_behind()) {
    if (s_.input_.empty() && !s_.receive_from_client()) break;
    if (left_ > 0) {
      const std::size_t n = std::min<std::uint64_t>(left_, s_.input_.size());
      left_ -= n;
      take_data(s_.input_.first(n));
      s_.consume(n);
    } else if (!take_message() && !s_.receive_from_client()) {
      break;
    }
    moved = true;
    if (s_.input_.empty()) break;   // the shards are heard
  }
  s_.stash();   // they are received into the same buffer
  return moved;
}

// The message at the front of the input, or of CopyData its header. False: it is not there yet.
bool Scatter::Copy::take_message() {
  const wire::Frame f = wire::next_message(s_.input_);
  const char type = static_cast<char>(s_.input_[0]);
  if (f.status == wire::FrameStatus::bad_length || std::string_view("dcfSH").find(type) == std::string_view::npos) return break_off(type), true;
  if (type == 'd' && s_.input_.size() >= wire::kHeader) {
    left_ = f.needed - wire::kHeader;
    s_.consume(wire::kHeader);
    return true;
  }
  if (f.status == wire::FrameStatus::incomplete) return f.needed > Session::kMaxControl ? (break_off(type), true) : false;
  over_ = type == 'c';
  if (type == 'f') {
    const std::string_view words = as_text(f.message.body);
    fail_here({sqlstate::kQueryCanceled, concat("COPY from stdin failed: ", words.substr(0, words.find('\0')))});
  }
  s_.consume(f.needed);   // Sync and Flush mean nothing here
  return true;
}

// As PostgreSQL does: where the next message begins is not known for certain.
void Scatter::Copy::break_off(char type) {
  if (type != 'X') s_.fatal({sqlstate::kProtocolViolation, concat("unexpected message type ", std::to_string(static_cast<unsigned char>(type)), " during COPY from stdin")});
  s_.client_eof_ = scatter_.closed_ = true;
}

void Scatter::Copy::take_data(ByteView data) {
  if (!splitter_) {
    for (Shard& shard : shards_) add(shard, data);
    return;
  }
  CopySplitter::Piece piece;
  auto got = splitter_->next(data, piece);
  for (; got == CopySplitter::Got::piece && !failed(); got = splitter_->next(data, piece)) take_piece(piece);
  if (got == CopySplitter::Got::failed) fail_here(splitter_->error());
}

void Scatter::Copy::take_piece(const CopySplitter::Piece& piece) {
  if (piece.to_all) {
    for (Shard& shard : shards_) {
      if (piece.lines > 0) shard.lines.add(shard.lines.empty() ? piece.lines_as_first : piece.lines, piece.line);
      add(shard, piece.bytes);
    }
    return;
  }
  Shard& shard = shards_[place_of_[piece.shard]];
  if (piece.lines > 0) shard.lines.add(shard.lines.empty() ? piece.lines_as_first : piece.lines, piece.line);
  if (!std::exchange(shard.told, true) && s_.spread_)
    if (auto may = s_.spread_->about_to_write(*shard.link); !may) return scatter_.fail(may.take_error());
  add(shard, piece.bytes);
}

void Scatter::Copy::add(Shard& shard, ByteView bytes) {
  shard.rows.append(bytes);
  if (shard.rows.size() >= Scatter::kPiece) seal(shard);
}

// What has come together goes out as one CopyData.
void Scatter::Copy::seal(Shard& shard) {
  if (shard.rows.empty()) return;
  wire::write_message(shard.link->out(), 'd', shard.rows.view());
  shard.rows.clear();
  shard.link->flush();
}

bool Scatter::Copy::is_behind() {
  for (const Shard& shard : shards_)
    if (shard.link->out().size() > kMaxBehind) shard.link->flush();
  return std::any_of(shards_.begin(), shards_.end(), [](const Shard& s) { return s.link->out().size() > kMaxBehind; });
}

// The client has said CopyDone.
void Scatter::Copy::end_data() {
  if (splitter_) {
    CopySplitter::Piece piece;
    auto got = splitter_->finish(piece);
    for (; got == CopySplitter::Got::piece && !failed(); got = splitter_->finish(piece)) take_piece(piece);
    if (got == CopySplitter::Got::failed) fail_here(splitter_->error());
  }
  if (failed()) return;
  for (Shard& shard : shards_) {
    seal(shard);
    wire::write_message(shard.link->out(), 'c', std::string_view());
  }
}

// An error of Weir's own, with the place that PostgreSQL would name.
void Scatter::Copy::fail_here(Error error) {
  scatter_.fail(error);
  if (!splitter_ || !scatter_.failure_ || !scatter_.failure_->own) return;
  ByteBuffer message;
  wire::write_error(message, wire::Severity::error, error);
  ByteBuffer& body = scatter_.failure_->response.emplace();
  body.append(message.view().subspan(wire::kHeader, message.size() - wire::kHeader - 1));
  body.append(concat("W", splitter_->where(), std::string_view("\0\0", 2)));
}

}  // namespace weir::proxy
