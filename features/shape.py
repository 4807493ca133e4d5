"""The shape of an export file, `[files.STEM]` in adapter.toml: the names that CRMs and their tools give it and its columns.

Names are compared by their letters and digits in any case, so that `CreatedDate` of an API is `created_date` of a warehouse, and
`LeadHistory.csv` is `lead_history`. Declared columns are text, whatever the format, so that an id is the same in every file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from features.conversion import as_text, family
from features.database import identifier
from features.strict import Strict


class Shape(Strict):
    """What an adapter's SQL may rely on in one file: these columns under these names, and no row that was deleted."""

    names: tuple[str, ...] = Field(default=(), description="other names of the file")
    columns: tuple[str, ...] = Field(min_length=1, description="columns that must be there")
    optional: tuple[str, ...] = Field(default=(), description="columns that are null where the file lacks them")
    called: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="`COLUMN = [OTHER, NAMES]`")
    further: bool = Field(default=False, description="whether all other columns are handed through under their own names")
    without: dict[str, bool] = Field(
        default_factory=dict, description="`COLUMN = true`: rows that have this value are left out, such as deleted ones"
    )

    @model_validator(mode="after")
    def _calls_what_it_declares(self) -> Self:
        if unknown := set(self.called) - {*self.columns, *self.optional, *self.without}:
            raise ValueError(f"`called` names {', '.join(sorted(unknown))}, which is in neither `columns` nor `optional`")
        return self

    def select(self, delivered: Mapping[str, str], source: str, besides: Sequence[str] = ()) -> str:
        """A SELECT of a file's rows with the declared columns under their names, and what the source has besides the file's.

        `delivered` are the file's columns and their DuckDB types.
        """
        found = {column: self._find(column, delivered) for column in (*self.columns, *self.optional, *self.without)}
        taken = {name for name in found.values() if name}
        mapped = [
            f"{_text(name, delivered[name]) if name else 'cast(null as varchar)'} as {identifier(column)}"
            for column, name in found.items()
            if name or column not in self.columns  # a column that must be there is missed by the SQL that reads it
        ]
        others = [identifier(name) for name in delivered if self.further and name not in taken]
        return f"select {', '.join([*mapped, *others, *besides])} from {source}{self._where(found)}"

    def nothing(self) -> str:
        """A SELECT of no rows, for a file that is not there and need not be."""
        columns = dict.fromkeys((*self.columns, *self.optional, *self.without))
        return f"select {', '.join(f'cast(null as varchar) as {identifier(column)}' for column in columns)} where false"

    def _find(self, column: str, delivered: Iterable[str]) -> str | None:
        """The delivered name of a column: as it is declared if there is such a one, otherwise the first that reads the same."""
        for name in (column, *self.called.get(column, ())):
            alike = [other for other in delivered if plain(other) == plain(name)]
            if alike:
                return min(alike, key=lambda other: other.lower() != column)
        return None

    def _where(self, found: dict[str, str | None]) -> str:
        conditions = [
            f"try_cast({identifier(name)} as boolean) is distinct from {str(value).lower()}"
            for column, value in self.without.items()
            if (name := found[column])
        ]
        return f" where {' and '.join(conditions)}" if conditions else ""


def _text(name: str, kind: str) -> str:
    """A column as text; a blank is missing."""
    return f"nullif({as_text(identifier(name), family(kind))}, '')"


def plain(name: str) -> str:
    """A name's letters and digits, in small letters."""
    return re.sub(r"[\W_]", "", name.lower())


def same_name(names: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those of the other names that read like one of the names."""
    wanted = {plain(name) for name in names}
    return [other for other in others if plain(other) in wanted]
