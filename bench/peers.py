"""The programs bench/compare measures, each between pgbench and the same PostgreSQL.

direct        PostgreSQL itself
pgbouncer     transaction mode, trust
weir          pooling only: a plain database, one worker (weir-2w: two workers; weir-epoll, weir-uring: network I/O by
              that, instead of --io's choice)
weir-routed   a sharded database of two shards, which are two databases of that PostgreSQL: with literals (simple
              protocol) or parameters (extended, prepared)
"""
import json
import os
import pathlib
import pwd
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLUSTERS = str(ROOT / "scripts/lib/clusters")
sys.path.insert(0, str(ROOT / "scripts/lib"))
import weir_toml  # noqa: E402: found by the path above
from processes import asks_for_log_in, clean_environment, end, spawn, wait_for  # noqa: E402

NAMES = ("direct", "pgbouncer", "weir", "weir-2w", "weir-routed", "weir-epoll", "weir-uring")
DEFAULT_NAMES = NAMES[:5]
IO = {"weir-epoll": "epoll", "weir-uring": "io_uring"}
ROWS = 100_000
TABLE = "CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84))"
FILL = f"INSERT INTO pgbench_accounts SELECT i, 1, i % 1000, '' FROM generate_series(1, {ROWS}) i"


class Server:
    """The one PostgreSQL: database `app` with all rows, `shard0` and `shard1` with those of their buckets."""

    def __init__(self, folder, max_connections):
        self.folder = str(folder)
        command = [CLUSTERS, "start", "--dir", self.folder, "--max-connections", str(max_connections), "--set", "shared_buffers=128MB",
                   "--set", "autovacuum=off", "--owner-pid", str(os.getpid())]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.shard = json.loads(pathlib.Path(folder, "clusters.json").read_text())["shards"][0]
        self.port = self.shard["primary"]["port"]
        self._fill()

    def _fill(self):
        self.psql("app", f"{TABLE}; {FILL}; VACUUM ANALYZE")
        for i in range(2):
            self.psql("postgres", f"CREATE DATABASE shard{i}")
            mine = f"(hashint8extended(i, 0) & {weir_toml.BUCKETS - 1}) / {weir_toml.BUCKETS // 2} = {i}"
            self.psql(f"shard{i}", f"{TABLE}; {FILL} WHERE {mine}; VACUUM ANALYZE")

    def psql(self, database, sql):
        for statement in sql.split(";"):  # VACUUM wants to be alone
            subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d",
                            database, "-c", statement], check=True, env=clean_environment())

    def shards(self):
        """The two databases, as shards of clusters.json."""
        return [{**self.shard, "name": f"s{i}", "database": f"shard{i}"} for i in range(2)]

    def stop(self):
        subprocess.run([CLUSTERS, "stop", "--dir", self.folder], check=False)


def version_of(pgbouncer):
    """(1, 18) of "PgBouncer 1.18.0"."""
    said = subprocess.run([pgbouncer, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if not found:
        raise SystemExit(f"bench/compare: {pgbouncer} --version says {said!r}; --pgbouncer wants a PgBouncer")
    return int(found[1]), int(found[2])


class Peer:
    """One program that answers pgbench on `port`. `pid` is None for PostgreSQL itself, whose CPU is not measured."""

    def __init__(self, name, port, process=None, socket_dir=None):
        self.name = name
        self.port = port
        self.process = process
        self.socket_dir = socket_dir

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def stop(self):
        if self.process:
            end(self.process)


def await_answer(process, name, port, log, socket_dir=None):
    def answers():
        if process.poll() is not None:
            raise SystemExit(f"bench/compare: {name} ended with status {process.returncode}: {pathlib.Path(log).read_text()[-2000:]}")
        return asks_for_log_in(port, "app", "postgres")

    try:
        wait_for(answers, f"{name} on port {port}")
    except BaseException:
        end(process)
        raise
    return Peer(name, port, process, socket_dir)


class Starter:
    """Starts peers over one Server, with `pool` server connections for each."""

    def __init__(self, server, folder, pgbouncer, weir, free_port, io="auto"):
        self.server = server
        self.folder = pathlib.Path(folder)
        self.pgbouncer_binary = pgbouncer
        self.weir_binary = weir
        self.free_port = free_port
        self.io = io

    def start(self, name, pool):
        if name == "direct":
            return Peer(name, self.server.port)
        return self._pgbouncer(pool) if name == "pgbouncer" else self._weir(name, pool)

    def _files(self, name):
        return pathlib.Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    @staticmethod
    def _sockets(files):
        folder = files / "sockets"
        folder.mkdir()
        folder.chmod(0o777)
        files.chmod(0o755)
        return str(folder)

    def _pgbouncer(self, pool):
        files, port = self._files("pgbouncer"), self.free_port()
        prepared = "max_prepared_statements = 200\n" if version_of(self.pgbouncer_binary) >= (1, 21) else ""
        (files / "users.txt").write_text('"postgres" ""\n')
        (files / "pgbouncer.ini").write_text(
            f"[databases]\napp = host=127.0.0.1 port={self.server.port} dbname=app\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {files}/sockets\nauth_type = trust\n"
            f"auth_file = {files}/users.txt\npool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = 20000\n"
            f"log_connections = 0\nlog_disconnections = 0\nignore_startup_parameters = extra_float_digits\n{prepared}")
        files.chmod(0o755)
        sockets = self._sockets(files)
        user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None  # PgBouncer refuses to be root
        process = spawn([self.pgbouncer_binary, str(files / "pgbouncer.ini")], files / "log", user=user)
        return await_answer(process, "pgbouncer", port, files / "log", sockets)

    def _weir(self, name, pool):
        files, port = self._files(name), self.free_port()
        sockets = self._sockets(files)
        sharded = name == "weir-routed"
        shards = self.server.shards() if sharded else [self.server.shard]
        database = weir_toml.database(shards, sharded=sharded, tables=({"name": "pgbench_accounts", "key": "aid"},))
        size = pool // len(shards)  # both shards are on one server: as many server connections as the other peers
        (files / "weir.toml").write_text(weir_toml.settings(
            port, [database], listen={"workers": 2 if name == "weir-2w" else 1, "max_clients": 20000, "unix_socket_dir": sockets,
                                      "io": IO.get(name, self.io)},
            pool={"size": size, "max_per_backend": pool}, log={"level": "warning"}))
        if sharded:
            weirctl = pathlib.Path(self.weir_binary).with_name("weirctl")
            subprocess.run([weirctl, "init", "-c", files / "weir.toml"], check=True, stdout=subprocess.DEVNULL, env=clean_environment())
        process = spawn([self.weir_binary, "serve", "-c", str(files / "weir.toml")], files / "log")
        return await_answer(process, name, port, files / "log", sockets)
