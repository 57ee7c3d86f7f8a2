#include "net/loop.hpp"

#include <fcntl.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace weir::net {
namespace {

TEST(Loop, KnowsItsThread) {
  const auto loop = make_loop();
  EXPECT_FALSE(loop->on_thread());
  bool inside = false;
  loop->post([&] {
    inside = loop->on_thread();
    loop->stop();
  });
  run_to_the_end(*loop);
  EXPECT_TRUE(inside);
  EXPECT_FALSE(loop->on_thread());
}

TEST(Loop, StoppedBeforeItRunsReturnsAtOnceAndRunsAgain) {
  const auto loop = make_loop();
  loop->stop();
  loop->run();
  bool ran = false;
  loop->post([&] { ran = true; });
  turn(*loop);
  EXPECT_TRUE(ran);
}

TEST(Loop, IsStoppedWhileItSleeps) {
  const auto loop = make_loop();
  std::thread stopper([&] {
    std::this_thread::sleep_for(20ms);  // most probably asleep by now; right in any case
    loop->stop();
  });
  run_to_the_end(*loop);
  stopper.join();
}

TEST(Loop, RunsWhatOtherThreadsPostInTheOrderOfEach) {
  constexpr int kThreads = 4;
  constexpr int kPosts = 5000;
  const auto loop = make_loop();
  std::vector<int> next(kThreads, 0);
  int left = kThreads * kPosts;
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; t++) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kPosts; i++) {
        if (i % 100 == 0) std::this_thread::yield();  // lets the loop fall asleep now and then
        loop->post([&, t, i] {
          EXPECT_EQ(next[static_cast<std::size_t>(t)]++, i);
          if (--left == 0) loop->stop();
        });
      }
    });
  }
  run_to_the_end(*loop);
  for (auto& poster : posters) poster.join();
  EXPECT_EQ(left, 0);
}

// Two loops that wake each other for every step: a lost wake-up hangs.
TEST(Loop, LosesNoWakeUpBetweenTwoThreads) {
  const auto a = make_loop();
  const auto b = make_loop();
  constexpr int kRounds = 20000;
  int round = 0;
  std::function<void()> on_a;
  const std::function<void()> on_b = [&] { a->post(on_a); };
  on_a = [&] {
    if (++round < kRounds) return b->post(on_b);
    b->stop();
    a->stop();
  };
  std::thread other([&] { b->run(); });
  a->post(on_a);
  run_to_the_end(*a);
  b->stop();
  other.join();
  EXPECT_EQ(round, kRounds);
}

TEST(Loop, DestroysWorkItDidNotRunEvenIfThatPostsMore) {
  const auto alive = std::make_shared<int>(0);
  {
    const auto loop = make_loop();
    Loop& l = *loop;
    struct PostsAgain {
      ~PostsAgain() {
        if (loop != nullptr) loop->post([kept = kept] {});
      }
      Loop* loop;
      std::shared_ptr<int> kept;
    };
    const auto again = std::shared_ptr<PostsAgain>(new PostsAgain{&l, alive});
    l.post([again, alive] { ADD_FAILURE() << "ran"; });
    EXPECT_GT(alive.use_count(), 1);
    const_cast<std::shared_ptr<PostsAgain>&>(again).reset();
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(Loop, IgnoresSigpipe) {
  const auto loop = make_loop();
  struct sigaction now {};
  sigaction(SIGPIPE, nullptr, &now);
  EXPECT_EQ(now.sa_handler, SIG_IGN);
}

struct Pipe {
  Pipe() { EXPECT_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0); }
  ~Pipe() {
    close(fds[0]);
    close(fds[1]);
  }
  void put() const { EXPECT_EQ(write(fds[1], "x", 1), 1); }
  void take() const {
    char byte;
    EXPECT_EQ(read(fds[0], &byte, 1), 1);
  }
  int fds[2];
};

TEST(Loop, CallsAWatchAsLongAsItsDescriptorIsReadable) {
  const auto loop = make_loop();
  const Pipe pipe;
  int calls = 0;
  ASSERT_TRUE(loop->watch(pipe.fds[0],
                          [&] {
                            if (++calls == 3) pipe.take();
                          })
                  .ok());
  turn(*loop);
  EXPECT_EQ(calls, 0);
  pipe.put();
  for (int i = 0; i < 6; i++) turn(*loop);
  EXPECT_EQ(calls, 3);
  loop->unwatch(pipe.fds[0]);
}

TEST(Loop, ForgetsAWatchThatIsTakenOffByItselfOrByAnotherInTheSameTurn) {
  const auto loop = make_loop();
  const Pipe one;
  const Pipe two;
  int calls = 0;
  const auto take_both_off = [&, big = std::string(1000, 'x')] {
    loop->unwatch(one.fds[0]);
    loop->unwatch(two.fds[0]);
    calls += big.size() == 1000 && big[999] == 'x';  // the function lives until it returns
  };
  ASSERT_TRUE(loop->watch(one.fds[0], take_both_off).ok());
  ASSERT_TRUE(loop->watch(two.fds[0], take_both_off).ok());
  one.put();
  two.put();
  turn(*loop);
  turn(*loop);
  EXPECT_EQ(calls, 1);
}

TEST(Loop, RefusesToWatchADescriptorThatIsNotOpenAndSaysWhich) {
  const auto loop = make_loop();
  const auto refused = loop->watch(987654, [] {});
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("987654"), std::string::npos);
}

Task<> record(Waiter& waiter, std::vector<int>& order, int me) {
  co_await waiter.wait();
  order.push_back(me);
}

TEST(Waiter, ReadyCoroutinesAreResumedInTheOrderOfTheirNotifications) {
  const auto loop = make_loop();
  std::vector<int> order;
  Waiter a(*loop);
  Waiter b(*loop);
  Waiter c(*loop);
  Task<> ta = record(a, order, 1);
  Task<> tb = record(b, order, 2);
  Task<> tc = record(c, order, 3);
  ta.start();
  tb.start();
  tc.start();
  b.notify();
  c.notify();
  b.notify();
  a.notify();
  EXPECT_TRUE(order.empty());  // never from inside notify()
  turn(*loop);
  EXPECT_EQ(order, (std::vector<int>{2, 3, 1}));
}

TEST(Waiter, RemembersOneNotificationThatCameBeforeTheWait) {
  const auto loop = make_loop();
  Waiter waiter(*loop);
  int passed = 0;
  const auto twice = [&]() -> Task<> {
    waiter.notify();
    waiter.notify();
    co_await waiter.wait();
    passed = 1;
    co_await waiter.wait();
    passed = 2;
  };
  Task<> task = twice();
  task.start();
  EXPECT_EQ(passed, 1);
  turn(*loop);
  EXPECT_EQ(passed, 1);
  waiter.notify();
  turn(*loop);
  EXPECT_EQ(passed, 2);
}

TEST(Waiter, ANotificationFromACoroutineOfTheSameTurnIsServedInThatTurn) {
  const auto loop = make_loop();
  Waiter a(*loop);
  Waiter b(*loop);
  std::vector<int> order;
  const auto hand_on = [&]() -> Task<> {
    co_await a.wait();
    order.push_back(1);
    b.notify();
  };
  Task<> ta = hand_on();
  Task<> tb = record(b, order, 2);
  ta.start();
  tb.start();
  a.notify();
  turn(*loop);
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

Task<> ping_pong(Waiter& mine, Waiter& other, const Pipe& pipe, const bool& enough) {
  for (int i = 0; !enough && i < 3'000'000; i++) {
    if (i == 10) pipe.put();
    other.notify();
    co_await mine.wait();
  }
}

TEST(Waiter, CoroutinesThatWakeEachOtherForEverDoNotKeepTheSocketsWaiting) {
  const auto loop = make_loop();
  const Pipe pipe;
  Waiter a(*loop);
  Waiter b(*loop);
  bool enough = false;
  Task<> ta = ping_pong(a, b, pipe, enough);
  Task<> tb = ping_pong(b, a, pipe, enough);
  ta.start();
  tb.start();
  ASSERT_TRUE(loop->watch(pipe.fds[0],
                          [&] {
                            enough = true;
                            EXPECT_FALSE(ta.done());
                            loop->stop();
                          })
                  .ok());
  run_to_the_end(*loop);
  EXPECT_TRUE(enough);
}

}  // namespace
}  // namespace weir::net
