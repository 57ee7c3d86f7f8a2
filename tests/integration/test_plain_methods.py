"""How clients prove who they are, and with what Weir then logs in to servers: md5, cert, hba, userlist.txt, auth_query, SCRAM keys passed through."""
import base64
import contextlib
import hashlib
import hmac
import struct
import subprocess

import psycopg
import psycopg2
import pytest

import harness
from certificates import Authority
from wire_client import WireClient, message, query, startup

ROLES = {"scram_user": "s3cret", "md5_user": "m5", "expired": "old", "silent": None, "temporary": "tmp"}
LOOKUP = "look it up"


@pytest.fixture(scope="module")
def servers(plain_clusters):
    """Roles with secrets, a server that asks for them, and `stored`: the secrets as pg_authid holds them."""
    sql = ["create role lookup superuser login password 'look it up'"]
    for name, password in ROLES.items():
        kind = "md5" if name == "md5_user" else "scram-sha-256"
        sql.append(f"set password_encryption = '{kind}'; create role {name} login" + (f" password '{password}'" if password else ""))
    sql.append("alter role expired valid until '2001-01-01'; alter role temporary valid until 'infinity'")
    sql.append("create role md5_named login; create role plainly login password 'plain one'")
    plain_clusters.psql(";\n".join(sql))
    data = plain_clusters.node()["data"]
    with open(f"{data}/pg_hba.conf") as f:
        before = f.read()
    with open(f"{data}/pg_hba.conf", "w") as f:
        f.write("host all md5_user all md5\nhost all scram_user,expired,silent,temporary,plainly,lookup all scram-sha-256\n" + before)
    plain_clusters.psql("select pg_reload_conf()")
    yield plain_clusters


@pytest.fixture(scope="module")
def databases(servers):
    return [harness.database_toml(servers, sharded=False, replicas=False, backend="", maintenance="user=postgres")]


def stored(servers, name):
    return servers.psql(f"select rolpassword from pg_authid where rolname = '{name}'")


def userlist(weir_directory, users):
    quote = lambda text: '"' + text.replace('"', '""') + '"'
    (weir_directory / "userlist.txt").write_text("; users\n" + "".join(f"{quote(n)} {quote(p)}\n" for n, p in users.items()))


@pytest.fixture
def start(databases):
    """start(users, auth={...}, files={...}): a proxy whose users stand in a userlist.txt."""
    started = []

    def start(users=None, auth=None, files=None, toml=None, **sections):
        proxy = harness.Weir(toml or databases, auth={"users_file": "userlist.txt", **(auth or {})}, **sections)
        started.append(proxy)
        userlist(proxy.directory, users or {})
        for name, text in (files or {}).items():
            (proxy.directory / name).write_text(text)
        proxy.start(ready=False).wait_log("serving")
        return proxy

    yield start
    for proxy in started:
        proxy.stop()


def who(weir, user, password=None, driver=psycopg2, **more):
    with contextlib.closing(driver.connect(weir.dsn(user=user, password=password, **more))) as connection:
        cursor = connection.cursor()
        cursor.execute("select current_user")
        return cursor.fetchone()[0]


def refused(weir, user, password="", **more):
    with pytest.raises(psycopg2.OperationalError) as error:
        who(weir, user, password, **more)
    return str(error.value)


# --- SCRAM keys passed through, md5 ---


@pytest.mark.parametrize("method", ["scram-sha-256", "md5"])
def test_no_password_is_stored_anywhere_and_the_server_asks_for_scram(start, servers, method):
    weir = start({"scram_user": stored(servers, "scram_user")}, {"method": method})
    for driver in (psycopg2, psycopg):
        assert who(weir, "scram_user", "s3cret", driver) == "scram_user"
    assert weir.psql("select current_user", user="scram_user", password="s3cret") == "scram_user"
    assert 'password authentication failed for user "scram_user"' in refused(weir, "scram_user", "wrong")
    servers.psql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'scram_user'")
    assert who(weir, "scram_user", "s3cret") == "scram_user"
    for secret in ("s3cret", stored(servers, "scram_user").split("$")[2]):
        assert secret not in weir.log()


def test_a_server_with_another_secret_refuses_and_the_message_says_why(start, servers):
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha256", b"s3cret", salt, 4096)
    key = hmac.digest(salted, b"Client Key", "sha256")
    b64 = lambda raw: base64.b64encode(raw).decode()
    secret = f"SCRAM-SHA-256$4096:{b64(salt)}${b64(hashlib.sha256(key).digest())}:{b64(hmac.digest(salted, b'Server Key', 'sha256'))}"
    weir = start({"scram_user": secret}, {"method": "scram-sha-256"})
    assert "SCRAM secret is not the one" in refused(weir, "scram_user", "s3cret")


def test_an_md5_secret_proves_the_client_and_logs_in_to_a_server_that_asks_for_md5(start, servers):
    weir = start({"md5_user": stored(servers, "md5_user")}, {"method": "md5"})
    assert stored(servers, "md5_user").startswith("md5")
    for driver in (psycopg2, psycopg):
        assert who(weir, "md5_user", "m5", driver) == "md5_user"
    assert "password authentication failed" in refused(weir, "md5_user", "m6")
    assert "password authentication failed" in refused(weir, "nobody", "m6")


def test_plain_passwords_log_in_everywhere(start, servers):
    weir = start({"md5_user": "m5", "scram_user": "s3cret"}, {"method": "md5"})
    assert who(weir, "md5_user", "m5") == "md5_user"
    assert who(weir, "scram_user", "s3cret") == "scram_user"


# --- auth_query ---


@pytest.fixture
def asking(start):
    return start({"lookup": LOOKUP}, {"method": "scram-sha-256", "query_user": "lookup"})


def test_users_are_looked_up_and_their_secrets_pass_through(asking):
    assert who(asking, "scram_user", "s3cret") == "scram_user"
    assert who(asking, "temporary", "tmp", psycopg) == "temporary"
    assert who(asking, "plainly", "plain one") == "plainly"


@pytest.mark.parametrize("user, password, logged", [
    ("scram_user", "wrong", "the password is wrong"), ("expired", "old", "the user has an expired password"), ("silent", "", "the user has no password"),
    ("silent", "x", "the user has no password"), ("nobody", "x", "the user does not exist"), ("md5_user", "m5", "the user's secret is md5")])
def test_whatever_is_wrong_the_client_is_told_the_same(asking, user, password, logged):
    assert f'password authentication failed for user "{user}"' in refused(asking, user, password or "empty")
    asking.wait_log(f'login of user "{user}" from 127.0.0.1 failed: {logged}')


def test_a_changed_password_counts_at_the_next_login(asking, servers):
    assert who(asking, "temporary", "tmp") == "temporary"
    servers.psql("alter role temporary password 'changed'")
    try:
        harness.wait_for(lambda: accepts(asking, "temporary", "changed"), "the new password", 15)
        assert "password authentication failed" in refused(asking, "temporary", "tmp")
    finally:
        servers.psql("alter role temporary password 'tmp'")


def accepts(weir, user, password):
    try:
        return who(weir, user, password) == user
    except psycopg2.OperationalError:
        return False


def test_nothing_a_client_sends_reaches_the_look_up(start, servers):
    servers.psql("create schema evil; create table evil.spy (name text); grant all on schema evil to public;"
                 "create table seen (path text, name text); create function look(name) returns table (n name, p text) language plpgsql security definer as "
                 "$$ begin insert into seen values (current_setting('search_path'), current_setting('application_name'));"
                 " return query select usename, passwd from pg_catalog.pg_shadow where usename = $1; end $$")
    weir = start({"lookup": LOOKUP}, {"method": "scram-sha-256", "query_user": "lookup", "query": "SELECT n, p FROM public.look($1)"})
    assert who(weir, "scram_user", "s3cret", options="-c search_path=evil", application_name="evil") == "scram_user"
    assert servers.psql("select * from seen") == '"$user", public|weir auth_query'
    servers.psql("drop schema evil cascade; drop function look(name); drop table seen")


def test_a_failed_look_up_is_no_login(start, servers):
    weir = start({"lookup": "not its password"}, {"method": "scram-sha-256", "query_user": "lookup"})
    told = refused(weir, "scram_user", "s3cret")
    assert "the user cannot be looked up now" in told and "lookup" not in told.replace("looked", "")
    several = start({"lookup": LOOKUP}, {"method": "scram-sha-256", "query_user": "lookup", "query": "SELECT usename, passwd FROM pg_shadow WHERE $1 <> ''"})
    assert "the user cannot be looked up now" in refused(several, "scram_user", "s3cret")
    another = start({"lookup": LOOKUP}, {"method": "scram-sha-256", "query_user": "lookup",
                                         "query": "SELECT usename, passwd FROM pg_shadow WHERE usename = 'lookup' AND $1 <> ''"})
    assert "password authentication failed" in refused(another, "scram_user", LOOKUP)


# --- hba ---

HBA = """\
# who        database   user          address        method
local        all        all                          trust
host         all        @rejected     127.0.0.1/32   reject
host         sameuser   md5_user      all            trust
host         app        md5_user      127.0.0.1 255.255.255.255 md5
hostssl      app        "scram_user"  samehost       scram-sha-256
hostnossl    app        scram_user    127.0.0.0/8    password
"""


def test_the_first_line_of_the_hba_file_that_fits_counts(start, servers):
    weir = start({"md5_user": "m5", "scram_user": stored(servers, "scram_user")}, {"method": "hba", "hba_file": "hba.conf"},
                 {"hba.conf": HBA, "rejected": "temporary\nplainly"})
    assert who(weir, "md5_user", "m5") == "md5_user"
    assert "password authentication failed" in refused(weir, "md5_user", "x")
    assert who(weir, "scram_user", "s3cret") == "scram_user", "password: in clear text, against a SCRAM secret"
    assert "password authentication failed" in refused(weir, "scram_user", "x")
    assert 'pg_hba.conf rejects connection for host "127.0.0.1", user "plainly", database "app", no encryption' in refused(weir, "plainly", "x")
    assert 'no pg_hba.conf entry for host "127.0.0.1", user "nobody", database "app", no encryption' in refused(weir, "nobody", "x")
    assert who(weir, "postgres", unix=True) == "postgres"
    with WireClient(weir.port, user="nobody") as c:
        assert c.greeting.errors == ["28000"]


def test_a_reload_takes_new_users_and_lines_and_refuses_bad_ones(start, servers):
    weir = start({"md5_user": "m5", "postgres": "pg"}, {"method": "hba", "hba_file": "hba.conf"},
                 {"hba.conf": "local all all trust\nhost all md5_user all md5\n"}, admin={"users": ["postgres"]})
    assert who(weir, "md5_user", "m5") == "md5_user"
    (weir.directory / "hba.conf").write_text("local all all trust\nhost all md5_user all gss\n")
    with contextlib.closing(weir.connect(dbname="weir", unix=True)) as console:
        with pytest.raises(psycopg2.Error) as bad:
            console.cursor().execute("RELOAD")
        assert 'hba.conf:2: method "gss" is not supported' in str(bad.value)
        assert who(weir, "md5_user", "m5") == "md5_user"
        (weir.directory / "hba.conf").write_text("local all all trust\nhost all scram_user all scram-sha-256\n")
        userlist(weir.directory, {"scram_user": stored(servers, "scram_user")})
        console.cursor().execute("RELOAD")
    assert who(weir, "scram_user", "s3cret") == "scram_user"
    assert "no pg_hba.conf entry" in refused(weir, "md5_user", "m5")


def test_secrets_that_serve_nobody_are_refused_by_the_check(servers, databases):
    weir = harness.Weir(databases, auth={"method": "trust", "users_file": "userlist.txt"})
    userlist(weir.directory, {"scram_user": stored(servers, "scram_user")})
    done = subprocess.run([harness.binary("weir"), "check", "-c", str(weir.config)], text=True, capture_output=True)
    weir.stop()
    assert done.returncode == 1 and "userlist.txt:2: user.scram_user.password: nothing can log in to a server with this SCRAM secret" in done.stdout


# --- certificates and channel binding ---


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls(authority):
    certificate, key = authority.issue("server", "/CN=localhost")
    return {"certificate": str(certificate), "key": str(key), "ca": str(authority.certificate)}


def test_cert_takes_the_common_name(start, tls, authority, servers):
    certificate, key = authority.issue("client", "/O=Example/CN=postgres", client=True)
    weir = start({}, {"method": "cert"}, tls=tls)
    shown = {"sslmode": "require", "sslcert": str(certificate), "sslkey": str(key)}
    assert who(weir, "postgres", **shown) == "postgres"
    assert 'Certificate authentication failed for user "scram_user"' in refused(weir, "scram_user", **shown)
    assert "connection requires a valid client certificate" in refused(weir, "postgres", sslmode="require", sslcert="/none", sslkey="/none")
    assert "connection requires a valid client certificate" in refused(weir, "postgres", sslmode="disable")


def test_channel_binding_is_offered_over_tls_and_can_be_required(start, tls, servers):
    weir = start({"scram_user": stored(servers, "scram_user")}, {"method": "scram-sha-256"}, tls=tls)
    assert who(weir, "scram_user", "s3cret", sslmode="require", channel_binding="require") == "scram_user"
    assert who(weir, "scram_user", "s3cret", psycopg, sslmode="require", channel_binding="require") == "scram_user"
    assert who(weir, "scram_user", "s3cret", sslmode="require", channel_binding="disable") == "scram_user"
    assert "channel binding" in refused(weir, "scram_user", "s3cret", sslmode="disable", channel_binding="require")


# --- a wrong answer in every step, by bytes ---


def begin(weir, user="scram_user"):
    c = WireClient(weir.port, log_in=False)
    c.send(startup({"user": user, "database": "app"}))
    asked = c.read()
    assert asked.kind == "R" and b"SCRAM-SHA-256" in asked.body
    return c


def initial(data, mechanism=b"SCRAM-SHA-256"):
    return message("p", mechanism + b"\0" + struct.pack("!i", len(data)) + data)


FIRST = b"n,,n=,r=abcdefgh"


@pytest.mark.parametrize("sent", [
    query("select 1"), message("p", b""), message("p", b"SCRAM-SHA-256\0"), initial(FIRST, b"PLAIN"), initial(FIRST, b"SCRAM-SHA-256-PLUS"), initial(b""),
    initial(b"n"), initial(b"x,,n=,r=a"), initial(b"n,a=other,n=,r=a"), initial(b"n,,r=a"), initial(b"n,,n="), initial(b"n,,n=,r="),
    initial(b"n,,n=,r=\x01"), initial(b"p=tls-server-end-point,,n=,r=a"), initial(b"n,,m=x,n=,r=a"), initial(b"n,,n=,r=" + b"a" * 5000),
    message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", 100) + FIRST), startup({"user": "postgres", "database": "app"})])
def test_a_bad_first_message_ends_the_connection(start_scram, sent):
    with begin(start_scram) as c:
        c.send(sent)
        end = c.at_end()
        assert end.kinds == "E" and end.errors[0] in ("08P01", "28000", "0A000"), end


@pytest.mark.parametrize("final", [
    b"", b"c=biws", b"c=biws,r={r}", b"c=eSws,r={r},p={p}", b"c=biws,r={r}x,p={p}", b"c=biws,r=abcdefgh,p={p}", b"c=biws,r={r},p=AAAA",
    b"c=biws,r={r},p={p},x=1", b"r={r},c=biws,p={p}", b"c=biws,r={r},p={p}\0"])
def test_a_bad_final_message_ends_the_connection(start_scram, final):
    with begin(start_scram) as c:
        c.send(initial(FIRST))
        nonce = c.read().body[4:].split(b",")[0][2:]
        c.send(message("p", final.replace(b"{r}", nonce).replace(b"{p}", base64.b64encode(b"x" * 32))))
        end = c.at_end()
        assert end.kinds == "E" and end.errors == ["08P01"], end


@pytest.mark.parametrize("user", ["scram_user", "nobody"])
def test_a_wrong_proof_is_told_as_a_wrong_password(start_scram, user):
    with begin(start_scram, user) as c:
        c.send(initial(FIRST))
        nonce = c.read().body[4:].split(b",")[0][2:]
        c.send(message("p", b"c=biws,r=" + nonce + b",p=" + base64.b64encode(b"x" * 32)))
        end = c.at_end()
        assert end.kinds == "E" and end.errors == ["28P01"]


def test_an_unknown_user_is_asked_the_same_each_time(start_scram):
    def challenge(user):
        with begin(start_scram, user) as c:
            c.send(initial(FIRST))
            return c.read().body[4:].split(b",")[1:]

    assert challenge("nobody") == challenge("nobody") != challenge("anybody")
    assert challenge("nobody")[1] == challenge("scram_user")[1] == b"i=4096"


@pytest.fixture(scope="module")
def start_scram(databases, servers):
    proxy = harness.Weir(databases, auth={"method": "scram-sha-256", "users_file": "userlist.txt"})
    userlist(proxy.directory, {"scram_user": stored(servers, "scram_user")})
    try:
        yield proxy.start()
    finally:
        proxy.stop()


@pytest.mark.parametrize("sent", [message("p", b""), message("p", b"no end"), message("p", b"two\0ends\0"), query("select 1")])
def test_a_malformed_password_ends_the_connection(start, sent):
    weir = start({"md5_user": "m5"}, {"method": "md5"})
    with WireClient(weir.port, log_in=False) as c:
        c.send(startup({"user": "md5_user", "database": "app"}))
        assert c.read().body[:4] == struct.pack("!I", 5)
        c.send(sent)
        assert c.at_end().errors == ["08P01"]
