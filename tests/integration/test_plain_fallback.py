"""The database "*": every name that the file does not have, as the database of that name on its server."""
import contextlib
import re

import psycopg2
import pytest

import harness
import metrics_client
from wire_client import WireClient, query, startup

DATABASES = ("one", "two", "three", "it's", 'host=nowhere "x"', "ö" * 31 + "x")   # the last: 63 bytes, the most PostgreSQL has


@pytest.fixture(scope="module")
def servers(plain_clusters):
    for name in DATABASES:
        quoted = name.replace('"', '""')
        plain_clusters.psql(f'create database "{quoted}"')
    plain_clusters.psql("create role alice login superuser password 'alices'; create role lookup login superuser password 'lookups'")
    plain_clusters.psql("create table t (i int)", dbname="one")
    return plain_clusters


def fallback(clusters, conninfo="user=postgres", maintenance="user=postgres", **keys):
    at = clusters.node()
    lines = [f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in keys.items()]
    return "\n".join(["[[database]]", 'name = "*"', f'maintenance = "{maintenance}"', *lines, "[[database.shard]]", 'name = "main"',
                      f'primary = "host={at["host"]} port={at["port"]} {conninfo}"', ""])


def app(clusters):
    return harness.database_toml(clusters, sharded=False, replicas=False)


def served(weir):
    return {row["name"]: row for row in weir.console("SHOW DATABASES")}


def connections(clusters, database):
    return len(harness.live_servers(clusters, databases=(database.replace("'", "''"),)))


def refused(port, database, user="postgres"):
    """SQLSTATE and message (without where a server said it) of a login that fails; none: it did not."""
    with WireClient(port, database=database, user=user) as c:
        errors = [m.fields for m in c.greeting if m.kind == "E"]
        return (errors[0]["C"], re.sub(r"^connection to \S+ failed: ", "", errors[0]["M"])) if errors else None


def test_a_name_that_the_file_lacks_is_the_database_of_that_name_on_the_server(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers, pool_size=7)])
    assert list(served(weir)) == ["app"]
    for name in DATABASES:
        with WireClient(weir.port, database=name) as c:
            assert c.value("select current_database()") == name
            c.query("set application_name = 'mine'")
            assert c.value("show application_name") == "mine"
    with WireClient(weir.port) as c:
        assert c.value("select current_database()") == "app"
    rows = served(weir)
    assert set(rows) == {"app", *DATABASES}
    assert rows["it's"]["database"] == "it's" and rows["one"]["pool_size"] == "7" and rows["app"]["pool_size"] == "10"
    pools = {(row["database"], row["user"]): row for row in weir.console("SHOW POOLS")}
    assert {("app", "postgres"), ("one", "postgres"), ("two", "postgres")} <= set(pools)
    assert int(pools["one", "postgres"]["sv_idle"]) == connections(servers, "one") >= 1


def test_every_user_has_a_pool_of_his_own_and_a_dbname_of_the_entry_is_where_all_names_lead(start_weir, servers):
    weir = start_weir([fallback(servers, "dbname=two")])
    for user in ("alice", "postgres"):
        with WireClient(weir.port, database="anything", user=user) as c:
            assert c.query("select current_database(), current_user").rows == [["two", user]]
    row = served(weir)["anything"]
    assert row["database"] == "two" and row["force_user"] is None
    assert {r["user"] for r in weir.console("SHOW POOLS") if r["database"] == "anything"} == {"alice", "postgres"}


def test_a_name_that_the_server_lacks_gives_the_servers_error(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers)])
    for name in ("nobody has it", "x' host=nowhere", "a=b", "postgresql://nowhere/x", "ö" * 31 + "y"):
        code, told = refused(int(servers.node()["port"]), name)
        assert (code, told) == ("3D000", f'database "{name}" does not exist')
        assert refused(weir.port, name) == (code, told)
    for name in ("*", "y" * 64):   # PostgreSQL would cut the second
        assert refused(weir.port, name) == ("3D000", f'database "{name}" does not exist')
    with WireClient(weir.port, database="one") as c:
        assert c.value("select 1") == "1"


def test_without_the_entry_an_unknown_name_is_refused_by_weir(start_weir, servers):
    weir = start_weir([app(servers)])
    with WireClient(weir.port, database="one") as c:
        assert [(m.fields["C"], m.fields["H"][:20]) for m in c.greeting if m.kind == "E"] == [("3D000", "The databases Weir s")]


# --- who may, and how many ---


def test_before_a_client_has_proved_who_it_is_nothing_is_made(start_weir, servers):
    weir = start_weir([fallback(servers, "user=alice password=alices")], users={"bob": "bobs", "weir": "w"})
    for i in range(5):
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            weir.connect(dbname="one", user="bob", password="wrong")
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            weir.connect(dbname=f"guess{i}", user="nobody", password="x")
    assert weir.console("SHOW DATABASES", password="w") == [] and weir.console("SHOW POOLS", password="w") == []
    assert "login failed" not in weir.log() and "opened" not in weir.log()
    weir.connect(dbname="one", user="bob", password="bobs").close()
    assert [row["name"] for row in weir.console("SHOW DATABASES", password="w")] == ["one"]


def test_names_tried_at_random_leave_nothing_behind(start_weir, servers):
    http = harness.free_port()
    weir = start_weir([app(servers), fallback(servers)], admin={"http": f"127.0.0.1:{http}", "users": ["weir"]}, pool={"max_fallback_databases": 5},
                      log={"level": "error"})
    with WireClient(weir.port, database="one") as stays:
        assert refused(weir.port, "guess") is not None
        before = metrics_client.scrape(http)
        for i in range(40):
            assert refused(weir.port, f"guess {i}") == ("3D000", f'database "guess {i}" does not exist')
            assert len(served(weir)) <= 1 + 5
        after = metrics_client.scrape(http)
        series = lambda metrics: {(name, *sorted(labels.items())) for name, labels, _ in metrics.samples if labels.get("database") != ""}
        assert series(after) == series(before), series(after) ^ series(before)
        assert "guess" not in after.text and after.sum("weir_fallback_databases") <= 5
        harness.wait_for(lambda: set(served(weir)) == {"app", "one"}, "the names that nobody has are forgotten")
        harness.wait_for(lambda: len(weir.console("SHOW POOLS")) <= 2, "their pools, too")
        assert stays.value("select current_database()") == "one"


def test_one_more_than_may_be_served_is_refused_until_another_is_idle(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers)], pool={"max_fallback_databases": 2})
    with WireClient(weir.port, database="one") as one, WireClient(weir.port, database="two") as two:
        assert refused(weir.port, "three") == ("53300", 'the database "*" serves 2 databases already, which are all in use')
        assert refused(weir.port, "app") is None
        assert {r["bound"] for r in weir.console("SHOW LIMITS") if r["limit"] == "databases"} == {"2"}
        two.socket.close()
        weir.await_clients(0, dbname="two")
        with WireClient(weir.port, database="three") as three:
            assert three.value("select current_database()") == "three"
            assert set(served(weir)) == {"app", "one", "three"}
            harness.wait_for(lambda: connections(servers, "two") == 0, "the server connections of the one that made room")
        assert one.value("select current_database()") == "one"


def test_a_database_that_nobody_uses_is_forgotten_with_its_servers(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers)], pool={"fallback_idle_timeout": "1s"})
    with WireClient(weir.port, database="one") as one:
        WireClient(weir.port, database="two").socket.close()
        harness.wait_for(lambda: set(served(weir)) == {"app", "one"}, "the unused one is forgotten")
        harness.wait_for(lambda: connections(servers, "two") == 0, "its servers")
        assert one.value("select current_database()") == "one"
    with WireClient(weir.port, database="two") as back:
        assert back.value("select current_database()") == "two"


def test_the_bound_of_the_server_holds_over_all_of_them(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers)], pool={"size": 5, "max_per_backend": 2})
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WireClient(weir.port, database=name)) for name in ("one", "two", "three", "app")]
        for c in clients[:2]:
            c.query("begin")
            assert c.query("select 1").status == "T"
        clients[2].send(query("select current_database()"))
        harness.wait_for(lambda: sum(int(r["waiting"]) for r in weir.console("SHOW BACKENDS")) == 1, "it waits for one of the two")
        clients[0].query("commit")
        assert clients[2].read_to_ready().rows == [["three"]]
        assert max(int(r["server_connections_max_seen"]) for r in weir.console("SHOW BACKENDS")) == 2


# --- its life ---


def test_a_reload_keeps_the_clients_and_follows_the_entry(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers)])
    sections = {"pool": {"size": 3}}
    with WireClient(weir.port, database="one") as one, WireClient(weir.port, database="two") as two:
        pid = one.value("select pg_backend_pid()")
        one.query("begin")
        one.query("insert into t values (1)")
        weir.write_config([app(servers), fallback(servers, max_clients=9)], **sections)
        assert weir.console("RELOAD") == []
        rows = served(weir)
        assert set(rows) == {"app", "one", "two"} and rows["one"]["max_client_connections"] == "9" and rows["two"]["pool_size"] == "3"
        assert one.query("commit").tags == ["COMMIT"]
        assert one.value("select pg_backend_pid()") == pid

        # An entry of its own: its client goes on, by that entry.
        own = harness.database_toml(servers, name="two", sharded=False, replicas=False)   # leads to app
        weir.write_config([app(servers), fallback(servers), own], **sections)
        weir.console("RELOAD")
        assert two.value("select current_database()") == "app"
        assert one.value("select current_database()") == "one"

        # Another server's connection string: other connections.
        weir.write_config([app(servers), fallback(servers, "dbname=three user=postgres"), own], **sections)
        weir.console("RELOAD")
        assert one.value("select current_database()") == "three"
        harness.wait_for(lambda: connections(servers, "one") == 0, "the old pool's servers")

        weir.write_config([app(servers), own], **sections)
        weir.console("RELOAD")
        assert one.at_end().errors == ["57P01"]
        assert two.value("select 1") == "1"
        assert refused(weir.port, "one")[0] == "3D000" and set(served(weir)) == {"app", "two"}


def test_a_reload_while_names_come_and_go_loses_none(start_weir, servers):
    weir = start_weir([app(servers), fallback(servers)], pool={"max_fallback_databases": 4})
    with WireClient(weir.port, database="one") as one:
        for i in range(30):
            weir.reload()
            assert refused(weir.port, f"guess {i}")[0] == "3D000"
            with WireClient(weir.port, database=("two", "three")[i % 2]) as c:
                assert c.value("select current_database()") == ("two", "three")[i % 2]
            assert one.value("select current_database()") == "one"


def test_the_console_knows_them(start_weir, servers):
    http = harness.free_port()
    weir = start_weir([fallback(servers)], admin={"http": f"127.0.0.1:{http}", "users": ["weir"]})
    assert metrics_client.get(http, "/readyz")[0] == 200
    with WireClient(weir.port, database="one") as one:
        weir.console("PAUSE")
        assert served(weir)["one"]["paused"] == "1"
        assert dict((r["key"], r["value"]) for r in weir.console("SHOW STATE"))["paused"] == "yes"
        one.send(query("select 1"))
        late = WireClient(weir.port, database="two", log_in=False)
        late.send(startup({"user": "postgres", "database": "two"}))
        harness.wait_for(lambda: sum(int(r["waiting"]) for r in weir.console("SHOW BACKENDS")) == 2, "both wait")
        assert served(weir)["two"]["paused"] == "1"
        weir.console("RESUME")
        assert one.read_to_ready().rows == [["1"]] and late.read_to_ready().status == "I"
        late.socket.close()
        weir.console("SET default_pool_size = 4")
        assert served(weir)["one"]["pool_size"] == "4" and one.value("select current_database()") == "one"
        weir.console("DISABLE three")
        assert refused(weir.port, "three") == ("57P03", 'database "three" does not allow connections')
        assert "three" not in served(weir)
        weir.console("ENABLE three")
        assert refused(weir.port, "three") is None
        weir.console("KILL one")
        assert one.at_end().errors == ["57P01"]
        weir.console("RESUME one")
    metrics = metrics_client.scrape(http)
    assert metrics.sum("weir_client_logins_total", database="*") == 3
    assert metrics.sum("weir_backend_logins_total", database="*") >= 3
    assert not any(labels.get("database") in ("one", "two", "three") for _, labels, _ in metrics.samples)
    assert [(r["database"], r["total_client_login_count"]) for r in weir.console("SHOW STATS")] == [("*", "3")]


def test_its_clients_listen_and_keep_their_settings(start_weir, servers):
    servers.psql("create or replace function remember() returns void language plpgsql as $$ begin perform set_config('app.who', 'me', false); end $$", dbname="one")
    weir = start_weir([fallback(servers)], pool={"size": 1})
    with WireClient(weir.port, database="one") as a, WireClient(weir.port, database="one") as b:
        assert a.query("listen news").tags == ["LISTEN"]
        b.query("notify news, 'x'")
        assert a.read().kind == "A"
        # Its catalog has been read by now, or will be.
        def kept():
            a.query("select remember()")
            other = b.value("select coalesce(current_setting('app.who', true), '')")
            return other == "" and a.value("select current_setting('app.who', true)") == "me"
        harness.wait_for(kept, "a setting that a function made follows its client alone")


def test_users_are_looked_up_in_one_database_whatever_name_they_ask_for(start_weir, servers):
    weir = start_weir([fallback(servers, "", maintenance="user=lookup password=lookups")], users={"lookup": "lookups", "weir": "w"},
                      auth={"query_user": "lookup", "query_database": "postgres"})
    with contextlib.closing(weir.connect(dbname="one", user="alice", password="alices")) as connection, connection.cursor() as cursor:
        cursor.execute("select current_database(), current_user")
        assert cursor.fetchone() == ("one", "alice")
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        weir.connect(dbname="two", user="alice", password="wrong")
    assert [row["name"] for row in weir.console("SHOW DATABASES", password="w")] == ["one"]
    with pytest.raises(psycopg2.OperationalError, match='database "nobody has it" does not exist'):
        weir.connect(dbname="nobody has it", user="alice", password="alices")
