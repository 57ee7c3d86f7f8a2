"""scripts/demo and bench/compare, as a newcomer runs them."""
import os
import re
import subprocess

import harness


def run(command, **environment):
    return subprocess.run([str(c) for c in command], text=True, capture_output=True, timeout=240 * harness.SLOW, env={**os.environ, **environment})


def rows_of(report, first_column):
    return [line.split() for line in report.splitlines() if re.match(rf"\s+{first_column}\s", line)]


def test_the_demo_spreads_users_over_four_shards_and_fails_no_transaction(tmp_path):
    folder = tmp_path / "demo"
    bin_dir = os.path.dirname(harness.binary("weir"))
    done = run([harness.ROOT / "scripts/lib/demo", "start", "--once", "--seconds", 4, "--clients", 100], WEIR_BIN_DIR=bin_dir,
               WEIR_DEMO_DIR=str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("number of failed transactions: 0 ") == 2, done.stdout
    users = [int(row[1]) for row in rows_of(done.stdout, r"s\d") if row[1].isdigit()]
    assert sum(users) == 1000 and min(users) > 150, done.stdout
    served = re.search(r"100 clients were served over (\d+) server connections", done.stdout)
    assert served and 4 <= int(served[1]) <= 40, done.stdout
    statements = re.search(r"(\d+) to primaries, (\d+) to replicas", done.stdout)
    assert statements and int(statements[1]) > 100 and int(statements[2]) > 10, done.stdout   # how many is up to the machine
    assert not folder.exists(), "the demo left its folder behind"


def test_the_bench_measures_weir_against_pgbouncer_in_one_command():
    done = run([harness.ROOT / "bench/compare", "--quick", "--only", "pgbouncer,weir,weir-routed", "--modes", "simple", "--clients", 8,
                "--no-memory", "--weir", harness.binary("weir")])
    assert done.returncode == 0, done.stdout + done.stderr
    for peer in ("pgbouncer", "weir", "weir-routed"):
        row = re.search(rf"\| simple \| 8 \| {peer} \| ([0-9.]+) \|", done.stdout)
        assert row and float(row[1]) > 0, done.stdout
