// Judging texts of pg_stat_statements by the table rules.
#include <gtest/gtest.h>

#include "migrate/audit.hpp"
#include "migrate/audit_statement.hpp"
#include "migrate/session.hpp"
#include "schema/bucket_map.hpp"

namespace weir::migrate {
namespace {

class Judge : public testing::Test {
 protected:
  Verdict judged(std::string_view sql) { return judge(router_, sql, {}); }
  StatementClass kind_of(std::string_view sql) { return judged(sql).kind; }

  config::Database database_ = described_by({"host=a dbname=app", {"users=id", "orders=user_id"}, {"countries"}, 16, 2});
  router::Router router_{schema::Catalog::offline(database_), std::make_shared<const schema::BucketMap>(*schema::BucketMap::from(database_))};
};

TEST_F(Judge, AKeyBoundToOneValueIsOneShard) {
  EXPECT_EQ(kind_of("SELECT name FROM users WHERE id = $1"), StatementClass::single);
  EXPECT_EQ(kind_of("UPDATE orders SET total = $1 WHERE user_id = $2 AND id = $3"), StatementClass::single);
  EXPECT_EQ(kind_of("INSERT INTO orders (user_id, id) VALUES ($1, $2)"), StatementClass::single);
}

TEST_F(Judge, OneValueForSeveralTablesIsOneShard) {
  EXPECT_EQ(kind_of("SELECT 1 FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = $1"), StatementClass::single);
}

TEST_F(Judge, SeveralKeysDependOnTheirValues) {
  for (const char* sql : {"SELECT name FROM users WHERE id IN ($1, $2)", "SELECT name FROM users WHERE id = ANY($1)",
                          "INSERT INTO orders (user_id, id) VALUES ($1, $2), ($3, $4)"})
    EXPECT_EQ(kind_of(sql), StatementClass::by_values) << sql;
}

TEST_F(Judge, WhatNeedsNoKeyIsToldApart) {
  EXPECT_EQ(kind_of("SELECT name FROM countries WHERE code = $1"), StatementClass::reference);
  EXPECT_EQ(kind_of("SELECT * FROM log"), StatementClass::home);
  EXPECT_EQ(kind_of("SELECT $1"), StatementClass::no_table);
  EXPECT_EQ(kind_of("BEGIN"), StatementClass::session);
}

TEST_F(Judge, ARefusalComesWithItsRemedy) {
  const Verdict verdict = judged("UPDATE users SET id = $1 WHERE id = $2");
  EXPECT_EQ(verdict.kind, StatementClass::refused);
  EXPECT_NE(verdict.reason, "");
  EXPECT_NE(verdict.remedy, "");
}

TEST_F(Judge, ParametersWhereNoneCanStandAreReadAsStrings) {
  EXPECT_EQ(kind_of("SELECT interval $1 FROM users WHERE id = $2"), StatementClass::single);
  EXPECT_EQ(kind_of("SELECT date $1 FROM users u JOIN orders o ON u.id = o.user_id WHERE u.id = $2 AND o.user_id = $2"), StatementClass::single);
}

TEST_F(Judge, WhatCannotBeReadIsUnknown) {
  for (const char* sql : {"SELECT name FROM users WHERE id = $1 AND (", "", "<insufficient privilege>"}) {
    EXPECT_EQ(kind_of(sql), StatementClass::unknown) << sql;
    EXPECT_NE(judged(sql).remedy, "") << sql;
  }
}

TEST(AuditedDatabase, IsDescribedByTheCommandLine) {
  const config::Database database = described_by({"host=a dbname=shop", {"crm.orders=user_id"}, {"countries"}, 16, 3});
  EXPECT_EQ(database.name, "shop");
  ASSERT_EQ(database.shards.size(), 3U);
  EXPECT_EQ(database.shards[0].buckets, (std::vector<config::BucketRange>{{0, 4}}));
  EXPECT_EQ(database.shards[2].buckets, (std::vector<config::BucketRange>{{10, 15}}));
  ASSERT_EQ(database.tables.size(), 2U);
  EXPECT_EQ(database.tables[0].schema, "crm");
  EXPECT_EQ(database.tables[0].key, "user_id");
  EXPECT_TRUE(database.tables[1].reference);
}

TEST(AuditedDatabase, RefusesWhatMakesNoSense) {
  EXPECT_THROW((void)described_by({"dbname=a", {"orders"}, {}, 16, 2}), Failure);
  EXPECT_THROW((void)described_by({"dbname=a", {"=id"}, {}, 16, 2}), Failure);
  EXPECT_THROW((void)described_by({"dbname=a", {}, {}, 15, 2}), Failure);
  EXPECT_THROW((void)described_by({"dbname=a", {}, {}, 16, 17}), Failure);
  EXPECT_THROW((void)described_by({"dbname=a", {}, {}, 16, 0}), Failure);
}

}  // namespace
}  // namespace weir::migrate
