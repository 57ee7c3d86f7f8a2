"""Writes the generated part of docs/compatibility.md: which drivers ran, and a table for each kind of database."""
import datetime
import re

BEGIN, END = "<!-- generated: {} -->", "<!-- end: {} -->"
KINDS = {"plain": "A plain database", "sharded": "A sharded database"}
SIGNS = {"ok": "yes", "refused": "refused", "n/a": "-", "FAILED": "**FAILED**"}


def write(page, source, features, found):
    """`found`: {kind: {driver: {feature: (state, rest of the line)}}}"""
    text = page.read_text()
    begin, end = BEGIN.format(source), END.format(source)
    if begin not in text or end not in text:
        raise SystemExit(f"{page} has no part between {begin} and {end}")
    before, after = text[:text.index(begin) + len(begin)], text[text.index(end):]
    page.write_text(before + "\n\n" + "\n".join(part(features, found)) + "\n" + after)


def part(features, found):
    versions = ", ".join(f"{driver} {cells['version'][1]}" for driver, cells in found["plain"].items())
    yield f"Ran on {datetime.date.today():%Y-%m-%d}: {versions}."
    for kind, drivers in found.items():
        yield f"\n### {KINDS[kind]}\n"
        yield "| | " + " | ".join(drivers) + " |"
        yield "| --- |" + " --- |" * len(drivers)
        for feature, title in features.items():
            cells = [drivers[d].get(feature) for d in drivers]
            if any(cells):
                yield f"| {title} | " + " | ".join(SIGNS[c[0]] if c else "" for c in cells) + " |"
        yield from notes(features, drivers)
    yield ""


def notes(features, drivers):
    """Each message once, with the features and drivers that got it."""
    said = {}
    for driver, cells in drivers.items():
        for feature, (state, rest) in cells.items():
            if state in ("refused", "FAILED", "n/a") and feature in features:
                said.setdefault((feature, plainly(state, rest)), []).append(driver)
    if said:
        yield ""
    for (feature, message), who in said.items():
        yield f"* {features[feature]}: {', '.join(who)}: {message}"


def plainly(state, rest):
    """Without what differs from run to run and what the driver wraps around it."""
    if state == "n/a":
        return rest + "."
    message = re.sub(r"^0A000 |^ERROR: |\((psycopg2?|psycopg)\.errors\.\w+\) |\(SQLSTATE \w+\)", "", rest)
    message = re.sub(r"^ERROR: ", "", message)
    message = re.split(r" ?HINT: | Hint: | \[SQL", message)[0].strip()
    message = re.sub(r"public\.\w+", "the table", message)
    message = re.sub(r"sharding key \w+", "sharding key", message)
    return f"{state}: \"{message}\""
