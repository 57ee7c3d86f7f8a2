"""The protocol's corners through a plain database, byte by byte where drivers hide them: more clients than servers everywhere."""
import contextlib
import io
import os
import signal
import threading
import time

import psycopg
import pytest

import harness
from wire_client import (WireClient, bind, close, describe, execute, flush, message, parse, query, run, sync, text)


@pytest.fixture(scope="module")
def weir(plain_clusters):
    plain_clusters.psql("create table t (id int primary key, v text); create table c (a int, b text)")
    with harness.running([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 3, "wait_timeout": "10s"}) as proxy:
        yield proxy


@pytest.fixture
def client(weir):
    with WireClient(weir.port) as connected:
        yield connected


@contextlib.contextmanager
def many(weir, count=7):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WireClient(weir.port)) for _ in range(count)]


@contextlib.contextmanager
def occupied(weir, servers):
    """`servers` of the pool are held by open transactions."""
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(WireClient(weir.port)) for _ in range(servers)]
        for holder in holders:
            assert holder.query("begin; select 1").status == "T"
        yield holders


def log_has(weir, row):
    return [r for r in weir.console("SHOW CLIENTS") if row(r)]


def runs(clusters, what, pid="pid"):
    """Whether a server (the one of `pid`) is at a statement that has `what`."""
    return clusters.psql(f"select count(*) from pg_stat_activity where state = 'active' and query like '%{what}%' and pid = {pid} "
                         "and pid <> pg_backend_pid()") != "0"


# --- simple ---


def test_a_simple_query_answers_with_rows_tag_and_status(client):
    replies = client.query("select 1, null, 'x'")
    assert (replies.kinds, replies.rows, replies.tags, replies.status) == ("TDCZ", [["1", None, "x"]], ["SELECT 1"], "I")


def test_an_empty_query_and_one_of_comments_answer_emptily(client):
    assert client.query("").kinds == "IZ"
    assert client.query(" ; -- nothing\n").kinds == "IZ"
    assert client.ask(run("") + sync()).kinds == "12IZ"


def test_several_statements_in_one_string_are_one_transaction(client):
    client.query("delete from t")
    replies = client.query("insert into t values (1, 'a'); select v from t; insert into t values (1, 'again'); select 2")
    assert (replies.errors, replies.rows, replies.status) == (["23505"], [["a"]], "I")
    assert client.value("select count(*) from t") == "0"
    assert client.query("begin; insert into t values (2, 'b'); commit; select v from t").tags == ["BEGIN", "INSERT 0 1", "COMMIT", "SELECT 1"]


def test_an_error_leaves_the_session_usable(client):
    assert client.query("selekt").errors == ["42601"]
    assert client.query("select 1/0").errors == ["22012"]
    assert client.value("select 5") == "5"


def test_notices_reach_the_client_that_caused_them(client):
    replies = client.query("do $$ begin raise notice 'hello %', 7; end $$")
    assert [m.fields["M"] for m in replies if m.kind == "N"] == ["hello 7"]


def test_a_result_of_many_megabytes_arrives_whole(client):
    replies = client.query("select i, repeat('x', 1000) from generate_series(1, 20000) i")
    assert [row[0] for row in replies.rows] == [str(i) for i in range(1, 20001)]
    assert all(len(row[1]) == 1000 for row in replies.rows)
    assert len(client.value("select repeat('y', 30000000)")) == 30000000


# --- extended ---


def test_describe_of_statement_and_portal(client):
    replies = client.ask(parse("select $1::int as a, $2::text as b") + describe("S") + bind(1, "x") + describe("P") + execute() + sync())
    assert replies.kinds == "1tT2TDCZ"
    assert replies.rows == [["1", "x"]]
    assert client.ask(parse("insert into c values ($1, $2)") + describe("S") + sync()).kinds == "1tnZ"


def test_named_statements_follow_their_clients_over_changing_servers(weir):
    with many(weir) as clients:
        for i, c in enumerate(clients):
            assert c.ask(parse(f"select $1::int + {i}", name="same") + sync()).kinds == "1Z"
        for turn in range(5):
            with occupied(weir, turn % 3):
                for i, c in enumerate(clients):
                    assert c.ask(bind(turn, name="same") + describe("P") + execute() + sync()).rows == [[str(turn + i)]]


def test_the_unnamed_statement_follows_its_client_and_dies_with_a_simple_query(weir):
    with many(weir) as clients:
        for i, c in enumerate(clients):
            c.ask(parse(f"select $1::int * {i}") + sync())
        for held in (2, 0, 1):
            with occupied(weir, held):
                for i, c in enumerate(clients):
                    assert c.ask(bind(10) + execute() + sync()).rows == [[str(10 * i)]]
        clients[0].query("select 1")
        assert clients[0].ask(bind(10) + execute() + sync()).errors == ["26000"]


def test_unknown_and_duplicate_names_are_errors_of_the_statement_only(client):
    assert client.ask(bind(name="nobody") + execute() + sync()).errors == ["26000"]
    assert client.ask(describe("S", "nobody") + sync()).errors == ["26000"]
    assert client.ask(parse("select 1", name="a") + sync()).kinds == "1Z"
    assert client.ask(parse("select 2", name="a") + sync()).errors == ["42P05"]
    assert client.ask(bind(name="a") + execute() + sync()).rows == [["1"]]
    assert client.ask(bind(portal="none")[:0] + execute("none") + sync()).errors == ["34000"]


def test_a_closed_or_deallocated_name_can_be_used_again(client):
    for end in (close("S", "a") + sync(), query("deallocate a"), query("deallocate all"), query("discard all")):
        assert client.ask(parse("select 1", name="a") + sync()).kinds == "1Z"
        assert not client.ask(end).errors
        assert client.ask(bind(name="a") + sync()).errors == ["26000"]
        assert client.ask(parse("select 2", name="a") + bind(name="a") + execute() + sync()).rows == [["2"]]
        client.ask(close("S", "a") + sync())
    assert client.ask(close("S", "never was") + sync()).kinds == "3Z"


def test_a_name_parsed_in_vain_stays_free(client):
    assert client.ask(parse("select * from missing", name="b") + sync()).errors == ["42P01"]
    assert client.ask(parse("select 3", name="b") + bind(name="b") + execute() + sync()).rows == [["3"]]
    client.ask(close("S", "b") + sync())


def test_a_portal_gives_its_rows_in_pieces_within_a_transaction(client):
    client.query("begin")
    replies = client.ask(parse("select generate_series(1, 5)") + bind(portal="p") + execute("p", 2) + sync())
    assert (replies.kinds, replies.rows) == ("12DDsZ", [["1"], ["2"]])
    assert client.ask(execute("p", 2) + sync()).rows == [["3"], ["4"]]
    replies = client.ask(execute("p", 2) + close("P", "p") + sync())
    assert (replies.kinds, replies.rows, replies.status) == ("DC3Z", [["5"]], "T")
    client.query("commit")
    assert client.ask(execute("p") + sync()).errors == ["34000"]


def test_a_pipeline_of_several_syncs_is_answered_in_order(client):
    data = b"".join(run(f"select {i}") + sync() for i in range(50))
    replies = client.ask(data, ready=50)
    assert replies.rows == [[str(i)] for i in range(50)]
    assert replies.kinds == "12DCZ" * 50


def test_simple_and_extended_messages_may_be_mixed_in_one_pipeline(client):
    replies = client.ask(query("select 1") + run("select 2") + sync() + query("select 3") + query("") + run("select 4") + sync(), ready=5)
    assert replies.rows == [["1"], ["2"], ["3"], ["4"]]


def test_an_error_in_a_pipeline_skips_to_the_sync_and_undoes_what_came_before(client):
    client.query("delete from t")
    data = (run("insert into t values (7, 'x')") + run("select 1/(id - 7) from t") + run("insert into t values (8, 'y')") + query("select 'skipped'")
            + sync() + run("select count(*) from t") + sync())
    replies = client.ask(data, ready=2)
    assert replies.errors == ["22012"]
    assert replies.kinds == "12C12EZ12DCZ"
    assert replies.rows == [["0"]]


def test_an_unknown_name_late_in_a_pipeline_undoes_what_came_before(client):
    client.query("delete from t")
    replies = client.ask(run("insert into t values (7, 'x')") + bind(name="nobody") + execute() + sync())
    assert (replies.errors, replies.status) == (["26000"], "I")
    assert client.value("select count(*) from t") == "0"


def test_an_unknown_name_in_a_transaction_fails_it(client):
    client.query("begin")
    client.query("insert into t values (9, 'lost')")
    assert client.ask(bind(name="nobody") + execute() + sync()).status == "E"
    assert client.query("select 1").errors == ["25P02"]
    assert client.query("commit").tags == ["ROLLBACK"]
    assert client.value("select count(*) from t where id = 9") == "0"


def test_flush_brings_replies_before_the_sync(client):
    client.send(parse("select $1::int") + describe("S") + flush())
    assert client.read_until("T").kinds == "1tT"
    client.send(bind(4) + execute() + flush())
    assert client.read_until("C").kinds == "2DC"
    assert client.silent()
    assert client.ask(sync()).kinds == "Z"


def test_an_error_after_a_flush_skips_until_the_sync(client):
    client.send(parse("select * from missing") + flush())
    assert client.read_until("E").errors == ["42P01"]
    client.send(run("select 1") + flush())
    assert client.silent()
    assert client.ask(sync()).kinds == "Z"
    assert client.value("select 6") == "6"


def test_more_statements_than_a_server_may_keep_still_all_work(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1, "max_prepared_statements": 5})
    with WireClient(weir.port) as c:
        for i in range(30):
            assert c.ask(parse(f"select {i}", name=f"s{i}") + sync()).kinds == "1Z"
        for i in list(range(30)) + list(range(29, -1, -1)):
            assert c.ask(bind(name=f"s{i}") + execute() + sync()).rows == [[str(i)]]
        assert int(c.value("select count(*) from pg_prepared_statements")) <= 6


def test_a_statement_prepared_before_ddl_is_prepared_anew(start_weir, plain_clusters):
    plain_clusters.psql("create table grows (a int); insert into grows values (1)")   # before the proxy reads its catalog
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1})
    again = bind(name="x") + execute() + sync()
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        assert one.ask(parse("select * from grows", name="x") + again).rows == [["1"]]
        plain_clusters.psql("alter table grows add column b int default 2")
        assert one.ask(again).rows == [["1", "2"]]
        assert other.ask(parse("select * from grows", name="x") + again).rows == [["1", "2"]]
        assert one.ask(again).rows == [["1", "2"]]


# --- transactions ---


def test_savepoints_keep_a_failed_transaction_alive(client):
    client.query("delete from t")
    client.query("begin")
    client.query("insert into t values (1, 'kept')")
    client.query("savepoint s")
    assert client.query("select 1/0").status == "E"
    assert client.query("rollback to s").status == "T"
    assert client.query("commit").tags == ["COMMIT"]
    assert client.value("select v from t") == "kept"


def test_a_failed_transaction_answers_25p02_until_it_ends(client):
    client.query("begin")
    client.query("selekt")
    assert client.query("select 1").errors == ["25P02"]
    replies = client.query("commit")
    assert (replies.tags, replies.status) == (["ROLLBACK"], "I")


def test_read_committed_sees_what_others_commit_and_serializable_does_not(weir):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        other.query("delete from t")
        one.query("begin isolation level repeatable read")
        assert one.value("select count(*) from t") == "0"
        other.query("insert into t values (1, 'new')")
        assert one.value("select count(*) from t") == "0"
        one.query("commit")
        assert one.value("select count(*) from t") == "1"


# --- COPY ---


def test_copy_in_and_out_by_psycopg2_and_psycopg3(weir):
    lines = "".join(f"{i}\tvalue {i}\n" for i in range(50000))
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("truncate c")
        cursor.copy_expert("copy c from stdin", io.StringIO(lines))
        cursor.execute("select count(*), sum(a) from c")
        assert cursor.fetchone() == (50000, sum(range(50000)))
        out = io.StringIO()
        cursor.copy_expert("copy (select * from c order by a) to stdout", out)
        assert out.getvalue() == lines
    with psycopg.connect(weir.dsn(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("truncate c")
        with cursor.copy("copy c from stdin") as copy:
            for i in range(1000):
                copy.write_row((i, "x"))
        with cursor.copy("copy c to stdout") as copy:
            assert len(list(copy.rows())) == 1000
        assert cursor.execute("select count(*) from c").fetchone() == (1000,)


def copy_data(data):
    return message("d", data)


def test_copy_in_by_the_extended_protocol(client):
    client.query("truncate c")
    client.send(run("copy c from stdin") + flush())
    assert client.read_until("G").kinds == "12G"
    replies = client.ask(copy_data(b"1\ta\n2\t") + sync() + copy_data(b"b\n") + message("c") + sync())
    assert (replies.tags, replies.status) == (["COPY 2"], "I")
    assert client.query("select b from c order by a").rows == [["a"], ["b"]]


def test_copy_in_sent_at_once_without_waiting(client):
    client.query("truncate c")
    replies = client.ask(query("copy c from stdin") + copy_data(b"1\ta\n") + message("c") + query("select count(*) from c"), ready=2)
    assert replies.rows == [["1"]]


def test_a_copy_given_up_by_the_client_writes_nothing(client):
    client.query("truncate c")
    replies = client.ask(query("copy c from stdin") + copy_data(b"1\ta\n") + message("f", text("changed my mind")))
    assert replies.errors == ["57014"]
    assert client.value("select count(*) from c") == "0"


@pytest.mark.parametrize("extended", [False, True])
def test_a_copy_that_fails_early_ignores_the_data_that_follows(client, extended):
    client.query("truncate c")
    client.send(run("copy c from stdin") + flush() if extended else query("copy c from stdin"))
    client.read_until("G")
    client.send(copy_data(b"not a number\tx\n" * 10))
    for _ in range(200):
        client.send(copy_data(b"1\tlate\n" * 1000))
    replies = client.ask(message("c") + (sync() if extended else b""))
    assert (replies.errors, replies.status) == (["22P02"], "I")
    assert client.value("select count(*) from c") == "0"


def test_a_copy_to_a_missing_table_with_data_on_its_way(client):
    replies = client.ask(query("copy missing from stdin") + copy_data(b"1\n") + message("c") + query("select 8"), ready=2)
    assert (replies.errors, replies.rows) == (["42P01"], [["8"]])


# --- function call ---


def test_a_function_call_of_the_old_protocol_is_answered(client):
    oid = int(client.value("select 'pg_catalog.int4pl(int4,int4)'::regprocedure::oid"))
    argument = lambda v: len(str(v)).to_bytes(4, "big") + str(v).encode()
    body = oid.to_bytes(4, "big") + (0).to_bytes(2, "big") + (2).to_bytes(2, "big") + argument(20) + argument(22) + (0).to_bytes(2, "big")
    replies = client.ask(message("F", body))
    assert replies.kinds == "VZ"
    assert replies[0].body[4:] == b"42"
    assert client.value("select 1") == "1"


# --- cancel ---


def test_a_cancel_ends_the_running_statement_and_nothing_else(weir, plain_clusters):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.send(query("select pg_sleep(20)"))
        other.send(query("select pg_sleep(1), 'unharmed'"))
        harness.wait_for(lambda: runs(plain_clusters, "pg_sleep(20)"), "the statement")
        began = time.monotonic()
        one.cancel()
        assert one.read_to_ready().errors == ["57014"]
        assert time.monotonic() - began < 5 * harness.SLOW
        assert other.read_to_ready().rows == [["", "unharmed"]]
        assert one.value("select 1") == "1"


def test_a_cancel_takes_a_waiting_client_off_the_queue(weir):
    with occupied(weir, 3), WireClient(weir.port) as waiting:
        waiting.send(query("select 1"))
        harness.wait_for(lambda: log_has(weir, lambda r: r["state"] == "waiting"), "a waiting client")
        waiting.cancel()
        assert waiting.read_to_ready().errors == ["57014"]
        waiting.send(query("select 2"))
        assert waiting.silent()
    # its holders are gone: the queue moves


def test_a_cancel_with_a_wrong_key_or_for_an_idle_client_does_nothing(client, plain_clusters):
    pid, secret = client.key
    client.cancel()
    with WireClient(plain_clusters.node()["port"]) as holder:   # of what the statement waits for
        holder.query("begin; select pg_advisory_xact_lock(4711)")
        client.send(query("select pg_advisory_xact_lock(4711), 1"))
        harness.wait_for(lambda: runs(plain_clusters, "lock(4711), 1"), "the statement")
        client.cancel((pid, secret[:3] + bytes([secret[3] ^ 1])))
        client.cancel((pid, secret + b"\0" * 28))
        client.cancel((pid + 1, secret))
        assert client.silent()
        holder.query("commit")
    assert client.read_to_ready().rows == [["", "1"]]


def test_late_cancels_never_hit_another_clients_statement(weir):
    """Every client cancels itself all the time; each failure must be its own wish."""
    stop, strangers = threading.Event(), []

    def canceller(c):
        while not stop.is_set():
            c.cancel()

    def innocent():
        with WireClient(weir.port) as c:
            for _ in range(150):
                if c.query("select pg_sleep(0.002)").errors:
                    strangers.append(1)

    with WireClient(weir.port) as victim:
        thread = threading.Thread(target=canceller, args=(victim,))
        others = [threading.Thread(target=innocent) for _ in range(4)]
        for t in [thread, *others]:
            t.start()
        for _ in range(100):
            assert set(victim.query("select pg_sleep(0.001)").errors) <= {"57014"}
        for t in others:
            t.join(timeout=60)
        stop.set()
        thread.join(timeout=10)
    assert not strangers


# --- ends ---


@pytest.mark.parametrize("way", ["kill", "terminate"])
@pytest.mark.parametrize("state", ["idle in transaction", "running", "copying in"])
def test_a_client_that_goes_leaves_a_rolled_back_server_that_is_used_again(start_weir, plain_clusters, way, state):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1})
    with WireClient(weir.port) as c:
        pid = c.value("select pg_backend_pid()")
        c.query("truncate t")
        c.query("begin")
        c.query("insert into t values (1, 'must go')")
        if state == "running":
            c.send(query("select pg_sleep(30)"))
            harness.wait_for(lambda: runs(plain_clusters, "pg_sleep(30)"), "the statement")
        if state == "copying in":
            c.send(query("copy c from stdin"))
            c.read_until("G")
            c.send(copy_data(b"1\tx\n"))
        if way == "terminate":
            c.send(message("X"))
    with WireClient(weir.port) as after:
        assert after.query("select count(*) from t").rows == [["0"]]
        assert after.value("select pg_backend_pid()") == pid


def test_a_terminated_backend_is_an_error_and_then_the_service_goes_on(weir, plain_clusters):
    for in_query in (False, True):
        with WireClient(weir.port) as c:
            c.query("begin")
            pid = c.value("select pg_backend_pid()")
            if in_query:
                c.send(query("select pg_sleep(20)"))
                harness.wait_for(lambda: runs(plain_clusters, "pg_sleep(20)", pid), "the statement")
            plain_clusters.psql(f"select pg_terminate_backend({pid})")
            if not in_query:
                c.send(query("select 1"))
            replies = c.read_until("EZ")
            assert replies.errors == ["57P01"], replies
        with WireClient(weir.port) as again:
            assert again.value("select 1") == "1"


def test_terminated_idle_servers_are_replaced_without_any_client_noticing(weir, plain_clusters):
    with WireClient(weir.port) as c:
        for _ in range(5):
            c.value("select 1")
            plain_clusters.psql("select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = 'app' and pid <> pg_backend_pid()")
            assert c.value("select 2") == "2"


def test_a_read_that_an_idle_server_was_sent_after_it_was_told_to_stop_is_asked_of_another(weir, plain_clusters):
    with WireClient(weir.port) as c:
        pid = c.value("select pg_backend_pid()")
        os.kill(int(pid), signal.SIGSTOP)   # it hears of it when the statement is there already
        try:
            plain_clusters.psql(f"select pg_terminate_backend({pid})")
            c.send(query("select 2"))
            harness.wait_for(lambda: any(s["remote_pid"] == pid and s["state"] == "active" for s in weir.console("SHOW SERVERS")), "the statement to be sent")
        finally:
            os.kill(int(pid), signal.SIGCONT)
        replies = c.read_until("Z")
        assert (replies.rows, replies.errors, replies.status) == ([["2"]], [], "I")


def test_psql_describes_tables_and_runs_its_backslash_commands(weir):
    assert "t" in weir.psql("\\dt")
    assert "id|integer" in weir.psql("\\d t")
    assert weir.psql("\\copy (select 1) to stdout") == "1"
    assert weir.psql("select 1 as a \\gset\nselect :a + 1;") == "2"


def test_psycopg3_pipeline_mode_and_prepared_statements(weir):
    with psycopg.connect(weir.dsn(), autocommit=True, prepare_threshold=1) as connection:
        for i in range(20):
            assert connection.execute("select %s::int + 1", (i,)).fetchone() == (i + 1,)
        with connection.pipeline():
            cursors = [connection.execute("select %s::int", (i,)) for i in range(30)]
        assert [c.fetchone()[0] for c in cursors] == list(range(30))
        with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline():
            connection.execute("select 1")
            connection.execute("select 1/0")
            connection.execute("select 2")
        assert connection.execute("select 3").fetchone() == (3,)


def test_server_side_cursors_of_drivers_work_in_transactions(weir):
    with contextlib.closing(weir.connect(autocommit=False)) as connection:
        with connection.cursor("named") as cursor:
            cursor.itersize = 10
            cursor.execute("select generate_series(1, 100)")
            assert [row[0] for row in cursor] == list(range(1, 101))
        connection.commit()


# --- what an attack found: each once poisoned a server, lost data, or put a client out of step ---


@pytest.mark.parametrize("missing", [7, 8, 23, 60, 20000])
def test_a_client_that_dies_inside_a_copydata_harms_no_other(client, weir, missing):
    client.query("truncate c")
    with WireClient(weir.port) as dying:
        dying.send(query("copy c from stdin"))
        dying.read_until("G")
        whole = copy_data(b"1\ta\n" * 8000)
        dying.send(whole[:len(whole) - missing])
    for _ in range(8):  # whichever server it had, somebody has it now
        assert client.value("select count(*) from c") == "0"


def test_extended_copy_may_come_with_its_data(client):
    client.query("truncate c")
    replies = client.ask(run("copy c from stdin") + copy_data(b"1\ta\n") + message("c") + sync())
    assert (replies.kinds, replies.status) == ("12GCZ", "I")
    assert client.value("select count(*) from c") == "1"
    replies = client.ask(run("copy c from stdin") + message("f", text("no")) + sync())
    assert (replies.errors, replies.status) == (["57014"], "I")
    assert client.value("select 5") == "5"


def test_a_query_behind_a_failed_message_is_skipped_like_everything_else(client):
    replies = client.ask(bind(name="nobody") + query("select 1") + sync())
    assert (replies.kinds, replies.errors) == ("EZ", ["26000"])
    assert client.value("select 6") == "6"


def test_an_error_of_weirs_own_keeps_the_replies_before_it(client):
    replies = client.ask(parse("select 7", name="kept") + bind(name="nobody") + sync())
    assert (replies.kinds, replies.errors) == ("1EZ", ["26000"])
    assert client.ask(bind(name="kept") + execute() + sync()).rows == [["7"]]


def test_a_close_that_was_skipped_closed_nothing(client):
    client.ask(parse("select 9", name="stays") + sync())
    assert client.ask(parse("selec") + close("S", "stays") + sync()).errors == ["42601"]
    assert client.ask(bind(name="stays") + execute() + sync()).rows == [["9"]]


def test_what_a_dead_client_never_synced_is_rolled_back(client, weir):
    client.query("truncate c")
    with WireClient(weir.port) as dying:
        dying.send(run("insert into c values (1, 'unsynced')") + flush())
        dying.read_until("C")
    for _ in range(8):
        assert client.value("select count(*) from c") == "0"


def test_names_too_long_for_postgresql_cost_no_server(client, weir):
    servers = lambda: {row[0] for row in client.query("select pid from pg_stat_activity where application_name = 'weir'").rows}
    with many(weir, 3) as clients:  # all three servers of the pool are there from now on
        for each in clients:
            each.query("begin; select 1")
    before = servers()
    assert len(before) == 3
    with WireClient(weir.port) as long:
        long.send(describe("S", "n" * 10500) + sync())
        assert [m.fields["C"] for m in long.read_until("E")] == ["08P01"]
    assert servers() == before
