#include "net/conduit.hpp"

#include <memory>
#include <string>

#include "support.hpp"

namespace weir::net {
namespace {

using Kind = Received::Kind;

class AnyPair : public testing::TestWithParam<bool> {
 protected:
  static std::pair<int, int> pair() { return GetParam() ? tcp_pair() : unix_pair(); }
};
INSTANTIATE_TEST_SUITE_P(, AnyPair, testing::Bool(), [](const auto& p) { return p.param ? "Tcp" : "Unix"; });

// Moves all of `from` to `to` through conduits, as a session does: what is held goes out before more is taken.
Task<> pass_on(Connection& from, Connection& to, Conduits& conduits, std::size_t& passed) {
  std::unique_ptr<Conduit> conduit;
  for (;;) {
    if (conduit) {
      while (!to.socket->can_send()) co_await to.waiter.wait();
      if (!to.socket->send_from(*conduit)) co_return;
      if (conduit->held() > 0) continue;
      conduits.give_back(std::move(conduit));
    }
    while (!from.socket->may_receive()) co_await from.waiter.wait();
    conduit = conduits.take();
    const Passed got = from.socket->receive_into(*conduit, 1 << 20);
    if (got.kind == Kind::data)
      passed += got.bytes;
    else
      conduits.give_back(std::move(conduit));
    if (got.kind == Kind::end || got.kind == Kind::failed) co_return;
  }
}

TEST_P(AnyPair, PassesMegabytesOnInOrderAtThePaceOfASlowReader) {
  if (tests_ahead()) GTEST_SKIP() << "bytes that the loop takes by itself cannot be passed on";
  const auto loop = make_loop();
  const auto [source, in] = pair();
  const auto [out, sink] = pair();
  Connection writer(*loop, source), from(*loop, in), to(*loop, out), reader(*loop, sink);
  ASSERT_TRUE(from.socket->can_pass());
  const std::string sent = pattern(20 << 20);
  std::string received;
  std::size_t passed = 0;
  Conduits conduits;
  const auto read = [&]() -> Task<> {
    while (received.size() < sent.size()) {
      while (!reader.socket->may_receive()) co_await reader.waiter.wait();
      const Received got = reader.socket->receive(5000);   // less than comes
      if (got.kind == Kind::end || got.kind == Kind::failed) break;
      received += as_text(got.bytes);
    }
    loop->stop();
  };
  const auto write = [&]() -> Task<> { [[maybe_unused]] const bool all = co_await write_all(writer, sent); };
  Task<> passing = pass_on(from, to, conduits, passed);
  Task<> reading = read();
  Task<> writing = write();
  passing.start();
  reading.start();
  writing.start();
  run_to_the_end(*loop);
  EXPECT_EQ(passed, sent.size());
  EXPECT_TRUE(received == sent);
}

TEST_P(AnyPair, WhatWasSentBeforeStaysBefore) {
  const auto loop = make_loop();
  const auto [source, in] = pair();
  const auto [out, sink] = pair();
  Connection to(*loop, out);
  const auto from = Socket::attach(*loop, in).value();
  Conduits conduits;
  const auto conduit = conduits.take();
  ASSERT_EQ(::send(source, "second", 6, 0), 6);
  turn(*loop);
  ASSERT_EQ(*to.socket->send(as_bytes("first ")), 6u);   // with io_uring it is gathered until the turn's end
  ASSERT_EQ(from->receive_into(*conduit, 100).bytes, 6u);
  ASSERT_EQ(*to.socket->send_from(*conduit), 6u);
  EXPECT_EQ(conduit->held(), 0u);
  turn(*loop);
  char got[20];
  ASSERT_EQ(::recv(sink, got, sizeof got, 0), 12);
  EXPECT_EQ(std::string_view(got, 12), "first second");
  close(source);
  close(sink);
}

TEST_P(AnyPair, TellsNothingTheEndAndALostPeer) {
  const auto loop = make_loop();
  const auto [source, in] = pair();
  const auto [out, sink] = pair();
  const auto from = Socket::attach(*loop, in).value();
  const auto to = Socket::attach(*loop, out).value();
  Conduits conduits;
  auto conduit = conduits.take();
  EXPECT_EQ(from->receive_into(*conduit, 100).kind, Kind::nothing);
  EXPECT_FALSE(from->may_receive());
  ASSERT_EQ(::send(source, "abc", 3, 0), 3);
  close(source);
  turn(*loop);
  EXPECT_EQ(from->receive_into(*conduit, 100).bytes, 3u);
  close(sink);
  bool failed = false;
  for (int i = 0; i < 100 && !failed; i++) failed = !to->send(as_bytes("x"));
  EXPECT_FALSE(to->send_from(*conduit).ok());
  EXPECT_EQ(conduit->held(), 3u);
  conduits.give_back(std::move(conduit));   // closed: nobody may get the rest
  conduit = conduits.take();
  EXPECT_EQ(conduit->held(), 0u);
  EXPECT_EQ(from->receive_into(*conduit, 100).kind, Kind::end);
}

TEST(SpareConduits, GiveNothingOnceTheKernelCannot) {
  Conduits conduits;
  conduits.disable();
  EXPECT_EQ(conduits.take(), nullptr);
}

}  // namespace
}  // namespace weir::net
