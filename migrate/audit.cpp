#include "migrate/audit.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <pqxx/dbtransaction>
#include <pqxx/except>
#include <pqxx/result>
#include <pqxx/subtransaction>
#include <pqxx/transaction>
#include <set>

#include "base/strings.hpp"
#include "config/load.hpp"
#include "migrate/session.hpp"
#include "router/client/catalog_loader.hpp"
#include "router/client/conninfo.hpp"
#include "router/redact.hpp"
#include "router/router.hpp"
#include "schema/bucket_map.hpp"
#include "schema/catalog.hpp"

namespace weir::migrate {

namespace {

using schema::Catalog;
using schema::Placement;
using schema::Relation;

constexpr std::size_t kTextBytes = 4000;
constexpr std::int64_t kSmallTable = 64 << 20;  // bytes of a candidate for a reference table
constexpr std::int64_t kScansForAChange = 100;  // of such a candidate, at least

// ---- what there is ----

bool has_column(pqxx::transaction_base& tx, const std::string& relation, const std::string& column) {
  return !tx.exec("SELECT 1 FROM pg_attribute WHERE attrelid = " + tx.quote(relation) + "::regclass AND attname = " + tx.quote(column)).empty();
}

// The extension's schema, quoted; empty: it is not installed in this database.
std::string statements_schema(pqxx::transaction_base& tx) {
  const pqxx::result rows = tx.exec(
      "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'");
  return rows.empty() ? "" : rows[0][0].as<std::string>();
}

// Names of columns differ between versions of the extension (which may be older than its server):
// https://www.postgresql.org/docs/15/pgstatstatements.html
std::string statements_query(pqxx::transaction_base& tx, const std::string& view) {
  const std::string time = has_column(tx, view, "total_exec_time") ? "total_exec_time" : "total_time";
  const std::string top_level = has_column(tx, view, "toplevel") ? " AND s.toplevel" : "";
  return "SELECT coalesce(s.query, ''), coalesce(r.rolname, ''), sum(s.calls)::bigint, sum(s." + time + ")::float8,"
         " (SELECT substr(c, length('search_path=') + 1) FROM pg_db_role_setting d, unnest(d.setconfig) c"
         "  WHERE d.setrole = s.userid AND d.setdatabase IN (0, s.dbid) AND c LIKE 'search_path=%'"
         "  ORDER BY d.setdatabase DESC LIMIT 1)"
         " FROM " + view + " s LEFT JOIN pg_roles r ON r.oid = s.userid"
         " WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())" + top_level +
         " GROUP BY s.query, s.userid, s.dbid, r.rolname ORDER BY 4 DESC, 1";
}

// Since when it counts: known from version 1.9 on.
std::string counting_since(pqxx::transaction_base& tx, const std::string& schema) {
  const pqxx::result there = tx.exec("SELECT to_regclass(" + tx.quote(schema + ".pg_stat_statements_info") + ")");
  if (there[0][0].is_null()) return "";
  return tx.exec1("SELECT to_char(stats_reset, 'YYYY-MM-DD HH24:MI') FROM " + schema + ".pg_stat_statements_info")[0].as<std::string>("");
}

// ---- statements ----

void judge_statements(AuditReport& report, pqxx::transaction_base& tx, const std::string& schema, router::Router& router) {
  for (const auto& row : tx.exec(statements_query(tx, schema + ".pg_stat_statements"))) {
    const auto text = row[0].as<std::string>(), role = row[1].as<std::string>(), path = row[4].as<std::string>("");
    router::SessionContext session;
    session.user = role;
    session.search_path = path;
    report.statements.push_back({router::redacted(text, kTextBytes), role, row[2].as<std::int64_t>(), row[3].as<double>(), judge(router, text, session)});
  }
  report.since = counting_since(tx, schema);
}

void audit_statements(AuditReport& report, pqxx::dbtransaction& tx, router::Router& router) {
  const std::string schema = statements_schema(tx);
  if (schema.empty()) {
    report.no_statements =
        "the extension pg_stat_statements is not in this database: add it to shared_preload_libraries, CREATE EXTENSION pg_stat_statements, and "
        "audit again when a usual day's work has run";
    return;
  }
  pqxx::subtransaction attempt{tx, "statements"};
  try {
    judge_statements(report, attempt, schema, router);
    attempt.commit();
  } catch (const pqxx::sql_error& e) {
    attempt.abort();
    report.no_statements = concat("pg_stat_statements cannot be read (is it in shared_preload_libraries?): ", e.what());
  }
}

// ---- schema ----

// Integers of all widths hash alike, as do text and varchar.
int family_of(schema::KeyType type) {
  using schema::KeyType;
  switch (type) {
    case KeyType::int2:
    case KeyType::int4:
    case KeyType::int8: return 0;
    case KeyType::text:
    case KeyType::varchar: return 1;
    case KeyType::uuid: return 2;
  }
  return 0;
}

bool is_listed(const Relation& r) { return r.rule != nullptr && r.parent.empty(); }
bool is_sharded(const Relation& r) { return r.placement == Placement::sharded && r.key_type && r.parent.empty(); }

// Equal keys of tables that are joined must lie in one bucket.
// What is to be made later is no concern of an audit: a rule for a table that is not there is a mistake.
void require_listed_tables(const Catalog& catalog) {
  std::string missing;
  for (const config::Table* rule : catalog.awaited()) missing += (missing.empty() ? "" : ", ") + (rule->schema.empty() ? rule->name : rule->schema + "." + rule->name);
  if (!missing.empty()) throw Failure("listed tables that do not exist: " + missing + ": correct --table, or [[database.table]] in weir.toml");
}

void audit_key_types(const Catalog& catalog, std::vector<std::string>& out) {
  const Relation* first = nullptr;
  for (const Relation& r : catalog.relations()) {
    if (!is_sharded(r)) continue;
    if (first == nullptr) first = &r;
    if (family_of(*first->key_type) == family_of(*r.key_type)) continue;
    out.push_back(concat("key ", r.rule->key, " of table ", r.qualified(), " is ", schema::name_of(*r.key_type), ", key ", first->rule->key, " of table ",
                         first->qualified(), " is ", schema::name_of(*first->key_type),
                         ": equal keys lie on different shards, so the tables cannot be joined; give both one type"));
  }
}

void audit_views(const Catalog& catalog, std::vector<std::string>& out) {
  for (const Relation& r : catalog.relations())
    if (r.placement == Placement::reaches_sharded)
      out.push_back(concat("view ", r.qualified(), " reads sharded tables, and statements on it are refused: query the tables themselves, with their key"));
}

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80; }

bool mentions(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    if ((at == 0 || !is_word(text[at - 1])) && (end == text.size() || !is_word(text[end]))) return true;
  }
  return false;
}

// Functions whose text names a sharded table. Bodies in C and of extensions are left out.
constexpr const char* kFunctions =
    "SELECT p.oid::regprocedure::text, p.prorettype = 'trigger'::regtype, lower(pg_get_functiondef(p.oid)) FROM pg_proc p"
    " JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang"
    " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'weir') AND l.lanname NOT IN ('c', 'internal') AND p.prokind IN ('f', 'p')"
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') ORDER BY 1";

void audit_functions(const Catalog& catalog, pqxx::transaction_base& tx, std::vector<std::string>& out) {
  for (const auto& row : tx.exec(kFunctions)) {
    const auto name = row[0].as<std::string>(), body = row[2].as<std::string>();
    for (const Relation& r : catalog.relations()) {
      if (!is_sharded(r) || !mentions(body, ascii_lower(r.name))) continue;
      out.push_back(row[1].as<bool>() ? concat("trigger function ", name, " names the sharded table ", r.qualified(),
                                               ": it sees the rows of its own shard only; keep it to rows with the key of the row that fired it")
                                      : concat("function ", name, " names the sharded table ", r.qualified(),
                                               ", and statements that call it are refused: send its statements from the application"));
      break;
    }
  }
}

// ---- tables without a rule ----

struct TableFacts {
  std::int64_t bytes = 0, rows = 0, changed = 0, scans = 0;
};

constexpr const char* kTables =
    "SELECT n.nspname || '.' || c.relname,"
    " sum(pg_total_relation_size(t.oid))::bigint, coalesce(sum(s.n_live_tup), 0)::bigint,"
    " coalesce(sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del), 0)::bigint, coalesce(sum(s.seq_scan + coalesce(s.idx_scan, 0)), 0)::bigint"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " CROSS JOIN LATERAL (SELECT c.oid UNION SELECT p.relid::oid FROM pg_partition_tree(c.oid) p) t(oid)"
    " LEFT JOIN pg_stat_user_tables s ON s.relid = t.oid"
    " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'weir')"
    " GROUP BY 1";

std::map<std::string, TableFacts> table_facts(pqxx::transaction_base& tx) {
  std::map<std::string, TableFacts> facts;
  for (const auto& row : tx.exec(kTables))
    facts[row[0].as<std::string>()] = {row[1].as<std::int64_t>(), row[2].as<std::int64_t>(), row[3].as<std::int64_t>(), row[4].as<std::int64_t>()};
  return facts;
}

// Names a column that holds the key of `listed` may have: its own ("user_id"), or for "id" of "users" "user_id".
std::set<std::string> key_names(const Relation& listed) {
  const std::string& key = listed.rule->key;
  if (key != "id") return {key};
  std::string one = listed.name;
  if (one.ends_with('s')) one.pop_back();
  return {one + "_id", listed.name + "_id", one + "id"};
}

// The column that may be the key: one that a foreign key ties to a listed table's key, or is called like one.
std::string likely_key(const Catalog& catalog, const Relation& table) {
  for (const Relation& listed : catalog.relations()) {
    if (!is_sharded(listed)) continue;
    for (const schema::ForeignKey& fk : table.foreign_keys)
      for (std::size_t i = 0; i < fk.columns.size(); ++i)
        if (fk.references == listed.qualified() && fk.referenced_columns[i] == listed.rule->key) return fk.columns[i];
  }
  for (const Relation& listed : catalog.relations()) {
    if (!is_sharded(listed)) continue;
    const std::set<std::string> names = key_names(listed);
    for (const schema::Column& column : table.columns) {
      const auto type = schema::key_type_of(column.type);
      if (type && names.contains(column.name) && family_of(*type) == family_of(*listed.key_type)) return column.name;
    }
  }
  return "";
}

// Small, and read far more often than it changes. What it holds was written once, and does not count.
bool looks_like_reference(const TableFacts& facts) {
  const std::int64_t changes = std::max<std::int64_t>(facts.changed - facts.rows, 0);
  return facts.bytes <= kSmallTable && facts.scans >= kScansForAChange && changes <= facts.scans / kScansForAChange;
}

UnlistedTable guess(const Catalog& catalog, const Relation& table, const TableFacts& facts) {
  UnlistedTable found{table.qualified(), facts.bytes, facts.rows, "home", "it can stay there; give it a key if it grows"};
  if (const std::string key = likely_key(catalog, table); !key.empty()) {
    found.guess = "key";
    found.remedy = concat("key = \"", key, "\" would put its rows beside those they belong to");
  } else if (looks_like_reference(facts)) {
    found.guess = "reference";
    found.remedy = "small and rarely written: reference = true would let every shard join it";
  }
  return found;
}

void audit_unlisted(AuditReport& report, const Catalog& catalog, pqxx::transaction_base& tx) {
  const auto facts = table_facts(tx);
  for (const Relation& r : catalog.relations()) {
    const auto known = facts.find(r.qualified());
    if (r.placement == Placement::unlisted && r.parent.empty() && known != facts.end()) report.unlisted.push_back(guess(catalog, r, known->second));
  }
  std::stable_sort(report.unlisted.begin(), report.unlisted.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
}

std::shared_ptr<const schema::BucketMap> map_of(const config::Database& database) {
  auto map = schema::BucketMap::from(database);
  if (!map) throw Failure(map.error().message);
  return std::make_shared<const schema::BucketMap>(std::move(*map));
}

void look(AuditReport& report, const config::Database& database, pqxx::dbtransaction& tx) {
  tx.exec("SET LOCAL statement_timeout = '60s'");
  tx.exec("SET LOCAL lock_timeout = '5s'");
  const auto catalog = client::load_catalog(database, tx);
  require_listed_tables(*catalog);
  for (const Relation& r : catalog->relations()) report.listed += is_listed(r) ? 1 : 0;
  report.version = tx.exec1("SELECT current_setting('server_version')")[0].as<std::string>();
  router::Router router(catalog, map_of(database));
  audit_statements(report, tx, router);
  report.schema = schema::advice(*catalog);
  audit_key_types(*catalog, report.schema);
  audit_views(*catalog, report.schema);
  audit_functions(*catalog, tx, report.schema);
  audit_unlisted(report, *catalog, tx);
}

// ---- the command line's description ----

config::Table table_of(const std::string& name, const std::string& key) {
  config::Table table;
  const std::size_t dot = name.find('.');
  table.schema = dot == std::string::npos ? "" : name.substr(0, dot);
  table.name = dot == std::string::npos ? name : name.substr(dot + 1);
  table.key = key;
  table.reference = key.empty();
  return table;
}

}  // namespace

config::Database described_by(const AuditedDatabase& options) {
  if (options.shards < 1 || options.shards > options.buckets || !std::has_single_bit(options.buckets))
    throw Failure("--buckets is a power of two, and --shards at least 1 and at most that", 2);
  config::Database database;
  database.name = client::parse_conninfo(options.conninfo)["dbname"];
  database.sharding.emplace().buckets = options.buckets;
  for (std::uint64_t i = 0; i < options.shards; ++i) {
    const auto first = static_cast<std::uint32_t>(i * options.buckets / options.shards);
    const auto end = static_cast<std::uint32_t>((i + 1) * options.buckets / options.shards);
    database.shards.push_back({"s" + std::to_string(i), {{first, end - 1}}, i == 0 ? options.conninfo : "", {}});
  }
  for (const std::string& text : options.tables) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) throw Failure("--table " + text + ": expected table=key", 2);
    database.tables.push_back(table_of(text.substr(0, equals), text.substr(equals + 1)));
  }
  for (const std::string& name : options.references) database.tables.push_back(table_of(name, ""));
  return database;
}

AuditReport audit(const config::Database& served) {
  const config::Database& database = config::described(served);
  if (!database.sharding)
    throw Failure("database " + database.name + " has no [database.sharding] in the file: add it with mode = \"observe\" and table rules, or give --connect and --table");
  const config::Shard& home = database.shards.front();
  Session session(database, home.name, home.primary);
  AuditReport report;
  report.database = database.name;
  report.server = session.label();
  report.buckets = database.sharding->buckets;
  report.shards = database.shards.size();
  try {
    pqxx::transaction<pqxx::repeatable_read, pqxx::read_only> tx{*session};
    look(report, database, tx);
  } catch (const pqxx::failure& e) {
    throw Failure("auditing " + session.label() + ": " + e.what());
  }
  return report;
}

}  // namespace weir::migrate
