"""A relay in front of one server that stops at a message, before or behind it."""
import contextlib
import socket
import threading

import relay


class Gate(relay.Forwarder):
    """In front of one server. stop_at(text): the message that has it (or, `behind`: its answer) waits for open(), and then is passed on or lost."""

    def __init__(self, node):
        self.marker, self.behind, self.passes = None, False, False
        self.reached, self.opened = threading.Event(), threading.Event()
        super().__init__((node["host"], int(node["port"])))

    def stop_at(self, text, behind):
        self.reached.clear()
        self.opened.clear()
        self.marker, self.behind = text.encode(), behind

    def open(self, passes=False):
        self.marker, self.passes = None, passes
        self.opened.set()

    def close(self):
        self.open()
        self.listener.close()

    def joined(self, client, server):
        held = threading.Event()
        threading.Thread(target=self._pass, args=(client, server, self._forth, held), daemon=True).start()
        threading.Thread(target=self._pass, args=(server, client, self._back, held), daemon=True).start()

    def _pass(self, source, target, may_pass, held):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not may_pass(data, held):
                    break
                target.sendall(data)
        for s in (source, target):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def _forth(self, data, held):
        if self.marker is None or self.marker not in data:
            return True
        if self.behind:
            held.set()
            return True
        self.reached.set()
        self.opened.wait(60)
        return self.passes

    def _back(self, _, held):
        if not held.is_set():
            return True
        held.clear()
        self.reached.set()
        self.opened.wait(60)
        return self.passes
