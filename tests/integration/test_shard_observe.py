"""sharding.mode = "observe": the database works as a plain one, and SHOW ROUTES says where its statements would have gone."""
import re

import psycopg
import pytest

import harness
from metrics_client import scrape

TABLES = ({"name": "users", "key": "id"}, {"name": "orders", "key": "user_id"}, {"name": "countries", "reference": True})
SCHEMA = (harness.SCHEMA / "schema.sql").read_text() + (harness.SCHEMA / "home.sql").read_text()


def observed(clusters, **options):
    """Two shards, of which one has a server."""
    return harness.database_toml(clusters, sharding={"mode": "observe"}, planned=["later"], **{"tables": TABLES, **options})


@pytest.fixture(scope="module")
def http_port():
    return harness.free_port()


@pytest.fixture(scope="module")
def weir(plain_clusters, http_port):
    plain_clusters.psql(SCHEMA)
    with harness.running([observed(plain_clusters)], admin={"users": ["weir", "postgres"], "http": f"127.0.0.1:{http_port}"}) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def keys(plain_clusters):
    """Three keys of each would-be shard, by PostgreSQL's own hash."""
    shard = lambda k: int(plain_clusters.psql(f"SELECT (hashint8extended({k}, 0) & {harness.BUCKETS - 1}) / {harness.BUCKETS // 2}"))
    found = ([], [])
    for k in range(1, 100):
        found[shard(k)].append(k)
    return [f[:3] for f in found]


@pytest.fixture
def counted(weir):
    """counted(): what SHOW ROUTES counted since the last call, without what did not change."""
    def totals():
        return {(r["route"], r["shard"]): int(r["statements"]) for r in weir.console("SHOW ROUTES") if r["database"] == "app"}

    last = [totals()]

    def counted():
        before, last[0] = last[0], totals()
        return {route if shard is None else shard: n - before[route, shard] for (route, shard), n in last[0].items() if n != before[route, shard]}

    return counted


@pytest.fixture
def client(weir):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        yield connection


def test_no_identity_and_no_second_server_is_needed(weir, plain_clusters):
    assert weir.psql("SELECT 1") == "1"
    assert plain_clusters.psql("SELECT count(*) FROM pg_namespace WHERE nspname = 'weir'") == "0"
    assert [(r["shard"], r["buckets"]) for r in weir.console("SHOW SHARDS")] == [("s0", "all")]
    assert {r["mode"] for r in weir.console("SHOW ROUTES")} == {"observe"}


def test_a_statement_with_its_key_is_counted_for_the_shard_of_the_key(weir, keys, counted):
    for k in keys[0]:
        weir.psql(f"SELECT * FROM users WHERE id = {k}")
    for k in keys[1][:2]:
        weir.psql(f"UPDATE orders SET amount = 0 WHERE user_id = {k} AND id = 7")
    assert counted() == {"s0": 3, "later": 2}


@pytest.mark.parametrize("prepare", [False, True])
def test_a_parameter_is_looked_at_in_each_execution(client, keys, counted, prepare):
    counted()
    for k in [*keys[0], *keys[1]]:
        client.execute("SELECT name FROM users WHERE id = %s", [k], prepare=prepare)
    assert counted() == {"s0": 3, "later": 3}


def test_a_binary_parameter_is_read_as_its_type(client, keys, counted):
    counted()
    for k in keys[1]:
        client.execute("SELECT name FROM users WHERE id = %b", [k])
    assert counted() == {"later": 3}


def test_sql_execute_is_counted_for_what_it_runs(client, keys, counted):
    counted()
    client.execute("PREPARE one (bigint) AS SELECT name FROM users WHERE id = $1")
    for k in keys[1]:
        client.execute(f"EXECUTE one ({k})")
    assert counted() == {"later": 3}


def test_what_needs_no_key_is_counted_by_its_kind(client, counted):
    counted()
    client.execute("SELECT name FROM countries WHERE code = 'DE'")
    client.execute("SELECT value FROM settings_unlisted")
    client.execute("SELECT 1")
    client.execute("SET work_mem = '5MB'")
    assert counted() == {"reference": 1, "home": 1, "no_table": 1, "session": 1}


def test_what_needs_every_shard_is_counted_and_answered(client, counted):
    counted()
    client.execute("INSERT INTO users (id, name) SELECT i, 'u' || i FROM generate_series(1000, 1009) i")
    assert client.execute("SELECT count(*) FROM users WHERE id >= 1000").fetchone() == (10,)
    assert client.execute("DELETE FROM users WHERE name LIKE 'u%'").rowcount == 10
    found = counted()
    assert sum(found.get(kind, 0) for kind in ("scatter", "refused")) == 3, found


def test_an_insert_whose_key_weir_would_give_is_a_single_shards(plain_clusters, start_weir):
    plain_clusters.psql("CREATE TABLE given (id bigserial PRIMARY KEY, name text)")
    weir = start_weir([observed(plain_clusters, tables=({"name": "given", "key": "id", "default_key": "weir.next_id"},))], admin={"users": ["weir", "postgres"]})
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        connection.execute("INSERT INTO given (name) VALUES ('a'), ('b')")
        for name in "cdef":
            connection.execute("INSERT INTO given (name) VALUES (%s)", (name,), prepare=True)
        connection.execute("INSERT INTO given DEFAULT VALUES")
        connection.execute("INSERT INTO given (name) SELECT 'g'")   # no key can be given to its rows
    found = {r["route"]: 0 for r in weir.console("SHOW ROUTES")}
    for r in weir.console("SHOW ROUTES"):
        found[r["route"]] += int(r["statements"])
    assert (found["single"], found["refused"]) == (6, 1)


def test_a_refusal_names_its_reason_and_remedy_but_no_value(weir, client, keys, counted):
    counted()
    for secret in ("hunter2", "hunter3"):
        client.execute(f"UPDATE users SET id = {keys[1][0]}, name = '{secret}' WHERE id = {keys[0][0]}")
    assert counted() == {"refused": 2}
    found = [r for r in weir.console("SHOW REFUSALS") if r["example"].startswith("UPDATE users SET id")]
    assert [(r["mode"], r["statements"], r["example"]) for r in found] == [("observe", "2", "UPDATE users SET id = ?, name = ? WHERE id = ?")]
    assert found[0]["reason"] and found[0]["hint"]


def test_a_value_that_is_no_key_is_not_shown(weir, client):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        client.execute("SELECT * FROM users WHERE id = 'hunter4'")   # PostgreSQL's answer
    rows = weir.console("SHOW REFUSALS")
    assert any("cannot be read" in r["reason"] for r in rows) and not any("hunter4" in str(r) for r in rows)


def test_text_that_does_not_parse_gets_the_servers_answer(weir, client, counted):
    counted()
    with pytest.raises(psycopg.errors.SyntaxError):
        client.execute("SELEC hunter5 FROM users")
    assert counted() == {"refused": 1}
    assert not any("hunter5" in r["reason"] for r in weir.console("SHOW REFUSALS"))


def test_transactions_over_several_shards_run_and_are_counted_once(client, keys, counted):
    counted()
    with client.transaction():
        for k in [*keys[0][:1], *keys[1], *keys[0][1:]]:
            client.execute("INSERT INTO orders (id, user_id, product) VALUES (1, %s, 'x')", [k])
    client.execute("DELETE FROM orders WHERE user_id = %s", [keys[0][0]])
    client.execute("DELETE FROM orders WHERE user_id = %s", [keys[1][0]])   # a transaction of its own
    assert counted() == {"s0": 4, "later": 4, "session": 2, "transactions over several shards": 1}


def test_reads_go_to_replicas_as_those_of_a_plain_database_do(weir):
    def read():
        weir.psql("SELECT name FROM countries")
        return sum(int(b["assignments"]) for b in weir.console("SHOW BACKENDS") if b["role"] == "replica")

    harness.wait_for(read, "a read on the replica")


def test_the_metrics_count_the_same(weir, http_port, keys):
    weir.psql(f"SELECT * FROM users WHERE id = {keys[1][0]}")
    shown = {(r["route"], r["shard"] or ""): int(r["statements"]) for r in weir.console("SHOW ROUTES")}
    found = scrape(http_port)
    for (route, shard), n in shown.items():
        if route == "transactions over several shards":
            assert found.sum("weir_spanning_transactions_total", database="app") == n
        else:
            assert found.sum("weir_routes_total", database="app", route=route, shard=shard) == n


def test_rules_that_do_not_fit_are_told_and_harm_nobody(plain_clusters, start_weir):
    weir = start_weir([observed(plain_clusters, tables=({"name": "users", "key": "no_such_column"},))])
    assert weir.psql("SELECT count(*) FROM countries") == "7"
    assert re.search(r"database app: routes are not counted.*no_such_column", weir.log())
    assert {r["statements"] for r in weir.console("SHOW ROUTES")} == {"0"}


def test_observing_begins_at_a_reload_and_routing_at_a_restart(plain_clusters, start_weir):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False)])
    assert weir.console("SHOW ROUTES") == []
    weir.write_config([observed(plain_clusters)])
    weir.console("RELOAD")
    weir.psql("SELECT 1")
    assert {(r["mode"], r["statements"]) for r in weir.console("SHOW ROUTES") if r["route"] == "no_table"} == {("observe", "1")}
    weir.write_config([harness.database_toml(plain_clusters, tables=TABLES)])
    with pytest.raises(Exception, match="sharding"):
        weir.console("RELOAD")
    assert {r["mode"] for r in weir.console("SHOW ROUTES")} == {"observe"}
