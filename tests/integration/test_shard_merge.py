"""Merging what several shards send: large results in bounded memory, slow clients, lost shards, text by a locale's collation."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import psycopg
import psycopg2
import pytest

import harness
import sharded
import wire_client as wire

ROWS = 250_000   # of each shard


@pytest.fixture(scope="module")
def rows(clusters):
    """`orders` with 1,000,000 rows over four shards: each shard's share is made there, by the shard's own keys."""
    per_shard = harness.BUCKETS // len(clusters.shards)
    for i in range(len(clusters.shards)):
        clusters.psql(f"""
            INSERT INTO orders (id, user_id, product, amount, created_at)
            SELECT n, k, 'product of ' || k, n % 1000, '2024-01-01 00:00+00'::timestamptz + n * interval '1 second'
              FROM (SELECT k FROM generate_series(1, 10000) k WHERE (hashint8extended(k, 0) & {harness.BUCKETS - 1}) / {per_shard} = {i} LIMIT 250) keys (k),
                   generate_series(1, {ROWS // 250}) n""", shard=i)
    clusters.await_replication()
    yield ROWS * len(clusters.shards)
    for i in range(len(clusters.shards)):
        clusters.psql("TRUNCATE orders", shard=i)


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def count_rows(client, sql, on_row=lambda n: None):
    """Rows of a simple query, not kept; how it ended."""
    client.send(wire.query(sql))
    n = 0
    while (got := client.read()) is not None and got.kind in "TDN":
        n += got.kind == "D"
        on_row(n)
    return n, got


@pytest.mark.parametrize("sql", ["SELECT * FROM orders", "SELECT * FROM orders ORDER BY created_at, user_id", "SELECT * FROM orders ORDER BY product DESC, id"])
def test_a_large_result_passes_through_in_bounded_memory(rows, weir, sql):
    with wire.WireClient(weir.port, timeout=120) as client:
        client.value("SELECT 1")
        before, most = resident(weir.pid), 0

        def watch(n):
            nonlocal most
            if n % 50_000 == 0:
                most = max(most, resident(weir.pid))

        n, end = count_rows(client, sql, watch)
        assert (n, end.kind, end.tag) == (rows, "C", f"SELECT {rows}")
        assert most - before < 16 << 20, (before, most)


def test_sorted_rows_of_a_large_result_are_in_order(rows, weir):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection, connection.cursor() as cursor:
        last, n = None, 0
        for row in cursor.stream("SELECT created_at, user_id, id FROM orders ORDER BY created_at, user_id"):
            assert last is None or last <= row[:2]
            last, n = row[:2], n + 1
        assert n == rows


@pytest.fixture
def primaries(clusters, start_weir):
    """A proxy that knows of no replicas, so that it is certain where a SELECT runs."""
    return start_weir([harness.database_toml(clusters, replicas=False)])


def test_a_client_that_does_not_read_holds_the_shards_back(rows, primaries, clusters):
    weir = primaries
    sending = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND query LIKE '%orders%'"
    with wire.WireClient(weir.port) as client:
        before = resident(weir.pid)
        client.send(wire.query("SELECT * FROM orders ORDER BY created_at"))
        harness.wait_for(lambda: clusters.everywhere(sending) == ["1"] * 4, "every shard to wait for its reader")
        assert resident(weir.pid) - before < 16 << 20
    harness.wait_for(lambda: clusters.everywhere(sending) == ["0"] * 4, "the shards to be cancelled")


def test_a_limit_ends_the_shards_work(rows, weir, clusters):
    with wire.WireClient(weir.port) as client:
        for _ in range(3):
            got = client.ask(wire.parse("SELECT id FROM orders ORDER BY product") + wire.bind() + wire.execute(rows=5) + wire.sync())
            assert got.kinds == "12DDDDDsZ"
            assert client.query("SELECT id FROM orders LIMIT 3").kinds == "TDDDCZ"
            assert len(client.query("SELECT id FROM orders ORDER BY id, user_id OFFSET 10 LIMIT 100000").rows) == 100000
    working = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%orders%' AND pid <> pg_backend_pid()"
    harness.wait_for(lambda: clusters.everywhere(working) == ["0"] * 4, "the shards to be at rest")


def test_what_is_gathered_is_bounded_and_said_so(rows, weir):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.OutOfMemory) as refused:
            connection.execute("SELECT DISTINCT repeat(product || id || user_id, 20) FROM orders ORDER BY 1")
        assert refused.value.diag.message_hint and "64 MB" in refused.value.diag.message_primary
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (rows,)


# --- lost shards


def test_a_server_lost_in_the_middle_is_an_error_and_never_a_short_answer(rows, primaries, clusters):
    backend = "SELECT pid FROM pg_stat_activity WHERE query LIKE '%orders%' AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND state = 'active'"
    with wire.WireClient(primaries.port) as client:
        client.send(wire.query("SELECT * FROM orders ORDER BY created_at"))
        assert client.read_until("D")[-1].kind == "D"
        pid = harness.wait_for(lambda: clusters.psql(backend, shard=2), "the shard's backend")
        clusters.psql(f"SELECT pg_terminate_backend({pid})", shard=2)
        end = client.read_until("CE")[-1]
        assert end.kind == "E" and end.fields["C"] in ("08006", "57P01"), end
        assert client.read_to_ready().status == "I"
        assert client.value("SELECT 1") == "1"


def test_a_server_lost_while_idle_is_replaced(weir, clusters):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        for shard in range(4):
            connection.execute("SELECT id FROM users ORDER BY id")
            clusters.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() "
                          "AND state = 'idle' AND application_name NOT LIKE '%monitor%'", shard=shard)
            connection.execute("SELECT id FROM users ORDER BY id")


# --- text by a locale


WORDS = ["", "a", "A", "b", "B", "ab", "a b", "a-b", "a_b", "ä", "Ä", "z", "Z", "é", "e", "E", "10", "9", " a", "a ", "ß", "ss", "日本", "-", "_", "co-op", "coop", "CO-OP",
         "resume", "résumé", "Résumé", "Resume"]


@pytest.fixture(scope="module")
def english():
    """Two shards whose database is in en_US.UTF-8, which they and Weir find by LOCPATH: (clusters, a proxy, the environment's folder)."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="weir-locale-"))
    folder.chmod(0o755)   # PostgreSQL runs as somebody else
    made = subprocess.run(["localedef", "-i", "en_US", "-f", "UTF-8", str(folder / "en_US.UTF-8")], capture_output=True)
    if made.returncode != 0:
        pytest.skip("localedef or its sources are not installed")
    before = os.environ.get("LOCPATH")
    os.environ["LOCPATH"] = str(folder)
    clusters = harness.Clusters("--shards", "2", "--replicas", "0")
    try:
        for i in range(2):
            clusters.psql("CREATE DATABASE english LOCALE 'en_US.UTF-8' TEMPLATE template0", shard=i, dbname="postgres")
        yield clusters
    finally:
        clusters.stop()
        shutil.rmtree(folder)
        os.environ.pop("LOCPATH")
        if before is not None:
            os.environ["LOCPATH"] = before


def english_toml(clusters):
    return harness.database_toml(clusters).replace("dbname=app", "dbname=english")


def test_text_is_merged_in_the_order_of_the_shards_locale(english, start_weir):
    ddl = (harness.SCHEMA / "schema.sql").read_text() + harness.month_partitions(harness.MONTHS)
    for i in range(2):
        english.psql(ddl, shard=i, dbname="english")
    proxy = start_weir([english_toml(english)], ready=False)
    harness.weirctl("init", "-c", str(proxy.config))
    harness.wait_for(lambda: harness.psql(proxy.dsn(), "SELECT 1", check=False).returncode == 0, "weir to know the shards")
    english.psql("CREATE DATABASE whole LOCALE 'en_US.UTF-8' TEMPLATE template0", dbname="postgres")
    english.psql("CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, email text)", dbname="whole")
    with contextlib.closing(proxy.connect(dbname="app")) as here, contextlib.closing(psycopg2.connect(english.conninfo(dbname="whole"))) as there:
        there.autocommit = True
        for connection in (here, there):
            with connection.cursor() as cursor:
                for i, word in enumerate(WORDS):
                    cursor.execute("INSERT INTO users (id, name, email) VALUES (%s, %s, %s)", (i * 7, word, word or None))
        for sql in ("SELECT name FROM users ORDER BY name", "SELECT email FROM users ORDER BY email DESC NULLS LAST, id", "SELECT name FROM users ORDER BY name COLLATE \"C\"",
                    "SELECT name::char(8) FROM users ORDER BY 1, id", "SELECT name FROM users ORDER BY name LIMIT 7 OFFSET 3"):
            found, wanted = sharded.Twin.ask(here, sql), sharded.Twin.ask(there, sql)
            assert found == wanted, sql
