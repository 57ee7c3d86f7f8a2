#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

#include "support.hpp"

namespace weir::net {
namespace {

using Kind = Received::Kind;

template <auto free_it>
struct Freed {
  template <class T>
  void operator()(T* p) const {
    free_it(p);
  }
};
using Context = std::unique_ptr<SSL_CTX, Freed<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Freed<SSL_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;

Context server_context(int version) {
  const Key key(EVP_EC_gen("P-256"));
  const Certificate certificate(X509_new());
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("weir test"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  EXPECT_GT(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);
  Context context(SSL_CTX_new(TLS_server_method()));
  EXPECT_EQ(SSL_CTX_use_certificate(context.get(), certificate.get()), 1);
  EXPECT_EQ(SSL_CTX_use_PrivateKey(context.get(), key.get()), 1);
  SSL_CTX_set_min_proto_version(context.get(), version);
  SSL_CTX_set_max_proto_version(context.get(), version);
  return context;
}

// Two ends of a socketpair, shaken hands, on one loop. The sockets go before their sessions.
struct TlsPair {
  TlsPair(Loop& loop, int version) : server_ctx(server_context(version)), client_ctx(SSL_CTX_new(TLS_client_method())) {
    const auto [left, right] = unix_pair();
    client_ssl.reset(SSL_new(client_ctx.get()));
    server_ssl.reset(SSL_new(server_ctx.get()));
    SSL_set_fd(client_ssl.get(), left);
    SSL_set_fd(server_ssl.get(), right);
    SSL_set_connect_state(client_ssl.get());
    SSL_set_accept_state(server_ssl.get());
    bool done = false;
    for (int i = 0; i < 100 && !done; i++) {
      ERR_clear_error();
      const bool client_done = SSL_do_handshake(client_ssl.get()) == 1;
      ERR_clear_error();
      done = SSL_do_handshake(server_ssl.get()) == 1 && client_done;
    }
    EXPECT_TRUE(done);
    client = std::make_unique<Connection>(loop, left);
    server = std::make_unique<Connection>(loop, right);
    client->socket->use_tls(client_ssl.get());
    server->socket->use_tls(server_ssl.get());
  }
  Context server_ctx;
  Context client_ctx;
  Session client_ssl;
  Session server_ssl;
  std::unique_ptr<Connection> client;
  std::unique_ptr<Connection> server;
};

class Tls : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(, Tls, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION),
                         [](const auto& p) { return p.param == TLS1_2_VERSION ? "1_2" : "1_3"; });

void settle(Loop& loop) {
  for (int i = 0; i < 5; i++) turn(loop);
}

TEST_P(Tls, EchoesSmallMessages) {
  const auto loop = make_loop();
  TlsPair pair(*loop, GetParam());
  int rounds = 0;
  const auto talk = [&]() -> Task<> {
    for (; rounds < 100; rounds++) {
      const std::string text = "message " + std::to_string(rounds);
      EXPECT_TRUE(co_await write_all(*pair.client, text));
      EXPECT_EQ(co_await read_up_to(*pair.client, text.size()), text);
    }
    loop->stop();
  };
  Task<> serving = echo(*pair.server);
  Task<> talking = talk();
  serving.start();
  talking.start();
  run_to_the_end(*loop);
  EXPECT_EQ(rounds, 100);
}

TEST_P(Tls, CarriesMegabytesBothWaysAtOnceThroughBackpressure) {
  const auto loop = make_loop(5000);  // no multiple of a record
  TlsPair pair(*loop, GetParam());
  const std::string sent = pattern(3 << 20);
  std::string received;
  const auto talk = [&]() -> Task<> {
    Connection& c = *pair.client;
    ByteView rest = as_bytes(sent);
    while (received.size() < sent.size()) {
      if (!c.socket->may_receive() && (rest.empty() || !c.socket->can_send())) co_await c.waiter.wait();
      if (!rest.empty() && c.socket->can_send()) rest = rest.subspan(*c.socket->send(rest));
      if (c.socket->may_receive()) received += as_text(c.socket->receive().bytes);
    }
    loop->stop();
  };
  Task<> serving = echo(*pair.server);
  Task<> talking = talk();
  serving.start();
  talking.start();
  run_to_the_end(*loop);
  EXPECT_TRUE(received == sent);
}

TEST_P(Tls, OneReceiveTakesEveryRecordThatIsThere) {
  const auto loop = make_loop();
  TlsPair pair(*loop, GetParam());
  for (const char* text : {"one ", "two ", "three"}) ASSERT_TRUE(pair.client->socket->send(as_bytes(text)).ok());
  settle(*loop);
  ASSERT_TRUE(pair.server->socket->may_receive());
  EXPECT_EQ(as_text(pair.server->socket->receive().bytes), "one two three");
  EXPECT_FALSE(pair.server->socket->may_receive());
}

TEST_P(Tls, WhatOpensslHasReadAlreadyIsNotForgottenByALimitOrByAHandOver) {
  const auto loop = make_loop();
  const auto other = make_loop();
  TlsPair pair(*loop, GetParam());
  ASSERT_TRUE(pair.client->socket->send(as_bytes("0123456789")).ok());
  settle(*loop);
  Socket& socket = *pair.server->socket;
  EXPECT_EQ(as_text(socket.receive(4).bytes), "0123");
  ASSERT_TRUE(socket.may_receive());
  socket.set_waiter(nullptr);
  socket.detach();
  ASSERT_TRUE(socket.attach_to(*other).ok());
  ASSERT_TRUE(socket.may_receive());  // the kernel knows nothing of these bytes
  EXPECT_EQ(as_text(socket.receive().bytes), "456789");
  EXPECT_FALSE(socket.may_receive());
  ASSERT_TRUE(socket.send(as_bytes("answer")).ok());
  settle(*loop);
  EXPECT_EQ(as_text(pair.client->socket->receive().bytes), "answer");
}

TEST_P(Tls, ACloseNotifyIsAnEndAfterTheLastBytes) {
  const auto loop = make_loop();
  TlsPair pair(*loop, GetParam());
  ASSERT_TRUE(pair.client->socket->send(as_bytes("bye")).ok());
  SSL_shutdown(pair.client_ssl.get());
  settle(*loop);
  EXPECT_EQ(as_text(pair.server->socket->receive().bytes), "bye");
  ASSERT_TRUE(pair.server->socket->may_receive());
  EXPECT_EQ(pair.server->socket->receive().kind, Kind::end);
}

TEST_P(Tls, ABareCloseIsAnEnd) {
  const auto loop = make_loop();
  TlsPair pair(*loop, GetParam());
  pair.client->socket->receive();  // session tickets: unread bytes would turn the close into a reset
  pair.client->socket.reset();
  settle(*loop);
  ASSERT_TRUE(pair.server->socket->may_receive());
  EXPECT_EQ(pair.server->socket->receive().kind, Kind::end);
  EXPECT_TRUE(pair.server->socket->hung_up());
  const auto sent = pair.server->socket->send(as_bytes("x"));  // no SIGPIPE
  ASSERT_FALSE(sent.ok());
  EXPECT_TRUE(sent.error().connection_spoilt);
}

TEST_P(Tls, BytesThatAreNoTlsAreAnErrorOfThatConnectionOnly) {
  const auto loop = make_loop();
  TlsPair bad(*loop, GetParam());
  TlsPair good(*loop, GetParam());
  EXPECT_GT(::send(bad.client->socket->fd(), "SELECT 1; -- in clear text", 26, MSG_NOSIGNAL), 0);
  ASSERT_TRUE(good.client->socket->send(as_bytes("fine")).ok());
  settle(*loop);
  const Received got = bad.server->socket->receive();
  EXPECT_EQ(got.kind, Kind::failed);
  EXPECT_NE(got.error, 0);
  EXPECT_EQ(as_text(good.server->socket->receive().bytes), "fine");
  EXPECT_FALSE(good.server->socket->may_receive());  // what stands in the thread's error queue is not its error
}

}  // namespace
}  // namespace weir::net
