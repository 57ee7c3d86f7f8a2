// What a token means to those behind it: which literals inside parentheses are not values of the statement but part of its meaning.
#pragma once

#include <cstdint>
#include <string_view>

#include "router/lexer_words.hpp"

namespace weir::router {

// What holds inside the present parentheses.
enum Context : std::uint8_t {
  kOrdinals = 1,    // an integer may be the position of an output column
  kTypmods = 2,     // integers are type modifiers
  kStrings = 4,     // strings are arguments of a function that may look into them
  kEverything = 8,  // so may numbers
};

// The last token, as far as the next one's meaning depends on it. Those up to `dot` may be part of a type's name.
enum class Last : std::uint8_t { word, quoted, dot, typecast, nothing, string, open, close, other };
struct Token {
  Last kind = Last::nothing;
  std::uint32_t length = 0;            // of a word
  const std::uint8_t* text = nullptr;  // of a word: folded, in the key

  [[nodiscard]] std::string_view view() const { return {reinterpret_cast<const char*>(text), length}; }
  [[nodiscard]] std::uint64_t prefix() const { return packed_prefix(text, length); }
  [[nodiscard]] std::uint8_t bits() const { return kind == Last::word ? word_bits(view(), prefix()) : 0; }
  [[nodiscard]] bool is(std::string_view short_word) const {
    return kind == Last::word && length == short_word.size() && prefix() == packed_prefix(short_word);
  }
};

// "name type(" in a column definition list: is `before`, the token before the type's, a name?
[[nodiscard]] inline bool follows_name(const Token& before) {
  return before.kind == Last::quoted || (before.kind == Last::word && !(before.bits() & kExpression));
}

// What "(" after the word `last` brings with it. `in_type`: since "::" or AS nothing but a name has come.
[[nodiscard]] inline std::uint8_t inside_call(const Token& last, const Token& before, bool in_type) {
  const std::uint8_t bits = last.bits();
  const bool qualified = before.kind == Last::dot;
  if (!qualified && (bits & kExpression))
    return last.is("on") && before.is("distinct") ? kOrdinals : 0;  // "AS (" begins a subquery
  if (in_type || (bits & kTakesTypmods) || follows_name(before)) return kTypmods;
  if (takes_object_ids(last.view())) return kEverything;
  return !qualified && (bits & kComputes) ? 0 : kStrings;
}

}  // namespace weir::router
