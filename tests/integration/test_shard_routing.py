"""Statements whose key is bound go to the shard of the key, and answer as one plain PostgreSQL with all the rows does."""
import re

import psycopg
import pytest

import harness
import sharded


@pytest.fixture(scope="module")
def reference(clusters):
    return sharded.create_reference(clusters)


@pytest.fixture(scope="module")
def twin(weir, clusters, reference, keys):
    both = sharded.Twin(weir, clusters, reference)
    both.seed([k for shard in keys for k in shard])
    yield both
    both.close()


@pytest.fixture
def written(twin):
    """A twin that is looked at afterwards: every row on its shard and nowhere else."""
    yield twin
    twin.check_all_rows()


@pytest.fixture
def modern(weir, reference):
    """psycopg 3 connections: to Weir, and to the reference."""
    with psycopg.connect(weir.dsn(), autocommit=True) as here, psycopg.connect(reference, autocommit=True) as there:
        yield here, there


def each(keys):
    return [k for shard in keys for k in shard]


def test_seeded_rows_lie_on_the_shard_of_their_key(twin, clusters, keys):
    twin.check_all_rows()
    counts = [int(n) for n in clusters.everywhere("SELECT count(*) FROM users")]
    assert counts == [len(shard) for shard in keys]


READS = [
    "SELECT id, name, email FROM users WHERE id = {k}",
    "SELECT * FROM orders WHERE user_id = {k} ORDER BY id",
    "SELECT * FROM public.orders o WHERE o.user_id = {k} AND o.product LIKE 'l%%' ORDER BY 2",
    "SELECT count(*), sum(amount), avg(amount), min(product) FROM orders WHERE user_id = {k}",
    "SELECT product, sum(amount) s FROM orders WHERE user_id = {k} GROUP BY product HAVING sum(amount) > 3 ORDER BY s DESC LIMIT 2",
    "SELECT DISTINCT ON (product) product, id FROM orders WHERE user_id = {k} ORDER BY product, id DESC",
    "SELECT id, rank() OVER (ORDER BY amount DESC) FROM orders WHERE user_id = {k} ORDER BY 2 OFFSET 1",
    "SELECT {k} FROM users WHERE {k} = id",
    "SELECT id FROM users WHERE id = '{k}'",
    "SELECT id FROM users WHERE id = {k}.0",
    "SELECT id FROM users WHERE id = {k}::bigint",
    "SELECT id FROM users WHERE id = CAST({k} AS int)",
    "SELECT id FROM users WHERE id IN ({k}) AND name <> 'x'",
    "SELECT id FROM users WHERE id IN ({k}, {k})",
    "SELECT id FROM users WHERE id = ANY (ARRAY[{k}, {k}])",
    "SELECT id FROM users WHERE (id = {k} AND name = 'n{k}') OR (id = {k} AND email IS NULL)",
    "SELECT u.name, o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = {k} ORDER BY o.id",
    "SELECT u.name, o.id FROM users u JOIN orders o ON o.user_id = u.id WHERE o.user_id = {k} ORDER BY o.id",
    "SELECT u.name, o.id, w.title FROM users u, orders o, works w WHERE u.id = o.user_id AND w.user_id = o.user_id AND w.user_id = {k} ORDER BY 2, 3",
    "SELECT u.name, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.amount > 15 WHERE u.id = {k} ORDER BY 2",
    "SELECT a.id, b.id FROM orders a JOIN orders b USING (user_id) WHERE a.user_id = {k} AND a.id < b.id ORDER BY 1, 2",
    "SELECT u.id, c.name FROM users u CROSS JOIN countries c WHERE u.id = {k} ORDER BY 2",
    "SELECT u.id, c.name FROM users u JOIN countries c ON c.code = 'DE' WHERE u.id = {k}",
    "SELECT name FROM users WHERE id = {k} AND EXISTS (SELECT 1 FROM orders WHERE user_id = {k} AND amount > 5)",
    "SELECT name, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u WHERE u.id = {k}",
    "SELECT (SELECT count(*) FROM orders WHERE user_id = {k})",
    "SELECT * FROM (SELECT user_id, sum(amount) FROM orders WHERE user_id = {k} GROUP BY 1) s",
    "WITH o AS (SELECT * FROM orders WHERE user_id = {k}) SELECT count(*) FROM o WHERE amount > 5",
    "WITH u AS (SELECT id FROM users WHERE id = {k}) SELECT o.id FROM u JOIN orders o ON o.user_id = {k} ORDER BY 1",
    "SELECT id FROM orders WHERE user_id = {k} UNION ALL SELECT id FROM works WHERE user_id = {k} ORDER BY 1",
    "SELECT u.id, l.id FROM users u, LATERAL (SELECT id FROM orders WHERE user_id = u.id ORDER BY id DESC LIMIT 1) l WHERE u.id = {k}",
    "/* a comment with user_id = 1 */ SELECT id -- and id = 2\n FROM users WHERE id = {k}",
    "TABLE countries",
    "SELECT title FROM works WHERE user_id = {k} AND created_at >= '2024-02-01 00:00+00' AND created_at < '2024-03-01 00:00+00'",
    "SELECT tableoid::regclass::text, created_at FROM works WHERE user_id = {k} ORDER BY 2",
    "SELECT * FROM orders WHERE user_id = {k} AND false",
    "SELECT count(*) FROM works_202401 WHERE user_id = {k}",
]


@pytest.mark.parametrize("read", READS)
def test_a_read_with_a_bound_key_answers_as_plain_postgresql(twin, keys, read):
    found = 0
    for k in each(keys):
        rows = twin.same(read.format(k=k))
        assert not isinstance(rows, str), f"{read}: both fail with {rows}"
        found += len(rows)
    assert found > 0 or "false" in read


@pytest.mark.parametrize("sql", [
    "INSERT INTO users (id, name) VALUES ({k}, 'a''b')",
    "INSERT INTO users VALUES ({k}, 'no column list', NULL, '2024-01-01')",
    "INSERT INTO users (name, id) VALUES ('swapped', '{k}') RETURNING id, name",
    "INSERT INTO users (id, name) SELECT {k}, 'from select'",
    "INSERT INTO users (id, name) VALUES ({k}, 'once') ON CONFLICT (id) DO NOTHING",
    "INSERT INTO users (id, name) VALUES ({k}, 'x') ON CONFLICT (id) DO UPDATE SET name = excluded.name || '!' RETURNING name",
    "INSERT INTO orders (user_id, id, product) VALUES ({k}, 100, 'a'), ({k}, 101, 'b') RETURNING id",
    "INSERT INTO orders (user_id, id, product) SELECT user_id, id + 200, product FROM orders WHERE user_id = {k}",
    "INSERT INTO works VALUES ({k}, 7, '2024-03-31 23:59:59.999999+00', 'last moment')",
    "UPDATE users SET name = name || '?' WHERE id = {k}",
    "UPDATE orders SET amount = amount + 1 WHERE user_id = {k} AND id = 1 RETURNING amount",
    "UPDATE orders o SET product = u.name FROM users u WHERE u.id = o.user_id AND o.user_id = {k}",
    "WITH gone AS (DELETE FROM orders WHERE user_id = {k} AND id = 2 RETURNING *) SELECT count(*) FROM gone",
    "WITH made AS (INSERT INTO orders (user_id, id, product) VALUES ({k}, 300, 'cte') RETURNING user_id) SELECT * FROM made",
    "DELETE FROM orders USING users WHERE users.id = orders.user_id AND users.id = {k} AND orders.id = 0",
    "DELETE FROM works WHERE user_id = {k}",
])
def test_a_write_with_a_bound_key_changes_its_shard_alone(written, keys, sql):
    fresh = sharded.spread_keys(written.clusters, 1, start=1000)
    for k in each(fresh):
        written.same("DELETE FROM users WHERE id = %s", (k,))
        written.same("DELETE FROM orders WHERE user_id = %s", (k,))
        if not sql.startswith("INSERT INTO users"):
            written.seed([k])
        written.same(sql.format(k=k))
        if "CONFLICT" in sql:
            written.same(sql.format(k=k))
        for table in ("users", "orders", "works"):
            written.same(f"SELECT count(*) FROM {table} WHERE {sharded.KEY_OF[table]} = {k}")
    for k in each(fresh):
        for table, key in sharded.KEY_OF.items():
            written.same(f"DELETE FROM {table} WHERE {key} = {k}")


def test_errors_of_the_server_come_through_unchanged(written, keys):
    for k in each(keys):
        assert written.same(f"INSERT INTO users (id, name) VALUES ({k}, 'again')") == "23505"
        assert written.same(f"INSERT INTO users (id, name) VALUES ({k}, NULL)") == "23502"
        assert written.same(f"SELECT 1 / 0 FROM users WHERE id = {k}") == "22012"
        assert written.same(f"INSERT INTO works VALUES ({k}, 1, '1999-01-01', 'no partition')") == "23514"


def test_keys_at_the_ends_of_int8_are_found(written, clusters):
    for k in sharded.BIG_KEYS:
        written.seed([k], orders=1, works=0)
        assert written.same(f"SELECT id FROM users WHERE id = {k}") == [(k,)]
        assert written.same("SELECT id FROM users WHERE id = %s", (str(k),)) == [(k,)]
    written.check_all_rows()
    for k in sharded.BIG_KEYS:
        written.same(f"DELETE FROM users WHERE id = {k}")
        written.same(f"DELETE FROM orders WHERE user_id = {k}")


def test_a_key_beyond_int8_answers_as_the_server_does_or_is_refused(twin):
    for key in ("99999999999999999999", "-99999999999999999999", "'99999999999999999999'", "1e40", "42.5", "'42.0'", "''", "' 42 '", "'0x2a'"):
        sql = f"SELECT id FROM users WHERE id = {key}"
        here, there = twin.ask(twin.weir, sql), twin.ask(twin.plain, sql)
        assert here in (there, "0A000"), key


# --- parameters


@pytest.mark.parametrize("cast, values", [("int2", range(-40, 40)), ("int4", None), ("int8", None), ("text", None), ("numeric", None)])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_parameters_of_every_integer_type_reach_the_shard_of_their_value(modern, keys, cast, values, binary):
    from psycopg.types.numeric import Int2, Int4, Int8
    here, there = modern
    wrap = {"int2": Int2, "int4": Int4, "int8": Int8, "text": str, "numeric": int}[cast]
    mark = "%b" if binary else "%t"
    if cast in ("text", "numeric"):
        if binary and cast == "text":
            return   # psycopg declares it text, which PostgreSQL itself does not compare with bigint
        mark = "%s"
    for k in each(keys):
        sql = f"SELECT u.id, count(o.id) FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = {mark} GROUP BY 1"
        for prepare in (False, True, True):
            answers = [c.execute(sql, (wrap(k),), prepare=prepare, binary=binary).fetchall() for c in (here, there)]
            assert answers == [[(k, 3)], [(k, 3)]], (cast, k, prepare)


def test_a_statement_prepared_once_reaches_every_shard(modern, keys):
    here, there = modern
    sql = "SELECT id, name FROM users WHERE id = %s"
    for _ in range(3):
        for k in each(keys):
            answers = [c.execute(sql, (k,), prepare=True).fetchall() for c in modern]
            assert answers[0] == answers[1] == [(k, f"n{k}")]


def test_an_array_parameter_of_one_shard_is_one_statement(modern, keys):
    for shard in keys:
        for binary in (False, True):
            sql = f"SELECT id FROM users WHERE id = ANY (%{'b' if binary else 't'}) ORDER BY id"
            answers = [c.execute(sql, (shard,)).fetchall() for c in modern]
            assert answers[0] == answers[1] == [(k,) for k in sorted(shard)]
        listed = ", ".join(map(str, shard))
        answers = [c.execute(f"SELECT id FROM users WHERE id IN ({listed}) ORDER BY id").fetchall() for c in modern]
        assert answers[0] == answers[1] == [(k,) for k in sorted(shard)]


def test_writes_with_parameters_reach_their_shard(modern, written, keys):
    fresh = each(sharded.spread_keys(written.clusters, 2, start=2000))
    for connection in modern:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO users (id, name) VALUES (%s, %s)", [(k, f"m{k}") for k in fresh[:1]])
            for k in fresh[1:]:
                cursor.execute("INSERT INTO users (id, name) VALUES (%b, %b) RETURNING id", (k, f"m{k}"), prepare=True)
                assert cursor.fetchone() == (k,)
                cursor.execute("UPDATE users SET name = %s WHERE id = %s", ("changed", k), prepare=True)
                assert cursor.rowcount == 1
    written.check_all_rows()
    for connection in modern:
        for k in fresh:
            assert connection.execute("DELETE FROM users WHERE id = %s", (k,)).rowcount == 1


def test_sql_level_prepare_and_execute_answer_or_are_refused(twin, keys):
    """EXECUTE goes where its arguments say."""
    for k in each(keys)[:6]:
        for sql in ("PREPARE by_id (bigint) AS SELECT id FROM users WHERE id = $1", f"EXECUTE by_id ({k})"):
            here, there = twin.ask(twin.weir, sql), twin.ask(twin.plain, sql)
            assert here == there or here in ("0A000", "26000"), (sql, here)
        twin.ask(twin.plain, "DEALLOCATE ALL")
        twin.ask(twin.weir, "DEALLOCATE ALL")


@pytest.mark.parametrize("condition", ["id = ANY ('{{{k}}}')", "id = ANY ('{{{k},{k}}}'::bigint[])", "id = 0 + {k}", "id = abs({k})", "id + 0 = {k}"])
def test_a_key_that_is_hard_to_read_is_answered_rightly_or_refused(twin, keys, condition):
    for k in each(keys):
        sql = f"SELECT id FROM users WHERE {condition.format(k=k)}"
        here = twin.ask(twin.weir, sql)
        assert here in ("0A000", twin.ask(twin.plain, sql)), sql


def test_a_null_key_finds_nothing_and_is_no_row(twin):
    twin.same("SELECT * FROM users WHERE id = NULL")
    twin.same("SELECT id FROM users WHERE id = %s", (None,))
    here = twin.ask(twin.weir, "INSERT INTO users (id, name) VALUES (NULL, 'x')")
    assert here in ("0A000", "23502")


def test_several_statements_of_one_shard_in_one_query_string(written, keys):
    for k in each(keys)[:4]:
        sql = f"UPDATE users SET name = 'two' WHERE id = {k}; UPDATE users SET name = name || '!' WHERE id = {k}"
        here = written.ask(written.weir, sql)
        if here != "0A000":
            assert here == written.ask(written.plain, sql)


# --- what weirctl route says


def test_weirctl_route_agrees_with_where_the_proxy_sends_it(weir, clusters, keys):
    addresses = {(clusters.node(i)["host"], str(clusters.node(i)["port"])): f"s{i}" for i in range(4)}
    with weir.connect(autocommit=False) as connection, connection.cursor() as cursor:
        for i, shard in enumerate(keys):
            k = shard[0]
            sql = f"SELECT inet_server_port() FROM users WHERE id = {k}"
            cursor.execute(sql)
            went_to = clusters.shards[i]["primary"]["port"]
            assert cursor.fetchone() == (went_to,)
            connection.rollback()
            name = clusters.shards[i]["name"]
            said = harness.weirctl("route", "-c", str(weir.config), sql).stdout
            assert re.search(rf"\b{name}\b", said), said
            others = [s["name"] for s in clusters.shards if s["name"] != name]
            assert not any(re.search(rf"shard:?\s+{o}\b", said) for o in others), said
    assert len(addresses) == 4


def test_weirctl_route_says_what_every_shard_is_asked(weir):
    said = harness.weirctl("route", "--connect", "-c", str(weir.config), "SELECT count(*) FROM orders").stdout
    assert "every shard" in said and "finish" in said and "s0, s1, s2, s3" in said, said


@pytest.mark.parametrize("sql, said", [("TRUNCATE orders", "write (schema)"), ("DELETE FROM users WHERE id > 5", "write (each)"),
                                       ("INSERT INTO users (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')", "write (rows)")])
def test_weirctl_route_says_how_every_shard_is_written_to(weir, sql, said):
    assert said in harness.weirctl("route", "--connect", "-c", str(weir.config), sql).stdout


@pytest.mark.parametrize("sql", ["UPDATE users SET id = 3 WHERE id = 4", "DELETE FROM users WHERE id > random()"])
def test_weirctl_route_says_that_it_is_refused(weir, sql):
    said = harness.weirctl("route", "-c", str(weir.config), sql, check=False)
    assert "0A000" in said.stdout + said.stderr or "refused" in said.stdout + said.stderr


# --- modulo


def test_modulo_routes_as_the_classic_remainder(clusters, start_weir):
    """buckets = 10 over four shards: key % 10, never negative."""
    split = ["0-2", "3-5", "6-7", "8-9"]
    owner = {b: i for i, r in enumerate(split) for b in range(int(r[0]), int(r[2]) + 1)}
    tables = [{"name": "remainders", "key": "id"}]
    text = harness.weir_toml.database(clusters.shards, name="tenfold", tables=tables, sharding={"function": "modulo", "buckets": 10})
    for i, buckets in enumerate(split):
        text = text.replace(f'buckets = "{harness.weir_toml.bucket_share(i, 4)}"', f'buckets = "{buckets}"')
    text = text.replace("dbname=app", "dbname=tenfold")
    for i in range(4):
        clusters.psql("CREATE DATABASE tenfold", shard=i, dbname="postgres")
        clusters.psql("CREATE TABLE remainders (id bigint PRIMARY KEY, note text)", shard=i, dbname="tenfold")
    clusters.await_replication()
    proxy = harness.Weir([text])
    try:
        harness.weirctl("init", "-c", str(proxy.config))
        proxy.start()
        connection = proxy.connect(dbname="tenfold")
        cursor = connection.cursor()
        keys = [*range(-25, 26), 2**40 + 7, -(2**40) - 7, 2**63 - 1, -(2**63)]
        for k in keys:
            cursor.execute("INSERT INTO remainders VALUES (%s, 'x')", (k,))
            cursor.execute(f"SELECT id FROM remainders WHERE id = {k}")
            assert cursor.fetchall() == [(k,)]
        connection.close()
        for i in range(4):
            found = clusters.psql("SELECT id FROM remainders", shard=i, dbname="tenfold").split()
            assert sorted(map(int, found)) == sorted(k for k in keys if owner[((k % 10) + 10) % 10] == i)
    finally:
        proxy.stop()
