#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "support.hpp"

namespace weir::net {
namespace {

struct Alarm {
  explicit Alarm(Loop& loop) : waiter(loop), timer(waiter) {}
  Waiter waiter;
  Timer timer;
};

// Waits for the alarm and says when it was; stops the loop.
TimePoint when_fired(Loop& loop, Alarm& alarm) {
  TimePoint at;
  const auto wait = [&]() -> Task<> {
    while (!alarm.timer.fired()) co_await alarm.waiter.wait();
    at = Clock::now();
    loop.stop();
  };
  Task<> task = wait();
  task.start();
  run_to_the_end(loop);
  EXPECT_TRUE(task.done());
  return at;
}

TEST(Timer, FiresAtItsDeadlineAndNeverEarlier) {
  const auto loop = make_loop();
  Alarm alarm(*loop);
  const TimePoint due = Clock::now() + 25ms;
  alarm.timer.arm(Deadline(due));
  EXPECT_GE(when_fired(*loop, alarm), due);
}

TEST(Timer, RearmedLaterFiresOnlyThen) {
  const auto loop = make_loop();
  Alarm alarm(*loop);
  const TimePoint start = Clock::now();
  alarm.timer.arm(Deadline(start + 5ms));
  alarm.timer.arm(Deadline(start + 60ms));
  EXPECT_GE(when_fired(*loop, alarm), start + 60ms);
}

TEST(Timer, RearmedEarlierFiresEarlier) {
  const auto loop = make_loop();
  Alarm alarm(*loop);
  const TimePoint start = Clock::now();
  alarm.timer.arm(Deadline(start + 1h));
  alarm.timer.arm(Deadline(start + 10ms));
  EXPECT_LT(when_fired(*loop, alarm), start + 30s);
}

TEST(Timer, ADeadlineInThePastFiresAtTheNextTurn) {
  const auto loop = make_loop();
  Alarm alarm(*loop);
  alarm.timer.arm(Deadline(Clock::now() - 1s));
  EXPECT_FALSE(alarm.timer.fired());
  turn(*loop);
  EXPECT_TRUE(alarm.timer.fired());
}

TEST(Timer, CancelledDoesNotFireAndMayBeArmedAgain) {
  const auto loop = make_loop();
  Alarm cancelled(*loop);
  Alarm never(*loop);
  Alarm later(*loop);
  const TimePoint start = Clock::now();
  cancelled.timer.arm(Deadline(start + 1ms));
  cancelled.timer.cancel();
  never.timer.arm(Deadline(start + 1ms));
  never.timer.arm(Deadline::never());
  later.timer.arm(Deadline(start + 20ms));
  when_fired(*loop, later);
  EXPECT_FALSE(cancelled.timer.fired());
  EXPECT_FALSE(never.timer.fired());

  cancelled.timer.arm(Deadline(Clock::now() + 1ms));
  when_fired(*loop, cancelled);
}

TEST(Timer, SaysThatItFiredUntilItIsArmedAgain) {
  const auto loop = make_loop();
  Alarm alarm(*loop);
  alarm.timer.arm(Deadline(Clock::now()));
  turn(*loop);
  alarm.timer.cancel();
  EXPECT_TRUE(alarm.timer.fired());
  alarm.timer.arm(Deadline::never());
  EXPECT_FALSE(alarm.timer.fired());
}

TEST(Timer, NotifiesItsWaiterOnce) {
  const auto loop = make_loop();
  Alarm alarm(*loop);
  int wakes = 0;
  const auto count = [&]() -> Task<> {
    for (;;) {
      co_await alarm.waiter.wait();
      wakes++;
    }
  };
  Task<> task = count();
  task.start();
  alarm.timer.arm(Deadline(Clock::now()));
  for (int i = 0; i < 5; i++) turn(*loop);
  EXPECT_EQ(wakes, 1);
}

// Arming, moving both ways, cancelling and destroying in every order against a plain list of what must happen.
TEST(Timer, AThousandTimersMovedAboutFireExactlyWhenTheyMust) {
  const auto loop = make_loop();
  std::mt19937 random(20250101);
  std::vector<std::unique_ptr<Alarm>> alarms;
  const TimePoint start = Clock::now();
  for (int i = 0; i < 1000; i++) {
    alarms.push_back(std::make_unique<Alarm>(*loop));
    alarms.back()->timer.arm(Deadline(start + std::chrono::milliseconds(random() % 100)));
  }
  for (int step = 0; step < 20000; step++) {
    auto& alarm = alarms[random() % alarms.size()];
    switch (random() % 8) {
      case 0:
        alarm = std::make_unique<Alarm>(*loop);  // the old one leaves the heap
        break;
      case 1:
        alarm->timer.cancel();
        break;
      default:
        alarm->timer.arm(Deadline(start + std::chrono::milliseconds(random() % 300)));
    }
    if (step % 200 != 0) continue;
    turn(*loop);
    for (const auto& a : alarms) {
      const bool due = !a->timer.deadline().is_never() && a->timer.deadline().passed(loop->now());
      if (!a->timer.deadline().is_never()) {
        ASSERT_EQ(a->timer.fired(), due) << "at step " << step;
      }
    }
  }
  Alarm last(*loop);
  last.timer.arm(Deadline(start + 301ms));
  when_fired(*loop, last);
  for (const auto& a : alarms) EXPECT_TRUE(a->timer.fired() || a->timer.deadline().is_never());
}

}  // namespace
}  // namespace weir::net
