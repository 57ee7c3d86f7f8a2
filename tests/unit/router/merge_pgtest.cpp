// The order of values against PostgreSQL's own: every pair of values of every type, and of texts in a locale's collation.

#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/strings.hpp"
#include "router/merge/gathered_rows.hpp"
#include "router/merge/order.hpp"
#include "tests/support/clusters.hpp"
#include "tests/support/pg_connection.hpp"

namespace weir::router::merge {
namespace {

using tests::PgConnection;
using PgResult = std::unique_ptr<PGresult, decltype(&PQclear)>;

// A locale of this test's own, which the server and this process both find by LOCPATH; removed at the end.
class OwnLocale {
 public:
  OwnLocale() : folder_(concat("/tmp/weir_locale_", std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
    const std::string command = concat("localedef -i en_US -f UTF-8 ", folder_, "/en_US.UTF-8 >/dev/null 2>&1");
    made_ = std::system(command.c_str()) == 0;
    setenv("LOCPATH", folder_.c_str(), 1);
  }
  ~OwnLocale() { std::filesystem::remove_all(folder_); }
  [[nodiscard]] bool made() const { return made_; }

 private:
  std::string folder_;
  bool made_ = false;
};

OwnLocale& own_locale() {
  static OwnLocale locale;
  return locale;
}

tests::Clusters& clusters() {
  own_locale();
  static tests::Clusters one(1);
  return one;
}

PgConnection& server() {
  static PgConnection connection(clusters().conninfo(0));
  return connection;
}

PgResult ask(PgConnection& connection, const std::string& sql) {
  PgResult result(PQexecParams(connection.raw(), sql.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 1), &PQclear);
  EXPECT_EQ(PQresultStatus(result.get()), PGRES_TUPLES_OK) << sql << PQresultErrorMessage(result.get());
  return result;
}

ByteView value_of(const PgResult& result, int row, int column) {
  return {reinterpret_cast<const std::uint8_t*>(PQgetvalue(result.get(), row, column)), static_cast<std::size_t>(PQgetlength(result.get(), row, column))};
}

int sign(int v) { return (v > 0) - (v < 0); }

// Every pair of `values` (SQL expressions) of `type`.
void compare_all(PgConnection& connection, const std::string& type, const std::vector<std::string>& values, const CollationRef& collation) {
  std::string list;
  for (const std::string& v : values) list += concat(list.empty() ? "(" : "),(", v, "::", type);
  const std::string rows = concat("(VALUES ", list, ")) ");
  const PgResult result = ask(connection, concat("SELECT a.v, b.v, CASE WHEN a.v < b.v THEN 'l' WHEN a.v > b.v THEN 'g' ELSE 'e' END, a.v::text, b.v::text FROM ",
                                                 rows, "a(v) CROSS JOIN ", rows, "b(v)"));
  const auto order = ValueOrder::of(PQftype(result.get(), 0), collation);
  ASSERT_TRUE(order) << type << ": " << order.error().message;
  ASSERT_EQ(PQntuples(result.get()), static_cast<int>(values.size() * values.size()));
  for (int i = 0; i < PQntuples(result.get()); ++i) {
    const ByteView a = value_of(result, i, 0), b = value_of(result, i, 1);
    ASSERT_TRUE(order->fits(a)) << type << ' ' << PQgetvalue(result.get(), i, 3);
    const char told = *PQgetvalue(result.get(), i, 2);
    EXPECT_EQ(sign(order->compare(a, b)), told == 'l' ? -1 : told == 'g' ? 1 : 0)
        << type << ": " << PQgetvalue(result.get(), i, 3) << " and " << PQgetvalue(result.get(), i, 4);
  }
}

struct Values {
  std::string type;
  std::vector<std::string> values;
};

const std::vector<std::string> kTexts{"''", "'a'", "'A'", "'b'", "'B'", "'ab'", "'a b'", "'a-b'", "'a_b'", "'a  b'", "'ä'", "'Ä'", "'z'", "'Z'", "'é'", "'e'", "'E'",
                                      "'10'", "'9'", "' a'", "'a '", "'ß'", "'ss'", "'日本'", "'日'", "'€'", "'-'", "'_'", "'a.b'", "E'a\\u0301'", "'á'", "E'\\t'", "'co-op'", "'coop'", "'CO-OP'", "'resume'", "'résumé'", "'Resume'"};

const std::vector<Values> kTypes{
    {"bool", {"true", "false"}},
    {"bytea", {"''", "'\\x00'", "'\\x0000'", "'\\xff'", "'\\x80ff'", "'\\x7f'"}},
    {"\"char\"", {"'a'", "'b'", "'\\200'", "''"}},
    {"name", {"''", "'a'", "'B'", "'ab'", "'ä'"}},
    {"int2", {"'-32768'", "'-1'", "'0'", "'1'", "'256'", "'32767'"}},
    {"int4", {"'-2147483648'", "'-1'", "'0'", "'1'", "'65536'", "'2147483647'"}},
    {"int8", {"'-9223372036854775808'", "'-1'", "'0'", "'1'", "'4294967296'", "'9223372036854775807'"}},
    {"oid", {"'0'", "'1'", "'2147483648'", "'4294967295'"}},
    {"float4", {"'-Infinity'", "'-1.5'", "'-0'", "'0'", "'1e-40'", "'1'", "'Infinity'", "'NaN'", "'-NaN'"}},
    {"float8", {"'-Infinity'", "'-1.5'", "'-0'", "'0'", "'1e-310'", "'1'", "'1e300'", "'Infinity'", "'NaN'"}},
    {"numeric", {"'-Infinity'", "'-10000'", "'-9999.9999'", "'-1'", "'-0.0001'", "'0'", "'0.00'", "'0.0001'", "'0.00010'", "'1'", "'1.0000'", "'1.00000001'", "'9999'", "'10000'", "'10000.1'",
                 "'99990000'", "'1e100'", "'1e-100'", "'-1e-100'", "'-1e100'", "'Infinity'", "'NaN'"}},
    {"money", {"'-1'", "'0'", "'0.01'", "'92233720368547758.07'"}},
    {"date", {"'-infinity'", "'4713-01-01 BC'", "'1999-12-31'", "'2000-01-01'", "'2024-02-29'", "'infinity'"}},
    {"time", {"'00:00'", "'00:00:00.000001'", "'12:00'", "'24:00'"}},
    {"timetz", {"'12:00+00'", "'13:00+01'", "'12:00+01'", "'11:00-01'", "'00:00+14'", "'23:59-14'", "'12:00:00.000001+00'"}},
    {"timestamp", {"'-infinity'", "'1999-12-31 23:59:59.999999'", "'2000-01-01'", "'2024-01-01 12:00'", "'infinity'"}},
    {"timestamptz", {"'-infinity'", "'2000-01-01 00:00+00'", "'2000-01-01 01:00+01'", "'2024-01-01 12:00+00'", "'infinity'"}},
    {"interval", {"'0'", "'1 month'", "'30 days'", "'31 days'", "'29 days 24:00'", "'720:00'", "'-1 month'", "'1 mon -30 days'", "'178000000 years'", "'-178000000 years'", "'1 microsecond'"}},
    {"uuid", {"'00000000-0000-0000-0000-000000000000'", "'7fffffff-0000-0000-0000-000000000000'", "'80000000-0000-0000-0000-000000000000'", "'80000000-0000-0000-0000-000000000001'"}},
    {"bit varying", {"B''", "B'0'", "B'1'", "B'00'", "B'01'", "B'10000000'", "B'100000001'", "B'10000000000'"}},
    {"inet", {"'10.0.0.1'", "'10.0.0.1/24'", "'10.0.0.0/8'", "'10.0.0.0/9'", "'10.128.0.0/9'", "'9.255.255.255'", "'::1'", "'::/0'", "'fe80::/10'", "'0.0.0.0/0'", "'10.0.0.2/24'"}},
    {"cidr", {"'10.0.0.0/8'", "'10.0.0.0/9'", "'10.128.0.0/9'", "'::/0'"}},
    {"macaddr", {"'00:00:00:00:00:00'", "'80:00:00:00:00:00'", "'7f:ff:ff:ff:ff:ff'"}},
    {"macaddr8", {"'00:00:00:00:00:00:00:00'", "'80:00:00:00:00:00:00:00'", "'7f:ff:ff:ff:ff:ff:ff:ff'"}},
    {"pg_lsn", {"'0/0'", "'0/FFFFFFFF'", "'1/0'", "'FFFFFFFF/0'"}},
    {"xid8", {"'0'", "'4294967296'", "'18446744073709551615'"}},
};

TEST(ValueOrderOnServer, EveryTypeIsOrderedAsPostgresqlOrdersIt) {
  const auto by_bytes = std::make_shared<const Collation>();
  for (const Values& v : kTypes) compare_all(server(), v.type, v.values, by_bytes);
}

TEST(ValueOrderOnServer, TextIsOrderedByTheDatabasesLocale) {
  static_cast<void>(clusters());
  if (!own_locale().made()) GTEST_SKIP() << "localedef or its sources are not installed";
  server().exec("CREATE DATABASE english LOCALE 'en_US.UTF-8' TEMPLATE template0");
  std::string conninfo = clusters().conninfo(0);
  PgConnection english(conninfo.replace(conninfo.find("dbname=app"), 10, "dbname=english"));
  const std::string version = english.value("SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = 'english'");
  const auto collation = Collation::open({'c', "en_US.UTF-8", version});
  ASSERT_TRUE(collation) << collation.error().message;
  EXPECT_FALSE((*collation)->is_c());
  for (const char* type : {"text", "varchar", "char(12)"}) compare_all(english, type, kTexts, *collation);
}

TEST(ValueOrderOnServer, TextIsOrderedByBytes) {
  const auto by_bytes = Collation::open({'c', "C.UTF-8", ""});
  ASSERT_TRUE(by_bytes);
  for (const char* type : {"text", "varchar", "char(12)"}) compare_all(server(), type, kTexts, *by_bytes);
}

// What gathered rows become on a server is what they were on theirs.
TEST(GatheredRowsOnServer, AnArrayHoldsWhatTheRowsHeld) {
  const std::string source =
      "SELECT * FROM (VALUES (1, 'a\"b\\c{}'::text, 1.50::numeric, 0.1::float8, '2024-01-01 00:00+00'::timestamptz), (NULL, '', NULL, 'NaN', 'infinity'),"
      "(3, 'NULL', -0.00, 1e-300, NULL)) v(a, b, c, d, e)";
  const PgResult rows = ask(server(), source);
  std::vector<std::uint32_t> types;
  for (int c = 0; c < PQnfields(rows.get()); ++c) types.push_back(PQftype(rows.get(), c));
  GatheredRows gathered(types);
  for (int r = 0; r < PQntuples(rows.get()); ++r) {
    std::string body{'\0', static_cast<char>(types.size())};
    for (int c = 0; c < PQnfields(rows.get()); ++c) {
      const auto length = PQgetisnull(rows.get(), r, c) != 0 ? 0xffffffffU : static_cast<std::uint32_t>(PQgetlength(rows.get(), r, c));
      for (int shift = 24; shift >= 0; shift -= 8) body += static_cast<char>(length >> shift);
      if (length != 0xffffffff) body += as_text(value_of(rows, r, c));
    }
    ASSERT_TRUE(gathered.add(as_bytes(body)));
  }
  const std::vector<Oid> arrays{1007, 1009, 1231, 1022, 1185};
  std::vector<std::string> encoded;
  std::vector<const char*> values;
  std::vector<int> lengths, formats(arrays.size(), 1);
  for (std::size_t i = 0; i < types.size(); ++i) {
    ByteBuffer out;
    gathered.write_array(i, out);
    encoded.emplace_back(as_text(out.view()));
  }
  for (const std::string& e : encoded) values.push_back(e.data()), lengths.push_back(static_cast<int>(e.size()));
  const std::string same = concat("SELECT count(*)::text, bool_and(g::text = s::text)::text FROM (", source,
                                  ") s JOIN unnest($1, $2, $3, $4, $5) g(a, b, c, d, e) ON g.b = s.b");
  const PgResult told(PQexecParams(server().raw(), same.c_str(), 5, arrays.data(), values.data(), lengths.data(), formats.data(), 0), &PQclear);
  ASSERT_EQ(PQresultStatus(told.get()), PGRES_TUPLES_OK) << PQresultErrorMessage(told.get());
  EXPECT_STREQ(PQgetvalue(told.get(), 0, 0), "3");
  EXPECT_STREQ(PQgetvalue(told.get(), 0, 1), "true");
}

}  // namespace
}  // namespace weir::router::merge
