// What each byte can begin, as PostgreSQL 15's scanner sees it (src/backend/parser/scan.l).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weir::router {

// Bytes from 0x80 on are letters, whatever the encoding. '\v' is no blank in this version.
enum class Kind : std::uint8_t {
  junk,
  blank,
  word,
  digit,
  op,
  quote,
  double_quote,
  dollar,
  dot,
  colon,
  open,
  close,
  comma,
  semicolon
};

constexpr std::array<Kind, 256> make_kinds() {
  std::array<Kind, 256> kinds{};  // junk: control characters, braces, backslash
  const auto set = [&kinds](std::string_view characters, Kind kind) {
    for (const char c : characters) kinds[static_cast<unsigned char>(c)] = kind;
  };
  set(" \t\n\r\f", Kind::blank);
  set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_", Kind::word);
  for (std::size_t c = 0x80; c < 0x100; ++c) kinds[c] = Kind::word;
  set("0123456789", Kind::digit);
  set("~!@#^&|`?+-*/%<>=", Kind::op);
  set("'", Kind::quote);
  set("\"", Kind::double_quote);
  set("$", Kind::dollar);
  set(".", Kind::dot);
  set(":", Kind::colon);
  set("([", Kind::open);
  set(")]", Kind::close);
  set(",", Kind::comma);
  set(";", Kind::semicolon);
  return kinds;
}
inline constexpr std::array<Kind, 256> kKinds = make_kinds();

// The folded byte of a name, 0 for what ends one.
constexpr std::array<std::uint8_t, 256> make_folded() {
  std::array<std::uint8_t, 256> folded{};
  for (std::size_t c = 0; c < 256; ++c)
    if (kKinds[c] == Kind::word || kKinds[c] == Kind::digit || c == '$')
      folded[c] = static_cast<std::uint8_t>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return folded;
}
inline constexpr std::array<std::uint8_t, 256> kFolded = make_folded();

}  // namespace weir::router
