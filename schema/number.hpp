// Integers out of numerics: SQL literals and binary values whose fraction is nothing but zeros.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.hpp"

namespace weir::schema {

// [sign] digits [. digits] [e exponent], as the lexer and numeric_in read it, without blanks. None: malformed, a
// fraction, NaN, infinity, or outside int8.
[[nodiscard]] std::optional<std::int64_t> integer_of_decimal(std::string_view text) noexcept;

// numeric_send's format: ndigits, weight, sign, dscale (int16 each), then digits of base 10000. None as above.
// Source: src/backend/utils/adt/numeric.c (numeric_recv) of PostgreSQL 15.
[[nodiscard]] std::optional<std::int64_t> integer_of_numeric_binary(ByteView value) noexcept;

}  // namespace weir::schema
