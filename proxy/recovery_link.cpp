#include "proxy/recovery_link.hpp"

#include <cstdlib>

#include "base/strings.hpp"
#include "schema/quote.hpp"

namespace weir::proxy {
namespace {

constexpr const char* kFacts =
    "SELECT cluster::text, session_user::text, current_setting('max_prepared_transactions') <> '0', to_regprocedure('weir.abort(text)') IS NOT NULL "
    "FROM weir.identity";

constexpr const char* kPrepared =
    "SELECT gid, owner::text, floor(extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint::text FROM pg_catalog.pg_prepared_xacts "
    "WHERE database = current_database() AND starts_with(gid, 'weir:') ORDER BY prepared";

// A number that has not been given out yet (it was, before a failover that lost it) is nobody's.
constexpr const char* kForgetAborts =
    "DELETE FROM weir.decision d USING (SELECT id, ('x' || lpad(split_part(id, '-', 1), 16, '0'))::bit(64)::bigint AS xid FROM weir.decision) x "
    "WHERE x.id = d.id AND d.outcome = 'abort' AND d.decided_at < clock_timestamp() - interval '24 hours' "
    "AND CASE WHEN x.xid BETWEEN 0 AND txid_snapshot_xmax(txid_current_snapshot()) - 1 THEN txid_status(x.xid) IS DISTINCT FROM 'in progress' "
    "ELSE true END";

std::string array_of(const std::vector<std::string>& texts) {
  std::string out = "ARRAY[";
  for (const std::string& text : texts) out += concat(out.size() > 6 ? ", " : "", schema::quote_literal(text));
  return out + "]::text[]";
}

std::string first_value(const std::vector<pool::QueryRow>& rows) { return rows.empty() || rows[0].empty() ? std::string() : rows[0][0].value_or(""); }

}  // namespace

Result<void> RecoveryLink::prepare() {
  auto rows = query(kFacts);
  if (!rows) return rows.take_error();
  if (rows->size() != 1 || rows->front()[3] != "t") return schema_is_old();
  const pool::QueryRow& row = rows->front();
  cluster_ = row[0].value_or("");
  user_ = row[1].value_or("");
  can_prepare_ = row[2] == "t";
  return {};
}

Result<std::vector<RecoveryLink::Prepared>> RecoveryLink::prepared() {
  auto rows = query(kPrepared);
  if (!rows) return rows.take_error();
  std::vector<Prepared> found;
  for (const pool::QueryRow& row : *rows)
    found.push_back({row[0].value_or(""), row[1].value_or(""), std::chrono::milliseconds(std::strtoll(row[2].value_or("0").c_str(), nullptr, 10))});
  return found;
}

Result<std::string> RecoveryLink::decided(const std::string& decision) {
  auto rows = query(concat("SELECT outcome FROM weir.decision WHERE id = ", schema::quote_literal(decision)));
  if (!rows) return rows.take_error();
  return first_value(*rows);
}

Result<std::string> RecoveryLink::abort(const std::string& decision) {
  auto rows = query(concat("SELECT weir.abort(", schema::quote_literal(decision), ")"));
  if (!rows) return rows.take_error();
  return first_value(*rows);
}

Result<void> RecoveryLink::finish(const std::string& gid, const std::string& owner, bool commit) {
  if (owner != user_)
    if (auto set = query(concat("SET ROLE ", schema::quote_ident(owner))); !set) return set.take_error();
  auto done = query(concat(commit ? "COMMIT PREPARED " : "ROLLBACK PREPARED ", schema::quote_literal(gid)));
  if (is_open() && !query("RESET ROLE")) close();
  if (!done) return done.take_error();
  return {};
}

Result<std::vector<std::string>> RecoveryLink::old_commits(const std::vector<std::string>& shards) {
  auto rows = query(concat("SELECT id FROM weir.decision WHERE outcome = 'commit' AND decided_at < clock_timestamp() - interval '10 minutes' AND participants <@ ",
                           array_of(shards), " LIMIT ", std::to_string(kForgetAtOnce)));
  if (!rows) return rows.take_error();
  std::vector<std::string> found;
  for (const pool::QueryRow& row : *rows) found.push_back(row[0].value_or(""));
  return found;
}

Result<void> RecoveryLink::forget(const std::vector<std::string>& decisions) {
  if (decisions.empty()) return {};
  if (auto done = query(concat("DELETE FROM weir.decision WHERE id = ANY (", array_of(decisions), ")")); !done) return done.take_error();
  return {};
}

Result<void> RecoveryLink::forget_old_aborts() {
  if (auto done = query(kForgetAborts); !done) return done.take_error();
  return {};
}

}  // namespace weir::proxy
