#include "config/conninfo.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

ConninfoParameters parsed(std::string_view text) {
  auto result = parse_conninfo(text);
  if (const auto* mistake = std::get_if<std::string>(&result)) ADD_FAILURE() << text << ": " << *mistake;
  return result.index() == 0 ? std::get<0>(result) : ConninfoParameters{};
}

TEST(Conninfo, ReadsKeywordsAndValuesAsLibpqDoes) {
  EXPECT_THAT(parsed("host=a  port = 5433 dbname='my db'"),
              ElementsAre(Pair("host", "a"), Pair("port", "5433"), Pair("dbname", "my db")));
  EXPECT_THAT(parsed(R"(password='it\'s \\' user=a\ b)"),
              ElementsAre(Pair("password", R"(it's \)"), Pair("user", "a b")));
  EXPECT_THAT(parsed("host='' dbname=d"), ElementsAre(Pair("host", ""), Pair("dbname", "d")));
  EXPECT_THAT(parsed("  "), ElementsAre());
}

TEST(Conninfo, ReadsUris) {
  EXPECT_THAT(parsed("postgresql://me:p%40ss@db:5433/app?sslmode=require&application_name=x"),
              ElementsAre(Pair("user", "me"), Pair("password", "p@ss"), Pair("host", "db"), Pair("port", "5433"),
                          Pair("dbname", "app"), Pair("sslmode", "require"), Pair("application_name", "x")));
  EXPECT_THAT(parsed("postgres://[::1]:1/d"), ElementsAre(Pair("host", "::1"), Pair("port", "1"), Pair("dbname", "d")));
  EXPECT_THAT(parsed("postgresql://%2Frun%2Fpg/d"), ElementsAre(Pair("host", "/run/pg"), Pair("dbname", "d")));
  EXPECT_THAT(parsed("postgresql:///d?host=/run&ssl=true"),
              ElementsAre(Pair("dbname", "d"), Pair("host", "/run"), Pair("sslmode", "require")));
  EXPECT_THAT(parsed("postgresql://a:1,b/d"),
              ElementsAre(Pair("host", "a,b"), Pair("port", "1,"), Pair("dbname", "d")));
  EXPECT_THAT(parsed("postgresql://"), ElementsAre());
}

TEST(Conninfo, NamesTheMistakeWithoutTheValue) {
  const auto mistake = [](std::string_view text) {
    const auto result = parse_conninfo(text);
    return result.index() == 1 ? std::get<1>(result) : std::string("none");
  };
  EXPECT_EQ(mistake("localhost"), "missing \"=\" after \"localhost\" (write keyword=value, or postgresql://...)");
  EXPECT_EQ(mistake("hots=a"), "libpq has no connection parameter \"hots\"");
  EXPECT_EQ(mistake("password='hunter2"), "unterminated quoted value of \"password\"");
  EXPECT_EQ(mistake("postgresql://[::1/d"), "a \"[\" without \"]\" in the URI's host");
  EXPECT_EQ(mistake("postgresql://a/d?x=1"), "libpq has no connection parameter \"x\"");
  EXPECT_EQ(mistake("postgresql://a/d?sslmode"), "missing \"=\" after \"sslmode\" in the URI");
  EXPECT_EQ(mistake("postgresql://u:%zz@a/d"), "a bad %-code in the URI's password");
  EXPECT_EQ(mistake("postgresql://u:%2"), "a bad %-code in the URI's port");
}

TEST(Conninfo, ABackendIsOneHostAndOneDatabase) {
  EXPECT_EQ(backend_conninfo_mistake("host=a dbname=d"), "");
  EXPECT_EQ(backend_conninfo_mistake("hostaddr=10.0.0.1 dbname=d port=6000"), "");
  EXPECT_THAT(backend_conninfo_mistake("host=a,b dbname=d"), HasSubstr("several hosts"));
  EXPECT_THAT(backend_conninfo_mistake("postgresql://a,b/d"), HasSubstr("several hosts"));
  EXPECT_THAT(backend_conninfo_mistake("host=a port=1,2 dbname=d"), HasSubstr("several hosts"));
  EXPECT_THAT(backend_conninfo_mistake("dbname=d"), HasSubstr("names no host"));
  EXPECT_THAT(backend_conninfo_mistake("host=a"), HasSubstr("names no database"));
  EXPECT_THAT(backend_conninfo_mistake("host=a dbname=d port=0"), HasSubstr("1 to 65535"));
  EXPECT_THAT(backend_conninfo_mistake("host=a dbname=d service=x"), HasSubstr("\"service\" is not allowed"));
  EXPECT_THAT(backend_conninfo_mistake("host=a dbname=d replication=database"),
              HasSubstr("\"replication\" is not allowed"));
}

TEST(Conninfo, WhatALoginByWeirDoesNotDoIsRefusedByName) {
  const auto mistake = [](const std::string& more) { return backend_conninfo_mistake("host=a dbname=d " + more); };
  EXPECT_THAT(mistake("target_session_attrs=read-write"), HasSubstr("\"target_session_attrs\" must be any: "));
  EXPECT_THAT(mistake("gssencmode=require"), HasSubstr("\"gssencmode\" must be one of disable, prefer: Weir has no GSSAPI"));
  EXPECT_EQ(mistake("krbsrvname=postgres"), "\"krbsrvname\" is not supported: Weir has no GSSAPI");
  EXPECT_EQ(mistake("gsslib=gssapi"), "\"gsslib\" is not supported: Weir has no GSSAPI");
  EXPECT_THAT(mistake("sslcompression=1"), HasSubstr("\"sslcompression\" must be 0: "));
  EXPECT_EQ(mistake("target_session_attrs=any gssencmode=disable sslcompression=0"), "");
  EXPECT_THAT(overrides_conninfo_mistake("gssencmode=require"), HasSubstr("GSSAPI"));
}

TEST(Conninfo, AMisspeltWordOfSecurityIsNoWeakerOne) {
  const auto mistake = [](const std::string& more) { return backend_conninfo_mistake("host=a dbname=d " + more); };
  EXPECT_EQ(mistake("sslmode=verify_full"), "\"sslmode\" must be one of disable, allow, prefer, require, verify-ca, verify-full");
  EXPECT_THAT(mistake("sslmode=Verify-Full"), HasSubstr("\"sslmode\" must be one of"));
  EXPECT_THAT(backend_conninfo_mistake("postgresql://a/d?sslmode=verified"), HasSubstr("\"sslmode\""));
  EXPECT_THAT(mistake("channel_binding=required"), HasSubstr("\"channel_binding\" must be one of"));
  EXPECT_THAT(mistake("ssl_min_protocol_version=1.3"), HasSubstr("\"ssl_min_protocol_version\" must be one of"));
  EXPECT_EQ(mistake("sslmode=verify-full channel_binding=require ssl_min_protocol_version=TLSv1.3"), "");
}

TEST(Conninfo, TheSameDatabaseHasTheSameAddressInBothForms) {
  EXPECT_EQ(backend_address("host=a dbname=d user=u"), "a:5432/d");
  EXPECT_EQ(backend_address("postgresql://u:p@a/d"), "a:5432/d");
  EXPECT_EQ(backend_address("host=a dbname=x dbname=d port=1"), "a:1/d");
}

}  // namespace
}  // namespace weir::config
