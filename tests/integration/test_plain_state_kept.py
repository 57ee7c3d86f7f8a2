"""State that PostgreSQL does not report: settings made by set_config() and by functions belong to their client; temporary tables, session
advisory locks and cursors WITH HOLD keep a server until they are gone; sequences' values keep it while nobody else wants it."""
import pytest

import harness
from wire_client import WireClient, bind, execute, parse, query, run, sync

FUNCTIONS = """
create or replace function sets_tenant(v text) returns text language plpgsql as $$ begin return set_config('app.tenant', v, false); end $$;
create or replace function sets_locally(v text) returns text language plpgsql as $$ begin return set_config('app.tenant', v, true); end $$;
create or replace function sets_by_statement(v text) returns void language plpgsql as $$ begin execute format('set app.tenant = %L', v); set work_mem = '7MB'; end $$;
create or replace function sets_and_restores() returns text language plpgsql set work_mem = '9MB' as $$ begin return current_setting('work_mem'); end $$;
create or replace function hides(sql text) returns void language plpgsql as $$ begin execute sql; end $$;
create or replace procedure proc(v text) language plpgsql as $$ begin perform set_config('app.tenant', v, false); end $$;
create table if not exists drawn (id serial primary key, v text);
create sequence if not exists s;
create sequence if not exists s2;
"""


@pytest.fixture(scope="module")
def functions(plain_clusters):
    plain_clusters.psql(FUNCTIONS)
    return plain_clusters


@pytest.fixture
def single(start_weir, functions):
    database = harness.database_toml(functions, sharded=False, replicas=False)
    return start_weir([database], pool={"size": 1, "wait_timeout": "3s"}, listen={"workers": 1})


@pytest.fixture
def three(start_weir, functions):
    """Room for two pins."""
    database = harness.database_toml(functions, sharded=False, replicas=False)
    return start_weir([database], pool={"size": 3, "wait_timeout": "3s"}, listen={"workers": 2})


def show(client, name):
    found = client.query(f"select coalesce(current_setting('{name}', true), '')")
    assert not found.errors, found
    return found.rows[0][0]


def settled(weir, pins):
    """Returns when every session rests and `pins` of them keep a server: the server is asked after the client has its answer."""
    def rest():
        states = [row["state"] for row in weir.console("SHOW CLIENTS") if row["database"] == "app"]
        return not any("active" in s or "waiting" in s for s in states) and sum("pinned" in s for s in states) == pins

    harness.wait_for(rest, f"the sessions to rest with {pins} servers kept")


# --- settings ---

SETTERS = [
    (query("select set_config('app.tenant', 'mine', false)"), "app.tenant", "mine"),
    (run("select set_config($1, $2, false)", "app.tenant", "mine") + sync(), "app.tenant", "mine"),
    (run("select set_config($1, $2, $3)", "app.tenant", "mine", "f") + sync(), "app.tenant", "mine"),
    (parse("select set_config('App.Tenant', $1::text, false)", name="p") + bind("it's", name="p") + execute() + sync(), "app.tenant", "it's"),
    (query("select set_config(n, v, false) from (values ('app.tenant', 'a'), ('app.other', 'b')) x (n, v)"), "app.other", "b"),
    (query("select set_config('app.' || 'tenant', 'computed', false)"), "app.tenant", "computed"),
    (query("select set_config('work_mem', '5MB', false), set_config('timezone', 'Asia/Tokyo', false)"), "timezone", "Asia/Tokyo"),
    (query("select set_config('search_path', 'a, \"B c\"', false)"), "search_path", 'a, "B c"'),
    (query("select 1; set app.tenant = 'second'"), "app.tenant", "second"),
    (query("set app.tenant = 'a'; set work_mem = '6MB'; select 1"), "work_mem", "6MB"),
    (query("select sets_tenant('f')"), "app.tenant", "f"),
    (run("select sets_tenant($1)", "p") + sync(), "app.tenant", "p"),
    (query("select sets_by_statement('x')"), "work_mem", "7MB"),
    (query("select sets_by_statement('x''y')"), "app.tenant", "x'y"),
    (query("call proc('c')"), "app.tenant", "c"),
    (query("do $$ begin perform set_config('app.tenant', 'd', false); end $$"), "app.tenant", "d"),
    (query("do 'begin set app.tenant = ''e''; end'"), "app.tenant", "e"),
    (query("do $$ begin set role pg_monitor; end $$"), "role", "pg_monitor"),
    (query("select hides('set session authorization pg_monitor')"), "session_authorization", "pg_monitor"),
    (query("set session characteristics as transaction isolation level serializable"), "default_transaction_isolation", "serializable"),
    (query("set session characteristics as transaction isolation level serializable"), "transaction_isolation", "serializable"),
    (query("set xml option document"), "xmloption", "document"),
    (query("set names 'LATIN1'"), "client_encoding", "LATIN1"),
    (query("set time zone interval '-08:00' hour to minute"), "timezone", "<-08>+08"),
    (query("set schema 'a b'"), "search_path", '"a b"'),
]


@pytest.mark.parametrize("make, name, expected", SETTERS, ids=[str(s[0][5:60]) for s in SETTERS])
def test_a_setting_is_its_clients_however_it_is_made(single, make, name, expected):
    with WireClient(single.port) as one:
        with WireClient(single.port) as other:
            default = show(other, name)
        assert not one.ask(make).errors
        for _ in range(2):
            assert show(one, name) == expected
            if b"computed" not in make and b"(values" not in make:
                with WireClient(single.port) as other:
                    assert show(other, name) == default
        # undone with its transaction
        for sql in ("discard all", "begin"):
            assert not one.query(sql).errors
        assert show(one, name) == default
        assert not one.ask(make).errors
        assert show(one, name) == expected or name == "transaction_isolation"
        one.query("rollback")
        assert show(one, name) == default
    with WireClient(single.port) as later:
        assert show(later, name) == default


def test_only_a_computed_name_keeps_a_server(single):
    with WireClient(single.port) as one:
        one.query("select set_config('app.tenant', 'a', false), sets_tenant('b')")
        settled(single, 0)
        one.query("select set_config('app.' || 'x', 'a', false)")
        settled(single, 1)
        one.query("discard all")
        settled(single, 0)


@pytest.mark.parametrize("local", ["set local app.tenant = 'mine'", "select set_config('app.tenant', 'mine', true)", "select sets_locally('mine')",
                                   "set local role pg_monitor; select set_config('app.tenant', 'mine', true)"])
def test_a_setting_of_the_transaction_ends_with_it(single, local):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        for end in ("commit", "rollback"):
            one.query("begin")
            assert not one.query(local).errors
            assert show(one, "app.tenant") == "mine"
            one.query(end)
            for client in (one, other, one):
                assert show(client, "app.tenant") == ""
                assert client.value("select current_user") == "postgres"
        settled(single, 0)


def test_a_functions_set_clause_and_its_savepoints(single):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        assert one.value("select sets_and_restores()") == "9MB"
        assert show(one, "work_mem") == "4MB"
        for sql in ("begin", "select sets_tenant('1')", "savepoint a", "select sets_tenant('2')", "savepoint b", "select sets_tenant('3')",
                    "rollback to b", "rollback to a", "set work_mem = '3MB'", "release a", "commit"):
            assert not one.query(sql).errors, sql
        assert show(other, "app.tenant") == ""
        assert (show(one, "app.tenant"), show(one, "work_mem")) == ("1", "3MB")
        one.query("begin")
        one.query("select sets_tenant('4')")
        one.query("select 1/0")
        one.query("rollback")
        assert show(other, "app.tenant") == ""
        assert show(one, "app.tenant") == "1"
        one.query("reset app.tenant")
        assert show(other, "app.tenant") == show(one, "app.tenant") == ""


def test_settings_of_roles_and_databases_are_those_of_every_client(start_weir, functions):
    functions.psql("drop role if exists tuned; create role tuned login; alter role tuned set app.tenant = 'of the role'; alter role tuned set search_path = pg_catalog")
    weir = start_weir([harness.database_toml(functions, sharded=False, replicas=False, backend="")], pool={"size": 1}, listen={"workers": 1})
    with WireClient(weir.port, user="tuned") as one, WireClient(weir.port, user="tuned") as other:
        one.query("set app.tenant = 'own'; ")
        assert (show(one, "app.tenant"), show(other, "app.tenant")) == ("own", "of the role")
        one.query("reset app.tenant")
        assert show(one, "app.tenant") == "of the role"
        assert show(other, "search_path") == "pg_catalog"


def test_row_security_by_setting_never_shows_anothers_rows(single, functions):
    functions.psql("drop table if exists secrets; create table secrets (owner text, v text); insert into secrets select 'u' || i, 's' || i from generate_series(0, 4) i;"
                   "alter table secrets enable row level security; create policy p on secrets using (owner = current_setting('app.tenant', true));"
                   "do $$ begin create role reader; exception when duplicate_object then null; end $$; grant select on secrets to reader")
    clients = [WireClient(single.port) for _ in range(5)]
    how = ["set app.tenant = 'u{}'", "select set_config('app.tenant', 'u{}', false)", "select sets_tenant('u{}')",
           "do $$ begin perform set_config('app.tenant', 'u{}', false); end $$", "select 1; set app.tenant = 'u{}'"]
    for i, client in enumerate(clients):
        client.query("set role reader")
        assert not client.query(how[i].format(i)).errors
    for _ in range(3):
        for i, client in enumerate(clients):
            assert client.query("select v from secrets").rows == [[f"s{i}"]]
    for i, client in enumerate(clients):
        client.query("begin")
        client.query(f"select set_config('app.tenant', 'u{(i + 1) % 5}', true)")
        assert client.query("select v from secrets").rows == [[f"s{(i + 1) % 5}"]]
        client.query("commit")
        assert client.query("select v from secrets").rows == [[f"s{i}"]]
        client.socket.close()


# --- what keeps a server, and until when ---

HELD = [
    ("create temp table mine (a int)", "drop table mine"),
    ("create temp table mine as select 1 as a", "discard temp"),
    ("create temp view mine as select 1 as a", "drop view mine"),
    ("select 1 as a into temp mine", "drop table mine"),
    ("do $$ begin create temp table mine (a int); end $$", "do $$ begin drop table mine; end $$"),
    ("select hides('create temp table mine (a int)')", "select hides('drop table mine')"),
    ("select pg_advisory_lock(5)", "select pg_advisory_unlock(5)"),
    ("select pg_try_advisory_lock_shared(5, 6)", "select pg_advisory_unlock_all()"),
    ("do $$ begin perform pg_advisory_lock(5); end $$", "do $$ begin perform pg_advisory_unlock(5); end $$"),
    ("begin; declare c cursor with hold for select 1; commit", "close c"),
    ("begin; declare c cursor with hold for select 1; commit", "close all"),
]


@pytest.mark.parametrize("make, end", HELD, ids=[h[0][:50] for h in HELD])
def test_a_server_is_kept_until_nothing_is_left_on_it(single, make, end):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        assert not one.query(make).errors
        settled(single, 1)
        one.query("select 1")
        settled(single, 1)
        assert not one.query(end).errors
        settled(single, 0)
        assert other.value("select 1") == "1"
        assert not one.query(make).errors
        assert not one.query("discard all").errors
        assert other.value("select 1") == "1"


@pytest.mark.parametrize("nothing", [
    "begin; create temp table mine (a int); rollback",
    "begin; create temp table mine (a int) on commit drop; commit",
    "begin; select pg_advisory_xact_lock(5); commit",
    "begin; declare c cursor for select 1; close c; commit",
    "select pg_advisory_unlock(5)",
    "select sets_tenant('x')",
])
def test_what_leaves_nothing_keeps_no_server(single, nothing):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        for sql in nothing.split("; "):
            one.query(sql)
        assert other.value("select 1") == "1"
        settled(single, 0)


def test_pins_are_bounded_and_the_refused_one_is_told_who_has_them(three):
    clients = [WireClient(three.port) for _ in range(3)]
    for client in clients[:2]:
        assert not client.query("create temp table mine (a int)").errors
    for sql in ("create temp table mine (a int)", "select pg_advisory_lock(9)", "begin; declare c cursor with hold for select 1; commit"):
        refused = clients[2].query(sql)
        assert refused.errors == ["53400"] and refused.status == "I"
        fields = refused[0].fields
        assert "max_pinned" in fields["H"]
    assert clients[2].value("select 1") == "1"
    clients[2].query("begin")
    assert clients[2].query("select pg_advisory_lock(9)").errors == ["53400"]
    assert clients[2].query("select 1").errors == ["25P02"]
    assert clients[2].query("rollback").tags == ["ROLLBACK"]
    clients[0].query("drop table mine")
    harness.wait_for(lambda: not clients[2].query("create temp table mine (a int)").errors, "the pin of a table that was dropped")
    clients[1].socket.close()
    harness.wait_for(lambda: not clients[0].query("select pg_try_advisory_lock(9)").errors, "the pin of a client that left")


def test_max_pinned_is_the_bound(start_weir, functions):
    weir = start_weir([harness.database_toml(functions, sharded=False, replicas=False)], pool={"size": 4, "max_pinned": 1}, listen={"workers": 1})
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("create temp table mine (a int)")
        one.query("select pg_advisory_lock(1)")
        refused = other.query("create temp table mine (a int)")
        assert refused.errors == ["53400"] and "temporary table, advisory lock" in refused[0].fields["D"]


# --- sequences ---


def test_a_drawn_value_is_there_as_long_as_nobody_waits(single):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        mine = one.value("select nextval('s')")
        assert (one.value("select currval('s')"), one.value("select lastval()")) == (mine, mine)
        settled(single, 1)
        assert int(other.value("select nextval('s')")) == int(mine) + 1   # and needs not wait for it
        assert one.query("select currval('s')").errors == ["55000"]
        assert one.query("select lastval()").errors == ["55000"]


def test_drawing_uses_no_pool_up(three):
    clients = [WireClient(three.port) for _ in range(12)]
    for _ in range(5):
        drawn = [client.value("select nextval('s')") for client in clients]
        assert len(set(drawn)) == 12
    for client in clients:
        client.socket.close()


def test_a_kept_server_shows_no_other_clients_sequences(single):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        other.query("select nextval('s2')")
        other.query("insert into drawn (v) values ('x')")
        one.query("select nextval('s')")
        assert one.query("select currval('s2')").errors == ["55000"]
        assert one.query("select currval('drawn_id_seq')").errors == ["55000"]
        mine = one.value("select lastval()")
        other.query("select 1")
        assert one.value("select lastval()") == mine   # nobody has drawn meanwhile
        other.query("insert into drawn (v) values ('x')")
        one.query("begin")
        assert one.query("select lastval()").errors == ["55000"]
        one.query("rollback")


def test_a_drawing_client_gives_way_to_a_pin(start_weir, functions):
    weir = start_weir([harness.database_toml(functions, sharded=False, replicas=False)], pool={"size": 4, "max_pinned": 1}, listen={"workers": 1})
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("select nextval('s')")
        assert not other.query("create temp table mine (a int)").errors
        settled(weir, 1)
