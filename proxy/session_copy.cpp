// COPY FROM STDIN: the client's data, passed on to the server as long as it takes it.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

namespace {
constexpr std::string_view kCopyMessages = "dcfSHX";   // what may come while the server copies
}  // namespace

void Session::on_copy_in() {
  if (work_->expected.empty()) return break_server(out_of_step('G'));
  copy_in_ = true;
  copy_failed_ = false;
  copy_extended_ = work_->expected.front().kind == Expect::execute;
  copy_syncs_ = copy_extended_ ? static_cast<std::uint32_t>(work_->expected.drop_syncs()) : 0;
  consume(std::exchange(scanned_, 0));          // the client's bytes are COPY data from here on
}

// Passes COPY data on, as long as the server takes it. True: something moved.
bool Session::forward_copy_data() {
  bool moved = false;
  while (copy_in_ && work_->to_server.empty() && !server_broken_ && !client_eof_) {
    if (input_.empty() && !receive_from_client()) break;
    const std::size_t ready = copy_data_ready();
    if (ready > 0) {
      send_to_server(input_.first(ready));
      consume(ready);
      // Its CommandComplete would wait in the server for the Sync, which is a batch of its own.
      if (!copy_in_ && copy_extended_) send_to_server(kFlush);
      moved = true;
    } else if (copy_in_ && !receive_from_client()) {
      break;
    }
    if (copy_failed_ && copy_bulk_left_ == 0) end_failed_copy();
  }
  return moved;
}

// How many bytes at the front of the input may go to the server now. Ends copy mode at CopyDone and CopyFail.
std::size_t Session::copy_data_ready() {
  std::size_t at = std::min<std::uint64_t>(copy_bulk_left_, input_.size());
  copy_bulk_left_ -= at;
  while (at < input_.size() && !copy_failed_) {
    const wire::Frame f = wire::next_message(input_.subspan(at));
    const char type = static_cast<char>(input_[at]);
    if (f.status == wire::FrameStatus::bad_length || kClientMessages.find(type) == std::string_view::npos) {
      fatal({sqlstate::kProtocolViolation, concat("unexpected message type ", std::to_string(input_[at]), " during COPY from stdin")});
      client_eof_ = true;
      return at;
    }
    if (kCopyMessages.find(type) == std::string_view::npos) {
      if (at == 0) give_copy_up();
      return at;
    }
    if (type == 'X') {
      client_eof_ = true;
      return at;
    }
    if (f.status == wire::FrameStatus::incomplete) {
      if (type != 'd' || input_.size() - at < wire::kHeader) return at;
      copy_bulk_left_ = f.needed - (input_.size() - at);
      return input_.size();
    }
    at += f.needed;
    if (type == 'S') ++copy_syncs_;
    if (type == 'c' || type == 'f') {
      copy_in_ = false;
      mid_sequence_ |= copy_extended_;   // its Sync comes as a batch of its own
      return at;
    }
  }
  return at;
}

// The Sync that ends an extended COPY comes after its data.
bool Session::copy_extended_in_progress() const { return copy_extended_ && (copy_in_ || mid_sequence_ || copy_syncs_ > 0); }

// A message that has no place in COPY data. Only the server knows whether it still copies, or has refused what came before: it is told to
// end the COPY, and its error tells which.
void Session::give_copy_up() {
  wire::write_message(work_->to_server, 'f', concat(kCopyGivenUp, std::string_view("\0", 1)));
  copy_given_up_ = true;
  copy_in_ = false;
  mid_sequence_ |= copy_extended_;
}

// The COPY has failed. Of the Syncs that were sent among its data the server ignored those that it read before it failed, and only it
// knows which: how many ReadyForQuerys come before the answer to a Close of the proxy's own tells. After an error in the extended
// protocol a Sync of its own goes before that, or it might be skipped.
void Session::end_failed_copy() {
  if (copy_in_ && copy_bulk_left_ > 0) {
    copy_failed_ = true;   // the rest of its CopyData comes first
    return;
  }
  copy_in_ = false;
  if (copy_syncs_ == 0 || client_dead_) return;
  copy_ready_ = 0;
  if (copy_extended_) wire::write_sync(work_->to_server);
  wire::write_named(work_->to_server, 'C', 'S', kNoSuchStatement);
  wire::write_sync(work_->to_server);
  work_->expected.push({Expect::copy_end, true, kNoOp});
  work_->expected.push({Expect::own_sync, true, kNoOp});
}

void Session::on_copy_sync_ready(char status) {
  if (++copy_ready_ > 1 || !copy_extended_) return;
  mid_sequence_ = false;
  on_ready(status);
}

void Session::on_copy_syncs_counted() {
  const std::uint32_t own = copy_extended_ ? 1 : 0;
  if (copy_ready_ < own || copy_ready_ - own > copy_syncs_) return break_server({sqlstate::kProtocolViolation, "the server answered a Sync too many"});
  work_->expected.pop();
  copy_syncs_ = 0;
  for (std::uint32_t i = own; i < copy_ready_; ++i) wire::write_ready_for_query(work_->own, status_letter());
  skip_to_sync_ = copy_extended_ && copy_ready_ == own;   // the client's own has not come yet
}

}  // namespace weir::proxy
