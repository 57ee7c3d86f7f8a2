"""No client of a plain database ever sees another's session: settings, temporary tables, locks, sequences, notifications."""
import random
import threading

import pytest

import harness
from wire_client import WireClient, bind, execute, parse, query, run, sync

POOL = 8


@pytest.fixture(scope="module")
def weir(plain_clusters):
    plain_clusters.psql("create table t (id int primary key, v text); create sequence s; insert into t values (1, 'one');"
                        "create function sets(n text, v text) returns text language plpgsql as $$ begin return set_config(n, v, false); end $$")
    plain_clusters.await_replication()
    with harness.running([harness.database_toml(plain_clusters, sharded=False)], pool={"size": POOL}) as proxy:
        yield proxy


@pytest.fixture
def single(start_weir, plain_clusters):
    """A pool of one server and no replica: whatever a client leaves behind, the next one meets."""
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False)
    return start_weir([database], pool={"size": 1, "wait_timeout": "3s"}, listen={"workers": 1})


# --- two hundred clients with random settings on eight servers ---

CHOICES = {
    "work_mem": ["1MB", "2MB", "3MB", "5MB", "7MB"],
    "timezone": ["UTC", "Asia/Tokyo", "America/New_York", "Europe/Berlin"],
    "datestyle": ["ISO, MDY", "German, DMY", "SQL, MDY", "ISO, DMY"],
    "search_path": ["public", "pg_catalog", '"$user", public', "public, pg_temp"],
    "app.tenant": ["a", "b", "it''s", "d e"],
    "app.other": ["1", "2", "3"],
    "app.user_id": ["7", "8", "9"],
    "application_name": ["one", "two", "three"],
    "client_encoding": ["UTF8", "LATIN1", "SQL_ASCII"],
    "statement_timeout": ["61s", "62s", "63s"],
    "extra_float_digits": ["0", "1", "3"],
}
LISTS = {"datestyle", "search_path"}


def sql_value(name, value):
    return value if name in LISTS else "'" + value + "'"


class Model:
    """What PostgreSQL says a session's settings are, through transactions and savepoints."""

    def __init__(self, defaults):
        self.defaults, self.now, self.committed, self.local, self.savepoints = defaults, dict(defaults), dict(defaults), {}, []

    def shown(self, name):
        return self.local.get(name, self.now[name])

    def set(self, name, value):
        self.now[name] = value.replace("''", "'")
        self.local.pop(name, None)

    def end(self, commit):
        self.now = self.now if commit else dict(self.committed)
        self.committed, self.local, self.savepoints = dict(self.now), {}, []

    def savepoint(self):
        self.savepoints.append((dict(self.now), dict(self.local)))

    def rollback_to(self):
        now, local = self.savepoints[-1]
        self.now, self.local = dict(now), dict(local)


class Chaotic:
    """One client that changes its settings in every way there is, and looks at all of them all the time."""

    def __init__(self, weir, number):
        self.random = random.Random(f"settings {number}")
        startup = {"application_name": f"client {number}"}
        if number % 3 == 0:
            startup["options"] = f"-c work_mem={number + 64}kB --app.tenant=s{number} -c statement_timeout={number + 100}s"
        if number % 5 == 0:
            startup["TimeZone"] = "Asia/Kolkata"
        self.client = WireClient(weir.port, timeout=60, **startup)
        self.in_block = False
        known = dict.fromkeys(("app.tenant", "app.other", "app.user_id"), "")
        self.model = Model({**known, **{n: self.show(n) for n in CHOICES if not n.startswith("app.")}})
        if number % 3 == 0:
            assert self.model.defaults["work_mem"] == f"{number + 64}kB"
            self.model = Model({**self.model.defaults, "app.tenant": f"s{number}"})
        if number % 5 == 0:
            assert self.model.defaults["timezone"] == "Asia/Kolkata"
        assert self.model.defaults["application_name"] == f"client {number}"

    def show(self, name):
        return self.client.value(f"select coalesce(current_setting('{name}', true), '')")

    def do(self, sql):
        replies = self.client.ask(query(sql)) if self.random.random() < 0.5 else self.client.ask(run(sql) + sync())
        assert not replies.errors, (sql, replies)

    def step(self):
        name = self.random.choice(list(CHOICES))
        value = self.random.choice(CHOICES[name])
        actions = ["set", "set", "reset", "work"]
        actions += ["local", "savepoint", "rollback_to", "commit", "rollback", "fail"] if self.in_block else ["begin", "discard", "reset_all", "bad"]
        action = self.random.choice(actions)
        getattr(self, action)(name, value)
        if not self.in_block:
            self.model.end(True)
        return action, name, value

    def set(self, name, value):
        how = self.random.choice(["set", "set", "config", "function", "text", "parameter"]) if name in ("app.user_id", "app.other") else "set"
        if how == "set":
            self.do(f"SET {name} = {sql_value(name, value)}")
        elif how == "config":
            self.do(f"SELECT set_config('{name}', '{value}', false)")
        elif how == "function":
            self.do(f"SELECT public.sets('{name}', '{value}')")
        elif how == "text":
            assert not self.client.query(f"SELECT 1; SET {name} = '{value}'").errors
        else:
            assert not self.client.ask(run("SELECT set_config($1, $2, false)", name, value) + sync()).errors
        self.model.set(name, value)

    def local(self, name, value):
        if name == "app.user_id":
            self.do(f"SELECT set_config('{name}', '{value}', true)")
        else:
            self.do(f"SET LOCAL {name} TO {sql_value(name, value)}")
        self.model.local[name] = value.replace("''", "'")

    def reset(self, name, _):
        self.do(f"RESET {name}")
        self.model.set(name, self.model.defaults[name])

    def reset_all(self, *_):
        self.do("RESET ALL")
        self.model.now = dict(self.model.defaults)

    def discard(self, *_):
        self.do("DISCARD ALL")
        self.model.now = dict(self.model.defaults)

    def work(self, *_):
        assert self.client.value("select count(*) from public.t") == "1"

    def begin(self, *_):
        self.do("BEGIN")
        self.in_block = True

    def savepoint(self, *_):
        self.do("SAVEPOINT sp")
        self.model.savepoint()

    def rollback_to(self, *_):
        if self.model.savepoints:
            self.do("ROLLBACK TO SAVEPOINT sp")
            self.model.rollback_to()

    def fail(self, name, value):
        """An error undoes the whole transaction, or back to the savepoint."""
        assert self.client.query("select 1/0").errors == ["22012"]
        self.rollback_to() if self.model.savepoints else self.rollback()

    def bad(self, *_):
        assert self.client.query("SET work_mem = 'much'").errors == ["22023"]

    def commit(self, *_):
        self.do("COMMIT")
        self.in_block = False
        self.model.end(True)

    def rollback(self, *_):
        self.do("ROLLBACK")
        self.in_block = False
        self.model.end(False)

    def check(self, history):
        for name in CHOICES:
            shown, expected = self.show(name), self.model.shown(name)
            # PostgreSQL normalises lists; compare what it would say of the same words
            assert "".join(shown.split()) == "".join(expected.split()), (name, shown, expected, history)


def live(weir, number, failures):
    try:
        me = Chaotic(weir, number)
        history = []
        with me.client:
            for _ in range(12):
                history.append(me.step())
                me.check(history)
    except BaseException as e:  # noqa: BLE001: reported by the main thread
        failures.append((number, repr(e)))


def test_two_hundred_clients_with_random_settings_always_see_exactly_their_own(weir):
    failures = []
    threads = [threading.Thread(target=live, args=(weir, i, failures)) for i in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=200)
    assert not failures, "\n".join(str(f) for f in sorted(failures, key=lambda f: len(f[1]))[:3])
    assert all(int(row["server_connections_max_seen"]) <= POOL + 1 for row in weir.console("SHOW BACKENDS"))


# --- one server, two clients: what the first leaves, the second must not meet ---


def pair(single):
    return WireClient(single.port), WireClient(single.port)


SETTINGS = [
    ("set work_mem = '3MB'", "show work_mem", "3MB"),
    ("set time zone 'Asia/Tokyo'", "show timezone", "Asia/Tokyo"),
    ("set names 'LATIN1'", "show client_encoding", "LATIN1"),
    ("set schema 'pg_catalog'", "show search_path", "pg_catalog"),
    ("set search_path = a, \"B c\"", "show search_path", 'a, "B c"'),
    ("set app.x = 'mine'", "select coalesce(current_setting('app.x', true), '')", "mine"),
    ("set session characteristics as transaction read only", "show default_transaction_read_only", "on"),
    ("set session characteristics as transaction isolation level serializable", "show transaction_isolation", "serializable"),
    ("set role pg_monitor", "select current_user", "pg_monitor"),
    ("set session authorization pg_monitor", "select session_user", "pg_monitor"),
    ("select set_config('work_mem', '5MB', false)", "show work_mem", "5MB"),
    ("set work_mem = '6MB'; select 1", "show work_mem", "6MB"),
    ("set standard_conforming_strings = off", "show standard_conforming_strings", "off"),
]


@pytest.mark.parametrize("make, look, expected", SETTINGS, ids=[s[0][:40] for s in SETTINGS])
def test_a_setting_is_seen_by_its_client_only(weir, make, look, expected):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        default = other.value(look)
        assert not one.query(make).errors
        others = [WireClient(weir.port) for _ in range(POOL + 2)]
        for c in [other, *others]:
            for _ in range(2):
                assert c.value(look) == default
            assert one.value(look) == expected
        for c in others:
            c.socket.close()
    with WireClient(weir.port) as later:
        for _ in range(POOL + 2):
            assert later.value(look) == default


@pytest.mark.parametrize("hidden", [
    "do $$ begin perform set_config('work_mem', '7MB', false); end $$",
    "select sets_work_mem()",
    "do $$ begin execute 'create temp table hidden (a int)'; perform pg_advisory_lock(99); listen news; end $$",
])
def test_what_a_function_hides_is_cleaned_away(single, plain_clusters, hidden):
    plain_clusters.psql("create or replace function sets_work_mem() returns text language sql as $$ select set_config('work_mem', '7MB', false) $$")
    one, other = pair(single)
    with one:
        one.query(hidden)
    with other:
        assert other.value("show work_mem") == "4MB"
        assert other.value("select count(*) from pg_class where relname = 'hidden'") == "0"
        assert other.value("select count(*) from pg_locks where locktype = 'advisory'") == "0"


def test_settings_of_clients_that_share_one_server_are_swapped(single):
    one, other = pair(single)
    with one, other:
        for i in range(1, 6):
            one.query(f"set work_mem = '{i}MB'")
            other.query(f"set work_mem = '{i + 10}MB'")
            assert (one.value("show work_mem"), other.value("show work_mem")) == (f"{i}MB", f"{i + 10}MB")
        other.query("reset work_mem")
        assert (one.value("show work_mem"), other.value("show work_mem")) == ("5MB", "4MB")


def test_a_setting_of_a_rolled_back_transaction_is_gone(single):
    one, other = pair(single)
    with one, other:
        one.query("set work_mem = '2MB'")
        for sql in ("begin", "set work_mem = '3MB'", "savepoint a", "set work_mem = '5MB'", "rollback to a"):
            assert not one.query(sql).errors
        assert one.value("show work_mem") == "3MB"
        one.query("rollback")
        other.query("select 1")
        assert one.value("show work_mem") == "2MB"
        assert one.ask(run("set work_mem = '9MB'") + run("select 1/(1-g) from generate_series(1, 1) g") + sync()).errors == ["22012"]
        other.query("select 1")
        assert one.value("show work_mem") == "2MB"


def test_reset_goes_back_to_the_start_up_parameters(single):
    with WireClient(single.port, options="-c work_mem=5MB", TimeZone="Asia/Tokyo") as one, WireClient(single.port) as other:
        for reset in ("reset work_mem", "reset all", "discard all", "set work_mem to default"):
            one.query("set work_mem = '9MB'")
            assert not one.query(reset).errors
            assert (one.value("show work_mem"), one.value("show timezone")) == ("5MB", "Asia/Tokyo"), reset
            assert other.value("show work_mem") == "4MB"
            assert one.value("show work_mem") == "5MB"
        for end, expected in (("rollback", "9MB"), ("commit", "5MB")):
            one.query("set work_mem = '9MB'")
            one.query("begin")
            one.query("reset work_mem")
            assert one.value("show work_mem") == "5MB"
            one.query(end)
            assert one.value("show work_mem") == expected
            assert other.value("show work_mem") == "4MB"
            assert one.value("show work_mem") == expected


def test_a_reset_within_a_string_goes_back_to_the_start_up_parameters(single):
    with WireClient(single.port, search_path="pg_catalog, public", work_mem="6MB") as one, WireClient(single.port) as other:
        one.query("set work_mem = '7MB'; set search_path = public")
        assert other.value("show work_mem") == "4MB" and one.value("show work_mem") == "7MB"
        one.query("select pg_advisory_unlock_all(); close all; unlisten *; reset all")   # asyncpg's pool
        for _ in range(2):
            assert (one.value("show work_mem"), one.value("show search_path")) == ("6MB", "pg_catalog, public")
            assert other.value("show work_mem") == "4MB"


def test_settings_of_a_string_go_through_its_transactions_and_savepoints(single):
    with WireClient(single.port) as one, WireClient(single.port) as other:
        def seen(value):
            assert other.value("select current_setting('work_mem')") == "4MB"
            assert one.value("show work_mem") == value

        one.query("begin; set work_mem = '5MB'; savepoint a; set work_mem = '6MB'; rollback to a; commit; select 1")
        seen("5MB")
        assert one.query("set work_mem = '6MB'; commit; set work_mem = '7MB'; select 1 / 0").errors == ["22012"]
        seen("6MB")
        one.query("begin; set work_mem = '8MB'; savepoint a; set work_mem = '9MB'")
        one.query("rollback to a")
        one.query("commit")
        seen("8MB")
        one.query("begin; set work_mem = '9MB'; rollback; set local work_mem = '10MB'")
        seen("8MB")


def test_parameter_status_tells_the_clients_own_settings(single):
    with WireClient(single.port, TimeZone="Asia/Tokyo", application_name="me") as one, WireClient(single.port) as other:
        assert one.parameters["TimeZone"] == "Asia/Tokyo"
        assert one.parameters["application_name"] == "me"
        assert other.parameters["TimeZone"] != "Asia/Tokyo"
        one.query("set timezone = 'Europe/Berlin'")
        assert one.parameters["TimeZone"] == "Europe/Berlin"
        for c in (other, one, other):
            c.query("select 1")
        assert other.parameters["TimeZone"] != "Europe/Berlin"


def test_a_prepared_literal_is_read_by_its_clients_own_time_zone(single):
    sql = "select extract(epoch from timestamptz '2024-01-01 00:00')::bigint"
    with WireClient(single.port, TimeZone="UTC") as one, WireClient(single.port, TimeZone="Asia/Tokyo") as other:
        for c in (one, other):
            c.ask(parse(sql, name="same") + sync())
        for _ in range(2):
            assert one.ask(bind(name="same") + execute() + sync()).rows == [["1704067200"]]
            assert other.ask(bind(name="same") + execute() + sync()).rows == [["1704034800"]]


def test_a_bad_set_fails_and_changes_nothing(single):
    with WireClient(single.port) as c:
        for bad in ("set work_mem = 'x'", "set nonsense = 1", "set datestyle = 'Martian'", "set role nobody_at_all", "set timezone = 'Moon/Crater'"):
            assert c.query(bad).errors, bad
            assert c.value("show work_mem") == "4MB"


@pytest.mark.parametrize("startup, code", [
    ({"options": "-c work_mem=lots"}, "22023"),
    ({"work_mem": "lots"}, "22023"),
    ({"options": "-c nonsense=1"}, "42704"),
    ({"options": "work_mem=1MB"}, None),
    ({"options": "-c"}, None),
    ({"TimeZone": "Moon/Crater"}, "22023"),
    ({"client_encoding": "KLINGON"}, "22023"),
])
def test_a_bad_start_up_parameter_fails_the_login_and_nobody_else(single, startup, code):
    with WireClient(single.port, **startup) as refused:
        found = refused.greeting.errors
        assert found and (code is None or found == [code]), refused.greeting
        assert refused.read() is None
    with WireClient(single.port) as c:
        assert c.value("show work_mem") == "4MB"


# --- state other than settings ---


def test_temporary_tables_are_seen_by_their_client_only(weir):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("create temp table mine as select 42 as a")
        for _ in range(POOL):
            assert other.query("select * from mine").errors == ["42P01"]
            assert one.value("select a from mine") == "42"
    with WireClient(weir.port) as c:
        assert c.query("select * from mine").errors == ["42P01"]
        harness.wait_for(lambda: c.value("select count(*) from pg_class where relname = 'mine'") == "0", "the table of a client that left to go")


def test_listen_delivers_to_the_listener_only_and_ends_with_it(weir):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("listen news")
        other.query("notify news, 'first'")
        found = one.read_until("A")
        assert b"news\0first" in found[-1].body
        assert other.silent()
        one.query("unlisten *")
        other.query("notify news, 'second'")
        assert one.silent()


def test_session_advisory_locks_stay_with_their_client_and_go_with_it(weir):
    with WireClient(weir.port) as other:
        with WireClient(weir.port) as one:
            one.query("select pg_advisory_lock(77)")
            for _ in range(3):
                assert other.value("select pg_try_advisory_lock(77)") == "f"
                assert one.value("select pg_advisory_unlock(77)") == "t"
                assert one.value("select pg_advisory_unlock(77)") == "f"
                one.query("select pg_advisory_lock(77)")
        harness.wait_for(lambda: other.value("select pg_try_advisory_lock(77)") == "t", "the lock of a client that left")


def test_sql_prepare_belongs_to_its_client(weir):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("prepare p(int) as select $1 + 1")
        other.query("prepare p(int) as select $1 + 100")
        for i in range(5):
            assert (one.value(f"execute p({i})"), other.value(f"execute p({i})")) == (str(i + 1), str(i + 100))
        one.query("deallocate p")
        assert one.query("execute p(1)").errors == ["26000"]
        assert other.value("execute p(1)") == "101"


def test_currval_and_lastval_are_never_another_clients(single, plain_clusters):
    plain_clusters.psql("create table if not exists serial_table (id serial primary key, v text)")
    with WireClient(single.port) as one:
        one.query("select nextval('s')")
        mine = one.value("select currval('s')")
        assert one.value("select lastval()") == mine
        one.query("discard all")
    one, other = pair(single)
    with one, other:
        assert one.query("insert into serial_table (v) values ('x')").tags == ["INSERT 0 1"]
        assert other.query("select lastval()").errors == ["55000"]
        other.query("discard all")
        one.query("begin")
        one.query("insert into serial_table (v) values ('y')")
        mine = one.value("select max(id) from serial_table")
        assert one.value("select lastval()") == mine
        assert one.value("select currval('serial_table_id_seq')") == mine
        assert one.query("commit").status == "I"
        one.query("discard all")
        other.query("begin")
        assert other.query("select currval('serial_table_id_seq')").errors == ["55000"]
        other.query("rollback")


def test_a_cursor_with_hold_outlives_its_transaction_for_its_client(weir):
    with WireClient(weir.port) as one, WireClient(weir.port) as other:
        one.query("begin; declare held cursor with hold for select generate_series(1, 3); commit")
        assert other.query("fetch 1 from held").errors == ["34000"]
        assert one.query("fetch 2 from held").rows == [["1"], ["2"]]


def test_discard_all_gives_a_kept_server_back(single):
    one, other = pair(single)
    with one, other:
        one.query("create temp table mine (a int)")
        assert other.query("select 1").errors == ["53300"]
        one.query("discard all")
        assert other.value("select 1") == "1"
        assert one.query("select * from mine").errors == ["42P01"]
