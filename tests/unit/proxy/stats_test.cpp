#include "proxy/stats.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

std::size_t class_index(std::string_view name) {
  for (std::size_t i = 0; i < ErrorCounters::kClasses.size(); ++i)
    if (ErrorCounters::kClasses[i] == name) return i;
  return ErrorCounters::kClasses.size();
}

TEST(ErrorCounters, CountsByTheFirstTwoCharacters) {
  ErrorCounters errors;
  errors.add("23505");
  errors.add("23503");
  errors.add("42P01");
  EXPECT_EQ(errors.get(class_index("23")), 2U);
  EXPECT_EQ(errors.get(class_index("42")), 1U);
  EXPECT_EQ(errors.total(), 3U);
}

TEST(ErrorCounters, WhatNobodyKnowsIsOther) {
  ErrorCounters errors;
  errors.add("ZZ999");
  errors.add("");
  errors.add("2");
  EXPECT_EQ(errors.get(class_index("other")), 3U);
}

TEST(StatsRegistry, AWorkerThatAsksAgainGetsItsCellsBack) {
  StatsRegistry stats;
  Traffic& first = stats.backend(0, {"app", "s0", "h:1", policy::Role::primary});
  EXPECT_EQ(&first, &stats.backend(0, {"app", "s0", "h:1", policy::Role::primary}));
  EXPECT_NE(&first, &stats.backend(1, {"app", "s0", "h:1", policy::Role::primary}));
  EXPECT_NE(&first, &stats.backend(0, {"app", "s0", "h:1", policy::Role::replica}));
}

TEST(StatsRegistry, TotalsOfADatabaseAreSumsOverWorkersAndBackends) {
  StatsRegistry stats;
  stats.database(0, "app").logins.add(2);
  stats.database(1, "app").logins.add(3);
  stats.database(0, "app").local_queries.add();
  stats.database(0, "app").errors.add("0A000");
  stats.database(0, "other").logins.add(7);
  Traffic& primary = stats.backend(0, {"app", "s0", "h:1", policy::Role::primary});
  Traffic& replica = stats.backend(1, {"app", "s0", "h:2", policy::Role::replica});
  primary.assignments.add();
  primary.queries.observe(10us);
  primary.queries.observe(20us);
  primary.transactions.observe(50us);
  primary.waits.observe(3us);
  replica.assignments.add(4);
  replica.queries.observe(1us);
  replica.errors.add("42601");
  const DatabaseTotals t = stats.totals().at("app");
  EXPECT_EQ(t.logins, 5U);
  EXPECT_EQ(t.queries, 4U);
  EXPECT_EQ(t.query_us, 31U);
  EXPECT_EQ(t.transactions, 1U);
  EXPECT_EQ(t.transaction_us, 50U);
  EXPECT_EQ(t.wait_us, 3U);
  EXPECT_EQ(t.errors, 2U);
  EXPECT_EQ(t.assignments, 5U);
}

}  // namespace
}  // namespace weir::proxy
