"""The pool of a plain database: its bound, its queue, its limits in time, and a server that goes away."""
import contextlib
import os
import pathlib
import socket
import threading
import time

import pytest

import harness
from wire_client import WireClient, query


@pytest.fixture(scope="module")
def database(plain_clusters):
    plain_clusters.psql("create role alice login superuser; create role bob login superuser")
    return harness.database_toml(plain_clusters, sharded=False, replicas=False)


@pytest.fixture(scope="module")
def own_users(plain_clusters):
    """Everybody logs in at the server under his own name: one pool for each."""
    return harness.database_toml(plain_clusters, sharded=False, replicas=False, backend="", maintenance="user=postgres")


def in_parallel(count, work):
    """Runs work(i) on `count` threads; the results in order, exceptions raised."""
    results = [None] * count

    def run(i):
        try:
            results[i] = work(i)
        except BaseException as e:  # noqa: BLE001: raised below
            results[i] = e

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for t in threads:
        t.start()
    deadline = time.monotonic() + 120
    for t in threads:
        t.join(timeout=max(0, deadline - time.monotonic()))
    for r in results:
        if isinstance(r, BaseException):
            raise r
    assert not any(t.is_alive() for t in threads), "a thread has not ended in time"
    return results


@contextlib.contextmanager
def connected(weir, count, **parameters):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WireClient(weir.port, **parameters)) for _ in range(count)]


def primary(weir):
    return [r for r in weir.console("SHOW BACKENDS") if r["role"] == "primary"][0]


def seen_by_postgres(clusters):
    return len(harness.live_servers(clusters))


def test_a_thousand_idle_clients_share_eight_servers(start_weir, database, plain_clusters):
    weir = start_weir([database], pool={"size": 8, "max_per_backend": 8})
    with connected(weir, 1000) as clients:
        assert len(weir.console("SHOW CLIENTS")) >= 1000
        for c in clients:
            c.send(query("select 1"))
        for c in clients:
            assert c.read_to_ready().rows == [["1"]]
        assert seen_by_postgres(plain_clusters) <= 8
        assert int(primary(weir)["server_connections_max_seen"]) <= 8
    harness.wait_for(lambda: len(weir.console("SHOW CLIENTS")) < 10, "the clients to be forgotten")


def test_the_classic_failure_fifty_clients_on_25_servers(start_weir, database, plain_clusters):
    """50 callers at once, transactions of 100 ms: two turns of the pool are 200 ms."""
    weir = start_weir([database], pool={"size": 25})

    def work(port, turns, ready):
        with WireClient(port, timeout=60) as c:
            c.query("select 1")
            ready.wait(timeout=60)
            for _ in range(5):
                began = time.monotonic()
                assert not c.query("begin; select pg_sleep(0.1); commit").errors
                turns.append(time.monotonic() - began)

    def p95(port, clients):
        turns, ready = [], threading.Barrier(clients)
        in_parallel(clients, lambda _: work(port, turns, ready))
        assert len(turns) == clients * 5
        return sorted(turns)[int(len(turns) * 0.95)]

    alone = p95(plain_clusters.node()["port"], 25)   # one turn, on this machine as busy as it is
    through = p95(weir.port, 50)
    print(f"p95: {alone:.3f} s on PostgreSQL itself, {through:.3f} s through Weir")
    assert through < 4 * alone + 0.1


def test_a_client_that_waits_too_long_gets_53300_with_the_pools_state(start_weir, database):
    weir = start_weir([database], pool={"size": 2, "wait_timeout": "500ms"})
    with connected(weir, 2) as holders, connected(weir, 1) as (waiting,):
        for c in holders:
            c.query("begin; select 1")
        began = time.monotonic()
        replies = waiting.query("select 1")
        assert 0.4 < time.monotonic() - began < 3 * harness.SLOW
        assert (replies.errors, replies.status) == (["53300"], "I")
        text = replies[0].fields["M"]
        assert "pool app/s0 primary" in text and "2 of 2 in use" in text and "waiting" in text, text
        holders[0].query("commit")
        assert waiting.value("select 2") == "2"


def test_the_queue_is_served_in_the_order_of_coming(start_weir, database):
    weir = start_weir([database], pool={"size": 1}, listen={"workers": 1})
    with connected(weir, 1) as (holder,), connected(weir, 8) as clients:
        holder.query("begin; select 1")
        for i, c in enumerate(clients):
            c.send(query("select clock_timestamp()"))
            harness.wait_for(lambda: int(primary(weir)["waiting"]) == i + 1, "the client in the queue", pause=0.01)
        holder.query("commit")
        served = [c.read_to_ready().rows[0][0] for c in clients]
        assert served == sorted(served)


def test_two_users_share_the_bound_of_their_server_and_neither_starves(start_weir, own_users, plain_clusters):
    weir = start_weir([own_users], pool={"size": 6, "max_per_backend": 6, "wait_timeout": "20s"})
    stop, seen = threading.Event(), []

    def watch():
        while not stop.is_set():
            seen.append(seen_by_postgres(plain_clusters))
            time.sleep(0.05)

    def work(i):
        with WireClient(weir.port, user=("alice", "bob")[i % 2], timeout=60) as c:
            assert c.value("select current_user") == ("alice", "bob")[i % 2]
            for _ in range(10):
                assert not c.query("select pg_sleep(0.02)").errors
        return True

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert all(in_parallel(20, work))
    finally:
        stop.set()
        watcher.join()
    assert max(seen) <= 6
    assert int(primary(weir)["server_connections_max_seen"]) <= 6


def test_idle_servers_are_closed_after_idle_timeout(start_weir, database, plain_clusters):
    weir = start_weir([database], pool={"size": 4, "idle_timeout": "1s"})
    with connected(weir, 4) as clients:
        for c in clients:
            c.query("begin; select 1")
        assert seen_by_postgres(plain_clusters) == 4
        for c in clients:
            c.query("commit")
    harness.wait_for(lambda: seen_by_postgres(plain_clusters) == 0, "idle servers to be closed", seconds=10)
    assert weir.psql("select 1") == "1"


def test_servers_are_renewed_after_their_lifetime(start_weir, database):
    weir = start_weir([database], pool={"size": 1, "lifetime": "1s"})
    with WireClient(weir.port) as c:
        first = c.value("select pg_backend_pid()")
        harness.wait_for(lambda: c.value("select pg_backend_pid()") != first, "another server", seconds=10)
        assert not c.query("begin").errors
        time.sleep(1.2)
        assert c.value("select 1") == "1"   # a transaction keeps its server
        assert c.query("commit").tags == ["COMMIT"]


def test_a_transaction_idle_too_long_is_ended_and_its_server_reused(start_weir, database):
    weir = start_weir([database], pool={"size": 1, "idle_transaction_timeout": "500ms"})
    with connected(weir, 2) as (idle, other):
        idle.query("begin")
        assert idle.at_end().errors == ["25P03"]
        assert other.value("select 1") == "1"


def test_idle_clients_survive_a_restart_of_postgresql(start_weir, database, plain_clusters):
    weir = start_weir([database], pool={"size": 4, "wait_timeout": "10s"})
    with connected(weir, 10) as clients:
        for c in clients:
            assert c.value("select 1") == "1"
        clients[0].query("begin; select 1")
        plain_clusters.kill()
        assert clients[0].read_until("EZ").errors or clients[0].query("select 1").errors
        plain_clusters.restart()
        harness.wait_for(lambda: weir.psql("select 1", check=False).stdout.strip() == "1", "weir to recover", seconds=30)
        for c in clients[1:]:
            assert c.value("select 2") == "2"


def test_a_database_that_is_down_is_told_in_time(start_weir, plain_clusters):
    dead = harness.free_port()
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False).replace(f"port={plain_clusters.node()['port']}", f"port={dead}")
    weir = start_weir([database], pool={"wait_timeout": "1s"})
    began = time.monotonic()
    with WireClient(weir.port) as c:
        assert c.greeting.errors == ["57P03"], c.greeting
    assert time.monotonic() - began < 8 * harness.SLOW


def test_a_server_that_says_nothing_is_given_up_after_connect_timeout(start_weir, plain_clusters):
    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        database = harness.database_toml(plain_clusters, sharded=False, replicas=False).replace(f"port={plain_clusters.node()['port']}", f"port={silent.getsockname()[1]}")
        weir = start_weir([database], pool={"connect_timeout": "300ms", "wait_timeout": "3s"}, ready=False)
        harness.wait_for(lambda: harness.asks_for_log_in(weir.port, "weir", "weir"), "weir, whose catalog was given up", 60)
        with WireClient(weir.port) as client:
            assert client.greeting.errors
        assert weir.log().count("login failed: ") >= 2 and "timed out" in weir.log(), weir.log()


# When each connection's keepalive timer fires next: /proc/net/tcp, column "tr" (2: keepalive; 1, retransmission, has its place while something is
# not acknowledged).
def keepalive_timers(local_port=None, remote_port=None):
    timers = []
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        local, remote, state, (kind, when) = columns[1], columns[2], columns[3], columns[5].split(":")
        port = lambda end: int(end.rpartition(":")[2], 16)
        if state == "01" and (local_port is None or port(local) == local_port) and (remote_port is None or port(remote) == remote_port):
            timers.append(int(when, 16) / os.sysconf("SC_CLK_TCK") if kind == "02" else None)
    return timers


def test_a_peer_that_vanished_is_noticed_by_keepalives(start_weir, plain_clusters):
    at = int(plain_clusters.node()["port"])
    for more, least, most in (("", 0, 30), ("keepalives_idle=77", 60, 77), ("keepalives=0", None, None)):
        weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False, backend=f"user=postgres {more}")], pool={"size": 1})
        with WireClient(weir.port) as client:
            pid = client.value("select pg_backend_pid()")
            port = int(plain_clusters.psql(f"select client_port from pg_stat_activity where pid = {pid}"))
            timer = harness.wait_for(lambda: (t := keepalive_timers(port, at)) and (least is None or t[0] is not None) and t, "the server connection")[0]
            assert timer is None if least is None else least <= timer <= most, (more, timer)
            harness.wait_for(lambda: (t := keepalive_timers(local_port=weir.port)) and None not in t, "the client connection's timer")
        weir.stop()
