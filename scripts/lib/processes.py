"""Starts, watches and ends the proxy, for the demo, the tests and the bench. Standard library only."""
import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import time

SLOW = float(os.environ.get("WEIR_SLOW", "1"))  # deadlines are this much longer: for builds with a sanitizer


def clean_environment(**more):
    """The environment without PG* variables: they would leak into libpq."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**environment, "LC_ALL": "C.UTF-8", "TZ": "UTC", **more}


def wait_for(condition, what, seconds=15.0, pause=0.05):
    """Returns the first true value of condition(); raises TimeoutError, naming `what`, after the deadline."""
    seconds *= SLOW
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(pause)


def startup_message(user, database):
    """https://www.postgresql.org/docs/15/protocol-message-formats.html, StartupMessage"""
    body = struct.pack("!I", 196608)
    body += b"".join(part.encode() + b"\0" for part in ("user", user, "database", database)) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def log_in(port, user, database, timeout=5.0):
    """A socket on which a client without a password is ready for queries; ConnectionError otherwise."""
    client = socket.create_connection(("127.0.0.1", port), timeout=timeout)
    try:
        client.sendall(startup_message(user, database))
        received = b""
        while not received.endswith(b"Z\0\0\0\x05I"):
            piece = client.recv(4096)
            if not piece or received.startswith(b"E"):
                raise ConnectionError(f"port {port} refused {user}: {(received + piece).decode(errors='replace')!r}")
            received += piece
        return client
    except BaseException:
        client.close()
        raise


def asks_for_log_in(port, database="weir", user="weir"):
    """Whether a proxy or server on `port` answers a start-up message with an authentication request."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as client:
        client.sendall(startup_message(user, database))
        return client.recv(1) == b"R"
    return False


def gone(pid):
    """Whether a process has ended; a zombie has."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed script leaves no proxy behind


def spawn(command, log, user=None):
    """A child process of its own session (Ctrl-C reaches only the script) that dies with the calling thread.

    `user`: the password entry of whom it runs as, for what refuses to be root.
    """
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    with open(log, "ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                                env=clean_environment(), preexec_fn=_die_with_parent, **identity)


def end(process, seconds=15.0):
    """SIGTERM, then SIGKILL after the deadline. Returns the exit status (-9: it did not end by itself)."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(seconds * SLOW)
        process.kill()
    return process.wait(10)
