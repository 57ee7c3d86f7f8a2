"""pgbench's own scripts through a plain database, in all three protocols: no transaction fails, and the books balance."""
import re
import subprocess

import pytest

import harness


@pytest.fixture(scope="module")
def weir(plain_clusters):
    done = subprocess.run([str(harness.PG_BIN / "pgbench"), "-i", "-q", "-s", "2", plain_clusters.conninfo()], text=True, capture_output=True,
                          env=harness.clean_environment(), timeout=120)
    assert done.returncode == 0, done.stderr
    plain_clusters.await_replication()
    with harness.running([harness.database_toml(plain_clusters, sharded=False)], pool={"size": 8, "max_per_backend": 8}) as proxy:
        yield proxy


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", [[], ["-N"], ["-S"]], ids=["tpcb", "N", "S"])
def test_pgbench_runs_clean(weir, plain_clusters, protocol, script):
    done = weir.pgbench("-M", protocol, "-c", "20", "-j", "2", "-t", "25", *script)
    assert done.returncode == 0, done.stderr
    assert re.search(r"number of transactions actually processed: 500/500", done.stdout), done.stdout
    assert re.search(r"number of failed transactions: 0 ", done.stdout), done.stdout
    if not script:
        sums = plain_clusters.psql("select (select sum(abalance) from pgbench_accounts) - (select sum(delta) from pgbench_history),"
                                   "(select sum(tbalance) from pgbench_tellers) - (select sum(bbalance) from pgbench_branches)")
        assert sums.split("|")[1] == "0"
    assert all(int(r["server_connections_max_seen"]) <= 8 for r in weir.console("SHOW BACKENDS"))


def test_five_hundred_pgbench_clients_on_eight_servers(weir):
    done = weir.pgbench("-S", "-M", "prepared", "-c", "500", "-j", "2", "-t", "4")
    assert done.returncode == 0, done.stderr
    assert re.search(r"number of failed transactions: 0 ", done.stdout), done.stdout
