"""Right or refused: what is not provably bound to one shard fails with 0A000 and a HINT, and nothing of it was executed."""
import contextlib
import io

import psycopg
import psycopg2
import pytest

import harness
import sharded


@pytest.fixture(scope="module")
def twin(weir, clusters, keys):
    clusters.psql("CREATE FUNCTION spy(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM orders WHERE user_id = $1'", shard=0)
    clusters.psql("CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'INSERT INTO countries VALUES (''XX'', ''x''); SELECT 1'", shard=0)
    both = sharded.Twin(weir, clusters, sharded.create_reference(clusters))
    both.seed([k for shard in keys for k in shard], orders=3, works=2)
    yield both
    both.close()


@pytest.fixture
def pair(keys):
    """Two keys of different shards."""
    return {"a": keys[0][0], "b": keys[1][0], "c": keys[2][0]}


# facts/wrong-answers.md, line by line; {a} and {b} lie on different shards.
# Over several shards, and answered: the first binding found must not win.
ANSWERED = [
    "SELECT id FROM users WHERE id = {a} UNION SELECT id FROM users WHERE id = {b}",
    "SELECT count(*) FILTER (WHERE user_id = {a}) FROM orders",
    "SELECT * FROM orders WHERE user_id = {a} OR amount > 0",
    "SELECT * FROM users WHERE NOT (id = {a})",
    "SELECT * FROM users WHERE id = {a} OR id = {b}",
    "SELECT * FROM users WHERE id IN ({a}, {b})",
    "SELECT * FROM users WHERE id = ANY (ARRAY[{a}, {b}])",
    "SELECT * FROM users WHERE id IS NULL",
    "SELECT * FROM users WHERE id <> {a}",
    "SELECT * FROM users WHERE id > {a} AND id < {a} + 2",
    "SELECT * FROM users WHERE id BETWEEN {a} AND {a}",
    "SELECT * FROM users WHERE id IN (SELECT user_id FROM orders)",
    "SELECT * FROM users WHERE id = (SELECT max(user_id) FROM orders WHERE user_id = {a})",
    "SELECT * FROM users WHERE id + 0 = {a}",
    "SELECT (SELECT count(*) FROM orders)",
    "SELECT 1 WHERE EXISTS (TABLE users)",
    "SELECT date_trunc('month', created_at) m, count(*) FROM works GROUP BY m",
    "SELECT date_trunc('month', created_at), count(*) FROM works GROUP BY 1",
    "SELECT product FROM orders GROUP BY product",
    "SELECT coalesce(sum(amount), 0) FROM orders",
    "SELECT sum(amount) / count(*) FROM orders",
    "SELECT avg(amount), count(DISTINCT product) FROM orders",
    "SELECT sum(amount) FROM orders WHERE amount < 0",
    "SELECT user_id, sum(amount) FROM orders GROUP BY 1 ORDER BY 2 DESC LIMIT 3",
    "SELECT id FROM users ORDER BY name DESC NULLS LAST",
    "SELECT name FROM users ORDER BY name COLLATE \"C\"",
    "SELECT id FROM users ORDER BY id LIMIT 2 OFFSET 1",
    "SELECT id FROM users LIMIT NULL",
    "SELECT id FROM users LIMIT 1",
    "SELECT id FROM orders ORDER BY id FETCH FIRST 2 ROWS WITH TIES",
    "SELECT DISTINCT product FROM orders",
    "SELECT DISTINCT ON (product) * FROM orders ORDER BY product",
    "SELECT product FROM orders GROUP BY product HAVING count(*) > 1",
    "SELECT id, row_number() OVER (ORDER BY id) FROM users",
    "SELECT product, count(*) FROM orders GROUP BY GROUPING SETS ((product), ())",
    "SELECT * FROM users u JOIN orders o ON o.id = u.id",
    "SELECT * FROM users u JOIN orders o ON o.id = u.id WHERE u.id = {a}",
    "SELECT * FROM users u JOIN orders o ON o.user_id = u.id",
    "SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND u.id = {a}",
    "SELECT * FROM users u LEFT JOIN orders o ON u.id = o.user_id WHERE o.user_id = {a} OR o.user_id IS NULL",
    "SELECT * FROM users u FULL JOIN orders o ON u.id = o.user_id AND o.user_id = {a}",
    "SELECT * FROM users u JOIN countries c ON true",
    "SELECT * FROM users a, users b WHERE a.id = {a}",
    "SELECT * FROM users a, users b WHERE a.id = {a} AND b.id = {b}",
    "SELECT * FROM users u, LATERAL (SELECT * FROM orders WHERE user_id = u.id + 1) l WHERE u.id = {a}",
    "SELECT u.id, (SELECT count(*) FROM orders) FROM users u WHERE u.id = {a}",
    "SELECT u.id, (SELECT count(*) FROM orders o WHERE o.id = u.id) FROM users u WHERE u.id = {a}",
    "WITH o AS (SELECT * FROM orders) SELECT * FROM o WHERE user_id = {a} AND EXISTS (SELECT 1 FROM users)",
    "WITH RECURSIVE r AS (SELECT {a}::bigint AS id UNION SELECT u.id FROM users u, r WHERE u.id = r.id + 1) SELECT * FROM r",
    "/* user_id = {a} */ SELECT count(*) FROM orders -- WHERE user_id = {a}",
    "SELECT * FROM works WHERE created_at >= now() - interval '1 month'",
    "SELECT * FROM works_202401",
    "SELECT * FROM orders WHERE user_id = {a}::float8",
    "SELECT * FROM ONLY works",
]

NOT_ONE_SHARD = [
    "DELETE FROM orders WHERE EXISTS (SELECT 1 FROM users WHERE id = {a})",
    "WITH gone AS (DELETE FROM orders WHERE user_id = {b} RETURNING 1) SELECT * FROM users WHERE id = {a}",
    "INSERT INTO users (id, name) VALUES ({a} + length('x'), 'x'), ({b}, 'y')",
    "INSERT INTO orders (id, user_id, product) SELECT 1, {b}, 'x' FROM users WHERE id = {a}",
    "INSERT INTO orders (id, product) VALUES (1, 'no key')",
    "INSERT INTO orders DEFAULT VALUES",
    "INSERT INTO users (id, name) VALUES (DEFAULT, 'x')",
    "INSERT INTO users (id, name) VALUES (NULL, 'x')",
    "INSERT INTO users (id, name) VALUES ((random() * 10)::int, 'x')",
    "INSERT INTO users (id, name) VALUES ((SELECT 1), 'x')",
    "UPDATE users SET id = {b} WHERE id = {a}",
    "UPDATE orders SET user_id = user_id WHERE user_id = {a}",
    "INSERT INTO users (id, name) VALUES ({a}, 'x') ON CONFLICT (id) DO UPDATE SET id = excluded.id + 1",
    "UPDATE orders o SET product = u.name FROM users u WHERE o.user_id = {a} AND u.name = 'x'",
    "DELETE FROM orders USING users WHERE users.id = {a}",
    "CREATE TABLE copied AS SELECT * FROM orders",
    "SELECT * INTO copied FROM orders WHERE user_id = {a}",
    "EXPLAIN (FORMAT XML) DELETE FROM orders",
    "DECLARE c CURSOR FOR SELECT * FROM orders",
    "PREPARE p AS SELECT * FROM orders",
    "COPY orders FROM '/tmp/rows'",
    "COPY orders TO PROGRAM 'cat'",
    "COPY (SELECT * FROM orders ORDER BY id) TO STDOUT (ENCODING 'LATIN1')",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "CALL spy(1)",
    "SELECT spy({b})",
    "SELECT writes()",
    "SELECT spy(id) FROM users WHERE id = {a}",
    "SELECT query_to_xml('SELECT * FROM orders', true, true, '')",
    "UPDATE users SET name = 'x' WHERE id = {a}; UPDATE users SET name = 'x' WHERE id = {b}; SET TRANSACTION READ ONLY",
    "SELECT * FROM orders WHERE user_id = {a} + random()",
    "SELECT * FROM orders TABLESAMPLE bernoulli (50)",
    "MERGE INTO users u USING (SELECT {a} AS id) s ON u.id = s.id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'x')",
    "MERGE INTO users u USING orders o ON u.name = o.product WHEN MATCHED THEN DELETE",
    "MERGE INTO users u USING orders o ON u.id = o.user_id WHEN NOT MATCHED THEN INSERT (id, name) VALUES (o.id, 'x')",
    "MERGE INTO users u USING countries c ON u.name = c.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES ({a}, c.name)",
    "MERGE INTO countries c USING users u ON u.name = c.name WHEN MATCHED THEN DELETE",
    "SELECT id FROM users LIMIT 1 FOR UPDATE SKIP LOCKED",
    "SELECT * FROM (SELECT id FROM users FOR UPDATE) u",
    "SELECT count(*) FROM orders o, (SELECT id FROM users) u WHERE o.id = u.id FOR UPDATE OF o",
    "SELECT nextval('orders_id_seq'), id FROM users",
    "INSERT INTO settings_unlisted SELECT id, name FROM users WHERE id = {b}",
    "SELECT pg_read_file(name) FROM users",
    "SELECT lo_import('/etc/passwd'), count(*) FROM orders",
    "SELECT u.count FROM users u",   # count(u)
    "SELECT (u).count FROM users u",
    "SELECT (SELECT u.count) FROM users u",
    "SELECT id FROM users ORDER BY name::name COLLATE \"und-x-icu\", id",
    "UPDATE countries SET name = ARRAY (SELECT code FROM countries)::text",   # in each shard's own order
    "UPDATE users SET name = (ARRAY (SELECT code FROM countries))[1]",
    "ALTER TABLE countries ADD COLUMN made timestamptz DEFAULT now()",   # each shard would fill its copy by itself
    "ALTER TABLE countries ADD COLUMN made date DEFAULT current_date, ADD COLUMN n int",
    "ALTER TABLE countries ADD COLUMN made timestamptz DEFAULT 'now'",
    "ALTER TABLE countries ADD COLUMN number int GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE countries ADD COLUMN number bigserial",
    "ALTER TABLE countries ALTER COLUMN name TYPE text USING random()::text",
    "INSERT INTO countries SELECT 'XX', ARRAY (SELECT code FROM countries ORDER BY name)::text",
]


@pytest.mark.parametrize("sql", ANSWERED)
def test_what_looks_bound_to_one_shard_is_answered_by_all(twin, pair, sql):
    ask = sql.format(**pair)
    here, there = twin.ask(twin.weir, ask), twin.ask(twin.plain, ask)
    if " LIMIT 1" in ask and "ORDER BY" not in ask:   # any one row is right
        here, there = len(here[1]), len(there[1])
    elif "ORDER BY" not in ask and isinstance(there, tuple):
        here, there = (here[0], sorted(here[1], key=repr), *here[2:]), (there[0], sorted(there[1], key=repr), *there[2:])
    assert here == there


@pytest.mark.parametrize("sql", NOT_ONE_SHARD)
def test_refused_with_a_hint_and_nothing_was_executed(twin, pair, sql):
    twin.refused(sql.format(**pair))
    twin.same(f"SELECT id FROM users WHERE id = {pair['a']}")   # the session works on


@pytest.mark.parametrize("sql", [s for s in NOT_ONE_SHARD if ";" not in s and "COPY" not in s])
def test_refused_alike_by_the_extended_protocol_in_a_transaction_and_a_savepoint(twin, weir, pair, sql):
    text = sql.format(**pair)
    before = twin.rows_of_all_shards()
    with psycopg.connect(weir.dsn()) as connection:
        with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
            connection.execute(text, (), prepare=True)
        assert refused.value.diag.message_hint
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        connection.execute("SELECT name FROM users WHERE id = %s", (pair["a"],))
        connection.execute("SAVEPOINT s")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute(text, ())
        connection.execute("ROLLBACK TO s")
        assert connection.execute("SELECT id FROM users WHERE id = %s", (pair["a"],)).fetchall() == [(pair["a"],)]
        connection.commit()
    assert twin.rows_of_all_shards() == before


# --- parameters


def test_a_null_key_in_parameters_is_refused(twin, weir, pair):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        for sql, arguments in [("INSERT INTO users (id, name) VALUES (%s, 'a'), (%s, 'b')", [pair["a"], None]),
                               ("INSERT INTO users (id, name) VALUES (%s, 'a')", (None,))]:
            for prepare in (False, True):
                with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
                    connection.execute(sql, arguments, prepare=prepare)
                assert refused.value.diag.message_hint, sql
    twin.check_all_rows()


def test_keys_of_two_shards_in_parameters_are_answered(weir, clusters, twin, pair):
    both = [pair["a"], pair["b"]]
    with psycopg.connect(weir.dsn(), autocommit=True) as here, psycopg.connect(twin.plain.dsn, autocommit=True) as there:
        for sql, arguments in [("SELECT id FROM users WHERE id = ANY (%s)", (both,)), ("SELECT id FROM users WHERE id = ANY (%b)", (both,)),
                               ("SELECT id FROM users WHERE id IN (%s, %s)", both), ("SELECT id FROM users WHERE id = ANY (%s)", ([pair["a"]],)),
                               ("SELECT u.id, o.id FROM users u, orders o WHERE u.id = %s AND o.user_id = %s", both), ("SELECT id FROM users WHERE id = %s", (1.5,))]:
            for prepare in (False, True):
                found = here.execute(sql, arguments, prepare=prepare).fetchall()
                assert sorted(found) == sorted(there.execute(sql, arguments, prepare=prepare).fetchall()), sql


# --- transactions and pipelines


def test_what_cannot_be_over_two_shards_fails_the_transaction_and_undoes_the_first(twin, weir, pair):
    connection = weir.connect(autocommit=False)
    cursor = connection.cursor()
    cursor.execute(f"UPDATE users SET name = 'lost' WHERE id = {pair['a']}")
    cursor.execute(f"UPDATE users SET name = 'lost' WHERE id = {pair['b']}")
    for sql in ("SELECT lastval()", f"SELECT * FROM users WHERE id = {pair['a']}"):
        with pytest.raises(psycopg2.Error) as refused:
            cursor.execute(sql)
        assert refused.value.pgcode == ("0A000" if "lastval" in sql else "25P02")
        assert connection.info.transaction_status == 3
    connection.commit()   # answers ROLLBACK
    assert cursor.statusmessage != "COMMIT"
    assert connection.info.transaction_status == 0
    cursor.execute(f"SELECT name FROM users WHERE id = {pair['b']}")
    connection.close()
    twin.check_all_rows()


def in_the_reference(twin, sql):
    """In the reference alone: what the test did through Weir."""
    return twin.ask(twin.plain, sql)[2]


def test_a_pipeline_of_many_syncs_may_visit_every_shard(twin, weir, keys):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        with connection.pipeline() as pipeline:
            cursors = []
            for shard in keys:
                cursors.append(connection.execute("SELECT id FROM users WHERE id = %s", (shard[0],)))
                pipeline.sync()
            assert [c.fetchone() for c in cursors] == [(shard[0],) for shard in keys]
        with connection.pipeline() as pipeline:
            good = connection.execute("SELECT id FROM users WHERE id = %s", (keys[0][0],))
            pipeline.sync()
            connection.execute("DELETE FROM orders WHERE amount = random()")
            with pytest.raises(psycopg.errors.FeatureNotSupported):
                pipeline.sync()
            after = connection.execute("SELECT id FROM users WHERE id = %s", (keys[3][0],))
            pipeline.sync()
            assert (good.fetchone(), after.fetchone()) == ((keys[0][0],), (keys[3][0],))


# --- COPY


def test_copy_through_the_home_shard_works_for_unlisted_tables(weir, clusters):
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY settings_unlisted FROM STDIN", io.StringIO("copied\tyes\n"))
        out = io.StringIO()
        cursor.copy_expert("COPY settings_unlisted TO STDOUT", out)
        assert "copied\tyes\n" in out.getvalue()
        cursor.execute("DELETE FROM settings_unlisted WHERE name = 'copied'")


# --- text that the parser rejects


@pytest.mark.parametrize("sql", ["SELEC 1", "SELECT FROM WHERE", "DELETE FROM users WHERE", "DELETE FROM users; SELEC 1", "SELECT 'open", "INSERT INTO users VALUES (1, 'x'",
                                 "SELECT $$x", "UPDATE users SET name = 'x' WHERE id = = 1", "\\", "SELECT 1 +"])
def test_text_that_does_not_parse_gives_the_servers_own_error_and_is_not_executed(twin, weir, sql):
    before = twin.rows_of_all_shards()
    answers = []
    for connection in (twin.weir, twin.plain):
        with connection.cursor() as cursor, pytest.raises(psycopg2.Error) as error:
            cursor.execute(sql)
        answers.append((error.value.pgcode, error.value.diag.message_primary, error.value.diag.statement_position))
    assert answers[0] == answers[1]
    with psycopg.connect(weir.dsn()) as connection:
        with pytest.raises(psycopg.errors.SyntaxError):
            connection.execute(sql, ())
        connection.rollback()
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert twin.rows_of_all_shards() == before


# --- views and functions that appear while Weir runs


def test_a_view_over_sharded_tables_is_refused_once_the_catalog_was_refreshed(twin, weir, clusters, pair):
    for i in range(4):
        clusters.psql("CREATE VIEW spying AS SELECT * FROM orders; CREATE VIEW spying_twice AS SELECT count(*) FROM spying", shard=i)
    weir.console("RELOAD")
    harness.wait_for(lambda: code_of(twin, "SELECT * FROM spying") == "0A000", "the view to be known", 40)
    twin.refused("SELECT * FROM spying_twice")
    twin.refused(f"SELECT * FROM spying s JOIN users u ON u.id = {pair['b']}")
    for i in range(4):
        clusters.psql("DROP VIEW spying_twice, spying", shard=i)


def code_of(twin, sql):
    found = twin.ask(twin.weir, sql)
    return found if isinstance(found, str) else None


def test_refusals_are_counted_and_leave_no_server_behind(twin, weir):
    refused = lambda: sum(int(r["statements"]) for r in weir.console("SHOW ROUTES") if r["route"] == "refused")
    before = refused()
    assert before > 0
    assert twin.ask(twin.weir, "UPDATE users SET id = 4242 WHERE id = 4241") == "0A000"
    assert refused() == before + 1
    why = [r for r in weir.console("SHOW REFUSALS") if r["reason"].startswith("UPDATE of the sharding key id")]   # of one worker's first such statement
    assert why and "4242" not in why[0]["example"] and why[0]["hint"] and why[0]["mode"] == "route", why
    harness.wait_for(lambda: {b["active"] for b in weir.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
