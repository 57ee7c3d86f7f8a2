#include "tests/unit/router/sharded_tables.hpp"

#include <stdexcept>

#include "base/strings.hpp"

namespace weir::router::testing {

config::Database sharded_by_remainder(std::uint32_t shards, std::uint32_t buckets_each, const TableRules& tables) {
  config::Database database;
  database.name = "app";
  database.sharding.emplace();
  database.sharding->function = config::HashFunction::modulo;
  database.sharding->buckets = shards * buckets_each;
  for (std::uint32_t i = 0; i < shards; ++i) {
    config::Shard shard;
    shard.name = concat("s", std::to_string(i));
    shard.primary = "dbname=app";
    shard.buckets = {{i * buckets_each, (i + 1) * buckets_each - 1}};
    database.shards.push_back(std::move(shard));
  }
  for (const auto& [name, key] : tables) {
    config::Table rule;
    rule.name = name;
    rule.key = key;
    rule.reference = key.empty();
    database.tables.push_back(std::move(rule));
  }
  return database;
}

schema::BucketMap map_of(const config::Database& database) {
  auto map = schema::BucketMap::from(database);
  if (!map) throw std::runtime_error(map.error().message);
  return std::move(*map);
}

std::shared_ptr<const schema::Catalog> read_catalog(tests::PgConnection& connection, const config::Database& database) {
  schema::CatalogBuilder builder(database);
  for (std::size_t q = 0; q < schema::catalog_queries().size(); ++q)
    for (const auto& row : connection.exec(std::string(schema::catalog_queries()[q].sql)))
      if (auto added = builder.add_row(q, schema::CatalogRow(row.begin(), row.end())); !added) throw std::runtime_error(added.error().message);
  auto catalog = builder.finish(1);
  if (!catalog) throw std::runtime_error(catalog.error().message);
  return *catalog;
}

std::string rows_of(int count, std::string_view key, std::string_view keep) {
  return concat(" FROM generate_series(0, ", std::to_string(count - 1), ") AS rows(i), LATERAL (SELECT ", key, " AS k) AS keys WHERE ", keep, ";");
}

}  // namespace weir::router::testing
