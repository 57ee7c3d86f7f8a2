"""Random SELECTs: joins, groups, orders, limits, sets, windows, CTEs, and what the wrong-answers page names."""
from grammar import SHARDED, Grammar
from statement import ANY_ORDER, AS_IT_CAME, Statement

COMMENTS = ["/* a comment */ ", "-- user_id = 1\n", "/* WHERE id = 2 */ "]


class SelectGrammar(Grammar):
    def select(self):
        self.begin()
        text, order = self.one(self.rows, self.rows, self.rows, self.groups, self.groups, self.aggregates, self.distinct, self.sets, self.windows, self.nested, self.bare,
                               self.locking, self.overlooked, self.wrong)
        if self.chance(0.04):
            self.is_("comment in front")
            text = self.random.choice(COMMENTS) + text
        return Statement(text, self.values, {"SELECT", *self.constructs}, order)

    # --- FROM

    def source(self):
        """([(alias, table)], text)"""
        first = self.world.table(self.random.choice(SHARDED))
        if self.chance(0.5):
            return [("a", first)], f"{first.name} a"
        return self.one(lambda: self.join(first), lambda: self.join(first), lambda: self.join(first), lambda: self.reference_join(first), lambda: self.lateral(first), lambda: self.three(first),
                        lambda: self.comma(first), lambda: self.unlisted_join(first), lambda: self.derived_join(first))

    def join(self, first):
        second = self.world.table(self.random.choice(SHARDED))
        scope = [("a", first), ("b", second)]
        kind = self.random.choice(["JOIN", "JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        self.is_("self join" if first is second else kind)
        if self.chance(0.65) and first.column(first.key).type == second.column(second.key).type:
            on = f"a.{first.key} = b.{second.key}"
            self.is_("join on the keys")
        else:
            a, type_of = self.column([("a", first)])
            on = f"{a} = {self.column([('b', second)], [type_of])[0]}"
            self.is_("join on other columns")
        if kind != "FULL JOIN" and self.chance(0.25):
            on += f" AND {self.condition(scope, 2)}"
        return scope, f"{first.name} a {kind} {second.name} b ON {on}"

    def three(self, first):
        self.is_("three tables")
        scope, text = self.join(first)
        third = self.world.table(self.random.choice(["users", "orders", "countries"]))
        on = f"a.{first.key} = c.{third.key}" if third.key and third.column(third.key).type == first.column(first.key).type else f"c.n = a.{first.unique[-1]}" if third.name != "users" and first.column(first.unique[-1]).type == "int4" else "true"
        return [*scope, ("c", third)], f"{text} {self.random.choice(['JOIN', 'LEFT JOIN'])} {third.name} c ON {on}"

    def reference_join(self, first):
        self.is_("join with a reference table")
        countries = self.world.table("countries")
        scope = [("a", first), ("b", countries)]
        kind = self.random.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "CROSS JOIN"])
        on = "" if kind == "CROSS JOIN" else f" ON b.n = {self.column([('a', first)], ['int4'])[0]}"
        if self.chance(0.3):
            return [("b", countries), ("a", first)], f"countries b {kind} {first.name} a{on}"
        return scope, f"{first.name} a {kind} countries b{on}"

    def unlisted_join(self, first):
        self.is_("join with an unlisted table")
        return [("a", first), ("b", self.world.table("settings"))], f"{first.name} a JOIN settings b ON b.n = {self.column([('a', first)], ['int4'])[0]}"

    def comma(self, first):
        self.is_("FROM a, b")
        second = self.world.table(self.random.choice(SHARDED))
        return [("a", first), ("b", second)], f"{first.name} a, {second.name} b"

    def lateral(self, first):
        self.is_("LATERAL")
        orders = self.world.table("orders")
        same = first.column(first.key).type == self.world.key_type and first.name != "codes"
        where = f"o.user_id = a.{first.key}" if same and self.chance(0.8) else "o.n = 1"
        return [("a", first), ("b", orders)], f"{first.name} a, LATERAL (SELECT * FROM orders o WHERE {where}) b"

    def derived_join(self, first):
        self.is_("derived table")
        second = self.world.table(self.random.choice(SHARDED))
        inner = self.where([("s", second)], 0.5)
        scope = [("a", first), ("b", second)]
        on = f"a.{first.key}::text = b.{second.key}::text" if self.chance(0.3) or first.column(first.key).type != second.column(second.key).type else f"a.{first.key} = b.{second.key}"
        return scope, f"{first.name} a JOIN (SELECT * FROM {second.name} s{inner}) b ON {on}"

    # --- ORDER BY and LIMIT

    def direction(self):
        word = self.random.choice(["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"])
        if word:
            self.is_(word.strip())
        return word

    def total_order(self, scope):
        """ORDER BY that leaves no two rows equal."""
        self.is_("ORDER BY")
        first = self.expression(scope, 1)[0] if self.chance(0.3) else self.column(scope)[0]
        return ", ".join([first + self.direction(), *[u + self.direction() for u in self.unique(scope)]])

    def limit(self):
        way = self.random.choice(["", "", "LIMIT", "OFFSET", "LIMIT OFFSET", "FETCH FIRST", "LIMIT 0", "LIMIT NULL", "LIMIT in a parameter", "LIMIT ALL", "computed LIMIT"])
        if way:
            self.is_(way)
        r = self.random
        return {"": "", "LIMIT": f" LIMIT {r.randint(1, 6)}", "OFFSET": f" OFFSET {r.randint(0, 5)}", "LIMIT OFFSET": f" LIMIT {r.randint(1, 5)} OFFSET {r.randint(0, 4)}",
                "FETCH FIRST": f" FETCH FIRST {r.randint(1, 4)} ROWS ONLY", "LIMIT 0": " LIMIT 0", "LIMIT NULL": " LIMIT NULL", "LIMIT ALL": " LIMIT ALL",
                "LIMIT in a parameter": f" LIMIT {self.mark('int8', r.randint(0, 5))} OFFSET {self.mark('int8', r.randint(0, 3))}" if way == "LIMIT in a parameter" else "",
                "computed LIMIT": " LIMIT 1 + 2"}[way]

    # --- the kinds of SELECT

    def targets(self, scope):
        r = self.random
        if len(scope) == 1 and self.chance(0.15):
            return "*"
        made = [self.expression(scope)[0] + (f" AS x{i}" if self.chance(0.4) else "") for i in range(r.randint(1, 4))]
        return ", ".join(made)

    def rows(self):
        scope, source = self.source()
        text = f"SELECT {self.targets(scope)} FROM {source}{self.where(scope)}"
        if self.chance(0.4):
            return text, ANY_ORDER
        if self.chance(0.25):
            return self.sorted_by_outputs(scope, source)
        order, is_sum_of_sides = self.total_order(scope), " FULL JOIN " in source or " LEFT JOIN " in source or " RIGHT JOIN " in source
        if self.chance(0.06):
            self.is_("WITH TIES")
            return f"{text} ORDER BY {self.column(scope)[0]} FETCH FIRST {self.random.randint(1, 3)} ROWS WITH TIES", ANY_ORDER
        del is_sum_of_sides   # the keys of the missing side are NULL, those of the other tell the rows apart
        return f"{text} ORDER BY {order}{self.limit()}", AS_IT_CAME

    def sorted_by_outputs(self, scope, source):
        """By ordinals or names of outputs; rows that are equal there may come in any order."""
        self.is_("ORDER BY output")
        made = [self.expression(scope)[0] for _ in range(2)]
        by = ", ".join(self.random.choice([str(i + 1), f"x{i}"]) + self.direction() for i in range(2))
        rest = f", {self.column(scope)[0]}" if self.chance(0.5) else ""
        return f"SELECT {made[0]} AS x0, {made[1]} AS x1{rest} FROM {source}{self.where(scope)} ORDER BY {by}", 2

    def aggregate(self, scope):
        column, kind = self.column(scope)
        number = self.number(scope)
        orderable = f"min({column})" if kind not in ("bool", "uuid") else f"min({column}::text)"
        name, text = self.random.choice([
            ("count(*)", "count(*)"), ("count", f"count({column})"), ("count(DISTINCT)", f"count(DISTINCT {column})"), ("min, max", orderable), ("min, max", orderable.replace("min", "max", 1)),
            ("sum", f"sum({number})"), ("avg", f"avg({number})"), ("coalesce(sum)", f"coalesce(sum({number}), 0)"), ("sum / count", f"sum({number}) / nullif(count(*), 0)"),
            ("FILTER", f"count(*) FILTER (WHERE {self.condition(scope, 2)})"), ("bool_or, bool_and", f"bool_or({column} IS NULL)"), ("bool_or, bool_and", f"bool_and({column} IS NOT NULL)"),
            ("string_agg", f"string_agg({column}::text, ',' ORDER BY {column}::text)"), ("array_agg", f"array_agg({number} ORDER BY {number})"), ("stddev", f"stddev({self.column(scope, ['int4'])[0]})"),
            ("percentile", f"percentile_cont(0.5) WITHIN GROUP (ORDER BY {self.column(scope, ['float8'])[0]})"), ("sum(DISTINCT)", f"sum(DISTINCT {number})"),
            ("avg", f"avg({number})::numeric(12,3)"), ("sum", f"sum({number} + 1)")])
        self.is_(name)
        return text

    def aggregates(self):
        scope, source = self.source()
        made = ", ".join(self.aggregate(scope) for _ in range(self.random.randint(1, 3)))
        having = f" HAVING {self.aggregate(scope)} IS NOT NULL" if self.chance(0.1) else ""
        return f"SELECT {made} FROM {source}{self.where(scope)}{having}", ANY_ORDER

    def group_by(self, by, aliased):
        r = self.random
        if self.chance(0.12):
            self.is_("GROUPING SETS")
            return r.choice([f"ROLLUP ({', '.join(by)})", f"CUBE ({', '.join(by)})", f"GROUPING SETS (({', '.join(by)}), ())"])
        if self.chance(0.3):
            self.is_("GROUP BY ordinal")
            return ", ".join(str(i + 1) for i in range(len(by)))
        if aliased and self.chance(0.5):
            self.is_("GROUP BY alias")
            return ", ".join(f"g{i}" for i in range(len(by)))
        return ", ".join(by)

    def groups(self):
        self.is_("GROUP BY")
        scope, source = self.source()
        by = list(dict.fromkeys(self.expression(scope, 1)[0] if self.chance(0.3) else self.column(scope)[0] for _ in range(self.random.randint(1, 2))))
        if any("\x01" in b for b in by):   # the same parameter twice is not the same expression
            by = [self.column(scope)[0]]
        aggregates = [self.aggregate(scope) for _ in range(self.random.randint(0, 3))]
        aliased = self.chance(0.4)
        shown = [f"{b} AS g{i}" for i, b in enumerate(by)] if aliased else by
        text = f"SELECT {', '.join(shown + aggregates)} FROM {source}{self.where(scope)} GROUP BY {self.group_by(by, aliased)}"
        if self.chance(0.3):
            self.is_("HAVING")
            text += f" HAVING {self.random.choice(['count(*) > 1', 'count(*) <> 2', f'{self.aggregate(scope)} IS NOT NULL'])}"
        if self.chance(0.4):
            return text, ANY_ORDER
        self.is_("ORDER BY of groups")
        first = [f"{len(by) + 1}{self.direction()}"] if aggregates else []
        if aggregates and self.chance(0.3):
            self.is_("ORDER BY aggregate")
            first = [f"{self.aggregate(scope)}{self.direction()}"]
        return f"{text} ORDER BY {', '.join(first + [str(i + 1) for i in range(len(by))])}{self.limit() if 'GROUPING SETS' not in self.constructs else ''}", AS_IT_CAME if "GROUPING SETS" not in self.constructs else ANY_ORDER

    def distinct(self):
        self.is_("DISTINCT")
        scope, source = self.source()
        if self.chance(0.25):
            self.is_("DISTINCT ON")
            on = self.column(scope)[0]
            return f"SELECT DISTINCT ON ({on}) {self.targets(scope)} FROM {source}{self.where(scope)} ORDER BY {on}, {self.total_order(scope)}", AS_IT_CAME
        wanted = list(dict.fromkeys(self.column(scope)[0] for _ in range(self.random.randint(1, 2))))
        text = f"SELECT DISTINCT {', '.join(wanted)} FROM {source}{self.where(scope)}"
        if self.chance(0.3):
            return text, ANY_ORDER
        return f"{text} ORDER BY {', '.join(str(i + 1) + self.direction() for i in range(len(wanted)))}{self.limit()}", AS_IT_CAME

    def sets(self):
        word = self.random.choice(["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "UNION"])
        self.is_(word)
        parts = []
        for _ in range(self.random.randint(2, 3)):
            scope = [("a", self.world.table(self.random.choice(SHARDED)))]
            parts.append(f"SELECT {self.column(scope, ['int4'])[0]}, {self.column(scope, ['text'])[0]} FROM {scope[0][1].name} a{self.where(scope)}")
        joined = f" {word} ".join(parts)
        return self.one(lambda: (joined, ANY_ORDER), lambda: (f"{joined} ORDER BY 1, 2{self.limit()}", AS_IT_CAME),
                        lambda: (f"SELECT count(*) FROM ({joined}) u", ANY_ORDER))

    def windows(self):
        self.is_("window")
        scope, source = self.source()
        by = self.column(scope)[0]
        over = self.random.choice([f"PARTITION BY {by}", f"ORDER BY {by}", "", f"PARTITION BY {scope[0][0]}.{scope[0][1].unique[0]}"])
        made = self.random.choice(["count(*)", "rank()" if "ORDER" in over else "count(*)", f"sum({self.number(scope)})"])
        return f"SELECT {by}, {made} OVER ({over}) FROM {source}{self.where(scope)}", ANY_ORDER

    def overlooked(self):
        """Aggregates and windows of the query that stand in a subquery, before IN (SELECT ...), or in attribute notation."""
        self.is_("aggregate in a subquery")
        scope, source = self.source()
        column, by = self.column(scope)[0], self.column(scope)[0]
        alias, where = self.random.choice(scope)[0], self.where(scope)
        return self.random.choice([
            f"SELECT (SELECT count({column})) FROM {source}{where}", f"SELECT (SELECT min({column}::text) FROM countries LIMIT 1) FROM {source}{where}",
            f"SELECT {by}, (SELECT count({column})) FROM {source}{where} GROUP BY {by}", f"SELECT DISTINCT (SELECT max({column}::text)) FROM {source}{where}",
            f"SELECT count({column}) IN (SELECT n FROM countries) FROM {source}{where}", f"SELECT {by}, count(*) OVER () IN (SELECT n FROM countries) FROM {source}{where}",
            f"SELECT {alias}.count FROM {source}{where}", f"SELECT ({alias}).count FROM {source}{where}", f"SELECT (SELECT {alias}.count) FROM {source}{where}",
            f"SELECT {by} FROM {source}{where} GROUP BY {by} HAVING EXISTS (SELECT 1 FROM countries x WHERE x.n <= count({column}))",
            f"SELECT {by}, (SELECT count(x.n) FROM countries x WHERE x.n <> 1) FROM {source}{where}",
            f"SELECT {by}, ARRAY (SELECT x.name FROM countries x ORDER BY x.name) FROM {source}{where}"]), ANY_ORDER

    def nested(self):
        construct = self.random.choice(["derived table", "CTE", "scalar subquery", "CTE used twice", "recursive CTE"])
        self.is_(construct)
        if construct == "recursive CTE":
            return "WITH RECURSIVE r AS (SELECT 1 AS n UNION SELECT o.n + 1 FROM orders o JOIN r ON o.n = r.n) SELECT n FROM r", ANY_ORDER
        inner, _ = self.one(self.rows, self.groups, self.distinct)
        if construct == "derived table":
            return f"SELECT count(*) FROM ({inner}) d", ANY_ORDER
        if construct == "CTE":
            return f"WITH d AS {self.random.choice(['', 'MATERIALIZED '])}({inner}) SELECT count(*) FROM d", ANY_ORDER
        if construct == "CTE used twice":
            return f"WITH d AS ({inner}) SELECT (SELECT count(*) FROM d), count(*) FROM d", ANY_ORDER
        scope, source = self.source()
        own = self.world.table("orders")
        correlated = self.random.choice([f"o.user_id::text = {scope[0][0]}.{scope[0][1].unique[0]}::text", "true", "o.n = 1"])
        return f"SELECT {self.unique(scope)[0]}, (SELECT {self.random.choice(['count(*)', 'max(o.amount)'])} FROM {own.name} o WHERE {correlated}) FROM {source}{self.where(scope)}", ANY_ORDER

    def bare(self):
        """No FROM, or nothing sharded in it."""
        self.is_("no sharded FROM")
        scope = [("a", self.world.table(self.random.choice(SHARDED)))]
        reference = [("a", self.world.table(self.random.choice(["countries", "settings"])))]
        return self.one(lambda: (f"SELECT (SELECT count(*) FROM {scope[0][1].name} a{self.where(scope)})", ANY_ORDER), lambda: (f"SELECT {self.value('int4', True)} + 1 AS n, {self.value('text', True)} AS t", ANY_ORDER),
                        lambda: (f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {scope[0][1].name} a{self.where(scope)})", ANY_ORDER), lambda: ("VALUES (1, 'a'), (2, 'b')", ANY_ORDER),
                        lambda: (f"SELECT {self.targets(reference)} FROM {reference[0][1].name} a{self.where(reference)}", ANY_ORDER), lambda: (f"TABLE {scope[0][1].name}", ANY_ORDER),
                        lambda: ("SELECT * FROM generate_series(1, 3) g(n)", ANY_ORDER))

    def locking(self):
        self.is_("FOR UPDATE")
        scope = [("a", self.world.table(self.random.choice(SHARDED)))]
        source = f"{scope[0][1].name} a"
        if self.chance(0.3):
            scope, source = self.join(scope[0][1])
        how = self.random.choice(["UPDATE", "SHARE", "NO KEY UPDATE", "KEY SHARE"]) + self.random.choice(["", "", " OF a"]) + self.random.choice(["", "", " NOWAIT", " SKIP LOCKED"])
        text = f"SELECT {self.targets(scope)} FROM {source}{self.where(scope)}"
        if self.chance(0.5):
            return f"{text} FOR {how}", ANY_ORDER
        return f"{text} ORDER BY {self.total_order(scope)}{self.limit()} FOR {how}", AS_IT_CAME

    def wrong(self):
        """Errors are PostgreSQL's own."""
        self.is_("an error of PostgreSQL's")
        scope = [("a", self.world.table(self.random.choice(SHARDED)))]
        table, one = scope[0][1].name, self.unique(scope)[0]
        return self.random.choice([f"SELECT nothing FROM {table} a", f"SELECT a.nothing FROM {table} a WHERE {self.key_condition(scope)}", f"SELECT 1/0 FROM {table} a", f"SELECT {one} FROM {table} a GROUP BY 2",
                                   f"SELECT {one}, count(*) FROM {table} a", f"SELECT {one} FROM {table} a ORDER BY 3", "SELECT * FROM nowhere", f"SELECT count(*) FROM {table} a WHERE {one} = true AND 'x'",
                                   f"SELECT sum({one}::text) FROM {table} a", f"SELECT * FROM {table} a LIMIT -1", f"SELECT no_such_function({one}) FROM {table} a", f"SELEC {one} FROM {table} a",
                                   f"SELECT {one} FROM {table} a WHERE", f"SELECT 'x'::int4 FROM {table} a"]), ANY_ORDER
