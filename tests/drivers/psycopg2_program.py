"""psycopg2: parameters are put into the text by the driver; named cursors; COPY; notifications."""
import datetime
import decimal
import io
import select
import threading

import psycopg2
import psycopg2.extras

import report
from report import KEY, SCRAM, TRUST, NotInDriver, expect, expect_error


def connect(url=TRUST, autocommit=True, **more):
    connection = psycopg2.connect(url, **more)
    connection.autocommit = autocommit
    return connection


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def act(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount


def version():
    return psycopg2.__version__.split()[0]


def connect_trust():
    expect(rows(connect(), "SELECT 1"), [(1,)])


def connect_scram():
    expect(rows(connect(SCRAM, sslmode="disable"), "SELECT 1"), [(1,)])


def tls():
    connection = connect(SCRAM, sslmode="require")
    expect(connection.info.ssl_in_use, True)
    expect(rows(connection, "SELECT 1"), [(1,)])


def channel_binding():
    expect(rows(connect(SCRAM, sslmode="require", channel_binding="require"), "SELECT 1"), [(1,)])


def simple_query():
    connection = connect()
    act(connection, f"INSERT INTO items (user_id, id, name) VALUES ({KEY}, 1, 'one')")
    expect(rows(connection, f"SELECT name FROM items WHERE user_id = {KEY} AND id = 1"), [("one",)])


def parameters_text():
    connection = connect()
    act(connection, "INSERT INTO items (user_id, id, name) VALUES (%s, %s, %s)", (KEY, 2, "it's 'two' \\"))
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id = %s", (KEY, 2)), [("it's 'two' \\",)])


def parameters_binary():
    raise NotInDriver("psycopg2 writes every value into the statement's text")


def prepared():
    """psycopg2's users write PREPARE and EXECUTE themselves."""
    def client(i):
        connection = connect(autocommit=False)
        act(connection, f"PREPARE s AS SELECT name, {i} FROM items WHERE user_id = $1 AND id = $2")
        connection.commit()
        for _ in range(report.TRANSACTIONS):
            expect(rows(connection, "EXECUTE s (%s, %s)", (KEY, 1)), [("one", i)])
            connection.commit()

    report.on_threads(client)


def pipeline():
    """execute_batch joins statements in one Query message."""
    connection = connect()
    with connection.cursor() as cursor:
        psycopg2.extras.execute_batch(cursor, "INSERT INTO items (user_id, id, name) VALUES (%s, %s, 'batch')",
                                      [(KEY, n) for n in range(100, 150)])
    expect(rows(connection, "SELECT count(*) FROM items WHERE user_id = %s AND name = 'batch'", (KEY,)), [(50,)])


def transaction():
    connection = connect(autocommit=False)
    act(connection, "INSERT INTO items (user_id, id, name) VALUES (%s, 200, 'kept')", (KEY,))
    act(connection, "SAVEPOINT a")
    act(connection, "INSERT INTO items (user_id, id, name) VALUES (%s, 201, 'undone')", (KEY,))
    act(connection, "ROLLBACK TO SAVEPOINT a")
    connection.commit()
    act(connection, "DELETE FROM items WHERE user_id = %s AND id = 200", (KEY,))
    connection.rollback()
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id BETWEEN 200 AND 201", (KEY,)), [("kept",)])


def copy_in():
    connection = connect()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY items (user_id, id, name) FROM STDIN", io.StringIO("".join(f"{KEY}\t{n}\tcopied\n" for n in range(300, 400))))
    expect(rows(connection, "SELECT count(*) FROM items WHERE user_id = %s AND name = 'copied'", (KEY,)), [(100,)])


def copy_out():
    found = io.StringIO()
    with connect().cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT id, name FROM items WHERE user_id = {KEY} AND id = 1) TO STDOUT", found)
    expect(found.getvalue(), "1\tone\n")


def listen_notify():
    listener = connect()
    act(listener, f"LISTEN channel_{KEY}")
    act(connect(), f"NOTIFY channel_{KEY}, 'hello'")
    expect(bool(select.select([listener], [], [], 15)[0]), True)
    listener.poll()
    expect([(n.channel, n.payload) for n in listener.notifies], [(f"channel_{KEY}", "hello")])
    act(listener, "UNLISTEN *")


def cancel():
    connection = connect()
    ended = threading.Event()

    def until_ended():   # a cancel that comes before its statement does nothing
        while not ended.wait(0.1):
            connection.cancel()

    canceller = threading.Thread(target=until_ended)
    canceller.start()
    expect_error("57014", psycopg2.Error, lambda: rows(connection, "SELECT pg_sleep(60)"))
    ended.set()
    canceller.join()
    expect(rows(connection, "SELECT 1"), [(1,)])


def statement_timeout():
    connection = connect()
    act(connection, "SET statement_timeout = '100ms'")
    expect_error("57014", psycopg2.Error, lambda: rows(connection, "SELECT pg_sleep(60)"))
    expect(rows(connection, "SELECT 1"), [(1,)])


def settings():
    first, other = connect(), connect()
    act(first, "SET search_path = pg_catalog, public")
    act(first, "SET TimeZone = 'Asia/Tokyo'")
    expect(rows(other, "SHOW TimeZone")[0][0] != "Asia/Tokyo", True)
    expect(rows(first, "SHOW search_path"), [("pg_catalog, public",)])
    expect(rows(first, "SHOW TimeZone"), [("Asia/Tokyo",)])


def startup_options():
    connection = connect(application_name="drivers", options="-c statement_timeout=12345 -c search_path=public")
    other = connect()
    expect(rows(other, "SHOW statement_timeout"), [("0",)])
    expect(rows(connection, "SHOW application_name"), [("drivers",)])
    expect(rows(connection, "SHOW statement_timeout"), [("12345ms",)])
    expect(rows(connection, "SHOW search_path"), [("public",)])


def types():
    at = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, datetime.timezone.utc)
    values = ([1, None, 3], ["a,b", 'c"d', ""], {"k": [1, None, "ä"]}, at, decimal.Decimal("12345678901234567890.123456789"))
    connection = connect()
    act(connection, "INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES (%s, 1, %s, %s, %s, %s, %s)",
        (KEY, *values[:2], psycopg2.extras.Json(values[2]), *values[3:]))
    expect(rows(connection, "SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = %s AND id = 1", (KEY,)), [values])


def large_result():
    connection = connect(autocommit=False)
    with connection.cursor(name="stream") as cursor:
        cursor.itersize = 500
        cursor.execute("SELECT id, body FROM blobs WHERE user_id = 7 ORDER BY id")
        total = sum(len(body) for _, body in cursor)
    expect(total, report.BLOB_ROWS * report.BLOB_BYTES)
    connection.commit()


def error_recovery():
    connection = connect(autocommit=False)
    expect_error("23505", psycopg2.Error, lambda: act(connection, "INSERT INTO items (user_id, id, name) VALUES (%s, 1, 'again')", (KEY,)))
    expect_error("25P02", psycopg2.Error, lambda: act(connection, "SELECT 1"))
    connection.rollback()
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id = 1", (KEY,)), [("one",)])


def no_key():
    expect(rows(connect(), "SELECT count(*) > 0 FROM items WHERE name = 'one'"), [(True,)])


def server_restart():
    connection = connect()
    expect(rows(connection, "SELECT 1"), [(1,)])
    report.ask_for_restart()
    expect(rows(connection, "SELECT name FROM items WHERE user_id = %s AND id = 1", (KEY,)), [("one",)])


report.run([version, connect_trust, connect_scram, tls, channel_binding, simple_query, parameters_text, parameters_binary, prepared, pipeline,
            transaction, copy_in, copy_out, listen_notify, cancel, statement_timeout, settings, startup_options, types, large_result,
            error_recovery, no_key, server_restart])
