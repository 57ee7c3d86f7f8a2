"""Dashboard, alerts and docs/monitoring.md name what /metrics really has; promtool (Debian package prometheus) finds nothing wrong."""
import contextlib
import json
import pathlib
import re
import shutil
import subprocess

import pytest

import harness
from metrics_client import get, scrape

DOCS = harness.ROOT / "docs"
NAME = re.compile(r"\b((?:weir|process)_[a-z0-9_]+)")
needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")


def family(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


def named_in(text):
    return set(NAME.findall(text))


@pytest.fixture(scope="module")
def http(plain_clusters):
    port = harness.free_port()
    weir = harness.Weir([harness.database_toml(plain_clusters, sharded=False)], admin={"http": f"127.0.0.1:{port}"})
    try:
        weir.start()
        weir.psql("select 1")
        harness.wait_for(lambda: scrape(port).all("weir_backend_replica_lag_seconds"), "the replica's lag")
        with contextlib.closing(weir.connect()) as listener:
            listener.cursor().execute("LISTEN news")
            harness.wait_for(lambda: scrape(port).all("weir_listen_subscriptions"), "the channel that is listened to")
            yield port
    finally:
        weir.stop()


@pytest.fixture(scope="module")
def live(http):
    sharded = {"weir_bucket_map_version", "weir_in_doubt_transactions", "weir_recovered_transactions_total", "weir_routes_total", "weir_spanning_transactions_total"}
    return scrape(http).names() | sharded


@pytest.fixture(scope="module")
def panels():
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    return {name for panel in dashboard["panels"] for target in panel.get("targets", []) for name in named_in(target["expr"])}


def test_what_the_dashboard_shows_exists(live, panels):
    assert panels and not panels - live


def test_what_the_alerts_watch_exists(live):
    watched = named_in("".join(line for line in (DOCS / "alerts.yml").read_text().splitlines() if "description" not in line))
    assert watched and not watched - live


def test_every_metric_has_a_panel_and_a_line_in_the_documentation(live, panels):
    families = {family(name) for name in live}
    assert not families - {family(name) for name in panels}
    documented = {name for line in pathlib.Path(DOCS, "monitoring.md").read_text().splitlines() if line.startswith("| `") for name in named_in(line)}
    assert families == documented


@needs_promtool
def test_promtool_finds_nothing_to_improve_in_the_metrics(http):
    done = subprocess.run(["promtool", "check", "metrics"], input=get(http, "/metrics")[1], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr.strip(), done.stdout + done.stderr


@needs_promtool
@pytest.mark.parametrize("command", (["check", "rules", "alerts.yml"], ["test", "rules", "tests/alerts_test.yml"]), ids=" ".join)
def test_the_alerts_pass(command):
    done = subprocess.run(["promtool", *command], cwd=DOCS, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_alert_has_a_test():
    alerts = set(re.findall(r"- alert: (\w+)", (DOCS / "alerts.yml").read_text()))
    tested = set(re.findall(r"alertname: (\w+)", (DOCS / "tests/alerts_test.yml").read_text()))
    assert alerts == tested
