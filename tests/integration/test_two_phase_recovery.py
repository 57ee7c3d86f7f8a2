"""Distributed transactions whose coordinator died: each state it may leave is made by hand, then a real Weir finishes it.

The rows tell: table `ledger` has one row of each transaction on each shard that it wrote to, or none of it anywhere.
"""
import contextlib
import itertools
import os
import secrets
import signal

import psycopg2
import psycopg2.errors
import pytest

import harness
import sharded
from harness import wait_for
from metrics_client import scrape

SHARDS = 3
CLIENT = "two_phase_client"
MAINTENANCE = "two_phase_maintenance"
SOON = {"in_doubt_after": "1s"}
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shards():
    found = harness.Clusters("--shards", str(SHARDS), "--replicas", "0", "--max-connections", "60", "--set", "max_prepared_transactions=60")
    try:
        for i in range(SHARDS):
            found.psql(f"""CREATE ROLE {CLIENT} LOGIN; CREATE ROLE {MAINTENANCE} LOGIN; GRANT CREATE ON DATABASE app TO {MAINTENANCE};
                           GRANT {CLIENT}, pg_monitor TO {MAINTENANCE};
                           CREATE TABLE ledger (id bigint PRIMARY KEY); GRANT ALL ON ledger TO PUBLIC;
                           CREATE TABLE users (id bigint PRIMARY KEY)""", shard=i)
        proxy = harness.Weir([toml(found)])
        harness.weirctl("init", "-c", str(proxy.config))
        proxy.stop()
        yield found
    finally:
        found.stop()


def toml(clusters, maintenance=f"user={MAINTENANCE}", sharding=None):
    return harness.database_toml(clusters, tables=({"name": "users", "key": "id"},), sharding={**SOON, **(sharding or {})}, maintenance=maintenance)


@pytest.fixture(autouse=True)
def clean(shards):
    """Nothing prepared, no decisions, before and after."""
    def sweep():
        for i in range(SHARDS):
            for gid in shards.psql("SELECT gid FROM pg_prepared_xacts", shard=i).splitlines():
                shards.psql("ROLLBACK PREPARED '{}'".format(gid.replace("'", "''")), shard=i)
            shards.psql("TRUNCATE ledger; TRUNCATE weir.decision", shard=i)
    sweep()
    yield
    sweep()


class Coordinator:
    """A distributed transaction by hand, as Weir would do it; close() is its death. Shard 0 decides."""

    def __init__(self, shards, user=CLIENT, participants=(1, 2), cluster=None):
        self.shards, self.number, self.participants = shards, next(numbers), participants
        self.cluster = cluster or shards.psql("SELECT replace(cluster::text, '-', '') FROM weir.identity")
        self.connections = {}
        for i in (0, *participants):
            connection = psycopg2.connect(shards.conninfo(shard=i).replace("user=postgres", f"user={user}"))
            connection.autocommit = True
            self.connections[i] = connection
            self.run(i, "BEGIN")
            self.run(i, f"INSERT INTO ledger VALUES ({self.number})")
        xid = self.run(0, "SELECT txid_current()")[0][0]
        self.decision = f"{xid:x}-{secrets.token_hex(7)}"

    def run(self, shard, sql):
        with self.connections[shard].cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else None

    def gid(self, shard, decider="s0"):
        return f"weir:1:{self.cluster}:{decider}:{self.decision}:s{shard}"

    def prepare(self, *only):
        for i in only or self.participants:
            self.run(i, f"PREPARE TRANSACTION '{self.gid(i)}'")
        return self

    def write_decision(self):
        self.run(0, f"SELECT weir.decide('{self.decision}', ARRAY[{', '.join(repr(f's{i}') for i in self.participants)}])")
        return self

    def decide(self):
        self.write_decision()
        self.run(0, "COMMIT")
        return self

    def finish(self, *only):
        for i in only:
            self.run(i, f"COMMIT PREPARED '{self.gid(i)}'")
        return self

    def close(self):
        for connection in self.connections.values():
            connection.close()
        return self

    def places(self):
        """The shards that have its row, for everybody to see."""
        return [i for i in (0, *self.participants) if self.shards.psql(f"SELECT count(*) FROM ledger WHERE id = {self.number}", shard=i) == "1"]


def in_doubt(shards):
    return sum(int(n) for n in shards.everywhere("SELECT count(*) FROM pg_prepared_xacts"))


def wait_recovered(shards, seconds=30):
    wait_for(lambda: in_doubt(shards) == 0, "every prepared transaction to be finished", seconds)


# --- every moment at which a coordinator may die: (what it had done, where its rows are in the end)

CRASHES = {
    "before anything was prepared": (lambda c: c, []),
    "after the first of two prepares": (lambda c: c.prepare(1), []),
    "after all prepares": (lambda c: c.prepare(), []),
    "with the decision written and not committed": (lambda c: c.prepare().write_decision(), []),
    "after the decision": (lambda c: c.prepare().decide(), [0, 1, 2]),
    "after the first of two commits": (lambda c: c.prepare().decide().finish(1), [0, 1, 2]),
    "after everything": (lambda c: c.prepare().decide().finish(1, 2), [0, 1, 2]),
}


@pytest.mark.parametrize("point", CRASHES)
def test_a_coordinator_that_died(point, shards, start_weir):
    do, rows = CRASHES[point]
    dead = do(Coordinator(shards)).close()
    weir = start_weir([toml(shards)])
    wait_recovered(shards)
    assert dead.places() == rows
    assert "Traceback" not in weir.log()


def test_a_coordinator_that_died_in_the_middle_of_its_rollback(shards, start_weir):
    dead = Coordinator(shards).prepare()
    dead.run(0, "ROLLBACK")
    dead.run(1, f"ROLLBACK PREPARED '{dead.gid(1)}'")
    dead.close()
    start_weir([toml(shards)])
    wait_recovered(shards)
    assert dead.places() == []


def test_a_slow_coordinator_is_stopped_and_cannot_decide_any_more(shards, start_weir):
    slow = Coordinator(shards).prepare()
    start_weir([toml(shards)])
    wait_recovered(shards)
    with pytest.raises(psycopg2.errors.UniqueViolation):
        slow.decide()
    slow.close()
    assert slow.places() == []


def test_a_young_transaction_is_left_to_its_coordinator(shards, start_weir):
    slow = Coordinator(shards).prepare()
    weir = start_weir([toml(shards, sharding={"in_doubt_after": "1h"})])
    wait_for(lambda: {row["gid"] for row in weir.console("SHOW IN_DOUBT")} == {slow.gid(1), slow.gid(2)}, "the transactions to be shown")
    seen = weir.console("SHOW IN_DOUBT")
    assert all("not decided" in row["state"] and row["owner"] == CLIENT for row in seen)
    slow.decide()   # from now on everybody may finish it
    wait_recovered(shards)
    slow.close()
    assert slow.places() == [0, 1, 2]
    wait_for(lambda: not weir.console("SHOW IN_DOUBT"), "the view to be empty")


def test_a_decision_under_way_is_waited_for(shards, start_weir):
    """Its row is written, its COMMIT is not there yet: recovery's own row has to wait, and then takes what came of it."""
    slow = Coordinator(shards).prepare().write_decision()
    start_weir([toml(shards)])
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'spectoken')"
    wait_for(lambda: shards.psql(waits) != "0", "recovery to wait for the decision")
    slow.run(0, "COMMIT")
    wait_recovered(shards)
    slow.close()
    assert slow.places() == [0, 1, 2]


# --- more than one recoverer, and what happens to them


def dead_ones(shards, n):
    """Half of them decided."""
    dead = []
    for i in range(n):
        one = Coordinator(shards).prepare()
        dead.append(((one.decide() if i % 2 else one).close(), [0, 1, 2] if i % 2 else []))
    return dead


def test_two_recoverers_at_once(shards, start_weir):
    dead = dead_ones(shards, 20)
    proxies = [start_weir([toml(shards)], ready=False) for _ in range(2)]
    wait_recovered(shards)
    for one, rows in dead:
        assert one.places() == rows
    for proxy in proxies:
        assert "cannot be finished" not in proxy.log()


def test_a_recoverer_killed_in_the_middle(shards, start_weir):
    dead = dead_ones(shards, 25)
    killed = 0
    while in_doubt(shards) > 0 and killed < 8:
        before = in_doubt(shards)
        weir = start_weir([toml(shards)], ready=False)
        wait_for(lambda: in_doubt(shards) < before, "one to be recovered", 30)
        os.kill(weir.pid, signal.SIGKILL)
        weir.process.wait()
        weir.process = None
        killed += 1
    assert killed > 0
    start_weir([toml(shards)])
    wait_recovered(shards)
    for one, rows in dead:
        assert one.places() == rows


def test_a_recoverer_killed_as_it_writes_an_abort(shards, start_weir):
    dead = Coordinator(shards).prepare().close()
    with contextlib.closing(psycopg2.connect(shards.conninfo())) as lock, lock.cursor() as cursor:
        cursor.execute("LOCK TABLE weir.decision IN SHARE MODE")
        weir = start_weir([toml(shards)], ready=False)
        wait_for(lambda: shards.psql("SELECT count(*) FROM pg_locks WHERE NOT granted") != "0", "recovery to wait for the table")
        os.kill(weir.pid, signal.SIGKILL)
        weir.process.wait()
        weir.process = None
    start_weir([toml(shards)])
    wait_recovered(shards)
    assert dead.places() == []


@pytest.mark.parametrize("away", [0, 1], ids=["the decider", "a participant"])
def test_a_shard_that_is_away_is_waited_for(away, shards, start_weir):
    committed, aborted = Coordinator(shards).prepare().decide().close(), Coordinator(shards).prepare().close()
    shards.kill(shard=away)
    try:
        weir = start_weir([toml(shards)])
        weir.wait_log("prepared transactions cannot be looked at")
        if away == 0:   # nobody may decide in its place
            wait_for(lambda: any("which decides, does not tell" in row["state"] for row in weir.console("SHOW IN_DOUBT")), "the reason to be shown")
            assert shards.psql("SELECT count(*) FROM pg_prepared_xacts", shard=1) == "2"
        else:
            wait_for(lambda: shards.psql("SELECT count(*) FROM pg_prepared_xacts", shard=2) == "0", "the others to be finished")
    finally:
        shards.restart(shard=away)
    wait_recovered(shards)
    assert committed.places() == [0, 1, 2] and aborted.places() == []
    assert weir.log().count("prepared transactions cannot be looked at") <= 3, "said once for each reason"


# --- what is not ours


def test_what_is_of_another_installation_or_of_nobody_is_left_alone_and_told(shards, start_weir):
    other = Coordinator(shards, cluster="0" * 32).prepare().close()
    strange = Coordinator(shards, participants=(1,))
    names = ["weir:9:whatever", strange.gid(1, decider="s7"), strange.gid(2)]
    for name in names:
        shards.psql(f"BEGIN; INSERT INTO ledger VALUES ({next(numbers)}); PREPARE TRANSACTION '{name}'", shard=1)
    shards.psql(f"BEGIN; INSERT INTO ledger VALUES ({next(numbers)}); PREPARE TRANSACTION 'the application''s own'", shard=1)
    strange.close()
    weir = start_weir([toml(shards)])
    seen = {row["gid"]: row["state"] for row in wait_for(lambda: weir.console("SHOW IN_DOUBT"), "they are shown")}
    assert set(seen) == {other.gid(1), other.gid(2), *names}, seen
    assert all(state.startswith("left alone") for state in seen.values()), seen
    sentinel = Coordinator(shards).prepare().close()
    wait_for(lambda: not sentinel.places() and sentinel.gid(1) not in shards.psql("SELECT gid FROM pg_prepared_xacts", shard=1), "the sentinel to go")
    assert shards.psql("SELECT count(*) FROM pg_prepared_xacts", shard=1) == "5"
    for name in names:
        assert weir.log().count(f"prepared transaction {name}: left alone") == 1


def test_a_client_that_forges_changes_nothing(shards, start_weir):
    """The gid of a transaction in doubt is there for everybody to see; nobody can decide it but its own deciding transaction."""
    victim = Coordinator(shards).prepare()
    with contextlib.closing(psycopg2.connect(shards.conninfo().replace("user=postgres", f"user={CLIENT}"))) as forger:
        forger.autocommit = True
        with forger.cursor() as cursor:
            for sql in (f"SELECT weir.decide('{victim.decision}', ARRAY['s1', 's2'])", f"SELECT weir.abort('{victim.decision}')",
                        f"INSERT INTO weir.decision (id, outcome, participants) VALUES ('{victim.decision}', 'commit', '{{}}')",
                        "DELETE FROM weir.decision", "UPDATE weir.decision SET outcome = 'commit'"):
                with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                    cursor.execute(sql)
            cursor.execute("SELECT weir.decide(to_hex(txid_current()) || '-00000000000000', '{}')")   # of itself: harmless
    victim.decide().close()
    start_weir([toml(shards)])
    wait_recovered(shards)
    assert victim.places() == [0, 1, 2]


def test_the_owners_rights_are_needed_and_named(shards, start_weir):
    for i in range(SHARDS):
        shards.psql("CREATE ROLE stranger LOGIN", shard=i)
    try:
        dead = Coordinator(shards, user="stranger").prepare().decide().close()
        weir = start_weir([toml(shards)])
        weir.wait_log(f"GRANT stranger TO {MAINTENANCE}")
        assert in_doubt(shards) == 2
        for i in range(SHARDS):
            shards.psql(f"GRANT stranger TO {MAINTENANCE}", shard=i)
        wait_recovered(shards)
        assert dead.places() == [0, 1, 2]
    finally:
        for i in range(SHARDS):
            shards.psql("DROP OWNED BY stranger; DROP ROLE stranger", shard=i)


# --- decisions are cleaned away


def test_old_decisions_go_when_nobody_asks_for_them_any_more(shards, start_weir):
    backdate = "UPDATE weir.decision SET decided_at = now() - interval '{}' WHERE id = '{}'"
    done = Coordinator(shards).prepare().decide().finish(1, 2).close()
    recent = Coordinator(shards).prepare().decide().finish(1, 2).close()
    elsewhere = Coordinator(shards).prepare().decide().finish(1, 2).close()
    held = Coordinator(shards).prepare().decide().close()
    running = Coordinator(shards)
    for one in (done, elsewhere, held):
        shards.psql(backdate.format("11 minutes", one.decision))
    shards.psql(f"UPDATE weir.decision SET participants = '{{s1,s99}}' WHERE id = '{elsewhere.decision}'")
    old_abort, new_abort = "3-00000000000000", "3-00000000000001"
    for decision in (old_abort, new_abort, "ffffffffffffffff-00000000000000", running.decision):
        shards.psql(f"SELECT weir.abort('{decision}')")
    for decision in (old_abort, "ffffffffffffffff-00000000000000", running.decision):
        shards.psql(backdate.format("25 hours", decision))
    start_weir([toml(shards)])
    rows = "SELECT string_agg(id, ' ' ORDER BY id) FROM weir.decision"
    wanted = " ".join(sorted([recent.decision, elsewhere.decision, held.decision, running.decision, new_abort]))
    wait_for(lambda: shards.psql(rows) == wanted, f"only {wanted} to be left, not {shards.psql(rows)}")
    wait_recovered(shards)
    assert held.places() == [0, 1, 2]
    running.close()


# --- how it is seen


def test_metrics_count_what_is_in_doubt_and_what_was_recovered(shards, start_weir):
    dead_ones(shards, 2)
    port = harness.free_port()
    start_weir([toml(shards)], admin={"http": f"127.0.0.1:{port}"})
    wait_recovered(shards)

    def counted():
        found = scrape(port)
        return (found.sum("weir_recovered_transactions_total", outcome="commit"), found.sum("weir_recovered_transactions_total", outcome="abort"),
                found.sum("weir_in_doubt_transactions")) == (2, 2, 0)

    wait_for(counted, "the counters")


def test_a_schema_of_an_earlier_version_is_named_with_the_command_that_helps(shards, start_weir):
    dead = Coordinator(shards).prepare().decide().close()
    shards.psql("ALTER FUNCTION weir.abort(text) RENAME TO abort_hidden", shard=2)
    weir = start_weir([toml(shards)])
    try:
        weir.wait_log("weirctl init")
        assert shards.psql("SELECT count(*) FROM pg_prepared_xacts", shard=2) == "1"
    finally:
        shards.psql("DROP FUNCTION weir.abort_hidden(text)", shard=2)
    harness.weirctl("init", "-c", str(weir.config))
    wait_recovered(shards)
    assert dead.places() == [0, 1, 2]


def test_a_shard_that_cannot_prepare_is_not_the_second_to_be_written(start_weir):
    found = harness.Clusters("--shards", "2", "--replicas", "0", "--set", "max_prepared_transactions=0")
    try:
        for i in range(2):
            found.psql("CREATE TABLE users (id bigint PRIMARY KEY, name text)", shard=i)
        toml = harness.database_toml(found, tables=({"name": "users", "key": "id"},))
        first = harness.Weir([toml])
        harness.weirctl("init", "-c", str(first.config))
        first.stop()
        proxy = start_weir([toml])
        per_shard = [None, None]
        for key, shard in sharded.shards_of(found, range(1, 50)).items():
            per_shard[shard] = per_shard[shard] or key
        connection = proxy.connect(autocommit=False)
        cursor = connection.cursor()

        def refused():
            cursor.execute(f"INSERT INTO users VALUES ({per_shard[0]})")
            cursor.execute(f"SELECT * FROM users WHERE id = {per_shard[1]}")   # reading is no matter
            try:
                cursor.execute(f"INSERT INTO users VALUES ({per_shard[1]})")
            except psycopg2.Error as error:
                return error if error.pgcode == "0A000" else None
            finally:
                connection.rollback()
            raise AssertionError("not refused")

        error = harness.wait_for(refused, "recovery to have looked at the shards")
        assert "max_prepared_transactions" in str(error)
        cursor.execute(f"INSERT INTO users VALUES ({per_shard[0]})")
        cursor.execute(f"SELECT * FROM users WHERE id = {per_shard[1]}")
        connection.commit()
        assert found.psql("SELECT count(*) FROM users", shard=0) == "1"
        connection.close()
    finally:
        found.stop()
