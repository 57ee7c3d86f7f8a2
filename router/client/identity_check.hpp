// What is asked of every new server connection before it may serve: its role, and its identity (schema/identity.hpp).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "policy/health.hpp"
#include "router/client/server_connection.hpp"
#include "schema/identity.hpp"

namespace weir::client {

// The identity row; nullopt: `weirctl init` never ran there. Throws as ServerConnection::query does.
[[nodiscard]] std::optional<schema::Identity> read_identity(ServerConnection& connection, Deadline deadline);

// A check for PoolSettings: throws BackendUnavailable, naming `pool`, when the server has another role or identity.
// `database` must outlive it.
[[nodiscard]] std::function<void(ServerConnection&, Deadline)> backend_check(const config::Database& database,
                                                                             std::string shard, std::string pool,
                                                                             policy::Role role);

}  // namespace weir::client
