"""RELOAD: every class of reloadable key takes effect without dropping a client; what is not reloadable is named."""
import contextlib
import threading

import psycopg2
import pytest

import harness
import weir_toml
from wire_client import WireClient, query


@pytest.fixture(scope="module")
def databases(plain_clusters):
    return [harness.database_toml(plain_clusters, sharded=False, replicas=False)]


@pytest.fixture(scope="module")
def second(plain_clusters):
    return harness.database_toml(plain_clusters, sharded=False, replicas=False, name="second")


def reload(weir, databases, **sections):
    """Writes the file anew and reloads; the warnings."""
    weir.write_config(databases, **sections)
    connection = weir.connect(dbname="weir", user="weir")
    try:
        with connection.cursor() as cursor:
            cursor.execute("RELOAD")
        return "".join(connection.notices)
    finally:
        connection.close()


def servers(clusters):
    return len(harness.live_servers(clusters))


@contextlib.contextmanager
def load(weir, clients):
    """Clients that never stop asking; none of them may ever see an error."""
    stop, failures = threading.Event(), []

    def run():
        try:
            with WireClient(weir.port, timeout=60) as client:
                while not stop.is_set():
                    replies = client.query("begin; select pg_sleep(0.005); commit")
                    assert not replies.errors, replies
        except Exception as e:  # noqa: BLE001: reported to the test
            failures.append(repr(e))

    threads = [threading.Thread(target=run) for _ in range(clients)]
    for t in threads:
        t.start()
    try:
        yield failures
    finally:
        stop.set()
        for t in threads:
            t.join(timeout=60)


def test_sizes_and_bounds_shrink_and_grow_under_load(start_weir, databases, plain_clusters):
    weir = start_weir(databases, pool={"size": 8, "max_per_backend": 20})
    with load(weir, 20) as failures:
        harness.wait_for(lambda: servers(plain_clusters) == 8, "eight servers")
        reload(weir, databases, pool={"size": 3, "max_per_backend": 20})
        harness.wait_for(lambda: servers(plain_clusters) <= 3, "the pool to shrink")
        reload(weir, databases, pool={"size": 9, "max_per_backend": 20})
        harness.wait_for(lambda: servers(plain_clusters) == 9, "the pool to grow")
        reload(weir, databases, pool={"size": 9, "max_per_backend": 2})
        harness.wait_for(lambda: servers(plain_clusters) <= 2, "the server's bound to be kept")
        reload(weir, databases, pool={"size": 9, "max_per_backend": 6})
        harness.wait_for(lambda: servers(plain_clusters) == 6, "the server's bound to be used")
    assert failures == []


def test_databases_are_added_and_removed_and_a_clients_transaction_may_end(start_weir, databases, second):
    weir = start_weir(databases)
    with WireClient(weir.port) as stays:
        assert stays.value("select 1") == "1"
        with pytest.raises(psycopg2.OperationalError):
            weir.connect(dbname="second")
        reload(weir, databases + [second])
        with WireClient(weir.port, database="second") as idle, WireClient(weir.port, database="second") as busy:
            assert idle.value("select current_database()") == "app"
            busy.query("begin")
            reload(weir, databases)
            gone = idle.at_end()
            assert gone.errors == ["57P01"] and "second" in gone[0].fields["M"] and "removed" in gone[0].fields["M"], gone
            assert busy.value("select 2") == "2"
            busy.send(query("commit"))
            assert "COMMIT" in busy.read_to_ready().tags
            assert busy.at_end().errors == ["57P01"]
        with pytest.raises(psycopg2.OperationalError):
            weir.connect(dbname="second")
        reload(weir, databases + [second])   # and back again
        assert weir.psql("select 3", dbname="second") == "3"
        assert stays.value("select 4") == "4"


def test_a_client_in_the_queue_of_a_removed_database_is_told(start_weir, databases, second):
    weir = start_weir(databases + [second], pool={"size": 1})
    with WireClient(weir.port, database="second") as holder, WireClient(weir.port, database="second") as waiting:
        holder.query("begin")
        waiting.send(query("select 1"))
        harness.wait_for(lambda: any(r["state"] == "waiting" for r in weir.console("SHOW CLIENTS")), "the client to wait")
        reload(weir, databases, pool={"size": 1})
        assert waiting.at_end().errors[-1] == "57P01"
        assert holder.query("commit").tags == ["COMMIT"]


def test_another_server_behind_a_database_is_used_by_the_clients_that_are_there(start_weir, databases, plain_clusters):
    plain_clusters.psql("create database elsewhere")
    weir = start_weir(databases)
    with WireClient(weir.port) as client, WireClient(weir.port) as busy:
        assert client.value("select current_database()") == "app"
        busy.query("begin")
        reload(weir, [databases[0].replace("dbname=app", "dbname=elsewhere")])
        assert client.value("select current_database()") == "elsewhere"
        assert busy.value("select current_database()") == "app"
        assert busy.query("commit").tags == ["COMMIT"]
        assert busy.value("select current_database()") == "elsewhere"


def test_users_and_passwords_change(start_weir, databases):
    weir = start_weir(databases, users={"weir": "w", "alice": "old", "bob": "b"})

    def users(passwords):
        (weir.directory / "users.toml").write_text(weir_toml.users(passwords))
        weir.console("RELOAD", password="w")

    with contextlib.closing(weir.connect(user="alice", password="old")) as stays:
        users({"weir": "w", "alice": "new", "carol": "c"})
        with stays.cursor() as cursor:
            cursor.execute("select 1")
        for user, password in (("alice", "old"), ("bob", "b")):
            with pytest.raises(psycopg2.OperationalError):
                weir.connect(user=user, password=password)
        for user, password in (("alice", "new"), ("carol", "c")):
            weir.connect(user=user, password=password).close()


def test_timeouts_limits_and_the_consoles_users_change(start_weir, databases):
    weir = start_weir(databases)
    with WireClient(weir.port) as client:
        client.query("begin")
        reload(weir, databases, pool={"size": 1, "idle_transaction_timeout": "1s", "wait_timeout": "1s"},
               admin={"users": ["weir", "dba"]}, listen={"max_clients": 3})
        client.query("commit")
        client.query("begin; select 1")   # a client's timeouts are those of when its transaction began
        assert client.at_end().errors == ["25P03"]
        weir.console("SHOW VERSION", user="dba")
    # One who holds its transaction for longer than another waits.
    reload(weir, databases, pool={"size": 1, "idle_transaction_timeout": "1m", "wait_timeout": "300ms"},
           admin={"users": ["weir", "dba"]}, listen={"max_clients": 3})
    with WireClient(weir.port) as holder, WireClient(weir.port) as waiting:
        holder.query("begin")
        assert waiting.query("select 1").errors == ["53300"]
    clients = []
    try:
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            for _ in range(4):
                clients.append(weir.connect())
        assert len(clients) <= 3
    finally:
        for c in clients:
            c.close()


def test_the_log_level_changes(start_weir, databases):
    weir = start_weir(databases, log={"level": "error"})
    for level, user in (("info", "loud"), ("error", "silent"), ("info", "loud_again")):
        reload(weir, databases, log={"level": level})
        with WireClient(weir.port, user=user) as client:
            assert client.value("select 1") == "1"
        weir.await_clients(0)
    weir.wait_log("loud_again")   # lines are written in their order
    assert "user=loud " in weir.log() and "silent" not in weir.log()


def test_a_broken_file_changes_nothing_and_what_needs_a_restart_is_named_and_kept(start_weir, databases):
    weir = start_weir(databases)
    said = reload(weir, databases, listen={"workers": 5}, pool={"size": 7, "login_threads": 3})
    assert "listen.workers" in said and "pool.login_threads" in said and "restart" in said
    shown = {r["key"]: r["value"] for r in weir.console("SHOW CONFIG")}
    assert (shown["listen.workers"], shown["pool.login_threads"], shown["pool.size"]) == ("2", "8", "7")
    weir.config.write_text(weir.config.read_text().replace("[pool]", "[pool]\nnonsense = 1"))
    with pytest.raises(psycopg2.Error, match="nonsense"):
        weir.console("RELOAD")
    assert {r["key"]: r["value"] for r in weir.console("SHOW CONFIG")} == shown
