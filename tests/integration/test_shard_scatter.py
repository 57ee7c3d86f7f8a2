"""SELECTs over several shards: the same answer as one PostgreSQL that holds all the rows, by every protocol."""
import contextlib
import threading

import psycopg
import psycopg2
import pytest

import harness
import sharded
import wire_client as wire


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=4)


@pytest.fixture(scope="module")
def reference(clusters):
    return sharded.create_reference(clusters)


@pytest.fixture(scope="module")
def twin(weir, clusters, keys, reference):
    both = sharded.Twin(weir, clusters, reference)
    both.seed([k for shard in keys for k in shard], orders=3, works=2)
    yield both
    both.close()


@pytest.fixture
def pair(keys):
    return {"a": keys[0][0], "b": keys[1][0], "c": keys[2][0], "d": keys[3][0]}


# facts/wrong-answers.md, line by line. {a}, {b}, {c}, {d} lie on different shards.
ANY_ORDER = [
    "SELECT * FROM users",
    "SELECT * FROM works",
    "SELECT id, name, email FROM users",
    "SELECT id FROM users WHERE id = {a} OR id = {b}",
    "SELECT id FROM users WHERE id IN ({a}, {c})",
    "SELECT id, name FROM users WHERE NOT (id = {a})",
    "SELECT * FROM orders WHERE user_id = {a} OR amount > 10",
    "SELECT id FROM users WHERE id = ANY (ARRAY[{a}, {b}, {d}])",
    "SELECT id FROM users WHERE id IS NULL",
    "SELECT id FROM users WHERE id <> {a}",
    "SELECT id FROM users WHERE id BETWEEN {a} - 5 AND {a} + 5",
    "SELECT id + 0 FROM users WHERE id + 0 = {a}",
    "SELECT u.id, o.id, o.product FROM users u JOIN orders o ON o.user_id = u.id",
    "SELECT u.id, o.id FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.amount > 12",
    "SELECT u.id, c.name FROM users u JOIN countries c ON c.code = 'DE'",
    "SELECT user_id, count(*), sum(amount) FROM orders GROUP BY user_id",
    "SELECT DISTINCT user_id FROM orders",
    "SELECT id FROM users UNION ALL SELECT user_id FROM works",
    "SELECT user_id, id, created_at, title FROM works WHERE created_at >= '2024-01-15+00' AND created_at < '2024-03-01+00'",
    "SELECT u.id, (SELECT count(o.amount) FROM orders o WHERE o.user_id = u.id) FROM users u",
    "SELECT u.id, o.count FROM users u, LATERAL (SELECT count(*) FROM orders o WHERE o.user_id = u.id) o",
    "SELECT user_id, (SELECT max(amount)) FROM orders GROUP BY user_id",
]
IN_ORDER = [
    "SELECT id FROM users ORDER BY id",
    "SELECT id, name FROM users ORDER BY name, id",
    "SELECT name FROM users ORDER BY id DESC",
    "SELECT id, email FROM users ORDER BY email NULLS FIRST, id DESC",
    "SELECT id, email FROM users ORDER BY email DESC NULLS LAST, id",
    "SELECT id, email FROM users ORDER BY email DESC, id",
    "SELECT id, product FROM orders ORDER BY product COLLATE \"C\", user_id, id",
    "SELECT product, user_id FROM orders ORDER BY product, user_id, id",
    "SELECT amount, user_id, id FROM orders ORDER BY amount DESC, 2, 3",
    "SELECT user_id, id, -amount AS less FROM orders ORDER BY less, user_id, id",
    "SELECT user_id, id FROM orders ORDER BY created_at, user_id DESC, id",
    "SELECT id FROM users ORDER BY id LIMIT 3",
    "SELECT id FROM users ORDER BY id LIMIT 3 OFFSET 2",
    "SELECT id FROM users ORDER BY id OFFSET 5",
    "SELECT id FROM users ORDER BY id LIMIT 9223372036854775807 OFFSET 2",
    "SELECT id FROM users ORDER BY id LIMIT 9223372036854775807 OFFSET 9223372036854775807",
    "SELECT id FROM users ORDER BY id LIMIT NULL",
    "SELECT id FROM users ORDER BY id LIMIT 0",
    "SELECT id FROM users ORDER BY id OFFSET 1000",
    "SELECT id FROM users ORDER BY id FETCH FIRST 4 ROWS ONLY",
    "SELECT user_id, sum(amount) FROM orders GROUP BY user_id ORDER BY sum(amount) DESC, user_id LIMIT 3",
    "SELECT DISTINCT user_id FROM orders ORDER BY user_id DESC",
    "SELECT id FROM users WHERE id IN ({a}, {b}) ORDER BY id",
    "SELECT u.id, o.product FROM users u JOIN orders o ON o.user_id = u.id ORDER BY o.product, u.id, o.id LIMIT 7",
]
FINISHED = [
    "SELECT count(*) FROM orders",
    "SELECT count(*), min(id), max(name) FROM users",
    "SELECT coalesce(sum(amount), 0) FROM orders",
    "SELECT sum(amount) FROM orders WHERE amount < 0",
    "SELECT avg(amount), count(DISTINCT product) FROM orders",
    "SELECT sum(amount) / count(*) FROM orders",
    "SELECT product, count(*), sum(amount) FROM orders GROUP BY product ORDER BY product",
    "SELECT product FROM orders GROUP BY product HAVING count(*) > 1 ORDER BY 1",
    "SELECT DISTINCT product FROM orders ORDER BY product",
    "SELECT date_trunc('month', created_at) AS m, count(*) FROM works GROUP BY m ORDER BY m",
    "SELECT date_trunc('month', created_at), count(*) FROM works GROUP BY 1 ORDER BY 1",
    "SELECT product, sum(amount) FROM orders GROUP BY product ORDER BY sum(amount) DESC, 1 LIMIT 2",
    "SELECT count(*) FILTER (WHERE user_id = {a}) FROM orders",
    "SELECT id FROM users WHERE id = {a} UNION SELECT id FROM users WHERE id = {b} ORDER BY id",
    # Aggregates and windows where they are easily overlooked: all of these make one row of many.
    "SELECT (SELECT count(u.id)) FROM users u",
    "SELECT (SELECT count(u.id) FILTER (WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.id = 1))) FROM users u",
    "SELECT (SELECT max(u.name) FROM countries c LIMIT 1) FROM users u",
    "SELECT ARRAY (SELECT count(u.id)) FROM users u",
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM countries HAVING count(u.id) > 3) THEN 1 END AS many FROM users u",
    "SELECT 1 AS one FROM users u ORDER BY (SELECT count(u.id))",
    "SELECT DISTINCT (SELECT max(u.name)) FROM users u",
    "SELECT DISTINCT ON (count(*)) 1 AS one FROM users",
    "SELECT 1 AS one FROM users WINDOW w AS (ORDER BY count(*))",
    "SELECT count(u.id) IN (SELECT 16) FROM users u",
    "SELECT count(*) IN (SELECT 16) FROM users u",
    "SELECT id, row_number() OVER (ORDER BY id) IN (SELECT 3) FROM users ORDER BY id",
    "SELECT o.count FROM users u JOIN (SELECT 1 AS x) o ON true",
    "SELECT j.count FROM (users u JOIN orders o ON o.user_id = u.id) AS j",
]


def rows_of(cursor):
    return cursor.fetchall() if cursor.description else None


def shape_of(cursor):
    return [(c.name, c.type_code) for c in cursor.description], cursor.rowcount, cursor.statusmessage


def ask(connection, sql, parameters=(), **how):
    cursor = connection.cursor(binary=how.pop("binary", False))
    cursor.execute(sql, parameters, **how)
    rows = rows_of(cursor)
    return rows, shape_of(cursor)


def agree(weir, reference, sql, parameters=(), ordered=True):
    """By the simple protocol, the extended one in text and binary, and a prepared statement used twice."""
    def sorted_if_free(rows):
        return rows if ordered else sorted(rows, key=repr)

    with psycopg.connect(weir.dsn(), autocommit=True) as here, psycopg.connect(reference, autocommit=True) as there:
        for how in ({}, {"binary": True}, {"prepare": True}, {"prepare": True}, {"prepare": True, "binary": True}):
            (found, shape), (wanted, wanted_shape) = ask(here, sql, parameters, **how), ask(there, sql, parameters, **how)
            assert shape == wanted_shape, (sql, how)
            assert sorted_if_free(found) == sorted_if_free(wanted), (sql, how)
    if parameters:
        return
    with contextlib.closing(weir.connect()) as here, contextlib.closing(psycopg2.connect(reference)) as there:
        with here.cursor() as mine, there.cursor() as its:
            mine.execute(sql)
            its.execute(sql)
            assert shape_of(mine) == shape_of(its), sql
            assert sorted_if_free(rows_of(mine)) == sorted_if_free(rows_of(its)), sql


@pytest.mark.parametrize("sql", ANY_ORDER)
def test_rows_of_all_shards_are_those_of_one_database(twin, weir, reference, pair, sql):
    agree(weir, reference, sql.format(**pair), ordered=False)


@pytest.mark.parametrize("sql", IN_ORDER)
def test_sorted_rows_come_in_the_order_of_one_database(twin, weir, reference, pair, sql):
    agree(weir, reference, sql.format(**pair))


@pytest.mark.parametrize("sql", FINISHED)
def test_what_needs_all_rows_is_finished_as_one_database_would(twin, weir, reference, pair, sql):
    agree(weir, reference, sql.format(**pair))


def test_parameters_reach_every_shard(twin, weir, reference, pair):
    agree(weir, reference, "SELECT id, name FROM users WHERE id > %s ORDER BY id", (pair["a"],))
    agree(weir, reference, "SELECT id FROM users WHERE id = ANY (%s) ORDER BY id", ([pair["a"], pair["b"], pair["c"]],))
    agree(weir, reference, "SELECT id FROM users WHERE name LIKE %s ORDER BY id LIMIT %s OFFSET %s", ("n%", 4, 1))
    agree(weir, reference, "SELECT id FROM users ORDER BY id LIMIT %s", (None,))
    agree(weir, reference, "SELECT id, %s::text AS given FROM users ORDER BY 1", ("x",))
    agree(weir, reference, "SELECT count(*) FROM orders WHERE amount > %s", (11,))


def test_settings_of_the_session_reach_every_shard(twin, weir, reference):
    with contextlib.closing(weir.connect()) as here, contextlib.closing(psycopg2.connect(reference)) as there:
        there.autocommit = True
        for setting in ("SET timezone = 'Asia/Tokyo'", "SET datestyle = 'German'", "SET extra_float_digits = 0", "SET bytea_output = 'escape'"):
            for connection in (here, there):
                connection.cursor().execute(setting)
        for sql in ("SELECT created_at::text, id FROM works ORDER BY user_id, id", "SELECT (amount / 3)::float8::text FROM orders ORDER BY user_id, id"):
            assert twin.ask(here, sql) == twin.ask(there, sql), sql


# --- errors


@pytest.mark.parametrize("sql", ["SELECT nothing FROM users", "SELECT id FROM users ORDER BY nothing", "SELECT count(*), id FROM users", "SELECT id FROM users WHERE id = 'x'",
                                 "SELECT 1 / (id - id) FROM users", "SELECT id FROM users LIMIT -1", "SELECT nofunction(id) FROM users"])
def test_an_error_is_that_of_one_database(twin, weir, reference, sql):
    def error(connect, ask_it):
        with connect() as connection:
            with pytest.raises((psycopg.Error, psycopg2.Error)) as raised:
                ask_it(connection)
            diag = raised.value.diag
            return diag.sqlstate, diag.message_primary, diag.message_hint, diag.statement_position, diag.severity

    simple = [error(lambda d=d: contextlib.closing(psycopg2.connect(d)), lambda c: c.cursor().execute(sql)) for d in (weir.dsn(), reference)]
    extended = [error(lambda d=d: psycopg.connect(d, autocommit=True), lambda c: c.execute(sql, ())) for d in (weir.dsn(), reference)]
    if "/" in sql:   # found while it runs: there is no place in the text
        assert simple[0] == simple[1]
    else:
        assert simple[0] == simple[1] or simple[0][0] == "0A000", simple
    assert extended[0] == extended[1] or extended[0][0] == "0A000", extended


def test_an_error_of_one_shard_is_the_answer_and_the_session_works_on(twin, weir, keys):
    one = keys[2][0]
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        for _ in range(3):
            with pytest.raises(psycopg.errors.DivisionByZero):
                connection.execute(f"SELECT id, 1 / (id - {one}) FROM users ORDER BY id", ())
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert connection.execute("SELECT count(*) FROM (SELECT id FROM users WHERE id = %s) u", (one,)).fetchone() == (1,)
    with contextlib.closing(weir.connect()) as connection:
        with pytest.raises(psycopg2.errors.DivisionByZero):
            connection.cursor().execute(f"SELECT id, 1 / (id - {one}) FROM users")
        assert twin.ask(connection, "SELECT 1")[1] == [(1,)]


def test_a_transaction_that_has_only_begun_may_run_it(twin, weir, reference, pair):
    """As drivers do that say BEGIN before anything: nothing was written that it would have to see."""
    with psycopg.connect(weir.dsn()) as here, psycopg.connect(reference) as there:
        for sql in ("SELECT id FROM users ORDER BY id", "SELECT count(*) FROM orders", "SELECT id FROM users ORDER BY id LIMIT 2"):
            assert ask(here, sql) == ask(there, sql)
            assert here.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        here.execute("UPDATE users SET email = email WHERE id = %s", (pair["a"],))
        here.commit()
        with pytest.raises(psycopg.errors.UndefinedColumn):
            here.execute("SELECT nothing FROM users ORDER BY id")
        assert here.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        here.rollback()


def test_a_transaction_with_a_snapshot_of_its_own_is_refused(twin, weir, pair):
    with psycopg.connect(weir.dsn()) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
            connection.execute("SELECT id FROM users ORDER BY id")
        assert refused.value.diag.message_hint
        connection.rollback()
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("SELECT id FROM users ORDER BY id")
        connection.rollback()
    with psycopg.connect(weir.dsn(options="-c default_transaction_isolation=serializable")) as connection:
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute("SELECT id FROM users ORDER BY id")


# --- the protocol


@pytest.fixture
def client(twin, weir):
    with wire.WireClient(weir.port) as found:
        yield found


def test_a_portal_is_fetched_in_pieces(client, twin):
    total = len(twin.ask(twin.plain, "SELECT id FROM users")[1])
    got = client.ask(wire.parse("SELECT id FROM users ORDER BY id") + wire.bind() + wire.describe() + wire.execute(rows=2) + wire.execute(rows=3)
                     + wire.execute() + wire.execute() + wire.sync())
    assert got.kinds == "12T" + "DDs" + "DDDs" + "D" * (total - 5) + "C" + "C" + "Z"
    assert got.tags == [f"SELECT {total - 5}", "SELECT 0"]
    assert [row[0] for row in got.rows] == [str(row[0]) for row in twin.ask(twin.plain, "SELECT id FROM users ORDER BY id")[1]]


def test_a_portal_left_unfinished_ends_at_the_sync(client):
    for _ in range(3):
        got = client.ask(wire.parse("SELECT id FROM users ORDER BY id") + wire.bind() + wire.execute(rows=1) + wire.sync())
        assert (got.kinds, got.status) == ("12DsZ", "I")


def test_describing_a_statement_tells_what_one_database_tells(client):
    sql = "SELECT id, name, $1::int + 1 AS n FROM users WHERE id > $2 ORDER BY name LIMIT $3"
    described = client.ask(wire.parse(sql, name="s") + wire.describe("S", "s") + wire.sync())
    assert described.kinds == "1tTZ"
    answered = client.ask(wire.bind("1", "-1000000", "2", name="s") + wire.describe() + wire.execute() + wire.sync())
    assert answered.kinds == "2TDDCZ"
    assert answered[1].body == described[2].body


def test_several_executes_in_a_pipeline_answer_in_their_order(client, keys):
    one = f"SELECT id FROM users WHERE id = {keys[1][0]}"
    got = client.ask(wire.run("SELECT id FROM users ORDER BY id LIMIT 2") + wire.run(one) + wire.run("SELECT count(*) FROM orders") + wire.run("") + wire.sync())
    assert got.kinds == "12DDC12DC12DC12IZ"
    assert got.rows[2] == [str(keys[1][0])]


def test_an_error_in_a_pipeline_skips_what_follows_it(client):
    got = client.ask(wire.run("SELECT id FROM users ORDER BY id LIMIT 1") + wire.run("SELECT nothing FROM users") + wire.run("SELECT id FROM users") + wire.sync())
    assert (got.kinds, got.errors) == ("12DCEZ", ["42703"])
    got = client.ask(wire.parse("SELECT id FROM users", name="mine") + wire.bind("too many", name="mine") + wire.execute() + wire.sync())
    assert (got.kinds, got.errors) == ("1EZ", ["08P01"])
    got = client.ask(wire.bind(name="mine") + wire.execute() + wire.close("S", "mine") + wire.sync())
    assert got.kinds.replace("D", "") == "2C3Z"


def test_a_prepared_name_of_a_failed_parse_is_free_again(client):
    got = client.ask(wire.parse("SELECT nothing FROM users ORDER BY id", name="again") + wire.bind(name="again") + wire.execute() + wire.sync())
    assert got.kinds == "EZ"
    got = client.ask(wire.parse("SELECT id FROM users ORDER BY id LIMIT 1", name="again") + wire.bind(name="again") + wire.execute() + wire.sync())
    assert got.kinds == "12DCZ"


def test_parse_and_describe_may_end_in_a_flush(client):
    """As asyncpg does it: what the Flush left open on the home shard has read nothing."""
    client.send(wire.parse("SELECT id FROM users ORDER BY id LIMIT 3", name="f") + wire.describe("S", "f") + wire.flush())
    assert client.read_until("T").kinds == "1tT"
    assert client.ask(wire.bind(name="f") + wire.execute() + wire.sync()).kinds == "2DDDCZ"


def test_writes_beside_it_in_one_pipeline_are_its_transaction(client, twin, pair):
    write, read = wire.run(f"UPDATE users SET name = 'lost' WHERE id = {pair['a']}"), wire.run("SELECT id FROM users WHERE name = 'lost'")
    for pipeline, rows in ((write + read, [[str(pair["a"])]]), (read + write, [])):
        got = client.ask(pipeline + wire.run("SELECT 1/0") + wire.sync())
        assert (got.rows, got.errors, got.status) == (rows, ["22012"], "I")
    twin.check_all_rows()


SLOW = "SELECT u.id, (SELECT count(*) FROM generate_series(1, 10007) a, generate_series(1, 10007) b, generate_series(1, 10007) c) FROM users u"
SLOW_NOW = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series%10007%' AND pid <> pg_backend_pid()"


@pytest.fixture
def primaries(twin, clusters, start_weir):
    """A proxy that knows of no replicas, so that it is certain where a SELECT runs."""
    return start_weir([harness.database_toml(clusters, replicas=False)])


def test_a_cancel_reaches_every_shard(primaries, clusters):
    with wire.WireClient(primaries.port) as client:
        client.send(wire.query(SLOW))
        harness.wait_for(lambda: clusters.everywhere(SLOW_NOW) == ["1"] * 4, "every shard to work")
        client.cancel()
        assert client.read_to_ready().errors == ["57014"]
        harness.wait_for(lambda: clusters.everywhere(SLOW_NOW) == ["0"] * 4, "every shard to rest")
        assert client.value("SELECT 1") == "1"


def test_a_client_that_goes_cancels_every_shard(primaries, clusters):
    with wire.WireClient(primaries.port) as client:
        client.send(wire.query(SLOW))
        harness.wait_for(lambda: clusters.everywhere(SLOW_NOW) == ["1"] * 4, "every shard to work")
    harness.wait_for(lambda: clusters.everywhere(SLOW_NOW) == ["0"] * 4, "every shard to be cancelled")


# --- the servers


def test_two_clients_with_pools_of_one_do_not_wait_for_each_other(twin, clusters, start_weir):
    proxy = start_weir([harness.database_toml(clusters)], pool={"size": 1})
    problems = []

    def work():
        try:
            with contextlib.closing(proxy.connect()) as connection, connection.cursor() as cursor:
                for _ in range(30):
                    cursor.execute("SELECT id FROM users ORDER BY id")
                    cursor.fetchall()
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not problems and not any(t.is_alive() for t in threads)


def test_no_server_is_left_behind(twin, weir):
    harness.wait_for(lambda: {b["active"] for b in weir.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
