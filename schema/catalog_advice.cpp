// differences() between shards and advice() about one: sentences, each with its remedy.

#include <algorithm>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "schema/catalog.hpp"

namespace weir::schema {
namespace {

using Sentences = std::vector<std::string>;

struct Pair {
  std::string_view home;
  std::string_view other;
};

const Relation* find_exact(const Catalog& catalog, const Relation& r) {
  return catalog.find_relation(r.schema, r.name, {});
}

const Column* find_column(const Relation& relation, std::string_view name) {
  const int i = relation.column_index(name);
  return i < 0 ? nullptr : &relation.columns[static_cast<std::size_t>(i)];
}

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string or_default(const std::string& collation) {
  return collation.empty() ? std::string("the default") : collation;
}

void compare_column(const Relation& table, const Column& a, const Column& b, const Pair& shards, Sentences& out) {
  const std::string what = concat("column ", a.name, " of table ", table.qualified());
  if (a.type_name != b.type_name) {
    out.push_back(concat(what, " is ", a.type_name, " on shard ", shards.home, " but ", b.type_name, " on shard ",
                         shards.other, ": ALTER TABLE one of them"));
  }
  if (a.collation != b.collation || a.collation_deterministic != b.collation_deterministic) {
    out.push_back(concat(what, " has collation ", or_default(a.collation), " on shard ", shards.home, " but ",
                         or_default(b.collation), " on shard ", shards.other, ": ALTER TABLE one of them"));
  }
}

void compare_missing(const Relation& have, const Relation& lack, std::string_view have_shard,
                     std::string_view lack_shard, Sentences& out) {
  for (const Column& column : have.columns) {
    if (find_column(lack, column.name) != nullptr) continue;
    out.push_back(concat("table ", have.qualified(), " has column ", column.name, " on shard ", have_shard,
                         " but not on shard ", lack_shard, ": add or drop it"));
  }
}

// `SELECT *` and an INSERT without a column list follow the order.
bool same_order(const Relation& a, const Relation& b) {
  return std::equal(a.columns.begin(), a.columns.end(), b.columns.begin(), b.columns.end(),
                    [](const Column& x, const Column& y) { return x.name == y.name; });
}

void compare_tables(const Relation& a, const Relation& b, const Pair& shards, Sentences& out) {
  const std::size_t before = out.size();
  compare_missing(a, b, shards.home, shards.other, out);
  compare_missing(b, a, shards.other, shards.home, out);
  if (out.size() == before && !same_order(a, b)) {
    out.push_back(concat("the columns of table ", a.qualified(), " stand in another order on shard ", shards.other,
                         " than on shard ", shards.home, ": recreate one of them"));
  }
  for (const Column& column : a.columns) {
    if (const Column* twin = find_column(b, column.name)) compare_column(a, column, *twin, shards, out);
  }
}

void compare_databases(const Catalog& home, const Catalog& other, const Pair& shards, Sentences& out) {
  if (home.encoding() != other.encoding()) {
    out.push_back(concat("the encoding is ", home.encoding(), " on shard ", shards.home, " but ", other.encoding(),
                         " on shard ", shards.other, ": recreate one database"));
  }
  if (home.default_collation() != other.default_collation()) {
    out.push_back(concat("the default collation is ", home.default_collation(), " on shard ", shards.home, " but ",
                         other.default_collation(), " on shard ", shards.other, ": recreate one database"));
  }
}

// The key's name, with a remedy that fits all uniqueness that spans shards.
std::string unique_sentence(const Relation& r, const UniqueIndex& index) {
  return concat("unique index ", index.name, " of table ", r.qualified(), " lacks the sharding key ", r.rule->key,
                ", so each shard keeps it for itself: add the key to it, or say unique = \"per_shard\"");
}

// An index that a partition has from its parent is told once, at the parent.
bool told_at_parent(const Catalog& catalog, const Relation& r, const UniqueIndex& index) {
  for (const Relation& parent : catalog.relations()) {
    if (r.parent != parent.qualified()) continue;
    return std::any_of(parent.unique_indexes.begin(), parent.unique_indexes.end(),
                       [&](const UniqueIndex& i) { return i.columns == index.columns; });
  }
  return false;
}

void advise_unique(const Catalog& catalog, const Relation& r, Sentences& out) {
  if (r.rule->unique_per_shard) return;
  for (const UniqueIndex& index : r.unique_indexes) {
    if (contains(index.columns, r.rule->key) || told_at_parent(catalog, r, index)) continue;
    out.push_back(unique_sentence(r, index));
  }
}

void advise_columns(const Relation& r, Sentences& out) {
  for (const Column& column : r.columns) {
    if (column.per_shard_sequence && !r.rule->unique_per_shard) {
      out.push_back(
          concat("column ", column.name, " of table ", r.qualified(),
                 " takes its default from a sequence, which each shard counts for itself: use weir.next_id(), or say "
                 "unique = \"per_shard\""));
    }
  }
  const Column& key = r.columns[static_cast<std::size_t>(r.key_column)];
  if (!key.not_null) {
    out.push_back(concat("key ", key.name, " of table ", r.qualified(),
                         " may be NULL, and rows without a key have no shard: "
                         "ALTER TABLE ... ALTER COLUMN ... SET NOT NULL"));
  }
  if (key.max_length != 0) {
    out.push_back(concat("key ", key.name, " of table ", r.qualified(), " is ", key.type_name,
                         ", which cuts trailing blanks off longer values: text is safer"));
  }
}

void advise_month(const Relation& r, Sentences& out) {
  const std::string& column = r.rule->month->column;
  if (r.column_index(column) < 0) {
    out.push_back(
        concat("table ", r.qualified(), " has no column ", column, ", its month column: correct month.column"));
  } else if (r.range_column != column) {
    out.push_back(concat("table ", r.qualified(), " is not partitioned by range of its month column ", column,
                         ": recreate it with PARTITION BY RANGE (", column, "), or remove `month` from its rule"));
  }
}

bool joins_on_keys(const Relation& from, const Relation& to, const ForeignKey& fk) {
  for (std::size_t i = 0; i < fk.columns.size(); ++i) {
    if (fk.columns[i] == from.rule->key && fk.referenced_columns[i] == to.rule->key) return true;
  }
  return false;
}

// The rows a foreign key names must be on the same shard as the row that names them.
void advise_foreign_key(const Relation& from, const Relation& to, const ForeignKey& fk, Sentences& out) {
  const std::string what = concat("foreign key ", fk.name, " of table ", from.qualified(), " to ", to.qualified());
  if (to.placement == Placement::reference) return;
  if (from.placement == Placement::sharded && to.placement == Placement::sharded) {
    if (joins_on_keys(from, to, fk)) return;
    out.push_back(concat(what, " lacks the sharding key, so it may name rows of another shard: add ", from.rule->key,
                         " and ", to.rule->key, " to it, or drop it"));
  } else if (from.placement != to.placement) {
    out.push_back(concat(what, " joins tables that live on different shards: list both with one key, make ",
                         to.qualified(), " a reference table, or drop it"));
  }
}

void advise_foreign_keys(const Catalog& catalog, const Relation& r, Sentences& out) {
  for (const ForeignKey& fk : r.foreign_keys) {
    for (const Relation& target : catalog.relations()) {
      if (target.qualified() == fk.references) advise_foreign_key(r, target, fk, out);
    }
  }
}

}  // namespace

std::vector<std::string> differences(const Catalog& home, std::string_view home_name, const Catalog& other,
                                     std::string_view other_name) {
  Sentences out;
  const Pair shards{home_name, other_name};
  compare_databases(home, other, shards, out);
  for (const Relation& table : home.relations()) {
    if (table.rule == nullptr) continue;
    const Relation* twin = find_exact(other, table);
    if (twin != nullptr) {
      compare_tables(table, *twin, shards, out);
    } else if (table.parent.empty()) {
      out.push_back(concat("table ", table.qualified(), " exists on shard ", home_name, " but not on shard ",
                           other_name, ": create it"));
    }
  }
  for (const Relation& table : other.relations()) {
    if (table.rule == nullptr || !table.parent.empty() || find_exact(home, table) != nullptr) continue;
    out.push_back(concat("table ", table.qualified(), " exists on shard ", other_name, " but not on shard ", home_name,
                         ": create it"));
  }
  return out;
}

std::vector<std::string> advice(const Catalog& catalog) {
  Sentences out;
  for (const config::Table* rule : catalog.awaited())
    out.push_back(concat("listed table ", rule->name, " does not exist: CREATE TABLE through Weir makes it on every shard; or remove its rule"));
  for (const Relation& r : catalog.relations()) {
    if (catalog.sharded()) advise_foreign_keys(catalog, r, out);
    if (r.placement == Placement::sharded && r.key_column >= 0) {
      advise_unique(catalog, r, out);
      if (r.parent.empty()) advise_columns(r, out);
    }
    if (r.rule != nullptr && r.rule->month && r.parent.empty()) advise_month(r, out);
  }
  return out;
}

}  // namespace weir::schema
