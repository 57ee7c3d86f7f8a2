#include "policy/health.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::policy {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

Probe primary_probe() {
  Probe p;
  p.reachable = true;
  p.timeline = 1;
  return p;
}

Probe replica_probe(Duration lag) {
  Probe p = primary_probe();
  p.in_recovery = true;
  p.receiver_connected = true;
  p.lag = lag;
  return p;
}

TEST(Health, APrimaryThatAnswersAndTakesWritesIsUsable) {
  EXPECT_TRUE(judge(Role::primary, primary_probe(), seconds(5)).usable);
}

TEST(Health, NothingUnreachableIsUsableAndTheReasonSaysWhy) {
  Probe p = primary_probe();
  p.reachable = false;
  p.error = "connection refused";
  for (Role role : {Role::primary, Role::replica}) {
    const Verdict v = judge(role, p, seconds(5));
    EXPECT_FALSE(v.usable);
    EXPECT_THAT(v.reason, HasSubstr("connection refused"));
  }
}

TEST(Health, AConfiguredPrimaryInRecoveryIsUnusable) {
  Probe p = primary_probe();
  p.in_recovery = true;
  const Verdict v = judge(Role::primary, p, seconds(5));
  EXPECT_FALSE(v.usable);
  EXPECT_THAT(v.reason, HasSubstr("recovery"));
}

TEST(Health, AReplicaWithinMaxLagIsUsable) {
  EXPECT_TRUE(judge(Role::replica, replica_probe(milliseconds(10)), seconds(5)).usable);
  EXPECT_TRUE(judge(Role::replica, replica_probe(seconds(5)), seconds(5)).usable);
}

TEST(Health, AReplicaThatWasPromotedServesNoReads) {
  Probe p = replica_probe(seconds(0));
  p.in_recovery = false;
  const Verdict v = judge(Role::replica, p, seconds(0));
  EXPECT_FALSE(v.usable);
  EXPECT_THAT(v.reason, HasSubstr("promoted"));
}

TEST(Health, AReplicaBeyondMaxLagIsUnusableAndTheReasonHasBothNumbers) {
  const Verdict v = judge(Role::replica, replica_probe(milliseconds(5001)), seconds(5));
  EXPECT_FALSE(v.usable);
  EXPECT_THAT(v.reason, HasSubstr("5001 ms"));
  EXPECT_THAT(v.reason, HasSubstr("5000 ms"));
}

TEST(Health, AnUnknownLagIsTooMuch) {
  Probe p = replica_probe(seconds(0));
  p.lag.reset();
  EXPECT_FALSE(judge(Role::replica, p, seconds(5)).usable);
}

TEST(Health, AReplicaWithoutAReceiverIsUnusableBecauseItsLagMeansNothing) {
  Probe p = replica_probe(seconds(0));
  p.receiver_connected = false;
  EXPECT_FALSE(judge(Role::replica, p, seconds(5)).usable);
}

TEST(Health, AMaxLagOfZeroAllowsAnyLag) {
  Probe p = replica_probe(std::chrono::hours(10));
  EXPECT_TRUE(judge(Role::replica, p, seconds(0)).usable);
  p.lag.reset();
  p.receiver_connected = false;
  EXPECT_TRUE(judge(Role::replica, p, seconds(0)).usable);
}

}  // namespace
}  // namespace weir::policy
