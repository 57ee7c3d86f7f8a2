#include "pool/backend.hpp"

#include <gmock/gmock.h>

#include "pool/connector.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Backend backend_of(const std::string& conninfo, policy::Role role = policy::Role::primary) {
  BackendIdentity id;
  id.database = "app";
  id.shard_name = "s0";
  id.role = role;
  id.conninfo = conninfo;
  id.params = *parse_conninfo(conninfo);
  return Backend(std::move(id), std::make_shared<Budget>(10), {.failure_threshold = 2, .recovery_time = 2s});
}

TEST(ParseConninfo, ReadsKeywordsAndUris) {
  const auto keywords = parse_conninfo("host=h port=5433 dbname='a b' password='it\\'s'");
  ASSERT_TRUE(keywords);
  EXPECT_EQ(get(*keywords, "host"), "h");
  EXPECT_EQ(get(*keywords, "port"), "5433");
  EXPECT_EQ(get(*keywords, "dbname"), "a b");
  EXPECT_EQ(get(*keywords, "password"), "it's");
  EXPECT_EQ(get(*keywords, "user"), "") << "no default of this machine's user";
  const auto uri = parse_conninfo("postgresql://bob:p%40ss@h:6000/db?sslmode=require");
  ASSERT_TRUE(uri);
  EXPECT_EQ(get(*uri, "user"), "bob");
  EXPECT_EQ(get(*uri, "password"), "p@ss");
  EXPECT_EQ(get(*uri, "port"), "6000");
  EXPECT_EQ(get(*uri, "sslmode"), "require");
}

TEST(ParseConninfo, RefusesWhatLibpqRefusesAndSaysWhy) {
  const auto unknown = parse_conninfo("hots=h");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, HasSubstr("hots"));
  EXPECT_FALSE(parse_conninfo("host='open"));
}

TEST(ConnParams, SetReplacesOrAdds) {
  ConnParams params = *parse_conninfo("host=a");
  set(params, "host", "b");
  set(params, "port", "1");
  EXPECT_EQ(get(params, "host"), "b");
  EXPECT_EQ(get(params, "port"), "1");
  EXPECT_EQ(params.size(), 2U);
}

TEST(Backend, IsNamedByItsDatabaseShardRoleAndServer) {
  EXPECT_EQ(backend_of("host=10.0.0.1 port=5433").name(), "app/s0 primary 10.0.0.1:5433");
  EXPECT_EQ(backend_of("host=h", policy::Role::replica).name(), "app/s0 replica h:5432");
}

TEST(Backend, FillsInWhatTheConnectionStringLeavesOut) {
  const Backend b = backend_of("user=bob");
  EXPECT_EQ(b.host(), "/var/run/postgresql");
  EXPECT_EQ(b.port(), "5432");
  EXPECT_EQ(b.dbname(), "app");
  EXPECT_EQ(backend_of("hostaddr=10.1.1.1").host(), "10.1.1.1");
  EXPECT_EQ(backend_of("host=h dbname=other").dbname(), "other");
}

TEST(Backend, APrimaryIsTriedAtOnceAndAReplicaProvesItselfFirst) {
  EXPECT_TRUE(backend_of("host=h").usable());
  Backend replica = backend_of("host=h", policy::Role::replica);
  EXPECT_FALSE(replica.usable());
  EXPECT_EQ(replica.why_not(), "not probed yet");
  policy::Probe probe;
  probe.timeline = 7;
  replica.set_verdict({true, ""}, probe);
  EXPECT_TRUE(replica.usable());
  EXPECT_EQ(replica.last_probe().timeline, 7U);
  replica.set_verdict({false, "too far behind"}, probe);
  EXPECT_FALSE(replica.usable());
  EXPECT_EQ(replica.why_not(), "too far behind");
}

TEST(Backend, FailedLoginsOpenItsBreakerUntilItsTime) {
  Backend b = backend_of("host=h");
  const TimePoint now{100s};
  b.login_failed(now, "refused");
  EXPECT_TRUE(b.allow_login(now));
  b.login_failed(now, "refused again");
  EXPECT_FALSE(b.allow_login(now));
  EXPECT_EQ(b.why_not(), "refused again");
  EXPECT_EQ(b.next_login(), now + 2s);
  EXPECT_TRUE(b.allow_login(now + 2s));
  EXPECT_FALSE(b.allow_login(now + 2s)) << "one trial at a time";
  b.login_succeeded();
  EXPECT_EQ(b.breaker_state(now + 2s), policy::CircuitBreaker::State::closed);
}

TEST(EffectiveCredentials, AreTheBackendsOwnBeforeTheClients) {
  const Credentials client{"ann", "hers"};
  EXPECT_EQ(effective_credentials(backend_of("host=h"), client), client);
  EXPECT_EQ(effective_credentials(backend_of("host=h user=svc password=s"), client), (Credentials{"svc", "s"}));
  EXPECT_EQ(effective_credentials(backend_of("host=h user=svc"), client), (Credentials{"svc", ""}))
      << "a client's password is not offered as another user's";
}

}  // namespace
}  // namespace weir::pool
