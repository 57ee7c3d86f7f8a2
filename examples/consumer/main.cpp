// Asks the installed library where things are: weir::router for statements, weir::client for keys. Connects to nothing.
#include <iostream>
#include <memory>
#include <weir/config/load.hpp>
#include <weir/router/client/cluster.hpp>
#include <weir/router/router.hpp>

namespace {

// The shard of a statement, decided without a database at hand.
std::string shard_of(const weir::config::Database& database, const std::string& sql) {
  auto map = std::make_shared<const weir::schema::BucketMap>(weir::schema::BucketMap::from(database).value());
  weir::router::Router router(weir::schema::Catalog::offline(database), map);
  const auto planned = router.plan(sql, {}, {});
  const auto route = router.resolve(*planned.plan, {sql, planned.literals, {}, {}});
  return route ? database.shards[route->shard].name : route.error().message;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const auto loaded = weir::config::load(argv[1], {.require_auth = false});
  if (!std::holds_alternative<weir::config::Settings>(loaded)) return 1;
  const auto& database = std::get<weir::config::Settings>(loaded).databases.front();
  const weir::client::Cluster cluster(argv[1]);
  const std::string by_key = cluster.shard_name(cluster.shard_of(123456));
  const std::string by_statement = shard_of(database, "SELECT * FROM orders WHERE user_id = 123456");
  std::cout << "user 123456: shard " << by_key << " by its key, shard " << by_statement << " by its statement\n";
  return by_key == by_statement ? 0 : 1;
}
