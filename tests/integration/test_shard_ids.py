"""default_key = "weir.next_id" and weir.next_id(): ids that no two proxies give alike (docs/ids.md).

Two shards. Table accounts gets its key from the proxy; column `noted` of table notes gets its value from the function on the shard.
"""
import os
import re
import signal
import threading

import psycopg
import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy

import harness
import sharded
from wire_client import WireClient, bind, describe, execute, flush, parse, query, run, sync

EPOCH = 1704067200000
FIRST_PROXY_NODE = 512
LEASE = 5400000
TABLES = ({"name": "accounts", "key": "id", "default_key": "weir.next_id"}, {"name": "notes", "key": "account"})
DDL = """
CREATE TABLE accounts (id bigint PRIMARY KEY, name text NOT NULL DEFAULT 'nobody', tags text[]);
CREATE TABLE notes (account bigint NOT NULL, noted bigint NOT NULL DEFAULT weir.next_id(), PRIMARY KEY (account, noted));
CREATE TABLE at_home (id bigint PRIMARY KEY DEFAULT weir.next_id());
"""


@pytest.fixture(scope="module")
def shards():
    found = harness.Clusters("--shards", "2", "--replicas", "0", "--max-connections", "60")
    try:
        proxy = harness.Weir([toml(found)])
        harness.weirctl("init", "-c", str(proxy.config))
        proxy.stop()
        found.everywhere(DDL)
        yield found
    finally:
        found.stop()


def toml(shards, **options):
    return harness.database_toml(shards, tables=TABLES, **options)


@pytest.fixture(scope="module")
def weir(shards):
    with harness.running([toml(shards)]) as proxy:
        yield proxy


@pytest.fixture
def connection(weir):
    found = weir.connect()
    yield found
    found.close()


@pytest.fixture
def client(weir):
    with WireClient(weir.port) as found:
        yield found


def node(key):
    return key >> 12 & 1023


def stored(shards, condition="true"):
    """[(shard, id, name)] of accounts, from the shards themselves."""
    return [(i, int(key), name) for i in range(2)
            for key, _, name in (line.partition("|") for line in shards.psql(f"SELECT id, name FROM accounts WHERE {condition}", shard=i).splitlines())]


def are_where_they_belong(shards, keys):
    where = sharded.shards_of(shards, keys)
    found = {key: shard for shard, key, _ in stored(shards)}
    assert {key: found.get(key) for key in keys} == where


# --- statements ----------------------------------------------------------------------------------------------------------------------


def test_a_row_without_a_key_gets_one_and_is_found_by_it(connection, shards):
    with connection.cursor() as cursor:
        keys = []
        for i in range(20):
            cursor.execute("INSERT INTO accounts (name) VALUES (%s) RETURNING id, name", (f"one {i}",))
            (key, name), = cursor.fetchall()
            assert name == f"one {i}" and node(key) >= FIRST_PROXY_NODE
            cursor.execute("SELECT name FROM accounts WHERE id = %s", (key,))
            assert cursor.fetchall() == [(f"one {i}",)]
            keys.append(key)
        now = int(shards.psql("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)"))
        assert all(abs((key >> 22) + EPOCH - now) < 60_000 for key in keys)
    assert keys == sorted(set(keys))
    assert len(set(sharded.shards_of(shards, keys).values())) == 2
    are_where_they_belong(shards, keys)


@pytest.mark.parametrize("sql, names", [
    ("INSERT INTO accounts (name) VALUES ('é),(''x'), (upper('b)')), ('c') RETURNING id, name", ["é),('x", "B)", "c"]),
    ("INSERT INTO accounts AS a (tags, name) VALUES (ARRAY['x', 'y'], 'd') RETURNING a.id, a.name", ["d"]),
    ("INSERT INTO accounts (name, id) VALUES ('e', DEFAULT), (DEFAULT, weir.next_id()) RETURNING id, name", ["e", "nobody"]),
    ("INSERT INTO accounts VALUES (DEFAULT, 'f') RETURNING id, name", ["f"]),
    ("INSERT INTO accounts DEFAULT VALUES RETURNING id, name", ["nobody"]),
    ("WITH n AS (SELECT 'g' AS name) INSERT INTO public.accounts (name) VALUES ((SELECT name FROM n)) ON CONFLICT (id) DO NOTHING RETURNING id, name", ["g"]),
    ("/* INSERT INTO x (y) */ insert into accounts(name)values($$)h$$)returning id,name; -- ,", [")h"]),
])
def test_every_way_to_leave_the_key_out(connection, shards, sql, names):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetchall()
    assert [name for _, name in rows] == names
    are_where_they_belong(shards, [key for key, _ in rows])


def test_the_rows_of_one_statement_are_on_one_shard(connection, shards):
    for _ in range(5):
        with connection.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, "INSERT INTO accounts (name) VALUES %s RETURNING id", [(f"m{i}",) for i in range(100)], page_size=100)
            keys = [key for key, in cursor.fetchall()]
        assert len(set(keys)) == 100
        assert len(set(sharded.shards_of(shards, keys).values())) == 1
        are_where_they_belong(shards, keys)


def test_a_key_that_is_given_stays(connection, shards):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO accounts (id, name) VALUES (42, 'mine') RETURNING id")
        assert cursor.fetchone() == (42,)
    are_where_they_belong(shards, [42])


def test_a_transaction_goes_on_with_the_new_key(weir):
    connection = weir.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO accounts (name) VALUES ('t') RETURNING id")
        (key,) = cursor.fetchone()
        cursor.execute("INSERT INTO notes (account) VALUES (%s) RETURNING noted", (key,))
        (noted,) = cursor.fetchone()
        assert node(noted) < 2
        cursor.execute("UPDATE accounts SET name = 'u' WHERE id = %s", (key,))
    connection.commit()
    with connection.cursor() as cursor:
        cursor.execute("SELECT a.name, n.noted FROM accounts a JOIN notes n ON n.account = a.id WHERE a.id = %s", (key,))
        assert cursor.fetchall() == [("u", noted)]
    connection.close()


# --- the extended protocol -----------------------------------------------------------------------------------------------------------


def test_a_prepared_statement_gets_a_new_key_each_time(client, shards):
    described = client.ask(parse("INSERT INTO accounts (name) VALUES ($1) RETURNING id", name="i") + describe("S", "i") + sync())
    assert described.kinds == "1tTZ"
    assert described[1].body == b"\0\1\0\0\0\x19"   # one parameter, of type text: the client's own
    keys = []
    for i in range(10):
        replies = client.ask(bind(f"p{i}", name="i") + execute() + sync())
        assert replies.kinds == "2DCZ" and replies.tags == ["INSERT 0 1"]
        keys.append(int(replies.rows[0][0]))
    assert len(set(keys)) == 10 and len(set(sharded.shards_of(shards, keys).values())) == 2
    are_where_they_belong(shards, keys)


def test_the_unnamed_statement_too(client, shards):
    first = client.ask(run("INSERT INTO accounts (name) VALUES ($1), ($2) RETURNING id", "a", "b") + sync())
    assert first.kinds.startswith("12") and len(first.rows) == 2, first
    assert client.ask(parse("INSERT INTO accounts (name) VALUES ($1) RETURNING id") + describe("S") + flush() + sync()).kinds == "1tTZ"
    again = client.ask(bind("c") + describe("P") + execute() + sync())
    assert again.kinds == "2TDCZ"
    are_where_they_belong(shards, [int(row[0]) for row in first.rows + again.rows])


def test_a_statement_prepared_before_its_key_is_known(client, shards):
    client.send(parse("INSERT INTO accounts (name) VALUES ($1) RETURNING id", name="early") + describe("S", "early") + flush())
    assert client.read_until("T").kinds == "1tT"
    replies = client.ask(bind("x", name="early") + execute() + sync())
    assert replies.kinds == "2DCZ"
    are_where_they_belong(shards, [int(replies.rows[0][0])])


def test_what_is_bound_must_fit_the_clients_own_parameters(client):
    client.ask(parse("INSERT INTO accounts (name) VALUES ($1)", name="two") + sync())
    replies = client.ask(bind("a", "b", name="two") + execute() + sync())
    assert replies.errors == ["08P01"]
    assert 'supplies 2 parameters, but prepared statement "two" requires 1' in replies[0].fields["M"]


def test_a_pipeline_whose_rows_are_on_both_shards(client, shards):
    """One transaction over both; the client still sees its own parameter only."""
    client.ask(parse("INSERT INTO accounts (name) VALUES ($1) RETURNING id", name="known") + sync())
    replies = client.ask(parse("INSERT INTO accounts (name) VALUES ($1) RETURNING id", name="new") + describe("S", "new") + describe("S", "known") +
                         b"".join(bind(f"p{i}", name=name) + execute() for i in range(6) for name in ("new", "known")) + sync())
    assert not replies.errors, replies
    assert [m.body for m in replies if m.kind == "t"] == [b"\0\1\0\0\0\x19"] * 2
    keys = [int(row[0]) for row in replies.rows]
    assert len(set(keys)) == 12 and len(set(sharded.shards_of(shards, keys).values())) == 2
    are_where_they_belong(shards, keys)


def test_pipelines_of_several_transactions(client, shards):
    """Such a pipeline is cut where a transaction ends, and planned again: ids are put into each message once."""
    insert = run("INSERT INTO accounts (name) VALUES ($1) RETURNING id", "cut")
    for _ in range(5):
        replies = client.ask((run("BEGIN") + insert * 3 + run("COMMIT")) * 2 + insert + sync())
        assert not replies.errors, replies
        keys = [int(row[0]) for row in replies.rows]
        assert len(set(keys)) == 7
        are_where_they_belong(shards, keys)


def test_a_transaction_of_several_rows_without_keys(weir, shards):
    connection = weir.connect(autocommit=False)
    with connection.cursor() as cursor:
        keys = []
        for i in range(8):
            cursor.execute("INSERT INTO accounts (name) VALUES ('tx') RETURNING id")
            keys += cursor.fetchone()
        connection.commit()
    connection.close()
    assert len(set(sharded.shards_of(shards, keys).values())) == 2
    are_where_they_belong(shards, keys)


def test_binary_parameters(weir, shards):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        keys = []
        for i in range(8):   # prepared by the driver from the sixth on
            keys += connection.execute("INSERT INTO accounts (name, tags) VALUES (%b, %b) RETURNING id", (f"bin {i}", ["x"]), binary=True).fetchone()
    assert len(set(keys)) == 8
    are_where_they_belong(shards, keys)


def test_executemany(weir, shards):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        with connection.cursor() as cursor:
            for name in ("a", "b", "c"):
                cursor.executemany("INSERT INTO accounts (name) VALUES (%s)", [(f"many {name}",)])
    assert sorted(name for _, _, name in stored(shards, "name LIKE 'many %'")) == ["many a", "many b", "many c"]


def test_sqlalchemy(weir, shards):
    engine = sqlalchemy.create_engine("postgresql+psycopg2://", creator=lambda: psycopg2.connect(weir.dsn()))
    accounts = sqlalchemy.Table("accounts", sqlalchemy.MetaData(), sqlalchemy.Column("id", sqlalchemy.BigInteger, primary_key=True),
                                sqlalchemy.Column("name", sqlalchemy.Text))
    with engine.begin() as connection:
        key = connection.execute(accounts.insert().values(name="alchemy")).inserted_primary_key[0]
        assert connection.execute(sqlalchemy.select(accounts.c.name).where(accounts.c.id == key)).scalar() == "alchemy"
    engine.dispose()
    are_where_they_belong(shards, [key])


def test_a_plan_that_is_out_of_date_is_made_anew(client, shards):
    client.ask(parse("INSERT INTO accounts (name) VALUES ($1) RETURNING id", name="i") + sync())
    assert len(client.ask(bind("a", name="i") + execute() + sync()).rows) == 1
    shards.everywhere("ALTER TABLE accounts ADD COLUMN later text")
    try:
        assert len(client.ask(bind("b", name="i") + execute() + sync()).rows) == 1
    finally:
        shards.everywhere("ALTER TABLE accounts DROP COLUMN later")


# --- errors --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sql, place", [
    ("INSERT INTO accounts (name, nothing) VALUES ('a', 'b')", 29),
    ("INSERT INTO accounts (name) VALUES ('ééé') RETURNING nothing", 54),
    ("INSERT INTO accounts (id, name) VALUES (DEFAULT, 'a'), (DEFAULT, nothing)", 66),
])
def test_an_errors_position_is_one_in_the_clients_text(client, sql, place):
    for replies in (client.query(sql), client.ask(run(sql) + sync())):
        error = next(m for m in replies if m.kind == "E")
        assert (error.fields["C"], int(error.fields["P"])) == ("42703", place)


@pytest.mark.parametrize("sql, words", [
    ("INSERT INTO accounts (name) SELECT 'a'", "without its sharding key id"),
    ("PREPARE p AS INSERT INTO accounts (name) VALUES ($1)", "without its sharding key id"),
    ("INSERT INTO notes (noted) VALUES (1)", "without its sharding key account"),
    ("WITH i AS (INSERT INTO accounts (name) VALUES ('a') RETURNING id) SELECT id FROM i", "without its sharding key id"),
])
def test_what_cannot_be_filled_in_is_refused(client, sql, words):
    replies = client.query(sql)
    assert replies.errors == ["0A000"]
    assert words in replies[0].fields["M"]


def test_execute_in_sql_of_what_the_protocol_prepared_is_refused(client):
    client.ask(parse("INSERT INTO accounts (name) VALUES ($1)", name="twice") + sync())
    replies = client.query("EXECUTE twice('a')")
    assert replies.errors == ["0A000"] and "by the protocol" in replies[0].fields["H"]


# --- the function on the shards --------------------------------------------------------------------------------------------------------


def test_the_function_gives_ids_of_the_shards_own_nodes(connection, shards):
    with connection.cursor() as cursor:
        cursor.execute("SELECT weir.next_id() FROM generate_series(1, 1000)")
        keys = [key for key, in cursor.fetchall()]
        cursor.execute("INSERT INTO at_home DEFAULT VALUES RETURNING id")
        keys += cursor.fetchone()
    keys += [int(shards.psql("SELECT weir.next_id()", shard=1))]
    assert [node(key) for key in keys] == [0] * 1001 + [1]
    assert len(set(keys)) == 1002


# --- many ------------------------------------------------------------------------------------------------------------------------------


def insert_many(proxy, statements, rows, keys):
    connection = proxy.connect()
    with connection.cursor() as cursor:
        for _ in range(statements):
            cursor.execute("INSERT INTO accounts (name) VALUES " + ", ".join(["('many')"] * rows) + " RETURNING id")
            keys += [key for key, in cursor.fetchall()]
    connection.close()


def test_200000_ids_of_two_proxies_and_eight_clients(weir, shards, start_weir):
    """And of the functions on both shards at the same time: none twice."""
    other = start_weir([toml(shards)])
    lists = [[] for _ in range(8)]
    threads = [threading.Thread(target=insert_many, args=((weir, other)[i % 2], 250, 100, keys)) for i, keys in enumerate(lists)]
    by_function = []

    def ask_function(shard):
        by_function.extend(shards.psql("SELECT weir.next_id() FROM generate_series(1, 20000)", shard=shard).splitlines())

    threads += [threading.Thread(target=ask_function, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [key for found in lists for key in found]
    assert len(keys) == 200_000
    assert len(set(keys) | set(map(int, by_function))) == 240_000
    assert len({node(key) for key in keys}) == 2
    assert all(found == sorted(found) for found in lists)
    counts = [int(shards.psql("SELECT count(*) FROM accounts WHERE name = 'many'", shard=i)) for i in range(2)]
    assert sum(counts) == 200_000 and min(counts) > 50_000


# --- leases ----------------------------------------------------------------------------------------------------------------------------


def nodes_of(proxy):
    return [int(n) for n in re.findall(r"ids of weir.next_id have node number (\d+)", proxy.log())]


def new_keys(proxy, count=5):
    connection = proxy.connect()
    try:
        with connection.cursor() as cursor:
            keys = []
            for _ in range(count):
                cursor.execute("INSERT INTO accounts (name) VALUES ('leased') RETURNING id")
                keys += cursor.fetchone()
            return keys
    finally:
        connection.close()


def test_a_proxy_that_was_killed_and_one_that_ended_leave_no_number_too_early(shards, start_weir):
    first = start_weir([toml(shards)])
    keys = new_keys(first)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    first.process = None
    (killed,) = nodes_of(first)
    second = start_weir([toml(shards)])
    keys += new_keys(second)
    (ended,) = nodes_of(second)
    assert second.terminate() == 0
    third = start_weir([toml(shards)])
    keys += new_keys(third)
    assert len(set(keys)) == 15
    assert killed not in (ended, *nodes_of(third))
    # The one that was killed is nobody's for long; the other's is free behind the last id it gave.
    left = {n: int(shards.psql(f"SELECT until_ms + {EPOCH} - floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM weir.id_node WHERE node = {n}"))
            for n in (killed, ended)}
    assert left[killed] > LEASE - 120_000 and left[ended] <= 0
    assert max(keys[5:10]) >> 22 < int(shards.psql(f"SELECT until_ms FROM weir.id_node WHERE node = {ended}"))


def test_a_number_that_was_lost_is_used_no_more(shards, start_weir):
    proxy = start_weir([toml(shards)])
    first = new_keys(proxy)
    shards.psql(f"UPDATE weir.id_node SET holder = gen_random_uuid() WHERE node = {nodes_of(proxy)[0]}")
    proxy.reload()
    harness.wait_for(lambda: len(nodes_of(proxy)) == 2, "another number")
    second = new_keys(proxy)
    assert {node(key) for key in first} == {nodes_of(proxy)[0]}
    assert {node(key) for key in second} == {nodes_of(proxy)[1]} != {nodes_of(proxy)[0]}
    assert min(second) > max(first)


@pytest.fixture
def short_lease(shards, weir):
    """Leases of 2 seconds, and no more of them once `stop` was called."""
    source = shards.psql("SELECT pg_get_functiondef('weir.lease_id_node(uuid, text)'::regprocedure)")
    assert str(LEASE) in source
    shards.psql(source.replace(str(LEASE), "2000"))

    def stop():
        shards.psql("DROP FUNCTION weir.lease_id_node(uuid, text)")

    yield stop
    harness.weirctl("init", "-c", str(weir.config))


def key_or_error(cursor):
    try:
        cursor.execute("INSERT INTO accounts (name) VALUES ('short') RETURNING id")
        return cursor.fetchone()[0]
    except psycopg2.Error as error:
        return error


def test_when_the_lease_is_over_there_are_no_ids_until_there_is_another(weir, shards, short_lease, start_weir):
    proxy = start_weir([toml(shards)])
    short_lease()
    connection = proxy.connect()
    with connection.cursor() as cursor:
        keys = []
        error = harness.wait_for(lambda: isinstance(keys.append(key_or_error(cursor)) or keys[-1], psycopg2.Error) and keys.pop(), "the lease's end")
        assert error.pgcode == "57P03" and "the lease of its node number is over" in str(error)
        assert "weir.lease_id_node" in error.diag.message_hint
        cursor.execute("INSERT INTO accounts (id) VALUES (4711) ON CONFLICT DO NOTHING")   # what has its key goes on
        until = int(shards.psql(f"SELECT until_ms FROM weir.id_node WHERE node = {nodes_of(proxy)[0]}"))
        assert keys and all(key >> 22 < until for key in keys)
        harness.weirctl("init", "-c", str(weir.config))
        proxy.reload()
        harness.wait_for(lambda: not isinstance(key_or_error(cursor), psycopg2.Error), "ids again")
    connection.close()


def test_a_proxy_that_was_stopped_for_longer_than_its_lease_repeats_nobodys_ids(shards, short_lease, start_weir):
    """Every other number is taken: the second proxy gets the first one's, and both give ids as fast as they can."""
    first = start_weir([toml(shards)])
    keys = new_keys(first, 50)
    (number,) = nodes_of(first)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        shards.psql(f"INSERT INTO weir.id_node SELECT n, gen_random_uuid(), 'test', 4000000000000 FROM generate_series(512, 1023) n WHERE n <> {number} "
                    "ON CONFLICT (node) DO UPDATE SET until_ms = 4000000000000")
        harness.wait_for(lambda: shards.psql(f"SELECT until_ms + {EPOCH} < extract(epoch FROM clock_timestamp()) * 1000 FROM weir.id_node WHERE node = {number}") == "t",
                         "the lease's end")
        second = start_weir([toml(shards)])
        assert nodes_of(second) == [number]
        keys += new_keys(second, 50)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    connection = first.connect()
    with connection.cursor() as cursor:
        answers = [key_or_error(cursor) for _ in range(50)]
    connection.close()
    keys += [answer for answer in answers if not isinstance(answer, psycopg2.Error)]
    assert {answer.pgcode for answer in answers if isinstance(answer, psycopg2.Error)} == {"57P03"}
    assert len(keys) == len(set(keys)) >= 100
    shards.psql("DELETE FROM weir.id_node")


def test_a_schema_of_an_earlier_version_says_so(weir, shards, start_weir):
    shards.psql("DROP FUNCTION weir.lease_id_node(uuid, text)")
    try:
        proxy = start_weir([toml(shards)])
        proxy.wait_log("node numbers of weir.next_id cannot be leased: schema weir is of an earlier version: run `weirctl init")
        connection = proxy.connect()
        with connection.cursor() as cursor:
            error = key_or_error(cursor)
            assert error.pgcode == "57P03" and "run `weirctl init" in str(error)
            harness.weirctl("init", "-c", str(weir.config))
            harness.wait_for(lambda: not isinstance(key_or_error(cursor), psycopg2.Error), "ids")
        connection.close()
    finally:
        harness.weirctl("init", "-c", str(weir.config))


def test_without_a_default_key_nothing_is_leased(shards, start_weir):
    before = shards.psql("SELECT count(*) FROM weir.id_node")
    plain = tuple({k: v for k, v in table.items() if k != "default_key"} for table in TABLES)
    proxy = start_weir([harness.database_toml(shards, tables=plain)])
    assert nodes_of(proxy) == [] and shards.psql("SELECT count(*) FROM weir.id_node") == before
    with WireClient(proxy.port) as client:
        replies = client.query("INSERT INTO accounts (name) VALUES ('a')")
        assert replies.errors == ["0A000"] and "default_key" in replies[0].fields["H"]
    proxy.write_config([toml(shards)])
    proxy.reload()
    harness.wait_for(lambda: nodes_of(proxy), "a number, once a table has a default_key")
    assert len(new_keys(proxy)) == 5


def test_ids_go_on_while_the_home_shard_is_away(shards, start_weir):
    proxy = start_weir([toml(shards)], pool={"wait_timeout": "1s"})
    connection = proxy.connect()
    with connection.cursor() as cursor:
        assert not isinstance(key_or_error(cursor), psycopg2.Error)
        shards.kill(0)
        try:
            keys = []
            harness.wait_for(lambda: len(keys) >= 5 or [keys.append(key) for key in [key_or_error(cursor)] if not isinstance(key, psycopg2.Error)] and False,
                             "rows on the other shard", 60)
        finally:
            shards.restart(0)
    connection.close()
    assert set(sharded.shards_of(shards, keys).values()) == {1}
