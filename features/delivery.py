"""What an adapter's SQL delivers for one table, kept once and untouched, so that checks can look at it and messages can quote it.

The result is a raw Parquet file: every check reads only the columns it needs, and ten million rows need little memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from features.adapter import Script
from features.database import identifier, quote
from features.errors import TableError, nearest
from features.export import ROW, Export, unreadable
from features.settings import Attribute, IngestSettings
from features.tables import TABLES, Table, Type

EXAMPLE_ROWS = 5
NAMED = 20  # columns in a note
_NAMED_COLUMN = re.compile(r'[Cc]olumn (?:named )?"([^"]+)"')


@dataclass(frozen=True)
class Delivery:
    """One table's SQL, the files it reads and the rules its values are read by. `raw` is where its result is kept.

    `connection` has the export's TimeZone, which makes times without a zone local.
    """

    connection: duckdb.DuckDBPyConnection
    export: Export
    script: Script
    attributes: Mapping[str, Attribute]
    rules: IngestSettings
    raw: Path

    @property
    def table(self) -> str:
        return self.script.table

    @property
    def contract(self) -> Table:
        return TABLES[self.table]

    @property
    def where(self) -> str:
        """The table, its files and its script, for messages."""
        return f"table {self.table} ({self.export.names(self.script.stems)}, read by {self.script.name})"

    @property
    def source(self) -> str:
        """The raw rows, as SQL."""
        return f"read_parquet('{quote(str(self.raw))}')"

    @property
    def wanted(self) -> dict[str, tuple[Type, bool]]:
        """Every column that is kept if it is delivered: its type, and whether each row needs a value."""
        contract = {column.name: (column.type, column.required) for column in self.contract.all_columns}
        return {**contract, **{name: (attribute.type, False) for name, attribute in self.attributes.items()}}

    def types(self) -> dict[str, str]:
        """The delivered columns and their DuckDB types."""
        return {name: kind for name, kind, *_ in self.connection.execute(f"describe from {self.source}").fetchall()}

    def count(self, condition: str) -> int:
        """How many raw rows meet a condition."""
        row = self.connection.execute(f"select count(*) from {self.source} where {condition}").fetchone()
        return int(row[0]) if row else 0

    def examples(self, condition: str, value: str) -> str:
        """The first five raw rows that meet a condition: row in the file (if the SQL hands rows through), key and raw value.

        Rows have no order once they are stored, so the SQL runs again, in the order of the files.
        """
        self.connection.execute("set preserve_insertion_order = true")
        again = replace(self, raw=self.raw.with_suffix(".numbered"))
        again.extract(numbered=True)
        keys = [name for name in again.types() if name.lower() in self.contract.key]
        numbered = ROW in again.types()
        shown = ", ".join([identifier(ROW) if numbered else "null", f"cast({value} as varchar)", *map(identifier, keys)])
        query = f"select {shown} from {again.source} where {condition} {f'order by {identifier(ROW)}' if numbered else ''}"
        rows = self.connection.execute(f"{query} limit {EXAMPLE_ROWS}").fetchall()
        return "; ".join(_in_words(row[0], row[1], dict(zip(keys, row[2:], strict=True))) for row in rows)

    def extract(self, *, numbered: bool = False) -> None:
        """Run the SQL and keep its result.

        Raises:
            TableError: a file cannot be read to its end, the SQL names a column that no file has, or it fails.
        """
        self.export.register(self.connection, self.script.stems, numbered=numbered)
        try:
            self.connection.execute(f'create or replace temp view "(delivered)" as {self.script.sql}')
            self.connection.execute(f"copy \"(delivered)\" to '{quote(str(self.raw))}' (format parquet)")
        except duckdb.Error as problem:
            raise unreadable(self.export, self.script.stems, problem) or _failed(self, problem) from None

    def check_columns(self) -> list[str]:
        """Refuse missing and misspelt columns; return notes about those that are left out.

        Raises:
            TableError: a required or fixed column is missing, or one looks like a misspelt column of the contract.
        """
        delivered, wanted = list(self.types()), self.wanted
        present = {name.lower() for name in delivered}
        absent = [name for name in wanted if name not in present]
        for name in absent:
            if wanted[name][1] or (name in self.attributes and self.attributes[name].fixed):
                raise no_column(self.where, name, delivered)
        extra = [name for name in delivered if name.lower() not in wanted]
        for name in extra:
            meant = nearest(name, set(absent) - set(self.attributes), cutoff=0.85)  # what may change is read from its history
            if meant is not None:
                raise _misspelt(self, name, meant)
        return [_left_out(self.table, extra)] if extra else []


def no_column(where: str, name: str, delivered: Iterable[str]) -> TableError:
    """The error of a column that is not there, with the one that may be meant."""
    near = nearest(name, delivered)
    return TableError(
        f"{where}, column {name}",
        expected=f"a column `{name}`",
        received=f"columns {', '.join(delivered)}",
        repair=f"rename `{near}` to `{name}` if that is what it is" if near else "add it to the export or to the adapter's SQL",
    )


def _misspelt(delivery: Delivery, name: str, meant: str) -> TableError:
    return TableError(
        f"{delivery.where}, column {name}",
        expected="columns of the contract or of [attributes]",
        received=f"`{name}`, which is neither",
        repair=f"rename it to `{meant}` if that is what it is, otherwise declare or drop it",
    )


def _left_out(table: str, extra: Iterable[str]) -> str:
    names = [f"`{name}`" for name in extra]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{table}: left out {', '.join(names[:NAMED])}{more}; [attributes.{table}] in foresell.toml keeps what it declares"


def _failed(delivery: Delivery, problem: duckdb.Error) -> TableError:
    """The error of SQL that fails, with the column it looked for if that is the reason."""
    text = str(problem).splitlines()[0]
    named = _NAMED_COLUMN.search(text) if isinstance(problem, duckdb.BinderException) else None
    if named is not None:
        return no_column(delivery.where, named[1], delivery.export.columns(delivery.connection, delivery.script.stems))
    return TableError(
        delivery.where,
        expected="SQL that runs over the export",
        received=text,
        repair="mend the SQL or the export it reads",
    )


def _in_words(number: int | None, value: str | None, keys: Mapping[str, object]) -> str:
    key = ", ".join(f"{name} {key!r}" for name, key in keys.items())
    place = key if number is None else f"row {number} ({key})" if key else f"row {number}"
    return f"{place} has {'nothing' if value is None else repr(value[:60])}"
