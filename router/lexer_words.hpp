// What the lexer knows of SQL's words: whether a parenthesis or a string right after one is an ordinary expression,
// type modifiers, or something whose value may matter to the plan. Unknown words are taken for the worst.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace weir::router {

enum WordBits : std::uint8_t {
  kExpression =
      1,          // a reserved word or clause: "(" or a string after it begins an ordinary expression, list or subquery
  kComputes = 2,  // a built-in whose string arguments are plain data: they name no relation, setting or SQL
  kTakesTypmods = 4,  // a type (or CURRENT_TIME and the like): integers in parentheses after it are modifiers
  kTyped = 8,         // TYPE 'string' is a plain constant
  kEndsList = 16,     // the reserved word ends an ORDER BY or GROUP BY list
  kNamesObject = 32,  // regclass and its kin: a string becomes the name of an object
};

// The first eight bytes of a word as a number, the rest of a shorter word zero. `text` must have 8 readable bytes.
inline std::uint64_t packed_prefix(const std::uint8_t* text, std::size_t length) noexcept {
  std::uint64_t word;
  std::memcpy(&word, text, 8);
  if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
  return length >= 8 ? word : word & ((std::uint64_t{1} << (8 * length)) - 1);
}
constexpr std::uint64_t packed_prefix(std::string_view text) noexcept {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < text.size() && i < 8; ++i)
    word |= static_cast<std::uint64_t>(static_cast<unsigned char>(text[i])) << (8 * i);
  return word;
}

// The WordBits of a folded word; 0: unknown. `prefix` is its packed_prefix().
[[nodiscard]] std::uint8_t word_bits(std::string_view word, std::uint64_t prefix) noexcept;

// True if even numbers given to the function may name an object (pg_relation_size(16385)).
[[nodiscard]] bool takes_object_ids(std::string_view function) noexcept;

}  // namespace weir::router
