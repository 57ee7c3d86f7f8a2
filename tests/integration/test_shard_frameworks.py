"""Django's migrate and test runner, Alembic and Flyway over four shards, with sharded, reference and unlisted tables (tests/frameworks).

What they made is compared with what they make in one database: the same columns, indexes and constraints on every shard that has the table.
"""
import pathlib
import shutil
import subprocess
import sys

import pytest

import harness

FRAMEWORKS = harness.ROOT / "tests/frameworks"
PRIVATE = harness.ROOT / "build/drivers"
STORE = [{"name": "store_customer", "key": "id"}, {"name": "store_order", "key": "customer_id", "unique": "per_shard"}, {"name": "store_country", "reference": True}]
SHOP = [{"name": "customers", "key": "id"}, {"name": "orders", "key": "customer_id"}, {"name": "countries", "reference": True}]
DATABASES = {"django": STORE, "test_app": STORE, "alembic": SHOP, "flyway": SHOP}
MADE = """
  SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
         || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  ORDER BY 1"""


@pytest.fixture(scope="module")
def shards():
    found = harness.Clusters("--shards", "4", "--replicas", "0", "--max-connections", "100")
    try:
        for i in range(4):
            for name in [*DATABASES, *(["plain"] if i == 0 else [])]:
                found.psql(f"CREATE DATABASE {name}", shard=i, dbname="postgres")
        yield found
    finally:
        found.stop()


def database_toml(shards, name, tables):
    return harness.weir_toml.database([{**s, "database": name} for s in shards.shards], name=name, tables=tables)


@pytest.fixture(scope="module")
def proxy(shards):
    home = [{**shards.shards[0], "database": "postgres"}]   # where Django's test runner looks for its database
    databases = [database_toml(shards, name, tables) for name, tables in DATABASES.items()]
    found = harness.Weir([*databases, harness.weir_toml.database(home, name="postgres", sharded=False)], pool={"max_per_backend": 80})
    try:
        harness.weirctl("init", "-c", str(found.config))
        yield found.start()
    finally:
        found.stop()


class Project:
    """One framework's commands on one database: through Weir, and the same directly in a plain database."""

    def __init__(self, proxy, shards, name):
        self.proxy, self.shards, self.name = proxy, shards, name

    def url(self, plain=False):
        port, name = (self.shards.node()["port"], "plain") if plain else (self.proxy.port, self.name)
        return f"postgresql://postgres@127.0.0.1:{port}/{name}"

    def run(self, *command, folder, plain=False, **environment):
        done = subprocess.run([str(c) for c in command], cwd=folder, text=True, capture_output=True, timeout=120 * harness.SLOW,
                              env=harness.clean_environment(DATABASE_URL=self.url(plain), PATH="/usr/bin:/bin", **environment))
        assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}\n{self.proxy.log()[-2000:]}"
        return done.stdout + done.stderr

    def empty_plain(self):
        self.shards.psql("DROP SCHEMA public CASCADE; CREATE SCHEMA public", dbname="plain")

    def rows(self, table, key="1"):
        return self.shards.psql(f"SELECT * FROM {table} ORDER BY {key}", dbname="plain"), self.proxy.psql(f"SELECT * FROM {table} ORDER BY {key}", dbname=self.name)

    def check_schema(self):
        """The home shard has what the plain database has; the others the same of the listed tables, and nothing else."""
        listed = tuple(t["name"] for t in DATABASES[self.name])
        wanted = self.shards.psql(MADE, dbname="plain").splitlines()
        assert wanted == self.shards.psql(MADE, dbname=self.name).splitlines()
        unlisted = {line.split(".")[0] for line in wanted if "." in line.split(" ")[0]} - set(listed)
        own = lambda line: any(name in line for name in unlisted)
        for i in range(1, 4):
            assert [line for line in wanted if not own(line)] == self.shards.psql(MADE, shard=i, dbname=self.name).splitlines(), f"shard {i}"


def test_django_migrates_forth_and_back(proxy, shards):
    pytest.importorskip("django", reason="Django is not installed: scripts/install-deps test")
    project = Project(proxy, shards, "django")
    project.empty_plain()
    migrate = lambda *to, plain=False: project.run(sys.executable, "-B", "-m", "django", "migrate", "-v0", *to, folder=FRAMEWORKS / "django", plain=plain,
                                                   DJANGO_SETTINGS_MODULE="settings")
    for to in [(), ("store", "0001"), (), ("store", "zero"), ()]:
        migrate(*to, plain=True)
        migrate(*to)
        project.check_schema()
    there, here = project.rows("store_customer", "id")
    assert [line.split("|")[:2] for line in here.splitlines()] == [line.split("|")[:2] for line in there.splitlines()] != []
    assert project.rows("store_country", "code")[0] == project.rows("store_country", "code")[1] != ""


def test_djangos_test_runner_runs_a_projects_tests(proxy, shards):
    pytest.importorskip("django", reason="Django is not installed: scripts/install-deps test")
    project = Project(proxy, shards, "django")
    said = project.run(sys.executable, "-B", "-m", "django", "test", "--keepdb", folder=FRAMEWORKS / "django", DJANGO_SETTINGS_MODULE="settings")
    assert "Ran 10 tests" in said and "OK" in said


def test_alembic_upgrades_and_downgrades(proxy, shards):
    alembic = shutil.which("alembic", path="/usr/bin:/bin")
    if not alembic:
        pytest.skip("Alembic is not installed: scripts/install-deps test")
    project = Project(proxy, shards, "alembic")
    project.empty_plain()
    for command in (["upgrade", "head"], ["downgrade", "0001"], ["upgrade", "head"]):
        for plain in (True, False):
            project.run(alembic, *command, folder=FRAMEWORKS / "alembic", plain=plain)
        project.check_schema()
    for table, key in {"orders": "customer_id, id", "countries": "code"}.items():
        there, here = project.rows(table, key)
        assert here == there != "", table
    for plain in (True, False):
        project.run(alembic, "downgrade", "base", folder=FRAMEWORKS / "alembic", plain=plain)
    project.check_schema()


def flyway():
    """The command that runs Flyway; its jars come from Maven Central once, into build/drivers."""
    if not shutil.which("mvn") or not shutil.which("javac"):
        pytest.skip("Flyway needs Maven and a JDK: apt-get install maven default-jdk-headless")
    folder = PRIVATE / "flyway"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "Migrate.class").exists():
        got = subprocess.run(["mvn", "-q", "-B", "-f", FRAMEWORKS / "flyway/pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={folder}/jars"],
                             capture_output=True, text=True, timeout=240)
        if got.returncode != 0:
            pytest.skip(f"Maven Central does not give Flyway: {got.stdout[-300:]}")
        subprocess.run(["javac", "-cp", f"{folder}/jars/*", "-d", folder, FRAMEWORKS / "flyway/Migrate.java"], check=True)
    return ["java", "-cp", f"{folder}/jars/*:{folder}", "Migrate"]


def test_flyway_migrates_validates_and_cleans(proxy, shards):
    command = flyway()
    project = Project(proxy, shards, "flyway")
    project.empty_plain()

    def run(*commands):
        for plain in (True, False):
            project.run(*command, "jdbc:" + project.url(plain).replace("postgres@", ""), "postgres", FRAMEWORKS / "flyway/sql", *commands, folder=FRAMEWORKS, plain=plain)
        project.check_schema()

    run("migrate", "validate", "info", "migrate")
    for table, key in {"customers": "id", "orders": "customer_id, id", "countries": "code"}.items():
        there, here = project.rows(table, key)
        assert here == there != "", table
    run("clean")
