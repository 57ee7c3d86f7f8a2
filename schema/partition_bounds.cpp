#include "schema/partition_bounds.hpp"

#include <chrono>
#include <limits>

#include "base/strings.hpp"

namespace weir::schema {
namespace {

constexpr Seconds kMin = std::numeric_limits<Seconds>::min();
constexpr Seconds kMax = std::numeric_limits<Seconds>::max();

// Takes pieces of a bound off the front.
class Reader {
 public:
  explicit Reader(std::string_view s) : s_(s) {}

  bool take(std::string_view word) {
    if (!s_.starts_with(word)) return false;
    s_.remove_prefix(word.size());
    return true;
  }
  [[nodiscard]] bool at_end() const { return s_.empty(); }
  std::optional<int> number(std::size_t min_digits, std::size_t max_digits) {
    int n = 0;
    std::size_t digits = 0;
    for (; digits < s_.size() && digits < max_digits && s_[digits] >= '0' && s_[digits] <= '9'; ++digits)
      n = n * 10 + (s_[digits] - '0');
    if (digits < min_digits) return std::nullopt;
    s_.remove_prefix(digits);
    return n;
  }

 private:
  std::string_view s_;
};

// yyyy-mm-dd
std::optional<Seconds> read_date(Reader& r) {
  const auto year = r.number(4, 6);
  if (!year || !r.take("-")) return std::nullopt;
  const auto month = r.number(2, 2);
  if (!month || !r.take("-")) return std::nullopt;
  const auto day = r.number(2, 2);
  if (!day || *month < 1 || *month > 12 || *day < 1 || *day > 31) return std::nullopt;
  return midnight_of(*year, static_cast<unsigned>(*month), static_cast<unsigned>(*day));
}

// hh:mm:ss
std::optional<Seconds> read_time(Reader& r) {
  const auto hours = r.number(2, 2);
  if (!hours || !r.take(":")) return std::nullopt;
  const auto minutes = r.number(2, 2);
  if (!minutes || !r.take(":")) return std::nullopt;
  const auto seconds = r.number(2, 2);
  if (!seconds) return std::nullopt;
  return *hours * 3600 + *minutes * 60 + *seconds;
}

// +hh[:mm[:ss]] or nothing
std::optional<Seconds> read_offset(Reader& r) {
  const bool east = r.take("+");
  if (!east && !r.take("-")) return 0;
  Seconds offset = 0;
  int unit = 3600;
  do {
    const auto part = r.number(2, 2);
    if (!part) return std::nullopt;
    offset += *part * unit;
    unit /= 60;
  } while (unit > 0 && r.take(":"));
  return east ? offset : -offset;
}

std::optional<Seconds> read_instant(Reader& r) {
  const auto date = read_date(r);
  if (!date) return std::nullopt;
  if (!r.take(" ")) return date;
  const auto time = read_time(r);
  if (!time) return std::nullopt;
  const auto offset = read_offset(r);
  if (!offset) return std::nullopt;
  return *date + *time - *offset;
}

// A parenthesised bound. Fractions of a second fit no month and make it unreadable, as do dates before Christ.
std::optional<Seconds> read_bound(Reader& r) {
  if (!r.take("(")) return std::nullopt;
  std::optional<Seconds> at;
  if (r.take("MINVALUE") || r.take("'-infinity'")) {
    at = kMin;
  } else if (r.take("MAXVALUE") || r.take("'infinity'")) {
    at = kMax;
  } else {
    if (!r.take("'")) return std::nullopt;
    at = read_instant(r);
    if (!r.take("'")) return std::nullopt;
  }
  return r.take(")") ? at : std::nullopt;
}

std::string two(unsigned n) { return n < 10 ? concat("0", std::to_string(n)) : std::to_string(n); }

}  // namespace

std::optional<MonthColumn> month_column_of(std::string_view type_name) {
  if (type_name == "date") return MonthColumn::date;
  if (!type_name.starts_with("timestamp")) return std::nullopt;
  if (type_name.ends_with(" with time zone") || type_name == "timestamptz") return MonthColumn::timestamptz;
  if (type_name.ends_with(" without time zone") || type_name == "timestamp") return MonthColumn::timestamp;
  return std::nullopt;
}

std::string_view type_sql(MonthColumn column) noexcept {
  switch (column) {
    case MonthColumn::date:
      return "date";
    case MonthColumn::timestamp:
      return "timestamp";
    case MonthColumn::timestamptz:
      return "timestamptz";
  }
  return "";
}

std::optional<Range> parse_bounds(std::string_view text) {
  Reader r(text);
  if (!r.take("FOR VALUES FROM ")) return std::nullopt;
  const auto from = read_bound(r);
  if (!from || !r.take(" TO ")) return std::nullopt;
  const auto to = read_bound(r);
  if (!to || !r.at_end()) return std::nullopt;
  return Range{*from, *to};
}

std::string bound_text(Seconds at, MonthColumn column) {
  using namespace std::chrono;
  const sys_seconds instant{seconds(at)};
  const sys_days day = floor<days>(instant);
  const year_month_day date(day);
  const std::string year = std::to_string(static_cast<int>(date.year()));
  std::string out = concat(std::string(year.size() < 4 ? 4 - year.size() : 0, '0'), year, "-",
                           two(static_cast<unsigned>(date.month())), "-", two(static_cast<unsigned>(date.day())));
  if (column == MonthColumn::date) return out;
  const hh_mm_ss time(instant - day);
  out += concat(" ", two(static_cast<unsigned>(time.hours().count())), ":",
                two(static_cast<unsigned>(time.minutes().count())), ":",
                two(static_cast<unsigned>(time.seconds().count())));
  return column == MonthColumn::timestamptz ? out + "+00" : out;
}

}  // namespace weir::schema
