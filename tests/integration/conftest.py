"""Fixtures of the integration tests. One file is one process, so "session" means: once for each test_*.py.

clusters        four shards with one streaming replica each, the demo's tables, identities by `weirctl init`
plain_clusters  one shard with one replica, empty database `app`
weir            the proxy over `clusters` (sharded database `app`), trust
plain_weir      the proxy over `plain_clusters` (plain database `app`), trust
keys            three keys of each shard of `clusters`: [[of the first], ...]
start_weir      start_weir([database_toml(...)], pool={...}): a proxy of the test's own, stopped at its end

A test that breaks a cluster (kill, promote) puts it back, or starts clusters of its own. Files that use `clusters`
or `weir` run one at a time (see CMakeLists.txt).
"""
import pytest

import harness
import sharded


@pytest.fixture(scope="session")
def clusters():
    found = harness.Clusters("--shards", "4", "--replicas", "1", "--max-connections", "60")
    try:
        harness.create_demo_schema(found)
        initialise(found)
        yield found
    finally:
        found.stop()


def initialise(clusters):
    """`weirctl init` on every shard, with the configuration the `weir` fixture uses."""
    proxy = harness.Weir([harness.database_toml(clusters)])
    try:
        harness.weirctl("init", "-c", str(proxy.config))
    finally:
        proxy.stop()
    clusters.await_replication()


@pytest.fixture(scope="session")
def plain_clusters():
    found = harness.Clusters("--shards", "1", "--replicas", "1")
    yield found
    found.stop()


@pytest.fixture(scope="module")
def weir(clusters):
    with harness.running([harness.database_toml(clusters)]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def plain_weir(plain_clusters):
    with harness.running([harness.database_toml(plain_clusters, sharded=False)]) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def keys(clusters):
    return sharded.spread_keys(clusters)


@pytest.fixture
def start_weir():
    started = []

    def start(databases, ready=True, **options):
        proxy = harness.Weir(databases, **options)
        started.append(proxy)
        return proxy.start(ready=ready)

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture(scope="session")
def shard_of(clusters):
    """shard_of(user_id): the index of the shard that must hold it, by PostgreSQL's own hash function."""
    per_shard = harness.BUCKETS // len(clusters.shards)

    def shard_of(key):
        return int(clusters.psql(f"select (hashint8extended({int(key)}, 0) & {harness.BUCKETS - 1}) / {per_shard}"))

    return shard_of
