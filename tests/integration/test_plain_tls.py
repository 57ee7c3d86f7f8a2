"""TLS towards clients: [tls] client in all its modes, certificates of both sides, direct TLS, and what must not be possible around it."""
import contextlib
import socket
import ssl
import struct
import subprocess
import threading

import psycopg
import psycopg2
import pytest

import harness
from certificates import Authority
from wire_client import WireClient, cancel_request, message, query, startup

SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority):
    return authority.issue("server", "/CN=localhost")


@pytest.fixture(scope="module")
def client(authority):
    return authority.issue("client", "/O=Example/CN=alice", client=True)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A client's certificate that another authority signed."""
    return Authority(tmp_path_factory.mktemp("other"), "other").issue("stranger", "/CN=alice", client=True)


@pytest.fixture(scope="module")
def databases(plain_clusters):
    return [harness.database_toml(plain_clusters, sharded=False, replicas=False)]


def files(server, authority=None, **more):
    return {"certificate": str(server[0]), "key": str(server[1]), **({"ca": str(authority.certificate)} if authority else {}), **more}


@pytest.fixture(scope="module")
def weir(databases, server):
    with harness.running(databases, tls=files(server), pool={"size": 4, "client_login_timeout": "3s"}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def strict(databases, server, authority):
    """Clients must show a certificate."""
    proxy = harness.Weir(databases, tls=files(server, authority, client="verify-full"))
    try:
        proxy.start(ready=False).wait_log("serving")
        yield proxy
    finally:
        proxy.stop()


def conninfo(weir, **more):
    return {"host": "localhost", "hostaddr": "127.0.0.1", "port": weir.port, "dbname": "app", "user": "postgres", "gssencmode": "disable", **more}


def tls_in_use(weir, **more):
    with contextlib.closing(psycopg2.connect(**conninfo(weir, **more))) as connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
        return connection.info.ssl_in_use


def trusting(alpn=("postgresql",), version=None):
    """A context of Python's that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def ask_for_tls(c, answer=b"S"):
    c.send(SSL_REQUEST)
    assert c.socket.recv(1) == answer


class TlsClient(WireClient):
    """A raw client within TLS: negotiated, or directly. `parameters` as WireClient's."""

    def __init__(self, port, direct=False, context=None, log_in=True, version=196608, **parameters):
        super().__init__(port, log_in=False)
        if not direct:
            ask_for_tls(self)
        self.socket = (context or trusting()).wrap_socket(self.socket)
        if log_in:
            self.send(startup({"user": "postgres", "database": "app", **parameters}, version))
            self.greeting = self.read_to_ready()


# --- the modes ---


@pytest.mark.parametrize("sslmode, encrypted", [("disable", False), ("allow", False), ("prefer", True), ("require", True), ("verify-ca", True), ("verify-full", True)])
def test_every_sslmode_of_libpq_gets_in_where_tls_is_offered(weir, authority, sslmode, encrypted):
    assert tls_in_use(weir, sslmode=sslmode, sslrootcert=str(authority.certificate)) is encrypted


def test_a_client_that_trusts_another_authority_goes_away(weir, stranger):
    with pytest.raises(psycopg2.OperationalError, match="certificate verify failed"):
        tls_in_use(weir, sslmode="verify-ca", sslrootcert=str(stranger[0]))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_carry_large_things_both_ways(weir, version):
    big = "x" * 3_000_000
    with TlsClient(weir.port, context=trusting(version=version)) as c:
        assert c.socket.version() == version.name.replace("_", ".")
        assert c.value(f"select length('{big}')") == str(len(big))
        assert c.value("select repeat('y', 3000000)") == "y" * 3_000_000
        replies = c.ask(b"".join(query(f"select {i}") for i in range(50)), ready=50)
        assert [r[0] for r in replies.rows] == [str(i) for i in range(50)]


def test_show_clients_tells_version_and_cipher(weir):
    with TlsClient(weir.port) as c:
        name, version = c.socket.cipher()[0], c.socket.version()
        shown = {r["tls"] for r in weir.console("SHOW CLIENTS")}
        assert f"{version}/{name}" in shown
    with TlsClient(weir.port, context=trusting(version=ssl.TLSVersion.TLSv1_2)) as c:
        assert f"TLSv1.2/{c.socket.cipher()[0]}" in {r["tls"] for r in weir.console("SHOW CLIENTS")}
    with WireClient(weir.port):
        assert "" in {r["tls"] for r in weir.console("SHOW CLIENTS")}


def test_psql_and_psycopg3_work_over_tls(weir):
    done = weir.psql("\\conninfo\nselect 1", check=False)
    assert "TLSv1.3" in done.stdout and done.stdout.endswith("1\n"), done
    with psycopg.connect(**conninfo(weir, sslmode="require"), autocommit=True) as connection, connection.cursor() as cursor:
        with cursor.copy("copy (select generate_series(1, 20000)) to stdout") as copy:
            assert sum(1 for _ in copy.rows()) == 20000
        with connection.pipeline():
            cursor.execute("select 2")
        assert cursor.fetchone() == (2,)


def test_without_a_certificate_none_is_offered(start_weir, databases):
    weir = start_weir(databases)
    assert tls_in_use(weir, sslmode="prefer") is False
    with pytest.raises(psycopg2.OperationalError, match="does not support SSL"):
        tls_in_use(weir, sslmode="require")


def test_disable_offers_none_either_and_declines_direct_tls(start_weir, databases, server):
    weir = start_weir(databases, tls=files(server, client="disable"))
    assert tls_in_use(weir, sslmode="prefer") is False
    with pytest.raises(ssl.SSLError):
        TlsClient(weir.port, direct=True)


def test_require_refuses_clear_text_but_for_unix_sockets_and_cancels(start_weir, databases, server):
    weir = start_weir(databases, tls=files(server, client="require"), ready=False)
    weir.wait_log("serving")
    assert tls_in_use(weir, sslmode="require") is True
    with WireClient(weir.port) as c:
        assert c.greeting.errors == ["28000"] and c.greeting[0].fields["M"] == "SSL required"
    assert weir.psql("select 1", unix=True) == "1"
    with TlsClient(weir.port) as c:
        c.send(query("select pg_sleep(30)"))
        harness.wait_for(lambda: cancelled(c), "the cancel")


def cancelled(c, how=None):
    """Sends cancels until the running statement of `c` ends by one."""
    (how or c.cancel)()
    if c.silent(0.1):
        return False
    assert c.read_to_ready().errors == ["57014"]
    return True


# --- client certificates ---


def test_verify_demands_a_certificate_that_the_authority_signed(strict, client, stranger):
    good = {"sslcert": str(client[0]), "sslkey": str(client[1])}
    assert tls_in_use(strict, sslmode="require", **good) is True
    with pytest.raises(psycopg2.OperationalError, match="certificate required|handshake failure"):
        tls_in_use(strict, sslmode="require")
    with pytest.raises(psycopg2.OperationalError, match="unknown ca|self-signed|tlsv1 alert"):
        tls_in_use(strict, sslmode="require", sslcert=str(stranger[0]), sslkey=str(stranger[1]))
    with pytest.raises(psycopg2.OperationalError, match="SSL required"):
        tls_in_use(strict, sslmode="disable")
    strict.wait_log("TLS handshake with 127.0.0.1")


def test_verify_ca_says_the_same(start_weir, databases, server, authority, client):
    weir = start_weir(databases, tls=files(server, authority, client="verify-ca"), ready=False)
    weir.wait_log("serving")
    assert tls_in_use(weir, sslmode="require", sslcert=str(client[0]), sslkey=str(client[1])) is True
    with pytest.raises(psycopg2.OperationalError):
        tls_in_use(weir, sslmode="require")


def test_elsewhere_a_certificate_is_welcome_and_not_validated(start_weir, databases, server, authority, client, stranger):
    weir = start_weir(databases, tls=files(server, authority, client="allow"))
    for shown in (client, stranger):
        assert tls_in_use(weir, sslmode="require", sslcert=str(shown[0]), sslkey=str(shown[1])) is True
    assert tls_in_use(weir, sslmode="require") is True


def test_an_expired_certificate_of_a_client_is_refused(strict, authority):
    old = authority.issue("expired", "/CN=alice", client=True, days=-1)
    with pytest.raises(psycopg2.OperationalError):
        tls_in_use(strict, sslmode="require", sslcert=str(old[0]), sslkey=str(old[1]))


def test_a_servers_certificate_is_none_of_a_clients(strict, authority):
    wrong = authority.directory / "usage"
    certificate, key = authority.issue("usage", "/CN=alice", client=True)
    extension = wrong.with_suffix(".ext")
    extension.write_text("extendedKeyUsage=serverAuth\n")
    subprocess.run(["openssl", "x509", "-req", "-in", wrong.with_suffix(".csr"), "-CA", authority.certificate, "-CAkey", authority.key,
                    "-CAcreateserial", "-out", certificate, "-days", "2", "-extfile", extension], check=True, capture_output=True)
    with pytest.raises(psycopg2.OperationalError):
        tls_in_use(strict, sslmode="require", sslcert=str(certificate), sslkey=str(key))


# --- encryption requests ---


def test_bytes_sent_behind_an_ssl_request_are_rejected(weir):
    for request in (SSL_REQUEST, GSSENC_REQUEST):
        with WireClient(weir.port, log_in=False) as c:
            c.send(request + startup({"user": "postgres", "database": "app"}))
            replies = c.at_end()
            assert replies.errors == ["08P01"] and "received unencrypted data" in replies[0].fields["M"]


def test_clear_bytes_instead_of_a_handshake_end_the_connection(weir):
    with WireClient(weir.port, log_in=False) as c:
        ask_for_tls(c)
        c.send(startup({"user": "postgres", "database": "app"}))
        assert c.socket.recv(1) in (b"", b"\x15")   # at most TLS's own alert, never an answer in clear


def test_gssenc_is_declined_and_tls_may_follow(weir):
    with WireClient(weir.port, log_in=False) as c:
        c.send(GSSENC_REQUEST)
        assert c.socket.recv(1) == b"N"
        ask_for_tls(c)
        c.socket = trusting().wrap_socket(c.socket)
        c.send(startup({"user": "postgres", "database": "app"}))
        assert c.read_to_ready().status == "I"


@pytest.mark.parametrize("request_again", [SSL_REQUEST, GSSENC_REQUEST])
def test_there_is_no_encryption_inside_tls(weir, request_again):
    with TlsClient(weir.port, log_in=False) as c:
        c.send(request_again)
        replies = c.at_end()
        assert replies.errors == ["0A000"] and "unsupported frontend protocol 1234." in replies[0].fields["M"]


def test_a_second_request_of_the_same_kind_is_an_unknown_protocol(start_weir, databases):
    weir = start_weir(databases)
    for request in (SSL_REQUEST, GSSENC_REQUEST):
        with WireClient(weir.port, log_in=False) as c:
            c.send(request)
            assert c.socket.recv(1) == b"N"
            c.send(request)
            assert c.at_end().errors == ["0A000"]


def test_unix_sockets_have_no_tls(weir):
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        s.settimeout(10)
        s.connect(f"{weir.socket_dir}/.s.PGSQL.{weir.port}")
        s.sendall(SSL_REQUEST)
        assert s.recv(1) == b"N"
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as s:
        s.settimeout(10)
        s.connect(f"{weir.socket_dir}/.s.PGSQL.{weir.port}")
        with pytest.raises(ssl.SSLError):
            trusting().wrap_socket(s)
    assert weir.psql("select 1", unix=True) == "1"


# --- direct TLS ---


def test_direct_tls_with_alpn_is_a_connection_like_any_other(weir):
    with TlsClient(weir.port, direct=True) as c:
        assert c.socket.selected_alpn_protocol() == "postgresql"
        assert c.value("select 1") == "1"


def test_direct_tls_whose_first_record_comes_in_pieces(weir):
    context, incoming, outgoing = trusting(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    with WireClient(weir.port, log_in=False) as c:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        for cut in (1, 2, 5, 100):
            c.send(hello[:cut])
            hello = hello[cut:]
            assert c.silent(0.05)
        c.send(hello)
        done = False
        while not done:
            incoming.write(c.socket.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                done = True
        # The start-up packet in one send with the end of the handshake: nothing may be lost between the two.
        tls.write(startup({"user": "postgres", "database": "app"}))
        c.send(outgoing.read())
        answer = b""
        while not answer.endswith(b"Z\0\0\0\5I"):
            incoming.write(c.socket.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                answer += tls.read(65536)


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
def test_direct_tls_without_our_alpn_is_refused_by_its_alert(weir, alpn):
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        TlsClient(weir.port, direct=True, context=trusting(alpn=alpn))


def test_negotiated_tls_takes_no_alpn_answers_ours_and_refuses_others(weir):
    with TlsClient(weir.port, context=trusting(alpn=())) as c:
        assert c.socket.selected_alpn_protocol() is None and c.value("select 1") == "1"
    with TlsClient(weir.port, context=trusting(alpn=("h2", "postgresql"))) as c:
        assert c.socket.selected_alpn_protocol() == "postgresql"
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        TlsClient(weir.port, context=trusting(alpn=("h2",)))


# --- sessions, timeouts, ends ---


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_session_is_resumed(weir, version):
    context = trusting(version=version)
    with TlsClient(weir.port, context=context) as c:
        session = c.socket.session
        assert session is None or not session.has_ticket
    with WireClient(weir.port, log_in=False) as c:
        ask_for_tls(c)
        with context.wrap_socket(c.socket, session=session) as again:
            assert not again.session_reused


def test_a_handshake_that_stops_is_given_up_and_disturbs_nobody(weir):
    before = weir.descriptors()
    halves = [WireClient(weir.port, log_in=False) for _ in range(20)]
    for c in halves:
        ask_for_tls(c)
        c.send(b"\x16\x03\x01\x02\x00\x01")
    assert tls_in_use(weir, sslmode="require") is True
    for c in halves:
        assert c.socket.recv(100) == b""
        c.socket.close()
    harness.wait_for(lambda: weir.descriptors() <= before + 4, "no descriptor stays")


def test_the_end_of_a_session_is_told_by_close_notify(weir):
    with TlsClient(weir.port) as c:
        c.socket.suppress_ragged_eofs = False
        c.send(message("X"))
        assert c.socket.recv(100) == b""   # a bare end of the connection would be an SSLEOFError


def test_a_cancel_may_come_over_tls(weir):
    def cancel():
        with TlsClient(weir.port, log_in=False) as other:
            other.send(cancel_request(*c.key))
            other.at_end()

    with TlsClient(weir.port) as c:
        c.send(query("select pg_sleep(30)"))
        harness.wait_for(lambda: cancelled(c, cancel), "the cancel")
        assert c.value("select 1") == "1"


def test_too_many_clients_are_told_within_tls_and_may_still_cancel(start_weir, databases, server):
    weir = start_weir(databases, tls=files(server), listen={"max_clients": 1})
    with contextlib.ExitStack() as stack:
        c = harness.wait_for(lambda: admitted(stack, weir), "a place")   # start-up's own probe may not be gone yet
        with TlsClient(weir.port) as second:
            assert second.greeting.errors == ["53300"]
        c.send(query("select pg_sleep(30)"))
        harness.wait_for(lambda: cancelled(c), "the cancel")


def admitted(stack, weir):
    c = TlsClient(weir.port)
    if c.greeting.errors:
        c.socket.close()
        return None
    return stack.enter_context(c)


def test_many_clients_shake_hands_at_once(weir):
    failures = []

    def connect():
        try:
            for _ in range(5):
                with TlsClient(weir.port) as c:
                    assert c.value("select 1") == "1"
        except Exception as failure:   # pylint: disable=broad-except
            failures.append(failure)

    threads = [threading.Thread(target=connect) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not failures


# --- certificates: checked, and reloaded ---


def presented(weir):
    with WireClient(weir.port, log_in=False) as c:
        ask_for_tls(c)
        with trusting().wrap_socket(c.socket) as s:
            return ssl.DER_cert_to_PEM_cert(s.getpeercert(True))


def pem(certificate):
    text = certificate.read_text()
    return text[text.index("-----BEGIN"):]


def test_a_reload_shows_the_new_certificate_to_new_clients_and_a_broken_one_to_nobody(start_weir, databases, authority, server, tmp_path):
    shown = tmp_path / "now.crt", tmp_path / "now.key"

    def install(certificate, key):
        shown[0].write_text(certificate.read_text())
        shown[1].write_text(key.read_text())
        shown[1].chmod(0o600)

    install(*server)
    weir = start_weir(databases, tls=files(shown))
    assert presented(weir) == pem(server[0])
    renewed = authority.issue("renewed", "/CN=localhost")
    with TlsClient(weir.port) as before:
        install(*renewed)
        weir.reload()
        weir.wait_log("configuration reloaded")
        assert presented(weir) == pem(renewed[0])
        assert before.value("select 1") == "1"
        install(server[0], renewed[1])
        weir.reload()
        weir.wait_log("is not the key of the certificate")
        weir.wait_log("the old one serves on")
        assert presented(weir) == pem(renewed[0])
        assert before.value("select 2") == "2"


def check(config):
    return subprocess.run([harness.binary("weir"), "check", "-c", str(config)], text=True, capture_output=True, timeout=30)


@pytest.fixture
def broken(tmp_path, authority, server):
    """broken(what): the [tls] of a configuration with that mistake."""
    other = authority.issue("another", "/CN=localhost")
    readable, nonsense, encrypted = tmp_path / "readable.key", tmp_path / "nonsense.pem", tmp_path / "encrypted.key"
    readable.write_text(server[1].read_text())
    readable.chmod(0o644)
    nonsense.write_text("no PEM at all\n")
    nonsense.chmod(0o600)
    subprocess.run(["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", server[1], "-out", encrypted], check=True, capture_output=True)
    encrypted.chmod(0o600)
    return {
        "missing certificate": ({**files(server), "certificate": str(tmp_path / "none.crt")}, "tls.certificate", "No such file"),
        "no certificate": ({**files(server), "certificate": str(nonsense)}, "tls.certificate", "no start line"),
        "missing key": ({**files(server), "key": str(tmp_path / "none.key")}, "tls.key", "No such file"),
        "no key": ({**files(server), "key": str(nonsense)}, "tls.key", "PEM"),
        "passphrase": ({**files(server), "key": str(encrypted)}, "tls.key", "passphrase"),
        "another's key": ({**files(server), "key": str(other[1])}, "tls.key", "is not the key of the certificate"),
        "readable key": ({**files(server), "key": str(readable)}, "tls.key", "readable by its group or by everybody"),
        "missing ca": (files(server, ca=str(tmp_path / "none.ca")), "tls.ca", "No such file"),
        "no ca": (files(server, ca=str(nonsense)), "tls.ca", "PEM"),
        "ciphers": (files(server, ciphers="ROT13"), "tls.ciphers", "ROT13"),
    }


@pytest.mark.parametrize("what", ["missing certificate", "no certificate", "missing key", "no key", "passphrase", "another's key", "readable key",
                                  "missing ca", "no ca", "ciphers"])
def test_check_and_start_up_name_what_cannot_be_served(databases, broken, what):
    tls, key, reason = broken[what]
    weir = harness.Weir(databases, tls=tls)
    try:
        found = check(weir.config)
        assert found.returncode == 1
        assert key in found.stdout and reason in found.stdout, found.stdout
        weir.start(ready=False)
        assert weir.process.wait(timeout=20) == 1
        assert key in weir.log() and reason in weir.log()
    finally:
        weir.process = None
        weir.stop()


def test_check_is_content_with_good_files(databases, server, authority):
    weir = harness.Weir(databases, tls=files(server, authority, client="verify-full", min_version="TLSv1.3", ciphers="ECDHE-RSA-AES256-GCM-SHA384"))
    try:
        assert check(weir.config).returncode == 0
    finally:
        weir.stop()


def test_min_version_refuses_older_ones(start_weir, databases, server):
    weir = start_weir(databases, tls=files(server, min_version="TLSv1.3"))
    with pytest.raises(ssl.SSLError):
        TlsClient(weir.port, context=trusting(version=ssl.TLSVersion.TLSv1_2))
    with TlsClient(weir.port) as c:
        assert c.socket.version() == "TLSv1.3"
