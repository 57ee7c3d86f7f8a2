#include "router/client/conninfo.hpp"

#include <gtest/gtest.h>

#include <pqxx/except>

namespace weir::client {
namespace {

TEST(Conninfo, QuotesWhatItWritesSoThatLibpqReadsItBack) {
  const ConninfoMap parts{{"dbname", "a b"}, {"password", R"(it's \ "odd")"}, {"user", ""}};
  EXPECT_EQ(parse_conninfo(format_conninfo(parts)), parts);
}

TEST(Conninfo, OverridesWinAndTheRestStays) {
  const auto merged =
      parse_conninfo(merge_conninfo("host=h port=5433 dbname=app user=alice", "user=weir password='p w'"));
  const ConninfoMap expected{{"host", "h"}, {"port", "5433"}, {"dbname", "app"}, {"user", "weir"}, {"password", "p w"}};
  EXPECT_EQ(merged, expected);
}

TEST(Conninfo, ReadsAUriToo) { EXPECT_EQ(parse_conninfo("postgresql://bob@db:6000/app").at("port"), "6000"); }

TEST(Conninfo, LabelsABackendWithoutItsPassword) {
  EXPECT_EQ(conninfo_label("host=10.0.0.1 dbname=app user=u password=secret"), "10.0.0.1:5432/app");
}

TEST(Conninfo, AddsWeirsDefaultsUnderTheStringsOwnValues) {
  const auto parts = parse_conninfo(with_weir_defaults("host=h gssencmode=prefer", "weirctl"));
  EXPECT_EQ(parts.at("gssencmode"), "prefer");
  EXPECT_EQ(parts.at("application_name"), "weirctl");
  EXPECT_EQ(parse_conninfo(with_weir_defaults("host=h", "x")).at("gssencmode"), "disable");
}

TEST(Conninfo, RefusesAStringThatLibpqDoesNotKnow) {
  EXPECT_THROW(static_cast<void>(parse_conninfo("hots=h")), pqxx::argument_error);
}

}  // namespace
}  // namespace weir::client
