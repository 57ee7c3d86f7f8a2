// HandoverChannel: one end of the unix socket (SOCK_SEQPACKET) between the process that serves and the one that replaces it. Messages are
// text; descriptors travel beside them. Both ends check that the other belongs to the same user (or root).
// https://man7.org/linux/man-pages/man7/unix.7.html (SCM_RIGHTS, SO_PEERCRED)
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/deadline.hpp"
#include "base/result.hpp"

namespace weir::proxy {

struct HandoverMessage {
  std::string text;
  std::vector<int> descriptors;   // the receiver's to close
};

class HandoverChannel {
 public:
  static constexpr std::size_t kMaxText = 32 << 10;
  static constexpr std::size_t kMaxDescriptors = 64;   // of one message; the kernel takes 253

  // None: nobody listens at `path`.
  static Result<std::optional<HandoverChannel>> connect(const std::string& path);
  // A listening descriptor at `path`, mode 0600; a stale file is replaced. Fails if somebody listens there.
  static Result<int> listen(const std::string& path);
  // None: nobody waits, or a stranger did (he is logged and dropped).
  static std::optional<HandoverChannel> accept(int listener);

  HandoverChannel(HandoverChannel&& other) noexcept;
  HandoverChannel& operator=(HandoverChannel&& other) noexcept;
  ~HandoverChannel();

  // False: the other end is gone, or has not read for a long time.
  bool send(std::string_view text, std::span<const int> descriptors = {});
  // The next message; none at once where there is none (and closed(), if there will be none), with a deadline: after it.
  std::optional<HandoverMessage> receive(Deadline deadline);
  std::optional<HandoverMessage> receive_now();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] pid_t peer() const { return peer_; }

 private:
  explicit HandoverChannel(int fd) : fd_(fd) {}
  Result<void> check_peer();

  int fd_ = -1;
  pid_t peer_ = 0;
  bool closed_ = false;
};

}  // namespace weir::proxy
