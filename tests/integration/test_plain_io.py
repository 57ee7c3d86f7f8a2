"""The event loop's backend under real traffic: large results and COPY both ways, many clients on two workers that share few servers (which
move between them), clients that go without a word. $WEIR_TEST_IO chooses the backend (harness.py)."""
import hashlib
import io
import os
import socket

import pytest

import harness
from test_plain_pool import in_parallel

ROWS = 60_000
MEGABYTE = "select string_agg(md5(i::text), '' order by i) from generate_series(1, 32768) i"


@pytest.fixture(scope="module")
def weir(plain_clusters):
    database = harness.database_toml(plain_clusters, sharded=False, replicas=False)
    proxy = harness.Weir([database], listen={"workers": 2}, pool={"size": 3, "max_pinned": 3})
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


def expected_megabyte():
    return "".join(hashlib.md5(str(i).encode()).hexdigest() for i in range(1, 32769))


def test_the_backend_is_the_one_asked_for(weir):
    wanted = os.environ.get("WEIR_TEST_IO")
    if wanted is None:
        pytest.skip("no backend is asked for")
    assert f"network I/O by {wanted}" in weir.log_file.read_text()


def test_large_results_come_whole_to_many_clients_at_once(weir):
    expected = expected_megabyte()

    def read(_):
        with weir.connect() as connection, connection.cursor() as cursor:
            for _ in range(3):
                cursor.execute(MEGABYTE)
                assert cursor.fetchone()[0] == expected

    in_parallel(8, read)


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
