"""EXPLAIN over several shards: each shard's plan with Weir's own step on top; and weirctl route says the same as what the servers saw."""
import contextlib
import json
import pathlib
import re

import psycopg
import pytest

import harness
import wire_client as wire
from test_shard_hints import to_replicas


@pytest.fixture(scope="module", autouse=True)
def rows(weir, clusters, keys):
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        for k in (k for shard in keys for k in shard):
            cursor.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (k, f"n{k}"))
            cursor.execute("INSERT INTO orders (user_id, id, product, amount) VALUES (%s, 1, 'x', 10)", (k,))


@pytest.fixture
def client(weir):
    with wire.WireClient(weir.port) as client:
        yield client


def names(clusters):
    return [s["name"] for s in clusters.shards]


def lines(found):
    assert not found.errors, found
    return [row[0] for row in found.rows]


# --- text


def test_every_shard_explains_its_part(weir, clusters, client):
    found = client.query("EXPLAIN (COSTS OFF) SELECT id, name FROM users ORDER BY name LIMIT 5 OFFSET 2")
    assert found.tags == ["EXPLAIN"] and found.kinds.startswith("TD")
    plan = lines(found)
    assert plan[0].startswith("Weir Merge Append") and all(n in plan[0] for n in names(clusters))
    assert "  Limit: 5" in plan and "  Offset: 2" in plan
    for name in names(clusters):
        at = plan.index(f"  ->  Shard {name}")
        assert "LIMIT 7" in plan[at + 1] and plan[at + 2].strip() == "Limit", plan
    assert not any("rows=" in line for line in plan)
    assert lines(client.query("EXPLAIN SELECT * FROM users"))[0].startswith("Weir Append")


def test_a_finish_is_explained_with_what_it_gathers(weir, clusters, client):
    plan = lines(client.query("EXPLAIN (COSTS OFF) SELECT count(*), avg(amount) FROM orders"))
    assert plan[0].startswith("Weir Finish")
    assert any(line.startswith(f"  ->  Finish on shard {names(clusters)[0]}") for line in plan)
    assert any(line.startswith("  ->  Gather ") for line in plan)
    assert sum(line.startswith("        ->  Shard ") for line in plan) == 4
    assert sum("Seq Scan on orders" in line for line in plan) == 4


def test_analyze_runs_a_read_on_every_shard(weir, clusters, client):
    plan = lines(client.query("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT * FROM users"))
    actual = [int(m.group(1)) for line in plan if (m := re.search(r"Seq Scan on users \(actual rows=(\d+)", line))]
    assert sorted(actual) == sorted(int(n) for n in clusters.everywhere("SELECT count(*) FROM users"))
    assert lines(client.query("EXPLAIN ANALYZE SELECT sum(amount) FROM orders"))


def test_only_the_shards_of_the_keys_are_asked(weir, clusters, client, keys):
    plan = lines(client.query(f"EXPLAIN SELECT * FROM users WHERE id IN ({keys[1][0]}, {keys[3][0]})"))
    assert [line.split()[-1] for line in plan if line.startswith("  ->  Shard")] == [names(clusters)[1], names(clusters)[3]]


def test_one_shards_statement_goes_as_it_is(weir, clusters, client, keys):
    sql = f"EXPLAIN (COSTS OFF, VERBOSE) SELECT * FROM users WHERE id = {keys[2][0]}"
    assert "\n".join(lines(client.query(sql))) == clusters.psql(sql, shard=2)
    sql = f"EXPLAIN (COSTS OFF) UPDATE users SET name = 'x' WHERE id = {keys[2][0]}"
    assert "\n".join(lines(client.query(sql))) == clusters.psql(sql, shard=2)


# --- writes


def shards_in(plan):
    return [line.split()[-1] for line in plan if line.startswith("  ->  Shard")]


def test_a_write_is_explained_and_not_run(weir, clusters, client, keys):
    before = clusters.everywhere("SELECT count(*), max(name) FROM users")
    for sql in ("UPDATE users SET name = 'gone'", "DELETE FROM users WHERE name = 'x'", "UPDATE users SET name = now()::text",
                f"WITH k AS (SELECT 1) UPDATE users SET name = '' WHERE id IN ({keys[0][0]}, {keys[3][0]})"):
        found = client.query(f"EXPLAIN (COSTS OFF) {sql}")
        assert found.tags == ["EXPLAIN"] and found.kinds.startswith("TD"), found
        plan = lines(found)
        wanted = names(clusters) if " IN " not in sql else [names(clusters)[0], names(clusters)[3]]
        assert plan[0].startswith("Weir Write  (shards: ") and shards_in(plan) == wanted, plan
        assert sum(line.strip().startswith(("Update on users", "Delete on users")) for line in plan) == len(wanted)
        assert all(line.strip().startswith(f"Query: {sql[:9]}") for line in plan if "Query: " in line)
    assert clusters.everywhere("SELECT count(*), max(name) FROM users") == before
    assert clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts") == ["0"] * 4


def test_each_shard_explains_its_rows_of_an_insert(weir, clusters, client, keys):
    rows = ", ".join(f"({shard[0]}, 77, 'p', 1)" for shard in keys)
    document = json.loads(lines(client.query(f"EXPLAIN (FORMAT JSON) INSERT INTO orders (user_id, id, product, amount) VALUES {rows}"))[0])
    plan = document[0]["Plan"]
    assert plan["Node Type"] == "Weir Write" and [s["Shard"] for s in plan["Shards"]] == names(clusters)
    for shard, own in zip(plan["Shards"], keys):
        assert f"({own[0]}, 77, 'p', 1)" in shard["Query"] and shard["Query"].count("77") == 1 and shard["Query"].startswith("INSERT"), shard
        assert shard["Explain"][0]["Plan"]["Node Type"] == "ModifyTable"


def test_analyze_executes_a_write_in_one_transaction(weir, clusters, client, keys):
    try:
        plan = lines(client.query("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) UPDATE users SET name = name || '!'"))
        actual = [int(m.group(1)) for line in plan if (m := re.search(r"Seq Scan on users \(actual rows=(\d+)", line))]
        assert sorted(actual) == sorted(int(n) for n in clusters.everywhere("SELECT count(*) FROM users WHERE name LIKE '%!'"))
        # in a block it is undone with the rest
        client.query("BEGIN")
        rows = ", ".join(f"({shard[0]}, 78, 'p', 1)" for shard in keys)
        assert lines(client.query(f"EXPLAIN ANALYZE INSERT INTO orders (user_id, id, product, amount) VALUES {rows}"))
        assert client.query("SELECT count(*) FROM orders WHERE id = 78").rows == [["4"]]
        client.query("ROLLBACK")
        assert clusters.everywhere("SELECT count(*) FROM orders WHERE id = 78") == ["0"] * 4
        # an error on one shard undoes it on all
        bad = keys[3][0]
        found = client.query(f"EXPLAIN ANALYZE UPDATE users SET name = (1 / (id - {bad}))::text")
        assert found.errors == ["22012"]
        assert not any(int(n) for n in clusters.everywhere("SELECT count(*) FROM users WHERE name NOT LIKE '%!'"))
        # every shard has the rows of a reference table
        assert lines(client.query("EXPLAIN ANALYZE UPDATE countries SET name = name || '?'"))[0].startswith("Weir Write")
        assert len(set(clusters.everywhere("SELECT count(*) FROM countries WHERE name LIKE '%?'"))) == 1
    finally:
        client.query("ROLLBACK")
        client.query("UPDATE users SET name = rtrim(name, '!')")
        client.query("UPDATE countries SET name = rtrim(name, '?')")


def test_analyze_of_one_shards_write_runs_on_its_primary(weir, client):
    """Of a key that nobody wrote to, reads go to the replica."""
    def reads_replica():
        before = to_replicas(weir)
        client.query("SELECT name FROM users WHERE id = 700001")
        return to_replicas(weir) > before

    harness.wait_for(reads_replica, "a replica to serve reads")
    for sql in ("UPDATE users SET name = 'x' WHERE id = 700001", "DELETE FROM users WHERE id = 700001"):
        assert client.query(f"EXPLAIN (ANALYZE, COSTS OFF) {sql}").tags == ["EXPLAIN"]


def test_describe_alone_executes_nothing(weir, clusters, client):
    found = client.ask(wire.parse("EXPLAIN ANALYZE DELETE FROM orders") + wire.bind() + wire.describe() + wire.sync())
    assert found.kinds.startswith("12TZ"), found
    assert sum(int(n) for n in clusters.everywhere("SELECT count(*) FROM orders")) > 0


# --- other formats


@pytest.mark.parametrize("sql", ["SELECT id FROM users ORDER BY 1", "SELECT count(*) FROM orders", "SELECT \"name\" || E'\\n\"' FROM users"])
def test_json_is_one_document(weir, clusters, client, sql):
    found = client.query(f"EXPLAIN (FORMAT JSON) {sql}")
    assert len(found.rows) == 1
    document = json.loads(found.rows[0][0])
    plan = document[0]["Plan"]
    assert plan["Node Type"].startswith("Weir ")
    assert [s["Shard"] for s in plan["Shards"]] == names(clusters)
    assert all(s["Explain"][0]["Plan"]["Node Type"] for s in plan["Shards"])
    assert ("Finish" in plan) == ("count" in sql)
    if "Finish" in plan:
        assert plan["Finish"]["Explain"][0]["Plan"]


@pytest.mark.parametrize("sql", ["EXPLAIN (FORMAT XML) SELECT * FROM users", "EXPLAIN (FORMAT YAML) SELECT count(*) FROM orders"])
def test_documents_that_cannot_be_joined_are_refused(client, sql):
    found = client.query(sql)
    assert found.errors == ["0A000"] and "FORMAT" in found[0].fields["H"]


def test_wrong_options_are_postgresqls_error(clusters, client):
    for sql in ("EXPLAIN (NONSENSE) SELECT * FROM users", "EXPLAIN (WAL) SELECT * FROM users", "EXPLAIN (FORMAT NONSENSE) SELECT * FROM users", "EXPLAIN SELECT nonsense FROM users"):
        found = client.query(sql)
        assert len(found.errors) == 1 and found.errors[0] != "0A000", sql
        assert next(m for m in found if m.kind == "E").fields["M"] in clusters.psql(sql, check=False).stderr


# --- protocol


def test_in_the_extended_protocol_too(weir, clusters, client):
    found = client.ask(wire.parse("EXPLAIN SELECT * FROM users WHERE name <> $1", name="e", types=(25,)) + wire.describe("S", "e")
                       + wire.bind("x", name="e") + wire.describe() + wire.execute() + wire.sync())
    assert found.kinds.startswith("1tT2TD") and found.tags == ["EXPLAIN"], found
    assert sum("Filter" in row[0] for row in found.rows) == 4
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        cursor = connection.cursor(binary=True)
        assert len(cursor.execute("EXPLAIN SELECT * FROM users ORDER BY id").fetchall()) > 8
        document = cursor.execute("EXPLAIN (FORMAT JSON) SELECT count(*) FROM users").fetchone()[0]
        assert document[0]["Plan"]["Node Type"] == "Weir Finish"
    found = client.ask(wire.parse("EXPLAIN SELECT * FROM users") + wire.bind() + wire.execute(rows=2) + wire.execute(rows=3) + wire.execute() + wire.sync())
    assert found.kinds.startswith("12DDsDDDsD") and found.tags == ["EXPLAIN"], found.kinds


# --- weirctl route


# What each shard is asked, by weirctl route.
def routed(weir, sql):
    said = harness.weirctl("route", "-c", str(weir.config), "--connect", sql).stdout
    by_name = {}
    for line in said.splitlines():
        name, _, value = line.partition(" ")
        by_name.setdefault(name, []).append(value.strip())
    return by_name


@pytest.mark.parametrize("sql", [
    "SELECT * FROM users",
    "SELECT id, name FROM users ORDER BY name, id LIMIT 3",
    "SELECT count(*), sum(amount) FROM orders WHERE product = 'x'",
    "SELECT product, count(DISTINCT user_id) FROM orders GROUP BY product",
    "SELECT u.id FROM users u JOIN orders o ON o.user_id = u.id + 0",
    "SELECT * FROM users WHERE id = {a}",
    "SELECT * FROM users WHERE id IN ({a}, {b})",
    "SELECT 1",
    "SELECT * FROM countries",
])
def test_route_explain_and_the_servers_agree(weir, clusters, client, keys, sql):
    sql = sql.format(a=keys[1][0], b=keys[2][0])
    said = routed(weir, sql)
    plan = lines(client.query(f"EXPLAIN {sql}"))
    queries = [line.split("Query: ", 1)[1] for line in plan if "Query: " in line]
    asked = [line.rsplit(" ", 1)[1] for line in plan if "->  Shard " in line]
    if not queries:   # one shard: its name is in front of its address
        assert len(said["shard"]) == 1 and "shards" not in said
        return
    assert sorted(set(asked)) == sorted(said["shards"][0].split(", "))
    wanted = said.get("each", []) + said.get("finish", [])
    now, lifted = re.compile(r"'20\d\d-[^']*'"), re.compile(r"\(('[^']*'|-?\d+)\)")   # a literal that was lifted comes back in parentheses
    plain = lambda texts: {lifted.sub(r"\1", now.sub("?", text)) for text in texts}
    assert plain(queries) == plain(wanted)


def test_servers_see_what_route_says(weir, clusters, keys):
    """By their logs, the replicas' too: log_statement is the session's."""
    sql = "SELECT id, name FROM users WHERE name LIKE 'n%' ORDER BY name, id LIMIT 3"
    said = routed(weir, sql)
    before = [logs_of(clusters, i) for i in range(4)]
    with wire.WireClient(weir.port) as client:
        client.query("SET log_statement = 'all'")
        assert not client.query(sql).errors
    for i in range(4):
        seen = "".join(now[len(then):] for then, now in zip(before[i], logs_of(clusters, i)))
        assert said["each"][0] in seen, seen[-2000:]


def logs_of(clusters, shard):
    found = clusters.shards[shard]
    return [pathlib.Path(node["data"] + ".log").read_text(errors="replace") for node in (found["primary"], *found["replicas"])]
