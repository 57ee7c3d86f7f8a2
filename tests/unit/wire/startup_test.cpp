#include "wire/startup.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/wire/exact_bytes.hpp"

namespace weir::wire {
namespace {

using namespace std::string_literals;
using Kind = FirstPacket::Kind;
using testing::HasSubstr;

std::string word(std::uint32_t v) {
  return {static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
}

std::string packet(std::uint32_t code, const std::string& body) {
  return word(static_cast<std::uint32_t>(8 + body.size())) + word(code) + body;
}

constexpr std::uint32_t kVersion3 = 3u << 16;
constexpr std::uint32_t kCancel = 80877102, kSsl = 80877103, kGssenc = 80877104;

std::string startup(const std::string& body) { return packet(kVersion3, body); }

Result<FirstPacket> read(const std::string& bytes) {
  const ExactBytes exact(bytes);
  return read_first_packet(exact.view());
}

void expect_refused(const std::string& bytes, SqlState code, const std::string& message) {
  const auto r = read(bytes);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, code);
  EXPECT_EQ(r.error().message, message);
  EXPECT_TRUE(r.error().connection_spoilt);
}

// Every proper prefix wants more, or (for `refused_at` bytes and more) is refused.
void expect_incomplete_until_whole(const std::string& bytes) {
  for_each_cut(bytes, [](std::size_t n, const ExactBytes& cut) {
    const auto r = read_first_packet(cut.view());
    ASSERT_TRUE(r.ok()) << n;
    EXPECT_EQ(r->kind, Kind::incomplete) << n;
    EXPECT_EQ(r->size, 0u) << n;
  });
}

TEST(FirstPacket, ReadsTheParametersOfAStartupMessageInTheOrderSent) {
  const std::string bytes = startup("user\0ann\0database\0app\0_pq_.x\0\0\0"s);
  const auto r = read(bytes + "trailing");
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->kind, Kind::startup);
  EXPECT_EQ(r->size, bytes.size());
  EXPECT_EQ(r->startup.major, 3);
  EXPECT_EQ(r->startup.minor, 0);
  using Parameters = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(r->startup.parameters, (Parameters{{"user", "ann"}, {"database", "app"}, {"_pq_.x", ""}}));
  EXPECT_EQ(r->startup.get("database"), "app");
  EXPECT_EQ(r->startup.get("options"), "");
  expect_incomplete_until_whole(bytes);
}

TEST(FirstPacket, LetsTheLastOfARepeatedParameterCount) {
  EXPECT_EQ(read(startup("user\0a\0user\0b\0\0"s))->startup.get("user"), "b");
}

TEST(FirstPacket, LeavesANewerMinorToTheCaller) {
  const auto r = read(packet(kVersion3 | 2, "user\0a\0\0"s));
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->startup.minor, 2);
}

TEST(FirstPacket, RefusesOtherMajorsInPostgresqlsWords) {
  const std::string body = "user\0a\0\0"s;
  expect_refused(packet(2u << 16, body), sqlstate::kFeatureNotSupported,
                 "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
  expect_refused(packet(4u << 16 | 7, body), sqlstate::kFeatureNotSupported,
                 "unsupported frontend protocol 4.7: server supports 3.0 to 3.2");
  expect_refused(packet(0, ""), sqlstate::kFeatureNotSupported,
                 "unsupported frontend protocol 0.0: server supports 3.0 to 3.2");
}

TEST(FirstPacket, ReadsTheEncryptionRequests) {
  for (const auto& [code, kind] : {std::pair{kSsl, Kind::ssl_request}, std::pair{kGssenc, Kind::gssenc_request}}) {
    const auto r = read(packet(code, "") + "\x16\x03");
    ASSERT_TRUE(r.ok());
    EXPECT_EQ(r->kind, kind);
    EXPECT_EQ(r->size, 8u);
    expect_incomplete_until_whole(packet(code, ""));
    expect_refused(packet(code, "x"), sqlstate::kProtocolViolation, "invalid length of startup packet");
  }
}

TEST(FirstPacket, ReadsACancelRequestWithItsKey) {
  const std::string bytes = packet(kCancel, word(0x80000001) + word(0xfffefdfc));
  const auto r = read(bytes);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->kind, Kind::cancel_request);
  EXPECT_EQ(r->size, 16u);
  EXPECT_EQ(r->cancel, (CancelKey{0x80000001, "\xff\xfe\xfd\xfc"}));
  expect_incomplete_until_whole(bytes);
}

TEST(FirstPacket, ReadsCancelKeysOfProtocol32) {
  for (const std::size_t size : {5u, 32u, 256u}) {
    const std::string secret = std::string(size - 1, 's') + '\0';
    const std::string bytes = packet(kCancel, word(7) + secret);
    const auto r = read(bytes + "trailing");
    ASSERT_TRUE(r.ok()) << size;
    EXPECT_EQ(r->size, 12 + size);
    EXPECT_EQ(r->cancel, (CancelKey{7, secret}));
    expect_incomplete_until_whole(bytes);
  }
}

TEST(FirstPacket, RefusesACancelRequestOfAnotherSize) {
  expect_refused(packet(kCancel, ""), sqlstate::kProtocolViolation, "invalid length of startup packet");
  expect_refused(packet(kCancel, word(1)), sqlstate::kProtocolViolation, "invalid length of startup packet");
  expect_refused(packet(kCancel, word(1) + "abc"), sqlstate::kProtocolViolation, "invalid length of startup packet");
  expect_refused(packet(kCancel, word(1) + std::string(257, 's')), sqlstate::kProtocolViolation,
                 "invalid length of startup packet");
}

TEST(FirstPacket, RefusesAnUnknownRequestCode) {
  expect_refused(packet(1234u << 16 | 5681, ""), sqlstate::kProtocolViolation, "unknown request code 1234.5681");
}

TEST(FirstPacket, RefusesLengthsOutOfBoundsAsSoonAsTheyAreThere) {
  for (const std::uint32_t length : {0u, 4u, 7u, 10005u, 0x7fffffffu, 0x80000000u, 0xffffffffu})
    expect_refused(word(length), sqlstate::kProtocolViolation, "invalid length of startup packet");
}

TEST(FirstPacket, TakesTheLongestPacketPostgresqlTakes) {
  const std::string body = "user\0a\0k\0"s + std::string(10000 - 4 - 9 - 2, 'v') + "\0\0"s;
  const std::string bytes = startup(body);
  ASSERT_EQ(bytes.size(), 10004u);
  const auto r = read(bytes);
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->startup.parameters.size(), 2u);
}

TEST(FirstPacket, RecognisesHttpAndTls) {
  EXPECT_THAT(read("GET / HTTP/1.1\r\n").error().hint, HasSubstr("HTTP"));
  EXPECT_THAT(read("\x16\x03\x01\x02\x00\x01"s).error().hint, HasSubstr("TLS"));
  EXPECT_THAT(read("xxxxxxxx").error().hint, HasSubstr("PostgreSQL protocol"));
}

TEST(FirstPacket, RefusesAParameterListWithoutItsTerminator) {
  const char* message = "invalid startup packet layout: expected terminator as last byte";
  for (const std::string& body : {""s, "user"s, "user\0"s, "user\0ann"s, "user\0ann\0"s, "user\0ann\0\0x"s,
                                  "user\0ann\0\0\0"s, "user\0ann\0database\0"s, "user\0ann\0database\0app"s})
    expect_refused(startup(body), sqlstate::kProtocolViolation, message);
}

TEST(FirstPacket, RefusesAConnectionWithoutUser) {
  const char* message = "no PostgreSQL user name specified in startup packet";
  expect_refused(startup("\0"s), sqlstate::kInvalidAuthorization, message);
  expect_refused(startup("database\0app\0\0"s), sqlstate::kInvalidAuthorization, message);
  expect_refused(startup("user\0\0\0"s), sqlstate::kInvalidAuthorization, message);
}

}  // namespace
}  // namespace weir::wire
