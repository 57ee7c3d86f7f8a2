// The value of one column in a row of COPY data, as PostgreSQL reads it (CopyReadAttributesText(), CopyReadAttributesCSV() and
// CopyReadBinaryAttribute() of copyfromparse.c, PostgreSQL 15).
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.hpp"
#include "router/copy/copy_plan.hpp"

namespace weir::router::copy {

struct Field {
  enum class Kind : std::uint8_t {
    value,
    null,
    wrong,   // the row has no such column, or is malformed: the server is certain to refuse it
  };
  Kind kind = Kind::wrong;
  ByteView value{};   // lasts as long as the row and `scratch`
};

// `row`: a whole one, without its end of line. `position`: of the column, from 0. FORCE_NULL and FORCE_NOT_NULL are the column's.
[[nodiscard]] Field field_of(ByteView row, const Options& options, std::uint16_t position, std::string& scratch);

}  // namespace weir::router::copy
