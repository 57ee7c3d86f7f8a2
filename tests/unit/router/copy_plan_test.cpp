// COPY of listed tables: how it is carried out over several shards, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.hpp"
#include "router/copy/copy_plan.hpp"
#include "router/copy/row_writer.hpp"
#include "router/scatter_plan.hpp"
#include "tests/unit/router/analysis_support.hpp"

namespace weir::router::testing {
namespace {

using copy::CopyPlan;
using copy::Format;
using ::testing::HasSubstr;

// The plan of a COPY over shards; it must be one.
const CopyPlan& copy_of(const Plan& plan) {
  EXPECT_EQ(plan.target, Target::scatter) << (plan.refusal ? plan.refusal->message : "");
  EXPECT_EQ(plan.scatter->strategy, ScatterPlan::Strategy::copy);
  return *plan.scatter->copy;
}

TEST(CopyPlan, rows_of_a_sharded_table_are_split_by_its_key) {
  const Plan plan = plan_of("COPY orders (id, user_id) FROM STDIN");
  const CopyPlan& copy = copy_of(plan);
  EXPECT_EQ(plan.verb, Verb::copy_from);
  EXPECT_FALSE(plan.read_only);
  EXPECT_EQ(copy.way, CopyPlan::Way::split);
  EXPECT_EQ(copy.table, "public.orders");
  EXPECT_EQ(copy.relation, "orders");
  EXPECT_EQ(copy.key, "user_id");
  EXPECT_EQ(copy.position, 1);
  EXPECT_EQ(copy.columns, 2);
  EXPECT_EQ(copy.type, schema::KeyType::int8);
  EXPECT_EQ(copy.options.format, Format::text);
}

TEST(CopyPlan, without_a_list_the_columns_are_the_tables) {
  const Plan plan = plan_of("COPY users FROM STDIN");
  EXPECT_EQ(copy_of(plan).columns, 4);
  EXPECT_EQ(copy_of(plan).position, 0);
  EXPECT_TRUE(copy_of(plan).not_null);
}

TEST(CopyPlan, options_are_read_in_both_spellings) {
  for (const char* sql : {"COPY orders (user_id, id) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'x', QUOTE '''', ESCAPE '!', FORCE_NULL (user_id), ENCODING 'Latin-1')",
                          "COPY orders (user_id, id) FROM STDIN WITH CSV HEADER DELIMITER ';' NULL 'x' QUOTE '''' ESCAPE '!' FORCE NULL user_id ENCODING 'Latin-1'"}) {
    const Plan plan = plan_of(sql);
    const copy::Options& o = copy_of(plan).options;
    EXPECT_EQ(o.format, Format::csv) << sql;
    EXPECT_TRUE(o.header && o.force_null && !o.force_not_null) << sql;
    EXPECT_EQ(std::string({o.delimiter, o.quote, o.escape}), ";'!") << sql;
    EXPECT_EQ(o.null, "x") << sql;
    EXPECT_EQ(o.encoding, "latin1") << sql;
  }
  const Plan header = plan_of("COPY orders (user_id) FROM STDIN (FORMAT csv, HEADER match, QUOTE '~')");
  EXPECT_TRUE(copy_of(header).options.header);
  EXPECT_EQ(copy_of(header).options.escape, '~') << "the quote, where nothing is said";
  EXPECT_FALSE(copy_of(plan_of("COPY orders (user_id) FROM STDIN (HEADER false, FORMAT 'csv')")).options.header);
  EXPECT_EQ(copy_of(plan_of("COPY BINARY orders (user_id) FROM STDIN")).options.format, Format::binary);
}

TEST(CopyPlan, every_shard_gets_the_rows_of_a_reference_table) {
  const Plan plan = plan_of("COPY countries FROM STDIN");
  EXPECT_EQ(copy_of(plan).way, CopyPlan::Way::every_shard);
  EXPECT_EQ(plan_of("COPY countries TO STDOUT").target, Target::any);
}

TEST(CopyPlan, every_shard_gives_the_rows_of_a_sharded_table) {
  const Plan plan = plan_of("COPY orders TO STDOUT (FORMAT csv, HEADER)");
  EXPECT_TRUE(plan.read_only);
  EXPECT_EQ(copy_of(plan).way, CopyPlan::Way::out);
  EXPECT_TRUE(copy_of(plan).options.header);
  EXPECT_TRUE(plan.scatter->shard_sql.empty()) << "the client's own text";
}

TEST(CopyPlan, a_query_without_an_order_is_copied_by_every_shard) {
  const Plan plan = plan_of("COPY (SELECT id, 'a''b' FROM orders WHERE id > 7) TO STDOUT WITH CSV HEADER FORCE QUOTE id DELIMITER '\t'");
  EXPECT_EQ(copy_of(plan).way, CopyPlan::Way::out);
  EXPECT_EQ(plan.scatter->shard_sql.render({}),
            "COPY (SELECT id, 'a''b' FROM orders WHERE id > 7) TO STDOUT WITH (format 'csv', header true, force_quote (\"id\"), delimiter '\t')");
  EXPECT_EQ(plan_of("COPY (SELECT * FROM orders WHERE user_id = 1) TO STDOUT").target, Target::keyed);
}

TEST(CopyPlan, what_cannot_be_split_is_refused) {
  const struct {
    const char* sql;
    const char* message;
  } cases[] = {
      {"COPY orders (id) FROM STDIN", "without its sharding key user_id"},
      {"COPY orders FROM STDIN (FREEZE)", "FREEZE"},
      {"COPY orders FROM STDIN (ENCODING 'SJIS')", "cannot be split"},
      {"COPY orders FROM STDIN (ON_ERROR ignore)", "option on_error is not understood"},
      {"COPY orders FROM STDIN (FORMAT csv, QUOTE E'\\\\')", "backslash as its QUOTE"},
      {"COPY orders FROM STDIN (DELIMITER '\xc2\xa7')", "delimiter that is not ASCII"},
      {"COPY orders FROM '/tmp/x'", "between a file and public.orders"},
      {"COPY orders TO PROGRAM 'cat'", "between a file and public.orders"},
      {"COPY countries FROM '/tmp/x'", "between a file and public.countries"},
      {"COPY countries FROM STDIN WHERE code = 'x'", "with WHERE"},
      {"COPY (SELECT * FROM orders ORDER BY id) TO STDOUT (ENCODING 'LATIN1')", "sorted, counted or put together"},
      {"COPY orders TO STDOUT; SELECT 1", "in a string of several statements"},
  };
  for (const auto& c : cases) {
    const Plan plan = plan_of(c.sql);
    ASSERT_EQ(plan.target, Target::refused) << c.sql;
    EXPECT_EQ(plan.refusal->code, sqlstate::kFeatureNotSupported) << c.sql;
    EXPECT_THAT(plan.refusal->message, HasSubstr(c.message)) << c.sql;
    EXPECT_FALSE(plan.refusal->hint.empty()) << c.sql;
  }
}

TEST(CopyPlan, a_query_that_no_server_can_copy_is_run_and_written) {
  for (const char* sql : {"COPY (SELECT id FROM orders ORDER BY id) TO STDOUT", "COPY (SELECT count(*) FROM orders) TO STDOUT WITH CSV HEADER QUOTE '@' ESCAPE '!' NULL 'x'",
                          "COPY (SELECT id FROM orders LIMIT 3) TO STDOUT (FORMAT binary)"})
    EXPECT_EQ(copy_of(plan_of(sql)).way, CopyPlan::Way::query) << sql;
  // No server sees these options: what is not certainly right is refused.
  for (const char* options : {"(FORMAT nonsense)", "(DELIMITER 'ab')", "(DELIMITER 'a')", "(QUOTE '!')", "(FORMAT csv, QUOTE ',')", "(FORMAT csv, NULL 'a\"b')", "(FORMAT binary, HEADER)", "(FORMAT csv, HEADER match)",
                              "(ENCODING 'LATIN1')", "(FORMAT csv, FORMAT csv)", "(FORMAT csv, FORCE_NULL (id))", "(NULL E'a\\n')", "(FREEZE)", "(NULL 'a\tb')"})
    EXPECT_EQ(plan_of(concat("COPY (SELECT id FROM orders ORDER BY id) TO STDOUT ", options)).target, Target::refused) << options;
}

TEST(CopyPlan, the_query_is_what_the_first_parentheses_hold) {
  EXPECT_EQ(copy::query_of("/* ( */ COPY (SELECT ')', (1) FROM t) TO STDOUT (FORMAT csv)"), "SELECT ')', (1) FROM t");
  EXPECT_EQ(copy::query_of("COPY (SELECT 1"), "");
}

std::string written(const copy::Options& options, const std::vector<std::optional<std::string>>& values) {
  std::string body{'\0', static_cast<char>(values.size())};
  for (const auto& value : values) {
    const auto size = value ? static_cast<std::uint32_t>(value->size()) : 0xFFFFFFFFU;
    for (int shift = 24; shift >= 0; shift -= 8) body += static_cast<char>(size >> shift);
    body += value.value_or("");
  }
  merge::RowView row;
  EXPECT_TRUE(row.read(as_bytes(body)));
  copy::RowWriter writer(options, std::vector<std::string>(values.size(), "a,b"));
  std::string all = writer.begin();
  all += writer.row(row);
  return all += writer.end();
}

TEST(CopyPlan, rows_are_written_as_copy_does) {
  copy::Options text;
  EXPECT_EQ(written(text, {"a\tb\\", std::nullopt, "\n\x01"}), "a\\tb\\\\\t\\N\t\\n\x01\n");
  copy::Options csv, binary;
  csv.format = Format::csv;
  csv.header = true;
  csv.delimiter = ',';
  csv.null = "";
  binary.format = Format::binary;
  EXPECT_EQ(written(csv, {"", std::nullopt, "say \"x\"", "plain"}), "\"a,b\",\"a,b\",\"a,b\",\"a,b\"\n\"\",,\"say \"\"x\"\"\",plain\n");
  EXPECT_EQ(written(csv, {"\\."}), "\"a,b\"\n\"\\.\"\n");
  EXPECT_EQ(written(binary, {"x", std::nullopt}), std::string("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0\0\2\0\0\0\1x\377\377\377\377\377\377", 32));
}

}  // namespace
}  // namespace weir::router::testing
