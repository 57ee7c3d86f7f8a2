"""Writes weir.toml and users.toml for clusters made by scripts/lib/clusters: for the demo, the tests and the bench."""
import json

BUCKETS = 4096

DEMO_TABLES = (
    {"name": "users", "key": "id"},
    {"name": "orders", "key": "user_id"},
    {"name": "works", "key": "user_id", "month": {"column": "created_at", "layout": "native", "ahead": 3, "timezone": "UTC"}},
    {"name": "countries", "reference": True},
)

DEFAULTS = {
    "listen": {"address": "127.0.0.1", "workers": 2, "drain_timeout": "3s"},
    "admin": {"users": ["weir", "postgres"]},
    "log": {"level": "info"},
    "auth": {"method": "trust"},
    "pool": {"size": 10, "max_per_backend": 40},
}


def value(of):
    if isinstance(of, dict):
        return "{ " + ", ".join(f"{k} = {value(v)}" for k, v in of.items()) + " }"
    if isinstance(of, (list, tuple)):
        return "[" + ", ".join(value(v) for v in of) + "]"
    return json.dumps(of)  # strings, numbers and booleans read the same in TOML


def table(header, values):
    return f"{header}\n" + "".join(f"{k} = {value(v)}\n" for k, v in values.items()) + "\n"


def bucket_share(i, shards, buckets=BUCKETS):
    """The i-th shard's range where all shards have an equal share, in order: "1024-2047"."""
    return f"{i * buckets // shards}-{(i + 1) * buckets // shards - 1}"


def database(shards, name="app", sharded=True, replicas=True, tables=DEMO_TABLES, sharding=None, reads=None, maintenance=None,
             backend="user=postgres", planned=(), **keys):
    """One [[database]] over `shards` of clusters.json (a plain one takes the first only).

    `planned`: names of more shards, which have no server yet. `keys` are more of [[database]]. `backend` is added to every connection string; a shard's own "database" is the dbname behind it.
    """
    shards = shards if sharded else shards[:1]
    text = table("[[database]]", {"name": name, **({"maintenance": maintenance} if maintenance else {}), **keys})
    if sharded:
        text += table("[database.sharding]", {"function": "hash", "buckets": BUCKETS, **(sharding or {})})
    for i, shard in enumerate(shards):
        conninfos = [f"host={n['host']} port={n['port']} dbname={shard['database']} {backend}".strip()
                     for n in [shard["primary"], *shard["replicas"]]]
        values = {"name": shard["name"]}
        if sharded:
            values["buckets"] = bucket_share(i, len(shards) + len(planned))
        values["primary"] = conninfos[0]
        if replicas and conninfos[1:]:
            values["replicas"] = conninfos[1:]
        text += table("[[database.shard]]", values)
    for i, shard in enumerate(planned, len(shards)):
        text += table("[[database.shard]]", {"name": shard, "buckets": bucket_share(i, len(shards) + len(planned))})
    if sharded:
        text += "".join(table("[[database.table]]", t) for t in tables)
    if reads:
        text += table("[database.reads]", reads)
    return text


def settings(port, databases, **sections):
    """A whole weir.toml; `sections` overrides single keys of DEFAULTS or adds some, e.g. pool={"size": 5}."""
    names = list(DEFAULTS) + [s for s in sections if s not in DEFAULTS]
    merged = {s: {**DEFAULTS.get(s, {}), **sections.get(s, {})} for s in names}
    merged["listen"]["port"] = port
    return "".join(table(f"[{s}]", merged[s]) for s in names) + "".join(databases)


def users(passwords):
    """users.toml of {name: password} or {name: {"password": ..., "pool_size": ...}}."""
    rows = ({"name": n, **(v if isinstance(v, dict) else {"password": v})} for n, v in passwords.items())
    return "".join(table("[[user]]", row) for row in rows)
