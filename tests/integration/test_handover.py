"""Restart by hand-over: listen.takeover_socket. No client is refused, and both processes together keep to the bound of each server."""
import contextlib
import os
import pathlib
import signal
import socket
import stat
import threading
import time

import psycopg2
import pytest

import harness
from listeners import Listener
from metrics_client import get, scrape
from wire_client import WireClient, query, startup


class Generations(harness.Weir):
    """A proxy that is replaced: `replace()` starts the next process on the same weir.toml."""

    def __init__(self, database, **options):
        super().__init__([database], **options)
        self.takeover = self.directory / "takeover"
        self.database, self.options, self.past = database, options, []
        self.configure()

    def configure(self, **listen):
        options = {k: v for k, v in self.options.items() if k != "listen"}
        self.write_config([self.database], listen={"takeover_socket": "takeover", **self.options.get("listen", {}), **listen}, **options)

    def begin_replacing(self):
        old = self.process
        self.past.append(old)
        self.start(ready=False)
        return old

    def replace(self):
        """Returns the old process when the new one accepts the clients alone."""
        old = self.begin_replacing()
        accepted = f"process {self.process.pid} accepts the clients now"
        harness.wait_for(lambda: accepted in self.log() or self.process.poll() is not None, "the hand-over", 20)
        assert self.process.poll() is None, self.log()
        return old

    def stop(self, **how):
        for process in self.past:
            if process.poll() is None:
                process.kill()
                process.wait(10)
        super().stop(**how)


@pytest.fixture
def start(plain_clusters):
    started = []

    def start(database=None, **options):
        weir = Generations(database or harness.database_toml(plain_clusters, sharded=False, replicas=False), **options)
        started.append(weir)
        return weir.start()

    yield start
    for weir in started:
        weir.stop()


def seen_by_postgres(clusters):
    return len(harness.live_servers(clusters))


@contextlib.contextmanager
def background(*works):
    """Runs each of `works` again and again in a thread of its own; what they raised is the value."""
    stop, failures, counts = threading.Event(), [], [0] * len(works)

    def run(i, work):
        while not stop.is_set():
            try:
                work()
                counts[i] += 1
            except Exception as e:  # noqa: BLE001: reported to the test
                failures.append(repr(e))

    threads = [threading.Thread(target=run, args=(i, w)) for i, w in enumerate(works)]
    for t in threads:
        t.start()
    try:
        yield failures, counts
    finally:
        stop.set()
        for t in threads:
            t.join(timeout=60)


def test_three_hand_overs_under_load_refuse_nobody_and_keep_the_bound(start, plain_clusters):
    bound = 6
    weir = start(pool={"size": 6, "max_per_backend": bound, "wait_timeout": "20s"}, listen={"drain_timeout": "20s", "workers": 2})

    def once(**where):
        connection = weir.connect(**where)
        try:
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(0.005), 42")
                assert cursor.fetchone()[1] == 42
        finally:
            connection.close()

    seen = []
    works = [once] * 6 + [lambda: once(unix=True)] * 2 + [lambda: seen.append(seen_by_postgres(plain_clusters))]
    with background(*works) as (failures, counts):
        for workers in (3, 1, 2):   # all listeners are passed on, however many workers there are
            before = list(counts)
            harness.wait_for(lambda: all(now > then + 5 for now, then in zip(counts, before)), "traffic")
            weir.configure(workers=workers, drain_timeout="20s")
            old = weir.replace()
            assert old.wait(30) == 0
        before = list(counts)
        harness.wait_for(lambda: all(now > then + 5 for now, then in zip(counts, before)), "traffic after the last hand-over")
    assert failures == []
    assert max(seen) <= bound, seen
    backend = weir.console("SHOW BACKENDS")[0]
    assert backend["server_connections_bound"] == str(bound), "the whole bound is the last one's"


def test_clients_of_the_old_process_work_on_and_share_the_bound_with_those_of_the_new(start, plain_clusters):
    weir = start(pool={"size": 2, "max_per_backend": 2, "wait_timeout": "20s"}, listen={"drain_timeout": "60s"})
    seen = []
    with contextlib.ExitStack() as stack:
        before = [stack.enter_context(WireClient(weir.port, timeout=30)) for _ in range(4)]
        for client in before:
            assert client.value("select 1") == "1"
        before[0].query("begin; create temp table kept (a int) on commit drop")
        old = weir.replace()
        after = [stack.enter_context(WireClient(weir.port, timeout=30)) for _ in range(4)]

        def ask(client):
            assert client.value("select pg_sleep(0.01)") == ""

        works = [lambda c=c: ask(c) for c in before[1:] + after]
        with background(*works, lambda: seen.append(seen_by_postgres(plain_clusters))) as (failures, counts):
            harness.wait_for(lambda: min(counts) >= 10, "every client to be served again and again", 60)
        assert failures == []
        assert max(seen) <= 2
        assert before[0].value("select count(*) from kept") == "0"
        assert before[0].query("commit").tags == ["COMMIT"]
        for client in before:
            client.__exit__()
        assert old.wait(20) == 0
        harness.wait_for(lambda: weir.console("SHOW BACKENDS")[0]["server_connections_bound"] == "2", "the whole bound")


def test_what_is_paused_or_disabled_stays_so(start):
    weir = start(listen={"drain_timeout": "1s"})
    weir.console("PAUSE app")
    weir.console("DISABLE app")
    old = weir.replace()
    assert old.wait(20) == 0
    row = weir.console("SHOW DATABASES")[0]
    assert (row["paused"], row["disabled"]) == ("1", "1")
    with pytest.raises(psycopg2.OperationalError, match="does not allow connections"):
        weir.connect()
    weir.console("ENABLE app")
    with WireClient(weir.port, log_in=False) as waits:
        waits.send(startup({"user": "postgres", "database": "app"}) + query("select 1"))
        harness.wait_for(lambda: any(r["state"] in ("waiting", "login") and r["database"] == "app" for r in weir.console("SHOW CLIENTS")), "the client to wait")
        weir.console("RESUME app")
        assert waits.read_to_ready(2).rows == [["1"]]


def test_who_stays_idle_on_the_old_process_is_told_to_go_after_drain_timeout(start):
    weir = start(listen={"drain_timeout": "1s"})
    with WireClient(weir.port) as idle, WireClient(weir.port) as other:
        assert idle.value("select 1") == "1"
        other.query("begin")
        old = weir.replace()
        assert idle.at_end().errors == ["57P01"]
        assert old.wait(10) == 0
    assert weir.psql("select 2") == "2"


def test_a_cancel_request_for_a_client_of_the_old_process_reaches_it(start):
    weir = start(listen={"drain_timeout": "30s"})
    connection = weir.connect()
    outcome = []

    def run():
        try:
            with connection.cursor() as cursor:
                cursor.execute("select pg_sleep(60)")
            outcome.append("finished")
        except psycopg2.Error as e:
            outcome.append(e.pgcode)

    thread = threading.Thread(target=run)
    thread.start()
    harness.wait_for(lambda: any(r["state"] == "active" for r in weir.console("SHOW CLIENTS") if r["database"] == "app"), "the statement")
    weir.replace()
    weir.wait_log("accepts the clients now")
    connection.cancel()   # a connection of its own, which comes to the new process
    thread.join(timeout=30)
    assert outcome == ["57014"]
    connection.close()


def test_a_client_of_the_old_process_that_listens_hears_on(start, plain_clusters):
    weir = start(listen={"drain_timeout": "30s"})
    with Listener(weir, "news") as old:
        weir.replace()
        with Listener(weir, "news") as new:
            plain_clusters.psql("notify news, 'both'")
            assert old.heard(plain_clusters) == ["both"]
            assert new.heard(plain_clusters) == ["both"]


def test_the_old_process_serves_on_when_the_new_one_dies(start):
    weir = start(pool={"size": 3, "max_per_backend": 3}, listen={"drain_timeout": "60s"})
    with WireClient(weir.port) as client:
        assert client.value("select 1") == "1"
        old = weir.replace()
        new = weir.process
        new.kill()
        assert new.wait(10) == -9
        weir.process = weir.past.pop()
        weir.wait_log("this one accepts clients again")
        assert client.value("select 2") == "2"
    assert weir.psql("select 3") == "3"
    assert weir.console("SHOW BACKENDS")[0]["server_connections_bound"] == "3"
    assert old.poll() is None
    weir.past.append(old)
    weir.start(ready=False)   # and it can be replaced again
    assert old.wait(20) == 0
    assert weir.psql("select 4") == "4"


def test_the_old_process_serves_on_when_the_new_one_cannot_start(start):
    weir = start()
    good = weir.config.read_text()
    weir.config.write_text(good.replace("[pool]", "[pool]\nnonsense = 1"))
    old = weir.begin_replacing()
    assert weir.process.wait(20) == 1
    weir.config.write_text(good.replace('address = "127.0.0.1"', 'address = ["127.0.0.1", "192.0.2.1"]'))   # not of this machine
    weir.start(ready=False)
    assert weir.process.wait(20) == 1
    weir.process = old
    weir.past.clear()
    weir.wait_log("gave up taking over")
    assert weir.psql("select 1") == "1" and weir.psql("select 2", unix=True) == "2"
    assert weir.takeover.exists()


def test_the_takeover_socket_is_the_users_own_and_refuses_another_version(start):
    weir = start()
    assert stat.S_IMODE(os.stat(weir.takeover).st_mode) == 0o600
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.settimeout(10)
        stranger.connect(str(weir.takeover))
        stranger.send(b"hello 999")
        assert b"another version" in stranger.recv(4096)
    assert weir.psql("select 1") == "1"


@pytest.mark.parametrize("answer, said", [(b"refused is of another version", "another version"), (None, "does not answer"), (b"", "ended")])
def test_a_process_that_cannot_be_taken_over_from_is_named(plain_clusters, answer, said):
    weir = Generations(harness.database_toml(plain_clusters, sharded=False, replicas=False))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(weir.takeover))
        listener.listen(1)
        listener.settimeout(20)
        weir.start(ready=False)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            assert connection.recv(100) == b"hello 1"
            if answer:
                connection.send(answer)
            if answer == b"":
                connection.close()
            assert weir.process.wait(20) == 1
    assert said in weir.log() and f"process {os.getpid()}" in weir.log()
    weir.process = None
    weir.stop()


def test_a_stale_takeover_socket_is_replaced_and_removed_at_the_end(start):
    weir = start()
    weir.process.kill()
    weir.process.wait(10)
    assert weir.takeover.exists()
    weir.start()
    assert weir.psql("select 1") == "1"
    assert weir.terminate() == 0
    assert not weir.takeover.exists() and not pathlib.Path(weir.socket_dir, f".s.PGSQL.{weir.port}").exists()


def test_a_detached_start_returns_when_clients_are_accepted(start):
    weir = start()
    old = weir.process
    front = harness.spawn([harness.binary("weir"), "serve", "-c", str(weir.config), "--detach"], weir.log_file)
    assert front.wait(20) == 0
    assert weir.psql("select 1") == "1"
    assert old.wait(20) == 0
    new = int(weir.log().split(" accepts the clients now")[0].rsplit("process ", 1)[1])
    os.kill(new, signal.SIGTERM)
    harness.wait_for(lambda: harness.gone(new), "its end")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", weir.port), timeout=2).close()
    weir.config.write_text("nonsense")
    assert harness.spawn([harness.binary("weir"), "serve", "-c", str(weir.config), "--detach"], weir.log_file).wait(20) == 1


def test_the_metrics_are_served_by_whoever_accepts_the_clients(start):
    port = harness.free_port()
    weir = start(admin={"http": f"127.0.0.1:{port}"})
    weir.psql("select 1")
    assert scrape(port).sum("weir_client_logins_total", database="app") == 1
    old = weir.replace()
    harness.wait_for(lambda: _answers(port), "the new process's pages")
    assert scrape(port).sum("weir_client_logins_total", database="app") == 0, "the new process counts anew"
    weir.psql("select 1")
    assert scrape(port).sum("weir_client_logins_total", database="app") == 1
    assert old.wait(20) == 0


def _answers(port):
    with contextlib.suppress(OSError):
        return get(port, "/readyz")[0] == 200
    return False
