// weir.shard and its like, through transactions and savepoints, beside the session's other settings.
#include "proxy/route_settings.hpp"

#include <gtest/gtest.h>

#include "proxy/settings_state.hpp"

namespace weir::proxy {
namespace {

using Kind = router::OwnSetting::Kind;

TEST(RouteSettings, AreUndoneWithTransactions) {
  RouteSettings settings;
  settings.apply("weir.shard", {Kind::set, "s1"});
  settings.commit();
  EXPECT_EQ(settings.hints(), "shard='s1' ");
  settings.apply("weir.shard", {Kind::set, "s2"});
  settings.apply("weir.role", {Kind::set, "primary"});
  EXPECT_EQ(settings.hints(), "shard='s2' primary");
  settings.rollback();
  EXPECT_EQ(settings.hints(), "shard='s1' ");
}

TEST(RouteSettings, LocalOnesEndWithTheTransaction) {
  RouteSettings settings;
  settings.apply("weir.key", {Kind::set_local, "42"});
  EXPECT_EQ(settings.value("weir.key"), "42");
  settings.commit();
  EXPECT_EQ(settings.value("weir.key"), "");
  settings.apply("weir.key", {Kind::set_local, "1"});
  settings.apply("weir.key", {Kind::set, "2"});
  settings.apply("weir.key", {Kind::set_local, "3"});
  EXPECT_EQ(settings.value("weir.key"), "3");
  settings.commit();
  EXPECT_EQ(settings.value("weir.key"), "2");
}

TEST(RouteSettings, SavepointsBringThemBack) {
  RouteSettings settings;
  settings.apply("weir.shard", {Kind::set, "s1"});
  settings.savepoint("a");
  settings.apply("weir.shard", {Kind::set, "s2"});
  settings.savepoint("b");
  settings.apply("weir.shard", {Kind::set_local, "s3"});
  settings.rollback_to("b");
  EXPECT_EQ(settings.value("weir.shard"), "s2");
  settings.rollback_to("a");
  EXPECT_EQ(settings.value("weir.shard"), "s1");
  settings.apply("weir.shard", {Kind::set, "s2"});
  settings.rollback_to("a");   // it is still there
  EXPECT_EQ(settings.value("weir.shard"), "s1");
  settings.release("a");
  settings.rollback_to("a");   // and now it is not
  EXPECT_EQ(settings.value("weir.shard"), "s1");
}

TEST(RouteSettings, ResetGoesBackToTheStartUpParameters) {
  RouteSettings settings;
  EXPECT_TRUE(settings.start("weir.role", "primary"));
  EXPECT_FALSE(settings.start("weir.other", "x"));
  settings.apply("weir.role", {Kind::set, ""});
  EXPECT_EQ(settings.hints(), "");
  settings.apply("weir.role", {Kind::reset, ""});
  EXPECT_EQ(settings.hints(), "primary");
  settings.apply("weir.shard", {Kind::set, "s1"});
  EXPECT_EQ(settings.startup_hints(), "primary");
  settings.reset_all();
  EXPECT_EQ(settings.hints(), "primary");
}

TEST(RouteSettings, EveryChangeIsAnotherVersion) {
  RouteSettings settings;
  const std::uint64_t first = settings.version();
  settings.apply("weir.shard", {Kind::set, "s1"});
  const std::uint64_t set = settings.version();
  settings.rollback();
  EXPECT_NE(first, 0u);
  EXPECT_NE(set, first);
  EXPECT_NE(settings.version(), set);
}

TEST(RouteSettings, FollowTheSessionsTransactionFromWhereTheyBegin) {
  SessionSettings session;
  session.savepoint("a");
  session.make_route().apply("weir.shard", {Kind::set, "s1"});
  EXPECT_EQ(session.current(), nullptr);   // nothing that a server would be told
  session.rollback_to("a");
  EXPECT_EQ(session.route()->hints(), "");
  session.make_route().apply("weir.shard", {Kind::set, "s1"});
  session.rollback();
  EXPECT_EQ(session.route()->hints(), "");
  session.make_route().apply("weir.shard", {Kind::set, "s1"});
  session.commit();
  static_cast<void>(session.reset_all());
  EXPECT_EQ(session.route()->hints(), "");
  session.rollback();
  EXPECT_EQ(session.route()->hints(), "shard='s1' ");
  session.discard_all();
  EXPECT_EQ(session.route()->hints(), "");
}

}  // namespace
}  // namespace weir::proxy
