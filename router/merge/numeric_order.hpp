// The order of numeric values in binary format: no arithmetic, only a comparison of their digits.
#pragma once

#include "base/bytes.hpp"

namespace weir::router::merge {

// Is it a value as numeric_send() writes it?
[[nodiscard]] bool is_numeric(ByteView value);
// -Infinity, finite values, Infinity, NaN (cmp_numerics). For what is_numeric() only.
[[nodiscard]] int compare_numeric(ByteView a, ByteView b);

}  // namespace weir::router::merge
