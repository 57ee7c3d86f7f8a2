// Each way in which the value of a literal is part of a statement's meaning: two texts that differ in it alone must not share a key of the plan
// cache. And the other way round: values that are mere data are lifted, or the cache would be of no use.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/strings.hpp"
#include "router/lexer.hpp"

namespace weir::router {
namespace {

// Would a plan of `a` be given to `b`?
bool share(const std::string& a, const std::string& b, bool standard_conforming_strings = true) {
  Lifted first, second;
  lift(a, standard_conforming_strings, first);
  lift(b, standard_conforming_strings, second);
  return first.certain && second.certain && first.key == second.key;
}

bool is_certain(const std::string& sql, bool standard_conforming_strings = true) {
  Lifted lifted;
  lift(sql, standard_conforming_strings, lifted);
  return lifted.certain;
}

struct Pair {
  const char* text;   // with % for the value
  const char* a;
  const char* b;
};

std::string with(const char* text, const char* value) {
  std::string sql(text);
  sql.replace(sql.find('%'), 1, value);
  return sql;
}

void expect_apart(const std::vector<Pair>& pairs) {
  for (const Pair& p : pairs) {
    EXPECT_FALSE(share(with(p.text, p.a), with(p.text, p.b))) << p.text << ": " << p.a << ", " << p.b;
    EXPECT_TRUE(share(with(p.text, p.a), with(p.text, p.a)) || !is_certain(with(p.text, p.a))) << p.text;
  }
}

TEST(LiftingRules, OrdinalsAreKept) {
  expect_apart({{"SELECT a, b FROM t ORDER BY %", "1", "2"},
                {"SELECT a, b FROM t ORDER BY 1 DESC NULLS LAST, %", "1", "2"},
                {"SELECT a, b FROM t ORDER BY (%)", "1", "2"},
                {"SELECT a, b FROM t ORDER BY ((%)) USING <", "1", "2"},
                {"SELECT a, b FROM t ORDER BY % LIMIT 1", "1", "2"},
                {"SELECT a, count(*) FROM t GROUP BY %", "1", "2"},
                {"SELECT a, b, count(*) FROM t GROUP BY 1, %", "1", "2"},
                {"SELECT a, b, count(*) FROM t GROUP BY DISTINCT %", "1", "2"},
                {"SELECT a, b, count(*) FROM t GROUP BY ROLLUP (%)", "1", "2"},
                {"SELECT a, b, count(*) FROM t GROUP BY CUBE (1, %)", "1", "2"},
                {"SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS ((1), (%))", "1", "2"},
                {"SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS (ROLLUP (%), ())", "1", "2"},
                {"SELECT DISTINCT ON (%) a, b FROM t", "1", "2"},
                {"SELECT DISTINCT ON (1, %) a, b FROM t", "1", "2"},
                {"SELECT * FROM (SELECT a, b FROM t ORDER BY %) x WHERE a = 5", "1", "2"},
                {"WITH x AS (SELECT a, b FROM t GROUP BY %) SELECT * FROM x", "1", "2"},
                {"(SELECT a, b FROM t) UNION ALL (SELECT a, b FROM u) ORDER BY %", "1", "2"},
                {"INSERT INTO t SELECT a, b FROM u ORDER BY %", "1", "2"}});
}

TEST(LiftingRules, TypeModifiersAreKept) {
  expect_apart({{"SELECT a::varchar(%) FROM t", "10", "20"},
                {"SELECT a::character varying(%) FROM t", "10", "20"},
                {"SELECT a::national character varying (%) FROM t", "10", "20"},
                {"SELECT a::char(%) FROM t", "1", "2"},
                {"SELECT a::\"varchar\"(%) FROM t", "10", "20"},
                {"SELECT a::pg_catalog.varchar(%) FROM t", "10", "20"},
                {"SELECT a::numeric(10,%) FROM t", "2", "3"},
                {"SELECT a::numeric(%, 2) FROM t", "10", "11"},
                {"SELECT a::decimal(5,%)[] FROM t", "2", "3"},
                {"SELECT a::dec(%) FROM t", "2", "3"},
                {"SELECT a::float(%) FROM t", "24", "53"},
                {"SELECT a::bit(%) FROM t", "3", "4"},
                {"SELECT a::bit varying(%) FROM t", "3", "4"},
                {"SELECT a::timestamp(%) FROM t", "0", "3"},
                {"SELECT a::timestamp(%) with time zone FROM t", "0", "3"},
                {"SELECT a::time(%) FROM t", "0", "3"},
                {"SELECT a::interval(%) FROM t", "0", "3"},
                {"SELECT a::interval second(%) FROM t", "0", "3"},
                {"SELECT interval '1.234' second(%)", "0", "3"},
                {"SELECT interval(%) '1.234'", "0", "3"},
                {"SELECT timestamp(%) '2024-01-01 00:00:00.123'", "0", "3"},
                {"SELECT current_timestamp(%)", "0", "3"},
                {"SELECT localtime(%)", "0", "3"},
                {"SELECT CAST(a AS varchar(%)) FROM t", "10", "20"},
                {"SELECT CAST(a AS my_type(%)) FROM t", "10", "20"},
                {"SELECT a::s.my_type(%) FROM t", "10", "20"},
                {"SELECT * FROM f() AS x(a varchar(%))", "10", "20"}});
}

TEST(LiftingRules, NamesOfObjectsAndSqlInStringsAreKept) {
  expect_apart({{"SELECT nextval(%)", "'a'", "'b'"},
                {"SELECT currval(%)", "'a'", "'b'"},
                {"SELECT setval(%, 1)", "'a'", "'b'"},
                {"SELECT pg_catalog.nextval(%)", "'a'", "'b'"},
                {"SELECT \"nextval\"(%)", "'a'", "'b'"},
                {"SELECT nextval((%))", "'a'", "'b'"},
                {"SELECT nextval(E%)", "'a'", "'b'"},
                {"SELECT nextval($$%$$)", "a", "b"},
                {"SELECT nextval(%::text)", "'a'", "'b'"},
                {"SELECT % :: regclass", "'a'", "'b'"},
                {"SELECT %::pg_catalog.regclass::oid", "'a'", "'b'"},
                {"SELECT CAST(% AS regclass)", "'a'", "'b'"},
                {"SELECT CAST(% AS regproc)", "'a'", "'b'"},
                {"SELECT regclass %", "'a'", "'b'"},
                {"SELECT regclass(%)", "'a'", "'b'"},
                {"SELECT (%)::regclass", "'a'", "'b'"},
                {"SELECT (%::text)::regclass", "'a'", "'b'"},
                {"SELECT ARRAY[%]::regclass[]", "'a'", "'b'"},
                {"SELECT 16385::regclass, %::regclass", "16385", "16386"},
                {"SELECT to_regclass(%)", "'a'", "'b'"},
                {"SELECT pg_relation_size(%)", "'a'", "'b'"},
                {"SELECT pg_relation_size(%)", "16385", "16386"},
                {"SELECT pg_get_viewdef(%)", "16385", "16386"},
                {"SELECT has_table_privilege(%, 'select')", "'a'", "'b'"},
                {"SELECT query_to_xml(%, true, true, '')", "'select 1'", "'select * from t'"},
                {"SELECT table_to_xml(%, true, true, '')", "'a'", "'b'"},
                {"SELECT * FROM dblink('c', %) AS x(a int)", "'select 1'", "'delete from t'"},
                {"SELECT * FROM ts_stat(%)", "'select a from t'", "'select a from u'"},
                {"SELECT * FROM crosstab(%) AS x(a int)", "'select 1'", "'select 2'"},
                {"SELECT set_config(%, 'x', true)", "'a.b'", "'a.c'"},
                {"SELECT set_config('a.b', 'x', % = 'y')", "'x'", "'y'"},
                {"SELECT current_setting(%)", "'a.b'", "'a.c'"},
                {"SELECT my_function(%)", "'a'", "'b'"},
                {"SELECT s.lower(%)", "'a'", "'b'"},
                {"SELECT * FROM my_function(%) x", "'a'", "'b'"},
                {"SELECT my_function(a => %)", "'a'", "'b'"},
                {"SELECT my_function(coalesce(x, %))", "'a'", "'b'"},
                {"SELECT my_type %", "'a'", "'b'"}});
}

TEST(LiftingRules, UtilityStatementsAreKeptWhole) {
  for (const char* text : {"SET a.b = %", "SET LOCAL work_mem TO %", "EXPLAIN SELECT * FROM t WHERE a = %", "EXPLAIN (ANALYZE) SELECT % FROM t", "CREATE TABLE t (a int DEFAULT %)",
                           "COMMENT ON TABLE t IS %", "NOTIFY c, %", "COPY (SELECT %) TO STDOUT", "DECLARE c CURSOR FOR SELECT %", "PREPARE p AS SELECT %", "EXECUTE p(%)", "DO %",
                           "CALL p(%)", "CREATE VIEW v AS SELECT %", "ALTER ROLE x PASSWORD %", "CREATE INDEX i ON t (a) WHERE b = %", "SELECT %; SELECT 2", "SELECT 2; SELECT %",
                           "COPY t FROM STDIN DELIMITER %", "START TRANSACTION; SELECT %", "FETCH ABSOLUTE % FROM c", "SHOW x; SELECT %"})
    EXPECT_FALSE(share(with(text, "'1'"), with(text, "'2'"))) << text;
}

TEST(LiftingRules, TheClassOfALiteralIsKept) {
  const std::vector<std::string> classes = {"1", "3000000000", "1.5", "'1'", "E'1'", "B'1'", "$$1$$", "NULL", "true", "$1", "-1", "- -1", "+1", "ARRAY[1]", "(1)"};
  for (const std::string& a : classes)
    for (const std::string& b : classes)
      EXPECT_EQ(share("SELECT * FROM t WHERE a = " + a, "SELECT * FROM t WHERE a = " + b), a == b) << a << " and " << b;
  for (const auto& [a, b] : {std::pair("2147483647", "2147483648"), std::pair("9223372036854775807", "9223372036854775808"), std::pair("2147483648", "2147483649"),
                             std::pair("X'1F'", "X'2F'0"), std::pair("1e3", "1000"), std::pair("1.", "1"), std::pair("N'a'", "'a'"), std::pair("1", "1::int8"), std::pair("1", "int8 '1'")})
    EXPECT_FALSE(share(concat("SELECT * FROM t WHERE a = ", a), concat("SELECT * FROM t WHERE a = ", b))) << a << " and " << b;
}

TEST(LiftingRules, WhatIsReadByOtherRulesIsInDoubt) {
  for (const char* sql : {"SELECT 'a'\n'b'", "SELECT 'a' -- c\n 'b'", "SELECT E'a'\n'b'", "SELECT U&'\\0061'", "SELECT U&'!0061' UESCAPE '!'", "SELECT U&\"a\" FROM t", "SELECT 123abc",
                          "SELECT 'a", "SELECT $a$x", "SELECT \"a", "SELECT /* x", "SELECT - /* c */ 5", "SELECT E'\\", "SELECT 1 FROM t WHERE a = 0x1F"})
    EXPECT_FALSE(is_certain(sql)) << sql;
  for (const char* sql : {"SELECT 'a\\'", "SELECT E'\\n'", "SELECT '\\\\' || 'x'"}) EXPECT_FALSE(is_certain(sql, false)) << sql;
  EXPECT_TRUE(is_certain("SELECT 'a' || 'b'", false));
}

TEST(LiftingRules, TheShapeOfAStatementIsKept) {
  for (const auto& [a, b] : {std::pair("SELECT * FROM t WHERE a IN (1, 2)", "SELECT * FROM t WHERE a IN (1, 2, 3)"),
                             std::pair("SELECT * FROM t WHERE a = 1 COLLATE \"C\"", "SELECT * FROM t WHERE a = 1 COLLATE \"D\""),
                             std::pair("SELECT * FROM t LIMIT 1", "SELECT * FROM t OFFSET 1"), std::pair("SELECT * FROM t LIMIT 1", "SELECT * FROM t LIMIT ALL"),
                             std::pair("SELECT * FROM t LIMIT 1", "SELECT * FROM t LIMIT NULL"), std::pair("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1), (2)"),
                             std::pair("SELECT * FROM t FETCH FIRST 1 ROW ONLY", "SELECT * FROM t FETCH FIRST 1 ROW WITH TIES"), std::pair("SELECT \"A\" FROM t", "SELECT a FROM t"),
                             std::pair("SELECT 1 FROM t", "SELECT 1 FROM \"t \""), std::pair("SELECT a.b FROM a", "SELECT a . c FROM a"), std::pair("SELECT 1 AS a", "SELECT 1 AS b"),
                             std::pair("SELECT $1", "SELECT $2"), std::pair("/* weir: key=1 */ SELECT 1", "/* weir: key=2 */ SELECT 1"), std::pair("/* weir: primary */ SELECT 1", "SELECT 1"),
                             std::pair("SELECT 1 /* weir: primary */", "SELECT 1"), std::pair("SELECT 1 -- weir: primary", "SELECT 1"), std::pair("/*Weir:primary*/SELECT 1", "/*weir:primary*/SELECT 1"),
                             std::pair("SELECT count(*) FILTER (WHERE a = 1) FROM t", "SELECT count(*) FROM t")})
    EXPECT_FALSE(share(a, b)) << a << " and " << b;
}

TEST(LiftingRules, DataIsLifted) {
  for (const char* text : {"SELECT * FROM t WHERE a = %", "SELECT * FROM t WHERE a IN (1, %)", "SELECT * FROM t LIMIT %", "SELECT * FROM t OFFSET % ROWS", "SELECT * FROM t FETCH FIRST % ROWS ONLY",
                           "SELECT % FROM t", "UPDATE t SET a = % WHERE b = 3", "INSERT INTO t VALUES (%, 5)", "DELETE FROM t WHERE a > %",
                           "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t WHERE b = %",
                           "SELECT * FROM t TABLESAMPLE BERNOULLI (%)", "SELECT a[%] FROM t", "SELECT round(a, %) FROM t", "SELECT CASE WHEN a = % THEN 1 ELSE 2 END FROM t",
                           "SELECT a FROM t GROUP BY a HAVING count(*) > %", "SELECT * FROM t WHERE (a, b) = (%, 2)", "SELECT * FROM t WHERE a BETWEEN % AND 9"})
    EXPECT_TRUE(share(with(text, "1"), with(text, "22"))) << text;
  for (const char* text : {"SELECT * FROM t WHERE a = %", "SELECT * FROM t WHERE a LIKE %", "SELECT lower(%)", "SELECT to_char(a, %) FROM t", "SELECT date_trunc(%, a) FROM t",
                           "SELECT * FROM t WHERE a @> %", "SELECT a ->> % FROM t", "SELECT * FROM t WHERE a @@ %", "SELECT jsonb_path_query(a, 'x'), % FROM t", "SELECT %::text", "SELECT date %",
                           "SELECT concat(a, %) FROM t", "INSERT INTO t VALUES (%)", "SELECT * FROM t WHERE a = ANY (ARRAY[%, 'c'])", "SELECT %::timestamptz"})
    EXPECT_TRUE(share(with(text, "'a'"), with(text, "'bc'"))) << text;
}

}  // namespace
}  // namespace weir::router
