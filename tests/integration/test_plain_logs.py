"""Weir's log: who came and went and why, slow queries without their literals, one JSON object a line, and a reader that does not read."""
import json
import os
import re
import signal
import socket
import subprocess

import pytest

import harness
from processes import clean_environment


@pytest.fixture(scope="module")
def database(plain_clusters):
    return harness.database_toml(plain_clusters, sharded=False, replicas=False)


def lines(weir, message):
    return [line for line in weir.log().splitlines() if f" {message} " in line]


def field(line, name):
    found = re.search(rf' {name}=("((?:[^"\\]|\\.)*)"|\S+)', line)
    assert found, (name, line)
    return found.group(2) if found.group(1).startswith('"') else found.group(1)


def departure(weir, user):
    found = harness.wait_for(lambda: [line for line in lines(weir, "client disconnected") if field(line, "user") == user], f"{user} to be gone")
    return found[-1]


def test_coming_and_going_is_told_with_the_reason(database, start_weir):
    weir = start_weir([database])
    weir.connect(user="polite", application_name="my app").close()
    arrived = harness.wait_for(lambda: [line for line in lines(weir, "client connected") if field(line, "user") == "polite"], "the line")
    assert [field(arrived[0], n) for n in ("database", "application", "address", "tls")] == ["app", "my app", "127.0.0.1", "off"]
    assert field(departure(weir, "polite"), "reason") == "client_closed"
    rude = weir.connect(user="rude")
    socket.socket(fileno=os.dup(rude.fileno())).shutdown(socket.SHUT_RDWR)
    assert field(departure(weir, "rude"), "reason") == "client_lost"
    stranger = harness.psql(weir.dsn(dbname="nowhere", user="stranger"), "select 1", check=False)
    assert stranger.returncode != 0
    turned_away = harness.wait_for(lambda: [line for line in lines(weir, "client not let in") if field(line, "user") == "stranger"], "the line")
    assert field(turned_away[0], "reason") == "login_failed" and "nowhere" in field(turned_away[0], "detail")
    waiting = weir.connect(user="stays")
    weir.process.send_signal(signal.SIGINT)
    weir.process.send_signal(signal.SIGTERM)
    weir.process.wait(30)
    assert field(departure(weir, "stays"), "reason") == "admin"
    waiting.close()


def test_what_is_not_wanted_is_not_logged(database, start_weir):
    weir = start_weir([database], log={"connections": False, "disconnections": False, "slow_query": "0"})
    weir.psql("select pg_sleep(0.6)")
    weir.psql("select 1")
    weir.terminate()
    assert "client connected" not in weir.log() and "client disconnected" not in weir.log() and "slow query" not in weir.log()


def test_a_slow_query_is_told_without_its_literals(database, start_weir):
    weir = start_weir([database], log={"slow_query": "100ms"})
    weir.psql("select pg_sleep(0.2), 'hunter2' as word, 4711 as number /* hunter3 */")
    line = harness.wait_for(lambda: lines(weir, "slow query"), "the line")[0]
    assert field(line, "text") == "select pg_sleep(?), ? as word, ? as number"
    assert float(field(line, "duration_ms")) >= 200
    assert field(line, "database") == "app" and field(line, "user") == "postgres"
    assert "hunter" not in weir.log() and "4711" not in weir.log()


def test_slow_queries_are_rate_limited_and_counted(database, start_weir):
    weir = start_weir([database], log={"slow_query": "1ms"}, listen={"workers": 1})
    done = subprocess.run(["psql", "-X", "-q", "-d", weir.dsn()], input="select pg_sleep(0.002);\n" * 200 + "select pg_sleep(1.1);\nselect pg_sleep(0.01);\n", text=True,
                          capture_output=True, timeout=60, env=clean_environment())
    assert done.returncode == 0, done.stderr
    harness.wait_for(lambda: len(lines(weir, "slow query")) + sum(int(field(s, "others_not_logged")) for s in lines(weir, "slow query")) >= 202,
                     "every slow query to be told or counted")
    assert len(lines(weir, "slow query")) < 60


def test_json_is_one_object_a_line_whatever_a_client_calls_itself(database, start_weir):
    weir = start_weir([database], log={"format": "json", "slow_query": "100ms"})
    name = 'x"\n{"message":"forged"}\t\\ \x01 \u20ac'
    weir.connect(application_name=name.replace("\\", "\\\\")).close()
    with socket.create_connection(("127.0.0.1", weir.port)) as raw:  # not UTF-8
        body = b"\0\3\0\0user\0b\xff\xfeb\0database\0no\"where\0\0"
        raw.sendall((len(body) + 4).to_bytes(4, "big") + body)
        raw.recv(1000)
    harness.wait_for(lambda: "client not let in" in weir.log() and "client disconnected" in weir.log(), "the lines")
    weir.terminate()
    objects = [json.loads(line) for line in weir.log().splitlines()]
    assert all({"time", "level", "message"} <= set(o) for o in objects)
    assert not [o for o in objects if o["message"] == "forged"]
    arrived = [o for o in objects if o["message"] == "client connected" and o["user"] == "postgres"]
    assert "forged" in arrived[0]["application"] and "\n" in arrived[0]["application"]
    assert [o for o in objects if o.get("user") == "b\ufffd\ufffdb"]


def test_a_stats_line_comes_every_interval(database, start_weir):
    weir = start_weir([database], log={"stats_interval": "1s"})
    line = weir.wait_log("stats: ") and harness.wait_for(lambda: re.findall(r"stats: .*", weir.log()), "a line")[0]
    assert re.fullmatch(r"stats: \d+ xacts/s, \d+ queries/s, in \d+ B/s, out \d+ B/s, xact \d+ us, query \d+ us, wait \d+ us", line)


def test_server_connections_are_told(database, start_weir):
    weir = start_weir([database])
    weir.psql("select 1")
    weir.console("RECONNECT")
    harness.wait_for(lambda: re.search(r"server connection opened \(pid \d+\)", weir.log()), "the opening")
    harness.wait_for(lambda: re.search(r"server connection closed: renewed \(pid \d+, age \d+ s\)", weir.log()), "the closing")


def test_a_reader_of_the_log_that_does_not_read_stops_nobody(database, start_weir, tmp_path):
    weir = start_weir([database], ready=False, log={"level": "info"})
    weir.terminate()
    reader, writer = os.pipe()
    try:
        weir.process = subprocess.Popen([harness.binary("weir"), "serve", "-c", str(weir.config)], stderr=writer, env=clean_environment())
        harness.wait_for(weir._answers, "weir")
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 4096)  # the pipe is full now
        except BlockingIOError:
            pass
        os.set_blocking(writer, True)
        for _ in range(50):  # each logs that it came and went
            assert weir.psql("select 1") == "1"
        weir.process.send_signal(signal.SIGTERM)
        assert weir.process.wait(30) == 0
    finally:
        os.close(reader)
        os.close(writer)
