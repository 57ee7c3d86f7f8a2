"""A TCP relay in front of a PostgreSQL server that counts turns: how often somebody began to speak to the server after it had answered."""
import copy
import socket
import threading


class Connection:
    def __init__(self, client, server):
        self.client, self.server = client, server
        self.turns, self.said, self.answered = 0, b"", True
        for target in (self._forth, self._back):
            threading.Thread(target=target, daemon=True).start()

    def _forth(self):
        while data := _receive(self.client):
            if self.answered:
                self.turns, self.answered = self.turns + 1, False
            self.said += data
            self.server.sendall(data)
        _end(self.server)

    def _back(self):
        while data := _receive(self.server):
            self.answered = True
            self.client.sendall(data)
        _end(self.client)


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


class Relay:
    """Stands in front of the first shard's primary of `clusters`; `shards` is the same description with the relay in its place."""

    def __init__(self, clusters):
        self.shards = copy.deepcopy(clusters.shards)
        primary = self.shards[0]["primary"]
        self.to = (primary["host"], int(primary["port"]))
        self.listener = socket.create_server(("127.0.0.1", 0))
        primary["host"], primary["port"] = "127.0.0.1", self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.to) if not self.to[0].startswith("/") else _unix(*self.to)
            for s in (client, server):
                if s.family != socket.AF_UNIX:
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.append(Connection(client, server))

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
