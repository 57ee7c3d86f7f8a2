#include "proxy/session_channels.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

using Names = std::set<std::string>;

TEST(SessionChannels, AreListenedToFromTheCommitOn) {
  SessionChannels channels;
  channels.listen("a");
  channels.listen("a");
  EXPECT_EQ(channels.committed(), Names{});
  EXPECT_EQ(channels.pending(), Names{"a"});
  channels.commit();
  EXPECT_EQ(channels.committed(), Names{"a"});
  EXPECT_FALSE(channels.has_pending());
}

TEST(SessionChannels, TakeActionsInTheirOrder) {
  SessionChannels channels;
  channels.listen("a");
  channels.commit();
  channels.unlisten("a");
  channels.listen("a");
  channels.listen("b");
  channels.unlisten("");
  channels.listen("c");
  channels.commit();
  EXPECT_EQ(channels.committed(), Names{"c"});
}

TEST(SessionChannels, AreAsBeforeAfterARollback) {
  SessionChannels channels;
  channels.listen("a");
  channels.commit();
  channels.unlisten("");
  channels.listen("b");
  channels.rollback();
  channels.commit();
  EXPECT_EQ(channels.committed(), Names{"a"});
}

TEST(SessionChannels, GoBackToTheNewestSavepointOfAName) {
  SessionChannels channels;
  channels.listen("a");
  channels.savepoint("s");
  channels.listen("b");
  channels.savepoint("s");
  channels.listen("c");
  channels.rollback_to("s");
  channels.rollback_to("s");
  channels.release("s");
  channels.listen("d");
  channels.rollback_to("s");
  channels.commit();
  EXPECT_EQ(channels.committed(), Names{"a"});
}

TEST(SessionChannels, KnowThatASavepointTheyNeverSawCameBeforeThem) {
  SessionChannels channels;
  channels.listen("a");
  channels.savepoint("inner");
  channels.rollback_to("outer");
  channels.commit();
  EXPECT_EQ(channels.committed(), Names{});
}

}  // namespace
}  // namespace weir::proxy
