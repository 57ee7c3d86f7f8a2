#include "schema/month.hpp"

#include <charconv>

#include "base/strings.hpp"
#include "schema/time_zone.hpp"

namespace weir::schema {
namespace {

std::string digits(unsigned value, std::size_t width) {
  std::string s = std::to_string(value);
  return s.size() < width ? std::string(width - s.size(), '0') + s : s;
}

Seconds begin_of(const TimeZone& zone, Month m) { return zone.instant_of(midnight_of(m.year(), m.month(), 1)); }

}  // namespace

Month Month::of(std::chrono::year_month_day day) {
  return {static_cast<int>(day.year()), static_cast<unsigned>(day.month())};
}

Result<Month> Month::of(std::chrono::system_clock::time_point instant, const std::string& timezone) {
  using namespace std::chrono;
  auto zone = TimeZone::load(timezone);
  if (!zone) return zone.take_error();
  const Seconds utc = floor<seconds>(instant).time_since_epoch().count();
  const Seconds local = utc + (*zone)->offset_at(utc);
  Month month = Month::of(year_month_day(floor<days>(sys_seconds(seconds(local)))));
  // Where clocks go back over midnight the date alone does not say on which side of the partition's bound the instant
  // is.
  if (utc < begin_of(**zone, month)) return month.plus(-1);
  if (utc >= begin_of(**zone, month.plus(1))) return month.plus(1);
  return month;
}

std::string Month::suffix() const { return digits(static_cast<unsigned>(year()), 4) + digits(month(), 2); }

std::string Month::first_day() const {
  return digits(static_cast<unsigned>(year()), 4) + "-" + digits(month(), 2) + "-01";
}

std::string partition_name(std::string_view table, Month month) { return concat(table, "_", month.suffix()); }

std::optional<Month> month_of_partition(std::string_view table, std::string_view partition) {
  if (partition.size() != table.size() + 7 || !partition.starts_with(table) || partition[table.size()] != '_')
    return std::nullopt;
  const std::string_view suffix = partition.substr(table.size() + 1);
  if (suffix.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  int year = 0;
  unsigned month = 0;
  std::from_chars(suffix.data(), suffix.data() + 4, year);
  std::from_chars(suffix.data() + 4, suffix.data() + 6, month);
  if (year == 0 || month < 1 || month > 12) return std::nullopt;
  return Month(year, month);
}

}  // namespace weir::schema
