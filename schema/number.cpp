#include "schema/number.hpp"

#include <limits>

namespace weir::schema {
namespace {

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

std::string_view take_digits(std::string_view& s) noexcept {
  std::size_t n = 0;
  while (n < s.size() && is_digit(s[n])) ++n;
  const std::string_view digits = s.substr(0, n);
  s.remove_prefix(n);
  return digits;
}

// The exponent behind 'e'; none: malformed. Clamped: beyond a thousand only a zero mantissa is an integer of 64 bits.
std::optional<int> take_exponent(std::string_view& s) noexcept {
  if (s.empty()) return 0;
  if (s.front() != 'e' && s.front() != 'E') return std::nullopt;
  s.remove_prefix(1);
  const bool negative = s.starts_with('-');
  if (negative || s.starts_with('+')) s.remove_prefix(1);
  const std::string_view digits = take_digits(s);
  if (digits.empty()) return std::nullopt;
  int e = 0;
  for (char c : digits) e = e > 1000 ? 1000 : e * 10 + (c - '0');
  return negative ? -e : e;
}

// Appends one digit to a number kept below zero.
bool push(std::int64_t& v, int base, int digit) noexcept {
  return !__builtin_mul_overflow(v, base, &v) && !__builtin_sub_overflow(v, digit, &v);
}

std::optional<std::int64_t> with_sign(std::int64_t below_zero, bool negative) noexcept {
  if (negative) return below_zero;
  if (below_zero == std::numeric_limits<std::int64_t>::min()) return std::nullopt;
  return -below_zero;
}

// The number whole.fraction * 10^exponent. Digits behind the shifted point must be zeros.
std::optional<std::int64_t> shifted(std::string_view whole, std::string_view fraction, int exponent,
                                    bool negative) noexcept {
  const auto total = static_cast<std::ptrdiff_t>(whole.size() + fraction.size());
  const auto point = static_cast<std::ptrdiff_t>(whole.size()) + exponent;
  std::int64_t v = 0;
  for (std::ptrdiff_t i = 0; i < total; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const int digit = (at < whole.size() ? whole[at] : fraction[at - whole.size()]) - '0';
    if (i >= point) {
      if (digit != 0) return std::nullopt;
    } else if (!push(v, 10, digit)) {
      return std::nullopt;
    }
  }
  for (std::ptrdiff_t i = total; i < point && v != 0; ++i) {
    if (!push(v, 10, 0)) return std::nullopt;
  }
  return with_sign(v, negative);
}

std::uint16_t load16(const std::uint8_t* p) noexcept { return static_cast<std::uint16_t>(p[0] << 8 | p[1]); }

}  // namespace

std::optional<std::int64_t> integer_of_decimal(std::string_view text) noexcept {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const std::string_view whole = take_digits(text);
  std::string_view fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    fraction = take_digits(text);
  }
  if (whole.empty() && fraction.empty()) return std::nullopt;
  const auto exponent = take_exponent(text);
  if (!exponent || !text.empty()) return std::nullopt;
  return shifted(whole, fraction, *exponent, negative);
}

std::optional<std::int64_t> integer_of_numeric_binary(ByteView value) noexcept {
  if (value.size() < 8) return std::nullopt;
  const std::size_t digits = load16(value.data());
  const auto weight = static_cast<std::int16_t>(load16(value.data() + 2));
  const std::uint16_t sign = load16(value.data() + 4);
  if (value.size() != 8 + 2 * digits) return std::nullopt;
  if (sign != 0x0000 && sign != 0x4000) return std::nullopt;  // NaN and the infinities
  std::int64_t v = 0;
  std::size_t i = 0;
  for (; i < digits; ++i) {
    const std::uint16_t digit = load16(value.data() + 8 + 2 * i);
    if (digit > 9999) return std::nullopt;
    if (static_cast<int>(i) > weight) {
      if (digit != 0) return std::nullopt;
    } else if (!push(v, 10000, digit)) {
      return std::nullopt;
    }
  }
  // Trailing zeros of the whole part are not sent. Five digits are more than any int8.
  for (int place = static_cast<int>(i); place <= weight && v != 0; ++place) {
    if (!push(v, 10000, 0)) return std::nullopt;
  }
  return with_sign(v, sign == 0x4000);
}

}  // namespace weir::schema
