"""Session statements (SET, RESET, SAVEPOINT, LISTEN ...) in one simple Query with others, on a sharded database: what drivers send when they give a
connection back, and what follows the client to other shards.
https://www.postgresql.org/docs/15/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT"""
import pytest

import sharded
import wire_client as wire

ASYNCPG = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"
NPGSQL = "SET SESSION AUTHORIZATION DEFAULT;RESET ALL;CLOSE ALL;UNLISTEN *;SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP"


@pytest.fixture(scope="module", autouse=True)
def rows(weir, clusters, keys):
    for i in range(len(clusters.shards)):
        clusters.psql("CREATE SCHEMA empty; GRANT ALL ON SCHEMA empty TO PUBLIC; CREATE SCHEMA other; CREATE TABLE other.users (id bigint, name text); INSERT INTO other.users VALUES (1, 'other'); "
                      "GRANT ALL ON SCHEMA other TO PUBLIC; GRANT ALL ON other.users TO PUBLIC", shard=i)
    weir.console("RELOAD")   # the catalog learns of them
    sharded.add_users(weir, [key for shard in keys for key in shard], name="old")


@pytest.fixture
def client(weir):
    with wire.WireClient(weir.port) as client:
        yield client


@pytest.fixture
def k(keys):
    return [shard[0] for shard in keys]


def settings_on_all(client, k, name="work_mem"):
    return [client.query(f"SELECT current_setting('{name}') FROM users WHERE id = {key}").rows[0][0] for key in k]


# --- what drivers send when a connection goes back to their pool ---


@pytest.mark.parametrize("reset, tags", [(ASYNCPG, ["SELECT 1", "CLOSE CURSOR ALL", "UNLISTEN", "RESET"]),
                                         (NPGSQL, ["SET", "RESET", "CLOSE CURSOR ALL", "UNLISTEN", "SELECT 1", "DISCARD SEQUENCES", "DISCARD TEMP"])])
def test_resets_of_drivers(weir, clusters, k, reset, tags):
    with wire.WireClient(weir.port, search_path="public, other", work_mem="6MB") as client:
        for _ in range(3):
            client.query("SET work_mem = '7MB'")
            client.query("SET search_path = other")
            client.query("SELECT pg_advisory_lock(4711)")
            assert settings_on_all(client, [1]) == ["7MB"]
            found = client.query(reset)
            assert (found.tags, found.errors, found.status) == (tags, [], "I"), found
            assert settings_on_all(client, k) == ["6MB"] * 4
            assert client.value("SHOW search_path") == "public, other"
            assert clusters.everywhere("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711") == ["0"] * 4


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
@pytest.mark.parametrize("sql, tags, resets", [("ROLLBACK", ["ROLLBACK"], False), ("ABORT", ["ROLLBACK"], False), ("", [], False), ("-- ping", [], False),
                                               ("RESET ALL", ["RESET"], True), ("DISCARD ALL", ["DISCARD ALL"], True)])
def test_what_other_pools_send_outside_of_a_transaction(weir, k, sql, tags, resets, extended):
    with wire.WireClient(weir.port, search_path="public, other", work_mem="6MB") as client:
        client.query("SET work_mem = '7MB'")
        assert settings_on_all(client, k[1:2]) == ["7MB"]
        found = client.ask(wire.run(sql) + wire.sync()) if extended else client.query(sql)
        assert (found.tags, found.errors, found.status) == (tags, [], "I"), found
        assert settings_on_all(client, k) == ["6MB" if resets else "7MB"] * 4
        assert client.value("SHOW search_path") == "public, other"


@pytest.mark.parametrize("end", ["ROLLBACK", "ABORT; DISCARD TEMP", "ROLLBACK; RESET ALL"])
def test_what_pools_send_in_a_transaction_over_shards(weir, clusters, k, end):
    with wire.WireClient(weir.port, work_mem="6MB") as client:
        for sql in ("BEGIN", f"UPDATE users SET name = 'undone' WHERE id = {k[0]}", f"UPDATE users SET name = 'undone' WHERE id = {k[1]}"):
            assert client.query(sql).status == "T"
        found = client.query(end)
        if found.errors:   # a string with more behind its ROLLBACK is refused there; the transaction has failed, and ends
            assert found.errors == ["0A000"] and ";" in end and found.status == "E", found
            assert client.query("ROLLBACK").status == "I"
        assert client.query("SELECT count(*) FROM users WHERE name = 'undone'").rows == [["0"]]
        assert settings_on_all(client, k) == ["6MB"] * 4


def test_a_reset_ends_listening_over_shards(weir, client, k):
    client.query("LISTEN strings")
    found = client.query(f"SELECT count(*) FROM users WHERE id IN ({k[0]}, {k[3]}); UNLISTEN *; RESET ALL")
    assert found.tags == ["SELECT 1", "UNLISTEN", "RESET"] and found.rows == [["2"]]
    with wire.WireClient(weir.port) as other:
        other.query("NOTIFY strings, 'unheard'")
    client.query("LISTEN strings_too")
    with wire.WireClient(weir.port) as other:
        other.query("NOTIFY strings_too, 'heard'")
    assert "strings_too" in str(client.read_until("A"))


# --- settings follow the client, and fail with their string ---


def test_a_setting_of_a_string_follows_the_client(client, k):
    assert client.query(f"SET work_mem = '5MB'; SELECT name FROM users WHERE id = {k[1]}").tags == ["SET", "SELECT 1"]
    assert settings_on_all(client, k) == ["5MB"] * 4
    found = client.query(f"SET work_mem = '8MB'; SELECT current_setting('work_mem') FROM users WHERE id = {k[1]}; SELECT current_setting('work_mem') FROM users WHERE id = {k[2]}; RESET work_mem")
    assert found.rows == [["8MB"], ["8MB"]] and found.tags == ["SET", "SELECT 1", "SELECT 1", "RESET"] and found.status == "I"
    assert settings_on_all(client, k) == ["4MB"] * 4


def test_it_is_undone_if_a_later_statement_fails(client, k):
    client.query("SET work_mem = '5MB'")
    for sql in (f"SET work_mem = '9MB'; SELECT 1 / 0 FROM users WHERE id = {k[1]}", "SET work_mem = '9MB'; SELECT 1 / 0",
                f"SET work_mem = '9MB'; UPDATE users SET name = 'lost' WHERE id = {k[1]}; SELECT 1 / (id - id) FROM users WHERE id = {k[2]}",
                f"RESET ALL; SELECT count(*) FROM users; SELECT 1 / (id - id) FROM users WHERE id = {k[2]}"):
        assert client.query(sql).errors == ["22012"], sql
        assert settings_on_all(client, k) == ["5MB"] * 4, sql
    assert client.query("SELECT count(*) FROM users WHERE name = 'lost'").rows == [["0"]]
    found = client.query("SET work_mem = '9MB'; COMMIT; SET work_mem = '10MB'; SELECT 1 / 0")
    assert found.errors == ["22012"] and settings_on_all(client, k) == ["9MB"] * 4


def test_a_set_local_of_a_string_ends_with_it(client, k):
    found = client.query(f"SET LOCAL work_mem = '5MB'; SELECT current_setting('work_mem') FROM users WHERE id = {k[1]}; SELECT current_setting('work_mem') FROM users WHERE id = {k[2]}")
    assert found.rows == [["5MB"], ["5MB"]] and found.status == "I"
    assert settings_on_all(client, k) == ["4MB"] * 4


def test_no_other_client_gets_it(weir, client, k):
    client.query(f"SET work_mem = '5MB'; SELECT name FROM users WHERE id = {k[1]}; SELECT name FROM users WHERE id = {k[2]}")
    with wire.WireClient(weir.port) as other:
        assert settings_on_all(other, k) == ["4MB"] * 4


# --- a transaction that a string began, or changed, goes on to other shards ---


def test_a_block_begun_in_a_string_goes_on_to_another_shard(clusters, client, k):
    found = client.query(f"BEGIN; SET LOCAL work_mem = '5MB'; SAVEPOINT a; UPDATE users SET name = 'one' WHERE id = {k[0]}")
    assert found.tags == ["BEGIN", "SET", "SAVEPOINT", "UPDATE 1"] and found.status == "T"
    found = client.query(f"UPDATE users SET name = 'two' WHERE id = {k[1]} RETURNING current_setting('work_mem')")
    assert found.rows == [["5MB"]] and found.status == "T", found
    assert client.query("ROLLBACK TO a").tags == ["ROLLBACK"]
    found = client.query(f"UPDATE users SET name = 'two' WHERE id = {k[1]}; RELEASE a; SELECT current_setting('work_mem') FROM users WHERE id = {k[2]}; COMMIT")
    assert found.tags == ["UPDATE 1", "RELEASE", "SELECT 1", "COMMIT"] and found.rows == [["5MB"]] and found.status == "I"
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name IN ('one', 'two')") == ["0", "1", "0", "0"]
    client.query(f"UPDATE users SET name = 'old' WHERE id = {k[1]}")


def test_a_second_block_of_a_string_is_not_the_first(client, k):
    found = client.query(f"BEGIN; SET LOCAL work_mem = '5MB'; SELECT 1; COMMIT; BEGIN; SELECT name FROM users WHERE id = {k[0]}")
    assert found.status == "T", found
    assert client.query(f"SELECT current_setting('work_mem') FROM users WHERE id = {k[1]}").rows == [["4MB"]]
    client.query("ROLLBACK")
    found = client.query(f"SET LOCAL work_mem = '5MB'; BEGIN; SELECT current_setting('work_mem') FROM users WHERE id = {k[0]}")
    assert found.rows == [["5MB"]] and found.status == "T", found
    found = client.query(f"SELECT current_setting('work_mem') FROM users WHERE id = {k[1]}")   # nobody can begin such a one elsewhere
    assert found.errors == ["0A000"] and found.status == "E", found
    client.query("ROLLBACK")


def test_savepoints_of_strings_over_shards(clusters, client, k):
    one, two = (f"UPDATE users SET name = 'kept' WHERE id = {key}" for key in k[:2])
    found = client.query(f"BEGIN; {one}; SAVEPOINT a; {two}; ROLLBACK TO a; COMMIT")
    assert found.tags == ["BEGIN", "UPDATE 1", "SAVEPOINT", "UPDATE 1", "ROLLBACK", "COMMIT"] and found.status == "I", found
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'kept'") == ["1", "0", "0", "0"]
    client.query(f"UPDATE users SET name = 'old' WHERE id = {k[0]}")
    for sql in ("SAVEPOINT a", "RELEASE a", "ROLLBACK TO a"):
        found = client.query(f"{one}; {sql}; {two}")
        assert found.errors == ["25P01"] and found.status == "I", found
    assert clusters.everywhere("SELECT count(*) FROM users WHERE name = 'kept'") == ["0"] * 4


# --- search_path: by which names are read ---


def test_a_search_path_of_a_string_counts_behind_it(client, keys, k):
    all_rows = str(sum(len(shard) for shard in keys))
    found = client.query("SET search_path = other; SELECT count(*) FROM users; RESET search_path; SELECT count(*) FROM users")
    assert found.rows == [["1"], [all_rows]], found
    assert client.query("SET LOCAL search_path = other; SELECT name FROM users").rows == [["other"]]
    assert client.query(f"SELECT name FROM users WHERE id = {k[3]}").rows == [["old"]]
    client.query("SET search_path = other")
    assert client.query("RESET ALL; SELECT count(*) FROM users").rows == [[all_rows]]
    client.query("BEGIN; SET search_path = other")
    found = client.query("ROLLBACK; SELECT count(*) FROM users")
    assert found.rows == [[all_rows]] or found.errors == ["0A000"], found
    client.query("ROLLBACK")


def test_set_local_search_path(client, keys):
    all_rows = str(sum(len(shard) for shard in keys))
    ask = "SELECT count(*) FROM users"
    client.query("BEGIN")
    client.query("SAVEPOINT a")
    client.query("SET LOCAL search_path = other")
    assert client.query(ask).rows == [["1"]]
    client.query("ROLLBACK TO a")
    assert client.query(ask).rows == [[all_rows]]
    client.query("SET LOCAL search_path TO other")
    assert client.query(ask).rows == [["1"]]
    client.query("COMMIT")
    assert client.query(ask).rows == [[all_rows]]
    for refused in ("SET LOCAL search_path TO DEFAULT", "SET LOCAL client_encoding = 'latin1'", "SET LOCAL standard_conforming_strings = off", "SET LOCAL search_path = E'other'"):
        assert client.query(f"{refused}").errors == ["0A000"], refused


def test_a_search_path_in_a_pipeline_counts_behind_it(client, keys):
    all_rows = str(sum(len(shard) for shard in keys))
    ask = wire.run("SELECT count(*) FROM users")
    assert client.ask(wire.run("SET search_path = other") + ask + wire.run("RESET ALL") + ask + wire.sync()).rows == [["1"], [all_rows]]
    assert client.ask(wire.run("BEGIN") + wire.run("SET LOCAL search_path = other") + ask + wire.run("COMMIT") + ask + wire.sync()).rows == [["1"], [all_rows]]


@pytest.mark.parametrize("sets", ["SET LOCAL search_path = other", "SELECT set_config('search_path', 'other', true)", "SET search_path = other"])
def test_a_setting_of_a_pipeline_without_a_block_counts_up_to_its_sync_or_is_refused(client, keys, k, sets):
    everywhere, named = "SELECT count(*) FROM public.users", "SELECT count(*) FROM users"
    all_rows = str(sum(len(shard) for shard in keys))
    found = client.ask(wire.run(sets) + wire.run(named) + wire.sync())
    assert found.rows[-1] == ["1"] and found.status == "I", found
    client.query("RESET search_path")
    before = [f"UPDATE users SET name = name WHERE id = {key}" for key in k[1:3]]   # the home shard, which has other.users, is not among them
    for pipeline in ([sets, everywhere, named], [*before, sets, named], [*before, sets, f"SELECT count(*) FROM users WHERE id = {k[3]}"]):
        found = client.ask(b"".join(map(wire.run, pipeline)) + wire.sync())
        assert found.rows[-1:] in ([["1"]], [["0"]]) and not found.errors or found.errors == ["0A000"], (pipeline, found)
        client.query("RESET search_path")
        assert client.query(named).rows == [[all_rows]], pipeline


# --- what DDL of a block has made ---


@pytest.mark.parametrize("begin", ["BEGIN; CREATE TABLE empty.users (id bigint)", "BEGIN; CREATE TABLE empty.users (id bigint); SELECT 1"])
@pytest.mark.parametrize("end", ["ROLLBACK", "ROLLBACK AND CHAIN"])
def test_a_table_made_in_a_string_is_known_behind_it_until_it_is_undone(weir, keys, begin, end):
    all_rows, ask = str(sum(len(shard) for shard in keys)), "SELECT count(*) FROM users"
    with wire.WireClient(weir.port, search_path="empty, public") as client:
        for _ in range(2):
            assert client.query(begin).status == "T"
            assert client.query(ask).rows == [["0"]]
            found = client.query(f"{end}; {ask}")
            assert found.errors == ["0A000"] and found.status == "E", found
            client.query(end)
            assert client.query(ask).rows == [[all_rows]]
            client.query("ROLLBACK")
            client.query("BEGIN; CREATE TABLE empty.users (id bigint)")
            assert client.query(ask).rows == [["0"]]
            assert client.ask(wire.run(end) + wire.run(ask) + wire.sync()).rows == [[all_rows]]
            client.query("ROLLBACK")
            assert client.query(ask).rows == [[all_rows]]


def test_a_prepared_statement_is_read_by_the_local_search_path(client, keys):
    all_rows = str(sum(len(shard) for shard in keys))
    client.ask(wire.parse("SELECT count(*) FROM users", name="s") + wire.sync())
    for begin, wanted in (("BEGIN", all_rows), ("BEGIN; SET LOCAL search_path = other", "1"), ("BEGIN", all_rows)):
        client.query(begin)
        assert client.ask(wire.bind(name="s") + wire.execute() + wire.sync()).rows == [[wanted]], begin
        client.query("COMMIT")


def test_what_changes_how_text_is_read_is_the_last_of_its_string(client, k):
    over = "SELECT count(*) FROM users"
    for sql in (f"SET client_encoding = 'latin1'; {over}", f"RESET standard_conforming_strings; {over}"):
        assert client.query(sql).errors == ["0A000"], sql
    assert client.query(f"{over}; SET client_encoding = 'latin1'").tags == ["SELECT 1", "SET"]
    assert client.query(f"RESET ALL; {over}").errors == ["0A000"]
    assert client.query(f"{over}; RESET ALL").tags == ["SELECT 1", "RESET"]
