#include "net/registrations.hpp"

#include <sched.h>

namespace weir::net {

namespace {
constexpr std::uint32_t kGenerationMask = 0x7fffffff;  // the event's highest bit is the loop's own
}

Registrations::~Registrations() {
  for (std::size_t i = 0; i < chunk_count_; i++) delete[] chunks_[i].load(std::memory_order_relaxed);
}

Registrations::Access::Access(Slot& slot, std::uint32_t generation) : slot_(slot) {
  // Contended only while a socket changes hands; the holder may have been descheduled, so do not burn its processor.
  while (slot_.locked.exchange(true, std::memory_order_acquire)) sched_yield();
  current_ = slot_.generation == generation;
}

bool Registrations::grow() {
  if (chunk_count_ == kChunks) return false;
  free_.reserve((chunk_count_ + 1) * kChunkSize);
  chunks_[chunk_count_].store(new Slot[kChunkSize], std::memory_order_release);
  const std::size_t first = chunk_count_++ * kChunkSize;
  for (std::size_t i = kChunkSize; i-- > 0;) free_.push_back(static_cast<std::uint32_t>(first + i));
  return true;
}

std::optional<RegistrationId> Registrations::add(Socket& socket) {
  RegistrationId id;
  {
    const std::lock_guard lock(free_lock_);
    if (free_.empty() && !grow()) return std::nullopt;
    id.slot = free_.back();
    free_.pop_back();
  }
  const Access held = access(id);
  held.slot_.socket = &socket;
  id.generation = held.slot_.generation;
  return id;
}

void Registrations::end(RegistrationId id) {
  const Access held = access(id);
  held.slot_.socket = nullptr;
  held.slot_.generation = (held.slot_.generation + 1) & kGenerationMask;
  if (held.slot_.generation == 0) held.slot_.generation = 1;
}

void Registrations::recycle(RegistrationId id) {
  const std::lock_guard lock(free_lock_);
  free_.push_back(id.slot);
}

}  // namespace weir::net
