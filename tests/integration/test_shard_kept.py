"""What a session keeps on one server of a sharded database, and transactions that wait for a shard: pipelines and characteristics."""
import pytest

import sharded
from wire_client import WireClient, message, parse, run, sync


@pytest.fixture(scope="module")
def keys(clusters):
    found = sharded.spread_keys(clusters)
    for i, shard in enumerate(found):
        for k in shard:
            clusters.psql(f"insert into users (id, name) values ({k}, 'n{k}')", shard=i)
    clusters.await_replication()
    return found


@pytest.fixture
def client(weir):
    with WireClient(weir.port) as found:
        yield found


def declare(client, name, key):
    return client.query(f"declare {name} cursor with hold for select name from users where id = {key}")


def port_of(client, key):
    return client.value(f"select inet_server_port() from users where id = {key} for update")


# --- state on a shard that is not the home shard


def test_fetch_reads_the_cursor_where_it_is(client, keys):
    for shard in keys:
        assert not declare(client, "c", shard[0]).errors
        assert client.query("fetch c").rows == [[f"n{shard[0]}"]]
        client.query("begin")
        assert client.query("fetch backward c").rows == []
        assert client.query("fetch c").rows == [[f"n{shard[0]}"]]
        assert client.query("commit").tags == ["COMMIT"]
        assert client.query("close c").tags == ["CLOSE CURSOR"]


def test_discard_all_ends_what_is_kept_there(client, keys):
    declare(client, "c", keys[2][0])
    assert client.query("discard all").tags == ["DISCARD ALL"]
    assert client.query("fetch c").errors == ["34000"]
    assert not declare(client, "c", keys[1][0]).errors


def refused_on_the_second(replies):
    assert (replies.errors, replies.tags) == (["0A000"], []), replies
    fields = next(m.fields for m in replies if m.kind == "E")
    assert "cursor WITH HOLD" in fields["M"] and "DISCARD ALL" in fields["H"]


def test_a_cursor_on_a_second_shard_is_refused_and_the_first_stays(client, keys):
    declare(client, "one", keys[1][0])
    refused_on_the_second(declare(client, "two", keys[2][0]))
    client.query("begin")
    assert client.value(f"select name from users where id = {keys[2][0]}") == f"n{keys[2][0]}"
    refused_on_the_second(declare(client, "two", keys[2][0]))
    assert client.query("commit").tags == ["ROLLBACK"]
    assert client.query("fetch one").rows == [[f"n{keys[1][0]}"]]


def test_code_that_may_leave_state_on_a_second_shard_is_refused(client, keys):
    declare(client, "one", keys[1][0])
    refused_on_the_second(client.query("create temp table left_behind (a int)"))
    refused_on_the_second(client.query("select pg_advisory_lock(5)"))
    assert client.query("select pg_advisory_xact_lock(5)").errors == []
    assert client.query("fetch one").rows == [[f"n{keys[1][0]}"]]


def test_a_sequence_value_that_costs_nothing_gives_way(client, clusters, keys):
    clusters.psql("create sequence if not exists numbers")
    client.query("select nextval('numbers')")
    assert not declare(client, "c", keys[3][0]).errors
    assert client.query("fetch c").rows == [[f"n{keys[3][0]}"]]


# --- transactions that wait for a shard


def test_a_transaction_that_was_ended_and_begun_anew_in_a_pipeline_waits_for_its_shard(client, keys):
    for shard in keys:
        pipeline = run("begin isolation level serializable") + run("savepoint a") + run("rollback") + run("begin isolation level repeatable read") + sync()
        replies = client.ask(pipeline)
        assert (replies.tags, replies.status) == (["BEGIN", "SAVEPOINT", "ROLLBACK", "BEGIN"], "T")
        assert client.value(f"select name from users where id = {shard[0]}") == f"n{shard[0]}"
        assert client.value("show transaction_isolation") == "repeatable read"
        assert client.query("commit").tags == ["COMMIT"]


def test_every_statement_of_a_held_pipeline_is_its_own(client, keys):
    """All of them are bound to the unnamed portal."""
    for shard in keys:
        begun = client.ask(run("start transaction isolation level serializable") + run("set local work_mem = '5MB'") + run("savepoint s")
                           + run("set local work_mem = '6MB'") + run("rollback to s") + sync())
        assert (begun.tags, begun.status) == (["START TRANSACTION", "SET", "SAVEPOINT", "SET", "ROLLBACK"], "T")
        assert client.value(f"select name from users where id = {shard[0]}") == f"n{shard[0]}"
        assert [client.value("show transaction_isolation"), client.value("show work_mem")] == ["serializable", "5MB"]
        assert client.query("commit").tags == ["COMMIT"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_and_chain_keeps_what_set_transaction_said(client, keys, end):
    client.query("begin")
    client.query("set transaction isolation level repeatable read")
    client.query("set local transaction_deferrable = on")
    client.query("set local work_mem = '5MB'")
    client.query("savepoint s")
    client.query("set transaction read only")
    client.query("rollback to s")
    assert client.query(f"{end} and chain").status == "T"
    assert client.value(f"select name from users where id = {keys[2][0]}") == f"n{keys[2][0]}"
    shown = [client.value(f"show {name}") for name in ("transaction_isolation", "transaction_deferrable", "transaction_read_only", "work_mem")]
    assert shown == ["repeatable read", "on", "off", "4MB"]
    client.query("rollback")
