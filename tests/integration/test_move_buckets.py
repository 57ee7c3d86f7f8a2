"""Buckets move from one shard to another behind a running proxy, with clients at work (scripts/move-buckets, weirctl move-buckets)."""
import subprocess
import threading
import time

import psycopg2
import pytest

import harness

MOVED = "(hashint8extended({}, 0) & 4095) BETWEEN 0 AND 299"


@pytest.fixture(scope="module")
def shards():
    found = harness.Clusters("--shards", "2", "--replicas", "1", "--max-connections", "60")
    try:
        harness.create_demo_schema(found)
        yield found
    finally:
        found.stop()


@pytest.fixture
def proxy(shards):
    """A proxy over empty tables, map version 1."""
    started = harness.Weir([harness.database_toml(shards)])
    try:
        for i in range(2):
            shards.psql("DROP SCHEMA IF EXISTS weir CASCADE; TRUNCATE users, orders, works", shard=i)
        harness.weirctl("init", "-c", str(started.config))
        shards.await_replication()
        started.start()
        connection = started.connect()
        with connection.cursor() as cursor:
            for user in range(1, 301):
                cursor.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (user, f"n{user}"))
        connection.close()
        yield started
    finally:
        started.stop()


def move(proxy, *arguments, buckets="0-299", admin=True, check=True):
    command = [str(harness.ROOT / "scripts/move-buckets"), "-c", str(proxy.config), "--from", "s0", "--to", "s1", "--buckets", buckets]
    if admin:
        command += ["--admin", f"host=127.0.0.1 port={proxy.port} user=weir"]
    environment = harness.clean_environment(WEIR_BIN_DIR=str(harness.pathlib.Path(harness.binary("weirctl")).parent))
    done = subprocess.run([*command, *arguments], text=True, capture_output=True, timeout=120, env=environment)
    if check and done.returncode != 0:
        raise AssertionError(f"move-buckets ended with {done.returncode}:\n{done.stdout}{done.stderr}\nweir:\n{proxy.log()[-4000:]}")
    return done


def counts(shards, table="users", key="id"):
    return [int(n) for n in shards.everywhere(f"SELECT count(*) FROM {table} WHERE {MOVED.format(key)}")]


class Writers(threading.Thread):
    """One client that writes orders of `users` through the proxy, over and over, and reads each back."""

    def __init__(self, proxy, seed, users):
        super().__init__(daemon=True)
        self.proxy, self.seed, self.users = proxy, seed, users
        self.over = threading.Event()
        self.written, self.failures, self.wrong, self.longest = [], [], [], 0.0

    def run(self):
        connection = self.proxy.connect()
        n = 0
        while not self.over.is_set():
            n += 1
            key = self.users[(n * 7 + self.seed) % len(self.users)]
            order = self.seed * 1_000_000 + n
            begun = time.monotonic()
            try:
                with connection.cursor() as cursor:
                    cursor.execute("INSERT INTO orders (id, user_id, product) VALUES (%s, %s, 'p')", (order, key))
                    self.written.append((order, key))
                    cursor.execute("SELECT count(*) FROM orders WHERE user_id = %s AND id = %s", (key, order))
                    if cursor.fetchone()[0] != 1:
                        self.wrong.append((order, key))
            except psycopg2.Error as e:
                self.failures.append(str(e))
                connection.close()
                connection = self.proxy.connect()
            self.longest = max(self.longest, time.monotonic() - begun)
        connection.close()


def moved_users(shards):
    return [int(user) for user in shards.psql(f"SELECT id FROM users WHERE {MOVED.format('id')}").split()]


def run_writers_over_a_move(proxy, shards, writers):
    """Starts them, moves the buckets, and compares what they wrote with what is there."""
    before = counts(shards)
    assert before[0] > 0 and before[1] == 0
    for writer in writers:
        writer.start()
    try:
        harness.wait_for(lambda: all(len(w.written) > 50 for w in writers), "writers to be at work")
        move(proxy)
        seen = [len(w.written) for w in writers]
        harness.wait_for(lambda: all(len(w.written) > n + 50 for w, n in zip(writers, seen)), "writers to go on")
    finally:
        for writer in writers:
            writer.over.set()
        for writer in writers:
            writer.join(20)
    assert [w.failures for w in writers] == [[]] * len(writers)
    assert [w.wrong for w in writers] == [[]] * len(writers)
    assert counts(shards) == [0, before[0]]
    assert counts(shards, "orders", "user_id")[0] == 0
    written = sorted(order for w in writers for order, _ in w.written)
    found = sorted(int(line) for text in shards.everywhere("SELECT id FROM orders") for line in text.split())
    assert found == written


def test_clients_see_a_pause_and_no_error_and_no_row_is_lost_or_doubled(proxy, shards):
    run_writers_over_a_move(proxy, shards, [Writers(proxy, seed, range(1, 301)) for seed in range(1, 5)])
    assert proxy.psql("SELECT name FROM users WHERE id = 17") == "n17"


def test_a_statement_that_waited_out_the_move_runs_where_its_rows_are_now(proxy, shards):
    """Every writer is stopped by PAUSE with a statement for a moved bucket at hand, planned with the old map."""
    users = moved_users(shards)
    run_writers_over_a_move(proxy, shards, [Writers(proxy, seed, users) for seed in range(1, 9)])


def test_every_user_is_found_through_the_proxy_after_the_move(proxy, shards):
    move(proxy)
    connection = proxy.connect()
    with connection.cursor() as cursor:
        for user in range(1, 301):
            cursor.execute("SELECT name FROM users WHERE id = %s", (user,))
            assert cursor.fetchall() == [(f"n{user}",)]
    connection.close()
    assert shards.everywhere("SELECT map_version FROM weir.identity") == ["2", "2"]


def test_a_dry_run_shows_the_rows_and_changes_nothing(proxy, shards):
    before, text = counts(shards), proxy.config.read_text()
    done = move(proxy, "--dry-run", admin=False)
    assert f'"public"."users": {before[0]} rows' in done.stdout
    assert counts(shards) == before and proxy.config.read_text() == text


def test_a_proxy_with_the_old_file_is_refused(proxy, shards):
    old = proxy.config.read_text()
    move(proxy)
    stale = harness.Weir([harness.database_toml(shards)])
    try:
        stale.config.write_text(old.replace(f"port = {proxy.port}", f"port = {stale.port}").replace(proxy.socket_dir, stale.socket_dir))
        stale.start()
        done = harness.psql(stale.dsn(), "SELECT name FROM users WHERE id = 1", check=False)
        assert done.returncode != 0 and "map version" in done.stderr + stale.log()
    finally:
        stale.stop(check=False)


def test_a_failing_copy_leaves_the_old_state_serving(proxy, shards):
    shards.psql("ALTER TABLE users ADD CONSTRAINT stop CHECK (id > 1000000) NOT VALID", shard=1)
    try:
        before, text = counts(shards), proxy.config.read_text()
        done = move(proxy, check=False)
        assert done.returncode == 1 and "everything was undone" in done.stderr, done.stdout + done.stderr
        assert counts(shards) == before and proxy.config.read_text() == text
        assert shards.everywhere("SELECT map_version FROM weir.identity") == ["1", "1"]
        assert proxy.psql("SELECT name FROM users WHERE id = 17") == "n17"   # resumed
    finally:
        shards.psql("ALTER TABLE users DROP CONSTRAINT stop", shard=1)


def test_a_transaction_that_stays_open_makes_the_move_give_up(proxy, shards):
    connection = proxy.connect(autocommit=False)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE users SET name = name WHERE id = 17")
        done = move(proxy, "--pause-timeout", "2", check=False)
        assert done.returncode == 1 and "PAUSE" in done.stderr, done.stdout + done.stderr
        cursor.execute("UPDATE users SET name = 'still here' WHERE id = 17")
    connection.commit()
    connection.close()
    assert proxy.psql("SELECT name FROM users WHERE id = 17") == "still here"
    assert proxy.psql("INSERT INTO users (id, name) VALUES (1001, 'new') RETURNING name") == "new"
