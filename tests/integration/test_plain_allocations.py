"""No statement allocates in the steady state: the workers' heap allocations are counted while pgbench runs through it, longer and longer.

The counter is a preloaded library (tests/support/count_malloc.c), not a mock: everything else is the real thing.
"""
import os
import pathlib
import struct

import pytest

import harness

COUNTER = pathlib.Path(harness.binary("weir")).parent / "libcount_malloc.so"
CLIENTS = 8
SCRIPTS = {
    "select": "\\set id random(1, 100)\nSELECT n FROM counted WHERE id = :id;\n",
    "transaction": "\\set id random(1, 100)\nBEGIN;\nUPDATE counted SET n = n + 1 WHERE id = :id;\nSELECT n FROM counted WHERE id = :id;\nEND;\n",
}


@pytest.fixture(scope="module", params=["plain", "observed"])
def counting(plain_clusters, request):
    if not COUNTER.exists():
        pytest.skip("no libcount_malloc.so beside weir: a sanitizer counts its own allocations")
    plain_clusters.psql("CREATE TABLE counted (id int PRIMARY KEY, n int); INSERT INTO counted SELECT i, 0 FROM generate_series(1, 100) i")
    observed = {"sharding": {"mode": "observe"}, "planned": ["later"], "tables": ({"name": "counted", "key": "id"},)}
    database = harness.database_toml(plain_clusters, **(observed if request.param == "observed" else {"sharded": False}))
    proxy = harness.Weir([database], pool={"size": 3, "max_per_backend": 10}, listen={"workers": 1},
                         log={"connections": False, "disconnections": False})
    counter = pathlib.Path(proxy.directory, "allocations")
    os.environ["LD_PRELOAD"], os.environ["WEIR_COUNT_MALLOC"] = str(COUNTER), str(counter)
    try:
        proxy.start()
    finally:
        del os.environ["LD_PRELOAD"], os.environ["WEIR_COUNT_MALLOC"]
    try:
        yield proxy, lambda: struct.unpack("N", counter.read_bytes())[0]
    finally:
        proxy.stop()
        plain_clusters.psql("DROP TABLE counted")


def allocations(counting, script, mode, transactions):
    """Heap allocations of the proxy during one run of pgbench."""
    proxy, count = counting
    before = count()
    done = proxy.pgbench("-M", mode, "-c", str(CLIENTS), "-j", "1", "-t", str(transactions), "-f", str(script))
    assert done.returncode == 0, done.stderr
    return count() - before


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_statements_do_not_allocate(counting, tmp_path, name, mode):
    script = tmp_path / "script.sql"
    script.write_text(SCRIPTS[name])
    allocations(counting, script, mode, 50)  # caches and buffers grow to their sizes
    few, many = allocations(counting, script, mode, 50), allocations(counting, script, mode, 1050)
    statements = 1000 * CLIENTS * SCRIPTS[name].count(";")
    assert few > 0  # logins allocate
    assert many - few < statements / 100, f"{many - few} allocations for {statements} statements more"
