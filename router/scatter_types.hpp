// Types of expressions, as far as planning over several shards must know them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "router/scatter_context.hpp"

namespace weir::router {

// The exact numeric types: sums of them do not depend on the order of rows.
enum class ExactType : std::uint8_t { int2, int4, int8, numeric };

// The type of an expression made of columns, constants and arithmetic. None: another type, or not known.
[[nodiscard]] std::optional<ExactType> exact_type_of(Node* expr, const ScatterContext& context);

// The column's type as a cast can say it, if a value of it survives a way through an array parameter: a built-in type
// with its modifiers, no array, no domain. With a collation other than the default's: as "... COLLATE name".
[[nodiscard]] std::optional<std::string> cast_of(const schema::Column& column);

}  // namespace weir::router
