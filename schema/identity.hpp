// The identity row of a shard (schema `weir`, made by `weirctl init`): two shards swapped in DNS are noticed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "config/settings.hpp"

namespace weir::schema {

struct Identity {
  std::string cluster;  // uuid, the same on every shard of a database
  std::string shard;    // the shard's name in weir.toml
  std::uint64_t map_version = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// Returns one row (cluster, shard, map_version), or no row / an undefined_table error (42P01) / undefined schema where
// `weirctl init` never ran.
[[nodiscard]] std::string_view identity_query();

// Whether a connection to `found` may serve as `shard` of `database`. Errors are 57P03 with a HINT:
// no identity: "run weirctl init"; another shard's; a newer or older map version. A plain database needs none.
[[nodiscard]] Result<void> check_identity(const config::Database& database, std::string_view shard,
                                          const std::optional<Identity>& found);

// Idempotent statements of `weirctl init` for one shard: schema weir, weir.identity, weir.next_id, the decisions of distributed
// transactions (schema/decisions.hpp), and the node numbers of proxies (schema/id_nodes.hpp). They bring a schema of an earlier version up to date.
// Values are quoted with PostgreSQL's rules; to be run in one transaction, by the schema's owner (superuser not
// needed). One of them fails (55000, with a HINT) where the database is another shard's already, or has a newer map
// version. `node` (below kFirstProxyNode) is the shard's part of weir.next_id()'s ids and must differ between the shards of a
// database: its ShardId. There is no default because equal nodes would make equal ids.
[[nodiscard]] std::vector<std::string> init_statements(const Identity& identity, std::uint16_t node);

}  // namespace weir::schema
