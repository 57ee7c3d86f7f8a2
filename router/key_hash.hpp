// A fast keyed hash for cache keys: the seeds are drawn once for each process, so that a client cannot choose
// statements that collide. It only finds an entry; equality of the whole key decides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>

namespace weir::router {

// Bytes that hash_padded() may read behind the last one; they must be zero.
inline constexpr std::size_t kHashPadding = 16;

struct HashSeed {
  std::uint64_t a, b, c;
};

inline HashSeed draw_hash_seed() {
  std::random_device device;
  const auto word = [&device] { return (static_cast<std::uint64_t>(device()) << 32) | device(); };
  return {word(), word(), word() | 1};
}

// The process' seed.
inline const HashSeed& hash_seed() {
  static const HashSeed seed = draw_hash_seed();
  return seed;
}

// The 128-bit product folded to 64 bits: every bit of the result depends on every bit of both factors.
inline std::uint64_t multiply_fold(std::uint64_t x, std::uint64_t y) noexcept {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(x) * y;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t load_word(const std::uint8_t* p) noexcept {
  std::uint64_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

inline std::uint64_t hash_padded(const std::uint8_t* p, std::size_t size, const HashSeed& seed) noexcept {
  std::uint64_t h = seed.a ^ size;
  for (std::size_t at = 0; at < size; at += 16)
    h = multiply_fold(load_word(p + at) ^ seed.b, load_word(p + at + 8) ^ h);
  return multiply_fold(h ^ seed.b, seed.c);
}

}  // namespace weir::router
