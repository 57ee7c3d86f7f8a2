#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "base/strings.hpp"
#include "net/socket.hpp"

namespace weir::net {

namespace {

constexpr int kBacklog = 4096;  // the kernel caps it by net.core.somaxconn

// Closes unless taken.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool ok() const { return fd_ >= 0; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error cannot_listen(const std::string& where, const char* why, const char* hint) {
  return {sqlstate::kConfigFile, concat("cannot listen on ", where, ": ", why), hint};
}

Error cannot_listen(const std::string& where, int error) {
  const char* hint = "Check the address and the port of [listen].";
  if (error == EADDRINUSE) hint = "Another program listens there: stop it, or choose another port.";
  if (error == EACCES) hint = "Choose a port above 1023 and a folder this user may write to.";
  return cannot_listen(where, std::strerror(error), hint);
}

bool set_option(int fd, int level, int name, int value) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Accepted sockets inherit TCP_NODELAY and SO_KEEPALIVE from here, so accepting one costs one system call.
bool set_tcp_options(int fd, bool reuse_port) {
  return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) && (!reuse_port || set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
         set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) && set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

enum class Families { own, both };  // an IPv6 socket that also takes IPv4

// errno on failure.
int listen_at(const sockaddr* address, socklen_t length, Families families, bool reuse_port) {
  Descriptor fd(socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok() || !set_tcp_options(fd.get(), reuse_port)) return -1;
  if (address->sa_family == AF_INET6 && !set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, families == Families::own))
    return -1;
  if (bind(fd.get(), address, length) != 0 || listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    close(fd.take());
    errno = error;
    return -1;
  }
  return fd.take();
}

int listen_everywhere(std::uint16_t port, bool reuse_port) {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  const int fd = listen_at(reinterpret_cast<const sockaddr*>(&six), sizeof six, Families::both, reuse_port);
  if (fd >= 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) return fd;
  sockaddr_in four{};  // a machine without IPv6
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  return listen_at(reinterpret_cast<const sockaddr*>(&four), sizeof four, Families::own, reuse_port);
}

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

// The first that can be bound, IPv4 before IPv6.
int listen_first(const addrinfo* list, bool reuse_port) {
  int error = EADDRNOTAVAIL;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
      if (a->ai_family != family) continue;
      const int fd = listen_at(a->ai_addr, a->ai_addrlen, Families::own, reuse_port);
      if (fd >= 0) return fd;
      error = errno;
    }
  }
  errno = error;
  return -1;
}

Result<int> resolve_and_listen(const std::string& address, std::uint16_t port, bool reuse_port,
                               const std::string& where) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = getaddrinfo(address.c_str(), std::to_string(port).c_str(), &wanted, &found);
  const AddressList list(found, &freeaddrinfo);
  if (status != 0) {
    return cannot_listen(where, gai_strerror(status),
                         "Give an IPv4 or IPv6 address, \"*\", or a name this machine can resolve.");
  }
  const int fd = listen_first(list.get(), reuse_port);
  if (fd < 0) return cannot_listen(where, errno);
  return fd;
}

// Whether somebody listens at `name`. A full queue (EAGAIN) is alive, too.
bool is_alive(const sockaddr_un& name) {
  const Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!probe.ok()) return true;
  return connect(probe.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 || errno != ECONNREFUSED;
}

Result<void> remove_stale(const sockaddr_un& name, const std::string& where) {
  struct stat there {};
  if (lstat(name.sun_path, &there) != 0) {
    if (errno == ENOENT) return {};
    return cannot_listen(where, errno);
  }
  if (!S_ISSOCK(there.st_mode)) {
    return cannot_listen(where, "a file of that name exists and is no socket",
                         "Remove it, or choose another folder or port.");
  }
  if (is_alive(name)) {
    return cannot_listen(where, "another program listens there", "Stop it, or choose another folder or port.");
  }
  if (unlink(name.sun_path) != 0 && errno != ENOENT) return cannot_listen(where, errno);
  return {};
}

// Two programs that start together must not each take the other's fresh socket for a stale one: the folder is locked
// meanwhile.
Result<int> lock_folder(const std::string& path, const std::string& where) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Descriptor fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.ok())
    return cannot_listen(where, std::strerror(errno), "Create the folder of the socket, readable by this user.");
  if (flock(fd.get(), LOCK_EX) != 0) return cannot_listen(where, errno);
  return fd.take();
}

Result<int> bind_unix(const sockaddr_un& name, const std::string& where) {
  Descriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.ok() || bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) != 0)
    return cannot_listen(where, errno);
  // Before listen(): nobody can connect while the mode is still that of the umask.
  if (chmod(name.sun_path, 0777) != 0 || listen(fd.get(), kBacklog) != 0) {
    const int error = errno;
    unlink(name.sun_path);
    return cannot_listen(where, error);
  }
  return fd.take();
}

// Failed before it became ours, or of one connection only: the next one may be fine.
// https://man7.org/linux/man-pages/man2/accept.2.html (error handling)
bool concerns_one_connection(int error) {
  switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPERM:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

union AnyAddress {
  sockaddr base;
  sockaddr_in four;
  sockaddr_in6 six;
  sockaddr_storage storage;
};

PeerName name_of(const sockaddr_in& peer) {
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
  return {text, ntohs(peer.sin_port), 0};
}

PeerName name_of(const sockaddr_in6& peer) {
  if (IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr)) {  // came by IPv4 through a socket of both families
    sockaddr_in four{};
    four.sin_port = peer.sin6_port;
    std::memcpy(&four.sin_addr, &peer.sin6_addr.s6_addr[12], sizeof four.sin_addr);
    return name_of(four);
  }
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text);
  return {text, ntohs(peer.sin6_port), 0};
}

PeerName name_of_local_process(int fd) {
  ucred who{};
  socklen_t length = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0) who.pid = 0;
  return {"unix", 0, who.pid};
}

}  // namespace

Result<int> listen_tcp(const std::string& address, std::uint16_t port, bool reuse_port) {
  const std::string where = concat("\"", address, "\" port ", std::to_string(port));
  if (address != "*") return resolve_and_listen(address, port, reuse_port, where);
  const int fd = listen_everywhere(port, reuse_port);
  if (fd < 0) return cannot_listen(where, errno);
  return fd;
}

Result<int> listen_unix(const std::string& path) {
  const std::string where = concat("unix socket \"", path, "\"");
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof name.sun_path) {
    return cannot_listen(where, "the path must have 1 to 107 bytes", "Choose a shorter unix_socket_dir.");
  }
  path.copy(name.sun_path, path.size());
  auto locked = lock_folder(path, where);
  if (!locked) return locked.take_error();
  const Descriptor folder(*locked);
  if (auto removed = remove_stale(name, where); !removed) return removed.take_error();
  return bind_unix(name, where);
}

Result<std::uint16_t> local_port(int fd) {
  AnyAddress own{};
  socklen_t length = sizeof own;
  if (getsockname(fd, &own.base, &length) == 0) {
    if (own.base.sa_family == AF_INET) return ntohs(own.four.sin_port);
    if (own.base.sa_family == AF_INET6) return ntohs(own.six.sin6_port);
  }
  return Error(sqlstate::kInternal, concat("descriptor ", std::to_string(fd), " has no TCP port"),
               "Ask only TCP sockets for a port.");
}

Result<std::optional<int>> accept_one(int listener) {
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return std::optional<int>(fd);
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::optional<int>();
    if (concerns_one_connection(errno)) continue;
    return Error(
        sqlstate::kTooManyConnections, concat("cannot accept a connection: ", std::strerror(errno)),
        "Raise the limit of open files (ulimit -n, LimitNOFILE=) above max_clients plus the server connections.");
  }
}

namespace {
PeerName name_of(const AnyAddress& end, int fd) {
  switch (end.base.sa_family) {
    case AF_INET:
      return name_of(end.four);
    case AF_INET6:
      return name_of(end.six);
    case AF_UNIX:
      return name_of_local_process(fd);
    default:
      return {"unknown", 0, 0};
  }
}
}  // namespace

PeerName peer_name(int fd) {
  AnyAddress peer{};
  socklen_t length = sizeof peer;
  if (getpeername(fd, &peer.base, &length) != 0) return {"unknown", 0, 0};
  return name_of(peer, fd);
}

PeerName local_name(int fd) {
  AnyAddress own{};
  socklen_t length = sizeof own;
  if (getsockname(fd, &own.base, &length) != 0) return {"unknown", 0, 0};
  return name_of(own, fd);
}

}  // namespace weir::net
