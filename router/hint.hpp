// Hints: the user's word on where a statement runs, in comments in front of it (/* weir: shard=s1 */) or set in the session
// (SET weir.shard, weir.key, weir.role). Pure. docs/manual-routing.md
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace weir::router {

struct Hint {
  std::string shard;                // its name; empty: not said
  std::optional<std::string> key;   // as text, without its quotes
  bool primary = false;             // reads, too, go to the primary

  [[nodiscard]] bool names_place() const { return !shard.empty() || key.has_value(); }
  [[nodiscard]] bool says_nothing() const { return !names_place() && !primary; }
  bool operator==(const Hint&) const = default;
};

// "shard=s1, key='a b' primary": words separated by blanks or commas. Errors (42601) name the word, and what is allowed.
[[nodiscard]] Result<Hint> parse_hint(std::string_view words);
// The same hint as words that parse_hint() reads; nothing said: empty.
[[nodiscard]] std::string words_of(const Hint& hint);

// May the text hold a comment that begins with "weir:"? False is certain.
[[nodiscard]] bool may_have_hints(std::string_view sql);
// How many comments that begin with "weir:" (in any case) the text has, line comments too.
[[nodiscard]] std::size_t count_hints(std::string_view sql);
// What the comments in front of a statement's first token say together; none: there is no such comment. Errors (42601): one that stands
// elsewhere or is a line comment (clients strip those), one that parse_hint() does not read, two that contradict each other.
[[nodiscard]] Result<std::optional<Hint>> read_hints(std::string_view statement);

}  // namespace weir::router
