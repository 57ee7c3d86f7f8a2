#include "migrate/status.hpp"

#include <iomanip>
#include <pqxx/except>
#include <pqxx/nontransaction>
#include <pqxx/result>
#include <vector>

#include "config/load.hpp"
#include "migrate/session.hpp"
#include "policy/health.hpp"
#include "router/client/conninfo.hpp"

namespace weir::migrate {

namespace {

struct Line {
  std::string shard, role, backend, state = "ok", map = "-", lag = "-", buckets = "-";
  bool good = true;

  void bad(const std::string& why) {
    state = good ? why : state + "; " + why;
    good = false;
  }
};

// A replica that has replayed all it received is not behind, however old its last transaction is.
constexpr const char* kProbe =
    "SELECT pg_is_in_recovery(),"
    " CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0"
    " ELSE extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000 END::bigint,"
    " EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL)";

void judge(Line& line, pqxx::transaction_base& tx, policy::Role role, Duration max_lag) {
  const auto row = tx.exec1(kProbe);
  policy::Probe probe;
  probe.reachable = true;
  probe.in_recovery = row[0].as<bool>();
  probe.receiver_connected = row[2].as<bool>();
  if (!row[1].is_null()) probe.lag = std::chrono::milliseconds(row[1].as<std::int64_t>());
  if (role == policy::Role::replica) line.lag = row[1].is_null() ? "unknown" : row[1].as<std::string>() + "ms";
  const auto verdict = policy::judge(role, probe, max_lag);
  if (!verdict.usable) line.bad(verdict.reason);
}

void identify(Line& line, pqxx::transaction_base& tx, const config::Database& database) {
  if (!database.sharding) return;
  const auto identity = read_identity(tx);
  if (identity) line.map = std::to_string(identity->map_version);
  const auto verdict = schema::check_identity(database, line.shard, identity);
  if (verdict) return;
  line.bad(verdict.error().hint.empty() ? verdict.error().message
                                        : verdict.error().message + " (" + verdict.error().hint + ")");
}

Line look_at(const config::Database& database, const config::Shard& shard, const std::string& conninfo,
             policy::Role role) {
  Line line{shard.name, role == policy::Role::primary ? "primary" : "replica", client::conninfo_label(conninfo)};
  if (database.sharding) line.buckets = config::format_bucket_ranges(shard.buckets);
  try {
    Session session(database, shard.name, conninfo);
    pqxx::nontransaction tx{*session};
    judge(line, tx, role, database.reads.max_lag);
    identify(line, tx, database);
  } catch (const std::exception& e) {
    line.bad(e.what());
  }
  return line;
}

void print(const std::vector<Line>& lines, std::ostream& out) {
  const auto row = [&out](const Line& l) {
    out << "  " << std::left << std::setw(12) << l.shard << std::setw(9) << l.role << std::setw(30) << l.backend
        << std::setw(6) << l.map << std::setw(10) << l.lag << std::setw(20) << l.buckets << l.state << "\n";
  };
  Line head{"shard", "role", "backend", "state", "map", "lag", "buckets"};
  row(head);
  for (const auto& line : lines) row(line);
}

}  // namespace

bool status(const config::Database& database, std::ostream& out) {
  std::vector<Line> lines;
  for (const auto& shard : database.shards) {
    lines.push_back(look_at(database, shard, shard.primary, policy::Role::primary));
    for (const auto& replica : shard.replicas)
      lines.push_back(look_at(database, shard, replica.conninfo, policy::Role::replica));
  }
  out << "database " << database.name;
  if (database.sharding)
    out << ": " << database.sharding->buckets << " buckets by "
        << (database.sharding->function == config::HashFunction::hash ? "hash" : "modulo") << ", map version "
        << database.sharding->map_version;
  out << "\n";
  print(lines, out);
  bool good = true;
  for (const auto& line : lines) good = good && line.good;
  return good;
}

}  // namespace weir::migrate
