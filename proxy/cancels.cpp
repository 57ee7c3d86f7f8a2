#include "proxy/cancels.hpp"

#include "base/log.hpp"
#include "base/strings.hpp"
#include "pool/native_login.hpp"
#include "wire/messages.hpp"

namespace weir::proxy {

namespace {

constexpr std::string_view kSocketName = ".s.PGSQL.";

// "host:port", "[::1]:port", or the path of a unix socket, as libpq's parameters.
pool::ConnParams address_params(const std::string& address) {
  const auto slash = address.rfind('/');
  if (address.starts_with('/')) {
    const std::string_view name = std::string_view(address).substr(slash + 1);
    const bool is_socket = name.starts_with(kSocketName);
    return {{"host", is_socket ? address.substr(0, slash) : address},
            {"port", is_socket ? std::string(name.substr(kSocketName.size())) : "5432"}};
  }
  const auto colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return {{"host", host}, {"port", colon == std::string::npos ? "5432" : address.substr(colon + 1)}};
}

Result<void> deliver(const pool::ConnParams& params, const wire::CancelKey& key, Deadline deadline) {
  auto link = pool::open_link(params, deadline);
  if (!link) return link.take_error();
  if (auto encrypted = pool::negotiate_tls(*link, params, pool::TlsUse::if_offered, deadline); !encrypted) return encrypted;
  ByteBuffer out;
  wire::write_cancel_request(out, key);
  return link->send(out.view(), deadline);
}

}  // namespace

void Cancels::send(const pool::Server& server, Duration patience, std::function<void(bool)> told) {
  const auto pool = server.pool->shared_from_this();
  pool->cancels_waiting.fetch_add(1, std::memory_order_relaxed);
  const Deadline deadline = Deadline::after(Clock::now(), patience);
  senders_.run([pool, target = server.cancel_target(), deadline, told = std::move(told)] {
    pool->cancels_waiting.fetch_sub(1, std::memory_order_relaxed);
    if (!target) {
      log::warning(concat(pool->name(), ": a statement could not be cancelled: the server gave no cancel key"));
      return told(true);
    }
    pool->cancels_active.fetch_add(1, std::memory_order_relaxed);
    const auto sent = pool::send_cancel(*target, deadline);
    pool->cancels_active.fetch_sub(1, std::memory_order_relaxed);
    if (!sent) log::warning(concat(pool->name(), ": a cancel request was not delivered: ", sent.error().message));
    told(sent.ok());
  });
}

void Cancels::pass_on(const config::Peer& peer, wire::CancelKey key, Duration patience) {
  key.pid |= peer_key::kPassedOn;
  senders_.run([peer, key = std::move(key), deadline = Deadline::after(Clock::now(), patience)] {
    if (auto sent = deliver(address_params(peer.address), key, deadline); !sent)
      log::warning(concat("a cancel request was not passed on to peer ", std::to_string(peer.id), ": ", sent.error().message));
  });
}

}  // namespace weir::proxy
