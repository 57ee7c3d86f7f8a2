"""A world: a random schema (tables sharded by a key of one type, reference tables, tables that are not listed) and its rows.

All of it follows from the seed. Values are few, so that joins, groups and conditions meet rows; some are NULL.
"""
import datetime
import decimal
import random
import uuid
from dataclasses import dataclass, field

OIDS = {"int4": 23, "int8": 20, "numeric": 1700, "text": 25, "varchar": 1043, "bool": 16, "timestamptz": 1184, "date": 1082, "uuid": 2950, "float8": 701}
KEY_TYPES = ["int8", "int8", "int8", "int4", "text", "uuid"]
NUMBERS = ("int4", "int8", "numeric", "float8")
MENU = ["int4", "int8", "numeric", "text", "varchar", "bool", "timestamptz", "date", "float8", "uuid"]
ZONE = datetime.timezone.utc
TIMES = [datetime.datetime(2024, m, d, h, tzinfo=ZONE) for m, d, h in [(1, 1, 0), (1, 31, 23), (2, 1, 0), (2, 29, 12), (3, 15, 12), (4, 1, 0), (6, 30, 23)]]
TEXTS = ["", "a", "A", "b", "lamp", "Boot", "aal", "zoo", "o'clock", "back\\slash", "50%", "ä", "日本", "tab\there", "line\nbreak"]


@dataclass
class Column:
    name: str
    type: str
    not_null: bool = False
    default: object = None

    @property
    def ddl(self):
        made = {"numeric": "numeric(10,2)", "varchar": "varchar(20)"}.get(self.type, self.type)
        default = "" if self.default is None else f" DEFAULT {literal(self.type, self.default)}"
        return f"{self.name} {made}{default}{' NOT NULL' if self.not_null else ''}"


@dataclass
class Table:
    name: str
    columns: list
    unique: list                # the primary key's columns
    key: str = None             # sharded by it
    reference: bool = False
    month: str = None           # partitioned by month of this column
    rows: list = field(default_factory=list)

    def column(self, name):
        return next(c for c in self.columns if c.name == name)

    @property
    def listed(self):
        return self.key is not None or self.reference

    @property
    def rule(self):
        return {"name": self.name, **({"reference": True} if self.reference else {"key": self.key})}

    @property
    def ddl(self):
        parts = [c.ddl for c in self.columns] + [f"PRIMARY KEY ({', '.join(self.unique)})"]
        text = f"CREATE TABLE {self.name} ({', '.join(parts)})"
        if not self.month:
            return text + ";"
        months = "".join(f"CREATE TABLE {self.name}_2024{m:02} PARTITION OF {self.name} FOR VALUES FROM ('2024-{m:02}-01 00:00+00') TO ('2024-{m + 1:02}-01 00:00+00');"
                         for m in range(1, 7))
        return f"{text} PARTITION BY RANGE ({self.month}); {months}"


def literal(kind, value):
    """The value as SQL text that needs no context."""
    if value is None:
        return "NULL"
    if kind in ("int4", "int8", "numeric"):
        return str(value)
    if kind == "bool":
        return "true" if value else "false"
    if kind == "float8":
        return f"{value}::float8"
    text = value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else str(value)
    quoted = "'" + text.replace("'", "''") + "'"
    return f"{kind} {quoted}" if kind in ("timestamptz", "date", "uuid") else quoted


def shown(value):
    """As COPY's and parameters' text."""
    if isinstance(value, bool):
        return "t" if value else "f"
    return value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else str(value)


class World:
    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(f"world {seed}")
        self.key_type = self.random.choice(KEY_TYPES)
        self.keys = [self._new_key(n) for n in range(14)]
        self.values = {kind: self._values(kind) for kind in MENU}
        self.tables = self._tables()
        for table in self.tables:
            self._fill(table)

    def table(self, name):
        return next(t for t in self.tables if t.name == name)

    def _new_key(self, n):
        r = self.random
        if self.key_type == "text":
            return r.choice(["k", "K", "ключ", "key "]) + str(n)
        if self.key_type == "uuid":
            return uuid.UUID(int=r.getrandbits(128))
        special = [0, -1, -7, 42, 2147483647, -2147483648, 2147483648, 9007199254740993, 9223372036854775807, -9223372036854775808]
        values = [v for v in special if self.key_type == "int8" or abs(v) < 2**31]
        return values[n] if n < len(values) and r.random() < 0.6 else n + 1

    def _values(self, kind):
        r = self.random
        if kind in ("int4", "int8"):
            return [0, 1, 2, 3, -1, 7, 42, r.randint(-1000, 1000)]
        if kind == "numeric":
            # Of one scale: 1 and 1.00 are equal, so which of them a group or a tie shows is nobody's promise. Nor is the sign of a zero.
            return [decimal.Decimal(v) for v in ("0.00", "1.00", "1.50", "-3.25", "10.10", "99999.99")]
        if kind == "float8":
            return [0.5, -1.25, 2.0, 1024.0]   # any order of adding gives the same sum
        if kind == "bool":
            return [True, False]
        if kind == "timestamptz":
            return TIMES
        if kind == "date":
            return [t.date() for t in TIMES]
        if kind == "uuid":
            return [uuid.UUID(int=n << 64) for n in (1, 2, 3)]
        return TEXTS

    def new_value(self, column, null=0.15):
        r = self.random
        return None if not column.not_null and r.random() < null else r.choice(self.values[column.type])

    def _columns(self, *fixed, menu=MENU, least=2, most=5):
        r = self.random
        more = [Column(f"c{i}", r.choice(menu), r.random() < 0.2) for i in range(r.randint(least, most))]
        for column in more:
            if r.random() < 0.25:
                column.default = r.choice(self.values[column.type])
        columns = [*fixed, *more]
        r.shuffle(columns)
        return columns

    def _tables(self):
        key = lambda name: Column(name, self.key_type, True)
        number = lambda name: Column(name, "int4", True)
        at = Column("at", "timestamptz", True)
        other = Column("code", self.random.choice(["text", "int4"]), True)
        return [
            Table("users", self._columns(key("id")), ["id"], key="id"),
            Table("orders", self._columns(key("user_id"), number("n"), Column("amount", "numeric")), ["user_id", "n"], key="user_id"),
            Table("items", self._columns(key("owner"), number("n"), Column("s", "text")), ["n", "owner"], key="owner"),
            Table("works", self._columns(key("user_id"), number("n"), at, most=3), ["user_id", "n", "at"], key="user_id", month="at"),
            Table("codes", self._columns(other, number("n"), Column("user_id", self.key_type)), ["code", "n"], key="code"),
            Table("countries", self._columns(number("n"), Column("name", "text"), most=3), ["n"], reference=True),
            Table("settings", self._columns(number("n"), Column("name", "text"), most=3), ["n"]),
        ]

    def key_values(self, table):
        kind = table.column(table.key).type if table.key else None
        if kind == self.key_type and table.name != "codes":
            return self.keys
        return self.values[kind or "int4"]

    def alike(self, kind, value):
        """Values that could stand where `value` does: keys for keys, and no NULL where there was none."""
        if value is None:
            return [None]
        return self.keys if kind == self.key_type and value in self.keys else [value, *self.values["text" if kind == "varchar" else kind]]

    def _fill(self, table):
        r = self.random
        if not table.key:
            table.rows = [self.new_row(table, n=n) for n in range(5)]
            return
        for key in self.key_values(table):
            for n in range(1 if len(table.unique) == 1 else r.randint(0, 4)):
                table.rows.append(self.new_row(table, **{table.key: key, **({"n": n} if "n" in table.unique else {})}))

    def new_row(self, table, **given):
        row = {c.name: self.new_value(c) for c in table.columns}
        if table.name == "codes":
            row["user_id"] = self.random.choice([None, *self.keys])
        return {**row, **given}
