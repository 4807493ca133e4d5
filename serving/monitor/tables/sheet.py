"""A sheet: rows of a canonical table that come in by one clock, and the columns whose values are looked at as they come in.

Most tables are one sheet, whose rows come in when their first version becomes known. A time that is filled later (`ended_at`) is
an event in disguise and a sheet of its own, with the columns that it reveals. So is each attribute in `attribute_history`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from features.catalog import Catalog
from features.database import identifier, quote
from features.settings import Workspace
from features.tables import ATTRIBUTE_HISTORY, TABLES, Table, Type

Sort = Literal["category", "number", "other"]
_SORTS: dict[Type, Sort] = {
    "category": "category", "flag": "category", "money": "number", "number": "number", "integer": "number",
    "id": "other", "timestamp": "other",
}  # fmt: skip
DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Sheet:
    """One sheet.

    Attributes:
        table: its canonical table.
        columns: what is looked at, each with what can be asked of it.
        clock: the time that is filled later and brings its rows; empty: they come when they become known.
        entity, attribute: of `attribute_history`, whose and which attribute; empty: every row of the table.
    """

    table: str
    columns: dict[str, Sort] = field(default_factory=dict)
    clock: str = ""
    entity: str = ""
    attribute: str = ""

    @property
    def name(self) -> str:
        """What a finding about all of its rows names."""
        return ".".join(part for part in (self.table, self.entity, self.clock or self.attribute) if part)

    @property
    def is_whole(self) -> bool:
        """Whether it holds every row of its table."""
        return not self.clock and not self.attribute

    @property
    def categories(self) -> tuple[str, ...]:
        """Its columns of categories."""
        return tuple(name for name, sort in self.columns.items() if sort == "category")

    def place(self, column: str) -> str:
        """What a finding about a column names."""
        return self.name if self.attribute else f"{self.table}.{column}"

    def sql(self, workspace: Workspace, catalog: Catalog, until: datetime) -> str:
        """Its rows that came in before `until` (UTC), each as it looked when it came in.

        Returns:
            A query for `came_at`, when the row came in, `came_day`, how many whole days before `until` that was, and the columns.
        """
        source = f"read_parquet('{quote(str(catalog.path(workspace, self.table)))}')"
        keys = ", ".join(identifier(key) for key in TABLES[self.table].key)
        at = f"greatest(known_at, {identifier(self.clock)})" if self.clock else "known_at"
        instant = f"timestamp '{until.replace(tzinfo=None).isoformat(sep=' ')}'"
        columns = "".join(f", {_read(name, sort)}" for name, sort in self.columns.items())
        return (
            f"select {at} as came_at, (epoch_us({instant}) - epoch_us({at}) - 1) // {DAY} as came_day{columns} "
            f"from {source} as version {self._first(source, keys)} where {at} < {instant} and {self._belongs()}"
            + (f" qualify row_number() over (partition by {keys} order by known_at) = 1" if self.clock else "")
        )

    def _first(self, source: str, keys: str) -> str:
        """The join that leaves of every row its first version, for a correction brings nothing new."""
        replaced = f"(select {keys}, known_until as known_at from {source} where known_until is not null)"
        names = keys if "known_at" in TABLES[self.table].key else f"{keys}, known_at"
        return "" if self.clock else f"anti join {replaced} as replaced using ({names})"

    def _belongs(self) -> str:
        if self.attribute:
            return f"entity = '{quote(self.entity)}' and field = '{quote(self.attribute)}'"
        return f"{identifier(self.clock)} is not null" if self.clock else "true"


def sheets(catalog: Catalog) -> Iterator[Sheet]:
    """Every sheet of the tables that there are, whole tables before their parts."""
    for name, stored in catalog.tables.items():
        contract = TABLES[name]
        if contract == ATTRIBUTE_HISTORY:
            yield Sheet(name)
            yield from _attributes(catalog)
            continue
        later, sorts = contract.filled_later, _sorts(catalog, contract)
        yield Sheet(name, {column: sort for column, sort in sorts.items() if column not in later})
        for clock in contract.columns:
            if clock.revealed_by == clock.name and clock.name in stored.columns:
                revealed = {c.name for c in contract.columns if c.revealed_by == clock.name} - {clock.name}
                yield Sheet(name, {column: sort for column, sort in sorts.items() if column in revealed}, clock=clock.name)


def _attributes(catalog: Catalog) -> Iterator[Sheet]:
    for table, attributes in catalog.attributes.items():
        for name, attribute in attributes.items():
            if not attribute.fixed:
                yield Sheet(ATTRIBUTE_HISTORY.name, {"value": _SORTS[attribute.type]}, entity=table[:-1], attribute=name)


def _sorts(catalog: Catalog, contract: Table) -> dict[str, Sort]:
    """The columns of a table that say something, besides its key and its clocks."""
    types = {column.name: column.type for column in contract.columns}
    types |= {name: attribute.type for name, attribute in catalog.attributes.get(contract.name, {}).items()}
    told = set(catalog.tables[contract.name].columns) - {*contract.key, contract.time}
    return {name: _SORTS[types[name]] for name in types if name in told}


def _read(name: str, sort: Sort) -> str:
    column = identifier(name)
    kind = {"category": "varchar", "number": "double", "other": "varchar"}[sort]
    return f"try_cast({column} as {kind}) as {column}"
