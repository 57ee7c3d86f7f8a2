// The Router about a stand-in for the analysis, which counts its calls and hands back what it was given.
#include "router/router.hpp"

#include <gtest/gtest.h>

#include <string>

#include "base/strings.hpp"
#include "count_allocations.hpp"
#include "router/analysis.hpp"
#include "router/search_path.hpp"

namespace weir::router {
namespace {

int analyses = 0;
std::vector<std::string> path_seen;
std::size_t literals_seen = 0;

Plan stand_in(const AnalysisInput& input) {
  ++analyses;
  path_seen = input.search_path;
  literals_seen = input.literals.size();
  Plan plan;
  plan.verb = Verb::query;
  plan.setting = std::string(input.sql);
  if (input.sql.find("syntax error") != std::string_view::npos) {
    plan.verb = Verb::unparsable;
  } else if (!input.literals.empty()) {
    plan.target = Target::keyed;
    plan.bindings.push_back({"public.orders", {KeySource{}}, false});
  } else if (input.sql.find("$1") != std::string_view::npos) {
    KeySource source;
    source.kind = KeySource::Kind::parameter;
    plan.target = Target::keyed;
    plan.bindings.push_back({"public.orders", {source}, false});
  }
  return plan;
}

config::Database sharded_database() {
  config::Database database;
  database.name = "app";
  database.sharding = config::Sharding{};
  database.sharding->buckets = 16;
  for (std::uint32_t i = 0; i < 4; ++i) {
    config::Shard shard;
    shard.name = concat("s", std::to_string(i));
    shard.buckets = {{i * 4, i * 4 + 3}};
    database.shards.push_back(shard);
  }
  return database;
}

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() { analyses = 0; }

  std::shared_ptr<const schema::Catalog> catalog(bool sharded) {
    return schema::Catalog::offline(sharded ? database_ : plain_);
  }
  std::shared_ptr<const schema::BucketMap> map() {
    return std::make_shared<const schema::BucketMap>(*schema::BucketMap::from(database_));
  }
  // How often `sql` is analysed when it is planned twice, and then `other` once.
  int analyses_of(std::string_view sql, std::string_view other, const SessionContext& session = {}) {
    Router router(catalog(true), map(), {}, stand_in);
    const int before = analyses;
    (void)router.plan(sql, {}, session);
    (void)router.plan(sql, {}, session);
    (void)router.plan(other, {}, session);
    return analyses - before;
  }

  config::Database database_ = sharded_database();
  config::Database plain_;
};

TEST_F(RouterTest, AnalysesAStatementOnce) {
  EXPECT_EQ(analyses_of("SELECT * FROM orders WHERE id = 1", "SELECT * FROM orders WHERE id = 2"), 1);
  EXPECT_EQ(analyses_of("SELECT * FROM orders WHERE id = 1", "SELECT * FROM orders WHERE id = '1'"), 2);
  EXPECT_EQ(analyses_of("SELECT * FROM orders WHERE id = 1", "SELECT * FROM orders WHERE id = 3000000000"), 2);
  EXPECT_EQ(analyses_of("SELECT 1 ORDER BY 1", "SELECT 1 ORDER BY 2"), 2);
}

TEST_F(RouterTest, WithoutACacheAStatementIsAnalysedEachTime) {
  Router router(catalog(true), map(), {.cache_bytes = 0}, stand_in);
  for (int i = 0; i < 3; ++i) static_cast<void>(router.plan("SELECT * FROM orders WHERE user_id = 42", {}, {}));
  EXPECT_EQ(analyses, 3);
}

TEST_F(RouterTest, HandsOutTheLiteralsOfThisText) {
  Router router(catalog(true), map(), {}, stand_in);
  (void)router.plan("SELECT 12345", {}, {});
  const std::string sql = "SELECT /* c */ 7";
  const Planned planned = router.plan(sql, {}, {});
  EXPECT_EQ(analyses, 1);
  ASSERT_EQ(planned.literals.size(), 1u);
  EXPECT_EQ(planned.plan->literals, 1);
  EXPECT_EQ(sql.substr(planned.literals[0].offset, planned.literals[0].length), "7");
  const auto route = router.resolve(*planned.plan, {sql, planned.literals, {}, {}});
  EXPECT_EQ(route->shard, router.map().shard_of(schema::KeyValue(std::int64_t{7})));
}

TEST_F(RouterTest, EveryPartOfTheContextIsInTheKey) {
  Router router(catalog(true), map(), {}, stand_in);
  const std::uint32_t int4[] = {23}, int8[] = {20}, two[] = {23, 0};
  const std::string_view sql = "SELECT $1";
  (void)router.plan(sql, {}, {});
  (void)router.plan(sql, int4, {});
  (void)router.plan(sql, int8, {});
  (void)router.plan(sql, two, {});
  SessionContext path, other_path, user, shifted, hints;
  path.search_path = "ab";
  other_path.search_path = "b";
  user.user = "ab";
  shifted.search_path = "a";
  shifted.user = "b";
  hints.hints = "ab";
  for (const SessionContext& session : {path, other_path, user, shifted, hints}) (void)router.plan(sql, {}, session);
  EXPECT_EQ(analyses, 9);
  (void)router.plan(sql, int8, {});
  (void)router.plan(sql, {}, shifted);
  (void)router.plan(sql, {}, hints);
  EXPECT_EQ(analyses, 9);
}

TEST_F(RouterTest, DoubtfulTextIsParsedEachTime) {
  EXPECT_EQ(analyses_of("SELECT 'a'\n'b'", "SELECT 'a'\n'b'"), 3);
  EXPECT_EQ(literals_seen, 0u);
  EXPECT_EQ(analyses_of("a syntax error", "a syntax error"), 3);
  std::string list = "SELECT * FROM orders WHERE id IN (1";
  for (int i = 0; i < 9000; ++i) list += ",1";
  EXPECT_EQ(analyses_of(list + ")", list + ")"), 3);
}

TEST_F(RouterTest, UnusualSessionsAreParsedEachTimeOrRefused) {
  SessionContext old_strings, shift_jis;
  old_strings.standard_conforming_strings = false;
  shift_jis.ascii_safe_encoding = false;
  EXPECT_EQ(analyses_of("SELECT 1", "SELECT 1", old_strings), 3);
  EXPECT_EQ(literals_seen, 0u);
  EXPECT_EQ(analyses_of("SELECT 1", "SELECT 1", shift_jis), 3);
  Router router(catalog(true), map(), {}, stand_in);
  for (const Planned& planned :
       {router.plan("SELECT 'a\\' OR 1 = 1 --'", {}, old_strings), router.plan("SELECT '\x83\x5c'", {}, shift_jis),
        router.plan(std::string("SELECT 1\0", 9), {}, {})}) {
    EXPECT_EQ(planned.plan->verb, Verb::unparsable);
    EXPECT_EQ(planned.plan->target, Target::refused);
    ASSERT_TRUE(planned.plan->refusal.has_value());
    EXPECT_FALSE(planned.plan->refusal->hint.empty());
  }
}

TEST_F(RouterTest, RefusesLongStatementsWhereTheyWouldBeRouted) {
  RouterSettings settings;
  settings.max_statement = 10;
  Router sharded(catalog(true), map(), settings, stand_in),
      plain(catalog(false), std::make_shared<const schema::BucketMap>(), settings, stand_in);
  EXPECT_EQ(sharded.plan("SELECT 100", {}, {}).plan->verb, Verb::query);
  const PlanRef refused = sharded.plan("SELECT 1000", {}, {}).plan;
  EXPECT_EQ(refused->target, Target::refused);
  EXPECT_EQ(refused->refusal->code, sqlstate::kProgramLimit);
  const PlanRef forwarded = plain.plan("SELECT 1000", {}, {}).plan;
  EXPECT_EQ(forwarded->target, Target::home);
  EXPECT_EQ(forwarded->verb, Verb::unparsable);
  EXPECT_TRUE(forwarded->effects.taints);
}

TEST_F(RouterTest, ReadsTheSearchPath) {
  Router router(catalog(true), map(), {}, stand_in);
  SessionContext session;
  session.search_path = " \"$user\", Public ,\"My, \"\"Schema\"";
  session.user = "Ann";
  (void)router.plan("SELECT 1", {}, session);
  EXPECT_EQ(path_seen, (std::vector<std::string>{"Ann", "public", "My, \"Schema"}));
  session.search_path = "a b";
  EXPECT_EQ(router.plan("SELECT 1", {}, session).plan->target, Target::refused);
  EXPECT_EQ(parse_search_path("\"\""), std::vector<std::string>{""});
  EXPECT_EQ(parse_search_path("  "), std::vector<std::string>{""});
  EXPECT_EQ(parse_search_path("a,b"), (std::vector<std::string>{"a", "b"}));
  for (const char* bad : {",", "a,", ",a", "a,,b", "\"a", "\"a\"b", "a b"}) EXPECT_FALSE(parse_search_path(bad)) << bad;
  EXPECT_EQ(parse_search_path(std::string(100, 'a'))->at(0).size(), 63u);
}

TEST_F(RouterTest, AnotherSnapshotDropsTheCache) {
  const auto first = catalog(true);
  const auto first_map = map();
  Router router(first, first_map, {}, stand_in);
  (void)router.plan("SELECT 1", {}, {});
  const std::uint64_t generation = router.generation();
  router.update(first, first_map);
  (void)router.plan("SELECT 1", {}, {});
  EXPECT_EQ(analyses, 1);
  EXPECT_EQ(router.generation(), generation);
  router.update(first, map());
  (void)router.plan("SELECT 1", {}, {});
  EXPECT_EQ(analyses, 2);
  EXPECT_GT(router.generation(), generation);
  router.update(catalog(true), first_map);
  EXPECT_EQ(router.counters().entries, 0u);
}

TEST_F(RouterTest, CountsHitsAndMisses) {
  Router router(catalog(true), map(), {}, stand_in);
  for (int i = 0; i < 10; ++i) (void)router.plan(concat("SELECT ", std::to_string(i)), {}, {});
  EXPECT_EQ(router.counters().misses, 1u);
  EXPECT_EQ(router.counters().hits, 9u);
}

TEST_F(RouterTest, ACachedStatementAllocatesNothing) {
  Router router(catalog(true), map(), {}, stand_in);
  SessionContext session;
  session.search_path = "\"$user\", public";
  session.user = "ann";
  const std::uint32_t declared[] = {20};
  const std::string_view value = "42";
  const Parameter parameters[] = {{false, false, as_bytes(value)}};
  const auto run = [&](std::string_view sql) {
    const Planned planned = router.plan(sql, declared, session);
    return router.resolve(*planned.plan, {sql, planned.literals, parameters, declared}).ok();
  };
  const std::string_view statements[] = {"SELECT abalance FROM pgbench_accounts WHERE aid = 12345", "SELECT '42'",
                                         "SELECT -42", "SELECT a FROM t WHERE id = $1", "BEGIN"};
  for (const std::string_view sql : statements) ASSERT_TRUE(run(sql));
  const std::size_t before = weir::testing::allocations();
  bool ok = true;
  for (int i = 0; i < 100; ++i)
    for (const std::string_view sql : statements) ok = run(sql) && ok;
  EXPECT_EQ(weir::testing::allocations() - before, 0u);
  EXPECT_TRUE(ok);
}

}  // namespace
}  // namespace weir::router
