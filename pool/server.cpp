#include "pool/server.hpp"

#include <libpq-fe.h>
#include <sys/socket.h>

namespace weir::pool {

bool PreparedOnServer::touch(std::uint64_t id) {
  const auto it = where_.find(id);
  if (it == where_.end()) return false;
  order_.splice(order_.end(), order_, it->second);
  return true;
}

void PreparedOnServer::add(std::uint64_t id) {
  if (touch(id)) return;
  order_.push_back(id);
  where_.emplace(id, std::prev(order_.end()));
}

void PreparedOnServer::remove(std::uint64_t id) {
  const auto it = where_.find(id);
  if (it == where_.end()) return;
  order_.erase(it->second);
  where_.erase(it);
}

void PreparedOnServer::clear() {
  order_.clear();
  where_.clear();
}

std::uint64_t PreparedOnServer::to_evict(std::size_t limit) const {
  return where_.size() < limit || order_.empty() ? 0 : order_.front();
}

Server::~Server() {
  if (!socket) return;
  // A Terminate spares the server a log line; never waited for. Under TLS a plain write would corrupt the stream.
  static constexpr std::uint8_t kTerminate[] = {'X', 0, 0, 0, 4};
  if (!PQsslInUse(conn.get())) (void)::send(socket->fd(), kTerminate, sizeof kTerminate, MSG_NOSIGNAL | MSG_DONTWAIT);
  socket->release();   // the descriptor is libpq's to close
}

}  // namespace weir::pool
