"""What docs/protocol-facts.md lists and no other file shows; and that the page names tests that exist."""
import contextlib
import re

import pytest

import harness
from relay import Relay
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


def test_what_is_sent_behind_a_begin_that_got_no_server_does_not_run_outside_of_it(weir, client):
    with occupied(weir):
        client.send(query("begin") + query("insert into t values (5, 'alone')") + query("commit"))
        replies = client.read_until("Z")
        assert (replies.errors, replies.status) == (["53300"], "E")
    replies = client.read_to_ready(2)
    assert (replies.errors, replies.tags, replies.status) == (["25P02"], ["ROLLBACK"], "I")
    assert client.value("select count(*) from t where id = 5") == "0"


def test_a_client_that_waits_for_its_begin_has_no_transaction_where_it_failed(weir, client):
    with occupied(weir):
        replies = client.query("begin")
        assert (replies.errors, replies.status) == (["53300"], "I")
    assert client.value("select 1") == "1"


def test_settings_that_fail_in_front_of_a_begin_end_no_transaction_of_the_clients(weir, client, tables):
    """BEGIN; SET ROLE (it fails); COMMIT goes in front of the client's own BEGIN, in the same packet."""
    tables.psql("create role leaving; grant all on t to leaving")
    client.query("set role leaving")
    with WireClient(weir.port) as other:   # its settings take the server's place
        other.query("set work_mem = '5MB'")
    tables.psql("drop owned by leaving; drop role leaving")
    client.send(query("begin") + query("insert into t values (6, 'alone')") + query("commit"))
    replies = client.read_to_ready(3)
    assert (replies.errors[1:], replies.tags, replies.status) == (["25P02"], ["ROLLBACK"], "I")
    with WireClient(weir.port) as other:
        assert other.value("select count(*) from t where id = 6") == "0"


# --- a server that is lost


@pytest.mark.parametrize("text, code", [("insert into t values (1, 'x'); select pg_sleep(20); commit", "08007"),
                                        ("insert into t values (1, 'x'); select pg_sleep(20)", "57P01")])
def test_the_outcome_is_unknown_where_the_lost_text_may_have_committed(client, tables, text, code):
    client.query("begin")
    client.query("insert into t values (0, 'first')")
    replies = lose_server(tables, client, text)
    assert (replies.errors, replies.status) == ([code], "E")
    assert client.query("rollback").tags == ["ROLLBACK"]


def test_a_fatal_of_an_idle_transaction_is_told_once_and_ends_the_connection(weir, client):
    client.query("set idle_in_transaction_session_timeout = '200ms'")
    client.query("begin")
    client.query("insert into t values (2, 'lost')")
    replies = client.at_end()
    assert [(m.kind, m.fields["S"], m.fields["C"]) for m in replies] == [("E", "FATAL", "25P03")]
    with WireClient(weir.port) as after:
        assert after.value("select count(*) from t where id = 2") == "0"


def test_a_fatal_within_a_statement_is_one_error_and_one_ready_for_query(client, tables):
    for begun in ("select 1", "begin"):
        client.query(begun)
        replies = lose_server(tables, client, "select pg_sleep(20)")
        assert (replies.kinds, replies.errors) == ("TEZ", ["57P01"])
        client.query("rollback")
    assert client.value("select 1") == "1"


def test_what_an_idle_server_says_reaches_nobody_and_ends_it(tables, start_weir):
    relay = Relay(tables)
    words = message("N", b"SWARNING\0VWARNING\0C01000\0Mnobody asked\0\0"), message("E", b"SERROR\0VERROR\0C58000\0Mnobody asked\0\0")
    try:
        weir = start_weir([harness.weir_toml.database(relay.shards, sharded=False, replicas=False)], pool={"size": 1})
        with WireClient(weir.port) as client:
            for said in words:
                pid = client.value("select pg_backend_pid()")
                for connection in relay.connections:
                    with contextlib.suppress(OSError):
                        connection.client.sendall(said)
                harness.wait_for(lambda: tables.psql(f"select count(*) from pg_stat_activity where pid = {pid}") == "0", "the server to be closed")
                replies = client.query("select 1")
                assert (replies.kinds, replies.rows) == ("TDCZ", [["1"]])
    finally:
        relay.close()


# --- transactions


def test_prepare_transaction_gives_the_server_back_and_anybody_commits_it(weir, client):
    client.query("begin")
    client.query("insert into t values (3, 'prepared')")
    replies = client.query("prepare transaction 'facts'")
    assert (replies.tags, replies.status) == (["PREPARE TRANSACTION"], "I")
    with WireClient(weir.port) as other:   # the pool has one server
        assert other.value("select count(*) from t where id = 3") == "0"
        assert other.query("commit prepared 'facts'").tags == ["COMMIT PREPARED"]
    assert client.value("select count(*) from t where id = 3") == "1"


# --- privileges


def test_a_text_that_one_user_prepared_is_another_users_own(tables, start_weir):
    tables.psql("create role poor login; create table rich_only (a int); revoke all on rich_only from public")
    weir = start_weir([harness.database_toml(tables, sharded=False, replicas=False, backend="")], pool={"size": 2})
    text = parse("select a from rich_only", "s") + bind(name="s") + execute() + sync()
    with WireClient(weir.port) as rich, WireClient(weir.port, user="poor") as poor:
        assert rich.ask(text).status == "I"
        assert poor.ask(text).errors == ["42501"]
        assert rich.ask(bind(name="s") + execute() + sync()).tags == ["SELECT 0"]


# --- the page


PAGE = harness.ROOT / "docs/protocol-facts.md"


def named_tests():
    """(file, test) of every `file::test` on the page."""
    return re.findall(r"`([\w/.]+)::([\w.]+)`", PAGE.read_text())


def test_the_page_names_tests_that_exist():
    missing = []
    for file, name in named_tests():
        path = harness.ROOT / "tests" / file
        wanted = rf"^TEST(?:_F)?\({name.replace('.', ', ')}\)" if file.endswith(".cpp") else rf"^def {name}\("
        if not path.exists() or not re.search(wanted, path.read_text(), re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert not missing


def test_every_row_of_the_page_names_a_test():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith(("| case |", "| lesson |", "| ---"))]
    assert len(rows) > 45
    assert [row for row in rows if "::" not in row] == []
