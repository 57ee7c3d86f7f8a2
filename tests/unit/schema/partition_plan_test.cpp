#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schema/month.hpp"

namespace weir::schema {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Month kJanuary{2024, 1};
constexpr std::string_view kTimestamptz = "timestamp with time zone";

config::Table works(unsigned ahead, std::string timezone = "UTC") {
  config::Table t;
  t.name = "works";
  t.key = "user_id";
  t.month.emplace();
  t.month->column = "created_at";
  t.month->ahead = ahead;
  t.month->timezone = std::move(timezone);
  return t;
}

std::vector<std::string> names(const PartitionPlan& plan) {
  std::vector<std::string> out;
  for (const auto& step : plan.steps) out.push_back(step.partition);
  return out;
}

TEST(PartitionPlan, MakesTheCurrentMonthAndThoseAhead) {
  const auto plan = plan_partitions(works(3), "public", kTimestamptz, {}, Month(2023, 11));
  EXPECT_THAT(names(plan), ElementsAre("works_202311", "works_202312", "works_202401", "works_202402"));
  EXPECT_THAT(plan.problems, IsEmpty());
}

TEST(PartitionPlan, LeavesOutMonthsThatExistUnderAnyName) {
  const auto plan =
      plan_partitions(works(2), "public", kTimestamptz,
                      {{"works_202401", "FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00')"},
                       {"feb", "FOR VALUES FROM ('2024-02-01 01:00:00+01') TO ('2024-03-01 01:00:00+01')"}},
                      kJanuary);
  EXPECT_THAT(names(plan), ElementsAre("works_202403"));
  EXPECT_THAT(plan.problems, IsEmpty());
}

TEST(PartitionPlan, CreatesASeparateTableFirstAndAttachesItUnderAShortLockTimeout) {
  const auto plan = plan_partitions(works(0), "app", kTimestamptz, {}, kJanuary);
  ASSERT_EQ(plan.steps.size(), 1U);
  const auto& transactions = plan.steps[0].transactions;
  ASSERT_EQ(transactions.size(), 2U);
  EXPECT_THAT(transactions[0][0], HasSubstr("lock_timeout"));
  EXPECT_EQ(
      transactions[0][1],
      "CREATE TABLE IF NOT EXISTS \"app\".\"works_202401\" (LIKE \"app\".\"works\" INCLUDING ALL EXCLUDING IDENTITY)");
  EXPECT_THAT(transactions[1],
              ElementsAre("SET LOCAL lock_timeout = '200ms'",
                          "ALTER TABLE \"app\".\"works\" ATTACH PARTITION \"app\".\"works_202401\" FOR VALUES FROM "
                          "('2024-01-01 00:00:00+00'::timestamptz) TO ('2024-02-01 00:00:00+00'::timestamptz)",
                          "ALTER TABLE \"app\".\"works_202401\" DROP CONSTRAINT \"weir_month_bounds\""));
}

TEST(PartitionPlan, BoundsAreInstantsOfTheTablesTimeZone) {
  const auto plan = plan_partitions(works(0, "Europe/Berlin"), "public", kTimestamptz, {}, Month(2024, 3));
  ASSERT_EQ(plan.steps.size(), 1U);
  EXPECT_THAT(plan.steps[0].transactions[1][1],
              HasSubstr("('2024-02-29 23:00:00+00'::timestamptz) TO ('2024-03-31 22:00:00+00'::timestamptz)"));
}

TEST(PartitionPlan, DatesAndPlainTimestampsHaveNoZone) {
  const auto dates = plan_partitions(works(0, "Europe/Berlin"), "public", "date", {}, kJanuary);
  ASSERT_EQ(dates.steps.size(), 1U);
  EXPECT_THAT(dates.steps[0].transactions[1][1], HasSubstr("('2024-01-01'::date) TO ('2024-02-01'::date)"));
  const auto timestamps =
      plan_partitions(works(0, "Europe/Berlin"), "public", "timestamp without time zone", {}, kJanuary);
  ASSERT_EQ(timestamps.steps.size(), 1U);
  EXPECT_THAT(timestamps.steps[0].transactions[1][1], HasSubstr("('2024-01-01 00:00:00'::timestamp)"));
}

TEST(PartitionPlan, ADefaultPartitionIsAProblemAndStopsEverything) {
  const auto plan = plan_partitions(works(1), "public", kTimestamptz, {{"works_rest", "DEFAULT"}}, kJanuary);
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.problems, ElementsAre(HasSubstr("works_rest")));
}

TEST(PartitionPlan, OtherBoundsUnderTheMonthsNameAreAProblemOfThatMonthOnly) {
  const auto plan = plan_partitions(
      works(1), "public", kTimestamptz,
      {{"works_202401", "FOR VALUES FROM ('2023-01-01 00:00:00+00') TO ('2023-02-01 00:00:00+00')"}}, kJanuary);
  EXPECT_THAT(plan.problems, ElementsAre(HasSubstr("works_202401")));
  EXPECT_THAT(names(plan), ElementsAre("works_202402"));
}

TEST(PartitionPlan, AnOverlapIsAProblemNamingThePartition) {
  // Berlin's January under a zone of UTC: an hour of December lies in it.
  const auto plan =
      plan_partitions(works(0), "public", kTimestamptz,
                      {{"jan", "FOR VALUES FROM ('2023-12-31 23:00:00+00') TO ('2024-01-31 23:00:00+00')"}}, kJanuary);
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.problems, ElementsAre(testing::AllOf(HasSubstr("jan"), HasSubstr("overlap"))));
}

TEST(PartitionPlan, UnreadableBoundsAreAProblem) {
  const auto plan = plan_partitions(works(0), "public", kTimestamptz, {{"p", "FOR VALUES IN ('x')"}}, kJanuary);
  EXPECT_THAT(plan.steps, IsEmpty());
  EXPECT_THAT(plan.problems, ElementsAre(HasSubstr("FOR VALUES IN")));
}

TEST(PartitionPlan, OtherTypesAndZonesAreProblems) {
  EXPECT_THAT(plan_partitions(works(0), "public", "text", {}, kJanuary).problems, ElementsAre(HasSubstr("text")));
  EXPECT_THAT(plan_partitions(works(0, "Mars/Base"), "public", kTimestamptz, {}, kJanuary).problems,
              ElementsAre(HasSubstr("Mars/Base")));
}

TEST(PartitionPlan, NamesThatPostgresWouldCutAreAProblem) {
  config::Table t = works(0);
  t.name = std::string(57, 'x');
  EXPECT_THAT(plan_partitions(t, "public", kTimestamptz, {}, kJanuary).problems, ElementsAre(HasSubstr("63 bytes")));
  t.name.pop_back();
  EXPECT_THAT(plan_partitions(t, "public", kTimestamptz, {}, kJanuary).problems, IsEmpty());
}

TEST(PartitionPlan, NamesAreQuotedEvenInsideTheDoBlock) {
  config::Table t = works(0);
  t.name = "we'ird\"$weir$";
  const auto plan = plan_partitions(t, "public", kTimestamptz, {}, kJanuary);
  ASSERT_EQ(plan.steps.size(), 1U);
  EXPECT_THAT(plan.steps[0].transactions[0][2],
              testing::AllOf(HasSubstr("DO $weirx$"), HasSubstr("'\"public\".\"we''ird\"\"$weir$\"'")));
}

}  // namespace
}  // namespace weir::schema
