#include "wire/scram.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/strings.hpp"
#include "tests/unit/wire/exact_bytes.hpp"
#include "wire/base64.hpp"
#include "wire/scram_crypto.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;
using testing::StartsWith;

// RFC 7677, section 3: user "user", password "pencil".
constexpr std::string_view kClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kNonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kWithoutProof = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kProof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

const std::string kSalt = *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ==");

ScramSecret secret() {
  static const ScramSecret made = ScramSecret::derive("pencil", kSalt, 4096);
  return made;
}

ScramServer server() { return ScramServer(secret(), {}, std::string(kServerNonce)); }

std::string rfc_final() { return concat(kWithoutProof, ",p=", kProof); }

// The client's side, for messages the RFC has no vector of.
std::string proof_of(std::string_view password, std::string_view client_first_bare, std::string_view server_first,
                     std::string_view without_proof) {
  const Digest salted = pbkdf2_sha256(password, kSalt, 4096);
  Digest key = hmac_sha256(as_text(salted), "Client Key");
  const Digest signature =
      hmac_sha256(as_text(sha256(as_text(key))), concat(client_first_bare, ",", server_first, ",", without_proof));
  for (std::size_t i = 0; i < key.size(); ++i) key[i] ^= signature[i];
  return base64_encode(as_text(key));
}

void expect_error(const Result<std::string>& r, SqlState code, std::string_view context) {
  ASSERT_FALSE(r.ok()) << context;
  EXPECT_EQ(r.error().code, code) << context;
  EXPECT_TRUE(r.error().connection_spoilt) << context;
}

TEST(ScramServer, SpeaksTheExchangeOfRfc7677) {
  ScramServer s = server();
  const ExactBytes first(kClientFirst);
  const auto server_first = s.first(first.text());
  ASSERT_TRUE(server_first.ok()) << server_first.error().message;
  EXPECT_EQ(*server_first, kServerFirst);
  const ExactBytes final(rfc_final());
  const auto server_final = s.final(final.text());
  ASSERT_TRUE(server_final.ok()) << server_final.error().message;
  EXPECT_EQ(*server_final, kServerFinal);
}

TEST(ScramServer, RefusesAWrongPasswordWith28P01) {
  ScramServer s = server();
  ASSERT_TRUE(s.first(kClientFirst).ok());
  const std::string proof = proof_of("pencils", kClientFirst.substr(3), kServerFirst, kWithoutProof);
  const auto r = s.final(concat(kWithoutProof, ",p=", proof));
  expect_error(r, sqlstate::kInvalidPassword, "wrong password");
  EXPECT_EQ(r.error().message, "password authentication failed");
}

TEST(ScramServer, RefusesAProofWithAnyBitChanged) {
  const std::string proof = *base64_decode(kProof);
  for (std::size_t bit = 0; bit < 8 * proof.size(); ++bit) {
    std::string changed = proof;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    ScramServer s = server();
    ASSERT_TRUE(s.first(kClientFirst).ok());
    expect_error(s.final(concat(kWithoutProof, ",p=", base64_encode(changed))), sqlstate::kInvalidPassword, "bit");
  }
}

TEST(ScramServer, RefusesEveryProperPrefixOfTheFinalMessage) {
  for_each_cut(rfc_final(), [](std::size_t n, const ExactBytes& cut) {
    ScramServer s = server();
    ASSERT_TRUE(s.first(kClientFirst).ok());
    expect_error(s.final(cut.text()), sqlstate::kProtocolViolation, std::to_string(n));
  });
}

TEST(ScramServer, RefusesEveryPrefixOfTheFirstMessageThatHasNoNonce) {
  for_each_cut(kClientFirst, [](std::size_t n, const ExactBytes& cut) {
    ScramServer s = server();
    EXPECT_EQ(s.first(cut.text()).ok(), n > kClientFirst.find("r=") + 2) << n;
  });
}

TEST(ScramServer, TakesAClientThatWouldBindTheChannelButThinksTheServerCannot) {
  ScramServer s = server();
  ASSERT_TRUE(s.first(concat("y", kClientFirst.substr(1))).ok());
  const std::string without = concat("c=eSws,r=", kNonce);
  EXPECT_TRUE(s.final(concat(without, ",p=", proof_of("pencil", kClientFirst.substr(3), kServerFirst, without))).ok());
}

TEST(ScramServer, RefusesAChannelBindingThatDoesNotRepeatTheHeader) {
  const std::pair<std::string, std::string> mixed[] = {
      {"n", "eSws"}, {"y", "biws"}, {"n", ""}, {"n", "cD10bHMtdW5pcXVlLCw="}};
  for (const auto& [flag, binding] : mixed) {
    ScramServer s = server();
    ASSERT_TRUE(s.first(concat(flag, kClientFirst.substr(1))).ok());
    const std::string without = concat("c=", binding, ",r=", kNonce);
    const std::string proof = proof_of("pencil", kClientFirst.substr(3), kServerFirst, without);
    expect_error(s.final(concat(without, ",p=", proof)), sqlstate::kProtocolViolation, binding);
  }
}

TEST(ScramServer, TakesOptionalExtensionsInBothMessagesAndHashesThem) {
  ScramServer s = server();
  const std::string first = concat(kClientFirst, ",x=1,Y=");
  ASSERT_TRUE(s.first(first).ok());
  const std::string without = concat(kWithoutProof, ",z=any thing");
  EXPECT_TRUE(s.final(concat(without, ",p=", proof_of("pencil", first.substr(3), kServerFirst, without))).ok());
}

TEST(ScramServer, RefusesMalformedFirstMessages) {
  for (const std::string& first : {""s,
                                   "n"s,
                                   "n,"s,
                                   "n,,"s,
                                   "x,,n=u,r=a"s,
                                   "p=tls-unique,,n=u,r=a"s,
                                   "p,,n=u,r=a"s,
                                   "nn,n=u,r=a"s,
                                   "n,x,n=u,r=a"s,
                                   "n,,r=a"s,
                                   "n,,r=a,n=u"s,
                                   "n,,n=u"s,
                                   "n,,n=u,r="s,
                                   "n,,n=u,r"s,
                                   "n,,nu,r=a"s,
                                   "n,,n=u,r=a,"s + "x"s,
                                   "n,,n=u,r=a,1=2"s,
                                   "n,,n=u,,r=a"s,
                                   "n,,n=u,r=a b"s,
                                   "n,,n=u,r=a\x7f"s,
                                   "n,,n=u,r=\xc3\xa9"s,
                                   "n,,n=u,r=a\0"s,
                                   "n,,n=u\0,r=a"s,
                                   "N,,n=u,r=a"s}) {
    ScramServer s = server();
    const ExactBytes exact(first);
    expect_error(s.first(exact.text()), sqlstate::kProtocolViolation, first);
  }
}

TEST(ScramServer, RefusesWhatItDoesNotSupportWith0A000) {
  for (const char* first : {"n,a=other,n=u,r=a", "n,,m=ext,n=u,r=a"}) {
    ScramServer s = server();
    expect_error(s.first(first), sqlstate::kFeatureNotSupported, first);
  }
}

TEST(ScramServer, BoundsTheNonceAndTheMessages) {
  const auto nonce = [](std::size_t n) { return concat("n,,n=u,r=", std::string(n, 'a')); };
  EXPECT_TRUE(server().first(nonce(ScramServer::kMaxClientNonce)).ok());
  expect_error(server().first(nonce(ScramServer::kMaxClientNonce + 1)), sqlstate::kProtocolViolation, "nonce");
  const auto user = [](std::size_t size) { return concat("n,,n=", std::string(size - 9, 'u'), ",r=a"); };
  EXPECT_TRUE(server().first(user(ScramServer::kMaxMessage)).ok());
  expect_error(server().first(user(ScramServer::kMaxMessage + 1)), sqlstate::kProtocolViolation, "message");

  ScramServer s = server();
  ASSERT_TRUE(s.first(kClientFirst).ok());
  expect_error(s.final(concat(kWithoutProof, ",x=", std::string(ScramServer::kMaxMessage, 'x'), ",p=", kProof)),
               sqlstate::kProtocolViolation, "final");
}

TEST(ScramServer, RefusesMalformedFinalMessages) {
  const std::string r = concat("r=", kNonce), p = concat("p=", kProof);
  for (const std::string& final :
       {""s, "c=biws"s, "c=biws," + r, "c=biws," + p, r + "," + p, r + ",c=biws," + p, "c=biws," + r + "," + p + ",x=1",
        "c=biws," + r + "," + p + ",", "c=biws," + r + "," + p + "\0"s,
        "c=biws," + r + ",p=", "c=biws," + r + ",p=AAAA", "c=biws," + r + ",p=" + std::string(44, '!'),
        "c=biws," + r + "," + p + "AAAA", "c=biws," + r + "x," + p, "c=biws,r=rOprNGfwEbeRWgbNEkqO," + p,
        "c=biws,r=," + p, "c=biws," + r + ",," + p, "," + r + "," + p}) {
    ScramServer s = server();
    ASSERT_TRUE(s.first(kClientFirst).ok());
    const ExactBytes exact(final);
    expect_error(s.final(exact.text()), sqlstate::kProtocolViolation, final);
  }
}

TEST(ScramServer, KeepsTheOrderOfMessagesAndAllowsOneGuess) {
  ScramServer early = server();
  expect_error(early.final(rfc_final()), sqlstate::kProtocolViolation, "final before first");
  expect_error(early.first(kClientFirst), sqlstate::kProtocolViolation, "spent");

  ScramServer twice = server();
  ASSERT_TRUE(twice.first(kClientFirst).ok());
  expect_error(twice.first(kClientFirst), sqlstate::kProtocolViolation, "first twice");

  ScramServer guess = server();
  ASSERT_TRUE(guess.first(kClientFirst).ok());
  ASSERT_FALSE(guess.final(concat(kWithoutProof, ",p=", base64_encode(std::string(32, 'x')))).ok());
  expect_error(guess.final(rfc_final()), sqlstate::kProtocolViolation, "a second guess");
}

TEST(ScramServer, MakesANewNonceEachTime) {
  std::set<std::string> seen;
  for (int i = 0; i < 20; ++i) {
    ScramServer s(secret());
    const auto r = s.first(kClientFirst);
    ASSERT_TRUE(r.ok());
    EXPECT_THAT(*r, StartsWith("r=rOprNGfwEbeRWgbNEkqO"));
    seen.insert(r->substr(0, r->find(',')));
  }
  EXPECT_EQ(seen.size(), 20u);
}

TEST(ScramSecret, ParsesWhatPostgresqlStores) {
  const auto r = ScramSecret::parse(
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=");
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->iterations, 4096u);
  EXPECT_EQ(r->salt, kSalt);
  EXPECT_EQ(r->stored_key, secret().stored_key);  // RFC 7677's user again
  EXPECT_EQ(r->server_key, secret().server_key);
}

TEST(ScramSecret, RefusesMalformedTextWithoutQuotingIt) {
  const std::string k = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=", s = "W22ZaJ0SNY7soEsUEjb6gQ==";
  for (const std::string& text :
       {""s, "md5abc"s, "SCRAM-SHA-1$1:" + s + "$" + k + ":" + k, "scram-sha-256$1:" + s + "$" + k + ":" + k,
        "SCRAM-SHA-256$:" + s + "$" + k + ":" + k, "SCRAM-SHA-256$0:" + s + "$" + k + ":" + k,
        "SCRAM-SHA-256$-1:" + s + "$" + k + ":" + k, "SCRAM-SHA-256$1x:" + s + "$" + k + ":" + k,
        "SCRAM-SHA-256$2147483648:" + s + "$" + k + ":" + k, "SCRAM-SHA-256$99999999999:" + s + "$" + k + ":" + k,
        "SCRAM-SHA-256$1:$" + k + ":" + k, "SCRAM-SHA-256$1:!!!!$" + k + ":" + k, "SCRAM-SHA-256$1:" + s + "$AAAA:" + k,
        "SCRAM-SHA-256$1:" + s + "$" + k + ":AAAA", "SCRAM-SHA-256$1:" + s + "$" + k + ":" + k + "x",
        "SCRAM-SHA-256$1:" + s + "$" + k + ":" + k + ":" + k}) {
    const ExactBytes exact(text);
    const auto r = ScramSecret::parse(exact.text());
    ASSERT_FALSE(r.ok()) << text;
    EXPECT_EQ(r.error().message.find("WG5d"), std::string::npos);
  }
}

TEST(ScramSecret, RefusesEveryProperPrefix) {
  for_each_cut(
      "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
      "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
      [](std::size_t n, const ExactBytes& cut) { EXPECT_FALSE(ScramSecret::parse(cut.text()).ok()) << n; });
}

TEST(ScramSecret, FromAPasswordHasARandomSaltAndLogsIn) {
  const ScramSecret a = ScramSecret::from_password("pencil"), b = ScramSecret::from_password("pencil");
  EXPECT_EQ(a.iterations, 4096u);
  EXPECT_EQ(a.salt.size(), 16u);
  EXPECT_NE(a.salt, b.salt);
  EXPECT_NE(a.stored_key, b.stored_key);
  EXPECT_EQ(ScramSecret::derive("pencil", a.salt, 4096).stored_key, a.stored_key);
}

TEST(ScramSecret, MockLooksLikeTheSameUserEachTimeAndMatchesNothing) {
  const ScramSecret ann = ScramSecret::mock("ann", "process key");
  EXPECT_EQ(ann.salt, ScramSecret::mock("ann", "process key").salt);
  EXPECT_NE(ann.salt, ScramSecret::mock("bob", "process key").salt);
  EXPECT_NE(ann.salt, ScramSecret::mock("ann", "another key").salt);
  const ScramSecret real = ScramSecret::from_password("x");
  EXPECT_EQ(ann.salt.size(), real.salt.size());
  EXPECT_EQ(ann.iterations, real.iterations);
  for (const char* password : {"", "ann", "process key"})
    EXPECT_NE(ScramSecret::derive(password, ann.salt, ann.iterations).stored_key, ann.stored_key);

  ScramServer s(ann, {}, std::string(kServerNonce));
  ASSERT_TRUE(s.first(kClientFirst).ok());
  expect_error(s.final(rfc_final()), sqlstate::kInvalidPassword, "mock");
}

TEST(Base64, FollowsTheVectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xff\xfe\xfd"s, "//79"},
                                                         {"\xfb\xef\xbe"s, "++++"}};
  for (const auto& [plain, coded] : vectors) {
    EXPECT_EQ(base64_encode(plain), coded);
    const ExactBytes exact(coded);
    EXPECT_EQ(base64_decode(exact.text()), plain);
  }
}

TEST(Base64, RefusesForeignCharactersAndMisplacedPadding) {
  for (const std::string& bad : {"Z"s, "Zg"s, "Zg="s, "Zg==="s, "===="s, "Z==="s, "Zg==Zg=="s, "Zm9 "s, "Zm9\n"s,
                                 "Zm-_"s, "=m9v"s, "Zm=v"s, "Zm9\0"s}) {
    const ExactBytes exact(bad);
    EXPECT_EQ(base64_decode(exact.text()), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace weir::wire
