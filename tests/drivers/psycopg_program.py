"""psycopg 3: server-side parameters, its own prepared statements, pipelines, binary COPY."""
import datetime
import decimal
import threading

import psycopg
from psycopg.types.json import Jsonb

import report
from report import KEY, SCRAM, TRUST, expect, expect_error


def connect(url=TRUST, autocommit=True, **more):
    return psycopg.connect(url, autocommit=autocommit, **more)


def rows(connection, sql, parameters=None, **more):
    return connection.execute(sql, parameters, **more).fetchall()


def version():
    return psycopg.__version__


def connect_trust():
    expect(rows(connect(), "SELECT 1"), [(1,)])


def connect_scram():
    expect(rows(connect(SCRAM, sslmode="disable"), "SELECT 1"), [(1,)])


def tls():
    connection = connect(SCRAM, sslmode="require")
    expect(connection.pgconn.ssl_in_use, True)
    expect(rows(connection, "SELECT 1"), [(1,)])


def channel_binding():
    expect(rows(connect(SCRAM, sslmode="require", channel_binding="require"), "SELECT 1"), [(1,)])


def simple_query():
    """ClientCursor sends no parameters: a Query message."""
    connection = connect(cursor_factory=psycopg.ClientCursor)
    connection.execute("INSERT INTO items (user_id, id, name) VALUES (%s, 1, 'one')", (KEY,))
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id = 1", (KEY,)), [("one",)])


def parameters_text():
    connection = connect()
    connection.execute("INSERT INTO items (user_id, id, name) VALUES (%t, %t, %t)", (KEY, 2, "it's 'two' \\"))
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %t AND id = %t", (KEY, 2)), [("it's 'two' \\",)])


def parameters_binary():
    connection = connect()
    connection.execute("INSERT INTO items (user_id, id, name) VALUES (%b, %b, %b)", (KEY, 3, "three"))
    expect(rows(connection, "SELECT id, name FROM items WHERE user_id = %b AND id = %b", (KEY, 3), binary=True), [(3, "three")])


def prepared():
    def client(i):
        connection = connect(autocommit=False)
        for _ in range(report.TRANSACTIONS):
            expect(rows(connection, f"SELECT name, {i} FROM items WHERE user_id = %s AND id = %s", (KEY, 1), prepare=True), [("one", i)])
            connection.commit()

    report.on_threads(client)


def pipeline():
    connection = connect()
    with connection.pipeline():
        for n in range(100, 150):
            connection.execute("INSERT INTO items (user_id, id, name) VALUES (%s, %s, 'batch')", (KEY, n))
        counted = connection.execute("SELECT count(*) FROM items WHERE user_id = %s AND name = 'batch'", (KEY,))
    expect(counted.fetchall(), [(50,)])


def transaction():
    connection = connect(autocommit=False)
    connection.execute("INSERT INTO items (user_id, id, name) VALUES (%s, 200, 'kept')", (KEY,))
    with connection.transaction():
        connection.execute("INSERT INTO items (user_id, id, name) VALUES (%s, 201, 'undone')", (KEY,))
        raise_rollback(connection)
    connection.commit()
    connection.execute("DELETE FROM items WHERE user_id = %s AND id = 200", (KEY,))
    connection.rollback()
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id BETWEEN 200 AND 201", (KEY,)), [("kept",)])


def raise_rollback(connection):
    """Leaves the innermost transaction() block, which is a savepoint, by rolling it back."""
    raise psycopg.Rollback


def copy_in():
    connection = connect()
    with connection.cursor() as cursor:
        with cursor.copy("COPY items (user_id, id, name) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int8", "int8", "text"])
            for n in range(300, 400):
                copy.write_row((KEY, n, "copied"))
    expect(rows(connection, "SELECT count(*) FROM items WHERE user_id = %s AND name = 'copied'", (KEY,)), [(100,)])


def copy_out():
    with connect().cursor() as cursor, cursor.copy(f"COPY (SELECT id, name FROM items WHERE user_id = {KEY} AND id = 1) TO STDOUT") as copy:
        expect(list(copy.rows()), [("1", "one")])


def listen_notify():
    listener = connect()
    listener.execute(f"LISTEN channel_{KEY}")
    connect().execute(f"NOTIFY channel_{KEY}, 'hello'")
    found = []
    waiting = threading.Thread(target=lambda: found.append(next(listener.notifies())), daemon=True)
    waiting.start()
    waiting.join(15)
    expect([(n.channel, n.payload) for n in found], [(f"channel_{KEY}", "hello")])


def cancel():
    connection = connect()
    ended = threading.Event()

    def until_ended():   # a cancel that comes before its statement does nothing
        while not ended.wait(0.1):
            connection.cancel()

    canceller = threading.Thread(target=until_ended)
    canceller.start()
    expect_error("57014", psycopg.Error, lambda: rows(connection, "SELECT pg_sleep(60)"))
    ended.set()
    canceller.join()
    expect(rows(connection, "SELECT 1"), [(1,)])


def statement_timeout():
    connection = connect()
    connection.execute("SET statement_timeout = '100ms'")
    expect_error("57014", psycopg.Error, lambda: rows(connection, "SELECT pg_sleep(60)"))
    expect(rows(connection, "SELECT 1"), [(1,)])


def settings():
    first, other = connect(), connect()
    first.execute("SET search_path = pg_catalog, public")
    first.execute("SET TimeZone = 'Asia/Tokyo'")
    expect(rows(other, "SHOW TimeZone")[0][0] != "Asia/Tokyo", True)
    expect(rows(first, "SHOW search_path"), [("pg_catalog, public",)])
    expect(rows(first, "SHOW TimeZone"), [("Asia/Tokyo",)])
    expect(first.info.parameter_status("TimeZone"), "Asia/Tokyo")


def startup_options():
    connection = connect(application_name="drivers", options="-c statement_timeout=12345 -c search_path=public")
    expect(rows(connect(), "SHOW statement_timeout"), [("0",)])
    expect(rows(connection, "SHOW application_name"), [("drivers",)])
    expect(rows(connection, "SHOW statement_timeout"), [("12345ms",)])
    expect(rows(connection, "SHOW search_path"), [("public",)])


def types():
    at = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, datetime.timezone.utc)
    values = ([1, None, 3], ["a,b", 'c"d', ""], {"k": [1, None, "ä"]}, at, decimal.Decimal("12345678901234567890.123456789"))
    connection = connect()
    connection.execute("INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES (%s, 1, %s, %s, %s, %s, %s)",
                       (KEY, *values[:2], Jsonb(values[2]), *values[3:]))
    for binary in (False, True):
        expect(rows(connection, "SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = %s AND id = 1", (KEY,), binary=binary), [values])


def large_result():
    with connect(autocommit=False) as connection, connection.cursor(name="stream") as cursor:
        cursor.itersize = 500
        cursor.execute("SELECT id, body FROM blobs WHERE user_id = 7 ORDER BY id")
        total = sum(len(body) for _, body in cursor)
    expect(total, report.BLOB_ROWS * report.BLOB_BYTES)
    streamed = connect().cursor().stream("SELECT id, body FROM blobs WHERE user_id = %s", (7,))
    expect(sum(len(body) for _, body in streamed), report.BLOB_ROWS * report.BLOB_BYTES)


def error_recovery():
    connection = connect(autocommit=False)
    again = "INSERT INTO items (user_id, id, name) VALUES (%s, 1, 'again')"
    expect_error("23505", psycopg.Error, lambda: connection.execute(again, (KEY,)))
    expect_error("25P02", psycopg.Error, lambda: connection.execute("SELECT 1"))
    connection.rollback()
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id = 1", (KEY,)), [("one",)])


def no_key():
    expect(rows(connect(), "SELECT count(*) > 0 FROM items WHERE name = %s", ("one",)), [(True,)])


def server_restart():
    connection = connect()
    question = ("SELECT name FROM items WHERE user_id = %s AND id = 1", (KEY,))
    expect(rows(connection, *question, prepare=True), [("one",)])
    report.ask_for_restart()
    expect(rows(connection, *question, prepare=True), [("one",)])


report.run([version, connect_trust, connect_scram, tls, channel_binding, simple_query, parameters_text, parameters_binary, prepared, pipeline,
            transaction, copy_in, copy_out, listen_notify, cancel, statement_timeout, settings, startup_options, types, large_result,
            error_recovery, no_key, server_restart])
