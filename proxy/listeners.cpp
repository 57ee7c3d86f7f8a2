#include "proxy/listeners.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/log.hpp"
#include "base/strings.hpp"
#include "net/socket.hpp"

namespace weir::proxy {

namespace {

constexpr std::string_view kTcp = "tcp ", kUnix = "unix ", kSystemd = "systemd ";

// Moves those that `wanted` accepts out of `from`.
template <class Wanted>
std::vector<Listener> take(std::vector<Listener>& from, const Wanted& wanted) {
  std::vector<Listener> taken;
  std::erase_if(from, [&](Listener& listener) {
    if (!wanted(listener)) return false;
    taken.push_back(std::move(listener));
    return true;
  });
  return taken;
}

}  // namespace

Listeners::~Listeners() {
  for (const Listener& listener : all_) ::close(listener.fd);
}

void Listeners::remove_file() {
  if (!unix_path_.empty()) ::unlink(unix_path_.c_str());
}

Result<void> Listeners::open(const config::Listen& listen, unsigned workers, std::vector<Listener> inherited) {
  by_worker_.resize(workers);
  port_ = listen.port;
  if (adopt_systemd(inherited)) return {};
  Result<void> opened;
  for (const std::string& address : listen.addresses)
    if (opened) opened = open_tcp(address, inherited);
  if (opened && !listen.unix_socket_dir.empty()) opened = open_unix(listen.unix_socket_dir, inherited);
  for (const Listener& listener : inherited) {
    log::warning(concat("no longer listening on ", listener.name, ": the configuration does not name it"));
    ::close(listener.fd);
  }
  return opened;
}

bool Listeners::adopt_systemd(std::vector<Listener>& inherited) {
  auto given = take(inherited, [](const Listener& l) { return l.name.starts_with(kSystemd); });
  if (given.empty()) return false;
  for (Listener& listener : given) {
    if (auto port = net::local_port(listener.fd); port) port_ = *port;
    share(listener);
    all_.push_back(std::move(listener));
  }
  for (const Listener& listener : inherited) ::close(listener.fd);
  return true;
}

// One for each worker, so that the kernel spreads the clients.
Result<void> Listeners::open_tcp(const std::string& address, std::vector<Listener>& inherited) {
  const std::string name = concat(kTcp, address);
  auto known = take(inherited, [&](const Listener& l) {
    const auto port = l.name == name ? net::local_port(l.fd) : Result<std::uint16_t>(Error{});
    return port && (port_ == 0 || *port == port_);
  });
  if (port_ == 0 && !known.empty()) port_ = *net::local_port(known.front().fd);
  for (std::size_t i = 0; i < known.size(); ++i) {
    by_worker_[i % by_worker_.size()].push_back(known[i].fd);
    all_.push_back(known[i]);
  }
  for (std::size_t w = known.size(); w < by_worker_.size(); ++w) {
    auto fd = net::listen_tcp(address, port_, true);
    if (!fd) return fd.take_error();
    all_.push_back({name, *fd});
    by_worker_[w].push_back(*fd);
    if (port_ != 0) continue;
    auto port = net::local_port(*fd);
    if (!port) return port.take_error();
    port_ = *port;
  }
  return {};
}

Result<void> Listeners::open_unix(const std::string& folder, std::vector<Listener>& inherited) {
  unix_path_ = concat(folder, "/.s.PGSQL.", std::to_string(port_));
  const std::string name = concat(kUnix, unix_path_);
  auto known = take(inherited, [&](const Listener& l) { return l.name == name; });
  if (known.empty()) {
    auto fd = net::listen_unix(unix_path_);
    if (!fd) {
      unix_path_.clear();
      return fd.take_error();
    }
    known.push_back({name, *fd});
  }
  for (Listener& listener : known) {
    share(listener);
    all_.push_back(std::move(listener));
  }
  return {};
}

// All workers accept from it; the kernel wakes whoever is free.
void Listeners::share(const Listener& listener) {
  for (auto& worker : by_worker_) worker.push_back(listener.fd);
}

}  // namespace weir::proxy
