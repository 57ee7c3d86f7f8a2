#include "migrate/init.hpp"

#include <memory>
#include <pqxx/except>
#include <pqxx/result>
#include <pqxx/transaction>

#include "migrate/session.hpp"
#include "schema/id_nodes.hpp"

namespace weir::migrate {

namespace {

// Two of us at once would invent two cluster uuids. The number is ours alone: "weir" in ASCII, and 1 for init.
constexpr const char* kLock = "SELECT pg_advisory_xact_lock(x'77656972'::int, 1)";

struct Part {
  Session* session;
  std::unique_ptr<pqxx::work> tx;
  std::optional<schema::Identity> found;
};

std::string describe(const schema::Identity& identity) {
  return "shard " + identity.shard + " of cluster " + identity.cluster + ", map version " +
         std::to_string(identity.map_version);
}

void refuse_foreign(const config::Database& database, const Part& part, bool raise_map_version) {
  if (!part.found) return;
  const schema::Identity& found = *part.found;
  const std::uint64_t wanted = database.sharding->map_version;
  const bool version_fits = found.map_version == wanted || (raise_map_version && found.map_version < wanted);
  if (found.shard == part.session->shard() && version_fits) return;
  throw Failure("shard " + part.session->shard() + " (" + part.session->label() + ") is " + describe(found) +
                " already, but weir.toml says shard " + part.session->shard() + ", map version " +
                std::to_string(wanted) +
                "; correct the connection string or map_version in weir.toml. If the rows of moved buckets are in "
                "their new places "
                "already: weirctl init --raise-map-version");
}

std::string cluster_of(const std::vector<Part>& parts) {
  const Part* first = nullptr;
  for (const Part& part : parts) {
    if (!part.found) continue;
    if (first != nullptr && first->found->cluster != part.found->cluster)
      throw Failure("shards of two clusters: " + first->session->shard() + " (" + first->session->label() + ") is " +
                    describe(*first->found) + "; " + part.session->shard() + " (" + part.session->label() + ") is " +
                    describe(*part.found) + "; correct the connection strings in weir.toml");
    if (first == nullptr) first = &part;
  }
  if (first != nullptr) return first->found->cluster;
  return parts.front().tx->exec1("SELECT gen_random_uuid()")[0].as<std::string>();
}

// Two shards that lead to one database show here: the second finds the first's row.
void run(Part& part, const schema::Identity& identity, std::uint16_t node) {
  for (const auto& statement : schema::init_statements(identity, node)) part.tx->exec(statement);
  const auto now = read_identity(*part.tx);
  if (now && *now == identity) return;
  throw Failure("shard " + identity.shard + " (" + part.session->label() + "): the identity row says " +
                (now ? describe(*now) : std::string("nothing")) + " after init; do two shards lead to one database?");
}

void print(const Part& part, const schema::Identity& identity, std::uint16_t node, std::ostream& out) {
  out << "-- " << describe(identity) << " (" << part.session->label()
      << "): " << (part.found ? "has its identity" : "new") << "\n";
  for (const auto& statement : schema::init_statements(identity, node)) out << statement << ";\n";
}

void commit_all(std::vector<Part>& parts, const std::vector<schema::Identity>& identities, std::ostream& out) {
  for (std::size_t i = parts.size(); i-- > 0;) {  // the home shard, which holds the lock, last
    parts[i].tx->commit();
    out << identities[i].shard << " (" << parts[i].session->label()
        << "): " << (parts[i].found ? "was initialised, schema weir is up to date" : "initialised") << " as "
        << describe(identities[i]) << "\n";
  }
}

}  // namespace

void init(const config::Database& database, const InitOptions& options, std::ostream& out) {
  if (!database.sharding) {
    out << database.name << ": a plain database needs no init\n";
    return;
  }
  if (database.shards.size() > schema::kFirstProxyNode)
    throw Failure("database " + database.name + " has " + std::to_string(database.shards.size()) +
                  " shards; weir.next_id() can tell " + std::to_string(schema::kFirstProxyNode) + " apart");
  std::vector<Session> sessions = connect_primaries(database);
  std::vector<Part> parts;
  for (auto& session : sessions) {
    Part part{&session, std::make_unique<pqxx::work>(*session), std::nullopt};
    if (parts.empty()) part.tx->exec(kLock);
    part.found = read_identity(*part.tx);
    refuse_foreign(database, part, options.raise_map_version);
    parts.push_back(std::move(part));
  }
  const std::string cluster = cluster_of(parts);
  std::vector<schema::Identity> identities;
  for (auto& part : parts) {
    identities.push_back({cluster, part.session->shard(), database.sharding->map_version});
    const auto node = static_cast<std::uint16_t>(identities.size() - 1);
    if (options.plan_only)
      print(part, identities.back(), node, out);
    else
      run(part, identities.back(), node);
  }
  if (!options.plan_only) commit_all(parts, identities, out);
}

}  // namespace weir::migrate
