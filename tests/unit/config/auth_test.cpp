// The users file in PgBouncer's format, and what must fit together in [auth].
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/userlist.hpp"
#include "tests/unit/config/config_file.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::string_view kScram =
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
constexpr std::string_view kMd5 = "md50123456789abcdef0123456789abcdef";

std::vector<std::string> problems_of(std::string_view auth, const std::string& users, std::string_view database = kPlainDatabase) {
  const ConfigFile file(std::string("[auth]\n") + std::string(auth) + "\n" + std::string(database), users);
  return file.problems();
}
std::string list(std::string_view secret) { return "\"app\" \"" + std::string(secret) + "\"\n"; }
constexpr std::string_view kOwnUser = "[[database]]\nname = 'app'\n[[database.shard]]\nname = 's0'\nprimary = 'host=h dbname=app user=u'\n";

TEST(Userlist, IsReadAsPgBouncerReadsIt) {
  std::vector<Problem> problems;
  const Userlist read = parse_userlist("userlist.txt",
                                       "; a comment\n\n\"ann\" \"pass \"\"word\"\"\"\n  \"b\"\"ob\"\t\"\" \"more\" is ignored\r\n\"c\" \"md5x\"", problems);
  EXPECT_TRUE(problems.empty());
  ASSERT_EQ(read.users.size(), 3U);
  EXPECT_EQ(read.users[0].password, "pass \"word\"");
  EXPECT_EQ(read.users[1].name, "b\"ob");
  EXPECT_EQ(read.users[1].password, "");
  EXPECT_EQ(read.users[2].password, "md5x");
  EXPECT_THAT(read.lines, ElementsAre(3, 4, 5));
}

TEST(Userlist, NamesEveryBadLine) {
  std::vector<Problem> problems;
  const Userlist read = parse_userlist("u.txt", "ann secret\n\"bob\"\n\"eve\" \"x\n\"\" \"x\"\n\"ok\" \"1\"\n\"ok\" \"2\"\n", problems);
  ASSERT_EQ(read.users.size(), 1U);
  EXPECT_EQ(read.users[0].password, "1");
  ASSERT_EQ(problems.size(), 5U);
  EXPECT_EQ(problems[4].str(), "u.txt:6: user \"ok\" is there already, in line 5");
  for (const Problem& problem : problems) EXPECT_EQ(problem.message.find("secret\n"), std::string::npos);
}

TEST(Userlist, IsRecognisedByItsNameOrItsBeginning) {
  EXPECT_TRUE(is_userlist("userlist.txt", "[[user]]"));
  EXPECT_TRUE(is_userlist("users", " \n\"ann\" \"x\""));
  EXPECT_TRUE(is_userlist("users", "; ann"));
  EXPECT_FALSE(is_userlist("users.toml", "# ann\n[[user]]\n"));
  EXPECT_FALSE(is_userlist("users.toml", ""));
}

TEST(Auth, ReadsAUserlistInPlaceOfUsersToml) {
  const ConfigFile file(kPlainDatabase, list("it is \"\"quoted\"\""));
  const Settings settings = file.settings();
  ASSERT_EQ(settings.users.size(), 1U);
  EXPECT_EQ(settings.users[0].password, "it is \"quoted\"");
  EXPECT_THAT(problems_of("", list("SCRAM-SHA-256$4096:cut")), ElementsAre(HasSubstr("users.toml:1: user.app.password: malformed SCRAM secret")));
}

TEST(Auth, RefusesSecretsThatServeNobody) {
  EXPECT_THAT(problems_of("method = 'scram-sha-256'", list(kScram)), IsEmpty());
  EXPECT_THAT(problems_of("method = 'md5'", list(kScram)), IsEmpty());
  EXPECT_THAT(problems_of("method = 'md5'", list(kMd5)), IsEmpty());
  EXPECT_THAT(problems_of("method = 'trust'", list(kMd5)), IsEmpty());
  EXPECT_THAT(problems_of("method = 'scram-sha-256'", list(kMd5)), ElementsAre(HasSubstr("user.app.password: an md5 secret cannot prove anybody")));
  EXPECT_THAT(problems_of("method = 'trust'", list(kScram)), ElementsAre(HasSubstr("users.toml:1: user.app.password: nothing can log in to a server")));
  EXPECT_THAT(problems_of("method = 'trust'", list(kScram), kOwnUser), IsEmpty());
  EXPECT_THAT(problems_of("method = 'trust'\n[admin]\nusers = ['app']", list(kScram)), IsEmpty());
}

TEST(Auth, LooksAtTheHbaFilesMethods) {
  const auto with = [](std::string_view hba, const std::string& users) {
    const ConfigFile file("[auth]\nmethod = 'hba'\nhba_file = 'hba.conf'\n" + std::string(kPlainDatabase), users);
    file.write("hba.conf", hba);
    return file.problems();
  };
  EXPECT_THAT(with("local all all scram-sha-256\n", list(kScram)), IsEmpty());
  EXPECT_THAT(with("local all all trust\n", list(kScram)), ElementsAre(HasSubstr("nothing can log in")));
  EXPECT_THAT(with("local all all scram-sha-256\n", list(kMd5)), ElementsAre(HasSubstr("an md5 secret cannot")));
  EXPECT_THAT(with("local all all scram-sha-256\nhost all all all md5\n", list(kMd5)), IsEmpty());
  EXPECT_THAT(with("local all all peer\nhost all all x md5\n", list(kMd5)), ElementsAre(HasSubstr("hba.conf:1: method \"peer\""), HasSubstr("hba.conf:2: ")));
  EXPECT_THAT(with("# nothing\n", list("x")), ElementsAre(HasSubstr("hba.conf: has no line")));
}

TEST(Auth, RefusesWhatDoesNotFitTogether) {
  const std::string app = list("x");
  EXPECT_THAT(problems_of("method = 'hba'", app), ElementsAre(HasSubstr("auth.hba_file: missing")));
  EXPECT_THAT(problems_of("hba_file = 'hba.conf'", app), ElementsAre(HasSubstr("weir.toml:2: auth.hba_file: is read only with")));
  EXPECT_THAT(problems_of("method = 'hba'\nhba_file = 'nowhere'", app), ElementsAre(HasSubstr("auth.hba_file: cannot read nowhere")));
  EXPECT_THAT(problems_of("method = 'cert'", app), ElementsAre(HasSubstr("auth.method: \"cert\" needs tls.certificate")));
  EXPECT_THAT(problems_of("query = 'select 1 where $1'", app), ElementsAre(HasSubstr("auth.query: needs query_user")));
  EXPECT_THAT(problems_of("query_user = 'nobody'", app), ElementsAre(HasSubstr("auth.query_user: user \"nobody\" is not in")));
  EXPECT_THAT(problems_of("query_user = 'app'\nquery = 'select 1'", app), ElementsAre(HasSubstr("auth.query: expected $1")));
  EXPECT_THAT(problems_of("query_user = 'app'\nquery_database = 'other'", app), ElementsAre(HasSubstr("no [[database]] is named \"other\"")));
  EXPECT_THAT(problems_of("query_user = 'app'", list(kScram)), ElementsAre(HasSubstr("needs its plain password")));
  EXPECT_THAT(problems_of("query_user = 'app'\nquery_database = 'app'", app), IsEmpty());
}

}  // namespace
}  // namespace weir::config
