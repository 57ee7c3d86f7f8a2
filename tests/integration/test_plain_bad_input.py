"""What comes to the port and is no PostgreSQL client, or one gone wrong: told off, forgotten, and nobody else disturbed."""
import contextlib
import pathlib
import random
import struct
import time

import pytest

import harness
from wire_client import WireClient, message, parse, query, startup, sync, text


@pytest.fixture(scope="module")
def weir(plain_clusters):
    with harness.running([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 4, "client_login_timeout": "2s"}) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def others_are_not_disturbed(weir):
    """Around every test: a client that was there before still works, new ones get in, and no descriptor stays."""
    with WireClient(weir.port) as witness:
        assert witness.value("select 1") == "1"
        before = weir.descriptors()
        yield
        assert witness.value("select 2") == "2"
        assert weir.psql("select 3") == "3"
        assert weir.process.poll() is None
        harness.wait_for(lambda: weir.descriptors() <= before + 4, f"{before} descriptors", seconds=15)


def resident_megabytes(weir):
    for line in pathlib.Path(f"/proc/{weir.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def raw(weir, data):
    """What is answered to bytes on a fresh connection, until the proxy ends it."""
    with WireClient(weir.port, log_in=False) as c:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            c.send(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := c.socket.recv(65536):
                answer += piece
        return answer


FIRST = {
    "length 3": struct.pack("!I", 3) + b"xxxx",
    "length 0": struct.pack("!I", 0) + b"xxxx",
    "length 7": struct.pack("!I", 7) + b"xxxx",
    "2 GB": struct.pack("!II", 0x7FFFFFFF, 196608),
    "4 GB": struct.pack("!II", 0xFFFFFFFF, 196608),
    "oversized": struct.pack("!II", 20000, 196608) + b"a" * 19992,
    "HTTP": b"GET / HTTP/1.1\r\nHost: db\r\n\r\n",
    "TLS ClientHello": bytes.fromhex("1603010200010001fc0303") + bytes(range(200)),
    "protocol 2": struct.pack("!II", 8, 131072),
    "protocol 9": startup({"user": "postgres"}, version=9 << 16),
    "no user": startup({"database": "app"}),
    "not terminated": struct.pack("!II", 16, 196608) + b"userpost",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n" * 3,
}


@pytest.mark.parametrize("what", FIRST)
def test_a_bad_first_packet_ends_the_connection(weir, what):
    began = time.monotonic()
    answer = raw(weir, FIRST[what])
    assert time.monotonic() - began < 5 * harness.SLOW
    assert answer[:1] in (b"E", b""), answer
    assert b"R\0\0\0" not in answer


def test_garbage_of_every_kind_ends_the_connection(weir):
    source = random.Random("garbage")
    for _ in range(60):
        assert raw(weir, source.randbytes(source.randint(8, 3000)))[:1] in (b"E", b"", b"N")


def test_half_a_startup_packet_is_given_up_after_the_login_timeout(weir):
    whole = startup({"user": "postgres", "database": "app"})
    began = time.monotonic()
    for cut in (1, 4, 7, 20):
        with WireClient(weir.port, log_in=False) as c:
            c.send(whole[:cut])
            if cut == 20:
                assert c.at_end().errors == ["08P01"]
                assert 1 < time.monotonic() - began < 6 * harness.SLOW


def test_a_startup_packet_in_single_bytes_is_fine(weir):
    with WireClient(weir.port, log_in=False) as c:
        for byte in startup({"user": "postgres", "database": "app"}):
            c.send(bytes([byte]))
        assert c.read_to_ready().status == "I"
        for byte in query("select 7"):
            c.send(bytes([byte]))
        assert c.read_to_ready().rows == [["7"]]


def test_replication_is_refused_clearly(weir):
    for value in ("true", "database", "on"):
        with WireClient(weir.port, replication=value) as c:
            assert c.greeting.errors == ["0A000"]
            assert "replication" in c.greeting[0].fields["M"]


def test_encryption_requests_are_declined_and_the_login_goes_on_in_clear(weir):
    with WireClient(weir.port, log_in=False) as c:
        c.send(struct.pack("!II", 8, 80877103))
        assert c.socket.recv(1) == b"N"
        c.send(struct.pack("!II", 8, 80877104))
        assert c.socket.recv(1) == b"N"
        c.send(startup({"user": "postgres", "database": "app"}))
        assert c.read_to_ready().status == "I"


def test_newer_minor_versions_and_unknown_options_are_negotiated(weir):
    with WireClient(weir.port, log_in=False) as c:
        c.send(startup({"user": "postgres", "database": "app", "_pq_.wonder": "1"}, version=196608 + 2))
        replies = c.read_to_ready()
        assert "v" in replies.kinds and replies.status == "I"


AFTER = {
    "unknown type": message("?", b"x"),
    "length 3": b"Q" + struct.pack("!I", 3),
    "2 GB": b"Q" + struct.pack("!I", 0x7FFFFFFF) + b"select",
    "negative length": b"P" + struct.pack("!i", -1),
    "a second startup": startup({"user": "postgres", "database": "app"}),
}


@pytest.mark.parametrize("what", AFTER)
def test_a_bad_message_is_a_fatal_error_of_its_client(weir, what):
    with WireClient(weir.port) as c:
        c.send(AFTER[what])
        replies = c.at_end()
        assert len(replies.errors) <= 1
        assert not replies or replies.errors[0] in ("08P01", "54000"), replies


BODIES = {
    "query without its end": message("Q", b"select 1"),
    "parse cut off": message("P", b"a\0select 1\0\0"),
    "parse with many types": message("P", b"\0select 1\0" + struct.pack("!H", 65535)),
    "bind cut off": message("B", b"\0\0" + struct.pack("!HHi", 0, 1, 1000) + b"x"),
    "bind with negative counts": message("B", b"\0\0" + struct.pack("!hh", -1, -1)),
    "execute cut off": message("E", b"\0\0"),
    "describe of nothing": message("D", b""),
    "close of the wrong kind": message("C", b"Z\0"),
    "function call cut off": message("F", b"\0"),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_message_with_a_bad_body_is_an_error_and_the_session_goes_on_or_ends(weir, what):
    with WireClient(weir.port) as c:
        c.send(BODIES[what] + sync())
        replies = c.read_until("EZ")
        assert replies.errors and replies.errors[0] in ("08P01", "26000"), replies
        c.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            while c.read():
                pass


def test_random_messages_after_login_never_hurt_the_proxy(weir):
    source = random.Random("messages")
    for _ in range(150):
        with WireClient(weir.port) as c, contextlib.suppress(OSError):
            for _ in range(source.randint(1, 6)):
                c.send(message(source.choice("QPBDECFHSdcfXp"), source.randbytes(source.randint(0, 60))))
            c.send(sync())
            c.socket.settimeout(0.02)
            c.read_until("Z")


def test_a_client_that_stops_reading_is_not_held_in_memory(weir):
    with WireClient(weir.port) as slow:
        highest = before = resident_megabytes(weir)   # a sanitizer's own memory is not counted
        slow.send(query("select repeat('x', 10000) from generate_series(1, 20000)"))   # 200 MB
        for _ in range(20):
            time.sleep(0.1)
            highest = max(highest, resident_megabytes(weir))
        assert highest < before + 50, f"{highest} MB, {before} MB before"
        assert weir.psql("select 1") == "1"


def test_a_slow_reader_gets_its_whole_result_in_the_end(weir):
    with WireClient(weir.port) as slow:
        slow.send(query("select i, repeat('x', 10000) from generate_series(1, 5000) i"))
        time.sleep(0.5)
        assert [r[0] for r in slow.read_to_ready().rows] == [str(i) for i in range(1, 5001)]


def test_two_hundred_half_logins_disturb_nobody(weir):
    halves = [WireClient(weir.port, log_in=False) for _ in range(200)]
    try:
        for i, c in enumerate(halves):
            c.send(startup({"user": "postgres", "database": "app"})[:i % 30])
        began = time.monotonic()
        for _ in range(10):
            assert weir.psql("select 1") == "1"
        assert time.monotonic() - began < 10 * harness.SLOW
    finally:
        for c in halves:
            c.socket.close()


def test_more_clients_than_allowed_are_told_so(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], listen={"max_clients": 5})
    clients = [WireClient(weir.port) for _ in range(5)]
    with WireClient(weir.port) as sixth:
        assert sixth.greeting.errors == ["53300"]
    clients.pop().socket.close()
    harness.wait_for(lambda: WireClient(weir.port).greeting.status == "I", "a place")
    for c in clients:
        assert c.value("select 1") == "1"
        c.socket.close()
