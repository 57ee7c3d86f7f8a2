// Bounds of range partitions by a date or a timestamp: written, and read back from pg_get_expr(relpartbound).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "schema/month.hpp"
#include "schema/time_zone.hpp"

namespace weir::schema {

// How a month column keeps time. timestamptz: instants. timestamp and date: as written, in no zone.
enum class MonthColumn { date, timestamp, timestamptz };

// From format_type()'s text; none: a type that has no months.
[[nodiscard]] std::optional<MonthColumn> month_column_of(std::string_view type_name);
[[nodiscard]] std::string_view type_sql(MonthColumn column) noexcept;

// Half open. Minimum and maximum of the type stand for MINVALUE, -infinity, MAXVALUE and infinity.
struct Range {
  Seconds from = 0;
  Seconds to = 0;
  friend bool operator==(const Range&, const Range&) = default;
  [[nodiscard]] bool overlaps(const Range& other) const { return from < other.to && other.from < to; }
};

// "FOR VALUES FROM (...) TO (...)" with one column, in ISO style, of any session time zone. None: anything else.
[[nodiscard]] std::optional<Range> parse_bounds(std::string_view text);

// The bounds of a month, as a literal without quotes means the same in every session: "2024-01-01 00:00:00+00" for
// timestamptz.
[[nodiscard]] std::string bound_text(Seconds at, MonthColumn column);

}  // namespace weir::schema
