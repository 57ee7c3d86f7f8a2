"""CancelRequests: on their way to a server, and between proxies behind one address."""
import contextlib
import socket
import struct
import threading

import pytest

import harness
from wire_client import WireClient, query

PASSED_ON = 1 << 31


@pytest.fixture(scope="module")
def database(plain_clusters):
    return harness.database_toml(plain_clusters, sharded=False, replicas=False)


def runs(clusters, what):
    return clusters.psql(f"select count(*) from pg_stat_activity where state = 'active' and query like '%{what}%' and pid <> pg_backend_pid()") != "0"


def peer(number, address):
    return f'[[peer]]\nid = {number}\naddress = "{address}"\n\n'


def send_cancel(port, key):
    """A CancelRequest to whom it may concern; returns when that closes."""
    pid, secret = key
    secret = struct.pack("!I", secret) if isinstance(secret, int) else secret
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        s.sendall(struct.pack("!III", 12 + len(secret), 80877102, pid) + secret)
        s.recv(1)


class Forwarder(contextlib.AbstractContextManager):
    """TCP to `to`; while `swallow` is set, new connections lead nowhere."""

    def __init__(self, to):
        self.to, self.swallow, self.sockets = to, False, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                if self.swallow:
                    continue
                server = socket.create_connection(self.to)
                self.sockets.append(server)
                for a, b in ((client, server), (server, client)):
                    threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    @staticmethod
    def copy(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)

    def __exit__(self, *_):
        self.listener.close()
        for s in self.sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)   # wakes who reads from it
            s.close()


def test_a_server_whose_cancel_was_lost_serves_nobody_else(start_weir, plain_clusters, database):
    node = plain_clusters.node()
    with Forwarder((node["host"], node["port"])) as way:
        weir = start_weir([database.replace(f"port={node['port']}", f"port={way.port}")], pool={"size": 1, "cancel_wait_timeout": "300ms"},
                          health={"interval": "1h"})
        with WireClient(weir.port) as c, WireClient(weir.port) as other:
            pid = c.value("select pg_backend_pid()")
            with WireClient(node["port"]) as holder:   # of what the statement waits for
                holder.query("begin; select pg_advisory_xact_lock(4711)")
                c.send(query("select pg_advisory_xact_lock(4711)"))
                harness.wait_for(lambda: runs(plain_clusters, "lock(4711)"), "the statement")
                way.swallow = True
                send_cancel(weir.port, c.key)
                holder.query("commit")
            assert not c.read_to_ready().errors, "it ran to its end"
            weir.wait_log("a cancel request was not delivered")
            way.swallow = False
            assert other.value("select pg_backend_pid()") != pid


@pytest.mark.parametrize("by_socket", [False, True])
def test_a_proxy_passes_on_cancels_for_its_peers_clients(start_weir, plain_clusters, database, by_socket):
    one = start_weir([database], listen={"peer_id": 1})
    address = f"{one.socket_dir}/.s.PGSQL.{one.port}" if by_socket else f"127.0.0.1:{one.port}"
    two = start_weir([database, peer(1, address)], listen={"peer_id": 2})
    with WireClient(one.port) as c, WireClient(two.port) as bystander:
        c.send(query("select pg_sleep(61)"))
        bystander.send(query("select pg_sleep(1), 'unharmed'"))
        harness.wait_for(lambda: runs(plain_clusters, "pg_sleep(61)"), "the statement")
        pid, secret = c.key
        send_cancel(two.port, (pid, secret[:-1] + b"?") if isinstance(secret, bytes) else (pid, secret ^ 1))   # not its key
        send_cancel(two.port, c.key)
        assert c.read_to_ready().errors == ["57014"]
        assert bystander.read_to_ready().rows == [["", "unharmed"]]
        send_cancel(one.port, bystander.key)   # one knows no peer 2: ignored
        assert bystander.value("select 1") == "1"


def test_what_was_passed_on_once_is_not_passed_on_again(start_weir, database):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(10)
        weir = start_weir([database, peer(3, f"127.0.0.1:{stranger.getsockname()[1]}")], listen={"peer_id": 1})

        def heard():
            client, _ = stranger.accept()
            with client:
                client.settimeout(10)
                asked = client.recv(64)
                if struct.unpack_from("!II", asked) == (8, 80877103):
                    client.sendall(b"N")   # no TLS
                    asked = client.recv(64)
                return struct.unpack("!IIII", asked)

        key = (3 << 23 | 77, 1234567)
        send_cancel(weir.port, key)
        assert heard() == (16, 80877102, key[0] | PASSED_ON, key[1])
        send_cancel(weir.port, (key[0] | PASSED_ON, key[1]))   # as from a proxy that takes this one for number 3
        send_cancel(weir.port, (3 << 23 | 78, 1))
        assert heard()[2] == (3 << 23 | 78) | PASSED_ON, "the second of the two: the first went nowhere"
