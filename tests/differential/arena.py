"""Four shards, a plain database with the same tables and rows, and a Weir in front of the shards; anew for every world."""
import contextlib

import harness
from world import shown

SHARDS = 4
BUCKET = {"int4": "hashint4extended", "int8": "hashint8extended", "text": "hashtextextended", "varchar": "hashtextextended", "uuid": "uuid_hash_extended"}


def copy_line(row, columns):
    text = lambda v: "\\N" if v is None else shown(v).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
    return "\t".join(text(row[c.name]) for c in columns)


class Arena:
    def __enter__(self):
        self.clusters = harness.Clusters("--shards", str(SHARDS), "--replicas", "0", "--max-connections", "60")
        self.number = 0
        return self

    def __exit__(self, *_):
        self.clusters.stop()

    def dsn(self, shard, name):
        return self.clusters.conninfo(shard=shard, dbname=name)

    @contextlib.contextmanager
    def opened(self, world):
        """(DSN of Weir, DSN of the plain database)"""
        self.number += 1
        self.name, self.plain = f"world{self.number}", f"plain{self.number}"
        for i in range(SHARDS):
            self.clusters.psql(f"CREATE DATABASE {self.name}", shard=i, dbname="postgres")
            listed = "".join(t.ddl for t in world.tables if t.listed or i == 0)
            self.clusters.psql(listed, shard=i, dbname=self.name)
        self.clusters.psql(f"CREATE DATABASE {self.plain}", dbname="postgres")
        self.clusters.psql("".join(t.ddl for t in world.tables), dbname=self.plain)
        self.fill(world)
        shards = [{**s, "database": self.name} for s in self.clusters.shards]
        weir = harness.Weir([harness.weir_toml.database(shards, tables=[t.rule for t in world.tables if t.listed])])
        try:
            harness.weirctl("init", "-c", str(weir.config))
            weir.start()
            yield weir.dsn(), self.dsn(0, self.plain)
        finally:
            weir.stop(check=False)
            for i in range(SHARDS):
                self.clusters.psql(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE); DROP DATABASE IF EXISTS {self.plain} WITH (FORCE)".replace("; ", ";\n"), shard=i, dbname="postgres", check=False)

    def fill(self, world):
        """The world's first rows everywhere; a copy stays in schema `first`, for reset()."""
        for i in (*range(SHARDS), None):
            text = "CREATE SCHEMA first;\n"
            for table in self.tables(world, i):
                lines = "".join(copy_line(row, table.columns) + "\n" for row in table.rows)
                text += f"COPY {table.name} ({', '.join(c.name for c in table.columns)}) FROM STDIN;\n{lines}\\.\n"
                if table.key and i is not None:
                    text += f"DELETE FROM {table.name} WHERE NOT {self.belongs(table, i)};\n"
                text += f"CREATE TABLE first.{table.name} AS TABLE {table.name};\n"
            self.clusters.psql(text, shard=i or 0, dbname=self.plain if i is None else self.name)

    @staticmethod
    def tables(world, shard):
        return [t for t in world.tables if t.listed or shard in (0, None)]

    def reset(self, world, shard):
        """SQL that brings a database (of a shard; None: the plain one) back to its first rows."""
        names = [t.name for t in self.tables(world, shard)]
        return f"TRUNCATE {', '.join(names)}; " + "; ".join(f"INSERT INTO {name} TABLE first.{name}" for name in names)

    @staticmethod
    def belongs(table, shard):
        """PostgreSQL's own word for "this row lies on that shard"."""
        function, per_shard = BUCKET[table.column(table.key).type], harness.BUCKETS // SHARDS
        return f"(({function}({table.key}, 0) & {harness.BUCKETS - 1}) / {per_shard} = {shard})"
