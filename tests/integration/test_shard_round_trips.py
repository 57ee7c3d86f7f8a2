"""How often a transaction over shards waits for a server: seen by servers that take their time to answer."""
import contextlib
import time

import pytest

import harness
import sharded
from relay import Relay

DELAY = 0.1   # seconds; all else of a transaction takes far less
COMMIT = 4    # round trips that a two-phase commit may cost, beyond the transaction's statements


@pytest.fixture(scope="module")
def far(clusters):
    """(a Weir whose first two shards are far away, its relays)"""
    first = Relay(clusters)
    second = Relay(clusters, shard=1, shards=first.shards)
    proxy = harness.Weir([harness.weir_toml.database(second.shards, replicas=False)])
    try:
        yield proxy.start(), (first, second)
    finally:
        proxy.stop()
        for relay in (first, second):
            relay.close()


@contextlib.contextmanager
def slow(relays):
    for relay in relays:
        relay.delay = DELAY
    try:
        yield
    finally:
        for relay in relays:
            relay.delay = 0.0


def trips(connection, relays, statements):
    """Sequential round trips of the statements, each sent when the one before it was answered: the least of three attempts."""
    least = float("inf")
    for _ in range(3):
        with slow(relays), connection.cursor() as cursor:
            began = time.monotonic()
            for sql in statements:
                cursor.execute(sql)
            least = min(least, (time.monotonic() - began) / DELAY)
    return least


@pytest.fixture(scope="module")
def pair(clusters):
    keys = sharded.spread_keys(clusters)
    for shard in (0, 1):
        clusters.psql(f"INSERT INTO users (id, name) VALUES ({keys[shard][0]}, 'x')", shard=shard)
    return keys[0][0], keys[1][0]


def transfer(a, b):
    return [f"UPDATE users SET name = name || '-' WHERE id = {a}", f"UPDATE users SET name = name || '+' WHERE id = {b}"]


def test_a_transfer_between_two_shards_costs_four_round_trips_beyond_its_statements(far, pair):
    weir, relays = far
    with contextlib.closing(weir.connect()) as connection:
        trips(connection, (), ["BEGIN", *transfer(*pair), "COMMIT"])   # servers are logged in, plans are known
        seen = trips(connection, relays, ["BEGIN", *transfer(*pair), "COMMIT"])
        assert seen < len(transfer(*pair)) + COMMIT + 0.9


def test_what_was_only_read_elsewhere_commits_in_two(far, pair):
    """The shard that was written to first, then the one that was read."""
    weir, relays = far
    statements = ["BEGIN", transfer(*pair)[0], f"SELECT name FROM users WHERE id = {pair[1]}", "COMMIT"]
    with contextlib.closing(weir.connect()) as connection:
        trips(connection, (), statements)
        assert trips(connection, relays, statements) < 2 + 2 + 0.9
