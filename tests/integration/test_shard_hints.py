"""Manual routing: comments in front of a statement and SET weir.shard, weir.key, weir.role. A hint is the user's word: the statement runs
there and only there; who may not give one, and what cannot be read, is refused."""
import contextlib

import psycopg
import psycopg2
import pytest

import harness
import sharded
import wire_client as wire

USERS = {"postgres": {"password": "x", "route_hints": True}, "guest": {"password": "x"}}


@pytest.fixture(scope="module")
def weir(clusters):
    with harness.running([harness.database_toml(clusters)], users=USERS, auth={"method": "trust"}) as proxy:
        yield proxy


@pytest.fixture(scope="module", autouse=True)
def rows(weir, keys):
    sharded.add_users(weir, [k for shard in keys for k in shard])


@pytest.fixture
def client(weir):
    with wire.WireClient(weir.port) as client:
        yield client


def port_of(clusters, shard):
    return str(clusters.shards[shard]["primary"]["port"])


def shard_names(clusters):
    return [s["name"] for s in clusters.shards]


def to_replicas(weir):
    """How often a replica's connection was given to a client."""
    return sum(int(b["assignments"]) for b in weir.console("SHOW BACKENDS") if b["role"] == "replica")


# --- comments


def test_any_statement_runs_where_its_comment_says_and_only_there(weir, clusters, client, keys):
    for i, name in enumerate(shard_names(clusters)):
        here = f"/* weir: shard={name} */"
        assert client.value(f"{here} SELECT inet_server_port()") == port_of(clusters, i)
        assert int(client.value(f"{here} SELECT count(*) FROM users")) == len(keys[i])
        assert client.query(f"{here} CREATE TABLE only_here (id int)").tags == ["CREATE TABLE"]
        assert clusters.everywhere("SELECT to_regclass('only_here') IS NOT NULL") == ["t" if j == i else "f" for j in range(4)]
        assert client.query(f"{here} DO $$ BEGIN INSERT INTO only_here VALUES (1); END $$").tags == ["DO"]
        assert client.query(f"{here} CREATE FUNCTION rows_here() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM users'").tags == ["CREATE FUNCTION"]
        assert client.value(f"{here} SELECT rows_here()") == str(len(keys[i]))
        assert client.query(f"{here} CREATE VIEW users_here AS SELECT id FROM users").tags == ["CREATE VIEW"]
        assert client.value(f"{here} SELECT count(*) FROM users_here, only_here") == str(len(keys[i]))
        assert client.query(f"{here} CREATE PROCEDURE call_here() LANGUAGE sql AS 'INSERT INTO only_here VALUES (2)'").tags == ["CREATE PROCEDURE"]
        assert client.query(f"{here} CALL call_here()").tags == ["CALL"]
        assert client.query(f"{here} UPDATE users SET email = 'here'").tags == [f"UPDATE {len(keys[i])}"]
        assert [int(n) for n in clusters.everywhere("SELECT count(*) FROM users WHERE email = 'here'")] == [len(keys[j]) if j == i else 0 for j in range(4)]
        assert client.query(f"{here} UPDATE users SET email = NULL").tags == [f"UPDATE {len(keys[i])}"]
        assert client.query(f"{here} TRUNCATE only_here").tags == ["TRUNCATE TABLE"]
        assert client.query(f"{here} DROP PROCEDURE call_here").tags == ["DROP PROCEDURE"]
        assert client.query(f"{here} DROP VIEW users_here").tags and client.query(f"{here} DROP FUNCTION rows_here").tags
        assert client.query(f"{here} DROP TABLE only_here").tags == ["DROP TABLE"]


def test_a_key_names_the_shard_that_holds_it(weir, clusters, client, keys):
    for i, shard_keys in enumerate(keys):
        for key in shard_keys:
            assert client.value(f"/* weir: key={key} */ SELECT inet_server_port() FROM users LIMIT 1") == port_of(clusters, i)
            assert client.value(f"/*weir: KEY='{key}' shard={shard_names(clusters)[i]}*/SELECT inet_server_port()") == port_of(clusters, i)
    found = client.query(f"/* weir: key={keys[0][0]} shard={shard_names(clusters)[1]} */ SELECT 1")
    assert found.errors == ["22023"] and found.status == "I"


def test_prepared_statements_keep_the_comment_of_their_text(weir, clusters, keys):
    name = shard_names(clusters)[2]
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        for _ in range(7):   # psycopg prepares it after the fifth
            assert connection.execute(f"/* weir: shard={name} */ SELECT count(*) FROM users WHERE name <> %s", ("x",)).fetchone()[0] == len(keys[2])
    with wire.WireClient(weir.port) as client:
        sql = f"/* weir: shard={name} */ SELECT count(*), $1::text FROM users"
        found = client.ask(wire.parse(sql, name="a") + wire.describe("S", "a") + wire.sync())
        assert found.kinds == "1tTZ"
        found = client.ask(wire.bind("v", name="a") + wire.describe() + wire.execute() + wire.sync())
        assert found.kinds == "2TDCZ" and found.rows == [[str(len(keys[2])), "v"]]


def test_statements_are_prepared_where_their_hint_says(weir, clusters):
    name = shard_names(clusters)[3]
    clusters.psql("CREATE TABLE there_only (id int)", shard=3)
    try:
        with wire.WireClient(weir.port) as client:
            found = client.ask(wire.parse(f"/* weir: shard={name} */ SELECT id FROM there_only", name="a") + wire.describe("S", "a") + wire.flush() + wire.sync())
            assert found.kinds == "1tTZ", found
            assert client.ask(wire.bind(name="a") + wire.execute() + wire.sync()).kinds == "2CZ"
    finally:
        clusters.psql("DROP TABLE there_only", shard=3)


def test_new_rows_that_belong_elsewhere_are_refused(weir, clusters, client, keys):
    names = shard_names(clusters)
    for sql in (f"/* weir: shard={names[1]} */ INSERT INTO users (id) VALUES ({keys[0][0]})",
                f"/* weir: key={keys[1][0]} */ INSERT INTO users (id) VALUES ({keys[1][1]}), ({keys[0][0]})"):
        found = client.query(sql)
        assert found.errors == ["22023"], sql
    with wire.WireClient(weir.port) as other:
        found = other.ask(wire.run(f"/* weir: shard={names[1]} */ INSERT INTO users (id) VALUES ($1)", str(keys[0][0])) + wire.sync())
        assert found.errors == ["22023"]
    new = [k for k, s in sharded.shards_of(clusters, range(500, 600)).items() if s == 1][0]
    assert client.query(f"/* weir: shard={names[1]} */ INSERT INTO users (id, name) VALUES ({new}, 'x')").tags == ["INSERT 0 1"]
    assert client.query(f"DELETE FROM users WHERE id = {new}").tags == ["DELETE 1"]


@pytest.mark.parametrize("sql, code", [
    ("/* weir: shard=nowhere */ SELECT 1", "22023"),
    ("/* weir: key=abc */ SELECT 1 FROM users", "22023"),
    ("/* weir: key=1.5 */ SELECT 1", "22023"),
    ("/* weir: replica */ SELECT 1", "42601"),
    ("/* weir: */ SELECT 1", "42601"),
    ("/* weir: shard=a shard=b */ SELECT 1", "42601"),
    ("/* weir: shard=s0 */ /* weir: shard=s1 */ SELECT 1", "42601"),
    ("SELECT 1 /* weir: primary */", "42601"),
    ("SELECT /*weir:primary*/ 1", "42601"),
    ("-- weir: primary\nSELECT 1", "42601"),
    ("/* weir: primary */ BEGIN", "42601"),
    ("/* weir: primary */ PREPARE a AS SELECT 1", "42601"),
    ("/* weir: primary */", "42601"),
])
def test_a_hint_is_never_passed_over(weir, client, sql, code):
    for ask in (lambda: client.query(sql), lambda: client.ask(wire.run(sql) + wire.sync())):
        found = ask()
        assert found.errors == [code], (sql, found)
        assert [m.fields.get("H") for m in found if m.kind == "E"][0]
        assert found.status == "I"


def test_comments_that_are_no_hints_are_comments(client):
    for sql in ("/* weird: shard=x */ SELECT 1", "SELECT '/* weir: shard=x */' IS NOT NULL", "/* for weir: */ SELECT 1", "SELECT 1 -- weir", "/* weir - see docs */ SELECT 1"):
        assert client.query(sql).errors == [], sql


# --- who may


def test_users_without_route_hints_are_refused(weir, clusters):
    with wire.WireClient(weir.port, user="guest") as guest:
        for sql in ("/* weir: shard=s0 */ SELECT 1", "/* weir: nonsense */ SELECT 1", "SELECT 1 /* weir: primary */", "SET weir.shard = 's0'", "SET weir.key = 1",
                    "SET LOCAL weir.role = 'primary'", "RESET weir.shard", "SHOW weir.shard", "SET weir.nonsense = 1", "BEGIN; SET weir.shard = 's0'"):
            assert guest.query(sql).errors == ["42501"], sql
            assert guest.ask(wire.run(sql) + wire.sync()).errors in (["42501"], ["42601"]), sql   # several statements: the server's word
        assert guest.query("SELECT 1").status == "I"
    with pytest.raises(psycopg2.Error, match="may not say where"):
        weir.connect(user="guest", options="-c weir.shard=s0").close()


# --- settings


def test_settings_place_statements_until_they_are_reset(weir, clusters, client, keys):
    names = shard_names(clusters)
    for i, name in enumerate(names):
        found = client.query(f"SET weir.shard = '{name}'")
        assert (found.kinds, found.tags, found.status) == ("CZ", ["SET"], "I")
        assert client.value("SELECT inet_server_port()") == port_of(clusters, i)
        assert int(client.value("SELECT count(*) FROM users")) == len(keys[i])
        assert client.value("SHOW weir.shard") == name
    found = client.query("RESET weir.shard")
    assert found.tags == ["RESET"]
    assert int(client.value("SELECT count(*) FROM users")) == sum(map(len, keys))
    client.query(f"SET weir.key = {keys[3][0]}")
    assert client.value("SELECT inet_server_port()") == port_of(clusters, 3)
    assert client.value("SHOW weir.key") == str(keys[3][0])
    assert client.query("RESET ALL").tags == ["RESET"] and client.value("SHOW weir.key") == ""
    client.query(f"SET weir.shard TO {names[1]}")
    assert client.query("DISCARD ALL").tags == ["DISCARD ALL"] and client.value("SHOW weir.shard") == ""
    for sql, code in (("SET weir.shard = 'nowhere'", "22023"), ("SET weir.key = 'abc'", "22023"), ("SET weir.role = 'replica'", "22023"),
                      ("SET weir.other = 1", "42704"), ("SHOW weir.other", "42704"), ("SET weir.shard = a, b", "22023"), ("SELECT 1; SET weir.shard = 's0'", "0A000")):
        assert client.query(sql).errors == [code], sql
    assert client.value("SHOW weir.shard") == ""


def test_settings_end_with_their_transaction(weir, clusters, client):
    names = shard_names(clusters)

    def now():
        return client.value("SHOW weir.shard")

    client.query(f"SET weir.shard = '{names[0]}'")
    client.query("BEGIN")
    client.query(f"SET weir.shard = '{names[1]}'")
    assert client.value("SELECT inet_server_port()") == port_of(clusters, 1)
    client.query("ROLLBACK")
    assert now() == names[0]
    for local in (f"SET LOCAL weir.shard = '{names[2]}'", f"SET weir.shard = '{names[2]}'"):
        client.query("BEGIN")
        client.query(local)
        client.query("SAVEPOINT a")
        client.query(f"SET weir.shard = '{names[3]}'")
        assert now() == names[3]
        client.query("ROLLBACK TO a")
        assert now() == names[2]
        assert client.value("SELECT inet_server_port()") == port_of(clusters, 2)
        client.query("SAVEPOINT b")
        client.query(f"SET LOCAL weir.shard = '{names[0]}'")
        client.query("ROLLBACK TO b")
        assert now() == names[2]
        assert client.query("COMMIT").tags == ["COMMIT"]
        assert now() == (names[0] if "LOCAL" in local else names[2])
    client.query("BEGIN")
    assert client.query("SELECT nonsense").errors
    assert client.query("SET weir.shard = 's0'").errors == ["25P02"] and client.query("SHOW weir.shard").errors == ["25P02"]
    assert client.query("ROLLBACK").status == "I"
    assert now() == names[2]
    found = client.query("SET LOCAL weir.shard = 's0'")
    assert found.kinds == "NCZ" and now() == names[2]   # a warning, as PostgreSQL's


def test_show_is_described_as_postgresql_does(weir, client):
    client.query("SET weir.shard = 's1'")
    simple = client.query("SHOW weir.shard")
    assert simple.kinds == "TDCZ" and simple.tags == ["SHOW"] and simple.rows == [["s1"]]
    ours, theirs = simple[0].body, client.query("SHOW search_path")[0].body
    assert ours.replace(b"weir.shard", b"search_path") == theirs
    found = client.ask(wire.parse("SHOW weir.shard", name="s") + wire.describe("S", "s") + wire.bind(name="s") + wire.describe() + wire.execute() + wire.sync())
    assert found.kinds == "1tT2TDCZ" and found.rows == [["s1"]]
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        assert cursor.execute("SHOW weir.shard").fetchone() == ("",)
        assert cursor.description[0].name == "weir.shard" and cursor.description[0].type_code == 25


def test_a_setting_holds_where_a_prepared_statement_runs(weir, clusters, client):
    names = shard_names(clusters)
    assert client.ask(wire.parse("SELECT inet_server_port()", name="p") + wire.sync()).kinds == "1Z"
    for i in (1, 3, 0):
        client.query(f"SET weir.shard = '{names[i]}'")
        assert client.ask(wire.bind(name="p") + wire.execute() + wire.sync()).rows == [[port_of(clusters, i)]]
    assert client.query("PREPARE q AS SELECT inet_server_port()").tags == ["PREPARE"]
    for i in (2, 1):
        client.query(f"SET weir.shard = '{names[i]}'")
        assert client.query("EXECUTE q").rows == [[port_of(clusters, i)]]


def test_a_pipeline_sets_and_runs_in_order(weir, clusters, client):
    names = shard_names(clusters)
    one = wire.run(f"SET weir.shard = '{names[2]}'") + wire.run("SELECT inet_server_port()") + wire.run("SHOW weir.shard")
    found = client.ask(one + wire.sync())
    assert found.rows == [[port_of(clusters, 2)], [names[2]]] and found.tags == ["SET", "SELECT 1", "SHOW"]
    # An error behind it undoes it, as everything up to the Sync.
    found = client.ask(wire.run(f"SET weir.shard = '{names[1]}'") + wire.run("SELECT nonsense") + wire.sync())
    assert found.errors == ["42703"] and client.value("SHOW weir.shard") == names[2]
    found = client.ask(wire.run(f"SET weir.shard = '{names[1]}'") + wire.run("SET weir.shard = 'nowhere'") + wire.sync())
    assert found.errors == ["22023"] and client.value("SHOW weir.shard") == names[2]


def test_the_comment_goes_before_the_setting(weir, clusters, client):
    names = shard_names(clusters)
    client.query(f"SET weir.shard = '{names[1]}'")
    assert client.value(f"/* weir: shard={names[2]} */ SELECT inet_server_port()") == port_of(clusters, 2)
    assert client.value("SELECT inet_server_port()") == port_of(clusters, 1)


def test_start_up_parameters_are_the_defaults(weir, clusters):
    names = shard_names(clusters)
    with contextlib.closing(weir.connect(options=f"-c weir.shard={names[3]}")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT inet_server_port()")
        assert str(cursor.fetchone()[0]) == port_of(clusters, 3)
        cursor.execute(f"SET weir.shard = '{names[0]}'")
        cursor.execute("RESET weir.shard")
        cursor.execute("SHOW weir.shard")
        assert cursor.fetchone()[0] == names[3]
    with pytest.raises(psycopg2.Error, match="there is no shard"):
        weir.connect(options="-c weir.shard=nowhere").close()


def test_no_server_and_no_other_client_sees_them(weir, clusters, client):
    client.query("SET weir.shard = 's1'")
    client.query("SET app.mark = 'x'")
    for _ in range(20):
        assert client.query("SELECT current_setting('weir.shard')").errors == ["42704"]
        with wire.WireClient(weir.port) as other:
            assert other.value("SHOW weir.shard") == ""
            assert other.value("SELECT inet_server_port()") == port_of(clusters, 0)
    for i in range(4):
        assert client.query(f"/* weir: shard={shard_names(clusters)[i]} */ SELECT current_setting('weir.shard')").errors == ["42704"]
    assert client.query("SELECT set_config('weir.shard', 's0', true)").errors == ["0A000"]


# --- the primary


def test_primary_keeps_reads_off_the_replicas(start_weir, clusters):
    proxy = start_weir([harness.database_toml(clusters, reads={"consistency": "eventual"})], users=USERS, auth={"method": "trust"})
    with wire.WireClient(proxy.port) as client:
        name = shard_names(clusters)[1]

        def reads_replicas(prefix=""):
            before = to_replicas(proxy)
            for _ in range(10):
                assert not client.query(f"{prefix} SELECT count(*) FROM users").errors
            return to_replicas(proxy) > before

        here = f"/* weir: shard={name} */"
        harness.wait_for(lambda: reads_replicas(here), "a read of a replica", 20)
        assert not reads_replicas(f"/* weir: shard={name} primary */")
        assert not reads_replicas("/* weir: primary */")   # of all shards
        client.query("SET weir.role = 'primary'")
        assert not reads_replicas(here)
        client.query("SET weir.role = ''")
        assert reads_replicas(here)


# --- transactions


def test_a_transaction_stays_on_the_shard_of_its_hint(weir, clusters, client, keys):
    names = shard_names(clusters)
    client.query("BEGIN")
    assert client.value(f"/* weir: shard={names[1]} */ SELECT inet_server_port()") == port_of(clusters, 1)
    assert client.value("SELECT inet_server_port()") == port_of(clusters, 1)
    client.query(f"UPDATE users SET email = 'y' WHERE id = {keys[1][0]}")
    assert client.query("ROLLBACK").tags == ["ROLLBACK"]
    assert clusters.everywhere("SELECT count(*) FROM users WHERE email = 'y'") == ["0"] * 4


# --- a plain database


def test_on_a_plain_database_hints_are_read_too(start_weir, clusters):
    proxy = start_weir([harness.database_toml(clusters, sharded=False, reads={"consistency": "eventual"})], users=USERS, auth={"method": "trust"})
    with wire.WireClient(proxy.port) as client:
        def reads_replicas(prefix=""):
            before = to_replicas(proxy)
            for _ in range(10):
                assert not client.query(f"{prefix} SELECT count(*) FROM users").errors
            return to_replicas(proxy) > before

        harness.wait_for(reads_replicas, "a read of a replica", 20)
        assert not reads_replicas("/* weir: primary */")
        assert not client.query("SET weir.role = 'primary'").errors
        assert not reads_replicas()
        assert client.query("SELECT set_config('weir.role', '', false)").errors == ["0A000"]
        assert client.query("/* weir: key=1 */ SELECT 1").errors == ["22023"]
        assert client.query("SELECT 1 /* weir: primary */").errors == ["42601"]
        assert client.query("SELECT 1; SET weir.role = ''").errors == ["0A000"]
    with wire.WireClient(proxy.port, user="guest") as guest:
        assert guest.query("/* weir: primary */ SELECT 1").errors == ["42501"]
