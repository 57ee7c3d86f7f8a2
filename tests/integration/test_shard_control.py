"""What the administrator does while a client's transaction is open over several shards: KILL, PAUSE, RECONNECT, the ends of the process, a restart
by hand-over. Afterwards all of it is committed or nothing, nothing is prepared, no server is still in use, and the client has been told."""
import contextlib
import copy
import signal
import threading

import pytest

import harness
import sharded
from gate import Gate
from test_handover import Generations
from wire_client import WireClient, query


@pytest.fixture(scope="module")
def keys(clusters):
    return [shard[0] for shard in sharded.spread_keys(clusters, per_shard=1)]


@pytest.fixture(autouse=True)
def rows(clusters, keys):
    for shard, key in enumerate(keys):
        clusters.psql(f"DELETE FROM users; INSERT INTO users (id, name) VALUES ({key}, '100')", shard=shard)
    yield
    for left, of in (("pg_prepared_xacts", "prepared"), ("pg_stat_activity WHERE state LIKE 'idle in transaction%'", "idle in a transaction")):
        harness.wait_for(lambda: set(clusters.everywhere(f"SELECT count(*) FROM {left}")) == {"0"}, f"nothing to be {of}")


@pytest.fixture
def databases(clusters):
    return [harness.database_toml(clusters, replicas=False)]


@pytest.fixture
def proxy(databases, start_weir):
    return start_weir(databases, pool={"size": 4})


def names(clusters, keys):
    return [clusters.psql(f"SELECT name FROM users WHERE id = {key}", shard=shard) for shard, key in enumerate(keys)]


def update(key, name):
    return f"UPDATE users SET name = '{name}' WHERE id = {key}"


@contextlib.contextmanager
def transfer(port, keys, **startup):
    """A client that has written on shards 0 and 1, and not committed it."""
    with WireClient(port, **startup) as client:
        for sql in ("BEGIN", update(keys[0], "90"), update(keys[1], "110")):
            found = client.query(sql)
            assert found.status == "T", found
        yield client


def none_in_use(proxy):
    harness.wait_for(lambda: {b["active"] for b in proxy.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")


def works(proxy, keys):
    """Another transaction over the same rows commits."""
    with WireClient(proxy.port) as client:
        found = client.query("; ".join(["BEGIN", *(update(key, "over") for key in keys[:2]), "COMMIT"]))
        assert found.tags == ["BEGIN", "UPDATE 1", "UPDATE 1", "COMMIT"], found


# --- KILL


def test_kill_client_rolls_back_on_every_shard(proxy, clusters, keys):
    with transfer(proxy.port, keys, application_name="victim") as client:
        (victim,) = (c["id"] for c in proxy.console("SHOW CLIENTS") if c["application_name"] == "victim")
        proxy.console(f"KILL_CLIENT {victim}")
        found = client.at_end()
        assert found.errors == ["57P01"] and found.kinds == "E", found
    none_in_use(proxy)
    assert names(clusters, keys)[:2] == ["100", "100"]
    works(proxy, keys)


def test_kill_client_in_the_middle_of_a_statement(proxy, clusters, keys):
    with transfer(proxy.port, keys, application_name="victim") as client:
        client.send(query(f"SELECT pg_sleep(30) FROM users WHERE id = {keys[1]}"))
        harness.wait_for(lambda: "1" in clusters.everywhere("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), "it to run")
        (victim,) = (c["id"] for c in proxy.console("SHOW CLIENTS") if c["application_name"] == "victim")
        proxy.console(f"KILL_CLIENT {victim}")
        assert client.at_end().errors[-1:] == ["57P01"]
    none_in_use(proxy)
    assert set(clusters.everywhere("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")) == {"0"}
    assert names(clusters, keys)[:2] == ["100", "100"]


def test_kill_drops_its_servers_and_resume_serves_again(proxy, clusters, keys):
    with transfer(proxy.port, keys) as client:
        proxy.console("KILL app")
        assert client.at_end().errors == ["57P01"]
    none_in_use(proxy)
    assert names(clusters, keys)[:2] == ["100", "100"]
    proxy.console("RESUME app")
    works(proxy, keys)


@pytest.mark.parametrize("command", ["KILL app", "KILL_CLIENT"])
@pytest.mark.parametrize("at, behind", [("PREPARE TRANSACTION", True), ("COMMIT PREPARED", False)])
def test_kill_while_it_commits(clusters, start_weir, keys, command, at, behind):
    """What two-phase commit has begun comes to its end: by the session itself, or by recovery."""
    shards = copy.deepcopy(clusters.shards)
    gate = Gate(clusters.shards[1]["primary"])
    shards[1]["primary"]["host"], shards[1]["primary"]["port"] = "127.0.0.1", gate.port
    proxy = start_weir([harness.weir_toml.database(shards, replicas=False, sharding={"in_doubt_after": "2s"})])
    try:
        with transfer(proxy.port, keys, application_name="victim") as client:
            gate.stop_at(at, behind)
            client.send(query("COMMIT"))
            assert gate.reached.wait(20)
            (victim,) = (c["id"] for c in proxy.console("SHOW CLIENTS") if c["application_name"] == "victim")
            killing = threading.Thread(target=proxy.console, args=(command if "app" in command else f"{command} {victim}",))
            killing.start()
            harness.wait_for(lambda: not killing.is_alive() or proxy.console("SHOW DATABASES")[0]["paused"] == "1", "the command")
            gate.open(passes=True)
            killing.join(20)
            assert not killing.is_alive()
            told = client.at_end()
        harness.wait_for(lambda: set(clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts")) == {"0"}, "the transaction to be finished", 30)
        found = names(clusters, keys)[:2]
        assert found in (["90", "110"], ["100", "100"]), found
        if at == "COMMIT PREPARED" or "COMMIT" in told.tags:   # it had been decided
            assert found == ["90", "110"]
        if command == "KILL app":
            proxy.console("RESUME app")
        none_in_use(proxy)
        works(proxy, keys)
    finally:
        gate.close()


# --- PAUSE, RECONNECT


def test_pause_waits_for_it_and_lets_it_go_on_to_further_shards(proxy, clusters, keys):
    with transfer(proxy.port, keys) as client, WireClient(proxy.port) as newcomer:
        pausing = threading.Thread(target=proxy.console, args=("PAUSE app",))
        pausing.start()
        harness.wait_for(lambda: proxy.console("SHOW DATABASES")[0]["paused"] == "1", "the pause")
        newcomer.send(query(f"SELECT name FROM users WHERE id = {keys[0]}"))
        harness.wait_for(lambda: any(c["state"] == "waiting" for c in proxy.console("SHOW CLIENTS")), "the newcomer to wait")
        assert client.query(update(keys[2], "120")).tags == ["UPDATE 1"]
        assert pausing.is_alive()
        assert client.query("COMMIT").tags == ["COMMIT"]
        pausing.join(20)
        assert not pausing.is_alive()
        assert newcomer.silent()
        proxy.console("RESUME app")
        assert newcomer.read_to_ready().rows == [["90"]]
    assert names(clusters, keys)[:3] == ["90", "110", "120"]
    none_in_use(proxy)


def test_reconnect_closes_its_servers_when_it_has_ended(proxy, clusters, keys):
    of_proxy = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'"
    with transfer(proxy.port, keys) as client:
        before = [clusters.psql(of_proxy, shard=shard) for shard in range(2)]
        assert all(before)
        proxy.console("RECONNECT app")
        waiting = threading.Thread(target=proxy.console, args=("WAIT_CLOSE app",))
        waiting.start()
        assert client.query(update(keys[2], "120")).tags == ["UPDATE 1"]
        assert waiting.is_alive()
        assert client.query("COMMIT").tags == ["COMMIT"]
        waiting.join(20)
        assert not waiting.is_alive()
    for shard, pids in enumerate(before):
        harness.wait_for(lambda: clusters.psql(f"SELECT count(*) FROM pg_stat_activity WHERE pid IN ({','.join(pids.split())})", shard=shard) == "0", "its server to be closed")
    assert names(clusters, keys)[:3] == ["90", "110", "120"]
    works(proxy, keys)


# --- the process ends


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_process_waits_for_it(databases, clusters, start_weir, keys, how):
    proxy = start_weir(databases, listen={"drain_timeout": "60s"})
    with transfer(proxy.port, keys) as client:
        proxy.process.send_signal(how)
        proxy.wait_log("waiting for clients to leave" if how == signal.SIGTERM else "transactions may end")
        assert client.query(update(keys[2], "120")).tags == ["UPDATE 1"]
        client.send(query("COMMIT"))
        assert "COMMIT" in client.read_to_ready().tags
        assert names(clusters, keys)[:3] == ["90", "110", "120"]
    assert proxy.process.wait(timeout=20) == 0


def test_after_drain_timeout_it_is_rolled_back(databases, clusters, start_weir, keys):
    proxy = start_weir(databases, listen={"drain_timeout": "500ms"})
    with transfer(proxy.port, keys) as client:
        proxy.process.terminate()
        assert client.at_end().errors == ["57P01"]
        assert proxy.process.wait(timeout=20) == 0
    assert names(clusters, keys)[:2] == ["100", "100"]


def test_the_process_that_waits_for_nobody_leaves_nothing(databases, clusters, start_weir, keys):
    proxy = start_weir(databases)
    with transfer(proxy.port, keys) as client:
        proxy.process.send_signal(signal.SIGQUIT)
        proxy.process.wait(timeout=20)
        client.at_end()
    harness.wait_for(lambda: names(clusters, keys)[:2] == ["100", "100"], "the servers to notice")


# --- restart by hand-over


@pytest.fixture
def generations(databases):
    started = []

    def start(**listen):
        started.append(Generations(databases[0], listen=listen, pool={"size": 4}))
        return started[-1].start()

    yield start
    for weir in started:
        weir.stop()


def test_it_goes_on_in_the_old_process(generations, clusters, keys):
    weir = generations(drain_timeout="60s")
    with transfer(weir.port, keys) as client:
        old = weir.replace()
        assert client.query(update(keys[2], "120")).tags == ["UPDATE 1"]
        client.send(query("COMMIT"))
        assert "COMMIT" in client.read_to_ready().tags
        assert names(clusters, keys)[:3] == ["90", "110", "120"]
    assert old.wait(20) == 0
    works(weir, keys)


def test_in_the_old_process_it_is_rolled_back_after_drain_timeout(generations, clusters, keys):
    weir = generations(drain_timeout="1s")
    with transfer(weir.port, keys) as client:
        old = weir.replace()
        assert client.at_end().errors == ["57P01"]
        assert old.wait(20) == 0
    assert names(clusters, keys)[:2] == ["100", "100"]
    works(weir, keys)
