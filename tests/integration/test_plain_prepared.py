"""Prepared statements, by the protocol and in SQL, through a pool of fewer servers than clients: one namespace for each client."""
import contextlib
import threading

import psycopg
import pytest

import harness
from wire_client import WireClient, bind, close, describe, execute, parse, query, run, sync

SERVERS = 2


@pytest.fixture(scope="module")
def weir(plain_clusters):
    plain_clusters.psql("create table p (id int primary key, v text); insert into p select g, 'v' || g from generate_series(1, 50) g;"
                        "create type mood as enum ('sad', 'ok'); create schema other; create type other.\"Odd,Type\" as enum ('x')")
    with harness.running([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": SERVERS, "wait_timeout": "10s"}) as proxy:
        yield proxy


@pytest.fixture(params=["weir", "postgres"])
def client(request, weir, plain_clusters):
    """Through Weir, and on PostgreSQL itself: what a test says must hold there, too."""
    port = weir.port if request.param == "weir" else plain_clusters.node()["port"]
    with WireClient(port) as connected:
        yield connected


@contextlib.contextmanager
def elsewhere(weir):
    """Another client holds one server in a transaction, so that the next statement of an idle one runs on another."""
    with WireClient(weir.port) as other:
        other.query("begin; select 1")
        yield
        other.query("rollback")


def error(replies):
    fields = [m for m in replies if m.kind == "E"][0].fields
    return fields["C"], fields["M"]


# --- PREPARE, EXECUTE, DEALLOCATE ---


@pytest.mark.parametrize("ask", [lambda c, sql: c.query(sql), lambda c, sql: c.ask(run(sql) + sync())], ids=["simple", "extended"])
def test_what_is_prepared_is_executed_and_forgotten(client, ask):
    assert ask(client, "PREPARE one (int, text) AS SELECT $1 + 1, $2 || '!'").tags == ["PREPARE"]
    assert ask(client, "EXECUTE one(41, 'x')").rows == [["42", "x!"]]
    assert error(ask(client, "PREPARE one AS SELECT 1")) == ("42P05", 'prepared statement "one" already exists')
    assert ask(client, "DEALLOCATE one").tags == ["DEALLOCATE"]
    assert error(ask(client, "EXECUTE one(1, 'x')")) == ("26000", 'prepared statement "one" does not exist')
    assert error(ask(client, "DEALLOCATE PREPARE one")) == ("26000", 'prepared statement "one" does not exist')
    assert ask(client, "PREPARE one AS SELECT 'new'").tags == ["PREPARE"]
    assert ask(client, "EXECUTE one").rows == [["new"]]
    assert client.query("DEALLOCATE ALL").tags == ["DEALLOCATE ALL"]
    assert error(client.query("EXECUTE one"))[0] == "26000"


def test_names_are_folded_and_quoted_as_postgresql_does(client):
    client.query('PREPARE MixedCase AS SELECT 1')
    client.query('PREPARE "MixedCase" AS SELECT 2')
    client.query('PREPARE "a ""b""" AS SELECT 3')
    assert [client.query(f"EXECUTE {name}").rows for name in ("mixedcase", "MIXEDcase", '"MixedCase"', '"a ""b"""')] == [[["1"]], [["1"]], [["2"]], [["3"]]]
    assert error(client.query('EXECUTE "MIXEDCASE"')) == ("26000", 'prepared statement "MIXEDCASE" does not exist')
    long = "n" * 70
    client.query(f"PREPARE {long} AS SELECT 4")
    assert client.query(f"EXECUTE {long}").rows == [["4"]]
    assert client.query(f"EXECUTE {long[:63]}").rows == [["4"]]


def test_sql_and_protocol_share_one_namespace(client):
    client.query("PREPARE by_sql (int) AS SELECT v FROM p WHERE id = $1")
    assert client.ask(bind(7, name="by_sql") + execute() + sync()).rows == [["v7"]]
    assert client.ask(describe("S", "by_sql") + sync()).kinds == "tTZ"
    assert error(client.ask(parse("SELECT 1", "by_sql") + sync())) == ("42P05", 'prepared statement "by_sql" already exists')
    client.ask(parse("SELECT v FROM p WHERE id = $1", "by_protocol", types=[23]) + sync())
    assert client.query("EXECUTE by_protocol(8)").rows == [["v8"]]
    assert error(client.query("PREPARE by_protocol AS SELECT 1"))[0] == "42P05"
    client.ask(close("S", "by_sql") + sync())
    assert error(client.query("EXECUTE by_sql(1)"))[0] == "26000"
    client.query("DEALLOCATE by_protocol")
    assert error(client.ask(bind(1, name="by_protocol") + execute() + sync())) == ("26000", 'prepared statement "by_protocol" does not exist')


def test_an_unknown_or_taken_name_is_an_error_and_the_client_stays(client):
    assert error(client.ask(bind(name="nobody") + execute() + sync())) == ("26000", 'prepared statement "nobody" does not exist')
    assert client.ask(parse("SELECT 1", "twice") + sync()).kinds == "1Z"
    assert error(client.ask(parse("SELECT 2", "twice") + sync())) == ("42P05", 'prepared statement "twice" already exists')
    assert error(client.ask(bind() + execute() + sync()))[0] == "26000"
    assert client.ask(bind(name="twice") + execute() + sync()).rows == [["1"]]


def test_explain_execute_and_create_table_as_execute(client):
    client.query("PREPARE q (int) AS SELECT id, v FROM p WHERE id <= $1 ORDER BY id")
    assert any("p" in row[0] for row in client.query("EXPLAIN (COSTS off) EXECUTE q(3)").rows)
    assert any("actual" in row[0] for row in client.query("EXPLAIN ANALYZE EXECUTE q(3)").rows)
    assert client.query("BEGIN; CREATE TABLE made AS EXECUTE q(3)").errors == []
    assert client.value("SELECT count(*) FROM made") == "3"
    client.query("ROLLBACK")


def test_types_are_those_that_the_session_means(client):
    client.query("PREPARE m (mood, int[], numeric(10, 2), other.\"Odd,Type\", double precision) AS SELECT $1, $2[1], $3, $4, $5")
    assert client.query("EXECUTE m('ok', '{7}', 1.5, 'x', 2)").rows == [["ok", "7", "1.5", "x", "2"]]
    assert error(client.query("PREPARE n (nonesuch) AS SELECT $1")) == ("42704", 'type "nonesuch" does not exist')
    assert error(client.query("PREPARE n AS SELECT $1 + nonesuch"))[0] == "42703"
    assert client.query("PREPARE n AS SELECT 1").tags == ["PREPARE"], "the name is free: both failed"
    assert client.query("EXECUTE n").rows == [["1"]]


def test_prepared_statements_are_not_transactional(client):
    client.query("BEGIN")
    client.query("PREPARE kept (int) AS SELECT $1")
    client.query("ROLLBACK")
    assert client.query("EXECUTE kept(5)").rows == [["5"]]
    client.query("BEGIN")
    client.query("DEALLOCATE kept")
    client.query("ROLLBACK")
    assert error(client.query("EXECUTE kept(5)"))[0] == "26000"


def test_in_a_failed_transaction_nothing_is_prepared_executed_or_forgotten(client):
    client.query("PREPARE there AS SELECT 1")
    for sql in ("PREPARE x AS SELECT 1", "EXECUTE there", "DEALLOCATE there", "DEALLOCATE ALL"):
        client.query("BEGIN; SELECT 1/0")
        replies = client.query(sql)
        assert (replies.errors, replies.status) == (["25P02"], "E"), sql
        assert client.ask(run(sql) + sync()).errors == ["25P02"], sql
        assert client.query("ROLLBACK").status == "I"
    assert client.query("EXECUTE there").rows == [["1"]]
    assert error(client.query("EXECUTE x"))[0] == "26000"


def test_an_error_in_a_transaction_fails_it(client):
    client.query("BEGIN; SELECT 1")
    assert client.query("EXECUTE nobody").status == "E"
    assert client.query("SELECT 1").errors == ["25P02"]
    assert client.query("ROLLBACK").tags == ["ROLLBACK"]


def test_wrong_arguments_are_told_with_the_clients_name(client):
    client.query("PREPARE two (int, int) AS SELECT $1 + $2")
    assert error(client.query("EXECUTE two(1)")) == ("42601", 'wrong number of parameters for prepared statement "two"')
    assert error(client.ask(bind(1, name="two") + execute() + sync())) == (
        "08P01", 'bind message supplies 1 parameters, but prepared statement "two" requires 2')


@pytest.mark.parametrize("before, sql", [
    ("SELECT 1", "PREPARE bad (int) AS SELECT 'é', nonesuch"),
    ("PREPARE ok (int) AS SELECT $1", "EXECUTE ok(nonesuch)"),
    ("PREPARE ok (int) AS SELECT $1", "EXPLAIN EXECUTE ok('é' || nonesuch)"),
    ("PREPARE \"é a very long name for a statement\" (int) AS SELECT $1", "EXECUTE \"é a very long name for a statement\"(nonesuch)"),
    ("SELECT 1", "PREPARE z AS SELECT 1; EXECUTE z; SELECT nonesuch"),
])
def test_positions_in_errors_are_those_of_the_clients_text(weir, plain_clusters, before, sql):
    places = []
    for port in (weir.port, plain_clusters.node()["port"]):
        with WireClient(port, client_encoding="UTF8") as asking:
            assert asking.query(before).errors == []
            fields = [m for m in asking.query(sql) if m.kind == "E"][0].fields
            places.append((fields["C"], fields["M"], fields.get("P")))
    assert places[0] == places[1]


def test_a_string_of_several_prepares_and_executes(client):
    replies = client.query("PREPARE s (int) AS SELECT $1 * 2; EXECUTE s(4); EXECUTE s(5)")
    assert (replies.tags, replies.rows) == (["PREPARE", "SELECT 1", "SELECT 1"], [["8"], ["10"]])
    assert client.query("EXECUTE s(6)").rows == [["12"]]
    assert client.query("SELECT 0; EXECUTE s(7)").rows == [["0"], ["14"]]
    replies = client.query("PREPARE t AS SELECT 1; SELECT 1/0; PREPARE u AS SELECT 2")
    assert (replies.tags, replies.errors) == (["PREPARE"], ["22012"])
    assert client.query("EXECUTE t").rows == [["1"]], "what ran before the error was prepared"
    assert error(client.query("EXECUTE u"))[0] == "26000"
    assert client.query("DEALLOCATE s; PREPARE s AS SELECT 'again'; EXECUTE s").rows == [["again"]]
    assert client.query("EXECUTE s").rows == [["again"]]
    assert client.query("DEALLOCATE ALL; SELECT 1").tags == ["DEALLOCATE ALL", "SELECT 1"]
    assert error(client.query("EXECUTE s"))[0] == "26000"
    assert error(client.query("SELECT 1; EXECUTE nobody")) == ("26000", 'prepared statement "nobody" does not exist')


def test_a_pipeline_of_prepare_execute_and_deallocate(client):
    replies = client.ask(run("PREPARE a AS SELECT 1") + run("EXECUTE a") + run("DEALLOCATE a") + run("PREPARE a AS SELECT 2") + run("EXECUTE a") + sync())
    assert (replies.tags, replies.rows, replies.errors) == (["PREPARE", "SELECT 1", "DEALLOCATE", "PREPARE", "SELECT 1"], [["1"], ["2"]], [])
    replies = client.ask(run("SELECT 1/0") + run("DEALLOCATE a") + run("PREPARE b AS SELECT 3") + sync())
    assert (replies.errors, replies.status) == (["22012"], "I")
    assert client.query("EXECUTE a").rows == [["2"]], "the DEALLOCATE was skipped"
    assert error(client.query("EXECUTE b"))[0] == "26000"


def test_describe_of_what_the_proxy_runs_itself_says_no_parameters_and_no_rows(client):
    for sql in ("BEGIN", "ROLLBACK", "PREPARE d AS SELECT 1", "DEALLOCATE ALL"):
        replies = client.ask(parse(sql) + describe("S") + bind() + describe("P") + execute() + sync())
        assert replies.kinds == "1tn2nCZ", (sql, replies)
        assert replies[1].body == b"\0\0"


# --- over servers ---


def test_a_statement_follows_its_client_to_every_server(weir):
    with WireClient(weir.port) as client:
        client.query("PREPARE here (mood) AS SELECT $1::text || pg_backend_pid()")
        client.ask(parse("SELECT $1::int + 1", "there") + sync())
        pids = {client.query("EXECUTE here('ok')").rows[0][0]}
        with elsewhere(weir):
            pids |= {client.query("EXECUTE here('ok')").rows[0][0]}
            assert client.query("EXECUTE there(1)").rows == [["2"]]
            assert client.query("SELECT 1; EXECUTE there(2)").rows == [["1"], ["3"]]
            assert client.ask(parse("EXECUTE here('sad')", "x") + bind(name="x") + describe("P") + execute() + sync()).kinds == "12TDCZ"
        assert len(pids) == 2
        assert client.ask(bind(name="x") + execute() + sync()).kinds == "2DCZ"
        assert [r["link"] for r in weir_clients(weir) if r["prepared_statements"] == "3"] in ([], [""]), "and pins none"


def weir_clients(weir):
    return weir.console("SHOW CLIENTS")


def test_clients_of_one_name_have_statements_of_their_own(weir):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(WireClient(weir.port)) for _ in range(6)]
        for i, client in enumerate(clients):
            assert client.query(f"PREPARE mine (int) AS SELECT $1 + {i * 100}").tags == ["PREPARE"]
        for turn in range(3):
            for i, client in enumerate(clients):
                assert client.query(f"EXECUTE mine({turn})").rows == [[str(turn + i * 100)]]
        clients[0].query("DEALLOCATE ALL")
        clients[1].query("DISCARD ALL")
        assert [c.query("EXECUTE mine(0)").errors for c in clients] == [["26000"], ["26000"], [], [], [], []]


def test_nobody_reaches_anothers_statement_by_the_servers_name_for_it(weir):
    with WireClient(weir.port) as owner, WireClient(weir.port) as thief:
        owner.query("PREPARE secret AS SELECT 'secret'")
        assert owner.query("EXECUTE secret").rows == [["secret"]]
        names = [r[0] for r in owner.query("SELECT name FROM pg_prepared_statements").rows]
        for name in names:
            for sql in (f"EXECUTE {name}", f"SELECT 1; EXECUTE {name}", f"DEALLOCATE {name}", f"SELECT 1; DEALLOCATE {name}", f"EXPLAIN EXECUTE {name}"):
                assert thief.query(sql).errors == ["26000"], sql
            assert thief.ask(bind(name=name) + execute() + sync()).errors == ["26000"]


def test_few_places_on_the_server_serve_many_statements(start_weir, plain_clusters):
    """20 clients with 20 statements each, where a server keeps three."""
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": SERVERS, "max_prepared_statements": 3})
    failures = []

    def work(number):
        try:
            with WireClient(weir.port) as client:
                for s in range(20):
                    text = f"SELECT {s} + $1::int"
                    assert (client.query(f"PREPARE s{s} (int) AS {text}") if s % 2 else client.ask(parse(text, f"s{s}") + sync())).errors == []
                for turn in range(3):
                    for s in range(20):
                        asked = client.query(f"EXECUTE s{s}({number})") if (s + turn) % 2 else client.ask(bind(number, name=f"s{s}") + execute() + sync())
                        assert asked.rows == [[str(s + number)]], asked
                assert int(client.value("SELECT count(*) FROM pg_prepared_statements")) <= 4
        except Exception as failed:  # noqa: BLE001: shown by the assertion below
            failures.append(repr(failed))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []


def test_statements_on_a_server_are_bounded_in_bytes(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1, "max_prepared_bytes": 100000})
    with WireClient(weir.port) as client:
        for s in range(20):
            filler = "x" * 20000
            client.ask(parse(f"SELECT {s}, '{filler}'", f"s{s}") + bind(name=f"s{s}") + execute() + sync())
        assert int(client.value("SELECT sum(length(statement)) FROM pg_prepared_statements")) <= 120000
        assert [client.ask(bind(name=f"s{s}") + execute() + sync()).rows[0][0] for s in range(20)] == [str(s) for s in range(20)]


def test_a_client_holds_no_more_than_its_bound(weir):
    with WireClient(weir.port, timeout=60.0) as client:
        filler = "x" * (4 << 20)
        errors = []
        for s in range(20):
            errors += client.ask(parse(f"SELECT {s}, '{filler}'", f"s{s}") + sync()).errors
            if errors:
                break
        assert (errors, s) == (["53400"], 15)
        assert client.query("DEALLOCATE s0").errors == []
        assert client.ask(parse(f"SELECT '{filler}'", "again") + sync()).errors == []


def test_a_close_that_an_error_skipped_is_made_up_for(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1, "max_prepared_statements": 3})
    with WireClient(weir.port) as client:
        pid = client.value("SELECT pg_backend_pid()")
        for s in range(6):
            client.ask(parse(f"SELECT {s}", f"s{s}") + sync())
            # The eviction for this Bind stands behind an error.
            assert client.ask(run("SELECT 1/0") + bind(name=f"s{(s * 3) % (s + 1)}") + execute() + sync()).errors == ["22012"]
        for s in range(6):
            assert client.ask(bind(name=f"s{s}") + execute() + sync()).rows == [[str(s)]]
        assert int(client.value("SELECT count(*) FROM pg_prepared_statements")) <= 4
        assert client.value("SELECT pg_backend_pid()") == pid


def test_names_taken_and_given_back_in_a_batch_that_waits_out_a_reload_are_planned_again(weir):
    with WireClient(weir.port) as client, contextlib.ExitStack() as stack:
        assert client.ask(parse("SELECT 'old'", "kept") + sync()).errors == []
        holders = [stack.enter_context(WireClient(weir.port)) for _ in range(SERVERS)]
        for holder in holders:
            assert holder.query("begin; select 1").errors == []
        client.send(parse("SELECT 1", "short") + bind(name="short") + execute() + close("S", "short")
                    + close("S", "kept") + parse("SELECT 2", "kept") + bind(name="kept") + execute() + sync())
        harness.wait_for(lambda: any(p["cl_waiting"] == "1" for p in weir.console("SHOW POOLS")), "the batch to wait for a server")
        weir.console("RELOAD")
        for holder in holders:
            holder.query("rollback")
        replies = client.read_until("Z")
        assert (replies.errors, replies.rows) == ([], [["1"], ["2"]])
        assert client.ask(bind(name="kept") + execute() + sync()).rows == [["2"]]
        assert client.ask(bind(name="short") + execute() + sync()).errors == ["26000"]


# --- plans that DDL made invalid ---


def test_a_changed_result_type_is_not_seen_outside_of_transactions(start_weir, plain_clusters):
    plain_clusters.psql("drop table if exists wide; create table wide (a int); insert into wide values (1)")
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 5})
    stop, failures, done = threading.Event(), [], []

    def work(number):
        try:
            with psycopg.connect(weir.dsn(), autocommit=True, prepare_threshold=0) if number % 2 else WireClient(weir.port) as client:
                if number % 2 == 0:
                    assert client.query("PREPARE w AS SELECT * FROM wide").errors == []
                    assert client.ask(parse("SELECT * FROM wide", "named") + sync()).errors == []
                turns = 0
                while not stop.is_set():
                    if number % 2:
                        client.execute("SELECT * FROM wide")
                    else:
                        assert client.query("EXECUTE w").errors == []
                        assert client.ask(bind(name="named") + describe() + execute() + sync()).errors == []
                        assert client.ask(parse("SELECT * FROM wide", f"t{turns}") + bind(name=f"t{turns}") + execute() + close("S", f"t{turns}") + sync()).errors == []
                    turns += 1
                done.append(turns)
        except Exception as failed:  # noqa: BLE001
            failures.append(repr(failed))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(50)]
    for t in threads:
        t.start()
    for column in range(8):
        plain_clusters.psql(f"alter table wide add column c{column} int; select count(*) from wide")
        weir.psql("select count(*) from wide")
    stop.set()
    for t in threads:
        t.join()
    assert failures == []
    assert len(done) == 50


def test_a_changed_result_type_is_told_within_a_transaction_and_mended_for_later(start_weir, plain_clusters):
    plain_clusters.psql("drop table if exists wide; create table wide (a int); insert into wide values (1)")
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1})
    with WireClient(weir.port) as client:
        client.query("PREPARE w AS SELECT * FROM wide")
        client.query("EXECUTE w")
        plain_clusters.psql("alter table wide add column b int")
        client.query("BEGIN; SELECT 1")
        assert error(client.query("EXECUTE w")) == ("0A000", "cached plan must not change result type")
        assert client.query("ROLLBACK").status == "I"
        client.query("BEGIN; SELECT 1")
        assert client.query("EXECUTE w").rows == [["1", None]]
        assert client.query("COMMIT").tags == ["COMMIT"]


# --- without a server ---


def test_a_client_that_floods_with_local_statements_starves_nobody(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], listen={"workers": 1})
    with WireClient(weir.port, timeout=60.0) as flooding, WireClient(weir.port) as other:
        count = 100000
        reader = threading.Thread(target=lambda: flooding.read_to_ready(count))
        reader.start()
        sender = threading.Thread(target=lambda: flooding.send(query("") * count))
        sender.start()
        answered = 0
        while reader.is_alive():
            assert other.value("SELECT 1") == "1"
            answered += 1
        reader.join()
        sender.join()
        assert answered > 20, "the other client had its turns"
