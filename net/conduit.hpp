// Conduit: a pipe of the kernel's through which bytes go from one socket to another without being copied into this process.
// https://man7.org/linux/man-pages/man2/splice.2.html
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace weir::net {

// Bytes are put in and taken out by Socket::receive_into() and Socket::send_from(). One thread at a time.
class Conduit {
 public:
  ~Conduit();  // what it holds is lost
  Conduit(const Conduit&) = delete;
  Conduit& operator=(const Conduit&) = delete;

  [[nodiscard]] std::size_t held() const { return held_; }

 private:
  friend class Conduits;
  friend class Socket;
  Conduit() = default;

  int in_ = -1;
  int out_ = -1;
  std::size_t held_ = 0;
};

// A thread's conduits that hold nothing, so that a large message costs no new descriptors.
class Conduits {
 public:
  // nullptr: there are no descriptors for one, or the kernel cannot do it (disable()): copy instead.
  [[nodiscard]] std::unique_ptr<Conduit> take();
  // Kept for the next; closed if it holds anything.
  void give_back(std::unique_ptr<Conduit> conduit);
  void disable() { usable_ = false; }

 private:
  static constexpr std::size_t kKept = 4;
  static constexpr int kSize = 1 << 20;  // what may be had without privileges (/proc/sys/fs/pipe-max-size)
  [[nodiscard]] static std::unique_ptr<Conduit> make();

  std::vector<std::unique_ptr<Conduit>> spare_;
  bool usable_ = true;
};

}  // namespace weir::net
