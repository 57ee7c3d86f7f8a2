"""A statement served from the plan cache, after others that differ from it in literals only, gives what one PostgreSQL gives: the values are put in
where they belong, and those that are part of the meaning are none of the cache's."""
import contextlib
import itertools

import psycopg2
import pytest

import harness
import metrics_client
import sharded


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters, per_shard=2)


@pytest.fixture(scope="module")
def twin(weir, clusters, keys):
    both = sharded.Twin(weir, clusters, sharded.create_reference(clusters))
    both.seed([k for shard in keys for k in shard], orders=3, works=1)
    yield both
    both.close()


# Over all shards; {0}, {1} are each of the values in turn.
OVER_SHARDS = [
    ("SELECT user_id, id, product FROM orders ORDER BY {0}, {1}, 1, 2", ["1", "2", "3", "-1", "1 + 1"]),
    ("SELECT id, product, count(*) FROM orders GROUP BY {0}, {1} ORDER BY 1, 2", ["1", "2"]),
    ("SELECT DISTINCT ON ({0}) product, id, user_id FROM orders ORDER BY {0}, 2, 3", ["1"]),
    ("SELECT id, product, count(*) FROM orders GROUP BY GROUPING SETS (({0}), ({1})) ORDER BY 1, 2", ["1", "2"]),
    ("SELECT product::varchar({0}) AS p, product::char({1}) AS c, user_id, id FROM orders ORDER BY user_id, id", ["1", "2", "10"]),
    ("SELECT (amount * 1.005)::numeric(10,{0}) AS n, user_id, id FROM orders ORDER BY user_id, id", ["0", "1", "4"]),
    ("SELECT (amount / 3)::float({0})::text AS f, user_id, id FROM orders ORDER BY user_id, id", ["24", "53"]),
    ("SELECT max(created_at + interval '1.23456' second({0}))::timestamp({1})::text FROM orders", ["0", "3", "6"]),
    ("SELECT count(*) + {0}, sum(amount) * {1} FROM orders", ["1", "3000000000", "10000000000000000000", "1.5", "-2", "'7'", "'1.5'::numeric", "NULL"]),
    ("SELECT count(*) FROM orders WHERE product = {0} OR product = {1}", ["'lamp'", "E'B\\x6fot'", "$$aal$$", "'it''s'", "U&'\\0061al'", "'aa'\n'l'", "NULL", "''"]),
    ("SELECT user_id, id FROM orders ORDER BY user_id, id LIMIT {0} OFFSET {1}", ["0", "1", "5", "100", "NULL"]),
    ("SELECT user_id, id FROM orders ORDER BY user_id, id OFFSET {0} ROWS FETCH FIRST {1} ROWS ONLY", ["0", "2", "7"]),
    ("SELECT user_id FROM orders WHERE id IN ({0}) AND user_id % 2 = {1} ORDER BY 1", ["0", "1", "0, 2", "0, 1, 2", "-1"]),
    ("SELECT user_id, sum(id) OVER (PARTITION BY user_id ORDER BY id ROWS {0} PRECEDING) FROM orders ORDER BY 1, 2, {1}", ["0", "1", "2"]),
    ("SELECT percentile_disc({0}) WITHIN GROUP (ORDER BY amount), count(*) FILTER (WHERE id > {1}) FROM orders", ["0", "0.5", "1"]),
    ("SELECT CASE WHEN id = {0} THEN 'x' ELSE product END AS c, count(*) FROM orders GROUP BY CASE WHEN id = {1} THEN 'x' ELSE product END ORDER BY 1", ["1", "2"]),
    ("SELECT id % {0} AS m, count(*) FROM orders GROUP BY id % {1} ORDER BY 1", ["2", "3"]),
    ("SELECT jsonb_build_object('a', id) -> {0}, user_id FROM orders ORDER BY user_id, id, {1}", ["'a'", "'b'"]),
    ("SELECT jsonb_path_query(jsonb_build_array(id, 5), {0}::jsonpath)::text AS j FROM orders ORDER BY 1, {1}", ["'$[0]'", "'$[*]'"]),
    ("SELECT product COLLATE {0} AS p, user_id, id FROM orders ORDER BY 1, 2, 3, {1}", ['"C"', '"POSIX"']),
    ("SELECT min(product || {0}), max({1}) FROM orders", ["'a'", "'zz'", "''"]),
    ("SELECT to_char(amount, {0}), user_id FROM orders ORDER BY user_id, id, {1}", ["'999.9'", "'FM9.99'"]),
    ("SELECT date_trunc({0}, created_at)::text AS d, count(*) FROM orders GROUP BY date_trunc({1}, created_at) ORDER BY 1", ["'month'", "'year'"]),
]
# On the shard of the key {k}.
ON_ONE_SHARD = [
    ("SELECT {0}::regclass::text, id FROM users WHERE id = {k}", ["'users'", "'orders'", "'nothing'"]),
    ("SELECT to_regclass({0})::text, id FROM users WHERE id = {k}", ["'users'", "'orders'", "'nothing'"]),
    ("SELECT id, name FROM users WHERE id = {k} ORDER BY {0}", ["1", "2", "3"]),
    ("SELECT name::varchar({0}), {1} FROM users WHERE id = {k}", ["1", "2", "3"]),
    ("SELECT B'101'::bit({0})::text, X'1F'::bit({1})::text FROM users WHERE id = {k}", ["3", "4", "8"]),
    ("SELECT pg_typeof({0})::text, pg_typeof({1})::text FROM users WHERE id = {k}",
     ["1", "2147483647", "2147483648", "-2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "1.0", "'1'", "E'1'", "B'1'", "X'1'", "1e3", "NULL"]),
    ("SELECT query_to_xml({0}, true, true, '')::text IS NULL", ["'select 1'", "'select 2'"]),
    ("SELECT id FROM users WHERE id = {k} AND name = {0}", ["'n1'", "'a'\n'b'", "U&'n!0031' UESCAPE '!'", "$q$n1$q$"]),
]


def cases(templates, key=0):
    for text, values in templates:
        pairs = list(itertools.product(values, values))
        for a, b in pairs[:40]:
            yield text.replace("{0}", a).replace("{1}", b).replace("{k}", str(key))


def ask(connection, sql):
    """(rows, types) or SQLSTATE."""
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.Error as error:
            return error.pgcode
        return cursor.fetchall(), [(c.name, c.type_code, c.internal_size, c.precision, c.scale) for c in cursor.description]


def test_over_all_shards(twin):
    answered = 0
    for sql in cases(OVER_SHARDS):
        here = ask(twin.weir, sql)
        if here == "0A000":
            continue   # refused, not wrong
        assert here == ask(twin.plain, sql), sql
        answered += isinstance(here, tuple)
    assert answered > 150


def test_on_one_shard(twin, keys):
    for key in (keys[0][0], keys[3][1]):
        for sql in cases(ON_ONE_SHARD, key):
            here = ask(twin.weir, sql)
            if here == "0A000":
                continue
            assert here == ask(twin.plain, sql), sql


def test_what_the_session_says_is_part_of_it(weir, twin, keys):
    """The same text under other settings, before and behind the cache has seen it."""
    with twin.weir.cursor() as cursor, twin.plain.cursor() as plain:
        for setting in ("search_path = public", "search_path = nowhere", "standard_conforming_strings = off", "standard_conforming_strings = on", "client_encoding = 'latin1'",
                        "client_encoding = 'sjis'", "client_encoding = 'utf8'", "search_path TO DEFAULT", "backslash_quote = on"):
            for c in (cursor, plain):
                c.execute(f"SET {setting}")
            for sql in ("SELECT count(*) FROM orders WHERE product = 'lamp'", f"SELECT name FROM users WHERE id = {keys[1][0]}", "SELECT count(*) FROM orders WHERE product = 'B\\x6fot'"):
                here = ask(twin.weir, sql)
                if here != "0A000":
                    assert here == ask(twin.plain, sql), (setting, sql)
        for c in (cursor, plain):
            c.execute("RESET ALL")


@pytest.mark.parametrize("first, second", [("nowhere", "public"), ("public", "nowhere")])
def test_a_plan_is_of_its_search_path(twin, first, second):
    """What stands for one table, or none, was planned as such."""
    sql = f"SELECT count(*) AS {first} FROM orders"
    try:
        for path in (first, second, first):
            for connection in (twin.weir, twin.plain):
                connection.cursor().execute(f"SET search_path = {path}")
            assert ask(twin.weir, sql) == ask(twin.plain, sql), path
    finally:
        for connection in (twin.weir, twin.plain):
            connection.cursor().execute("RESET search_path")


def test_a_changed_schema_is_another_statement(weir, clusters, twin):
    sql = "SELECT * FROM orders ORDER BY user_id, id LIMIT 1"
    before = ask(twin.weir, sql)
    for i in range(4):
        clusters.psql("ALTER TABLE orders ADD extra int DEFAULT 7", shard=i)
    try:
        weir.console("RELOAD")
        after = ask(twin.weir, sql)
        assert len(after[1]) == len(before[1]) + 1 and after[0][0][-1] == 7
    finally:
        for i in range(4):
            clusters.psql("ALTER TABLE orders DROP extra", shard=i)
        weir.console("RELOAD")
    assert ask(twin.weir, sql) == before


def test_hits_and_bytes_are_in_the_metrics(start_weir, clusters):
    port = harness.free_port()
    proxy = start_weir([harness.database_toml(clusters)], admin={"http": f"127.0.0.1:{port}"}, listen={"workers": 1})

    def now():
        return metrics_client.Metrics(metrics_client.get(port, "/metrics")[1])

    with contextlib.closing(proxy.connect()) as connection, connection.cursor() as cursor:
        before = now()
        for key in range(100):
            cursor.execute(f"SELECT name FROM users WHERE id = {key}")
        after = now()
    assert after.sum("weir_plan_cache_hits_total") - before.sum("weir_plan_cache_hits_total") == 99
    assert after.sum("weir_plan_cache_misses_total") - before.sum("weir_plan_cache_misses_total") == 1
    assert after.sum("weir_plan_cache_entries") >= 1 and 0 < after.sum("weir_plan_cache_bytes") <= 8 << 20
