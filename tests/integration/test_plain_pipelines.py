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
    with harness.running([harness.database_toml(plain_clusters, sharded=False, replicas=False)], pool={"size": 2, "wait_timeout": "20s"}) as proxy:
        yield proxy


@pytest.fixture
def pair(weir, plain_clusters):
    found = Pair(plain_clusters.node()["port"], weir.port)
    yield found
    found.close()


A, B = "select 'a'", "select 'b'"
GOOD, BAD = b"1\ta\n", b"bad\tline\n"


def data(lines):
    return message("d", lines)


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
    "portals die with their transaction": [[query("begin"), parse(A, "s"), bind(portal="p", name="s"), sync(), query("commit"), execute("p"), sync()], [bind(portal="p", name="s"), sync(), execute("p"), sync()]],
    "a Flush behind an error": [[bind(name="nobody"), flush(), query(A), flush(), sync()]],
    "a name that is taken leaves the unnamed statement": [[parse(A, "s"), sync()], [parse(B), parse(A, "s"), sync(), bind(), execute(), sync()]],
    "two SETs by the unnamed portal": [[run("set work_mem = '5MB'"), run("set statement_timeout = '7s'"), sync()], [query("show work_mem"), query("show statement_timeout")], [query("reset all")]],
    "DISCARD ALL in front of a Parse": [[parse(A, "s"), run("discard all"), parse(B, "s"), bind(name="s"), execute(), sync()], [bind(name="s"), execute(), sync()]],
    "EXECUTE of an unknown name fails when it runs": [[run("execute nobody"), sync()], [parse("execute nobody"), describe("S"), bind(), describe(), execute(), sync()], [run("explain execute nobody"), sync()]],
    "a portal that was closed": [[query("begin"), parse("deallocate all"), bind(portal="p"), close("P", "p"), execute("p"), sync(), query("rollback")]],
    "what a failed transaction refuses": [[query("begin"), query("select 1/0"), query(""), parse(""), sync(), bind(), execute(), sync(), parse("selec"), sync(), bind(name="nobody"), sync(), query("savepoint a"), query("rollback")]],
    "SAVEPOINT outside of a transaction block": [[run("savepoint a"), sync(), run(A), run("savepoint a"), run(B), sync(), query("savepoint a"), run("release a"), sync(), run("rollback to a"), sync()]],
    "a Describe and a Close of neither a statement nor a portal": [[describe("X", "s"), sync(), close("X", "s"), sync()]],
    "a statement that a server has is not parsed in a failed transaction": [[parse(A, "s"), sync(), query("begin"), query("select 1/0"), close("S", "s"), parse(A, "s"), bind(name="s"), sync(), query("rollback")]],
    "a Close in front of what a failed transaction refuses is answered": [[parse(A, "s"), sync(), query("begin"), query("select 1/0")], [close("S", "s"), parse(A, "s"), sync()], [query("rollback")], [parse(A, "s"), bind(name="s"), execute(), sync()]],
    "DEALLOCATE ALL in a Query behind a Parse": [[parse(A, "s"), query("deallocate all"), parse(B, "s"), bind(name="s"), execute(), sync()]],
    "DEALLOCATE in a Query behind a Parse": [[parse(A, "s"), query("deallocate s"), parse(B, "s"), bind(name="s"), execute(), sync()]],
    "DEALLOCATE in a Query behind a Flush": [[parse(A, "s"), flush(), query("deallocate s"), parse(B, "s"), bind(name="s"), execute(), sync()]],
    "a DEALLOCATE that was skipped": [[parse(A, "s"), execute("nobody"), query("deallocate s"), sync(), bind(name="s"), execute(), sync()]],
    "DEALLOCATE of an unknown name behind a Parse": [[parse(A, "s"), query("deallocate nobody"), bind(name="s"), execute(), sync()]],
    "DEALLOCATE ALL in a transaction that fails": [[query("begin"), parse(A, "s"), query("deallocate all"), execute("nobody"), sync(), query("rollback"), bind(name="s"), execute(), sync()]],
    "a Sync behind the CopyData that an extended COPY fails with": [[run("copy t0 from stdin"), data(BAD), sync(), query(A)]],
    "a Sync in front of the CopyData that an extended COPY fails with": [[run("copy t0 from stdin"), sync(), sync(), data(BAD), message("c"), sync(), query(A)]],
    "Syncs on both sides of it": [[run("copy t0 from stdin"), data(GOOD), sync(), data(BAD), sync(), data(GOOD), sync(), message("c"), sync(), query(A)]],
    "Syncs among the data of a simple COPY that fails": [[query("copy t0 from stdin"), data(GOOD), sync(), data(BAD), sync(), sync(), message("c"), sync(), query(A)]],
    "Syncs among the data of a COPY that succeeds": [[run("copy t0 from stdin"), data(GOOD), sync(), flush(), data(GOOD), sync(), message("c"), sync(), query(A)]],
    "a Query behind the CopyData that a COPY fails with": [[query("copy t0 from stdin"), data(BAD), query(A)]],
    "a Query behind the CopyData that an extended COPY fails with": [[run("copy t0 from stdin"), data(BAD), query(A), sync(), query(B)]],
    "a COPY that fails in a transaction block, with Syncs": [[query("begin"), run("copy t0 from stdin"), data(BAD), sync(), sync(), query("rollback")]],
    "two COPYs in one Query, of which the second fails, with Syncs": [[query("copy t0 from stdin; copy t0 from stdin"), data(GOOD), sync(), message("c"), sync(), data(BAD), sync(), message("c"), query(A)]],
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
