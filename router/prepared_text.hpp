// Where a text names prepared statements, so that the name alone can be replaced and the rest sent as it came.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "router/plan.hpp"

namespace weir::router {

// A piece of the text.
struct TextPiece {
  std::size_t offset = 0;
  std::size_t size = 0;
  [[nodiscard]] std::string_view in(std::string_view text) const { return text.substr(offset, size); }
};

struct PreparedPlace {
  TextPiece name;     // as written, with its quotes; DEALLOCATE ALL: empty
  TextPiece types;    // PREPARE: between the parentheses; empty: none
  TextPiece query;    // PREPARE: behind AS, without the semicolon
};

// One place for each of `uses` (Plan::prepared of exactly this text), in their order. None: the text is written so that this cannot be
// said with certainty (U&"..." names), and must not be touched. Pure; any bytes; linear in the text.
[[nodiscard]] std::optional<std::vector<PreparedPlace>> find_prepared(std::string_view sql, const std::vector<PreparedUse>& uses);

}  // namespace weir::router
