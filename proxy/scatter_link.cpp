#include "proxy/scatter_link.hpp"

namespace weir::proxy {

namespace {
constexpr std::size_t kKeptBuffer = 256 << 10;   // what a large row needed is given back
}

void ScatterLink::flush() {
  while (!lost_ && !out_.empty() && server_->socket->can_send()) {
    const auto sent = server_->socket->send(out_.view());
    if (!sent) return break_off();
    if (*sent == 0) return;
    traffic_->sent.add(*sent);
    out_.consume(*sent);
  }
  if (out_.empty() && out_.capacity() > kKeptBuffer) out_.release();
}

ScatterLink::Front ScatterLink::front(wire::Message& message) {
  while (!lost_) {
    const wire::Frame f = wire::next_message(in_.view());
    if (f.status == wire::FrameStatus::bad_length) break;
    if (f.status == wire::FrameStatus::message) {
      message = f.message;
      front_size_ = f.needed;
      return Front::message;
    }
    if (const Front got = receive(); got != Front::message) return got;
  }
  break_off();
  return Front::lost;
}

void ScatterLink::pop() {
  in_.consume(front_size_);
  if (in_.empty() && in_.capacity() > kKeptBuffer) in_.release();
}

ScatterLink::Front ScatterLink::receive() {
  net::Socket& socket = *server_->socket;
  if (!socket.may_receive()) {
    if (!socket.hung_up()) return Front::nothing;
    break_off();
    return Front::lost;
  }
  const net::Received r = socket.receive();
  switch (r.kind) {
    case net::Received::Kind::data:
      traffic_->received.add(r.bytes.size());
      received_ += r.bytes.size();
      in_.append(r.bytes);
      return Front::message;
    case net::Received::Kind::nothing: return Front::nothing;
    case net::Received::Kind::end:
    case net::Received::Kind::failed: break;
  }
  break_off();
  return Front::lost;
}

}  // namespace weir::proxy
