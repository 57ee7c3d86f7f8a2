// Listeners: the descriptors that clients come in by: bound here, inherited from the process that is replaced (proxy/handover.hpp), or
// given by systemd (proxy/systemd.hpp).
//
// Closing a SO_REUSEPORT listener drops its queue, so every inherited one of a wanted address is watched, however many workers there are.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "config/settings.hpp"

namespace weir::proxy {

struct Listener {
  std::string name;   // "tcp 127.0.0.1", "unix /run/weir/.s.PGSQL.6432", "systemd 0"
  int fd = -1;
};

class Listeners {
 public:
  Listeners() = default;
  ~Listeners();   // closes them
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  // Takes over `inherited` (what the file no longer asks for is closed) and binds what is missing. Sockets of systemd stand for all of
  // [listen]: no other is bound then.
  Result<void> open(const config::Listen& listen, unsigned workers, std::vector<Listener> inherited);

  [[nodiscard]] const std::vector<int>& of_worker(unsigned worker) const { return by_worker_[worker]; }
  [[nodiscard]] const std::vector<Listener>& all() const { return all_; }
  [[nodiscard]] unsigned workers() const { return static_cast<unsigned>(by_worker_.size()); }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Removes the file of the unix socket: this process is the last to listen there.
  void remove_file();

 private:
  bool adopt_systemd(std::vector<Listener>& inherited);
  Result<void> open_tcp(const std::string& address, std::vector<Listener>& inherited);
  Result<void> open_unix(const std::string& folder, std::vector<Listener>& inherited);
  void share(const Listener& listener);

  std::vector<Listener> all_;
  std::vector<std::vector<int>> by_worker_;
  std::string unix_path_;   // of a socket that this process or a predecessor made
  std::uint16_t port_ = 0;
};

}  // namespace weir::proxy
