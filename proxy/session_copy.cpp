// COPY FROM STDIN: the client's data, passed on to the server as long as it takes it.
#include "base/strings.hpp"
#include "proxy/proxy.hpp"
#include "proxy/session.hpp"

namespace weir::proxy {

// Passes COPY data on, as long as the server takes it. True: something moved.
bool Session::forward_copy_data() {
  bool moved = false;
  while (copy_in_ && to_server_.empty() && !server_broken_ && !client_eof_) {
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
    if (copy_failed_ && copy_bulk_left_ == 0) copy_in_ = false;
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
    if (f.status == wire::FrameStatus::bad_length || std::string_view("dcfSHX").find(type) == std::string_view::npos) {
      fatal({sqlstate::kProtocolViolation, concat("unexpected message type ", std::to_string(input_[at]), " during COPY from stdin")});
      client_eof_ = true;
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
    if (type == 'c' || type == 'f') {
      copy_in_ = false;
      mid_sequence_ |= copy_extended_;   // its Sync comes as a batch of its own
      return at;
    }
  }
  return at;
}

// The Sync that ends an extended COPY comes after its data.
bool Session::copy_extended_in_progress() const { return copy_extended_ && (copy_in_ || mid_sequence_ || dropped_sync_); }

}  // namespace weir::proxy
