// The key value that a lifted literal stands for.
#pragma once

#include <optional>
#include <string_view>

#include "router/plan.hpp"
#include "schema/key.hpp"

namespace weir::router {

// `text` is the literal with its quotes. `negated`: a minus stood before it. None: PostgreSQL would raise an error, or
// the literal is of a kind or an escape that is not read here (bit strings, \x41, \u0041). Allocates for text keys
// only.
[[nodiscard]] std::optional<schema::KeyValue> key_from_literal(schema::KeyType type, LiteralClass kind,
                                                               std::string_view text, bool negated);

}  // namespace weir::router
