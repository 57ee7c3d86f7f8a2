"""A TCP relay in front of a PostgreSQL server that counts turns: how often somebody began to speak to the server after it had answered.

It can also be slow, as if the server were far away.
"""
import copy
import queue
import socket
import threading
import time


class Connection:
    def __init__(self, client, server, relay):
        self.client, self.server, self.relay = client, server, relay
        self.turns, self.said, self.answered, self.awaited = 0, b"", True, None   # awaited: what happens when the answer comes
        for target in (self._forth, self._back):
            threading.Thread(target=target, daemon=True).start()

    def _forth(self):
        while data := _receive(self.client):
            if self.answered:
                self.turns, self.answered = self.turns + 1, False
            self.said += data
            if self.relay.springs(data, before=True):
                break
            self.awaited = self.relay.springs(data, before=False)
            self.server.sendall(data)
        _end(self.server)

    def _back(self):
        answers = queue.SimpleQueue()
        sender = threading.Thread(target=self._send, args=(answers,), daemon=True)
        sender.start()
        while data := _receive(self.server):
            self.answered = True
            awaited, self.awaited = self.awaited, None
            if awaited and awaited() is not True:
                break
            answers.put((time.monotonic() + self.relay.delay, data))
        answers.put(None)
        sender.join()
        _end(self.client)

    def _send(self, answers):
        """Each so long after it came, as a longer line would: two answers on their way together are late together."""
        while answer := answers.get():
            due, data = answer
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                self.client.sendall(data)
            except OSError:
                return


def _receive(from_socket):
    try:
        return from_socket.recv(1 << 16)
    except OSError:
        return b""


def _end(of):
    try:
        of.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Forwarder:
    """Listens on a port of its own and hands each pair of connections, the client's and the server's, to joined(client, server).

    `to`: host (or a folder, of a unix socket) and port of the server.
    """

    def __init__(self, to):
        self.to, self.listener = to, socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self):
        return self.listener.getsockname()[1]

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.to) if not self.to[0].startswith("/") else _unix(*self.to)
            except OSError:   # the server is down: so is this, for that client
                client.close()
                continue
            self.joined(client, server)


class Relay(Forwarder):
    """Stands in front of a shard's primary, the first's unless told; `shards` is the same description with the relay in its place.

    `shards`: a description that has relays already. `delay`: seconds that every answer takes longer, from now on.
    """

    def __init__(self, clusters, shard=0, shards=None):
        self.delay, self.trap, self.lock = 0.0, None, threading.Lock()
        self.shards = copy.deepcopy(shards or clusters.shards)
        primary = self.shards[shard]["primary"]
        self.connections = []
        super().__init__((primary["host"], int(primary["port"])))
        primary["host"], primary["port"] = "127.0.0.1", self.port

    def joined(self, client, server):
        for s in (client, server):
            if s.family != socket.AF_UNIX:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections.append(Connection(client, server, self))

    def set_trap(self, marker, before, happens):
        """`happens()` is called, once, as the first message with `marker` comes: before the server gets it, or when it has answered.

        The message, or its answer, is lost with the connection, unless it returns True.
        """
        self.trap = (marker.encode(), before, happens)

    def springs(self, data, before):
        """before: does it end the connection? Else: what is to happen when the answer comes, or None."""
        with self.lock:
            if not self.trap or self.trap[0] not in data or self.trap[1] != before:
                return None
            happens, self.trap = self.trap[2], None
        return happens() is not True if before else happens

    def turns(self, marker):
        """Of all connections on which `marker` was ever said."""
        return sum(c.turns for c in self.connections if marker.encode() in c.said)

    def close(self):
        self.listener.close()
        for c in self.connections:
            _end(c.client)


def _unix(folder, port):
    s = socket.socket(socket.AF_UNIX)
    s.connect(f"{folder}/.s.PGSQL.{port}")
    return s
