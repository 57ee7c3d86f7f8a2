// Sockets that nobody waits on, moved to and fro between two running loops while bytes arrive. The test to run under
// ThreadSanitizer.
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "support.hpp"

namespace weir::net {
namespace {

using Kind = Received::Kind;

// What a pool of server connections does with its sockets, and nothing else.
class Pool {
 public:
  struct Member {
    std::unique_ptr<Socket> socket;
    bool idle = true;
  };

  // From any thread: registers the socket with `home`, where it idles.
  void add(Loop& home, int fd) {
    const std::lock_guard lock(lock_);
    auto socket = Socket::attach(home, fd);
    ASSERT_TRUE(socket.ok());
    (*socket)->set_tag(members_.size() + 1);
    members_.push_back({std::move(socket).value(), true});
  }

  // An idle socket, wherever it lived, for the loop of the calling thread.
  std::pair<std::size_t, Socket*> take(Loop& mine, std::mt19937& random) {
    const std::lock_guard lock(lock_);
    for (std::size_t i = random() % members_.size();; i = (i + 1) % members_.size()) {
      Member& member = members_[i];
      if (!member.idle) continue;
      member.idle = false;
      if (member.socket->loop() != &mine) {
        member.socket->detach();
        EXPECT_TRUE(member.socket->attach_to(mine).ok());
        moves_++;
      }
      return {i, member.socket.get()};
    }
  }

  void give_back(std::size_t i) {
    const std::lock_guard lock(lock_);
    members_[i].socket->set_waiter(nullptr);
    members_[i].socket->set_tag(i + 1);
    members_[i].idle = true;
  }

  // Loop::set_idle_event() of `mine`.
  void on_idle_event(Loop& mine, std::uint64_t tag) {
    const std::lock_guard lock(lock_);
    Member& member = members_[tag - 1];
    if (!member.idle || member.socket->loop() != &mine) return;  // moved or taken meanwhile
    while (member.socket->may_receive()) noise_ += member.socket->receive().bytes.size();
  }

  void heard_noise() { noise_++; }
  [[nodiscard]] long noise() const { return noise_; }
  [[nodiscard]] long moves() const { return moves_; }
  void clear() { members_.clear(); }

 private:
  std::mutex lock_;
  std::vector<Member> members_;
  std::atomic<long> noise_{0};
  std::atomic<long> moves_{0};
};

constexpr long kMoves = 3000;

// Sends a '?', waits for its '!'; what else comes was sent while nobody asked. Until the sockets have moved about
// enough.
Task<> ask(Loop& loop, Pool& pool, unsigned seed, int& running) {
  std::mt19937 random(seed);
  Waiter waiter(loop);
  while (pool.moves() < kMoves) {
    const auto [i, socket] = pool.take(loop, random);
    socket->set_waiter(&waiter);
    EXPECT_EQ(*socket->send(as_bytes("?")), 1u);
    for (bool answered = false; !answered;) {
      while (!socket->may_receive()) co_await waiter.wait();
      for (const std::uint8_t byte : socket->receive().bytes) {
        if (byte == '!') {
          answered = true;
        } else {
          pool.heard_noise();
        }
      }
    }
    pool.give_back(i);
  }
  running--;
}

// The servers: a '!' for every '?', and now and then a '.' that nobody asked for. Returns how many of those.
long answer(const std::vector<int>& peers, const std::atomic<bool>& enough) {
  std::mt19937 random(7);
  long noise = 0;
  std::vector<char> bytes(256);
  while (!enough) {
    for (const int fd : peers) {
      const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), MSG_DONTWAIT);
      for (ssize_t i = 0; i < n; i++) {
        while (::send(fd, "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) std::this_thread::yield();  // full of noise
      }
      if (random() % 4 == 0 && ::send(fd, ".", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) noise++;
    }
  }
  return noise;
}

// Runs until stopped: a loop whose tasks are through goes on serving its idle sockets.
void run_worker(Loop& loop, Pool& pool, int tasks, unsigned seed, std::atomic<int>& workers,
                const std::function<void()>& all_done) {
  loop.set_idle_event([&](std::uint64_t tag) { pool.on_idle_event(loop, tag); });
  int running = tasks;
  const auto one = [&](unsigned task_seed) -> Task<> {
    co_await ask(loop, pool, task_seed, running);
    if (running == 0 && --workers == 0) all_done();
  };
  std::vector<Task<>> asking;
  for (int i = 0; i < tasks; i++) asking.push_back(one(seed + static_cast<unsigned>(i)));
  for (auto& task : asking) task.start();
  run_to_the_end(loop);
  EXPECT_EQ(running, 0);
}

TEST(HandOver, SocketsGoToAndFroBetweenTwoLoopsWhileBytesArriveAndNoByteIsLost) {
  constexpr int kSockets = 9;
  constexpr int kTasks = 4;  // in each loop: one socket is always free
  const auto a = make_loop();
  const auto b = make_loop();
  Pool pool;
  std::vector<int> peers;
  for (int i = 0; i < kSockets; i++) {
    const auto [mine, peer] = unix_pair();
    peers.push_back(peer);
    pool.add(i % 2 == 0 ? *a : *b, mine);
  }
  std::atomic<bool> enough{false};
  long sent = 0;
  std::atomic<int> workers{2};
  const auto stop_both = [&] {
    a->stop();
    b->stop();
  };
  std::thread servers([&] { sent = answer(peers, enough); });
  std::atomic<bool> silent{false};
  const auto drain = [](Loop& loop) {
    for (int i = 0; i < 10; i++) turn(loop);
  };
  std::thread other([&] {
    run_worker(*b, pool, kTasks, 100, workers, stop_both);
    silent.wait(false);
    drain(*b);  // a loop is run by one thread
  });
  run_worker(*a, pool, kTasks, 200, workers, stop_both);
  enough = true;
  servers.join();
  silent = true;
  silent.notify_all();
  drain(*a);
  other.join();
  EXPECT_EQ(pool.noise(), sent);
  pool.clear();
  for (const int fd : peers) close(fd);
}

TEST(HandOver, SocketsAreAttachedAndDestroyedByOtherThreadsWhileTheLoopRuns) {
  const auto loop = make_loop();
  std::mutex lock;
  std::vector<std::unique_ptr<Socket>> sockets(32);
  std::atomic<long> told{0};
  loop->set_idle_event([&](std::uint64_t tag) {
    const std::lock_guard held(lock);
    auto& socket = sockets[tag - 1];
    if (socket == nullptr) return;
    while (socket->may_receive() && socket->receive().kind == Kind::data) told++;
    if (socket->hung_up()) socket.reset();
  });
  const auto churn = [&](unsigned seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < 3000; i++) {
      const std::uint64_t tag = random() % 32 + 1;
      const auto [mine, peer] = unix_pair();
      std::unique_ptr<Socket> old;  // destroyed outside the lock, while the loop may hold events for it
      {
        const std::lock_guard held(lock);
        auto socket = Socket::attach(*loop, mine);
        ASSERT_TRUE(socket.ok());
        (*socket)->set_tag(tag);
        old = std::exchange(sockets[tag - 1], std::move(socket).value());
      }
      EXPECT_EQ(::send(peer, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1 || errno == EPIPE, true);
      close(peer);
    }
  };
  std::thread one([&] { churn(1); });
  std::thread two([&] { churn(2); });
  std::thread end([&] {
    one.join();
    two.join();
    loop->stop();
  });
  run_to_the_end(*loop);
  end.join();
  EXPECT_GT(told, 0);
  sockets.clear();
}

}  // namespace
}  // namespace weir::net
