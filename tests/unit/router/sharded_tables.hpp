// What the tests that hold the same rows once whole and once split over shards are set up from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/settings.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::router::testing {

// (name, key); no key: a reference table.
using TableRules = std::vector<std::pair<std::string, std::string>>;

// "app" on shards s0, s1 ...: key % (shards * buckets_each), and the first `buckets_each` remainders are s0's.
[[nodiscard]] config::Database sharded_by_remainder(std::uint32_t shards, std::uint32_t buckets_each, const TableRules& tables);
// Both throw std::runtime_error if it is not right.
[[nodiscard]] schema::BucketMap map_of(const config::Database& database);
[[nodiscard]] std::shared_ptr<const schema::Catalog> read_catalog(tests::PgConnection& connection, const config::Database& database);

// The end of an INSERT ... SELECT: `count` rows i from 0, each with its `key` k, as far as `keep`, a condition on k, is true.
[[nodiscard]] std::string rows_of(int count, std::string_view key, std::string_view keep);

}  // namespace weir::router::testing
