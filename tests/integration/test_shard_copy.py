"""COPY over four shards: as one PostgreSQL that holds all the rows, atomically, in bounded memory."""
import asyncio
import contextlib
import io
import pathlib
import time

import asyncpg
import psycopg
import psycopg2
import psycopg2.errors
import pytest

import harness
import sharded
import wire_client as wire

ORDERS = "orders (user_id, id, product)"


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=4)


@pytest.fixture(scope="module")
def plain(clusters):
    connection = psycopg2.connect(sharded.create_reference(clusters))
    connection.autocommit = True
    yield connection
    connection.close()


@pytest.fixture
def connection(weir):
    with contextlib.closing(weir.connect()) as found:
        yield found


@pytest.fixture(autouse=True)
def empty_tables(clusters, plain):
    yield
    for i in range(len(clusters.shards)):
        clusters.psql("TRUNCATE orders, users, works; DELETE FROM countries WHERE code > 'Z'", shard=i)
    with plain.cursor() as cursor:
        cursor.execute("TRUNCATE orders, users, works; DELETE FROM countries WHERE code > 'Z'")


def rows_by_shard(clusters, sql="SELECT user_id, id, product FROM orders ORDER BY 1, 2"):
    return [clusters.psql(sql, shard=i) for i in range(len(clusters.shards))]


def counts(clusters, table="orders"):
    return [int(clusters.psql(f"SELECT count(*) FROM {table}", shard=i)) for i in range(len(clusters.shards))]


def load(connection, sql, data):
    """Rows loaded, or (SQLSTATE, message, CONTEXT)."""
    source = io.BytesIO(data) if isinstance(data, bytes) else io.StringIO(data, newline="")
    with connection.cursor() as cursor:
        try:
            cursor.copy_expert(sql, source)
        except psycopg2.Error as error:
            return error.pgcode, error.diag.message_primary, error.diag.context
        return cursor.rowcount


def check_placed(clusters, plain, table="orders", columns="user_id, id, product"):
    """All rows of the plain database, each on its key's shard and there only."""
    with plain.cursor() as cursor:
        cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
        wanted = cursor.fetchall()
    shard_of = sharded.shards_of(clusters, {row[0] for row in wanted}) if wanted else {}
    for i in range(len(clusters.shards)):
        with contextlib.closing(psycopg2.connect(clusters.conninfo(shard=i))) as shard, shard.cursor() as cursor:
            cursor.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2")
            assert cursor.fetchall() == [row for row in wanted if shard_of[row[0]] == i], i


def same_load(connection, plain, sql, data):
    here, there = load(connection, sql, data), load(plain, sql, data)
    assert here == there, sql
    return here


# --- FROM


@pytest.mark.parametrize("sql, data", [
    (f"COPY {ORDERS} FROM STDIN", "".join(f"{k}\t{k}\tp\\t{k}\n" for k in range(-500, 500))),
    (f"COPY {ORDERS} FROM STDIN WITH (FORMAT csv)", "".join(f'{k},{k},"a ""quoted""\n\nline, {k}"\n' for k in range(500))),
    (f"COPY {ORDERS} FROM STDIN WITH (FORMAT csv, HEADER)", "user_id,id,product\r\n" + "".join(f"{k},{k},x\r\n" for k in range(100))),
    (f"COPY {ORDERS} FROM STDIN WITH (FORMAT csv, HEADER MATCH, DELIMITER ';')", "user_id;id;product\n" + "".join(f"{k};{k};x\n" for k in range(100))),
    (f"COPY {ORDERS} FROM STDIN WITH CSV QUOTE '~' ESCAPE '!' DELIMITER '|' NULL 'nil'", "".join(f"{k}|~{k}~|~a!~b|\n~\n" for k in range(100))),
    ("COPY orders (product, id, user_id) FROM STDIN", "".join(f"\\x41\\n\\101\t{k}\t\\x3{k % 10}{k}\n" for k in range(200))),
    (f"COPY {ORDERS} FROM STDIN WHERE id % 2 = 0", "".join(f"{k}\t{k}\tx\n" for k in range(200))),
    (f"COPY {ORDERS} FROM STDIN", "1\t1\tx\n2\t1\ty\n\\.\nnot\tread\n"),
    (f"COPY {ORDERS} FROM STDIN", "1\t1\tx\n2\t1\tlast line without an end"),
    (f"COPY {ORDERS} FROM STDIN", ""),
])
def test_rows_go_to_the_shards_of_their_keys(connection, plain, clusters, sql, data):
    loaded = same_load(connection, plain, sql, data)
    assert isinstance(loaded, int)
    check_placed(clusters, plain)


def test_all_columns_of_the_table_without_a_list(connection, plain, clusters):
    data = "".join(f"{k}\tn{k}\t\\N\t2024-01-01 00:00:00+00\n" for k in range(300))
    same_load(connection, plain, "COPY users FROM STDIN", data)
    check_placed(clusters, plain, "users", "id, name, email")


def test_a_partitioned_table(connection, plain, clusters):
    data = "".join(f"{k}\t{k}\t2024-0{k % 3 + 1}-15 00:00+00\tt{k}\n" for k in range(300))
    same_load(connection, plain, "COPY works FROM STDIN", data)
    check_placed(clusters, plain, "works", "user_id, id, title")


def test_binary_by_psycopg(weir, plain, clusters):
    rows = [(k, 7 * k, f"product\n{k}") for k in range(-300, 300)]
    for dsn in (weir.dsn(), plain.dsn):
        with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
            with cursor.copy(f"COPY {ORDERS} FROM STDIN WITH (FORMAT binary)") as copy:
                copy.set_types(["int8", "int8", "text"])
                for row in rows:
                    copy.write_row(row)
            assert cursor.rowcount == len(rows)
    check_placed(clusters, plain)


def test_binary_by_asyncpg(weir, plain, clusters):
    async def run(dsn):
        connection = await asyncpg.connect(dsn)
        try:
            return await connection.copy_records_to_table("orders", records=[(k, k, "x") for k in range(500)], columns=["user_id", "id", "product"])
        finally:
            await connection.close()
    assert asyncio.run(run(f"postgres://postgres@127.0.0.1:{weir.port}/app")) == "COPY 500"
    with plain.cursor() as cursor:
        cursor.execute("INSERT INTO orders (user_id, id, product) SELECT k, k, 'x' FROM generate_series(0, 499) k")
    check_placed(clusters, plain)


def test_every_shard_gets_the_rows_of_a_reference_table(connection, clusters):
    assert load(connection, "COPY countries FROM STDIN", "ZA\tSouth Africa\nZM\tZambia\n") == 2
    assert rows_by_shard(clusters, "SELECT code, name FROM countries WHERE code > 'Z' ORDER BY 1") == ["ZA|South Africa\nZM|Zambia"] * 4
    assert load(connection, "COPY countries FROM STDIN", "ZW\tZimbabwe\nZA\tagain\n")[0] == "23505"
    assert rows_by_shard(clusters, "SELECT count(*) FROM countries WHERE code = 'ZW'") == ["0"] * 4


def test_psql_copy_and_a_dump_of_data(weir, clusters, plain, tmp_path):
    data = "".join(f"{k}\t{k}\tx\n" for k in range(100))
    (tmp_path / "rows").write_text(data)
    harness.psql(weir.dsn(), f"\\copy {ORDERS} from '{tmp_path}/rows'")
    dump = "SET statement_timeout = 0;\nCOPY public.users (id, name) FROM stdin;\n" + "".join(f"{k}\tn{k}\n" for k in range(100)) + "\\.\n\nSELECT count(*) FROM users;\n"
    (tmp_path / "dump.sql").write_text(dump)
    assert harness.psql(weir.dsn(), f"\\i {tmp_path}/dump.sql").split()[-1] == "100"
    load(plain, f"COPY {ORDERS} FROM STDIN", data)
    check_placed(clusters, plain)


# --- errors


def bad_rows(n, bad, total=2000):
    return "".join(bad if k == n else f"{k}\t{k}\tx\n" for k in range(1, total))


@pytest.mark.parametrize("bad", ["not a key\t1\tx\n", "1\tnot a number\tx\n", "1\t1\n", "1\t1\tx\ty\n", "\\N\t1\tx\n", "1\t\\N\tx\n", "99999999999999999999\t1\tx\n", "1\t1\tx\\.y\n",
                                 "1\t1\t\\xff\n"])
def test_a_bad_row_fails_the_whole_with_its_line(connection, plain, clusters, bad):
    failed = same_load(connection, plain, f"COPY {ORDERS} FROM STDIN", bad_rows(1234, bad))
    assert isinstance(failed, tuple) and "line 1234" in failed[2]
    assert counts(clusters) == [0] * 4
    assert load(connection, f"COPY {ORDERS} FROM STDIN", "1\t1\tx\n") == 1   # the session works on


def test_lines_of_csv_with_newlines_and_a_header(connection, plain):
    data = "user_id,id,product\n" + "".join(f'{k},{k},"a\nb"\n' for k in range(50)) + '50,wrong,"a\nb"\n'
    failed = same_load(connection, plain, f"COPY {ORDERS} FROM STDIN WITH (FORMAT csv, HEADER)", data)
    assert "line 103" in failed[2]


def test_a_constraint_of_one_shard_fails_all(connection, plain, clusters, keys):
    k = keys[2][0]
    data = f"{k}\t1\tx\n" + "".join(f"{key}\t{n}\tx\n" for n in range(2, 50) for shard in keys for key in shard) + f"{k}\t1\ttwice\n"
    failed = same_load(connection, plain, f"COPY {ORDERS} FROM STDIN", data)
    assert failed[0] == "23505"
    assert counts(clusters) == [0] * 4


def test_mixed_newlines_and_other_malformed_data(connection, plain, clusters):
    for data in ("1\t1\tx\n2\t1\tx\r\n", "1\t1\tx\r\n2\t1\tx\n", "1\t1\tx\n\\.x\n"):
        same_load(connection, plain, f"COPY {ORDERS} FROM STDIN", data)
    for data in ('1,1,"x\n', "1,1,x\n2,1,x\r\n"):
        same_load(connection, plain, f"COPY {ORDERS} FROM STDIN WITH (FORMAT csv)", data)
    for data in (b"not binary", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\7", b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\3\0\0\0\1x"):
        here, there = (load(c, f"COPY {ORDERS} FROM STDIN WITH (FORMAT binary)", data) for c in (connection, plain))
        assert here[:2] == there[:2]
    assert counts(clusters) == [0] * 4


@pytest.mark.parametrize("sql, hint", [
    ("COPY orders (id, product) FROM STDIN", "Give a value for user_id"),
    (f"COPY {ORDERS} FROM STDIN WITH (FREEZE)", "Leave FREEZE out"),
    (f"COPY {ORDERS} FROM STDIN WITH (ENCODING 'SJIS')", "Convert the data"),
    ("COPY orders FROM '/tmp/x'", "COPY FROM STDIN"),
    ("COPY (SELECT * FROM orders ORDER BY id) TO STDOUT (ENCODING 'LATIN1')", "FORMAT, DELIMITER"),
    ("COPY (SELECT count(*) FROM orders) TO STDOUT (FORMAT nonsense)", "FORMAT, DELIMITER"),
    ("COPY (SELECT count(*) FROM orders) TO STDOUT (DELIMITER 'a')", "FORMAT, DELIMITER"),
])
def test_what_cannot_be_split_is_refused_with_a_hint(connection, clusters, sql, hint):
    with connection.cursor() as cursor, pytest.raises(psycopg2.errors.FeatureNotSupported) as refused:
        cursor.copy_expert(sql, io.StringIO("1\t1\tx\n"))
    assert hint in refused.value.diag.message_hint


def test_copy_fail_of_the_client(weir, clusters):
    with wire.WireClient(weir.port) as client:
        client.send(wire.query(f"COPY {ORDERS} FROM STDIN"))
        assert client.read_until("GE").kinds == "G"
        client.send(wire.message("d", b"1\t1\tx\n" * 100 + b"2\t") + wire.message("f", b"changed my mind\0"))
        replies = client.read_to_ready()
        assert (replies.errors, replies.status) == (["57014"], "I")
        assert replies[0].fields["M"] == "COPY from stdin failed: changed my mind"
        assert client.value("SELECT count(*) FROM orders") == "0"


def test_a_client_that_dies_in_the_middle(weir, clusters):
    with wire.WireClient(weir.port) as client:
        client.send(wire.query(f"COPY {ORDERS} FROM STDIN"))
        client.read_until("G")
        client.send(b"".join(wire.message("d", f"{k}\t{k}\tx\n".encode()) for k in range(10_000)))
    deadline = time.monotonic() + 20
    while any(int(clusters.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY orders%' AND state <> 'idle'", shard=i)) for i in range(4)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert counts(clusters) == [0] * 4


# --- the extended protocol


def test_by_the_extended_protocol_with_sync_and_flush_among_the_data(weir, clusters):
    with wire.WireClient(weir.port) as client:
        client.send(wire.parse(f"COPY {ORDERS} FROM STDIN") + wire.bind() + wire.describe() + wire.execute() + wire.sync())
        assert client.read_until("GE").kinds == "12nG"
        data = b"".join(wire.message("d", f"{k}\t{k}\tx\n".encode()) + (wire.flush() if k % 3 else wire.sync()) for k in range(100))
        client.send(data + wire.message("c") + wire.sync())
        replies = client.read_to_ready()
        assert (replies.kinds, replies.tags, replies.status) == ("CZ", ["COPY 100"], "I")
        assert sum(counts(clusters)) == 100
        client.send(wire.parse(f"COPY {ORDERS} FROM STDIN") + wire.bind() + wire.execute() + wire.sync())
        assert client.read_until("GE").kinds == "12G"
        client.send(wire.message("d", b"1\tx\n" * 10) + wire.message("c"))
        assert client.read_until("E").errors == ["22P02"]
        assert client.silent()   # the Sync among the data counts for nothing
        assert client.ask(wire.sync()).kinds == "Z"
        assert client.value("SELECT count(*) FROM orders") == "100"


def test_data_in_one_large_message_and_in_single_bytes(weir, clusters):
    data = b"".join(f"{k},{k},\"{'x' * 1000}\"\n".encode() for k in range(3000))
    with wire.WireClient(weir.port, timeout=60) as client:
        for pieces in ([data], [data[i:i + 1] for i in range(3000)] + [data[3000:]]):
            client.send(wire.query(f"COPY {ORDERS} FROM STDIN WITH (FORMAT csv)"))
            client.read_until("G")
            client.send(b"".join(wire.message("d", piece) for piece in pieces) + wire.message("c"))
            assert client.read_to_ready().tags == ["COPY 3000"]
            for i in range(4):
                clusters.psql("TRUNCATE orders", shard=i)


# --- transactions


def test_inside_a_transaction_with_other_statements(weir, clusters, keys):
    with contextlib.closing(weir.connect(autocommit=False)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO orders (user_id, id, product) VALUES (%s, 1, 'before')", (keys[1][0],))
        cursor.copy_expert(f"COPY {ORDERS} FROM STDIN", io.StringIO("".join(f"{k}\t2\tx\n" for shard in keys for k in shard)))
        cursor.execute("SELECT count(*) FROM orders")
        assert cursor.fetchone() == (17,)
        out = io.StringIO()
        cursor.copy_expert("COPY orders TO STDOUT", out)
        assert len(out.getvalue().splitlines()) == 17
        assert counts(clusters) == [0] * 4
        connection.rollback()
        cursor.execute("SELECT count(*) FROM orders")
        assert cursor.fetchone() == (0,)
        cursor.copy_expert(f"COPY {ORDERS} FROM STDIN", io.StringIO("".join(f"{k}\t2\tx\n" for shard in keys for k in shard)))
        cursor.execute("SAVEPOINT s")
        with pytest.raises(psycopg2.errors.UniqueViolation):
            cursor.copy_expert(f"COPY {ORDERS} FROM STDIN", io.StringIO(f"{keys[3][0]}\t2\ttwice\n"))
        cursor.execute("ROLLBACK TO s")
        connection.commit()
    assert counts(clusters) == [4] * 4


def test_a_copy_of_one_shards_rows_commits_without_two_phases(weir, clusters, keys, connection):
    decisions = "SELECT count(*) FROM weir.decision"
    before = clusters.everywhere(decisions)
    assert load(connection, f"COPY {ORDERS} FROM STDIN", "".join(f"{k}\t1\tx\n" for k in keys[2])) == 4
    assert counts(clusters) == [0, 0, 4, 0]
    assert clusters.everywhere(decisions) == before


# --- TO


def seed(clusters, plain, connection, n=400):
    data = "".join(f"{k}\t{k}\tp,\"{k}\n" for k in range(n))
    for c in (connection, plain):
        load(c, f"COPY {ORDERS} FROM STDIN", data)


def dump(connection, sql, binary=False):
    out = io.BytesIO() if binary else io.StringIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(sql, out)
        return out.getvalue(), cursor.rowcount


@pytest.mark.parametrize("sql", [
    f"COPY {ORDERS} TO STDOUT",
    f"COPY {ORDERS} TO STDOUT WITH (FORMAT csv, HEADER)",
    "COPY (SELECT id, user_id * 2 FROM orders WHERE id > 7) TO STDOUT WITH CSV HEADER DELIMITER ';'",
    "COPY (SELECT user_id, product FROM orders WHERE user_id IN (1, 2, 3, 4, 5)) TO STDOUT",
    "COPY (SELECT * FROM countries) TO STDOUT WITH (HEADER)",
    "COPY users TO STDOUT WITH CSV HEADER",
])
def test_rows_of_all_shards_and_one_header(connection, plain, clusters, sql):
    seed(clusters, plain, connection)
    (here, tagged), (there, expected) = dump(connection, sql), dump(plain, sql)
    assert tagged == expected
    here, there = here.splitlines(), there.splitlines()
    if "HEADER" in sql:
        assert here[0] == there[0]
    if "SELECT *" in sql or "created_at" not in here[:1]:
        assert sorted(here) == sorted(there)


def test_binary_out_has_one_header_and_one_trailer(connection, plain, clusters, weir):
    sql = f"COPY {ORDERS} TO STDOUT WITH (FORMAT binary)"
    assert dump(connection, sql, binary=True) == dump(plain, sql, binary=True)   # no rows
    seed(clusters, plain, connection)
    with psycopg.connect(weir.dsn()) as other, other.cursor() as cursor, cursor.copy(sql) as copy:
        copy.set_types(["int8", "int8", "text"])
        assert sorted(copy.rows()) == sorted((k, k, f'p,"{k}') for k in range(400))
    data, _ = dump(connection, sql, binary=True)
    with plain.cursor() as cursor:
        cursor.execute("TRUNCATE orders")
    assert load(plain, f"COPY {ORDERS} FROM STDIN WITH (FORMAT binary)", data) == 400
    check_placed(clusters, plain)


def test_what_goes_out_comes_in_again(connection, plain, clusters):
    seed(clusters, plain, connection)
    for options in ("", "WITH (FORMAT csv, HEADER MATCH)", "WITH (FORMAT binary)"):
        data, n = dump(connection, f"COPY {ORDERS} TO STDOUT {options.replace(' MATCH', '')}", binary=True)
        for i in range(4):
            clusters.psql("TRUNCATE orders", shard=i)
        assert load(connection, f"COPY {ORDERS} FROM STDIN {options}", data) == n == 400
        check_placed(clusters, plain)


# --- size


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def test_a_million_rows_in_bounded_memory(weir, clusters):
    with wire.WireClient(weir.port, timeout=200) as client:
        client.value("SELECT 1")
        before = most = resident(weir.pid)
        client.send(wire.query(f"COPY {ORDERS} FROM STDIN"))
        client.read_until("G")
        for start in range(0, 1_000_000, 10_000):
            client.send(wire.message("d", b"".join(b"%d\t%d\tsome product\n" % (k, k) for k in range(start, start + 10_000))))
            most = max(most, resident(weir.pid))
        client.send(wire.message("c"))
        assert client.read_to_ready().tags == ["COPY 1000000"]
        assert sum(counts(clusters)) == 1_000_000
        assert most - before < 32 << 20
        client.send(wire.query(f"COPY {ORDERS} TO STDOUT"))
        rows = 0
        while (got := client.read()).kind != "Z":
            rows += got.kind == "d"
            if rows % 100_000 == 0:
                most = max(most, resident(weir.pid))
        assert rows == 1_000_000 and most - before < 32 << 20


# --- TO, of a query whose rows are merged or finished by Weir


QUERIES = [
    "SELECT user_id, id, product FROM orders ORDER BY product, user_id DESC, id",
    "SELECT id, product, amount, created_at FROM orders ORDER BY id DESC, user_id LIMIT 5 OFFSET 2",
    "SELECT count(*), sum(amount), max(product) FROM orders",
    "SELECT product, count(*) AS \"how, many\" FROM orders GROUP BY product ORDER BY 1",
    "SELECT product FROM orders ORDER BY product, user_id, id",
    "SELECT DISTINCT product FROM orders ORDER BY 1",
    "SELECT user_id FROM orders WHERE false ORDER BY 1",
    "WITH o AS (SELECT product FROM orders) SELECT count(*) FROM o",
    "SELECT id, ')', /* ( */ $x$(($x$ FROM orders ORDER BY user_id, id",
]
COPY_OPTIONS = ["", " CSV", " CSV HEADER", " (HEADER)", " (FORMAT csv, FORCE_QUOTE *)", " (FORMAT csv, FORCE_QUOTE (product), NULL 'none', QUOTE '@', ESCAPE '!')", " (DELIMITER '|', NULL '')", " BINARY", " (FORMAT binary)"]
STRANGE = ["lamp", "", "a,b", 'say "x"', "two\nlines", "tab\there", "back\\slash", "\\.", "none", "\\N", "@!", "|", "\r", "\x01\v\f\b", "Größe", " x "]


def copied(connection, sql):
    out = io.BytesIO()
    with connection.cursor() as cursor:
        try:
            cursor.copy_expert(sql, out)
        except psycopg2.Error as error:
            return error.pgcode, error.diag.message_primary, error.diag.statement_position
        return out.getvalue(), cursor.rowcount


def test_a_querys_answer_is_copied_as_postgresql_writes_it(connection, plain, keys):
    rows = [(k, i, STRANGE[(i + n) % len(STRANGE)]) for n, k in enumerate(k for shard in keys for k in shard) for i in range(len(STRANGE))]
    for one in (connection, plain):
        with one.cursor() as cursor:
            for key, number, product in rows:
                cursor.execute(f"INSERT INTO {ORDERS} VALUES (%s, %s, %s)", (key, number, product))
            cursor.execute("UPDATE orders SET amount = id / 4.0, created_at = '2026-11-21 12:00+00'")
    for sql in QUERIES:
        for options in COPY_OPTIONS:
            ask = f"COPY ({sql}) TO STDOUT{options}"
            if "FORCE_QUOTE (product)" in options and "product" not in sql:
                continue
            assert copied(connection, ask) == copied(plain, ask), ask
    for wrong in ("COPY (SELECT nothing FROM orders ORDER BY 1) TO STDOUT", "COPY (SELECT 1/(id-3) FROM orders ORDER BY id) TO STDOUT", "COPY (SELECT id FROM orders ORDER BY 1) TO STDOUT (FORMAT csv, FORCE_QUOTE (nothing))"):
        here, there = copied(connection, wrong), copied(plain, wrong)
        assert here[:2] == there[:2] and (here[2] == there[2] or "1/" in wrong), wrong
    with connection.cursor() as cursor:   # in a transaction, with what it wrote
        cursor.execute("BEGIN")
        cursor.execute("DELETE FROM orders WHERE id > 0")
        assert copied(connection, "COPY (SELECT count(*) FROM orders) TO STDOUT") == (f"{sum(map(len, keys))}\n".encode(), 1)
        cursor.execute("ROLLBACK")


def test_a_querys_answer_is_copied_by_the_extended_protocol(weir, connection, keys):
    with connection.cursor() as cursor:
        for shard in keys:
            cursor.execute(f"INSERT INTO {ORDERS} VALUES (%s, 1, 'x')", (shard[0],))
    with wire.WireClient(weir.port) as client:
        found = client.ask(wire.parse("COPY (SELECT count(*) FROM orders) TO STDOUT") + wire.bind() + wire.describe() + wire.execute(rows=1) + wire.sync())
        assert found.kinds == "12nHdcCZ" and found.tags == ["COPY 1"], found
        found = client.ask(wire.parse("SELECT 1") + wire.parse("COPY (SELECT id FROM orders ORDER BY 1) TO STDOUT", name="c") + wire.bind(name="c") + wire.execute() + wire.execute() + wire.sync())
        assert found.kinds == "112HddddcCEZ" and found.errors == ["55000"], found
        assert client.query("SELECT count(*) FROM orders").rows == [["4"]]
