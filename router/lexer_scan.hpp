// Where single tokens end, by the rules of PostgreSQL 15's scanner (src/backend/parser/scan.l). Each function reads
// nothing at or behind `end`.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "router/lexer_chars.hpp"
#include "router/plan.hpp"

namespace weir::router {

// Operators of at most 63 characters are PostgreSQL's; runs of operator characters longer than this are not looked
// into.
inline constexpr std::size_t kMaxOperator = 63;
inline constexpr std::size_t kMaxOperatorRun = 256;

// Behind the closing `quote` of a text in which a doubled one stands for itself; nullptr: none.
inline const std::uint8_t* after_quotes(const std::uint8_t* from, const std::uint8_t* end, char quote) {
  while (from < end) {
    const void* found = std::memchr(from, quote, static_cast<std::size_t>(end - from));
    if (found == nullptr) return nullptr;
    from = static_cast<const std::uint8_t*>(found) + 1;
    if (from == end || *from != static_cast<std::uint8_t>(quote)) return from;
    ++from;
  }
  return nullptr;
}

// The same for E'...', where a backslash takes the next byte's meaning away.
inline const std::uint8_t* after_escapes(const std::uint8_t* from, const std::uint8_t* end) {
  while (from < end) {
    const std::uint8_t c = *from++;
    if (c == '\\') {
      if (from == end) return nullptr;
      ++from;
    } else if (c == '\'') {
      if (from == end || *from != '\'') return from;
      ++from;
    }
  }
  return nullptr;
}

// Behind the outermost "*/" of the comment that begins at `from` (comments nest); nullptr: none.
inline const std::uint8_t* after_comment(const std::uint8_t* from, const std::uint8_t* end) {
  std::size_t nesting = 0;
  while (end - from >= 2) {
    if (from[0] == '/' && from[1] == '*') {
      ++nesting;
      from += 2;
    } else if (from[0] == '*' && from[1] == '/') {
      from += 2;
      if (--nesting == 0) return from;
    } else {
      ++from;
    }
  }
  return nullptr;
}

inline bool starts_comment(const std::uint8_t* p, const std::uint8_t* end) {
  return end - p >= 2 && ((p[0] == '-' && p[1] == '-') || (p[0] == '/' && p[1] == '*'));
}

// The length of the operator at `from`: a run of operator characters up to a comment. A trailing + or - belongs to it
// only if some character in it is not one of standard SQL's, so that "a=-1" is what it seems. Over kMaxOperator: in
// doubt.
inline std::size_t operator_size(const std::uint8_t* from, const std::uint8_t* end) {
  const std::uint8_t* past = from + 1;
  while (past < end && kKinds[*past] == Kind::op && !starts_comment(past, end)) {
    ++past;
    if (past - from > static_cast<std::ptrdiff_t>(kMaxOperatorRun)) return kMaxOperatorRun;
  }
  auto size = static_cast<std::size_t>(past - from);
  if (size == 1 || (past[-1] != '+' && past[-1] != '-')) return size;
  const std::string_view run(reinterpret_cast<const char*>(from), size - 1);
  if (run.find_first_of("~!@#^&|`?%") != std::string_view::npos) return size;
  while (size > 1 && (from[size - 1] == '+' || from[size - 1] == '-')) --size;
  return size;
}

// The type PostgreSQL gives an integer of those digits. None: one of the two that a minus sign gives another type.
inline std::optional<LiteralClass> integer_class(const std::uint8_t* from, std::size_t size) {
  while (size > 1 && *from == '0') ++from, --size;
  if (size > 19) return LiteralClass::numeric;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) value = value * 10 + (from[i] - std::uint64_t{'0'});
  constexpr std::uint64_t kInt4 = std::numeric_limits<std::int32_t>::max();
  constexpr std::uint64_t kInt8 = std::numeric_limits<std::int64_t>::max();
  if (value == kInt4 + 1 || value == kInt8 + 1) return std::nullopt;
  if (value <= kInt4) return LiteralClass::int4;
  return value <= kInt8 ? LiteralClass::int8 : LiteralClass::numeric;
}

}  // namespace weir::router
