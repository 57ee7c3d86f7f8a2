"""DDL over several shards: on all of them or on none, inside transactions and outside."""
import threading

import psycopg
import psycopg2
import psycopg2.errors
import pytest

import harness


@pytest.fixture(scope="module")
def proxy(clusters):
    with harness.running([harness.database_toml(clusters, replicas=False)], pool={"size": 4}) as weir:
        yield weir


@pytest.fixture(autouse=True)
def nothing_is_left(clusters):
    yield
    harness.wait_for(lambda: set(clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts")) == {"0"}, "no prepared transaction to be left")


def run(proxy, *statements):
    connection = proxy.connect()
    try:
        with connection.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)
            return cursor.statusmessage
    finally:
        connection.close()


def columns(clusters, table):
    return clusters.everywhere(f"SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped")


def count(clusters, catalog, condition):
    return clusters.everywhere(f"SELECT count(*) FROM {catalog} WHERE {condition}")


EVERYWHERE, HOME, NOWHERE = ["1"] * 4, ["1", "0", "0", "0"], ["0"] * 4


def test_a_listed_table_is_altered_on_every_shard(proxy, clusters):
    assert run(proxy, "ALTER TABLE orders ADD COLUMN extra int") == "ALTER TABLE"
    assert all("extra" in found for found in columns(clusters, "orders"))
    run(proxy, "ALTER TABLE orders DROP COLUMN extra")
    assert not any("extra" in found for found in columns(clusters, "orders"))


def test_indexes_of_listed_tables_are_everywhere_and_others_at_home(proxy, clusters):
    run(proxy, "CREATE TABLE plain (id int)", "CREATE INDEX plain_by_id ON plain (id)", "CREATE INDEX orders_by_product ON orders (product)")
    assert count(clusters, "pg_class", "relname = 'orders_by_product'") == EVERYWHERE
    assert count(clusters, "pg_class", "relname = 'plain_by_id'") == HOME
    await_catalog(proxy, "DROP INDEX plain_by_id")
    run(proxy, "DROP INDEX orders_by_product", "DROP TABLE plain")
    assert count(clusters, "pg_class", "relname IN ('orders_by_product', 'plain', 'plain_by_id')") == NOWHERE


def await_catalog(proxy, sql):
    """What was made a moment ago is known when the catalog is loaded again."""
    def works():
        try:
            run(proxy, sql)
            return True
        except psycopg2.Error:
            return False
    harness.wait_for(works, sql)


def test_a_transaction_of_ddl_and_rows_is_undone_everywhere(proxy, clusters, keys):
    before = [columns(clusters, t) for t in ("orders", "users")], clusters.everywhere("SELECT count(*) FROM orders")
    with psycopg.connect(proxy.dsn()) as connection:
        connection.execute("CREATE TABLE bookkeeping (version int)")
        connection.execute("INSERT INTO bookkeeping VALUES (1)")
        connection.execute("ALTER TABLE orders ADD COLUMN extra int DEFAULT 3")
        connection.execute("CREATE INDEX orders_by_extra ON orders (extra)")
        connection.execute("UPDATE orders SET extra = 4")
        connection.execute("INSERT INTO orders (user_id, id, product) VALUES (%s, 1, 'x'), (%s, 1, 'y')", (keys[0][0], keys[2][0]))
        connection.rollback()
    assert ([columns(clusters, t) for t in ("orders", "users")], clusters.everywhere("SELECT count(*) FROM orders")) == before
    assert count(clusters, "pg_class", "relname IN ('bookkeeping', 'orders_by_extra')") == NOWHERE


def test_a_migration_commits_everywhere(proxy, clusters, keys):
    with psycopg.connect(proxy.dsn()) as connection:
        connection.execute("CREATE TABLE bookkeeping (version int)")
        connection.execute("ALTER TABLE orders ADD COLUMN extra int DEFAULT 3")
        connection.execute("ALTER TABLE orders ADD CONSTRAINT positive CHECK (extra > 0)")
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        connection.execute("INSERT INTO bookkeeping VALUES (1)")
        connection.commit()
    assert all("extra" in found for found in columns(clusters, "orders"))
    assert count(clusters, "pg_constraint", "conname = 'positive'") == EVERYWHERE
    assert count(clusters, "pg_class", "relname = 'bookkeeping'") == HOME
    run(proxy, "ALTER TABLE orders DROP COLUMN extra", "DROP TABLE bookkeeping")


def test_a_list_of_tables_of_several_kinds_is_divided(proxy, clusters, keys):
    """Sharded, reference and home tables in one statement: each shard has its part, all in one transaction."""
    run(proxy, "CREATE TABLE plain (code text REFERENCES countries, n serial)", "CREATE TABLE other (id int)", "CREATE ROLE reader")
    await_catalog(proxy, "SELECT FROM plain, other")
    fill = ["INSERT INTO countries VALUES ('XX', 'Nowhere') ON CONFLICT DO NOTHING", "INSERT INTO plain VALUES ('XX')",
            f"INSERT INTO orders (user_id, id, product) VALUES ({keys[0][0]}, 901, 'x'), ({keys[2][0]}, 902, 'y')"]
    rows = lambda: [clusters.psql(f"SELECT count(*) FROM {t}", shard=i) for i in range(4) for t in ("orders", "countries", *(["plain"] if i == 0 else []))]
    run(proxy, *fill)
    before = rows()
    with pytest.raises(psycopg2.errors.FeatureNotSupported, match="referenced in a foreign key"):
        run(proxy, "TRUNCATE orders, countries")                     # plain, at home, refers to countries: nothing is emptied anywhere
    with pytest.raises(psycopg2.errors.UndefinedTable, match="nowhere"):
        run(proxy, "TRUNCATE orders, nowhere")
    assert rows() == before
    run(proxy, "BEGIN", "TRUNCATE orders, countries, plain, other", "ROLLBACK")
    assert rows() == before
    assert run(proxy, "TRUNCATE orders, countries, plain, other RESTART IDENTITY") == "TRUNCATE TABLE"
    assert set(rows()) == {"0"}
    run(proxy, *fill)
    assert run(proxy, "TRUNCATE countries, orders, other CASCADE") == "TRUNCATE TABLE"   # plain by its foreign key
    assert set(rows()) == {"0"}
    assert run(proxy, "ANALYZE other, orders") == "ANALYZE"
    assert run(proxy, "VACUUM other, orders") == "VACUUM"
    run(proxy, "GRANT SELECT ON other, orders TO reader")
    assert clusters.everywhere("SELECT has_table_privilege('reader', 'orders', 'SELECT')") == ["t"] * 4
    locked = "SELECT string_agg(DISTINCT relation::regclass::text, ' ') FROM pg_locks WHERE mode = 'ShareLock' AND relation::regclass::text IN ('orders', 'other')"
    with psycopg.connect(proxy.dsn()) as connection:
        connection.execute("LOCK other, orders IN SHARE MODE")
        assert clusters.everywhere(locked) == ["orders other", "orders", "orders", "orders"]
        connection.execute("DROP TABLE other, orders")
        assert clusters.everywhere("SELECT to_regclass('orders') IS NULL") == ["f"] * 4
        connection.rollback()
    run(proxy, "DROP TABLE plain, other", "REVOKE ALL ON orders FROM reader", "DROP ROLE reader")


def test_what_fails_on_one_shard_is_done_on_none(proxy, clusters):
    clusters.psql("CREATE INDEX in_the_way ON orders (product)", shard=2)
    try:
        with pytest.raises(psycopg2.errors.DuplicateTable):
            run(proxy, "CREATE INDEX in_the_way ON orders (product)")
        assert count(clusters, "pg_class", "relname = 'in_the_way'") == ["0", "0", "1", "0"]
    finally:
        clusters.psql("DROP INDEX in_the_way", shard=2)


def test_objects_without_a_table_are_on_every_shard(proxy, clusters):
    run(proxy, "CREATE SCHEMA everywhere", "CREATE TYPE everywhere.mood AS ENUM ('good', 'bad')", "CREATE DOMAIN everywhere.positive AS int CHECK (VALUE > 0)",
        "CREATE FUNCTION everywhere.one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'", "CREATE SEQUENCE everywhere.numbers",
        "COMMENT ON SCHEMA everywhere IS 'all'", "GRANT USAGE ON SCHEMA everywhere TO public", "ALTER DEFAULT PRIVILEGES IN SCHEMA everywhere GRANT SELECT ON TABLES TO public",
        "CREATE VIEW everywhere.lands AS SELECT code FROM countries", "ALTER TYPE everywhere.mood ADD VALUE 'fair'")
    assert count(clusters, "pg_namespace", "nspname = 'everywhere'") == EVERYWHERE
    assert count(clusters, "pg_enum", "enumlabel = 'fair'") == EVERYWHERE
    assert count(clusters, "pg_class", "relname IN ('numbers', 'lands')") == ["2"] * 4
    run(proxy, "DROP SCHEMA everywhere CASCADE")
    assert count(clusters, "pg_namespace", "nspname = 'everywhere'") == NOWHERE


def test_a_role_is_made_once_a_server(proxy, clusters):
    run(proxy, "CREATE ROLE everywhere_role")
    try:
        assert count(clusters, "pg_roles", "rolname = 'everywhere_role'") == EVERYWHERE
        run(proxy, "GRANT SELECT ON orders TO everywhere_role")
        assert clusters.everywhere("SELECT has_table_privilege('everywhere_role', 'orders', 'SELECT')") == ["t"] * 4
        run(proxy, "REVOKE ALL ON orders FROM everywhere_role")
    finally:
        run(proxy, "DROP ROLE everywhere_role")
    assert count(clusters, "pg_roles", "rolname = 'everywhere_role'") == NOWHERE


def test_truncate_of_listed_tables(proxy, clusters, keys):
    run(proxy, *(f"INSERT INTO works (user_id, id, created_at, title) VALUES ({k}, 77, '2024-01-05', 't')" for shard in keys for k in shard))
    assert all(int(n) > 0 for n in clusters.everywhere("SELECT count(*) FROM works"))
    assert run(proxy, "TRUNCATE works, orders RESTART IDENTITY") == "TRUNCATE TABLE"
    assert clusters.everywhere("SELECT count(*) FROM works") == NOWHERE


def test_notices_come_from_one_shard(proxy, clusters):
    with psycopg.connect(proxy.dsn(), autocommit=True) as connection:
        told = []
        connection.add_notice_handler(lambda d: told.append(d.message_primary))
        connection.execute("DROP INDEX IF EXISTS not_there_at_all")
        assert len(told) == 1


def test_an_index_made_concurrently_goes_from_shard_to_shard(proxy, clusters):
    assert run(proxy, "CREATE INDEX CONCURRENTLY slowly ON orders (product)") == "CREATE INDEX"
    assert count(clusters, "pg_index i JOIN pg_class c ON c.oid = indexrelid", "relname = 'slowly' AND indisvalid") == EVERYWHERE
    run(proxy, "REINDEX INDEX CONCURRENTLY slowly", "VACUUM orders", "ANALYZE orders", "DROP INDEX CONCURRENTLY slowly")
    assert count(clusters, "pg_class", "relname = 'slowly'") == NOWHERE


def test_one_by_one_says_where_it_stopped_and_goes_on(proxy, clusters):
    clusters.psql("CREATE INDEX slowly ON orders (product)", shard=2)
    with pytest.raises(psycopg2.errors.DuplicateTable) as failed:
        run(proxy, "CREATE INDEX CONCURRENTLY slowly ON orders (product)")
    assert "It failed on shard" in failed.value.diag.message_detail and "done on:" in failed.value.diag.message_detail
    assert "IF NOT EXISTS" in failed.value.diag.message_hint
    assert count(clusters, "pg_class", "relname = 'slowly'") == ["1", "1", "1", "0"]
    run(proxy, "CREATE INDEX CONCURRENTLY IF NOT EXISTS slowly ON orders (product)")
    assert count(clusters, "pg_class", "relname = 'slowly'") == EVERYWHERE
    run(proxy, "DROP INDEX CONCURRENTLY slowly")


def test_concurrently_in_a_block_has_postgresqls_code(proxy):
    with psycopg.connect(proxy.dsn()) as connection:
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            connection.execute("VACUUM orders")


def test_two_at_once_do_not_hang(proxy, clusters):
    failures = []

    def alter(name):
        try:
            for _ in range(3):
                run(proxy, f"ALTER TABLE orders ADD COLUMN {name} int", f"ALTER TABLE orders DROP COLUMN {name}")
        except psycopg2.Error as error:
            failures.append(error.pgcode)

    threads = [threading.Thread(target=alter, args=(f"c{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(set(columns(clusters, "orders"))) == 1
    assert set(failures) <= {"55P03", "40P01"}


REFUSED = [
    "CREATE DATABASE d", "ALTER SYSTEM SET work_mem = '1MB'", "CREATE TABLESPACE t LOCATION '/tmp'", "ALTER DATABASE app SET work_mem = '1MB'",
    "ALTER TABLE orders RENAME TO other", "ALTER TABLE orders RENAME COLUMN user_id TO other", "ALTER TABLE orders ALTER COLUMN user_id TYPE int",
    "ALTER TABLE orders DROP COLUMN user_id", "ALTER TABLE orders SET SCHEMA pg_catalog", "ALTER TABLE works DETACH PARTITION works_202401",
    "CREATE TABLE copied AS SELECT * FROM orders", "CREATE MATERIALIZED VIEW v AS SELECT * FROM orders", "CREATE TABLE child (u bigint REFERENCES users (id))",
    "CREATE TEMP TABLE orders (x int)", "DO $$ BEGIN END $$", "CREATE RULE r AS ON INSERT TO orders DO NOTHING",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_would_part_tables_from_their_rules_is_refused(proxy, clusters, sql):
    before = clusters.everywhere("SELECT count(*) FROM pg_class")
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as refused:
        run(proxy, sql)
    assert refused.value.diag.message_hint
    assert clusters.everywhere("SELECT count(*) FROM pg_class") == before


def test_listed_tables_that_do_not_exist_yet_are_made_through_weir(clusters, start_weir):
    tables = [*harness.weir_toml.DEMO_TABLES, {"name": "tickets", "key": "user_id"}, {"name": "colours", "reference": True}]
    late = start_weir([harness.database_toml(clusters, replicas=False, tables=tables)], pool={"size": 4})
    with pytest.raises(psycopg2.errors.UndefinedTable):
        run(late, "SELECT * FROM tickets")
    with psycopg.connect(late.dsn()) as connection:
        connection.execute("CREATE TABLE tickets (user_id bigint NOT NULL, id bigint, PRIMARY KEY (user_id, id))")
        connection.execute("CREATE TABLE colours (name text PRIMARY KEY)")
        connection.execute("CREATE INDEX ON tickets (id)")
        connection.execute("ALTER TABLE tickets ADD COLUMN colour text REFERENCES colours (name)")
        connection.commit()
    try:
        assert count(clusters, "pg_class", "relname IN ('tickets', 'colours') AND relkind = 'r'") == ["2"] * 4
        await_catalog(late, "INSERT INTO colours VALUES ('red')")
        await_catalog(late, "INSERT INTO tickets VALUES (1, 1, 'red'), (2, 1, 'red'), (3, 1, 'red'), (-1, 1, 'red'), (-2, 1, 'red'), (-3, 1, 'red')")
        assert clusters.everywhere("SELECT count(*) FROM colours") == EVERYWHERE
        assert sum(map(int, clusters.everywhere("SELECT count(*) FROM tickets"))) == 6
        assert len([n for n in clusters.everywhere("SELECT count(*) FROM tickets") if n != "0"]) > 1
    finally:
        run(late, "DROP TABLE tickets", "DROP TABLE colours")
    assert count(clusters, "pg_class", "relname IN ('tickets', 'colours')") == NOWHERE


# --- what a transaction has made, in that transaction


@pytest.fixture
def late(clusters, start_weir):
    """A Weir with two listed tables that are not there yet; none of the tables that the tests make stays."""
    tables = [*harness.weir_toml.DEMO_TABLES, {"name": "tickets", "key": "user_id"}, {"name": "colours", "reference": True}]
    yield start_weir([harness.database_toml(clusters, replicas=False, tables=tables)], pool={"size": 4})
    for i in range(4):
        clusters.psql("DROP TABLE IF EXISTS tickets, colours, plain CASCADE", shard=i)


MADE = ("CREATE TABLE plain (id int)", "CREATE TABLE colours (name text PRIMARY KEY)", "CREATE TABLE tickets (user_id bigint NOT NULL, id bigint, PRIMARY KEY (user_id, id))")


@pytest.mark.parametrize("first", ("SELECT 1", "UPDATE settings_unlisted SET value = 'b'", "UPDATE orders SET product = product"))
@pytest.mark.parametrize("prepare", (False, True))
def test_tables_made_in_a_transaction_are_used_in_it(late, clusters, keys, first, prepare):
    rows = [(k, n) for shard in keys for n, k in enumerate(shard)]
    with psycopg.connect(late.dsn()) as connection:
        run = lambda sql, values=None: connection.execute(sql, values, prepare=prepare)
        for sql in (first, *MADE):
            run(sql)
        run("INSERT INTO plain VALUES (1), (2)")
        run("INSERT INTO colours VALUES (%s), (%s)", ("red", "blue"))
        for row in rows:
            run("INSERT INTO tickets (user_id, id) VALUES (%s, %s)", row)
        run("ALTER TABLE tickets ADD COLUMN colour text DEFAULT 'red' REFERENCES colours")
        run("CREATE INDEX by_colour ON tickets (colour)")
        run("UPDATE tickets SET colour = 'blue' WHERE id > 0")
        assert run("SELECT count(*), count(*) FILTER (WHERE colour = 'blue') FROM tickets").fetchone() == (len(rows), len([r for r in rows if r[1] > 0]))
        assert run("SELECT colour FROM tickets WHERE user_id = %s AND id = 0", (keys[2][0],)).fetchone() == ("red",)
        with connection.cursor().copy("COPY tickets (user_id, id) FROM STDIN") as copy:
            copy.write("".join(f"{k}\t100\n" for shard in keys for k in shard))
        assert run("SELECT count(*) FROM tickets JOIN colours ON name = colour").fetchone() == (2 * len(rows),)
        assert run("SELECT count(*) FROM plain").fetchone() == (2,)
        connection.commit()
        assert run("SELECT count(*) FROM tickets").fetchone() == (2 * len(rows),)
    assert [int(n) for n in clusters.everywhere("SELECT count(*) FROM tickets")] == [2 * len(shard) for shard in keys]
    assert clusters.everywhere("SELECT count(*) FROM colours") == ["2"] * 4
    assert count(clusters, "pg_class", "relname = 'plain'") == HOME


def test_what_a_rollback_undoes_is_forgotten(late, clusters, keys):
    insert = f"INSERT INTO tickets (user_id, id) VALUES ({keys[0][0]}, 1), ({keys[1][0]}, 1)"
    connection = late.connect()
    cursor = connection.cursor()

    def is_missing(sql):
        cursor.execute("SAVEPOINT missing")
        with pytest.raises(psycopg2.errors.UndefinedTable):
            cursor.execute(sql)
        cursor.execute("ROLLBACK TO missing")

    try:
        for end in ("ROLLBACK", "COMMIT"):
            for sql in ("BEGIN", "CREATE TABLE plain (id int)", "SAVEPOINT a", MADE[2], insert, "SAVEPOINT b", "DROP TABLE tickets"):
                cursor.execute(sql)
            is_missing(insert)
            cursor.execute("ROLLBACK TO b")
            cursor.execute("SELECT count(*) FROM tickets")
            assert cursor.fetchone() == (2,)
            cursor.execute("ROLLBACK TO a")
            is_missing("SELECT * FROM tickets")
            cursor.execute("INSERT INTO plain VALUES (1)")
            cursor.execute(MADE[2].replace("id bigint,", "id bigint, note text DEFAULT 'x',"))
            cursor.execute(insert)
            cursor.execute("SELECT min(note) FROM tickets")
            assert cursor.fetchone() == ("x",)
            cursor.execute(end)
            if end == "ROLLBACK":
                with pytest.raises(psycopg2.errors.UndefinedTable):
                    cursor.execute("SELECT * FROM tickets")
        cursor.execute("SELECT count(*) FROM tickets")
        assert cursor.fetchone() == (2,)
        cursor.execute("BEGIN")
        cursor.execute("DROP TABLE tickets, plain")
        is_missing("SELECT * FROM tickets")
        is_missing("SELECT * FROM plain")
        with connection.cursor() as other:
            other.execute("ROLLBACK")
        cursor.execute("SELECT count(*) FROM tickets")
        assert cursor.fetchone() == (2,)
    finally:
        connection.close()


def test_others_plan_by_what_is_committed(late, clusters, keys):
    """A plan made by a transaction's own catalog is nobody else's, nor its own behind ROLLBACK."""
    text = "SELECT count(*) FROM tickets"
    with psycopg.connect(late.dsn()) as one, psycopg.connect(late.dsn(), autocommit=True) as two:
        one.execute(MADE[2])
        assert one.execute(text, prepare=True).fetchone() == (0,)
        with pytest.raises(psycopg.errors.UndefinedTable):
            two.execute(text)
        one.rollback()
        with pytest.raises(psycopg.errors.UndefinedTable):
            one.execute(text, prepare=True)
        one.rollback()
        one.execute(MADE[2])
        assert one.execute(text, prepare=True).fetchone() == (0,)
        one.commit()
        assert one.execute(text, prepare=True).fetchone() == two.execute(text).fetchone() == (0,)


def test_ddl_and_what_stands_behind_it_in_one_pipeline(late, clusters, keys):
    with psycopg.connect(late.dsn()) as connection:
        connection.execute("SELECT count(*) FROM users")   # the transaction has begun
        with connection.pipeline():
            connection.execute(MADE[2])
            for shard in keys:
                connection.execute("INSERT INTO tickets (user_id, id) VALUES (%s, 1)", (shard[0],))
            connection.execute("ALTER TABLE tickets ADD COLUMN note text")
            found = connection.execute("UPDATE tickets SET note = 'x' RETURNING user_id")
            assert len(found.fetchall()) == 4
        connection.commit()
    assert clusters.everywhere("SELECT count(*) FROM tickets WHERE note = 'x'") == EVERYWHERE


def test_a_session_of_other_settings_reads_the_same_catalog(late, clusters, keys):
    """search_path, role and what else changes how PostgreSQL shows its catalog stay as the client has set them."""
    with psycopg.connect(late.dsn()) as connection:
        for sql in ("SET search_path = no_such_schema, public", "SET quote_all_identifiers = on", "SET LOCAL statement_timeout = '20s'", MADE[1],
                    "ALTER TABLE colours ADD COLUMN at timestamptz", "ALTER TABLE colours ALTER COLUMN at SET DEFAULT now()"):
            connection.execute(sql)
        connection.execute("INSERT INTO colours VALUES ('red')")
        assert connection.execute("SHOW statement_timeout").fetchone() == ("20s",)
        assert connection.execute("SHOW search_path").fetchone() == ("no_such_schema, public",)
        connection.execute("UPDATE orders SET product = product")
        connection.commit()
    assert len(set(clusters.everywhere("SELECT name || at FROM colours"))) == 1


def test_a_server_lost_while_the_catalog_is_read_leaves_nothing_but_rollback(late, clusters):
    with psycopg.connect(late.dsn()) as connection:
        connection.execute(MADE[2])
        clusters.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = 'app'")
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT count(*) FROM tickets")
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT count(*) FROM tickets")
