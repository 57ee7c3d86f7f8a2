"""What the integration tests drive: throw-away clusters, a weir.toml for them, and the proxy as a child process.

Nothing here asserts about Weir; it starts, stops and asks. Every wait has a deadline.
"""
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import psycopg2
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLUSTERS = str(ROOT / "scripts/lib/clusters")
SCHEMA = ROOT / "scripts/demo.d"
PG_BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
sys.path.insert(0, str(ROOT / "scripts/lib"))
import weir_toml  # noqa: E402: found by the path above
from processes import SLOW, asks_for_log_in, clean_environment, end, gone, spawn, wait_for  # noqa: E402

BUCKETS = weir_toml.BUCKETS
MONTHS = [f"2024{m:02}" for m in range(1, 7)]  # the partitions of `works` that every test may use


def _load_clusters():
    loader = importlib.machinery.SourceFileLoader("weir_clusters", CLUSTERS)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


free_port = _load_clusters().free_port


def binary(name):
    """The built program: $WEIR_BIN (for weir), $WEIR_BIN_DIR, build/ci, build/release, in this order."""
    candidates = [os.environ.get("WEIR_BIN")] if name == "weir" else []
    candidates += [str(pathlib.Path(d) / name) for d in (os.environ.get("WEIR_BIN_DIR"), ROOT / "build/ci/bin", ROOT / "build/release/bin") if d]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(f"{name} is not built (looked at {candidates}); run scripts/test")


def sanitizer():
    """What weir was built with: "asan", "tsan" ..., or "" for none."""
    needed = subprocess.run(["objdump", "-p", binary("weir")], text=True, capture_output=True, check=True).stdout
    found = re.search(r"NEEDED\s+lib([a-z]*san)[.]so", needed)
    return found[1] if found else ""


def psql(conninfo, sql, *arguments, check=True, password="", timeout=60):
    """Runs `sql` in psql (unaligned, tuples only) and returns its output; check=False returns the finished process."""
    command = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", *arguments, "-d", conninfo]
    done = subprocess.run(command, input=sql, text=True, capture_output=True, timeout=timeout * SLOW, env=clean_environment(PGPASSWORD=password))
    if not check:
        return done
    if done.returncode != 0:
        raise AssertionError(f"psql failed on {sql!r}:\n{done.stdout}{done.stderr}")
    return done.stdout.rstrip("\n")


class Clusters:
    """PostgreSQL clusters of scripts/lib/clusters: `shards[i]["primary"]`, `shards[i]["replicas"][j]` (see there)."""

    def __init__(self, *arguments):
        self.directory = tempfile.mkdtemp(prefix="wc", dir="/tmp")
        self._call("start", *arguments, "--owner-pid", str(os.getpid()))   # chooses other ports where some were taken meanwhile

    def _call(self, command, *arguments):
        done = subprocess.run([CLUSTERS, command, "--dir", self.directory, *arguments], text=True, capture_output=True, timeout=180 * SLOW)
        if done.returncode != 0:
            raise RuntimeError(f"clusters {command}: {done.stderr}")

    @property
    def shards(self):
        return json.loads(pathlib.Path(self.directory, "clusters.json").read_text())["shards"]

    def node(self, shard=0, node="primary"):
        found = self.shards[shard]
        return found["primary"] if node == "primary" else found["replicas"][int(node)]

    def conninfo(self, shard=0, node="primary", dbname="app"):
        at = self.node(shard, node)
        return f"host={at['host']} port={at['port']} dbname={dbname} user=postgres"

    def psql(self, sql, shard=0, node="primary", dbname="app", **more):
        """Asks PostgreSQL itself, not Weir."""
        return psql(self.conninfo(shard, node, dbname), sql, **more)

    def everywhere(self, sql):
        """The answer of every shard's primary, in the order of the shards."""
        return [self.psql(sql, shard=i) for i in range(len(self.shards))]

    def kill(self, shard=0, node="primary"):
        """kill -9 of the whole node."""
        self._call("kill", "--shard", str(shard), "--node", str(node))

    def restart(self, shard=0, node="primary"):
        self._call("restart", "--shard", str(shard), "--node", str(node))

    def promote(self, shard=0, node="0"):
        self._call("promote", "--shard", str(shard), "--node", str(node))

    def await_replication(self, seconds=15.0):
        """Returns when every live replica has replayed all its primary had written at the call."""
        for i, shard in enumerate(self.shards):
            position = self.psql("select pg_current_wal_lsn()", shard=i)
            for j in range(len(shard["replicas"])):
                caught_up = f"select coalesce(pg_last_wal_replay_lsn() >= '{position}', false)"
                wait_for(lambda: self.psql(caught_up, shard=i, node=j) == "t", f"replica {j} of shard {i}", seconds)

    def stop(self):
        self._call("stop")
        shutil.rmtree(self.directory, ignore_errors=True)


def established(port):
    """The local ports of this machine's open TCP connections to `port`; one that its client has closed is none."""
    ends = [line.split()[1:4] for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    number = lambda end: int(end.rpartition(":")[2], 16)
    return {number(here) for here, there, state in ends if number(there) == port and state == "01"}


def live_servers(clusters, condition="true", databases=("app",)):
    """The pids of Weir's server connections to `databases` (not its monitor's) as PostgreSQL sees them, in order.

    What Weir has closed does not count, though PostgreSQL may not have come to end its process yet.
    """
    names = ", ".join(f"'{name}'" for name in databases)
    asked = (f"select pid, client_port from pg_stat_activity where datname in ({names}) and backend_type = 'client backend' "
             f"and application_name <> 'weir maintenance' and pid <> pg_backend_pid() and ({condition}) order by pid")
    found = [line.split("|") for line in clusters.psql(asked).splitlines()]
    open_ports = established(int(clusters.node()["port"]))
    return [pid for pid, port in found if int(port or -1) in open_ports]


def month_partitions(months):
    """DDL of the partitions of `works` for months written YYYYMM."""
    statements = []
    for month in months:
        year, number = int(month[:4]), int(month[4:])
        following = f"{year + number // 12}-{number % 12 + 1:02}-01"
        statements.append(f"CREATE TABLE IF NOT EXISTS works_{month} PARTITION OF works "
                          f"FOR VALUES FROM ('{year}-{number:02}-01 00:00+00') TO ('{following} 00:00+00');")
    return "\n".join(statements)


def months_around_now():
    now = time.gmtime()
    count = now.tm_year * 12 + now.tm_mon - 1
    return [f"{n // 12}{n % 12 + 1:02}" for n in (count - 1, count, count + 1)]


def create_demo_schema(clusters):
    """users, orders, works (monthly), countries on every shard; settings_unlisted on the home shard."""
    ddl = (SCHEMA / "schema.sql").read_text() + month_partitions(MONTHS + months_around_now())
    for i in range(len(clusters.shards)):
        clusters.psql(ddl, shard=i)
    clusters.psql((SCHEMA / "home.sql").read_text(), shard=0)
    clusters.await_replication()


# --- weir.toml ---------------------------------------------------------------------------------


def database_toml(clusters, **options):
    """One [[database]] over all shards of `clusters`; options as in scripts/lib/weir_toml.py database()."""
    return weir_toml.database(clusters.shards, **options)


# --- the proxy ---------------------------------------------------------------------------------


class Weir:
    """`weir serve` as a child process.

    weir = Weir([database_toml(clusters)], pool={"size": 5}, users={"alice": "secret"}); weir.start(); ...; weir.stop()
    `directory` holds weir.toml, users.toml, weir.log; `socket_dir` its unix socket. The port is free at construction.
    """

    def __init__(self, databases, users=None, **sections):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ww", dir="/tmp"))
        self.socket_dir = str(self.directory)
        self.port = free_port()
        self.config = self.directory / "weir.toml"
        self.log_file = self.directory / "weir.log"
        self.process = None
        if users is not None:
            (self.directory / "users.toml").write_text(weir_toml.users(users))
            sections["auth"] = {"method": "scram-sha-256", "users_file": "users.toml", **sections.get("auth", {})}
        self.write_config(databases, **sections)

    def write_config(self, databases, **sections):
        backend = {"io": os.environ["WEIR_TEST_IO"]} if "WEIR_TEST_IO" in os.environ else {}
        sections["listen"] = {"unix_socket_dir": self.socket_dir, **backend, **sections.get("listen", {})}
        self.config.write_text(weir_toml.settings(self.port, databases, **sections))

    # --- life

    @property
    def pid(self):
        return self.process.pid

    def start(self, ready=True, seconds=20.0):
        """Starts the proxy; with `ready`, returns only when it answers on its port (start-up message included)."""
        self.process = spawn([binary("weir"), "serve", "-c", str(self.config)], self.log_file)
        if ready:
            wait_for(self._answers, f"weir on port {self.port}", seconds)
        return self

    def _answers(self):
        if self.process.poll() is not None:
            if "WEIR_TEST_IO" in os.environ and "io_uring does not work here" in self.log():
                self.process = None
                pytest.skip("io_uring does not work here")
            raise RuntimeError(f"weir ended with status {self.process.returncode}:\n{self.log()}")
        return asks_for_log_in(self.port)

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_log(self, text, seconds=15.0):
        return wait_for(lambda: text in self.log(), f"{text!r} in weir's log", seconds)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, check=True, seconds=45.0):
        """SIGTERM; with `check`, fails unless it ends in time (clients may stay for drain_timeout) with status 0. Removes the directory."""
        try:
            status = self.terminate(seconds)
            if check and status != 0:
                raise AssertionError(f"weir ended with status {status}:\n{self.log()[-8000:]}")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def terminate(self, seconds=45.0):
        """SIGTERM, and its exit status: killed (-9) if it does not end in time."""
        return 0 if self.process is None else end(self.process, seconds)

    # --- asking it

    def dsn(self, dbname="app", user="postgres", password=None, unix=False, **more):
        """A libpq connection string; more: sslmode, application_name, ..."""
        parts = {"host": self.socket_dir if unix else "127.0.0.1", "port": self.port, "dbname": dbname, "user": user, **more}
        if password is not None:
            parts["password"] = password
        return " ".join(f"{k}='{v}'" for k, v in parts.items())

    def psql(self, sql, *arguments, dbname="app", user="postgres", password=None, unix=False, **more):
        return psql(self.dsn(dbname, user, password, unix), sql, *arguments, **more)

    def connect(self, autocommit=True, **where):
        """A psycopg2 connection."""
        connection = psycopg2.connect(self.dsn(**where))
        connection.autocommit = autocommit
        return connection

    def await_clients(self, count=0, dbname="app", user="weir", password=None):
        """Returns when `count` clients of `dbname` are connected: a client that went is known to be gone a little later."""
        rows = lambda: [r for r in self.console("SHOW CLIENTS", user, password) if r["database"] == dbname]
        wait_for(lambda: len(rows()) == count, f"{count} clients of {dbname}")

    def console(self, command, user="weir", password=None):
        """Rows of the console's answer as dictionaries, e.g. console("SHOW POOLS")."""
        connection = self.connect(dbname="weir", user=user, password=password)
        try:
            with connection.cursor() as cursor:
                cursor.execute(command)
                if cursor.description is None:
                    return []
                names = [column.name for column in cursor.description]
                return [dict(zip(names, row)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def pgbench(self, *arguments, dbname="app", user="postgres", password="", timeout=120):
        """Runs pgbench against the proxy and returns its finished process (status 0: no client aborted)."""
        command = [str(PG_BIN / "pgbench"), "-n", "-h", "127.0.0.1", "-p", str(self.port), "-U", user, *arguments, dbname]
        return subprocess.run(command, text=True, capture_output=True, timeout=timeout * SLOW, env=clean_environment(PGPASSWORD=password))

    def descriptors(self):
        """How many file descriptors the proxy has open: for leaks."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextlib.contextmanager
def running(databases, **options):
    """A started Weir, stopped (with its checks) at the end of the with statement."""
    weir = Weir(databases, **options)
    try:
        yield weir.start()
    finally:
        weir.stop()


def weirctl(*arguments, check=True, timeout=60):
    """Runs weirctl and returns its finished process."""
    done = subprocess.run([binary("weirctl"), *arguments], text=True, capture_output=True, timeout=timeout * SLOW, env=clean_environment())
    if check and done.returncode != 0:
        raise AssertionError(f"weirctl {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done
