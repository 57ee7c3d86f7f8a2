"""asyncpg: its own protocol code: binary values, named statements everywhere, a pool that resets with several statements."""
import asyncio
import datetime
import decimal
import io
import json
import ssl

import asyncpg

import report
from report import KEY, SCRAM, TRUST, NotInDriver, expect

ERROR = asyncpg.PostgresError


OPEN = []


async def connect(url=TRUST, **more):
    OPEN.append(await asyncpg.connect(url, **{"ssl": False, **more}))
    return OPEN[-1]


async def rows(connection, sql, *parameters):
    return [tuple(row) for row in await connection.fetch(sql, *parameters)]


async def expect_error(code, awaited):
    try:
        await awaited
    except ERROR as error:
        expect(error.sqlstate, code)
        return
    raise AssertionError(f"no error {code}")


def unchecked_tls():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def version():
    return asyncpg.__version__


async def connect_trust():
    expect(await rows(await connect(), "SELECT 1"), [(1,)])


async def connect_scram():
    expect(await rows(await connect(SCRAM), "SELECT 1"), [(1,)])


async def tls():
    connection = await connect(SCRAM, ssl=unchecked_tls())
    expect(connection._transport.get_extra_info("ssl_object") is not None, True)
    expect(await rows(connection, "SELECT 1"), [(1,)])


async def channel_binding():
    raise NotInDriver("asyncpg knows SCRAM-SHA-256 alone")


async def simple_query():
    connection = await connect()
    expect(await connection.execute(f"INSERT INTO items (user_id, id, name) VALUES ({KEY}, 1, 'one')"), "INSERT 0 1")


async def parameters_text():
    raise NotInDriver("asyncpg sends values in binary")


async def parameters_binary():
    connection = await connect()
    await connection.execute("INSERT INTO items (user_id, id, name) VALUES ($1, $2, $3)", KEY, 3, "three")
    expect(await rows(connection, "SELECT id, name FROM items WHERE user_id = $1 AND id = $2", KEY, 3), [(3, "three")])


async def prepared():
    """Through asyncpg's pool, whose release sends its reset query."""
    async with asyncpg.create_pool(TRUST, ssl=False, min_size=report.CLIENTS, max_size=report.CLIENTS) as pool:
        async def client(i):
            for _ in range(report.TRANSACTIONS):
                async with pool.acquire() as connection, connection.transaction():
                    expect(await rows(connection, f"SELECT name, {i} FROM items WHERE user_id = $1 AND id = $2", KEY, 1), [("one", i)])

        await asyncio.gather(*map(client, range(report.CLIENTS)))


async def pipeline():
    """executemany sends all its Binds before one Sync."""
    connection = await connect()
    await connection.executemany("INSERT INTO items (user_id, id, name) VALUES ($1, $2, 'batch')", [(KEY, n) for n in range(100, 150)])
    expect(await rows(connection, "SELECT count(*) FROM items WHERE user_id = $1 AND name = 'batch'", KEY), [(50,)])


async def transaction():
    connection = await connect()
    outer = connection.transaction()
    await outer.start()
    await connection.execute("INSERT INTO items (user_id, id, name) VALUES ($1, 200, 'kept')", KEY)
    inner = connection.transaction()
    await inner.start()
    await connection.execute("INSERT INTO items (user_id, id, name) VALUES ($1, 201, 'undone')", KEY)
    await inner.rollback()
    await outer.commit()
    undone = connection.transaction()
    await undone.start()
    await connection.execute("DELETE FROM items WHERE user_id = $1 AND id = 200", KEY)
    await undone.rollback()
    expect(await rows(connection, "SELECT name FROM items WHERE user_id = $1 AND id BETWEEN 200 AND 201", KEY), [("kept",)])


async def copy_in():
    connection = await connect()
    await connection.copy_records_to_table("items", records=[(KEY, n, "copied") for n in range(300, 400)], columns=["user_id", "id", "name"])
    expect(await rows(connection, "SELECT count(*) FROM items WHERE user_id = $1 AND name = 'copied'", KEY), [(100,)])


async def copy_out():
    found = io.BytesIO()
    await (await connect()).copy_from_query(f"SELECT id, name FROM items WHERE user_id = {KEY} AND id = 1", output=found)
    expect(found.getvalue(), b"1\tone\n")


async def listen_notify():
    listener, found = await connect(), asyncio.get_running_loop().create_future()
    await listener.add_listener(f"channel_{KEY}", lambda _, __, channel, payload: found.set_result((channel, payload)))
    await (await connect()).execute(f"NOTIFY channel_{KEY}, 'hello'")
    expect(await asyncio.wait_for(found, 15), (f"channel_{KEY}", "hello"))
    await listener.close()


async def cancel():
    connection = await connect()
    try:
        await connection.fetch("SELECT pg_sleep(60)", timeout=1)
    except asyncio.TimeoutError:
        expect(await rows(connection, "SELECT 1"), [(1,)])
        return
    raise AssertionError("not cancelled")


async def statement_timeout():
    connection = await connect()
    await connection.execute("SET statement_timeout = '100ms'")
    await expect_error("57014", connection.fetch("SELECT pg_sleep(60)"))
    expect(await rows(connection, "SELECT 1"), [(1,)])


async def settings():
    first, other = await connect(), await connect()
    await first.execute("SET search_path = pg_catalog, public")
    await first.execute("SET TimeZone = 'Asia/Tokyo'")
    expect(await other.fetchval("SHOW TimeZone") != "Asia/Tokyo", True)
    expect(await first.fetchval("SHOW search_path"), "pg_catalog, public")
    expect(await first.fetchval("SHOW TimeZone"), "Asia/Tokyo")
    expect(first.get_settings().TimeZone, "Asia/Tokyo")


async def startup_options():
    connection = await connect(server_settings={"application_name": "drivers", "statement_timeout": "12345", "search_path": "public"})
    expect(await (await connect()).fetchval("SHOW statement_timeout"), "0")
    expect(await connection.fetchval("SHOW application_name"), "drivers")
    expect(await connection.fetchval("SHOW statement_timeout"), "12345ms")
    expect(await connection.fetchval("SHOW search_path"), "public")


async def types():
    at = datetime.datetime(2024, 2, 29, 12, 34, 56, 789012, datetime.timezone.utc)
    values = ([1, None, 3], ["a,b", 'c"d', ""], {"k": [1, None, "ä"]}, at, decimal.Decimal("12345678901234567890.123456789"))
    connection = await connect()
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    await connection.execute("INSERT INTO typed (user_id, id, numbers, words, doc, at, amount) VALUES ($1, 1, $2, $3, $4, $5, $6)", KEY, *values)
    expect(await rows(connection, "SELECT numbers, words, doc, at, amount FROM typed WHERE user_id = $1 AND id = 1", KEY), [values])


async def large_result():
    connection, total = await connect(), 0
    async with connection.transaction():
        async for row in connection.cursor("SELECT id, body FROM blobs WHERE user_id = 7 ORDER BY id", prefetch=500):
            total += len(row["body"])
    expect(total, report.BLOB_ROWS * report.BLOB_BYTES)


async def error_recovery():
    connection = await connect()
    begun = connection.transaction()
    await begun.start()
    await expect_error("23505", connection.execute("INSERT INTO items (user_id, id, name) VALUES ($1, 1, 'again')", KEY))
    await expect_error("25P02", connection.execute("SELECT 1"))
    await begun.rollback()
    expect(await rows(connection, "SELECT name FROM items WHERE user_id = $1 AND id = 1", KEY), [("one",)])


async def no_key():
    expect(await rows(await connect(), "SELECT count(*) > 0 FROM items WHERE name = $1", "one"), [(True,)])


async def server_restart():
    connection = await connect()
    question = ("SELECT name FROM items WHERE user_id = $1 AND id = 1", KEY)
    expect(await rows(connection, *question), [("one",)])
    report.ask_for_restart()
    expect(await rows(connection, *question), [("one",)])


async def alone(feature):
    """The feature's connections end with it, whatever state they are in."""
    try:
        return await feature()
    finally:
        while OPEN:
            OPEN.pop().terminate()


def on_a_loop(feature):
    def act():
        return asyncio.run(alone(feature))

    act.__name__ = feature.__name__
    return act


report.run(list(map(on_a_loop, [
    version, connect_trust, connect_scram, tls, channel_binding, simple_query, parameters_text, parameters_binary, prepared, pipeline,
    transaction, copy_in, copy_out, listen_notify, cancel, statement_timeout, settings, startup_options, types, large_result,
    error_recovery, no_key, server_restart])))
