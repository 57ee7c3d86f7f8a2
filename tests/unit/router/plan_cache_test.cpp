#include "router/plan_cache.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weir::router {
namespace {

PlanRef plan_named(const std::string& name) {
  Plan plan;
  plan.setting = name;
  return std::make_shared<const Plan>(std::move(plan));
}

std::string found(PlanCache& cache, std::uint64_t hash, std::string_view key) {
  const PlanRef plan = cache.find(hash, as_bytes(key));
  return plan ? plan->setting : "none";
}

TEST(PlanCache, FindsWhatWasInserted) {
  PlanCache cache(1 << 20);
  EXPECT_EQ(found(cache, 1, "a"), "none");
  cache.insert(1, as_bytes("a"), plan_named("plan a"));
  EXPECT_EQ(found(cache, 1, "a"), "plan a");
  EXPECT_EQ(cache.counters().hits, 1u);
  EXPECT_EQ(cache.counters().misses, 1u);
  EXPECT_EQ(cache.counters().entries, 1u);
}

TEST(PlanCache, TheWholeKeyDecidesNotTheHash) {
  PlanCache cache(1 << 20);
  cache.insert(7, as_bytes("a"), plan_named("plan a"));
  cache.insert(7, as_bytes("b"), plan_named("plan b"));
  cache.insert(7, as_bytes(""), plan_named("plan of nothing"));
  EXPECT_EQ(found(cache, 7, "a"), "plan a");
  EXPECT_EQ(found(cache, 7, "b"), "plan b");
  EXPECT_EQ(found(cache, 7, ""), "plan of nothing");
  EXPECT_EQ(found(cache, 7, "c"), "none");
  EXPECT_EQ(found(cache, 7, "ab"), "none");
}

TEST(PlanCache, StaysWithinItsBytes) {
  PlanCache cache(64 << 10);
  for (int i = 0; i < 5000; ++i) {
    const std::string key = "statement number " + std::to_string(i);
    cache.insert(static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15u, as_bytes(key), plan_named(key));
    ASSERT_LE(cache.counters().bytes, 64u << 10);
    ASSERT_EQ(found(cache, static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15u, key), key);
  }
  EXPECT_GT(cache.counters().entries, 20u);
  EXPECT_EQ(cache.counters().evictions + cache.counters().entries, 5000u);
}

TEST(PlanCache, KeepsWhatIsUsed) {
  PlanCache cache(64 << 10);
  cache.insert(1, as_bytes("hot"), plan_named("hot"));
  for (std::uint64_t i = 2; i < 5000; ++i) {
    const std::string key = std::to_string(i);
    cache.insert(i, as_bytes(key), plan_named("cold"));
    ASSERT_EQ(found(cache, 1, "hot"), "hot") << i;
  }
  EXPECT_EQ(found(cache, 2, "2"), "none");
}

TEST(PlanCache, DoesNotKeepWhatIsTooLarge) {
  PlanCache cache(16 << 10);
  cache.insert(1, as_bytes(std::string(4096, 'a')), plan_named("long"));
  EXPECT_EQ(cache.counters().entries, 0u);
  Plan plan;
  plan.bindings.resize(1);
  plan.bindings[0].values.resize(1000);
  cache.insert(1, as_bytes("a"), std::make_shared<const Plan>(plan));
  EXPECT_EQ(cache.counters().entries, 0u);
  PlanCache none(0);
  none.insert(1, as_bytes("a"), plan_named("a"));
  EXPECT_EQ(none.counters().entries, 0u);
}

TEST(PlanCache, APlanOutlivesItsEviction) {
  PlanCache cache(64 << 10);
  cache.insert(1, as_bytes("a"), plan_named("plan a"));
  const PlanRef held = cache.find(1, as_bytes("a"));
  cache.clear();
  EXPECT_EQ(found(cache, 1, "a"), "none");
  EXPECT_EQ(cache.counters().bytes, 0u);
  EXPECT_EQ(held->setting, "plan a");
  cache.insert(1, as_bytes("a"), plan_named("plan b"));
  EXPECT_EQ(found(cache, 1, "a"), "plan b");
}

TEST(PlanCache, EntriesSurviveTheGrowthOfTheTable) {
  PlanCache cache(64 << 20);
  for (std::uint64_t i = 0; i < 3000; ++i) {
    const std::string key = std::to_string(i);
    cache.insert(i * 977, as_bytes(key), plan_named(key));
  }
  for (std::uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(found(cache, i * 977, std::to_string(i)), std::to_string(i));
  EXPECT_EQ(cache.counters().evictions, 0u);
}

TEST(PlanCache, CountsAPlansMemory) {
  Plan small, large;
  large.why.assign(10, std::string(100, 'x'));
  large.tables = {std::string(100, 't')};
  large.bindings.push_back({std::string(100, 't'), {KeySource{}}, false});
  EXPECT_GE(size_of(large), size_of(small) + 12 * 100);
}

}  // namespace
}  // namespace weir::router
