// An audit in words, and in JSON.
#include <toml++/toml.h>

#include <algorithm>
#include <iomanip>
#include <iterator>
#include <optional>
#include <sstream>

#include "base/strings.hpp"
#include "migrate/audit.hpp"

namespace weir::migrate {

namespace {

constexpr std::size_t kShownText = 160;

struct Sum {
  std::size_t texts = 0;
  std::int64_t calls = 0;
  double ms = 0;
};

Sum sum_of(const AuditReport& report, std::optional<StatementClass> kind) {
  Sum sum;
  for (const StatementUse& s : report.statements) {
    if (kind && s.verdict.kind != *kind) continue;
    ++sum.texts;
    sum.calls += s.calls;
    sum.ms += s.ms;
  }
  return sum;
}

// One digit behind the point.
std::string decimal(double value) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1) << value;
  return out.str();
}

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

std::string size_text(std::int64_t bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  return concat(unit == 0 ? std::to_string(bytes) : decimal(value), " ", units[unit]);
}

std::string shortened(const std::string& text) { return text.size() <= kShownText ? text : text.substr(0, kShownText) + "..."; }

void print_row(std::ostream& out, std::string_view route, const std::string& texts, const std::string& calls, const std::string& calls_share,
               const std::string& ms, const std::string& ms_share) {
  out << std::left << std::setw(14) << route << std::right << std::setw(8) << texts << std::setw(14) << calls << std::setw(8) << calls_share
      << std::setw(16) << ms << std::setw(8) << ms_share << "\n";
}

void print_classes(const AuditReport& report, std::ostream& out) {
  const Sum all = sum_of(report, std::nullopt);
  print_row(out, "route", "texts", "calls", "", "ms", "");
  for (std::size_t i = 0; i < kClassNames.size(); ++i) {
    const Sum sum = sum_of(report, static_cast<StatementClass>(i));
    if (sum.texts == 0) continue;
    print_row(out, kClassNames[i], std::to_string(sum.texts), std::to_string(sum.calls),
              decimal(percent(static_cast<double>(sum.calls), static_cast<double>(all.calls))) + "%", decimal(sum.ms),
              decimal(percent(sum.ms, all.ms)) + "%");
  }
}

void print_class(const AuditReport& report, StatementClass kind, std::string_view title, std::size_t top, std::ostream& out) {
  const Sum all = sum_of(report, std::nullopt), sum = sum_of(report, kind);
  if (sum.texts == 0 || top == 0) return;
  out << "\n" << title << "\n";
  std::size_t shown = 0;
  for (const StatementUse& s : report.statements) {
    if (s.verdict.kind != kind || shown == top) continue;
    ++shown;
    out << std::setw(6) << decimal(percent(s.ms, all.ms)) << "% of time, " << s.calls << " calls: " << shortened(s.text) << "\n";
    out << "        " << s.verdict.reason << "\n";
    if (!s.verdict.remedy.empty()) out << "        -> " << s.verdict.remedy << "\n";
  }
  if (sum.texts > shown) out << "        and " << sum.texts - shown << " more (--top)\n";
}

void print_statements(const AuditReport& report, std::size_t top, std::ostream& out) {
  if (!report.no_statements.empty()) {
    out << "\nno statements were looked at: " << report.no_statements << "\n";
    return;
  }
  out << "\nstatements" << (report.since.empty() ? "" : " since " + report.since) << ", by where they would go\n";
  print_classes(report, out);
  print_class(report, StatementClass::refused, "refused (SQLSTATE 0A000)", top, out);
  print_class(report, StatementClass::by_values, "several keys in one statement", top, out);
  print_class(report, StatementClass::scatter, "every shard", top, out);
  print_class(report, StatementClass::home, "home shard only", top, out);
  print_class(report, StatementClass::unknown, "not known", top, out);
}

void print_tables(const AuditReport& report, std::ostream& out) {
  if (report.unlisted.empty()) return;
  out << "\ntables without a rule (they live on the home shard)\n";
  for (const UnlistedTable& t : report.unlisted)
    out << "  " << t.name << ", " << size_text(t.bytes) << ", " << t.rows << " rows: " << t.remedy << "\n";
}

toml::table json_of(const StatementUse& s) {
  return toml::table{{"class", std::string(kClassNames[static_cast<std::size_t>(s.verdict.kind)])},
                     {"text", s.text},
                     {"role", s.role},
                     {"calls", s.calls},
                     {"ms", s.ms},
                     {"reason", s.verdict.reason},
                     {"remedy", s.verdict.remedy}};
}

toml::table classes_json(const AuditReport& report) {
  toml::table classes;
  const Sum all = sum_of(report, std::nullopt);
  for (std::size_t i = 0; i < kClassNames.size(); ++i) {
    const Sum sum = sum_of(report, static_cast<StatementClass>(i));
    classes.insert(kClassNames[i], toml::table{{"texts", static_cast<std::int64_t>(sum.texts)},
                                               {"calls", sum.calls},
                                               {"calls_percent", percent(static_cast<double>(sum.calls), static_cast<double>(all.calls))},
                                               {"ms", sum.ms},
                                               {"ms_percent", percent(sum.ms, all.ms)}});
  }
  return classes;
}

}  // namespace

bool AuditReport::needs_work() const {
  return !schema.empty() || std::any_of(statements.begin(), statements.end(), [](const StatementUse& s) { return s.verdict.kind == StatementClass::refused; });
}

void print_text(const AuditReport& report, std::size_t top, std::ostream& out) {
  out << "database " << report.database << " at " << report.server << ", PostgreSQL " << report.version << ": " << report.buckets << " buckets on "
      << report.shards << " shards, " << report.listed << " tables listed\n";
  print_statements(report, top, out);
  if (!report.schema.empty()) out << "\nschema\n";
  for (const std::string& sentence : report.schema) out << "  " << sentence << "\n";
  print_tables(report, out);
  out << "\n" << (report.needs_work() ? "something would be refused or wrong as it is: see above" : "nothing would be refused") << "\n";
}

void print_json(const AuditReport& report, std::ostream& out) {
  toml::array statements, schema, unlisted;
  for (const StatementUse& s : report.statements) statements.push_back(json_of(s));
  for (const std::string& sentence : report.schema) schema.push_back(sentence);
  for (const UnlistedTable& t : report.unlisted)
    unlisted.push_back(toml::table{{"table", t.name}, {"bytes", t.bytes}, {"rows", t.rows}, {"guess", t.guess}, {"remedy", t.remedy}});
  const toml::table all{{"database", report.database},
                        {"server", report.server},
                        {"version", report.version},
                        {"buckets", static_cast<std::int64_t>(report.buckets)},
                        {"shards", static_cast<std::int64_t>(report.shards)},
                        {"listed", static_cast<std::int64_t>(report.listed)},
                        {"no_statements", report.no_statements},
                        {"since", report.since},
                        {"classes", classes_json(report)},
                        {"statements", std::move(statements)},
                        {"schema", std::move(schema)},
                        {"unlisted", std::move(unlisted)},
                        {"needs_work", report.needs_work()}};
  out << toml::json_formatter{all} << "\n";
}

}  // namespace weir::migrate
