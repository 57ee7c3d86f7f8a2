"""The admin console as PgBouncer's users know it: views and columns, commands, roles, names of settings."""
import re
import socket
import threading

import psycopg2
import pytest

import harness
from wire_client import WireClient, query

STATS = "server_assignment_count xact_count query_count {}received {}sent xact_time query_time wait_time client_parse_count server_parse_count bind_count client_login_count"
TOTALS = STATS.format("bytes_", "bytes_").split()
CONNECTION = ("type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed ptr link remote_pid tls "
              "application_name prepared_statements id")
COLUMNS = {  # https://www.pgbouncer.org/usage.html#show-commands, of version 1.25
    "STATS": "database " + " ".join(f"total_{c}" for c in STATS.format("", "").split()) + " " +
             " ".join(f"avg_{c}" for c in STATS.format("", "").replace("received", "recv").split()),
    "STATS_TOTALS": "database " + " ".join(TOTALS),
    "STATS_AVERAGES": "database " + " ".join(TOTALS[:8]) + " " + " ".join(f"avg_{c}" for c in TOTALS[8:]),
    "TOTALS": "name value",
    "POOLS": "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel sv_being_canceled sv_idle sv_used "
             "sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
    "CLIENTS": CONNECTION,
    "SERVERS": CONNECTION,
    "DATABASES": "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode load_balance_hosts max_connections "
                 "current_connections max_client_connections current_client_connections paused disabled",
    "USERS": "name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections current_client_connections",
    "LISTS": "list items",
    "CONFIG": "key value default changeable",
    "MEM": "name size used free memtotal",
    "VERSION": "version",
    "STATE": "key value",
    "PEERS": "peer_id host port pool_size",
    "PEER_POOLS": "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
    "DNS_HOSTS": "hostname ttl addrs",
    "DNS_ZONES": "zonename serial count",
}


def columns(weir, view):
    connection = weir.connect(dbname="pgbouncer", user="weir")
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {view}")
        found = [c.name for c in cursor.description]
    connection.close()
    return found


@pytest.fixture(scope="module")
def weir(plain_clusters):
    with harness.running([harness.database_toml(plain_clusters, sharded=False)], pool={"size": 4, "max_per_backend": 8}) as proxy:
        yield proxy


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_has_pgbouncers_columns(weir, view):
    assert columns(weir, view) == COLUMNS[view].split()


@pytest.mark.parametrize("name", ["weir", "pgbouncer"])
def test_the_console_answers_under_both_names_and_takes_any_start_up_parameter(weir, name):
    with WireClient(weir.port, database=name, user="weir", extra_float_digits="2", search_path="x", nobody_has="this", options="-c geqo=off", client_encoding="LATIN1") as c:
        assert c.greeting.status == "I" and not c.greeting.errors
        assert c.query("show version").tags == ["SHOW"]
        assert c.query("set extra_float_digits = 3").errors == [] and c.query("select 1").errors == ["42601"]


def test_the_sharded_views_have_one_row_a_database_and_user(plain_clusters, weir):
    with weir.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        pools = weir.console("SHOW POOLS")
        assert [(p["database"], p["user"]) for p in pools].count(("app", "postgres")) == 1
    assert [d["name"] for d in weir.console("SHOW DATABASES")] == ["app"]
    assert [s["database"] for s in weir.console("SHOW STATS")] == ["app"]


def test_both_sides_know_which_client_uses_which_server(weir):
    with weir.connect(autocommit=False) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = str(cursor.fetchone()[0])
        client = next(c for c in weir.console("SHOW CLIENTS") if c["database"] == "app" and c["remote_pid"] == pid)
        server = next(s for s in weir.console("SHOW SERVERS") if s["remote_pid"] == pid)
        assert client["link"] == server["ptr"] and server["link"] == client["ptr"]
        assert server["state"] == "active" and client["local_port"] == str(weir.port)


def test_counts_of_statements_reach_the_totals(weir):
    weir.await_clients(0)   # whose statements would be counted late
    before = weir.console("SHOW STATS_TOTALS")[0]
    connection = weir.connect()
    for _ in range(10):
        connection.cursor().execute("SELECT pg_sleep(0.002)")
    connection.close()
    after = weir.console("SHOW STATS_TOTALS")[0]
    grown = {k: int(after[k]) - int(before[k]) for k in TOTALS}
    assert grown["xact_count"] == grown["query_count"] == grown["server_assignment_count"] == 10
    assert grown["query_time"] >= 20_000 and grown["xact_time"] >= 20_000
    assert grown["client_login_count"] == 1 and grown["bytes_received"] > 100


def test_pgbouncers_names_of_settings_are_shown_and_set(weir):
    value = lambda key: next(r["value"] for r in weir.console("SHOW CONFIG") if r["key"] == key)
    assert value("default_pool_size") == "4" and value("query_wait_timeout") == "30" and value("pool.wait_timeout") == '"30s"'
    weir.console("SET query_wait_timeout = 2.5")
    assert value("query_wait_timeout") == "2.5" and value("pool.wait_timeout") == '"2500ms"'
    weir.console("SET pool.wait_timeout = '30s'")
    assert value("query_wait_timeout") == "30"
    weir.console("set max_client_conn to 5000")
    assert value("listen.max_clients") == "5000"
    for bad in ("SET query_wait_timeout = 'soon'", "SET listen_port = 1", "SET nonsense = 1", "SET pool.size", "SET pool.min = 100"):
        with pytest.raises(psycopg2.Error):
            weir.console(bad)
    weir.console("RELOAD")
    assert value("max_client_conn") != "5000"


def test_stats_users_may_only_show(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False)], admin={"users": ["weir"], "stats_users": ["eye"]})
    assert weir.console("SHOW POOLS", user="eye") == []
    for command in ("PAUSE", "RESUME", "RELOAD", "KILL app", "SET pool.size = 3", "SHUTDOWN", "DISABLE app", "SUSPEND", "KILL_CLIENT 1", "RECONNECT", "WAIT_CLOSE",
                    "SHOW VERSION; PAUSE"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            weir.console(command, user="eye")
    with pytest.raises(psycopg2.OperationalError, match="may not use the admin console"):
        weir.console("SHOW POOLS", user="stranger")


def test_disable_refuses_new_clients_and_leaves_the_old(weir):
    connection = weir.connect()
    with connection.cursor() as cursor:
        weir.console("DISABLE app")
        try:
            assert weir.console("SHOW DATABASES")[0]["disabled"] == "1"
            with pytest.raises(psycopg2.OperationalError, match="does not allow connections"):
                weir.connect()
            cursor.execute("SELECT 1")
        finally:
            weir.console("ENABLE app")
    weir.connect().close()
    with pytest.raises(psycopg2.Error):
        weir.console("DISABLE nowhere")


def death_of(connection):
    """The error that tells a client of its end: its worker comes to it after the console has its answer."""
    def asked():
        try:
            connection.cursor().execute("SELECT 1")
        except psycopg2.OperationalError as error:
            return error
        return None

    return harness.wait_for(asked, "the client's end")


def test_kill_client_ends_one_client(weir):
    victim, other = weir.connect(application_name="victim"), weir.connect()
    ids = [c["id"] for c in weir.console("SHOW CLIENTS") if c["application_name"] == "victim"]
    assert len(ids) == 1
    weir.console(f"KILL_CLIENT {ids[0]}")
    assert re.search("administrator command|closed the connection", str(death_of(victim)))
    other.cursor().execute("SELECT 1")
    other.close()
    for bad in ("KILL_CLIENT 999999999", "KILL_CLIENT abc", "KILL_CLIENT"):
        with pytest.raises(psycopg2.Error):
            weir.console(bad)


def test_kill_drops_everybody_and_holds_newcomers_until_resume(weir, plain_clusters):
    victim = weir.connect(autocommit=False)
    victim.cursor().execute("SELECT 1")
    weir.console("KILL app")
    try:
        death_of(victim)
        mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'weir' AND datname = 'app' AND state <> 'idle'"
        harness.wait_for(lambda: plain_clusters.psql(mine) == "0", "its transaction to end")
        done = []
        newcomer = threading.Thread(target=lambda: done.append(weir.psql("SELECT 7")))
        newcomer.start()
        harness.wait_for(lambda: any(c["state"] in ("waiting", "login") and c["database"] == "app" for c in weir.console("SHOW CLIENTS")), "the newcomer")
        assert done == []
    finally:
        weir.console("RESUME app")
    newcomer.join(60)
    assert done == ["7"]


def test_reconnect_and_wait_close(weir):
    holder = weir.connect(autocommit=False)
    holder.cursor().execute("SELECT 1")
    weir.console("RECONNECT app")
    assert any(s["close_needed"] == "1" for s in weir.console("SHOW SERVERS"))
    done = []
    waiter = threading.Thread(target=lambda: done.append(weir.console("WAIT_CLOSE app")))
    waiter.start()
    assert weir.console("SHOW VERSION")[0]["version"].startswith("Weir")
    assert done == []
    holder.commit()
    waiter.join(60)
    assert done == [[]]
    assert all(s["close_needed"] == "0" for s in weir.console("SHOW SERVERS"))
    holder.close()


def test_commands_without_a_name_mean_every_database(start_weir, plain_clusters):
    one, two = (harness.database_toml(plain_clusters, name=name, sharded=False, replicas=False) for name in ("one", "two"))
    weir = start_weir([one, two])
    paused = lambda: {d["name"]: d["paused"] for d in weir.console("SHOW DATABASES")}
    with WireClient(weir.port, database="one") as a, WireClient(weir.port, database="two") as b:
        for c in (a, b):
            c.query("begin; select 1")
        weir.console("RECONNECT")
        assert sorted(s["database"] for s in weir.console("SHOW SERVERS") if s["close_needed"] == "1") == ["one", "two"]
        with WireClient(weir.port, database="weir", user="weir") as admin:
            admin.send(query("WAIT_CLOSE"))
            a.query("commit")
            assert admin.silent()
            b.query("commit")
            assert admin.read_to_ready().tags == ["WAIT_CLOSE"]
        weir.console("PAUSE")
        assert paused() == {"one": "1", "two": "1"}
        weir.console("RESUME")
        assert paused() == {"one": "0", "two": "0"}
        weir.console("KILL")
        assert a.at_end().errors == b.at_end().errors == ["57P01"] and paused() == {"one": "1", "two": "1"}
        weir.console("RESUME")
        with WireClient(weir.port, database="two") as again:
            assert again.value("select 1") == "1"


@pytest.mark.parametrize("how, waits_for", [("WAIT_FOR_SERVERS", "commit"), ("WAIT_FOR_CLIENTS", None)])
def test_shutdown_waits_for_what_it_is_told_to(start_weir, plain_clusters, how, waits_for):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False)], listen={"drain_timeout": "60s"})
    with WireClient(weir.port) as busy:
        busy.query("begin; select 1")
        weir.console(f"SHUTDOWN {how}")
        assert busy.query("select 2").rows == [["2"]]
        assert weir.process.poll() is None
        busy.query("commit")
        if not waits_for:
            assert busy.query("select 3").rows == [["3"]]
            busy.socket.close()
        assert weir.process.wait(timeout=30) == 0


def test_a_shutdown_that_is_not_known_ends_nothing(weir):
    with pytest.raises(psycopg2.Error, match="SHUTDOWN whenever is not known"):
        weir.console("SHUTDOWN whenever")
    assert weir.psql("SELECT 1") == "1"


def test_the_answer_of_a_command_whose_client_went_is_nobody_elses(weir):
    with WireClient(weir.port) as holder:
        holder.query("begin; select 1")
        with WireClient(weir.port, database="weir", user="weir") as admin:
            admin.send(query("PAUSE app") + query("SHOW VERSION"))
            harness.wait_for(lambda: weir.console("SHOW DATABASES")[0]["paused"] == "1", "the pause")
            admin.socket.shutdown(socket.SHUT_WR)
            assert admin.at_end() == []   # and SHOW VERSION is not answered by PAUSE
        holder.query("commit")
    weir.console("RESUME app")
    assert weir.psql("SELECT 9") == "9"


def test_limits_of_databases_and_users_are_shown_with_what_is_used(start_weir, plain_clusters):
    users = {"alice": {"password": "x", "max_clients": 3, "max_server_connections": 2}, "weir": {"password": "x"}, "bob": {"password": "x"}}
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False, max_clients=7, max_server_connections=5, backend="",
                                     maintenance="user=postgres")
    plain_clusters.psql("create role alice login")
    weir = start_weir([database], users=users, auth={"method": "trust", "users_file": "users.toml"})
    with WireClient(weir.port, user="alice") as one, WireClient(weir.port, user="alice"):
        one.query("begin; select 1")
        shown = {(r["limit"], r["name"]): (r["used"], r["bound"]) for r in weir.console("SHOW LIMITS")}
    assert shown["clients", "database app"] == ("2", "7") and shown["clients", "user alice"] == ("2", "3")
    used, bound = shown["server_connections", "user alice"]
    assert int(used) >= 1 and bound == "2" and shown["server_connections", "database app"] == (used, "5")
    assert not [name for _, name in shown if name.endswith("bob")], "who has no bound has no row"


def test_suspend_accepts_nobody_until_resume(weir):
    admin = weir.connect(dbname="weir", user="weir")
    with admin.cursor() as cursor:
        cursor.execute("SUSPEND")
        cursor.execute("SHOW STATE")
        assert dict(cursor.fetchall())["suspended"] == "yes"
        done = []
        newcomer = threading.Thread(target=lambda: done.append(weir.psql("SELECT 8")))
        newcomer.start()
        cursor.execute("SHOW LISTS")
        assert done == []
        cursor.execute("RESUME")
    newcomer.join(60)
    assert done == ["8"]
    admin.close()


def test_help_several_commands_and_courtesies(weir):
    help_text = weir.psql("SHOW HELP", dbname="pgbouncer", user="weir", check=False)
    assert "KILL_CLIENT" in help_text.stderr and help_text.returncode == 0
    assert weir.psql("SHOW VERSION; SHOW VERSION", "-c", "SHOW VERSION", dbname="pgbouncer", user="weir")
    for view in ("STATS", "SERVERS", "SOCKETS", "ACTIVE_SOCKETS", "PEERS", "DNS_HOSTS", "DNS_ZONES", "BREAKERS", "BUCKETS", "LIMITS", "SHARDS", "BACKENDS"):
        weir.console(f"show {view.lower()};")
    assert {r["list"] for r in weir.console("SHOW LISTS")} >= {"databases", "users", "pools", "free_clients", "used_clients", "login_clients", "free_servers",
                                                              "used_servers", "dns_names", "dns_zones", "dns_queries", "dns_pending"}
