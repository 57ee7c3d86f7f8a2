// What the tests of net/ share: pairs of connected descriptors, a loop that gives up instead of hanging, small
// coroutines.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.hpp"
#include "net/loop.hpp"
#include "net/socket.hpp"
#include "net/task.hpp"

namespace weir::net {

using namespace std::chrono_literals;

// The program is run once for each: $WEIR_TEST_IO (main.cpp).
inline Io tested_io() {
  const char* wanted = std::getenv("WEIR_TEST_IO");
  return wanted != nullptr && std::string_view(wanted) == "io_uring" ? Io::io_uring : Io::epoll;
}

// ... and a third time with Socket::receive_ahead() for sockets that stay.
inline bool tests_ahead() { return std::getenv("WEIR_TEST_AHEAD") != nullptr; }

inline std::unique_ptr<Loop> make_loop(std::size_t receive_buffer = 64 << 10) {
  auto loop = Loop::create(receive_buffer, tested_io());
  EXPECT_TRUE(loop.ok());
  return std::move(loop).value();
}

// One turn of the loop that does not block.
inline void turn(Loop& loop) {
  loop.post([&] { loop.stop(); });
  loop.run();
}

// Runs the loop until somebody stops it; after `limit` that is a failure of the test.
inline void run_to_the_end(Loop& loop, Duration limit = 60s) {
  Waiter waiter(loop);
  Timer timer(waiter);
  timer.arm(Deadline(Clock::now() + limit));
  const auto watch = [](Loop& l, Waiter& w, Timer& t) -> Task<> {
    while (!t.fired()) co_await w.wait();
    ADD_FAILURE() << "the loop was not stopped in time";
    l.stop();
  };
  Task<> guard = watch(loop, waiter, timer);
  guard.start();
  loop.run();
}

inline std::pair<int, int> unix_pair() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {fds[0], fds[1]};
}

inline int connect_to(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  return fd;
}

inline std::pair<int, int> tcp_pair() {
  auto listener = listen_tcp("127.0.0.1", 0, false);
  EXPECT_TRUE(listener.ok());
  const int client = connect_to(local_port(*listener).value());
  auto accepted = accept_one(*listener);
  EXPECT_TRUE(accepted.ok() && accepted->has_value());
  close(*listener);
  return {client, **accepted};
}

// One that stays with its loop.
inline std::unique_ptr<Socket> attach(Loop& loop, int fd) {
  auto socket = Socket::attach(loop, fd);
  EXPECT_TRUE(socket.ok());
  if (tests_ahead()) (*socket)->receive_ahead();
  return std::move(socket).value();
}

// A socket and the place where its coroutine sleeps.
struct Connection {
  Connection(Loop& loop, int fd) : waiter(loop), socket(attach(loop, fd)) {
    socket->set_waiter(&waiter);
  }
  Waiter waiter;
  std::unique_ptr<Socket> socket;
};

// Everything up to the end of the stream, or `enough` bytes. An error of the connection counts as its end.
inline Task<std::string> read_up_to(Connection& c, std::size_t enough = ~std::size_t{0}) {
  std::string all;
  while (all.size() < enough) {
    while (!c.socket->may_receive()) co_await c.waiter.wait();
    const Received got = c.socket->receive(enough - all.size());
    if (got.kind == Received::Kind::end || got.kind == Received::Kind::failed) break;
    all += as_text(got.bytes);
  }
  co_return all;
}

inline Task<bool> write_all(Connection& c, std::string text) {
  ByteView rest = as_bytes(text);
  while (!rest.empty()) {
    while (!c.socket->can_send()) co_await c.waiter.wait();
    auto sent = c.socket->send(rest);
    if (!sent) co_return false;
    rest = rest.subspan(*sent);
  }
  co_return true;
}

// Sends back what comes, until the end.
inline Task<> echo(Connection& c) {
  for (;;) {
    while (!c.socket->may_receive()) co_await c.waiter.wait();
    const Received got = c.socket->receive();
    if (got.kind == Received::Kind::end || got.kind == Received::Kind::failed) co_return;
    if (!co_await write_all(c, std::string(as_text(got.bytes)))) co_return;
  }
}

inline std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; i++) text[i] = static_cast<char>(i * 31 + (i >> 9));
  return text;
}

}  // namespace weir::net
