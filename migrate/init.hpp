// weirctl init: schema weir and the identity row on every shard of a database.
#pragma once

#include <ostream>

#include "config/settings.hpp"

namespace weir::migrate {

struct InitOptions {
  bool plan_only = false;          // print the statements instead of running them
  bool raise_map_version = false;  // buckets were moved by hand: the shards take weir.toml's newer map version
};

// Idempotent. One cluster uuid for all shards: the one some of them have, else a new one. Throws Failure, and changes
// nothing, when a shard already has another identity (another shard's name, another cluster, another map version) or is
// away.
void init(const config::Database& database, const InitOptions& options, std::ostream& out);

}  // namespace weir::migrate
