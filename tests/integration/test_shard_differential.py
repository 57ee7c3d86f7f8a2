"""Random SELECTs over four shards against one PostgreSQL with all the rows: the same answer, or 0A000. Never another one.

A run is a seed; WEIR_SEED=n runs that one alone. Each seed asks for a while (WEIR_SLOW=n: n times as long) and prints how much was answered.
"""
import collections
import contextlib
import os
import random
import time

import psycopg
import psycopg2
import pytest

import harness
import sharded
from wire_client import SLOW

SECONDS = 8 * SLOW
SEEDS = [int(os.environ["WEIR_SEED"])] if "WEIR_SEED" in os.environ else [1, 2, 3]

COLUMNS = {
    "users": {"id": "int", "name": "text", "email": "text"},
    "orders": {"id": "int", "user_id": "int", "product": "text", "amount": "numeric", "created_at": "time"},
    "works": {"id": "int", "user_id": "int", "title": "text", "created_at": "time"},
    "countries": {"code": "text", "name": "text"},
}
UNIQUE = {"users": ["id"], "orders": ["user_id", "id"], "works": ["user_id", "id", "created_at"], "countries": ["code"]}
VALUES = {"int": ["0", "1", "-1", "2", "7", "{k}", "{l}"], "text": ["'lamp'", "'n1'", "''", "'Boot'", "'DE'"], "numeric": ["0", "10.5", "21", "3.25"],
          "time": ["'2024-02-01 00:00+00'", "'2024-03-15 12:00+00'", "timestamptz '2024-01-15 12:00+00'"]}


@pytest.fixture(scope="module")
def keys(clusters):
    return [k for shard in sharded.spread_keys(clusters, per_shard=4) for k in shard]


@pytest.fixture(scope="module")
def reference(clusters):
    return sharded.create_reference(clusters)


@pytest.fixture(scope="module")
def rows(weir, clusters, keys, reference):
    twin = sharded.Twin(weir, clusters, reference)
    twin.seed(keys, orders=4, works=2)
    for extra in ("INSERT INTO orders (id, user_id, product, amount, created_at) VALUES (9, {k}, 'lamp', NULL, '2024-06-01 00:00+00')",
                  "UPDATE users SET email = NULL WHERE id = {k}"):
        twin.same(extra.format(k=keys[0]))
    twin.close()


class Generator:
    """One statement at a time: (its construct, its text, may its rows come in any order)."""

    def __init__(self, seed, keys):
        self.random = random.Random(seed)
        self.keys = keys

    def value(self, kind):
        return self.random.choice(VALUES[kind]).format(k=self.random.choice(self.keys), l=self.random.choice(self.keys))

    def column(self, tables, kind=None):
        found = [(f"{alias}.{c}", k) for alias, table in tables for c, k in COLUMNS[table].items() if kind in (None, k)]
        return self.random.choice(found) if found else ("1", "int")

    def condition(self, tables, depth=0):
        r = self.random
        column, kind = self.column(tables)
        choices = [lambda: f"{column} = {self.value(kind)}", lambda: f"{column} <> {self.value(kind)}", lambda: f"{column} > {self.value(kind)}",
                   lambda: f"{column} IN ({self.value(kind)}, {self.value(kind)})", lambda: f"{column} IS NULL", lambda: f"{column} IS NOT NULL",
                   lambda: f"{column} BETWEEN {self.value(kind)} AND {self.value(kind)}", lambda: self.subquery(tables)]
        if depth < 2:
            choices += [lambda: f"({self.condition(tables, depth + 1)} OR {self.condition(tables, depth + 1)})",
                        lambda: f"({self.condition(tables, depth + 1)} AND {self.condition(tables, depth + 1)})", lambda: f"NOT ({self.condition(tables, depth + 1)})"]
        return r.choice(choices)()

    def subquery(self, tables):
        key, _ = self.column(tables, "int")
        table = self.random.choice(["users", "orders", "works"])
        own = UNIQUE[table][0]
        return self.random.choice([f"EXISTS (SELECT 1 FROM {table} s WHERE s.{own} = {key})", f"{key} IN (SELECT s.{own} FROM {table} s)",
                                   f"{key} = (SELECT max(s.{own}) FROM {table} s)", f"{key} NOT IN (SELECT s.{own} FROM {table} s WHERE s.{own} IS NOT NULL)"])

    def source(self):
        r = self.random
        first = r.choice(["users", "orders", "works"])
        if r.random() < 0.55:
            return [("a", first)], f"{first} a"
        second = r.choice(["users", "orders", "works", "countries"])
        kind = r.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        on = f"a.{UNIQUE[first][0]} = b.{UNIQUE[second][0]}" if second != "countries" else "b.code = 'DE'"
        if kind == "FULL JOIN" and second == "countries":
            kind = "JOIN"
        if r.random() < 0.2 and kind != "FULL JOIN":
            on = f"{on} AND {self.condition([('a', first), ('b', second)], 1)}" if r.random() < 0.5 else "a.id = b.id" if second != "countries" else on
        return [("a", first), ("b", second)], f"{first} a {kind} {second} b ON {on}"

    def where(self, tables):
        return f" WHERE {self.condition(tables)}" if self.random.random() < 0.6 else ""

    def total_order(self, tables):
        order = [f"{alias}.{c}" for alias, table in tables for c in UNIQUE[table]]
        some, _ = self.column(tables)
        return ", ".join([some + self.random.choice(["", " DESC", " NULLS FIRST", " DESC NULLS LAST"])] + order)

    def limit(self):
        return self.random.choice(["", " LIMIT 3", " LIMIT 5 OFFSET 2", " OFFSET 4", " FETCH FIRST 2 ROWS ONLY", " LIMIT 0", " LIMIT NULL"])

    def plain(self):
        tables, source = self.source()
        wanted = ", ".join(self.column(tables)[0] for _ in range(self.random.randint(1, 4)))
        text = f"SELECT {wanted} FROM {source}{self.where(tables)}"
        if self.random.random() < 0.5:
            return "rows", text, True
        return "rows in order", f"{text} ORDER BY {self.total_order(tables)}{self.limit()}", False

    def aggregate(self, tables):
        column, kind = self.column(tables)
        number, _ = self.column(tables, "numeric") if any(t == "orders" for _, t in tables) else self.column(tables, "int")
        options = ["count(*)", f"count({column})", f"count(DISTINCT {column})", f"min({column})", f"max({column})", f"sum({number})", f"avg({number})",
                   f"coalesce(sum({number}), 0)", f"sum({number}) / nullif(count(*), 0)", f"count(*) FILTER (WHERE {self.condition(tables, 2)})",
                   f"bool_or({column} IS NULL)", f"string_agg({column}::text, ',' ORDER BY {column})"]
        return self.random.choice(options)

    def grouped(self):
        tables, source = self.source()
        r = self.random
        aggregates = [self.aggregate(tables) for _ in range(r.randint(1, 3))]
        if r.random() < 0.35:
            return "aggregates", f"SELECT {', '.join(aggregates)} FROM {source}{self.where(tables)}", True
        by = list(dict.fromkeys(self.column(tables)[0] for _ in range(r.randint(1, 2))))
        text = f"SELECT {', '.join(by + aggregates)} FROM {source}{self.where(tables)} GROUP BY {', '.join(by) if r.random() < 0.7 else ', '.join(str(i + 1) for i in range(len(by)))}"
        if r.random() < 0.3:
            text += f" HAVING {self.aggregate(tables).split(' FILTER')[0]} IS NOT NULL AND count(*) > {r.randint(0, 2)}"
        if r.random() < 0.5:
            return "groups", text, True
        order = ", ".join([f"{len(by) + 1}{r.choice(['', ' DESC'])}"] + [str(i + 1) for i in range(len(by))])
        return "groups in order", f"{text} ORDER BY {order}{self.limit()}", False

    def distinct(self):
        tables, source = self.source()
        wanted = list(dict.fromkeys(self.column(tables)[0] for _ in range(self.random.randint(1, 2))))
        text = f"SELECT DISTINCT {', '.join(wanted)} FROM {source}{self.where(tables)}"
        return "distinct", f"{text} ORDER BY {', '.join(str(i + 1) for i in range(len(wanted)))}{self.limit()}", False

    def sets(self):
        r = self.random
        parts = []
        for _ in range(r.randint(2, 3)):
            table = r.choice(["users", "orders", "works"])
            parts.append(f"SELECT a.{UNIQUE[table][0]} FROM {table} a{self.where([('a', table)])}")
        joined = r.choice([" UNION ALL ", " UNION ", " INTERSECT ", " EXCEPT "]).join(parts)
        return "set operations", f"{joined} ORDER BY 1{self.limit()}", False

    def windows(self):
        tables, source = self.source()
        by, _ = self.column(tables)
        return "windows", f"SELECT {by}, count(*) OVER (PARTITION BY {by}), rank() OVER (ORDER BY {by}) FROM {source}{self.where(tables)}", True

    def derived(self):
        construct, text, _ = self.random.choice([self.plain, self.grouped])()
        return "derived tables", f"SELECT count(*) FROM ({text}) d" if self.random.random() < 0.5 else f"WITH d AS ({text}) SELECT count(*) FROM d", True

    def next(self):
        return self.random.choice([self.plain, self.plain, self.grouped, self.grouped, self.distinct, self.sets, self.windows, self.derived])()


class Asker:
    """Asks one database by one of the protocols: 0 simple, 1 extended in text, 2 in binary, 3 prepared."""

    def __init__(self, dsn):
        self.simple = psycopg2.connect(dsn)
        self.simple.autocommit = True
        self.extended = psycopg.connect(dsn, autocommit=True)

    def close(self):
        self.simple.close()
        self.extended.close()

    def ask(self, text, how, in_any_order):
        try:
            if how == 0:
                with self.simple.cursor() as cursor:
                    cursor.execute(text)
                    rows, names = cursor.fetchall(), [(c.name, c.type_code) for c in cursor.description]
            else:
                with self.extended.cursor(binary=how == 2) as cursor:
                    cursor.execute(text.replace("%", "%%"), (), prepare=how == 3)
                    rows, names = cursor.fetchall(), [(c.name, c.type_code) for c in cursor.description]
        except (psycopg2.Error, psycopg.Error) as error:
            return getattr(error, "pgcode", None) or error.sqlstate
        shown = [tuple(map(str, row)) for row in rows]   # str: 1.50 is not 1.5
        return names, sorted(shown) if in_any_order else shown


@pytest.mark.parametrize("seed", SEEDS)
def test_random_selects_are_answered_as_one_database_would_or_refused(weir, reference, keys, rows, seed):
    generator, answered, asked = Generator(seed, keys), collections.Counter(), collections.Counter()
    with contextlib.closing(Asker(weir.dsn())) as here, contextlib.closing(Asker(reference)) as there:
        until, failed = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            construct, text, in_any_order = generator.next()
            how = generator.random.randrange(4)
            found = here.ask(text, how, in_any_order)
            asked[construct] += 1
            if found == "0A000":
                continue
            wanted = there.ask(text, how, in_any_order)
            assert found == wanted, f"seed {seed}, protocol {how}: {text}"
            answered[construct] += 1
            failed += isinstance(wanted, str)
    for construct, n in sorted(asked.items()):
        print(f"{construct}: {answered[construct]} of {n} answered")
    print(f"of them {failed} with PostgreSQL's own error")
    assert sum(answered.values()) - failed > sum(asked.values()) // 2
