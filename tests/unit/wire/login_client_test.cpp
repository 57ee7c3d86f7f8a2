#include "wire/login_client.hpp"

#include <gtest/gtest.h>

#include <memory>

#include "base/strings.hpp"
#include "wire/md5.hpp"
#include "wire/messages.hpp"

namespace weir::wire {
namespace {

using namespace std::string_view_literals;

std::string code(std::uint32_t n) { return {static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8), static_cast<char>(n)}; }

// A login and what it wrote last; messages are given to it in exact-size heap buffers.
struct Login {
  explicit Login(LoginSecrets secrets, LoginOptions::Binding binding = LoginOptions::Binding::prefer, std::string data = {})
      : client({{{"user", "ann"}, {"database", "app"}}, std::move(secrets), binding, std::move(data)}) {
    client.start(out);
  }
  Result<bool> give(char type, std::string_view body) {
    out.clear();
    ByteBuffer whole;
    write_message(whole, type, body);
    const std::size_t size = whole.size();
    const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[size]);
    std::copy(whole.view().begin(), whole.view().end(), exact.get());
    return client.on_message(next_message(ByteView(exact.get(), size)).message, out);
  }
  [[nodiscard]] std::string written() const { return std::string(as_text(out.view())); }

  ByteBuffer out;
  LoginClient client;
};

const std::string kOk = code(0);
const std::string kKey = code(77) + code(99);

TEST(LoginClient, BeginsWithTheStartupMessage) {
  Login login({});
  EXPECT_EQ(login.written(), concat(code(31), code(3 << 16), "user\0ann\0database\0app\0\0"sv));
}

TEST(LoginClient, TakesParametersAndTheKeyOfAServerThatAsksForNothing) {
  Login login({});
  ASSERT_TRUE(login.give('R', kOk));
  ASSERT_TRUE(login.give('S', std::string("TimeZone\0UTC\0", 13)));
  ASSERT_TRUE(login.give('N', std::string("SNOTICE\0\0", 9)));
  ASSERT_TRUE(login.give('S', std::string("TimeZone\0GMT\0", 13)));
  ASSERT_TRUE(login.give('K', kKey));
  const auto ready = login.give('Z', "I");
  ASSERT_TRUE(ready);
  EXPECT_TRUE(*ready);
  ASSERT_EQ(login.client.parameters().size(), 1U);
  EXPECT_EQ(login.client.parameters()[0].second, "GMT");
  ASSERT_TRUE(login.client.key());
  EXPECT_EQ(login.client.key()->pid, 77U);
}

TEST(LoginClient, AnswersMd5WithThePasswordOrWithTheStoredSecret) {
  const Md5Salt salt{1, 2, 3, 4};
  const std::string request = code(5) + std::string("\1\2\3\4");
  const std::string secret = *md5_secret("pw", "ann");
  for (const LoginSecrets& secrets : {LoginSecrets{"pw", "", nullptr}, LoginSecrets{"", secret, nullptr}}) {
    Login login(secrets);
    ASSERT_TRUE(login.give('R', request));
    EXPECT_EQ(login.written(), concat("p", code(40), *md5_response(secret, salt), std::string(1, '\0')));
  }
  EXPECT_FALSE(Login({}).give('R', request));
  EXPECT_FALSE(Login({"pw", "", nullptr}).give('R', code(5) + "123")) << "a short salt";
}

TEST(LoginClient, GivesThePasswordItselfOnlyWhereItIsKnown) {
  Login login({"pw", "", nullptr});
  ASSERT_TRUE(login.give('R', code(3)));
  EXPECT_EQ(login.written(), concat("p", code(7), std::string("pw\0", 3)));
  const auto refused = Login({"", *md5_secret("pw", "ann"), nullptr}).give('R', code(3));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, sqlstate::kInvalidPassword);
}

// The server's side of SCRAM, driven by what the login writes.
struct Peer {
  explicit Peer(ChannelBinding binding = {}) : scram(ScramSecret::from_password("pw"), std::move(binding)) {}
  static std::string mechanisms(bool plus) {
    return code(10) + (plus ? std::string("SCRAM-SHA-256-PLUS\0", 19) : std::string()) + std::string("SCRAM-SHA-256\0\0", 15);
  }
  std::string challenge(Login& login) {
    const Message sent = next_message(login.out.view()).message;
    const auto initial = read_sasl_initial(sent.body);
    mechanism = initial->mechanism;
    return code(11) + *scram.first(initial->data);
  }
  std::string signature(Login& login) { return code(12) + *scram.final(as_text(next_message(login.out.view()).message.body)); }
  ScramServer scram;
  std::string mechanism;
};

TEST(LoginClient, SpeaksScramToTheEnd) {
  Login login({"pw", "", nullptr});
  Peer peer;
  ASSERT_TRUE(login.give('R', Peer::mechanisms(true)));
  ASSERT_TRUE(login.give('R', peer.challenge(login)));
  EXPECT_EQ(peer.mechanism, "SCRAM-SHA-256") << "no TLS";
  ASSERT_TRUE(login.give('R', peer.signature(login)));
  EXPECT_TRUE(login.give('R', kOk));
}

TEST(LoginClient, BindsTheChannelWhereItCan) {
  Login login({"pw", "", nullptr}, LoginOptions::Binding::require, "hash");
  Peer peer({"hash", true});
  ASSERT_TRUE(login.give('R', Peer::mechanisms(true)));
  ASSERT_TRUE(login.give('R', peer.challenge(login)));
  EXPECT_EQ(peer.mechanism, "SCRAM-SHA-256-PLUS");
  ASSERT_TRUE(login.give('R', peer.signature(login)));
  EXPECT_TRUE(login.give('R', kOk));
}

TEST(LoginClient, RequiresChannelBindingWhenAskedTo) {
  const auto require = LoginOptions::Binding::require;
  EXPECT_FALSE(Login({"pw", "", nullptr}, require, "hash").give('R', Peer::mechanisms(false)));
  EXPECT_FALSE(Login({"pw", "", nullptr}, require).give('R', Peer::mechanisms(true)));
  EXPECT_FALSE(Login({"pw", "", nullptr}, require, "hash").give('R', code(5) + "1234"));
  EXPECT_FALSE(Login({"pw", "", nullptr}, require, "hash").give('R', kOk));
}

TEST(LoginClient, RefusesAServerThatStopsBeforeItHasProvedItself) {
  Login login({"pw", "", nullptr});
  Peer peer;
  ASSERT_TRUE(login.give('R', Peer::mechanisms(false)));
  ASSERT_TRUE(login.give('R', peer.challenge(login)));
  EXPECT_FALSE(login.give('R', kOk));
}

TEST(LoginClient, RefusesMessagesOutOfOrder) {
  EXPECT_FALSE(Login({}).give('Z', "I"));
  EXPECT_FALSE(Login({}).give('S', std::string("a\0b\0", 4)));
  EXPECT_FALSE(Login({}).give('D', ""));
  EXPECT_FALSE(Login({"pw", "", nullptr}).give('R', code(11) + "r=x"));
  EXPECT_FALSE(Login({"pw", "", nullptr}).give('R', code(12) + "v=x"));
  EXPECT_FALSE(Login({}).give('R', ""));
  EXPECT_FALSE(Login({}).give('R', code(10) + "SCRAM-SHA-1"));
  Login twice({"pw", "", nullptr});
  ASSERT_TRUE(twice.give('R', code(3)));
  EXPECT_FALSE(twice.give('R', code(3)));
  Login done({});
  ASSERT_TRUE(done.give('R', kOk));
  EXPECT_FALSE(done.give('R', kOk));
  EXPECT_FALSE(done.give('K', "short"));
}

TEST(LoginClient, NamesWhatItCannotDo) {
  const auto gss = Login({}).give('R', code(7));
  ASSERT_FALSE(gss);
  EXPECT_NE(gss.error().message.find("GSSAPI"), std::string::npos);
}

TEST(LoginClient, PassesTheServersRefusalOn) {
  Login login({});
  const auto refused = login.give('E', "SFATAL\0C3D000\0Mdatabase \"x\" does not exist\0\0"sv);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, sqlstate::kInvalidDatabase);
  EXPECT_TRUE(login.client.refused_by_server());
}

}  // namespace
}  // namespace weir::wire
