// What would become of one statement of a database once it is sharded. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "router/router.hpp"

namespace weir::migrate {

enum class StatementClass : std::uint8_t {
  single,     // its key is bound to one value: one shard
  by_values,  // several keys: one shard or several, as their values lie
  scatter,    // every shard, merged
  reference,  // reference tables only: any shard
  home,       // tables without a rule: the home shard
  no_table,   // no table at all
  session,    // transaction control, SET
  refused,    // fails with 0A000
  unknown,    // the text cannot be read
};
inline constexpr std::array<std::string_view, 9> kClassNames = {"single shard", "by values", "scatter", "reference", "home",
                                                                "no table",     "session",   "refused", "unknown"};

struct Verdict {
  StatementClass kind = StatementClass::unknown;
  std::string reason;
  std::string remedy;  // empty: nothing needs doing
};

// Judges a text of pg_stat_statements, in which constants are parameters of unknown types ($1): what depends on their
// values is `by_values`.
[[nodiscard]] Verdict judge(router::Router& router, std::string_view text, const router::SessionContext& session);

}  // namespace weir::migrate
