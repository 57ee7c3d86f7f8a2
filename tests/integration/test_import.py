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
    "fallback": ("[databases]\napp = host=127.0.0.1 user=a\n* = host=127.0.0.1 port=5433 auth_user=lookup pool_size=3 max_db_connections=2\n"
                 "[pgbouncer]\nauth_type = any\nauth_dbname = anything\nauth_file = userlist.txt\nautodb_idle_timeout = 60\n",
                 {"auth.method": "trust", "auth.query_database": "anything", "database.0.name": "app", "database.1.name": "*", "database.1.pool_size": 3,
                  "database.1.max_server_connections": 2, "database.1.maintenance": "user=lookup password='look up'",
                  "database.1.shard.0.primary": "host=127.0.0.1 port=5433", "pool.fallback_idle_timeout": "60s"},
                 ["*: how many databases", "auth_type = any"]),
    "fallback with look-ups": ("[databases]\n* = host=127.0.0.1\n[pgbouncer]\nauth_type = md5\nauth_user = lookup\nauth_file = userlist.txt\n",
                               {"auth.query_user": "lookup", "auth.query_database": "postgres"}, ['auth_query: asks "postgres"']),
    "fallback to one database": ("[databases]\n* = host=127.0.0.1 dbname=all user=a\n[pgbouncer]\nauth_type = trust\n",
                                 {"database.0.name": "*", "database.0.shard.0.primary": "host=127.0.0.1 port=5432 dbname=all user=a",
                                  "pool.fallback_idle_timeout": "3600s"}, []),
    "an included file": ("%include part.ini\n[pgbouncer]\nauth_type = trust\nlogfile = /var/log/x.log\npidfile = /run/x.pid\nverbose = 1\n"
                         "log_stats = 0\nlog_connections = 0\nunheard_of = 1\n",
                         {"database.0.name": "included", "log.level": "debug", "log.stats_interval": "0", "log.connections": False},
                         ["logfile: Weir logs to standard error", "unheard_of: PgBouncer has no such setting"]),
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


# Every setting and parameter of PgBouncer's doc/config.md, 1.25.2 and what came to it until July 2026, with a value other than the default.
SETTINGS = dict(line.split(" ", 1) for line in """\
logfile /var/log/p.log|pidfile /run/p.pid|listen_addr 127.0.0.2|listen_port 6544|unix_socket_dir /run|unix_socket_mode 0700|unix_socket_group dba|user nobody
pool_mode statement|max_client_conn 77|default_pool_size 7|min_pool_size 2|reserve_pool_size 3|reserve_pool_timeout 4|max_db_connections 9
max_db_client_connections 99|max_user_connections 8|max_user_client_connections 88|server_round_robin 1|track_extra_parameters search_path
ignore_startup_parameters options|peer_id 4|disable_pqexec 1|application_name_add_host 1|conffile /etc/p.ini|service_name p|job_name p|stats_period 30
max_prepared_statements 50|scram_iterations 8192|auth_type md5|auth_hba_file hba.conf|auth_ident_file hba.conf|auth_file userlist.txt|auth_user lookup
auth_query SELECT 1|auth_dbname app|auth_ldap_options x|syslog 1|syslog_ident p|syslog_facility user|log_connections 0|log_disconnections 0
log_pooler_errors 0|log_stats 0|verbose 1|admin_users root|stats_users eye|server_reset_query DISCARD ALL|server_reset_query_always 1|server_check_delay 20
server_check_query select 1|server_fast_close 1|server_lifetime 600|server_idle_timeout 60|server_connect_timeout 5|server_login_retry 5
client_login_timeout 30|autodb_idle_timeout 60|pool_idle_timeout 60|dns_max_ttl 5|dns_nxdomain_ttl 5|dns_zone_check_period 5|resolv_conf /etc/r.conf
query_wait_notify 9|login_notify_message hello|client_tls_sslmode require|client_tls_key_file server.key|client_tls_cert_file server.crt
client_tls_ca_file ca.crt|client_tls_protocols tlsv1.3|client_tls_ciphers HIGH|client_tls13_ciphers x|client_tls_ecdhcurve none|client_tls_dheparams none
server_tls_sslmode require|server_tls_ca_file ca.crt|server_tls_key_file server.key|server_tls_cert_file server.crt|server_tls_protocols tlsv1.3
server_tls_ciphers HIGH|server_tls13_ciphers x|query_timeout 3|query_wait_timeout 3|cancel_wait_timeout 3|client_idle_timeout 3|idle_transaction_timeout 3
transaction_timeout 3|suspend_timeout 3|pkt_buf 8192|max_packet_size 8192|listen_backlog 9|sbuf_loopcnt 9|so_reuseport 1|tcp_defer_accept 5
tcp_socket_buffer 8192|tcp_keepalive 0|tcp_keepcnt 3|tcp_keepidle 3|tcp_keepintvl 3|tcp_user_timeout 3""".replace("\n", "|").split("|"))
PARAMETERS = {
    "databases": {"dbname": "d", "host": "127.0.0.9", "port": "5434", "user": "carol", "password": "p", "auth_user": "another", "auth_query": "x",
                  "auth_dbname": "x", "pool_size": "3", "min_pool_size": "1", "reserve_pool": "2", "reserve_pool_size": "2", "connect_query": "x",
                  "pool_mode": "statement", "query_wait_timeout": "3", "load_balance_hosts": "disable", "max_db_connections": "5",
                  "max_db_client_connections": "50", "server_lifetime": "60", "client_encoding": "UTF8", "datestyle": "ISO", "timezone": "UTC",
                  "application_name": "a", "query_timeout": "3", "transaction_timeout": "3", "idle_transaction_timeout": "3", "client_idle_timeout": "3"},
    "users": {"pool_size": "3", "reserve_pool_size": "2", "pool_mode": "statement", "max_user_connections": "5", "query_timeout": "3",
              "query_wait_timeout": "3", "idle_transaction_timeout": "3", "transaction_timeout": "3", "client_idle_timeout": "3",
              "max_user_client_connections": "9"},
    "peers": {"host": "127.0.0.9", "port": "6544", "pool_size": "9"},
}


def outcome_of_import(folder, settings="", of="", **parameters):
    """What weirctl import makes of an ini with one thing more, and what it says of it."""
    items = {"databases": ("app", {"host": "127.0.0.1", "user": "app", "auth_user": "lookup"}), "users": ("alice", {}), "peers": ("1", {})}
    lines = []
    for section, (item, usual) in items.items():
        pairs = {**usual, **(parameters if section == of else {})}
        lines += [f"[{section}]", f"{item} = " + " ".join(f"{k}={v}" for k, v in pairs.items())]
    ini = "\n".join([*lines, "[pgbouncer]", "auth_type = trust", f"auth_file = {folder}/userlist.txt", settings])   # the last one counts
    done = imported(folder, ini, "--force")
    return parsed(folder), done.stderr


def test_every_setting_of_pgbouncer_counts_or_is_named(folder):
    (folder / "other.txt").write_text('"eve" "e"\n')
    plain, said = outcome_of_import(folder)
    assert not said.count("no such"), said
    for name, value in SETTINGS.items():
        value = f"{folder}/other.txt" if name == "auth_file" else value
        tree, found = outcome_of_import(folder, f"{name} = {value}\n")
        assert "no such setting" not in found, (name, found)
        assert tree != plain or f" {name}: " in found or f" {name} = " in found, name
    for section, parameters in PARAMETERS.items():
        for name, value in parameters.items():
            tree, found = outcome_of_import(folder, of=section, **{name: value})
            assert "no such parameter" not in found, (section, name, found)
            assert tree != plain or f" {name} of " in found, (section, name)


def test_what_is_there_is_not_overwritten_and_the_fallback_may_be_served_by_name(folder):
    ini = "[databases]\n* = host=127.0.0.1 port=5433 user=a\n[pgbouncer]\nauth_type = trust\n"
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
           f"* = host={at['host']} port={at['port']} user=postgres\n"
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
    for how in ({}, {"dbname": "renamed"}, {"dbname": "postgres"}, {"user": "dave", "password": "daves"}):
        answers = {name: outcome(port, WORK, **how) for name, port in pgbouncer.items()}
        assert answers["weir"] == answers["pgbouncer"] and answers["weir"][0] == [(1,)]
    for how in ({"password": "wrong"}, {"dbname": "nowhere"}, {"user": "eve"}):
        assert [outcome(port, ["select 1"], **how) for port in pgbouncer.values()] == ["refused", "refused"]
    shown = {name: outcome(port, ["show databases"], dbname="pgbouncer") for name, port in pgbouncer.items()}
    assert {row[0] for row in shown["weir"][0]} >= {"app", "renamed"} and shown["pgbouncer"]
