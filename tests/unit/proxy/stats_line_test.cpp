#include "proxy/stats_line.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

TEST(StatsLine, TellsRatesASecondAndAveragesOfTheInterval) {
  DatabaseTotals before, now;
  before.transactions = 100;
  before.transaction_us = 5;
  now.transactions = 160;
  now.transaction_us = 6005;
  now.queries = 120;
  now.query_us = 600;
  now.received = 6000;
  now.sent = 60000;
  now.assignments = 3;
  now.wait_us = 30;
  EXPECT_EQ(stats_line(before, now, 60s),
            "stats: 1 xacts/s, 2 queries/s, in 100 B/s, out 1000 B/s, xact 100 us, query 5 us, wait 10 us");
}

TEST(StatsLine, NothingHappenedIsNoDivisionByZero) {
  EXPECT_EQ(stats_line({}, {}, 0s), "stats: 0 xacts/s, 0 queries/s, in 0 B/s, out 0 B/s, xact 0 us, query 0 us, wait 0 us");
}

}  // namespace
}  // namespace weir::proxy
