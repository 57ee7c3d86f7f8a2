#include "router/lexer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "pg_scan.hpp"
#include "router/lexer_key.hpp"

namespace weir::router {
namespace {

using testing::pg_scan;
using testing::ScanToken;

Lifted lift_text(std::string_view sql, bool standard_conforming_strings = true) {
  // From a buffer of exactly its size, so that AddressSanitizer sees an over-read.
  const std::unique_ptr<char[]> copy(new char[sql.size()]);
  std::copy(sql.begin(), sql.end(), copy.get());
  Lifted lifted;
  lift({copy.get(), sql.size()}, standard_conforming_strings, lifted);
  return lifted;
}

// The literals of `sql` that were lifted, each as its text.
std::vector<std::string> lifted_of(std::string_view sql) {
  const Lifted lifted = lift_text(sql);
  EXPECT_TRUE(lifted.certain) << sql;
  std::vector<std::string> texts;
  for (const Literal& literal : lifted.literals) texts.emplace_back(sql.substr(literal.offset, literal.length));
  return texts;
}

bool certain(std::string_view sql) { return lift_text(sql).certain; }

void expect_same(std::string_view a, std::string_view b) {
  const Lifted x = lift_text(a), y = lift_text(b);
  EXPECT_TRUE(x.certain && y.certain && x.key == y.key && x.hash == y.hash) << a << "\n" << b;
}
void expect_different(std::string_view a, std::string_view b) {
  const Lifted x = lift_text(a), y = lift_text(b);
  EXPECT_TRUE(x.certain && y.certain) << a << "\n" << b;
  EXPECT_NE(x.key, y.key) << a << "\n" << b;
}

using Texts = std::vector<std::string>;

// ---- what is lifted ----

TEST(Lexer, LiftsLiteralsOfPlainStatements) {
  EXPECT_EQ(lifted_of("SELECT abalance FROM pgbench_accounts WHERE aid = 12345"), Texts{"12345"});
  EXPECT_EQ(lifted_of("INSERT INTO users (id, name) VALUES (1, 'a''b'), (-2, E'x\\'y')"),
            (Texts{"1", "'a''b'", "2", "E'x\\'y'"}));
  EXPECT_EQ(lifted_of("UPDATE t SET a = .5, b = 1.5e-3 WHERE id IN (1,2) AND c LIKE 'x%' RETURNING 'y'"),
            (Texts{".5", "1.5e-3", "1", "2", "'x%'", "'y'"}));
  EXPECT_EQ(lifted_of("DELETE FROM t WHERE d > now() - interval '1 day' AND u = uuid 'f' LIMIT 5 OFFSET 10"),
            (Texts{"'1 day'", "'f'", "5", "10"}));
  EXPECT_EQ(lifted_of("SELECT $$a$$, $t$b$$c$t$, B'01', x'1F', N'n', lower('A'), '5'::int, CAST('6' AS bigint)"),
            (Texts{"$$a$$", "$t$b$$c$t$", "B'01'", "x'1F'", "'n'", "'A'", "'5'", "'6'"}));
}

TEST(Lexer, SaysWhichClassALiteralHas) {
  const auto kind = [](const std::string& literal) { return lift_text("SELECT " + literal).literals.at(0).kind; };
  EXPECT_EQ(kind("0"), LiteralClass::int4);
  EXPECT_EQ(kind("00000000000000000000000001"), LiteralClass::int4);
  EXPECT_EQ(kind("2147483647"), LiteralClass::int4);
  EXPECT_EQ(kind("2147483649"), LiteralClass::int8);
  EXPECT_EQ(kind("9223372036854775807"), LiteralClass::int8);
  EXPECT_EQ(kind("9223372036854775809"), LiteralClass::numeric);
  EXPECT_EQ(kind("99999999999999999999999999"), LiteralClass::numeric);
  EXPECT_EQ(kind("1."), LiteralClass::numeric);
  EXPECT_EQ(kind("1e3"), LiteralClass::numeric);
  EXPECT_EQ(kind("'a'"), LiteralClass::string);
  EXPECT_EQ(kind("e'a'"), LiteralClass::escape_string);
  EXPECT_EQ(kind("b'0'"), LiteralClass::bit_string);
  EXPECT_EQ(kind("X'F'"), LiteralClass::bit_string);
  EXPECT_EQ(kind("$a$x$a$"), LiteralClass::dollar_string);
}

TEST(Lexer, StatementsThatDifferInValuesBlanksCaseAndCommentsShareAKey) {
  expect_same("SELECT a FROM t WHERE id = 1", "select  A\n\tfrom T /* x /* nested */ y */ where ID=99 -- end");
  expect_same("SELECT 1", "SELECT 2;");
  expect_same("SELECT 1 ; -- end", "SELECT 2");
  expect_same("SELECT 'a'", "SELECT 'it''s'");
  expect_same("SELECT a FROM t WHERE id = -1", "SELECT a FROM t WHERE id = - 7");
}

// ---- what must not be lifted or shared ----

TEST(Lexer, KeepsOrdinals) {
  expect_different("SELECT a, b FROM t ORDER BY 1", "SELECT a, b FROM t ORDER BY 2");
  expect_different("SELECT a, b FROM t ORDER BY a, 1 DESC", "SELECT a, b FROM t ORDER BY a, 2 DESC");
  expect_different("SELECT a, count(*) FROM t GROUP BY (1)", "SELECT a, count(*) FROM t GROUP BY (2)");
  expect_different("SELECT a, b FROM t GROUP BY ROLLUP (1, 2)", "SELECT a, b FROM t GROUP BY ROLLUP (2, 1)");
  expect_different("SELECT DISTINCT ON (1) a, b FROM t", "SELECT DISTINCT ON (2) a, b FROM t");
  expect_different("SELECT a, b FROM t ORDER BY t.limit, 1", "SELECT a, b FROM t ORDER BY t.limit, 2");
  expect_different("SELECT x FROM (SELECT a, b FROM t ORDER BY 1) s",
                   "SELECT x FROM (SELECT a, b FROM t ORDER BY 2) s");
  expect_different("SELECT a FROM t ORDER BY f(1), 1", "SELECT a FROM t ORDER BY f(1), 2");
}

TEST(Lexer, LiftsAgainBehindAnOrderedList) {
  EXPECT_EQ(lifted_of("SELECT a FROM t ORDER BY 1 LIMIT 5 OFFSET 6"), (Texts{"5", "6"}));
  EXPECT_EQ(lifted_of("SELECT a FROM t GROUP BY 1 HAVING sum(b) > 7 ORDER BY 2"), Texts{"7"});
  EXPECT_EQ(lifted_of("SELECT a, rank() OVER (PARTITION BY a ORDER BY 1) FROM t WHERE id = 8"), Texts{"8"});
  EXPECT_EQ(lifted_of("SELECT a FROM t GROUP BY 1 UNION SELECT 9"), Texts{"9"});
  EXPECT_EQ(lifted_of("SELECT a FROM t ORDER BY (SELECT b FROM u WHERE id = 3)"), Texts{"3"});
}

TEST(Lexer, KeepsTypeModifiers) {
  expect_different("SELECT a::varchar(10) FROM t", "SELECT a::varchar(20) FROM t");
  expect_different("SELECT a::numeric(10,2) FROM t", "SELECT a::numeric(10,3) FROM t");
  expect_different("SELECT CAST(a AS character varying (10)) FROM t",
                   "SELECT CAST(a AS character varying (11)) FROM t");
  expect_different("SELECT a::pg_catalog.varchar(10)", "SELECT a::pg_catalog.varchar(11)");
  expect_different("SELECT a::my.geometry(Point, 1)", "SELECT a::my.geometry(Point, 2)");
  expect_different("SELECT a::\"char\"(1)", "SELECT a::\"char\"(2)");
  expect_different("SELECT numeric(10,2) '1.5'", "SELECT numeric(10,3) '1.5'");
  expect_different("SELECT interval '1' second(2)", "SELECT interval '1' second(3)");
  expect_different("SELECT interval(2) '1'", "SELECT interval(3) '1'");
  expect_different("SELECT current_timestamp(2)", "SELECT current_timestamp(3)");
  expect_different("SELECT a::int[3]", "SELECT a::int[4]");
  expect_different("SELECT a::numeric(10,2)[3]", "SELECT a::numeric(10,2)[4]");
  expect_different("SELECT * FROM f() AS t(a varchar(10))", "SELECT * FROM f() AS t(a varchar(11))");
  expect_different("SELECT * FROM f() t(a geometry(10))", "SELECT * FROM f() t(a geometry(11))");
}

TEST(Lexer, StillLiftsBehindTypesAndAliases) {
  EXPECT_EQ(lifted_of("SELECT a::varchar(10) FROM t WHERE id = 1"), Texts{"1"});
  EXPECT_EQ(lifted_of("SELECT a AS b FROM t WHERE id IN (1, 2)"), (Texts{"1", "2"}));
  EXPECT_EQ(lifted_of("SELECT CAST(a AS numeric(10,2)) FROM t WHERE x[2] = 'y'"), (Texts{"2", "'y'"}));
  EXPECT_EQ(lifted_of("WITH q AS MATERIALIZED (SELECT 'a' WHERE 1 = 2), r(x) AS (VALUES (3)) SELECT 4"),
            (Texts{"'a'", "1", "2", "3", "4"}));
}

TEST(Lexer, KeepsStringsGivenToFunctionsThatMayLookIntoThem) {
  for (const char* call :
       {"nextval('%')", "pg_catalog.nextval('%')", "currval('%')", "setval('%', 1)", "to_regclass('%')",
        "query_to_xml('%', true, true, '')", "set_config('%', 'x', false)", "current_setting('%')", "dblink('%')",
        "my_function('%')", "public.lower('%')", "\"nextval\"('%')", "nextval(('%'))", "nextval('%'::text)",
        "nextval($$%$$)", "nextval(E'%')", "pg_relation_size('%')", "nextval(lower('%'))",
        "has_table_privilege('%', 'select')"}) {
    std::string a = concat("SELECT ", call), b = a;
    a.replace(a.find('%'), 1, "users");
    b.replace(b.find('%'), 1, "orders");
    expect_different(a, b);
  }
  expect_different("SELECT pg_relation_size(1)", "SELECT pg_relation_size(2)");
  expect_same("SELECT pg_advisory_xact_lock(1)", "SELECT pg_advisory_xact_lock(2)");
}

TEST(Lexer, KeepsEverythingWhereAStringBecomesTheNameOfAnObject) {
  for (const char* cast : {"'%'::regclass", "'%'::pg_catalog.regclass", "'%'::text::regclass", "('%')::RegClass",
                           "regclass '%'", "pg_catalog.regclass '%'", "CAST('%' AS regclass)", "regclass('%')",
                           "'%'::\"regclass\"", "'%'::regprocedure", "'%' :: /* x */ regtype"}) {
    std::string a = concat("SELECT ", cast), b = a;
    a.replace(a.find('%'), 1, "users");
    b.replace(b.find('%'), 1, "orders");
    expect_different(a, b);
  }
}

TEST(Lexer, KeepsStringsOfUnknownTypes) {
  expect_different("SELECT mytype 'a'", "SELECT mytype 'b'");
  expect_different("SELECT my.type 'a'", "SELECT my.type 'b'");
  expect_different("SELECT \"char\" 'a'", "SELECT \"char\" 'b'");
  expect_different("SELECT varchar(3) 'a'", "SELECT varchar(3) 'b'");
}

TEST(Lexer, ClassesDoNotShareAKey) {
  const std::vector<std::string> literals = {"1",    "3000000000", "1.0", "'1'",  "E'1'",
                                             "B'1'", "$$1$$",      "$1",  "NULL", "true"};
  for (const std::string& a : literals)
    for (const std::string& b : literals)
      if (a != b) expect_different("SELECT " + a, "SELECT " + b);
  // A minus makes these one type narrower, so they are kept.
  expect_different("SELECT -2147483648", "SELECT -2147483649");
  expect_different("SELECT -9223372036854775808", "SELECT -9223372036854775809");
}

TEST(Lexer, TokenBoundariesAreInTheKey) {
  expect_different("SELECT a b", "SELECT ab");
  expect_different("SELECT \"a\"\"b\"", "SELECT \"a\" \"b\"");
  expect_different("SELECT a < - b", "SELECT a <- b || c");
  expect_different("SELECT a > = b", "SELECT a >= b");
  expect_different("SELECT $1", "SELECT $2");
  expect_different("SELECT \"Users\"", "SELECT users");
  expect_different("SELECT \"select\"", "SELECT select");
  expect_different("SELECT nextval('a'), 'b'", "SELECT nextval('a', 'b')");
  expect_different("SELECT É", "SELECT é");
}

TEST(Lexer, KeepsUtilityStatementsWhole) {
  expect_different("SET search_path = 'a'", "SET search_path = 'b'");
  expect_different("EXPLAIN SELECT 1", "EXPLAIN SELECT 2");
  expect_different("COPY t TO 'a'", "COPY t TO 'b'");
  expect_different("DECLARE c CURSOR FOR SELECT 1", "DECLARE c CURSOR FOR SELECT 2");
  expect_different("CREATE TABLE t (a varchar(10))", "CREATE TABLE t (a varchar(11))");
  expect_different("(SET x = 1)", "(SET x = 2)");
  EXPECT_EQ(lifted_of("((SELECT 1) UNION (SELECT 2))"), (Texts{"1", "2"}));
  EXPECT_EQ(lifted_of("(VALUES (1))"), (Texts{"1"}));
  EXPECT_EQ(lifted_of("42"), Texts{});
}

TEST(Lexer, KeepsSeveralStatementsWhole) {
  EXPECT_EQ(lifted_of("SELECT 1; SELECT 2"), Texts{});
  expect_different("SELECT 1; SELECT 2", "SELECT 1; SELECT 3");
  expect_different("SELECT 1; SET x = 1", "SELECT 2; SET x = 1");
  expect_different("SELECT 1;;", "SELECT 1");
  EXPECT_EQ(lifted_of("SELECT 1;  -- nothing more\n/* nor here */"), Texts{"1"});
}

TEST(Lexer, KeepsHints) {
  expect_different("/* weir: shard=s1 */ SELECT 1", "/* weir: shard=s2 */ SELECT 1");
  expect_different("/* weir: shard=s1 */ SELECT 1", "SELECT 1");
  expect_different("/*weir: primary */ SELECT 1", "SELECT 1");
  expect_different("/*\n WEIR:key=1*/ SELECT 1", "SELECT 1");
  expect_same("/* wei */ SELECT 1", "SELECT 1");
  expect_different("-- weir: shard=s1\n SELECT 1", "SELECT 1");   // misplaced: refused
}

// ---- doubt ----

TEST(Lexer, IsNotCertainInDoubt) {
  const std::string nul("SELECT 1\0", 9), nul_in_string("SELECT '\0'", 10);
  for (const std::string& sql : {nul,
                                 nul_in_string,
                                 std::string("SELECT 'a"),
                                 std::string("SELECT \"a"),
                                 std::string("SELECT \"\""),
                                 std::string("SELECT $$a$"),
                                 std::string("SELECT $a$ $b$"),
                                 std::string("SELECT /* a"),
                                 std::string("SELECT /* /* */"),
                                 std::string("SELECT /"
                                             "*"),
                                 std::string("SELECT E'a\\'"),
                                 std::string("SELECT E'\\"),
                                 std::string("SELECT 'a'\n'b'"),
                                 std::string("SELECT 'a' -- x\n'b'"),
                                 std::string("SELECT E'a'\n'b'"),
                                 std::string("SELECT B'1''0'"),
                                 std::string("SELECT U&'a'"),
                                 std::string("SELECT u&\"a\""),
                                 std::string("SELECT 1..10"),
                                 std::string("SELECT 123abc"),
                                 std::string("SELECT 1e"),
                                 std::string("SELECT 1e+"),
                                 std::string("SELECT 1.5.3"),
                                 std::string("SELECT 0x1F"),
                                 std::string("SELECT 1_000"),
                                 std::string("SELECT $1a"),
                                 std::string("SELECT $"),
                                 std::string("SELECT {"),
                                 std::string("SELECT \\"),
                                 std::string("SELECT (1"),
                                 std::string("SELECT 1)"),
                                 std::string("SELECT \x01"),
                                 std::string("SELECT $99999999"),
                                 std::string("SELECT - /* c */ 5"),
                                 std::string("SELECT -(( -- c\n5))")}) {
    const Lifted lifted = lift_text(sql);
    EXPECT_FALSE(lifted.certain) << sql;
    EXPECT_TRUE(lifted.key.empty() && lifted.literals.empty()) << sql;
  }
}

TEST(Lexer, BackslashesAreInDoubtUnlessStringsConformToTheStandard) {
  EXPECT_FALSE(lift_text("SELECT 'a\\' OR '", false).certain);
  EXPECT_TRUE(lift_text("SELECT 'a\\'", true).certain);
  EXPECT_TRUE(lift_text("SELECT 'a'", false).certain);
}

TEST(Lexer, NestsOnlySoDeep) {
  const auto nested = [](std::size_t depth) {
    return "SELECT " + std::string(depth, '(') + "1" + std::string(depth, ')');
  };
  EXPECT_TRUE(certain(nested(128)));
  EXPECT_FALSE(certain(nested(129)));
  EXPECT_FALSE(certain(nested(1 << 20)));
}

TEST(Lexer, GivesUpWhereTheKeyWouldBeLong) {
  std::string list = "SELECT a FROM t WHERE id IN (1";
  for (int i = 0; i < 3000; ++i) list += ",123456";
  EXPECT_TRUE(certain(list + ")"));
  for (int i = 0; i < 3000; ++i) list += ",123456";
  EXPECT_FALSE(certain(list + ")"));
  EXPECT_FALSE(certain("SELECT " + std::string(9000, 'a')));
  EXPECT_FALSE(certain("SELECT \"" + std::string(9000, 'a') + "\""));
  EXPECT_FALSE(certain("SET x = '" + std::string(9000, 'a') + "'"));
  EXPECT_FALSE(certain("SELECT 1 " + std::string(9000, '*')));
  EXPECT_TRUE(certain("SELECT '" + std::string(1 << 20, 'a') + "'"));
}

TEST(Lexer, TakesLinearTimeForAnyText) {
  std::string signs;
  for (int i = 0; i < (4 << 20); ++i) signs += "+-";
  EXPECT_FALSE(certain("SELECT 1 " + signs));
  std::string comments(8 << 20, '/');
  for (std::size_t i = 1; i < comments.size(); i += 2) comments[i] = '*';
  EXPECT_FALSE(certain("SELECT 1 " + comments));
  std::string dollars;
  for (int i = 0; i < (1 << 20); ++i) dollars += "$a$b";
  (void)lift_text("SELECT " + dollars);
}

TEST(Lexer, EveryPrefixIsReadWithinItsBounds) {
  const std::string sql =
      "/* weir: a */ SELECT E'\\'', $t$x$t$, \"q\"\"r\", N'n', b'1', U&'x', 1.5e-3, .5, $1, a::regclass, x->>'y' "
      "FROM t -- c\nORDER BY 1; SELECT 'a'\n'b'";
  for (std::size_t size = 0; size <= sql.size(); ++size) (void)lift_text(std::string_view(sql).substr(0, size));
}

TEST(Lexer, ReusedBuffersCarryNothingOver) {
  Lifted reused;
  for (const char* sql :
       {"SELECT 'a', 1, nextval('b') FROM t WHERE id IN (1,2,3)", "SELECT 1", "SELECT 'x", "BEGIN", ""}) {
    lift(sql, true, reused);
    const Lifted fresh = lift_text(sql);
    EXPECT_EQ(reused.key, fresh.key);
    EXPECT_EQ(reused.hash, fresh.hash);
    EXPECT_EQ(reused.certain, fresh.certain);
    EXPECT_EQ(reused.literals.size(), fresh.literals.size());
  }
}

// ---- agreement with PostgreSQL's scanner ----

// The key's tokens as text: a lifted literal is "<class>", a kept one "=text".
std::vector<std::string> decode(const std::vector<std::uint8_t>& key) {
  std::vector<std::string> tokens;
  std::size_t at = 0;
  const auto until = [&](std::uint8_t end) {
    std::string text;
    while (key.at(at) != end) text += static_cast<char>(key[at++]);
    ++at;
    return text;
  };
  while (at < key.size()) {
    const std::uint8_t tag = key[at];
    if (tag >= lexer_key::kLifted && tag < 0x10) {
      tokens.push_back(concat("<", std::to_string(tag - lexer_key::kLifted), ">"));
      ++at;
    } else if (tag == lexer_key::kTypecast || tag == lexer_key::kColonEquals) {
      tokens.emplace_back(tag == lexer_key::kTypecast ? "::" : ":=");
      ++at;
    } else if (tag == lexer_key::kKept || tag == lexer_key::kHint) {
      ++at;
      tokens.push_back((tag == lexer_key::kKept ? "=" : "#") + until(0));
    } else if (tag == '"') {
      std::string text(1, '"');
      ++at;
      for (bool open = true; open;) {
        text += static_cast<char>(key.at(at));
        if (key[at++] == '"') {
          if (key.at(at) == '"')
            text += static_cast<char>(key[at++]);
          else
            open = false;
        }
      }
      EXPECT_EQ(key.at(at), ' ');
      ++at;
      tokens.push_back(text);
    } else if (std::string_view(",()[];:.").find(static_cast<char>(tag)) != std::string_view::npos) {
      tokens.emplace_back(1, static_cast<char>(tag));
      ++at;
    } else {
      tokens.push_back(until(' '));
    }
  }
  return tokens;
}

LiteralClass class_of(const ScanToken& token, const std::string& text) {
  if (token.kind == testing::kIconst) return LiteralClass::int4;
  if (token.kind == testing::kBconst || token.kind == testing::kXconst) return LiteralClass::bit_string;
  if (token.kind == testing::kSconst) {
    if (text[0] == '$') return LiteralClass::dollar_string;
    return text[0] == '\'' ? LiteralClass::string : LiteralClass::escape_string;
  }
  if (text.find_first_not_of("0123456789") != std::string::npos) return LiteralClass::numeric;
  std::string digits = text.substr(std::min(text.find_first_not_of('0'), text.size() - 1));
  const std::string max = std::to_string(std::numeric_limits<std::int64_t>::max());
  return digits.size() < max.size() || (digits.size() == max.size() && digits <= max) ? LiteralClass::int8
                                                                                      : LiteralClass::numeric;
}

std::string expected_token(const ScanToken& token, const std::string& sql, const Lifted& lifted) {
  const std::string text = sql.substr(token.start, token.end - token.start);
  if (token.kind >= testing::kFconst && token.kind <= testing::kIconst && token.kind != 265) {
    for (const Literal& literal : lifted.literals) {
      if (literal.offset != token.start) continue;
      EXPECT_EQ(literal.length, token.end - token.start) << sql;
      EXPECT_EQ(literal.kind, class_of(token, text)) << sql;
      return concat("<", std::to_string(static_cast<int>(class_of(token, text))), ">");
    }
    return "=" + text;
  }
  if (token.kind == testing::kCComment) return "#" + text;
  if (text[0] == '"') return text;
  if (text.size() == 1 && (text[0] == 'n' || text[0] == 'N') && token.end < sql.size() && sql[token.end] == '\'')
    return "nchar";
  return ascii_lower(text);
}

bool is_hint(const std::string& comment) {
  const std::string folded = ascii_lower(comment);
  const std::size_t at = folded.find_first_not_of(" \t\n\r\f", 2);
  return at != std::string::npos && folded.compare(at, 4, "weir") == 0;
}

// True: the lexer was certain and PostgreSQL's scanner took the text, and they agree.
bool agrees(const std::string& sql) {
  const Lifted lifted = lift_text(sql);
  if (!lifted.certain) return false;
  const auto tokens = pg_scan(sql);
  if (!tokens) return false;  // an error to the server, too, whatever its tokens
  std::vector<std::string> expected;
  for (const ScanToken& token : *tokens) {
    if (token.kind == testing::kSqlComment) continue;
    if (token.kind == testing::kCComment && !is_hint(sql.substr(token.start, token.end - token.start))) continue;
    expected.push_back(expected_token(token, sql, lifted));
  }
  std::vector<std::string> found = decode(lifted.key);
  // A last ';' may be left out.
  if (found.size() < expected.size()) std::erase(expected, ";");
  EXPECT_EQ(found, expected) << sql;
  return found == expected;
}

TEST(LexerAgainstScanner, AgreesOnTrickyStatements) {
  for (const char* sql :
       {"SELECT abalance FROM pgbench_accounts WHERE aid = 12345",
        "SELECT a+-1, a*-1, a=-1, a<-1, a@-1, a@- 1, a<>-1, a>=-1, a|/-1, a~-b, a->-1, a||-1, a- -1",
        "SELECT a+--c\n1, a*/*c*/1, a/-- c\n1, a@/**/b, a=/*x*/-1",
        "SELECT a!=b, a<>b, a=>b, a<=b, a:=b, a::int, a[1:2], a.b, a . b, a.*, .5, 5., 5.5, 5e5, 5.e5, .5e-5, 5e+5",
        "SELECT a$b, a$1, $1, $2+$3, _x, x1, Äpfel, \"Ä\"\"x\", \"a b\"",
        "SELECT $$a$$, $x$ $$ $y$ $x$, $x$$x$, $x$ $x $x$, $Ä1$ $Ä1$, $$$$, $_$'$_$",
        "SELECT '', '''', 'a''b', E'', E'\\\\', E'\\'', E'a\\\\\\'b', E'''', e'\\n\\x41\\101'",
        "SELECT B'', b'0101', X'', x'1f', N'', n'abc', nchar 'x', N 'x', E 'x', B 'x'",
        "SELECT /* a /* b */ c */ 1 /**/ /***/ /*/**/*/ /* * / */ -- end",
        "SELECT 1 -- a\r, 2 -- b\n, 3",
        "SELECT 1--",
        "SELECT 1/**/",
        "SELECT a--b\n-c",
        "SELECT 1\f2\t3\r4\n5",
        "SELECT 0, 00, 007, 2147483647, 2147483648, 9223372036854775807, 9223372036854775808, 1e400",
        "SELECT a ? 'b', a ?| array['b'], a ?& array['b'], a @> '{}', a #>> '{a,b}', a -> 1 ->> 'x', a <-> b, a !~* "
        "'x'",
        "SELECT a@-b, a@+b, a#-b, a?-b, a~+b, a&-b, a|+b, a%-b, a%+b, a^-b, a`-b, a!-b, a<-b, a>+b, a=-+-b",
        "SELECT interval '1' day, date '2024-01-01', timestamp with time zone '2024-01-01 00:00:00+00', "
        "'1'::numeric(3,1)",
        "INSERT INTO \"T\" (a, \"B\") VALUES (1, 'x'), (DEFAULT, NULL) ON CONFLICT (a) DO UPDATE SET b = 'y' RETURNING "
        "*;",
        "/* weir: shard=s1 */ SELECT 1; /* weir: x */",
        "BEGIN",
        "SET a = 'b'",
        "COMMIT;",
        ";",
        "",
        "  ",
        "-- x",
        "SELECT 1; SELECT 'x'; UPDATE t SET a = $1",
        "CREATE TABLE t (a varchar(10) DEFAULT 'x', b numeric(3,2))",
        "SELECT a FROM t ORDER BY 1, 2 LIMIT 3",
        "SELECT 'x'::regclass, 42, E'y'",
        "SELECT N'x'::regclass",
        "SELECT u & 5, u&5, U &'x'",
        "SELECT a.1, a.b.c, t.\"x\".y",
        "SELECT 1;;2",
        "SELECT a;b"})
    if (!agrees(sql)) ADD_FAILURE() << "not certain, or not scanned: " << sql;
}

// Statements put together at random from pieces that are awkward beside one another.
TEST(LexerAgainstScanner, AgreesWhereverItIsCertain) {
  const std::vector<std::string> pieces = {" ",
                                           "\n",
                                           "\t",
                                           "\r",
                                           "a",
                                           "B",
                                           "e",
                                           "E",
                                           "n",
                                           "x",
                                           "b",
                                           "u",
                                           "U&",
                                           "'",
                                           "''",
                                           "'a'",
                                           "'\\'",
                                           "\"",
                                           "\"q\"",
                                           "\"\"",
                                           "$",
                                           "$$",
                                           "$a$",
                                           "$1",
                                           "1",
                                           "23",
                                           "2147483648",
                                           ".",
                                           "..",
                                           "1.5",
                                           "1e5",
                                           "e5",
                                           "+",
                                           "-",
                                           "--",
                                           "*",
                                           "/",
                                           "/*",
                                           "*/",
                                           "<",
                                           ">",
                                           "=",
                                           "!",
                                           "@",
                                           "~",
                                           "#",
                                           "%",
                                           "^",
                                           "&",
                                           "|",
                                           "`",
                                           "?",
                                           ":",
                                           "::",
                                           ":=",
                                           ",",
                                           "(",
                                           ")",
                                           "[",
                                           "]",
                                           ";",
                                           "select",
                                           "order by",
                                           "limit",
                                           "regclass",
                                           "nextval(",
                                           "::varchar(",
                                           "as",
                                           "distinct on (",
                                           "/* weir: x */",
                                           "é",
                                           "interval",
                                           "\\",
                                           "{"};
  std::mt19937_64 random(20240101);
  int agreed = 0;
  for (int i = 0; i < 60000; ++i) {
    std::string sql = i % 4 == 0 ? "" : "SELECT ";
    const std::size_t count = 1 + random() % 9;
    for (std::size_t k = 0; k < count; ++k) sql += pieces[random() % pieces.size()] + (random() % 3 == 0 ? " " : "");
    agreed += agrees(sql) ? 1 : 0;
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(agreed, 10000);
}

// Whole statements of the usual kinds, in every combination of their parts.
TEST(LexerAgainstScanner, AgreesOnUsualStatements) {
  const std::vector<std::string> heads = {
      "SELECT a, b.c, count(*) AS n FROM t", "SELECT DISTINCT ON (1) x::numeric(10,2) FROM \"T\" t", "DELETE FROM s.t",
      "UPDATE t SET a = a + 1, b = 'x''y', c = E'\\n'", "WITH q AS (SELECT 1 FROM u) SELECT q.* FROM q, t"};
  const std::vector<std::string> conditions = {"id = 42",
                                               "id = $1",
                                               "id IN (1,2,-3)",
                                               "id = ANY ('{1,2}')",
                                               "id = ANY($1::int8[])",
                                               "t.id=3000000000",
                                               "name LIKE 'a%'",
                                               "name = $$x$$",
                                               "d > '2024-01-01'::timestamptz",
                                               "j->>'k' = 'v'",
                                               "j @> '{\"a\":1}'",
                                               "x BETWEEN 1.5 AND 1e3",
                                               "b = B'101'",
                                               "f('x', 3) = lower('Y')",
                                               "id=-7",
                                               "id= - 7",
                                               "o = 'x'::regclass",
                                               "d < now() - interval '3 days'",
                                               "a[1] = 2",
                                               "n = N'x'"};
  const std::vector<std::string> tails = {"",
                                          " ORDER BY 1, b DESC LIMIT 10 OFFSET 5",
                                          " GROUP BY 1 HAVING count(*) > 3",
                                          " FOR UPDATE;",
                                          " RETURNING id -- done",
                                          " ORDER BY a COLLATE \"C\" /* x */ FETCH FIRST 5 ROWS ONLY"};
  for (const std::string& head : heads)
    for (const std::string& a : conditions)
      for (const std::string& b : conditions)
        for (const std::string& tail : tails) {
          const std::string sql = concat(head, " WHERE ", a, " AND ", b, tail);
          ASSERT_TRUE(agrees(sql)) << sql;
        }
}

}  // namespace
}  // namespace weir::router
