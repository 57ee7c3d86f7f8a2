"""The start of a connection, case by case: what PostgreSQL takes is taken, what it refuses is refused in its words.

TLS has a file of its own (test_plain_tls.py); first packets that are none are in test_plain_bad_input.py.
"""
import contextlib
import socket
import struct
import threading

import psycopg2
import pytest

import harness
import weir_toml
from wire_client import WireClient, message, query, startup

V30, V32 = 196608, 196610


@pytest.fixture(scope="module")
def databases(plain_clusters):
    return [harness.database_toml(plain_clusters, sharded=False, replicas=False)]


@pytest.fixture(scope="module")
def weir(databases):
    with harness.running(databases, pool={"size": 3, "client_login_timeout": "3s"}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def scram(databases):
    with harness.running(databases, users={"postgres": "pg"}, pool={"client_login_timeout": "3s"}) as proxy:
        yield proxy


def begin(weir, version=V30, **parameters):
    c = WireClient(weir.port, log_in=False)
    c.send(startup({"user": "postgres", "database": "app", **parameters}, version))
    c.greeting = c.read_to_ready()
    return c


# --- versions, protocol options, cancel keys ---


@pytest.mark.parametrize("version, negotiated, secret", [(V30, None, 4), (V30 + 1, None, 4), (V32, None, 32), (V30 + 3, V32, 32), (V30 + 9999, V32, 32)])
def test_each_minor_version_gets_its_cancel_key_and_newer_ones_are_negotiated_once(weir, version, negotiated, secret):
    with begin(weir, version) as c:
        told = [m.body for m in c.greeting if m.kind == "v"]
        assert told == ([struct.pack("!II", negotiated, 0)] if negotiated else [])
        assert not told or c.greeting.kinds.index("v") < c.greeting.kinds.index("R")
        assert c.greeting.kinds.count("K") == 1 and len(c.key[1]) == secret
        assert c.value("select 1") == "1"


@pytest.mark.parametrize("version", [V30, V32])
def test_unknown_protocol_options_are_named_and_not_accepted(weir, version):
    with begin(weir, version, **{"_pq_.wonder": "1", "application_name": "x", "_pq_.miracle": "2"}) as c:
        told = [m.body for m in c.greeting if m.kind == "v"]
        assert told == [struct.pack("!II", version, 2) + b"_pq_.wonder\0_pq_.miracle\0"]
        assert c.greeting.status == "I" and c.value("show application_name") == "x"


@pytest.mark.parametrize("version", [V30, V32])
def test_a_cancel_needs_the_whole_key(weir, version):
    with begin(weir, version) as c:
        pid, secret = c.key
        c.send(query("select pg_sleep(30)"))
        for wrong in (secret[:-1] + bytes([secret[-1] ^ 1]), secret + b"\0", secret[:4] if version == V32 else secret * 8):
            c.cancel((pid, wrong))
        assert c.silent(0.3)
        harness.wait_for(lambda: c.cancel() or not c.silent(0.1), "the cancel")
        assert c.read_to_ready().errors == ["57014"]
        assert c.value("select 1") == "1"


@pytest.mark.parametrize("size", [0, 3, 257])
def test_cancel_requests_with_impossible_keys_are_told_off(weir, size):
    with WireClient(weir.port, log_in=False) as c:
        c.send(struct.pack("!III", 12 + size, 80877102, 1) + b"s" * size)
        assert c.at_end().errors == ["08P01"]


# --- what must come once, and in order ---


def test_a_second_startup_message_ends_the_session(weir):
    with begin(weir) as c:
        c.send(startup({"user": "postgres", "database": "app"}))
        replies = c.at_end()
        assert replies.errors == ["08P01"] and replies.kinds == "E"
    with begin(weir) as c:
        c.send(struct.pack("!II", 8, 80877103))   # nor may TLS be asked for late
        assert c.at_end().errors == ["08P01"]


def test_a_second_startup_message_ends_a_console_session_too(weir):
    with WireClient(weir.port, database="weir") as c:
        c.send(startup({"user": "postgres", "database": "app"}))
        assert c.at_end().errors == ["08P01"]


def test_nothing_but_a_password_message_counts_before_authentication(scram):
    for early in (query("select 1"), message("X"), startup({"user": "postgres", "database": "app"}), message("P", b"\0select 1\0\0\0")):
        with WireClient(scram.port, log_in=False) as c:
            c.send(startup({"user": "postgres", "database": "app"}))
            assert c.read().kind == "R"
            c.send(early)
            assert set(c.at_end().errors) <= {"08P01"}


# --- sizes, and pieces ---


def test_a_startup_packet_of_10000_bytes_is_taken_and_a_longer_one_refused_at_its_length(weir):
    # application_name is cut by PostgreSQL, so that its length does not matter to a server.
    rest = len(startup({"user": "postgres", "database": "app", "application_name": ""}))
    with begin(weir, application_name="a" * (10004 - rest)) as c:
        assert c.greeting.status == "I"
    with WireClient(weir.port, log_in=False) as c:
        c.send(struct.pack("!I", 10005))
        assert c.at_end().errors == ["08P01"]


def test_a_huge_message_before_authentication_is_refused_at_its_header(scram):
    for length in (65536 + 100, 0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF):
        with WireClient(scram.port, log_in=False) as c:
            c.send(startup({"user": "postgres", "database": "app"}))
            assert c.read().kind == "R"
            c.send(b"p" + struct.pack("!I", length))   # and not one byte of it
            assert c.at_end().errors == ["08P01"]


def test_headers_in_pieces_are_waited_for(weir):
    whole = startup({"user": "postgres", "database": "app"})
    with WireClient(weir.port, log_in=False) as c:
        for piece in (whole[:3], whole[3:7], whole[7:11], whole[11:]):
            assert c.silent(0.05)
            c.send(piece)
        assert c.read_to_ready().status == "I"
        asked = query("select 1")
        for piece in (asked[:1], asked[1:4], asked[4:6]):
            c.send(piece)
            assert c.silent(0.05)
        c.send(asked[6:])
        assert c.read_to_ready().rows == [["1"]]


def test_half_a_cancel_key_of_32_bytes_is_waited_for(weir):
    with begin(weir, V32) as c, WireClient(weir.port, log_in=False) as other:
        c.send(query("select pg_sleep(30)"))
        request = struct.pack("!III", 44, 80877102, c.key[0]) + c.key[1]
        harness.wait_for(lambda: weir.console("SHOW POOLS")[0]["sv_active"] == "1", "the statement")
        other.send(request[:20])
        assert c.silent(0.1)
        other.send(request[20:])
        other.at_end()
        assert c.read_to_ready().errors == ["57014"]


# --- replication ---


@pytest.mark.parametrize("value", ["true", "on", "yes", "1", "t", "database", "TRUE"])
def test_replication_connections_are_refused_with_what_to_do(weir, value):
    with begin(weir, replication=value) as c:
        assert c.greeting.errors == ["0A000"] and c.greeting.kinds == "E"
        assert "PostgreSQL server itself" in c.greeting[0].fields["H"]


@pytest.mark.parametrize("value", ["false", "off", "no", "0", "f", "of"])
def test_no_replication_is_no_replication(weir, value):
    with begin(weir, replication=value) as c:
        assert c.value("select 1") == "1"


def test_a_replication_value_that_is_none_is_refused_as_postgresql_does(weir):
    with begin(weir, replication="maybe") as c:
        assert c.greeting.errors == ["22023"] and 'invalid value for parameter "replication"' in c.greeting[0].fields["M"]


# --- settings in the StartupMessage ---


@pytest.mark.parametrize("options, name, value", [
    ("-c statement_timeout=1234", "statement_timeout", "1234ms"),
    ("-cstatement_timeout=1235", "statement_timeout", "1235ms"),
    ("--statement-timeout=1236", "statement_timeout", "1236ms"),
    (r"-c app.word=two\ words", "app.word", "two words"),
    (r"--app.word=back\\slash", "app.word", "back\\slash"),
    ("-c app.word=a=b", "app.word", "a=b"),
    ("  -c  statement_timeout=1s   -c lock_timeout=2s ", "lock_timeout", "2s"),
    ("-c statement_timeout=1s -c statement_timeout=3s", "statement_timeout", "3s"),
])
def test_options_are_read_as_postgresql_reads_them(weir, options, name, value):
    with begin(weir, options=options) as c:
        assert c.value(f"show {name}") == value
        assert c.value("select 1") == "1"
    with begin(weir) as other:
        assert other.query(f"show {name}").rows != [[value]]


@pytest.mark.parametrize("options, code", [("-c =1", "22023"), ("--=1", "22023"), ("-c nothing", "22023"), ("-c", "22023"), ("--x", "22023"), ("-S 100", "22023"),
                                           ("-e", "22023"), ("nonsense", "22023"), ("-c no_such_setting=1", "42704"), ("-c work_mem=lots", "22023")])
def test_bad_options_fail_the_login(weir, options, code):
    with begin(weir, options=options) as c:
        assert c.greeting.errors == [code], c.greeting
    assert weir.psql("select 1") == "1"


@pytest.mark.parametrize("name, value", [("application_name", "told"), ("extra_float_digits", "2"), ("search_path", "pg_catalog"), ("statement_timeout", "1234ms"),
                                         ("TimeZone", "Asia/Tokyo"), ("DateStyle", "German, DMY"), ("client_encoding", "LATIN1"), ("app.own", "word")])
def test_any_setting_in_the_startup_message_is_applied(weir, name, value):
    with begin(weir, **{name: value}) as c:
        for _ in range(3):
            assert c.value(f"show {name}") == value
        if name in c.parameters:
            assert c.parameters[name] == value
    with begin(weir) as other:
        assert other.query(f"show {name}").rows != [[value]]


def test_the_startup_message_wins_over_its_options(weir):
    with begin(weir, options="-c application_name=first", application_name="second") as c:
        assert c.value("show application_name") == "second"


@pytest.mark.parametrize("name, value, code", [("no_such_setting", "1", "42704"), ("work_mem", "lots", "22023"), ("TimeZone", "Nowhere/Land", "22023")])
def test_a_bad_setting_in_the_startup_message_fails_the_login(weir, name, value, code):
    with begin(weir, **{name: value}) as c:
        assert c.greeting.errors == [code]


def test_libpqs_own_options_and_environment_get_through(weir):
    with contextlib.closing(psycopg2.connect(weir.dsn(options="-c statement_timeout=4321 -c search_path=pg_catalog"))) as connection, connection.cursor() as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone() == ("4321ms",)
        cursor.execute("show search_path")
        assert cursor.fetchone() == ("pg_catalog",)


# --- unix sockets ---


def test_a_unix_socket_is_a_connection_like_any_other(weir):
    assert weir.psql("select 1", unix=True) == "1"
    with contextlib.closing(weir.connect(unix=True, options="-c statement_timeout=99s")) as connection, connection.cursor() as cursor:
        cursor.execute("show statement_timeout")
        assert cursor.fetchone() == ("99s",)
        connection.cancel()   # its cancel goes by the same socket


# --- cancel keys of servers ---


class KeyRelay:
    """Stands before PostgreSQL and changes its cancel keys: change(secret) is what Weir hears of, None for no BackendKeyData."""

    def __init__(self, node, change):
        self.node, self.change, self.secrets, self.cancels = node, change, {}, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client, socket.create_connection((self.node["host"], self.node["port"])) as server:
            while (first := self._packet(client))[4:8] == struct.pack("!I", 80877103):
                client.sendall(b"N")
            if first[4:8] == struct.pack("!I", 80877102):
                self.cancels.append(first[12:])
                first = struct.pack("!III", 16, 80877102, struct.unpack("!I", first[8:12])[0]) + self.secrets.get(first[12:], b"none")
            server.sendall(first)
            threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
            with contextlib.suppress(OSError):
                self._greet(server, client)
                self._copy(server, client)
            for s in (client, server):   # the other thread still reads: a mere close would not be told
                s.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _exactly(s, size):
        data = b""
        while len(data) < size:
            piece = s.recv(size - len(data))
            if not piece:
                raise OSError("the end")
            data += piece
        return data

    def _packet(self, s, header=4):
        head = self._exactly(s, header)
        return head + self._exactly(s, struct.unpack("!I", head[-4:])[0] - 4)

    def _greet(self, server, client):
        while True:
            found = self._packet(server, 5)
            if found[:1] == b"K":
                changed = self.change(found[9:])
                if changed is None:
                    continue
                self.secrets[changed] = found[9:]
                found = message("K", found[5:9] + changed)
            client.sendall(found)
            if found[:1] == b"Z":
                return

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@pytest.fixture
def behind_relay(start_weir, plain_clusters):
    """behind_relay(change): (weir, relay)."""
    relays = []

    def start(change):
        shard = plain_clusters.shards[0]
        relay = KeyRelay(shard["primary"], change)
        relays.append(relay)
        primary = {**shard["primary"], "host": "127.0.0.1", "port": relay.port}
        return start_weir([weir_toml.database([{**shard, "primary": primary}], sharded=False, replicas=False)]), relay

    yield start
    for relay in relays:
        relay.listener.close()


@pytest.mark.parametrize("size", [4, 32, 256])
def test_a_servers_key_of_any_length_is_used_whole(behind_relay, size):
    weir, relay = behind_relay(lambda secret: secret + b"x" * (size - 4))
    with begin(weir) as c:
        c.send(query("select pg_sleep(30)"))
        harness.wait_for(lambda: c.cancel() or not c.silent(0.1), "the cancel")
        assert c.read_to_ready().errors == ["57014"]
        assert {len(secret) for secret in relay.cancels} == {size}
        assert c.value("select 1") == "1"


def test_on_a_server_that_gives_no_key_a_cancel_does_nothing_and_the_session_goes_on(behind_relay, plain_clusters):
    weir, relay = behind_relay(lambda secret: None)
    with begin(weir) as c:
        assert len(c.key[1]) == 4   # Weir's own key is there all the same
        with WireClient(plain_clusters.node()["port"]) as holder:   # of what the statement waits for
            holder.query("begin; select pg_advisory_xact_lock(4711)")
            c.send(query("select pg_advisory_xact_lock(4711)"))
            harness.wait_for(lambda: weir.console("SHOW POOLS")[0]["sv_active"] == "1", "the statement")
            c.cancel()
            weir.wait_log("the server gave no cancel key")
            holder.query("commit")
        assert c.read_to_ready().tags == ["SELECT 1"]
        assert relay.cancels == []
        assert c.value("select 2") == "2"
