"""admin.http: /metrics counts what was done, /healthz and /readyz tell the truth, and the listener is bounded."""
import signal
import socket
import subprocess

import psycopg2
import pytest

import harness
from metrics_client import get, scrape
from wire_client import WireClient, bind, cancel_request, execute, parse, query, sync

BACKEND = {"database": "app", "role": "primary"}


def observed(plain_clusters, start_weir, **options):
    port = harness.free_port()
    options["admin"] = {"http": f"127.0.0.1:{port}", **options.get("admin", {})}
    text = harness.database_toml(plain_clusters, sharded=False, replicas=options.pop("replicas", False))
    weir = start_weir([text], **options)
    weir.http = port
    return weir


@pytest.fixture
def weir(plain_clusters, start_weir):
    return observed(plain_clusters, start_weir)


def count(metrics, name):
    return metrics.sum(f"weir_backend_{name}_duration_seconds_count", **BACKEND)


def test_counters_equal_what_was_done(weir):
    before = scrape(weir.http)
    connection = weir.connect()
    with connection.cursor() as cursor:
        for _ in range(7):
            cursor.execute("select 1")
    connection.autocommit = False
    with connection.cursor() as cursor:  # BEGIN and the statement come apart: three requests, one transaction
        cursor.execute("select 2")
        connection.commit()
    connection.close()
    after = harness.wait_for(lambda: (m := scrape(weir.http)).sum("weir_clients", database="app") == 0 and m, "the client to be gone")
    assert count(after, "query") - count(before, "query") == 10
    assert count(after, "transaction") - count(before, "transaction") == 8
    assert count(after, "wait") - count(before, "wait") == after.sum("weir_backend_assignments_total", **BACKEND) - before.sum(
        "weir_backend_assignments_total", **BACKEND)
    assert after.sum("weir_client_logins_total", database="app") - before.sum("weir_client_logins_total", database="app") == 1
    assert after.sum("weir_client_disconnections_total", database="app", reason="client_closed") == 1
    for way in ("received", "sent"):
        for of in ("client", "backend"):
            name = f"weir_{of}_{way}_bytes_total"
            assert after.sum(name, database="app") > (before.sum(name, database="app") if before.all(name) else 0), name


def test_a_histogram_s_buckets_ascend_and_its_sum_is_the_time_it_took(weir):
    weir.psql("select pg_sleep(0.25)")
    m = scrape(weir.http)
    for name in ("query", "transaction", "wait"):
        family = f"weir_backend_{name}_duration_seconds"
        buckets = sorted((float(labels["le"]), v) for labels, v in m.all(family + "_bucket", **BACKEND))
        assert [v for _, v in buckets] == sorted(v for _, v in buckets)
        assert buckets[-1] == (float("inf"), m.sum(family + "_count", **BACKEND))
    below = {float(labels["le"]): v for labels, v in m.all("weir_backend_query_duration_seconds_bucket", **BACKEND)}
    assert below[0.2] == below[float("inf")] - 1, "the slow one is above 200 ms"
    assert m.sum("weir_backend_query_duration_seconds_sum", **BACKEND) >= 0.25
    assert m.sum("weir_backend_transaction_duration_seconds_sum", **BACKEND) >= 0.25


def test_query_time_does_not_hold_the_time_between_the_statements_of_a_transaction(weir):
    connection = weir.connect()
    with connection.cursor() as cursor:
        cursor.execute("begin")
        subprocess.run(["sleep", "0.3"], check=True)
        cursor.execute("select 1")
        cursor.execute("commit")
    connection.close()
    m = scrape(weir.http)
    assert m.sum("weir_backend_transaction_duration_seconds_sum", **BACKEND) >= 0.3
    assert m.sum("weir_backend_query_duration_seconds_sum", **BACKEND) < m.sum("weir_backend_transaction_duration_seconds_sum", **BACKEND) - 0.25
    row = weir.console("SHOW STATS")[0]
    assert int(row["total_xact_time"]) - int(row["total_query_time"]) >= 250_000


def test_errors_are_told_by_sqlstate_class_and_by_who_gave_them(weir):
    connection = weir.connect()
    for sql in ("select 1/0", "select 1/0", "select * from no_such_table"):
        with pytest.raises(psycopg2.Error), connection.cursor() as cursor:
            cursor.execute(sql)
    connection.close()
    m = scrape(weir.http)
    assert m.sum("weir_backend_errors_total", sqlstate_class="22", **BACKEND) == 2
    assert m.sum("weir_backend_errors_total", sqlstate_class="42", **BACKEND) == 1
    assert m.sum("weir_errors_total", database="app") == 0


def test_a_load_and_a_scrape_agree(weir):
    weir.pgbench("-i", "-s", "1", "-I", "dtg")
    before = scrape(weir.http)
    done = weir.pgbench("-S", "-c", "8", "-j", "2", "-t", "200", "-M", "prepared")
    assert done.returncode == 0, done.stderr
    after = harness.wait_for(lambda: (m := scrape(weir.http)).sum("weir_clients", database="app") == 0 and m, "pgbench to be gone")
    # 1600 transactions; each of 8 clients prepares once, and pgbench itself asks a few things first.
    assert 1600 <= count(after, "query") - count(before, "query") <= 1630
    assert 1600 <= count(after, "transaction") - count(before, "transaction") <= 1630
    assert after.sum("weir_client_logins_total") - before.sum("weir_client_logins_total") == 9


def test_connections_and_clients_are_told_by_state(weir):
    idle, busy = weir.connect(), weir.connect(autocommit=False)
    with idle.cursor() as cursor:
        cursor.execute("select 1")
    with busy.cursor() as cursor:
        cursor.execute("select 1")
    # A client is idle once it has its answer, not before.
    m = harness.wait_for(lambda: (m := scrape(weir.http)).sum("weir_clients", database="app", state="idle") == 1 and m, "one to be idle")
    assert m.sum("weir_clients", database="app", state="idle_in_transaction") == 1
    assert m.sum("weir_backend_connections", state="active", **BACKEND) == 1
    busy.rollback()
    busy.autocommit = True
    with busy.cursor() as cursor:
        cursor.execute("create temp table t ()")
    # What the statement left is asked of the server once the client has its answer.
    m = harness.wait_for(lambda: (m := scrape(weir.http)).sum("weir_backend_connections", state="pinned", **BACKEND) == 1 and m, "the server to be kept")
    assert m.sum("weir_backend_connections", state="active", **BACKEND) == 0
    assert m.sum("weir_client_slots_used") == 2
    connections = m.sum("weir_backend_connections", **BACKEND)
    assert m.sum("weir_server_connections_used") == connections == m.sum("weir_backend_logins_total", **BACKEND)
    assert m.sum("weir_server_connections_max") == 40
    idle.close()
    busy.close()


def test_what_a_client_asks_for_is_counted_by_kind(weir):
    names = ("cancel_requests", "binds", "client_parses", "server_parses", "prepared_hits", "local_queries", "plan_cache_hits", "plan_cache_misses")
    of_app = lambda m, name: sum(v for _, v in m.all(f"weir_{name}_total", database="app"))
    with WireClient(weir.port) as c:
        before = scrape(weir.http)
        assert c.ask(parse("select 40 + $1::int", "s") + bind(2, name="s") + execute() + sync()).rows == [["42"]]
        for _ in range(3):
            assert c.ask(bind(1, name="s") + execute() + sync()).rows == [["41"]]
        assert c.query("").kinds == "IZ"
        with WireClient(weir.port, log_in=False) as canceller:
            canceller.send(cancel_request(*c.key))
            canceller.at_end()
        for _ in range(2):
            c.query("select 'never asked before'")
        after = scrape(weir.http)
        grown = {name: of_app(after, name) - of_app(before, name) for name in names}
    assert grown.pop("plan_cache_hits") >= 1 and grown.pop("plan_cache_misses") >= 2
    assert grown == {"cancel_requests": 1, "binds": 4, "client_parses": 1, "server_parses": 1, "prepared_hits": 4, "local_queries": 1}
    assert after.sum("weir_workers") == 2 and after.sum("weir_workers_silent") == 0
    assert sorted(v for _, v in after.all("weir_backend_breaker_state", **BACKEND)) == [0, 0, 1]
    assert after.sum("weir_backend_breaker_state", state="closed", **BACKEND) == 1


def test_why_server_connections_end_is_told(plain_clusters, weir):
    closed = lambda reason: scrape(weir.http).sum("weir_backend_connections_closed_total", reason=reason, **BACKEND)
    with WireClient(weir.port) as c:
        pid = c.value("select pg_backend_pid()")
        plain_clusters.psql(f"select pg_terminate_backend({pid})")
        harness.wait_for(lambda: closed("closed_by_server") == 1, "the end of an idle one")
        c.query("select 1")
        weir.console("RECONNECT")
        harness.wait_for(lambda: closed("renewed") == 1, "the renewed one's end")
        listeners = lambda: scrape(weir.http).all("weir_listen_connections", database="app")
        c.query("listen news")
        assert [v for _, v in listeners()] == [1]
        version, epoch = (scrape(weir.http).sum(name) for name in ("weir_topology_version", "weir_catalog_epoch"))
        c.query("create table if not exists counted (i int)")
        harness.wait_for(lambda: scrape(weir.http).sum("weir_catalog_epoch") != epoch, "the catalog with the table")
        assert scrape(weir.http).sum("weir_topology_version") > version
        c.query("drop table counted")


def test_logins_that_fail_are_counted(plain_clusters, start_weir):
    port = harness.free_port()
    text = harness.database_toml(plain_clusters, sharded=False, replicas=False, backend="user=nobody_here", maintenance="user=postgres")
    weir = start_weir([text], admin={"http": f"127.0.0.1:{port}"})
    with WireClient(weir.port) as c:
        assert c.greeting.errors == ["28000"]
    assert scrape(port).sum("weir_backend_login_failures_total", **BACKEND) >= 1
    assert scrape(port).sum("weir_backend_logins_total", **BACKEND) == 0


def test_the_queue_and_its_timeout_are_seen(plain_clusters, start_weir):
    weir = observed(plain_clusters, start_weir, pool={"size": 1, "wait_timeout": "1s"})
    holder, waiter = weir.connect(autocommit=False), weir.connect()
    with holder.cursor() as cursor:
        cursor.execute("select 1")
    with WireClient(weir.port) as queued:
        queued.send(query("select 1"))
        m = harness.wait_for(lambda: (m := scrape(weir.http)).sum("weir_backend_clients_waiting", **BACKEND) == 1 and m, "the client in the queue")
        assert 0 <= m.sum("weir_backend_longest_wait_seconds", **BACKEND) <= 1 * harness.SLOW
        assert queued.read_to_ready().errors == ["53300"]
    with pytest.raises(psycopg2.Error), waiter.cursor() as cursor:
        cursor.execute("select 1")
    m = scrape(weir.http)
    assert m.sum("weir_backend_clients_waiting", **BACKEND) == 0
    assert m.sum("weir_timeouts_total", database="app", kind="wait") == 2
    assert m.sum("weir_errors_total", database="app", sqlstate_class="53") == 2
    assert m.sum("weir_backend_wait_duration_seconds_sum", **BACKEND) >= 1
    holder.close()
    waiter.close()


def test_a_timeout_that_ends_a_client_counts_once(plain_clusters, start_weir):
    weir = observed(plain_clusters, start_weir, pool={"query_timeout": "100ms"})
    client = weir.connect()
    with pytest.raises(psycopg2.Error), client.cursor() as cursor:
        cursor.execute("select pg_sleep(30)")
    assert scrape(weir.http).sum("weir_timeouts_total", database="app", kind="query") == 1
    client.close()


def test_ready_says_which_primary_is_gone_and_comes_back(start_weir):
    clusters = harness.Clusters("--shards", "1", "--replicas", "0")
    try:
        weir = observed(clusters, start_weir, health={"interval": "100ms", "timeout": "500ms"})
        harness.wait_for(lambda: get(weir.http, "/readyz") == (200, "ready\n"), "Weir to be ready")
        clusters.kill()
        status, body = harness.wait_for(lambda: (a := get(weir.http, "/readyz"))[0] == 503 and a, "/readyz to say 503")
        assert "database app: shard " in body and "primary" in body and "not usable" in body
        assert get(weir.http, "/healthz") == (200, "alive\n")
        assert scrape(weir.http).sum("weir_backend_up", **BACKEND) == 0
        clusters.restart()
        harness.wait_for(lambda: get(weir.http, "/readyz")[0] == 200, "/readyz to say 200 again")
        assert scrape(weir.http).sum("weir_backend_up", **BACKEND) == 1
    finally:
        clusters.stop()


def test_draining_is_not_ready(weir):
    holder = weir.connect(autocommit=False)
    with holder.cursor() as cursor:
        cursor.execute("select 1")
    weir.process.send_signal(signal.SIGTERM)
    status, body = harness.wait_for(lambda: (a := get(weir.http, "/readyz"))[0] == 503 and a, "/readyz to say 503")
    assert "draining" in body
    assert get(weir.http, "/healthz")[0] == 200
    holder.close()


def test_a_paused_database_is_ready_and_says_so(weir):
    weir.console("PAUSE app")
    assert get(weir.http, "/readyz") == (200, "ready\ndatabase app: paused\n")
    assert scrape(weir.http).sum("weir_database_paused", database="app") == 1
    weir.console("RESUME app")
    assert get(weir.http, "/readyz") == (200, "ready\n")


def test_reloads_are_counted_by_outcome(weir):
    weir.console("RELOAD")
    good = weir.config.read_text()
    weir.config.write_text(good + "\n[nonsense]\n")
    with pytest.raises(psycopg2.Error):
        weir.console("RELOAD")
    weir.config.write_text(good)
    m = scrape(weir.http)
    assert m.sum("weir_reloads_total", result="applied") == 1
    assert m.sum("weir_reloads_total", result="refused") == 1


def test_pages_and_what_is_none(weir):
    status, body = get(weir.http, "/")
    assert status == 200 and "primary" in body and "/metrics" in body
    assert get(weir.http, "/nothing")[0] == 404
    assert get(weir.http, "/../../etc/passwd")[0] in (400, 404)
    with socket.create_connection(("127.0.0.1", weir.http), timeout=10) as s:
        s.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 405")


def test_no_password_is_on_any_page(plain_clusters, start_weir):
    plain_clusters.psql("drop role if exists keeper; create role keeper superuser login password 'S3cret-word'")
    text = harness.database_toml(plain_clusters, sharded=False, replicas=False, backend="user=keeper password=S3cret-word")
    port = harness.free_port()
    weir = start_weir([text], admin={"http": f"127.0.0.1:{port}"}, users={"alice": "Al1ce-word"})
    for page in ("/", "/metrics", "/healthz", "/readyz"):
        _, body = get(port, page)
        assert "S3cret" not in body and "Al1ce" not in body and "alice" not in body
    assert "S3cret" not in weir.log() and "Al1ce" not in weir.log()


def test_slow_and_huge_requests_do_not_stop_the_pages_or_the_proxy(weir):
    slow = [socket.create_connection(("127.0.0.1", weir.http), timeout=30) for _ in range(3)]
    for s in slow:
        s.sendall(b"GET /metrics HTTP/1.1\r\nX: ")  # and no more
    assert get(weir.http, "/healthz", timeout=30)[0] == 200
    with socket.create_connection(("127.0.0.1", weir.http), timeout=30) as huge:
        huge.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n")
        assert not huge.recv(100).startswith(b"HTTP/1.1 200")
    assert weir.psql("select 1") == "1"
    for s in slow:
        s.close()


def test_a_port_that_is_taken_ends_the_start_with_a_reason(plain_clusters, start_weir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = harness.database_toml(plain_clusters, sharded=False, replicas=False)
        weir = start_weir([text], ready=False, admin={"http": f"127.0.0.1:{taken.getsockname()[1]}"})
        assert weir.process.wait(20) == 1
        assert "admin.http: cannot listen on" in weir.log()
        weir.process = None
