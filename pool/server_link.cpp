#include "pool/server_link.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/strings.hpp"
#include "wire/login_client.hpp"

namespace weir::pool {

namespace {

constexpr std::string_view kDefaultPort = "5432";
// A server that vanished is noticed: in use by what it does not acknowledge (ms), idle by probes of the kernel (seconds).
constexpr int kUserTimeout = 10'000, kKeepIdle = 30, kKeepInterval = 5, kKeepCount = 3;

Error lost(std::string message) {
  Error e(sqlstate::kConnectionFailure, std::move(message));
  e.connection_spoilt = true;
  return e;
}

std::string_view port_of(const ConnParams& params) {
  const std::string_view port = get(params, "port");
  return port.empty() ? kDefaultPort : port;
}

bool is_socket_folder(std::string_view host) { return host.starts_with('/') || host.starts_with('@'); }

Result<ServerAddress> unix_address(std::string_view folder, std::string_view port) {
  const std::string path = concat(folder, "/.s.PGSQL.", port);
  ServerAddress address;
  auto& to = reinterpret_cast<sockaddr_un&>(address.storage);
  if (path.size() >= sizeof to.sun_path) return lost(concat("the unix socket's path is too long: ", path));
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.data(), path.size());
  if (folder.starts_with('@')) to.sun_path[0] = '\0';   // Linux's abstract names
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (folder.starts_with('@') ? 0 : 1));
  return address;
}

// Blocks for as long as DNS does.
Result<std::vector<ServerAddress>> addresses_of(const ConnParams& params) {
  const std::string host(get(params, "hostaddr").empty() ? get(params, "host") : get(params, "hostaddr"));
  const std::string port(port_of(params));
  std::vector<ServerAddress> out;
  if (is_socket_folder(host)) {
    auto address = unix_address(host, port);
    if (!address) return address.take_error();
    out.push_back(*address);
    return out;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int failure = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); failure != 0)
    return lost(concat("host name \"", host, "\" cannot be looked up: ", ::gai_strerror(failure)));
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    ServerAddress address;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    address.size = a->ai_addrlen;
    out.push_back(address);
  }
  ::freeaddrinfo(found);
  return out;
}

int number_of(const ConnParams& params, std::string_view name, int otherwise) {
  const std::string text(get(params, name));
  return text.empty() ? otherwise : std::atoi(text.c_str());
}

void set_tcp_options(int fd, const ConnParams& params) {
  const auto set_option = [fd](int level, int name, int value) {
    if (value > 0) (void)::setsockopt(fd, level, name, &value, sizeof value);
  };
  set_option(IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(IPPROTO_TCP, TCP_USER_TIMEOUT, number_of(params, "tcp_user_timeout", kUserTimeout));
  if (number_of(params, "keepalives", 1) == 0) return;
  set_option(SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(IPPROTO_TCP, TCP_KEEPIDLE, number_of(params, "keepalives_idle", kKeepIdle));
  set_option(IPPROTO_TCP, TCP_KEEPINTVL, number_of(params, "keepalives_interval", kKeepInterval));
  set_option(IPPROTO_TCP, TCP_KEEPCNT, number_of(params, "keepalives_count", kKeepCount));
}

// https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNECT-REQUIREPEER
Result<void> check_peer(int fd, const ConnParams& params) {
  const std::string wanted(get(params, "requirepeer"));
  if (wanted.empty()) return {};
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return lost("requirepeer: the peer's user is not known");
  passwd entry{};
  passwd* found = nullptr;
  char names[4096];
  (void)::getpwuid_r(peer.uid, &entry, names, sizeof names, &found);
  if (found != nullptr && wanted == found->pw_name) return {};
  return lost(concat("requirepeer asks for user ", wanted, ", the server runs as ",
                     found != nullptr ? std::string(found->pw_name) : std::to_string(peer.uid)));
}

// One answered connect().
Result<ServerLink> connect_to(const ServerAddress& address, const ConnParams& params, Deadline deadline) {
  const int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return lost(concat("socket: ", std::strerror(errno)));
  ServerLink link(fd, address);
  if (!address.is_unix()) set_tcp_options(fd, params);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0) {
    if (errno != EINPROGRESS) return lost(std::strerror(errno));
    pollfd p{fd, POLLOUT, 0};
    if (::poll(&p, 1, milliseconds_left(deadline)) <= 0) return lost("timed out");
    int failure = 0;
    socklen_t size = sizeof failure;
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure != 0) return lost(std::strerror(failure));
  }
  if (address.is_unix())
    if (auto checked = check_peer(fd, params); !checked) return checked.take_error();
  return link;
}

// Bytes that came with the answer would be read as if they had been encrypted.
Result<bool> server_takes_tls(ServerLink& link, Deadline deadline) {
  ByteBuffer request, answer;
  wire::write_ssl_request(request);
  if (auto sent = link.send(request.view(), deadline); !sent) return sent.take_error();
  if (auto received = link.receive(answer, deadline, 1); !received) return received.take_error();
  const char letter = static_cast<char>(answer.view()[0]);
  if (letter == 'S' || letter == 'N') return letter == 'S';
  return lost("the server's answer to SSLRequest is neither S nor N: is it a PostgreSQL server?");
}

Error named(Error e, const ConnParams& params) {
  e.message = concat("connection to ", host_and_port(params), " failed: ", e.message);
  return e;
}

}  // namespace

int milliseconds_left(Deadline deadline) {
  if (deadline.is_never()) return -1;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left(Clock::now())).count();
  return static_cast<int>(std::clamp<long long>(left + 1, 0, 1 << 30));
}

void ServerLink::SslDeleter::operator()(SSL* ssl) const noexcept { SSL_free(ssl); }

ServerLink::ServerLink(ServerLink&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), address_(other.address_), ssl_(std::move(other.ssl_)) {}

ServerLink& ServerLink::operator=(ServerLink&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(address_, other.address_);
  std::swap(ssl_, other.ssl_);
  return *this;
}

ServerLink::~ServerLink() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> ServerLink::wait(short events, Deadline deadline, std::string_view what) const {
  pollfd p{fd_, events, 0};
  int ready = 0;
  do ready = ::poll(&p, 1, milliseconds_left(deadline));
  while (ready < 0 && errno == EINTR);
  if (ready > 0) return {};
  return lost(concat(what, " timed out"));
}

Result<void> ServerLink::wait_for_tls(int result, Deadline deadline, std::string_view what) const {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return wait(POLLIN, deadline, what);
    case SSL_ERROR_WANT_WRITE: return wait(POLLOUT, deadline, what);
    case SSL_ERROR_ZERO_RETURN: return lost("the server closed the connection unexpectedly");
    default: break;
  }
  const bool verifying = SSL_get_verify_mode(ssl_.get()) == SSL_VERIFY_PEER && SSL_is_init_finished(ssl_.get()) == 0;
  if (const long verdict = SSL_get_verify_result(ssl_.get()); verifying && verdict != X509_V_OK)
    return lost(concat("the server's certificate is refused: ", X509_verify_cert_error_string(verdict)));
  const unsigned long code = ERR_peek_error();
  const char* reason = code != 0 ? ERR_reason_error_string(code) : nullptr;
  return lost(concat("TLS: ", reason != nullptr ? reason : "the server closed the connection unexpectedly"));
}

Result<void> ServerLink::send(ByteView bytes, Deadline deadline) {
  while (!bytes.empty()) {
    Result<void> waited;
    if (ssl_) {
      ERR_clear_error();
      const int n = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size()));
      if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
      if (n <= 0) waited = wait_for_tls(n, deadline, "sending");
    } else {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
      if (n < 0 && errno != EAGAIN && errno != EINTR) return lost(concat("sending: ", std::strerror(errno)));
      if (n < 0) waited = wait(POLLOUT, deadline, "sending");
    }
    if (!waited) return waited;
  }
  return {};
}

Result<void> ServerLink::receive(ByteBuffer& into, Deadline deadline, std::size_t limit) {
  std::uint8_t chunk[8192];
  const std::size_t size = std::min(limit, sizeof chunk);
  for (;;) {
    Result<void> waited;
    if (ssl_) {
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), chunk, static_cast<int>(size));
      if (n > 0) {
        into.append(ByteView(chunk, static_cast<std::size_t>(n)));
        return {};
      }
      waited = wait_for_tls(n, deadline, "waiting for the server");
    } else {
      const ssize_t n = ::recv(fd_, chunk, size, 0);
      if (n > 0) {
        into.append(ByteView(chunk, static_cast<std::size_t>(n)));
        return {};
      }
      if (n == 0) return lost("the server closed the connection unexpectedly");
      if (errno != EAGAIN && errno != EINTR) return lost(std::strerror(errno));
      waited = wait(POLLIN, deadline, "waiting for the server");
    }
    if (!waited) return waited;
  }
}

std::string host_and_port(const ConnParams& params) {
  const std::string_view host = get(params, "host").empty() ? get(params, "hostaddr") : get(params, "host");
  return concat(host, ":", port_of(params));
}

Result<ServerLink> open_link(const ConnParams& params, Deadline deadline) {
  auto addresses = addresses_of(params);
  if (!addresses) return named(addresses.take_error(), params);
  Result<ServerLink> link = lost("it has no address");
  for (std::size_t i = 0; i < addresses->size() && !link; ++i) {
    // An address that swallows packets leaves time for the others.
    const TimePoint now = Clock::now();
    const auto others = static_cast<int>(addresses->size() - i);
    const Deadline share = deadline.is_never() ? deadline : Deadline(now + deadline.left(now) / others);
    link = connect_to((*addresses)[i], params, share);
  }
  if (!link) return named(link.take_error(), params);
  return link;
}

Result<ServerLink> open_link_to(const ServerAddress& address, const ConnParams& params, Deadline deadline) {
  auto link = connect_to(address, params, deadline);
  if (!link) return named(link.take_error(), params);
  return link;
}

Result<void> negotiate_tls(ServerLink& link, const ConnParams& params, TlsUse tls, Deadline deadline) {
  if (tls == TlsUse::never || link.address().is_unix()) return {};
  auto taken = server_takes_tls(link, deadline);
  if (!taken) return named(taken.take_error(), params);
  if (!*taken && tls == TlsUse::must) return named(lost("the server does not do TLS, but sslmode asks for it"), params);
  if (!*taken) return {};
  if (auto started = link.start_tls(params, deadline); !started) return named(started.take_error(), params);
  return {};
}

}  // namespace weir::pool
