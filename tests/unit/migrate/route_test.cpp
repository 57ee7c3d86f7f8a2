#include "migrate/route.hpp"

#include <gtest/gtest.h>

#include <sstream>

namespace weir::migrate {
namespace {

// Ten databases by user_id % 10, in two shards; orders and users listed.
config::Database database() {
  config::Database d;
  d.name = "app";
  d.sharding = config::Sharding{config::HashFunction::modulo, 10, 1, config::UnlistedTables::home};
  d.shards = {{"low", {{0, 5}}, "host=a dbname=app", {}},
              {"high", {{6, 9}}, "host=b dbname=app", {{"host=c dbname=app", 1}}}};
  config::Table orders, countries;
  orders.name = "orders";
  orders.key = "user_id";
  countries.name = "countries";
  countries.reference = true;
  d.tables = {orders, countries};
  return d;
}

struct Answer {
  bool routed;
  std::string text;
};

Answer ask(const std::string& sql, const std::vector<std::string>& parameters = {}) {
  std::ostringstream out;
  RouteRequest request;
  request.sql = sql;
  request.parameters = parameters;
  const bool routed = route(database(), request, out);
  return {routed, out.str()};
}

testing::AssertionResult says(const Answer& answer, const std::string& text) {
  return answer.text.find(text) != std::string::npos ? testing::AssertionSuccess()
                                                     : testing::AssertionFailure() << "no \"" << text << "\" in:\n"
                                                                                   << answer.text;
}

TEST(Route, PrintsKeyBucketShardAndRole) {
  const Answer answer = ask("SELECT * FROM orders WHERE user_id = 123456");
  EXPECT_TRUE(answer.routed);
  EXPECT_TRUE(says(answer, "bucket 6"));
  EXPECT_TRUE(says(answer, "shard      high (b:5432/app)"));
  EXPECT_TRUE(says(answer, "read-only"));
  EXPECT_TRUE(says(answer, "replica outside a transaction"));
}

TEST(Route, ReadsParametersAndNegativeKeys) {
  const Answer write = ask("UPDATE orders SET product = 'x' WHERE user_id = $1", {"-7"});
  EXPECT_TRUE(write.routed);
  EXPECT_TRUE(says(write, "$1 = '-7' -> bucket 3 -> shard low"));
  EXPECT_TRUE(says(write, "primary (a:5432/app): not proven read-only"));
  EXPECT_TRUE(says(ask("SELECT 1 FROM orders WHERE user_id = -7"), "-7 -> bucket 3"));
}

TEST(Route, SaysThatAParameterIsMissing) {
  const Answer answer = ask("SELECT * FROM orders WHERE user_id = $1");
  EXPECT_TRUE(answer.routed);
  EXPECT_TRUE(says(answer, "known at Bind"));
}

TEST(Route, PrintsARefusalAsAClientWouldSeeIt) {
  const Answer answer = ask("UPDATE orders SET user_id = 7");
  EXPECT_FALSE(answer.routed);
  EXPECT_TRUE(says(answer, "0A000"));
  EXPECT_TRUE(says(answer, "HINT"));
}

TEST(Route, ShowsWhatShardsAreAsked) {
  const Answer answer = ask("SELECT count(*) FROM orders WHERE id > 7");
  EXPECT_TRUE(answer.routed);
  EXPECT_TRUE(says(answer, "finish: aggregates"));
  EXPECT_TRUE(says(answer, "count(*) AS c1 FROM orders WHERE id > (7)"));
  EXPECT_TRUE(says(answer, "unnest($1)"));
}

TEST(Route, NamesTheShardsOfItsKeys) {
  const Answer answer = ask("DELETE FROM orders WHERE user_id IN (1, 8)");
  EXPECT_TRUE(answer.routed);
  EXPECT_TRUE(says(answer, "shards     low, high"));
}

TEST(Route, ShowsWhatAStatementLeavesBehind) {
  EXPECT_TRUE(says(ask("CREATE TEMP TABLE t (a int)"), "pins it"));
  EXPECT_TRUE(says(ask("SELECT * FROM orders WHERE user_id = 1"), "effects    none"));
}

}  // namespace
}  // namespace weir::migrate
