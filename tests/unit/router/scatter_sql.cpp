#include "tests/unit/router/scatter_sql.hpp"

#include "base/strings.hpp"

namespace weir::router::testing {

ScatterSql::ScatterSql(std::string_view seed) {
  std::seed_seq sequence(seed.begin(), seed.end());
  engine_.seed(sequence);
}

ScatterStatement ScatterSql::next() {
  ordered_ = false;
  switch (below(12)) {
    case 0:
    case 1:
      return rows();
    case 2:
      return totals();
    case 3:
    case 4:
      return groups();
    case 5:
      return joins();
    case 6:
      return subqueries();
    case 7:
      return sets();
    case 8:
      return windows();
    case 9:
      return distincts();
    case 10:
      return withs();
    default:
      return specials();
  }
}

// Over orders: id int8, user_id int8, status text, amount numeric(10,2), qty int4, price float8, created_at timestamptz, note
// varchar(20).
std::string ScatterSql::condition(const std::string& a) {
  switch (below(14)) {
    case 0:
      return concat(a, ".user_id = ", number());
    case 1:
      return concat(a, ".user_id IN (", number(), ", ", number(), ")");
    case 2:
      return concat("(", a, ".user_id = ", number(), " OR ", a, ".qty > ", number(), ")");
    case 3:
      return concat("(", a, ".user_id = ", number(), " OR ", a, ".user_id = ", number(), ")");
    case 4:
      return concat("NOT (", a, ".user_id = ", number(), ")");
    case 5:
      return concat(a, ".status = 's", std::to_string(below(4)), "'");
    case 6:
      return concat(a, ".amount > ", number(), ".5");
    case 7:
      return concat(a, ".qty BETWEEN ", number(), " AND ", number());
    case 8:
      return concat(a, ".note IS NULL");
    case 9:
      return concat(a, ".user_id = ANY (ARRAY[", number(), ", ", number(), "])");
    case 10:
      return concat(a, ".created_at >= '2024-01-", std::to_string(10 + below(18)), "'::timestamptz");
    case 11:
      return concat(a, ".id % 3 = ", std::to_string(below(3)));
    case 12:
      return concat(a, ".qty > -", number());
    default:
      return concat(a, ".created_at < now() - interval '", number(), " days'");
  }
}

std::string ScatterSql::where(const std::string& a) {
  if (chance(35)) return {};
  std::string out = concat(" WHERE ", condition(a));
  if (chance(40)) out += concat(" AND ", condition(a));
  return out;
}

std::string ScatterSql::aggregate(const std::string& a) {
  const std::string filter = chance(20) ? concat(" FILTER (WHERE ", condition(a), ")") : "";
  switch (below(20)) {
    case 0:
      return concat("count(*)", filter);
    case 1:
      return concat("count(", a, ".note)", filter);
    case 2:
      return concat("sum(", a, ".qty)", filter);
    case 3:
      return concat("sum(", a, ".id)", filter);
    case 4:
      return concat("sum(", a, ".amount)", filter);
    case 5:
      return concat("avg(", a, ".qty)", filter);
    case 6:
      return concat("avg(", a, ".amount)", filter);
    case 7:
      return concat("min(", a, ".status)", filter);
    case 8:
      return concat("max(", a, ".created_at)", filter);
    case 9:
      return concat("count(DISTINCT ", a, ".status)", filter);
    case 10:
      return concat("sum(DISTINCT ", a, ".qty)", filter);
    case 11:
      return concat("coalesce(sum(", a, ".amount), 0)");
    case 12:
      return concat("sum(", a, ".amount) / count(*)");
    case 13:
      return concat("bool_or(", a, ".qty > ", number(), ")", filter);
    case 14:
      return concat("round(avg(", a, ".amount), 2) AS mean");
    case 15:
      return concat("max(", a, ".amount) - min(", a, ".amount)");
    case 16:
      return concat("CASE WHEN count(*) > ", number(), " THEN sum(", a, ".qty * ", number(), ") ELSE -1 END");
    case 17:
      return concat("string_agg(", a, ".status, ',' ORDER BY ", a, ".id, ", a, ".status)");
    case 18:
      return concat("sum(", a, ".amount * ", a, ".qty)");
    default:
      return concat("count(DISTINCT ", a, ".qty)");
  }
}

std::string ScatterSql::group(const std::string& a) {
  return pick({concat(a, ".status"), concat(a, ".user_id"), concat(a, ".qty"), concat("date_trunc('month', ", a, ".created_at)"),
               concat(a, ".user_id % 3"), concat("lower(", a, ".status)"), concat(a, ".note"), concat(a, ".amount"),
               concat(a, ".created_at::date")});
}

// ORDER BY every column, perhaps with LIMIT and OFFSET; or nothing.
std::string ScatterSql::tail(std::size_t columns) {
  if (chance(30)) return {};
  std::string out = " ORDER BY ";
  for (std::size_t i = 1; i <= columns; ++i)
    out += concat(i == 1 ? "" : ", ", std::to_string(i), pick({"", "", " DESC", " ASC", " DESC NULLS LAST", " NULLS FIRST"}));
  ordered_ = true;
  switch (below(8)) {
    case 0:
      return concat(out, " LIMIT ", number());
    case 1:
      return concat(out, " LIMIT ", number(), " OFFSET ", number());
    case 2:
      return concat(out, " OFFSET ", number());
    case 3:
      return concat(out, " LIMIT NULL");
    case 4:
      return concat(out, " FETCH FIRST ", number(), " ROWS ONLY");
    case 5:
      return concat(out, " FETCH FIRST ", std::to_string(1 + below(6)), " ROWS WITH TIES");
    default:
      return out;
  }
}

ScatterStatement ScatterSql::rows() {
  const std::string list = pick({"o.id, o.user_id, o.status, o.amount", "o.id, o.created_at, o.note, o.user_id",
                                 "o.user_id AS u, o.id AS id, o.qty * 2 AS twice, upper(o.status)", "o.id, o.user_id, o.note || 'x', o.price"});
  const std::string from = concat(" FROM orders o", where("o"));
  if (chance(20)) {
    ordered_ = true;
    return {"rows, ORDER BY what is not selected",
            concat("SELECT o.id", from, " ORDER BY ", pick({"o.amount", "o.created_at DESC", "o.status", "o.note NULLS FIRST"}),
                   ", o.id, o.user_id", chance(50) ? concat(" LIMIT ", number()) : ""),
            true};
  }
  if (chance(15)) {
    return {"rows, *", concat("SELECT * ", from, " ORDER BY created_at, id, user_id, o.status", chance(50) ? concat(" LIMIT ", number()) : ""), true};
  }
  std::string sql = concat("SELECT ", list, from, tail(4));
  return {"rows", std::move(sql), ordered_};
}

ScatterStatement ScatterSql::totals() {
  std::string sql = concat("SELECT ", aggregate("o"), ", ", aggregate("o"), " FROM orders o", where("o"));
  if (chance(15)) sql += concat(" HAVING count(*) > ", number());
  return {"aggregates", std::move(sql), false};
}

ScatterStatement ScatterSql::groups() {
  const std::string key = group("o");
  std::string sql = concat("SELECT ", key, " AS g, ", aggregate("o"), ", ", aggregate("o"), " FROM orders o", where("o"), " GROUP BY ",
                           pick({"1", key, key, "g"}));
  if (chance(30)) sql += concat(" HAVING ", pick({"count(*)", "sum(o.qty)", "max(o.id)"}), " > ", number());
  if (chance(30)) {
    sql += concat(" ORDER BY ", pick({"count(*)", "sum(o.amount)", "g", "3", "max(o.qty)"}), pick({"", " DESC"}), ", 1, 2, 3");
    ordered_ = true;
    if (chance(60)) sql += concat(" LIMIT ", number());
  } else {
    sql += tail(3);
  }
  if (!chance(8)) return {"GROUP BY", std::move(sql), ordered_};
  ordered_ = false;
  return {"GROUP BY two", concat("SELECT o.status, o.user_id, count(*), sum(o.amount) FROM orders o", where("o"), " GROUP BY o.status, o.user_id", tail(4)), ordered_};
}

ScatterStatement ScatterSql::joins() {
  const std::string join = pick({" JOIN ", " LEFT JOIN ", " JOIN ", " RIGHT JOIN ", " FULL JOIN "});
  const std::string on = pick({"u.id = o.user_id", "u.id = o.user_id", "o.user_id = u.id AND o.qty > 2", "u.friend = o.user_id"});
  switch (below(7)) {
    case 0:
      return {"join with reference", concat("SELECT o.id, c.title, o.user_id FROM orders o", pick({" JOIN ", " LEFT JOIN "}), "countries c ON c.code = o.status", where("o"), tail(3)), ordered_};
    case 1:
      return {"reference LEFT JOIN", concat("SELECT c.code, count(o.id), sum(o.amount) FROM countries c LEFT JOIN orders o ON o.status = c.code GROUP BY c.code", tail(3)), ordered_};
    case 2:
      return {"self join", concat("SELECT a.id, b.id, a.user_id FROM orders a JOIN orders b ON ", pick({"a.user_id = b.user_id", "a.id = b.id", "a.qty = b.user_id"}), where("a"), tail(3)), ordered_};
    case 3:
      return {"join, grouped", concat("SELECT u.name, ", aggregate("o"), " FROM users u", join, "orders o ON ", on, where("o"), " GROUP BY u.name", tail(2)), ordered_};
    case 4:
      return {"three tables", concat("SELECT u.name, count(*), count(w.id) FROM users u JOIN orders o ON o.user_id = u.id LEFT JOIN works w ON w.user_id = u.id", where("o"), " GROUP BY u.name", tail(3)), ordered_};
    case 5:
      return {"USING", concat("SELECT user_id, o.id, w.id, w.title FROM orders o", pick({" JOIN ", " LEFT JOIN ", " RIGHT JOIN "}), "works w USING (user_id)", where("o"), tail(4)), ordered_};
    default:
      return {"join", concat("SELECT u.id, o.id, o.user_id, u.name FROM users u", join, "orders o ON ", on, where("o"), tail(4)), ordered_};
  }
}

ScatterStatement ScatterSql::subqueries() {
  const std::string link = pick({"w.user_id = o.user_id", "w.user_id = o.user_id", "w.user_id = o.qty"});
  switch (below(8)) {
    case 0:
      return {"EXISTS", concat("SELECT o.id, o.user_id FROM orders o WHERE ", chance(30) ? "NOT " : "", "EXISTS (SELECT 1 FROM works w WHERE ", link, ")", tail(2)), ordered_};
    case 1:
      return {"IN (SELECT)", concat("SELECT o.id, o.user_id FROM orders o WHERE o.user_id ", chance(30) ? "NOT " : "", "IN (SELECT w.user_id FROM works w WHERE w.id > ", number(), ")", tail(2)), ordered_};
    case 2:
      return {"scalar subquery", concat("SELECT o.id, o.user_id, (SELECT count(*) FROM works w WHERE ", link, ") FROM orders o", where("o"), tail(3)), ordered_};
    case 3:
      return {"scalar over everything", concat("SELECT (SELECT count(*) FROM orders o", where("o"), "), (SELECT max(w.id) FROM works w)"), false};
    case 4:
      return {"FROM (SELECT)", concat("SELECT s.status, sum(s.n) FROM (SELECT o.status, o.user_id, count(*) AS n FROM orders o", where("o"), " GROUP BY o.status, o.user_id) s GROUP BY s.status", tail(2)), ordered_};
    case 5:
      return {"LATERAL", concat("SELECT u.id, l.n, l.m FROM users u, LATERAL (SELECT count(*) AS n, max(o.amount) AS m FROM orders o WHERE o.user_id = u.id) l", tail(3)), ordered_};
    case 6:
      return {"compared with a total", concat("SELECT o.id, o.user_id FROM orders o WHERE o.amount > (SELECT avg(amount) FROM orders)", tail(2)), ordered_};
    default:
      return {"FROM (SELECT), rows", concat("SELECT s.id, s.user_id FROM (SELECT * FROM orders o", where("o"), ") s", tail(2)), ordered_};
  }
}

ScatterStatement ScatterSql::sets() {
  const std::string op = pick({" UNION ALL ", " UNION ALL ", " UNION ", " INTERSECT ", " EXCEPT "});
  std::string sql = concat("SELECT o.user_id, o.status FROM orders o", where("o"), op, "SELECT ", pick({"w.user_id, w.title FROM works w", "o.id, o.status FROM orders o", "1, c.code FROM countries c"}));
  if (chance(60)) {
    sql += tail(2);
  }
  return {"set operation", std::move(sql), ordered_};
}

ScatterStatement ScatterSql::windows() {
  const std::string by = pick({"PARTITION BY o.user_id ORDER BY o.id, o.status, o.amount", "PARTITION BY o.status ORDER BY o.id, o.user_id", "ORDER BY o.id, o.user_id, o.amount"});
  const std::string call = pick({"row_number()", "sum(o.qty)", "rank()", "lag(o.id)"});
  std::string sql = chance(70) ? concat("SELECT o.id, o.user_id, ", call, " OVER (", by, ") FROM orders o", where("o"), tail(3))
                               : concat("SELECT o.id, o.user_id, ", call, " OVER w FROM orders o", where("o"), " WINDOW w AS (", by, ")", tail(3));
  if (!chance(20)) return {"window", std::move(sql), ordered_};
  ordered_ = false;
  sql = concat("SELECT o.status, count(*), sum(count(*)) OVER () FROM orders o", where("o"), " GROUP BY o.status", tail(3));
  return {"window over aggregates", std::move(sql), ordered_};
}

ScatterStatement ScatterSql::distincts() {
  switch (below(4)) {
    case 0:
      return {"DISTINCT", concat("SELECT DISTINCT ", pick({"o.status, o.qty", "o.user_id, o.status", "o.note, o.status"}), " FROM orders o", where("o"), tail(2)), ordered_};
    case 1: {
      const std::string key = pick({"o.user_id", "o.status"});
      return {"DISTINCT ON", concat("SELECT DISTINCT ON (", key, ") ", key, ", o.id, o.amount FROM orders o", where("o"), " ORDER BY ", key, ", o.id, o.amount, o.user_id"), true};
    }
    case 2:
      return {"GROUPING SETS", concat("SELECT o.status, o.qty, count(*), grouping(o.status) FROM orders o", where("o"), " GROUP BY ", pick({"GROUPING SETS ((o.status), (o.qty))", "ROLLUP (o.status, o.qty)", "CUBE (o.status, o.qty)"}), tail(4)), ordered_};
    default:
      return {"percentile", concat("SELECT o.status, percentile_cont(0.5) WITHIN GROUP (ORDER BY o.qty) FROM orders o GROUP BY o.status", tail(2)), ordered_};
  }
}

ScatterStatement ScatterSql::withs() {
  switch (below(3)) {
    case 0:
      return {"WITH", concat("WITH x AS (SELECT o.user_id, sum(o.qty) AS q FROM orders o", where("o"), " GROUP BY o.user_id) SELECT u.name, x.q FROM users u JOIN x ON x.user_id = u.id", tail(2)), ordered_};
    case 1:
      return {"WITH reference", concat("WITH x AS (SELECT code FROM countries WHERE id > ", number(), ") SELECT o.id, x.code, o.user_id FROM orders o JOIN x ON x.code = o.status", where("o"), tail(3)), ordered_};
    default:
      return {"WITH orders hidden", concat("WITH orders AS (SELECT * FROM works) SELECT id, user_id FROM orders", tail(2)), ordered_};
  }
}

ScatterStatement ScatterSql::specials() {
  switch (below(9)) {
    case 0:
      return {"GROUP BY without aggregate", concat("SELECT o.status FROM orders o", where("o"), " GROUP BY o.status", tail(1)), ordered_};
    case 1:
      return {"ORDER BY sum LIMIT", concat("SELECT o.status, sum(o.amount) FROM orders o GROUP BY o.status ORDER BY sum(o.amount) DESC, 1 LIMIT ", std::to_string(1 + below(3))), true};
    case 2:
      return {"empty set", concat("SELECT sum(o.qty), count(*), avg(o.amount), max(o.status) FROM orders o WHERE o.id > 10000 + ", number()), false};
    case 3:
      return {"column names", concat("SELECT count(*), sum(o.qty), coalesce(max(o.id), 0), max(o.status)::varchar(2), nullif(min(o.qty), ", number(), "), CASE WHEN count(*) > 1 THEN max(o.note) END FROM orders o"), false};
    case 4:
      return {"date arithmetic", concat("SELECT date_trunc('month', o.created_at) AS m, count(*) FROM orders o WHERE o.created_at BETWEEN '2024-01-01' AND '2024-03-01' GROUP BY date_trunc('month', o.created_at)", tail(2)), ordered_};
    case 5:
      return {"expression of a group", concat("SELECT o.qty + ", number(), ", count(*) FROM orders o GROUP BY o.qty", tail(2)), ordered_};
    case 6:
      return {"text order", concat("SELECT DISTINCT o.status, o.note FROM orders o ORDER BY o.note NULLS FIRST, o.status DESC LIMIT ", number()), true};
    case 7:
      return {"current_date", concat("SELECT o.id, o.user_id, current_date - o.created_at::date > ", number(), " FROM orders o", tail(2)), ordered_};
    default:
      return {"row comparison", concat("SELECT o.id, o.user_id FROM orders o WHERE (o.user_id, o.id) > (", number(), ", ", number(), ")", tail(2)), ordered_};
  }
}

}  // namespace weir::router::testing
