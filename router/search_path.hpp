// The text of search_path to the schemas it names.
// https://www.postgresql.org/docs/15/runtime-config-client.html#GUC-SEARCH-PATH
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::router {

// Splits `text` as PostgreSQL's SplitIdentifierString does: unquoted names are folded, quoted ones kept ("" is a
// quote), blanks around names are dropped. None: PostgreSQL would have refused the SET. An empty list gives one empty
// name, which no schema has.
[[nodiscard]] std::optional<std::vector<std::string>> parse_search_path(std::string_view text);

// Puts `user` in the place of "$user" (left alone where the user is not known).
void expand_user(std::vector<std::string>& search_path, std::string_view user);

}  // namespace weir::router
