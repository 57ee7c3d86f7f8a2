"""Signals as PgBouncer's users know them, and what Weir and systemd say to each other (here this test is systemd)."""
import os
import signal
import socket

import pytest

import harness
from wire_client import WireClient, query


@pytest.fixture(scope="module")
def databases(plain_clusters):
    return [harness.database_toml(plain_clusters, sharded=False, replicas=False)]


def test_sigterm_waits_until_the_clients_have_left(start_weir, databases):
    weir = start_weir(databases, listen={"drain_timeout": "60s"})
    with WireClient(weir.port) as client:
        client.query("begin")
        weir.process.terminate()
        weir.wait_log("waiting for clients to leave")
        harness.wait_for(lambda: not harness.asks_for_log_in(weir.port), "new clients to be refused")
        assert client.query("commit").tags == ["COMMIT"]
        assert client.value("select 1") == "1", "an idle client may stay and go on"
        assert weir.process.poll() is None
    assert weir.process.wait(timeout=20) == 0


def test_sigterm_disconnects_who_is_there_after_drain_timeout(start_weir, databases):
    weir = start_weir(databases, listen={"drain_timeout": "500ms"})
    with WireClient(weir.port) as client, WireClient(weir.port) as busy:
        assert client.value("select 1") == "1"
        busy.query("begin")
        weir.process.terminate()
        assert client.at_end().errors == ["57P01"]
        assert weir.process.wait(timeout=20) == 0


def test_a_second_sigterm_does_not_wait(start_weir, databases):
    weir = start_weir(databases, listen={"drain_timeout": "0"})
    with WireClient(weir.port) as client:
        weir.process.terminate()
        weir.wait_log("waiting for clients to leave")
        weir.process.terminate()
        assert client.at_end().errors == ["57P01"]
        assert weir.process.wait(timeout=20) == 0


def test_sigint_waits_for_transactions_only(start_weir, databases):
    weir = start_weir(databases, listen={"drain_timeout": "60s"})
    with WireClient(weir.port) as idle, WireClient(weir.port) as busy:
        assert idle.value("select 1") == "1"
        busy.query("begin")
        weir.process.send_signal(signal.SIGINT)
        weir.wait_log("transactions may end")
        assert busy.value("select 2") == "2"
        busy.send(query("commit"))
        assert "COMMIT" in busy.read_to_ready().tags
        assert idle.at_end().errors == ["57P01"]
        assert weir.process.wait(timeout=20) == 0


def test_sigquit_waits_for_nobody(start_weir, databases):
    weir = start_weir(databases, listen={"drain_timeout": "60s"})
    with WireClient(weir.port) as busy:
        busy.query("begin")
        weir.process.send_signal(signal.SIGQUIT)
        assert weir.process.wait(timeout=20) == 0


def test_sigusr1_pauses_and_sigusr2_resumes(start_weir, databases):
    weir = start_weir(databases)
    with WireClient(weir.port) as client, WireClient(weir.port) as busy:
        busy.query("begin")
        weir.process.send_signal(signal.SIGUSR1)
        harness.wait_for(lambda: weir.console("SHOW DATABASES")[0]["paused"] == "1", "the pause")
        assert busy.query("commit").tags == ["COMMIT"]
        client.send(query("select 1"))
        harness.wait_for(lambda: any(r["state"] == "waiting" for r in weir.console("SHOW CLIENTS")), "the client to wait")
        weir.process.send_signal(signal.SIGUSR2)
        assert client.read_to_ready().rows == [["1"]]


# --- systemd


class Notifications:
    """$NOTIFY_SOCKET: what the service says."""

    def __init__(self, folder):
        self.path = f"{folder}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def until(self, line):
        """The lines said up to the message that has `line`."""
        said = []
        while line not in said:
            said += self.socket.recv(4096).decode().split("\n")
        return said


@pytest.fixture
def under_systemd(start_weir, databases, monkeypatch):
    def start(environment=(), **options):
        weir = harness.Weir(databases, **options)
        heard = Notifications(weir.directory)
        monkeypatch.setenv("NOTIFY_SOCKET", heard.path)
        for name, value in dict(environment).items():
            monkeypatch.setenv(name, value)
        started.append(weir)
        return weir.start(ready=False), heard

    started = []
    yield start
    for weir in started:
        weir.stop()


def test_systemd_hears_of_readiness_reload_and_the_end(under_systemd):
    weir, heard = under_systemd()
    heard.until("READY=1")
    assert weir.psql("select 1") == "1"
    weir.reload()
    assert any(line.startswith("MONOTONIC_USEC=") for line in heard.until("READY=1"))
    weir.process.terminate()
    heard.until("STOPPING=1")
    assert weir.process.wait(20) == 0


def test_systemd_gets_a_sign_of_life_as_often_as_it_asks(under_systemd):
    weir, heard = under_systemd({"WATCHDOG_USEC": "400000"})
    heard.until("READY=1")
    for _ in range(3):
        heard.until("WATCHDOG=1")


def test_systemd_hears_whose_clients_they_are_after_a_hand_over(under_systemd):
    weir, heard = under_systemd({"WATCHDOG_USEC": "400000"}, listen={"takeover_socket": "takeover"})
    heard.until("READY=1")
    old = weir.process
    os.environ.pop("NOTIFY_SOCKET")   # started by hand: it learns the address from the process it replaces
    os.environ.pop("WATCHDOG_USEC")
    weir.start(ready=False)
    heard.until(f"MAINPID={weir.process.pid}")
    heard.until("READY=1")
    assert old.wait(20) == 0
    for _ in range(2):
        heard.until("WATCHDOG=1")


def test_sockets_given_by_systemd_are_served_instead_of_those_of_the_file(start_weir, databases):
    weir = harness.Weir(databases)
    given = socket.create_server(("127.0.0.1", 0))
    port = given.getsockname()[1]
    log = open(weir.log_file, "ab")
    child = os.fork()
    if child == 0:   # LISTEN_PID must be the service's own
        try:
            os.dup2(given.fileno(), 3)
            os.dup2(log.fileno(), 2)
            os.set_inheritable(3, True)
            environment = {**harness.clean_environment(), "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
            os.execve(harness.binary("weir"), ["weir", "serve", "-c", str(weir.config)], environment)
        finally:
            os._exit(127)
    given.close()
    try:
        harness.wait_for(lambda: harness.asks_for_log_in(port), "weir on the given socket")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", weir.port), timeout=2).close()
        for _ in range(4):   # every worker accepts
            with WireClient(port) as client:
                assert client.value("select 1") == "1"
    finally:
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        log.close()
        weir.stop()
    assert status == 0
