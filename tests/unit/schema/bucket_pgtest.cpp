// Buckets and keys against the server's own functions: every value is sent to PostgreSQL, which hashes or reads it
// itself.

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "schema/bucket.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::schema {
namespace {

using config::HashFunction;
using tests::PgConnection;

PgConnection& server() {
  static tests::Clusters clusters(1);
  static PgConnection connection(clusters.conninfo(0));
  return connection;
}

// A text[] literal.
std::string array_of(const std::vector<std::string>& values) {
  std::string out = "{";
  for (const std::string& v : values) {
    out += out.size() == 1 ? "\"" : ",\"";
    for (char c : v) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out + "}";
}

// `expression` over x, which is the text of each value in turn; one text a value.
std::vector<std::string> ask(const std::string& expression, const std::vector<std::string>& values) {
  const auto rows = server().exec(
      "SELECT " + expression + " FROM unnest($1::text[]) WITH ORDINALITY AS v(x, n) ORDER BY n", {array_of(values)});
  std::vector<std::string> out;
  for (const auto& row : rows) out.push_back(row[0].value_or("NULL"));
  return out;
}

const std::vector<std::uint64_t> kSeeds{0, 1, 42, 0xffffffff, 0x100000000, 0x8000000000000001};

std::string seed_sql(std::uint64_t seed) { return "(" + std::to_string(static_cast<std::int64_t>(seed)) + ")::bigint"; }

std::vector<std::int64_t> integers() {
  std::vector<std::int64_t> values;
  for (std::int64_t edge :
       {std::int64_t{std::numeric_limits<std::int16_t>::min()}, std::int64_t{std::numeric_limits<std::int16_t>::max()},
        std::int64_t{std::numeric_limits<std::int32_t>::min()}, std::int64_t{std::numeric_limits<std::int32_t>::max()},
        std::int64_t{1} << 32, -(std::int64_t{1} << 32), std::int64_t{1} << 62}) {
    for (std::int64_t d = -2; d <= 2; ++d) values.push_back(edge + d);
  }
  for (std::int64_t d = 0; d < 3; ++d) {
    values.push_back(std::numeric_limits<std::int64_t>::min() + d);
    values.push_back(std::numeric_limits<std::int64_t>::max() - d);
  }
  for (std::int64_t v = -500; v <= 500; ++v) values.push_back(v);
  std::mt19937_64 random(20240101);
  for (int i = 0; i < 2000; ++i) values.push_back(static_cast<std::int64_t>(random() >> random() % 64));
  return values;
}

std::vector<std::string> as_texts(const std::vector<std::int64_t>& values) {
  std::vector<std::string> out;
  for (std::int64_t v : values) out.push_back(std::to_string(v));
  return out;
}

// Every length from 0 to 40, then long ones and such with characters of two to four bytes.
std::vector<std::string> texts() {
  std::vector<std::string> values;
  std::mt19937_64 random(20240102);
  for (std::size_t length = 0; length <= 40; ++length) {
    for (int i = 0; i < 10; ++i) {
      std::string s;
      for (std::size_t k = 0; k < length; ++k) s.push_back(static_cast<char>(' ' + random() % 95));
      values.push_back(s);
    }
  }
  for (std::size_t length : {63U, 64U, 65U, 255U, 1000U, 100'003U}) values.emplace_back(length, 'x');
  for (int i = 0; i < 200; ++i) {
    std::string s;
    for (std::uint64_t k = 0; k < random() % 20; ++k) s += random() % 2 ? "é" : random() % 2 ? "日本" : "🐘";
    values.push_back(s);
  }
  return values;
}

std::vector<std::string> uuids() {
  std::vector<std::string> values{"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"};
  std::mt19937_64 random(20240103);
  for (int i = 0; i < 1000; ++i) {
    Uuid uuid;
    for (auto& b : uuid) b = static_cast<std::uint8_t>(random());
    values.push_back(KeyValue(uuid).str());
  }
  return values;
}

TEST(BucketOnServer, IntegersHashAlikeForEverySeed) {
  const auto values = integers();
  for (std::uint64_t seed : kSeeds) {
    const auto hashes = ask("hashint8extended(x::bigint, " + seed_sql(seed) + ")", as_texts(values));
    ASSERT_EQ(hashes.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::to_string(static_cast<std::int64_t>(hash_int8_extended(values[i], seed))), hashes[i])
          << values[i] << ", seed " << seed;
    }
  }
}

TEST(BucketOnServer, NarrowIntegersHashAsWideOnes) {
  const std::vector<std::string> values = as_texts({-32768, -1, 0, 1, 32767});
  EXPECT_EQ(ask("hashint2extended(x::smallint, 0)", values), ask("hashint8extended(x::bigint, 0)", values));
  EXPECT_EQ(ask("hashint4extended(x::integer, 0)", values), ask("hashint8extended(x::bigint, 0)", values));
}

TEST(BucketOnServer, TextsHashAlikeForEverySeed) {
  const auto values = texts();
  for (std::uint64_t seed : kSeeds) {
    const auto hashes = ask("hashtextextended(x, " + seed_sql(seed) + ")", values);
    ASSERT_EQ(hashes.size(), values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::to_string(static_cast<std::int64_t>(hash_bytes_extended(as_bytes(values[i]), seed))), hashes[i])
          << values[i];
    }
  }
}

TEST(BucketOnServer, UuidsHashAlikeForEverySeed) {
  const auto values = uuids();
  for (std::uint64_t seed : kSeeds) {
    const auto hashes = ask("uuid_hash_extended(x::uuid, " + seed_sql(seed) + ")", values);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const Uuid uuid = key_from_text(KeyType::uuid, values[i])->uuid();
      ASSERT_EQ(std::to_string(static_cast<std::int64_t>(hash_bytes_extended(ByteView(uuid), seed))), hashes[i])
          << values[i];
    }
  }
}

// bucket_sql() over the key's column against bucket_of() of the same key.
void compare_buckets(KeyType type, HashFunction function, std::uint32_t buckets,
                     const std::vector<std::string>& values) {
  const std::string column = "(x::" + std::string(name_of(type)) + ")";
  const auto on_server = ask(bucket_sql(column, type, function, buckets), values);
  ASSERT_EQ(on_server.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto key = key_from_text(type, values[i]);
    ASSERT_TRUE(key) << values[i];
    ASSERT_EQ(std::to_string(bucket_of(*key, function, buckets)), on_server[i])
        << name_of(type) << " " << values[i] << " of " << buckets;
  }
}

TEST(BucketOnServer, TheSqlExpressionGivesTheSameBucketForEveryKeyType) {
  const std::vector<std::string> narrow = as_texts({-32768, -4097, -1, 0, 1, 42, 32767});
  for (std::uint32_t buckets : {1U, 2U, 16U, 4096U, 65536U}) {
    compare_buckets(KeyType::int2, HashFunction::hash, buckets, narrow);
    compare_buckets(KeyType::int4, HashFunction::hash, buckets, narrow);
    compare_buckets(KeyType::int8, HashFunction::hash, buckets, as_texts(integers()));
    compare_buckets(KeyType::text, HashFunction::hash, buckets, texts());
    compare_buckets(KeyType::varchar, HashFunction::hash, buckets, texts());
    compare_buckets(KeyType::uuid, HashFunction::hash, buckets, uuids());
  }
}

TEST(BucketOnServer, ModuloGivesTheSameBucketForNegativeKeys) {
  const std::vector<std::string> narrow = as_texts({-32768, -11, -10, -9, -1, 0, 1, 9, 10, 32767});
  for (std::uint32_t buckets : {1U, 3U, 10U, 1000U}) {
    compare_buckets(KeyType::int2, HashFunction::modulo, buckets, narrow);
    compare_buckets(KeyType::int4, HashFunction::modulo, buckets, narrow);
    compare_buckets(KeyType::int8, HashFunction::modulo, buckets, as_texts(integers()));
  }
}

// The server's own reading, or NULL where it raises an error.
void create_reader(const std::string& type) {
  server().exec("CREATE OR REPLACE FUNCTION read_" + type +
                "(t text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN t::" + type +
                "; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$");
}

void compare_reading(const std::string& type_sql, KeyType type, const std::vector<std::string>& values) {
  create_reader(type_sql);
  const auto on_server = ask("read_" + type_sql + "(x)", values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto key = key_from_text(type, values[i]);
    EXPECT_EQ(key ? key->str() : "NULL", on_server[i]) << type_sql << " '" << values[i] << "'";
  }
}

TEST(KeyOnServer, IntegersAreReadAsTheInputFunctionsRead) {
  std::vector<std::string> values{"",
                                  " ",
                                  "+",
                                  "-",
                                  "+1",
                                  "-1",
                                  "--1",
                                  "+-1",
                                  "- 1",
                                  " 1",
                                  "1 ",
                                  "\t1\n",
                                  "\v1\f\r",
                                  "1 2",
                                  "1.0",
                                  "1e3",
                                  "0x10",
                                  "1_0",
                                  "abc",
                                  "1a",
                                  "00000000000000000001",
                                  "-0",
                                  "99999999999999999999",
                                  "\xc2\xa0"
                                  "1"};
  for (const std::string& v : as_texts(integers())) values.push_back(v);
  values.insert(values.end(),
                {"9223372036854775808", "-9223372036854775809", "32768", "-32769", "2147483648", "-2147483649"});
  compare_reading("int2", KeyType::int2, values);
  compare_reading("int4", KeyType::int4, values);
  compare_reading("int8", KeyType::int8, values);
}

TEST(KeyOnServer, UuidsAreReadAsTheInputFunctionReads) {
  const std::string hex = "a0eebc999c0b4ef8bb6d6bb9bd380a11";
  std::vector<std::string> values{hex,           "{" + hex + "}", "{" + hex, hex + "}", " " + hex, hex + " ",
                                  hex.substr(1), hex + "1",       "",        "{}",      "{",       "}"};
  // A hyphen, or two, at every place.
  for (std::size_t i = 0; i <= hex.size(); ++i) {
    std::string one = hex;
    values.push_back(one.insert(i, "-"));
    values.push_back(one.insert(i, "-"));
    values.push_back("{" + std::string(hex).insert(i, "-") + "}");
    std::string bad = hex;
    if (i < hex.size()) bad[i] = 'g';
    values.push_back(bad);
  }
  compare_reading("uuid", KeyType::uuid, values);
}

TEST(KeyOnServer, NumbersEqualTheIntegersThatTheServerFinds) {
  for (const char* literal : {"42", "42.0", "42.", "4.2e1", "4.2E+1", "420e-1", ".42e2", "-7", "-7.000", "1e3", "1e18",
                              "9223372036854775807.0", "-9223372036854775808", "0e10", "0.00"}) {
    const auto key = key_from_number(KeyType::int8, literal);
    ASSERT_TRUE(key) << literal;
    EXPECT_EQ(server().value("SELECT " + key->str() + "::numeric = " + literal), "t") << literal;
  }
  for (const char* literal : {"42.5", "1e-1", "9223372036854775808", "1e19"}) {
    EXPECT_FALSE(key_from_number(KeyType::int8, literal)) << literal;
    EXPECT_EQ(server().value(std::string("SELECT count(*) FROM (SELECT ") + literal +
                             " AS v) q WHERE v = trunc(v) AND v < 9223372036854775808"),
              "0");
  }
}

TEST(KeyOnServer, BinaryNumericsAreReadAsTheServerSendsThem) {
  for (const char* literal :
       {"0", "0.00", "42", "-42", "42.0", "10000", "123456789012345678", "9223372036854775807", "-9223372036854775808",
        "100000000", "42.5", "0.5", "9223372036854775808", "1e20", "NaN", "Infinity", "-0.0001"}) {
    const std::string hex =
        server().value(std::string("SELECT encode(numeric_send('") + literal + "'::numeric), 'hex')");
    std::string binary;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
      binary.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    const auto key = key_from_parameter(KeyType::int8, oid::kNumeric, true, as_bytes(binary));
    const std::string is_key = server().value(
        std::string("SELECT CASE WHEN v IN ('NaN', 'Infinity') THEN NULL WHEN v = trunc(v) AND v BETWEEN "
                    "-9223372036854775808 AND 9223372036854775807 THEN trunc(v)::text END FROM (SELECT '") +
        literal + "'::numeric AS v) q");
    EXPECT_EQ(key ? key->str() : "NULL", is_key) << literal;
  }
}

}  // namespace
}  // namespace weir::schema
