#include "net/socket.hpp"

#include <sys/resource.h>

#include <map>
#include <memory>
#include <vector>

#include "support.hpp"

namespace weir::net {
namespace {

using Kind = Received::Kind;

void put(int fd, std::string_view text) {
  ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

void fill(int fd) {
  const std::string block(1 << 16, 'x');
  while (::send(fd, block.data(), block.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
  }
}

class AnyStream : public testing::TestWithParam<bool> {
 protected:
  static std::pair<int, int> pair() { return GetParam() ? tcp_pair() : unix_pair(); }
};
INSTANTIATE_TEST_SUITE_P(, AnyStream, testing::Bool(), [](const auto& p) { return p.param ? "Tcp" : "Unix"; });

TEST_P(AnyStream, EchoesAMegabyteThroughBackpressure) {
  const auto loop = make_loop(4096);  // far smaller than what is in flight
  const auto [left, right] = pair();
  Connection client(*loop, left);
  Connection server(*loop, right);
  const std::string sent = pattern(1 << 20);
  std::string received;
  const auto talk = [&]() -> Task<> {
    ByteView rest = as_bytes(sent);
    while (received.size() < sent.size()) {
      if (!client.socket->may_receive() && (rest.empty() || !client.socket->can_send())) co_await client.waiter.wait();
      if (!rest.empty() && client.socket->can_send()) rest = rest.subspan(*client.socket->send(rest));
      if (client.socket->may_receive()) received += as_text(client.socket->receive().bytes);
    }
    loop->stop();
  };
  Task<> serving = echo(server);
  Task<> talking = talk();
  serving.start();
  talking.start();
  run_to_the_end(*loop);
  EXPECT_EQ(received, sent);
}

TEST_P(AnyStream, AShortReadNeedsNoSecondCallAndTheNextBytesAreANewEdge) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  const auto socket = attach(*loop, left);
  EXPECT_FALSE(socket->may_receive());
  for (const char* text : {"one", "two", "three"}) {
    put(right, text);
    turn(*loop);
    ASSERT_TRUE(socket->may_receive());
    const Received got = socket->receive();
    EXPECT_EQ(got.kind, Kind::data);
    EXPECT_EQ(as_text(got.bytes), text);
    EXPECT_FALSE(socket->may_receive());
  }
  close(right);
}

TEST_P(AnyStream, AFullReadMayHaveLeftMore) {
  const auto loop = make_loop(8);
  const auto [left, right] = pair();
  const auto socket = attach(*loop, left);
  put(right, "0123456789");
  turn(*loop);
  EXPECT_EQ(as_text(socket->receive(3).bytes), "012");
  ASSERT_TRUE(socket->may_receive());
  EXPECT_EQ(as_text(socket->receive(100).bytes), "3456789");
  EXPECT_FALSE(socket->may_receive());
  EXPECT_EQ(socket->receive().kind, Kind::nothing);
  close(right);
}

TEST_P(AnyStream, AnEndThatCameTogetherWithTheLastBytesIsNotMissed) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  const auto socket = attach(*loop, left);
  put(right, "last words");
  close(right);
  turn(*loop);
  EXPECT_TRUE(socket->hung_up());
  EXPECT_EQ(as_text(socket->receive().bytes), "last words");
  ASSERT_TRUE(socket->may_receive());
  EXPECT_EQ(socket->receive().kind, Kind::end);
  EXPECT_TRUE(socket->may_receive());  // whoever asks later hears it, too
}

TEST_P(AnyStream, AnEndAfterTheBytesWereReadIsANewEdge) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  const auto socket = attach(*loop, left);
  put(right, "x");
  turn(*loop);
  EXPECT_EQ(socket->receive().kind, Kind::data);
  close(right);
  turn(*loop);
  ASSERT_TRUE(socket->may_receive());
  EXPECT_EQ(socket->receive().kind, Kind::end);
}

TEST_P(AnyStream, SendsInPiecesWhenThePeerIsSlowAndHearsWhenItReadsAgain) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  const auto socket = attach(*loop, left);
  const std::string big(16 << 20, 'b');
  const auto sent = socket->send(as_bytes(big));
  ASSERT_TRUE(sent.ok());
  EXPECT_GT(*sent, 0u);
  EXPECT_LT(*sent, big.size());
  EXPECT_FALSE(socket->can_send());
  EXPECT_EQ(socket->send(as_bytes("more")).value(), 0u);
  turn(*loop);
  EXPECT_FALSE(socket->can_send());

  std::string taken(big.size(), '\0');
  std::size_t got = 0;
  const TimePoint give_up = Clock::now() + 20s;
  while (!socket->can_send() && Clock::now() < give_up) {
    const ssize_t n = ::recv(right, taken.data() + got, taken.size() - got, MSG_DONTWAIT);
    if (n > 0) got += static_cast<std::size_t>(n);
    turn(*loop);
  }
  ASSERT_TRUE(socket->can_send());
  EXPECT_GT(*socket->send(as_bytes(big)), 0u);
  close(right);
}

// Registered for writing only while a send was short: otherwise a unix socket's peer wakes the loop with every read.
TEST_P(AnyStream, IsNotWokenByAPeerThatReadsOnceNothingWaitsToBeSent) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  Connection c(*loop, left);
  int wakes = 0;
  const auto count = [&]() -> Task<> {
    for (;;) {
      co_await c.waiter.wait();
      wakes++;
    }
  };
  Task<> counting = count();
  counting.start();
  const std::string big(16 << 20, 'b');
  EXPECT_LT(*c.socket->send(as_bytes(big)), big.size());
  std::string taken(1 << 20, '\0');
  const auto read_everything = [&, fd = right] {
    const TimePoint give_up = Clock::now() + 20s;
    for (int quiet = 0; quiet < 5 && Clock::now() < give_up; quiet++) {
      while (::recv(fd, taken.data(), taken.size(), MSG_DONTWAIT) > 0) quiet = 0;
      turn(*loop);
    }
  };
  read_everything();
  EXPECT_TRUE(c.socket->can_send());
  EXPECT_GE(wakes, 1);
  ASSERT_EQ(*c.socket->send(as_bytes("a")), 1u);
  read_everything();  // may cost one wake-up, after which the registration is gone
  wakes = 0;
  for (int i = 0; i < 10; i++) {
    ASSERT_EQ(*c.socket->send(as_bytes("a")), 1u);
    read_everything();
  }
  EXPECT_EQ(wakes, 0);
  c.socket->set_waiter(nullptr);
  close(right);
}

TEST_P(AnyStream, SendingToAPeerThatIsGoneSpoilsTheConnectionAndRaisesNoSignal) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  const auto socket = attach(*loop, left);
  close(right);
  bool failed = false;
  for (int i = 0; i < 100 && !failed; i++) {
    const auto sent = socket->send(as_bytes("x"));
    failed = !sent.ok();
    if (!failed) continue;
    EXPECT_TRUE(sent.error().connection_spoilt);
    EXPECT_NE(sent.error().message.find("descriptor"), std::string::npos);
  }
  EXPECT_TRUE(failed);
}

TEST_P(AnyStream, WhatWasSentBeforeAShutdownOrTheSocketsEndArrives) {
  const auto loop = make_loop();
  for (const bool shut_down : {true, false}) {
    const auto [left, right] = pair();
    auto c = std::make_unique<Connection>(*loop, left);
    ASSERT_EQ(*c->socket->send(as_bytes("last ")), 5u);
    ASSERT_EQ(*c->socket->send(as_bytes("words")), 5u);
    if (shut_down) {
      c->socket->shutdown();
    } else {
      c.reset();
    }
    turn(*loop);
    char taken[16];
    EXPECT_EQ(::recv(right, taken, sizeof taken, 0), 10);
    EXPECT_EQ(::recv(right, taken, sizeof taken, 0), 0);
    close(right);
  }
}

TEST_P(AnyStream, ShutdownWakesTheCoroutinesAtBothEnds) {
  const auto loop = make_loop();
  const auto [left, right] = pair();
  Connection a(*loop, left);
  Connection b(*loop, right);
  Task<> ta = echo(a);
  Task<> tb = echo(b);
  ta.start();
  tb.start();
  a.socket->shutdown();
  for (int i = 0; i < 100 && !(ta.done() && tb.done()); i++) turn(*loop);
  EXPECT_TRUE(ta.done());
  EXPECT_TRUE(tb.done());
}

TEST(Socket, AResetIsAnError) {
  const auto loop = make_loop();
  const auto [left, right] = tcp_pair();
  const auto socket = attach(*loop, left);
  const linger at_once{1, 0};
  setsockopt(right, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(right);
  turn(*loop);
  ASSERT_TRUE(socket->may_receive());
  EXPECT_TRUE(socket->hung_up());
  const Received got = socket->receive();
  EXPECT_EQ(got.kind, Kind::failed);
  EXPECT_EQ(got.error, ECONNRESET);
}

TEST(Socket, AttachRefusesWhatIsNotOpen) {
  const auto loop = make_loop();
  const auto refused = Socket::attach(*loop, 987654);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("987654"), std::string::npos);
}

TEST(Socket, AttachRefusesADescriptorThatThisLoopHasAlreadyAndKeepsTheFirst) {
  if (tested_io() == Io::io_uring) GTEST_SKIP() << "io_uring does not know; both would be told";
  const auto loop = make_loop();
  const auto [left, right] = unix_pair();
  auto first = std::move(Socket::attach(*loop, left)).value();
  const int copy = first->fd();
  {
    auto refused = Socket::attach(*loop, copy);  // closes it: that is the caller's mistake
    EXPECT_FALSE(refused.ok());
  }
  EXPECT_EQ(first->release(), copy);
  close(right);
}

TEST(Socket, ReleaseGivesTheDescriptorBackOpen) {
  const auto loop = make_loop();
  const auto [left, right] = unix_pair();
  auto socket = std::move(Socket::attach(*loop, left)).value();
  EXPECT_EQ(socket->release(), left);
  EXPECT_EQ(socket->fd(), -1);
  EXPECT_EQ(socket->loop(), nullptr);
  socket.reset();
  put(left, "still open");
  close(left);
  close(right);
}

TEST(Socket, HearsOfBytesThatWaitedWhenItIsAttachedAgain) {
  const auto loop = make_loop();
  const auto other = make_loop();
  const auto [left, right] = unix_pair();
  auto socket = std::move(Socket::attach(*loop, left)).value();
  put(right, "early");
  turn(*loop);
  EXPECT_TRUE(socket->may_receive());
  socket->detach();
  EXPECT_EQ(socket->loop(), nullptr);
  ASSERT_TRUE(socket->attach_to(*other).ok());
  EXPECT_EQ(socket->loop(), other.get());
  turn(*other);
  ASSERT_TRUE(socket->may_receive());
  EXPECT_EQ(as_text(socket->receive().bytes), "early");
  close(right);
}

TEST(Socket, TellsTheIdleHandlerOfASocketWithATagAndWithoutAWaiter) {
  const auto loop = make_loop();
  std::vector<std::uint64_t> told;
  loop->set_idle_event([&](std::uint64_t tag) { told.push_back(tag); });
  const auto [l1, tagged] = unix_pair();
  const auto [l2, untagged] = unix_pair();
  const auto [l3, awaited] = unix_pair();
  const auto a = std::move(Socket::attach(*loop, l1)).value();
  const auto b = std::move(Socket::attach(*loop, l2)).value();
  Connection c(*loop, l3);
  a->set_tag(71);
  c.socket->set_tag(73);
  put(tagged, "x");
  put(untagged, "x");
  put(awaited, "x");
  turn(*loop);
  EXPECT_EQ(told, std::vector<std::uint64_t>{71});
  EXPECT_TRUE(a->may_receive());
  EXPECT_TRUE(b->may_receive());
  close(tagged);
  turn(*loop);
  EXPECT_EQ(told, (std::vector<std::uint64_t>{71, 71}));
  EXPECT_TRUE(a->hung_up());
  close(untagged);
  close(awaited);
}

// Both have an event in one batch. The handler of whichever comes first destroys the other one and attaches a quiet
// socket, which gets the other's slot: the event that is still in the batch must not reach it.
TEST(Socket, AnEventOfADestroyedSocketDoesNotReachTheOneInItsPlace) {
  const auto loop = make_loop();
  std::map<std::uint64_t, std::unique_ptr<Socket>> sockets;
  std::vector<std::uint64_t> told;
  const auto [quiet, quiet_peer] = unix_pair();
  loop->set_idle_event([&, fd = quiet](std::uint64_t tag) {
    told.push_back(tag);
    if (told.size() > 1) return;
    sockets.erase(tag == 1 ? 2 : 1);
    sockets[3] = std::move(Socket::attach(*loop, fd)).value();
    sockets[3]->set_tag(3);
  });
  std::vector<int> peers{quiet_peer};
  for (std::uint64_t tag : {1, 2}) {
    const auto [mine, peer] = unix_pair();
    peers.push_back(peer);
    sockets[tag] = std::move(Socket::attach(*loop, mine)).value();
    sockets[tag]->set_tag(tag);
    put(peer, "x");
  }
  turn(*loop);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_FALSE(sockets[3]->may_receive());
  for (const int fd : peers) close(fd);
}

TEST(Socket, AnEventOfTheOldRegistrationIsDroppedAfterAHandOver) {
  const auto loop = make_loop();
  const auto other = make_loop();
  std::map<std::uint64_t, std::unique_ptr<Socket>> sockets;
  int told = 0;
  loop->set_idle_event([&](std::uint64_t tag) {
    told++;
    Socket& moved = *sockets[3 - tag];
    if (moved.loop() == other.get()) return;
    moved.detach();
    ASSERT_TRUE(moved.attach_to(*other).ok());
    moved.set_tag(9);
  });
  std::vector<int> peers;
  for (std::uint64_t tag : {1, 2}) {
    const auto [mine, peer] = unix_pair();
    peers.push_back(peer);
    sockets[tag] = std::move(Socket::attach(*loop, mine)).value();
    sockets[tag]->set_tag(tag);
    put(peer, "x");
  }
  turn(*loop);
  EXPECT_EQ(told, 1);
  Socket& moved = *sockets[sockets[1]->loop() == other.get() ? 1 : 2];
  EXPECT_FALSE(moved.may_receive());
  std::uint64_t heard = 0;
  other->set_idle_event([&](std::uint64_t tag) { heard = tag; });
  turn(*other);
  EXPECT_EQ(heard, 9u);
  EXPECT_TRUE(moved.may_receive());
  for (const int fd : peers) close(fd);
}

TEST(Socket, TheIdleHandlerMayDestroyTheSocketItIsToldOf) {
  const auto loop = make_loop();
  const auto [left, right] = unix_pair();
  auto socket = std::move(Socket::attach(*loop, left)).value();
  socket->set_tag(5);
  loop->set_idle_event([&](std::uint64_t) { socket.reset(); });
  put(right, "x");
  turn(*loop);
  EXPECT_EQ(socket, nullptr);
  close(right);
}

TEST(Socket, TwoThousandConnectionsEchoAtOnceAndAgainInReusedSlots) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const int count = files.rlim_cur > 4200 ? 2000 : 400;  // more than one chunk of the table, where allowed
  const auto loop = make_loop();
  for (int round = 0; round < 2; round++) {
    std::vector<std::unique_ptr<Connection>> connections;
    std::vector<Task<>> tasks;
    int left = count;
    const auto talk = [&](Connection& c, int i) -> Task<> {
      const std::string text = "hello " + std::to_string(i);
      co_await write_all(c, text);
      EXPECT_EQ(co_await read_up_to(c, text.size()), text);
      if (--left == 0) loop->stop();
    };
    for (int i = 0; i < count; i++) {
      const auto [a, b] = unix_pair();
      connections.push_back(std::make_unique<Connection>(*loop, a));
      tasks.push_back(talk(*connections.back(), i));
      connections.push_back(std::make_unique<Connection>(*loop, b));
      tasks.push_back(echo(*connections.back()));
    }
    for (auto& task : tasks) task.start();
    run_to_the_end(*loop);
    EXPECT_EQ(left, 0);
    tasks.clear();
  }
}

// A session that passes every kind of suspension point; killed after each number of turns, nothing of it is touched
// again (ASan watches) and the loop goes on serving others.
TEST(Socket, ASessionDestroyedAtAnyOfItsSuspensionPointsLeavesNothingBehind) {
  const auto loop = make_loop(1024);
  Waiter idle(*loop);
  bool finished = false;
  for (int turns = 0; !finished && turns < 200; turns++) {
    const auto [left, right] = unix_pair();
    fill(left);  // its first send has to wait
    auto connection = std::make_unique<Connection>(*loop, left);
    auto alarm_waiter = std::make_unique<Waiter>(*loop);
    auto timer = std::make_unique<Timer>(*alarm_waiter);
    const auto session = [&]() -> Task<> {
      co_await write_all(*connection, pattern(300000));
      co_await read_up_to(*connection, 5000);
      timer->arm(Deadline(loop->now()));
      while (!timer->fired()) co_await alarm_waiter->wait();
      co_await write_all(*connection, "bye");
    };
    Task<> task = session();
    task.start();
    std::string taken(50000, '\0');
    for (int i = 0; i < turns && !task.done(); i++) {
      [[maybe_unused]] ssize_t n = ::recv(right, taken.data(), taken.size(), MSG_DONTWAIT);
      if (i % 3 == 0) n = ::send(right, taken.data(), 400, MSG_DONTWAIT | MSG_NOSIGNAL);
      turn(*loop);
    }
    finished = task.done();
    connection->waiter.notify();  // it dies with a notification pending
    alarm_waiter->notify();
    task = {};
    timer.reset();
    alarm_waiter.reset();
    connection.reset();
    close(right);
    turn(*loop);
  }
  EXPECT_TRUE(finished);
}

}  // namespace
}  // namespace weir::net
