#include "router/prepared_text.hpp"

#include <gtest/gtest.h>

#include <string>

namespace weir::router {
namespace {

using Kind = PreparedUse::Kind;

PreparedUse use(Kind kind, std::string name, std::uint32_t statement = 0) {
  PreparedUse u;
  u.kind = kind;
  u.name = std::move(name);
  u.statement = statement;
  return u;
}

std::string name_in(std::string_view sql, const PreparedUse& u) {
  const auto places = find_prepared(sql, {u});
  return places ? std::string(places->front().name.in(sql)) : "(none)";
}

TEST(FindPrepared, FindsTheNameAsItIsWritten) {
  EXPECT_EQ(name_in("EXECUTE a(1, 'x')", use(Kind::execute, "a")), "a");
  EXPECT_EQ(name_in("execute /* b */ \"A \"\"b\"\"\" -- x\n (1)", use(Kind::execute, "A \"b\"")), "\"A \"\"b\"\"\"");
  EXPECT_EQ(name_in("EXPLAIN (ANALYZE, FORMAT json) EXECUTE Ab", use(Kind::execute, "ab")), "Ab");
  EXPECT_EQ(name_in("EXPLAIN ANALYZE VERBOSE EXECUTE execute", use(Kind::execute, "execute")), "execute");
  EXPECT_EQ(name_in("CREATE TEMP TABLE execute (a, b) AS EXECUTE q (1) WITH NO DATA", use(Kind::execute, "q")), "q");
  EXPECT_EQ(name_in("DEALLOCATE PREPARE x", use(Kind::deallocate, "x")), "x");
  EXPECT_EQ(name_in("DEALLOCATE prepare", use(Kind::deallocate, "prepare")), "prepare");
}

TEST(FindPrepared, TakesPrepareApart) {
  const std::string_view sql = " PREPARE \"q\" (numeric(10, 2), \"My(Type\"[]) AS\n  SELECT $1, ';' AS execute;";
  const auto places = find_prepared(sql, {use(Kind::prepare, "q")});
  ASSERT_TRUE(places);
  EXPECT_EQ(places->front().name.in(sql), "\"q\"");
  EXPECT_EQ(places->front().types.in(sql), "numeric(10, 2), \"My(Type\"[]");
  EXPECT_EQ(places->front().query.in(sql), "SELECT $1, ';' AS execute");
}

TEST(FindPrepared, FindsEachInAStringOfSeveral) {
  const std::string_view sql = ";; SELECT $a$;EXECUTE x;$a$; PREPARE a AS SELECT 1 /* ; */; EXECUTE a; DEALLOCATE ALL;";
  const auto places = find_prepared(sql, {use(Kind::prepare, "a", 1), use(Kind::execute, "a", 2), use(Kind::deallocate_all, "", 3)});
  ASSERT_TRUE(places);
  EXPECT_EQ((*places)[0].query.in(sql), "SELECT 1");
  EXPECT_EQ((*places)[1].name.offset, sql.rfind("a; DEALLOCATE"));
  EXPECT_EQ((*places)[2].name.size, 0U);
}

TEST(FindPrepared, LeavesAloneWhatItIsNotCertainOf) {
  EXPECT_FALSE(find_prepared("EXECUTE U&\"a\"", {use(Kind::execute, "a")}));
  EXPECT_FALSE(find_prepared("EXECUTE a", {use(Kind::execute, "b")}));
  EXPECT_FALSE(find_prepared("EXECUTE a", {use(Kind::execute, "a", 1)}));
  EXPECT_FALSE(find_prepared("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; EXECUTE a", {use(Kind::execute, "a", 1)}));
  EXPECT_FALSE(find_prepared("EXECUTE \"a", {use(Kind::execute, "a")}));
}

TEST(FindPrepared, ReadsNothingBehindTheText) {
  const std::string sql = "PREPARE \"a\" (int) AS SELECT 'x', E'\\'', $q$ ; $q$, 1.5e3; EXECUTE a(1) /* e */";
  for (std::size_t n = 0; n <= sql.size(); ++n) {
    const std::vector<char> exact(sql.begin(), sql.begin() + static_cast<std::ptrdiff_t>(n));
    (void)find_prepared({exact.data(), exact.size()}, {use(Kind::prepare, "a"), use(Kind::execute, "a", 1)});
  }
}

}  // namespace
}  // namespace weir::router
