"""Strings of several statements and pipelines on a sharded database, in which a statement decides what those behind it mean: DDL, ROLLBACK, text that is
no SQL. Each is sent to PostgreSQL itself, too, to one database that holds all rows, and must be answered alike."""
import pytest

import harness
import sharded
import wire_client as wire

SCHEMAS = "CREATE SCHEMA empty; GRANT ALL ON SCHEMA empty TO PUBLIC"
MINE = "CREATE TABLE empty.users (id bigint)"   # hides public.users, which is sharded
COUNT = "SELECT count(*) FROM users"
C = "ALTER TABLE orders ADD COLUMN c int DEFAULT 7"


@pytest.fixture(scope="module")
def reference_port(clusters, weir, keys):
    """The port of a PostgreSQL server whose database `reference` has the rows of all shards."""
    sharded.create_reference(clusters)
    clusters.psql(SCHEMAS, dbname="reference")
    for i in range(len(clusters.shards)):
        clusters.psql(SCHEMAS, shard=i)
    weir.console("RELOAD")
    for port, database in ((weir.port, "app"), (clusters.node()["port"], "reference")):
        with wire.WireClient(port, database=database) as client:
            for k in (key for shard in keys for key in shard):
                assert not client.query(f"INSERT INTO users (id, name) VALUES ({k}, 'n{k}')").errors
                assert not client.query(f"INSERT INTO orders (user_id, id, product) VALUES ({k}, 1, 'p')").errors
    return clusters.node()["port"]


class Both:
    """A client of PostgreSQL and one of Weir."""

    def __init__(self, reference_port, weir_port):
        path = {"search_path": "empty, public"}
        self.clients = wire.WireClient(reference_port, database="reference", **path), wire.WireClient(weir_port, **path)

    def ask(self, data, ready=1):
        return [client.ask(data, ready) for client in self.clients]

    def same(self, data, ready=1):
        """Asserts that both answer alike; returns the answer."""
        expected, found = self.ask(data, ready)
        assert told(found) == told(expected), f"PostgreSQL: {expected}\nWeir: {found}"
        return found

    def close(self):
        for client in self.clients:
            client.socket.close()


def told(replies):
    """What of an answer must be the same: of an error its code, of rows all. (What Weir describes it runs at once, so NoData may come behind its notices, or an error in its place.)"""
    return [(m.kind, m.fields["C"] if m.kind == "E" else m.body if m.kind in "DCZ" else None) for m in replies if m.kind not in "nN"]


@pytest.fixture
def both(reference_port, weir):
    pair = Both(reference_port, weir.port)
    counts = lambda: [found.rows for found in pair.ask(wire.query(COUNT))]
    harness.wait_for(lambda: counts()[0] == counts()[1], "Weir to know what other clients have committed")
    yield pair
    pair.close()


# --- DDL, and what stands behind it ---

DDL = {
    "a table that hides a sharded one": [MINE, "INSERT INTO users VALUES (1)", COUNT, "SELECT id FROM users WHERE id = 1"],
    "and is dropped": [MINE, COUNT, "DROP TABLE users", COUNT],
    "and is dropped with others": [MINE, "CREATE VIEW empty.v AS SELECT 1 AS one FROM empty.users", COUNT, "DROP TABLE empty.users CASCADE", COUNT],
    "and is truncated": [MINE, "INSERT INTO users VALUES (1)", "TRUNCATE users", COUNT],
    "and is altered": [MINE, "ALTER TABLE users ADD COLUMN more int DEFAULT 4", "INSERT INTO users VALUES (1)", "SELECT more FROM users"],
    "a table that is renamed to hide one": ["CREATE TABLE empty.other AS SELECT 1::bigint AS id", "ALTER TABLE empty.other RENAME TO users", COUNT, "ALTER TABLE users RENAME TO other", COUNT],
    "a table made by SELECT INTO": ["SELECT 1::bigint AS id INTO empty.users", COUNT, "UPDATE users SET id = 2", "SELECT id FROM users"],
    "a column": [C, "SELECT count(*), sum(c) FROM orders", "UPDATE orders SET c = 8 WHERE user_id > 0", "SELECT c FROM orders ORDER BY c"],
    "a column's type": [C.replace("int DEFAULT 7", "text DEFAULT '7'"), "UPDATE orders SET c = '10' WHERE user_id > 0", "SELECT c FROM orders ORDER BY c",
                        "ALTER TABLE orders ALTER COLUMN c DROP DEFAULT, ALTER COLUMN c TYPE int USING c::int", "SELECT c FROM orders ORDER BY c", "SELECT sum(c), max(c) FROM orders"],
    "a schema": ["CREATE SCHEMA made", "CREATE TABLE made.users (id bigint)", "SELECT count(*) FROM made.users", "SET search_path = made, public", COUNT, "DROP SCHEMA made CASCADE", COUNT, "RESET search_path"],
    "a savepoint": ["SAVEPOINT a", MINE, COUNT, "ROLLBACK TO a", COUNT, MINE, COUNT],
    "a savepoint and a path": ["SAVEPOINT a", "SET LOCAL search_path = public", MINE, COUNT, "ROLLBACK TO a", MINE, COUNT],
    "an error": [MINE, COUNT, "SELECT 1 / 0", COUNT],
    "an error of DDL": [MINE, COUNT, MINE, COUNT],
}


def undo(both):
    for client in both.clients:
        client.query("ROLLBACK")
        client.query("DROP TABLE IF EXISTS empty.users")
        client.query("DROP TABLE IF EXISTS empty.other")
        client.query("DROP VIEW IF EXISTS empty.v")
        client.query("ALTER TABLE orders DROP COLUMN IF EXISTS c")


def as_string(statements):
    return wire.query("; ".join(statements))


def as_pipeline(statements):
    return b"".join(map(wire.run, statements)) + wire.sync()


def as_flushed_pipeline(statements):
    return b"".join(wire.run(sql) + wire.flush() for sql in statements) + wire.sync()


def as_described_pipeline(statements):
    return b"".join(wire.parse(sql) + wire.bind() + wire.describe() + wire.execute() + wire.close("P") for sql in statements) + wire.sync()


FORMS = [as_string, as_pipeline, as_flushed_pipeline, as_described_pipeline]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", [w for w in DDL if "savepoint" not in w])
def test_ddl_and_its_use_outside_of_a_block(both, what, form):
    both.same(form(DDL[what]))
    both.same(wire.query(COUNT))
    undo(both)
    both.same(wire.query(COUNT))


@pytest.mark.parametrize("form", [as_string, as_pipeline, as_described_pipeline])
@pytest.mark.parametrize("what", DDL)
def test_ddl_and_its_use_in_a_block_of_its_own(both, what, form):
    both.same(form(["BEGIN", *DDL[what], "COMMIT"]))
    undo(both)
    both.same(form(["BEGIN", *DDL[what], "ROLLBACK"]))
    undo(both)
    both.same(wire.query(COUNT))


@pytest.mark.parametrize("form", [as_string, as_flushed_pipeline])
@pytest.mark.parametrize("first", [[], ["SELECT 1"], ["INSERT INTO orders (user_id, id, product) VALUES ({k}, 99, 'q')"], [COUNT]], ids=["nothing", "no table", "another shard", "all shards"])
@pytest.mark.parametrize("what", ["a table that hides a sharded one", "and is dropped", "a column", "a savepoint", "an error"])
def test_ddl_and_its_use_in_an_open_block(both, keys, what, first, form):
    for sql in ["BEGIN", *first]:
        both.same(wire.query(sql.format(k=keys[2][0])))
    both.same(form(DDL[what]))
    both.same(form([COUNT, "SELECT 1"]))
    both.same(wire.query("ROLLBACK"))
    both.same(wire.query(COUNT))


def test_a_client_of_another_encoding_uses_what_it_has_made(both):
    for sql in ("SET client_encoding = 'latin1'", "BEGIN", MINE, COUNT, "DROP TABLE users", COUNT, "SHOW client_encoding", "ROLLBACK", COUNT):
        both.same(wire.query(sql))
    both.same(as_string([MINE, COUNT, "DROP TABLE users", COUNT]))
    both.same(as_pipeline(["BEGIN", MINE, COUNT, "DROP TABLE users", COUNT, "COMMIT"]))


def test_a_view_over_sharded_tables_made_in_a_string_is_refused(both, clusters):
    found = both.ask(as_string(["CREATE VIEW empty.v AS SELECT id FROM users", "SELECT count(*) FROM empty.v"]))[1]
    assert found.errors == ["0A000"] and found.status == "I", found
    assert clusters.everywhere("SELECT to_regclass('empty.v') IS NULL") == ["t"] * 4


def test_what_hides_nothing_does_not_spread_its_string(both):
    """A transaction over shards could not hold the temporary table."""
    statements = ["DROP TABLE IF EXISTS empty.nothing", "CREATE TABLE empty.kept AS SELECT 1 AS a", "CREATE TEMP TABLE t AS SELECT a FROM kept", "SELECT a FROM t", "DROP TABLE t, empty.kept"]
    both.same(as_string(statements))
    both.same(as_string(["BEGIN", *statements, "COMMIT"]))


@pytest.mark.parametrize("sql, values", [(COUNT, []), ("SELECT count(*) FROM users WHERE id = $1", ["home"]), ("SELECT count(*) FROM users WHERE id = $1", ["elsewhere"])], ids=["of all shards", "at home", "elsewhere"])
def test_a_statement_prepared_before_the_ddl_means_what_it_has_made(weir, reference_port, both, keys, sql, values):
    """PostgreSQL itself might go on with the table that the name meant before."""
    client = both.clients[1]
    ask = wire.bind(*[keys[0][0] if v == "home" else keys[3][0] for v in values], name="s") + wire.execute()
    client.ask(wire.parse(sql, "s", types=[20] * len(values)) + wire.sync())
    before = client.ask(ask + wire.sync()).rows
    assert before != [["0"]]
    found = client.ask(wire.run("BEGIN") + ask + wire.run(MINE) + ask + wire.run("DROP TABLE users") + ask + wire.run("COMMIT") + ask + wire.sync())
    assert found.rows == [*before, ["0"], *before, *before], found
    assert client.ask(wire.run(MINE) + ask + wire.run("DROP TABLE users") + ask + wire.sync()).rows == [["0"], *before]
    for made in (MINE, "DROP TABLE users"):
        assert client.ask(wire.query("BEGIN") + ask + wire.sync(), ready=2).rows == (before if made == MINE else [["0"]])
        client.query(made)
        assert client.ask(ask + wire.sync()).rows == ([["0"]] if made == MINE else before)
        client.query("COMMIT")


# --- the end of a transaction that no server knows, and what stands behind it ---


def failed_before_a_server(both, savepoint=False):
    """A block that an error of Weir's own, or PostgreSQL's, has failed at its first statement."""
    for client, wrong in zip(both.clients, ("SELECT nothing FROM users", "SELECT random() FROM users ORDER BY 1")):
        for sql in ("BEGIN", *(["SAVEPOINT s"] if savepoint else [])):
            client.query(sql)
        assert client.query(wrong).status == "E"


@pytest.mark.parametrize("form", [as_string, as_pipeline, as_flushed_pipeline])
@pytest.mark.parametrize("statements", [["ROLLBACK", "SELECT 1"], ["ROLLBACK", COUNT], ["COMMIT", COUNT, "SELECT 2"], ["ROLLBACK", "BEGIN", COUNT], ["ROLLBACK AND CHAIN", COUNT], ["COMMIT AND CHAIN", "SELECT 1"],
                                        ["ROLLBACK", "SELECT nothing FROM users"], ["ROLLBACK", "SELECT 1 / 0", "SELECT 1"], ["SELECT 1", "ROLLBACK"], ["ROLLBACK", "COMMIT", "SELECT 1"], ["ROLLBACK", "ROLLBACK", "SELECT 1"]])
def test_a_failed_transaction_without_a_server_ends_and_more_follows(both, statements, form):
    failed_before_a_server(both)
    both.same(form(statements))
    both.same(wire.query(COUNT))
    both.same(wire.query("ROLLBACK"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("statements", [["ROLLBACK", COUNT], ["COMMIT", COUNT, "SELECT 2"], ["COMMIT AND CHAIN", COUNT], ["ROLLBACK", "SELECT 1 / 0"]])
def test_a_transaction_without_a_server_ends_and_more_follows(both, statements, form):
    both.same(wire.query("BEGIN"))
    both.same(form(statements))
    both.same(wire.query(COUNT))
    both.same(wire.query("ROLLBACK"))


def test_places_in_a_string_stay_what_they_are(both):
    failed_before_a_server(both)
    expected, found = both.ask(wire.query("/* an end */ ROLLBACK ; SELECT nothing FROM users"))
    assert found[-2].fields["P"] == expected[-2].fields["P"]


# --- text that is no SQL ---

WRONG = "SELEC 1"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("savepoint", [["ROLLBACK TO s"], ["ROLLBACK TO s", COUNT]], ids=["back", "and a statement"])
def test_wrong_text_behind_a_savepoint(both, savepoint, form):
    failed_before_a_server(both, savepoint=True)
    expected, found = both.ask(form([*savepoint, WRONG, "SELECT 1"]))
    if form is as_string:   # of a whole string in a failed transaction Weir may say that it has failed
        assert found.errors in (["42601"], ["25P02"]) and found.kinds == expected.kinds
    else:
        assert told(found) == told(expected), (expected, found)
    both.same(wire.query("ROLLBACK TO s"))
    both.same(wire.query(COUNT))
    both.same(wire.query("ROLLBACK"))


@pytest.mark.parametrize("form", [as_string, as_pipeline, as_flushed_pipeline])
@pytest.mark.parametrize("before", [[], ["SELECT 1"], [COUNT], ["UPDATE users SET email = 'wrong' WHERE id = {k}"], ["UPDATE users SET email = 'wrong'"], ["SELECT 1", COUNT, "SELECT name FROM users WHERE id = {k}"],
                                    ["BEGIN", "UPDATE users SET email = 'wrong' WHERE id = {k}"], ["BEGIN", "UPDATE users SET email = 'wrong'"], ["BEGIN"], ["SET work_mem = '5MB'"]])
def test_wrong_text_behind_others(both, keys, before, form):
    both.same(form([sql.format(k=keys[1][0]) for sql in before] + [WRONG, "SELECT 1"]))
    both.same(wire.query("ROLLBACK"))
    both.same(wire.query("SELECT count(*) FROM users WHERE email = 'wrong'"))
    both.same(wire.query("SHOW work_mem"))


@pytest.mark.parametrize("before", [["SELECT 1"], ["UPDATE users SET email = 'wrong' WHERE id = {k}"], ["UPDATE users SET email = 'wrong'"]])
def test_wrong_text_in_a_block(both, keys, before):
    for sql in ["BEGIN", *before]:
        both.same(wire.query(sql.format(k=keys[1][0])))
    both.same(wire.query(WRONG))
    both.same(wire.query("ROLLBACK"))
    both.same(wire.query("SELECT count(*) FROM users WHERE email = 'wrong'"))


# --- a Query among messages of the extended protocol ---


@pytest.mark.parametrize("write", ["UPDATE users SET email = coalesce(email, '') || 'x'", "UPDATE users SET email = coalesce(email, '') || 'x' WHERE id = {k}"])
def test_a_query_in_a_pipeline_runs_once_and_ends_it(both, keys, write):
    both.same(wire.run(write.format(k=keys[2][0])) + wire.query("SELECT count(*) FROM users WHERE email = 'x'"))
    both.same(wire.query("SELECT count(*) FROM users WHERE email = 'x'"))
    both.same(wire.query("UPDATE users SET email = NULL"))
    both.same(wire.run(MINE) + wire.query(COUNT))
    both.same(wire.run("DROP TABLE users") + wire.query(f"{COUNT}; SELECT 1"))


@pytest.mark.parametrize("query", ["", "SHOW weir.shard", "SET weir.shard TO DEFAULT"])
def test_a_query_of_the_proxys_own_in_a_pipeline_ends_it(reference_port, clusters, start_weir, query):
    weir = start_weir([harness.database_toml(clusters)], users={"postgres": {"password": "x", "route_hints": True}}, auth={"method": "trust"})
    with wire.WireClient(weir.port) as client:
        found = client.ask(wire.run("UPDATE users SET email = 'own'") + wire.query(query))
        assert (found.errors, found.status) == ([], "I")
        with wire.WireClient(weir.port) as other:
            assert other.value("SELECT count(*) FROM users WHERE email IS DISTINCT FROM 'own'") == "0"
        for sql in ("BEGIN", "UPDATE users SET email = NULL"):
            client.query(sql)
        assert client.query(query).status == "T"
        assert client.query("COMMIT").tags == ["COMMIT"]


@pytest.mark.parametrize("rest", ["", "describe", "bind"])
def test_text_that_is_no_sql_alone_in_a_pipeline(both, rest):
    behind = {"": b"", "describe": wire.describe("S"), "bind": wire.bind() + wire.execute()}[rest]
    assert both.same(wire.parse("SELEC 1") + behind + wire.sync()).errors == ["42601"]
    assert both.same(wire.query("SELECT 1")).rows == [["1"]]
