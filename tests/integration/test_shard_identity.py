"""A proxy that would ask the wrong database answers nothing; months are made on every shard, and rows land in theirs."""
import contextlib

import psycopg2
import pytest

import harness


@pytest.fixture(scope="module", autouse=True)
def rows(weir, keys):
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        for shard in keys:
            cursor.execute(f"INSERT INTO users (id, name) VALUES ({shard[0]}, 'n')")


def refusal(proxy, sql, seconds=20):
    """The error of `sql` on a new connection: at log-in or after it. Fails if it is answered."""
    try:
        connection = proxy.connect()
    except psycopg2.OperationalError as error:
        return str(error)
    with contextlib.closing(connection), connection.cursor() as cursor:
        try:
            cursor.execute(sql)
        except psycopg2.Error as error:
            return f"{error.pgcode} {error} {error.diag.message_hint}"
        raise AssertionError(f"answered: {sql}: {cursor.fetchall() if cursor.description else cursor.statusmessage}")


def swapped(clusters, first, second):
    """clusters.shards with the addresses of two shards exchanged, as a wrong DNS entry would."""
    shards = [dict(s) for s in clusters.shards]
    for what in ("primary", "replicas"):
        shards[first][what], shards[second][what] = shards[second][what], shards[first][what]
    return shards


@pytest.mark.parametrize("first, second", [(1, 2), (0, 3)])
def test_two_swapped_shards_are_refused_and_nothing_is_answered(clusters, start_weir, keys, first, second):
    proxy = start_weir([harness.weir_toml.database(swapped(clusters, first, second))], pool={"wait_timeout": "2s"})
    for shard in (first, second):
        for sql in (f"SELECT * FROM users WHERE id = {keys[shard][0]}", f"DELETE FROM users WHERE id = {keys[shard][0]}"):
            said = refusal(proxy, sql)
            assert "identity" in said or "is not shard" in said or "shard" in said, said
            assert clusters.psql(f"SELECT count(*) FROM users WHERE id = {keys[shard][0]}", shard=shard) == "1"
    if first != 0:   # the home shard and one more are where they should be
        with contextlib.closing(proxy.connect()) as connection, connection.cursor() as cursor:
            for shard in (0, 3):
                cursor.execute(f"SELECT count(*) FROM users WHERE id = {keys[shard][0]}")
                assert cursor.fetchone() == (1,)
            with pytest.raises(psycopg2.Error) as error:
                cursor.execute(f"SELECT count(*) FROM users WHERE id = {keys[first][0]}")
            assert error.value.pgcode == "57P03", str(error.value)
            assert error.value.diag.message_hint


def test_swapped_replicas_serve_no_read(clusters, start_weir, keys):
    shards = [dict(s) for s in clusters.shards]
    shards[1]["replicas"], shards[2]["replicas"] = shards[2]["replicas"], shards[1]["replicas"]
    proxy = start_weir([harness.weir_toml.database(shards, reads={"consistency": "eventual"})])
    with contextlib.closing(proxy.connect()) as connection, connection.cursor() as cursor:
        for _ in range(20):
            for shard in range(4):
                cursor.execute(f"SELECT id FROM users WHERE id = {keys[shard][0]}")
                assert cursor.fetchall() == [(keys[shard][0],)], shard


def test_a_shard_without_init_is_refused_with_the_command_that_helps(clusters, start_weir, keys):
    clusters.psql("ALTER SCHEMA weir RENAME TO weir_hidden", shard=2)
    try:
        proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"wait_timeout": "2s"})
        said = refusal(proxy, f"SELECT * FROM users WHERE id = {keys[2][0]}")
        assert "57P03" in said and "weirctl init" in said, said
        with contextlib.closing(proxy.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM users WHERE id = {keys[1][0]}")
            assert cursor.fetchone() == (1,)
    finally:
        clusters.psql("ALTER SCHEMA weir_hidden RENAME TO weir", shard=2)

    def serves():
        try:
            return not isinstance(refusal(proxy, f"SELECT * FROM users WHERE id = {keys[2][0]}"), str)
        except AssertionError as answered:
            return "answered" in str(answered)

    harness.wait_for(serves, "the shard to be served once it has its identity", 30)


@pytest.mark.parametrize("column, value", [("map_version", "2"), ("shard", "'s9'"), ("cluster", "'00000000-0000-0000-0000-000000000001'")])
def test_another_identity_is_refused(clusters, start_weir, keys, column, value):
    old = clusters.psql(f"SELECT quote_literal({column}) FROM weir.identity", shard=1)
    clusters.psql(f"UPDATE weir.identity SET {column} = {value}", shard=1)
    try:
        proxy = start_weir([harness.database_toml(clusters, replicas=False)], pool={"wait_timeout": "2s"})
        said = refusal(proxy, f"SELECT * FROM users WHERE id = {keys[1][0]}")
        assert "57P03" in said, said
    finally:
        clusters.psql(f"UPDATE weir.identity SET {column} = {old}", shard=1)
        clusters.await_replication()


def test_a_file_of_another_map_version_is_refused_everywhere(clusters, start_weir, keys):
    proxy = start_weir([harness.database_toml(clusters, sharding={"map_version": 7})], pool={"wait_timeout": "2s"})
    for shard in range(4):
        said = refusal(proxy, f"SELECT * FROM users WHERE id = {keys[shard][0]}")
        assert "map" in said and ("57P03" in said or "FATAL" in said), said


# --- months


def partitions(clusters):
    found = clusters.everywhere("SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY 1) FROM pg_inherits WHERE inhparent = 'works'::regclass")
    return [set(of_shard.split()) for of_shard in found]


def test_partitions_are_planned_and_made_on_every_shard(weir, clusters):
    before = partitions(clusters)
    planned = harness.weirctl("partitions", "plan", "-c", str(weir.config), check=False)
    assert planned.returncode == 1
    assert partitions(clusters) == before, "a plan must change nothing"
    for shard in clusters.shards:
        assert f"-- {shard['name']} works: works_" in planned.stdout
    harness.weirctl("partitions", "apply", "-c", str(weir.config))
    after = partitions(clusters)
    assert all(of_shard == after[0] for of_shard in after)
    assert before[0] < after[0]
    months = sorted(name[len("works_"):] for name in after[0])
    assert all(len(m) == 6 and m.isdigit() for m in months)
    assert harness.weirctl("partitions", "plan", "-c", str(weir.config), check=False).returncode == 0
    harness.weirctl("partitions", "apply", "-c", str(weir.config))
    assert partitions(clusters) == after


@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/Los_Angeles"])
def test_rows_at_the_borders_of_a_month_land_in_their_partition(weir, clusters, keys, zone):
    """The partitions' borders are UTC's, whatever the client's TimeZone; a month is where its instant lies."""
    moments = [("2024-01-31 23:59:59.999999+00", "202401"), ("2024-02-01 00:00:00+00", "202402"), ("2024-02-29 23:59:59.999999+00", "202402"),
               ("2024-03-01 00:00+00", "202403"), ("2024-04-01 07:59:59+08", "202403"), ("2024-04-01 08:00:00+08", "202404")]
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SET TimeZone = '{zone}'")
        for i, shard in enumerate(keys):
            for number, (moment, month) in enumerate(moments):
                cursor.execute("INSERT INTO works (user_id, id, created_at, title) VALUES (%s, %s, %s, 'x') RETURNING tableoid::regclass::text", (shard[0], number, moment))
                assert cursor.fetchone() == (f"works_{month}",)
                here = f"SELECT count(*) FROM works_{month} WHERE user_id = {shard[0]} AND id = {number}"
                assert clusters.psql(here, shard=i) == "1"
                cursor.execute(f"SELECT id FROM works WHERE user_id = {shard[0]} AND created_at = '{moment}'")
                assert cursor.fetchall() == [(number,)]
            cursor.execute(f"SELECT count(*) FROM works WHERE user_id = {shard[0]} AND created_at >= '2024-02-01 00:00+00' AND created_at < '2024-03-01 00:00+00'")
            assert cursor.fetchone() == (2,)
            cursor.execute(f"DELETE FROM works WHERE user_id = {shard[0]}")
            assert cursor.rowcount == len(moments)


def test_a_month_without_a_partition_is_the_servers_error_on_every_shard(weir, keys):
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as cursor:
        for shard in keys:
            with pytest.raises(psycopg2.errors.CheckViolation):
                cursor.execute(f"INSERT INTO works VALUES ({shard[0]}, 1, '1999-12-31', 'too old')")
