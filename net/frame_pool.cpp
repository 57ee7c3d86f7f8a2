// Frame memory of Task: per-thread Boost.Pool size classes. A pool's memory goes back when its thread ends, so every
// frame of the thread is gone by then. https://www.boost.org/doc/libs/1_74_0/libs/pool/doc/html/boost/pool.html
#include <array>
#include <bit>
#include <boost/pool/pool.hpp>
#include <cstddef>
#include <new>

#include "net/task.hpp"

namespace weir::net::detail {

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kLargestPooled = 0;  // every frame from operator new: a use after its destruction is seen
#else
constexpr std::size_t kLargestPooled = 4096;
#endif
constexpr std::size_t kSmallest = 128;
constexpr std::size_t kClasses = 6;  // 128, 256, ... 4096

using Pool = boost::pool<boost::default_user_allocator_new_delete>;

struct Pools {
  std::array<Pool, kClasses> by_class{Pool(128, 32),  Pool(256, 32), Pool(512, 32),
                                      Pool(1024, 16), Pool(2048, 8), Pool(4096, 8)};
};
thread_local Pools pools;

Pool& pool_for(std::size_t size) {
  const std::size_t rounded = std::bit_ceil(size < kSmallest ? kSmallest : size);
  return pools.by_class[static_cast<std::size_t>(std::countr_zero(rounded) - std::countr_zero(kSmallest))];
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
