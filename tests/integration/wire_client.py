"""A raw client of protocol 3, for what drivers never send or never show. Sockets and bytes only; every wait has a deadline.

https://www.postgresql.org/docs/15/protocol-message-formats.html
"""
import contextlib
import os
import socket
import struct

SLOW = float(os.environ.get("WEIR_SLOW", "1"))  # see scripts/lib/processes.py


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def query(sql):
    return message("Q", text(sql))


def parse(sql, name="", types=()):
    return message("P", text(name) + text(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(*values, portal="", name=""):
    """Text parameters; None is NULL."""
    body = text(portal) + text(name) + struct.pack("!HH", 0, len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(str(value).encode())) + str(value).encode()
    return message("B", body + struct.pack("!H", 0))


def describe(kind="P", name=""):
    return message("D", kind.encode() + text(name))


def execute(portal="", rows=0):
    return message("E", text(portal) + struct.pack("!I", rows))


def close(kind, name=""):
    return message("C", kind.encode() + text(name))


def sync():
    return message("S")


def flush():
    return message("H")


def run(sql, *values, types=()):
    """Parse, Bind, Execute of the unnamed statement, without a Sync."""
    return parse(sql, types=types) + bind(*values) + execute()


def startup(parameters, version=196608):
    body = struct.pack("!I", version) + b"".join(text(k) + text(v) for k, v in parameters.items()) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(pid, secret):
    return struct.pack("!III", 12 + len(secret), 80877102, pid) + secret


class Message:
    def __init__(self, kind, body):
        self.kind, self.body = kind, body

    @property
    def fields(self):
        """Of an ErrorResponse or NoticeResponse: {"C": SQLSTATE, "M": message, ...}."""
        return {part[:1].decode(): part[1:].decode(errors="replace") for part in self.body.split(b"\0") if part}

    @property
    def row(self):
        """Of a DataRow: its values as text."""
        (count,), at, values = struct.unpack_from("!H", self.body), 2, []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", self.body, at)
            at += 4
            values.append(None if size < 0 else self.body[at:at + size].decode())
            at += max(size, 0)
        return values

    @property
    def tag(self):
        return self.body.rstrip(b"\0").decode()

    def __repr__(self):
        return f"{self.kind}:{self.fields if self.kind in 'EN' else self.body[:80]!r}"


class Replies(list):
    """The messages of an answer, in order."""

    @property
    def kinds(self):
        return "".join(m.kind for m in self)

    @property
    def rows(self):
        return [m.row for m in self if m.kind == "D"]

    @property
    def errors(self):
        return [m.fields["C"] for m in self if m.kind == "E"]

    @property
    def tags(self):
        return [m.tag for m in self if m.kind == "C"]

    @property
    def status(self):
        return self[-1].body.decode() if self and self[-1].kind == "Z" else None


class WireClient(contextlib.AbstractContextManager):
    """A client with trust authentication. `log_in=False`: connected, nothing said."""

    def __init__(self, port, database="app", user="postgres", log_in=True, timeout=10.0, **parameters):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout * SLOW)
        self.port, self.buffer, self.parameters, self.key = port, b"", {}, None
        if log_in:
            self.send(startup({"user": user, "database": database, **parameters}))
            self.greeting = self.read_to_ready()

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """The next message; None at the end of the connection."""
        if not self._receive(5):
            return None
        (length,) = struct.unpack_from("!I", self.buffer, 1)
        if not self._receive(1 + length):
            return None
        found = Message(chr(self.buffer[0]), self.buffer[5:1 + length])
        self.buffer = self.buffer[1 + length:]
        self._note(found)
        return found

    def _receive(self, size):
        """Has at least `size` bytes in the buffer. False: the connection ends before; what came is there."""
        pieces, have = [self.buffer], len(self.buffer)
        try:
            while have < size and (piece := self.socket.recv(65536)):
                pieces.append(piece)
                have += len(piece)
        except ConnectionResetError:
            pass
        finally:
            self.buffer = b"".join(pieces)   # also when it waited in vain
        return have >= size

    def _note(self, found):
        if found.kind == "S":
            name, value = found.body.split(b"\0")[:2]
            self.parameters[name.decode()] = value.decode()
        if found.kind == "K":
            self.key = struct.unpack_from("!I", found.body)[0], found.body[4:]

    def read_until(self, kinds):
        """Messages up to and with the first of one of `kinds`, or the end of the connection."""
        replies = Replies()
        while (found := self.read()) is not None:
            replies.append(found)
            if found.kind in kinds:
                break
        return replies

    def read_to_ready(self, times=1):
        replies = Replies()
        for _ in range(times):
            replies += self.read_until("Z")
        return replies

    def ask(self, data, ready=1):
        """Sends, and returns the answer up to its `ready`th ReadyForQuery; ParameterStatus is left out."""
        self.send(data)
        return Replies(m for m in self.read_to_ready(ready) if m.kind != "S")

    def query(self, sql):
        return self.ask(query(sql))

    def value(self, sql):
        return self.query(sql).rows[0][0]

    def at_end(self):
        """Everything up to the end of the connection."""
        return self.read_until("")

    def silent(self, seconds=0.2):
        """Whether nothing comes for a while (and the connection stays)."""
        if self.buffer:
            return False
        before = self.socket.gettimeout()
        self.socket.settimeout(seconds)
        try:
            self.buffer += self.socket.recv(1)
            return False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(before)

    def cancel(self, key=None):
        """A CancelRequest on a connection of its own; returns when the proxy closed it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as other:
            other.sendall(cancel_request(*(key or self.key)))
            other.recv(1)
