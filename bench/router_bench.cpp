// What routing costs: the lexer alone, a cached plan with its shard, and a statement seen for the first time.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <string_view>

#include "router/lexer.hpp"
#include "router/router.hpp"

namespace weir::router {
namespace {

constexpr std::string_view kPoint = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345";
constexpr std::string_view kPointParameter = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
constexpr std::string_view kJoin =
    "SELECT c.customer_id, c.name, o.order_id, o.created_at, sum(l.quantity * l.unit_price) AS total, max(p.title) "
    "FROM customers c JOIN orders o ON o.customer_id = c.customer_id AND o.status IN ('paid', 'shipped') "
    "JOIN order_lines l ON l.customer_id = o.customer_id AND l.order_id = o.order_id "
    "LEFT JOIN products p ON p.product_id = l.product_id AND p.deleted_at IS NULL "
    "WHERE c.customer_id = 42 AND o.created_at >= '2024-01-01'::timestamptz AND l.quantity > 3 "
    "AND (c.tier = 2 OR c.credit_limit > 10000.50) GROUP BY c.customer_id, c.name, o.order_id, o.created_at "
    "HAVING sum(l.quantity * l.unit_price) > 250 ORDER BY total DESC NULLS LAST LIMIT 50 OFFSET 100";

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
    for (std::uint32_t i = 0; i < 4; ++i) {
      config::Shard shard;
      shard.name = "s" + std::to_string(i);
      shard.buckets = {{i * 1024, i * 1024 + 1023}};
      d.shards.push_back(std::move(shard));
    }
    d.tables = {table("pgbench_accounts", "aid"), table("customers", "customer_id"), table("orders", "customer_id"),
                table("order_lines", "customer_id"), table("products", "")};
    return d;
  }();
  return built;
}

std::unique_ptr<Router> make_router(std::size_t cache_bytes) {
  RouterSettings settings;
  settings.cache_bytes = cache_bytes;
  return std::make_unique<Router>(schema::Catalog::offline(database()),
                                  std::make_shared<const schema::BucketMap>(*schema::BucketMap::from(database())),
                                  settings);
}

SessionContext session() {
  SessionContext context;
  context.search_path = "\"$user\", public";
  context.user = "app";
  return context;
}

void lift_statement(benchmark::State& state, std::string_view sql) {
  Lifted lifted;
  for (auto _ : state) {
    lift(sql, true, lifted);
    benchmark::DoNotOptimize(lifted.hash);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * sql.size()));
}
BENCHMARK_CAPTURE(lift_statement, point, kPoint);
BENCHMARK_CAPTURE(lift_statement, four_table_join, kJoin);

void plan_and_resolve(benchmark::State& state, std::string_view sql, std::size_t cache_bytes) {
  const auto router = make_router(cache_bytes);
  const SessionContext context = session();
  const std::string_view value = "12345";
  const Parameter parameters[] = {{false, false, as_bytes(value)}};
  for (auto _ : state) {
    const Planned planned = router->plan(sql, {}, context);
    const auto route = router->resolve(*planned.plan, {sql, planned.literals, parameters, {}});
    if (!route) {
      state.SkipWithError(route.error().message.c_str());
      return;
    }
    benchmark::DoNotOptimize(route->shard);
  }
}
BENCHMARK_CAPTURE(plan_and_resolve, cached_literal, kPoint, 8 << 20);
BENCHMARK_CAPTURE(plan_and_resolve, cached_parameter, kPointParameter, 8 << 20);
BENCHMARK_CAPTURE(plan_and_resolve, cached_join, kJoin, 8 << 20);
BENCHMARK_CAPTURE(plan_and_resolve, cold_point, kPoint, 0);
BENCHMARK_CAPTURE(plan_and_resolve, cold_join, kJoin, 0);

}  // namespace
}  // namespace weir::router
