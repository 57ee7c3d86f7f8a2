"""Who may log in, and what the admin console shows and does."""
import contextlib
import socket
import threading

import psycopg
import psycopg2
import pytest

import harness
from wire_client import WireClient, query, startup

USERS = {"alice": "secret of alice", "bob": {"password": "b0b", "pool_size": 2}, "weir": "admin", "watcher": "look", "postgres": "pg"}


@pytest.fixture(scope="module")
def databases(plain_clusters):
    return [harness.database_toml(plain_clusters, sharded=False)]


@pytest.fixture(scope="module")
def weir(databases):
    with harness.running(databases, users=USERS, admin={"users": ["weir"], "stats_users": ["watcher"]}) as proxy:
        yield proxy


# --- scram ---


@pytest.mark.parametrize("unix", [False, True])
def test_scram_logins_of_psql_and_both_psycopgs(weir, unix):
    assert weir.psql("select 1", user="alice", password="secret of alice", unix=unix) == "1"
    with contextlib.closing(weir.connect(user="alice", password="secret of alice", unix=unix)) as connection, connection.cursor() as cursor:
        cursor.execute("select 2")
        assert cursor.fetchone() == (2,)
    with psycopg.connect(weir.dsn(user="bob", password="b0b", unix=unix)) as connection:
        assert connection.execute("select 3").fetchone() == (3,)


def refusal(weir, **where):
    """SQLSTATE-free clients tell by text; psql with VERBOSITY shows the code."""
    done = weir.psql("select 1", check=False, **where)
    assert done.returncode == 2
    return done.stderr


def test_a_wrong_password_and_an_unknown_user_are_told_the_same(weir):
    wrong = refusal(weir, user="alice", password="guess")
    unknown = refusal(weir, user="nobody", password="guess")
    assert 'password authentication failed for user "alice"' in wrong
    assert unknown == wrong.replace("alice", "nobody")


def test_the_refusal_has_its_sqlstate(weir):
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect(weir.dsn(user="alice", password="guess"))
    assert refused.value.pgconn.error_message.decode().find("password authentication failed") >= 0
    with WireClient(weir.port, log_in=False) as c:
        c.send(startup({"user": "alice", "database": "app"}))
        assert c.read().body.startswith(b"\0\0\0\nSCRAM-SHA-256\0")
        c.send(b"p" + (8).to_bytes(4, "big") + b"bad\0")
        replies = c.at_end()
        assert len(replies.errors) == 1 and replies.kinds == "E"


def test_an_unknown_database_is_told_only_to_who_proved_himself(weir):
    assert "password authentication failed" in refusal(weir, dbname="missing", user="alice", password="guess")
    assert 'database "missing" does not exist' in refusal(weir, dbname="missing", user="alice", password="secret of alice")


def test_an_unknown_database_under_trust_is_3d000(start_weir, databases):
    weir = start_weir(databases)
    with WireClient(weir.port, database="missing") as c:
        assert c.greeting.errors == ["3D000"]


def test_trust_asks_for_no_password(start_weir, databases):
    weir = start_weir(databases)
    assert weir.psql("select 1", user="anybody") == "1"
    assert weir.psql("select 1", user="anybody", unix=True) == "1"


# --- the console ---

SHOWN = ["POOLS", "CLIENTS", "SERVERS", "DATABASES", "STATS", "SHARDS", "BACKENDS", "CONFIG", "VERSION"]


def admin(weir, command, user="weir", password="admin"):
    return weir.console(command, user=user, password=password)


@pytest.mark.parametrize("what", SHOWN)
def test_show_commands_give_rows(weir, what):
    weir.psql("select 1", user="alice", password="secret of alice")
    with contextlib.closing(weir.connect(user="alice", password="secret of alice")):
        assert admin(weir, f"SHOW {what}")
        assert admin(weir, f"show {what.lower()};", user="watcher", password="look")


def test_show_tells_who_does_what(weir):
    with contextlib.closing(weir.connect(user="alice", password="secret of alice", autocommit=False, application_name="told")) as connection:
        connection.cursor().execute("select 1")
        row = [r for r in admin(weir, "SHOW CLIENTS") if r["application_name"] == "told"][0]
        assert (row["user"], row["database"]) == ("alice", "app")
        assert any(r["sv_active"] == "1" for r in admin(weir, "SHOW POOLS") if r["database"] == "app")
        roles = sorted(r["role"] for r in admin(weir, "SHOW BACKENDS"))
        assert roles == ["primary", "replica"]
        assert all("secret" not in str(r) for r in admin(weir, "SHOW CONFIG"))


def test_console_permissions(weir):
    assert "may not use the admin console" in refusal(weir, dbname="weir", user="alice", password="secret of alice")
    with contextlib.closing(weir.connect(dbname="weir", user="watcher", password="look")) as connection, connection.cursor() as cursor:
        for command in ("PAUSE", "RESUME", "RELOAD", "SHUTDOWN", "RECONNECT"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(command)
    assert weir.psql("select 1", user="alice", password="secret of alice") == "1"


def test_unknown_commands_are_errors_and_the_console_goes_on(weir):
    with contextlib.closing(weir.connect(dbname="pgbouncer", user="weir", password="admin")) as connection, connection.cursor() as cursor:
        for bad in ("SHOW NONSENSE", "DANCE", "select 1"):
            with pytest.raises(psycopg2.Error):
                cursor.execute(bad)
        cursor.execute("SHOW VERSION")
        assert cursor.fetchall()


# --- commands ---


def test_pause_lets_transactions_end_holds_new_ones_and_resume_lets_them_go(start_weir, databases):
    weir = start_weir(databases)
    with WireClient(weir.port) as busy, WireClient(weir.port) as waiting:
        busy.query("begin")
        done = []
        pause = threading.Thread(target=lambda: done.append(weir.console("PAUSE")))
        pause.start()
        harness.wait_for(lambda: weir.console("SHOW DATABASES")[0]["paused"] == "1", "the pause")
        assert not done, "PAUSE must wait for the open transaction"
        waiting.send(query("select 1"))
        assert waiting.silent()
        assert busy.query("commit").status == "I"
        pause.join(timeout=60)
        assert done == [[]]
        assert waiting.silent(0.3)
        weir.console("RESUME")
        assert waiting.read_to_ready().rows == [["1"]]


def test_reload_takes_good_files_and_refuses_bad_ones(start_weir, databases):
    weir = start_weir(databases, pool={"wait_timeout": "7s"})
    setting = lambda: [r["value"] for r in weir.console("SHOW CONFIG") if r["key"] == "pool.wait_timeout"][0]
    before = setting()
    weir.config.write_text(weir.config.read_text().replace("7s", "9s"))
    weir.console("RELOAD")
    after = setting()
    assert before != after and "9" in after
    good = weir.config.read_text()
    weir.config.write_text(good.replace("[pool]", "[pool]\nnonsense = 1\n") + "\n[pools]\n")
    with pytest.raises(psycopg2.Error) as refused:
        weir.console("RELOAD")
    assert "nonsense" in str(refused.value) and "pools" in str(refused.value)
    assert setting() == after
    assert weir.psql("select 1") == "1"
    weir.config.write_text("this is no TOML")
    weir.reload()
    weir.wait_log("not reloaded")
    assert weir.psql("select 1") == "1"


def test_shutdown_ends_the_proxy_with_status_0_and_tells_its_clients(start_weir, databases):
    weir = start_weir(databases)
    with WireClient(weir.port) as idle:
        weir.console("SHUTDOWN")
        assert weir.process.wait(timeout=20) == 0
        assert idle.at_end().errors in (["57P01"], [])
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", weir.port), timeout=2).close()
