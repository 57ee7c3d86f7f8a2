// Names of custom settings (app.user_id) in SQL text. PostgreSQL has no list of those that a session has set, so who wants to know their
// values must know their names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace weir::schema {

// Is it a name of two or more parts, as a custom setting's must be?
[[nodiscard]] bool is_custom_setting_name(std::string_view text);

// Adds, in lower case and once each, every name that stands in quotes of its own ('app.user_id', at any depth of quoting) or behind SET,
// SET LOCAL, SET SESSION or RESET. Too many are found (any such text), never too few of those that are written out.
void find_setting_names(std::string_view text, std::vector<std::string>& names);

}  // namespace weir::schema
