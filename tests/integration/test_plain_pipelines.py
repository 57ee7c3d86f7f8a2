"""Pipelines through Weir answer message by message as PostgreSQL itself does."""
import pytest

import harness
from pipelines import Pair, told
from wire_client import bind, close, describe, execute, flush, message, parse, query, run, sync


@pytest.fixture(scope="module")
def weir(plain_clusters):
    plain_clusters.psql("create database direct")
    for database in ("app", "direct"):
        plain_clusters.psql("create table t0 (a int, b text)", dbname=database)
    proxy = harness.Weir([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 2, "wait_timeout": "20s"})
    try:
        yield proxy.start()
    finally:
        proxy.stop()


@pytest.fixture
def pair(weir, plain_clusters):
    found = Pair(plain_clusters.node()["port"], weir.port)
    yield found
    found.close()


A, B = "select 'a'", "select 'b'"

# name: pipelines, each a list of messages
SEQUENCES = {
    "a Query that Weir itself would fail, behind a failed message, has no ReadyForQuery": [[execute("nobody"), query("execute nobody"), sync(), query(A)]],
    "a Query that Weir itself would fail, alone, has one": [[parse(A), query("execute nobody"), sync(), query(A)]],
    "a Bind means the unnamed statement of before, not the one that follows it": [[parse(A), sync()], [bind(), execute(), parse(B), sync(), bind(), execute()]],
    "a Bind in front of a Query means its own client's statement": [[parse(A), sync()], [bind(), execute(), query(B)]],
    "a Describe in front of a Query means its own client's statement": [[parse(A), sync()], [describe("S"), query("begin")], [query("rollback")]],
    "a skipped Query leaves the unnamed statement": [[parse(A), execute("nobody"), query("set local work_mem = '6MB'")], [describe("S"), bind(), execute()]],
    "a skipped Parse leaves the unnamed statement": [[parse(A), execute("nobody"), parse(B), sync(), bind(), execute()]],
    "the last Parse before the error counts": [[parse(A), bind(), execute(), parse(B), execute("nobody"), parse(A), sync(), bind(), execute()]],
    "a failed Parse leaves no unnamed statement": [[parse(A), sync()], [parse("selec"), sync(), bind(), execute()]],
    "a skipped Close and Parse leave the named statement": [[parse(A, "s"), execute("nobody"), close("S", "s"), parse(B, "s"), sync(), bind(name="s"), execute()]],
    "a SET is undone with the pipeline that fails behind a Flush": [[query("select 1")], [*[run("set work_mem = '5MB'"), flush(), describe("P", "nobody"), flush(), sync(), query("show work_mem")]]],
    "a SET stays where the pipeline behind a Flush succeeds": [[run("set work_mem = '5MB'"), flush(), run(A), flush(), sync(), query("show work_mem")]],
    "a statement that a server has is not parsed in a failed transaction": [[parse(A, "s"), sync(), query("begin"), query("select 1/0"), close("S", "s"), parse(A, "s"), bind(name="s"), sync(), query("rollback")]],
    "an extended COPY that fails with its Sync on its way": [[parse(B), sync(), run("copy t0 from stdin"), sync(), message("d", b"bad\tline\n"), message("c"), sync(), query(A)]],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_a_sequence_is_answered_as_by_postgresql(pair, weir, plain_clusters, name):
    others = [Pair(plain_clusters.node()["port"], weir.port) for _ in range(2)]
    try:
        for messages in SEQUENCES[name]:
            different = pair.difference([(repr(m), m) for m in messages])
            assert not different, told(pair.history, *different)
            for other in others:   # their unnamed statements take the servers' places
                assert not other.difference([("Parse", parse("select 'another''s'")), ("Bind", bind()), ("Execute", execute())])
    finally:
        for other in others:
            other.close()
