"""What Weir keeps of a text over several shards (its columns, and prepared statements on the servers) never shows: answers and errors are those of a
server that is asked each time, whatever was done to the tables behind Weir's back."""
import contextlib
import struct
import threading

import psycopg2
import pytest

import harness
import metrics_client
import sharded
import wire_client as wire

SORTED = "SELECT id, user_id, product FROM orders ORDER BY product DESC, user_id, id LIMIT 5"
OFTEN = 4   # kept by the first, prepared by the third, used by the fourth


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=3)


@pytest.fixture(scope="module")
def reference(clusters):
    return sharded.create_reference(clusters)


@pytest.fixture(scope="module")
def weir(clusters):
    """Without replicas: they would have to be waited for behind each DDL."""
    with harness.running([harness.database_toml(clusters, replicas=False)]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def twin(weir, clusters, keys, reference):
    both = sharded.Twin(weir, clusters, reference)
    both.seed([k for shard in keys for k in shard], orders=3, works=1)
    yield both
    both.close()


@pytest.fixture
def client(twin, weir):
    with wire.WireClient(weir.port) as found:
        yield found


@contextlib.contextmanager
def altered(clusters, change, back, shards=None, dbname="reference"):
    """DDL on the shards themselves, and in the reference."""
    every = range(len(clusters.shards))
    for shard in shards or every:
        clusters.psql(change, shard=shard)
    if shards is None:
        clusters.psql(change, dbname=dbname)
    try:
        yield
    finally:
        for shard in shards or every:
            clusters.psql(back, shard=shard)
        if shards is None:
            clusters.psql(back, dbname=dbname)


def columns(described):
    """[(name, table, attribute, type)] of a RowDescription."""
    (count,), at, found = struct.unpack_from("!H", described.body), 2, []
    for _ in range(count):
        end = described.body.index(b"\0", at)
        table, attribute, kind = struct.unpack_from("!IHI", described.body, end + 1)
        found.append((described.body[at:end].decode(), table, attribute, kind))
        at = end + 19
    return found


def warm(client, sql, values=None):
    """The answer of each way to ask, each asked often."""
    answers = []
    for _ in range(OFTEN):
        answers.append(client.query(sql) if values is None else client.ask(wire.parse(sql) + wire.bind(*values) + wire.describe() + wire.execute() + wire.sync()))
        assert not answers[-1].errors, answers[-1]
        assert answers[-1].rows == answers[0].rows
    return answers[-1]


def parses(port):
    metrics = metrics_client.scrape(port)
    return metrics.sum("weir_server_parses_total"), metrics.sum("weir_prepared_hits_total")


def error(reply):
    return {field: reply[-2].fields.get(field) for field in "CMPDH"}


def same_error(client, reference, sql):
    with contextlib.closing(psycopg2.connect(reference)) as there, there.cursor() as cursor:
        with pytest.raises(psycopg2.Error) as wanted:
            cursor.execute(sql)
    found = error(client.query(sql))
    diag = wanted.value.diag
    assert found == {"C": diag.sqlstate, "M": diag.message_primary, "P": diag.statement_position, "D": diag.message_detail, "H": diag.message_hint}
    return found


def test_a_text_that_comes_again_is_prepared_on_its_servers_once(clusters, start_weir, twin):
    port = harness.free_port()
    proxy = start_weir([harness.database_toml(clusters, replicas=False)], listen={"workers": 1}, pool={"size": 1}, admin={"http": f"127.0.0.1:{port}"})
    with wire.WireClient(proxy.port) as client:
        shards = len(clusters.shards)
        for run in range(6):
            assert client.query(SORTED).tags == ["SELECT 5"]
            sent, used = parses(port)
            assert (sent, used) == (shards if run >= 2 else 0, shards * max(run - 2, 0)), f"run {run}"
        for limit in range(1, 5):   # another text each time: nothing to keep
            client.query(SORTED.replace("LIMIT 5", f"LIMIT {limit}"))
        assert parses(port)[0] == shards


def test_the_same_literal_means_what_the_session_says(client, twin, reference):
    sql = "SELECT user_id, id FROM works WHERE created_at >= '2024-01-01 00:00' ORDER BY user_id, id, created_at"
    seen = []
    with contextlib.closing(psycopg2.connect(reference)) as there, there.cursor() as cursor:
        for zone in ("UTC", "America/New_York", "UTC"):
            client.query(f"SET TimeZone = '{zone}'")
            cursor.execute(f"SET TimeZone = '{zone}'")
            cursor.execute(sql)
            wanted = [[str(v) for v in row] for row in cursor.fetchall()]
            assert warm(client, sql).rows == wanted
            seen.append(wanted)
    assert seen[0] == seen[2] != seen[1]


@pytest.mark.parametrize("bad", ["garbage", "2024-13-01"])
def test_an_error_has_the_place_in_the_clients_text(client, twin, reference, bad):
    sql = "SELECT id, created_at FROM orders WHERE created_at > '{}' ORDER BY created_at, user_id, id LIMIT 3"
    warm(client, sql.format("2024-01-02"))
    assert same_error(client, reference, sql.format(bad))["P"]
    warm(client, sql.format("2024-01-02"))


def test_a_value_that_cannot_be_read_is_the_same_error(client, twin):
    sql = "SELECT id FROM orders WHERE id > $1 ORDER BY user_id, id"
    first = client.ask(wire.parse(sql) + wire.bind("x") + wire.execute() + wire.sync())
    warm(client, sql, ("0",))
    again = client.ask(wire.parse(sql) + wire.bind("x") + wire.execute() + wire.sync())
    assert (again.kinds, error(again)) == (first.kinds, error(first))
    wrong = client.ask(wire.parse(sql) + wire.bind("1", "2") + wire.execute() + wire.sync())
    assert (wrong.kinds, wrong.errors) == ("1EZ", ["08P01"])


def test_a_column_that_is_gone_is_postgresqls_own_error(client, clusters, twin, reference):
    sql = "SELECT id, email FROM users ORDER BY id LIMIT 4"
    before = warm(client, sql)
    with altered(clusters, "ALTER TABLE users RENAME COLUMN email TO gone", "ALTER TABLE users RENAME COLUMN gone TO email"):
        for _ in range(2):
            assert same_error(client, reference, sql)["C"] == "42703"
    assert warm(client, sql).rows == before.rows


def test_a_new_column_is_seen(client, clusters, twin, weir):
    sql = "SELECT * FROM orders ORDER BY user_id, id LIMIT 4"
    before = columns(warm(client, sql)[0])
    with altered(clusters, "ALTER TABLE orders ADD COLUMN note text DEFAULT 'new'", "ALTER TABLE orders DROP COLUMN note"):
        assert client.query(sql).errors in ([], ["0A000"])   # what the star stands for is the catalog's word
        weir.console("RELOAD")
        for _ in range(OFTEN):
            found = client.query(sql)
            assert [c[0] for c in columns(found[0])] == [c[0] for c in before] + ["note"]
            assert {row[-1] for row in found.rows} == {"new"} and len(found.rows) == 4
    weir.console("RELOAD")
    assert columns(warm(client, sql)[0]) == before


def test_shards_that_differ_are_refused(client, clusters, twin):
    sql = "SELECT email, id FROM users ORDER BY id LIMIT 4"
    before = warm(client, sql)
    for only in range(len(clusters.shards)):
        with altered(clusters, "ALTER TABLE users ALTER COLUMN email TYPE varchar(300)", "ALTER TABLE users ALTER COLUMN email TYPE text", shards=[only]):
            for _ in range(2):
                assert client.query(sql).errors == ["0A000"], f"shard {only}"
        assert warm(client, sql).rows == before.rows


def test_a_type_that_all_shards_changed_is_told(client, clusters, twin):
    sql = "SELECT email, id FROM users WHERE email IS NOT NULL ORDER BY id LIMIT 4"
    before = warm(client, sql)
    with altered(clusters, "ALTER TABLE users ALTER COLUMN email TYPE varchar(300)", "ALTER TABLE users ALTER COLUMN email TYPE text"):
        found = warm(client, sql)
        assert (columns(before[0])[0][3], columns(found[0])[0][3]) == (25, 1043)
        assert found.rows == before.rows


@pytest.mark.parametrize("sql", ["SELECT name, id FROM users ORDER BY id LIMIT 3", "SELECT name, id FROM users WHERE id <> $1"])
def test_a_table_made_anew_is_described_as_the_new_one(client, clusters, twin, sql):
    values = ("0",) if "$1" in sql else None
    warm(client, sql, values)
    with altered(clusters, "ALTER TABLE users RENAME TO users_old; CREATE TABLE users (LIKE users_old INCLUDING ALL); INSERT INTO users SELECT * FROM users_old",
                 "DROP TABLE users; ALTER TABLE users_old RENAME TO users"):
        found = warm(client, sql, values)
        described = next(m for m in found if m.kind == "T")
        assert columns(described)[0][1] == int(clusters.psql("SELECT 'users'::regclass::oid", shard=0))
    warm(client, sql, values)


def test_a_parameters_type_follows_its_column(client, clusters, twin, keys):
    """Undeclared, it is what the column is."""
    sql = "SELECT product, id FROM orders WHERE product > $1 ORDER BY product, user_id, id"
    warm(client, sql, ("a",))
    with altered(clusters, "ALTER TABLE orders ALTER COLUMN product TYPE bytea USING product::bytea", "ALTER TABLE orders ALTER COLUMN product TYPE text USING convert_from(product, 'UTF8')"):
        found = warm(client, sql, ("\\x00",))
        assert columns(found[2])[0][3] == 17
        assert len(found.rows) == 3 * sum(map(len, keys))


def test_a_statement_that_was_closed_on_its_servers_runs(client, clusters, twin):
    answer = warm(client, SORTED)
    for shard in range(len(clusters.shards)):   # DISCARD ALL behind Weir's back is not possible, a server that ends is
        clusters.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name NOT LIKE 'weir%' AND pid <> pg_backend_pid() AND datname = current_database()", shard=shard)
    for _ in range(OFTEN):
        found = harness.wait_for(lambda: (lambda r: None if r.errors else r)(client.query(SORTED)), "an answer", 20)
        assert found.rows == answer.rows


def test_a_cancelled_statement_is_not_run_again(client, clusters, twin, weir):
    warm(client, SORTED)
    with contextlib.closing(psycopg2.connect(clusters.conninfo(shard=1))) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE orders")
        client.send(wire.query(SORTED))
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        harness.wait_for(lambda: int(clusters.psql(waits, shard=1)) == 1, "the statement to wait for the lock")
        stopper = threading.Thread(target=client.cancel)
        stopper.start()
        assert client.read_to_ready().errors == ["57014"]
        stopper.join()
        holder.rollback()
    warm(client, SORTED)
