// Months: created_at to works_YYYYMM, and the plan of partitions to make.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "config/settings.hpp"

namespace weir::schema {

// A calendar month, e.g. 2024-01. Ordered; arithmetic in months.
class Month {
 public:
  constexpr Month(int year, unsigned month) : n_(year * 12 + static_cast<int>(month) - 1) {}
  static Month of(std::chrono::year_month_day day);
  // The month of an instant in `timezone` ("UTC" or any name the system's tz database knows; fails for others): the one
  // whose partition holds it. Reads a file the first time a zone is named.
  static Result<Month> of(std::chrono::system_clock::time_point instant, const std::string& timezone);

  [[nodiscard]] constexpr int year() const { return n_ >= 0 ? n_ / 12 : (n_ - 11) / 12; }
  [[nodiscard]] constexpr unsigned month() const { return static_cast<unsigned>(n_ - year() * 12) + 1; }
  [[nodiscard]] constexpr Month plus(int months) const { return Month(n_ + months); }
  [[nodiscard]] std::string suffix() const;     // "202401"
  [[nodiscard]] std::string first_day() const;  // "2024-01-01"
  friend constexpr auto operator<=>(const Month&, const Month&) = default;

 private:
  constexpr explicit Month(int n) : n_(n) {}
  int n_;
};

// "works" and 2024-01 to "works_202401".
[[nodiscard]] std::string partition_name(std::string_view table, Month month);
// The inverse; none: the name is not of that form.
[[nodiscard]] std::optional<Month> month_of_partition(std::string_view table, std::string_view partition);

// A partition that exists, as pg_inherits tells.
struct ExistingPartition {
  std::string name;
  std::string bounds;  // pg_get_expr(relpartbound): "FOR VALUES FROM (...) TO (...)" or "DEFAULT"
};

// One step of the plan: what it does, and the statements that do it by the safe way of design §7 (CREATE TABLE LIKE,
// replica identity, CHECK, then ATTACH under a short lock_timeout; each inner vector is one transaction, to be retried
// as a whole on 55P03).
struct PartitionStep {
  std::string partition;
  std::string what;
  std::vector<std::vector<std::string>> transactions;
};

struct PartitionPlan {
  std::vector<PartitionStep> steps;
  std::vector<std::string> problems;  // a default partition, a partition of that name with other bounds ...
};

// The partitions of `table` that are missing from the current month to `ahead` months on.
// `column_type` is the month column's type name by format_type() ("timestamp with time zone", "date", ...), for exact
// bounds; `existing` may have been printed in any time zone, but in DateStyle ISO. A month that a partition of another
// name holds exactly is not missing. A default partition or unreadable bounds stop all steps of the table, an overlap
// that month's. The statements need the parent's owner (or superuser). Reads the time zone's file, nothing else.
[[nodiscard]] PartitionPlan plan_partitions(const config::Table& table, std::string_view schema,
                                            std::string_view column_type,
                                            const std::vector<ExistingPartition>& existing, Month now);

}  // namespace weir::schema
