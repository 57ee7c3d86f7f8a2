// TimeZone: offsets of a zone of the system's tz database, for the beginnings of months.
//
// GCC 12 has no std::chrono::time_zone, and localtime_r() knows one zone for the whole process. The files under
// /usr/share/zoneinfo are the ones Debian's PostgreSQL reads, so both agree on every rule.
// RFC 8536 (TZif); https://pubs.opengroup.org/onlinepubs/9699919799/basedefs/V1_chap08.html (TZ, the footer's rules)
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace weir::schema {

// Seconds since 1970-01-01 00:00:00 of UTC, or of a local clock.
using Seconds = std::int64_t;

// A day of the year on which clocks change, by the footer's rule, e.g. "M3.5.0/2".
struct ChangeRule {
  enum class Kind { month_week_day, julian_without_leap_day, day_of_year };
  Kind kind = Kind::month_week_day;
  int month = 0, week = 0, day = 0;
  int time = 7200;  // seconds after local midnight; may be negative or beyond a day
};

// The rules for the time after the last listed transition: standard time, and daylight saving time if there is one.
struct ZoneRules {
  int standard = 0;  // seconds east of Greenwich
  int daylight = 0;
  std::optional<ChangeRule> to_daylight, to_standard;
};

// Immutable; shared between threads freely.
class TimeZone {
 public:
  // "UTC", or a name such as "Europe/Berlin". Reads a file the first time, later calls share the zone. Fails (22023),
  // naming the zone, if the database has none of that name.
  static Result<std::shared_ptr<const TimeZone>> load(const std::string& name);
  // The contents of a TZif file. None: malformed, version 1 (no 64-bit times), or with leap seconds.
  static std::optional<TimeZone> parse(std::string_view tzif);

  // Seconds east of Greenwich at an instant.
  [[nodiscard]] int offset_at(Seconds utc) const;
  // The instant of a local time, as PostgreSQL reads it: a time that is skipped counts by the offset before the change,
  // one that comes twice is the later.
  [[nodiscard]] Seconds instant_of(Seconds local) const;

 private:
  std::vector<Seconds> transitions_;  // sorted
  std::vector<int> offsets_;          // from the transition of the same index on
  int first_offset_ = 0;              // before all of them
  std::optional<ZoneRules> rules_;    // after the last of them
};

// Seconds since 1970-01-01 of a day's midnight, by the proleptic Gregorian calendar.
[[nodiscard]] Seconds midnight_of(int year, unsigned month, unsigned day) noexcept;

// Reads the footer: "CET-1CEST,M3.5.0,M10.5.0/3", "<+0330>-3:30". None: malformed.
[[nodiscard]] std::optional<ZoneRules> parse_zone_rules(std::string_view posix_tz);
// The offset at an instant by the rules alone.
[[nodiscard]] int offset_by_rules(const ZoneRules& rules, Seconds utc);

}  // namespace weir::schema
