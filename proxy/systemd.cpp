#include "proxy/systemd.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/log.hpp"
#include "base/strings.hpp"

namespace weir::proxy::systemd {

namespace {

constexpr int kFirstDescriptor = 3;
constexpr const char* kInherited[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC"};

std::string_view environment_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? std::string_view(value) : std::string_view();
}

unsigned long long number(std::string_view text) { return std::strtoull(std::string(text).c_str(), nullptr, 10); }

}  // namespace

void notify(std::string_view lines) {
  const std::string_view path = environment_of("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return;
  path.copy(address.sun_path, path.size());
  if (path[0] == '@') address.sun_path[0] = '\0';   // an abstract name
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  if (::sendto(fd, lines.data(), lines.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length) < 0)
    log::warning(concat("systemd was not told ", lines, ": ", std::strerror(errno)));
  ::close(fd);
}

void notify_reloading() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  notify(concat("RELOADING=1\nMONOTONIC_USEC=", std::to_string(now.tv_sec * 1'000'000LL + now.tv_nsec / 1000)));
}

std::vector<Listener> given_listeners() {
  std::vector<Listener> given;
  if (number(environment_of("LISTEN_PID")) == static_cast<unsigned long long>(::getpid())) {
    const auto count = static_cast<int>(number(environment_of("LISTEN_FDS")));
    for (int i = 0; i < count; ++i) {
      const int fd = kFirstDescriptor + i;
      ::fcntl(fd, F_SETFD, FD_CLOEXEC);
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
      given.push_back({concat("systemd ", std::to_string(i)), fd});
    }
  }
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  return given;
}

std::chrono::microseconds watchdog_interval() {
  const std::string_view meant = environment_of("WATCHDOG_PID");
  if (!meant.empty() && number(meant) != static_cast<unsigned long long>(::getpid())) return {};
  return std::chrono::microseconds(static_cast<std::int64_t>(number(environment_of("WATCHDOG_USEC"))));
}

std::string environment() {
  std::string lines;
  for (const char* name : kInherited)
    if (const auto value = environment_of(name); !value.empty()) lines += concat(name, "=", value, "\n");
  return lines;
}

void adopt_environment(std::string_view lines) {
  ::unsetenv("WATCHDOG_PID");   // it names the process before
  while (!lines.empty()) {
    const std::string line(lines.substr(0, lines.find('\n')));
    lines.remove_prefix(std::min(lines.size(), line.size() + 1));
    for (const char* name : kInherited)
      if (line.starts_with(concat(name, "="))) ::setenv(name, line.c_str() + std::strlen(name) + 1, 1);
  }
}

}  // namespace weir::proxy::systemd
