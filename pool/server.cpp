#include "pool/server.hpp"

#include <sys/socket.h>

#include <algorithm>

#include "pool/pool.hpp"

namespace weir::pool {

bool PreparedOnServer::touch(std::uint64_t id) {
  const auto it = where_.find(id);
  if (it == where_.end()) return false;
  order_.splice(order_.end(), order_, it->second);
  return true;
}

void PreparedOnServer::add(std::uint64_t id, std::size_t bytes) {
  if (touch(id)) return;
  order_.push_back({id, bytes});
  where_.emplace(id, std::prev(order_.end()));
  bytes_ += bytes;
}

void PreparedOnServer::remove(std::uint64_t id) {
  const auto it = where_.find(id);
  if (it == where_.end()) return;
  bytes_ -= it->second->bytes;
  order_.erase(it->second);
  where_.erase(it);
}

void PreparedOnServer::spoil(std::uint64_t id) {
  remove(id);
  if (std::find(spoilt_.begin(), spoilt_.end(), id) == spoilt_.end()) spoilt_.push_back(id);
}

std::uint64_t PreparedOnServer::take_spoilt() {
  if (spoilt_.empty()) return 0;
  const std::uint64_t id = spoilt_.back();
  spoilt_.pop_back();
  return id;
}

void PreparedOnServer::clear() {
  order_.clear();
  where_.clear();
  spoilt_.clear();
  bytes_ = 0;
}

std::uint64_t PreparedOnServer::to_evict(const Limits& limits, std::size_t bytes) const {
  if (order_.size() < 2) return 0;
  const bool full = where_.size() >= limits.count || (limits.bytes > 0 && bytes_ + bytes > limits.bytes);
  return full ? order_.front().id : 0;
}

Result<void> Server::attach(net::Loop& loop) {
  auto attached = net::Socket::attach(loop, link.fd(), link.ssl());
  if (!attached) {
    link.forget_descriptor();   // attach() has closed it
    return attached.take_error();
  }
  socket = std::move(*attached);
  return {};
}

std::optional<CancelTarget> Server::cancel_target() const {
  if (!key) return std::nullopt;
  return CancelTarget{link.address(), link.ssl() != nullptr, pool->backend().id().params, *key};
}

Server::~Server() {
  if (!socket) return;
  // A Terminate spares the server a log line; never waited for. Under TLS a plain write would corrupt the stream.
  static constexpr std::uint8_t kTerminate[] = {'X', 0, 0, 0, 4};
  if (link.ssl() == nullptr) (void)::send(socket->fd(), kTerminate, sizeof kTerminate, MSG_NOSIGNAL | MSG_DONTWAIT);
  socket->release();   // the descriptor is the link's to close
}

}  // namespace weir::pool
