"""`weirctl audit` on a database with pg_stat_statements: what would be routed how, and what stands in the way of sharding."""
import json

import psycopg
import pytest

import harness

SCHEMA = """
CREATE EXTENSION pg_stat_statements;
CREATE TABLE users (id bigserial PRIMARY KEY, name text, email text UNIQUE);
CREATE TABLE orders (id bigint, user_id bigint NOT NULL, code text, PRIMARY KEY (user_id, id));
ALTER TABLE orders ADD CONSTRAINT orders_code_key UNIQUE (code);
CREATE TABLE tickets (id bigint PRIMARY KEY, user_id text NOT NULL);
CREATE TABLE invoices (id bigint PRIMARY KEY, user_id bigint REFERENCES users);
CREATE TABLE comments (id bigint PRIMARY KEY, user_id bigint, body text);
CREATE TABLE countries (code text PRIMARY KEY, name text);
CREATE TABLE currencies (code text PRIMARY KEY, name text);
CREATE TABLE journal (at timestamptz, line text);
CREATE VIEW totals AS SELECT user_id, count(*) FROM orders GROUP BY 1;
CREATE FUNCTION orders_of(u bigint) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM orders WHERE user_id = u';
CREATE FUNCTION harmless(u bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT u + 1';
INSERT INTO currencies VALUES ('EUR', 'Euro');
CREATE ROLE shop LOGIN;
GRANT ALL ON ALL TABLES IN SCHEMA public TO shop;
CREATE SCHEMA other;
CREATE TABLE other.users (id bigint PRIMARY KEY);
GRANT ALL ON SCHEMA other TO shop;
GRANT ALL ON other.users TO shop;
"""
RULES = ["--table", "public.users=id", "--table", "public.orders=user_id", "--reference", "public.countries"]


@pytest.fixture(scope="module")
def database():
    """One PostgreSQL that counts its statements, with a day's work of a shop behind it."""
    found = harness.Clusters("--shards", "1", "--replicas", "0", "--set", "shared_preload_libraries='pg_stat_statements'")
    try:
        found.psql(SCHEMA)
        found.psql("SELECT pg_stat_statements_reset()")
        work(found)
        yield found
    finally:
        found.stop()


def work(clusters):
    with psycopg.connect(clusters.conninfo(), autocommit=True) as c:
        for i in range(30):
            c.execute("INSERT INTO users (id, name) VALUES (%s, 'x')", [i])
            c.execute("SELECT name FROM users WHERE id = %s", [i])
        for i in range(200):
            c.execute("SELECT name FROM currencies WHERE code = 'EUR'")
        c.execute("SELECT name FROM users WHERE id IN (1, 2)")
        c.execute("SELECT count(*) FROM orders")
        c.execute("UPDATE users SET id = 1000, name = 'hunter2' WHERE id = 29")
        c.execute("SELECT interval '1 day' + now() FROM users WHERE id = 3")
        c.execute("SELECT name FROM countries")
        c.execute("INSERT INTO journal VALUES (now(), E'two\\nlines')")
        c.execute("ALTER ROLE shop PASSWORD 'hunter3'")
        c.execute("SELECT 'a\nline' AS \"a\nname\"")
        c.execute("ANALYZE")
        c.execute("ALTER ROLE shop SET search_path = other")
        c.execute("SELECT pg_stat_force_next_flush()")
    with psycopg.connect(clusters.conninfo().replace("user=postgres", "user=shop"), autocommit=True) as c:
        c.execute("SELECT id FROM users")   # other.users, which has no rule


def audit(database, *arguments, check=False):
    return harness.weirctl("audit", "--connect", database.conninfo(), *RULES, *arguments, check=check)


@pytest.fixture(scope="module")
def report(database):
    done = audit(database, "--json")
    assert done.returncode == 3, done.stderr
    assert "hunter" not in done.stdout
    return json.loads(done.stdout)


def of(report, start, role="postgres"):
    found = [s for s in report["statements"] if s["text"].startswith(start) and s["role"] == role]
    assert len(found) == 1, (start, [s["text"] for s in report["statements"]])
    return found[0]


@pytest.mark.parametrize("start, kind", [
    ("INSERT INTO users", "single shard"), ("SELECT name FROM users WHERE id = ", "single shard"), ("SELECT interval", "single shard"),
    ("SELECT name FROM users WHERE id IN", "by values"), ("SELECT name FROM countries", "reference"), ("SELECT name FROM currencies", "home"),
    ("INSERT INTO journal", "home"), ("UPDATE users SET id", "refused"),
])
def test_each_statement_is_judged_by_the_rules(report, start, kind):
    assert of(report, start)["class"] == kind


def test_what_needs_every_shard_is_scattered_or_refused(report):
    assert of(report, "SELECT count(*) FROM orders")["class"] in ("scatter", "refused")


def test_shares_are_those_of_pg_stat_statements(report, database):
    assert of(report, "SELECT name FROM users WHERE id = ")["calls"] == 30
    classes = report["classes"]
    assert sum(c["calls"] for c in classes.values()) == sum(s["calls"] for s in report["statements"])
    assert abs(sum(c["ms_percent"] for c in classes.values()) - 100) < 0.1
    assert classes["single shard"]["calls"] == 61
    assert report["since"]


def test_a_refusal_has_reason_and_remedy(report):
    refused = of(report, "UPDATE users SET id")
    assert refused["reason"] and refused["remedy"]


def test_names_are_looked_up_along_the_search_path_of_the_role(report):
    assert of(report, "SELECT id FROM users", role="shop")["class"] == "home"


@pytest.mark.parametrize("words", [
    ("users_email_key", "lacks the sharding key"), ("orders_code_key", "lacks the sharding key"), ("column id of table public.users", "sequence"),
    ("invoices_user_id_fkey", "different shards"), ("view public.totals", "refused"), ("function orders_of(bigint)", "refused"),
])
def test_what_the_schema_lacks_is_told_with_its_remedy(report, words):
    assert [s for s in report["schema"] if all(w in s for w in words)], report["schema"]


def test_a_function_without_sharded_tables_is_not_told(report):
    assert not [s for s in report["schema"] if "harmless" in s]


def test_keys_of_different_types_are_told(database):
    done = audit(database, "--json", "--table", "tickets=user_id")
    assert [s for s in json.loads(done.stdout)["schema"] if "tickets" in s and "equal keys lie on different shards" in s], done.stdout


def test_tables_without_a_rule_get_a_guess(report):
    guesses = {t["table"]: t for t in report["unlisted"]}
    assert 'key = "user_id"' in guesses["public.invoices"]["remedy"]      # by its foreign key
    assert guesses["public.comments"]["guess"] == "key"                   # by its name
    assert guesses["public.currencies"]["guess"] == "reference"
    assert guesses["public.journal"]["guess"] == "home"
    assert "public.users" not in guesses and "public.countries" not in guesses


def test_the_text_says_the_same(database):
    done = audit(database, "--top", "1")
    assert done.returncode == 3 and "hunter" not in done.stdout
    for words in ("4096 buckets on 2 shards", "refused (SQLSTATE 0A000)", "-> ", "users_email_key", "public.currencies, ", "single shard"):
        assert words in done.stdout, (words, done.stdout)


def test_it_looks_in_a_read_only_transaction(database):
    contents = "SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_namespace), (SELECT sum(n_tup_ins) FROM pg_stat_user_tables)"
    before = database.psql(contents)
    assert audit(database).returncode == 3
    assert database.psql(contents) == before
    assert database.psql("SELECT count(*) > 0 FROM pg_stat_statements WHERE query LIKE 'SET TRANSACTION % REPEATABLE READ READ ONLY'") == "t"


def test_other_roles_texts_need_pg_read_all_stats(database):
    done = harness.weirctl("audit", "--connect", database.conninfo().replace("user=postgres", "user=shop"), *RULES, "--json", check=False)
    unknown = [s for s in json.loads(done.stdout)["statements"] if s["class"] == "unknown"]
    assert unknown and "pg_read_all_stats" in unknown[0]["remedy"]


def test_a_file_that_observes_is_audited_by_its_rules(database, tmp_path):
    text = harness.database_toml(database, sharding={"mode": "observe"}, planned=["later"],
                                 tables=({"name": "currencies", "reference": True}, {"name": "tickets", "key": "user_id"}))
    (tmp_path / "weir.toml").write_text(text)
    done = harness.weirctl("audit", "-c", str(tmp_path / "weir.toml"), "--json", check=False)
    found = json.loads(done.stdout)
    assert of(found, "SELECT name FROM currencies")["class"] == "reference" and found["listed"] == 2


def test_an_insert_whose_key_weir_gives_is_a_single_shards(database, tmp_path):
    with psycopg.connect(database.conninfo(), autocommit=True) as c:
        c.execute("ALTER TABLE comments ALTER id SET DEFAULT (random() * 1e15)::bigint")
        c.execute("INSERT INTO comments (user_id, body) VALUES (%s, %s)", (1, "x"))
        c.execute("ALTER TABLE comments ALTER id DROP DEFAULT")
    text = harness.database_toml(database, sharding={"mode": "observe"}, planned=["later"], tables=({"name": "comments", "key": "id", "default_key": "weir.next_id"},))
    (tmp_path / "weir.toml").write_text(text)
    found = json.loads(harness.weirctl("audit", "-c", str(tmp_path / "weir.toml"), "--json", check=False).stdout)
    assert of(found, "INSERT INTO comments")["class"] == "single shard"


def test_rules_that_do_not_fit_are_named(database):
    for rule in ("no_such_table=id", "users=no_such_column"):
        done = harness.weirctl("audit", "--connect", database.conninfo(), "--table", rule, check=False)
        assert done.returncode == 1 and next(word for word in rule.split("=") if word.startswith("no_such")) in done.stderr, done.stderr


def test_wrong_usage_has_its_own_status(database):
    assert harness.weirctl("audit", "--connect", database.conninfo(), "--table", "users", check=False).returncode == 2


def test_a_database_with_nothing_in_the_way_has_status_0_and_one_without_the_extension_is_told(database):
    database.psql("CREATE DATABASE calm")
    database.psql("CREATE TABLE users (id bigint PRIMARY KEY, name text)", dbname="calm")
    done = harness.weirctl("audit", "--connect", database.conninfo(dbname="calm"), "--table", "users=id", check=False)
    assert done.returncode == 0 and "CREATE EXTENSION pg_stat_statements" in done.stdout, done.stdout + done.stderr
