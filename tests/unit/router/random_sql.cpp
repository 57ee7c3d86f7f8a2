#include "tests/unit/router/random_sql.hpp"

#include <algorithm>
#include <iterator>

#include "base/strings.hpp"

namespace weir::router::testing {
namespace {

constexpr const char* kSmall[] = {"0", "1", "2", "3", "4", "5", "6", "7"};
constexpr const char* kTyped[] = {"'1'", "'2'", "1.0", "2::int8", "-1", "NULL", "'3'::int4", "1::int2", "- 2", "(3)"};
// Names of tables among them, so that aliases and CTEs hide them.
constexpr const char* kAliases[] = {"a", "b", "c", "orders", "users"};
constexpr const char* kCtes[] = {"cte", "orders", "users"};
constexpr const char* kJoins[] = {" JOIN ",      " JOIN ",       " JOIN ",     " LEFT JOIN ",
                                  " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN "};
constexpr std::size_t kSharded = 3;  // the first of random_tables()

}  // namespace

const std::vector<RandomTable>& random_tables() {
  static const std::vector<RandomTable> tables{{"users", {"id", "name", "score", "other_id"}, "id"},
                                               {"orders", {"id", "user_id", "status"}, "user_id"},
                                               {"works", {"id", "user_id", "title"}, "user_id"},
                                               {"countries", {"code", "title", "id"}, ""}};
  return tables;
}

RandomSql::RandomSql(std::string_view seed) {
  std::seed_seq sequence(seed.begin(), seed.end());
  engine_.seed(sequence);
}

std::string RandomSql::constant() { return chance(83) ? pick(kSmall) : pick(kTyped); }

// Of the scope or, sometimes, of one around it; a key more often than not.
std::string RandomSql::column(const Scope& scope) {
  const Scope* at = &scope;
  while (at->outer != nullptr && chance(25)) at = at->outer;
  if (at->items.empty()) return constant();
  const Item& item = pick(at->items);
  const std::string& name = !item.key.empty() && chance(60) ? item.key : pick(item.columns);
  return chance(25) ? name : concat(item.alias, ".", name);
}

std::string RandomSql::key_column(const Scope& scope) {
  for (int attempt = 0; attempt < 6; ++attempt) {
    const Item& item = pick(scope.items);
    if (!item.key.empty()) return concat(item.alias, ".", item.key);
  }
  return "1";
}

std::string RandomSql::key_equality(const Scope& scope) {
  std::string out = concat(key_column(scope), " = ", key_column(scope));
  if (chance(50)) out += concat(" AND ", key_column(scope), " = ", std::to_string(below(4)));
  return out;
}

std::string RandomSql::test(const Scope& scope, int depth) {
  switch (below(12)) {
    case 0:
    case 1:
    case 2:
      return concat(column(scope), " = ", constant());
    case 3:
      return concat(constant(), " = ", column(scope));
    case 4:
    case 5:
    case 6:
      return concat(column(scope), " = ", column(scope));
    case 7:
      return concat(column(scope), " IN (", constant(), ", ", constant(), ")");
    case 8:
      return concat(column(scope), " = ANY (ARRAY[", constant(), ", ", constant(), "])");
    case 9:
      return concat(column(scope), " > 2");
    default:
      return depth > 0 ? subquery_test(scope, depth - 1) : concat(column(scope), " IS NOT NULL");
  }
}

std::string RandomSql::subquery_test(const Scope& scope, int depth) {
  if (chance(50)) return concat(column(scope), " IN (", select(&scope, depth, scope.ctes, Output::one_column), ")");
  return concat(chance(30) ? "NOT " : "", "EXISTS (", select(&scope, depth, scope.ctes, Output::two_columns), ")");
}

std::string RandomSql::condition(const Scope& scope, int depth, int size) {
  if (size == 0 || chance(30)) return test(scope, depth);
  const std::size_t kind = below(10);
  const std::string left = condition(scope, depth, size - 1);
  if (kind == 8) return concat("NOT (", left, ")");
  if (kind == 9) return concat("(", left, ")");
  const std::string right = condition(scope, depth, size - 1);
  return kind < 6 ? concat(left, " AND ", right) : concat("(", left, " OR ", right, ")");
}

// Conjuncts that bind many of the scope's keys, so that enough statements have a shard.
std::string RandomSql::bound_keys(const Scope& scope) {
  std::string out;
  const unsigned often = chance(50) ? 70 : 25;
  for (const Item& item : scope.items) {
    if (item.key.empty() || !chance(often)) continue;
    const bool to_constant = scope.items.size() < 2 || chance(80);
    out += concat(" AND ", item.alias, ".", item.key, " = ", to_constant ? std::to_string(below(4)) : column(scope));
  }
  return out;
}

std::string RandomSql::fresh_alias(const Scope& scope) {
  const auto used = [&](std::string_view alias) {
    return std::any_of(scope.items.begin(), scope.items.end(), [&](const Item& i) { return i.alias == alias; });
  };
  for (int attempt = 0; attempt < 8; ++attempt)
    if (const char* alias = pick(kAliases); !used(alias)) return alias;
  return concat("z", std::to_string(scope.items.size()));
}

std::string RandomSql::table_item(Scope& scope) {
  const RandomTable& table = random_tables()[below(chance(75) ? kSharded : random_tables().size())];
  Item item{table.name, table.columns, table.key};
  const bool used =
      std::any_of(scope.items.begin(), scope.items.end(), [&](const Item& other) { return other.alias == table.name; });
  std::string out = table.name;
  if (used || chance(50)) {
    item.alias = fresh_alias(scope);
    out += concat(" AS ", item.alias);
    if (chance(8)) out += rename_columns(item);
  }
  scope.items.push_back(std::move(item));
  return out;
}

// Another column may get the key's name.
std::string RandomSql::rename_columns(Item& item) {
  Names names{"user_id", "id", "x"};
  std::swap(names[0], names[below(3)]);
  std::swap(names[1], names[1 + below(2)]);
  names.resize(1 + below(3));
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (item.columns[i] == item.key) item.key = names[i];
    item.columns[i] = names[i];
    out += concat(out.empty() ? "(" : ", ", names[i]);
  }
  return out + ")";
}

std::string RandomSql::subquery_item(Scope& scope, int depth) {
  const bool lateral = chance(40);
  const std::string alias = fresh_alias(scope);
  const std::string query = select(lateral ? &scope : scope.outer, depth - 1, scope.ctes, Output::two_columns);
  scope.items.push_back({alias, {"id", "user_id"}, ""});
  return concat(lateral ? "LATERAL (" : "(", query, ") AS ", alias);
}

std::string RandomSql::item(Scope& scope, int depth) {
  const std::size_t kind = below(100);
  if (kind < 82 || depth == 0) return table_item(scope);
  if (kind < 88) return subquery_item(scope, depth);
  const std::string alias = fresh_alias(scope);
  if (kind < 94 && !scope.ctes.empty()) {
    scope.items.push_back({alias, {"id", "user_id"}, ""});
    return concat(pick(scope.ctes), " AS ", alias);
  }
  scope.items.push_back({alias, {alias}, ""});
  return concat("generate_series(1, 2) AS ", alias);
}

std::string RandomSql::join(Scope& scope, int depth, std::size_t joins) {
  if (joins == 0) return item(scope, depth);
  const std::string left = join(scope, depth, joins - 1);
  const std::size_t kind = below(12);
  const std::string type = pick(kJoins);
  if (kind == 0) return concat(left, " CROSS JOIN ", item(scope, depth));
  if (kind == 1) return concat(left, " NATURAL", type, item(scope, depth));
  if (kind <= 3) return concat(left, type, item(scope, depth), " USING (", chance(60) ? "user_id" : "id", ")");
  const std::string right = chance(15) ? concat("(", join(scope, depth, 1), ")") : item(scope, depth);
  const std::string on = chance(75) ? key_equality(scope) : condition(scope, std::max(depth - 1, 0), 1);
  return concat("(", left, type, right, " ON ", on, ")");
}

std::string RandomSql::from_list(Scope& scope, int depth) {
  std::string out;
  const std::size_t items = chance(65) ? 1 : 2 + below(2);
  for (std::size_t i = 0; i < items; ++i) {
    if (i > 0) out += ", ";
    out += join(scope, depth, chance(45) ? 1 + below(2) : 0);
  }
  return out;
}

std::string RandomSql::with(const Scope* outer, int depth, Names& ctes) {
  if (depth == 0 || !chance(12)) return {};
  const std::string name = pick(kCtes);
  const std::string query = select(outer, depth - 1, ctes, Output::two_columns);
  ctes.push_back(name);
  return concat("WITH ", name, " AS (", query, ") ");
}

std::string RandomSql::output(const Scope& scope, int depth, Output wanted) {
  if (wanted == Output::one_column) return column(scope);
  const std::size_t kind = below(6);
  if (kind == 0) return "count(*) AS id, 1 AS user_id";
  if (kind == 1 && depth > 0)
    return concat("(SELECT count(*) FROM (", select(&scope, depth - 1, scope.ctes, Output::two_columns), ") q) AS id, ",
                  column(scope), " AS user_id");
  return concat(column(scope), " AS id, ", column(scope), " AS user_id");
}

std::string RandomSql::select(const Scope* outer, int depth, Names ctes, Output wanted) {
  const Names around = ctes;
  const std::string with_clause = with(outer, depth, ctes);
  Scope scope{{}, outer, std::move(ctes)};
  const std::string from = from_list(scope, depth);
  std::string where;
  if (chance(90)) where = concat(" WHERE ", condition(scope, depth), chance(85) ? bound_keys(scope) : std::string());
  const std::string query = concat(with_clause, "SELECT ", output(scope, depth, wanted), " FROM ", from, where);
  if (depth == 0 || !with_clause.empty() || !chance(6)) return query;
  return concat("(", query, ") UNION ALL (", select(outer, depth - 1, around, wanted), ")");
}

std::string RandomSql::insert() {
  const std::string key = chance(30) ? constant() : chance(20) ? "q.id" : "q.user_id";
  const std::string bound = chance(70) ? concat("q.user_id = ", constant(), " AND ") : std::string();
  return concat("INSERT INTO orders (id, user_id, status) SELECT 99, ", key, ", 'n' FROM orders q WHERE ", bound,
                "q.id > 0 RETURNING id, user_id");
}

std::string RandomSql::write() {
  const std::size_t kind = below(3);
  if (kind == 0) return insert();
  const RandomTable& table = random_tables()[below(kSharded)];
  const std::string alias = chance(50) ? table.name : "t";
  Scope scope{{{alias, table.columns, table.key}}, nullptr, {}};
  const std::string target = alias == table.name ? table.name : concat(table.name, " AS ", alias);
  const std::string others = chance(40) ? join(scope, 1, below(2)) : std::string();
  const std::string where =
      concat(" WHERE ", condition(scope, 1), bound_keys(scope), " RETURNING ", alias, ".", table.columns[0]);
  if (kind == 1) return concat("DELETE FROM ", target, others.empty() ? "" : " USING ", others, where);
  const std::string& set = table.name == "users" ? table.columns[1] : table.columns[2];
  return concat("UPDATE ", target, " SET ", set, " = 'z'", others.empty() ? "" : " FROM ", others, where);
}

}  // namespace weir::router::testing
