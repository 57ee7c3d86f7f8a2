"""Nodes and the proxy die under load over all shards: clients of other shards see nothing, those of that shard a clear error, and it recovers."""
import collections
import contextlib
import threading
import time

import psycopg2
import pytest

import harness
import sharded

# What a client of the broken shard may see, each with a text that says what to do.
CLEAR = {"08000", "08003", "08006", "08007", "57P01", "57P02", "57P03", "53300"}
LIMIT = 45


@pytest.fixture(scope="module")
def proxy(clusters):
    started = harness.Weir([harness.database_toml(clusters)], pool={"size": 8, "wait_timeout": "3s"})
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def keys(clusters, proxy):
    found = sharded.spread_keys(clusters)
    with contextlib.closing(proxy.connect()) as connection, connection.cursor() as cursor:
        for k in (k for shard in found for k in shard):
            cursor.execute("INSERT INTO users (id, name) VALUES (%s, 'x')", (k,))
    return found


class Load:
    """Two clients of each shard, autocommit: they write an order, then read it back."""

    def __init__(self, proxy, keys, reconnect=False):
        self.proxy, self.keys, self.reconnect = proxy, keys, reconnect
        self.stopping = threading.Event()
        self.errors = [[] for _ in keys]
        self.done = [0 for _ in keys]
        self.written = [collections.Counter() for _ in keys]
        self.threads = [threading.Thread(target=self.work, args=(i, n), daemon=True) for i in range(len(keys)) for n in range(2)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        harness.wait_for(lambda: min(self.done) > 5, "every shard's clients to be at work", 20)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(LIMIT)
        assert not any(thread.is_alive() for thread in self.threads), "a client hangs"

    def work(self, shard, number):
        connection, order = None, int(time.time() * 1000) * 10 + number
        while not self.stopping.is_set():
            order += 10
            try:
                if connection is None or connection.closed:
                    connection = self.proxy.connect()
                with connection.cursor() as cursor:
                    key = self.keys[shard][number]
                    cursor.execute(f"INSERT INTO orders (id, user_id, product) VALUES ({order}, {key}, 'chaos')")
                    self.written[shard][key] += 1
                    cursor.execute(f"SELECT id FROM orders WHERE user_id = {key} AND id = {order}")
                    assert cursor.fetchall() == [(order,)], "a client does not see its own write"
                self.done[shard] += 1
            except (psycopg2.Error, AssertionError) as error:
                self.errors[shard].append(error)
                time.sleep(0.05)
            time.sleep(0.005)
        if connection:
            connection.close()

    def await_progress(self, shard, more=10, seconds=LIMIT):
        wanted = self.done[shard] + more
        harness.wait_for(lambda: self.done[shard] >= wanted, f"{more} more turns on shard {shard} (errors: {self.errors[shard][-3:]})", seconds)

    def assert_untouched(self, broken=None):
        for shard, errors in enumerate(self.errors):
            assert shard == broken or not errors, (shard, errors[:3])


def assert_clear(errors):
    for error in errors:
        assert isinstance(error, psycopg2.Error), error
        assert error.pgcode in CLEAR or "server closed the connection" in str(error) or "57P" in str(error) or "08006" in str(error), (error.pgcode, str(error))
        assert len(str(error)) > 20, str(error)


def rows_are_there(clusters, load):
    """Every acknowledged write is on its shard."""
    for shard, written in enumerate(load.written):
        for key, count in written.items():
            found = int(clusters.psql(f"SELECT count(*) FROM orders WHERE user_id = {key} AND product = 'chaos'", shard=shard))
            assert found >= count, (shard, key)


def test_a_killed_replica_is_noticed_by_nobody_and_it_recovers(proxy, clusters, keys):
    with Load(proxy, keys) as load:
        clusters.kill(1, "0")
        for shard in range(4):
            load.await_progress(shard, 20)
        harness.wait_for(lambda: state_of(proxy, "s1", "replica") != "usable", "the replica to be left out", 20)
        clusters.restart(1, "0")
        harness.wait_for(lambda: state_of(proxy, "s1", "replica") == "usable", "the replica to come back", 30)
        load.await_progress(1, 20)
    load.assert_untouched()
    rows_are_there(clusters, load)


def state_of(proxy, shard, role):
    return next(b["state"] for b in proxy.console("SHOW BACKENDS") if (b["shard"], b["role"]) == (shard, role))


@pytest.mark.parametrize("broken", [2, 0])   # 0 is the home shard
def test_a_killed_primary_is_the_trouble_of_its_shard_alone_and_it_recovers(proxy, clusters, keys, broken):
    pid = proxy.pid
    with Load(proxy, keys) as load:
        clusters.kill(broken, "primary")
        for shard in range(4):
            if shard != broken:
                load.await_progress(shard, 40)
        harness.wait_for(lambda: load.errors[broken], "the clients of the broken shard to be told", 20)
        clusters.restart(broken, "primary")
        for shard in range(4):
            load.await_progress(shard, 20)
        seen = len(load.errors[broken])
        load.await_progress(broken, 20)
        assert len(load.errors[broken]) - seen <= 2, "errors go on after the recovery"
    load.assert_untouched(broken)
    assert_clear(load.errors[broken])
    rows_are_there(clusters, load)
    assert proxy.pid == pid and proxy.process.poll() is None


def test_an_open_transaction_on_a_killed_primary_fails_and_the_session_lives(proxy, clusters, keys):
    k = keys[3][2]
    connection = proxy.connect()
    cursor = connection.cursor()
    cursor.execute("BEGIN")
    cursor.execute(f"UPDATE users SET email = 'lost' WHERE id = {k}")
    cursor.execute("SAVEPOINT s")
    clusters.kill(3, "primary")
    with pytest.raises(psycopg2.Error) as error:
        cursor.execute(f"UPDATE users SET email = 'lost, too' WHERE id = {k}")
    assert_clear([error.value])
    if not connection.closed:
        # No savepoint of a lost transaction can be returned to.
        with pytest.raises(psycopg2.Error):
            cursor.execute("ROLLBACK TO SAVEPOINT s")
        cursor.execute("ROLLBACK")
        assert connection.info.transaction_status == 0
    clusters.restart(3, "primary")

    def healed():
        with contextlib.closing(proxy.connect()) as other, other.cursor() as ask:
            try:
                ask.execute(f"UPDATE users SET name = 'healed' WHERE id = {k} RETURNING email")
                return ask.fetchall() == [(None,)]
            except psycopg2.Error:
                return False

    harness.wait_for(healed, "shard 3 to serve again", LIMIT)
    connection.close()


def test_a_killed_proxy_starts_again_on_the_same_files_and_it_recovers(proxy, clusters, keys):
    with Load(proxy, keys) as load:
        proxy.process.kill()
        proxy.process.wait(10)
        harness.wait_for(lambda: all(load.errors), "every client to lose its connection", 20)
        proxy.start()
        for shard in range(4):
            load.await_progress(shard, 20)
    rows_are_there(clusters, load)
    # The servers that the dead proxy left behind go, too: none is kept waiting in a transaction.
    for i in range(4):
        idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        harness.wait_for(lambda: clusters.psql(idle, shard=i) == "0", "left transactions to end", 20)
