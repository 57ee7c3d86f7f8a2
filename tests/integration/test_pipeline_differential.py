"""Random pipelines of protocol messages, sent in random pieces: Weir answers message by message as PostgreSQL does.

A run is a seed; WEIR_SEED=n runs that one alone, WEIR_FIRST_SEED=n begins there. A difference is reduced to the fewest messages that still
show it. Twelve runs or 20 s; with WEIR_SLOW=n, n times as many.
"""
import contextlib
import os
import random
import socket
import struct
import time

import pytest

import harness
from pipelines import Pair, same, told
from wire_client import SLOW, WireClient, bind, close, describe, execute, flush, message, parse, query, sync

SECONDS = 20 * SLOW

# What the messages are made of: valid, invalid, and such as depend on what came before.
NAMES = ["", "", "s", "u"]
PORTALS = ["", "", "p"]
READS = ["select 1 as one", "select 'two'::text as two", "select count(*), sum(a) from t0", "show work_mem", "select generate_series(1, 3) as n",
         "select $1::int + 1 as sum", "select $1::text as said", "values (1), (2)", "show transaction_isolation"]
WRITES = ["insert into t0 values (1, 'x')", "insert into t0 select 2, 'y' returning a", "delete from t0 where a = 1", "update t0 set b = 'z' where a = $1", "truncate t0"]
WRONG = ["selec", "select 1/0", "select nothing from t0", "select * from nowhere", "insert into t0 values ('not a number')", "savepoint", "select $1"]
CONTROL = ["begin", "begin", "begin isolation level serializable", "commit", "rollback", "end", "savepoint a", "savepoint b", "rollback to a", "rollback to savepoint b", "release a",
           "release nowhere", "commit and chain", "rollback and chain", "start transaction read only", "abort", "begin; insert into t0 values (3, 'm')", "set transaction read only"]
SETTINGS = ["set work_mem = '5MB'", "set work_mem = '6MB'", "set local work_mem = '7MB'", "reset work_mem", "reset all", "set nothing_such = 1",
            "set work_mem to 'wrong'", "set statement_timeout = '30s'", "discard all", "set work_mem = '8MB'; select 1"]
PREPARED = ["prepare s as select 1 as prepared", "prepare q as select 2 as prepared", "prepare q (int) as select $1 + 1", "prepare wrong as selec", "execute s", "execute q",
            "execute q (7)", "execute nobody", "deallocate s", "deallocate q", "deallocate all", "deallocate nobody", "prepare q as select 1; execute q", "explain (costs off) execute s"]
OTHER = ["", ";", " -- nothing", "select 1; select 2", "select 1; select 1/0; select 2", "insert into t0 values (4, 'i'); selec", "begin; select 1; commit", "declare c cursor for values (1), (2), (3)",
         "fetch c", "fetch 2 from c", "close c", "lock t0", "vacuum t0", "create temp table own (a int) on commit drop", "do $$ begin null; end $$", "copy (select 1) to stdout",
         "notify channel", "select 1; commit; select 2", "explain (costs off) select 1"]
COPIES = ["copy t0 from stdin", "copy t0 from stdin", "copy t0 from stdin with (format csv)", "copy nowhere from stdin", "copy t0 from stdin; select 1"]
DATA = [b"1\ta\n", b"2\tb\n3\tc\n", b"bad\tline\n", b"1\t", b"x\n", b"\\.\n", b"", b"1,q\n"]



def both_ended(expected, found):
    """A message that has no place among COPY data: PostgreSQL says ERROR and FATAL, Weir FATAL, and how much of it arrives is TCP's affair."""
    said = [[m for m in replies if m.kind != "E" or m.fields["C"] != "08P01"] for replies in (expected, found)]
    return expected.status is None and found.status is None and same(*said)


def bound_again(expected, found):
    """A named portal of PREPARE or DEALLOCATE, which Weir runs itself, may be bound twice."""
    return "42P03" in expected.errors and "42P03" not in found.errors


def fails_later(expected, found):
    """In a transaction that an error of Weir's own failed, a later error of that kind may come before 25P02, or behind what is prepared."""
    return "25P02" in expected.errors and bool(found.errors) and expected.status == found.status


def servers_name(expected, found):
    """Bind of EXECUTE with parameters: the error names the statement as servers know it."""
    return any(m.kind == "E" and '"weir_' in m.fields["M"] for m in found)


def refused(expected, found):
    """What Weir does not do in the middle of a pipeline, as PREPARE with types whose OIDs it must ask for first."""
    return "0A000" in found.errors and "0A000" not in expected.errors


def explains_nothing(expected, found):
    """EXPLAIN EXECUTE of an unknown name can be described in PostgreSQL."""
    return "26000" in found.errors and any(m.kind == "T" and m.body[2:12] == b"QUERY PLAN" for m in expected)


# Where Weir does not answer as PostgreSQL does, and may.
ALLOWED = [both_ended, bound_again, fails_later, servers_name, refused, explains_nothing]


def some_sql(rng):
    return rng.choice(rng.choices([READS, WRITES, WRONG, CONTROL, SETTINGS, PREPARED, OTHER, COPIES], [6, 3, 2, 6, 3, 4, 2, 1])[0])


def step(label, data):
    return label, data


def bound(rng, portal=None, name=None):
    values = rng.choice([[], [], [], [5], [5], ["x"], [None], [1, 2]])
    portal = rng.choice(PORTALS) if portal is None else portal
    name = rng.choice(NAMES) if name is None else name
    return step(f"Bind {portal!r} of {name!r} {values}", bind(*values, portal=portal, name=name))


def a_run(rng):
    """Parse, Bind, perhaps Describe, Execute that belong together, now and then without one of them."""
    sql, name, portal = some_sql(rng), rng.choice(NAMES), rng.choice(PORTALS)
    steps = [step(f"Parse {name!r}: {sql}", parse(sql, name))]
    if rng.random() < 0.2:
        steps.append(step(f"Describe statement {name!r}", describe("S", name)))
    values = [5] if "$1" in sql and rng.random() < 0.9 else []
    steps.append(step(f"Bind {portal!r} of {name!r} {values}", bind(*values, portal=portal, name=name)))
    if rng.random() < 0.3:
        steps.append(step(f"Describe portal {portal!r}", describe("P", portal)))
    rows = rng.choice([0, 0, 0, 2])
    steps.append(step(f"Execute {portal!r} {rows}", execute(portal, rows)))
    if rng.random() < 0.1:
        steps.pop(rng.randrange(len(steps)))
    return steps


def a_copy(rng):
    sql = rng.choice(COPIES)
    steps = [step(f"Query: {sql}", query(sql))] if rng.random() < 0.5 else [step(f"Parse '': {sql}", parse(sql)), step("Bind", bind()), step("Execute", execute())]
    for _ in range(rng.randrange(4)):
        data = rng.choice(DATA)
        steps.append(rng.choice([step(f"CopyData {data!r}", message("d", data))] * 4 + [step("Sync", sync()), step("Flush", flush())]))
    steps.append(rng.choice([step("CopyDone", message("c"))] * 4 + [step("CopyFail", message("f", b"enough\0"))]))
    return steps + ([step("Sync", sync())] if rng.random() < 0.8 else [])


def a_single(rng):
    name, portal = rng.choice([*NAMES, "nobody"]), rng.choice([*PORTALS, "nobody"])
    sql = some_sql(rng)
    return [rng.choice([
        step(f"Query: {sql}", query(sql)), step(f"Query: {sql}", query(sql)), step(f"Query: {sql}", query(sql)), step(f"Parse {name!r}: {sql}", parse(sql, name)), bound(rng),
        step(f"Describe statement {name!r}", describe("S", name)), step(f"Describe portal {portal!r}", describe("P", portal)), step(f"Execute {portal!r}", execute(portal)),
        step(f"Close statement {name!r}", close("S", name)), step(f"Close portal {portal!r}", close("P", portal)), step("Flush", flush()), step("Sync", sync()), step("Sync", sync()),
        step("CopyDone", message("c")), step("CopyData", message("d", b"late\n")), step("FunctionCall", FUNCTION_CALL)])]


# int4pl('20', '22')
FUNCTION_CALL = message("F", struct.pack("!IHH", 177, 0, 2) + b"".join(struct.pack("!i", 2) + n for n in (b"20", b"22")) + struct.pack("!H", 0))


def a_pipeline(rng):
    steps = []
    for _ in range(rng.randrange(1, 7)):
        steps += rng.choices([a_run, a_copy, a_single], [4, 1, 5])[0](rng)
        if rng.random() < 0.3:
            steps.append(step("Sync", sync()))
    return steps


class InPieces:
    """A client's socket that sends what it is given in pieces."""

    def __init__(self, client, rng):
        self.client, self.rng, self.whole = client, rng, client.socket
        self.whole.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.send = self.send

    def send(self, data):
        cuts = sorted(self.rng.randrange(len(data)) for _ in range(self.rng.choice([0, 0, 1, 3])))
        for begin, end in zip([0, *cuts], [*cuts, len(data)]):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.whole.sendall(data[begin:end])
            if self.rng.random() < 0.2:
                time.sleep(0.001)


class Others:
    """Another client of the same pool of two: it has the servers in turn, and sometimes one for a while."""

    def __init__(self, port, rng):
        self.rng, self.client, self.holds = rng, WireClient(port), False

    def interfere(self):
        if self.holds or self.rng.random() < 0.3:
            self.client.query("rollback" if self.holds else "begin; select 1")
            self.holds = not self.holds
        elif self.rng.random() < 0.6:
            self.client.ask(parse("select 'another''s'") + bind() + execute() + sync())
        elif self.rng.random() < 0.3:
            self.client.query(self.rng.choice(["set work_mem = '9MB'", "reset all", "prepare s as select 'another''s'", "deallocate all"]))


@pytest.fixture(scope="module")
def ports(plain_clusters):
    plain_clusters.psql("create database direct")
    for database in ("app", "direct"):
        plain_clusters.psql("create table t0 (a int, b text)", dbname=database)
    proxy = harness.Weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 2, "wait_timeout": "20s"})
    try:
        yield plain_clusters.node()["port"], proxy.start().port
    finally:
        proxy.stop()


def first_difference(ports, seed, pipelines):
    """None, or (history, PostgreSQL's answer, Weir's) of the first pipeline that the two answer differently."""
    rng = random.Random(f"pieces {seed}")
    for at, name in zip(ports, ("direct", "app")):
        with WireClient(at, database=name) as fresh:
            fresh.query("truncate t0")
    pair, others = Pair(*ports), Others(ports[1], rng)
    try:
        for steps in pipelines:
            for client in pair.clients:
                if client.send.__func__ is WireClient.send:
                    InPieces(client, rng)
            different = pair.difference(steps)
            if different and not any(is_allowed(*different) for is_allowed in ALLOWED):
                return pair.history, *different
            if different and not both_ended(*different):
                return None   # from here on the two may have different state
            if different:
                pair.connect()
            others.interfere()
        return None
    finally:
        pair.close()
        others.client.socket.close()


def reduced(ports, seed, pipelines):
    """Fewer pipelines, and fewer messages in them, that still show a difference."""
    until, shrunk = time.monotonic() + 30 * SLOW, True
    while shrunk and time.monotonic() < until:
        shrunk = False
        for p in range(len(pipelines) - 1, -1, -1):
            for s in range(len(pipelines[p]) - 1, -2, -1):   # -1: the pipeline as a whole
                fewer = [*pipelines[:p], *([pipelines[p][:s] + pipelines[p][s + 1:]] if s >= 0 else []), *pipelines[p + 1:]]
                if time.monotonic() < until and any(fewer) and first_difference(ports, seed, fewer):
                    pipelines, shrunk = fewer, True
                    break
    return pipelines


def run(ports, seed):
    rng = random.Random(seed)
    pipelines = [a_pipeline(rng) for _ in range(12)]
    found = first_difference(ports, seed, pipelines)
    if found:
        fewest = reduced(ports, seed, pipelines[:len(found[0])])
        return f"seed {seed}\n" + told(*(first_difference(ports, seed, fewest) or found))
    return None


def test_random_pipelines_are_answered_as_by_postgresql(ports):
    if "WEIR_SEED" in os.environ:
        report = run(ports, int(os.environ["WEIR_SEED"]))
        assert not report, report
        return
    until, seed = time.monotonic() + SECONDS, int(os.environ.get("WEIR_FIRST_SEED", "1"))
    last = seed + 12 * SLOW
    while time.monotonic() < until and seed < last:
        report = run(ports, seed)
        assert not report, report
        seed += 1
