#include "schema/id_nodes.hpp"

#include "base/strings.hpp"
#include "schema/quote.hpp"

namespace weir::schema {
namespace {

std::string table() {
  return concat(R"(CREATE TABLE IF NOT EXISTS weir.id_node (
  node smallint PRIMARY KEY CHECK (node BETWEEN )",
                std::to_string(kFirstProxyNode), " AND ", std::to_string(kIdNodes - 1), R"(),
  holder uuid NOT NULL,
  about text NOT NULL,
  until_ms bigint NOT NULL,
  renewed_at timestamptz NOT NULL DEFAULT clock_timestamp()
))");
}

// The row is locked out of the way before the clock is read: of two grants the later one has the later time. A number is taken at random, so that
// two that both believe to be first (a home shard that lost its last seconds in a failover) hardly ever choose the same.
std::string lease() {
  return concat(R"(CREATE OR REPLACE FUNCTION weir.lease_id_node(holder_id uuid, about_holder text,
  OUT node_number integer, OUT from_ms bigint, OUT new_until_ms bigint, OUT now_ms bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $weir$
BEGIN
  IF current_setting('synchronous_commit') = 'off' THEN
    PERFORM set_config('synchronous_commit', 'on', true);
  END IF;
  LOCK TABLE weir.id_node IN SHARE ROW EXCLUSIVE MODE;
  now_ms := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1704067200000;
  UPDATE weir.id_node SET until_ms = greatest(until_ms, now_ms + )",
                std::to_string(kIdLease.count()), R"(), renewed_at = clock_timestamp()
    WHERE holder = holder_id RETURNING node, 0, until_ms INTO node_number, from_ms, new_until_ms;
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT free.number, greatest(now_ms, n.until_ms) INTO node_number, from_ms
    FROM generate_series()",
                std::to_string(kFirstProxyNode), ", ", std::to_string(kIdNodes - 1), R"() AS free(number) LEFT JOIN weir.id_node n ON n.node = free.number
    WHERE n.node IS NULL OR n.until_ms <= now_ms ORDER BY random() LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'every node number of weir.next_id() is leased'
      USING ERRCODE = 'configuration_limit_exceeded',
            DETAIL = (SELECT format('The first is free in %s seconds.', (min(until_ms) - now_ms) / 1000 + 1) FROM weir.id_node),
            HINT = 'Each proxy that was killed keeps its number until its lease is over: see weir.id_node, and whether proxies start again and again.';
  END IF;
  new_until_ms := from_ms + )",
                std::to_string(kIdLease.count()), R"(;
  INSERT INTO weir.id_node (node, holder, about, until_ms) VALUES (node_number, holder_id, left(about_holder, 200), new_until_ms)
    ON CONFLICT (node) DO UPDATE SET holder = excluded.holder, about = excluded.about, until_ms = excluded.until_ms,
      renewed_at = excluded.renewed_at;
END $weir$)");
}

constexpr const char* kRelease = R"(CREATE OR REPLACE FUNCTION weir.release_id_node(holder_id uuid, used_ms bigint) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $weir$
  UPDATE weir.id_node SET until_ms = least(until_ms, used_ms + 1), holder = '00000000-0000-0000-0000-000000000000' WHERE holder = holder_id
$weir$)";

}  // namespace

std::vector<std::string> id_node_statements() {
  return {
      table(),
      "REVOKE ALL ON weir.id_node FROM PUBLIC",
      lease(),
      "REVOKE ALL ON FUNCTION weir.lease_id_node(uuid, text) FROM PUBLIC",
      kRelease,
      "REVOKE ALL ON FUNCTION weir.release_id_node(uuid, bigint) FROM PUBLIC",
  };
}

std::string_view has_id_nodes_query() { return "SELECT to_regprocedure('weir.lease_id_node(uuid, text)') IS NOT NULL"; }

std::string lease_id_node_query(std::string_view holder, std::string_view about) {
  return concat("SELECT node_number::text, from_ms::text, new_until_ms::text, now_ms::text FROM weir.lease_id_node(", quote_literal(holder), ", ",
                quote_literal(about), ")");
}

std::string release_id_node_query(std::string_view holder, std::uint64_t used_ms) {
  return concat("SELECT weir.release_id_node(", quote_literal(holder), ", ", std::to_string(used_ms), ")");
}

}  // namespace weir::schema
