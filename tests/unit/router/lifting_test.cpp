// Lifting must not be seen: a statement served from the cache, after others of its key, is routed as one that was
// parsed for itself with every literal in place.
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "router/analysis.hpp"
#include "router/router.hpp"

namespace weir::router {
namespace {

config::Table table(std::string name, std::string key) {
  config::Table rule;
  rule.name = std::move(name);
  rule.reference = key.empty();
  rule.key = std::move(key);
  return rule;
}

const config::Database& database() {
  static const config::Database built = [] {
    config::Database d;
    d.name = "app";
    d.sharding = config::Sharding{};
    d.sharding->function = config::HashFunction::modulo;
    d.sharding->buckets = 4;
    for (std::uint32_t i = 0; i < 4; ++i) {
      config::Shard shard;
      shard.name = concat("s", std::to_string(i));
      shard.buckets = {{i, i}};
      d.shards.push_back(std::move(shard));
    }
    d.tables = {table("users", "id"), table("orders", "user_id"), table("countries", "")};
    return d;
  }();
  return built;
}

struct Outcome {
  bool routed = false;
  schema::ShardId shard = 0;
  bool any_shard = false;
  bool read_only = false;
  Verb verb = Verb::empty;
  Effects effects;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome(const Plan& plan, const Result<Route>& route) {
  Outcome seen;
  seen.routed = route.ok();
  if (route.ok()) {
    seen.shard = route->shard;
    seen.any_shard = route->any_shard;
  }
  seen.read_only = plan.read_only;
  seen.verb = plan.verb;
  seen.effects = plan.effects;
  return seen;
}

class Lifting : public ::testing::Test {
 protected:
  static Outcome plan_with(Router& router, const std::string& sql) {
    const Planned planned = router.plan(sql, {}, {});
    return outcome(*planned.plan, router.resolve(*planned.plan, {sql, planned.literals, {}, {}}));
  }
  // Every literal in its place in the plan.
  Outcome parsed_for_itself(const std::string& sql) {
    AnalysisInput input;
    input.sql = sql;
    input.catalog = catalog_.get();
    input.search_path = catalog_->default_search_path();
    const Plan plan = analyse(input);
    return outcome(plan, resolve(plan, {sql, {}, {}, {}}, *map_));
  }

  void expect_same(const std::string& sql) {
    const Outcome cached = plan_with(router_, sql), planned_anew = plan_with(uncached_, sql);
    EXPECT_TRUE(cached == planned_anew) << "depends on which statement of the key came first: " << sql;
    Outcome itself = parsed_for_itself(sql);
    if (!cached.routed) {  // a refusal is always right
      itself.routed = false;
      itself.shard = 0;
      itself.any_shard = false;
    }
    EXPECT_TRUE(cached == itself) << "differs from a plan with the values in it: " << sql;
  }

  std::shared_ptr<const schema::Catalog> catalog_ = schema::Catalog::offline(database());
  std::shared_ptr<const schema::BucketMap> map_ =
      std::make_shared<const schema::BucketMap>(*schema::BucketMap::from(database()));
  Router router_{catalog_, map_};
  Router uncached_{catalog_, map_, RouterSettings{0, 16 << 20}};
};

const std::vector<std::string>& values() {
  static const std::vector<std::string> all = {"1",
                                               "2",
                                               "3",
                                               "5",
                                               "-1",
                                               "- 2",
                                               "-(3)",
                                               "+5",
                                               "2147483647",
                                               "2147483648",
                                               "-2147483648",
                                               "3000000001",
                                               "9223372036854775807",
                                               "-9223372036854775808",
                                               "9223372036854775808",
                                               "99999999999999999999",
                                               "1.0",
                                               "1.5",
                                               "2e0",
                                               "'1'",
                                               "'2'",
                                               "' 3 '",
                                               "'x'",
                                               "''",
                                               "E'5'",
                                               "$$6$$",
                                               "'7'::int8",
                                               "8::bigint",
                                               "B'1'",
                                               "NULL",
                                               "1 + 1",
                                               "(9)",
                                               "CAST('10' AS bigint)",
                                               "'11'::text",
                                               "$q$13$q$",
                                               "- /* c */ 5",
                                               "-/**/-- x\n 6"};
  return all;
}

// Every template with values of every kind, in random order, so that plans made for one value serve others.
TEST_F(Lifting, IsNotSeenInTheRoute) {
  const std::vector<std::string> templates = {
      "SELECT * FROM users WHERE id = %",
      "SELECT * FROM users WHERE % = id AND name = 'x'",
      "SELECT * FROM users WHERE id IN (%, %)",
      "SELECT * FROM users WHERE id = ANY (ARRAY[%, %])",
      "SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = % LIMIT 3",
      "SELECT * FROM users WHERE id = % OR id = %",
      "SELECT * FROM users WHERE id = % AND id = % ORDER BY 1",
      "INSERT INTO users (id, name) VALUES (%, 'a'), (%, 'b')",
      "INSERT INTO users (name, id) VALUES ('a', %)",
      "UPDATE users SET name = 'x', n = % WHERE id = %",
      "DELETE FROM orders WHERE user_id = % AND total > %",
      "SELECT * FROM countries WHERE id = %",
      "SELECT % FROM users WHERE id = 1",
      "SELECT * FROM users WHERE id = % FOR UPDATE",
      "WITH q AS (SELECT * FROM users WHERE id = %) SELECT * FROM q",
      "SELECT nextval('s'), % FROM users WHERE id = %",
      "SELECT % UNION SELECT id FROM users WHERE id = %",
      "SELECT set_config('a.b', %, false)",
      "SELECT *, 'x'::varchar(3) FROM users WHERE id = %; "};
  std::mt19937_64 random(7);
  int routed = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string sql = templates[random() % templates.size()];
    for (std::size_t at; (at = sql.find('%')) != std::string::npos;)
      sql.replace(at, 1, values()[random() % values().size()]);
    expect_same(sql);
    if (HasFailure()) return;
    routed += plan_with(router_, sql).routed ? 1 : 0;
  }
  EXPECT_GT(router_.counters().hits, 1000u);
  EXPECT_GT(routed, 1000);
}

TEST_F(Lifting, IsNotSeenWhereAValueIsPartOfTheMeaning) {
  for (const char* sql :
       {"SELECT pg_relation_size('users')", "SELECT pg_relation_size('unlisted')", "SELECT 'users'::regclass",
        "SELECT nextval('a')", "SELECT set_config('search_path', 'x', true)",
        "SELECT set_config('search_path', 'x', false)", "SELECT current_setting('search_path')",
        "SELECT query_to_xml('select 1', true, true, '')", "SELECT query_to_xml('select * from users', true, true, '')",
        "SELECT * FROM users WHERE id = '5'::varchar(1)", "SELECT * FROM users WHERE id = 5 ORDER BY 1",
        "SET search_path = 'a'", "SET search_path = 'b'", "SELECT 1; SELECT 2", "SELECT 1"})
    expect_same(sql);
}

TEST_F(Lifting, RoutesByTheValueNotByTheFirstOneSeen) {
  for (std::int64_t id = 0; id < 40; ++id) {
    const std::string sql = concat("SELECT * FROM users WHERE id = ", std::to_string(id));
    const Outcome seen = plan_with(router_, sql);
    EXPECT_TRUE(seen.routed);
    EXPECT_EQ(seen.shard, id % 4) << sql;
  }
  EXPECT_EQ(router_.counters().misses, 1u);
}

}  // namespace
}  // namespace weir::router
