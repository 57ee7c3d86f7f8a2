#include "router/key_fill.hpp"

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/router/analysis_support.hpp"

namespace weir::router {
namespace {

using How = KeyFill::How;

const testing::TestCatalog& catalog() {
  static const testing::TestCatalog filling(true, config::UnlistedTables::home, {"users", "orders"});
  return filling;
}

std::vector<std::string> numbers(std::size_t count) {
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back(std::to_string(7001 + i));
  return ids;
}

// The text with 7001, 7002 ... as its ids, or why not.
std::string fill(std::string_view sql) {
  const Plan plan = testing::plan_of(sql, {}, catalog());
  if (!plan.fill) return plan.refusal ? "refused: " + plan.refusal->message : "needs none";
  EXPECT_EQ(plan.target, Target::refused) << sql;
  const auto edits = find_fill(sql, *plan.fill);
  if (!edits) return "cannot be said";
  return filled(sql, *plan.fill, *edits, numbers(ids_of(*edits))).sql;
}

TEST(KeyFill, AppendsTheKeyToColumnsAndRows) {
  EXPECT_EQ(fill("INSERT INTO users (name) VALUES ('a')"), "INSERT INTO users (name, \"id\") VALUES ('a', 7001)");
  EXPECT_EQ(fill("insert into public.\"users\" as u(name , country)values('a)',''),(';', (SELECT 1)) returning id"),
            "insert into public.\"users\" as u(name , country, \"id\")values('a)','', 7001),(';', (SELECT 1), 7002) returning id");
  EXPECT_EQ(fill("INSERT INTO users (name) OVERRIDING SYSTEM VALUE VALUES ($1) -- (x)"),
            "INSERT INTO users (name, \"id\") OVERRIDING SYSTEM VALUE VALUES ($1, 7001) -- (x)");
  EXPECT_EQ(fill("INSERT INTO orders (id) VALUES (1);"), "INSERT INTO orders (id, \"user_id\") VALUES (1, 7001);");
}

TEST(KeyFill, ReplacesDefaultInTheKeysPlaceOnly) {
  EXPECT_EQ(fill("INSERT INTO users (name, id) VALUES (DEFAULT, DEFAULT), ('b', 9), ('c', /* x */ default)"),
            "INSERT INTO users (name, id) VALUES (DEFAULT, 7001), ('b', 9), ('c', /* x */ 7002)");
  EXPECT_EQ(fill("INSERT INTO users (id, name) VALUES (weir . NEXT_ID ( ), ARRAY[f(1,2), 3]::text)"),
            "INSERT INTO users (id, name) VALUES (7001, ARRAY[f(1,2), 3]::text)");
  EXPECT_EQ(fill("INSERT INTO users (name, id) VALUES (ARRAY[1, 2]::text, DEFAULT)"),
            "INSERT INTO users (name, id) VALUES (ARRAY[1, 2]::text, 7001)");
  EXPECT_EQ(fill("INSERT INTO users VALUES (DEFAULT, 'a')"), "INSERT INTO users VALUES (7001, 'a')");
}

TEST(KeyFill, GivesDefaultValuesAKey) {
  EXPECT_EQ(fill("INSERT INTO users DEFAULT  VALUES RETURNING *"), "INSERT INTO users (\"id\") VALUES (7001) RETURNING *");
}

TEST(KeyFill, FindsTheStatementsOwnInsert) {
  EXPECT_EQ(fill("WITH insert AS (SELECT 1) INSERT INTO users (name) VALUES ((SELECT 'x' FROM insert))"),
            "WITH insert AS (SELECT 1) INSERT INTO users (name, \"id\") VALUES ((SELECT 'x' FROM insert), 7001)");
  EXPECT_EQ(fill("EXPLAIN (COSTS off) INSERT INTO users (name) VALUES ('a')"),
            "EXPLAIN (COSTS off) INSERT INTO users (name, \"id\") VALUES ('a', 7001)");
  EXPECT_EQ(fill("/* INSERT INTO x */ INSERT INTO users (name) VALUES ('a') ON CONFLICT (id) DO NOTHING"),
            "/* INSERT INTO x */ INSERT INTO users (name, \"id\") VALUES ('a', 7001) ON CONFLICT (id) DO NOTHING");
}

TEST(KeyFill, WhatCannotBeFilledIsRefused) {
  EXPECT_EQ(fill("INSERT INTO users (name) SELECT 'a'"), "refused: INSERT into public.users without its sharding key id");
  EXPECT_EQ(fill("INSERT INTO users (name) VALUES ('a'); SELECT 1"), "refused: INSERT into public.users without its sharding key id");
  EXPECT_EQ(fill("WITH i AS (INSERT INTO users (name) VALUES ('a') RETURNING id) SELECT * FROM i"),
            "refused: INSERT into public.users without its sharding key id");
  EXPECT_EQ(fill("INSERT INTO users (name) VALUES ('a') LIMIT 1"), "refused: INSERT into public.users without its sharding key id");
  EXPECT_EQ(fill("INSERT INTO works (id) VALUES (1)"), "refused: INSERT into public.works without its sharding key user_id");
  EXPECT_EQ(fill("INSERT INTO users (name) (VALUES ('a'))"), "cannot be said");
  EXPECT_EQ(fill("INSERT INTO U&\"users\" (name) VALUES ('a')"), "cannot be said");
}

TEST(KeyFill, AnInsertWithItsKeyNeedsNone) {
  for (const char* sql : {"INSERT INTO users (id, name) VALUES (1, 'a')", "INSERT INTO users VALUES (1, 'a')", "SELECT 1", "UPDATE users SET name = '' WHERE id = 1"})
    EXPECT_EQ(fill(sql), "needs none") << sql;
}

// The filled text is planned like any other: its key is the id.
TEST(KeyFill, TheFilledTextIsKeyedByItsIds) {
  const std::string sql = fill("INSERT INTO users (name) VALUES ('a')");
  EXPECT_EQ(testing::route(sql), "users: 7001");
  EXPECT_EQ(testing::route("INSERT INTO users (name, id) VALUES ($1, $2)", {25, 20}), "users: $2");
}

TEST(KeyFill, TellsWhereTheTextsDiffer) {
  const std::string_view sql = "INSERT INTO users (name, id) VALUES ('a', DEFAULT), ('b', DEFAULT)";
  const Plan plan = testing::plan_of(sql, {}, catalog());
  const auto edits = find_fill(sql, *plan.fill);
  ASSERT_TRUE(edits);
  const FilledText text = filled(sql, *plan.fill, *edits, numbers(2));
  ASSERT_EQ(text.places.size(), 2U);
  EXPECT_EQ(text.places[1].at, text.sql.find("7002"));
  EXPECT_EQ(text.places[1].size, 4U);
  EXPECT_EQ(text.places[1].replaced, 7U);
}

// Any bytes: nothing is read behind the end, and nothing is found where a text breaks off.
TEST(KeyFill, ATextThatBreaksOffIsNotFilled) {
  const std::string_view sql = "INSERT INTO users (name) VALUES ('a', ARRAY[(1)]), ($tag$b$tag$)";
  for (std::size_t size = 0; size < sql.size(); ++size) {
    const std::string part(sql.substr(0, size));
    const KeyFill fill{How::append, "id", 0};
    if (const auto edits = find_fill(part, fill)) {
      EXPECT_EQ(part.back(), ')') << part;
      EXPECT_EQ(ids_of(*edits), 1U);
    }
    (void)find_fill(part, {How::replace, "id", 0});
    (void)find_fill(part, {How::values, "id", 0});
  }
}

}  // namespace
}  // namespace weir::router
