// CopySplitter against PostgreSQL: random COPY data, well-formed and not, loaded into one table as it is, and split over four. Where PostgreSQL
// takes it, the four hold the same rows, each on the shard of its key; where it does not, the split load fails, too.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "router/copy/copy_splitter.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"
#include "tests/unit/router/split_copy.hpp"

namespace weir::router::copy {
namespace {

using schema::KeyType;
using testing::hash_map;
using testing::kShards;
using testing::SplitCopy;
using tests::PgConnection;

tests::Clusters& clusters() {
  static tests::Clusters one(1);
  return one;
}

PgConnection& server() {
  static PgConnection connection(clusters().conninfo(0));
  return connection;
}

// One COPY: its text behind the table's name, and how it is read.
struct Case {
  CopyPlan plan;
  std::string tail;    // "(a, k, b) FROM STDIN WITH (...)"
  std::string data;
};

// Random data. A third of it is made of nothing but characters that mean something.
class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  Case text_or_csv(KeyType type) {
    Case c;
    Options& o = c.plan.options;
    o.format = chance(2) ? Format::csv : Format::text;
    choose_options(o);
    choose_columns(c, type);
    c.tail += concat(" FROM STDIN WITH (FORMAT ", csv(o) ? "csv" : "text", ", DELIMITER ", literal(o.delimiter), ", NULL ", literal(o.null), ", HEADER ",
                     o.header ? "on" : "off");
    if (csv(o)) c.tail += concat(", QUOTE ", literal(o.quote), ", ESCAPE ", literal(o.escape));
    if (csv(o) && o.force_null) c.tail += ", FORCE_NULL (k)";
    if (csv(o) && o.force_not_null) c.tail += ", FORCE_NOT_NULL (k)";
    c.tail += ")";
    newline_ = pick<std::string>({"\n", "\n", "\n", "\r\n", "\r"});
    const bool wild = chance(3);
    const std::size_t rows = below(12);
    for (std::size_t i = 0; i < rows; ++i) c.data += wild && chance(2) ? noise(o) : line(c, type);
    if (chance(8)) c.data += concat("\\.", newline_, chance(2) ? noise(o) : "");
    if (chance(4) && c.data.ends_with(newline_)) c.data.resize(c.data.size() - newline_.size());
    return c;
  }

  Case binary(KeyType type) {
    Case c;
    c.plan.options.format = Format::binary;
    choose_columns(c, type);
    c.tail += " FROM STDIN WITH (FORMAT binary)";
    c.data = std::string("PGCOPY\n\377\r\n\0\0\0\0\0", 15) + number(0, 4);
    for (std::size_t i = below(10); i > 0; --i) {
      c.data += number(3, 2);
      for (std::uint16_t column = 0; column < 3; ++column) c.data += column == c.plan.position ? binary_key(type) : sized(chance(4) ? std::string() : word());
    }
    if (!chance(6)) c.data += "\377\377";
    if (chance(8)) c.data.resize(c.data.size() - std::min(c.data.size(), below(6)));
    if (chance(10) && !c.data.empty()) c.data[below(c.data.size())] = static_cast<char>(below(256));
    return c;
  }

  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

 private:
  static bool csv(const Options& o) { return o.format == Format::csv; }
  bool chance(std::size_t n) { return below(n) == 0; }
  template <class T>
  T pick(std::vector<T> from) { return from[below(from.size())]; }
  static std::string literal(char c) { return literal(std::string(1, c)); }
  static std::string literal(const std::string& s) {
    std::string out = "E'";
    for (const char c : s) out += c == '\\' || c == '\'' ? std::string("\\") + c : std::string(1, c);
    return out + "'";
  }
  static std::string number(std::uint64_t v, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(v >> (8 * i));
    return out;
  }
  static std::string sized(const std::string& s) { return number(s.size(), 4) + s; }

  void choose_options(Options& o) {
    o.delimiter = csv(o) ? pick<char>({',', ',', '|', '\t', ';'}) : pick<char>({'\t', '\t', ',', '|', 'A', '"'});
    o.null = csv(o) ? pick<std::string>({"", "", "\\N", "NULL", "7"}) : pick<std::string>({"\\N", "\\N", "", "NULL", "x7"});
    o.header = chance(4);
    if (!csv(o)) return;
    o.quote = pick<char>({'"', '"', '\'', '~'});   // a backslash is refused before
    o.escape = pick<char>({o.quote, o.quote, '\\', '!', '"'});
    o.force_null = chance(4);
    o.force_not_null = chance(4);
  }

  void choose_columns(Case& c, KeyType type) {
    c.plan.table = c.plan.relation = "t";
    c.plan.key = "k";
    c.plan.type = type;
    c.plan.columns = 3;
    c.plan.not_null = true;
    c.plan.position = static_cast<std::uint16_t>(below(3));
    c.tail = pick_order(c.plan.position);
  }
  static std::string pick_order(std::uint16_t position) { return position == 0 ? "(k, a, b)" : position == 1 ? "(a, k, b)" : "(a, b, k)"; }

  std::string word() {
    std::string out;
    for (std::size_t i = below(5); i > 0; --i)
      out += pick<std::string>({"a", "b", "7", " ", "\n", "\r", "\t", "\\", "\"", "'", ",", "|", "~", "!", ".", "\\.", "A", "x", "\xc3\xa9"});
    return out;
  }
  std::string key(KeyType type) {
    if (type == KeyType::text) return word();
    if (type == KeyType::uuid) return concat(chance(3) ? "{" : "", "11111111-1111-1111-1111-11111111111", std::to_string(below(10)), "");
    const std::string digits = std::to_string(below(1000));
    return pick<std::string>({digits, digits, digits, "-" + digits, " " + digits, digits + "\n", "+" + digits});
  }
  std::string binary_key(KeyType type) {
    if (type == KeyType::text) return sized(word());
    if (chance(30)) return number(0xffffffff, 4);
    if (type == KeyType::uuid) return sized(number(below(1000), 8) + number(below(1000), 8));
    return sized(number(below(1000) - 500, 8));
  }

  std::string line(const Case& c, KeyType type) {
    const Options& o = c.plan.options;
    std::string out;
    for (std::uint16_t i = 0; i < 3; ++i) {
      if (i > 0) out += o.delimiter;
      const std::string value = i == c.plan.position ? key(type) : word();
      out += csv(o) ? csv_field(value, o) : chance(12) && i != c.plan.position ? o.null : text_field(value, o);
    }
    return out + newline_;
  }
  std::string text_field(const std::string& value, const Options& o) {
    std::string out;
    for (const char c : value) {
      const auto b = static_cast<unsigned char>(c);
      if (c == '\n') out += chance(2) ? "\\n" : "\\012";
      else if (c == '\r') out += "\\r";
      else if (c == '\\' || c == o.delimiter) out += std::string("\\") + c;
      else if (b < 0x80 && chance(10)) out += concat("\\x", hex(b >> 4), hex(b & 15));
      else if (b < 0x80 && chance(10)) out += concat("\\", std::to_string(b >> 6), std::to_string((b >> 3) & 7), std::to_string(b & 7));
      else out += c;
    }
    return out;
  }
  static std::string hex(int v) { return {"0123456789abcdef"[v]}; }
  std::string csv_field(const std::string& value, const Options& o) {
    const bool needs = value.find_first_of(std::string("\r\n\\") + o.delimiter + o.quote) != std::string::npos;
    if (!needs && !chance(4)) return value;
    std::string out(1, o.quote);
    for (const char c : value) {
      if (c == o.quote || c == o.escape) out += o.escape;
      out += c;
    }
    return out + o.quote;
  }
  std::string noise(const Options& o) {
    std::string out;
    const std::string d(1, o.delimiter), q(1, o.quote), e(1, o.escape);
    for (std::size_t i = below(14); i > 0; --i) out += pick<std::string>({d, d, q, q, e, "\\", "\n", "\r", "\r\n", ".", "\\.", "5", "a", "x4", o.null, newline_});
    return out + newline_;
  }

  std::mt19937 random_;
  std::string newline_ = "\n";
};

// One COPY into `table`. Its SQLSTATE; empty: it was loaded.
class Copy {
 public:
  Copy(const std::string& table, const std::string& tail) {
    PGresult* const result = PQexec(server().raw(), concat("COPY ", table, " ", tail).c_str());
    started_ = PQresultStatus(result) == PGRES_COPY_IN;
    PQclear(result);
  }
  // Options may not fit each other.
  [[nodiscard]] bool started() const { return started_; }
  void put(std::string_view bytes) { EXPECT_EQ(PQputCopyData(server().raw(), bytes.data(), static_cast<int>(bytes.size())), 1); }
  std::string end() {
    EXPECT_EQ(PQputCopyEnd(server().raw(), nullptr), 1);
    std::string state;
    while (PGresult* result = PQgetResult(server().raw())) {
      if (const char* code = PQresultErrorField(result, PG_DIAG_SQLSTATE)) state = code;
      PQclear(result);
    }
    return state;
  }

 private:
  bool started_ = false;
};

std::string load(const std::string& table, const std::string& tail, std::string_view data) {
  Copy copy(table, tail);
  if (!copy.started()) return "42601";
  copy.put(data);
  return copy.end();
}

SplitCopy split(const Case& c, Generator& random) {
  CopySplitter splitter({&c.plan, &hash_map(), true});
  SplitCopy out;
  for (std::size_t at = 0; at < c.data.size() && out.error.empty();) {
    const std::size_t size = 1 + random.below(20);
    out.give(splitter, as_bytes(std::string_view(c.data).substr(at, size)));
    at += size;
  }
  out.finish(splitter);
  return out;
}

class CopyDifferential {
 public:
  explicit CopyDifferential(KeyType type) : type_(type) {
    const char* const name = type == KeyType::text ? "text" : type == KeyType::uuid ? "uuid" : "bigint";
    for (const std::string& table : tables())
      server().exec(concat("DROP TABLE IF EXISTS ", table, "; CREATE TABLE ", table, " (k ", name, " NOT NULL, a text, b text)"));
  }

  void check(const Case& c, Generator& random) {
    const std::string about = concat("COPY t ", c.tail, "\n<", c.data, ">");
    for (const std::string& table : tables()) server().exec("TRUNCATE " + table);
    const std::string direct = load("one", c.tail, c.data);
    if (direct == "42601") return;
    const SplitCopy parts = split(c, random);
    std::string failed = parts.error.substr(0, 5);
    for (std::size_t i = 0; i < kShards && failed.empty(); ++i) failed = load(concat("part", std::to_string(i)), c.tail, parts.shards[i]);
    ASSERT_EQ(direct.empty(), failed.empty()) << about << "\nPostgreSQL: " << direct << ", split: " << failed;
    (direct.empty() ? loaded : refused) += 1;
    if (!direct.empty()) return;
    ASSERT_EQ(server().value("SELECT coalesce(string_agg(x::text, '; '), '') FROM (TABLE one EXCEPT ALL (TABLE part0 UNION ALL TABLE part1 UNION ALL TABLE part2 UNION ALL TABLE part3)) x"), "")
        << about;
    for (std::size_t i = 0; i < kShards; ++i) {
      const std::string elsewhere = concat(schema::bucket_sql("k", type_, config::HashFunction::hash, kShards), " <> ", std::to_string(i));
      ASSERT_EQ(server().value(concat("SELECT count(*) FROM part", std::to_string(i), " WHERE ", elsewhere)), "0") << about;
    }
    ASSERT_EQ(server().value("SELECT count(*) FROM one"),
              server().value("SELECT (SELECT count(*) FROM part0) + (SELECT count(*) FROM part1) + (SELECT count(*) FROM part2) + (SELECT count(*) FROM part3)"));
  }

  int loaded = 0, refused = 0;

 private:
  static std::vector<std::string> tables() { return {"one", "part0", "part1", "part2", "part3"}; }
  KeyType type_;
};

void run(KeyType type, bool binary, int cases, unsigned seed) {
  CopyDifferential differential(type);
  Generator random(seed);
  for (int i = 0; i < cases; ++i) {
    differential.check(binary ? random.binary(type) : random.text_or_csv(type), random);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(differential.loaded, cases / 5);
  EXPECT_GT(differential.refused, cases / 50);
}

TEST(CopyPg, random_text_and_csv_with_integer_keys) { run(KeyType::int8, false, 700, 1); }
TEST(CopyPg, random_text_and_csv_with_text_keys) { run(KeyType::text, false, 700, 2); }
TEST(CopyPg, random_text_and_csv_with_uuid_keys) { run(KeyType::uuid, false, 150, 3); }
TEST(CopyPg, random_binary_with_integer_keys) { run(KeyType::int8, true, 250, 4); }
TEST(CopyPg, random_binary_with_text_keys) { run(KeyType::text, true, 250, 5); }
TEST(CopyPg, random_binary_with_uuid_keys) { run(KeyType::uuid, true, 100, 6); }

}  // namespace
}  // namespace weir::router::copy
