"""Runs scripts through Weir and on the plain database, and compares."""
import collections

from arena import SHARDS
from statement import refused, same
from wire import PROTOCOLS, Connection, Lost

CHECK_EVERY = 25   # scripts that wrote, until all rows are compared


class Wrong(Exception):
    """Weir answered something else than PostgreSQL."""

    def __init__(self, script, protocol):
        super().__init__()
        self.script, self.protocol = script, protocol


class Runner:
    protocols = PROTOCOLS

    def __init__(self, arena, world, weir_dsn, plain_dsn, counts):
        self.arena, self.world, self.counts = arena, world, counts
        self.weir_dsn = weir_dsn
        self.here, self.there = Connection(weir_dsn), Connection(plain_dsn)
        self.shards = [Connection(arena.dsn(i, arena.name)) for i in range(SHARDS)]
        self.plain = Connection(plain_dsn)
        self.last_difference = None
        self.unchecked = []
        self.reads = 0

    def close(self):
        for connection in [self.here, self.there, self.plain, *self.shards]:
            connection.close()

    def run(self, script, protocol):
        """Raises Wrong; then both sides have the world's first rows again."""
        different, wrote = self.differs(script, protocol)
        if wrote:
            self.unchecked.append((script, protocol))
        if different or (len(self.unchecked) >= CHECK_EVERY and self.rows_differ()):
            suspects = [(script, protocol)] if different else self.unchecked
            found = self.guilty(suspects) or ([s for one, _ in suspects for s in one], protocol)
            self.reset()
            raise Wrong(*found)
        if len(self.unchecked) >= CHECK_EVERY:
            self.unchecked = []
            if self.few_rows():
                self.reset()

    def guilty(self, suspects):
        """The one script that shows a difference from the first rows, if one does alone."""
        kept = self.last_difference
        for script, protocol in suspects:
            if self.fails(script, protocol):
                return script, protocol
        self.last_difference = kept
        return None

    def fails(self, script, protocol):
        """From the world's first rows: does the script show a difference, in its answers or in the rows after it?"""
        self.reset()
        return self.differs(script, protocol, count=False)[0] or self.rows_differ()

    def reset(self):
        self.unchecked = []
        for connection in (self.here, self.there):
            if connection.status != "IDLE":
                connection.run("ROLLBACK")
        for shard, connection in [*enumerate(self.shards), (None, self.plain)]:
            connection.run(self.arena.reset(self.world, shard))

    def few_rows(self):
        counts = " + ".join(f"(SELECT count(*) FROM {t.name})" for t in self.world.tables)
        now = int(self.plain.run(f"SELECT {counts}")[0][2][0][0])
        start = sum(len(t.rows) for t in self.world.tables)
        return now < start * 0.7 or now > start * 4

    # --- one script

    def differs(self, script, protocol, count=True):
        """(is there a difference, may rows have changed)"""
        wrote = False
        for number, statement in enumerate(script):
            try:
                found = self.asked(statement, protocol, count)
            except Lost as lost:
                return self.lost(lost)
            if refused(found) and not self.postgres_says_so(statement, protocol, found):
                self.note(statement, False, count, found)
                if number or statement.several:
                    self.give_up(wrote)
                return self.left_over(statement, found), wrote
            wanted = self.there.ask(statement, protocol)
            if not same(found, wanted, statement.order) or self.here.status != self.there.status:
                self.last_difference = ([[r[0] for r in side] for side in (found, wanted)], f"{found} {self.here.status}", f"{wanted} {self.there.status}")
                return True, True
            self.note(statement, True, count, found)
            wrote |= statement.writes
        return False, wrote

    def asked(self, statement, protocol, count):
        """Weir's answer. Every third read is asked three times, and each once a difference is looked into: what Weir and its servers keep answers it then."""
        alone = self.here.status == "IDLE" and not statement.writes and not statement.several
        self.reads += alone
        times = 3 if alone and (not count or self.reads % 3 == 0) else 1
        for _ in range(times):
            found = self.here.ask(statement, protocol)
        return found

    def postgres_says_so(self, statement, protocol, found):
        """PostgreSQL has errors of 0A000, too: FOR UPDATE with GROUP BY ... A transaction is failed then, here and there."""
        if statement.writes or statement.several:
            return False
        if self.there.status != "IDLE":
            return False
        self.there.run("BEGIN READ ONLY")
        wanted = self.there.ask(statement, protocol)
        self.there.run("ROLLBACK")
        return same(found, wanted, statement.order)

    def note(self, statement, answered, count, found):
        if not count:
            return
        self.counts.note(statement, answered)
        if not answered:
            self.counts.refusals[next(r[2] for r in found if r[0] == "error")[:110]] += 1

    def give_up(self, wrote):
        """A refusal fails the whole transaction."""
        for connection in (self.here, self.there):
            if connection.status != "IDLE":
                connection.run("ROLLBACK")

    def left_over(self, statement, found):
        """After a refusal outside of a transaction there is none, and nothing was answered before it."""
        if self.here.status == "IDLE":
            return False
        self.last_difference = ("left over", f"{found} {self.here.status}", "no transaction")
        return True

    def lost(self, lost):
        self.last_difference = ("lost", str(lost), "an answer")
        self.here = Connection(self.weir_dsn)
        return True, True

    # --- all rows

    def rows_differ(self):
        return any(self.table_differs(t) for t in self.world.tables)

    def table_differs(self, table):
        columns = ", ".join(c.name for c in table.columns)
        rows = lambda connection, where="": collections.Counter(connection.run(f"SELECT {columns} FROM {table.name}{where}")[0][2])
        wanted = rows(self.plain)
        if table.key:
            found = [sum((rows(shard) for shard in self.shards), collections.Counter())]
            strays = [list(rows(shard, f" WHERE NOT {self.arena.belongs(table, i)}")) for i, shard in enumerate(self.shards)]
        else:
            found, strays = [rows(shard) for shard in (self.shards if table.reference else self.shards[:1])], []
        if any(strays) or any(one != wanted for one in found):
            more, fewer = ([list((a - b).elements()) for a, b in sides] for sides in ([(one, wanted) for one in found], [(wanted, one) for one in found]))
            self.last_difference = ("rows", f"table {table.name} ({columns}): too many {more}, on the wrong shard {strays}", f"missing {fewer}")
            return True
        return False
