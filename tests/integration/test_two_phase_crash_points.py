"""The proxy, a server, a connection or the client dies at each point of a two-phase commit: everything is committed or nothing is, and nothing stays prepared.

A relay stands in front of every shard; as the message that marks the point comes by, it kills. Another proxy of the same database recovers.
"""
import contextlib
import os
import signal
import socket

import psycopg2
import pytest

import harness
import sharded
import wire_client as wire
from relay import Relay

SHARDS = 3
DECIDING = 0   # the first that is written to
# The point: (whose message, what it says, is it lost before the server has it or only its answer, is the transaction committed then?)
POINTS = {
    "before its number is asked for": (DECIDING, "txid_current", True, False),
    "before the first PREPARE arrives": (1, "PREPARE TRANSACTION", True, False),
    "when the first PREPARE is done": (1, "PREPARE TRANSACTION", False, False),
    "before the last PREPARE arrives": (2, "PREPARE TRANSACTION", True, False),
    "when the last PREPARE is done": (2, "PREPARE TRANSACTION", False, False),
    "before the decision arrives": (DECIDING, "weir.decide", True, False),
    "when the decision is made": (DECIDING, "weir.decide", False, True),
    "before the first COMMIT PREPARED arrives": (1, "COMMIT PREPARED", True, True),
    "when the first COMMIT PREPARED is done": (1, "COMMIT PREPARED", False, True),
    "before the last COMMIT PREPARED arrives": (2, "COMMIT PREPARED", True, True),
    "when the last COMMIT PREPARED is done": (2, "COMMIT PREPARED", False, True),
}


@pytest.fixture(scope="module")
def shards():
    found = harness.Clusters("--shards", str(SHARDS), "--replicas", "0", "--max-connections", "60")
    try:
        for i in range(SHARDS):
            found.psql("CREATE TABLE users (id bigint PRIMARY KEY, name text)", shard=i)
        proxy = harness.Weir([toml(found.shards)])
        harness.weirctl("init", "-c", str(proxy.config))
        proxy.stop()
        yield found
    finally:
        found.stop()


def toml(description):
    return harness.weir_toml.database(description, tables=({"name": "users", "key": "id"},), sharding={"in_doubt_after": "2s"}, replicas=False)


@pytest.fixture(scope="module")
def peers(shards):
    """Two that only recover, at the same time: whoever comes first, and both at once."""
    proxies = [harness.Weir([toml(shards.shards)]) for _ in range(2)]
    try:
        yield [proxy.start() for proxy in proxies]
    finally:
        for proxy in proxies:
            proxy.stop()


@pytest.fixture(scope="module")
def relays(shards):
    found, description = [], shards.shards
    for i in range(SHARDS):
        found.append(Relay(shards, shard=i, shards=description))
        description = found[-1].shards
    yield found
    for relay in found:
        relay.close()


@pytest.fixture
def coordinator(relays):
    proxy = harness.Weir([toml(relays[-1].shards)])
    try:
        yield proxy.start()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(proxy.pid, signal.SIGKILL)
        proxy.stop(check=False)


@pytest.fixture
def keys(shards):
    for i in range(SHARDS):
        shards.psql("TRUNCATE users", shard=i)
    return [of[0] for of in sharded.spread_keys(shards, per_shard=1)]


def commit(coordinator, keys):
    """What the client is told of a transaction that writes to all shards: the tag, or SQLSTATE; None: it lost its proxy."""
    with contextlib.closing(coordinator.connect()) as connection, connection.cursor() as cursor:
        try:
            cursor.execute("BEGIN")
            for key in keys:
                cursor.execute(f"INSERT INTO users (id, name) VALUES ({key}, 'all or nothing')")
            cursor.execute("COMMIT")
            return cursor.statusmessage
        except psycopg2.Error as error:
            return error.pgcode


def settled(shards):
    """The number of shards that have their row, once nothing is prepared."""
    harness.wait_for(lambda: not any(shards.everywhere("SELECT gid FROM pg_prepared_xacts")), "recovery", 30)
    return sum(int(n) for n in shards.everywhere("SELECT count(*) FROM users"))


@pytest.mark.parametrize("point", POINTS)
def test_the_proxy_dies(shards, peers, relays, coordinator, keys, point):
    shard, marker, before, committed = POINTS[point]
    relays[shard].set_trap(marker, before, lambda: os.killpg(coordinator.pid, signal.SIGKILL))
    assert commit(coordinator, keys) is None
    assert relays[shard].trap is None, "it never came to that point"
    assert settled(shards) == (SHARDS if committed else 0)


@pytest.mark.parametrize("point", POINTS)
def test_a_server_dies(shards, peers, relays, coordinator, keys, point):
    shard, marker, before, committed = POINTS[point]
    relays[shard].set_trap(marker, before, lambda: shards.kill(shard=shard))
    told = commit(coordinator, keys)
    assert relays[shard].trap is None, "it never came to that point"
    shards.restart(shard=shard)
    check(told, settled(shards), marker, committed)


@pytest.mark.parametrize("point", POINTS)
def test_a_connection_is_lost(shards, peers, relays, coordinator, keys, point):
    shard, marker, before, committed = POINTS[point]
    relays[shard].set_trap(marker, before, lambda: False)
    told = commit(coordinator, keys)
    assert relays[shard].trap is None, "it never came to that point"
    check(told, settled(shards), marker, committed)


def check(told, rows, marker, committed):
    """What the client is told is true."""
    assert rows in (0, SHARDS)
    if told == "COMMIT":
        assert rows == SHARDS
    elif told != "08007":
        assert rows == 0, told
    if marker != "weir.decide":   # there, what the client is told is that nobody knows
        assert rows == (SHARDS if committed else 0)


@pytest.mark.parametrize("point", ["before its number is asked for", "when the last PREPARE is done", "when the decision is made"])
def test_the_client_goes(shards, peers, relays, coordinator, keys, point):
    """The commit goes on without it."""
    shard, marker, before, _ = POINTS[point]
    client = wire.WireClient(coordinator.port)

    def goes():
        client.socket.shutdown(socket.SHUT_RDWR)
        return True

    for sql in ["BEGIN", *(f"INSERT INTO users (id, name) VALUES ({key}, 'all or nothing')" for key in keys)]:
        assert not client.query(sql).errors
    relays[shard].set_trap(marker, before, goes)
    client.send(wire.query("COMMIT"))
    harness.wait_for(lambda: {b["active"] for b in coordinator.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
    assert relays[shard].trap is None, "it never came to that point"
    assert settled(shards) == SHARDS
    client.socket.close()
