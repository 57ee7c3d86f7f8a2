"""Writes over several shards: they count, return and leave behind what they do in one PostgreSQL, or leave nothing."""
import threading

import psycopg
import psycopg2
import psycopg2.errors
import pytest

import harness
import sharded
import wire_client as wire


@pytest.fixture(scope="module")
def proxy(clusters):
    clusters.psql("ALTER TABLE countries ADD COLUMN made timestamptz DEFAULT now(), ADD COLUMN number int DEFAULT 7", shard=0)
    for shard in range(1, len(clusters.shards)):
        clusters.psql("ALTER TABLE countries ADD COLUMN made timestamptz DEFAULT now(), ADD COLUMN number int DEFAULT 7", shard=shard)
    with harness.running([harness.database_toml(clusters, replicas=False)], pool={"size": 4}) as weir:
        yield weir
        for shard in range(len(clusters.shards)):
            clusters.psql("ALTER TABLE countries DROP COLUMN made, DROP COLUMN number", shard=shard)


@pytest.fixture(scope="module")
def twin(proxy, clusters, keys):
    both = sharded.Twin(proxy, clusters, sharded.create_reference(clusters))
    with both.plain.cursor() as cursor:
        cursor.execute("ALTER TABLE countries ADD COLUMN made timestamptz DEFAULT now(), ADD COLUMN number int DEFAULT 7")
    both.seed([k for shard in keys for k in shard])
    yield both
    both.close()


@pytest.fixture(autouse=True)
def nothing_is_left(clusters):
    yield
    harness.wait_for(lambda: set(clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts")) == {"0"}, "no prepared transaction to be left")


def alike(twin, sql, parameters=None, ordered=False):
    """The same through Weir and in one database: rows (in any order), count, tag, and what is left behind."""
    here, there = twin.ask(twin.weir, sql, parameters), twin.ask(twin.plain, sql, parameters)
    if isinstance(here, tuple) and here[1] is not None and isinstance(there, tuple) and not ordered:
        here, there = (here[0], sorted(here[1], key=repr), *here[2:]), (there[0], sorted(there[1], key=repr), *there[2:])
    assert here == there, sql
    twin.check_all_rows()
    return here


def test_an_update_and_a_delete_of_all_shards(twin):
    alike(twin, "UPDATE orders SET amount = amount + 1 WHERE product = 'lamp' RETURNING user_id, id, amount")
    alike(twin, "UPDATE users SET email = 'all'")
    alike(twin, "UPDATE users SET email = NULL WHERE false RETURNING *")
    alike(twin, "DELETE FROM orders WHERE product = 'aal' RETURNING user_id, id")
    alike(twin, "DELETE FROM orders WHERE amount < -1")


def test_keys_of_several_shards(twin, keys):
    some = [keys[0][0], keys[2][1], keys[3][0]]
    alike(twin, "UPDATE users SET name = name || '!' WHERE id = ANY (%s) RETURNING id, name", (some,))
    alike(twin, "DELETE FROM works WHERE user_id IN (%s, %s) AND id = 0 RETURNING *", (keys[1][0], keys[2][0]))


def test_joins_by_equal_keys_and_with_reference_tables(twin):
    alike(twin, "UPDATE orders o SET product = u.name FROM users u WHERE u.id = o.user_id AND u.email = 'all' RETURNING o.product")
    alike(twin, "DELETE FROM works w USING users u, countries c WHERE u.id = w.user_id AND c.code = 'DE' AND w.title = 'work 1' RETURNING w.user_id")
    alike(twin, "UPDATE users u SET name = (SELECT max(product) FROM orders o WHERE o.user_id = u.id) RETURNING id, name")
    alike(twin, "UPDATE users SET name = 'restored'")


def test_the_rows_of_an_insert_go_to_their_shards_and_return_in_their_order(twin, keys):
    ids = [k for column in zip(*keys) for k in column]
    values = ", ".join(f"({k}, {900 + i}, 'x', {i})" for i, k in enumerate(ids))
    found = alike(twin, f"INSERT INTO orders (user_id, id, product, amount) VALUES {values} RETURNING user_id, id, amount", ordered=True)
    assert [row[0] for row in found[1]] == ids and found[3] == f"INSERT 0 {len(ids)}"
    alike(twin, f"INSERT INTO orders (user_id, id, product) VALUES ({ids[0]}, 2000, 'a)'), ({ids[1]}, 2000, E'\\')') RETURNING product", ordered=True)
    alike(twin, f"INSERT INTO orders (user_id, id, product) VALUES ({ids[0]}, 900, 'a'), ({ids[1]}, 901, 'b'), ({ids[2]}, 3000, 'c') ON CONFLICT DO NOTHING RETURNING id")
    alike(twin, f"INSERT INTO orders (user_id, id, product) VALUES ({ids[0]}, 900, 'a'), ({ids[1]}, 901, 'b'), ({ids[2]}, 3001, 'c') "
                "ON CONFLICT (user_id, id) DO UPDATE SET product = excluded.product RETURNING id, product")


def test_an_error_on_one_shard_undoes_all(twin, keys):
    clash = f"INSERT INTO orders (user_id, id, product) VALUES ({keys[0][0]}, 7000, 'a'), ({keys[1][0]}, 900, 'again'), ({keys[1][0]}, 901, 'a'), ({keys[1][0]}, 901, 'b')"
    assert alike(twin, clash) == "23505"
    assert alike(twin, "UPDATE orders SET amount = 1 / (CASE WHEN user_id = %s THEN 0 ELSE 1 END)", (keys[2][0],)) == "22012"


def test_a_key_that_is_null_or_unreadable_is_refused(twin, keys):
    twin.refused(f"INSERT INTO users (id, name) VALUES ({keys[0][0] + 100000}, 'x'), (NULL, 'y')")
    twin.refused("INSERT INTO users (id, name) VALUES (1000001, 'x'), ((random() * 10)::int, 'y')")
    twin.refused("INSERT INTO users (id, name) VALUES (9223372036854775807 + 1, 'x')")
    twin.refused("INSERT INTO users (id, name) VALUES (2147483647 + 1, 'x')")


def test_insert_select_of_the_same_key(twin):
    alike(twin, "INSERT INTO orders (user_id, id, product, amount) SELECT id, 5000, name, 1 FROM users WHERE email = 'all' RETURNING user_id, product")
    alike(twin, "INSERT INTO works (user_id, id, created_at, title) SELECT user_id, count(*) + 100, '2024-02-02 00:00+00', 'sum' FROM orders GROUP BY user_id")
    twin.refused("INSERT INTO orders (user_id, id, product) SELECT id + 1, 1, 'x' FROM users")


def test_now_is_one_moment_on_all_shards(twin, proxy):
    with proxy.connect().cursor() as cursor:
        cursor.execute("UPDATE users SET created_at = now()")
        cursor.execute("SELECT count(DISTINCT created_at), max(created_at) BETWEEN now() - interval '1 minute' AND now() FROM users")
        assert cursor.fetchall() == [(1, True)]
    alike(twin, "UPDATE users SET created_at = '2024-01-01 00:00+00'")


def test_a_reference_table_is_written_on_every_shard(twin, clusters):
    alike(twin, "INSERT INTO countries (code, name) VALUES ('AA', 'a'), ('AB', 'b') RETURNING code, number")
    alike(twin, "INSERT INTO countries VALUES ('AA', 'c') ON CONFLICT (code) DO UPDATE SET name = excluded.name RETURNING name")
    alike(twin, "UPDATE countries SET name = upper(name) WHERE code < 'B' RETURNING code, name")
    alike(twin, "DELETE FROM countries WHERE code = 'AB' RETURNING code")
    made = clusters.everywhere("SELECT made FROM countries WHERE code = 'AA'")
    assert len(set(made)) == 1 and made[0]
    alike(twin, "DELETE FROM countries WHERE code = 'AA'")


def test_copies_of_a_reference_table_that_differ_fail_the_write(twin, clusters):
    clusters.psql("DELETE FROM countries WHERE code = 'KE'", shard=2)
    try:
        with pytest.raises(psycopg2.Error, match="answered") as failed:
            with twin.weir.cursor() as cursor:
                cursor.execute("UPDATE countries SET name = 'Kenia' WHERE code = 'KE'")
        assert failed.value.pgcode == "XX001" and failed.value.diag.message_hint
        assert set(clusters.everywhere("SELECT count(*) FROM countries WHERE name = 'Kenia'")) == {"0"}
    finally:
        clusters.psql("INSERT INTO countries (code, name, made) SELECT 'KE', 'Kenya', '2024-01-01'", shard=2)
        clusters.everywhere("UPDATE countries SET made = '2024-01-01' WHERE code = 'KE'")


@pytest.mark.parametrize("binary", (False, True))
def test_by_the_extended_protocol_with_parameters(twin, keys, proxy, binary):
    with psycopg.connect(proxy.dsn(), autocommit=True) as connection:
        for prepare in (False, True, True):
            cursor = connection.cursor(binary=binary)
            a, b, c = keys[0][0], keys[1][0], keys[2][0]
            cursor.execute("INSERT INTO orders (user_id, id, product) VALUES (%s, %s, %s), (%s, %s, %s), (%s, %s, %s) RETURNING user_id, product",
                           (b, 8000, "b", a, 8000, "a", c, 8000, "c"), prepare=prepare)
            assert cursor.fetchall() == [(b, "b"), (a, "a"), (c, "c")] and cursor.statusmessage == "INSERT 0 3"
            cursor.execute("UPDATE orders SET product = product || %s WHERE id = %s RETURNING product", ("!", 8000), prepare=prepare)
            assert sorted(cursor.fetchall()) == [("a!",), ("b!",), ("c!",)]
            cursor.execute("DELETE FROM orders WHERE id = %s", (8000,), prepare=prepare)
            assert cursor.rowcount == 3
    twin.check_all_rows()


def test_describe_does_not_execute_and_rows_come_in_portions(twin, proxy, keys, clusters):
    with wire.WireClient(proxy.port) as client:
        told = client.ask(wire.parse("UPDATE users SET email = 'described' RETURNING id") + wire.bind() + wire.describe() + wire.sync())
        assert told.kinds == "12TZ"
        assert set(clusters.everywhere("SELECT count(*) FROM users WHERE email = 'described'")) == {"0"}
        count = sum(len(shard) for shard in keys)
        told = client.ask(wire.parse("UPDATE users SET email = 'portions' RETURNING id") + wire.bind() + wire.describe() + wire.execute(rows=5) + wire.execute() + wire.sync())
        assert told.kinds == "12T" + "D" * 5 + "s" + "D" * (count - 5) + "CZ"
    alike(twin, "UPDATE users SET email = 'all'")


def test_in_a_transaction_it_is_undone_with_it(twin, proxy, keys):
    with psycopg.connect(proxy.dsn()) as connection:
        connection.execute("UPDATE users SET name = 'first' WHERE id = %s", (keys[1][0],))
        connection.execute("SAVEPOINT s")
        connection.execute("UPDATE users SET name = 'gone'")
        connection.execute("INSERT INTO orders (user_id, id, product) VALUES (%s, 9000, 'x'), (%s, 9000, 'y')", (keys[0][0], keys[3][0]))
        assert connection.execute("SELECT count(*) FROM users WHERE name = 'gone'").fetchone()[0] == sum(len(s) for s in keys)
        connection.execute("ROLLBACK TO s")
        assert connection.execute("SELECT count(*) FROM users WHERE name = 'gone'").fetchone()[0] == 0
        connection.rollback()
    twin.check_all_rows()


def test_a_bad_statement_has_postgresqls_own_error(twin, proxy):
    for sql in ("UPDATE orders SET nothing = 1", "DELETE FROM orders WHERE product + 1 = 2", "UPDATE orders SET amount = 'x'"):
        errors = []
        for connection in (proxy.connect(), twin.plain):
            with connection.cursor() as cursor, pytest.raises(psycopg2.Error) as failed:
                cursor.execute(sql)
            errors.append((failed.value.pgcode, failed.value.diag.message_primary, failed.value.diag.statement_position))
        assert errors[0] == errors[1]


def test_a_server_that_dies_in_the_middle_undoes_all(twin, proxy, clusters, keys):
    holder = psycopg2.connect(clusters.conninfo(shard=2))
    failed = []

    def update():
        connection = proxy.connect()
        try:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE users SET name = 'half'")
        except psycopg2.Error as error:
            failed.append(error)
        finally:
            connection.close()

    try:
        with holder.cursor() as cursor:
            cursor.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (keys[2][0],))
        thread = threading.Thread(target=update)
        thread.start()
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE users%'"
        harness.wait_for(lambda: clusters.psql(waiting, shard=2), "the shard to wait for the row")
        clusters.psql(f"SELECT pg_terminate_backend(pid) FROM ({waiting}) w", shard=2)
        thread.join(30)
    finally:
        holder.close()
    assert len(failed) == 1 and failed[0].pgcode
    assert set(clusters.everywhere("SELECT count(*) FROM users WHERE name = 'half'")) == {"0"}
    twin.check_all_rows()


REFUSED = [
    "UPDATE orders SET amount = random()",
    "UPDATE users SET created_at = clock_timestamp()",
    "UPDATE orders SET user_id = user_id + 1",
    "UPDATE orders o SET product = u.name FROM users u WHERE u.id = o.id",
    "DELETE FROM orders WHERE ctid = '(0,1)'",
    "DELETE FROM users WHERE id IN (SELECT id FROM users ORDER BY name LIMIT 1)",
    "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone",
    "WITH gone AS (DELETE FROM orders RETURNING user_id) DELETE FROM users USING gone WHERE gone.user_id = id",
    "UPDATE countries SET name = (SELECT max(name) FROM users)",
    "UPDATE countries SET name = md5(random()::text)",
    "UPDATE countries c SET name = d.name FROM countries d WHERE d.code < c.code",
    "MERGE INTO countries c USING (VALUES ('DE')) v (code) ON c.code = v.code WHEN MATCHED THEN DELETE",
    "INSERT INTO countries SELECT name, name FROM users",
    "INSERT INTO orders DEFAULT VALUES",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_might_come_out_otherwise_is_refused(twin, sql):
    twin.refused(sql)


# --- keys that are computed


def test_computed_keys_are_where_the_server_would_look_for_them(twin, keys):
    first = 500_000
    sums = ["{} + 0", "{}::bigint % 1000000", "abs(-{})", "-(-{})", "({} - 7) + 7", "{} * 2 / 2", "'{}'::bigint + 0", "mod({}, 1000000)", "{}::int4 + 0::int2"]
    for n, expression in enumerate(sums):
        k = first + 10 * n
        rows = ", ".join(f"({expression.format(k + i)}, 'computed')" for i in range(6))
        twin.same(f"INSERT INTO users (id, name) VALUES {rows}")
        for i in range(3):
            twin.same(f"SELECT id, name FROM users WHERE id = {expression.format(k + i)}")
        twin.same(f"UPDATE users SET name = 'one' WHERE id = {expression.format(k)}")
        twin.same(f"DELETE FROM users WHERE id IN ({expression.format(k + 1)}, {k + 2})")
    twin.check_all_rows()
    twin.same("DELETE FROM users WHERE id >= 500000 AND id < 600000")


def test_computed_keys_of_parameters(weir, clusters):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        for binary in (False, True):
            cursor = connection.cursor(binary=binary)
            for n in range(12):   # prepared from the fifth on
                k = 700_000 + n + 100 * binary
                cursor.execute("INSERT INTO users (id, name) VALUES (%s::bigint %% 1000000 + %s::int4, 'p')", (k, 1))
                assert cursor.execute("SELECT id FROM users WHERE id = %s::int8 + 1", (k,)).fetchall() == [(k + 1,)]
        found = {int(k): shard for shard in range(len(clusters.shards)) for k in clusters.psql("SELECT id FROM users WHERE name = 'p'", shard=shard).split()}
        assert len(found) == 24 and found == sharded.shards_of(clusters, found)
        connection.execute("DELETE FROM users WHERE name = 'p'")


# --- sequences


@pytest.fixture
def numbered(clusters):
    ddl = ("CREATE TABLE numbered (user_id bigint, id int GENERATED BY DEFAULT AS IDENTITY, PRIMARY KEY (user_id, id));"
           "CREATE TABLE keyed (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text); CREATE TABLE copied (id int GENERATED BY DEFAULT AS IDENTITY, v text)")
    clusters.everywhere(ddl)
    tables = [*harness.weir_toml.DEMO_TABLES, {"name": "numbered", "key": "user_id"}, {"name": "keyed", "key": "id"}, {"name": "copied", "reference": True}]
    with harness.running([harness.database_toml(clusters, replicas=False, tables=tables)]) as weir:
        yield weir
    clusters.everywhere("DROP TABLE numbered, keyed, copied")


def test_no_shard_draws_numbers_of_its_own(numbered, clusters, keys):
    """DEFAULT in SET, and OVERRIDING USER VALUE, which ignores the value that is given."""
    a, b = keys[0][0], keys[1][0]
    with psycopg.connect(numbered.dsn(), autocommit=True) as connection:
        connection.execute(f"INSERT INTO numbered VALUES ({a}, 100), ({b}, 100)")
        for sql in (f"INSERT INTO numbered (user_id, id) OVERRIDING USER VALUE VALUES ({a}, 1), ({b}, 1)",
                    "INSERT INTO numbered (user_id, id) OVERRIDING USER VALUE SELECT user_id, 1 FROM numbered",
                    "UPDATE numbered SET id = DEFAULT", "UPDATE numbered SET (id) = ROW (DEFAULT)",
                    f"INSERT INTO numbered VALUES ({a}, 100), ({b}, 100) ON CONFLICT (user_id, id) DO UPDATE SET id = DEFAULT",
                    "MERGE INTO numbered n USING numbered m ON n.user_id = m.user_id AND n.id = m.id WHEN MATCHED THEN UPDATE SET id = DEFAULT",
                    "MERGE INTO numbered n USING numbered m ON n.user_id = m.user_id AND n.id = 1 WHEN NOT MATCHED THEN INSERT (user_id, id) OVERRIDING USER VALUE VALUES (m.user_id, 1)",
                    f"INSERT INTO keyed (id, v) OVERRIDING USER VALUE VALUES ({a}, 'x')", f"INSERT INTO keyed OVERRIDING USER VALUE VALUES ({a}, 'x'), ({b}, 'y')",
                    "INSERT INTO keyed (id) OVERRIDING USER VALUE SELECT user_id FROM numbered",
                    "MERGE INTO keyed k USING numbered n ON n.user_id = k.id WHEN NOT MATCHED THEN INSERT (id) OVERRIDING USER VALUE VALUES (n.user_id)",
                    "INSERT INTO copied (id, v) OVERRIDING USER VALUE VALUES (1, 'x')"):
            for parameters in (None, ()):
                with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
                    connection.execute(sql, parameters)
                assert refused.value.diag.message_hint, sql
        assert connection.execute("SELECT id FROM numbered").fetchall() == [(100,), (100,)]
        connection.execute(f"INSERT INTO keyed (id) OVERRIDING SYSTEM VALUE VALUES ({a}), ({b})")
        connection.execute(f"UPDATE numbered SET id = DEFAULT WHERE user_id = {a}")   # of one shard: as in one database
    assert clusters.everywhere("SELECT (SELECT count(*) FROM keyed) + (SELECT count(*) FROM copied)") == ["1", "1", "0", "0"]


# --- MERGE


def test_merge_of_tables_with_equal_keys(twin, keys):
    every = [k for shard in keys for k in shard]
    twin.same("INSERT INTO users (id, name) VALUES " + ", ".join(f"({600_000 + i}, 'merged')" for i in range(8)))
    for sql in (
            "MERGE INTO orders o USING users u ON o.user_id = u.id AND o.id = 1 WHEN MATCHED AND u.name <> 'x' THEN UPDATE SET product = u.name WHEN NOT MATCHED THEN INSERT (user_id, id, product) VALUES (u.id, 1, 'new')",
            "MERGE INTO orders USING users ON users.id = orders.user_id WHEN NOT MATCHED THEN DO NOTHING WHEN MATCHED AND orders.id = 2 THEN DELETE",
            f"MERGE INTO users u USING (SELECT {every[0]} AS id) s ON u.id = s.id WHEN MATCHED THEN UPDATE SET email = 'm'",
            "MERGE INTO users u USING countries c ON u.name = c.code WHEN MATCHED THEN DELETE",
            f"MERGE INTO orders o USING users u ON o.user_id = u.id AND u.id = {every[1]} AND o.id = 1 WHEN MATCHED THEN UPDATE SET product = 'one'",
            f"MERGE INTO users u USING (VALUES ('v')) v (name) ON u.id = {every[2]} WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES ({every[2]}, 'n')",
            "MERGE INTO users u USING (VALUES ('v')) v (name) ON u.id = 600100 WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, name) VALUES (600100, v.name)"):
        twin.same(sql)
        twin.check_all_rows()
    twin.refused("MERGE INTO orders o USING users u ON o.user_id = u.id WHEN MATCHED THEN UPDATE SET user_id = 1")
    twin.refused("MERGE INTO orders o USING users u ON o.id = u.id WHEN NOT MATCHED THEN INSERT (user_id, id, product) VALUES (u.id, 5, 'x')")
    twin.same("DELETE FROM orders WHERE user_id >= 600000")
    twin.same("DELETE FROM users WHERE id >= 600000")
