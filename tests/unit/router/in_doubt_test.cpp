#include "router/in_doubt.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::router {
namespace {

using Action = InDoubtVerdict::Action;
using namespace std::chrono_literals;

constexpr const char* kCluster = "9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11";
constexpr const char* kGid = "weir:1:9c3f52a06d8f4a529e0c0f3d5a4f7b11:s0:3e8-0000000000002a:s1";

InDoubtRules rules(Duration in_doubt_after = 10s) { return {kCluster, {"s0", "s1"}, in_doubt_after}; }
Action action(Duration age, Duration in_doubt_after = 10s) { return judge({kGid, "s1", age}, rules(in_doubt_after)).action; }

TEST(InDoubt, AgeDecidesWhoseItIs) {
  EXPECT_EQ(action(-5s), Action::coordinators) << "a clock that was set back";
  EXPECT_EQ(action(1999ms), Action::coordinators);
  EXPECT_EQ(action(2s), Action::read);
  EXPECT_EQ(action(9999ms), Action::read);
  EXPECT_EQ(action(10s), Action::decide);
  EXPECT_EQ(action(999ms, 1s), Action::coordinators);
  EXPECT_EQ(action(1s, 1s), Action::decide);
}

TEST(InDoubt, TheVerdictNamesDeciderAndDecision) {
  const auto verdict = judge({kGid, "s1", 20s}, rules());
  EXPECT_EQ(verdict.gid.decider, "s0");
  EXPECT_EQ(verdict.gid.decision, "3e8-0000000000002a");
}

TEST(InDoubt, WhatIsNotOfThisInstallationIsLeftAloneAndSaysWhy) {
  const auto reason = [](std::string gid, std::string shard, InDoubtRules with) {
    const auto verdict = judge({std::move(gid), std::move(shard), 1h}, with);
    EXPECT_EQ(verdict.action, Action::leave);
    return verdict.reason;
  };
  EXPECT_THAT(reason("weir:2:x", "s1", rules()), testing::HasSubstr("name"));
  EXPECT_THAT(reason(kGid, "s0", rules()), testing::HasSubstr("shard s1"));
  InDoubtRules other = rules();
  other.cluster = "00000000-0000-0000-0000-000000000001";
  EXPECT_THAT(reason(kGid, "s1", other), testing::HasSubstr(kCluster));
  other = rules();
  other.shards = {"s1", "s2"};
  EXPECT_THAT(reason(kGid, "s1", other), testing::HasSubstr("shard s0"));
}

}  // namespace
}  // namespace weir::router
