"""One connection to a database, and what it answers: every result's columns, rows, tag or error, as they came over the wire."""
import datetime
import struct
import uuid

from psycopg import pq

from world import OIDS, shown

SIMPLE, TEXT, BINARY, PREPARED = "simple", "text parameters", "binary", "prepared"
PROTOCOLS = [SIMPLE, TEXT, BINARY, PREPARED]
EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
TOO_MANY_PREPARED = 64


def binary(kind, value):
    """The value in PostgreSQL's binary format; None where it is better sent as text (numeric)."""
    if kind in ("int4", "int8"):
        width, code = (4, "!i") if kind == "int4" else (8, "!q")
        return struct.pack(code, value) if abs(value) < 2 ** (width * 8 - 1) or value == -(2 ** (width * 8 - 1)) else None
    if kind == "float8":
        return struct.pack("!d", value)
    if kind == "bool":
        return b"\1" if value else b"\0"
    if kind == "uuid":
        return uuid.UUID(str(value)).bytes
    if kind == "timestamptz":
        return struct.pack("!q", round((value - EPOCH).total_seconds()) * 1000000)
    if kind == "date":
        return struct.pack("!i", (value - EPOCH.date()).days)
    return value.encode() if kind in ("text", "varchar") else None


class Lost(Exception):
    """The connection is gone."""


class Connection:
    def __init__(self, dsn):
        self.pg = pq.PGconn.connect(dsn.encode())
        if self.pg.status != pq.ConnStatus.OK:
            raise Lost(self.pg.error_message.decode())
        self.pg.notice_handler = None
        self.prepared, self.names = {}, 0

    def close(self):
        self.pg.finish()

    @property
    def status(self):
        """IDLE, INTRANS or INERROR."""
        return pq.TransactionStatus(self.pg.transaction_status).name

    def run(self, sql):
        """A command of the harness's own."""
        return self._collect(lambda: self.pg.send_query(sql.encode()), None)

    def ask(self, statement, how):
        """[result] of a statement; one result for each in a string of several."""
        if how == SIMPLE or statement.several or statement.template.startswith("COPY"):   # which takes no parameters
            return self._collect(lambda: self.pg.send_query(statement.with_literals().encode()), statement.copy_data)
        sql, values = statement.with_parameters()
        kinds = [kind for kind, _, _ in values]
        types = [OIDS[kind] if declared or how == BINARY else 0 for kind, _, declared in values]
        encoded, formats = self._encode(values, how)
        if how == PREPARED:
            return self._execute(sql, types, encoded, formats)
        return self._collect(lambda: self.pg.send_query_params(sql.encode(), encoded, types if kinds else None, formats if kinds else None, int(how == BINARY)), None)

    @staticmethod
    def _encode(values, how):
        encoded, formats = [], []
        for kind, value, _ in values:
            raw = binary(kind, value) if how == BINARY and value is not None else None
            encoded.append(raw if raw is not None else None if value is None else shown(value).encode())
            formats.append(int(raw is not None))
        return encoded, formats

    def _execute(self, sql, types, encoded, formats):
        wanted = (sql, tuple(types))
        if wanted not in self.prepared:
            if len(self.prepared) >= TOO_MANY_PREPARED and self.status == "IDLE":
                self.run("DEALLOCATE ALL")
                self.prepared.clear()
            self.names += 1
            name = f"p{self.names}"
            made = self._collect(lambda: self.pg.send_prepare(name.encode(), sql.encode(), types or None), None)
            if errors := [result for result in made if result[0] == "error"]:   # also one that came with the Sync only
                return errors
            self.prepared[wanted] = name
        name = self.prepared[wanted].encode()
        return self._collect(lambda: self.pg.send_query_prepared(name, encoded, formats or None, 0), None)

    def _collect(self, send, copy_data):
        try:
            send()
            results = []
            while (result := self.pg.get_result()) is not None:
                told = self._told(result, copy_data)
                if told and told[0] == "error" and results and results[-1] and results[-1][0] == "copy":
                    results.pop()   # how many rows came before it is nobody's promise; libpq forgets those of a SELECT
                results.append(told)
        except Exception as error:   # psycopg's own classes differ between its releases
            raise Lost(f"{error}") from error
        if self.pg.status != pq.ConnStatus.OK:
            raise Lost(f"connection lost: {results}")
        return [r for r in results if r]

    def _told(self, result, copy_data):
        status = pq.ExecStatus(result.status)
        if status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.BAD_RESPONSE):
            field = lambda f: (result.error_field(f) or b"").decode(errors="replace")
            return "error", field(pq.DiagnosticField.SQLSTATE), field(pq.DiagnosticField.MESSAGE_PRIMARY)
        if status == pq.ExecStatus.COPY_IN:
            self.pg.put_copy_data((copy_data or "").encode())
            self.pg.put_copy_end()
            return None
        if status == pq.ExecStatus.COPY_OUT:
            return "copy", self._copy_out()
        if status == pq.ExecStatus.TUPLES_OK:
            width = result.nfields
            columns = [(result.fname(i).decode(), result.ftype(i), result.fmod(i), result.fformat(i)) for i in range(width)]
            rows = [tuple(result.get_value(r, i) for i in range(width)) for r in range(result.ntuples)]
            return "rows", columns, rows, (result.command_status or b"").decode()
        return "done", (result.command_status or b"").decode()

    def _copy_out(self):
        lines = []
        while True:
            size, data = self.pg.get_copy_data(0)
            if size < 0:
                return lines
            lines.append(bytes(data))
