// What a bad file gets: every mistake with its line, its key and what is allowed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/unit/config/config_file.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Lines = std::vector<std::string>;

Lines problems_of(const std::string& text, std::string_view users = kUsers) {
  return ConfigFile(text, users).problems();
}

// Mistakes in front of, or at the end of, an otherwise good file with a plain database (five lines).
Lines problems_before(const std::string& text) { return problems_of(text + std::string(kPlainDatabase)); }
Lines problems_after(const std::string& text) { return problems_of(std::string(kPlainDatabase) + text); }

// A sharded database of two shards; `sharding`, `s0` and `s1` are the keys of those tables.
Lines problems_sharded(const std::string& sharding, const std::string& s0, const std::string& s1,
                       const std::string& rest = "") {
  return problems_of("[[database]]\nname = 'app'\n[database.sharding]\n" + sharding +
                     "\n[[database.shard]]\nname = 's0'\n" + s0 + "\n[[database.shard]]\nname = 's1'\n" + s1 + "\n" +
                     rest);
}
const std::string kA = "primary = 'host=a dbname=app'\n";
const std::string kB = "primary = 'host=b dbname=app'\n";
Lines problems_in_table(const std::string& tables) {
  return problems_sharded("buckets = 2", kA + "buckets = '0'", kB + "buckets = '1'",
                          tables);  // tables begin in line 13
}

TEST(Mistakes, TenInOneFileAreAllReportedInTheOrderOfTheirLines) {
  const auto found = problems_of(R"([listen]
port = "many"
adress = "127.0.0.1"
[pool]
size = 0
wait_timeout = "30 s"
mode = "txn"
[[database]]
name = "pgbouncer"
  [database.sharding]
  buckets = 1000
  [[database.shard]]
  name = "s0"
  buckets = "0-599"
  [[database.shard]]
  name = "s1"
  buckets = "500-1000"
  primary = "host=a,b dbname=app"
  [[database.table]]
  name = "orders"
)");
  EXPECT_THAT(
      found, ElementsAre(
                 "weir.toml:2: listen.port: expected an integer from 0 to 65535, got \"many\"",
                 "weir.toml:3: listen.adress: unknown key: did you mean \"address\"?",
                 "weir.toml:5: pool.size: expected an integer from 1 to 262143, got 0",
                 "weir.toml:6: pool.wait_timeout: expected a duration from \"0\" to \"24h\", written like \"500ms\", "
                 "\"30s\", \"10m\" or \"1h\", got \"30 s\"",
                 "weir.toml:7: pool.mode: expected \"session\" or \"transaction\" or \"statement\", got \"txn\"",
                 "weir.toml:9: database.pgbouncer.name: \"pgbouncer\" is reserved for the console: choose another name",
                 "weir.toml:11: database.pgbouncer.sharding.buckets: expected a power of two with function = \"hash\", "
                 "got 1000: 512 and 1024 are the nearest",
                 "weir.toml:12: database.pgbouncer.shard.s0.primary: missing: expected a libpq connection string that "
                 "names one host and a dbname",
                 "weir.toml:17: database.pgbouncer.shard.s1.buckets: bucket 1000 is out of range: "
                 "database.pgbouncer.sharding.buckets is 1000, so buckets are 0 to 999",
                 "weir.toml:17: database.pgbouncer.shard.s1.buckets: buckets 500-599 are held by shard s0 and by shard "
                 "s1: each bucket belongs to one shard",
                 "weir.toml:18: database.pgbouncer.shard.s1.primary: expected a libpq connection string that names one "
                 "host and a dbname: it names several hosts "
                 "(\"host\" has a comma): one host a string; list the others under replicas",
                 "weir.toml:19: database.pgbouncer.table.orders.key: missing: expected the column that decides the "
                 "shard, or reference = true"));
}

TEST(Mistakes, UnknownKeysSayWhatWasPerhapsMeant) {
  EXPECT_THAT(problems_before("[pool]\nSize = 3\n"),
              ElementsAre("weir.toml:2: pool.Size: unknown key: did you mean \"size\"?"));
  EXPECT_THAT(problems_before("[lod]\n"), ElementsAre("weir.toml:1: lod: unknown key: did you mean \"log\"?"));
  EXPECT_THAT(problems_before("[log]\ncolourful = true\n"),
              ElementsAre("weir.toml:2: log.colourful: unknown key: known here: level, format, slow_query, stats_interval, "
                          "connections, disconnections"));
  EXPECT_THAT(problems_after("[database.shards]\n"),
              ElementsAre("weir.toml:6: database.app.shards: unknown key: did you mean \"shard\"?"));
}

TEST(Mistakes, WrongTypesNameWhatCame) {
  EXPECT_THAT(
      problems_before("[listen]\naddress = 5\nport = 1.5\nworkers = true\n"),
      ElementsAre(
          "weir.toml:2: listen.address: expected a string of 1 to 255 bytes, or an array of such strings, got 5",
          "weir.toml:3: listen.port: expected an integer from 0 to 65535, got a number with a fraction",
          "weir.toml:4: listen.workers: expected an integer from 0 to 1024, got true"));
  EXPECT_THAT(problems_before("[listen]\naddress = [\n'::1',\n7]\n"),
              ElementsAre("weir.toml:4: listen.address: expected a string of 1 to 255 bytes, got 7"));
  EXPECT_THAT(problems_before("[[listen]]\n"),
              ElementsAre("weir.toml:1: listen: expected a table, written [listen] (once), got an array"));
  EXPECT_THAT(
      problems_of("[database]\nname = 'app'\n"),
      ElementsAre("weir.toml:1: database: expected an array of tables, each written [[database]], got a table"));
  EXPECT_THAT(
      problems_after("[[database.table]]\nname = 't'\nreference = 'yes'\nunique = 'yes'\n"),
      ElementsAre(
          "weir.toml:8: database.app.table.t.reference: expected true or false, got \"yes\"",
          "weir.toml:9: database.app.table.t.unique: expected \"per_shard\" (or leave the key out), got \"yes\""));
}

TEST(Mistakes, IntegersAndDurationsOutOfRangeAreRefused) {
  EXPECT_THAT(problems_before("[listen]\nport = 65536\nmax_clients = -1\n"),
              ElementsAre("weir.toml:2: listen.port: expected an integer from 0 to 65535, got 65536",
                          "weir.toml:3: listen.max_clients: expected an integer from 1 to 1000000, got -1"));
  EXPECT_THAT(problems_before("[health]\ninterval = '0'\ntimeout = '11m'\n"),
              ElementsAre("weir.toml:2: health.interval: expected a duration from \"10ms\" to \"1h\", written like "
                          "\"500ms\", \"30s\", \"10m\" or \"1h\", got \"0\"",
                          "weir.toml:3: health.timeout: expected a duration from \"10ms\" to \"10m\", written like "
                          "\"500ms\", \"30s\", \"10m\" or \"1h\", got \"11m\""));
  for (const std::string bad : {"'5'", "'s'", "'-1s'", "'1.5s'", "'1s '", "''", "30", "'1d'", "'9223372036854775807h'"})
    EXPECT_THAT(problems_before("[pool]\nlifetime = " + bad + "\n"),
                ElementsAre(HasSubstr("pool.lifetime: expected a duration")))
        << bad;
}

TEST(Mistakes, ValuesAndKeysOfLaterVersionsAreRefusedByName) {
  EXPECT_THAT(problems_before("catalog = 'host=c'\n[limits]\n"),
              ElementsAre("weir.toml:1: catalog: this key is not supported by this version of Weir: the bucket map is the one in "
                          "this file; leave the key out",
                          "weir.toml:2: limits: this key is not supported by this version of Weir: leave the table out"));
  EXPECT_THAT(problems_in_table("[[database.table]]\nname = 't'\nkey = 'k'\nmonth = { column = 'c', layout = 'plain' }\n"),
              ElementsAre("weir.toml:16: database.app.table.t.month.layout: \"plain\" is not supported by this version "
                          "of Weir: use \"native\""));
  EXPECT_THAT(
      problems_after("[database.reads]\nbalance = 'weighted'\nin_transaction = 'until_first_write'\n"),
      ElementsAre(HasSubstr("weir.toml:7: database.app.reads.balance: \"weighted\" is not supported by this version"),
                  HasSubstr("weir.toml:8: database.app.reads.in_transaction: \"until_first_write\" is not supported by "
                            "this version")));
}

TEST(Mistakes, TlsNamesTheFilesItLacks) {
  EXPECT_THAT(problems_before("[tls]\nclient = 'verify-full'\n"),
              ElementsAre("weir.toml:1: tls.certificate: missing: expected the path of a PEM file (clients must use TLS)",
                          "weir.toml:1: tls.ca: missing: expected the path of a PEM file (it signs the clients' certificates)"));
  EXPECT_THAT(problems_before("[tls]\ncertificate = 'server.crt'\n"),
              ElementsAre("weir.toml:1: tls.key: missing: expected the path of a PEM file (the certificate's private key)"));
}

TEST(Mistakes, PeersHaveNumbersOfTheirOwn) {
  EXPECT_THAT(problems_before("[[peer]]\nid = 2\naddress = 'a:1'\n[[peer]]\nid = 2\naddress = 'b:1'\n"),
              ElementsAre(HasSubstr("peer")));
}

TEST(Mistakes, MissingBucketsAreListedAsRanges) {
  EXPECT_THAT(problems_sharded("buckets = 16", kA + "buckets = '0-3,9'", kB + "buckets = '12-14'"),
              ElementsAre("weir.toml:4: database.app.sharding.buckets: no shard holds 4-8,10-11,15: give each of the "
                          "16 buckets (0-15) to one shard"));
}

TEST(Mistakes, OverlappingBucketsNameBothShards) {
  EXPECT_THAT(problems_sharded("function = 'modulo'\nbuckets = 10", kA + "buckets = '0-5'", kB + "buckets = '3,5-9'"),
              ElementsAre("weir.toml:13: database.app.shard.s1.buckets: buckets 3,5 are held by shard s0 and by shard "
                          "s1: each bucket belongs to one shard"));
}

TEST(Mistakes, ABucketOutOfRangeNamesTheRange) {
  EXPECT_THAT(problems_sharded("buckets = 8", kA + "buckets = '0-3'", kB + "buckets = '4-8'"),
              ElementsAre("weir.toml:12: database.app.shard.s1.buckets: bucket 8 is out of range: "
                          "database.app.sharding.buckets is 8, so buckets are 0 to 7"));
}

TEST(Mistakes, BucketsMustBeAPowerOfTwoForHashOnly) {
  EXPECT_THAT(problems_sharded("buckets = 10", kA + "buckets = '0-4'", kB + "buckets = '5-9'"),
              ElementsAre("weir.toml:4: database.app.sharding.buckets: expected a power of two with function = "
                          "\"hash\", got 10: 8 and 16 are the nearest"));
  EXPECT_THAT(problems_sharded("function = 'modulo'\nbuckets = 10", kA + "buckets = '0-4'", kB + "buckets = '5-9'"),
              IsEmpty());
}

TEST(Mistakes, UnreadableOrMissingBucketsOfAShardAreReportedOnce) {
  EXPECT_THAT(problems_sharded("buckets = 8", kA + "buckets = '0-x'", kB),
              ElementsAre("weir.toml:8: database.app.shard.s0.buckets: expected buckets such as \"0-2047\", "
                          "\"0,10,20\" or \"0-9,40-49\", got \"0-x\": "
                          "\"0-x\" is neither a bucket nor a range of them",
                          "weir.toml:9: database.app.shard.s1.buckets: missing: expected buckets from 0 to 7 such as "
                          "\"0-7\", or \"\" for none"));
}

TEST(Mistakes, DuplicateNamesSayWhereTheFirstStands) {
  EXPECT_THAT(
      problems_after(std::string(kPlainDatabase)),
      ElementsAre(
          "weir.toml:7: database.app.name: a database named \"app\" stands in line 2 already: names must differ"));
  EXPECT_THAT(
      problems_of("[[database]]\nname = 'app'\n[database.sharding]\nbuckets = 2\n[[database.shard]]\nname = 's0'\n" +
                  kA + "buckets = '0'\n[[database.shard]]\nname = 's0'\n" + kB + "buckets = '1'\n"),
      ElementsAre("weir.toml:10: database.app.shard.s0.name: a shard named \"s0\" stands in line 6 already: names must "
                  "differ"));
  EXPECT_THAT(problems_of(std::string(kPlainDatabase),
                          "[[user]]\nname = 'a'\npassword = 'p'\n[[user]]\nname = 'a'\npassword = 'q'\n"),
              ElementsAre("users.toml:5: user.a.name: a user named \"a\" stands in line 2 already: names must differ"));
}

TEST(Mistakes, ATableHasOneRuleWhateverItsSchemaIsCalled) {
  const std::string first = "[[database.table]]\nname = 't'\nkey = 'k'\n";
  const std::string message =
      ": table t has a rule already (line 14): one rule a table; a name without schema means every schema";
  EXPECT_THAT(problems_in_table(first + first), ElementsAre("weir.toml:17: database.app.table.t.name" + message));
  EXPECT_THAT(problems_in_table(first + "[[database.table]]\nname = 'public.t'\nkey = 'k'\n"),
              ElementsAre("weir.toml:17: database.app.table.public.t.name" + message));
  EXPECT_THAT(
      problems_in_table("[[database.table]]\nname = 'a.t'\nkey = 'k'\n[[database.table]]\nname = 'b.t'\nkey = 'k'\n"),
      IsEmpty());
}

TEST(Mistakes, TheConsolesNamesAreReserved) {
  for (const std::string name : {"weir", "pgbouncer"})
    EXPECT_THAT(problems_of("[[database]]\nname = '" + name + "'\n[[database.shard]]\nname = 's'\n" + kA),
                ElementsAre("weir.toml:2: database." + name + ".name: \"" + name +
                            "\" is reserved for the console: choose another name"));
}

TEST(Mistakes, ADatabaseAndAShardMustBeThere) {
  EXPECT_THAT(
      problems_of(""),
      ElementsAre("weir.toml: database: missing: expected at least one [[database]] with a [[database.shard]]"));
  EXPECT_THAT(
      problems_of("[[database]]\nname = 'app'\n"),
      ElementsAre(
          "weir.toml:1: database.app.shard: missing: expected at least one [[database.shard]] with name and primary"));
  EXPECT_THAT(problems_of("[[database]]\n[[database.shard]]\n"),
              ElementsAre("weir.toml:1: database[0].name: missing: expected a string of 1 to 63 bytes",
                          "weir.toml:2: database[0].shard[0].name: missing: expected a name of 1 to 32 letters, "
                          "digits, \"_\" and \"-\"",
                          "weir.toml:2: database[0].shard[0].primary: missing: expected a libpq connection string that "
                          "names one host and a dbname"));
}

TEST(Mistakes, OnlyTheHomeShardOfWhatIsObservedNeedsAPrimary) {
  EXPECT_THAT(problems_sharded("buckets = 2\nmode = 'observe'", kA + "buckets = '0'", "buckets = '1'"), ElementsAre());
  EXPECT_THAT(problems_sharded("buckets = 2\nmode = 'observe'", "buckets = '0'", "buckets = '1'"),
              ElementsAre(HasSubstr("database.app.shard.s0.primary: missing: expected a libpq connection string")));
  EXPECT_THAT(problems_sharded("buckets = 2\nmode = 'route'", kA + "buckets = '0'", "buckets = '1'"),
              ElementsAre(HasSubstr("database.app.shard.s1.primary: missing: expected a libpq connection string")));
}

TEST(Mistakes, APlainDatabaseHasOneShardWithoutBuckets) {
  EXPECT_THAT(
      problems_after("[[database.shard]]\nname = 's1'\nbuckets = '0'\nprimary = 'host=b dbname=app'\n"),
      ElementsAre("weir.toml:6: database.app.shard.s1: a database without [database.sharding] has one shard, got 2: "
                  "add [database.sharding], or list copies of the data under replicas",
                  "weir.toml:8: database.app.shard.s1.buckets: a database without [database.sharding] has no buckets: "
                  "remove this key, or add [database.sharding]"));
}

TEST(Mistakes, TwoShardsMayNotShareAPrimary) {
  EXPECT_THAT(problems_sharded("buckets = 2", "primary = 'host=a dbname=app user=x'\nbuckets = '0'",
                               "primary = 'postgresql://a:5432/app'\nbuckets = '1'"),
              ElementsAre("weir.toml:11: database.app.shard.s1.primary: a:5432/app is the primary of shard s0 already: "
                          "each shard has a database of its own"));
}

TEST(Mistakes, OnlyAShardingKeyCanBeFilledIn) {
  EXPECT_THAT(problems_in_table("[[database.table]]\nname = 'a'\nkey = 'k'\ndefault_key = 'weir.next_id'\n"), ElementsAre());
  EXPECT_THAT(problems_in_table("[[database.table]]\nname = 'a'\nreference = true\ndefault_key = 'weir.next_id'\n"),
              ElementsAre("weir.toml:16: database.app.table.a.default_key: only a table with a sharding key, of a sharded database, can have one"));
  EXPECT_THAT(problems_in_table("[[database.table]]\nname = 'a'\nkey = 'k'\ndefault_key = 'uuid'\n"),
              ElementsAre(HasSubstr("a.default_key: expected \"weir.next_id\" (or leave the key out), got \"uuid\"")));
}

TEST(Mistakes, TableRulesNeedAKeyOrReferenceAndNotBoth) {
  EXPECT_THAT(
      problems_in_table("[[database.table]]\nname = 'a'\n[[database.table]]\nname = 'b'\nkey = 'k'\nreference = true\n"
                        "[[database.table]]\nname = 'c'\nkey = 'k'\nmonth = { ahead = 2 }\n[[database.table]]\nname = "
                        "'x.y.z'\nkey = 'k'\n"),
      ElementsAre("weir.toml:13: database.app.table.a.key: missing: expected the column that decides the shard, or "
                  "reference = true",
                  "weir.toml:17: database.app.table.b.key: both key and reference = true: a table is split by its key, "
                  "or the same on every shard",
                  "weir.toml:22: database.app.table.c.month.column: missing: expected a string of 1 to 63 bytes",
                  "weir.toml:24: database.app.table.x.y.z.name: expected \"table\" or \"schema.table\", each part "
                  "without dots"));
}

TEST(Mistakes, TheFallbackIsPlainAndAlone) {
  const std::string star = "[[database]]\nname = '*'\n", shard = "[[database.shard]]\nname = 'main'\nprimary = 'host=b'\n";
  EXPECT_THAT(problems_of(star + "[database.sharding]\nbuckets = 1\n" + shard + "buckets = '0'\n"), ElementsAre(HasSubstr("it cannot be sharded")));
  EXPECT_THAT(problems_of(star + shard + "replicas = ['host=c dbname=d']\n"),
              ElementsAre(HasSubstr("main.replicas: the database \"*\" stands for many: it has no replicas")));
  EXPECT_THAT(problems_of(star + shard + "[[database.table]]\nname = 't'\n"), ElementsAre(HasSubstr("it has no tables of its own")));
  EXPECT_THAT(problems_of(star + shard + star + shard), ElementsAre(HasSubstr("a database named \"*\" stands in line 2 already")));
  EXPECT_THAT(problems_of(star + shard), IsEmpty());
}

TEST(Mistakes, WithTheFallbackItMustBeSaidWhereUsersAreLookedUp) {
  EXPECT_THAT(problems_of("[auth]\nquery_user = 'app'\n[[database]]\nname = '*'\n[[database.shard]]\nname = 'main'\nprimary = 'host=b'\n"),
              ElementsAre(HasSubstr("auth.query_database: missing: with a [[database]] named \"*\" clients would choose")));
}

TEST(Mistakes, OnlyTheFallbackMayLackADbname) {
  EXPECT_THAT(problems_of("[[database]]\nname = 'app'\n[[database.shard]]\nname = 'main'\nprimary = 'host=b'\n"),
              ElementsAre("weir.toml:5: database.app.shard.main.primary: expected a libpq connection string that names one host and a dbname: "
                          "it names no database: add dbname=<name>"));
}

TEST(Mistakes, ReplicasAreStringsOrTablesWithAWeight) {
  EXPECT_THAT(
      problems_after("replicas = 'host=b dbname=app'\n"),
      ElementsAre("weir.toml:6: database.app.shard.s0.replicas: expected an array of libpq connection strings, or of "
                  "{ conninfo = \"...\", weight = 1 to 1000 }, got a string"));
  EXPECT_THAT(
      problems_after("replicas = [\n'host=b',\n{ weight = 0 },\n{ conninfo = 'host=b dbname=c', heft = 1 },\n3]\n"),
      ElementsAre(
          "weir.toml:7: database.app.shard.s0.replicas: expected a libpq connection string that names one host and a "
          "dbname: it names no database: add dbname=<name>",
          "weir.toml:8: database.app.shard.s0.replicas: expected an integer from 1 to 1000, got 0",
          "weir.toml:8: database.app.shard.s0.replicas: a replica without conninfo: expected { conninfo = \"host=... "
          "dbname=...\", weight = 1 }",
          "weir.toml:9: database.app.shard.s0.replicas: unknown key \"heft\" of a replica: it has conninfo and weight",
          "weir.toml:10: database.app.shard.s0.replicas: expected a libpq connection string that names one host and a "
          "dbname, got 3"));
}

TEST(Mistakes, MaintenanceMayNotLeadElsewhere) {
  EXPECT_THAT(
      problems_of("[[database]]\nname = 'app'\nmaintenance = 'user=m dbname=other'\n[[database.shard]]\nname = 's'\n" +
                  kA),
      ElementsAre(
          "weir.toml:3: database.app.maintenance: expected libpq connection parameters such as "
          "\"user=weir_maintenance\": it is wrong: "
          "\"dbname\" is not allowed: it overrides who logs in, not where; the backends' own strings say where"));
}

TEST(Mistakes, AnUnsetVariableIsNamed) {
  ::unsetenv("WEIR_TEST_UNSET");
  EXPECT_THAT(problems_before("[auth]\nusers_file = '${WEIR_TEST_UNSET}'\n"),
              ElementsAre("weir.toml:2: auth.users_file: the environment variable WEIR_TEST_UNSET is not set: set it, "
                          "or write $${ for a literal ${"));
  EXPECT_THAT(problems_before("[log]\nlevel = '${WEIR_TEST_UNSET'\nformat = '${1}'\n"),
              ElementsAre("weir.toml:2: log.level: a \"${\" without \"}\": write ${NAME} for an environment variable, "
                          "$${ for a literal ${",
                          "weir.toml:3: log.format: ${1} names no environment variable (letters, digits and _): write "
                          "$${ for a literal ${"));
}

TEST(Mistakes, AnUnreadableUsersFileIsNamed) {
  EXPECT_THAT(problems_before("[auth]\nusers_file = 'nobody.toml'\n"),
              ElementsAre("weir.toml:2: auth.users_file: cannot read nobody.toml: No such file or directory; expected "
                          "a readable file of [[user]] tables, or of PgBouncer's \"name\" \"secret\" lines"));
  EXPECT_THAT(problems_before("[auth]\nusers_file = '.'\n"), ElementsAre(HasSubstr("Is a directory")));
  EXPECT_THAT(problems_before("[auth]\nmethod = 'trust'\nusers_file = 'nobody.toml'\n"),
              ElementsAre(HasSubstr("cannot read nobody.toml")));
}

TEST(Mistakes, MalformedSecretsAreNeverRepeated) {
  const std::string plain(kPlainDatabase);
  const auto user = [](const std::string& password) { return "[[user]]\nname = 'a'\npassword = " + password + "\n"; };
  EXPECT_THAT(problems_of(plain, user("'SCRAM-SHA-256$4096:c2FsdA==$YWJj:ZGVm'")),
              ElementsAre("users.toml:3: user.a.password: malformed SCRAM secret: expected "
                          "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> "
                          "as in pg_authid.rolpassword (was it cut short?)"));
  EXPECT_THAT(problems_of(plain, user("'md50123456789abcdef0123456789abcdef'")),
              ElementsAre(HasSubstr("users.toml:3: user.a.password: an md5 secret cannot prove anybody")));
  EXPECT_THAT(problems_of(plain, "[[user]]\nname = 'a'\n"),
              ElementsAre(HasSubstr("users.toml:1: user.a.password: missing")));
  const auto shouted =
      problems_of(plain, "[[user]]\nname = 'a'\npassword = 4711\n[[user]]\nname = 'b'\npassword = ''\n");
  EXPECT_THAT(shouted, ElementsAre(HasSubstr("users.toml:3: user.a.password: expected a password"),
                                   HasSubstr("users.toml:6: user.b.password: expected a password")));
  const auto conninfo = problems_of(
      "[[database]]\nname = 'app'\n[[database.shard]]\nname = 's'\nprimary = 'dbname=app password=hunter2'\n");
  EXPECT_THAT(conninfo, ElementsAre(HasSubstr("names no host")));
  EXPECT_THAT(conninfo.at(0), Not(HasSubstr("hunter2")));
}

TEST(Mistakes, TheUsersFileIsAsStrictAsTheOther) {
  const std::string plain(kPlainDatabase);
  EXPECT_THAT(problems_of(plain, "[user]\nname = 'a'\n"),
              ElementsAre("users.toml:1: user: expected an array of tables, each written [[user]], got a table"));
  EXPECT_THAT(problems_of(plain, "[[users]]\nname = 'a'\n"),
              ElementsAre("users.toml:1: users: unknown key: did you mean \"user\"?"));
  EXPECT_THAT(
      problems_of(plain, "[[user]]\nname = 'a'\npasword = 'p'\nroute_hints = 1\n"),
      ElementsAre(
          HasSubstr("users.toml:1: user.a.password: missing"),
          "users.toml:3: user.a.pasword: unknown key: did you mean \"password\"?",
          HasSubstr("users.toml:4: user.a.route_hints: ")));
}

TEST(Mistakes, SyntaxErrorsAndUnreadableFilesAreReported) {
  EXPECT_THAT(problems_of("[pool]\nsize = = 3\n"), ElementsAre(HasSubstr("weir.toml:2: not valid TOML: ")));
  EXPECT_THAT(problems_of("[pool]\nsize = 1\nsize = 2\n"), ElementsAre(HasSubstr("weir.toml:3: not valid TOML: ")));
  const auto result = load("/nonexistent/weir.toml");
  ASSERT_EQ(result.index(), 1U);
  EXPECT_EQ(std::get<1>(result).at(0).str(),
            "/nonexistent/weir.toml: cannot be read: No such file or directory; name the file with -c");
}

TEST(Mistakes, SomebodyMustBeAbleToConnectAndMinFitsIntoSize) {
  EXPECT_THAT(problems_before("[listen]\naddress = []\n"),
              ElementsAre("weir.toml:2: listen.address: no address and no unix_socket_dir: nobody could connect; give "
                          "at least one of them"));
  EXPECT_THAT(problems_before("[listen]\naddress = []\nunix_socket_dir = '/tmp'\n"), IsEmpty());
  EXPECT_THAT(problems_before("[pool]\nsize = 3\nmin = 4\n"),
              ElementsAre("weir.toml:3: pool.min: expected at most pool.size (3), got 4"));
}

}  // namespace
}  // namespace weir::config
