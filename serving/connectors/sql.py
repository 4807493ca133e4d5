"""SQL: a table of PostgreSQL or SQLite in which every row is what there is to know now; written by upsert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Column, Double, Integer, MetaData, Table, Text, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.types import TypeEngine

from features.remote.database import address, engine, told
from features.remote.failure import Busy, Denied, Refused
from features.settings import Workspace
from features.target import SqlTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import TYPES, own_names

KEY = ("entity", "entity_id", "propensity")
_SQL: dict[type, TypeEngine[Any]] = {int: Integer(), float: Double()}


class Sql:
    """A table of a database; it is made if it is absent.

    Args:
        workspace: a SQLite file's path may be relative to it.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.

    Raises:
        WorkspaceError: the address is none, holds a password, or its driver is not installed.
    """

    limit = 1_000
    groups = False

    def __init__(self, workspace: Workspace, where: str, target: SqlTarget, fields: Mapping[str, str]) -> None:
        self._url = address(workspace, f"{where} database", target.database)
        self._engine = engine(self._url, where)
        self._target, self._fields, self._made = target, fields, set[str]()

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The statement's place and its first row."""
        return [Call("upsert", f"{self._url.render_as_string(hide_password=True)} {self._target.table}", _row(chunk[0]))]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Upsert all or nothing."""
        table = self._table(chunk[0].propensity)
        dialect = sqlite if self._url.drivername == "sqlite" else postgresql
        statement: Any = dialect.insert(table)
        others = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
        with self._answering(), self._engine.begin() as connection:
            if chunk[0].propensity not in self._made:
                table.create(connection, checkfirst=True)
            connection.execute(statement.on_conflict_do_update(index_elements=KEY, set_=others), [_row(one) for one in chunk])
        self._made.add(chunk[0].propensity)
        return []

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The rows of the ids."""
        table = self._table(propensity)
        query = select(table).where(
            table.c.propensity == propensity, table.c.entity_id.in_(ids), table.c.entity == self._target.entity
        )
        with self._answering(), self._engine.connect() as connection:
            return {row["entity_id"]: dict(row) for row in connection.execute(query).mappings()}

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def _table(self, propensity: str) -> Table:
        """With the columns of one propensity; one of `{propensity}` in its name has columns of its own, to be made by hand."""
        own = own_names(self._fields, propensity)
        schema, _, name = self._target.table.rpartition(".")
        columns = [Column(field, _SQL.get(TYPES.get(source, str), Text())) for field, source in own.items() if field not in KEY]
        return Table(name, MetaData(), *(Column(one, Text(), primary_key=True) for one in KEY), *columns, schema=schema or None)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, DataError) as problem:
            raise Refused(told(problem, self._url)) from None
        except OperationalError as problem:
            text = told(problem, self._url)
            raise Denied(text) if "no such" in text or "has no column" in text else Busy(text) from None
        except (SQLAlchemyError, UnicodeError) as problem:
            raise Denied(told(problem, self._url)) from None


def _row(record: Record) -> dict[str, Any]:
    change = record.change
    return {**record.values, "entity": change.entity, "entity_id": change.entity_id, "propensity": change.propensity}
