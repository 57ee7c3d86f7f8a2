#include "proxy/reply_queue.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace weir::proxy {
namespace {

std::vector<std::uint32_t> drain(ReplyQueue& queue) {
  std::vector<std::uint32_t> ops;
  for (; !queue.empty(); queue.pop()) ops.push_back(queue.front().op);
  return ops;
}

void push_all(ReplyQueue& queue, const std::vector<Expect>& kinds) {
  std::uint32_t op = 0;
  for (const Expect kind : kinds) queue.push({kind, false, op++});
}

TEST(ReplyQueue, GivesRepliesBackInTheOrderTheyWereAskedFor) {
  ReplyQueue queue;
  EXPECT_TRUE(queue.empty());
  push_all(queue, {Expect::parse, Expect::bind, Expect::execute, Expect::sync});
  EXPECT_EQ(queue.front().kind, Expect::parse);
  EXPECT_EQ(drain(queue), (std::vector<std::uint32_t>{0, 1, 2, 3}));
  EXPECT_TRUE(queue.empty());
}

TEST(ReplyQueue, KeepsWhatWasSaidOfEachReply) {
  ReplyQueue queue;
  queue.push({Expect::close, true, 7});
  EXPECT_EQ(queue.front().kind, Expect::close);
  EXPECT_TRUE(queue.front().swallow);
  EXPECT_EQ(queue.front().op, 7U);
}

TEST(ReplyQueue, AnErrorDropsEverythingBeforeTheNextSyncAndSaysWhat) {
  ReplyQueue queue;
  push_all(queue, {Expect::bind, Expect::execute, Expect::sync, Expect::bind, Expect::sync});
  std::vector<std::uint32_t> dropped;
  queue.drop_to_sync([&](const Expected& e) { dropped.push_back(e.op); });
  EXPECT_EQ(dropped, (std::vector<std::uint32_t>{1, 0})) << "the last one first: they are undone";
  ASSERT_FALSE(queue.empty());
  EXPECT_EQ(queue.front().kind, Expect::sync);
  EXPECT_EQ(drain(queue), (std::vector<std::uint32_t>{2, 3, 4})) << "the batch after the Sync is still owed";
}

TEST(ReplyQueue, AnErrorRightBeforeItsSyncDropsNothing) {
  ReplyQueue queue;
  push_all(queue, {Expect::sync, Expect::bind});
  int dropped = 0;
  queue.drop_to_sync([&](const Expected&) { ++dropped; });
  EXPECT_EQ(dropped, 0);
  EXPECT_EQ(drain(queue), (std::vector<std::uint32_t>{0, 1}));
}

TEST(ReplyQueue, AnErrorWithoutASyncYetDropsAll) {
  ReplyQueue queue;
  push_all(queue, {Expect::parse, Expect::describe});
  std::vector<std::uint32_t> dropped;
  queue.drop_to_sync([&](const Expected& e) { dropped.push_back(e.op); });
  EXPECT_EQ(dropped, (std::vector<std::uint32_t>{1, 0}));
  EXPECT_TRUE(queue.empty());
  queue.push({Expect::sync, false, 9});
  EXPECT_EQ(queue.front().op, 9U) << "what is asked afterwards is at the front";
}

TEST(ReplyQueue, ALostServerDropsAllTheLastFirst) {
  ReplyQueue queue;
  push_all(queue, {Expect::bind, Expect::execute, Expect::sync});
  queue.pop();
  std::vector<std::uint32_t> dropped;
  queue.drop_all([&](const Expected& e) { dropped.push_back(e.op); });
  EXPECT_EQ(dropped, (std::vector<std::uint32_t>{2, 1}));
  EXPECT_TRUE(queue.empty());
}

TEST(ReplyQueue, TheFirstReplyMayBeSwallowedLater) {
  ReplyQueue queue;
  push_all(queue, {Expect::bind, Expect::sync});
  queue.pop();
  queue.swallow_front();
  EXPECT_TRUE(queue.front().swallow);
  EXPECT_EQ(queue.front().kind, Expect::sync);
}

TEST(ReplyQueue, CopyInDropsTheSyncsAndKeepsTheRestInOrder) {
  ReplyQueue queue;
  push_all(queue, {Expect::sync, Expect::execute, Expect::sync, Expect::sync, Expect::bind});
  queue.pop();  // what was answered already does not come back
  queue.drop_syncs();
  EXPECT_EQ(drain(queue), (std::vector<std::uint32_t>{1, 4}));
}

TEST(ReplyQueue, IsEmptyWhenNothingButSyncsWasOwed) {
  ReplyQueue queue;
  push_all(queue, {Expect::execute, Expect::sync, Expect::sync});
  queue.pop();
  queue.drop_syncs();
  EXPECT_TRUE(queue.empty());
  queue.push({Expect::query, false, 5});
  EXPECT_EQ(drain(queue), (std::vector<std::uint32_t>{5}));
}

TEST(ReplyQueue, DropSyncsOfAnEmptyQueueDoesNothing) {
  ReplyQueue queue;
  queue.drop_syncs();
  EXPECT_TRUE(queue.empty());
}

TEST(ReplyQueue, ClearForgetsEverything) {
  ReplyQueue queue;
  push_all(queue, {Expect::bind, Expect::execute});
  queue.pop();
  queue.clear();
  EXPECT_TRUE(queue.empty());
}

}  // namespace
}  // namespace weir::proxy
