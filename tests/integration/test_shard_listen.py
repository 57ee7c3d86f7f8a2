"""LISTEN on a sharded database: a connection listens on every shard, and each notification comes once, from where it was made."""
import threading

import psycopg
import pytest

import harness
import sharded
from listeners import Listener, hub_pids, no_client_keeps_a_server
from wire_client import WireClient

SHARDS = 4


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=60)


@pytest.fixture(scope="module", autouse=True)
def bells(clusters):
    """An INSERT into users rings on its own shard."""
    for shard in range(SHARDS):
        clusters.psql("create function rings() returns trigger language plpgsql as $$ begin perform pg_notify('rung', new.name); return new; end $$;"
                      "create trigger rings after insert on users for each row execute function rings()", shard=shard)
    yield
    for shard in range(SHARDS):
        clusters.psql("drop trigger rings on users; drop function rings()", shard=shard)


def test_notify_is_heard_once_and_a_triggers_from_its_shard(weir, clusters, keys):
    with Listener(weir, "news", "rung") as c, WireClient(weir.port) as other:
        assert [len(hub_pids(clusters, i)) for i in range(SHARDS)] == [1] * SHARDS
        assert no_client_keeps_a_server(weir)
        other.query("notify news, 'from a client'")
        assert c.heard(clusters) == ["from a client"], "the home shard's, once"
        for shard in range(SHARDS):
            other.query(f"insert into users (id, name) values ({keys[shard][0]}, 'on {shard}')")
            assert c.heard(clusters, shard) == [f"on {shard}"]
            clusters.psql(f"notify news, 'at {shard}'", shard=shard)
            assert c.heard(clusters, shard) == [f"at {shard}"]
        assert c.silent()


def test_a_transaction_on_another_shard_may_listen_and_notify(weir, clusters, keys):
    with Listener(weir, "news") as c:
        c.query("begin")
        assert c.query("listen more").tags == ["LISTEN"]
        c.query(f"insert into users (id, name) values ({keys[2][1]}, 'two')")
        assert c.query("listen most").tags == ["LISTEN"]
        assert c.query(f"select pg_notify('news', 'in it') from users where id = {keys[2][1]}").status == "T"
        assert c.query("notify news, 'too'").tags == ["NOTIFY"]
        assert c.silent()
        assert c.query("commit").tags == ["COMMIT"]
        assert c.heard(clusters, 2) == ["in it", "too"], "from the transaction's shard"
        clusters.psql("notify more, '1'; notify most, '2'", shard=3)
        assert c.heard(clusters, 3) == ["1", "2"]


@pytest.mark.parametrize("ends, hears", [("commit", ["a", "c"]), ("rollback", [])])
def test_a_held_transaction_and_its_savepoints(weir, clusters, ends, hears):
    with Listener(weir) as c:
        for sql in ("begin", "listen a", "savepoint s", "listen b", "rollback to s", "listen c", ends):
            assert not c.query(sql).errors
        for channel in "abc":
            clusters.psql(f"notify {channel}, '{channel}'", shard=1)
        assert c.heard(clusters, 1) == hears


def test_one_shards_connection_is_lost(weir, clusters):
    with Listener(weir, "news") as c:
        (pid,) = hub_pids(clusters, 2)
        clusters.psql(f"select pg_terminate_backend({pid})", shard=2)
        assert "shard s2" in c.await_warning()["M"]
        for shard in range(SHARDS):
            clusters.psql(f"notify news, '{shard}'", shard=shard)
            assert c.heard(clusters, shard) == [str(shard)]


def test_load_on_every_shard_is_heard_exactly_once(weir, clusters, keys):
    listeners = [Listener(weir, "rung") for _ in range(3)]

    def insert(shard):
        with WireClient(weir.port, timeout=30) as c:
            for key in keys[shard][2:42]:
                assert not c.query(f"insert into users (id, name) values ({key}, '{shard} {key}')").errors

    threads = [threading.Thread(target=insert, args=(i,)) for i in range(SHARDS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for c in listeners:
        found = [p for shard in range(SHARDS) for p in c.heard(clusters, shard)]
        for shard in range(SHARDS):
            assert [p for p in found if p.startswith(f"{shard} ")] == [f"{shard} {k}" for k in keys[shard][2:42]]
        c.socket.close()


def test_psycopg_notifies(weir, clusters, keys):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        connection.execute("listen rung")
        with WireClient(weir.port) as other:
            other.query(f"insert into users (id, name) values ({keys[3][50]}, 'heard')")
        for notification in connection.notifies():
            assert (notification.channel, notification.payload) == ("rung", "heard")
            break


def test_reload_to_another_primary_moves_the_connection(start_weir, clusters):
    """The second shard's primary is named another way: its connection is made anew, and the clients are told."""
    database = harness.database_toml(clusters, replicas=False)
    weir = start_weir([database])
    with Listener(weir, "news") as c:
        text = weir.config.read_text()
        old = clusters.shards[1]["primary"]
        assert text.count(f"port={old['port']}") >= 1
        weir.config.write_text(text.replace(f"port={old['port']}", f"port={old['port']} connect_timeout=7"))
        weir.reload()
        assert "shard s1" in c.await_warning()["M"]
        clusters.psql("notify news, 'moved'", shard=1)
        assert c.heard(clusters, 1) == ["moved"]
