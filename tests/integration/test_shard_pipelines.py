"""Pipelines with a Flush on a sharded database: what is prepared before a key is known runs on the key's shard (asyncpg's way to ask)."""

import pytest

import harness
import sharded
import wire_client
from wire_client import WireClient, bind, close, describe, execute, flush, parse, sync

READ = "SELECT id, name FROM users WHERE id = $1"


@pytest.fixture(scope="module")
def keys(clusters, weir):
    """One key of each shard, each with a row."""
    found = [shard[0] for shard in sharded.spread_keys(clusters, per_shard=1)]
    sharded.add_users(weir, found)
    return found


@pytest.fixture
def client(weir):
    with WireClient(weir.port) as connected:
        yield connected


def prepared(client, sql, name=""):
    """Parse, Describe, Flush: as a driver that asks for the types before it sends values."""
    client.send(parse(sql, name) + describe("S", name) + flush())
    replies = client.read_until("TnE")
    assert replies.kinds in ("1tT", "1tn"), replies


def run(client, value, name=""):
    return client.ask(bind(value, name=name) + execute() + sync())


@pytest.mark.parametrize("name", ["", "named"])
def test_a_statement_prepared_with_a_flush_runs_on_each_keys_shard(client, keys, name):
    prepared(client, READ, name)
    for k in keys * 2:
        if not name:
            prepared(client, READ)
        assert run(client, k, name).rows == [[str(k), f"n{k}"]]


def test_several_are_prepared_before_the_first_runs(client, keys):
    for i, k in enumerate(keys):
        prepared(client, f"SELECT {i} + id FROM users WHERE id = $1", f"s{i}")
    for i, k in enumerate(keys):
        client.send(bind(k, name=f"s{i}") + execute() + bind(k, name=f"s{i}") + execute() + sync())
        assert client.read_to_ready().rows == [[str(i + k)]] * 2


def test_the_sync_alone_is_answered_and_no_server_is_kept_before_it(client, weir):
    prepared(client, READ, "alone")
    harness.wait_for(lambda: {b["active"] for b in weir.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
    assert client.ask(sync()).kinds == "Z"
    assert client.ask(close("S", "alone") + sync()).kinds == "3Z"


WRONG = [("SELECT * FROM nowhere WHERE id = $1", "42P01"), ("SELECT nothing FROM users WHERE id = $1", "42703"),
         ("SELECT count(*) + id FROM users GROUP BY random()", None)]


@pytest.mark.parametrize("wrong, code, before", [(*w, b) for w in WRONG for b in ("", READ)] + [("SELEC", "42601", "")])
def test_what_follows_a_failed_parse_is_skipped_up_to_the_sync(client, keys, wrong, code, before):
    first = parse(before, "good") + describe("S", "good") if before else b""
    client.send(first + parse(wrong, "bad") + describe("S", "bad") + flush())
    replies = client.read_until("E")
    assert len(replies.errors) == 1 and (code is None or replies.errors == [code])
    assert replies.kinds == ("1tTE" if before else "E")
    client.send(bind(keys[1], name="bad") + execute() + flush() + parse(READ, "skipped") + flush())
    assert client.silent()
    assert client.ask(sync()).kinds == "Z"
    assert run(client, keys[1], "skipped").errors == ["26000"]
    assert run(client, keys[1], "bad").errors[0] in ("26000", "0A000")
    if before:
        assert run(client, keys[3], "good").rows == [[str(keys[3]), f"n{keys[3]}"]]


def test_a_statement_that_cannot_be_routed_is_refused_at_its_bind_or_parse_and_the_session_goes_on(client, keys):
    client.send(parse("UPDATE users SET id = id + 1 WHERE id = $1", "moves") + describe("S", "moves") + flush())
    replies = client.read_until("E")
    assert replies.errors == ["0A000"]
    assert client.ask(sync()).status == "I"
    prepared(client, READ)
    assert run(client, keys[2]).rows == [[str(keys[2]), f"n{keys[2]}"]]


@pytest.mark.parametrize("shard", [0, 1, 3])
def test_a_transaction_may_prepare_before_its_shard_is_known(client, clusters, keys, shard):
    k = keys[shard]
    assert client.query("BEGIN").status == "T"
    prepared(client, "UPDATE users SET email = 'flushed' WHERE id = $1 RETURNING email", "w")
    assert client.ask(sync()).status == "T"
    prepared(client, READ)
    assert run(client, k).rows == [[str(k), f"n{k}"]]
    assert run(client, k, "w").rows == [["flushed"]]
    prepared(client, READ)   # on the transaction's server now
    assert run(client, k).rows == [[str(k), f"n{k}"]]
    assert clusters.everywhere(f"SELECT count(*) FROM users WHERE email = 'flushed' AND id = {k}") == ["0"] * 4
    assert client.query("COMMIT").tags == ["COMMIT"]
    assert clusters.everywhere(f"SELECT count(*) FROM users WHERE email = 'flushed' AND id = {k}") == [str(int(i == shard)) for i in range(4)]


def test_an_error_while_preparing_fails_the_transaction_that_has_no_server_yet(client, keys):
    client.query("BEGIN")
    client.send(parse("SELECT nothing FROM users WHERE id = $1") + flush())
    assert client.read_until("E").errors == ["42703"]
    assert client.ask(sync()).status == "E"
    assert client.query(f"SELECT id FROM users WHERE id = {keys[1]}").errors == ["25P02"]
    assert client.query("COMMIT").tags == ["ROLLBACK"]
    prepared(client, READ)
    assert run(client, keys[1]).rows == [[str(keys[1]), f"n{keys[1]}"]]


def test_settings_of_the_client_hold_where_it_prepares_and_where_it_runs(client, weir, keys):
    client.query("SET TimeZone = 'Asia/Tokyo'")
    sql = "SELECT timestamptz '2024-01-01 00:00:00', current_setting('TimeZone') FROM users WHERE id = $1"
    for k in keys:
        prepared(client, sql)
        assert run(client, k).rows == [["2024-01-01 00:00:00+09", "Asia/Tokyo"]]


@pytest.mark.parametrize("statement, kinds", [
    (parse("SELECT id FROM users ORDER BY id") + sync(), "EZ"),
    (parse("SELECT id FROM users ORDER BY id", "s") + describe("S", "s") + sync(), "EZ"),
    (parse("SELECT id FROM users ORDER BY id") + bind() + describe() + execute() + sync(), "1EZ"),
    (parse("SELECT id FROM users ORDER BY id") + bind() + execute() + sync(), "1EZ"),
], ids=["Parse", "Parse and Describe", "with its Describe", "whole"])
def test_a_snapshot_that_shards_do_not_share_is_refused_where_it_is_asked_for(client, keys, statement, kinds):
    """And not at the Sync behind an answer. The transaction's first server is not the one that is asked for the columns."""
    for first in keys[1:]:
        assert client.query("BEGIN ISOLATION LEVEL REPEATABLE READ").tags == ["BEGIN"]
        assert len(client.query(f"SELECT id FROM users WHERE id = {first}").rows) == 1
        got = client.ask(statement)
        assert (got.kinds, got.errors, got.status) == (kinds, ["0A000"], "E")
        assert client.query("ROLLBACK").tags == ["ROLLBACK"]


REFUSED = "SELECT random() FROM users ORDER BY 1"   # by Weir: no server hears of it
BACK = wire_client.run("ROLLBACK TO s")


@pytest.mark.parametrize("pipeline, kinds, errors", [
    (BACK + wire_client.run("SELECT id FROM users ORDER BY id"), "12C12CZ", []),
    (BACK + wire_client.run("SELECT 1"), "12C12CZ", []),
    (BACK + parse("SELECT id FROM users WHERE id = 1"), "12C1Z", []),
    (BACK + wire_client.run("UPDATE users SET name = 'undone'"), "12C12CZ", []),
    (BACK + wire_client.run("SELECT 1") + BACK + wire_client.run("SELECT 2"), "12C12C12C12CZ", []),
    (BACK + wire_client.run("SELECT nothing FROM users WHERE id = 1"), "12CEZ", ["42703"]),
    (BACK + wire_client.run("SELECT nothing FROM users"), "12CEZ", ["42703"]),
    (BACK + wire_client.run(REFUSED), "12CEZ", ["0A000"]),
    (BACK + wire_client.run("SELEC"), None, ["42601"]),
    (wire_client.run("ROLLBACK TO other") + wire_client.run("SELECT 1"), None, ["3B001"]),
    (wire_client.run("SELECT 1") + BACK, "EZ", ["25P02"]),
    (parse("SELECT 1") + BACK + wire_client.run("SELECT 1"), "EZ", ["25P02"]),
], ids=["of all shards", "of none", "prepared only", "a write", "twice", "an error of one shard", "an error of all", "refused", "not SQL", "another savepoint", "something before it", "a Parse before it"])
def test_a_pipeline_goes_back_in_a_transaction_that_failed_before_it_had_a_server(client, keys, pipeline, kinds, errors):
    client.query("BEGIN")
    client.query("SAVEPOINT s")
    assert (client.query(REFUSED).errors, client.query("SELECT 1").errors) == (["0A000"], ["25P02"])
    got = client.ask(pipeline + sync())
    assert kinds is None or got.kinds.replace("D", "") == kinds
    assert (got.errors, got.status) == (errors, "E" if errors else "T")
    assert client.query("ROLLBACK TO s").status == "T"
    assert client.query("SELECT count(*) FROM users WHERE name = 'undone'").rows == [["0"]]
    assert client.query("COMMIT").tags == ["COMMIT"]
