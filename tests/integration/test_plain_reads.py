"""Reads and writes of a plain database with one replica: who serves what, and what happens when the replica dies."""
import contextlib
import time

import pytest

import harness
from wire_client import WireClient, bind, execute, parse, query, run, sync

HERE = "select here()"   # a stable function: may run anywhere, and tells where it ran


@pytest.fixture(scope="module")
def schema(plain_clusters):
    plain_clusters.psql("""
        create table t (id int primary key, v text); insert into t values (1, 'one');
        create sequence s;
        create function here() returns boolean stable language sql as 'select pg_is_in_recovery()';
        create function here_volatile() returns boolean volatile language sql as 'select pg_is_in_recovery()';
        create function writes() returns boolean volatile language sql as
            'insert into t values (100 + (random() * 1000000)::int, ''w''); select pg_is_in_recovery()';
    """)
    plain_clusters.await_replication()
    return harness.database_toml(plain_clusters, sharded=False, reads={"consistency": "eventual"})


@pytest.fixture(scope="module")
def weir(schema):
    proxy = harness.Weir([schema], pool={"size": 4}, health={"interval": "300ms", "timeout": "5s"})
    try:
        proxy.start()
        await_replica(proxy)
        yield proxy
    finally:
        proxy.stop()


def replica_row(weir):
    return [r for r in weir.console("SHOW BACKENDS") if r["role"] == "replica"][0]


def await_replica(weir, state="usable", seconds=20):
    harness.wait_for(lambda: replica_row(weir)["state"] == state, f"the replica to be {state}", seconds)


@pytest.fixture
def client(weir):
    with WireClient(weir.port) as connected:
        yield connected


# --- who serves what ---

TO_REPLICA = [
    HERE,
    "select here() from t where id = 1",
    "with a as (select 1) select here() from a",
    "select here(), count(*) from t group by 1",
    "/* comment */ select here() from t union select here()",
]
TO_PRIMARY = [
    "select here() from t where id = 1 for update",
    "select here() from t where id = 1 for share",
    "select here(), nextval('s')",
    "select here_volatile()",
    "select writes()",
    "with w as (insert into t values (500 + (random() * 1000000)::int, 'w') returning id) select here() from w",
    "update t set v = v where id = 1 returning here()",
    "insert into t values (2000000 + (random() * 100000)::int) returning here()",
    "select here(), pg_advisory_xact_lock(5)",
    "select here(), txid_current()",
    "select here() from pg_stat_activity limit 1",
    "explain analyze insert into t select 1 where false; select here()",
]


@pytest.mark.parametrize("sql", TO_REPLICA)
def test_reads_go_to_the_replica(client, sql):
    assert client.query(sql).rows[0][0] == "t"
    assert client.ask(run(sql) + sync()).rows[0][0] == "t"


@pytest.mark.parametrize("sql", TO_PRIMARY)
def test_whatever_may_write_goes_to_the_primary(client, sql):
    replies = client.query(sql)
    assert not replies.errors
    assert replies.rows[-1][0] == "f"


def test_prepared_reads_and_writes_of_one_client_part_ways(client):
    client.ask(parse("select here(), $1::int", name="r") + parse("update t set v = $1 where id = 1 returning here()", name="w") + sync())
    for i in range(3):
        assert client.ask(bind(i, name="r") + execute() + sync()).rows == [["t", str(i)]]
        assert client.ask(bind("x", name="w") + execute() + sync()).rows == [["f"]]


def test_transactions_stay_on_the_primary_and_read_only_ones_go_to_the_replica(client):
    for begin, where in (("begin", "f"), ("begin read write", "f"), ("start transaction isolation level serializable", "f"),
                         ("begin read only", "t"), ("start transaction read only", "t")):
        assert client.query(begin).status == "T"
        assert client.value(HERE) == where, begin
        assert client.value("select here() from t where id = 1") == where
        assert client.query("commit").status == "I"


def test_a_pipeline_that_writes_is_one_transaction_on_the_primary(client):
    replies = client.ask(run(HERE) + run("update t set v = 'p' where id = 1") + run(HERE) + sync())
    assert [r[0] for r in replies.rows] == ["f", "f"]


def test_a_sessions_settings_hold_on_the_replica_too(client):
    client.query("set timezone = 'Asia/Tokyo'")
    for _ in range(3):
        assert client.query("select here(), extract(timezone from timestamptz '2024-01-01')::int").rows == [["t", "32400"]]
    client.query("reset timezone")


def test_copy_and_cursors_work_on_either_side(client):
    assert client.query("copy (select id from t where id = 1) to stdout").tags == ["COPY 1"]
    client.query("begin read only")
    assert not client.query("declare c cursor for select here() from t").errors
    assert client.query("fetch 1 from c").rows == [["t"]]
    client.query("commit")


def test_a_client_reads_its_own_writes(start_weir, schema, plain_clusters):
    database = harness.database_toml(plain_clusters, sharded=False, reads={"consistency": "read_your_writes", "max_lag": "2s"})
    weir = start_weir([database], health={"interval": "300ms", "timeout": "5s"})
    await_replica(weir)
    with WireClient(weir.port) as writer, WireClient(weir.port) as reader:
        harness.wait_for(lambda: reader.value(HERE) == "t", "reads on the replica")   # at first everything counts as just written
        for i in range(50):
            writer.query(f"update t set v = 'turn {i}' where id = 1")
            assert writer.value("select v from t where id = 1") == f"turn {i}"
        plain_clusters.psql("select pg_wal_replay_pause()", node=0)
        try:
            writer.query("update t set v = 'unseen by the replica' where id = 1")
            assert writer.value("select v from t where id = 1") == "unseen by the replica"
            assert writer.value(HERE) == "f"
        finally:
            plain_clusters.psql("select pg_wal_replay_resume()", node=0)
        writer.query("begin; update t set v = 'in block' where id = 1; commit")
        assert writer.value("select v from t where id = 1") == "in block"
        harness.wait_for(lambda: writer.value(HERE) == "t", "the writer to read from the replica again", seconds=15)
        assert writer.value("select v from t where id = 1") == "in block"


def test_consistency_primary_never_reads_from_the_replica(start_weir, schema, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, reads={"consistency": "primary"})])
    await_replica(weir)
    with WireClient(weir.port) as c:
        assert [c.value(HERE) for _ in range(5)] == ["f"] * 5


# --- a replica that dies ---


def test_a_killed_replica_is_no_error_to_readers_and_it_comes_back(weir, plain_clusters):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WireClient(weir.port)) for _ in range(4)]
        for c in clients:
            assert c.value(HERE) == "t"
        plain_clusters.kill(node=0)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            for c in clients:
                replies = c.query("select here() from t where id = 1")
                assert replies.rows == [["f"]], replies
        await_replica(weir, "not usable")
        assert replica_row(weir)["reason"]
        plain_clusters.restart(node=0)
        plain_clusters.await_replication()
        await_replica(weir)
        for c in clients:
            harness.wait_for(lambda c=c: c.value(HERE) == "t", "reads on the replica again")
