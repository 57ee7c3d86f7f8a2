"""`weirctl import`: what PgBouncer's files become, that `weir check` takes it, and that both answer the same workload alike."""
import os
import pathlib
import pwd
import shutil
import stat
import subprocess
import tomllib

import psycopg2
import pytest

import harness

HBA = "host all all 127.0.0.1/32 trust\n"

# name: (pgbouncer.ini, {dotted key: value} of the result, parts of what is said on standard error)
CASES = {
    "minimal": ("[databases]\napp = host=127.0.0.1\n[pgbouncer]\nauth_type = trust\nlisten_addr = 127.0.0.1\n",
                {"listen.address": ["127.0.0.1"], "listen.port": 6432, "listen.max_clients": 100, "listen.unix_socket_dir": "/tmp",
                 "pool.mode": "session", "pool.wait_timeout": "120s", "pool.idle_transaction_timeout": "0", "auth.method": "trust",
                 "pool.max_per_backend": 20, "database.0.shard.0.primary": "host=127.0.0.1 port=5432 dbname=app"},
                ["nobody is known to monitor", "Weir lets everybody in by any name"]),
    "web application": ("""\
;; the usual
[databases]
shop = host=db.example port=5433 dbname=shop_production pool_size=40 reserve_pool=5 pool_mode=transaction max_db_connections=60
"odd name" = host=127.0.0.1 dbname='it''s' user=app password='a b\\c'
[pgbouncer]
listen_addr = 127.0.0.1, ::1
listen_port = 6543
unix_socket_dir =
auth_type = scram-sha-256
auth_file = userlist.txt
pool_mode = transaction
max_client_conn = 5000
default_pool_size = 25
min_pool_size = 50
reserve_pool_size = 3
reserve_pool_timeout = 2.5
query_wait_timeout = 30
server_idle_timeout = 60
admin_users = root, dba
stats_users = monitor
server_reset_query = DISCARD ALL
ignore_startup_parameters = extra_float_digits,search_path
""", {"listen.address": ["127.0.0.1", "::1"], "listen.port": 6543, "listen.unix_socket_dir": None, "pool.min": 25, "pool.reserve": 3,
      "pool.reserve_timeout": "2500ms", "admin.users": ["root", "dba"], "admin.stats_users": ["monitor"], "database.0.pool_size": 40,
      "database.0.pool_reserve": 5, "database.0.max_server_connections": 60, "database.0.pool_mode": "transaction",
      "database.1.name": "odd name", "pool.max_per_backend": 60,
      "database.1.shard.0.primary": "host=127.0.0.1 port=5432 dbname='it\\'s' user=app password='a b\\\\c'"},
                        ["server_reset_query: Weir itself undoes", "user old: has an md5 secret", "ignore_startup_parameters: not needed"]),
    "limits of users": ("""\
[databases]
app = host=127.0.0.1 user=app
[users]
alice = pool_mode=session max_user_connections=7 query_timeout=1.5 pool_size=4 reserve_pool_size=1
bob = max_user_client_connections=9
ghost = pool_mode=statement
[pgbouncer]
auth_file = userlist.txt
max_user_connections = 11
max_db_client_connections = 500
max_db_connections = 33
""", {"auth.method": "md5", "users.alice.pool_mode": "session", "users.alice.max_server_connections": 7, "users.alice.query_timeout": "1500ms",
      "users.alice.pool_reserve": 1, "users.bob.max_clients": 9, "users.bob.max_server_connections": 11, "users.app.password": "secret",
      "database.0.max_clients": 500, "database.0.max_server_connections": 33,
      "database.0.shard.0.primary": "host=127.0.0.1 port=5432 dbname=app user=app password=secret"}, ["user ghost: is not in auth_file"]),
    "auth_query": ("""\
[databases]
app = host=127.0.0.1 auth_user=lookup
other = host=127.0.0.1 auth_user=another
[pgbouncer]
auth_type = md5
auth_file = userlist.txt
auth_user = lookup
auth_dbname = other
""", {"auth.query_user": "lookup", "auth.query_database": "other", "database.0.maintenance": "user=lookup password='look up'"},
                   ["auth_user of database other: Weir has one"]),
    "hba": ("[databases]\napp = host=127.0.0.1 user=app password=x\n[pgbouncer]\nauth_type = hba\nauth_hba_file = hba.conf\n"
            "auth_file = userlist.txt\nauth_user = lookup\nauth_dbname = postgres\n", {"auth.method": "hba", "auth.query_database": None},
            ["auth_dbname: is no database"]),
    "TLS": ("""\
[databases]
app = host=127.0.0.1 user=app password=x
local = user=app password=x
[pgbouncer]
auth_type = trust
client_tls_sslmode = require
client_tls_cert_file = server.crt
client_tls_key_file = server.key
client_tls_protocols = tlsv1.3
client_tls_ciphers = default
client_tls13_ciphers = x
server_tls_sslmode = verify-full
server_tls_ca_file = ca.crt
server_tls_protocols = tlsv1.3
""", {"tls.client": "require", "tls.min_version": "TLSv1.3", "tls.ciphers": None,
      "database.1.shard.0.primary": "host=/tmp port=5432 dbname=local user=app password=x"},
            ["client_tls13_ciphers: OpenSSL's list"]),
    "old TLS": ("[databases]\napp = host=127.0.0.1 user=a\n[pgbouncer]\nauth_type = trust\nclient_tls_protocols = all\n",
                {"tls.client": "disable"}, ["TLS 1.2 is the oldest"]),
    "settings of a server": ("""\
[databases]
app = host=127.0.0.1 user=a client_encoding=UTF8 timezone='Europe/Berlin' datestyle='ISO, DMY' application_name=x connect_query='SELECT 1' server_lifetime=60
pair = host=10.0.0.1,10.0.0.2 user=a load_balance_hosts=disable
[pgbouncer]
auth_type = trust
""", {"database.0.shard.0.primary": "host=127.0.0.1 port=5432 dbname=app user=a application_name=x "
                                    "options='-c client_encoding=UTF8 -c datestyle=ISO,\\\\ DMY -c timezone=Europe/Berlin'",
      "database.1.shard.0.primary": "host=10.0.0.1 port=5432 dbname=pair user=a"},
                             ["connect_query of database app: not run", "one host", "server_lifetime of database app", "load_balance_hosts"]),
    "peers": ("""\
[databases]
app = host=127.0.0.1 user=a
[peers]
1 = host=/run/pgbouncer1
2 = host=10.0.0.2 port=6433 pool_size=5
900 = host=10.0.0.9
[pgbouncer]
auth_type = trust
peer_id = 3
so_reuseport = 1
""", {"listen.peer_id": 3, "peer.0.address": "/run/pgbouncer1", "peer.1.address": "10.0.0.2:6433"},
              ["peer 900: Weir's peers", "pool_size of a peer", "so_reuseport: not needed"]),
    "fallback only in part": ("[databases]\napp = host=127.0.0.1 user=a\n* = host=127.0.0.1\n[pgbouncer]\nauth_type = any\n",
                              {"auth.method": "trust", "database.0.name": "app"}, ["*: Weir serves only databases", "auth_type = any"]),
    "an included file": ("%include part.ini\n[pgbouncer]\nauth_type = trust\nlogfile = /var/log/x.log\npidfile = /run/x.pid\nverbose = 1\n"
                         "log_stats = 0\nlog_connections = 0\nunheard_of = 1\n",
                         {"database.0.name": "included", "log.level": "debug", "log.stats_interval": "0", "log.connections": False},
                         ["logfile: Weir logs to standard error", "unheard_of: PgBouncer 1.25 has no such setting"]),
    "at the bounds": ("[databases]\napp = host=127.0.0.1 user=a\n[pgbouncer]\nauth_type = trust\nclient_login_timeout = 0\n"
                      "max_prepared_statements = 0\nserver_connect_timeout = 0\nunix_socket_dir = @x\nlisten_addr = *\n",
                      {"pool.client_login_timeout": "3600s", "pool.max_prepared_statements": 1, "pool.connect_timeout": "600s",
                       "listen.address": ["*"]}, ["max_prepared_statements: 0 became 1", "abstract"]),
    "what TOML must quote": ("[databases]\napp = host=127.0.0.1 user='${HOME}' password='q\"uo\\te'\n[pgbouncer]\nauth_type = trust\n",
                             {"database.0.shard.0.primary": "host=127.0.0.1 port=5432 dbname=app user=$${HOME} password='q\"uo\\\\te'"}, []),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "userlist.txt").write_text('; people\n"app" "secret" ; a comment\n"alice" "alices"\n"bob" "with ""quotes"""\n'
                                           '"lookup" "look up"\n')
    (tmp_path / "hba.conf").write_text(HBA)
    (tmp_path / "part.ini").write_text("[databases]\nincluded = host=127.0.0.1 user=a\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=weir", "-days", "2", "-keyout",
                    tmp_path / "server.key", "-out", tmp_path / "server.crt"], check=True, capture_output=True)
    shutil.copy(tmp_path / "server.crt", tmp_path / "ca.crt")
    return tmp_path


def dig(tree, dotted):
    for part in dotted.split("."):
        if isinstance(tree, list):
            tree = tree[int(part)]
        else:
            tree = tree.get(part)
        if tree is None:
            return None
    return tree


def imported(folder, ini, *arguments, check=True):
    (folder / "pgbouncer.ini").write_text(ini)
    if "scram" in ini:
        with (folder / "userlist.txt").open("a") as users:
            users.write('"old" "md5' + "0" * 32 + '"\n')
    return harness.weirctl("import", str(folder / "pgbouncer.ini"), "-o", str(folder / "weir.toml"), *arguments, check=check)


def parsed(folder):
    tree = tomllib.loads((folder / "weir.toml").read_text())
    tree["users"] = {u["name"]: u for u in tomllib.loads((folder / "users.toml").read_text()).get("user", [])}
    return tree


@pytest.mark.parametrize("case", CASES)
def test_a_pgbouncer_ini_becomes_a_weir_toml_that_passes_the_check(folder, case):
    ini, expected, said = CASES[case]
    done = imported(folder, ini)
    for part in said:
        assert part in done.stderr and part in (folder / "weir.toml").read_text()
    tree = parsed(folder)
    assert {key: dig(tree, key) for key in expected} == expected
    checked = subprocess.run([harness.binary("weir"), "check", "-c", str(folder / "weir.toml")], text=True, capture_output=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for name in ("weir.toml", "users.toml"):
        assert stat.S_IMODE(os.stat(folder / name).st_mode) == 0o600


def test_what_is_there_is_not_overwritten_and_the_fallback_is_served_by_name(folder):
    ini = "[databases]\n* = host=127.0.0.1 port=5433 user=a\n[pgbouncer]\nauth_type = trust\n"
    assert "name those behind" in imported(folder, ini, check=False).stderr
    imported(folder, ini, "--database", "one", "--database", "two")
    assert [d["shard"][0]["primary"] for d in parsed(folder)["database"]] == [f"host=127.0.0.1 port=5433 dbname={n} user=a" for n in ("one", "two")]
    again = imported(folder, ini, "--database", "three", check=False)
    assert again.returncode == 1 and "--force" in again.stderr
    imported(folder, ini, "--database", "three", "--force")
    assert parsed(folder)["database"][0]["name"] == "three"


@pytest.mark.parametrize("ini, said", [("app = host=x\n", "before the first"), ("[databases]\napp\n", "pgbouncer.ini:2"),
                                       ("[databases]\napp = host='x\n", "no end"), ("[databases\n", "expected [section]"),
                                       ("[databases]\napp = host=x\n[pgbouncer]\nmax_client_conn = many\n", "pgbouncer.ini:4"),
                                       ("[databases]\napp = host=x\n[pgbouncer]\nauth_file = absent.txt\n", "absent.txt"),
                                       ("%include pgbouncer.ini\n", "include each other")])
def test_a_file_that_cannot_be_understood_is_named_with_its_line(folder, ini, said):
    done = imported(folder, ini, check=False)
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert not (folder / "weir.toml").exists()


# --- both answer alike


@pytest.fixture
def pgbouncer(plain_clusters, tmp_path):
    """PgBouncer itself on an ini, and Weir on what it was imported to: {name: port}."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not os.access(program, os.X_OK):
        pytest.skip("pgbouncer is not installed")
    at = plain_clusters.node()
    nobody = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    home = pathlib.Path("/tmp") / f"wi{os.getpid()}"
    home.mkdir(exist_ok=True)
    port = harness.free_port()
    (home / "userlist.txt").write_text('"carol" "carols secret"\n"dave" "daves"\n')
    ini = (f"[databases]\napp = host={at['host']} port={at['port']} dbname=app user=postgres timezone=Asia/Tokyo pool_size=3\n"
           f"renamed = host={at['host']} port={at['port']} dbname=app user=postgres pool_mode=session\n"
           f"[users]\ndave = pool_mode=session\n"
           f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
           f"auth_file = {home}/userlist.txt\npool_mode = transaction\nadmin_users = carol\nmax_client_conn = 50\nlogfile = {home}/pgbouncer.log\n")
    (home / "pgbouncer.ini").write_text(ini)
    if nobody:
        for path in (home, *home.iterdir()):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    process = harness.spawn([program, "-q", str(home / "pgbouncer.ini")], home / "out.log", user=nobody)
    weir = harness.Weir([])
    harness.weirctl("import", str(home / "pgbouncer.ini"), "-o", str(weir.config), "--force")
    weir.config.write_text(weir.config.read_text().replace(f"port = {port}\n", f"port = {weir.port}\n", 1))
    try:
        harness.wait_for(lambda: harness.asks_for_log_in(port, "app", "carol"), "pgbouncer")
        weir.start()
        yield {"pgbouncer": port, "weir": weir.port}
    finally:
        harness.end(process)
        weir.stop()
        shutil.rmtree(home, ignore_errors=True)


def outcome(port, work, dbname="app", user="carol", password="carols secret"):
    """What a client sees: rows, or the SQLSTATE; "refused" where it may not come in."""
    try:
        connection = psycopg2.connect(host="127.0.0.1", port=port, dbname=dbname, user=user, password=password, connect_timeout=10)
    except psycopg2.OperationalError:
        return "refused"
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            seen = []
            for statement in work:
                try:
                    cursor.execute(statement)
                    seen.append(cursor.fetchall() if cursor.description else cursor.statusmessage)
                except psycopg2.Error as e:
                    seen.append(e.pgcode)
            return seen
    finally:
        connection.close()


WORK = ["select 1", "show timezone", "select current_user, current_database()", "create table if not exists imported (a int primary key)",
        "truncate imported", "begin", "insert into imported values (1), (2)", "insert into imported values (1)", "rollback",
        "insert into imported select generate_series(1, 100)", "select count(*), sum(a) from imported", "select * from nowhere",
        "set timezone = 'UTC'", "show timezone", "reset timezone", "show timezone", "select 'ä', 1.50::numeric, null, array[1,2]",
        "update imported set a = a + 1000 where a > 50", "delete from imported where a > 1000", "select max(a) from imported", "drop table imported"]


def test_pgbouncer_and_weir_answer_the_same_workload_alike(pgbouncer):
    for how in ({}, {"dbname": "renamed"}, {"user": "dave", "password": "daves"}):
        answers = {name: outcome(port, WORK, **how) for name, port in pgbouncer.items()}
        assert answers["weir"] == answers["pgbouncer"] and answers["weir"][0] == [(1,)]
    for how in ({"password": "wrong"}, {"dbname": "nowhere"}, {"user": "eve"}):
        assert [outcome(port, ["select 1"], **how) for port in pgbouncer.values()] == ["refused", "refused"]
    shown = {name: outcome(port, ["show databases"], dbname="pgbouncer") for name, port in pgbouncer.items()}
    assert {row[0] for row in shown["weir"][0]} >= {"app", "renamed"} and shown["pgbouncer"]
