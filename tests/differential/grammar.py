"""Random expressions and conditions over a world's tables: what SELECTs and writes are made of.

A value is put down as a mark, so that one statement can be sent with literals and with parameters. What is used is noted in
`constructs`, by the names under which the run counts what is answered.
"""
import random

from world import NUMBERS

SHARDED = ["users", "orders", "items", "works", "codes"]


class Grammar:
    def __init__(self, world, seed):
        self.world = world
        self.random = random.Random(f"statements {seed}")
        self.begin()

    def begin(self):
        """A new statement."""
        self.values, self.constructs = [], set()

    def is_(self, construct):
        self.constructs.add(construct)

    def chance(self, p):
        return self.random.random() < p

    def one(self, *choices):
        """One of several ways, each a function."""
        return self.random.choice(choices)()

    # --- values

    def mark(self, kind, value, declared=None):
        self.values.append((kind, value, self.chance(0.6) if declared is None else declared))
        return f"\x01{len(self.values) - 1}\x02"

    def value(self, kind, declared=None):
        if kind == self.world.key_type and self.chance(0.6):
            return self.mark(kind, self.random.choice(self.world.keys), declared)
        pool = self.world.values["text" if kind == "varchar" else kind]
        return self.mark(kind, self.random.choice(pool), declared)

    def key_value(self, table):
        return self.mark(table.column(table.key).type, self.random.choice(self.world.key_values(table)))

    # --- what a statement reads: [(alias, table)]

    def columns(self, scope, kinds=None):
        return [(f"{alias}.{c.name}", c.type) for alias, table in scope for c in table.columns if kinds is None or c.type in kinds]

    def column(self, scope, kinds=None):
        found = self.columns(scope, kinds)
        return self.random.choice(found) if found else (self.value((kinds or ["int4"])[0], True), (kinds or ["int4"])[0])

    def unique(self, scope):
        return [f"{alias}.{name}" for alias, table in scope for name in table.unique]

    # --- expressions

    def expression(self, scope, depth=0):
        """(text, type)"""
        if depth > 1 or self.chance(0.45):
            return self.column(scope)
        return self.one(lambda: self.arithmetic(scope, depth), lambda: self.of_text(scope, depth), lambda: self.of_time(scope), lambda: self.case(scope, depth),
                        lambda: (self.value("int4", True), "int4"), lambda: self.coalesce(scope))

    def arithmetic(self, scope, depth):
        kind = self.random.choice(["int4", "numeric", "float8"])
        a, b = self.column(scope, [kind])[0], self.one(lambda: self.column(scope, [kind])[0], lambda: self.value(kind, True))
        return self.one(lambda: (f"({a} {self.random.choice('+-')} {b})", kind), lambda: (f"abs({a})", kind), lambda: (f"(-{a})", kind), lambda: (f"{a} * 2", kind),
                        lambda: (f"{a}::numeric / 4", "numeric"), lambda: (f"nullif({a}, {b})", kind), lambda: (f"greatest({a}, {b})", kind))

    def of_text(self, scope, depth):
        a = self.column(scope, ["text", "varchar"])[0]
        b = self.expression(scope, depth + 2)[0]
        return self.one(lambda: (f"({a} || '-' || {b})", "text"), lambda: (f"upper({a})", "text"), lambda: (f"({b})::text", "text"), lambda: (f"length({a})", "int4"),
                        lambda: (f"substr({a}, 1, 2)", "text"), lambda: (f"{a} COLLATE \"C\"", "text"), lambda: (f"concat({a}, {b})", "text"))

    def of_time(self, scope):
        a = self.column(scope, ["timestamptz"])[0]
        self.is_("time")
        return self.one(lambda: (f"date_trunc('month', {a})", "timestamptz"), lambda: (f"extract(month FROM {a})", "numeric"), lambda: (f"({a} + interval '1 day')", "timestamptz"),
                        lambda: (f"({a} AT TIME ZONE 'Asia/Tokyo')::date", "date"), lambda: (f"({a} < now())", "bool"), lambda: (f"({a})::date", "date"))

    def case(self, scope, depth):
        self.is_("CASE")
        kind = self.random.choice(["int4", "text", "numeric"])
        return f"CASE WHEN {self.condition(scope, 2)} THEN {self.column(scope, [kind])[0]} ELSE {self.value(kind, True)} END", kind

    def coalesce(self, scope):
        a, kind = self.column(scope)
        return f"coalesce({a}, {self.value(kind, True)})", kind

    # --- conditions

    def condition(self, scope, depth=0):
        ways = [lambda: self.comparison(scope), lambda: self.comparison(scope), lambda: self.key_condition(scope), lambda: self.key_condition(scope)]
        if depth < 2:
            ways += [lambda: self.logic(scope, depth), lambda: self.logic(scope, depth), lambda: self.subquery_condition(scope)]
        return self.one(*ways)

    def logic(self, scope, depth):
        a, b = self.condition(scope, depth + 1), self.condition(scope, depth + 1)
        word = self.random.choice(["AND", "AND", "OR", "NOT"])
        self.is_(word)
        return f"NOT ({a})" if word == "NOT" else f"({a} {word} {b})"

    def comparison(self, scope):
        a, kind = self.expression(scope, 1)
        v = lambda: self.value(kind)
        return self.one(lambda: f"{a} {self.random.choice(['=', '<>', '<', '>=', 'IS DISTINCT FROM'])} {v()}", lambda: f"{a} IS NULL", lambda: f"{a} IS NOT NULL",
                        lambda: f"{a} IN ({v()}, {v()})", lambda: f"{a} BETWEEN {v()} AND {v()}", lambda: f"{a} = {self.column(scope, [kind])[0]}", lambda: self.months(scope),
                        lambda: f"{self.column(scope, ['text', 'varchar'])[0]} LIKE '%a%'")

    def months(self, scope):
        a = self.column(scope, ["timestamptz"])[0]
        self.is_("month range")
        return self.one(lambda: f"{a} >= {self.value('timestamptz')} AND {a} < {self.value('timestamptz')}", lambda: f"{a} >= '2024-02-01 00:00+09'",
                        lambda: f"{a} >= timestamptz '2024-03-31 23:00:00-01' - interval '1 month'", lambda: f"{a} BETWEEN {self.value('timestamptz')} AND {self.value('timestamptz')}",
                        lambda: f"{a} < now() - interval '1 month'")

    def key_condition(self, scope):
        """The ways to say, and to seem to say, which key is meant."""
        keyed = [(alias, table) for alias, table in scope if table.key]
        if not keyed:
            return self.comparison(scope)
        alias, table = self.random.choice(keyed)
        a, kind = f"{alias}.{table.key}", table.column(table.key).type
        v = lambda: self.key_value(table)
        ways = [("key = value", lambda: f"{a} = {v()}"), ("key = value", lambda: f"{v()} = {a}"), ("key = value", lambda: f"{a} = {v()}"), ("key IN", lambda: f"{a} IN ({v()}, {v()}, {v()})"),
                ("key = ANY", lambda: f"{a} = ANY (ARRAY[{v()}, {v()}]::{kind}[])"), ("key IS NULL", lambda: f"{a} IS NULL"), ("key = NULL", lambda: f"{a} = NULL"),
                ("key = OR", lambda: f"({a} = {v()} OR {a} = {v()})"), ("NOT key =", lambda: f"NOT ({a} = {v()})"), ("key <>", lambda: f"{a} <> {v()}"),
                ("key range", lambda: f"{a} BETWEEN {v()} AND {v()}"), ("key range", lambda: f"{a} >= {v()}"), ("key cast", lambda: f"{a} = {v()}::{kind}"),
                ("key = CASE", lambda: f"{a} = CASE WHEN true THEN {v()} ELSE {v()} END"), ("key of VALUES", lambda: f"{a} IN (VALUES ({v()}::{kind}), ({v()}))"),
                ("row of keys", lambda: f"({a}, 1) = ({v()}, 1)"), ("key = coalesce", lambda: f"{a} = coalesce(NULL, {v()})")]
        if kind in ("int4", "int8"):
            ways += [("key as text", lambda: f"{a} = '42'"), ("key as numeric", lambda: f"{a} = 42.0"), ("key as int8", lambda: f"{a} = 42::bigint"), ("negative key", lambda: f"{a} = -7"),
                     ("key as int2", lambda: f"{a} = 1::smallint"), ("key as float", lambda: f"{a} = 42::float8"), ("key computed", lambda: f"{a} = 40 + 2"), ("key computed", lambda: f"{a} = {self.computed_key(table)}"), ("key computed", lambda: f"{a} + 0 = {v()}"),
                     ("key cast", lambda: f"{a}::text = '42'"), ("key as numeric", lambda: f"{a} = 42.5")]
        name, way = self.random.choice(ways)
        self.is_(name)
        return way()

    def computed_key(self, table):
        """Arithmetic whose value may be a key of the table's, or an error."""
        kind, own = table.column(table.key).type, self.key_value(table)
        small = lambda: self.mark("int4", self.random.randint(-3, 9))
        return self.random.choice([f"{self.random.randint(50, 90)} + {self.random.randint(0, 9)}", f"({own}::{kind} + {small()}) - {small()}", f"{own}::{kind} % 97", f"abs({own}::{kind})", f"-(-({own}::{kind}))",
                                   f"{small()} * 3 + 1", f"mod({own}::{kind}, 50::{kind})", f"{own}::{kind} / {small()}", f"({small()}::int2 + {small()})::{kind}", f"abs({self.random.randint(-9, 9)}) - 2",
                                   f"{small()}::int8 * 1000000000", f"nullif({own}::{kind}, 3) + 0"])

    def subquery_condition(self, scope):
        table = self.world.table(self.random.choice(SHARDED))
        inner = [("s", table)]
        a = self.column(scope, [table.column(table.unique[0]).type])[0]
        own = f"s.{table.unique[0]}"
        where = f" WHERE {self.condition(inner, 2)}" if self.chance(0.5) else ""
        name, text = self.random.choice([
            ("EXISTS", f"EXISTS (SELECT 1 FROM {table.name} s WHERE {own} = {a})"), ("IN subquery", f"{a} IN (SELECT {own} FROM {table.name} s{where})"),
            ("= subquery", f"{a} = (SELECT max({own}::text)::{table.column(table.unique[0]).type} FROM {table.name} s{where})"),
            ("NOT IN subquery", f"{a} NOT IN (SELECT {own} FROM {table.name} s{where})"), ("EXISTS", f"EXISTS (SELECT 1 FROM {table.name} s{where})"),
            ("IN subquery", f"{a} IN (SELECT {own} FROM {table.name} s WHERE s.{table.key} = {self.key_value(table)})")])
        self.is_(name)
        return text

    def where(self, scope, p=0.65):
        if not self.chance(p):
            return ""
        return f" WHERE {self.condition(scope)}"

    def number(self, scope):
        return self.column(scope, list(NUMBERS))[0]
