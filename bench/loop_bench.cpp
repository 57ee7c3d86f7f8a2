// What a turn of the engine costs apart from the kernel: waking a coroutine, arming a timer, a task's frame, an echo.
#include <benchmark/benchmark.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string_view>
#include <vector>

#include "net/loop.hpp"
#include "net/socket.hpp"
#include "net/task.hpp"

namespace weir::net {
namespace {

std::unique_ptr<Loop> make_loop() { return std::move(Loop::create()).value(); }

Task<> hand_on(Waiter& mine, Waiter& next, benchmark::State* state, Loop& loop) {
  for (;;) {
    co_await mine.wait();
    if (state != nullptr && !state->KeepRunning()) {
      loop.stop();
      co_return;
    }
    next.notify();
  }
}

// Two coroutines wake each other over the ready list: an iteration is two wake-ups.
void wake_and_notify(benchmark::State& state) {
  const auto loop = make_loop();
  Waiter a(*loop);
  Waiter b(*loop);
  Task<> ta = hand_on(a, b, &state, *loop);
  Task<> tb = hand_on(b, a, nullptr, *loop);
  ta.start();
  tb.start();
  a.notify();
  loop->run();
}
BENCHMARK(wake_and_notify);

// The proxy's usual case: a deadline that moves back at every statement.
void arm_a_timer_later(benchmark::State& state) {
  const auto loop = make_loop();
  Waiter waiter(*loop);
  Timer timer(waiter);
  TimePoint at = Clock::now() + std::chrono::hours(1);
  for (auto _ : state) {
    at += std::chrono::microseconds(1);
    timer.arm(Deadline(at));
    benchmark::ClobberMemory();
  }
}
BENCHMARK(arm_a_timer_later);

// The unusual one, among `range` others: the heap entry moves to the top.
void arm_a_timer_earlier(benchmark::State& state) {
  const auto loop = make_loop();
  Waiter waiter(*loop);
  std::vector<std::unique_ptr<Timer>> timers;
  TimePoint at = Clock::now() + std::chrono::hours(1000);
  for (long i = 0; i < state.range(0); i++) timers.push_back(std::make_unique<Timer>(waiter));
  std::size_t next = 0;
  for (auto _ : state) {
    at -= std::chrono::microseconds(1);
    timers[next]->arm(Deadline(at));
    next = (next + 1) % timers.size();
  }
}
BENCHMARK(arm_a_timer_earlier)->Arg(100)->Arg(10000);

Task<int> one() { co_return 1; }

// A nested task's frame from the pool, entered and left.
void await_a_ready_task(benchmark::State& state) {
  const auto root = [&]() -> Task<> {
    for (auto _ : state) benchmark::DoNotOptimize(co_await one());
  };
  Task<> task = root();
  task.start();
}
BENCHMARK(await_a_ready_task);

void post_to_a_busy_loop(benchmark::State& state) {
  const auto loop = make_loop();
  long ran = 0;
  long posted = 0;
  for (auto _ : state) {
    loop->post([&ran] { ran++; });
    if (++posted % 256 == 0) {
      loop->post([&] { loop->stop(); });
      loop->run();
    }
  }
}
BENCHMARK(post_to_a_busy_loop)->Iterations(1 << 20);

Task<> answer(Socket& socket, Waiter& waiter) {
  for (;;) {
    while (!socket.may_receive()) co_await waiter.wait();
    const Received got = socket.receive();
    if (got.kind == Received::Kind::end) co_return;
    if (got.kind == Received::Kind::data && !socket.send(got.bytes)) co_return;
  }
}

Task<> ask(Socket& socket, Waiter& waiter, benchmark::State& state, Loop& loop) {
  while (state.KeepRunning()) {
    if (!socket.send(as_bytes(std::string_view("question")))) break;
    while (!socket.may_receive()) co_await waiter.wait();
    if (socket.receive().kind != Received::Kind::data) break;
  }
  loop.stop();
}

// A question and its answer over a socketpair on one loop: 2 sends, 2 receives, 2 waits, as a transaction has.
void echo_over_a_socketpair(benchmark::State& state) {
  const auto loop = make_loop();
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) return state.SkipWithError("socketpair failed");
  Waiter a(*loop);
  Waiter b(*loop);
  const auto client = std::move(Socket::attach(*loop, fds[0])).value();
  const auto server = std::move(Socket::attach(*loop, fds[1])).value();
  client->set_waiter(&a);
  server->set_waiter(&b);
  Task<> answering = answer(*server, b);
  Task<> asking = ask(*client, a, state, *loop);
  answering.start();
  asking.start();
  loop->run();
}
BENCHMARK(echo_over_a_socketpair);

}  // namespace
}  // namespace weir::net
