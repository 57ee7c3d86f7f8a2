"""Random INSERTs, UPDATEs, DELETEs, COPYs and transactions around them and SELECTs."""
from grammar import SHARDED
from grammar_select import SelectGrammar
from statement import ANY_ORDER, AS_IT_CAME, Statement
from world import shown

WRITTEN = [*SHARDED, *SHARDED, "countries", "settings"]
BEGINS = ["BEGIN", "BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL READ COMMITTED", "BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN READ WRITE", "BEGIN READ ONLY"]


class WriteGrammar(SelectGrammar):
    def write(self):
        self.begin()
        text, order = self.one(self.insert, self.insert, self.insert, self.insert_select, self.update, self.update, self.update, self.delete, self.delete, self.write_in_with, self.wrong_write)
        return Statement(text, self.values, {"write", *self.constructs}, order, writes=True)

    def written(self):
        table = self.world.table(self.random.choice(WRITTEN))
        if table.reference:
            self.is_("reference table")
        elif not table.key:
            self.is_("unlisted table")
        return table

    def returning(self, table, alias):
        if not self.chance(0.35):
            return ""
        self.is_("RETURNING")
        scope = [(alias, table)]
        return " RETURNING " + self.one(lambda: "*", lambda: ", ".join(self.unique(scope)), lambda: self.targets(scope).replace("*", f"{alias}.*") if self.chance(0) else self.expression(scope)[0])

    # --- INSERT

    def row_value(self, table, column):
        """The text of one value of a row to insert."""
        if column.name == table.key:
            key = self.key_value(table)
            way = self.random.choice(["value"] * 8 + ["cast", "expression", "text"])
            if way == "expression" and column.type in ("int4", "int8"):
                self.is_("INSERT key computed")
                return self.computed_key(table)
            return f"{key}::{column.type}" if way == "cast" else key
        if column.name == "n":
            return self.mark("int4", self.random.randint(0, 40))
        value = self.world.new_value(column, null=0.2)
        if column.default is not None and self.chance(0.2):
            self.is_("DEFAULT")
            return "DEFAULT"
        return self.mark(column.type, value)

    def insert(self):
        table = self.written()
        count = self.random.choice([1, 1, 2, 3, 5, 12])
        self.is_("INSERT" if count == 1 else "INSERT of rows")
        columns = list(table.columns)
        listed = self.chance(0.75)
        if listed:
            keep = [c for c in columns if c.not_null or c.name in table.unique or self.chance(0.7)]
            columns = self.random.sample(keep, len(keep))
        else:
            self.is_("INSERT without columns")
        rows = ", ".join("(" + ", ".join(self.row_value(table, c) for c in columns) + ")" for _ in range(count))
        names = f" ({', '.join(c.name for c in columns)})" if listed else ""
        tail = self.on_conflict(table) if self.chance(0.45) else ""
        # Which of the rows were left out, nobody tells: Weir gives the others in some order.
        order = ANY_ORDER if tail else AS_IT_CAME
        return f"INSERT INTO {table.name}{' AS a' if self.chance(0.2) else ''}{names} VALUES {rows}{tail}{self.returning_of_insert(table)}", order

    def returning_of_insert(self, table):
        if not self.chance(0.4):
            return ""
        self.is_("INSERT RETURNING")
        return " RETURNING " + self.random.choice(["*", ", ".join(table.unique), f"{table.unique[0]} AS k, {table.columns[0].name}"])

    def on_conflict(self, table):
        self.is_("ON CONFLICT")
        settable = [c for c in table.columns if c.name not in table.unique]
        if not settable or self.chance(0.5):
            return self.random.choice([" ON CONFLICT DO NOTHING", f" ON CONFLICT ({', '.join(table.unique)}) DO NOTHING"])
        column = self.random.choice(settable)
        value = self.one(lambda: f"excluded.{column.name}", lambda: self.mark(column.type, self.world.new_value(column, 0)))
        where = f" WHERE {table.name}.{column.name} IS NOT NULL" if self.chance(0.2) else ""
        return f" ON CONFLICT ({', '.join(table.unique)}) DO UPDATE SET {column.name} = {value}{where}"

    def insert_select(self):
        self.is_("INSERT SELECT")
        table = self.written()
        source = self.world.table(self.random.choice(SHARDED))
        scope = [("s", source)]
        made = {}
        for column in table.columns:
            if column.name == table.key:
                same = source.column(source.key).type == column.type
                made[column.name] = f"s.{source.key}" if same and self.chance(0.8) else self.key_value(table)
            elif column.name == "n":
                made[column.name] = self.random.choice(["s.n + 50", "s.n", "row_number() OVER () + 100"]) if "n" in [c.name for c in source.columns] else "60"
            elif column.not_null or self.chance(0.6):
                made[column.name] = f"coalesce({self.column(scope, [column.type])[0]}, {self.mark(column.type, self.world.new_value(column, 0), True)})"
        if "row_number" in made.get("n", "") and self.chance(0.9):
            made["n"] = "70"
        names = list(made)
        where = self.where(scope)
        # Of several rows with one key, which is put in would be anybody's choice.
        apart = {source.key: made.get(table.key) == f"s.{source.key}", "n": made.get("n", "").startswith("s.n")}
        tail = " ON CONFLICT DO NOTHING" if all(apart.get(c) for c in source.unique) and self.chance(0.5) else ""
        return f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(made[n] for n in names)} FROM {source.name} s{where}{tail}", ANY_ORDER

    # --- UPDATE, DELETE

    def assignment(self, table, scope):
        settable = [c for c in table.columns if c.name not in table.unique]
        if self.chance(0.06) and table.key:
            self.is_("UPDATE of the key")
            return f"{table.key} = {self.key_value(table)}"
        if not settable:
            return f"{table.unique[-1]} = a.{table.unique[-1]}"
        column = self.random.choice(settable)
        value = self.one(lambda: self.mark(column.type, self.world.new_value(column)), lambda: self.mark(column.type, self.world.new_value(column)),
                         lambda: self.column(scope, [column.type])[0], lambda: self.computed(column), lambda: self.chosen(column, scope))
        return f"{column.name} = {value}"

    def computed(self, column):
        if column.type in ("int4", "int8", "numeric", "float8"):
            return f"coalesce(a.{column.name}, 0) + 1"
        return f"a.{column.name} || 'x'" if column.type == "text" else "DEFAULT"

    def chosen(self, column, scope):
        if column.type not in ("int4", "int8", "numeric"):
            return f"a.{column.name}"
        self.is_("SET of a subquery")
        return self.random.choice(["(SELECT max(n) FROM countries)", "(SELECT count(*) FROM orders)", "(SELECT count(*) FROM orders o WHERE o.user_id::text = a.%s::text)" % scope[0][1].unique[0]])

    def update(self):
        table = self.written()
        scope = [("a", table)]
        self.is_("UPDATE")
        if self.chance(0.2):
            return self.update_from(table)
        made = ", ".join(dict.fromkeys(self.assignment(table, scope) for _ in range(1)))
        return f"UPDATE {table.name} a SET {made}{self.write_where(scope)}{self.returning(table, 'a')}", ANY_ORDER

    def write_where(self, scope):
        """Most bind a key, so that the tables keep rows."""
        if scope[0][1].key and self.chance(0.5):
            return f" WHERE {self.key_condition(scope)}"
        return f" WHERE {self.condition(scope)}" if self.chance(0.8) else ""

    def update_from(self, table):
        """Joined so that a row meets one row at most."""
        self.is_("UPDATE FROM")
        users, countries = self.world.table("users"), self.world.table("countries")
        settable = [c for c in table.columns if c.name not in table.unique] or [table.columns[0]]
        column = self.random.choice(settable)
        if table.key and table.column(table.key).type == users.column("id").type and self.chance(0.6):
            value = self.column([("u", users)], [column.type])[0]
            return f"UPDATE {table.name} a SET {column.name} = coalesce({value}, a.{column.name}) FROM users u WHERE u.id = a.{table.key}", ANY_ORDER
        number = self.column([("a", table)], ["int4"])[0]
        value = self.column([("c", countries)], [column.type])[0]
        return f"UPDATE {table.name} a SET {column.name} = coalesce({value}, a.{column.name}) FROM countries c WHERE c.n = {number}", ANY_ORDER

    def delete(self):
        table = self.written()
        scope = [("a", table)]
        self.is_("DELETE")
        if self.chance(0.2) and table.key:
            self.is_("DELETE USING")
            other = self.world.table(self.random.choice(["users", "orders", "countries"]))
            on = f"b.{other.key} = a.{table.key}" if other.key and other.column(other.key).type == table.column(table.key).type and self.chance(0.8) else f"b.{other.unique[-1]}::text = a.{table.unique[-1]}::text"
            return f"DELETE FROM {table.name} a USING {other.name} b WHERE {on} AND {self.condition([('b', other)], 2)}{self.returning(table, 'a')}" if "RETURNING" in self.constructs else \
                   f"DELETE FROM {table.name} a USING {other.name} b WHERE {on} AND {self.condition([('b', other)], 2)}", ANY_ORDER
        if self.chance(0.03):
            self.is_("DELETE of all")
            return f"DELETE FROM {table.name}", ANY_ORDER
        return f"DELETE FROM {table.name} a WHERE {self.key_condition(scope) if table.key and self.chance(0.5) else self.condition(scope, 1)}{self.returning(table, 'a')}", ANY_ORDER

    def write_in_with(self):
        self.is_("write in WITH")
        inner, _ = self.one(self.update, self.delete)
        if " RETURNING " not in inner:
            inner += " RETURNING 1 AS one"
        return self.one(lambda: (f"WITH w AS ({inner}) SELECT count(*) FROM w", ANY_ORDER), lambda: (f"WITH w AS ({inner}) SELECT count(*) FROM users", ANY_ORDER))

    def wrong_write(self):
        self.is_("an error of PostgreSQL's")
        table = self.world.table(self.random.choice(SHARDED))
        key = self.key_value(table)
        return self.random.choice([f"INSERT INTO {table.name} ({table.key}) VALUES ({key}, 1)", f"INSERT INTO {table.name} (nothing) VALUES (1)", f"UPDATE {table.name} SET nothing = 1",
                                   f"UPDATE {table.name} SET n = 'x' WHERE {table.key} = {key}", f"DELETE FROM {table.name} WHERE nothing", f"INSERT INTO {table.name} VALUES ({key})",
                                   f"INSERT INTO {table.name} ({table.key}) VALUES (NULL)", f"UPDATE {table.name} SET {table.unique[-1]} = NULL", "INSERT INTO nowhere VALUES (1)",
                                   f"DELETE FROM {table.name} WHERE 1/0 = 1"]), ANY_ORDER

    # --- COPY, TRUNCATE, strings of several

    def copy(self):
        self.begin()
        table = self.written()
        if self.chance(0.5):
            self.is_("COPY TO")
            if self.chance(0.6):
                return self.copy_of_query()
            what = self.random.choice([table.name, f"(SELECT * FROM {table.name} a{self.where([('a', table)])})"])
            return Statement(f"COPY {what} TO STDOUT{self.random.choice(['', ' WITH (FORMAT csv)'])}", self.values, {"COPY", *self.constructs})
        self.is_("COPY FROM")
        columns = [c for c in table.columns if c.not_null or c.name in table.unique or self.chance(0.7)]
        csv = self.chance(0.5)
        rows = [[self.copied(table, c) for c in columns] for _ in range(self.random.choice([1, 4, 9]))]
        lines = (",".join('"' + v.replace('"', '""') + '"' if v is not None else "" for v in row) if csv else
                 "\t".join(v.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n") if v is not None else "\\N" for v in row) for row in rows)
        text = f"COPY {table.name} ({', '.join(c.name for c in columns)}) FROM STDIN{' WITH (FORMAT csv)' if csv else ''}"
        return Statement(text, self.values, {"COPY", *self.constructs}, writes=True, copy_data="".join(line + "\n" for line in lines))

    def copy_of_query(self):
        """Sorted, counted or put together: what is copied is the query's answer, in its order."""
        self.is_("COPY of a query")
        query, order = self.one(self.rows, self.rows, self.groups, self.aggregates, self.distinct, self.sets)
        options = ["", "", " CSV", " CSV HEADER", " WITH (FORMAT csv, FORCE_QUOTE *, NULL 'none')", " WITH (DELIMITER '|', NULL '')", " WITH (HEADER)", " WITH (FORMAT csv, DELIMITER ';', QUOTE '@', ESCAPE '!')"]
        # Of the binary format the header comes with the first row.
        return Statement(f"COPY ({query}) TO STDOUT{self.random.choice([*options, ' WITH (FORMAT binary)'] if order == AS_IT_CAME else options)}", self.values, {"COPY", *self.constructs}, order)

    def copied(self, table, column):
        if column.name == table.key:
            return shown(self.random.choice(self.world.key_values(table)))
        value = self.random.randint(100, 900) if column.name == "n" else self.world.new_value(column)
        return None if value is None else shown(value)

    def truncate(self):
        self.begin()
        self.is_("TRUNCATE")
        return Statement(f"TRUNCATE {self.random.choice(['items', 'orders, items', 'countries', 'settings, codes', 'ONLY users'])}", [], {"write", *self.constructs}, writes=True)

    def several(self):
        """A few statements in one string: one transaction to PostgreSQL."""
        parts = [self.random.choice([self.select, self.write])() for _ in range(self.random.randint(2, 3))]
        return Statement("; ".join(p.with_literals() for p in parts), [], {"several in a string"}.union(*(p.constructs for p in parts)), ANY_ORDER, any(p.writes for p in parts), several=True)

    # --- what is run

    def statement(self, in_transaction=False):
        dice = self.random.random()
        if dice < 0.58:
            return self.select()
        if dice < 0.93:
            return self.write()
        if dice < 0.96 or in_transaction:
            return self.copy()
        return self.truncate() if dice < 0.963 else self.several()

    def script(self):
        """[Statement]: one alone, one with several sets of values, or a transaction."""
        if self.chance(0.6):
            return [self.statement()]
        if self.chance(0.4):
            first = self.select() if self.chance(0.6) else self.write()
            return [first, *(first.redrawn(self.world, self.random) for _ in range(2))]
        control = lambda text: Statement(text, [], {"transaction control"}, AS_IT_CAME)
        steps = [control(self.random.choice(BEGINS))]
        savepoints = []
        for _ in range(self.random.randint(1, 6)):
            dice = self.random.random()
            if dice < 0.15:
                savepoints.append(f"s{len(savepoints)}")
                steps.append(control(f"SAVEPOINT {savepoints[-1]}"))
            elif dice < 0.3 and savepoints:
                steps.append(control(f"{self.random.choice(['ROLLBACK TO', 'ROLLBACK TO SAVEPOINT', 'RELEASE'])} {self.random.choice(savepoints)}"))
            else:
                steps.append(self.statement(in_transaction=True))
                steps[-1].constructs |= {"in a transaction"}
        return [*steps, control(self.random.choice(["COMMIT", "COMMIT", "ROLLBACK", "END"]))]
