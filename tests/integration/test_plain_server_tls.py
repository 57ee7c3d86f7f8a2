"""TLS towards PostgreSQL: every sslmode, certificates of both sides, channel binding, and that what flows over it flows as it does without.

The server speaks TLS with a certificate for localhost and 127.0.0.1, and asks some users for it (SERVER_HBA).
"""
import contextlib
import io
import os
import pathlib
import shutil

import psycopg2
import pytest

import harness
from certificates import Authority
from wire_client import WireClient, cancel_request, query

SERVER_HBA = """\
hostssl   all tls_only   all scram-sha-256
hostnossl all tls_only   all reject
hostnossl all clear_only all trust
hostssl   all clear_only all reject
hostssl   all by_cert    all cert
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "other")


def with_tls(clusters, authority):
    """Gives the server its certificate and switches TLS on."""
    data = pathlib.Path(clusters.node()["data"])
    owner = data.stat()
    for source, name in [*zip(authority.issue("server", "/CN=localhost"), ("server.crt", "server.key")), (authority.certificate, "clients.crt")]:
        shutil.copy(source, data / name)
        os.chmod(data / name, 0o600)
        os.chown(data / name, owner.st_uid, owner.st_gid)
    hba = data / "pg_hba.conf"
    hba.write_text(SERVER_HBA + hba.read_text())
    clusters.psql("create role tls_only login password 's3cret'; create role clear_only login; create role by_cert login; create table t (i int, s text);"
                  "grant all on t to public")
    for setting in ("ssl_ca_file = 'clients.crt'", "ssl = on"):
        clusters.psql(f"alter system set {setting}")
    clusters.psql("select pg_reload_conf()")
    harness.wait_for(lambda: harness.psql(clusters.conninfo() + " sslmode=require", "select 1", check=False).returncode == 0, "the server's TLS")


@pytest.fixture(scope="module")
def servers(plain_clusters, authority):
    with_tls(plain_clusters, authority)
    return plain_clusters


@pytest.fixture
def serve(start_weir, servers):
    """serve("user=postgres sslmode=require"): a proxy that logs in at the server so."""
    def start(conninfo, **sections):
        pool = {"size": 2, "wait_timeout": "2s", **sections.pop("pool", {})}
        return start_weir([harness.database_toml(servers, sharded=False, replicas=False, backend=conninfo, maintenance="user=postgres sslmode=prefer")],
                          pool=pool, **sections)
    return start


def session(weir):
    """(encrypted, version) of the server connection, as PostgreSQL sees it."""
    with WireClient(weir.port) as c:
        return tuple(c.query("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()").rows[0])


def told(weir):
    with pytest.raises(psycopg2.OperationalError) as error:
        weir.connect()
    return str(error.value)


@pytest.mark.parametrize("mode, encrypted", [("disable", "f"), ("allow", "f"), ("prefer", "t"), ("require", "t"), ("verify-ca", "t"), ("verify-full", "t")])
def test_every_sslmode_does_what_libpq_does(serve, authority, mode, encrypted):
    weir = serve(f"user=postgres sslmode={mode} sslrootcert={authority.certificate}")
    assert session(weir)[0] == encrypted
    assert {bool(s["tls"]) for s in weir.console("SHOW SERVERS")} == {encrypted == "t"}


@pytest.mark.parametrize("user, mode", [("tls_only password=s3cret", "allow"), ("clear_only", "prefer")])
def test_a_mode_that_may_do_either_does_what_the_server_asks_for(serve, user, mode):
    assert session(serve(f"user={user} sslmode={mode}"))[0] == ("t" if "tls" in user else "f")


@pytest.mark.parametrize("user, mode, reason", [("tls_only password=s3cret", "disable", "no encryption"), ("clear_only", "require", "SSL encryption")])
def test_a_mode_that_the_server_refuses_says_so(serve, user, mode, reason):
    assert reason in told(serve(f"user={user} sslmode={mode}"))


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_certificate_of_another_authority_is_refused_before_any_password_is_sent(serve, stranger, servers, mode):
    weir = serve(f"user=tls_only password=s3cret sslmode={mode} sslrootcert={stranger.certificate}")
    assert "the server's certificate is refused: self-signed" in told(weir)
    assert harness.live_servers(servers, "usename = 'tls_only'") == []


def test_only_verify_full_looks_at_the_name(serve, authority):
    elsewhere = f"host=elsewhere.example hostaddr=127.0.0.1 user=postgres sslrootcert={authority.certificate}"
    assert session(serve(f"{elsewhere} sslmode=verify-ca"))[0] == "t"
    assert "certificate is refused: hostname mismatch" in told(serve(f"{elsewhere} sslmode=verify-full"))
    assert session(serve(f"host=localhost hostaddr=127.0.0.1 user=postgres sslrootcert={authority.certificate} sslmode=verify-full"))[0] == "t"


def test_verify_without_an_authority_is_refused_with_what_to_do(serve):
    assert "needs sslrootcert" in told(serve("user=postgres sslmode=verify-full"))


def test_a_server_without_tls_is_refused_by_require_and_taken_by_prefer(serve, servers):
    servers.psql("alter system set ssl = off")
    servers.psql("select pg_reload_conf()")
    try:
        harness.wait_for(lambda: harness.psql(servers.conninfo() + " sslmode=require", "select 1", check=False).returncode != 0, "no TLS")
        assert session(serve("user=postgres sslmode=prefer"))[0] == "f"
        assert "TLS" in told(serve("user=postgres sslmode=require"))
    finally:
        servers.psql("alter system set ssl = on")
        servers.psql("select pg_reload_conf()")
        harness.wait_for(lambda: harness.psql(servers.conninfo() + " sslmode=require", "select 1", check=False).returncode == 0, "the server's TLS")


def test_weirs_own_certificate_logs_it_in(serve, authority, stranger, tmp_path):
    certificate, key = authority.issue("by_cert", "/CN=by_cert", client=True)
    assert session(serve(f"user=by_cert sslmode=require sslcert={certificate} sslkey={key}"))[0] == "t"
    assert "certificate" in told(serve("user=by_cert sslmode=require"))
    certificate, key = authority.issue("another", "/CN=another", client=True)
    assert 'certificate authentication failed for user "by_cert"' in told(serve(f"user=by_cert sslmode=require sslcert={certificate} sslkey={key}"))


def test_scram_is_bound_to_the_channel(serve):
    assert session(serve("user=tls_only password=s3cret sslmode=require channel_binding=require"))[0] == "t"
    assert session(serve("user=tls_only password=s3cret sslmode=require channel_binding=disable"))[0] == "t"
    assert "channel binding" in told(serve("user=postgres sslmode=disable channel_binding=require"))


@pytest.mark.parametrize("bounds, version", [("ssl_min_protocol_version=TLSv1.3", "TLSv1.3"), ("ssl_max_protocol_version=TLSv1.2", "TLSv1.2")])
def test_versions_are_bounded_and_large_things_pass_both_ways(serve, servers, bounds, version):
    weir = serve(f"user=postgres sslmode=require {bounds}")
    assert session(weir) == ("t", version)
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("select repeat('x', 20000000), md5(repeat('x', 20000000))")
        text, digest = cursor.fetchone()
        cursor.execute("select md5(%s)", (text,))
        assert cursor.fetchone() == (digest,)
        cursor.execute("truncate t")
        cursor.copy_expert("copy t from stdin", io.StringIO("".join(f"{i}\t{'y' * 500}\n" for i in range(20000))))
        out = io.StringIO()
        cursor.copy_expert("copy (select * from t order by i) to stdout", out)
        assert out.getvalue().count("\n") == 20000 and out.getvalue().startswith("0\tyyy")


def test_cancels_and_listeners_take_the_same_way(serve, servers):
    weir = serve("user=tls_only password=s3cret sslmode=require")   # whom the server takes by TLS alone
    with WireClient(weir.port) as c, WireClient(weir.port) as listener:
        c.send(query("select pg_sleep(60)"))
        harness.wait_for(lambda: harness.live_servers(servers, "query like '%pg_sleep(60)%' and state = 'active'"), "the statement")
        with WireClient(weir.port, log_in=False) as canceller:
            canceller.send(cancel_request(*c.key))
            canceller.at_end()
        assert c.read_to_ready().errors == ["57014"]
        assert listener.query("listen news").tags == ["LISTEN"]
        c.query("notify news, 'x'")
        assert listener.read().kind == "A"
    in_clear = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where usename = 'tls_only' and not ssl"
    assert servers.psql(in_clear) == "0"


def test_a_server_that_goes_is_noticed_and_found_again(serve, servers):
    weir = serve("user=postgres sslmode=require")
    with WireClient(weir.port) as c:
        pid = c.value("select pg_backend_pid()")
        servers.psql(f"select pg_terminate_backend({pid})")
        harness.wait_for(lambda: pid not in harness.live_servers(servers), "its end")
        assert c.value("select pg_backend_pid()") != pid
