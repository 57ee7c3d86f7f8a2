"""What is too long, too deep or broken, on a sharded database: answered as one PostgreSQL would, or refused, in bounded time and memory."""
import contextlib
import struct
import time

import pytest

import harness
import sharded
from wire_client import WireClient, bind, describe, execute, message, parse, query, sync

# Of the proxy's CPU, for a statement; how long a client waits for it depends on what else the machine does.
SECONDS, MEGABYTES = 15, 500
PATIENCE = 240
# Weir's own ways to refuse: too complex for it, too deep, too much memory.
REFUSALS = {"0A000", "54001", "54000", "53200"}
MANY = 100_000


@pytest.fixture(scope="module")
def reference(clusters):
    return sharded.create_reference(clusters)


@pytest.fixture(scope="module")
def keys(weir, clusters, reference):
    found = [k for shard in sharded.spread_keys(clusters) for k in shard]
    twin = sharded.Twin(weir, clusters, reference)
    twin.seed(found)
    twin.close()
    return found


@pytest.fixture
def plain(clusters):
    with WireClient(int(clusters.node()["port"]), database="reference", timeout=PATIENCE * harness.SLOW) as client:
        yield client


@pytest.fixture
def client(weir, keys):
    """Before and after: another client works, and the proxy's memory has not grown beyond bounds."""
    before = peak(weir)
    with WireClient(weir.port, timeout=PATIENCE * harness.SLOW) as found, WireClient(weir.port) as witness:
        yield found
        assert witness.value("select count(*) from users where id = 1") in ("0", "1")
    assert weir.process.poll() is None
    assert peak(weir) - before < MEGABYTES


def peak(weir):
    """Its largest resident memory so far, in megabytes."""
    return int(open(f"/proc/{weir.pid}/status").read().split("VmHWM:")[1].split()[0]) // 1024


def said(replies):
    """Rows in any order, tags and errors; PostgreSQL's text of a stack that is too deep names its limit."""
    return sorted(map(str, replies.rows)), replies.tags, replies.errors


def cpu_seconds(weir):
    return time.clock_gettime(~weir.pid << 3 | 2)   # the clock of a process: clock_getcpuclockid(3)


def same_or_refused(weir, client, plain, *messages):
    began = cpu_seconds(weir)
    found = client.ask(b"".join(messages))
    assert cpu_seconds(weir) - began < SECONDS * harness.SLOW
    if found.errors and found.errors[0] in REFUSALS:
        return found.errors[0]
    wanted = plain.ask(b"".join(messages))
    assert said(found) == said(wanted), found.errors or found.tags
    return "same"


def in_list(count, keys=()):
    return ", ".join(map(str, [*keys, *range(10**6, 10**6 + count - len(keys))]))


LONG = {
    "a 1 MB literal, one shard": lambda k: f"SELECT id FROM users WHERE id = {k[0]} AND name <> '{'x' * 2**20}'",
    "a 1 MB literal, all shards": lambda k: f"SELECT id FROM users WHERE name <> '{'x' * 2**20}'",
    "a 1 MB comment": lambda k: f"/* {'x' * 2**20} */ SELECT count(*) FROM users",
    "1 MB of spaces": lambda k: f"SELECT count(*) {' ' * 2**20} FROM users",
    "a 1 MB name": lambda k: f"SELECT {'x' * 2**20} FROM users",
    "1 MB of brackets": lambda k: "SELECT " + "(" * 2**20,
    "1 MB of an open string": lambda k: "SELECT count(*) FROM users WHERE name = '" + "x" * 2**20,
    "IN of 100,000 keys": lambda k: f"SELECT id FROM users WHERE id IN ({in_list(MANY, k)})",
    "IN of 100,000 keys, counted": lambda k: f"SELECT count(*), max(name) FROM users WHERE id IN ({in_list(MANY, k)})",
    "IN of 100,000 keys, in order": lambda k: f"SELECT id, name FROM users WHERE id IN ({in_list(MANY, k)}) ORDER BY name, id LIMIT 3",
    "NOT IN of 100,000 keys": lambda k: f"SELECT id FROM users WHERE id NOT IN ({in_list(MANY)})",
    "ANY of 100,000 keys": lambda k: f"SELECT id FROM users WHERE id = ANY ('{{{in_list(MANY, k)}}}')",
    "UPDATE of IN of 100,000 keys": lambda k: f"UPDATE users SET email = 'x' WHERE id IN ({in_list(MANY, k)})",
    "DELETE of IN of 100,000 keys": lambda k: f"DELETE FROM orders WHERE user_id IN ({in_list(MANY)})",
    "200,000 terms of a sum": lambda k: "SELECT " + "+".join(["1"] * 200_000),
    "200,000 terms over all shards": lambda k: "SELECT count(*) FROM users WHERE id > " + "+".join(["1"] * 200_000),
    "200,000 terms of AND": lambda k: "SELECT count(*) FROM users WHERE " + " AND ".join(["id > -5"] * 200_000),
    "200,000 terms of OR": lambda k: "SELECT id FROM users WHERE " + " OR ".join([f"id = {k[0]}"] * 200_000),
    "200,000 columns": lambda k: "SELECT " + ", ".join(["id"] * 200_000) + " FROM users",
    "200 brackets": lambda k: f"SELECT id FROM users WHERE {'(' * 200}id = {k[0]}{')' * 200}",
    "200 brackets of a value": lambda k: f"SELECT id FROM users WHERE id = {'(' * 200}{k[0]}{')' * 200}",
    "200 subqueries": lambda k: "SELECT count(*) FROM " + "(SELECT * FROM " * 200 + "users" + ") s" * 200,
    "200 nested EXISTS": lambda k: "SELECT count(*) FROM users WHERE " + "EXISTS (SELECT 1 FROM users WHERE " * 200 + "true" + ")" * 200,
    "20,000 brackets": lambda k: f"SELECT id FROM users WHERE {'(' * 20_000}id = {k[0]}{')' * 20_000}",
    "20,000 NOTs": lambda k: "SELECT count(*) FROM users WHERE " + "NOT " * 20_000 + "true",
    "2,000 set operations": lambda k: " UNION ALL ".join([f"SELECT id FROM users WHERE id = {k[0]}"] * 2000),
    "200 joins": lambda k: f"SELECT count(*) FROM users u0 {' '.join(f'JOIN users u{i} ON u{i}.id = u0.id' for i in range(1, 200))} WHERE u0.id = {k[0]}",
    "20,000 statements in a string": lambda k: "SELECT 1;" * 20_000,
    "INSERT of 50,000 rows": lambda k: "INSERT INTO orders (id, user_id, product) VALUES " + ", ".join(f"({i}, {k[i % len(k)]}, 'many')" for i in range(100, 50_100)),
    "INSERT of 50,000 rows, the last wrong": lambda k: "INSERT INTO orders (id, user_id, product) VALUES " + ", ".join(f"({i + 10**6}, {k[i % len(k)]}, 'many')" for i in range(50_000)) + ", (1, 1, 1/0)",
    "DELETE of what came": lambda k: "DELETE FROM orders WHERE product = 'many'",
}


@pytest.mark.parametrize("what", LONG)
def test_a_long_or_deep_statement_is_answered_or_refused(weir, client, plain, keys, what):
    sql = LONG[what](keys)
    # The joins are over what PostgreSQL plans well; it must not search for the best order of 200.
    for one in (client, plain):
        one.ask(query("SET join_collapse_limit = 1"))
    simple = same_or_refused(weir, client, plain, query(sql))
    extended = same_or_refused(weir, client, plain, parse(sql), bind(), describe(), execute(), sync()) if not what.startswith("20,000 statements") else simple
    print(f"{what}: {simple}, {extended}")


def test_a_hundred_thousand_keys_are_answered(weir, client, plain, keys):
    for what in ("IN of 100,000 keys", "NOT IN of 100,000 keys", "ANY of 100,000 keys", "UPDATE of IN of 100,000 keys", "DELETE of IN of 100,000 keys", "a 1 MB literal, all shards"):
        sql = LONG[what](keys)
        assert same_or_refused(weir, client, plain, query(sql)) == "same", what
        assert same_or_refused(weir, client, plain, parse(sql), bind(), describe(), execute(), sync()) == "same", what
    for sql in ("SELECT id FROM users WHERE id = ANY ($1) ORDER BY name, id LIMIT 3", "SELECT count(*), max(name) FROM users WHERE id = ANY ($1)"):
        assert same_or_refused(weir, client, plain, parse(sql), bind("{" + in_list(MANY, keys) + "}"), describe(), execute(), sync()) == "same", sql


def test_parameters_as_many_as_there_may_be(weir, client, plain, keys):
    marks = ", ".join(f"${i}" for i in range(1, 65_536))
    values = [*map(str, keys), *map(str, range(10**6, 10**6 + 65_535 - len(keys)))]
    for sql in (f"SELECT id FROM users WHERE id IN ({marks})", f"SELECT count(*) FROM users WHERE id IN ({marks})"):
        print(same_or_refused(weir, client, plain, parse(sql), bind(*values), describe(), execute(), sync()))
    rows = ", ".join(f"(${i}, ${i + 1}, 'p')" for i in range(1, 65_534, 2))
    values = [v for i in range(32_767) for v in (str(200_000 + i), str(keys[i % len(keys)]))]
    print(same_or_refused(weir, client, plain, parse(f"INSERT INTO orders (id, user_id, product) VALUES {rows}"), bind(*values), describe(), execute(), sync()))


BROKEN = {
    "a NUL byte in a Query": lambda k: [message("Q", b"SELECT id FROM users WHERE name = 'a\0b'\0")],
    "a NUL byte in a Query with a key": lambda k: [message("Q", f"UPDATE users SET name = 'a' WHERE id = {k}\0 AND false\0".encode())],
    "broken UTF-8 in a Query": lambda k: [message("Q", b"SELECT id FROM users WHERE name = '\xff\xfe'\0")],
    "broken UTF-8 in a Query with a key": lambda k: [message("Q", f"SELECT id FROM users WHERE id = {k} AND name = '".encode() + b"\xc3'\0")],
    "broken UTF-8 in a name": lambda k: [message("Q", b"SELECT \x80 FROM users\0")],
    "broken UTF-8 in an INSERT of rows": lambda k: [message("Q", f"INSERT INTO users (id, name) VALUES ({k}, 'a'), ({k + 1}, '".encode() + b"\xe2\x28'), (3, 'c')\0")],
    "broken UTF-8 in a comment": lambda k: [message("Q", b"SELECT count(*) FROM users -- \xff\0")],
    "broken UTF-8 in a Parse": lambda k: [parse_bytes(b"SELECT id FROM users WHERE name = '\xff'"), bind(), execute(), sync()],
    "broken UTF-8 in a parameter": lambda k: [parse("SELECT id FROM users WHERE name = $1"), bind_bytes(b"\xff\xfe"), execute(), sync()],
    "broken UTF-8 in a key": lambda k: [parse("SELECT id FROM users WHERE id = $1"), bind_bytes(b"\xff"), execute(), sync()],
    "a NUL byte in a parameter": lambda k: [parse("SELECT id FROM users WHERE name = $1"), bind_bytes(b"a\0b"), execute(), sync()],
    "a NUL byte in a key": lambda k: [parse("SELECT id FROM users WHERE id = $1"), bind_bytes(f"{k}\0".encode()), execute(), sync()],
    "half a binary key": lambda k: [parse("SELECT id FROM users WHERE id = $1", types=(20,)), bind_bytes(b"\0\0\1", binary=True), execute(), sync()],
}


def parse_bytes(sql):
    return message("P", b"\0" + sql + b"\0" + struct.pack("!H", 0))


def bind_bytes(value, binary=False):
    return message("B", b"\0\0" + struct.pack("!HhHi", 1, binary, 1, len(value)) + value + struct.pack("!H", 0))


@pytest.mark.parametrize("what", BROKEN)
def test_broken_bytes_are_an_error(weir, client, plain, keys, what):
    same_or_refused(weir, client, plain, *BROKEN[what](keys[0]))
    with contextlib.suppress(OSError):
        assert client.ask(query("SELECT 1")).rows == [["1"]]
