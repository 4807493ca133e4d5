"""A place where something of a person lies, or lay."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        kind: what it is to Foresell, such as `table` or `stored scores`.
        where: a path relative to the workspace, or the name of a table or key in a database.
        rows: how many rows, records or mentions of the person are there.
    """

    kind: str
    where: str
    rows: int
