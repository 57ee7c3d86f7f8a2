"""What the tests of the sharded database share: keys over all shards, and one plain PostgreSQL database that holds all the rows."""
import contextlib

import psycopg2
import psycopg2.extras

import harness

ALL_ROWS = {
    "users": "SELECT id, name, email FROM users ORDER BY id",
    "orders": "SELECT user_id, id, product, amount FROM orders ORDER BY user_id, id",
    "works": "SELECT user_id, id, created_at, title FROM works ORDER BY user_id, id, created_at",
    "countries": "SELECT code, name FROM countries ORDER BY code",
}
KEY_OF = {"users": "id", "orders": "user_id", "works": "user_id"}
BIG_KEYS = [9007199254740993, -9007199254740993, 9223372036854775807, -9223372036854775808, 2147483648, -2147483649]


def create_reference(clusters):
    """Database `reference` on the home shard's server, with the demo's tables; nothing of it is in weir.toml."""
    clusters.psql("CREATE DATABASE reference", dbname="postgres")
    clusters.psql((harness.SCHEMA / "schema.sql").read_text() + harness.month_partitions(harness.MONTHS), dbname="reference")
    return clusters.conninfo(dbname="reference")


def shards_of(clusters, keys, buckets=harness.BUCKETS):
    """{key: index of the shard that must hold it}, by PostgreSQL's own hash function."""
    values = ",".join(f"('{k}'::int8)" for k in keys)
    rows = clusters.psql(f"SELECT k, (hashint8extended(k, 0) & {buckets - 1}) / {buckets // len(clusters.shards)} FROM (VALUES {values}) v (k)")
    return {int(k): int(shard) for k, shard in (line.split("|") for line in rows.splitlines())}


def spread_keys(clusters, per_shard=3, start=1):
    """`per_shard` keys of each shard, positive and negative: [[keys of shard 0], [keys of shard 1], ...]."""
    found = [[] for _ in clusters.shards]
    candidates = [sign * k for k in range(start, start + 100 * per_shard) for sign in (1, -1)]
    for key, shard in shards_of(clusters, candidates).items():
        if len(found[shard]) < per_shard:
            found[shard].append(key)
    return found


def add_users(weir, keys, name="n{}"):
    """A row of `users` for each key, through Weir; `name`: of the key."""
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        for k in keys:
            cursor.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (k, name.format(k)))


def error_of(error):
    return (error.pgcode, error.diag.message_hint)


class Twin:
    """The same statement through Weir and in the reference database.

    An answer is (rows, row count, tag) or the SQLSTATE of the error.
    """

    def __init__(self, weir, clusters, reference):
        self.weir = weir.connect()
        self.plain = psycopg2.connect(reference)
        self.plain.autocommit = True
        self.shards = [psycopg2.connect(clusters.conninfo(shard=i)) for i in range(len(clusters.shards))]
        self.clusters = clusters
        for shard in self.shards:
            shard.autocommit = True

    def close(self):
        for connection in [self.weir, self.plain, *self.shards]:
            connection.close()

    @staticmethod
    def ask(connection, sql, parameters=None):
        with connection.cursor() as cursor:
            try:
                cursor.execute(sql, parameters)
            except psycopg2.Error as error:
                return error.pgcode
            rows = cursor.fetchall() if cursor.description else None
            names = [c.name for c in cursor.description] if cursor.description else None
            return names, rows, cursor.rowcount, cursor.statusmessage

    def same(self, sql, parameters=None):
        """Asserts that both answer alike; returns the rows."""
        here, there = self.ask(self.weir, sql, parameters), self.ask(self.plain, sql, parameters)
        assert here == there, sql
        return here[1] if isinstance(here, tuple) else here

    def refused(self, sql, parameters=None, code="0A000"):
        """Asserts that Weir refuses it with a HINT, and did nothing; returns the error's message."""
        before = self.rows_of_all_shards()
        with self.weir.cursor() as cursor:
            try:
                cursor.execute(sql, parameters)
            except psycopg2.Error as error:
                assert error.pgcode == code, (sql, str(error))
                assert error.diag.message_hint, (sql, str(error))
                assert self.rows_of_all_shards() == before, sql
                return error.diag.message_primary
            raise AssertionError(f"not refused: {sql}: {cursor.fetchall() if cursor.description else cursor.statusmessage}")

    def rows_of_all_shards(self):
        return [{t: self.ask(s, sql)[1] for t, sql in ALL_ROWS.items()} for s in self.shards]

    def check_all_rows(self):
        """Every row of the reference is on the shard of its key, there only, and nothing else is there."""
        found = self.rows_of_all_shards()
        for table, sql in ALL_ROWS.items():
            wanted = self.ask(self.plain, sql)[1]
            if table == "countries":
                assert all(shard[table] == wanted for shard in found)
                continue
            shard_of = shards_of(self.clusters, {row[0] for row in wanted}) if wanted else {}
            for i, shard in enumerate(found):
                assert shard[table] == [row for row in wanted if shard_of[row[0]] == i], (table, i)

    def seed(self, keys, orders=3, works=2):
        """The same rows for each key: through Weir, one statement a row, and in the reference."""
        for k in keys:
            self.same("INSERT INTO users (id, name, email, created_at) VALUES (%s, %s, %s, '2024-01-01 00:00+00')",
                      (k, f"n{k}", f"{k}@example.com" if k % 3 else None))
            for o in range(orders):
                self.same("INSERT INTO orders (id, user_id, product, amount, created_at) VALUES (%s, %s, %s, %s, %s)",
                          (o, k, ["lamp", "Boot", "aal"][o % 3], 10.5 * o + k % 7, f"2024-0{o % 6 + 1}-15 12:00+00"))
            for w in range(works):
                self.same("INSERT INTO works (user_id, id, created_at, title) VALUES (%s, %s, %s, %s)",
                          (k, w, f"2024-0{w + 1}-01 00:00+00", f"work {w}"))
