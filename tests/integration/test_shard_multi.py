"""Several statements in one simple Query over several shards: in order, as one transaction, as PostgreSQL runs them.
https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT"""
import contextlib

import psycopg2
import pytest

import sharded
import wire_client as wire


@pytest.fixture(scope="module", autouse=True)
def rows(weir, keys):
    sharded.add_users(weir, [k for shard in keys for k in shard], name="old")


@pytest.fixture
def client(weir):
    with wire.WireClient(weir.port) as client:
        yield client


@pytest.fixture
def k(keys):
    return [shard[0] for shard in keys]


def test_reads_of_several_shards_in_one_string(client, k):
    found = client.query(f"SELECT id FROM users WHERE id = {k[0]}; SELECT id FROM users WHERE id = {k[1]}; SELECT 1; SELECT count(*) FROM users")
    assert found.kinds == "TDC" * 4 + "Z" and found.status == "I"
    assert found.rows == [[str(k[0])], [str(k[1])], ["1"], ["12"]]
    assert found.tags == ["SELECT 1"] * 4


def test_one_shards_strings_go_as_they_are(client, k):
    found = client.query(f"SELECT 1; SELECT id FROM users WHERE id = {k[2]}; SELECT name FROM users WHERE id = {k[2]}")
    assert found.rows == [["1"], [str(k[2])], ["old"]]


def test_writes_are_one_transaction(clusters, client, k):
    found = client.query(f"UPDATE users SET name = 'new' WHERE id = {k[0]}; UPDATE users SET name = 'new' WHERE id = {k[1]}; SELECT name FROM users WHERE id = {k[0]}")
    assert found.tags == ["UPDATE 1", "UPDATE 1", "SELECT 1"] and found.rows == [["new"]] and found.status == "I"
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'new'") == ["1", "1", "0", "0"]
    assert clusters.everywhere("SELECT count(*) FROM pg_prepared_xacts") == ["0"] * 4
    found = client.query(f"UPDATE users SET name = 'newer' WHERE id = {k[0]}; UPDATE users SET name = 'newer' WHERE id = {k[1]}; SELECT 1 / 0; UPDATE users SET name = 'newer' WHERE id = {k[2]}")
    assert found.tags == ["UPDATE 1", "UPDATE 1"] and found.errors == ["22012"] and found.status == "I"
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'newer'") == ["0"] * 4
    client.query(f"UPDATE users SET name = 'old' WHERE id = {k[0]}; UPDATE users SET name = 'old' WHERE id = {k[1]}")
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name <> 'old'") == ["0"] * 4


def test_the_first_error_ends_the_string(client, k):
    found = client.query(f"SELECT id FROM users WHERE id = {k[0]}; SELECT nonsense FROM users WHERE id = {k[1]}; SELECT id FROM users WHERE id = {k[2]}")
    assert found.kinds == "TDCEZ" and found.errors == ["42703"] and found.status == "I"
    sql = f"SELECT 'ü' FROM users WHERE id = {k[0]}; SELECT nonsense FROM users WHERE id = {k[1]}"
    position = int(next(m for m in client.query(sql) if m.kind == "E").fields["P"])
    assert sql[position - 1:].startswith("nonsense")
    found = client.query(f"SELECT id FROM users WHERE id = {k[0]}; SELEC 1; SELECT id FROM users WHERE id = {k[2]}")
    assert found.kinds == "EZ" and found.errors == ["42601"]


def test_with_begin_and_commit_in_the_string(clusters, client, k):
    found = client.query(f"BEGIN; UPDATE users SET name = 'b' WHERE id = {k[0]}; UPDATE users SET name = 'b' WHERE id = {k[3]}; COMMIT")
    assert found.tags == ["BEGIN", "UPDATE 1", "UPDATE 1", "COMMIT"] and found.status == "I", found
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'b'") == ["1", "0", "0", "1"]
    found = client.query(f"BEGIN; UPDATE users SET name = 'c' WHERE id = {k[0]}; UPDATE users SET name = 'c' WHERE id = {k[3]}; ROLLBACK")
    assert found.tags == ["BEGIN", "UPDATE 1", "UPDATE 1", "ROLLBACK"] and found.status == "I"
    found = client.query(f"BEGIN; UPDATE users SET name = 'c' WHERE id = {k[0]}; UPDATE users SET name = 'c' WHERE id = {k[3]}")
    assert found.status == "T" and client.query("ROLLBACK").status == "I"
    found = client.query(f"BEGIN; UPDATE users SET name = 'c' WHERE id = {k[0]}; UPDATE users SET name = 'c' WHERE id = {k[3]}; SELECT 1 / 0; COMMIT")
    assert found.errors == ["22012"] and found.status == "E"
    assert client.query("COMMIT").tags == ["ROLLBACK"]
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'c'") == ["0"] * 4
    client.query(f"UPDATE users SET name = 'old' WHERE id = {k[0]}; UPDATE users SET name = 'old' WHERE id = {k[3]}")


def test_within_a_transaction_block(clusters, client, k):
    client.query("BEGIN")
    found = client.query(f"UPDATE users SET name = 'd' WHERE id = {k[1]}; UPDATE users SET name = 'd' WHERE id = {k[2]}")
    assert found.tags == ["UPDATE 1"] * 2 and found.status == "T", found
    assert client.query(f"SELECT name FROM users WHERE id = {k[1]}; SELECT name FROM users WHERE id = {k[2]}").rows == [["d"], ["d"]]
    found = client.query(f"SELECT name FROM users WHERE id = {k[0]}; COMMIT")
    assert found.tags == ["SELECT 1", "COMMIT"] and found.status == "I"
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'd'") == ["0", "1", "1", "0"]
    client.query(f"UPDATE users SET name = 'old' WHERE id = {k[1]}; UPDATE users SET name = 'old' WHERE id = {k[2]}")


def test_what_is_not_answered_is_refused_and_does_nothing(clusters, client, k):
    one, two = (f"UPDATE users SET name = 'e' WHERE id = {key}" for key in k[:2])
    for sql in (f"{one}; COMMIT; {two}", f"{one}; BEGIN; {two}", f"{one}; SELECT set_config('work_mem', '5MB', false); {two}", f"{one}; {two}; DO $$ BEGIN END $$",
                f"{one}; {two}; COPY users FROM STDIN", f"{one}; {two}; COMMIT"):
        found = client.query(sql)
        assert found.errors == ["0A000"] and found.status == "I", (sql, found)
        assert next(m for m in found if m.kind == "E").fields["H"]
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'e'") == ["0"] * 4


def test_drivers_send_such_strings(weir, clusters, k):
    with contextlib.closing(psycopg2.connect(weir.dsn())) as connection:   # BEGIN by the driver
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE users SET name = 'f' WHERE id = {k[0]}; UPDATE users SET name = 'f' WHERE id = {k[2]}; SELECT count(*) FROM users WHERE name = 'f'")
            assert cursor.fetchone() == (2,)
        connection.rollback()
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'f'") == ["0"] * 4
    done = weir.psql(f"SELECT id FROM users WHERE id = {k[0]}; SELECT id FROM users WHERE id = {k[1]}")
    assert str(k[1]) in done
