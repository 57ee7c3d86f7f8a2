#include "schema/month.hpp"

#include <gtest/gtest.h>

#include "schema/partition_bounds.hpp"
#include "schema/time_zone.hpp"

namespace weir::schema {
namespace {

std::chrono::system_clock::time_point at(Seconds utc) {
  return std::chrono::system_clock::time_point(std::chrono::seconds(utc));
}

std::string month_at(Seconds utc, const std::string& zone) {
  const auto m = Month::of(at(utc), zone);
  return m ? m->suffix() : m.error().message;
}

TEST(Month, CountsOverTheTurnOfTheYear) {
  EXPECT_EQ(Month(2024, 12).plus(1), Month(2025, 1));
  EXPECT_EQ(Month(2024, 1).plus(-1), Month(2023, 12));
  EXPECT_EQ(Month(2024, 3).plus(-27), Month(2021, 12));
  EXPECT_LT(Month(2023, 12), Month(2024, 1));
  EXPECT_EQ(Month(2024, 2).year(), 2024);
  EXPECT_EQ(Month(2024, 12).month(), 12U);
  EXPECT_EQ(Month(-1, 12).year(), -1);
  EXPECT_EQ(Month(-1, 12).month(), 12U);
}

TEST(Month, IsWrittenAsInPartitionNames) {
  EXPECT_EQ(Month(2024, 1).suffix(), "202401");
  EXPECT_EQ(Month(987, 11).suffix(), "098711");
  EXPECT_EQ(Month(2024, 1).first_day(), "2024-01-01");
  EXPECT_EQ(partition_name("works", Month(2024, 1)), "works_202401");
  EXPECT_EQ(Month::of(std::chrono::year(2024) / 2 / 29), Month(2024, 2));
}

TEST(Month, IsReadBackFromPartitionNamesOnly) {
  EXPECT_EQ(month_of_partition("works", "works_202401"), Month(2024, 1));
  EXPECT_EQ(month_of_partition("works", "works_202412"), Month(2024, 12));
  for (const char* name :
       {"works", "works_", "works_2024", "works_202400", "works_202413", "works_2024011", "works_20240a",
        "workz_202401", "works-202401", "works_-20241", "works_000001", "xworks_202401"}) {
    EXPECT_FALSE(month_of_partition("works", name)) << name;
  }
}

TEST(Month, OfAnInstantDependsOnTheTimeZone) {
  const Seconds new_year = 1704067200;  // 2024-01-01 00:00:00 UTC
  EXPECT_EQ(month_at(new_year - 1, "UTC"), "202312");
  EXPECT_EQ(month_at(new_year, "UTC"), "202401");
  EXPECT_EQ(month_at(new_year - 3600, "Europe/Berlin"), "202401");
  EXPECT_EQ(month_at(new_year - 3601, "Europe/Berlin"), "202312");
  EXPECT_EQ(month_at(new_year, "America/New_York"), "202312");
  EXPECT_EQ(month_at(new_year + 5 * 3600, "America/New_York"), "202401");
  EXPECT_EQ(month_at(-1, "UTC"), "196912");
}

TEST(Month, OfAnInstantUsesTheRulesBeyondTheListedTransitions) {
  const Seconds august_2090 = midnight_of(2090, 8, 1);
  EXPECT_EQ(month_at(august_2090 - 7200, "Europe/Berlin"), "209008") << "daylight saving time, two hours ahead";
  EXPECT_EQ(month_at(august_2090 - 7201, "Europe/Berlin"), "209007");
}

TEST(Month, FailsForUnknownTimeZonesNamingThem) {
  for (const char* zone : {"Mars/Base", "", "../../../etc/passwd", "/etc/passwd", "Europe", "Europe/../UTC", "utc;"}) {
    const auto m = Month::of(at(0), zone);
    ASSERT_FALSE(m) << zone;
    EXPECT_NE(m.error().message.find(zone), std::string::npos);
    EXPECT_EQ(m.error().code, sqlstate::kInvalidParameter);
  }
}

TEST(ZoneRules, ReadEveryFormOfChange) {
  const auto berlin = parse_zone_rules("CET-1CEST,M3.5.0,M10.5.0/3");
  ASSERT_TRUE(berlin);
  EXPECT_EQ(offset_by_rules(*berlin, midnight_of(2024, 3, 31) + 3599), 3600);
  EXPECT_EQ(offset_by_rules(*berlin, midnight_of(2024, 3, 31) + 3600), 7200);
  EXPECT_EQ(offset_by_rules(*berlin, midnight_of(2024, 10, 27) + 3599), 7200);
  EXPECT_EQ(offset_by_rules(*berlin, midnight_of(2024, 10, 27) + 3600), 3600);
  const auto south = parse_zone_rules("AEST-10AEDT,M10.1.0,M4.1.0/3");
  ASSERT_TRUE(south);
  EXPECT_EQ(offset_by_rules(*south, midnight_of(2024, 1, 1)), 11 * 3600);
  EXPECT_EQ(offset_by_rules(*south, midnight_of(2024, 7, 1)), 10 * 3600);
  const auto tehran = parse_zone_rules("<+0330>-3:30");
  ASSERT_TRUE(tehran);
  EXPECT_EQ(offset_by_rules(*tehran, 0), 12600);
  const auto julian = parse_zone_rules("XST5XDT4:30,J60/0,300/-1:30");
  ASSERT_TRUE(julian);
  EXPECT_EQ(julian->daylight, -16200);
  EXPECT_EQ(offset_by_rules(*julian, midnight_of(2024, 3, 1) + 5 * 3600), -16200)
      << "J60 is March 1st in leap years, too";
  EXPECT_EQ(offset_by_rules(*julian, midnight_of(2024, 3, 1) + 5 * 3600 - 1), -18000);
}

TEST(ZoneRules, RefuseWhatIsMalformed) {
  for (const char* text : {"", "C", "CET", "CET-", "CET-1CEST,", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0",
                           "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0/3x",
                           "<+03-3", "CET-25", "CET-1CEST,J0,J1", "CET-1CEST,366,1"}) {
    EXPECT_FALSE(parse_zone_rules(text)) << text;
  }
}

TEST(TimeZone, RefusesFilesThatAreCutOrForeign) {
  EXPECT_FALSE(TimeZone::parse(""));
  EXPECT_FALSE(TimeZone::parse("TZif"));
  EXPECT_FALSE(TimeZone::parse(std::string(200, 'x')));
  std::string huge = "TZif2";
  huge.resize(44, '\xff');
  EXPECT_FALSE(TimeZone::parse(huge + std::string(100, '\0')));
}

TEST(PartitionBounds, AreReadInWhateverZoneTheyWerePrinted) {
  const Range january{midnight_of(2024, 1, 1), midnight_of(2024, 2, 1)};
  EXPECT_EQ(parse_bounds("FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00')"), january);
  EXPECT_EQ(parse_bounds("FOR VALUES FROM ('2024-01-01 05:30:00+05:30') TO ('2024-01-31 19:00:00-05')"), january);
  EXPECT_EQ(parse_bounds("FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')"), january);
  EXPECT_EQ(parse_bounds("FOR VALUES FROM ('2024-01-01 00:00:00') TO ('2024-02-01 00:00:00')"), january);
  EXPECT_NE(parse_bounds("FOR VALUES FROM ('2024-01-01 00:00:00+01') TO ('2024-02-01 00:00:00+00')"), january);
  const auto open = parse_bounds("FOR VALUES FROM (MINVALUE) TO ('infinity')");
  ASSERT_TRUE(open);
  EXPECT_TRUE(open->overlaps(january));
  EXPECT_FALSE(january.overlaps({january.to, january.to + 1}));
  EXPECT_FALSE(january.overlaps({january.from - 1, january.from}));
}

TEST(PartitionBounds, OfOtherFormsAreNotRead) {
  for (const char* text :
       {"", "DEFAULT", "FOR VALUES IN ('2024-01-01')", "FOR VALUES FROM ('2024-01-01', 1) TO ('2024-02-01', 1)",
        "FOR VALUES FROM (1) TO (2)", "FOR VALUES FROM ('2024-01-01 00:00:00.5+00') TO ('2024-02-01 00:00:00+00')",
        "FOR VALUES FROM ('0044-03-15 BC') TO ('2024-02-01')", "FOR VALUES FROM ('01/01/2024') TO ('02/01/2024')",
        "FOR VALUES WITH (modulus 4, remainder 0)", "FOR VALUES FROM ('2024-01-01') TO ('2024-02-01') x"}) {
    EXPECT_FALSE(parse_bounds(text)) << text;
  }
}

TEST(PartitionBounds, AreWrittenByTheColumnsType) {
  const Seconds begin = midnight_of(2024, 1, 1);
  EXPECT_EQ(bound_text(begin - 3600, MonthColumn::timestamptz), "2023-12-31 23:00:00+00");
  EXPECT_EQ(bound_text(begin, MonthColumn::timestamp), "2024-01-01 00:00:00");
  EXPECT_EQ(bound_text(begin, MonthColumn::date), "2024-01-01");
  EXPECT_EQ(month_column_of("timestamp(3) with time zone"), MonthColumn::timestamptz);
  EXPECT_EQ(month_column_of("timestamp without time zone"), MonthColumn::timestamp);
  EXPECT_FALSE(month_column_of("text"));
  EXPECT_FALSE(month_column_of("time with time zone"));
}

}  // namespace
}  // namespace weir::schema
