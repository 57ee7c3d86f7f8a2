#include "proxy/handover_channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::proxy {

namespace {

constexpr int kBacklog = 4;

Error failed(const std::string& path, const char* what) {
  return {sqlstate::kConfigFile, concat("takeover socket \"", path, "\": ", what), "See listen.takeover_socket."};
}

Error failed(const std::string& path) { return failed(path, std::strerror(errno)); }

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return failed(path, "the path must have at most 107 bytes");
  path.copy(address.sun_path, path.size());
  return address;
}

int new_socket() { return ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  int take() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// Two processes that start together must not take each other's fresh socket for a stale one.
int lock_folder(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0) ::flock(fd, LOCK_EX);
  return fd;
}

}  // namespace

Result<std::optional<HandoverChannel>> HandoverChannel::connect(const std::string& path) {
  auto address = address_of(path);
  if (!address) return address.take_error();
  HandoverChannel channel(new_socket());
  if (::connect(channel.fd_, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) return std::optional<HandoverChannel>();
    return failed(path);
  }
  if (auto checked = channel.check_peer(); !checked) return checked.take_error();
  return std::optional<HandoverChannel>(std::move(channel));
}

Result<int> HandoverChannel::listen(const std::string& path) {
  auto address = address_of(path);
  if (!address) return address.take_error();
  const auto* name = reinterpret_cast<const sockaddr*>(&*address);
  const Descriptor folder(lock_folder(path));
  if (folder.get() < 0) return failed(path);
  const Descriptor probe(new_socket());
  if (::connect(probe.get(), name, sizeof *address) == 0 || errno == EAGAIN)
    return failed(path, "another Weir was started at the same time and listens there");
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0 && (!S_ISSOCK(there.st_mode) || ::unlink(path.c_str()) != 0))
    return failed(path, S_ISSOCK(there.st_mode) ? std::strerror(errno) : "a file of that name exists and is no socket");
  Descriptor fd(new_socket());
  // The mode before listen(): nobody can connect earlier.
  if (::bind(fd.get(), name, sizeof *address) != 0 || ::chmod(path.c_str(), 0600) != 0 || ::listen(fd.get(), kBacklog) != 0)
    return failed(path);
  return fd.take();
}

std::optional<HandoverChannel> HandoverChannel::accept(int listener) {
  const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return std::nullopt;
  HandoverChannel channel(fd);
  if (auto checked = channel.check_peer(); !checked) {
    log::warning(checked.error().message);
    return std::nullopt;
  }
  return channel;
}

HandoverChannel::HandoverChannel(HandoverChannel&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), peer_(other.peer_), closed_(other.closed_) {}

HandoverChannel& HandoverChannel::operator=(HandoverChannel&& other) noexcept {
  std::swap(fd_, other.fd_);
  peer_ = other.peer_;
  closed_ = other.closed_;
  return *this;
}

HandoverChannel::~HandoverChannel() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> HandoverChannel::check_peer() {
  ucred who{};
  socklen_t length = sizeof who;
  if (::getsockopt(fd_, SOL_SOCKET, SO_PEERCRED, &who, &length) != 0 || (who.uid != ::geteuid() && who.uid != 0))
    return Error(sqlstate::kInsufficientPrivilege,
                 concat("takeover socket: process ", std::to_string(who.pid), " of user id ", std::to_string(who.uid), " is at the other end"),
                 "The process that runs and the one that replaces it must be the same user's.");
  peer_ = who.pid;
  return {};
}

bool HandoverChannel::send(std::string_view text, std::span<const int> descriptors) {
  iovec data{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control{};
  if (!descriptors.empty()) {
    const std::size_t bytes = descriptors.size() * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(bytes);
    std::memcpy(CMSG_DATA(header), descriptors.data(), bytes);
  }
  while (::sendmsg(fd_, &message, MSG_NOSIGNAL) < 0) {
    pollfd writable{fd_, POLLOUT, 0};
    if ((errno != EAGAIN && errno != EINTR) || ::poll(&writable, 1, 1000) <= 0) {
      closed_ = true;
      return false;
    }
  }
  return true;
}

std::optional<HandoverMessage> HandoverChannel::receive_now() {
  HandoverMessage received;
  received.text.resize(kMaxText);
  iovec data{received.text.data(), received.text.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxDescriptors)> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t n = ::recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
  if (n <= 0) {
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) closed_ = true;
    return std::nullopt;
  }
  received.text.resize(static_cast<std::size_t>(n));
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
    if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
      received.descriptors.resize((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
      std::memcpy(received.descriptors.data(), CMSG_DATA(h), received.descriptors.size() * sizeof(int));
    }
  return received;
}

std::optional<HandoverMessage> HandoverChannel::receive(Deadline deadline) {
  for (;;) {
    if (auto message = receive_now(); message || closed_) return message;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.left(Clock::now())).count();
    if (left <= 0) return std::nullopt;
    pollfd readable{fd_, POLLIN, 0};
    ::poll(&readable, 1, static_cast<int>(std::min<std::int64_t>(left, 1000)));
  }
}

}  // namespace weir::proxy
