#include "config/hba.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Read {
  explicit Read(std::string_view text, std::map<std::string, std::string> files = {}) {
    const auto included = [&](const std::string& path) -> std::optional<std::string> {
      const auto it = files.find(path);
      return it == files.end() ? std::nullopt : std::optional(it->second);
    };
    hba = parse_hba("hba.conf", text, included, found);
    for (const Problem& problem : found) problems.push_back(problem.str());
  }
  // The number of the line that fits; 0: none.
  unsigned line(std::string_view database, std::string_view user, std::string_view address, bool tls = false) const {
    const HbaLine* line = hba.match({database, user, address, tls});
    return line ? line->line : 0;
  }
  Hba hba;
  std::vector<Problem> found;
  std::vector<std::string> problems;
};

TEST(Hba, ReadsTheManualsExamples) {
  // https://www.postgresql.org/docs/15/auth-pg-hba-conf.html#EXAMPLE-PG-HBA.CONF, without what Weir refuses by name
  const Read read(R"(# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     trust
host    all             all             127.0.0.1/32            trust
host    all             all             127.0.0.1       255.255.255.255     trust
host    all             all             ::1/128                 trust
host    postgres        all             192.168.93.0/24         md5
host    postgres        all             192.168.12.10/32        scram-sha-256
hostssl all             mike            0.0.0.0/0               cert
host    all             mike            all                     md5
host    all             all             192.168.54.1/32         reject
hostnossl all           "all"           192.168.0.0/16          password
local   sameuser        all                                     md5
local   all             @admins                                 md5
local   db1,db2,@demodbs  all                                   md5
)", {{"admins", "alice bob\n# a comment\n\"carol d\""}, {"demodbs", "demo1, demo2"}});
  EXPECT_THAT(read.problems, ElementsAre());
  EXPECT_EQ(read.hba.lines.size(), 13U);
  EXPECT_EQ(read.line("x", "y", ""), 2U);
  EXPECT_EQ(read.line("x", "y", "127.0.0.1"), 3U);
  EXPECT_EQ(read.line("x", "y", "::ffff:127.0.0.1"), 3U);
  EXPECT_EQ(read.line("x", "y", "::1"), 5U);
  EXPECT_EQ(read.line("postgres", "y", "192.168.93.7"), 6U);
  EXPECT_EQ(read.line("other", "y", "192.168.93.7"), 0U);
  EXPECT_EQ(read.line("x", "mike", "8.8.8.8", true), 8U);
  EXPECT_EQ(read.line("x", "mike", "8.8.8.8"), 9U);
  EXPECT_EQ(read.line("x", "mike", "2001:db8::1"), 9U);
  EXPECT_EQ(read.line("x", "mike", "2001:db8::1", true), 9U) << "0.0.0.0/0 is IPv4 alone";
  EXPECT_EQ(read.line("x", "y", "192.168.54.1"), 10U);
  EXPECT_EQ(read.line("x", "all", "192.168.1.1"), 11U) << "quoted, all is a name";
  EXPECT_EQ(read.line("x", "y", "192.168.1.1"), 0U);
}

TEST(Hba, KnowsNamesAndLists) {
  const Read read("local sameuser all trust\nlocal db1,\"d\"\"b\", db3 ann,@more reject\nlocal replication all trust\n",
                  {{"more", "@deeper eve"}, {"deeper", "bob"}});
  EXPECT_THAT(read.problems, ElementsAre());
  EXPECT_EQ(read.line("ann", "ann", ""), 1U);
  for (const char* database : {"db1", "d\"b", "db3"})
    for (const char* user : {"ann", "bob", "eve"}) EXPECT_EQ(read.line(database, user, ""), 2U) << database << user;
  EXPECT_EQ(read.line("db2", "ann", ""), 0U);
  EXPECT_EQ(read.line("replication", "x", ""), 0U) << "the keyword, not a name";
}

TEST(Hba, MasksBitForBit) {
  const Read read("host all all 10.11.12.13/22 trust\nhost all all 2001:db8:ff00::/41 reject\nhost all all 172.16.0.0 255.240.0.0 md5\n");
  EXPECT_EQ(read.line("d", "u", "10.11.12.0"), 1U);
  EXPECT_EQ(read.line("d", "u", "10.11.15.255"), 1U);
  EXPECT_EQ(read.line("d", "u", "10.11.16.0"), 0U);
  EXPECT_EQ(read.line("d", "u", "2001:db8:ff7f::1"), 2U);
  EXPECT_EQ(read.line("d", "u", "2001:db8:ff80::1"), 0U);
  EXPECT_EQ(read.line("d", "u", "172.31.255.1"), 3U);
  EXPECT_EQ(read.line("d", "u", "172.32.0.1"), 0U);
  EXPECT_EQ(read.line("d", "u", "no address"), 0U);
}

TEST(Hba, SamehostAndSamenetAreThisMachines) {
  Read read("host all all samehost trust\nhost all all samenet reject\n");
  read.hba.own = {{*parse_address("10.0.0.5"), *parse_address("255.255.255.0")}};
  std::fill_n(read.hba.own[0].mask.begin(), 12, std::uint8_t{0xff});
  EXPECT_EQ(read.line("d", "u", "10.0.0.5"), 1U);
  EXPECT_EQ(read.line("d", "u", "10.0.0.6"), 2U);
  EXPECT_EQ(read.line("d", "u", "10.0.1.6"), 0U);
  const auto own = own_networks();
  EXPECT_TRUE(std::any_of(own.begin(), own.end(), [](const HbaNetwork& n) { return n.contains(*parse_address("127.0.0.1")); }));
}

TEST(Hba, ContinuesALineAfterABackslash) {
  const Read read("local all \\\n  ann \\\n trust\nlocal all bob reject");
  EXPECT_THAT(read.problems, ElementsAre());
  EXPECT_EQ(read.line("d", "ann", ""), 1U);
  EXPECT_EQ(read.line("d", "bob", ""), 4U);
}

TEST(Hba, NamesWhatItDoesNotDoWithItsLine) {
  const Read read("host all all 127.0.0.1/32 gss\n"
                  "local all all peer\n"
                  "host all +group all md5\n"
                  "host samerole all all md5\n"
                  "host all all example.com md5\n"
                  "hostgssenc all all all md5\n"
                  "include other.conf\n"
                  "hostssl all all all cert map=m\n"
                  "host all all all cert\n"
                  "host all /^a all md5\n");
  EXPECT_THAT(read.problems,
              ElementsAre(HasSubstr("hba.conf:1: method \"gss\" is not supported"), HasSubstr(":2: method \"peer\" is not"), HasSubstr(":3: \"+group\" is not"),
                          HasSubstr(":4: \"samerole\" is not"), HasSubstr(":5: \"example.com\" is no address"), HasSubstr(":6: \"hostgssenc\" is not"),
                          HasSubstr(":7: \"include\" is not"), HasSubstr(":8: option \"map=m\" is not"), HasSubstr(":9: method \"cert\" needs a hostssl line"),
                          HasSubstr(":10: \"/^a\" is not")));
}

TEST(Hba, ReportsEveryMalformedLine) {
  const Read read("nonsense all all all md5\nlocal\nlocal all\nlocal all all\nhost all all\nhost all all 1.2.3.4\nhost all all 1.2.3.4 255.0.0 md5\n"
                  "host all all 1.2.3.4/33 md5\nhost all all ::1/129 md5\nhost all all 1.2.3.4/ md5\nlocal all all trust extra\nlocal \"all all trust\n"
                  "local,host all all trust\nlocal all @nowhere trust\nlocal \"\" all trust\n",
                  {});
  EXPECT_EQ(read.problems.size(), 15U);
  for (std::size_t i = 0; i < read.found.size(); ++i) EXPECT_EQ(read.found[i].line, i + 1) << read.problems[i];
  EXPECT_TRUE(read.hba.lines.empty());
}

TEST(Hba, ReadsAnyBytesWithoutHarm) {
  const std::string text = "host all \"a\"\"b\", @f all 10.0.0.0/8 md5 clientcert=verify-ca # x\n\\";
  for (std::size_t size = 0; size <= text.size(); ++size) Read(std::string(text.substr(0, size)), {{"f", "@f"}});
}

}  // namespace
}  // namespace weir::config
