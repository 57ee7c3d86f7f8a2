#include "proxy/route_counts.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

RefusalsByReason refusals_of(const RouteCounts& counts) {
  RefusalsByReason sums;
  counts.add_refusals_to(sums);
  return sums;
}

TEST(RouteCounts, StatementsOfOneShardAreCountedShardByShard) {
  RouteCounts counts;
  counts.count(RouteKind::single, 1);
  counts.count(RouteKind::single, 1);
  counts.count(RouteKind::home, 0);
  counts.count(RouteKind::single, RouteCounts::kShards + 7);
  EXPECT_EQ(counts.single(0), 0U);
  EXPECT_EQ(counts.single(1), 2U);
  EXPECT_EQ(counts.single(RouteCounts::kShards - 1), 1U);
  EXPECT_EQ(counts.get(RouteKind::home), 1U);
}

TEST(RouteCounts, OneReasonKeepsItsHintAndItsFirstTextWithoutLiterals) {
  RouteCounts counts;
  counts.count_refused("no key", "bind it", "SELECT 'secret'");
  counts.count_refused("no key", "bind it", "SELECT 'other', 1");
  const auto found = refusals_of(counts);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.at("no key").statements, 2U);
  EXPECT_EQ(found.at("no key").hint, "bind it");
  EXPECT_EQ(found.at("no key").example, "SELECT ?");
  EXPECT_EQ(counts.get(RouteKind::refused), 2U);
}

TEST(RouteCounts, ReasonsAreBounded) {
  RouteCounts counts;
  for (int i = 0; i < 1000; ++i) counts.count_refused("reason " + std::to_string(i), "hint", "SELECT 1");
  const auto found = refusals_of(counts);
  EXPECT_EQ(found.size(), RouteCounts::kReasons + 1);
  const Refusals& others = found.find(RouteCounts::kOtherReasons)->second;
  EXPECT_EQ(others.statements, 1000 - RouteCounts::kReasons);
  EXPECT_EQ(others.example, "");
}

TEST(RouteCounts, WorkersAddUp) {
  RouteCounts a, b;
  a.count_refused("no key", "bind it", "SELECT 1");
  b.count_refused("no key", "bind it", "SELECT 2");
  b.count_refused("other", "", "");
  RefusalsByReason sums = refusals_of(a);
  b.add_refusals_to(sums);
  EXPECT_EQ(sums.at("no key").statements, 2U);
  EXPECT_EQ(sums.at("other").statements, 1U);
}

TEST(RouteKind, IsThatOfThePlanAndOfTheShardsItsKeysLieOn) {
  router::Plan plan;
  plan.target = router::Target::keyed;
  EXPECT_EQ(kind_of(plan, {}), RouteKind::single);
  router::Route several;
  several.shards = {0, 1};
  EXPECT_EQ(kind_of(plan, several), RouteKind::scatter);
  plan.target = router::Target::any;
  EXPECT_EQ(kind_of(plan, {}), RouteKind::reference);
  plan.target = router::Target::transaction;
  EXPECT_EQ(kind_of(plan, {}), RouteKind::session);
}

}  // namespace
}  // namespace weir::proxy
