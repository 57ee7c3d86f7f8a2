// Registrations: which socket stands behind an event of the kernel's queue.
//
// Another thread may move or destroy an idle socket while the loop's thread holds events for it. So an event carries no
// pointer but a slot and a generation; slots are stable memory, freed with the loop, and a slot's small lock is taken
// to look behind it, to register and to deregister. An event whose generation is over finds nothing.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace weir::net {

class Socket;

struct RegistrationId {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;  // 31 bits; 0: none

  [[nodiscard]] std::uint64_t packed() const { return std::uint64_t{generation} << 32 | slot; }
  static RegistrationId unpack(std::uint64_t v) {
    return {static_cast<std::uint32_t>(v), static_cast<std::uint32_t>(v >> 32)};
  }
};

class Registrations {
  struct Slot {
    std::atomic<bool> locked{false};
    std::uint32_t generation = 1;
    Socket* socket = nullptr;
  };

 public:
  Registrations() = default;
  ~Registrations();
  Registrations(const Registrations&) = delete;
  Registrations& operator=(const Registrations&) = delete;

  // Holds a slot's lock; held for no longer than a few stores or one system call.
  class Access {
   public:
    ~Access() { slot_.locked.store(false, std::memory_order_release); }
    Access(const Access&) = delete;
    Access& operator=(const Access&) = delete;
    // nullptr: the registration is over.
    [[nodiscard]] Socket* socket() const { return current_ ? slot_.socket : nullptr; }

   private:
    friend class Registrations;
    Access(Slot& slot, std::uint32_t generation);
    Slot& slot_;
    bool current_;
  };

  // Any thread, all of them. none: every slot is taken.
  std::optional<RegistrationId> add(Socket& socket);
  // From now on access() finds nothing; an Access that is held is waited for. The slot itself is used again after
  // recycle(), which belongs after the kernel's deregistration.
  void end(RegistrationId id);
  void recycle(RegistrationId id);
  // `id` came from add() of this table.
  [[nodiscard]] Access access(RegistrationId id) { return Access(slot(id), id.generation); }

 private:
  static constexpr std::size_t kChunkSize = 1024;
  static constexpr std::size_t kChunks = 4096;

  Slot& slot(RegistrationId id) {
    return chunks_[id.slot / kChunkSize].load(std::memory_order_acquire)[id.slot % kChunkSize];
  }
  bool grow();  // under free_lock_

  std::array<std::atomic<Slot*>, kChunks> chunks_{};
  std::mutex free_lock_;
  std::vector<std::uint32_t> free_;
  std::size_t chunk_count_ = 0;
};

}  // namespace weir::net
