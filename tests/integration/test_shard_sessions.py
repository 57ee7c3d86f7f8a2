"""Sessions over four shards: the home shard's statements, transactions whose BEGIN waits for a shard, settings, and reads from replicas."""
import contextlib

import psycopg
import psycopg2
import pytest

import harness
import sharded
from wire_client import WireClient, bind, execute, parse, run, sync


@pytest.fixture(scope="module", autouse=True)
def rows(weir, keys):
    sharded.add_users(weir, [k for shard in keys for k in shard])


@pytest.fixture
def client(weir):
    with contextlib.closing(weir.connect()) as connection:
        yield connection.cursor()


@pytest.fixture
def modern(weir):
    with psycopg.connect(weir.dsn()) as connection:
        yield connection


def ports(clusters, role="primary"):
    return [s["primary"]["port"] if role == "primary" else s["replicas"][0]["port"] for s in clusters.shards]


def port_of(cursor, key):
    cursor.execute(f"SELECT inet_server_port() FROM users WHERE id = {key}")
    return cursor.fetchone()[0]


# --- the home shard


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT version()", "SHOW server_version", "SHOW ALL", "SELECT current_database(), current_user", "VALUES (1), (2)",
                                 "SELECT count(*) > 0 FROM pg_class", "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders'",
                                 "SELECT 'orders'::regclass::text", "SELECT pg_try_advisory_xact_lock(7)", "SELECT set_config('work_mem', '5MB', true)",
                                 "SELECT * FROM settings_unlisted ORDER BY name", "SELECT generate_series(1, 3)", "SELECT to_regclass('users')::text"])
def test_statements_without_sharded_tables_run(client, clusters, sql):
    client.execute(sql)
    assert client.fetchall()


def test_they_run_on_the_home_shard(client, clusters):
    client.execute("SELECT inet_server_port(), count(*) FROM settings_unlisted")
    assert client.fetchone()[0] in (ports(clusters)[0], ports(clusters, "replica")[0])


def test_unlisted_tables_are_written_and_read_at_home(client, clusters):
    client.execute("INSERT INTO settings_unlisted VALUES ('colour', 'blue')")
    client.execute("UPDATE settings_unlisted SET value = 'green' WHERE name = 'colour' RETURNING value")
    assert client.fetchall() == [("green",)]
    assert clusters.psql("SELECT value FROM settings_unlisted WHERE name = 'colour'") == "green"
    client.execute("CREATE TABLE of_ours (id int PRIMARY KEY, note text)")
    client.execute("INSERT INTO of_ours SELECT g, 'x' FROM generate_series(1, 10) g")
    client.execute("SELECT count(*) FROM of_ours o JOIN settings_unlisted s ON true WHERE s.name = 'colour'")
    assert client.fetchone() == (10,)
    client.execute("DROP TABLE of_ours")
    client.execute("DELETE FROM settings_unlisted WHERE name = 'colour'")


@pytest.mark.parametrize("command, wanted", [(r"\d", "orders"), (r"\dt", "countries"), (r"\d orders", "user_id"), (r"\d+ works", "title"), (r"\l", "app"),
                                             (r"\df", ""), (r"\dn", "public"), (r"\du", "postgres"), (r"\di", "users_pkey"), (r"\conninfo", "app"),
                                             (r"\sf now", "now"), (r"\dx", "plpgsql"), (r"\dT", ""), (r"\dp orders", "orders")])
def test_psql_describes(weir, command, wanted):
    assert wanted in weir.psql(command)


def test_psql_runs_a_script_over_all_shards(weir, keys):
    script = "\\set ON_ERROR_STOP 1\n" + "".join(f"BEGIN; SELECT name FROM users WHERE id = {shard[0]}; COMMIT;\n" for shard in keys)
    assert weir.psql(script).split() == [f"n{shard[0]}" for shard in keys]


def test_drivers_introspect(client):
    """What SQLAlchemy, Django and the like ask at the start."""
    for sql in ("select pg_catalog.version()", "select current_schema()", "show standard_conforming_strings", "show transaction isolation level",
                "SELECT t.oid, typarray FROM pg_type t JOIN pg_namespace ns ON typnamespace = ns.oid WHERE typname = 'hstore'",
                "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')",
                "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d "
                "WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef), a.attnotnull FROM pg_catalog.pg_attribute a "
                "WHERE a.attrelid = 'orders'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
                "SELECT conname, pg_catalog.pg_get_constraintdef(oid, true) FROM pg_catalog.pg_constraint WHERE conrelid = 'users'::regclass",
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"):
        client.execute(sql)
        client.fetchall()


def test_set_config_for_the_session_reaches_every_shard(weir, keys):
    """asyncpg asks for unknown types so: the setting is the client's from then on, on whatever server it gets."""
    with contextlib.closing(weir.connect()) as connection, contextlib.closing(weir.connect()) as other:
        one, two = connection.cursor(), other.cursor()
        one.execute("SELECT current_setting('work_mem') AS cur, set_config('work_mem', '5MB', false) AS new")
        assert one.fetchone()[1] == "5MB"
        for shard in keys:
            for cursor, wanted in ((one, True), (two, False)):
                cursor.execute(f"SELECT current_setting('work_mem') = '5MB' FROM users WHERE id = {shard[0]}")
                assert cursor.fetchone() == (wanted,)


def test_set_config_is_refused_where_it_would_change_what_a_name_means(client):
    for sql in ("SELECT set_config('search_path', user, false)", "SELECT set_config('search_path', 'pg_catalog', true), 1",
                "SELECT set_config('client_encoding', 'LATIN1', true)",
                "SELECT set_config(name, 'x', true) FROM users WHERE id = 1"):
        with pytest.raises(psycopg2.errors.FeatureNotSupported, match="set_config"):
            client.execute(sql)


def test_session_advisory_locks_keep_their_server(weir, client, clusters):
    client.execute("SELECT pg_advisory_lock(42)")
    client.fetchall()
    with contextlib.closing(weir.connect()) as other, other.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(42)")
        assert cursor.fetchone() == (False,)
        client.execute("SELECT pg_advisory_unlock(42)")
        assert client.fetchone() == (True,)
        cursor.execute("SELECT pg_try_advisory_lock(42)")
        assert cursor.fetchone() == (True,)
    harness.wait_for(lambda: clusters.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0", "the lock to go with its client", 10)


# --- transactions


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL SERIALIZABLE", "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE"])
def test_begin_waits_for_the_shard_of_its_first_statement(client, clusters, keys, begin):
    for i, shard in enumerate(keys):
        client.execute(begin)
        assert client.connection.info.transaction_status == 2
        assert port_of(client, shard[0]) == ports(clusters)[i]
        client.execute("SELECT 1, inet_server_port()")   # no shard of its own: where the transaction is
        assert client.fetchone() == (1, ports(clusters)[i])
        client.execute("SHOW transaction_isolation")
        assert client.fetchone()[0].upper() in begin + "READ COMMITTED"
        client.execute(f"UPDATE users SET email = 'in block' WHERE id = {shard[0]}")
        client.execute("COMMIT")
        assert client.statusmessage == "COMMIT"
        assert clusters.psql(f"SELECT email FROM users WHERE id = {shard[0]}", shard=i) == "in block"
        client.execute(f"UPDATE users SET email = NULL WHERE id = {shard[0]}")


def test_rollback_undoes_on_every_shard(client, clusters, keys):
    for i, shard in enumerate(keys):
        client.execute("BEGIN")
        client.execute(f"DELETE FROM users WHERE id = {shard[0]}")
        client.execute("ROLLBACK")
        assert client.statusmessage == "ROLLBACK"
        assert clusters.psql(f"SELECT count(*) FROM users WHERE id = {shard[0]}", shard=i) == "1"


def test_what_was_said_before_the_first_statement_holds(client, clusters, keys):
    for i, shard in enumerate(keys):
        client.execute("BEGIN")
        client.execute("SET LOCAL work_mem = '7MB'")
        client.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        client.execute("SAVEPOINT early")
        client.execute("SET LOCAL statement_timeout = '7s'")
        assert port_of(client, shard[0]) == ports(clusters)[i]
        seen = []
        for name in ("work_mem", "transaction_isolation", "statement_timeout"):
            client.execute(f"SHOW {name}")
            seen += client.fetchone()
        assert seen == ["7MB", "repeatable read", "7s"]
        client.execute("ROLLBACK TO SAVEPOINT early")
        client.execute("SHOW statement_timeout")
        assert client.fetchone() == ("0",)
        client.execute("RELEASE SAVEPOINT early")
        client.execute("COMMIT")
        client.execute("SHOW work_mem")
        assert client.fetchone() == ("4MB",)


def test_a_read_only_block_refuses_writes_and_may_set_it_late(client, keys):
    for begin in (["BEGIN READ ONLY"], ["BEGIN", "SET TRANSACTION READ ONLY"]):
        for shard in keys:
            for sql in begin:
                client.execute(sql)
            client.execute(f"SELECT name FROM users WHERE id = {shard[0]}")
            assert client.fetchall() == [(f"n{shard[0]}",)]
            with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
                client.execute(f"UPDATE users SET name = 'x' WHERE id = {shard[0]}")
            client.execute("ROLLBACK")


def test_empty_transactions_need_no_server(client):
    for end, tag in (("COMMIT", "COMMIT"), ("END", "COMMIT"), ("ROLLBACK", "ROLLBACK"), ("ABORT", "ROLLBACK")):
        client.execute("BEGIN")
        client.execute("SAVEPOINT a")
        client.execute(end)
        assert client.statusmessage == tag
        assert client.connection.info.transaction_status == 0


def test_a_failed_transaction_says_25P02_until_it_ends(client, clusters, keys):
    for shard in keys:
        for failing, code in ((f"SELECT 1 / 0 FROM users WHERE id = {shard[0]}", "22012"), (f"UPDATE users SET id = 1000 WHERE id = {shard[0]}", "0A000"), ("SELEC", "42601")):
            client.execute("BEGIN")
            client.execute(f"UPDATE users SET name = 'lost' WHERE id = {shard[0]}")
            with pytest.raises(psycopg2.Error) as error:
                client.execute(failing)
            assert error.value.pgcode == code
            for sql in (f"SELECT 1 FROM users WHERE id = {shard[0]}", "SELECT 1", "SAVEPOINT s", "SET work_mem = '1MB'", "SELECT count(*) FROM orders"):
                with pytest.raises(psycopg2.Error) as error:
                    client.execute(sql)
                assert error.value.pgcode in ("25P02", "0A000"), sql
                assert client.connection.info.transaction_status == 3
            client.execute("COMMIT")
            assert (client.statusmessage, client.connection.info.transaction_status) == ("ROLLBACK", 0)
            client.execute(f"SELECT name FROM users WHERE id = {shard[0]}")
            assert client.fetchone() == (f"n{shard[0]}",)


def test_a_refusal_as_the_first_statement_fails_the_transaction(client, keys):
    client.execute("BEGIN")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        client.execute("UPDATE orders SET user_id = 1")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        client.execute(f"SELECT 1 FROM users WHERE id = {keys[0][0]}")
    client.execute("ROLLBACK")
    client.execute("BEGIN")
    client.execute("SAVEPOINT s")
    with pytest.raises(psycopg2.errors.FeatureNotSupported):
        client.execute("UPDATE orders SET user_id = 1")
    client.execute("ROLLBACK TO s")
    client.execute(f"SELECT id FROM users WHERE id = {keys[2][0]}")
    assert client.fetchone() == (keys[2][0],)
    client.execute("COMMIT")
    assert client.statusmessage == "COMMIT"


def test_a_warning_for_transaction_control_out_of_place(client):
    for sql, tag in (("COMMIT", "COMMIT"), ("ROLLBACK", "ROLLBACK")):
        client.execute(sql)
        assert client.statusmessage == tag
    client.execute("BEGIN")
    client.execute("BEGIN")
    assert "already a transaction" in client.connection.notices[-1]
    client.execute("ROLLBACK")
    with pytest.raises(psycopg2.errors.NoActiveSqlTransaction):
        client.execute("SAVEPOINT nowhere")


def test_commit_and_chain_opens_the_next_transaction(client, keys):
    k = keys[1][0]
    client.execute("BEGIN")
    client.execute(f"SELECT 1 FROM users WHERE id = {k}")
    client.execute("COMMIT AND CHAIN")
    assert client.connection.info.transaction_status == 2
    client.execute(f"UPDATE users SET email = 'chained' WHERE id = {k}")
    client.execute("ROLLBACK AND CHAIN")
    client.execute(f"SELECT email FROM users WHERE id = {k}")
    assert client.fetchone() == (None,)
    client.execute("COMMIT")


# --- by the extended protocol: psycopg 3 says BEGIN so


def test_extended_transactions_on_every_shard(modern, clusters, keys):
    for i, shard in enumerate(keys):
        with modern.transaction():
            modern.execute("UPDATE users SET email = %s WHERE id = %s", ("tx", shard[0]), prepare=True)
            with pytest.raises(psycopg.errors.DivisionByZero):
                with modern.transaction():
                    modern.execute("UPDATE users SET email = %s WHERE id = %s", ("inner", shard[0]), prepare=True)
                    modern.execute("SELECT 1 / %s FROM users WHERE id = %s", (0, shard[0]))
            assert modern.execute("SELECT email FROM users WHERE id = %s", (shard[0],)).fetchone() == ("tx",)
        assert clusters.psql(f"SELECT email FROM users WHERE id = {shard[0]}", shard=i) == "tx"
        modern.execute("UPDATE users SET email = NULL WHERE id = %s", (shard[0],))
        modern.commit()


def test_transaction_control_by_the_extended_protocol(weir, clusters, keys):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        for _ in range(3):
            for i, shard in enumerate(keys):
                for sql in ("BEGIN ISOLATION LEVEL REPEATABLE READ", "SET LOCAL work_mem = '8MB'", "SAVEPOINT s"):
                    connection.execute(sql, (), prepare=True)
                assert connection.execute("SELECT inet_server_port() FROM users WHERE id = %s", (shard[0],), prepare=True).fetchone() == (ports(clusters)[i],)
                assert connection.execute("SHOW work_mem", (), prepare=True).fetchone() == ("8MB",)
                connection.execute("COMMIT", (), prepare=True)
                assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_whole_transactions_in_one_pipeline(weir, clusters, keys):
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        with connection.pipeline() as pipeline:
            for i, shard in enumerate(keys):
                with connection.transaction():
                    connection.execute("UPDATE users SET email = %s WHERE id = %s", ("piped", shard[0]))
                pipeline.sync()
            for sql in ("BEGIN", "COMMIT", "BEGIN", "ROLLBACK"):
                connection.execute(sql)
            pipeline.sync()
        for i, shard in enumerate(keys):
            assert clusters.psql(f"SELECT email FROM users WHERE id = {shard[0]}", shard=i) == "piped"
            connection.execute("UPDATE users SET email = NULL WHERE id = %s", (shard[0],))


def test_begin_and_its_statement_in_one_pipeline_after_an_empty_one(weir, keys):
    """BEGIN, COMMIT, BEGIN, a statement, COMMIT up to one Sync: the second BEGIN must be a real one."""
    k = keys[3][0]
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        with connection.pipeline() as pipeline:
            for sql in ("BEGIN", "COMMIT", "BEGIN", f"UPDATE users SET email = 'lost' WHERE id = {k}", "ROLLBACK"):
                connection.execute(sql)
            pipeline.sync()
        assert connection.execute(f"SELECT email FROM users WHERE id = {k}").fetchone() == (None,)


def test_a_refused_pipeline_in_a_block_ends_with_what_stands_behind_it(weir, keys):
    k = keys[2][0]
    with psycopg.connect(weir.dsn(), autocommit=True) as connection:
        connection.execute("BEGIN")
        connection.execute(f"UPDATE users SET email = 'lost' WHERE id = {k}")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            connection.execute(f"UPDATE users SET id = 1000 WHERE id = {k}", ())
        with connection.pipeline() as pipeline:
            ended = connection.execute("COMMIT")
            after = connection.execute(f"SELECT name FROM users WHERE id = {k}")
            pipeline.sync()
            assert after.fetchone() == (f"n{k}",)
            assert ended.statusmessage == "ROLLBACK"


# --- settings


def test_a_setting_holds_on_every_shard_and_for_nobody_else(client, weir, keys):
    client.execute("SET work_mem = '6MB'")
    client.execute("SET application_name TO 'setter'")
    for _ in range(2):
        for k in (k for shard in keys for k in shard):
            client.execute(f"SELECT current_setting('work_mem'), current_setting('application_name') FROM users WHERE id = {k}")
            assert client.fetchone() == ("6MB", "setter")
    with contextlib.closing(weir.connect()) as other, other.cursor() as cursor:
        for k in (k for shard in keys for k in shard):
            cursor.execute(f"SELECT current_setting('work_mem'), current_setting('application_name') FROM users WHERE id = {k}")
            found = cursor.fetchone()
            assert found[0] == "4MB" and found[1] != "setter"
    client.execute("RESET work_mem")
    for shard in keys:
        client.execute(f"SELECT current_setting('work_mem') FROM users WHERE id = {shard[0]}")
        assert client.fetchone() == ("4MB",)
    client.execute("DISCARD ALL")
    client.execute(f"SELECT current_setting('application_name') FROM users WHERE id = {keys[3][0]}")
    assert client.fetchone()[0] != "setter"


def test_a_setting_of_a_rolled_back_transaction_is_gone_everywhere(client, keys):
    client.execute("BEGIN")
    client.execute(f"SELECT 1 FROM users WHERE id = {keys[1][0]}")
    client.execute("SET work_mem = '9MB'")
    client.execute("ROLLBACK")
    client.execute("BEGIN")
    client.execute("SET work_mem = '10MB'")
    client.execute("ROLLBACK")
    for shard in keys:
        client.execute(f"SELECT current_setting('work_mem') FROM users WHERE id = {shard[0]}")
        assert client.fetchone() == ("4MB",)


def test_search_path_decides_what_an_unqualified_name_is(client, weir, clusters, keys):
    clusters.psql("CREATE SCHEMA other; CREATE TABLE other.users (id bigint, name text); INSERT INTO other.users VALUES (1, 'unlisted')")
    try:
        weir.console("RELOAD")
        client.execute("SET search_path = other, public")
        # without a key: not the sharded one
        harness.wait_for(lambda: reads_the_unlisted_one(client), "the catalog to know other.users", 40)
        client.execute(f"SELECT count(*) FROM public.users WHERE id = {keys[1][0]}")
        assert client.fetchone() == (1,)
        client.execute("SET search_path = public")
        client.execute("SELECT name FROM users")
        names = client.fetchall()
        assert len(names) > 1 and ("unlisted",) not in names   # every shard's
        client.execute("RESET search_path")
        client.execute(f"SELECT count(*) FROM users WHERE id = {keys[1][0]}")
        assert client.fetchone() == (1,)
    finally:
        clusters.psql("DROP SCHEMA other CASCADE")


def reads_the_unlisted_one(client):
    try:
        client.execute("SELECT name FROM users")
        return client.fetchall() == [("unlisted",)]
    except psycopg2.Error:
        return False


def test_start_up_options_hold_on_every_shard(weir, keys):
    with contextlib.closing(weir.connect(options="-c work_mem=11MB", application_name="starter")) as connection, connection.cursor() as cursor:
        for k in (k for shard in keys for k in shard):
            cursor.execute(f"SELECT current_setting('work_mem'), current_setting('application_name') FROM users WHERE id = {k}")
            assert cursor.fetchone() == ("11MB", "starter")


# --- reads from replicas


def saw(clusters, shard, node, text):
    """Does a connection of this PostgreSQL show `text` as its last statement?"""
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%{text}%'"
    return clusters.psql(asked, shard=shard, node=node) != "0"


def to_replicas(weir):
    """How often a replica's connection was given to a client."""
    return sum(int(b["assignments"]) for b in weir.console("SHOW BACKENDS") if b["role"] == "replica")


def test_keyed_reads_reach_the_replica_of_their_shard_and_writes_do_not(client, weir, clusters, keys):
    before = to_replicas(weir)
    for i, shard in enumerate(keys):
        k = shard[1]

        def on_replica():
            client.execute(f"SELECT name, 'read {i} of' FROM users WHERE id = {k}")
            return saw(clusters, i, "0", f"read {i} of")

        harness.wait_for(on_replica, f"a read of key {k} on the replica of shard {i}", 20)
        others = [n for n in range(4) if n != i]
        assert not any(saw(clusters, n, node, f"read {i} of") for n in others for node in ("primary", "0"))
        for number, sql in enumerate([f"BEGIN; SELECT name, 'tx {i} of' FROM users WHERE id = {k}; COMMIT", f"SELECT name, 'tx {i} of' FROM users WHERE id = {k} FOR UPDATE",
                                      f"UPDATE users SET name = name WHERE id = {k} RETURNING 'tx {i} of'"]):
            for part in sql.split("; "):
                client.execute(part.replace("tx", f"tx{number}"))
            assert not saw(clusters, i, "0", f"tx{number} {i} of")
    assert to_replicas(weir) > before


def test_a_client_reads_what_any_client_of_this_proxy_wrote(weir, keys):
    with contextlib.closing(weir.connect()) as writer, contextlib.closing(weir.connect()) as reader:
        write, read = writer.cursor(), reader.cursor()
        for n in range(200):
            k = keys[n % 4][n % 3]
            write.execute(f"UPDATE users SET email = '{n}' WHERE id = {k}")
            for cursor in (read, write):
                cursor.execute(f"SELECT email FROM users WHERE id = {k}")
                assert cursor.fetchone() == (str(n),)


def test_a_paused_replica_is_not_read_from_after_a_write(client, weir, clusters, keys):
    """Replay stands still: whoever reads the written bucket must still see the write."""
    clusters.psql("SELECT pg_wal_replay_pause()", shard=1, node=0)
    try:
        for n in range(20):
            client.execute(f"UPDATE users SET email = 'paused {n}' WHERE id = {keys[1][0]}")
            client.execute(f"SELECT email FROM users WHERE id = {keys[1][0]}")
            assert client.fetchone() == (f"paused {n}",)
    finally:
        clusters.psql("SELECT pg_wal_replay_resume()", shard=1, node=0)


@pytest.mark.parametrize("shard", [0, 1, 3])
def test_a_cursor_with_hold_is_fetched_from_where_it_is(weir, keys, shard):
    k = keys[shard][0]
    with contextlib.closing(weir.connect()) as connection, connection.cursor() as ask:
        ask.execute(f"DECLARE held CURSOR WITH HOLD FOR SELECT id, n FROM users, generate_series(1, 5) n WHERE id = {k} ORDER BY n")
        ask.execute("FETCH 2 FROM held")
        assert ask.fetchall() == [(k, 1), (k, 2)]
        ask.execute(f"SELECT id FROM users WHERE id = {keys[2][0]}")   # elsewhere
        assert ask.fetchall() == [(keys[2][0],)]
        ask.execute("MOVE 1 FROM held")
        ask.execute("FETCH ALL FROM held")
        assert ask.fetchall() == [(k, 4), (k, 5)]
        ask.execute("CLOSE held")
        with pytest.raises(psycopg2.Error) as gone:
            ask.execute("FETCH 1 FROM held")
        assert gone.value.pgcode == "34000"


@pytest.mark.parametrize("shard", [0, 1, 3])
def test_a_drivers_cursor_with_hold_is_described_where_it_is(weir, keys, shard):
    k = keys[shard][0]
    with psycopg.connect(weir.dsn(), autocommit=True) as connection, connection.cursor("held", withhold=True) as cursor:
        cursor.execute(f"SELECT id, n FROM users, generate_series(1, 5) n WHERE id = {k} ORDER BY n")
        assert cursor.fetchall() == [(k, n) for n in range(1, 6)]


LACKING = [["ROLLBACK TO nobody"], ["RELEASE nobody"], ["SAVEPOINT a", "RELEASE a", "ROLLBACK TO a"], ["SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "RELEASE b"], ["SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK TO a"],
           ["SAVEPOINT a", "SAVEPOINT a", "RELEASE a", "RELEASE a", "RELEASE a"], ["SELECT nothing", "ROLLBACK TO nobody"]]


@pytest.mark.parametrize("steps", LACKING, ids="; ".join)
@pytest.mark.parametrize("pipelined", [False, True])
def test_a_transaction_without_a_server_knows_its_savepoints(weir, clusters, steps, pipelined):
    """As PostgreSQL does: a name that is not there is an error, and the transaction is a failed one."""
    answers = []
    for port in (weir.port, int(clusters.node()["port"])):
        with WireClient(port) as client:
            messages = [run(sql) for sql in ["BEGIN", *steps]]
            sent = [b"".join(messages) + sync()] if pipelined else [m + sync() for m in messages]
            answers.append([(replies.tags, [(m.fields["C"], m.fields["M"]) for m in replies if m.kind == "E"], replies.status) for replies in map(client.ask, sent)])
    assert answers[0] == answers[1]


def test_a_statement_of_the_home_shard_is_prepared_in_a_transaction_elsewhere(weir, keys):
    for touched in ([keys[1][0]], [keys[1][0], keys[2][0]]):
        with WireClient(weir.port) as client:
            client.query("BEGIN")
            for k in touched:
                client.query(f"UPDATE users SET email = 'x' WHERE id = {k}")
            assert client.ask(parse("SELECT count(*) FROM settings_unlisted WHERE name = $1", name="s") + sync()).status == "T"
            assert client.ask(bind("theme", name="s") + execute() + sync()).rows == [["1"]]
            assert client.query("COMMIT").tags == ["COMMIT"]
