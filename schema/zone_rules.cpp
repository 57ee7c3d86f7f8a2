// The rules in a TZif file's footer: POSIX TZ strings, with the hours beyond a day that RFC 8536 allows.

#include <chrono>

#include "schema/time_zone.hpp"

namespace weir::schema {
namespace {

constexpr int kHour = 3600;
constexpr Seconds kDay = 86400;

// Takes pieces off the front of a rule string; remembers the first that did not fit.
class Reader {
 public:
  explicit Reader(std::string_view s) : s_(s) {}

  [[nodiscard]] bool at_end() const { return s_.empty(); }
  [[nodiscard]] bool ok() const { return ok_; }
  bool take(char c) {
    if (s_.empty() || s_.front() != c) return false;
    s_.remove_prefix(1);
    return true;
  }
  void expect(char c) { ok_ &= take(c); }
  [[nodiscard]] bool next_is(char c) const { return s_.starts_with(c); }

  // "CET" or "<+03>".
  void name() {
    const bool quoted = take('<');
    std::size_t n = 0;
    while (n < s_.size() && (quoted ? s_[n] != '>' : is_letter(s_[n]))) ++n;
    s_.remove_prefix(n);
    ok_ &= n >= 3;
    if (quoted) expect('>');
  }
  int number(int low, int high) {
    int n = 0;
    std::size_t digits = 0;
    for (; digits < s_.size() && digits < 4 && s_[digits] >= '0' && s_[digits] <= '9'; ++digits)
      n = n * 10 + (s_[digits] - '0');
    s_.remove_prefix(digits);
    ok_ &= digits > 0 && n >= low && n <= high;
    return n;
  }
  // [+-]hh[:mm[:ss]]
  int time(int max_hours) {
    const bool negative = take('-');
    if (!negative) take('+');
    int t = number(0, max_hours) * kHour;
    if (take(':')) t += number(0, 59) * 60;
    if (take(':')) t += number(0, 59);
    return negative ? -t : t;
  }

 private:
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

  std::string_view s_;
  bool ok_ = true;
};

ChangeRule read_change(Reader& r) {
  ChangeRule rule;
  r.expect(',');
  if (r.take('M')) {
    rule.month = r.number(1, 12);
    r.expect('.');
    rule.week = r.number(1, 5);
    r.expect('.');
    rule.day = r.number(0, 6);
  } else if (r.take('J')) {
    rule.kind = ChangeRule::Kind::julian_without_leap_day;
    rule.day = r.number(1, 365);
  } else {
    rule.kind = ChangeRule::Kind::day_of_year;
    rule.day = r.number(0, 365);
  }
  if (r.take('/')) rule.time = r.time(167);
  return rule;
}

// Midnight of the rule's day in `year`.
Seconds day_of(const ChangeRule& rule, int year) {
  using namespace std::chrono;
  if (rule.kind == ChangeRule::Kind::day_of_year) return midnight_of(year, 1, 1) + rule.day * kDay;
  if (rule.kind == ChangeRule::Kind::julian_without_leap_day) {
    const bool after_leap_day = rule.day >= 60 && std::chrono::year(year).is_leap();
    return midnight_of(year, 1, 1) + (rule.day - 1 + (after_leap_day ? 1 : 0)) * kDay;
  }
  const auto month_of_year = std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(rule.month));
  const weekday day(static_cast<unsigned>(rule.day));
  const sys_days date = rule.week == 5 ? sys_days(month_of_year / day[last])
                                       : sys_days(month_of_year / day[static_cast<unsigned>(rule.week)]);
  return date.time_since_epoch().count() * kDay;
}

Seconds change_in(const ChangeRule& rule, int year, int offset_before) {
  return day_of(rule, year) + rule.time - offset_before;
}

int year_of(Seconds utc) {
  using namespace std::chrono;
  const year_month_day date(floor<days>(sys_seconds(seconds(utc))));
  return static_cast<int>(date.year());
}

}  // namespace

Seconds midnight_of(int year, unsigned month, unsigned day) noexcept {
  using namespace std::chrono;
  const sys_days date(std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day));
  return date.time_since_epoch().count() * kDay;
}

std::optional<ZoneRules> parse_zone_rules(std::string_view posix_tz) {
  Reader r(posix_tz);
  ZoneRules rules;
  r.name();
  rules.standard = -r.time(24);  // POSIX counts west of Greenwich
  if (!r.at_end()) {
    r.name();
    const bool one_hour_ahead = r.at_end() || r.next_is(',');
    rules.daylight = one_hour_ahead ? rules.standard + kHour : -r.time(24);
    rules.to_daylight = read_change(r);
    rules.to_standard = read_change(r);
  }
  if (!r.ok() || !r.at_end()) return std::nullopt;
  return rules;
}

int offset_by_rules(const ZoneRules& rules, Seconds utc) {
  if (!rules.to_daylight || !rules.to_standard) return rules.standard;
  const int year = year_of(utc + rules.standard);
  const Seconds start = change_in(*rules.to_daylight, year, rules.standard);
  const Seconds end = change_in(*rules.to_standard, year, rules.daylight);
  // South of the equator daylight saving time goes over the turn of the year.
  const bool daylight = start < end ? utc >= start && utc < end : utc >= start || utc < end;
  return daylight ? rules.daylight : rules.standard;
}

}  // namespace weir::schema
