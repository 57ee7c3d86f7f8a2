#include "migrate/moved_table.hpp"

#include <algorithm>

#include "schema/bucket.hpp"
#include "schema/quote.hpp"

namespace weir::migrate {

namespace {

using client::ServerConnection;

constexpr Deadline kPatient = Deadline::never();

std::string text_of(const ServerConnection::Row& row, std::size_t i) { return row.at(i).value_or(""); }

bool is_moved(const schema::Relation& r) {
  const bool table = r.kind == schema::RelationKind::table || r.kind == schema::RelationKind::partitioned;
  return table && r.placement == schema::Placement::sharded && r.rule != nullptr && r.parent.empty() &&
         r.key_column >= 0 && r.key_type;
}

// Column by column, because attribute order may differ between the shards.
std::string columns_of(ServerConnection& source, const std::string& name) {
  const auto rows =
      source.query("SELECT attname FROM pg_attribute WHERE attrelid = " + schema::quote_literal(name) +
                       "::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
                   kPatient);
  std::string columns;
  for (const auto& row : rows) columns += (columns.empty() ? "" : ", ") + schema::quote_ident(text_of(row, 0));
  return columns;
}

// Foreign keys between a moved table and one whose rows stay would be broken on one side or the other. `catalog`'s
// reference tables have the same rows everywhere.
void look_at_foreign_keys(const schema::Catalog& catalog, const std::string& shard, MoveScope& scope) {
  for (const auto& relation : catalog.relations()) {
    for (const auto& key : relation.foreign_keys) {
      const auto target = std::find_if(catalog.relations().begin(), catalog.relations().end(),
                                       [&](const auto& r) { return r.qualified() == key.references; });
      const bool from_moved = relation.placement == schema::Placement::sharded;
      const bool to_moved = target != catalog.relations().end() && target->placement == schema::Placement::sharded;
      const bool to_reference =
          target != catalog.relations().end() && target->placement == schema::Placement::reference;
      if (!from_moved && !to_moved) continue;
      scope.needs_replica_role = true;
      if (from_moved == to_moved || (from_moved && to_reference)) continue;
      scope.refusals.push_back(
          "shard " + shard + ": foreign key " + key.name + " of " + relation.qualified() + " to " + key.references +
          " joins rows that move with rows that stay: drop it, or list both tables with their keys");
    }
  }
}

void look_at_relation(const schema::Relation& relation, const std::string& shard, MoveScope& scope) {
  scope.needs_replica_role = scope.needs_replica_role || relation.has_triggers;
  if (relation.has_children)
    scope.refusals.push_back("shard " + shard + ": table " + relation.qualified() +
                             " has inheritance children: their rows cannot be told apart; partition it instead");
}

// Row security hides rows from all but superusers and BYPASSRLS; a hidden row would stay behind.
void look_at_row_security(ServerConnection& source, const std::string& name, const std::string& shard,
                          MoveScope& scope) {
  const auto rows = source.query("SELECT row_security_active(" + schema::quote_literal(name) + "::regclass)", kPatient);
  if (!rows.empty() && text_of(rows[0], 0) == "t")
    scope.refusals.push_back("shard " + shard + ": row security hides rows of " + name +
                             " from this role: set database.maintenance to one with BYPASSRLS");
}

void look_at_rules(ServerConnection& source, const std::string& name, const std::string& shard, MoveScope& scope) {
  const auto rows = source.query(
      "SELECT rulename FROM pg_rewrite WHERE ev_class = " + schema::quote_literal(name) + "::regclass", kPatient);
  for (const auto& row : rows)
    scope.refusals.push_back("shard " + shard + ": rule " + text_of(row, 0) + " on " + name +
                             " would run when the moved rows are deleted: drop it, or make it a trigger");
}

}  // namespace

std::string buckets_condition(const std::string& bucket_sql, const std::vector<config::BucketRange>& buckets) {
  std::string condition;
  for (const auto& range : buckets) {
    const std::string first = std::to_string(range.first);
    condition +=
        (condition.empty() ? "(" : " OR ") + bucket_sql +
        (range.first == range.last ? " = " + first : " BETWEEN " + first + " AND " + std::to_string(range.last));
  }
  return condition.empty() ? "false" : condition + ")";
}

MoveScope scope_of(const config::Database& database, const std::vector<config::BucketRange>& buckets,
                   const std::string& from, const schema::Catalog& source_catalog, const std::string& to,
                   const schema::Catalog& target_catalog, ServerConnection& source) {
  MoveScope scope;
  scope.refusals = schema::differences(source_catalog, from, target_catalog, to);
  look_at_foreign_keys(source_catalog, from, scope);
  look_at_foreign_keys(target_catalog, to, scope);
  for (const auto& relation : target_catalog.relations())
    if (is_moved(relation)) look_at_relation(relation, to, scope);
  for (const auto& relation : source_catalog.relations()) {
    if (!is_moved(relation)) continue;
    look_at_relation(relation, from, scope);
    MovedTable table;
    table.name = schema::quote_qualified(relation.schema, relation.name);
    table.columns = columns_of(source, table.name);
    const std::string key = schema::quote_ident(relation.columns[static_cast<std::size_t>(relation.key_column)].name);
    const auto& sharding = *database.sharding;
    table.where =
        buckets_condition(schema::bucket_sql(key, *relation.key_type, sharding.function, sharding.buckets), buckets);
    table.rule = relation.rule;
    table.partitioned = relation.kind == schema::RelationKind::partitioned;
    look_at_row_security(source, table.name, from, scope);
    look_at_rules(source, table.name, from, scope);
    scope.tables.push_back(std::move(table));
  }
  if (scope.tables.empty()) scope.refusals.push_back("shard " + from + " holds no sharded table of weir.toml");
  return scope;
}

Checksum checksum_of(ServerConnection& connection, const MovedTable& table) {
  const auto rows = connection.query("SELECT count(*), coalesce(sum(hashtextextended(ROW(" + table.columns +
                                         ")::text, 0)), 0) FROM " + table.name + " WHERE " + table.where,
                                     kPatient);
  return {text_of(rows.at(0), 0), text_of(rows.at(0), 1)};
}

std::vector<std::string> leaves_of(ServerConnection& connection, const MovedTable& table) {
  if (!table.partitioned) return {table.name};
  const auto rows = connection.query(
      "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_partition_tree(" + schema::quote_literal(table.name) +
          "::regclass) t JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace"
          " WHERE t.isleaf ORDER BY 1",
      kPatient);
  std::vector<std::string> leaves;
  for (const auto& row : rows) leaves.push_back(text_of(row, 0));
  return leaves;
}

std::vector<std::string> partitions_of(ServerConnection& connection, const MovedTable& table) {
  if (!table.partitioned) return {};
  const auto rows =
      connection.query("SELECT c.relname || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_partition_tree(" +
                           schema::quote_literal(table.name) +
                           "::regclass) t JOIN pg_class c ON c.oid = t.relid WHERE t.level > 0 ORDER BY 1",
                       kPatient);
  std::vector<std::string> partitions;
  for (const auto& row : rows) partitions.push_back(text_of(row, 0));
  return partitions;
}

}  // namespace weir::migrate
