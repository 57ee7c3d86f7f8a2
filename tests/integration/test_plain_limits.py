"""Limits in time and number, and the pool modes, of a plain database."""
import contextlib
import socket
import struct

import pytest

import harness
from harness import live_servers
from wire_client import WireClient, bind, execute, message, parse, query, sync

AUTH = {"method": "trust", "users_file": "users.toml"}


@pytest.fixture(scope="module")
def logins(plain_clusters):
    plain_clusters.psql("create role alice login superuser; create role bob login superuser; create table if not exists t (i int)")
    return plain_clusters


def plain(clusters, **keys):
    return harness.database_toml(clusters, sharded=False, replicas=False, **keys)


def own_names(clusters, **keys):
    """Everybody logs in at the server under his own name."""
    return plain(clusters, backend="", maintenance="user=postgres", **keys)


@contextlib.contextmanager
def connected(weir, count, **parameters):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(WireClient(weir.port, **parameters)) for _ in range(count)]


def waiting(weir):
    return sum(int(r["waiting"]) for r in weir.console("SHOW BACKENDS"))


def await_queue(weir, count):
    harness.wait_for(lambda: waiting(weir) == count, f"{count} clients in the queue")


def refused(weir, **parameters):
    """The SQLSTATE and message of a login that fails."""
    with WireClient(weir.port, **parameters) as c:
        errors = [m.fields for m in c.greeting if m.kind == "E"]
        return (errors[0]["C"], errors[0]["M"]) if errors else None


# --- limits in time ---


def test_a_query_that_runs_too_long_is_cancelled_and_its_client_goes(start_weir, logins):
    weir = start_weir([plain(logins)], pool={"size": 1, "query_timeout": "1s"})
    with connected(weir, 2) as (slow, other):
        pid = other.value("select pg_backend_pid()")
        slow.send(query("insert into t values (7); select pg_sleep(60)"))
        replies = slow.at_end()
        assert replies.errors == ["57014"] and replies.kinds.count("E") == 1
        assert other.value("select pg_backend_pid()") == pid, "the server is used again"
        assert other.value("select count(*) from t") == "0"


def test_a_users_own_query_timeout_counts_before_the_databases_and_the_pools(start_weir, logins):
    users = {"alice": {"password": "x", "query_timeout": "0"}, "bob": {"password": "x"}}
    weir = start_weir([plain(logins, query_timeout="1s")], pool={"query_timeout": "1h"}, users=users, auth=AUTH)
    with WireClient(weir.port, user="alice") as alice, WireClient(weir.port, user="bob") as bob:
        bob.send(query("select pg_sleep(60)"))
        assert bob.at_end().errors == ["57014"]
        assert not alice.query("select pg_sleep(1.2)").errors


def test_a_transaction_that_lasts_too_long_is_ended_idle_or_running(start_weir, logins):
    weir = start_weir([plain(logins)], pool={"size": 1, "transaction_timeout": "1s", "idle_transaction_timeout": "1h"})
    for last_words in ("select 1", "select pg_sleep(60)"):
        with connected(weir, 2) as (c, other):
            pid = other.value("select pg_backend_pid()")
            c.query("begin; insert into t values (8)")
            c.send(query(last_words))
            assert c.at_end().errors == ["25P04"]
            assert other.value("select pg_backend_pid()") == pid
            assert other.value("select count(*) from t") == "0"


def test_an_idle_client_is_told_to_go_and_one_in_a_transaction_is_not(start_weir, logins):
    weir = start_weir([plain(logins)], pool={"client_idle_timeout": "1s"})
    with connected(weir, 2) as (idle, busy):
        busy.query("begin")
        assert idle.at_end().errors == ["57P05"]
        assert busy.query("commit").tags == ["COMMIT"]


def test_a_login_that_waits_for_a_server_ends_at_the_login_timeout(start_weir, logins):
    weir = start_weir([own_names(logins, max_server_connections=1)], pool={"client_login_timeout": "500ms", "wait_timeout": "1h"})
    with WireClient(weir.port, user="alice") as holder:
        holder.query("begin; select 1")
        code, text = refused(weir, user="bob")
        assert code == "53300" and "max_server_connections" in text and "database app" in text, text


def test_a_client_that_waits_is_told_once_and_then_served(start_weir, logins):
    weir = start_weir([plain(logins)], pool={"size": 1, "wait_notify": "200ms"})
    with connected(weir, 2) as (holder, c):
        holder.query("begin; select 1")
        c.send(query("select 42"))
        notice = c.read()
        assert notice.kind == "N" and "1 of 1 in use" in notice.fields["M"], notice
        assert c.silent(0.5)
        holder.query("commit")
        assert c.read_to_ready().kinds == "TDCZ"


# --- limits in number ---


def test_a_database_and_a_user_have_no_more_clients_than_they_may(start_weir, logins):
    users = {"alice": {"password": "x", "max_clients": 1}, "bob": {"password": "x"}}
    weir = start_weir([plain(logins, max_clients=2)], users=users, auth=AUTH)
    with WireClient(weir.port, user="alice"):
        code, text = refused(weir, user="alice")
        assert code == "53300" and 'user "alice"' in text, text
        with WireClient(weir.port, user="bob"):
            code, text = refused(weir, user="bob")
            assert code == "53300" and 'database "app"' in text, text
        harness.wait_for(lambda: refused(weir, user="bob") is None, "a place")


def test_max_clients_counts_no_cancel_requests_and_they_are_served(start_weir, logins):
    weir = start_weir([plain(logins)], listen={"max_clients": 3})
    with connected(weir, 2) as (c, _):
        c.send(query("select pg_sleep(60)"))
        harness.wait_for(lambda: live_servers(logins, "query like '%pg_sleep(60)%' and state = 'active'"), "the statement")
        with contextlib.ExitStack() as stack:
            for _ in range(8):   # connections that have not said who they are
                stack.enter_context(WireClient(weir.port, log_in=False))
            third = stack.enter_context(WireClient(weir.port))
            assert third.value("select 1") == "1"
            assert refused(weir)[0] == "53300"
            c.cancel()
            assert c.read_to_ready().errors == ["57014"]


def test_a_users_bound_holds_over_all_its_pools_and_nobody_starves(start_weir, logins):
    logins.psql("create database other")
    databases = [own_names(logins), own_names(logins, name="other").replace("dbname=app", "dbname=other")]
    users = {"alice": {"password": "x", "max_server_connections": 2}}
    weir = start_weir(databases, pool={"size": 5}, users=users, auth=AUTH)
    with connected(weir, 6, user="alice") as one, connected(weir, 6, user="alice", database="other") as two:
        for _ in range(3):
            for c in one + two:
                c.send(query("select pg_sleep(0.02)"))
            assert len(live_servers(logins, "usename = 'alice'", databases=("app", "other"))) <= 2
            for c in one + two:
                assert not c.read_to_ready().errors


def test_the_reserve_helps_who_has_waited_long(start_weir, logins):
    weir = start_weir([plain(logins, pool_reserve=1)], pool={"size": 1, "reserve_timeout": "300ms", "wait_timeout": "2s"})
    with connected(weir, 3) as (holder, c, third):
        holder.query("begin; select 1")
        assert c.query("begin; select 1").status == "T"
        assert third.query("select 1").errors == ["53300"], "one is all the reserve there is"


def test_the_minimum_is_kept_open(start_weir, logins):
    weir = start_weir([plain(logins, pool_min=3)], pool={"size": 5})
    assert weir.psql("select 1") == "1"
    harness.wait_for(lambda: len(live_servers(logins)) == 3, "three servers")
    logins.psql("select pg_terminate_backend(pid) from pg_stat_activity where application_name in ('weir', 'psql') and pid <> pg_backend_pid()")
    harness.wait_for(lambda: len(live_servers(logins)) == 3, "three servers again")


# --- modes ---


def test_in_session_mode_a_server_is_the_clients_until_it_goes_and_then_clean(start_weir, logins):
    weir = start_weir([plain(logins, pool_mode="session")], pool={"size": 1, "wait_timeout": "3s"})
    with connected(weir, 1, application_name="one") as (c,):
        pid = c.value("select pg_backend_pid()")
        for statement in ("set work_mem = '5MB'", "set search_path to pg_catalog, public", "select set_config('a.b', 'c', false)",
                          "create temp table kept (i int)", "prepare p as select 11", "select pg_advisory_lock(5)", "listen news",
                          "do $$ begin perform set_config('a.d', 'e', false); end $$"):
            assert not c.query(statement).errors
        assert c.query("select 1/0").errors == ["22012"]
        assert c.query("begin; select 1; rollback").tags == ["BEGIN", "SELECT 1", "ROLLBACK"]
        for asked, answer in (("show work_mem", "5MB"), ("select current_setting('a.b')", "c"), ("select current_setting('a.d')", "e"),
                              ("execute p", "11"), ("select count(*) from kept", "0"), ("show application_name", "one"),
                              ("select pg_backend_pid()", pid)):
            assert c.value(asked) == answer
        assert refused(weir) is None   # what a login must know is known
        with WireClient(weir.port) as other:
            assert other.query("select 1").errors == ["53300"], "the one server is taken"
        assert c.query("discard all").tags == ["DISCARD ALL"]
        assert c.value("select pg_backend_pid()") == pid, "kept even so"
        assert c.value("show application_name") == "one"
        assert not c.query("create temp table kept (i int); set work_mem = '6MB'").errors
    with WireClient(weir.port) as other:
        assert other.value("select pg_backend_pid()") == pid, "the next client has it"
        assert other.value("show work_mem") != "6MB"
        assert other.query("select * from kept").errors == ["42P01"]


def test_in_session_mode_a_server_is_taken_by_the_first_statement_even_if_it_fails(start_weir, logins):
    weir = start_weir([plain(logins, pool_mode="session")], pool={"size": 1, "wait_timeout": "300ms"})
    with connected(weir, 2) as (c, other):
        assert c.query("select 1/0").errors == ["22012"]
        assert other.query("select 1").errors == ["53300"]


def test_in_statement_mode_transaction_blocks_are_refused(start_weir, logins):
    users = {"alice": {"password": "x", "pool_mode": "statement"}}
    weir = start_weir([plain(logins)], pool={"size": 1}, users=users, auth=AUTH)
    with WireClient(weir.port, user="alice") as c:
        assert c.query("begin").errors == ["0A000"]
        assert c.query("start transaction read only").errors == ["0A000"]
        assert c.ask(parse("begin") + bind() + execute() + sync()).errors == ["0A000"]
        assert c.value("select 1") == "1"
        assert c.query("select 1; select 2").rows == [["1"], ["2"]], "one implicit transaction is one statement"
        assert c.query("begin; insert into t values (9); rollback").status == "I", "it is over when it is answered"
        pid = c.value("select pg_backend_pid()")
        c.send(query("begin; insert into t values (10)") + query("commit"))
        replies = c.at_end()
        assert replies.errors == ["0A000"] and "Z" not in replies.kinds, replies
    with WireClient(weir.port, user="bob") as other:
        assert other.value("select pg_backend_pid()") == pid, "it was rolled back and is used again"
        assert other.value("select count(*) from t") == "0"
        assert other.query("begin").status == "T", "bob's mode is transaction"


# --- clients that die ---


def test_servers_survive_two_hundred_clients_killed_in_mid_query(start_weir, logins):
    weir = start_weir([plain(logins)], pool={"size": 4})
    with connected(weir, 4) as clients:
        for c in clients:
            c.send(query("begin; select pg_sleep(0.2); commit"))
        for c in clients:
            c.read_to_ready()
    before = live_servers(logins)
    assert len(before) == 4
    for _ in range(10):
        with connected(weir, 20) as clients:
            for c in clients:
                c.send(query("begin; insert into t values (1); select pg_sleep(60)"))
            harness.wait_for(lambda: len(live_servers(logins, "query like '%pg_sleep(60)%' and state = 'active'")) == 4, "four at work")
            for c in clients:   # a reset, not a polite end
                c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        harness.wait_for(lambda: not live_servers(logins, "state <> 'idle'"), "every server to be idle")
    assert live_servers(logins) == before
    assert weir.psql("select count(*) from t") == "0"


def test_a_dead_client_leaves_the_queue_though_it_said_goodbye(start_weir, logins):
    weir = start_weir([plain(logins)], pool={"size": 1})
    with connected(weir, 1) as (holder,):
        holder.query("begin; select 1")
        with connected(weir, 5) as queued:
            for c in queued:
                c.send(query("insert into t values (3)"))
            await_queue(weir, 5)
            for c in queued:
                c.send(message("X"))   # unread behind the statement
        await_queue(weir, 0)
        holder.query("commit")
        assert holder.value("select count(*) from t") == "0"


def test_a_login_storm_after_a_restart_of_postgresql_stays_within_the_bounds(start_weir, plain_clusters, logins):
    weir = start_weir([plain(logins)], pool={"size": 6, "max_per_backend": 6, "wait_timeout": "60s"})
    with connected(weir, 1000, timeout=90) as clients:
        for c in clients:
            c.send(query("select 1"))
        for c in clients:
            assert c.read_to_ready().rows == [["1"]]
        plain_clusters.kill()
        for c in clients:
            c.send(query("select count(*) from pg_stat_activity where application_name = 'weir'"))
        plain_clusters.restart()
        answers = [c.read_to_ready() for c in clients]
        seen = [int(a.rows[0][0]) for a in answers if not a.errors]
        assert len(seen) > 900, "who waited was served"
        assert max(seen) <= 6
        backend = [r for r in weir.console("SHOW BACKENDS") if r["role"] == "primary"][0]
        assert int(backend["server_connections_max_seen"]) <= 6
