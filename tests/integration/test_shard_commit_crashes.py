"""kill -9 of the proxy at every step of a commit over two shards: all of the transaction stands, or none of it.

A relay in front of each shard stops the proxy's message of that step, or the server's answer to it.
"""
import copy
import os
import socket
import threading

import psycopg2
import pytest

import harness
import sharded
from gate import Gate


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=1)


@pytest.fixture
def gates(clusters):
    found = [Gate(shard["primary"]) for shard in clusters.shards]
    yield found
    for gate in found:
        gate.close()


@pytest.fixture
def proxy(clusters, gates):
    shards = copy.deepcopy(clusters.shards)
    for shard, gate in zip(shards, gates):
        shard["primary"]["host"], shard["primary"]["port"] = "127.0.0.1", gate.port
    weir = harness.Weir([harness.weir_toml.database(shards, replicas=False, sharding={"in_doubt_after": "2s"})])
    try:
        yield weir.start()
    finally:
        weir.stop(check=False)


# Who is stopped (0: the shard that decides, 1: the other), at what, before or behind it; and does the transaction stand?
STEPS = [(0, "txid_current", False, False), (0, "txid_current", True, False), (1, "PREPARE TRANSACTION", False, False), (1, "PREPARE TRANSACTION", True, False),
         (0, "weir.decide", False, False), (0, "weir.decide", True, True), (1, "COMMIT PREPARED", False, True), (1, "COMMIT PREPARED", True, True)]


def rows(clusters, keys):
    return [clusters.psql(f"SELECT name FROM users WHERE id = {keys[i][0]}", shard=i) for i in range(2)]


@pytest.fixture
def transfer(proxy, clusters, keys):
    """A connection that has moved 10 from one shard to the other, and not committed it."""
    a, b = keys[0][0], keys[1][0]
    for i, key in enumerate((a, b)):
        clusters.psql(f"DELETE FROM users; INSERT INTO users (id, name) VALUES ({key}, '100')", shard=i)
    connection = proxy.connect(autocommit=False)
    cursor = connection.cursor()
    cursor.execute(f"UPDATE users SET name = '90' WHERE id = {a}")
    cursor.execute(f"UPDATE users SET name = '110' WHERE id = {b}")
    yield connection
    connection.close()


def commit(connection):
    """In a thread of its own; the error, if it fails."""
    outcome = []

    def work():
        try:
            connection.commit()
        except psycopg2.Error as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, outcome


@pytest.mark.parametrize("shard, at, behind, stands", STEPS, ids=[f"{'behind' if b else 'before'} {a}" for _, a, b, _ in STEPS])
def test_a_proxy_killed_at(transfer, proxy, clusters, gates, keys, shard, at, behind, stands):
    gates[shard].stop_at(at, behind)
    committing, _ = commit(transfer)
    assert gates[shard].reached.wait(20)
    proxy.process.kill()
    proxy.process.wait()
    for gate in gates:
        gate.open()
    committing.join(20)
    proxy.start()
    harness.wait_for(lambda: set(clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts")) == {"0"}, "recovery to finish what is prepared", 30)
    assert rows(clusters, keys) == (["90", "110"] if stands else ["100", "100"])


@pytest.mark.parametrize("shard, at, behind, code", [(1, "PREPARE TRANSACTION", False, "08006"), (0, "weir.decide", True, "08007"), (1, "COMMIT PREPARED", False, None)])
def test_a_server_lost_at(transfer, proxy, clusters, gates, keys, shard, at, behind, code):
    """The connection is lost, and not the proxy: what the client is told is true."""
    gates[shard].stop_at(at, behind)
    committing, outcome = commit(transfer)
    assert gates[shard].reached.wait(20)
    gates[shard].open()
    committing.join(20)
    assert [e.pgcode for e in outcome] == ([code] if code else [])
    harness.wait_for(lambda: set(clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts")) == {"0"}, "recovery to finish what is prepared", 30)
    assert rows(clusters, keys) == (["100", "100"] if code == "08006" else ["90", "110"])


def test_a_commit_goes_on_without_its_client(transfer, proxy, clusters, gates, keys):
    gates[1].stop_at("PREPARE TRANSACTION", True)
    with socket.socket(fileno=os.dup(transfer.fileno())) as client:
        committing, _ = commit(transfer)
        assert gates[1].reached.wait(20)
        client.shutdown(socket.SHUT_RDWR)
    committing.join(20)
    gates[1].open(passes=True)
    harness.wait_for(lambda: rows(clusters, keys) == ["90", "110"], "both rows to be committed")
    harness.wait_for(lambda: {b["active"] for b in proxy.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")


def test_a_shard_that_cannot_prepare_is_not_the_second_to_be_written(start_weir):
    found = harness.Clusters("--shards", "2", "--replicas", "0", "--set", "max_prepared_transactions=0")
    try:
        for i in range(2):
            found.psql("CREATE TABLE users (id bigint PRIMARY KEY, name text)", shard=i)
        toml = harness.database_toml(found, tables=({"name": "users", "key": "id"},))
        first = harness.Weir([toml])
        harness.weirctl("init", "-c", str(first.config))
        first.stop()
        proxy = start_weir([toml])
        per_shard = [None, None]
        for key, shard in sharded.shards_of(found, range(1, 50)).items():
            per_shard[shard] = per_shard[shard] or key
        connection = proxy.connect(autocommit=False)
        cursor = connection.cursor()

        def refused():
            cursor.execute(f"INSERT INTO users VALUES ({per_shard[0]})")
            cursor.execute(f"SELECT * FROM users WHERE id = {per_shard[1]}")   # reading is no matter
            try:
                cursor.execute(f"INSERT INTO users VALUES ({per_shard[1]})")
            except psycopg2.Error as error:
                return error if error.pgcode == "0A000" else None
            finally:
                connection.rollback()
            raise AssertionError("not refused")

        error = harness.wait_for(refused, "recovery to have looked at the shards")
        assert "max_prepared_transactions" in str(error)
        cursor.execute(f"INSERT INTO users VALUES ({per_shard[0]})")
        cursor.execute(f"SELECT * FROM users WHERE id = {per_shard[1]}")
        connection.commit()
        assert found.psql("SELECT count(*) FROM users", shard=0) == "1"
        connection.close()
    finally:
        found.stop()
