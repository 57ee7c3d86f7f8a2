#include "net/server_tls.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "support.hpp"

namespace weir::net {
namespace {

using namespace std::string_literals;
using Step = ServerTls::Step;

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

struct Identity {
  Key key{EVP_EC_gen("P-256")};
  Certificate certificate{X509_new()};
};

// `issuer` null: signed by itself.
Identity issue(const std::string& cn, const Identity* issuer = nullptr, const EVP_MD* digest = EVP_sha256(), Key key = {}) {
  Identity made;
  if (key) made.key = std::move(key);
  X509* x = made.certificate.get();
  X509_set_version(x, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
  X509_gmtime_adj(X509_getm_notBefore(x), -60);
  X509_gmtime_adj(X509_getm_notAfter(x), 3600);
  X509_set_pubkey(x, made.key.get());
  X509_NAME* name = X509_get_subject_name(x);
  const auto add = [&](const char* field, const std::string& value) {
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                               static_cast<int>(value.size()), -1, 0);
  };
  add("O", "Example, Inc.");
  if (!cn.empty()) add("CN", cn);
  X509_set_issuer_name(x, issuer != nullptr ? X509_get_subject_name(issuer->certificate.get()) : name);
  if (issuer == nullptr) {
    X509_EXTENSION* authority = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(x, authority, -1);
    X509_EXTENSION_free(authority);
  }
  EXPECT_GT(X509_sign(x, issuer != nullptr ? issuer->key.get() : made.key.get(), digest), 0);
  return made;
}

class ServerTlsTest : public testing::Test {
 protected:
  ServerTlsTest() {
    char name[] = "/tmp/weir_tls_XXXXXX";
    folder_ = mkdtemp(name);
  }
  ~ServerTlsTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const auto& put) {
    const std::string path = folder_ + "/" + name;
    const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    FILE* file = fdopen(fd, "w");
    put(file);
    fclose(file);
    return path;
  }
  std::string write_certificate(const std::string& name, const Identity& of) {
    return write(name, [&](FILE* f) { PEM_write_X509(f, of.certificate.get()); });
  }
  TlsFiles files_of(const Identity& server) {
    TlsFiles files;
    files.certificate = write_certificate("server.crt", server);
    files.key = write("server.key", [&](FILE* f) { PEM_write_PrivateKey(f, server.key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
    return files;
  }
  std::string end_point_of(const Identity& server) {
    auto context = TlsContext::load(files_of(server));
    EXPECT_TRUE(context.ok()) << (context ? "" : context.error().message);
    return std::string((*context)->server_end_point());
  }

  std::string folder_;
};

std::string digest_of(const Identity& identity, const EVP_MD* digest) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  X509_digest(identity.certificate.get(), digest, out, &size);
  return {reinterpret_cast<const char*>(out), size};
}

TEST_F(ServerTlsTest, TheEndPointIsTheCertificatesHashByItsOwnAlgorithmButAtLeastSha256) {
  for (const auto& [signed_by, hashed_by] : {std::pair{EVP_sha256(), EVP_sha256()}, std::pair{EVP_sha384(), EVP_sha384()},
                                             std::pair{EVP_sha512(), EVP_sha512()}, std::pair{EVP_sha1(), EVP_sha256()}}) {
    const Identity server = issue("server", nullptr, signed_by);
    EXPECT_EQ(end_point_of(server), digest_of(server, hashed_by)) << EVP_MD_get0_name(signed_by);
  }
}

TEST_F(ServerTlsTest, ThereIsNoEndPointWhereTheSignatureHasNoHash) {
  EXPECT_EQ(end_point_of(issue("server", nullptr, nullptr, Key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")))), "");
}

TEST_F(ServerTlsTest, AKeyThatOthersMayReadIsRefused) {
  const TlsFiles files = files_of(issue("server"));
  EXPECT_TRUE(TlsContext::load(files).ok());
  for (const mode_t mode : {0644, 0604, 0660, 0601}) {
    ASSERT_EQ(chmod(files.key.c_str(), mode), 0);
    const auto context = TlsContext::load(files);
    ASSERT_FALSE(context.ok()) << std::oct << mode;
    EXPECT_EQ(context.error().code, sqlstate::kConfigFile);
    EXPECT_NE(context.error().message.find(files.key), std::string::npos);
  }
}

// A client of OpenSSL's at the other end of a socketpair.
struct Handshake {
  Handshake(std::shared_ptr<const TlsContext> context, const Identity* shown, bool alpn_required = false)
      : client_context(SSL_CTX_new(TLS_client_method())) {
    std::tie(left, right) = unix_pair();
    for (const int fd : {left, right}) fcntl(fd, F_SETFL, O_NONBLOCK);
    if (shown != nullptr) {
      SSL_CTX_use_certificate(client_context.get(), shown->certificate.get());
      SSL_CTX_use_PrivateKey(client_context.get(), shown->key.get());
    }
    client.reset(SSL_new(client_context.get()));
    SSL_set_fd(client.get(), left);
    SSL_set_connect_state(client.get());
    server = std::make_unique<ServerTls>(std::move(context), right, ByteView{}, alpn_required);
  }
  ~Handshake() {
    for (const int fd : {left, right}) close(fd);
  }
  Step run() {
    Step step = Step::wants_read;
    for (int i = 0; i < 20 && step == Step::wants_read; i++) {
      SSL_do_handshake(client.get());
      step = server->handshake();
    }
    return step;
  }
  int left = -1, right = -1;
  Context client_context;
  Session client;
  std::unique_ptr<ServerTls> server;
};

class PeerTest : public ServerTlsTest {
 protected:
  std::shared_ptr<const TlsContext> context(bool demand) {
    TlsFiles files = files_of(issue("server"));
    files.ca = write_certificate("ca.crt", authority);
    files.demand_certificate = demand;
    auto loaded = TlsContext::load(files);
    EXPECT_TRUE(loaded.ok()) << (loaded ? "" : loaded.error().message);
    return *loaded;
  }
  const Identity authority = issue("authority");
};

TEST_F(PeerTest, AVerifiedClientIsKnownByItsCommonNameAndItsWholeName) {
  const Identity ann = issue("ann", &authority);
  for (const bool demand : {false, true}) {
    Handshake handshake(context(demand), &ann);
    ASSERT_EQ(handshake.run(), Step::done) << handshake.server->failure();
    EXPECT_TRUE(handshake.server->has_verified_peer());
    EXPECT_EQ(handshake.server->peer_cn(), "ann");
    EXPECT_EQ(handshake.server->peer_dn(), "CN=ann,O=Example\\, Inc.");
    EXPECT_EQ(handshake.server->description(), "TLSv1.3/TLS_AES_256_GCM_SHA384");
  }
}

TEST_F(PeerTest, AStrangersCertificateCountsAsNoneOrIsRefused) {
  const Identity stranger = issue("ann", nullptr);
  Handshake welcome(context(false), &stranger);
  ASSERT_EQ(welcome.run(), Step::done);
  EXPECT_FALSE(welcome.server->has_verified_peer());
  EXPECT_EQ(welcome.server->peer_cn(), "");
  Handshake refused(context(true), &stranger);
  EXPECT_EQ(refused.run(), Step::failed);
  EXPECT_NE(refused.server->failure(), "");
  EXPECT_FALSE(refused.server->has_verified_peer());
}

TEST_F(PeerTest, NoCertificateIsNoNameOrIsRefused) {
  Handshake welcome(context(false), nullptr);
  ASSERT_EQ(welcome.run(), Step::done);
  EXPECT_FALSE(welcome.server->has_verified_peer());
  Handshake refused(context(true), nullptr);
  EXPECT_EQ(refused.run(), Step::failed);
}

TEST_F(PeerTest, ACommonNameWithANulInsideIsRefusedAndAMissingOneIsEmpty) {
  const Identity forged = issue("ann\0.evil"s, &authority);
  Handshake refused(context(false), &forged);
  EXPECT_EQ(refused.run(), Step::failed);
  EXPECT_FALSE(refused.server->has_verified_peer());
  const Identity nameless = issue("", &authority);
  Handshake taken(context(true), &nameless);
  ASSERT_EQ(taken.run(), Step::done);
  EXPECT_TRUE(taken.server->has_verified_peer());
  EXPECT_EQ(taken.server->peer_cn(), "");
}

TEST_F(PeerTest, DirectTlsWithoutAlpnIsRefusedBeforeAnythingIsSigned) {
  Handshake without(context(false), nullptr, true);
  EXPECT_EQ(without.run(), Step::failed);
  Handshake with(context(false), nullptr, true);
  static constexpr unsigned char kOffered[] = "\x02h2\x0apostgresql";
  SSL_set_alpn_protos(with.client.get(), kOffered, sizeof kOffered - 1);
  EXPECT_EQ(with.run(), Step::done) << with.server->failure();
}

TEST_F(PeerTest, NoStepBeginsOnceItIsAbandoned) {
  Handshake handshake(context(false), nullptr);
  SSL_do_handshake(handshake.client.get());
  handshake.server->abandon();
  EXPECT_EQ(handshake.server->handshake(), Step::failed);
  char byte = 0;
  EXPECT_EQ(recv(handshake.left, &byte, 1, 0), -1);  // nothing was answered
}

// As a session does it: steps on another thread, edges on the loop's, then the socket itself takes over.
TEST_F(PeerTest, StepsOfAnotherThreadAndEdgesOfTheLoopMakeAConnection) {
  const auto loop = make_loop();
  Handshake handshake(context(false), nullptr);
  // The client's side: a blocking one, on a thread of its own.
  fcntl(handshake.left, F_SETFL, 0);
  std::string heard(5, '\0');
  std::thread peer([&] {
    EXPECT_EQ(SSL_do_handshake(handshake.client.get()), 1);
    EXPECT_EQ(SSL_write(handshake.client.get(), "hello", 5), 5);
    EXPECT_EQ(SSL_read(handshake.client.get(), heard.data(), 5), 5);
  });
  auto socket = std::move(Socket::attach(*loop, dup(handshake.right))).value();
  Waiter waiter(*loop);
  socket->set_waiter(&waiter);
  std::optional<Step> step;
  const auto serve = [&]() -> Task<> {
    for (;;) {
      socket->expect_readable();
      step.reset();
      std::thread worker([&] {
        const Step made = handshake.server->handshake();
        loop->post([&, made] {
          step = made;
          waiter.notify();
        });
      });
      while (!step) co_await waiter.wait();
      worker.join();
      if (*step != Step::wants_read) break;
      while (!socket->may_receive()) co_await waiter.wait();
    }
    EXPECT_EQ(*step, Step::done) << handshake.server->failure();
    socket->use_tls(handshake.server->get());
    std::string got;
    while (got.size() < 5) {
      while (!socket->may_receive()) co_await waiter.wait();
      got += as_text(socket->receive().bytes);
    }
    EXPECT_EQ(got, "hello");
    EXPECT_TRUE(socket->send(as_bytes(got)).ok());
    loop->stop();
  };
  Task<> serving = serve();
  serving.start();
  run_to_the_end(*loop);
  peer.join();
  EXPECT_EQ(heard, "hello");
  socket->set_waiter(nullptr);
}

}  // namespace
}  // namespace weir::net
