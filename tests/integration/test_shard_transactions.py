"""Transactions over several shards: they commit or roll back as a whole, and look to the client like those of one PostgreSQL.

Table `users` has one row of each key; its `name` holds a number that transactions move from one user to another, so that the sum over all
shards must stay what it was.
"""
import contextlib
import threading

import psycopg
import psycopg2
import psycopg2.errors
import pytest

import harness
import sharded
import wire_client as wire
from relay import Relay

AMOUNT = 100


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=2)


@pytest.fixture(scope="module")
def pair(keys):
    return {"a": keys[0][0], "b": keys[1][0], "c": keys[2][0], "d": keys[3][0], "a2": keys[0][1], "b2": keys[1][1]}


@pytest.fixture
def proxy(clusters, start_weir):
    return start_weir([harness.database_toml(clusters, replicas=False)], pool={"size": 4})


@pytest.fixture(autouse=True)
def accounts(clusters, keys):
    """One row a key with the same amount, before; nothing prepared and nothing idle in a transaction, after."""
    for shard, of in enumerate(keys):
        clusters.psql("DELETE FROM users; INSERT INTO users (id, name) VALUES " + ", ".join(f"({k}, '{AMOUNT}')" for k in of), shard=shard)
    yield
    harness.wait_for(lambda: set(clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts")) == {"0"}, "no prepared transaction to be left")
    harness.wait_for(lambda: set(clusters.everywhere(
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'")) == {"0"}, "nobody to be idle in a transaction")


def amounts(clusters, keys):
    found = {}
    for shard in range(len(keys)):
        for line in clusters.psql("SELECT id, name FROM users", shard=shard).splitlines():
            key, name = line.split("|")
            found[int(key)] = int(name)
    return found


def add(key, amount):
    return f"UPDATE users SET name = (name::int + {amount})::text WHERE id = {key}"


def moved(clusters, keys, **by):
    """Asserts that nothing but these amounts (by key) differs from the beginning."""
    wanted = {k: AMOUNT for shard in keys for k in shard}
    for key, amount in by.get("by", {}).items():
        wanted[key] += amount
    assert amounts(clusters, keys) == wanted


@contextlib.contextmanager
def connected(proxy, **how):
    connection = proxy.connect(**how)
    try:
        yield connection, connection.cursor()
    finally:
        connection.close()


# --- a transfer, by every way to say it


def test_a_transfer_commits_on_both_shards(proxy, clusters, keys, pair):
    with connected(proxy, autocommit=False) as (connection, cursor):
        cursor.execute(add(pair["a"], -10))
        cursor.execute(add(pair["b"], 10))
        assert cursor.statusmessage == "UPDATE 1"
        connection.commit()
    moved(clusters, keys, by={pair["a"]: -10, pair["b"]: 10})


def test_a_transfer_is_rolled_back_on_both_shards(proxy, clusters, keys, pair):
    with connected(proxy, autocommit=False) as (connection, cursor):
        cursor.execute(add(pair["a"], -10))
        cursor.execute(add(pair["b"], 10))
        connection.rollback()
        cursor.execute(add(pair["b"], 3))
        cursor.execute(add(pair["a"], -3))
        connection.commit()
    moved(clusters, keys, by={pair["a"]: -3, pair["b"]: 3})


@pytest.mark.parametrize("prepare", (False, True))
def test_a_transfer_by_the_extended_protocol(proxy, clusters, keys, pair, prepare):
    with psycopg.connect(proxy.dsn()) as connection:
        for key, amount in ((pair["c"], -7), (pair["d"], 4), (pair["a"], 3)):
            found = connection.execute("UPDATE users SET name = (name::int + %s)::text WHERE id = %s RETURNING name", (amount, key), prepare=prepare)
            assert found.fetchall() == [(str(AMOUNT + amount),)]
        connection.commit()
    moved(clusters, keys, by={pair["c"]: -7, pair["d"]: 4, pair["a"]: 3})


def test_a_transfer_in_a_pipeline_with_its_begin_and_commit(proxy, clusters, keys, pair):
    with wire.WireClient(proxy.port) as client:
        got = client.ask(wire.run("BEGIN") + wire.run(add(pair["a"], -10)) + wire.run(add(pair["b"], 10)) + wire.run("COMMIT") + wire.sync())
        assert (got.tags, got.errors, got.status) == (["BEGIN", "UPDATE 1", "UPDATE 1", "COMMIT"], [], "I")
        moved(clusters, keys, by={pair["a"]: -10, pair["b"]: 10})
        got = client.ask(wire.run("BEGIN") + wire.run(add(pair["a"], -10)) + wire.run(add(pair["b"], 10)) + wire.sync())
        assert (got.tags, got.errors, got.status) == (["BEGIN", "UPDATE 1", "UPDATE 1"], [], "T")
        got = client.ask(wire.run("ROLLBACK") + wire.sync())
        assert (got.tags, got.status) == (["ROLLBACK"], "I")
    moved(clusters, keys, by={pair["a"]: -10, pair["b"]: 10})


def test_a_pipeline_outside_of_a_block_is_one_transaction(proxy, clusters, keys, pair):
    with psycopg.connect(proxy.dsn(), autocommit=True) as connection:
        with connection.pipeline():
            connection.execute("UPDATE users SET name = '90' WHERE id = %s", (pair["a"],))
            connection.execute("UPDATE users SET name = '110' WHERE id = %s", (pair["b"],))
    moved(clusters, keys, by={pair["a"]: -10, pair["b"]: 10})
    with wire.WireClient(proxy.port) as client:
        for bad in ("SELECT 1/0", f"UPDATE users SET id = 1/0 WHERE id = {pair['b']}"):
            got = client.ask(wire.run(add(pair["c"], 1)) + wire.run(add(pair["d"], -1)) + wire.run(bad) + wire.run(add(pair["c"], 1)) + wire.sync())
            assert (got.tags, len(got.errors), got.status) == (["UPDATE 1", "UPDATE 1"], 1, "I"), bad
        got = client.ask(wire.run(add(pair["c"], 1)) + wire.run(add(pair["d"], -1)) + wire.sync())
        assert (got.tags, got.status) == (["UPDATE 1", "UPDATE 1"], "I")
    moved(clusters, keys, by={pair["a"]: -10, pair["b"]: 10, pair["c"]: 1, pair["d"]: -1})


def test_a_second_transaction_behind_commit_in_one_pipeline(proxy, clusters, keys, pair):
    def block(*statements, end):
        return wire.run("BEGIN") + b"".join(wire.run(s) for s in statements) + wire.run(end)

    with wire.WireClient(proxy.port) as client:
        got = client.ask(block(add(pair["a"], -1), add(pair["b"], 1), end="COMMIT") + block(add(pair["c"], -1), add(pair["a"], 1), end="ROLLBACK") +
                         block(add(pair["d"], 5), end="COMMIT") + block(add(pair["a"], 1), add(pair["c"], 1), end="COMMIT") + wire.sync())
        assert (got.errors, got.status) == ([], "I")
        assert got.tags == ["BEGIN", "UPDATE 1", "UPDATE 1", "COMMIT", "BEGIN", "UPDATE 1", "UPDATE 1", "ROLLBACK",
                            "BEGIN", "UPDATE 1", "COMMIT", "BEGIN", "UPDATE 1", "UPDATE 1", "COMMIT"]
    moved(clusters, keys, by={pair["b"]: 1, pair["d"]: 5, pair["c"]: 1})


def test_its_own_writes_are_seen_by_selects_over_all_shards(proxy, clusters, keys, pair):
    with connected(proxy, autocommit=False) as (connection, cursor), connected(proxy) as (_, other):
        cursor.execute(add(pair["a"], 1))
        cursor.execute("SELECT count(*), sum(name::int) FROM users")
        assert cursor.fetchone() == (8, 8 * AMOUNT + 1)
        cursor.execute(f"INSERT INTO users (id, name) VALUES ({2 ** 40 + 1}, '5')")
        cursor.execute("SELECT id FROM users ORDER BY id DESC LIMIT 1")
        assert cursor.fetchone() == (2 ** 40 + 1,)
        other.execute("SELECT sum(name::int) FROM users")
        assert other.fetchone() == (8 * AMOUNT,)
        connection.rollback()
    moved(clusters, keys)


def test_now_is_the_same_in_all_statements_over_the_shards(proxy, pair):
    with connected(proxy, autocommit=False) as (_, cursor):
        cursor.execute(f"SELECT now() FROM users WHERE id = {pair['a']}")
        began = cursor.fetchone()[0]
        for _ in range(2):
            cursor.execute("SELECT DISTINCT now() FROM users")
            assert cursor.fetchall() == [(began,)]


# --- errors


@pytest.mark.parametrize("bad, code", [("UPDATE users SET name = (1/0)::text WHERE id = {b}", "22012"), ("UPDATE users SET nothing = 1 WHERE id = {b}", "42703"),
                                       ("INSERT INTO users (id, name) VALUES ({b}, 'x')", "23505"), ("SELECT lastval()", "0A000"),
                                       ("SELECT set_config('app.x', '1', false)", "0A000"), ("CREATE TEMP TABLE t (i int)", "0A000"),
                                       ("SELECT 1/0 FROM users", "22012")])
def test_an_error_fails_the_whole_transaction(proxy, clusters, keys, pair, bad, code):
    with connected(proxy) as (connection, cursor):
        cursor.execute("BEGIN")
        cursor.execute(add(pair["a"], 1))
        cursor.execute(add(pair["b"], 1))
        with pytest.raises(psycopg2.Error) as error:
            cursor.execute(bad.format(**pair))
        assert error.value.pgcode == code
        for refused in (f"SELECT 1 FROM users WHERE id = {pair['a']}", "SELECT count(*) FROM users", "SELECT 1", "SAVEPOINT s", "SET work_mem = '1MB'"):
            with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
                cursor.execute(refused)
            assert connection.info.transaction_status == 3
        cursor.execute("COMMIT")
        assert (cursor.statusmessage, connection.info.transaction_status) == ("ROLLBACK", 0)
    moved(clusters, keys)


def test_a_deferred_constraint_at_commit_undoes_all(proxy, clusters, keys, pair):
    clusters.psql("ALTER TABLE users ADD CONSTRAINT later UNIQUE (email) DEFERRABLE INITIALLY DEFERRED", shard=1)
    try:
        with connected(proxy, autocommit=False) as (connection, cursor):
            cursor.execute(add(pair["a"], 1))
            for key in (pair["b"], pair["b2"]):
                cursor.execute(f"UPDATE users SET email = 'same' WHERE id = {key}")
            with pytest.raises(psycopg2.errors.UniqueViolation) as error:
                connection.commit()
            assert error.value.diag.constraint_name == "later"
            assert connection.info.transaction_status == 0
    finally:
        clusters.psql("ALTER TABLE users DROP CONSTRAINT later", shard=1)
    moved(clusters, keys)


def test_what_was_written_before_a_savepoint_stays_part_of_the_commit(proxy, clusters, keys, pair):
    """ROLLBACK TO a savepoint of before the second shard: the first shard has written all the same."""
    clusters.psql("ALTER TABLE users ADD CONSTRAINT later UNIQUE (email) DEFERRABLE INITIALLY DEFERRED", shard=0)
    try:
        with connected(proxy) as (_, cursor):
            cursor.execute("BEGIN")
            for key in (pair["a"], pair["a2"]):
                cursor.execute(f"UPDATE users SET email = 'same' WHERE id = {key}")
            cursor.execute("SAVEPOINT s")
            cursor.execute(add(pair["b"], 1))
            cursor.execute("ROLLBACK TO s")
            cursor.execute(add(pair["b"], 1))
            with pytest.raises(psycopg2.errors.UniqueViolation):
                cursor.execute("COMMIT")
    finally:
        clusters.psql("ALTER TABLE users DROP CONSTRAINT later", shard=0)
    moved(clusters, keys)


@pytest.fixture
def of_users(clusters):
    """A deferrable foreign key on every shard, and one that the home shard alone has."""
    for i in range(4):
        clusters.psql("TRUNCATE orders; ALTER TABLE orders ADD CONSTRAINT of_users FOREIGN KEY (user_id) REFERENCES users DEFERRABLE", shard=i)
    clusters.psql("CREATE TABLE only_here (code text CONSTRAINT of_countries REFERENCES countries DEFERRABLE)")
    yield
    for i in range(4):
        clusters.psql("ALTER TABLE orders DROP CONSTRAINT of_users; TRUNCATE orders", shard=i)
    clusters.psql("DROP TABLE only_here")


@pytest.mark.parametrize("names", ("ALL", "of_users", "public.of_users"))
def test_set_constraints_is_every_shards(of_users, proxy, clusters, keys, names):
    """Of the servers that the transaction has, and of those that it comes to."""
    key = 990000
    missing = [k for k in range(key, key + 300)]
    owners = sharded.shards_of(clusters, missing)
    a, b, c = (next(k for k in missing if owners[k] == shard) for shard in (1, 2, 3))
    order = "INSERT INTO orders (user_id, id, product, amount) VALUES ({}, 1, 'x', 1)"
    user = "INSERT INTO users (id, name) VALUES ({}, '1')"
    with connected(proxy) as (_, cursor):
        def deferred(*before):
            for sql in ("BEGIN", *before, order.format(a), "SAVEPOINT s", order.format(b), order.format(c)):
                cursor.execute(sql)

        for before in ([f"SET CONSTRAINTS {names} DEFERRED"], [order.format(keys[0][0]), f"SET CONSTRAINTS {names} DEFERRED"],
                       [order.format(keys[0][0]), order.format(keys[1][0]), f"SET CONSTRAINTS {names} DEFERRED"]):
            deferred(*before)
            cursor.execute("SAVEPOINT t")
            with pytest.raises(psycopg2.errors.ForeignKeyViolation):
                cursor.execute(f"SET CONSTRAINTS {names} IMMEDIATE")
            cursor.execute("ROLLBACK TO t")
            for k in (a, b, c):
                cursor.execute(user.format(k))
            cursor.execute(f"SET CONSTRAINTS {names} IMMEDIATE")
            assert cursor.statusmessage == "SET CONSTRAINTS"
            with pytest.raises(psycopg2.errors.ForeignKeyViolation):
                cursor.execute(order.format(a + 5000))
            cursor.execute("ROLLBACK")
        deferred(f"SET CONSTRAINTS {names} DEFERRED")
        with pytest.raises(psycopg2.errors.ForeignKeyViolation):
            cursor.execute("COMMIT")
        cursor.execute("BEGIN")
        cursor.execute(order.format(keys[0][0]) + f"; SET CONSTRAINTS {names} DEFERRED; " + order.format(b))   # in a string of several
        cursor.execute(order.format(c))
        cursor.execute("ROLLBACK")
    assert set(clusters.everywhere("SELECT count(*) FROM orders")) == {"0"}


def test_set_constraints_of_the_home_shard_alone(of_users, proxy, keys):
    with connected(proxy) as (_, cursor):
        cursor.execute("BEGIN")
        cursor.execute(f"INSERT INTO orders (user_id, id, product, amount) VALUES ({keys[1][0]}, 1, 'x', 1)")
        cursor.execute("SET CONSTRAINTS of_countries DEFERRED")
        cursor.execute("INSERT INTO only_here VALUES ('??')")
        cursor.execute(f"INSERT INTO orders (user_id, id, product, amount) VALUES ({keys[2][0]}, 1, 'x', 1)")
        with pytest.raises(psycopg2.errors.ForeignKeyViolation, match="of_countries"):
            cursor.execute("COMMIT")
        for sql, error in (("SET CONSTRAINTS of_countries, of_users DEFERRED", psycopg2.errors.FeatureNotSupported),
                           ("SET CONSTRAINTS nowhere DEFERRED", psycopg2.errors.UndefinedObject)):
            cursor.execute("BEGIN")
            cursor.execute("SELECT count(*) FROM users")
            with pytest.raises(error):
                cursor.execute(sql)
                cursor.execute("SELECT count(*) FROM users")
            cursor.execute("ROLLBACK")


@pytest.mark.parametrize("notify", ("NOTIFY news, 'both'", "SELECT pg_notify('news', 'both')"))
@pytest.mark.parametrize("at", range(3))
def test_notify_in_a_transaction_over_shards(proxy, clusters, keys, pair, notify, at):
    """It is heard once, and only if all commit: the shard that has notified decides."""
    def heard(connection):
        connection.poll()
        return [found.payload for found in connection.notifies]

    with connected(proxy) as (listener, asks), contextlib.closing(psycopg2.connect(clusters.conninfo())) as direct:
        direct.autocommit = True
        asks.execute("LISTEN news")
        direct.cursor().execute("LISTEN news")
        with connected(proxy) as (_, cursor):
            for end, marker in (("ROLLBACK", -1), ("COMMIT", 1)):
                statements = [add(pair["a"], marker), add(pair["b"], -marker)]
                statements.insert(at, notify)
                for sql in ("BEGIN", *statements, "SAVEPOINT s", add(pair["c"], 1), "ROLLBACK TO s", end):
                    cursor.execute(sql)
                assert cursor.statusmessage == end
            cursor.execute("NOTIFY news, 'last'")
        for connection in (direct, listener):
            harness.wait_for(lambda: "last" in heard(connection), "the last notification")
            assert heard(connection) == ["both", "last"]
    moved(clusters, keys, by={pair["a"]: 1, pair["b"]: -1})


def test_notify_on_two_shards_of_one_transaction_is_refused(proxy, clusters, keys, pair):
    notify = "SELECT pg_notify('news', name) FROM users WHERE id = {}"
    with connected(proxy) as (_, cursor):
        for sql in ("BEGIN", notify.format(pair["a"]), add(pair["a"], 1), "SAVEPOINT s"):
            cursor.execute(sql)
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="notify on shard s1"):
            cursor.execute(notify.format(pair["b"]))
        cursor.execute("ROLLBACK")
        for sql in ("BEGIN", add(pair["a"], 1), add(pair["b"], -1), notify.format(pair["b"]), "COMMIT"):   # not the first that was written to
            cursor.execute(sql)
        for sql in ("BEGIN", add(pair["a"], -1), add(pair["b"], 1), "COMMIT"):
            cursor.execute(sql)
        for sql in ("BEGIN", notify.format(pair["a"]), add(pair["a"], 1), add(pair["b"], -1), notify.format(pair["a2"]), "COMMIT"):
            cursor.execute(sql)
        assert cursor.statusmessage == "COMMIT"
        for sql in ("BEGIN", add(pair["a"], -1), add(pair["b"], 1), "SAVEPOINT s", notify.format(pair["b"]), "ROLLBACK TO s", notify.format(pair["a"]), "COMMIT"):
            cursor.execute(sql)
        assert cursor.statusmessage == "COMMIT"
    moved(clusters, keys)


def test_what_is_undone_behind_a_savepoint_is_not_written(proxy, clusters, keys, pair):
    """In a read-only transaction nothing can be decided, and nothing is: its COMMIT is a plain one."""
    with connected(proxy) as (_, cursor):
        for begin in ("BEGIN READ ONLY", "BEGIN READ ONLY; SELECT 1"):
            for statement in begin.split("; "):
                cursor.execute(statement)
            cursor.execute("SAVEPOINT s")
            cursor.execute("SAVEPOINT t")
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
                cursor.execute("UPDATE users SET name = 'x'")
            cursor.execute("ROLLBACK TO t")
            cursor.execute("SELECT count(*) FROM users")
            cursor.execute("RELEASE s")
            cursor.execute("COMMIT")
            assert cursor.statusmessage == "COMMIT"
        cursor.execute("BEGIN")
        cursor.execute(add(pair["a"], 1))
        cursor.execute("SAVEPOINT s")
        cursor.execute(add(pair["b"], 1))
        cursor.execute("ROLLBACK TO s")
        cursor.execute(add(pair["c"], -1))
        cursor.execute("COMMIT")
        assert cursor.statusmessage == "COMMIT"
    moved(clusters, keys, by={pair["a"]: 1, pair["c"]: -1})


def test_a_lost_server_leaves_nothing_but_rollback(proxy, clusters, keys, pair):
    with connected(proxy) as (connection, cursor):
        cursor.execute("BEGIN")
        cursor.execute(add(pair["a"], 1))
        cursor.execute("SAVEPOINT s")
        cursor.execute(add(pair["b"], 1))
        clusters.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'", shard=1)
        with pytest.raises(psycopg2.Error) as error:
            cursor.execute(add(pair["b"], 1))
        assert error.value.pgcode in ("08006", "57P01")
        for refused in ("SELECT 1", "ROLLBACK TO s"):
            with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
                cursor.execute(refused)
        cursor.execute("ROLLBACK")
        assert connection.info.transaction_status == 0
        cursor.execute("SELECT count(*) FROM users")
        assert cursor.fetchone() == (8,)
    moved(clusters, keys)


def test_a_server_lost_before_commit_rolls_all_back(proxy, clusters, keys, pair):
    with connected(proxy, autocommit=False) as (connection, cursor):
        cursor.execute(add(pair["a"], 1))
        cursor.execute(add(pair["b"], 1))
        clusters.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'", shard=1)
        with pytest.raises(psycopg2.Error) as error:
            connection.commit()
        assert error.value.pgcode in ("08006", "57P01")
        assert connection.info.transaction_status == 0
    moved(clusters, keys)


# --- savepoints


def test_savepoints_of_before_and_after_the_second_shard(proxy, clusters, keys, pair):
    with connected(proxy) as (connection, cursor):
        def run(*statements):
            for sql in statements:
                cursor.execute(sql)

        run("BEGIN", "SAVEPOINT zero", add(pair["a"], 1), "SAVEPOINT one", add(pair["a"], 10), add(pair["b"], 10), "ROLLBACK TO one")
        run("SAVEPOINT two", add(pair["b"], 2), add(pair["c"], 2), "SAVEPOINT three", add(pair["d"], 20), "RELEASE two")
        with pytest.raises(psycopg2.errors.DivisionByZero):
            run(add(pair["c"], "1/0"))
        with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
            run(add(pair["a"], 1))
        with pytest.raises(psycopg2.Error):
            run("ROLLBACK TO three")   # released with two
        run("ROLLBACK TO one", add(pair["c"], 3), "SAVEPOINT four", add(pair["b"], 1))
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            run("SELECT lastval()")
        run("ROLLBACK TO four", add(pair["d"], -4), "RELEASE one", "COMMIT")
        assert cursor.statusmessage == "COMMIT"
    moved(clusters, keys, by={pair["a"]: 1, pair["c"]: 3, pair["d"]: -4})


def test_rolling_back_to_the_first_savepoint_undoes_every_shard(proxy, clusters, keys, pair):
    with connected(proxy) as (connection, cursor):
        for sql in ("BEGIN", "SAVEPOINT s", add(pair["a"], 1), add(pair["b"], 1), "ROLLBACK TO s", "COMMIT"):
            cursor.execute(sql)
        moved(clusters, keys)
        for sql in ("BEGIN", add(pair["a"], 1), "SAVEPOINT s", "SAVEPOINT s", add(pair["b"], 1), "RELEASE s", "ROLLBACK TO s", add(pair["c"], 1), "COMMIT"):
            cursor.execute(sql)
    moved(clusters, keys, by={pair["a"]: 1, pair["c"]: 1})


# --- settings


def everywhere(cursor, setting, keys):
    """What every shard of the transaction says."""
    found = []
    for shard in keys:
        cursor.execute(f"SELECT current_setting('{setting}', true) FROM users WHERE id = {shard[0]}")
        found.append(cursor.fetchone()[0])
    return found


def test_settings_of_the_transaction_are_on_every_shard(proxy, keys, pair):
    with connected(proxy) as (connection, cursor):
        cursor.execute("SET work_mem = '1MB'")
        for sql in ("BEGIN", "SET LOCAL work_mem = '2MB'", add(pair["a"], 1), "SET LOCAL app.who = 'me'", "SET statement_timeout = '77s'"):
            cursor.execute(sql)
        assert everywhere(cursor, "work_mem", keys) == ["2MB"] * 4
        assert everywhere(cursor, "app.who", keys) == ["me"] * 4
        assert everywhere(cursor, "statement_timeout", keys) == ["77s"] * 4
        for sql in ("SAVEPOINT s", "SET LOCAL work_mem = '3MB'", "SET TimeZone = 'Asia/Tokyo'"):
            cursor.execute(sql)
        assert everywhere(cursor, "work_mem", keys) == ["3MB"] * 4
        cursor.execute("ROLLBACK TO s")
        assert everywhere(cursor, "work_mem", keys) == ["2MB"] * 4
        assert len(set(everywhere(cursor, "TimeZone", keys))) == 1 and "Asia/Tokyo" not in everywhere(cursor, "TimeZone", keys)
        cursor.execute("RESET work_mem")
        cursor.execute("SET extra_float_digits = 0")
        cursor.execute("COMMIT")
        assert everywhere(cursor, "statement_timeout", keys) == ["77s"] * 4
        assert everywhere(cursor, "extra_float_digits", keys) == ["0"] * 4
        assert "1MB" not in everywhere(cursor, "work_mem", keys)


def test_settings_of_a_transaction_that_was_rolled_back_are_nobodys(clusters, start_weir, keys, pair):
    proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"size": 1})
    with connected(proxy) as (_, cursor), connected(proxy) as (_, other):
        for sql in ("SET work_mem = '1MB'", "BEGIN", add(pair["a"], 1), "SET work_mem = '2MB'", add(pair["b"], 1), "SET statement_timeout = '77s'", "SET LOCAL app.who = 'me'",
                    add(pair["c"], 1), "ROLLBACK"):
            cursor.execute(sql)
        assert "77s" not in everywhere(other, "statement_timeout", keys)
        assert not {"1MB", "2MB"} & set(everywhere(other, "work_mem", keys))
        assert not any(everywhere(other, "app.who", keys))
        assert everywhere(other, "lock_timeout", keys) == ["0"] * 4
        assert everywhere(cursor, "work_mem", keys) == ["1MB"] * 4
        assert everywhere(cursor, "statement_timeout", keys) == ["0"] * 4


def test_a_transaction_chained_to_one_over_shards(proxy, clusters, keys, pair):
    with connected(proxy) as (connection, cursor):
        for sql in ("BEGIN READ WRITE", add(pair["a"], 1), add(pair["b"], 1), "COMMIT AND CHAIN"):
            cursor.execute(sql)
        assert (cursor.statusmessage, connection.info.transaction_status) == ("COMMIT", 2)
        moved(clusters, keys, by={pair["a"]: 1, pair["b"]: 1})
        for sql in (add(pair["c"], 1), add(pair["d"], 1), "ROLLBACK AND CHAIN"):
            cursor.execute(sql)
        assert (cursor.statusmessage, connection.info.transaction_status) == ("ROLLBACK", 2)
        cursor.execute("COMMIT")
        assert connection.info.transaction_status == 0
    moved(clusters, keys, by={pair["a"]: 1, pair["b"]: 1})


# --- isolation


@pytest.mark.parametrize("begin, code", [("BEGIN ISOLATION LEVEL REPEATABLE READ", "0A000"), ("BEGIN ISOLATION LEVEL SERIALIZABLE", "0A000"),
                                         ("BEGIN ISOLATION LEVEL READ COMMITTED", None), ("START TRANSACTION", None)])
def test_isolation_over_two_shards(proxy, clusters, keys, pair, begin, code):
    with connected(proxy) as (connection, cursor):
        cursor.execute(begin)
        cursor.execute(add(pair["a"], 1))
        if code:
            with pytest.raises(psycopg2.errors.FeatureNotSupported) as error:
                cursor.execute(add(pair["b"], 1))
            assert error.value.diag.message_hint
            cursor.execute("ROLLBACK")
        else:
            cursor.execute(add(pair["b"], 1))
            cursor.execute("COMMIT")
    moved(clusters, keys, by={} if code else {pair["a"]: 1, pair["b"]: 1})


def test_repeatable_read_where_each_shard_may_have_its_own_snapshot(clusters, start_weir, keys, pair):
    proxy = start_weir([harness.database_toml(clusters, replicas=False, sharding={"multi_shard_snapshot": "per_shard"})])
    with connected(proxy) as (connection, cursor), connected(proxy) as (_, other):
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT sum(name::int) FROM users")
        before = cursor.fetchone()
        other.execute(add(pair["a"], 1))
        cursor.execute("SELECT sum(name::int) FROM users")
        assert cursor.fetchone() == before
        cursor.execute("COMMIT")
        cursor.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            cursor.execute("SELECT sum(name::int) FROM users")
        cursor.execute("ROLLBACK")


# --- waiting


def test_a_deadlock_over_shards_ends_by_lock_timeout(clusters, start_weir, keys, pair):
    proxy = start_weir([harness.database_toml(clusters, replicas=False, sharding={"multi_shard_lock_timeout": "700ms"})])
    with connected(proxy, autocommit=False) as (one, cursor), connected(proxy, autocommit=False) as (two, other):
        cursor.execute(add(pair["a"], 1))
        cursor.execute(add(pair["c"], 1))
        other.execute(add(pair["b"], 1))
        outcome = {}

        def wait():
            try:
                other.execute(add(pair["a"], 1))
                two.commit()
            except psycopg2.Error as error:
                outcome["two"] = error
                two.rollback()

        waiting = threading.Thread(target=wait)
        waiting.start()
        try:
            cursor.execute(add(pair["b"], 1))
            one.commit()
        except psycopg2.Error as error:
            outcome["one"] = error
            one.rollback()
        waiting.join(20)
        assert outcome and all(e.pgcode == "55P03" and "shards" in e.diag.message_hint for e in outcome.values())


def test_the_clients_own_lock_timeout_stands(proxy, keys, pair):
    with connected(proxy) as (_, cursor):
        for sql in ("BEGIN", "SET LOCAL lock_timeout = '321ms'", add(pair["a"], 1), add(pair["b"], 1)):
            cursor.execute(sql)
        assert everywhere(cursor, "lock_timeout", keys) == ["321ms"] * 4
        cursor.execute("ROLLBACK")
        for sql in ("BEGIN", "SAVEPOINT s", add(pair["a"], 1), add(pair["b"], 1)):
            cursor.execute(sql)
        assert everywhere(cursor, "lock_timeout", keys) == ["5s"] * 4
        cursor.execute("ROLLBACK TO s")
        assert everywhere(cursor, "lock_timeout", keys) == ["5s"] * 4


# --- row locks over shards


def test_for_update_over_all_shards_locks_every_row_it_gives(proxy, clusters, keys, pair):
    every = sorted(k for shard in keys for k in shard)
    with connected(proxy) as (_, cursor), connected(proxy) as (_, other):
        for how in ("FOR UPDATE", "FOR NO KEY UPDATE", "FOR UPDATE OF u NOWAIT"):
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT u.id FROM users u WHERE name = '{AMOUNT}' ORDER BY name, id DESC {how}")
            assert [row[0] for row in cursor.fetchall()] == every[::-1]
            for key in every:
                with pytest.raises(psycopg2.errors.LockNotAvailable):
                    other.execute(f"SELECT 1 FROM users WHERE id = {key} FOR UPDATE NOWAIT")
            other.execute("SELECT id FROM users FOR UPDATE SKIP LOCKED")
            assert other.fetchall() == []
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                other.execute("SELECT id FROM users FOR SHARE NOWAIT")
            other.execute("SELECT id FROM users FOR KEY SHARE SKIP LOCKED")
            assert len(other.fetchall()) == (len(every) if how == "FOR NO KEY UPDATE" else 0)
            cursor.execute("COMMIT")
            other.execute("SELECT id FROM users FOR UPDATE SKIP LOCKED")
            assert sorted(row[0] for row in other.fetchall()) == every


def test_skip_locked_gives_the_rows_of_all_shards_that_are_free(proxy, clusters, keys, pair):
    every = sorted(k for shard in keys for k in shard)
    with connected(proxy) as (_, cursor), connected(proxy) as (_, other):
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT 1 FROM users WHERE id IN ({pair['a']}, {pair['c']}) FOR UPDATE")
        other.execute("SELECT id FROM users ORDER BY id FOR UPDATE SKIP LOCKED")
        assert [row[0] for row in other.fetchall()] == [k for k in every if k not in (pair["a"], pair["c"])]
        for how in ("SKIP LOCKED", "NOWAIT"):   # each shard would lock a row, and others miss three of them
            with pytest.raises(psycopg2.errors.FeatureNotSupported):
                other.execute(f"SELECT id FROM users ORDER BY id LIMIT 1 FOR UPDATE {how}")
        cursor.execute("ROLLBACK")


def test_for_update_sees_what_it_waited_for(proxy, clusters, keys, pair):
    with connected(proxy) as (_, cursor), connected(proxy) as (_, other):
        cursor.execute("BEGIN")
        cursor.execute(add(pair["b"], 5))
        found = []

        def lock():
            other.execute(f"SELECT name FROM users WHERE id IN ({pair['a']}, {pair['b']}) AND name::int > 0 ORDER BY name::int FOR UPDATE")
            found.extend(other.fetchall())

        waiting = threading.Thread(target=lock)
        waiting.start()
        harness.wait_for(lambda: "1" in clusters.everywhere("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"), "the lock to be waited for")
        cursor.execute("COMMIT")
        waiting.join(20)
        assert found == [(str(AMOUNT),), (str(AMOUNT + 5),)]


def test_a_limit_of_many_rows_does_not_fail_the_transaction(proxy, clusters, keys, pair):
    """What the other shards still send of it is dropped: a cancel would fail their part of the transaction. (It is more than sockets hold.)"""
    wide = "repeat('x', 1000000)"
    with connected(proxy) as (_, cursor):
        cursor.execute(f"INSERT INTO orders (user_id, id, product, amount) SELECT u.id, g, {wide}, 1 FROM users u, generate_series(1, 40) g")
        try:
            cursor.execute("BEGIN")
            cursor.execute(f"SELECT 1 FROM users WHERE id IN ({pair['a']}, {pair['b']}, {pair['c']}, {pair['d']}) FOR UPDATE")
            cursor.execute("SELECT product, user_id, id FROM orders ORDER BY user_id, id LIMIT 40")
            assert len(cursor.fetchall()) == 40
            for key in ("a", "b", "c", "d"):
                cursor.execute(add(pair[key], 1))
            cursor.execute("COMMIT")
            assert cursor.statusmessage == "COMMIT"
        finally:
            cursor.execute("ROLLBACK")
            cursor.execute("DELETE FROM orders")
    moved(clusters, keys, by={pair[k]: 1 for k in ("a", "b", "c", "d")})


def test_locks_of_many_shards_in_a_transaction_that_writes_are_kept_until_its_commit(proxy, clusters, keys, pair):
    with connected(proxy) as (_, cursor):
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM users FOR SHARE")
        assert len(cursor.fetchall()) == sum(map(len, keys))
        cursor.execute(add(pair["a"], 7))
        cursor.execute("COMMIT")
        assert cursor.statusmessage == "COMMIT"
    moved(clusters, keys, by={pair["a"]: 7})


# --- its life


def test_a_client_that_goes_rolls_back_everywhere(proxy, clusters, keys, pair):
    connection = proxy.connect(autocommit=False)
    cursor = connection.cursor()
    cursor.execute(add(pair["a"], 1))
    cursor.execute(add(pair["b"], 1))
    assert [c["state"] for c in proxy.console("SHOW CLIENTS") if c["database"] == "app"] == ["idle in transaction"]
    connection.close()
    harness.wait_for(lambda: {b["active"] for b in proxy.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
    moved(clusters, keys)


def test_a_client_that_goes_in_the_middle_of_a_statement(proxy, clusters, keys, pair):
    with wire.WireClient(proxy.port) as client:
        client.ask(wire.query("BEGIN"))
        client.ask(wire.query(add(pair["a"], 1)))
        client.ask(wire.query(add(pair["b"], 1)))
        client.send(wire.query(f"SELECT pg_sleep(60) FROM users WHERE id = {pair['b']}"))
        harness.wait_for(lambda: clusters.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'", shard=1) == "1", "the statement to run")
    harness.wait_for(lambda: {b["active"] for b in proxy.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
    moved(clusters, keys)


def test_a_cancel_reaches_the_statement(proxy, clusters, keys, pair):
    with wire.WireClient(proxy.port) as client:
        for sql in ("BEGIN", add(pair["a"], 1), add(pair["b"], 1), "SAVEPOINT s"):
            client.ask(wire.query(sql))
        client.send(wire.query(f"SELECT pg_sleep(60) FROM users WHERE id = {pair['b']}"))
        harness.wait_for(lambda: clusters.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'", shard=1) == "1", "the statement to run")
        client.cancel()
        got = client.read_to_ready()
        assert (got.errors, got.status) == (["57014"], "E")
        assert client.query("ROLLBACK TO s").tags == ["ROLLBACK"]
        got = client.query("COMMIT")
        assert (got.tags, got.status) == (["COMMIT"], "I")
    moved(clusters, keys, by={pair["a"]: 1, pair["b"]: 1})


def test_idle_in_a_transaction_for_too_long(clusters, start_weir, keys, pair):
    proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"idle_transaction_timeout": "300ms"})
    with wire.WireClient(proxy.port) as client:
        for sql in ("BEGIN", add(pair["a"], 1), add(pair["b"], 1)):
            client.ask(wire.query(sql))
        assert client.at_end().errors == ["25P03"]
    harness.wait_for(lambda: {b["active"] for b in proxy.console("SHOW BACKENDS")} == {"0"}, "every server to be idle")
    moved(clusters, keys)


# --- servers are few


def test_two_transactions_that_wait_for_each_others_servers(clusters, start_weir, keys, pair):
    """Pools of one server, and no reserve: the younger gives way at once, and not after pool.wait_timeout."""
    proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"size": 1, "enlist_reserve": 0})
    with connected(proxy, autocommit=False) as (one, cursor), connected(proxy, autocommit=False) as (two, other):
        cursor.execute(add(pair["a"], 1))
        other.execute(add(pair["b"], 1))
        outcome = {}

        def go_on(name, connection, on, key):
            try:
                on.execute(add(key, 1))
                connection.commit()
                outcome[name] = "committed"
            except psycopg2.Error as error:
                outcome[name] = error.pgcode
                connection.rollback()

        waiting = threading.Thread(target=go_on, args=("one", one, cursor, pair["b"]))
        waiting.start()
        harness.wait_for(lambda: "waiting" in {c["state"] for c in proxy.console("SHOW CLIENTS")}, "the first to wait")
        go_on("two", two, other, pair["a"])
        waiting.join(20)
        assert outcome == {"one": "committed", "two": "40001"}
    moved(clusters, keys, by={pair["a"]: 1, pair["b"]: 1})


def test_the_reserve_serves_those_that_hold_others_servers(clusters, start_weir, keys, pair):
    proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"size": 1, "enlist_reserve": 1})
    with connected(proxy, autocommit=False) as (one, cursor), connected(proxy, autocommit=False) as (two, other), connected(proxy) as (_, third):
        cursor.execute(add(pair["a"], 1))
        other.execute(f"SELECT 1 FROM users WHERE id = {pair['b']}")
        done = []
        queued = threading.Thread(target=lambda: (third.execute(add(pair["b2"], 1)), done.append(True)))
        queued.start()
        harness.wait_for(lambda: "waiting" in {c["state"] for c in proxy.console("SHOW CLIENTS")}, "one without servers to wait")
        cursor.execute(add(pair["b"], 1))   # overtakes it
        assert not done
        one.commit()
        two.commit()
        queued.join(20)
        assert done
    moved(clusters, keys, by={pair["a"]: 1, pair["b"]: 1, pair["b2"]: 1})


def test_many_transfers_with_pools_of_one_server(clusters, start_weir, keys, pair):
    proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"size": 1})
    every = [k for shard in keys for k in shard]
    problems, committed = [], []

    def work(number):
        with connected(proxy, autocommit=False) as (connection, cursor):
            for i in range(12):
                one, two = every[(number * 5 + i) % 8], every[(number * 3 + i * 3 + 1) % 8]
                try:
                    cursor.execute(add(one, -1))
                    cursor.execute(add(two, 1))
                    connection.commit()
                    committed.append((one, two))
                except psycopg2.Error as error:
                    connection.rollback()
                    if error.pgcode not in ("40001", "40P01", "55P03"):
                        problems.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not problems and not any(t.is_alive() for t in threads) and committed
    by = dict.fromkeys(every, 0)
    for one, two in committed:
        by[one] -= 1
        by[two] += 1
    moved(clusters, keys, by=by)


# --- reads after it, and what it is refused


def test_its_writes_are_read_by_its_client_and_others_at_once(clusters, start_weir, keys, pair):
    """read_your_writes, with replicas: every written shard is read from its primary for a while."""
    proxy = start_weir([harness.database_toml(clusters)])
    with connected(proxy, autocommit=False) as (connection, cursor), connected(proxy) as (_, other):
        for i in range(1, 20):
            cursor.execute(add(pair["a"], 1))
            cursor.execute(add(pair["b"], 1))
            connection.commit()
            for key in (pair["a"], pair["b"]):
                other.execute(f"SELECT name FROM users WHERE id = {key}")
                assert other.fetchone() == (str(AMOUNT + i),)
            other.execute("SELECT sum(name::int) FROM users")
            assert other.fetchone() == (8 * AMOUNT + 2 * i,)


def test_settings_in_front_of_the_second_shard_that_fail(proxy, clusters, keys, pair):
    """A setting that one shard refuses: nothing runs there without it."""
    clusters.psql("CREATE ROLE only_here", shard=0)
    try:
        with connected(proxy) as (connection, cursor):
            cursor.execute("BEGIN")
            cursor.execute(add(pair["a"], 1))
            cursor.execute("SET LOCAL ROLE only_here")
            with pytest.raises(psycopg2.Error):
                cursor.execute(add(pair["b"], 1))
            assert connection.info.transaction_status == 3
            cursor.execute("ROLLBACK")
            cursor.execute(add(pair["b"], 0))
    finally:
        clusters.psql("DROP ROLE only_here", shard=0)
    moved(clusters, keys)


def test_deallocate_and_cursors_in_it(proxy, clusters, keys, pair):
    with connected(proxy) as (connection, cursor):
        for sql in ("PREPARE p AS SELECT 1", "BEGIN", f"DECLARE c CURSOR FOR SELECT id FROM users WHERE id = {pair['b']}", add(pair["a"], 1), "FETCH c"):
            cursor.execute(sql)
        assert cursor.fetchall() == [(pair["b"],)]
        cursor.execute("SAVEPOINT s")
        with pytest.raises(psycopg2.errors.FeatureNotSupported):
            cursor.execute(f"DECLARE d CURSOR FOR SELECT id FROM users WHERE id = {pair['a']}")
        for sql in ("ROLLBACK TO s", "DEALLOCATE p", "FETCH c", "COMMIT"):
            cursor.execute(sql)
        with pytest.raises(psycopg2.errors.InvalidSqlStatementName):
            cursor.execute("EXECUTE p")
    moved(clusters, keys, by={pair["a"]: 1})


def test_the_client_is_told_of_settings_that_end_with_the_transaction(proxy, pair):
    with wire.WireClient(proxy.port) as client:
        before = client.parameters["TimeZone"]
        for sql in ("BEGIN", add(pair["a"], 1), add(pair["b"], 1), "SET TimeZone = 'Asia/Tokyo'"):
            client.ask(wire.query(sql))
        assert client.parameters["TimeZone"] == "Asia/Tokyo"
        client.ask(wire.query("ROLLBACK"))
        assert client.parameters["TimeZone"] == before


def test_a_transfer_takes_four_round_trips_beyond_its_statements(clusters, start_weir, pair):
    """On the shard that decides: its statement, then what it is asked beside the other's statement, then txid_current and the decision."""
    relay = Relay(clusters)
    try:
        proxy = start_weir([harness.weir_toml.database(relay.shards, replicas=False)], pool={"size": 1})
        with connected(proxy, autocommit=False) as (connection, cursor):
            turns = []
            for _ in range(3):
                cursor.execute(add(pair["a"], 1))
                cursor.execute(add(pair["b"], 1))
                connection.commit()
                turns.append(relay.turns("txid_current"))
            assert turns[2] - turns[1] <= 4
    finally:
        relay.close()


def test_what_a_rollback_revives_in_one_pipeline_runs_where_it_belongs(proxy, clusters, keys, pair):
    """The transaction of one shard has failed; in one pipeline it is revived, or ended, and goes on with other shards."""
    with wire.WireClient(proxy.port) as client:
        for sql in ("BEGIN", add(pair["a"], 1), "SAVEPOINT s"):
            client.ask(wire.query(sql))
        assert client.query(f"SELECT 1/0 FROM users WHERE id = {pair['a']}").errors == ["22012"]
        assert client.ask(wire.run(add(pair["b"], 1)) + wire.sync()).errors == ["25P02"]
        got = client.ask(wire.run("ROLLBACK TO s") + wire.run(add(pair["b"], 1)) + wire.run("SELECT sum(name::int) FROM users") + wire.sync())
        assert (got.errors, got.rows, got.status) == ([], [[str(8 * AMOUNT + 2)]], "T")
        assert client.query("SELEC").status == "E"
        got = client.ask(wire.run("ROLLBACK") + wire.run(add(pair["c"], 1)) + wire.run(add(pair["d"], 1)) + wire.sync())
        assert (got.errors, got.tags, got.status) == ([], ["ROLLBACK", "UPDATE 1", "UPDATE 1"], "I")
        for sql in ("BEGIN", add(pair["a"], 1), "SELEC"):
            client.ask(wire.query(sql))
        got = client.ask(wire.run("ROLLBACK") + wire.run(add(pair["b"], 5)) + wire.sync())
        assert (got.errors, got.tags, got.status) == ([], ["ROLLBACK", "UPDATE 1"], "I")
    moved(clusters, keys, by={pair["c"]: 1, pair["d"]: 1, pair["b"]: 5})


def test_what_stands_behind_a_commit_in_one_pipeline_is_another_transaction(proxy, clusters, keys, pair):
    """The first is open on one shard, or begins in the pipeline behind a statement of one shard."""
    a, b = wire.run(add(pair["a"], 1)), wire.run(add(pair["b"], 1))
    with wire.WireClient(proxy.port) as client:
        for sql in ("BEGIN", add(pair["a"], 10)):
            client.ask(wire.query(sql))
        got = client.ask(wire.run("COMMIT") + a + b + wire.run("SELECT 1/0") + wire.sync())
        assert (got.tags, got.errors, got.status) == (["COMMIT", "UPDATE 1", "UPDATE 1"], ["22012"], "I")
        moved(clusters, keys, by={pair["a"]: 10})
        client.ask(wire.query("BEGIN"))
        client.ask(wire.query(add(pair["a"], 1)))
        got = client.ask(wire.run("SELECT 1/0") + wire.run("COMMIT") + a + b + wire.sync())
        assert (got.tags, got.errors, got.status) == ([], ["22012"], "E")
        got = client.ask(wire.parse("ROLLBACK", "bye") + wire.bind(name="bye") + wire.execute() + wire.parse(add(pair["b"], 1), "named") + wire.bind(name="named") +
                         wire.execute() + a + wire.sync())
        assert (got.tags, got.errors, got.status) == (["ROLLBACK", "UPDATE 1", "UPDATE 1"], [], "I")
        moved(clusters, keys, by={pair["a"]: 11, pair["b"]: 1})
        read = wire.run(f"SELECT name FROM users WHERE id = {pair['a']}")
        got = client.ask(read + wire.run("BEGIN") + a + b + wire.sync())
        assert (got.errors, got.status) == ([], "T")
        got = client.ask(wire.run("ROLLBACK") + wire.sync())
        assert (got.errors, got.status) == ([], "I")
    moved(clusters, keys, by={pair["a"]: 11, pair["b"]: 1})
