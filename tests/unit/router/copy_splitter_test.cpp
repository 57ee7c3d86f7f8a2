// CopySplitter: what each shard gets of COPY data, however it comes cut.
#include "router/copy/copy_splitter.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/strings.hpp"
#include "tests/unit/router/split_copy.hpp"
#include "tests/unit/wire/exact_bytes.hpp"

namespace weir::router::copy {
namespace {

using schema::KeyType;
using testing::hash_map;
using testing::kShards;
using Outcome = testing::SplitCopy;
using namespace std::string_literals;

// Key n lies on shard n % 4.
const schema::BucketMap& modulo_map() {
  static const schema::BucketMap map = [] {
    config::Database database;
    auto& sharding = database.sharding.emplace();
    sharding.function = config::HashFunction::modulo;
    sharding.buckets = kShards;
    for (std::uint32_t i = 0; i < kShards; ++i) {
      config::Shard shard;
      shard.name = "s" + std::to_string(i);
      shard.buckets.push_back({i, i});
      database.shards.push_back(shard);
    }
    return std::move(*schema::BucketMap::from(database));
  }();
  return map;
}

CopyPlan plan_of(Format format, std::uint16_t position = 0, std::uint16_t columns = 2) {
  CopyPlan plan;
  plan.options.format = format;
  if (format == Format::csv) {
    plan.options.delimiter = ',';
    plan.options.null.clear();
  }
  plan.table = "public.orders";
  plan.relation = "orders";
  plan.key = "user_id";
  plan.position = position;
  plan.columns = columns;
  return plan;
}

// Gives the data in pieces of `size` bytes, each in a buffer of its own.
Outcome split(const CopyPlan& plan, std::string_view data, std::size_t size, const schema::BucketMap& map = modulo_map(),
              bool server_encoding = true, std::size_t max_held = 1 << 20) {
  CopySplitter splitter({&plan, &map, server_encoding, max_held});
  Outcome outcome;
  for (std::size_t at = 0; at < data.size() && outcome.error.empty(); at += size) {
    const wire::ExactBytes bytes(data.substr(at, size));
    const ByteView left = outcome.give(splitter, bytes.view());
    EXPECT_TRUE(left.empty() || !outcome.error.empty());
  }
  outcome.finish(splitter);
  return outcome;
}

// The same for every way to cut it.
Outcome split(const CopyPlan& plan, std::string_view data) {
  const Outcome whole = split(plan, data, data.size() + 1);
  for (std::size_t size = 1; size < data.size() && size < 40; ++size) {
    const Outcome cut = split(plan, data, size);
    EXPECT_EQ(cut.shards, whole.shards) << "in pieces of " << size;
    EXPECT_EQ(cut.error, whole.error) << "in pieces of " << size;
    EXPECT_EQ(cut.where, whole.where) << "in pieces of " << size;
    EXPECT_TRUE(!whole.error.empty() || cut.lines == whole.lines) << "in pieces of " << size;
  }
  return whole;
}

// The shard of one line's key; "error ..." if it fails.
std::string shard_of(const CopyPlan& plan, std::string_view line) {
  const Outcome outcome = split(plan, line);
  if (!outcome.error.empty()) return outcome.error;
  for (std::size_t i = 0; i < kShards; ++i)
    if (!outcome.shards[i].empty()) return std::to_string(i);
  return "none";
}

TEST(CopySplitter, text_rows_go_to_the_shards_of_their_keys) {
  const Outcome outcome = split(plan_of(Format::text), "1\ta\n2\tb\n3\tc\n4\td\n5\te\n-1\tf\n");
  EXPECT_EQ(outcome.shards, (std::vector<std::string>{"4\td\n", "1\ta\n5\te\n", "2\tb\n", "3\tc\n-1\tf\n"})) << "-1 modulo 4 is 3";
  EXPECT_EQ(outcome.lines, (std::vector<std::uint64_t>{1, 2, 3, 4, 5, 6}));
}

TEST(CopySplitter, a_last_line_needs_no_newline) {
  EXPECT_EQ(split(plan_of(Format::text), "1\ta\n2\tb").shards[2], "2\tb");
  EXPECT_EQ(split(plan_of(Format::csv), "1,a\n2,\"b\nc\"").shards[2], "2,\"b\nc\"");
  EXPECT_EQ(split(plan_of(Format::text), "1\ta\r2\tb\r").shards[2], "2\tb\r");
  EXPECT_EQ(split(plan_of(Format::text), "").lines.size(), 0U);
}

TEST(CopySplitter, the_key_is_read_behind_other_columns) {
  const CopyPlan text = plan_of(Format::text, 2, 3);
  EXPECT_EQ(shard_of(text, "a\\\tb\tc\t3\n"), "3") << "an escaped delimiter";
  EXPECT_EQ(shard_of(text, "a\\\nb\tc\t3\n"), "3") << "an escaped newline";
  EXPECT_EQ(shard_of(text, "\\\\\t\\N\t2\n"), "2");
  const CopyPlan csv = plan_of(Format::csv, 2, 3);
  EXPECT_EQ(shard_of(csv, "\"a,\"\"b\nc\",x\"y,\"z,3\n"), "3");
  EXPECT_EQ(shard_of(csv, ",,2\n"), "2");
}

TEST(CopySplitter, text_escapes_in_the_key_are_undone) {
  const CopyPlan plan = plan_of(Format::text);
  EXPECT_EQ(shard_of(plan, "\\61\ta\n"), "1") << "octal";
  EXPECT_EQ(shard_of(plan, "\\062\ta\n"), "2");
  EXPECT_EQ(shard_of(plan, "\\x33\ta\n"), "3") << "hexadecimal";
  EXPECT_EQ(shard_of(plan, "1\\x1\ta\n"), "0") << "a control character: the server refuses it";
  EXPECT_EQ(shard_of(plan, "\\ 7\ta\n"), "3") << "any other character is itself, and blanks may surround a number";
  EXPECT_EQ(shard_of(plan, " 1\\t\ta\n"), "1") << "a tab is a blank, too";
}

TEST(CopySplitter, csv_quotes_in_the_key_are_undone) {
  CopyPlan plan = plan_of(Format::csv);
  EXPECT_EQ(shard_of(plan, "\"1\",a\n"), "1");
  EXPECT_EQ(shard_of(plan, "\"1\"2,a\n"), "0") << "12";
  EXPECT_EQ(shard_of(plan, "\"3\n\",a\n"), "3") << "with a newline behind it";
  plan.options.quote = '\'';
  plan.options.escape = '\\';
  EXPECT_EQ(shard_of(plan, "'\\'',a\n"), "0") << "a quote is no number: the server refuses it";
  EXPECT_EQ(shard_of(plan, "'\\\\',a\n2,b\n"), "0") << "an escaped escape character does not escape the quote";
  EXPECT_EQ(split(plan, "'x\\'\n',a\n2,b\n").shards[0], "'x\\'\n',a\n");
}

TEST(CopySplitter, a_row_that_the_server_refuses_goes_home) {
  const CopyPlan plan = plan_of(Format::text, 1);
  for (const char* line : {"a\tb\n", "a\n", "\n", "a\t9223372036854775808\n", "a\t\n"}) EXPECT_EQ(shard_of(plan, line), "0") << line;
  EXPECT_EQ(shard_of(plan_of(Format::csv, 1), "\"a,1\n"), "0") << "a quote that is not closed";
}

TEST(CopySplitter, a_null_key_is_the_servers_affair_where_it_refuses_it) {
  CopyPlan plan = plan_of(Format::text);
  EXPECT_EQ(shard_of(plan, "\\N\ta\n"), "0A000 the key of a new row of table public.orders is NULL");
  EXPECT_EQ(split(plan, "1\ta\n\\N\ta\n").where, "COPY orders, line 2, column user_id");
  plan.not_null = true;
  EXPECT_EQ(shard_of(plan, "\\N\ta\n"), "0");
}

TEST(CopySplitter, what_is_null_follows_the_options) {
  CopyPlan plan = plan_of(Format::csv);
  plan.options.null = "7";
  const std::string null = "0A000 the key of a new row of table public.orders is NULL";
  EXPECT_EQ(shard_of(plan, "7,a\n"), null);
  EXPECT_EQ(shard_of(plan, "\"7\",a\n"), "3");
  plan.options.force_not_null = true;
  EXPECT_EQ(shard_of(plan, "7,a\n"), "3");
  plan.options.force_not_null = false;
  plan.options.force_null = true;
  EXPECT_EQ(shard_of(plan, "\"7\",a\n"), null);
  CopyPlan text = plan_of(Format::text);
  text.options.null = "7";
  EXPECT_EQ(shard_of(text, "7\ta\n"), null);
  EXPECT_EQ(shard_of(text, "\\67\ta\n"), "3") << "before escapes are undone";
}

TEST(CopySplitter, three_styles_of_newlines_that_may_not_be_mixed) {
  const CopyPlan text = plan_of(Format::text);
  EXPECT_EQ(split(text, "1\ta\r\n2\tb\r\n").shards[1], "1\ta\r\n");
  EXPECT_EQ(split(text, "1\ta\r2\tb\r").shards[2], "2\tb\r");
  EXPECT_EQ(split(text, "1\ta\n2\tb\rc\n").error, "22P04 literal carriage return found in data");
  EXPECT_EQ(split(text, "1\ta\r\n2\tb\n").error, "22P04 literal newline found in data");
  EXPECT_EQ(split(text, "1\ta\r\n2\tb\rc").error, "22P04 literal carriage return found in data");
  EXPECT_EQ(split(text, "1\ta\r2\tb\n").error, "22P04 literal newline found in data");
  const CopyPlan csv = plan_of(Format::csv);
  EXPECT_EQ(split(csv, "1,a\n2,\"b\rc\"\n").error, "");
  EXPECT_EQ(split(csv, "1,a\n2,b\rc\n").error, "22P04 unquoted carriage return found in data");
  EXPECT_EQ(split(csv, "1,a\r\n2,b\n").where, "COPY orders, line 2");
}

TEST(CopySplitter, nothing_counts_behind_the_end_of_copy_marker) {
  const CopyPlan text = plan_of(Format::text);
  EXPECT_EQ(split(text, "1\ta\n\\.\n2\tb\n\"").shards, (std::vector<std::string>{"", "1\ta\n", "", ""}));
  EXPECT_EQ(split(text, "1\ta\n2\tb\\.\n3\tc\n").shards[2], "2\tb\\.\n") << "data before it is a row";
  EXPECT_EQ(split(text, "1\ta\r\n\\.\r\n2\tb\n").error, "");
  EXPECT_EQ(split(text, "1\ta\n\\.x\n").error, "22P04 end-of-copy marker corrupt");
  EXPECT_EQ(split(text, "1\ta\n\\.").error, "22P04 end-of-copy marker corrupt");
  EXPECT_EQ(split(text, "1\ta\n\\.\r\n").error, "22P04 end-of-copy marker does not match previous newline style");
  const CopyPlan csv = plan_of(Format::csv, 1);
  EXPECT_EQ(split(csv, "a,1\n\\.\nb,2\n").shards[2], "");
  EXPECT_EQ(split(csv, "\\.,1\n\\.x,2\na\\.,3\n").shards, (std::vector<std::string>{"", "\\.,1\n", "\\.x,2\n", "a\\.,3\n"})) << "data of csv";
}

TEST(CopySplitter, every_shard_gets_the_header) {
  CopyPlan plan = plan_of(Format::csv);
  plan.options.header = true;
  const Outcome outcome = split(plan, "user_id,\"x\ny\"\n1,a\n");
  EXPECT_EQ(outcome.shards[1], "user_id,\"x\ny\"\n1,a\n");
  EXPECT_EQ(outcome.shards[0], "user_id,\"x\ny\"\n");
}

TEST(CopySplitter, lines_are_counted_as_the_server_does) {
  EXPECT_EQ(split(plan_of(Format::csv), "1,a\n2,\"b\n\nc\"\n3,d\n").lines, (std::vector<std::uint64_t>{1, 4, 5}));
  EXPECT_EQ(split(plan_of(Format::csv), "1,\"b\nc\"\n3,d\n").lines, (std::vector<std::uint64_t>{1, 2})) << "as long as it knows no newline, it counts CRs";
}

TEST(CopySplitter, a_row_that_is_too_large_is_refused) {
  const CopyPlan plan = plan_of(Format::text);
  const std::string row = "1\t" + std::string(2000, 'x');
  EXPECT_EQ(split(plan, row + "\n", 100, modulo_map(), true, 1000).error, "54000 a row of COPY has more than 0 MB");
  EXPECT_EQ(split(plan, row + "\n", 100, modulo_map(), true, 3000).error, "");
}

TEST(CopySplitter, text_keys_of_another_encoding_must_be_ascii) {
  CopyPlan plan = plan_of(Format::text);
  plan.type = KeyType::text;
  EXPECT_EQ(split(plan, "a\tx\n", 100, hash_map(), false).error, "");
  EXPECT_EQ(split(plan, "\xc3\xa9\tx\n", 100, hash_map(), false).error,
            "0A000 the key of table public.orders cannot be read from a non-ASCII text in an encoding that is not the server's");
  EXPECT_EQ(split(plan, "\xc3\xa9\tx\n", 100, hash_map(), true).error, "");
  plan.max_length = 3;
  plan.type = KeyType::varchar;
  EXPECT_EQ(split(plan, "abc \tx\n", 100, hash_map(), true).error,
            "0A000 the key of table public.orders cannot be read from a text with blanks at its end that the column may cut off");
}

// ---- binary ----

std::string number(std::uint64_t v, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(v >> (8 * i));
  return out;
}

std::string header(const std::string& extension = "") { return "PGCOPY\n\377\r\n\0"s + number(0, 4) + number(extension.size(), 4) + extension; }
std::string field(const std::string& value) { return number(value.size(), 4) + value; }
std::string row(std::int64_t key, const std::string& value) { return number(2, 2) + field(number(static_cast<std::uint64_t>(key), 8)) + field(value); }
const std::string kTrailer = "\377\377"s;

TEST(CopySplitter, binary_rows_go_to_the_shards_of_their_keys) {
  for (const std::string& extension : {""s, "extension"s}) {
    const std::string head = header(extension);
    const Outcome outcome = split(plan_of(Format::binary), head + row(1, "a") + row(2, "\n\\.") + row(-1, "") + kTrailer);
    EXPECT_EQ(outcome.shards, (std::vector<std::string>{head + kTrailer, head + row(1, "a") + kTrailer, head + row(2, "\n\\.") + kTrailer,
                                                        head + row(-1, "") + kTrailer}));
    EXPECT_EQ(outcome.lines, (std::vector<std::uint64_t>{0, 1, 2, 3, 3}));
  }
}

TEST(CopySplitter, binary_keys_of_every_type) {
  const auto one_field = [](const std::string& value) { return header() + number(1, 2) + field(value); };
  CopyPlan plan = plan_of(Format::binary, 0, 1);
  plan.type = KeyType::int4;
  EXPECT_EQ(split(plan, one_field(number(3, 4))).shards[3], one_field(number(3, 4)));
  EXPECT_EQ(split(plan, one_field(number(3, 8))).shards[0], one_field(number(3, 8))) << "refused by the server";
  plan.type = KeyType::int2;
  EXPECT_EQ(split(plan, one_field(number(2, 2))).shards[2], one_field(number(2, 2)));
  plan.type = KeyType::uuid;
  const std::string uuid(16, '\x11');
  const auto wanted = hash_map().shard_of(*schema::key_from_text(KeyType::uuid, "11111111-1111-1111-1111-111111111111"));
  EXPECT_EQ(split(plan, one_field(uuid), 7, hash_map()).shards[wanted], one_field(uuid));
  plan.type = KeyType::text;
  EXPECT_EQ(split(plan, one_field("abc"), 7, hash_map()).shards[hash_map().shard_of(schema::KeyValue("abc"s))], one_field("abc"));
}

TEST(CopySplitter, a_null_binary_key_is_refused) {
  EXPECT_EQ(split(plan_of(Format::binary), header() + number(2, 2) + number(0xffffffff, 4) + field("a")).where, "COPY orders, line 1, column user_id");
}

TEST(CopySplitter, malformed_binary_data_goes_home_to_be_refused) {
  const CopyPlan plan = plan_of(Format::binary);
  const std::string good = header() + row(1, "a");
  for (const std::string& wrong : {number(3, 2) + "xyz"s, number(2, 2) + number(0xfffffffe, 4) + "xyz"s, number(2, 2) + field("12345678") + number(9, 4) + "short"s,
                                   kTrailer + "more"s}) {
    const Outcome outcome = split(plan, good + wrong);
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.shards[0], header() + wrong) << "all of it";
    EXPECT_TRUE(outcome.shards[1].starts_with(good));
  }
  EXPECT_EQ(split(plan, "PGCOPX\n\377\r\n\0 and more"s).shards, (std::vector<std::string>{"PGCOPX\n\377\r\n\0 and more"s, "", "", ""}));
  EXPECT_EQ(split(plan, "PGC").shards[0], "PGC");
}

}  // namespace
}  // namespace weir::router::copy
