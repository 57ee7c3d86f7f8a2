"""Asks admin.http, and reads Prometheus' text format."""
import re
import urllib.error
import urllib.request

SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


def get(port, path, timeout=10):
    """(status, body) of a page."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


class Metrics:
    """One scrape: metrics.sum("weir_clients", state="idle") adds up every series that has these labels."""

    def __init__(self, text):
        self.text = text
        self.samples = []
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, labels, value = SAMPLE.match(line).groups()
                self.samples.append((name, dict(LABEL.findall(labels or "")), float(value)))
        assert len({(n, tuple(sorted(ls.items()))) for n, ls, _ in self.samples}) == len(self.samples), "a series appears twice"

    def names(self):
        return {name for name, _, _ in self.samples}

    def all(self, name, **labels):
        return [(ls, v) for n, ls, v in self.samples if n == name and all(ls.get(k) == want for k, want in labels.items())]

    def sum(self, name, **labels):
        found = self.all(name, **labels)
        assert found, f"no series {name}{labels}"
        return sum(v for _, v in found)


def scrape(port):
    status, text = get(port, "/metrics")
    assert status == 200, text
    return Metrics(text)
