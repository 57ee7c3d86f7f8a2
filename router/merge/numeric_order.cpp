#include "router/merge/numeric_order.hpp"

#include <algorithm>
#include <cstdint>

#include "router/merge/bytes.hpp"

namespace weir::router::merge {

namespace {

constexpr std::size_t kHeader = 8;   // ndigits, weight, sign, dscale
constexpr std::uint16_t kPositive = 0, kNegative = 0x4000, kNaN = 0xC000, kInfinity = 0xD000, kMinusInfinity = 0xF000;
constexpr std::uint16_t kBase = 10000;

std::uint16_t sign_of(ByteView v) { return load16(v.data() + 4); }

// Digits to base 10000, the first of them not 0; `weight` is the first one's exponent.
struct Digits {
  const std::uint8_t* at = nullptr;
  int count = 0;
  int weight = 0;
  [[nodiscard]] std::uint16_t operator[](int i) const { return i < count ? load16(at + 2 * i) : std::uint16_t{0}; }
};

Digits digits_of(ByteView v) {
  Digits d{v.data() + kHeader, load16(v.data()), static_cast<std::int16_t>(load16(v.data() + 2))};
  while (d.count > 0 && d[0] == 0) {
    d.at += 2;
    --d.count;
    --d.weight;
  }
  return d;
}

int compare_magnitude(const Digits& a, const Digits& b) {
  if (a.count == 0 || b.count == 0) return (a.count > 0) - (b.count > 0);
  if (a.weight != b.weight) return a.weight < b.weight ? -1 : 1;
  for (int i = 0; i < std::max(a.count, b.count); ++i)
    if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
  return 0;
}

// Of kinds that are ordered among themselves.
int rank_of(std::uint16_t sign, const Digits& digits) {
  switch (sign) {
    case kMinusInfinity: return -2;
    case kNegative: return digits.count == 0 ? 0 : -1;
    case kPositive: return digits.count == 0 ? 0 : 1;
    case kInfinity: return 2;
    default: return 3;   // NaN
  }
}

}  // namespace

bool is_numeric(ByteView v) {
  if (v.size() < kHeader || v.size() != kHeader + std::size_t{2} * load16(v.data())) return false;
  const std::uint16_t sign = sign_of(v);
  if (sign != kPositive && sign != kNegative && sign != kNaN && sign != kInfinity && sign != kMinusInfinity) return false;
  for (std::size_t at = kHeader; at < v.size(); at += 2)
    if (load16(v.data() + at) >= kBase) return false;
  return true;
}

int compare_numeric(ByteView a, ByteView b) {
  const Digits left = digits_of(a), right = digits_of(b);
  const int x = rank_of(sign_of(a), left), y = rank_of(sign_of(b), right);
  if (x != y) return x < y ? -1 : 1;
  if (x == 1) return compare_magnitude(left, right);
  return x == -1 ? compare_magnitude(right, left) : 0;
}

}  // namespace weir::router::merge
