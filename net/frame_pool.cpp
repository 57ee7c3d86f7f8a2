// Frame memory of Task: per-thread Boost.Pool size classes. A pool's memory goes back when its thread ends, so every
// frame of the thread is gone by then. https://www.boost.org/doc/libs/1_74_0/libs/pool/doc/html/boost/pool.html
#include <array>
#include <boost/pool/pool.hpp>
#include <cstddef>
#include <new>
#include <utility>

#include "net/task.hpp"

namespace weir::net::detail {

namespace {

constexpr std::size_t kStep = 16;  // ten thousand idle clients have three frames each: what is rounded up counts
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kLargestPooled = 0;  // every frame from operator new: a use after its destruction is seen
#else
constexpr std::size_t kLargestPooled = 1024;
#endif
constexpr std::size_t kClasses = 1024 / kStep;
constexpr std::size_t kFirst = 32;   // frames that a pool gets at once; each time twice as many, up to kMost
constexpr std::size_t kMost = 256;

using Pool = boost::pool<boost::default_user_allocator_new_delete>;

using Pools = std::array<Pool, kClasses>;

template <std::size_t... I>
Pools make_pools(std::index_sequence<I...>) {
  return {Pool((I + 1) * kStep, kFirst, kMost)...};
}

Pools* pools_of_this_thread() {
  thread_local Pools pools = make_pools(std::make_index_sequence<kClasses>());
  return &pools;
}

// Found without asking each time whether it has been made.
constinit thread_local Pools* known_pools = nullptr;

Pool& pool_for(std::size_t size) {
  if (known_pools == nullptr) known_pools = pools_of_this_thread();
  return (*known_pools)[(size - 1) / kStep];
}

}  // namespace

void* allocate_frame(std::size_t size) {
  if (size > kLargestPooled) return ::operator new(size);
  void* frame = pool_for(size).malloc();
  if (frame == nullptr) throw std::bad_alloc();
  return frame;
}

void free_frame(void* frame, std::size_t size) noexcept {
  if (size > kLargestPooled) return ::operator delete(frame, size);
  pool_for(size).free(frame);
}

}  // namespace weir::net::detail
