// The statements of a string of several.
#pragma once

#include <string_view>
#include <vector>

#include "router/prepared_text.hpp"

namespace weir::router {

// In the text's order, each with the comments in front of it and without its semicolon; empty ones are left out. None at all: the parser
// rejects the text. Parses it: not for the steady state.
[[nodiscard]] std::vector<TextPiece> split_statements(std::string_view sql);

}  // namespace weir::router
