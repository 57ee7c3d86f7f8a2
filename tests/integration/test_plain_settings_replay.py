"""A session's settings travel in front of its statements: in the same packet, and never does a statement run without them."""
import pytest

import harness
import weir_toml
from relay import Relay
from wire_client import WireClient, bind, describe, execute, flush, message, parse, query, run, sync


@pytest.fixture
def single(start_weir, plain_clusters):
    """A pool of one server: every change of client is a change of settings."""
    plain_clusters.psql("create table if not exists replayed (v text); truncate replayed")
    return start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1, "wait_timeout": "3s"}, listen={"workers": 1})


@pytest.fixture
def relayed(start_weir, plain_clusters):
    relay = Relay(plain_clusters)
    database = weir_toml.database(relay.shards, sharded=False, replicas=False)
    yield start_weir([database], pool={"size": 1}, listen={"workers": 1}), relay
    relay.close()


def rows(plain_clusters):
    return plain_clusters.psql("select coalesce(string_agg(v, ',' order by v), '') from replayed")


# --- what it costs ---


@pytest.mark.parametrize("ask", [query, lambda sql: run(sql) + sync(), lambda sql: parse(sql, name=sql[-8:]) + bind(name=sql[-8:]) + execute() + sync()],
                         ids=["simple", "extended", "prepared"])
def test_the_replay_costs_no_round_trip(relayed, ask):
    weir, relay = relayed
    with WireClient(weir.port) as one, WireClient(weir.port) as other, WireClient(weir.port) as bare:
        one.query("set app.tenant = 'one'")
        other.query("set app.tenant = 'other'; ")
        bare.query("select 'marker of the pool'")
        before = relay.turns("marker of the pool")
        for i in range(10):
            for client, expected in ((one, "one"), (other, "other"), (bare, "")):
                assert client.ask(ask(f"select current_setting('app.tenant', true), {1000 + i}")).rows == [[expected, str(1000 + i)]]
        assert relay.turns("marker of the pool") - before == 30


def test_a_first_statement_that_ends_transactions_costs_one_and_is_right(relayed):
    weir, relay = relayed
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("set app.tenant = 'one'")
        other.query("select 'marker of the pool'")
        before = relay.turns("marker of the pool")
        assert one.query("select 1; select current_setting('app.tenant')").rows == [["1"], ["one"]]
        assert relay.turns("marker of the pool") - before == 2


# --- what happens when it fails ---

FAILING = {
    "simple": (query("insert into replayed values ('ran')"), "I"),
    "extended": (run("insert into replayed values ('ran')") + sync(), "I"),
    "prepared": (parse("insert into replayed values ('ran')", name="p") + bind(name="p") + describe() + execute() + sync(), "I"),
    "pipeline": (run("begin") + run("insert into replayed values ('ran')") + run("commit") + sync(), "I"),
    "two statements": (query("insert into replayed values ('ran'); select 1"), "I"),
    "rollback first": (query("rollback; insert into replayed values ('ran')"), "I"),
    "commit first": (run("commit") + run("insert into replayed values ('ran')") + sync(), "I"),
    "begin": (query("begin"), "I"),
    "empty": (query(""), None),
}


@pytest.mark.parametrize("how", FAILING)
def test_without_its_settings_no_statement_runs(single, plain_clusters, how):
    plain_clusters.psql("drop role if exists vanishing; create role vanishing; grant insert on replayed to vanishing")
    data, status = FAILING[how]
    with WireClient(single.port) as one, WireClient(single.port) as other:
        assert not one.query("set role vanishing").errors
        other.query("select 1")
        plain_clusters.psql("drop owned by vanishing; drop role vanishing")
        found = one.ask(data)
        if status:
            assert found.errors == ["22023"] and found.status == status, found
            message = next(m.fields for m in found if m.kind == "E")
            assert "settings could not be applied" in message["M"] and "vanishing" in message["M"]
        assert rows(plain_clusters) == ""
        # The server is as good as before, for others and for one that gives its settings up.
        assert other.value("select current_user") == "postgres"
        assert one.ask(data).errors == found.errors
        assert not one.query("discard all").errors
        assert one.value("select current_user") == "postgres"
        assert rows(plain_clusters) == ""
        assert one.ask(parse("select 1", name="p") + sync()).errors == []   # the name was not taken by what failed


def test_a_failed_flush_is_answered_and_skipped_to_its_sync(single, plain_clusters):
    plain_clusters.psql("drop role if exists vanishing; create role vanishing")
    with WireClient(single.port) as one, WireClient(single.port) as other:
        one.query("set role vanishing")
        other.query("select 1")
        plain_clusters.psql("drop role vanishing")
        one.send(run("insert into replayed values ('ran')") + flush())
        assert one.read_until("E")[-1].fields["C"] == "22023"
        assert one.ask(run("insert into replayed values ('ran')") + sync()).kinds == "Z"
        assert rows(plain_clusters) == ""
        assert other.value("select 7") == "7"


def test_a_setting_of_a_library_that_another_server_has_loaded_is_refused_there(single, plain_clusters):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        assert not one.query("set plpgsql.variable_conflict = 'nonsense'").errors   # nobody knows it yet
        other.query("do $$ begin end $$")
        found = one.query("insert into replayed values ('ran')")
        assert found.errors == ["22023"] and found.status == "I"
        assert rows(plain_clusters) == ""
        assert other.value("select 1") == "1"
        assert one.query("discard all").errors == []
        assert one.query("insert into replayed values ('ran')").errors == []
        assert rows(plain_clusters) == "ran"


def test_another_clients_statement_timeout_does_not_meet_the_replay(single):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        one.query("set statement_timeout = '1ms'")
        other.query("set app.tenant = 'other'")
        for _ in range(30):
            one.query("select 1")
            assert other.value("select current_setting('app.tenant')") == "other"


# --- what the client is told ---


def told(client, data):
    """The ParameterStatus messages of an answer."""
    client.send(data)
    return [m.body.split(b"\0")[:2] for m in client.read_to_ready() if m.kind == "S"]


def test_the_client_is_told_of_its_own_settings_once_and_of_nobody_elses(single):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        assert told(one, query("set timezone = 'Asia/Tokyo'")) == [[b"TimeZone", b"Asia/Tokyo"]]
        for client in (other, one, other, one):
            assert told(client, query("select 1")) == []
            assert told(client, run("select 1") + sync()) == []
        assert told(other, query("set application_name = 'me'")) == [[b"application_name", b"me"]]
        assert told(one, query("begin")) == []
        assert told(one, query("set timezone = 'UTC'")) == [[b"TimeZone", b"UTC"]]
        assert told(one, query("rollback")) == [[b"TimeZone", b"Asia/Tokyo"]]
        assert [name for name, _ in told(one, query("discard all"))] == [b"TimeZone"]
        assert told(one, query("discard all")) == []


def test_a_role_ends_with_the_session_authorization_it_was_set_under(single, plain_clusters):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        one.query("set role pg_monitor")
        one.query("set session authorization default")
        other.query("select 1")
        assert one.value("select current_user") == "postgres"
        one.query("set session authorization pg_monitor")
        other.query("select 1")
        assert one.value("select session_user || '/' || current_user") == "pg_monitor/pg_monitor"


# --- what the catalog has read ---

ORDINARY = """
drop schema if exists read cascade; create schema read;
create table read.t (id serial primary key, v text, at timestamptz);
create table read.child (id int references read.t on delete cascade);
create function read.stamp() returns trigger language plpgsql as $$ begin new.at = now(); update read.t set v = v where false; return new; end $$;
create trigger stamp before insert on read.t for each row execute function read.stamp();
create function read.twice(i int) returns int language sql as 'select i * 2';
create function read.calls(i int) returns int language plpgsql as $$ begin perform set_config('app.x', 'y', true); return read.twice(i); end $$;
create view read.doubled as select read.twice(id) as d from read.t;
create table read.guarded (v text); alter table read.guarded enable row level security;
create policy p on read.guarded using (v = current_setting('app.x', true));
create function read.traces() returns trigger language plpgsql as $$ begin perform set_config('app.x', 'traced', false); return old; end $$;
create table read.traced (id int primary key references read.t on delete cascade);
create function read.reads_traced() returns void language sql as 'delete from read.traced';
"""


def test_functions_triggers_views_and_policies_that_leave_no_trace_cost_no_question(plain_clusters, start_weir):
    plain_clusters.psql(ORDINARY)
    relay = Relay(plain_clusters)
    weir = start_weir([weir_toml.database(relay.shards, sharded=False, replicas=False)], pool={"size": 1}, listen={"workers": 1})
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("select 'marker of the pool'")
        for sql in ("select read.twice(1)", "select read.calls(1)", "insert into read.t (v) values ('x')", "select * from read.doubled",
                    "select * from read.guarded", "delete from read.t"):
            before = relay.turns("marker of the pool")
            assert not one.query(sql).errors, sql
            other.query("select 1")
            assert relay.turns("marker of the pool") - before == 2, sql
    relay.close()


def test_a_trigger_reached_by_a_cascade_or_a_function_is_asked_about(plain_clusters, start_weir):
    plain_clusters.psql(ORDINARY + "create trigger traces after delete on read.traced for each row execute function read.traces();")
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1}, listen={"workers": 1})
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        for sql in ("delete from read.t", "select read.reads_traced()"):
            one.query("insert into read.t (id, v) values (1, 'x')")
            one.query("insert into read.traced values (1)")
            assert not one.query(sql).errors
            assert other.value("select coalesce(current_setting('app.x', true), '')") == "", sql
            assert one.value("select current_setting('app.x', true)") == "traced", sql
            one.query("discard all")
            one.query("delete from read.t")
            one.query("discard all")


# --- text that a server could read in another way ---


@pytest.mark.parametrize("neighbour", ["set client_encoding = 'LATIN1'", "set standard_conforming_strings = off", "set backslash_quote = off"])
@pytest.mark.parametrize("value", ["\u00e9", "C:\\", "E'\\''"], ids=["non-ASCII", "a backslash", "an escaped quote"])
def test_a_setting_is_not_read_by_the_rules_of_whoever_had_the_server(single, plain_clusters, neighbour, value):
    literal, shown = (value, "'") if value.startswith("E") else (f"'{value}'", value)
    with WireClient(single.port) as one, WireClient(single.port) as other:
        other.query(neighbour)
        one.query(f"set app.value = {literal}")
        for i in range(3):
            assert not other.query("select 1").errors
            replies = one.query(f"insert into replayed values (current_setting('app.value')) returning v, {i}")
            assert not replies.errors and replies.rows == [[shown, str(i)]]
        one.query("set standard_conforming_strings = off")
        other.query("select 1")
        assert one.value("select current_setting('app.value')") == shown


def test_what_was_set_in_another_encoding_stays_where_it_is(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 2}, listen={"workers": 1})
    with WireClient(weir.port, client_encoding="LATIN1") as one, WireClient(weir.port) as other:
        one.ask(message("Q", b"set app.value = '\xe9'\0"))
        for _ in range(3):
            assert other.value("select coalesce(current_setting('app.value', true), '')") == ""
            assert one.value("select length(current_setting('app.value'))") == "1"


# --- pool.tag_servers ---


@pytest.fixture
def tagged(start_weir, plain_clusters):
    return start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 1, "tag_servers": True})


def tag_of(client):
    return "postgres@127.0.0.1:%d" % client.socket.getsockname()[1]


def test_servers_show_whom_they_work_for(tagged, plain_clusters):
    with WireClient(tagged.port, application_name="shop") as shop, WireClient(tagged.port) as nameless:
        for _ in range(3):
            assert shop.value("show application_name") == "shop - " + tag_of(shop)
            assert nameless.value("show application_name") == "weir - " + tag_of(nameless)
        assert shop.parameters["application_name"] == "shop - " + tag_of(shop)
        pid = shop.ask(query("begin; select pg_backend_pid()")).rows[0][0]
        assert plain_clusters.psql(f"select application_name from pg_stat_activity where pid = {pid}") == "shop - " + tag_of(shop)
        shop.query("commit")


def test_a_clients_own_application_name_comes_before_the_tag(tagged):
    with WireClient(tagged.port, application_name="shop") as shop, WireClient(tagged.port) as other:
        shop.query("set application_name = 'report'")
        other.query("select 1")
        assert shop.value("show application_name") == "report"
        shop.query("reset application_name")
        assert shop.value("show application_name") == "shop - " + tag_of(shop)
        shop.query("set application_name = 'report'")
        shop.query("discard all")
        assert shop.value("show application_name") == "shop - " + tag_of(shop)


def test_a_long_name_is_cut_and_not_its_tag(tagged):
    with WireClient(tagged.port, application_name="x" * 63) as client:
        name = client.value("show application_name")
        assert len(name) == 63 and name.endswith("x - " + tag_of(client))


def test_the_last_of_two_start_up_values_counts(start_weir, plain_clusters):
    weir = start_weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)])
    default = plain_clusters.psql("show intervalstyle")
    with WireClient(weir.port, options="-c intervalstyle=iso_8601", IntervalStyle=default) as client:
        assert client.value("show intervalstyle") == default
