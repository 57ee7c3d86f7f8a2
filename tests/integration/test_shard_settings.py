"""Session settings on a sharded database: every shard gets them, with the transaction that was held back."""
import pytest

import harness
import wire_client as wire
from wire_client import WireClient

# --- the held BEGIN and the session's settings, in one packet ---


def test_a_begin_with_options_and_the_settings_come_with_the_first_statement(weir, clusters):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("set app.tenant = 'one'")
        for begin in ("begin isolation level repeatable read read only", "start transaction isolation level serializable", "BEGIN"):
            assert [m.kind for m in one.query(begin)] == ["C", "Z"]
            found = one.query("select current_setting('app.tenant'), current_setting('transaction_read_only') from orders where user_id = 1 "
                              "union all select current_setting('app.tenant'), current_setting('transaction_isolation') limit 1")
            assert found.status == "T" and "N" not in found.kinds, found
            level = one.value("show transaction_isolation")
            assert level == ("repeatable read" if "repeatable" in begin else "serializable" if "serializable" in begin else "read committed")
            assert one.query("commit").tags == ["COMMIT"]
            other.query("select 1")


def test_a_held_transaction_whose_settings_fail_runs_nothing(weir, clusters):
    for i in range(len(clusters.shards)):
        clusters.psql("create role vanishing; grant all on orders to vanishing", shard=i)
    with WireClient(weir.port) as one:
        one.query("set role vanishing")
        for i in range(len(clusters.shards)):
            clusters.psql("drop owned by vanishing; drop role vanishing", shard=i)
        for key in range(1, 9):
            assert one.query("begin").status == "T"
            found = one.query(f"insert into orders (user_id, id, product, amount) values ({key}, 424242, 'x', 1)")
            assert found.errors and found.status == "E", found
            assert one.query("commit").tags == ["ROLLBACK"]
    assert all(n == "0" for n in clusters.everywhere("select count(*) from orders where id = 424242"))


# --- search_path, which says what tables a statement means ---


@pytest.fixture(scope="module")
def other_schema(clusters):
    """Schema `other` of the home shard has a table `orders` that is not listed, with one row."""
    clusters.psql("create schema other; create table other.orders (user_id bigint, id bigint); insert into other.orders values (1, -77)")
    yield
    clusters.psql("drop schema other cascade")


@pytest.fixture
def own(other_schema, clusters, start_weir):
    """A Weir whose catalog knows that schema."""
    return start_weir([harness.database_toml(clusters, replicas=False)], pool={"size": 2})


OF_OTHER = "select id from orders"   # without a key: every shard's, or the other table's


def ways_to_set(value, local):
    word = "local " if local else ""
    yield from (lambda c, sql=sql: c.query(sql) for sql in (f"set {word}search_path = {value}", f"select set_config('search_path', '{value}', {str(local).lower()})",
                                                            f"select pg_catalog.set_config('Search_Path', '{value}', {str(local).lower()}) as path"))
    yield lambda c: c.ask(wire.run(f"select set_config('search_path', $1, {str(local).lower()})", value) + wire.sync())


def rows(client, sql):
    found = client.query(sql)
    assert not found.errors, found
    return found.rows


@pytest.mark.parametrize("way", range(4))
def test_search_path_is_followed_however_it_is_set(own, way):
    here = [["-77"]]
    with WireClient(own.port) as one, WireClient(own.port) as two:
        ways = lambda value, local: list(ways_to_set(value, local))[way]
        everywhere = rows(one, "select id from orders limit 3")
        assert everywhere != here and rows(one, "select id from orders where user_id = 1") != here
        # for the session, on whatever server it comes to
        found = ways("other", False)(one)
        assert not found.errors and found.status == "I", found
        if way > 0:
            assert found.tags == ["SELECT 1"] and found.rows == [["other"]]
        for _ in range(3):
            assert rows(one, OF_OTHER) == here and rows(one, "select id from orders where user_id = 1") == here
            assert rows(two, "show search_path") != [["other"]]
        assert rows(one, "select count(*) from public.orders") != [["1"]]
        one.query("begin")
        assert not ways("public", False)(one).errors
        assert rows(one, OF_OTHER + " limit 3") != here
        one.query("rollback")
        assert rows(one, OF_OTHER) == here
        # for a transaction: held, on one shard, over several; undone with a savepoint
        one.query("reset search_path")
        for before in ([], ["select id from orders where user_id = 1"], ["select id from orders where user_id = 2"], ["update orders set product = product", "select 1"]):
            one.query("begin")
            for sql in before:
                rows(one, sql)
            one.query("savepoint s")
            assert not ways("other", True)(one).errors
            assert rows(one, OF_OTHER) == here
            assert rows(one, "show search_path") == [["other"]]
            rows(one, "select count(*) from public.orders")
            assert rows(one, OF_OTHER) == here
            one.query("rollback to s")
            assert rows(one, OF_OTHER + " limit 3") != here
            assert not ways("other", True)(one).errors
            rows(one, "update public.orders set product = product")   # servers that come later are told, too
            for key in range(1, 9):
                assert rows(one, f"select current_setting('search_path'), count(*) * 0 from public.orders where user_id = {key}") == [["other", "0"]]
            one.query("commit")
            assert rows(one, OF_OTHER + " limit 3") != here
            assert rows(one, "show search_path") != [["other"]]


def test_a_search_path_in_the_middle_of_a_pipeline_is_that_of_what_follows(own):
    with WireClient(own.port) as one:
        for sets in (wire.run("set search_path = other"), wire.run("select set_config('search_path', 'other', false)")):
            found = one.ask(sets + wire.run("select id from orders") + wire.sync())
            assert not found.errors and found.rows[-1] == ["-77"], found
            one.query("reset search_path")


def test_an_empty_search_path_finds_no_table(own):
    with WireClient(own.port) as one:
        assert not one.query("select pg_catalog.set_config('search_path', '', false)").errors
        assert one.query("select id from orders where user_id = 1").errors == ["42P01"]
        assert rows(one, "select count(*) from public.orders where user_id = 1")


def test_what_cannot_be_followed_is_refused(own):
    with WireClient(own.port) as one:
        for sql in ("select set_config('search_path', current_user, false)", "select set_config('search_path', 'other', 1 = 1)",
                    "select set_config('search_path', 'other', false), 1", "select set_config('search_path', 'other', false) from orders where user_id = 1",
                    "select set_config('search_path', 'other', true); select id from orders", "select set_config('search_path', 'other', true); select id from orders where user_id = 1",
                    "prepare p as select set_config('search_path', 'other', false); execute p",
                    "select set_config('search_path', null, false)"):
            assert one.query(sql).errors == ["0A000"], sql
        one.query("begin")
        assert one.query("set local search_path to default").errors == ["0A000"]
        one.query("rollback")
        assert one.query("prepare p as select set_config('search_path', 'other', false)").tags == ["PREPARE"]
        assert one.query("execute p").errors == ["0A000"]
        found = one.ask(wire.run("select set_config('search_path', $1, false)", None) + wire.sync())
        assert found.errors == ["0A000"]
        assert rows(one, "show search_path") != [["other"]]
