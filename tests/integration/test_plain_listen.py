"""LISTEN over a pool in transaction mode: one server connection listens for all clients, with PostgreSQL's semantics."""
import random
import select
import threading
import time

import psycopg2
import pytest

import harness
from listeners import Listener, hub_pids, no_client_keeps_a_server
from wire_client import WireClient, bind, describe, execute, flush, parse, query, run, sync

POOL = 4


@pytest.fixture(scope="module")
def weir(plain_clusters):
    plain_clusters.psql("create table t (id int primary key, v text);"
                        "create function hears(c text) returns void language plpgsql as $$ begin execute format('listen %I', c); end $$;"
                        "create function rings() returns trigger language plpgsql as $$ begin perform pg_notify('rung', new.v); return new; end $$;"
                        "create trigger rings after insert on t for each row execute function rings()")
    proxy = harness.Weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": POOL, "wait_timeout": "10s"},
                         listen={"workers": 2})
    try:
        yield proxy.start()
    finally:
        proxy.stop()


@pytest.fixture
def single(start_weir, plain_clusters):
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False)
    return start_weir([database], pool={"size": 1, "wait_timeout": "5s"}, listen={"workers": 1})


def test_two_hundred_clients_listen_over_four_servers(weir, plain_clusters):
    clients = [Listener(weir, "news") for _ in range(200)]
    try:
        assert len(hub_pids(plain_clusters)) == 1
        assert no_client_keeps_a_server(weir)
        pid = int(plain_clusters.psql("begin; notify news, 'one'; select pg_backend_pid(); commit").split()[0])
        clients[0].query("notify news, 'two'")
        for c in clients:
            assert c.heard(plain_clusters) == ["one", "two"]
        with Listener(weir, "news") as c:
            other = int(plain_clusters.psql("notify news, 'three'; select pg_backend_pid()"))
            while not c.notifications:
                c.read()
            assert (c.notifications[0].pid, c.notifications[0].channel) == (other, "news") and pid != other
    finally:
        for c in clients:
            c.socket.close()


def test_listen_answers_as_postgresql_and_keeps_no_server(single, plain_clusters):
    with WireClient(single.port) as c, WireClient(single.port) as other:
        assert c.query("listen a").kinds == "CZ"
        assert c.query("LISTEN a").tags == ["LISTEN"]
        assert c.query("unlisten a").tags == ["UNLISTEN"]
        assert c.query("unlisten *").tags == ["UNLISTEN"]
        assert c.ask(parse("listen b", name="s") + describe("S", "s") + bind(name="s") + describe() + execute() + sync()).kinds == "1tn2nCZ"
        assert c.query("listen").errors == ["42601"]
        assert c.query("listen 'x'").errors == ["42601"]
        for _ in range(3):
            assert other.value("select count(*) from pg_listening_channels()") == "0"
        assert c.query("select 1; listen c; select 2").tags == ["SELECT 1", "LISTEN", "SELECT 1"]
        assert other.value("select count(*) from pg_listening_channels()") == "0"


def test_a_client_hears_itself_and_names_are_postgresqls(weir, plain_clusters):
    long = "c" * 70
    with Listener(weir, "Folded", '"Quoted ""Name"""', long) as c:
        for channel in ("folded", '"Quoted ""Name"""', long[:63]):
            c.query(f"notify {channel}, 'x'")
        c.query("select pg_notify('folded', 'y')")
        c.query('notify "Folded"')
        assert c.heard(plain_clusters) == ["x", "x", "x", "y"]


def test_listen_takes_effect_at_commit_and_not_before(weir, plain_clusters):
    with Listener(weir) as c:
        assert c.query("begin").status == "T"
        assert c.query("listen held").tags == ["LISTEN"]
        plain_clusters.psql("notify held, 'too early'")
        assert c.silent()
        c.query("commit")
        plain_clusters.psql("notify held, 'in time'")
        assert c.heard(plain_clusters) == ["in time"]


@pytest.mark.parametrize("with_server", [False, True])
def test_what_is_rolled_back_never_was(weir, plain_clusters, with_server):
    def begin(c):
        c.query("begin")
        if with_server:
            c.query("select 1")

    with Listener(weir, "kept") as c:
        begin(c)
        c.query("listen a")
        c.query("unlisten kept")
        c.query("rollback")
        begin(c)
        c.query("listen b")
        assert c.query("select 1/0").errors == ["22012"]
        assert c.query("listen c").errors == ["25P02"]
        assert c.query("commit").tags == ["ROLLBACK"]
        begin(c)
        c.query("savepoint one")
        c.query("listen d")
        c.query("savepoint two")
        c.query("listen e")
        c.query("unlisten kept")
        c.query("rollback to two")
        c.query("listen f")
        c.query("release two")
        c.query("savepoint three")
        c.query("unlisten d")
        assert c.query("select 1/0").errors == ["22012"]
        c.query("rollback to three")
        c.query("commit")
        for channel in ("kept", "a", "b", "c", "d", "e", "f"):
            plain_clusters.psql(f"notify {channel}, '{channel}'")
        assert c.heard(plain_clusters) == ["kept", "d", "f"]


@pytest.mark.parametrize("text, hears", [
    ("select 1; listen a; listen b; unlisten a", "b"),
    ("listen a; select 1/0", ""),
    ("begin; listen a; commit; select 1/0", "a"),
    ("begin; listen a; commit; begin; listen b; rollback; listen c", "ac"),
    ("begin; listen a; savepoint s; listen b; rollback to s; listen c; release s; commit", "ac"),
    ("listen a; commit; listen b; select 1/0", "a"),
    ("begin; select 1/0", ""),
    ("listen a; unlisten *; listen c; listen mark", "c"),
])
def test_a_text_of_several_statements(weir, plain_clusters, text, hears):
    with Listener(weir) as c:
        c.query(text)
        c.query("rollback")
        for channel in "abc":
            plain_clusters.psql(f"notify {channel}, '{channel}'")
        assert "".join(c.heard(plain_clusters)) == hears


def test_a_pipeline_is_one_transaction(weir, plain_clusters):
    with Listener(weir) as c:
        assert c.ask(run("listen a") + run("select 1/0") + sync()).errors == ["22012"]
        assert c.ask(run("select 1") + run("listen b") + run("select 2") + sync()).tags == ["SELECT 1", "LISTEN", "SELECT 1"]
        c.send(run("listen c") + flush())
        assert c.read_until("C")[-1].tag == "LISTEN"
        assert c.ask(run("select 1/0") + sync()).errors == ["22012"]
        c.send(run("listen d") + flush())
        c.read_until("C")
        assert c.ask(sync()).kinds == "Z"
        for channel in "abcd":
            plain_clusters.psql(f"notify {channel}, '{channel}'")
        assert c.heard(plain_clusters) == ["b", "d"]


def test_nothing_comes_within_a_transaction_and_everything_after_it(weir, plain_clusters):
    with Listener(weir, "news") as c:
        c.query("begin")
        c.query("select 1")
        for i in range(5):
            plain_clusters.psql(f"notify news, '{i}'")
        assert not [m for m in c.query("select pg_sleep(0.3)") if m.kind == "A"]
        assert c.silent()
        c.query("unlisten news")
        c.query("rollback")
        assert c.heard(plain_clusters) == list("01234")
        c.query("begin")
        c.query("unlisten news")
        plain_clusters.psql("notify news, 'late'")
        c.query("commit")
        assert c.heard(plain_clusters) == []


@pytest.mark.parametrize("ends", ["unlisten *", "unlisten news", "discard all", "begin; unlisten news; commit"])
def test_what_ends_it(weir, plain_clusters, ends):
    with Listener(weir, "news") as c:
        c.query(ends)
        c.query("listen mark")
        plain_clusters.psql("notify news, 'after'")
        assert c.heard(plain_clusters) == []
        c.query("listen news")
        plain_clusters.psql("notify news, 'again'")
        assert c.heard(plain_clusters) == ["again"]


def test_nobody_inherits_what_another_listened_to(single, plain_clusters):
    with Listener(single, "news") as c:
        c.query("select 1; listen more")
        c.query("begin; listen lost")
    with WireClient(single.port) as other:
        plain_clusters.psql("notify news; notify more; notify lost")
        assert other.value("select count(*) from pg_listening_channels()") == "0"
        assert other.silent()
    with Listener(single) as c:
        plain_clusters.psql("notify news; notify more; notify lost")
        assert c.heard(plain_clusters) == []


def test_the_connection_goes_some_time_after_the_last_listener(single, plain_clusters):
    with Listener(single, "news"):
        there = set(hub_pids(plain_clusters))
    harness.wait_for(lambda: there - set(hub_pids(plain_clusters)), "the connection to be closed", 20)


def test_a_listen_in_a_function_is_taken_over(single, plain_clusters):
    with Listener(single) as c, WireClient(single.port) as other:
        c.query("select hears('deep')")
        c.query("do $$ begin listen deeper; end $$")
        c.query("begin")
        c.query("select hears('never')")
        c.query("rollback")
        assert other.value("select count(*) from pg_listening_channels()") == "0"
        plain_clusters.psql("notify deep, '1'; notify deeper, '2'; notify never, '3'")
        assert sorted(c.heard(plain_clusters)) == ["1", "2"]
        assert no_client_keeps_a_server(single)


def test_with_a_kept_server_nothing_comes_twice(weir, plain_clusters):
    with Listener(weir, "news") as c:
        c.query("create temp table mine (i int)")
        c.query("listen more")
        c.query("select 1; listen third")
        plain_clusters.psql("notify news, '1'; notify more, '2'; notify third, '3'")
        assert c.heard(plain_clusters) == ["1", "2", "3"]


def test_session_mode_listens_on_its_own_server(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False, pool_mode="session")])
    before = hub_pids(plain_clusters)
    with Listener(weir, "news") as c:
        plain_clusters.psql("notify news, '1'")
        assert c.heard(plain_clusters) == ["1"]
        assert c.value("select string_agg(c, ' ' order by c) from pg_listening_channels() c") == "mark news"
        assert hub_pids(plain_clusters) == before


def test_triggers_and_encodings(weir, plain_clusters):
    with Listener(weir, "rung") as c, Listener(weir, "rung", client_encoding="LATIN1") as latin:
        c.query("insert into t values (1, 'für')")
        assert c.heard(plain_clusters) == ["für"]
        assert b"rung\0f\xfcr\0" in latin.read_until("A")[-1].body


def test_a_killed_connection_listens_again_and_says_so(weir, plain_clusters):
    with Listener(weir, "news") as c, Listener(weir, "news") as busy:
        busy.query("begin")
        pids = hub_pids(plain_clusters)
        for pid in pids:
            plain_clusters.psql(f"select pg_terminate_backend({pid})")
        notice = c.await_warning()
        assert (notice["S"], notice["C"]) == ("WARNING", "01000") and "app" in notice["M"]
        assert not set(pids) & set(hub_pids(plain_clusters))
        plain_clusters.psql("notify news, 'after'")
        assert c.heard(plain_clusters) == ["after"]
        assert not busy.notices
        busy.query("commit")
        busy.await_warning()
        assert busy.heard(plain_clusters) == ["after"]


def test_a_restart_of_the_primary(start_weir):
    own = harness.Clusters("--shards", "1", "--replicas", "0")
    try:
        weir = start_weir([harness.database_toml(own, sharded=False)], pool={"wait_timeout": "30s"})
        with Listener(weir, "news") as c:
            own.restart()
            c.await_warning()
            own.psql("notify news, 'after'")
            assert c.heard(own) == ["after"]
            own.kill()
            c.send(query("listen more"))   # waits for the primary
            harness.wait_for(lambda: "the listening connection was lost" in weir.log().split("is back")[-1], "the loss")
            own.restart()
            while c.read().kind != "Z":
                pass
            own.psql("notify more, 'there'")
            assert c.heard(own) == ["there"]
    finally:
        own.stop()


def test_listen_fails_clearly_where_no_server_can_be_had(start_weir):
    own = harness.Clusters("--shards", "1", "--replicas", "0")
    try:
        weir = start_weir([harness.database_toml(own, sharded=False)], pool={"wait_timeout": "1s"})
        with WireClient(weir.port) as c:
            own.kill()
            replies = c.query("listen news")
            assert replies.errors == ["08006"] and "SHOW LISTENERS" in replies[0].fields["H"]
            assert c.query("begin").errors or c.query("rollback") is not None
    finally:
        own.stop()


def test_exactly_once_and_in_order_under_load(weir, plain_clusters):
    """Clients come and go from channels while others notify: who listens for the whole of a channel's stream has it whole, once, in order."""
    channels = [f"stream{i}" for i in range(4)]
    steady = [Listener(weir, *channels) for _ in range(6)]
    stop = threading.Event()
    failures = []

    def wander(number):
        rng = random.Random(f"wander {number}")
        try:
            with Listener(weir, timeout=30) as c:
                while not stop.is_set():
                    c.query(f"{rng.choice(['listen', 'unlisten'])} {rng.choice(channels)}")
                    if rng.random() < 0.2:
                        c.query("begin")
                        c.query(f"listen {rng.choice(channels)}")
                        c.query(rng.choice(["commit", "rollback"]))
                for channel in channels:
                    own = [int(n.payload.split()[1]) for n in c.notifications if n.channel == channel and n.payload.startswith("0 ")]
                    assert own == sorted(set(own)), (channel, own)
        except BaseException as error:   # noqa: BLE001
            failures.append(error)

    def notify(number):
        try:
            with WireClient(weir.port, timeout=30) as c:
                for i in range(150):
                    assert not c.query(f"notify {channels[(i + number) % 4]}, '{number} {i}'").errors
        except BaseException as error:   # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=wander, args=(i,)) for i in range(6)]
    notifiers = [threading.Thread(target=notify, args=(i,)) for i in range(4)]
    for t in threads + notifiers:
        t.start()
    for t in notifiers:
        t.join()
    stop.set()
    for t in threads:
        t.join()
    assert not failures, failures[0]
    for c in steady:
        payloads = c.heard(plain_clusters)
        assert len(payloads) == 600
        for number in range(4):
            assert [p for p in payloads if p.startswith(f"{number} ")] == [f"{number} {i}" for i in range(150)]
        c.socket.close()


def test_a_client_that_does_not_read_is_disconnected(weir, plain_clusters):
    with Listener(weir, "flood") as deaf, Listener(weir, "flood") as c:
        deaf.query("begin")
        payload = "x" * 7000
        for _ in range(8):
            plain_clusters.psql(f"select count(pg_notify('flood', '{payload}' || i)) from generate_series(1, 300) i")
            assert len(c.heard(plain_clusters)) == 300
        last = [m for m in deaf.at_end() if m.kind == "E"]
        assert last[-1].fields["S"] == "FATAL" and last[-1].fields["C"] == "53400" and "notifications" in last[-1].fields["M"]


def test_channels_of_a_client_are_bounded(weir):
    with WireClient(weir.port, timeout=60) as c:
        c.query("".join(f"listen c{i};" for i in range(1000)))
        assert c.query("listen one_more").errors == ["53400"]
        assert c.query("listen c5").tags == ["LISTEN"]


def test_a_client_that_listens_is_not_told_of_a_servers_channels(weir):
    with Listener(weir) as c:
        assert c.query("select * from pg_listening_channels()").errors == ["0A000"]
        c.query("unlisten *")
        assert c.query("select * from pg_listening_channels()").rows == []


def test_show_listeners(weir):
    with Listener(weir, "shown"), Listener(weir, "shown"):
        rows = weir.console("SHOW LISTENERS")
        assert [(r["channel"], r["clients"]) for r in rows if r["channel"] == "shown"] == [("shown", "2")]
        assert [r["shard"] for r in rows if r["server_pid"] not in (None, "")]


def test_psycopg2(weir, plain_clusters):
    connection = weir.connect()
    with connection.cursor() as cursor:
        cursor.execute("listen drivers")
    plain_clusters.psql("notify drivers, 'hello'")
    deadline = time.monotonic() + 10
    while not connection.notifies and time.monotonic() < deadline:
        select.select([connection], [], [], 1)
        connection.poll()
    assert [(n.channel, n.payload) for n in connection.notifies] == [("drivers", "hello")]
    connection.close()
    assert isinstance(connection, psycopg2.extensions.connection)
