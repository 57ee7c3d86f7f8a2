"""Pipelines of protocol messages, and their answers made comparable between PostgreSQL and Weir.

A *step* is (label, bytes); a *pipeline* is a list of steps that is sent at once. Every pipeline gets a trailer that marks its end whatever
state it leaves the session in: CopyFail (ignored outside of COPY), Sync, and seven Closes of names that nobody has, which never fail.
"""
import struct

from wire_client import Replies, WireClient, close, message, sync

MARK = 7
TRAILER = message("f", b"the end\0") + sync() + b"".join(close("S", f"nobody{i}") for i in range(MARK)) + sync()


def _without_table_oids(body):
    """A RowDescription whose tables' OIDs, which differ between databases, are only "some" or "none"."""
    (count,), at, out = struct.unpack_from("!H", body), 2, body[:2]
    for _ in range(count):
        end = body.index(b"\0", at) + 1
        out += body[at:end] + struct.pack("!I", min(1, struct.unpack_from("!I", body, end)[0])) + body[end + 4:end + 18]
        at = end + 18
    return out


def comparable(found):
    """What of a message must be the same from both."""
    if found.kind in "EN":
        return found.kind, {k: v for k, v in found.fields.items() if k in "SVCMDHP"}
    return found.kind, _without_table_oids(found.body) if found.kind == "T" else found.body


# What is wrong with a statement before it runs. Of two such errors Weir may find the other one first.
BEFORE_RUNNING = {"22P02", "25P02", "26000", "34000", "42601", "42P05", "42P01", "42703", "42704"}


def same(expected, found):
    """Whether the two say the same."""
    if len(expected) != len(found):
        return False
    for one, other in zip(expected, found):
        both_early = one.kind == other.kind == "E" and {one.fields["C"], other.fields["C"]} <= BEFORE_RUNNING
        if comparable(one) != comparable(other) and not both_early:
            return False
    return True


def answer(client, steps):
    """Sends the pipeline with its trailer; everything but ParameterStatus up to the trailer's end, or the end of the connection."""
    client.send(b"".join(data for _, data in steps) + TRAILER)
    replies, run = Replies(), 0
    while (found := client.read()) is not None:
        if found.kind == "S":
            continue
        replies.append(found)
        if found.kind == "Z" and run >= MARK:
            break
        run = run + 1 if found.kind == "3" else 0
    return replies


class Pair:
    """The same client twice: on PostgreSQL itself and through Weir."""

    def __init__(self, direct_port, weir_port, direct="direct", proxied="app"):
        self.ports = (direct_port, direct), (weir_port, proxied)
        self.history, self.clients = [], []
        self.connect()

    def connect(self):
        self.close()
        self.history, self.clients = [], [WireClient(port, database=database, timeout=30.0) for port, database in self.ports]

    def close(self):
        for client in self.clients:
            client.socket.close()

    def difference(self, steps):
        """None, or what the two answered to `steps` where they differ. After the end of both connections: connects again."""
        self.history.append(steps)
        expected, found = (answer(client, steps) for client in self.clients)
        if not same(expected, found):
            return expected, found
        if expected.status is None:
            self.connect()
        return None


def told(history, expected, found):
    """A report of a difference that can be read, and replayed by its bytes."""
    lines = []
    for steps in history:
        lines += ["--- pipeline"] + [f"  {label}" for label, _ in steps]
    lines += ["last pipeline's bytes: " + b"".join(data for _, data in history[-1]).hex(), f"PostgreSQL: {expected}", f"Weir:       {found}"]
    return "\n".join(lines)
