"""Measures one peer: CPU, throughput and latency of one pgbench run; memory with idle clients."""
import contextlib
import dataclasses
import glob
import os
import pathlib
import subprocess
import tempfile
import threading
import time

from peers import clean_environment
from processes import log_in

PGBENCH = "/usr/lib/postgresql/15/bin/pgbench"
HERE = pathlib.Path(__file__).parent
# Mode: pgbench's -M, its script, and whether clients come by a unix socket (servers are TCP as ever).
MODES = {
    "simple": ("simple", "select.sql", False),
    "extended": ("extended", "select.sql", False),
    "prepared": ("prepared", "select.sql", False),
    "unix": ("simple", "select.sql", True),
    "large": ("simple", "large.sql", False),
}
TICK = os.sysconf("SC_CLK_TCK")
SETTLE = 0.5  # seconds after the first transaction that are left out


@dataclasses.dataclass
class Run:
    """One pgbench run. CPU in microseconds a transaction (None where there is no proxy), latencies in milliseconds."""
    tps: float
    p50: float
    p99: float
    user: float | None
    system: float | None

    @property
    def cpu(self):
        return None if self.user is None else self.user + self.system


def cpu_seconds(pid):
    """(user, system) of all threads of a process, ended ones included."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[11]) / TICK, int(fields[12]) / TICK


class CpuSampler(threading.Thread):
    """Notes (time of day, user, system) of a process many times a second, so that a window can be cut afterwards."""

    def __init__(self, pid):
        super().__init__()
        self.pid = pid
        self.samples = []
        self.finished = threading.Event()

    def run(self):
        while not self.finished.wait(0.05):
            self.samples.append((time.time(), *(cpu_seconds(self.pid) if self.pid else (0, 0))))

    def window(self, first, last):
        """The first sample after `first` and the last one before `last`."""
        inside = [s for s in self.samples if first <= s[0] <= last]
        return (inside[0], inside[-1]) if inside else None


def read_log(prefix):
    """(time of day in seconds, latency in microseconds) of every transaction in pgbench's logs."""
    transactions = []
    for name in glob.glob(f"{prefix}.*"):
        with open(name) as f:
            for line in f:
                fields = line.split()
                transactions.append((int(fields[4]) + int(fields[5]) / 1e6, int(fields[2])))
    return transactions


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def pgbench(peer, mode, clients, seconds):
    """One run of the select-only script with about `seconds` of steady state; SystemExit if a client failed."""
    duration = seconds + clients // 250  # pgbench's -T counts the logins too
    for _ in range(3):
        run = evaluate(peer, *run_once(peer, mode, clients, duration), seconds / 2)
        if run:
            return run
        duration += 2 * seconds
    raise SystemExit(f"bench/compare: {clients} clients log in to {peer.name} too slowly to measure; use more --seconds")


def run_once(peer, mode, clients, duration):
    """(transactions of pgbench's log, CpuSampler)"""
    with tempfile.TemporaryDirectory(prefix="wb", dir="/tmp") as folder:
        prefix = os.path.join(folder, "log")
        protocol, script, by_unix = MODES[mode]
        host = peer.socket_dir if by_unix else "127.0.0.1"
        command = [PGBENCH, "-n", "-h", host, "-p", str(peer.port), "-U", "postgres", "-M", protocol, "-c", str(clients), "-j", "2",
                   "-T", str(duration), "-f", str(HERE / script), "-l", "--log-prefix", prefix, "app"]
        sampler = CpuSampler(peer.pid)
        sampler.start()
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=duration * 2 + 120)
        finally:
            sampler.finished.set()
            sampler.join()
        if done.returncode != 0:
            raise SystemExit(f"bench/compare: pgbench -M {mode} -c {clients} through {peer.name} failed:\n{done.stderr[-3000:]}")
        return read_log(prefix), sampler


def evaluate(peer, transactions, sampler, least):
    """The Run of the steady state (logins, first and last moments left out), or None if that was under `least` seconds."""
    if not transactions:
        return None
    begin, finish = min(t[0] for t in transactions), max(t[0] for t in transactions)
    window = sampler.window(begin + SETTLE, finish - 0.1)
    if not window or window[1][0] - window[0][0] < least:
        return None
    first, last = window
    latencies = sorted(t[1] for t in transactions if first[0] < t[0] <= last[0])
    count = len(latencies)
    user, system = ((last[i] - first[i]) * 1e6 / count if peer.pid else None for i in (1, 2))
    return Run(count / (last[0] - first[0]), percentile(latencies, 0.5) / 1e3, percentile(latencies, 0.99) / 1e3, user, system)


def pss_kib(pid):
    """Proportional set size: what the process would free by ending."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Pss:"))


def query(client, sql):
    """Runs one simple query on a raw socket and reads to ReadyForQuery."""
    body = sql.encode() + b"\0"
    client.sendall(b"Q" + (len(body) + 4).to_bytes(4, "big") + body)
    received = b""
    while not received.endswith(b"Z\0\0\0\x05I"):
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError("the connection ended within a query")
        received += piece


def idle_memory(peer, clients):
    """(KiB with no client, KiB with that many idle clients that have run one query each)."""
    before = pss_kib(peer.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            query(stack.enter_context(log_in(peer.port, "postgres", "app")), "SELECT 1")
        time.sleep(0.5)
        return before, pss_kib(peer.pid)
