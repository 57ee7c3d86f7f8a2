"""What docs/protocol-facts.md lists and no other file shows; and that the page names tests that exist."""
import contextlib

import pytest

import harness
from wire_client import WireClient, bind, close, execute, message, parse, query, run, sync

A = "select 'a'"


@pytest.fixture(scope="module")
def tables(plain_clusters):
    plain_clusters.psql("create table t (id int, v text)")
    return plain_clusters


@pytest.fixture
def weir(tables, start_weir):
    return start_weir([harness.database_toml(tables, sharded=False, replicas=False)], pool={"size": 1, "wait_timeout": "1s"})


@pytest.fixture
def client(weir):
    with WireClient(weir.port) as found:
        yield found


@contextlib.contextmanager
def occupied(weir):
    """The pool's only server is in a transaction of somebody else's."""
    with WireClient(weir.port) as other:
        other.query("begin")
        yield other
        other.query("rollback")


def lose_server(clusters, client, text="select pg_sleep(20)"):
    """The server of `client`'s transaction ends in the middle of `text`, which must sleep: what the client is told."""
    pid = client.value("select pg_backend_pid()")
    client.send(query(text))
    harness.wait_for(lambda: clusters.psql(f"select wait_event from pg_stat_activity where pid = {pid}") == "PgSleep", "the statement to sleep")
    clusters.psql(f"select pg_terminate_backend({pid})")
    return client.read_to_ready()


# --- errors of Weir's own, in the middle of what a client sent


def test_closes_in_front_of_a_statement_that_got_no_server_are_answered_and_done(weir, client):
    client.ask(parse(A, "s") + sync())
    with occupied(weir):
        replies = client.ask(close("S", "s") + parse("select 'other'", "s") + bind(name="s") + execute() + sync())
        assert (replies.kinds, replies.errors) == ("3EZ", ["53300"])
    replies = client.ask(bind(name="s") + sync())
    assert replies.errors == ["26000"]
    assert client.ask(parse(A, "s") + bind(name="s") + execute() + sync()).rows == [["a"]]


def test_closes_behind_a_statement_that_got_no_server_did_not_happen(weir, client):
    client.ask(parse(A, "s") + sync())
    with occupied(weir):
        replies = client.ask(run("select 'new'") + close("S", "s") + parse("select 'other'", "s") + sync())
        assert (replies.kinds, replies.errors) == ("EZ", ["53300"])
    assert client.ask(bind(name="s") + execute() + sync()).rows == [["a"]]


def test_a_deallocate_behind_a_statement_that_got_no_server_did_not_happen(weir, client):
    client.ask(parse(A, "s") + sync())
    with occupied(weir):
        replies = client.ask(run("select 'new'") + run("deallocate all") + parse("select 'other'", "s") + sync())
        assert (replies.kinds, replies.errors) == ("EZ", ["53300"])
    assert client.ask(bind(name="s") + execute() + sync()).rows == [["a"]]


def test_closes_in_front_of_what_a_lost_transaction_refuses_are_answered_and_done(client, tables):
    client.ask(parse(A, "s") + parse(A, "kept") + sync())
    client.query("begin")
    assert lose_server(tables, client).status == "E"
    replies = client.ask(close("S", "s") + parse("select 'other'", "s") + close("S", "kept") + sync())
    assert (replies.kinds, replies.errors, replies.status) == ("3EZ", ["25P02"], "E")
    client.query("rollback")
    assert client.ask(bind(name="kept") + execute() + sync()).rows == [["a"]]
    assert client.ask(parse(A, "s") + bind(name="s") + execute() + sync()).rows == [["a"]]


# --- a server that is lost


@pytest.mark.parametrize("text, code", [("insert into t values (1, 'x'); select pg_sleep(20); commit", "08007"),
                                        ("insert into t values (1, 'x'); select pg_sleep(20)", "57P01")])
def test_the_outcome_is_unknown_where_the_lost_text_may_have_committed(client, tables, text, code):
    client.query("begin")
    client.query("insert into t values (0, 'first')")
    replies = lose_server(tables, client, text)
    assert (replies.errors, replies.status) == ([code], "E")
    assert client.query("rollback").tags == ["ROLLBACK"]
