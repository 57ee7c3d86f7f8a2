"""For the tests of LISTEN: clients that listen, and what they have heard."""
import itertools
import struct

from wire_client import WireClient

numbers = itertools.count(1)


class Notification:
    def __init__(self, message):
        (self.pid,) = struct.unpack_from("!I", message.body)
        self.channel, self.payload = (part.decode(errors="replace") for part in message.body[4:].split(b"\0")[:2])


class Listener(WireClient):
    """A client of Weir; what comes between its answers is kept in `notices` and `notifications`."""

    def __init__(self, weir, *channels, **more):
        self.notifications, self.notices = [], []
        super().__init__(weir.port, **{"timeout": 30, **more})
        for channel in (*channels, "mark"):
            assert self.query(f"listen {channel}").tags == ["LISTEN"]

    def read(self):
        message = super().read()
        if message is not None and message.kind == "A":
            self.notifications.append(Notification(message))
        if message is not None and message.kind == "N":
            self.notices.append(message.fields)
        return message

    def heard(self, clusters, shard=0):
        """The payloads since the last call, of all that was committed at that shard before this one."""
        mark = f"mark {next(numbers)}"
        clusters.psql(f"notify mark, '{mark}'", shard=shard)
        while not any(n.payload == mark for n in self.notifications):
            assert self.read() is not None, "the connection ended"
        at = next(i for i, n in enumerate(self.notifications) if n.payload == mark)
        found, self.notifications = self.notifications[:at], self.notifications[at + 1:]
        return [n.payload for n in found if n.channel != "mark"]

    def await_warning(self, text="was lost and is back"):
        while not any(text in n["M"] for n in self.notices):
            assert self.read() is not None, "the connection ended"
        return next(n for n in self.notices if text in n["M"])


def hub_pids(clusters, shard=0):
    """The listening connections at a shard."""
    found = clusters.psql("select pid from pg_stat_activity where application_name = 'weir listen' order by 1", shard=shard)
    return [int(pid) for pid in found.split()]


def no_client_keeps_a_server(weir):
    return all(row["link"] in ("", None) for row in weir.console("SHOW CLIENTS") if row["database"] == "app")


