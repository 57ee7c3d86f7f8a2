#include "schema/identity.hpp"

#include <algorithm>
#include <iterator>

#include "base/strings.hpp"
#include "schema/decisions.hpp"
#include "schema/id_nodes.hpp"
#include "schema/quote.hpp"

namespace weir::schema {
namespace {

Error refused(const config::Database& database, std::string_view shard, std::string what, std::string hint) {
  Error error(sqlstate::kCannotConnectNow, concat("shard ", shard, " of database ", database.name, ": ", what),
              std::move(hint));
  error.connection_spoilt = true;
  return error;
}

constexpr std::string_view kIdentityTable = R"(CREATE TABLE IF NOT EXISTS weir.identity (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  cluster uuid NOT NULL,
  shard text NOT NULL,
  map_version bigint NOT NULL CHECK (map_version > 0)
))";

// Refuses to rename a shard or to go back to an older map: both would make a wrong configuration look right.
constexpr std::string_view kSetIdentity = R"(CREATE OR REPLACE FUNCTION weir.set_identity(
  new_cluster uuid, new_shard text, new_map_version bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $weir$
DECLARE
  old weir.identity;
BEGIN
  INSERT INTO weir.identity (cluster, shard, map_version)
    VALUES (new_cluster, new_shard, new_map_version) ON CONFLICT DO NOTHING;
  SELECT * INTO STRICT old FROM weir.identity FOR UPDATE;
  IF old.cluster <> new_cluster OR old.shard <> new_shard THEN
    RAISE EXCEPTION 'this database is shard % of cluster %, not shard % of cluster %',
      old.shard, old.cluster, new_shard, new_cluster
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Check the connection strings in weir.toml: two shards may be swapped.';
  END IF;
  IF old.map_version > new_map_version THEN
    RAISE EXCEPTION 'shard % has map version %, newer than % in weir.toml', old.shard, old.map_version, new_map_version
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'This weir.toml is out of date: buckets have moved since. Take the newest one.';
  END IF;
  UPDATE weir.identity SET map_version = new_map_version WHERE map_version < new_map_version;
END $weir$)";

// An id as policy/id_generator.hpp has it: 41 bits of milliseconds since 2024-01-01 UTC, 10 bits of node, 12 bits of sequence.
//
// The sequence number belongs to the millisecond only if the clock reads the same before and after nextval(): a session
// that is put to sleep between the two would otherwise pair an old millisecond with a number that came round again.
// Two equal ids then take 4,096 calls within one millisecond on one shard, or a clock that is set back.
std::string next_id_function(std::uint16_t node) {
  return concat(R"(CREATE OR REPLACE FUNCTION weir.next_id() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS $weir$
DECLARE
  before bigint;
  number bigint;
BEGIN
  LOOP
    before := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    number := nextval('weir.id_sequence');
    EXIT WHEN before = floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
  END LOOP;
  RETURN ((before - 1704067200000) << 22) | ()",
                std::to_string(node), R"(::bigint << 12) | (number & 4095);
END $weir$)");
}

}  // namespace

std::string_view identity_query() { return "SELECT cluster::text, shard, map_version::text FROM weir.identity"; }

Result<void> check_identity(const config::Database& database, std::string_view shard,
                            const std::optional<Identity>& found) {
  if (!database.sharding) return {};
  if (!found) {
    return refused(database, shard, "the server has no identity row",
                   "Run `weirctl init -c weir.toml`, once for all shards.");
  }
  if (found->shard != shard) {
    return refused(database, shard,
                   concat("the server says it is shard ", found->shard, " of cluster ", found->cluster),
                   "Check the connection strings in weir.toml and DNS: two shards may be swapped.");
  }
  const std::uint64_t expected = database.sharding->map_version;
  if (found->map_version == expected) return {};
  const bool newer = found->map_version > expected;
  return refused(database, shard,
                 concat("the server has map version ", std::to_string(found->map_version), ", this configuration ",
                        std::to_string(expected)),
                 newer
                     ? "Buckets have moved since: load the newest weir.toml and RELOAD."
                     : "Run `weirctl init -c weir.toml --raise-map-version` if the move of buckets is complete, or finish the move first.");
}

std::vector<std::string> init_statements(const Identity& identity, std::uint16_t node) {
  std::vector<std::string> statements{
      "CREATE SCHEMA IF NOT EXISTS weir",
      "GRANT USAGE ON SCHEMA weir TO PUBLIC",
      std::string(kIdentityTable),
      "REVOKE ALL ON weir.identity FROM PUBLIC",
      "GRANT SELECT ON weir.identity TO PUBLIC",
      std::string(kSetIdentity),
      "REVOKE ALL ON FUNCTION weir.set_identity(uuid, text, bigint) FROM PUBLIC",
      concat("SELECT weir.set_identity(", quote_literal(identity.cluster), ", ", quote_literal(identity.shard), ", ",
             std::to_string(identity.map_version), ")"),
      "CREATE SEQUENCE IF NOT EXISTS weir.id_sequence MINVALUE 0 START 0 CYCLE",
      "GRANT USAGE ON SEQUENCE weir.id_sequence TO PUBLIC",
      next_id_function(node % kFirstProxyNode),
      "GRANT EXECUTE ON FUNCTION weir.next_id() TO PUBLIC",
  };
  std::ranges::move(decision_statements(), std::back_inserter(statements));
  std::ranges::move(id_node_statements(), std::back_inserter(statements));
  return statements;
}

}  // namespace weir::schema
