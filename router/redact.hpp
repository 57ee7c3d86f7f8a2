// What of a statement may stand in a log.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::router {

// `sql` with every literal (strings of all kinds, numbers) replaced by `?`, comments dropped and blanks made single, cut to
// `max_bytes` (and "..."). Where it is not certain where a literal ends (a backslash in a plain string, whose meaning is a setting's; anything
// unterminated), the rest is cut off. Unlike the plan cache's lifting it also takes what utility statements say (PASSWORD '...').
[[nodiscard]] std::string redacted(std::string_view sql, std::size_t max_bytes);

}  // namespace weir::router
