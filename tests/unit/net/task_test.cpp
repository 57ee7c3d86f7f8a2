#include "net/task.hpp"

#include <memory>
#include <thread>
#include <vector>

#include "support.hpp"

namespace weir::net {
namespace {

Task<int> three() { co_return 3; }
Task<std::unique_ptr<int>> boxed() { co_return std::make_unique<int>(co_await three() + 1); }

TEST(Task, IsLazyAndReturnsAMoveOnlyValueThroughNesting) {
  int result = 0;
  const auto root = [&]() -> Task<> { result = *co_await boxed(); };
  Task<> task = root();
  EXPECT_EQ(result, 0);
  task.start();
  EXPECT_EQ(result, 4);
  EXPECT_TRUE(task.done());
}

TEST(Task, AwaitsAMillionReadyTasksWithoutGrowingTheStack) {
  long sum = 0;
  const auto root = [&]() -> Task<> {
    for (int i = 0; i < 1'000'000; i++) sum += co_await three();
  };
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "symmetric transfer is a tail call only in an optimised build without a sanitizer";
#endif
  Task<> task = root();
  task.start();
  EXPECT_EQ(sum, 3'000'000);
}

struct Counted {
  explicit Counted(int& alive) : alive_(alive) { alive_++; }
  ~Counted() { alive_--; }
  Counted(const Counted&) = delete;
  int& alive_;
};

Task<> sleep_deep(Waiter& waiter, int depth, int& alive) {
  const Counted here(alive);
  if (depth > 0) co_await sleep_deep(waiter, depth - 1, alive);
  co_await waiter.wait();
}

TEST(Task, DestroyedWhileAsleepDestroysEveryFrameBelow) {
  const auto loop = make_loop();
  Waiter waiter(*loop);
  int alive = 0;
  Task<> task = sleep_deep(waiter, 9, alive);
  task.start();
  EXPECT_EQ(alive, 10);
  task = {};
  EXPECT_EQ(alive, 0);
}

TEST(Task, DestroyedWhileOnTheReadyListIsNotResumedAndTheWaiterServesAgain) {
  const auto loop = make_loop();
  Waiter waiter(*loop);
  int alive = 0;
  Task<> task = sleep_deep(waiter, 0, alive);
  task.start();
  waiter.notify();
  task = {};
  turn(*loop);
  EXPECT_EQ(alive, 0);

  task = sleep_deep(waiter, 0, alive);
  task.start();  // the old notification is remembered: a spurious return
  EXPECT_TRUE(task.done());
}

TEST(Task, AWaiterDestroyedWhileOnTheReadyListLeavesIt) {
  const auto loop = make_loop();
  std::vector<std::unique_ptr<Waiter>> waiters;
  std::vector<Task<>> tasks;
  int alive = 0;
  for (int i = 0; i < 5; i++) {
    waiters.push_back(std::make_unique<Waiter>(*loop));
    tasks.push_back(sleep_deep(*waiters.back(), 0, alive));
    tasks.back().start();
    waiters.back()->notify();
  }
  for (const std::size_t gone : {std::size_t{0}, std::size_t{2}, std::size_t{4}}) {  // first, middle, last
    tasks[gone] = {};
    waiters[gone].reset();
  }
  EXPECT_EQ(alive, 2);
  turn(*loop);
  EXPECT_TRUE(tasks[1].done());
  EXPECT_TRUE(tasks[3].done());
}

TEST(Task, ATaskMayDestroyAnotherThatIsReadyToo) {
  const auto loop = make_loop();
  Waiter first(*loop);
  Waiter second(*loop);
  int alive = 0;
  Task<> victim = sleep_deep(second, 3, alive);
  const auto killer = [&]() -> Task<> {
    co_await first.wait();
    victim = {};
  };
  Task<> task = killer();
  task.start();
  victim.start();
  first.notify();
  second.notify();
  turn(*loop);
  EXPECT_TRUE(task.done());
  EXPECT_EQ(alive, 0);
}

template <std::size_t kBytes>
Task<std::size_t> of_size(Waiter& waiter) {
  std::array<volatile unsigned char, kBytes> payload{};
  for (std::size_t i = 0; i < kBytes; i++) payload[i] = static_cast<unsigned char>(i);
  co_await waiter.wait();
  std::size_t right = 0;
  for (std::size_t i = 0; i < kBytes; i++) right += payload[i] == static_cast<unsigned char>(i);
  co_return right;
}

Task<> add_up(Waiter& waiter, std::size_t& sum) {
  sum += co_await of_size<1>(waiter);
  sum += co_await of_size<300>(waiter);
  sum += co_await of_size<3000>(waiter);
  sum += co_await of_size<20000>(waiter);  // beyond the pools
}

TEST(Task, FramesOfEverySizeDoNotOverlap) {
  const auto loop = make_loop();
  std::vector<std::unique_ptr<Waiter>> waiters;
  std::vector<Task<>> tasks;
  std::size_t sum = 0;
  for (int i = 0; i < 200; i++) {
    waiters.push_back(std::make_unique<Waiter>(*loop));
    tasks.push_back(add_up(*waiters.back(), sum));
    tasks.back().start();
  }
  for (int i = 0; i < 4; i++) {
    for (auto& waiter : waiters) waiter->notify();
    turn(*loop);
  }
  for (const Task<>& task : tasks) EXPECT_TRUE(task.done());
  EXPECT_EQ(sum, 200u * (1 + 300 + 3000 + 20000));
}

TEST(Task, FrameMemoryIsUsedAgainAndEachThreadHasItsOwn) {
  void* first = detail::allocate_frame(200);
  detail::free_frame(first, 200);
#if !defined(__SANITIZE_ADDRESS__)
  void* again = detail::allocate_frame(208);  // the same size class
  EXPECT_EQ(again, first);
  std::thread([&] {
    void* other = detail::allocate_frame(200);
    EXPECT_NE(other, again);
    detail::free_frame(other, 200);
  }).join();
  detail::free_frame(again, 208);
#endif
}

}  // namespace
}  // namespace weir::net
