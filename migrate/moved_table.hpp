// What of a sharded table moves with some buckets, and whether it can.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/settings.hpp"
#include "router/client/server_connection.hpp"
#include "schema/catalog.hpp"

namespace weir::migrate {

// Count and sum of row hashes. Duplicates count; the order does not.
struct Checksum {
  std::string rows = "0";
  std::string sum = "0";  // numeric, as text
  friend bool operator==(const Checksum&, const Checksum&) = default;
  [[nodiscard]] bool empty() const { return rows == "0"; }
};

struct MovedTable {
  std::string name;     // quoted and qualified
  std::string columns;  // quoted, separated by commas, in the source's order; generated columns are made anew
  std::string where;    // true for rows of the moved buckets
  const config::Table* rule = nullptr;
  bool partitioned = false;
};

struct MoveScope {
  std::vector<MovedTable> tables;
  std::vector<std::string> refusals;  // why it cannot move; each a sentence with its remedy
  bool needs_replica_role = false;    // triggers or foreign keys, which a move must not fire
};

// From the catalogs of both shards (of the same settings). `source` is asked for what catalogs do not hold.
[[nodiscard]] MoveScope scope_of(const config::Database& database, const std::vector<config::BucketRange>& buckets,
                                 const std::string& from, const schema::Catalog& source_catalog, const std::string& to,
                                 const schema::Catalog& target_catalog, client::ServerConnection& source);

// "(bucket BETWEEN 0 AND 99 OR bucket = 200)" over the bucket of a key column.
[[nodiscard]] std::string buckets_condition(const std::string& bucket_sql,
                                            const std::vector<config::BucketRange>& buckets);

// Of the rows that `table.where` means, in the connection's snapshot. Made of the rows' text, so it sees what COPY
// carries.
[[nodiscard]] Checksum checksum_of(client::ServerConnection& connection, const MovedTable& table);

// Leaf tables of a partitioned table (itself, if it is none), quoted and qualified.
[[nodiscard]] std::vector<std::string> leaves_of(client::ServerConnection& connection, const MovedTable& table);

// "name FOR VALUES ..." of each partition, sorted.
[[nodiscard]] std::vector<std::string> partitions_of(client::ServerConnection& connection, const MovedTable& table);

}  // namespace weir::migrate
