// What binds the key of a sharded table, and what does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.hpp"
#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// No one shard has it; every shard may.
const auto kUnbound = AnyOf(StartsWith("refused: nothing binds"), StartsWith("scatter: nothing binds"), HasSubstr("over several shards"));
#define EXPECT_UNBOUND(sql) EXPECT_THAT(route(sql), kUnbound) << (sql)
#define EXPECT_REFUSED(sql) EXPECT_THAT(route(sql), AnyOf(StartsWith("refused: "), StartsWith("scatter: "))) << (sql)

TEST(Binding, AKeyThatEqualsAConstantOrParameterIsBound) {
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = 42"), "orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders WHERE 42 = user_id AND status = 'x'"), "orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = $1"), "orders: $1");
  EXPECT_EQ(route("SELECT * FROM orders o WHERE o.user_id = -7"), "orders: -7");
  EXPECT_EQ(route("SELECT * FROM orders o WHERE o.user_id = - -7"), "orders: 7");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = -(7)"), "orders: -7");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = '42'"), "orders: '42'");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = 42.0"), "orders: 42.0");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = 42::bigint"), "orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = '42'::int8"), "orders: '42'");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = CAST($1 AS integer)"), "orders: $1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = bigint '42'"), "orders: '42'");
  EXPECT_EQ(route("SELECT * FROM public.orders WHERE public.orders.user_id = 42"), "orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id OPERATOR(pg_catalog.=) 42"), "orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = NULL"), "orders: null");
  EXPECT_EQ(route("/* a comment = 1 */ SELECT * FROM orders -- user_id = 1\n WHERE user_id = 42"), "orders: 42");
}

TEST(Binding, ArithmeticOfIntegersIsComputed) {
  for (const char* value : {"1 + 1", "$1 + 1", "1 - $1", "$1::bigint % 10", "abs(-3)", "pg_catalog.mod($1, 7)", "-($1::int2)", "(2 * 3)::bigint / 4", "'7'::int4 + 0", "2147483648 - 1"})
    EXPECT_EQ(route(concat("SELECT * FROM orders WHERE user_id = ", value)), "orders: computed") << value;
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = $1 + $2", {schema::oid::kInt4, schema::oid::kInt8}), "orders: computed");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id IN (1 + 1, 7)"), "orders: computed, 7");
  EXPECT_EQ(route("INSERT INTO orders (user_id, id) VALUES (1 + 1, 2)"), "orders: computed");
  EXPECT_UNBOUND("SELECT * FROM orders WHERE user_id = $1 + 1 AND status = $1");
}

TEST(Binding, TextAndUuidKeysTakeStringsOnly) {
  EXPECT_EQ(route("SELECT * FROM accounts WHERE name = 'ann'"), "accounts: 'ann'");
  EXPECT_EQ(route("SELECT * FROM accounts WHERE name = 'ann'::text"), "accounts: 'ann'");
  EXPECT_EQ(route("SELECT * FROM accounts WHERE name = E'a\\'n'"), "accounts: E'a\\'n'");
  EXPECT_EQ(route("SELECT * FROM docs WHERE id = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid"),
            "docs: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'");
  EXPECT_EQ(route("SELECT * FROM docs WHERE id = $1::uuid", {schema::oid::kVarchar}), "docs: $1");
  EXPECT_UNBOUND("SELECT * FROM accounts WHERE name = 42");
  EXPECT_UNBOUND("SELECT * FROM accounts WHERE name = 'ann'::varchar(2)");
  EXPECT_UNBOUND("SELECT * FROM accounts WHERE name = 'ann'::char(5)");
  EXPECT_UNBOUND("SELECT * FROM accounts WHERE name = 'ann'::name");
  EXPECT_UNBOUND("SELECT * FROM accounts WHERE name = 'ann' COLLATE \"C\"");
  EXPECT_UNBOUND("SELECT * FROM accounts WHERE name COLLATE \"C\" = 'ann'");
  EXPECT_UNBOUND("SELECT * FROM docs WHERE id = 42");
}

TEST(Binding, ListsBindAllTheirValues) {
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id IN (1, 3)"), "orders: 1, 3");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id IN ($1, $2)"), "orders: $1, $2");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = ANY($1)"), "orders: any $1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = ANY($1::bigint[])"), "orders: any $1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = ANY(ARRAY[1, 2])"), "orders: 1, 2");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = ANY(ARRAY['1', $1]::int8[])"), "orders: '1', $1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = 1 OR user_id = 2"), "orders: 1, 2");
  EXPECT_EQ(route("SELECT * FROM orders WHERE (user_id = 1 AND amount > 5) OR (status = 'x' AND user_id IN (2, 3))"),
            "orders: 1, 2, 3");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id IN (1, 2) AND user_id = 1"), "orders: 1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE (user_id, id) = (5, 7)"), "orders: 5");
}

TEST(Binding, OtherConditionsOnTheKeyBindNothing) {
  for (const char* condition : {"user_id = 1 OR status = 'x'",
                                "NOT (user_id = 1)",
                                "user_id <> 1",
                                "user_id > 1",
                                "user_id BETWEEN 1 AND 1",
                                "user_id IS NULL",
                                "user_id NOT IN (1)",
                                "user_id = ALL($1)",
                                "user_id <> ANY($1)",
                                "user_id = id",
                                "user_id = 1 + 1.5",
                                "user_id = $1 + $2",
                                "user_id = amount::int + 1",
                                "user_id = 1 + '1'",
                                "user_id = length('x') + 1",
                                "user_id + 0 = 1",
                                "user_id::text = '1'",
                                "user_id = 1.0::float8",
                                "user_id = $1::float8",
                                "user_id = $1::numeric",
                                "user_id = '1'::numeric",
                                "user_id = 1::numeric(3,-1)",
                                "user_id OPERATOR(public.=) 1",
                                "user_id = (SELECT 1)",
                                "user_id IN (SELECT 1)",
                                "user_id = ANY(SELECT 1)",
                                "abs(user_id) = 1",
                                "coalesce(user_id = 1, true)",
                                "(user_id = 1) IS NOT FALSE",
                                "(user_id = 1) = (2 = 2)",
                                "CASE WHEN user_id = 1 THEN true END",
                                "user_id = ANY(ARRAY[$1, $2])",
                                "user_id = ANY('{1,2}')",
                                "user_id = -$1",
                                "user_id = -'1'",
                                "(user_id, id) IN ((1, 2), (3, 4))",
                                "(user_id, id) < (1, 2)",
                                "status = 'x'",
                                "orders.user_id = other.user_id",
                                "user_id = B'1'",
                                "user_id = true",
                                "user_id IS NOT DISTINCT FROM 1",
                                "user_id IN (1, id)",
                                "user_id IN (1, $1)",
                                "user_id IN ($1, 1.5)",
                                "false",
                                "user_id =#= 1",
                                "ctid = '(0,1)'"})
    EXPECT_UNBOUND(std::string("SELECT * FROM orders WHERE ") + condition);
  EXPECT_UNBOUND("SELECT * FROM orders");
  EXPECT_UNBOUND("SELECT count(*) FILTER (WHERE user_id = 5) FROM orders");
  EXPECT_UNBOUND("SELECT user_id = 5 FROM orders");
  EXPECT_UNBOUND("SELECT status FROM orders GROUP BY status HAVING min(user_id) = 5");
  EXPECT_UNBOUND("SELECT user_id FROM orders GROUP BY user_id HAVING user_id = 5");
  EXPECT_UNBOUND("SELECT * FROM orders ORDER BY user_id = 5 LIMIT 1");
}

TEST(Binding, EveryQueryLevelIsBoundByItself) {
  EXPECT_UNBOUND("SELECT 1 FROM orders WHERE user_id = 1 UNION SELECT 2 FROM orders");
  EXPECT_EQ(route("SELECT 1 FROM orders WHERE user_id = 1 UNION SELECT 2 FROM orders WHERE user_id = 2"),
            "orders: 2; orders: 1");
  EXPECT_UNBOUND("SELECT (SELECT count(*) FROM orders)");
  EXPECT_EQ(route("SELECT (SELECT count(*) FROM orders WHERE user_id = 3)"), "orders: 3");
  EXPECT_UNBOUND("SELECT * FROM (SELECT * FROM orders) s WHERE s.user_id = 5");
  EXPECT_UNBOUND("SELECT * FROM (SELECT * FROM orders LIMIT 10) s WHERE user_id = 5");
  EXPECT_EQ(route("SELECT * FROM (SELECT * FROM orders WHERE user_id = 5) s"), "orders: 5");
  EXPECT_UNBOUND("WITH o AS (SELECT * FROM orders) SELECT * FROM o WHERE user_id = 5");
  EXPECT_EQ(route("WITH o AS (SELECT * FROM orders WHERE user_id = 5) SELECT * FROM o"), "orders: 5");
  EXPECT_UNBOUND("SELECT 1 WHERE EXISTS (SELECT FROM orders)");
  EXPECT_UNBOUND("SELECT * FROM orders WHERE EXISTS (SELECT FROM users WHERE id = 1)");
  EXPECT_UNBOUND("DELETE FROM orders WHERE EXISTS (SELECT FROM users WHERE id = 1)");
  EXPECT_UNBOUND("SELECT * FROM users WHERE id = 1 AND name IN (SELECT status FROM orders)");
  EXPECT_EQ(route("SELECT * FROM users WHERE id = 1 AND name IN (SELECT status FROM orders WHERE user_id = 1)"),
            "users: 1; orders: 1");
  EXPECT_UNBOUND("SELECT 1 ORDER BY (SELECT count(*) FROM orders)");
  EXPECT_UNBOUND("SELECT 1 LIMIT (SELECT count(*) FROM orders)");
  EXPECT_UNBOUND("VALUES ((SELECT count(*) FROM orders))");
  EXPECT_UNBOUND("SELECT sum(1) OVER (ORDER BY (SELECT count(*) FROM orders))");
  EXPECT_UNBOUND("SELECT sum(1) FILTER (WHERE EXISTS (SELECT FROM orders))");
  EXPECT_UNBOUND("SELECT ARRAY(SELECT user_id FROM orders)");
  EXPECT_UNBOUND("SELECT * FROM generate_series(1, (SELECT count(*) FROM orders)) g");
  EXPECT_UNBOUND("SELECT CASE WHEN EXISTS (SELECT FROM orders) THEN 1 END");
  EXPECT_UNBOUND("SELECT coalesce((SELECT 1 FROM orders), 2)");
  EXPECT_UNBOUND("SELECT 1 UNION SELECT 2 ORDER BY (SELECT count(*) FROM orders)");
  EXPECT_UNBOUND("SELECT 1 UNION SELECT 2 LIMIT (SELECT count(*) FROM orders)");
  EXPECT_UNBOUND("SELECT xmlelement(name x, (SELECT 1 FROM orders))");
  EXPECT_UNBOUND("SELECT 1 GROUP BY (SELECT 1 FROM orders)");
  EXPECT_UNBOUND("SELECT DISTINCT ON ((SELECT 1 FROM orders)) 1");
  EXPECT_UNBOUND("SELECT * FROM xmltable('/a' PASSING (SELECT x FROM orders) COLUMNS a int) t");
  EXPECT_UNBOUND("TABLE orders");
  EXPECT_UNBOUND("SELECT * FROM orders TABLESAMPLE system (10)");
  EXPECT_EQ(route("SELECT * FROM orders TABLESAMPLE system (10) WHERE user_id = 1"), "orders: 1");
}

TEST(Binding, ACteShadowsATableOnlyWhereItIsVisible) {
  EXPECT_EQ(route("WITH orders AS (SELECT 1) SELECT * FROM orders"), "no table");
  EXPECT_UNBOUND("WITH orders AS (SELECT 1) SELECT * FROM public.orders");
  EXPECT_UNBOUND("WITH orders AS (SELECT * FROM orders) SELECT * FROM orders");
  EXPECT_EQ(route("WITH orders AS (SELECT * FROM orders WHERE user_id = 1) SELECT * FROM orders"), "orders: 1");
  EXPECT_EQ(route("WITH RECURSIVE orders AS (SELECT 1 UNION ALL SELECT * FROM orders) SELECT * FROM orders"),
            "no table");
  EXPECT_UNBOUND("WITH a AS (SELECT * FROM orders), orders AS (SELECT 1) SELECT * FROM a");
  EXPECT_EQ(route("WITH orders AS (SELECT 1), a AS (SELECT * FROM orders) SELECT * FROM a"), "no table");
  EXPECT_UNBOUND("SELECT * FROM (WITH orders AS (SELECT 1) SELECT * FROM orders) s, orders");
  EXPECT_EQ(route("WITH orders AS (SELECT 1) SELECT (SELECT count(*) FROM orders)"), "no table");
  EXPECT_EQ(route("WITH orders AS (SELECT 1) SELECT 1 UNION SELECT * FROM orders"), "no table");
  EXPECT_UNBOUND("WITH orders AS (SELECT 1) DELETE FROM orders");
}

TEST(Binding, InnerJoinsCarryEqualityBothWays) {
  EXPECT_EQ(route("SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = 42"), "users: 42; orders: 42");
  EXPECT_EQ(route("SELECT * FROM users u JOIN orders o ON o.user_id = u.id WHERE o.user_id = 42"),
            "users: 42; orders: 42");
  EXPECT_EQ(
      route("SELECT * FROM users u, orders o, works w WHERE o.user_id = u.id AND w.user_id = o.user_id AND u.id = $1"),
      "users: $1; orders: $1; works: $1");
  EXPECT_EQ(route("SELECT * FROM users u JOIN orders o ON o.user_id = u.id AND u.id = 42"), "users: 42; orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders a JOIN orders b ON a.user_id = b.user_id WHERE a.user_id = 1"),
            "orders: 1; orders: 1");
  EXPECT_EQ(route("SELECT * FROM orders JOIN works USING (user_id) WHERE user_id = 3"), "orders: 3; works: 3");
  EXPECT_EQ(route("SELECT * FROM orders JOIN works USING (user_id) WHERE works.user_id = 3"), "orders: 3; works: 3");
  EXPECT_EQ(route("SELECT * FROM orders o JOIN countries c ON c.code = o.status WHERE o.user_id = 3"), "orders: 3");
  EXPECT_UNBOUND("SELECT * FROM orders a JOIN orders b ON a.id = b.id WHERE a.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders a JOIN orders b ON a.user_id = b.id WHERE a.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders a, orders b WHERE a.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders JOIN works ON orders.user_id = works.user_id OR true WHERE works.user_id = 3");
  EXPECT_UNBOUND("SELECT * FROM orders NATURAL JOIN works WHERE user_id = 3");
  EXPECT_UNBOUND("SELECT * FROM orders o JOIN users u ON o.user_id = u.score WHERE o.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders o JOIN tags t ON t.label = o.user_id WHERE o.user_id = 1");
}

TEST(Binding, AnOuterJoinsConditionBindsItsNullableSideOnly) {
  EXPECT_EQ(route("SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE u.id = 42"),
            "users: 42; orders: 42");
  EXPECT_EQ(route("SELECT * FROM orders o RIGHT JOIN users u ON o.user_id = u.id WHERE u.id = 42"),
            "orders: 42; users: 42");
  EXPECT_EQ(route("SELECT * FROM users u LEFT JOIN orders o USING (id) WHERE u.id = 1 AND o.user_id = 1"),
            "users: 1; orders: 1");
  EXPECT_EQ(route("SELECT * FROM countries c LEFT JOIN orders o ON o.user_id = 5"), "orders: 5");
  EXPECT_UNBOUND("SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND u.id = 42");
  EXPECT_UNBOUND("SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = 42");
  EXPECT_UNBOUND("SELECT * FROM orders o LEFT JOIN countries c ON o.user_id = 42");
  EXPECT_UNBOUND("SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.id AND o.user_id = 42 AND u.id = 42");
  EXPECT_UNBOUND("SELECT * FROM users u FULL JOIN orders o ON o.user_id = u.id WHERE u.id = 42");
  EXPECT_UNBOUND("SELECT * FROM orders FULL JOIN works USING (user_id) WHERE user_id = 3");
  EXPECT_EQ(route("SELECT * FROM orders LEFT JOIN works USING (user_id) WHERE user_id = 3"), "orders: 3; works: 3");
  EXPECT_EQ(route("SELECT * FROM orders RIGHT JOIN works USING (user_id) WHERE user_id = 3"), "orders: 3; works: 3");
  EXPECT_UNBOUND("SELECT * FROM orders RIGHT JOIN works USING (user_id) WHERE orders.user_id = 3");
  EXPECT_EQ(
      route("SELECT * FROM users u LEFT JOIN (orders o JOIN works w ON o.user_id = w.user_id) ON o.user_id = u.id "
            "WHERE u.id = 1"),
      "users: 1; orders: 1; works: 1");
  EXPECT_UNBOUND(
      "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id JOIN works w ON w.user_id = 1 AND u.name = "
      "w.title");
}

TEST(Binding, CorrelationCarriesTheOuterKeyInwardsAndNeverOutwards) {
  EXPECT_EQ(route("SELECT * FROM users u WHERE u.id = 1 AND EXISTS (SELECT FROM orders o WHERE o.user_id = u.id)"),
            "users: 1; orders: 1");
  EXPECT_EQ(route("SELECT *, (SELECT count(*) FROM orders WHERE user_id = u.id) FROM users u WHERE id = 1"),
            "users: 1; orders: 1");
  EXPECT_EQ(
      route("SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.id LIMIT 3) s WHERE u.id = $1"),
      "users: $1; orders: $1");
  EXPECT_UNBOUND("SELECT * FROM users u WHERE EXISTS (SELECT FROM orders o WHERE o.user_id = u.id AND o.user_id = 1)");
  EXPECT_UNBOUND("SELECT * FROM users u WHERE NOT EXISTS (SELECT FROM orders o WHERE o.user_id = u.id AND u.id = 1)");
  EXPECT_UNBOUND("SELECT * FROM users u WHERE u.id IN (SELECT o.user_id FROM orders o WHERE o.user_id = 1)");
  // A subquery that is not LATERAL does not see its neighbours: "u" is unknown there.
  EXPECT_UNBOUND("SELECT * FROM users u, (SELECT * FROM orders o WHERE o.user_id = u.id) s WHERE u.id = 1");
  // The innermost name counts.
  EXPECT_UNBOUND("SELECT * FROM users u WHERE u.id = 1 AND EXISTS (SELECT FROM orders u WHERE u.id = u.user_id)");
  EXPECT_UNBOUND(
      "SELECT * FROM orders o WHERE o.user_id = 1 AND EXISTS (SELECT FROM works o, works p WHERE o.user_id = "
      "p.user_id)");
}

TEST(Binding, NamesThatAreNotCertainBindNothing) {
  // The alias renames the columns.
  EXPECT_UNBOUND("SELECT * FROM orders AS o(user_id, x) WHERE user_id = 1");
  EXPECT_EQ(route("SELECT * FROM orders AS o(x, k) WHERE k = 1"), "orders: 1");
  EXPECT_UNBOUND("SELECT * FROM orders AS o(x, k) WHERE user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders AS o(user_id, user_id) WHERE user_id = 1");
  // Hidden by a join's alias.
  EXPECT_UNBOUND("SELECT * FROM (orders o JOIN countries c ON true) AS j WHERE o.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM (orders o JOIN countries c ON true) AS j WHERE j.user_id = 1");
  // Ambiguous.
  EXPECT_UNBOUND("SELECT * FROM orders o, works w WHERE user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders a, orders b WHERE user_id = 1 AND a.user_id = b.user_id");
  // What a NATURAL JOIN merged may have the other side's type.
  EXPECT_UNBOUND("SELECT * FROM (SELECT 1.5 AS user_id) s NATURAL JOIN orders WHERE user_id = $1");
  // Of a CTE, not of the table.
  EXPECT_UNBOUND("WITH c AS (SELECT 1 AS k) SELECT * FROM c, orders WHERE k = 1");
  EXPECT_UNBOUND("WITH c AS (SELECT 1 AS user_id) SELECT * FROM c, orders o WHERE c.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders o WHERE EXISTS (SELECT FROM generate_series(1, 2) o WHERE o.user_id = 1)");
  // The alias hides the table's own name.
  EXPECT_UNBOUND("SELECT * FROM orders o WHERE orders.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders o WHERE public.o.user_id = 1");
  EXPECT_UNBOUND("SELECT * FROM orders WHERE (orders).user_id = 1");
  // Names in ON mean the join's operands; "a" outside of it is the outer query's.
  EXPECT_UNBOUND(
      "SELECT * FROM users a WHERE a.id = 1 AND EXISTS (SELECT FROM users a, (countries b JOIN countries c ON EXISTS "
      "(SELECT FROM orders o WHERE o.user_id = a.id)) WHERE a.id = 2 AND a.name = 'x' OR true)");
}

TEST(Binding, AnOnClauseSeesOnlyItsOperands) {
  // Inside the ON the inner a is out of sight, so a.id is the outer query's, which is not bound.
  EXPECT_UNBOUND(
      "SELECT * FROM countries a WHERE EXISTS (SELECT FROM users a, (countries b JOIN countries c ON EXISTS "
      "(SELECT FROM orders o WHERE o.user_id = a.id)) WHERE a.id = 2)");
}

TEST(Binding, PartitionsAreTheirParentsRows) {
  EXPECT_EQ(route("SELECT * FROM works_202401 WHERE user_id = 1"), "works_202401: 1");
  EXPECT_UNBOUND("SELECT * FROM works_202401");
  EXPECT_UNBOUND("SELECT * FROM ONLY orders");
}

TEST(Binding, AnUndeclaredParameterMustNotBeInferredElsewhere) {
  EXPECT_EQ(route("SELECT * FROM orders o, users u WHERE o.user_id = $1 AND u.id = $1"), "orders: $1; users: $1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = $1 AND approved_by = $1"), "orders: $1");
  EXPECT_REFUSED("SELECT $1::float8 FROM orders WHERE user_id = $1");
  EXPECT_REFUSED("SELECT * FROM users WHERE score = $1 AND id = $1");
  EXPECT_REFUSED("SELECT * FROM orders WHERE user_id = $1::int8 AND amount = $1");
  EXPECT_REFUSED("SELECT * FROM orders WHERE user_id = $1 AND status = $1");
  EXPECT_REFUSED("SELECT $1 FROM orders WHERE user_id = $1");
  EXPECT_REFUSED("SELECT * FROM orders WHERE user_id = ANY($1) AND id = ANY($1)");
  // Declared, there is no doubt.
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = $1 AND amount = $1", {schema::oid::kInt8}), "orders: $1");
  EXPECT_EQ(route("SELECT * FROM orders WHERE user_id = $1", {schema::oid::kInt4}), "orders: $1");
  for (const std::uint32_t type : {kFloat8Oid, schema::oid::kNumeric, schema::oid::kText, schema::oid::kUuid, 16U})
    EXPECT_THAT(route("SELECT * FROM orders WHERE user_id = $1", {type}), kUnbound) << type;
  EXPECT_THAT(route("SELECT * FROM orders WHERE user_id = $1::int8", {schema::oid::kNumeric}), kUnbound);
  EXPECT_THAT(route("SELECT * FROM orders WHERE user_id = $1::int8", {schema::oid::kText}), kUnbound);
  EXPECT_THAT(route("SELECT * FROM accounts WHERE name = $1", {1042}), kUnbound);
}

TEST(Binding, AShapeCachedForOneLiteralHoldsForEveryOther) {
  // Sources name the literal, never its value, when the lexer lifted it; or it lifted nothing at all.
  for (const char* sql :
       {"SELECT * FROM orders WHERE user_id = - /* c */ 7", "SELECT * FROM orders WHERE user_id = -\n-- 8\n7",
        "SELECT * FROM orders WHERE user_id = -(  7 )", "SELECT * FROM orders WHERE user_id IN (1, -2, '3')",
        "SELECT 5, * FROM orders WHERE user_id = 007", "SELECT * FROM orders WHERE user_id = 'a' || 'b'",
        "SELECT * FROM accounts WHERE name = 'it''s'", "SELECT * FROM accounts WHERE name = $$it's$$",
        "SELECT * FROM orders WHERE user_id = .5e1", "SELECT * FROM orders WHERE id = 5 AND user_id = 5"}) {
    const Plan plan = plan_of(sql);
    for (const Binding& binding : plan.bindings)
      for (const KeySource& source : binding.values)
        EXPECT_EQ(source.kind == KeySource::Kind::literal, plan.literals > 0) << sql;
  }
  // Without lifted literals the value itself is in the plan.
  const Plan fixed = plan_of("SELECT * FROM orders WHERE user_id = -7", {}, sharded_catalog(), false);
  ASSERT_EQ(fixed.bindings.size(), 1U);
  EXPECT_EQ(fixed.bindings[0].values[0].value, schema::KeyValue(-7));
}

TEST(Binding, WhatOneShardCanAnswerGoesThereWhole) {
  for (const char* sql :
       {"SELECT status, count(*) FROM orders WHERE user_id = 1 GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 3 "
        "OFFSET 1",
        "SELECT DISTINCT ON (status) *, rank() OVER (PARTITION BY status ORDER BY amount) FROM orders WHERE user_id = "
        "1",
        "SELECT date_trunc('month', created_at), sum(amount) FROM orders WHERE user_id = 1 GROUP BY ROLLUP (1)",
        "SELECT coalesce(sum(amount), 0), avg(amount), count(DISTINCT status) FROM orders WHERE user_id = 1",
        "SELECT random(), now(), ctid, tableoid::regclass FROM orders WHERE user_id = 1 FETCH FIRST 3 ROWS ONLY",
        "SELECT * FROM orders WHERE user_id = 1 AND created_at >= now() - interval '1 month'",
        "SELECT * FROM orders WHERE user_id = 1 FOR UPDATE", "EXPLAIN SELECT * FROM orders WHERE user_id = 1",
        "EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM orders WHERE user_id = 1",
        "DECLARE c CURSOR FOR SELECT * FROM orders WHERE user_id = 1",
        "COPY (SELECT * FROM orders WHERE user_id = 1) TO STDOUT",
        "SELECT 1; SELECT * FROM orders WHERE user_id = 1; SELECT 2"})
    EXPECT_EQ(plan_of(sql).target, Target::keyed) << sql << "\n" << route(sql);
}

}  // namespace
}  // namespace weir::router::testing
