"""The event loop's backend under real traffic: large results and COPY both ways, many clients on two workers that share few servers (which
move between them), clients that go without a word. $WEIR_TEST_IO chooses the backend (harness.py)."""
import contextlib
import hashlib
import io
import os
import socket

import pytest

import harness
from test_plain_pool import in_parallel
from wire_client import WireClient, query

ROWS = 60_000
MEGABYTE = "select string_agg(md5(i::text), '' order by i) from generate_series(1, 32768) i"


@pytest.fixture(scope="module")
def weir(plain_clusters):
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False)
    with harness.running([database], listen={"workers": 2}, pool={"size": 3, "max_pinned": 3}) as proxy:
        yield proxy


def expected_megabyte():
    return "".join(hashlib.md5(str(i).encode()).hexdigest() for i in range(1, 32769))


def test_the_backend_is_the_one_asked_for(weir):
    """Without a word (auto) io_uring, or epoll and the reason."""
    wanted = os.environ.get("WEIR_TEST_IO")
    log = weir.log_file.read_text()
    if wanted is None:
        wanted = "epoll" if 'no io_uring for listen.io = "auto": ' in log else "io_uring"
    assert f"network I/O by {wanted}" in log


def test_large_results_come_whole_to_many_clients_at_once(weir):
    expected = expected_megabyte()

    def read(_):
        with weir.connect() as connection, connection.cursor() as cursor:
            for _ in range(3):
                cursor.execute(MEGABYTE)
                assert cursor.fetchone()[0] == expected

    in_parallel(8, read)


def test_rows_of_all_lengths_around_what_is_passed_on_uncopied(weir):
    lengths = [n + d for n in (8 << 10, 64 << 10, 128 << 10, 192 << 10, 1 << 20) for d in (-70, -1, 0, 1, 70)]
    with weir.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select n, repeat(chr(97 + i::int %% 26), n) from unnest(%s) with ordinality u(n, i)", (lengths,))
        assert cursor.fetchall() == [(n, chr(97 + (i + 1) % 26) * n) for i, n in enumerate(lengths)]


LARGE = 64 << 20   # more than two sockets hold: a receive buffer may grow to 32 MB (net.ipv4.tcp_rmem)


def await_blocked_servers(clusters, count):
    """`count` servers wait for somebody to read their results."""
    blocked = "select count(*) from pg_stat_activity where wait_event = 'ClientWrite'"
    harness.wait_for(lambda: clusters.psql(blocked) == str(count), f"{count} servers that cannot send")


def test_large_rows_of_clients_that_do_not_read_stay_apart(weir, plain_clusters):
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(WireClient(weir.port)) for _ in range(3)]
        for i, client in enumerate(slow):
            client.send(query(f"select repeat('{i}' || 'abcdefg', {LARGE // 8})"))
        await_blocked_servers(plain_clusters, len(slow))
        for i, client in enumerate(slow):
            (row,) = client.read_to_ready().rows
            assert row[0] == f"{i}abcdefg" * (LARGE // 8)
            assert client.value(f"select {i}") == str(i)


def test_a_row_that_its_server_does_not_finish_gets_nothing_added(weir, plain_clusters):
    with WireClient(weir.port) as client:
        client.send(query(f"select repeat('x', {LARGE})"))
        await_blocked_servers(plain_clusters, 1)
        plain_clusters.psql("select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'ClientWrite'")
        assert client.at_end().kinds == "T"
        assert client.buffer[:1] == b"D"
        assert client.buffer[11:].strip(b"x") == b""   # after the row's header and the value's length
    with WireClient(weir.port) as client:
        assert client.value("select 42") == "42"


def test_clients_that_vanish_within_a_large_row_leave_the_pool_whole(weir, plain_clusters):
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(WireClient(weir.port)).send(query(f"select repeat('x', {LARGE})"))
            await_blocked_servers(plain_clusters, 3)
    assert in_parallel(3, lambda i: weir.psql(f"select {i}")) == ["0", "1", "2"]
    harness.wait_for(lambda: all(s["state"] == "idle" for s in weir.console("show servers")), "servers that nobody uses")


def test_small_statements_of_many_clients_get_their_own_answers(weir):
    def ask(i):
        with weir.connect() as connection, connection.cursor() as cursor:
            for n in range(200):
                cursor.execute("select %s, %s", (i, n))
                assert cursor.fetchone() == (i, n)

    in_parallel(12, ask)


def test_copy_in_and_out_of_what_no_buffer_holds(weir):
    text = "".join(f"{i}\t{hashlib.md5(str(i).encode()).hexdigest() * 4}\n" for i in range(ROWS))

    def copy(i):
        with weir.connect(autocommit=False) as connection, connection.cursor() as cursor:
            cursor.execute("create temp table copied (i int, t text) on commit drop")
            cursor.copy_from(io.StringIO(text), "copied")
            out = io.StringIO()
            cursor.copy_to(out, "copied")
            assert out.getvalue() == text

    in_parallel(3, copy)


def test_clients_that_vanish_leave_the_pool_whole(weir):
    def vanish(_):
        connection = weir.connect()
        with connection.cursor() as cursor:
            cursor.execute("select 1")
        descriptor = socket.socket(fileno=os.dup(connection.fileno()))
        descriptor.shutdown(socket.SHUT_RDWR)
        descriptor.close()
        connection.close()

    for _ in range(5):
        in_parallel(10, vanish)
    with weir.connect() as connection, connection.cursor() as cursor:
        cursor.execute("select 42")
        assert cursor.fetchone() == (42,)
