"""SQL: tables, views or queries of PostgreSQL or SQLite, by a column with the time of each row's last change.

A row that is deleted leaves no trace here: mark it instead, in a column of its own. Times without a zone are UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy import text as statement
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from features.database import identifier
from features.errors import WorkspaceError, nearest
from features.remote.database import address, engine, told
from features.remote.failure import Busy, Denied, Refused
from features.settings import Workspace
from features.sources.settings import SqlSource, SqlTable
from features.sources.source import Kind, Record, Window, instant, text

PAGE = 10_000
_DENIED = ("authentication failed", "no password supplied", "pg_hba.conf", "does not exist")  # of PostgreSQL: no wait mends it
_FORMAT = "%Y-%m-%d %H:%M:%f"  # of SQLite's, with milliseconds: whatever way a time is written, so it can be compared


class SqlRecords:
    """Tables of a database.

    Args:
        workspace: a SQLite file's path may be relative to it.
        where: the source's table in the settings, for errors.
        settings: the source.

    Raises:
        WorkspaceError: the address is none, holds a password, or its driver is not installed.
    """

    versions = True

    def __init__(self, workspace: Workspace, where: str, settings: SqlSource) -> None:
        self._url = address(workspace, f"{where} database", settings.database)
        self._engine = engine(self._url, where)
        self._is_sqlite = self._url.drivername == "sqlite"
        self._where, self._settings = where, settings
        self._from: dict[str, str] = {}
        self._declared: set[str] = set()  # the files whose key is the settings' word
        self.limit = settings.page or PAGE
        self.unit = timedelta(milliseconds=1) if self._is_sqlite else timedelta(microseconds=1)

    def kinds(self, stems: frozenset[str]) -> list[Kind]:
        """The tables in the settings; without them, every table that is called like a file which the adapter reads."""
        with self._connected() as connection:
            found = inspect(connection)
            there = {*found.get_table_names(), *found.get_view_names()}
            tables = self._settings.tables or {stem: SqlTable() for stem in sorted(stems & there)}
            if not tables:
                raise self._wrong("tables", f"tables called {', '.join(sorted(stems))}", ", ".join(sorted(there)) or "no table")
            wanted = {stem: table for stem, table in tables.items() if stem not in self._settings.skip}
            return [self._kind(connection, stem, table, stems) for stem, table in wanted.items()]

    def count(self, kind: Kind, low: datetime | None) -> int:
        """How many rows changed since."""
        missing = f"select count(*) from {self._from[kind.stem]} where {self._time(kind)} is null"
        with self._connected() as connection:
            empty = connection.execute(statement(missing)).scalar_one()
            if empty:
                raise Refused(f"{empty:,} rows have no time of change in {kind.modified}, so nobody can tell when to pull them")
            condition, values = self._condition(kind, Window(low))
            if kind.stem in self._declared:
                self._require_one_row_a_key(connection, kind, condition, values)
            found = connection.execute(statement(f"select count(*) from {self._from[kind.stem]} where {condition}"), values)
            return int(found.scalar_one())

    def page(self, kind: Kind, window: Window) -> list[Record]:
        """The first rows of a window."""
        condition, values = self._condition(kind, window)
        keys = ", ".join(identifier(name) for name in kind.key)
        order = keys if window.high else f"{self._time(kind)}, {keys}"
        columns = ", ".join(identifier(name) for name in kind.columns)
        asked = (
            f"select {self._time(kind)}, {columns} from {self._from[kind.stem]} "
            f"where {condition} order by {order} limit {self.limit}"
        )
        with self._connected() as connection:
            return [_record(kind, row[0], row[1:]) for row in connection.execute(statement(asked), values)]

    def gone(self, kind: Kind, after: str | None) -> tuple[list[Record], str | None]:
        """None: a database does not know what was deleted."""
        return [], None

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def _kind(self, connection: Connection, stem: str, table: SqlTable, stems: frozenset[str]) -> Kind:
        if stem not in stems:
            near = nearest(stem, stems)
            raise self._wrong(f"tables.{stem}", f"files that the adapter reads: {', '.join(sorted(stems))}", f"`{stem}`", near)
        schema, _, name = (table.table or stem).rpartition(".")
        quoted = f"{identifier(schema)}.{identifier(name)}" if schema else identifier(name)
        self._from[stem] = f"({_escaped(table.query)}) as pulled" if table.query else quoted
        columns = tuple(connection.execute(statement(f"select * from {self._from[stem]} limit 0")).keys())
        key, modified = table.key, table.modified or self._settings.modified
        if key:
            self._declared.add(stem)
        elif not table.query:
            key = tuple(inspect(connection).get_pk_constraint(name, schema or None)["constrained_columns"])
        if not key:
            raise self._wrong(f"tables.{stem} key", "the columns that identify a row", "none, and no primary key")
        for column in (*key, modified):
            if column not in columns:
                where = f"tables.{stem} {'modified' if column == modified else 'key'}"
                raise self._wrong(where, f"a column of {', '.join(columns)}", f"`{column}`", nearest(column, columns))
        return Kind(stem, table.query or table.table or stem, columns, key, modified)

    def _require_one_row_a_key(self, connection: Connection, kind: Kind, condition: str, values: dict[str, Any]) -> None:
        keys = [identifier(name) for name in kind.key]
        is_missing = " or ".join(f"{key} is null" for key in keys)
        many = (
            f"select count(*) from (select 1 from {self._from[kind.stem]} where {condition} "
            f"group by {', '.join([*keys, self._time(kind)])} having count(*) > 1 or {is_missing}) as many"
        )
        if found := connection.execute(statement(many), values).scalar_one():
            received = (
                f"{found:,} keys that are missing, or have several rows of one time of change, of which only one would come"
            )
            raise self._wrong(f"tables.{kind.stem} key", "columns that identify a row", received)

    def _time(self, kind: Kind) -> str:
        column = identifier(kind.modified)
        return f"strftime('{_FORMAT}', {column})".replace(":", r"\:") if self._is_sqlite else column

    def _condition(self, kind: Kind, window: Window) -> tuple[str, dict[str, Any]]:
        bounds = {"low": (">=", window.low), "high": ("<", window.high)}
        parts = [f"{self._time(kind)} {sign} :{name}" for name, (sign, at) in bounds.items() if at is not None]
        values: dict[str, Any] = {name: self._bound(at) for name, (_, at) in bounds.items() if at is not None}
        if window.after is not None:
            names = [f"after_{number}" for number in range(len(kind.key))]
            keys = ", ".join(identifier(name) for name in kind.key)
            parts.append(f"({keys}) > ({', '.join(f':{name}' for name in names)})")
            values |= dict(zip(names, window.after, strict=True))
        return " and ".join(parts) or "1 = 1", values

    def _bound(self, at: datetime) -> Any:
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if self._is_sqlite else at

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                if not self._is_sqlite:
                    connection.execute(statement("set time zone 'UTC'"))
                yield connection
        except OperationalError as problem:
            words = told(problem, self._url)
            if any(sign in words for sign in _DENIED):
                raise Denied(words) from None
            raise Refused(words) if "no such" in words else Busy(words) from None
        except (SQLAlchemyError, UnicodeError) as problem:
            raise Refused(told(problem, self._url)) from None

    def _wrong(self, key: str, expected: str, received: str, near: str | None = None) -> WorkspaceError:
        repair = f"write `{near}`" if near else "mend it in foresell.toml"
        return WorkspaceError(f"{self._where} {key}", expected=expected, received=received, repair=repair)


def _record(kind: Kind, at: Any, values: Any) -> Record:
    row = dict(zip(kind.columns, values, strict=True))
    return Record(tuple(row[name] for name in kind.key), _instant(at), {name: text(value) for name, value in row.items()})


def _instant(at: Any) -> datetime:
    if isinstance(at, datetime):
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return datetime.combine(at, time(), UTC) if isinstance(at, date) else instant(at)


def _escaped(query: str) -> str:
    """A query in which a colon is a colon."""
    return query.strip().rstrip(";").replace(":", r"\:")
