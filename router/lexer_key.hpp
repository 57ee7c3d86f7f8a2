// The bytes of a lifted key. A prefix code: no two different token streams give the same bytes.
//
//   name         folded bytes, ' '            (first byte a letter, '_' or >= 0x80)
//   quoted name  '"', raw bytes, '"', ' '     (doubled quotes stay doubled)
//   operator     its characters, ' '
//   parameter    '$', digits, ' '
//   , ( ) [ ] ; : .                           one byte each; a ';' that only ends the text is left out
//   ::  :=                                    kTypecast, kColonEquals
//   literal      kLifted + its LiteralClass   one byte, the value is left out
//   literal      kKept, raw text, 0           (a statement holds no 0 byte)
//   hint         kHint, raw text, 0           "/* weir: ... */", and "-- weir: ..." as well
#pragma once

#include <cstdint>

namespace weir::router::lexer_key {

inline constexpr std::uint8_t kLifted = 0x01;  // to 0x01 + the last LiteralClass
inline constexpr std::uint8_t kTypecast = 0x10;
inline constexpr std::uint8_t kColonEquals = 0x11;
inline constexpr std::uint8_t kKept = 0x12;
inline constexpr std::uint8_t kHint = 0x13;

}  // namespace weir::router::lexer_key
