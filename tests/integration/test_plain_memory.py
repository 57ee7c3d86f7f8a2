"""What a client cannot make the proxy hold."""
import collections
import contextlib
import struct
import threading

import pytest

import harness
from wire_client import WireClient, bind, close, execute, flush, message, parse, query, run, sync

MEGABYTE = 1 << 20
pytestmark = pytest.mark.skipif(bool(harness.sanitizer()), reason="a sanitizer's shadow and its quarantine of what was freed are resident, too")


@pytest.fixture
def weir(plain_clusters, start_weir):
    return start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 2}, listen={"workers": 1})


def resident_now(weir):
    return int(open(f"/proc/{weir.pid}/status").read().split("VmRSS:")[1].split()[0]) * 1024


def resident(weir):
    """Its resident memory, in bytes."""
    status = open(f"/proc/{weir.pid}/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def count_to_the_end(client):
    """How many messages of each kind come, up to the DataRow that says "end"."""
    seen, buffer = collections.Counter(), b""
    while piece := client.socket.recv(1 << 20):
        buffer, at = buffer + piece, 0
        while at + 5 <= len(buffer) and at + 1 + (length := struct.unpack_from("!I", buffer, at + 1)[0]) <= len(buffer):
            if buffer[at:at + 1] == b"D" and buffer[at:at + 1 + length].endswith(b"end"):
                return seen
            seen[chr(buffer[at])] += 1
            at += 1 + length
        buffer = buffer[at:]
    return seen


# Each with what it is answered, as often as it is sent.
TINY = {"Binds": (bind(), "2"), "Closes": (close("S", "x"), "3"), "Flushes": (flush(), ""), "Syncs": (close("S", "x") + sync(), "3"), "Executes": (bind() + execute(), "2DC")}


@pytest.mark.parametrize("kind", TINY)
def test_a_pipeline_of_tiny_messages_is_answered_in_bounded_memory(weir, kind):
    piece, answer = TINY[kind]
    times = 4 * MEGABYTE // len(piece) // 1000
    with WireClient(weir.port, timeout=120) as client:
        client.ask(parse("select 1") + sync())
        before = resident(weir)
        sender = threading.Thread(target=client.send, args=(piece * 1000 * times + sync() + query("select 'end'"),))
        sender.start()
        seen = count_to_the_end(client)
        sender.join()
        assert {kind: seen[kind] for kind in answer} == {kind: times * 1000 for kind in answer}
        assert resident(weir) - before < 48 * MEGABYTE


def test_what_follows_an_error_is_not_held(weir):
    with WireClient(weir.port, timeout=60) as client:
        before = resident(weir)
        client.send(bind(name="nobody"))
        for _ in range(100):
            client.send(close("S", "x" * 1000) * 1000)
        assert client.ask(sync()).errors == ["26000"]
        client.send(query("copy nowhere from stdin"))
        for _ in range(100):
            client.send(message("d", b"late" * 250) * 1000)
        assert client.ask(message("c") + query("select 1"), ready=2).rows == [["1"]]
        assert resident(weir) - before < 32 * MEGABYTE   # of 200 that were sent


def test_an_idle_client_is_small(weir):
    """What its batches needed is lent to others; 10,000 idle clients in 40 MB (docs/performance.md)."""
    def join(stack, count):
        for _ in range(count):
            client = stack.enter_context(WireClient(weir.port, timeout=60))
            assert client.value("select 1") == "1"
            assert client.ask(run("select 2") + sync()).rows == [["2"]]

    with contextlib.ExitStack() as stack:
        join(stack, 200)
        before = resident_now(weir)
        join(stack, 600)
        assert (resident_now(weir) - before) / 600 < 3000   # 2400 were seen


def test_portals_are_bounded(weir):
    """Each of a text that the session must keep."""
    with WireClient(weir.port, timeout=60) as client:
        before = resident(weir)
        client.ask(parse(f"set application_name = '{'x' * MEGABYTE}'", "s") + query("begin"))
        replies = client.ask(b"".join(bind(portal=f"p{i}", name="s") for i in range(200)) + sync())
        assert (replies.errors, replies.status) == (["53400"], "E")
        client.query("rollback")
        assert client.value("select 1") == "1"
        assert resident(weir) - before < 160 * MEGABYTE


def test_ever_new_user_names_take_no_more_than_a_bound(plain_clusters, start_weir):
    """By trust, every name is a user. What a server says to it is another matter."""
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False, backend="")], pool={"size": 2}, listen={"workers": 1})
    for i in range(300):
        with WireClient(weir.port, user=f"somebody {i}") as client:
            assert client.greeting.errors == ["28000"]
    harness.wait_for(lambda: len(weir.console("SHOW POOLS")) < 100, "the pools of users that went away to go")
    with WireClient(weir.port) as client:
        assert client.value("select 1") == "1"
