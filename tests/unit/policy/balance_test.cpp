#include "policy/balance.hpp"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

namespace weir::policy {
namespace {

using config::Balance;

constexpr std::array kAll{Balance::least_connections, Balance::round_robin, Balance::random};

std::map<std::size_t, int> draw(Balance how, const std::vector<Candidate>& candidates, std::uint64_t turns) {
  std::map<std::size_t, int> chosen;
  for (std::uint64_t turn = 0; turn < turns; ++turn) {
    if (const auto i = choose(how, candidates, turn)) ++chosen[*i];
  }
  return chosen;
}

TEST(Balance, NobodyIsChosenWhenNobodyIsUsable) {
  const std::vector<Candidate> candidates{{false, 1, 0}, {true, 0, 0}};
  for (Balance how : kAll) {
    EXPECT_FALSE(choose(how, candidates, 7));
    EXPECT_FALSE(choose(how, {}, 7));
  }
}

TEST(Balance, UnusableOnesAndWeightZeroAreNeverChosen) {
  const std::vector<Candidate> candidates{{false, 9, 0}, {true, 1, 50}, {true, 0, 0}};
  for (Balance how : kAll) {
    const auto chosen = draw(how, candidates, 200);
    EXPECT_EQ(chosen, (std::map<std::size_t, int>{{1, 200}}));
  }
}

TEST(Balance, LeastConnectionsTakesTheLeastLoaded) {
  const std::vector<Candidate> candidates{{true, 1, 3}, {true, 1, 2}, {true, 1, 4}};
  for (std::uint64_t turn = 0; turn < 10; ++turn) EXPECT_EQ(choose(Balance::least_connections, candidates, turn), 1U);
}

TEST(Balance, LeastConnectionsCountsByWeight) {
  // 3/4 < 1/1
  const std::vector<Candidate> candidates{{true, 1, 1}, {true, 4, 3}};
  for (std::uint64_t turn = 0; turn < 10; ++turn) EXPECT_EQ(choose(Balance::least_connections, candidates, turn), 1U);
}

TEST(Balance, LeastConnectionsSharesIdleBackendsEvenly) {
  const std::vector<Candidate> candidates{{true, 1, 0}, {true, 1, 0}, {true, 1, 0}};
  EXPECT_EQ(draw(Balance::least_connections, candidates, 300),
            (std::map<std::size_t, int>{{0, 100}, {1, 100}, {2, 100}}));
}

TEST(Balance, LeastConnectionsComparesHugeLoadsWithoutOverflow) {
  const std::vector<Candidate> candidates{{true, 4'000'000'000U, 4'000'000'000U},
                                          {true, 4'000'000'000U, 3'999'999'999U}};
  EXPECT_EQ(choose(Balance::least_connections, candidates, 0), 1U);
}

TEST(Balance, RoundRobinFollowsTheWeights) {
  const std::vector<Candidate> candidates{{true, 1, 9}, {true, 3, 0}, {false, 5, 0}};
  EXPECT_EQ(draw(Balance::round_robin, candidates, 400), (std::map<std::size_t, int>{{0, 100}, {1, 300}}));
}

TEST(Balance, RandomFollowsTheWeightsRoughlyAndIsNotInStep) {
  const std::vector<Candidate> candidates{{true, 1, 0}, {true, 3, 0}};
  auto chosen = draw(Balance::random, candidates, 40'000);
  EXPECT_NEAR(chosen[0], 10'000, 500);
  EXPECT_NEAR(chosen[1], 30'000, 500);
  std::size_t same_as_round_robin = 0;
  for (std::uint64_t t = 0; t < 1000; ++t) {
    same_as_round_robin += choose(Balance::random, candidates, t) == choose(Balance::round_robin, candidates, t);
  }
  EXPECT_LT(same_as_round_robin, 900U);
}

}  // namespace
}  // namespace weir::policy
