#include "router/client/identity_check.hpp"

#include <pqxx/except>

#include "router/client/errors.hpp"

namespace weir::client {

std::optional<schema::Identity> read_identity(ServerConnection& connection, Deadline deadline) {
  try {
    const auto rows = connection.query(std::string(schema::identity_query()), deadline);
    if (rows.empty() || rows[0].size() < 3) return std::nullopt;
    return schema::Identity{rows[0][0].value_or(""), rows[0][1].value_or(""), std::stoull(rows[0][2].value_or("0"))};
  } catch (const pqxx::sql_error& e) {
    if (e.sqlstate() == "42P01" || e.sqlstate() == "3F000") return std::nullopt;  // undefined table, schema
    throw;
  }
}

namespace {

void check_role(ServerConnection& connection, const std::string& pool, policy::Role role, Deadline deadline) {
  const auto rows = connection.query("SELECT pg_is_in_recovery()", deadline);
  policy::Probe probe;
  probe.reachable = true;
  probe.in_recovery = !rows.empty() && rows[0].at(0) == "t";
  probe.receiver_connected = probe.in_recovery;  // how far behind it is, the monitor judges
  probe.lag = Duration::zero();
  const policy::Verdict verdict = policy::judge(role, probe, Duration::zero());
  if (!verdict.usable) throw BackendUnavailable("pool " + pool + ": " + verdict.reason);
}

}  // namespace

std::function<void(ServerConnection&, Deadline)> backend_check(const config::Database& database, std::string shard,
                                                               std::string pool, policy::Role role) {
  return [&database, shard = std::move(shard), pool = std::move(pool), role](ServerConnection& connection,
                                                                             Deadline deadline) {
    check_role(connection, pool, role, deadline);
    if (!database.sharding) return;
    const auto verdict = schema::check_identity(database, shard, read_identity(connection, deadline));
    if (!verdict) throw BackendUnavailable("pool " + pool + ": " + text_of(verdict.error()), verdict.error().code);
  };
}

}  // namespace weir::client
