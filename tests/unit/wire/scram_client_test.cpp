#include "wire/scram_client.hpp"

#include <gtest/gtest.h>

#include "base/strings.hpp"
#include "wire/base64.hpp"

namespace weir::wire {
namespace {

// RFC 7677, section 3 ("pencil"); the name is left out of ours, so messages are compared from the nonce on.
constexpr std::string_view kNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const std::string kSalt = *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==");

ScramSecret secret(std::uint32_t iterations = 4096) { return ScramSecret::derive("pencil", kSalt, iterations); }
std::string server_first(std::string_view iterations = "4096") {
  return concat("r=", kNonce, kServerNonce, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=", iterations);
}

// The whole exchange; the client key that the server learned, or what failed first.
Result<std::array<std::uint8_t, 32>> exchange(ScramClient& client, ScramServer& server) {
  auto challenge = server.first(client.first());
  if (!challenge) return challenge.take_error();
  auto answer = client.final(*challenge);
  if (!answer) return answer.take_error();
  auto signature = server.final(*answer);
  if (!signature) return signature.take_error();
  if (auto verified = client.verify(*signature); !verified) return verified.take_error();
  return server.client_key();
}

TEST(ScramClient, LogsInWithThePassword) {
  ScramClient client("pencil", {}, std::string(kNonce));
  ScramServer server(secret(), {}, std::string(kServerNonce));
  EXPECT_EQ(client.first(), concat("n,,n=,r=", kNonce));
  EXPECT_TRUE(exchange(client, server));
}

TEST(ScramClient, LogsInWithTheKeysThatAServerLearnedFromAnotherClient) {
  ScramClient first("pencil", {});
  ScramServer learner(secret());
  const auto key = exchange(first, learner);
  ASSERT_TRUE(key);
  ScramClient second(std::make_shared<const ScramKeys>(keys_of(secret(), *key)), {});
  ScramServer server(secret());
  const auto again = exchange(second, server);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(*again, *key);
}

TEST(ScramClient, RefusesToUseKeysOfAnotherSaltOrIterationCount) {
  const auto keys = std::make_shared<const ScramKeys>(ScramKeys{"another salt", 4096, {}, {}});
  ScramClient client(keys, {}, std::string(kNonce));
  (void)client.first();
  const auto answer = client.final(server_first());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, sqlstate::kInvalidPassword);
  ScramClient other(std::make_shared<const ScramKeys>(ScramKeys{kSalt, 5000, {}, {}}), {}, std::string(kNonce));
  (void)other.first();
  EXPECT_FALSE(other.final(server_first()));
}

TEST(ScramClient, BindsTheChannel) {
  const ChannelBinding binding{"hash of the certificate", true};
  ScramClient client("pencil", binding);
  ScramServer server(secret(), binding);
  EXPECT_TRUE(exchange(client, server));
  ScramClient elsewhere("pencil", {"hash of somebody's in between", true});
  ScramServer refuses(secret(), binding);
  const auto outcome = exchange(elsewhere, refuses);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, sqlstate::kInvalidAuthorization);
}

TEST(ScramServer, RefusesAClientFromWhomTheOfferOfChannelBindingWasHidden) {
  ScramClient client("pencil", {"hash of the certificate", false});   // it could bind, and was not offered to: flag 'y'
  ScramServer offered(secret(), {"hash of the certificate", false});
  const auto outcome = exchange(client, offered);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, sqlstate::kInvalidAuthorization);
  ScramClient same("pencil", {"hash of the certificate", false});
  ScramServer not_offered(secret());
  EXPECT_TRUE(exchange(same, not_offered));
}

TEST(ScramServer, ReadsChannelBindingDataOfThePlusMechanismOnly) {
  const std::string nonce = ",,n=,r=abc";
  EXPECT_FALSE(ScramServer(secret()).first("p=tls-server-end-point" + nonce));
  EXPECT_FALSE(ScramServer(secret(), {"x", true}).first("n" + nonce));
  EXPECT_FALSE(ScramServer(secret(), {"x", true}).first("p=tls-unique" + nonce));
  EXPECT_FALSE(ScramServer(secret(), {"x", true}).first("p=tls-server-end-points" + nonce));
  EXPECT_FALSE(ScramServer(secret(), {"x", true}).first("p=tls-server-end-point"));
  EXPECT_FALSE(ScramServer(secret(), {"x", true}).first("p=tls-server-end-point,"));
  EXPECT_TRUE(ScramServer(secret(), {"x", true}).first("p=tls-server-end-point" + nonce));
}

TEST(ScramClient, RefusesEveryMalformedServerFirstMessage) {
  const std::string r = concat("r=", kNonce, kServerNonce);
  const std::string bad[] = {"", "r=", r, r + ",s=W22ZaJ0SNY7soEsUEjb6gQ==", r + ",s=,i=4096", r + ",s=!,i=4096", r + ",i=4096,s=W22ZaJ0SNY7soEsUEjb6gQ==",
                             r + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=", r + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0", r + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-1",
                             r + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096x", r + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999999",
                             concat("r=", kNonce, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),                    // the nonce was not continued
                             concat("r=x", kNonce, kServerNonce, ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),     // nor begun with ours
                             concat("m=x,", server_first()), concat(server_first(), std::string(5000, 'x')),
                             concat(r, ",s=", base64_encode(std::string(ScramClient::kMaxSalt + 1, 's')), ",i=4096"),
                             server_first("1000001")};
  for (const std::string& message : bad) {
    ScramClient client("pencil", {}, std::string(kNonce));
    (void)client.first();
    EXPECT_FALSE(client.final(message)) << message;
  }
}

TEST(ScramClient, RefusesEveryServerThatCannotProveItself) {
  const std::string bad[] = {"", "v=", "v=AAAA", "e=other-error", concat("v=", base64_encode(std::string(32, 'x'))), "x=1"};
  for (const std::string& message : bad) {
    ScramClient client("pencil", {}, std::string(kNonce));
    (void)client.first();
    ASSERT_TRUE(client.final(server_first()));
    EXPECT_FALSE(client.verify(message)) << message;
  }
}

TEST(ScramClient, IsSpentByAWrongOrder) {
  ScramClient client("pencil", {}, std::string(kNonce));
  EXPECT_FALSE(client.final(server_first()));
  EXPECT_FALSE(client.verify("v=AAAA"));
}

}  // namespace
}  // namespace weir::wire
