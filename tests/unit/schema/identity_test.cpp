#include "schema/identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "schema/quote.hpp"

namespace weir::schema {
namespace {

using testing::HasSubstr;

const Identity kIdentity{"9c3f52a0-6d8f-4a52-9e0c-0f3d5a4f7b11", "s1", 3};

config::Database sharded(std::uint64_t version) {
  config::Database db;
  db.name = "app";
  db.sharding.emplace();
  db.sharding->map_version = version;
  return db;
}

TEST(Identity, AMatchingOneIsAccepted) { EXPECT_TRUE(check_identity(sharded(3), "s1", kIdentity)); }

TEST(Identity, APlainDatabaseNeedsNone) {
  config::Database plain;
  EXPECT_TRUE(check_identity(plain, "s0", std::nullopt));
  EXPECT_TRUE(check_identity(plain, "s0", kIdentity));
}

TEST(Identity, AShardWithoutOneIsRefusedWithAHintToInit) {
  const auto result = check_identity(sharded(3), "s1", std::nullopt);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, sqlstate::kCannotConnectNow);
  EXPECT_TRUE(result.error().connection_spoilt);
  EXPECT_THAT(result.error().hint, HasSubstr("weirctl init"));
}

TEST(Identity, ASwappedShardIsRefusedNamingBoth) {
  const auto result = check_identity(sharded(3), "s0", kIdentity);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, sqlstate::kCannotConnectNow);
  EXPECT_THAT(result.error().message, testing::AllOf(HasSubstr("shard s0"), HasSubstr("shard s1")));
}

TEST(Identity, AnotherMapVersionIsRefusedInBothDirections) {
  const auto stale = check_identity(sharded(2), "s1", kIdentity);
  ASSERT_FALSE(stale);
  EXPECT_EQ(stale.error().code, sqlstate::kCannotConnectNow);
  EXPECT_THAT(stale.error().hint, HasSubstr("newest weir.toml"));
  const auto ahead = check_identity(sharded(4), "s1", kIdentity);
  ASSERT_FALSE(ahead);
  EXPECT_THAT(ahead.error().hint, HasSubstr("weirctl init"));
  EXPECT_NE(stale.error().hint, ahead.error().hint);
}

TEST(Identity, ValuesAreQuotedInTheStatements) {
  const auto statements = init_statements({"c", "o'neil\\", 1}, 0);
  EXPECT_TRUE(std::any_of(statements.begin(), statements.end(),
                          [](const std::string& s) { return s.find(" E'o''neil\\\\'") != std::string::npos; }));
}

TEST(Quote, DoublesWhatWouldEndTheQuote) {
  EXPECT_EQ(quote_ident("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(quote_qualified("a", "B c"), "\"a\".\"B c\"");
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
  EXPECT_EQ(quote_literal("back\\slash"), " E'back\\\\slash'");
}

}  // namespace
}  // namespace weir::schema
