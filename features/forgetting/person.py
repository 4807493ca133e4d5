"""A person: the ids under which somebody is to be forgotten, and those that are linked to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from features.database import connect, quote
from features.settings import Workspace
from features.tables import ENTITIES, LEADS

SHORTEST, FEWEST_DIGITS = 5, 8


def is_telling(entity_id: str) -> bool:
    """Whether an id hardly stands anywhere by chance, as a count, a version or a part of a word."""
    return len(entity_id) >= (FEWEST_DIGITS if entity_id.isdigit() else SHORTEST)


@dataclass(frozen=True)
class Person:
    """The ids of one person, by kind of entity; a converted lead and its customer are one."""

    leads: frozenset[str] = frozenset()
    customers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, ids: Iterable[tuple[str, str]]) -> Person:
        """Of pairs of entity and id."""
        pairs = list(ids)
        leads, customers = ({one for entity, one in pairs if entity == wanted} for wanted in ENTITIES)
        return cls(frozenset(leads), frozenset(customers))

    def ids(self, entity: str) -> frozenset[str]:
        """The ids of one kind."""
        return self.leads if entity == "lead" else self.customers

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Entity and id, sorted."""
        return [(entity, one) for entity in ENTITIES for one in sorted(self.ids(entity))]

    @property
    def every(self) -> frozenset[str]:
        """The ids of either kind."""
        return self.leads | self.customers

    def __or__(self, other: Person) -> Person:
        return Person(self.leads | other.leads, self.customers | other.customers)


def linked(workspace: Workspace, person: Person) -> Person:
    """The person with everybody that the tables link to them: leads to the customer they became, or already were.

    Every version of the tables that is still there is asked, and links of links are followed.
    """
    edges = _edges(workspace)
    found = person
    while (wider := found | Person.of(pair for edge in edges if set(edge) & set(found.pairs) for pair in edge)) != found:
        found = wider
    return found


def _edges(workspace: Workspace) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    """Lead and customer of every row that names both."""
    found: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    with connect(workspace) as connection:
        for path in sorted(workspace.tables.glob(f"*/{LEADS.name}.parquet")):
            found |= {(("lead", lead), ("customer", customer)) for lead, customer in _pairs(connection, path)}
    return found


def _pairs(connection: duckdb.DuckDBPyConnection, path: Path) -> list[tuple[str, str]]:
    source = f"read_parquet('{quote(str(path))}')"
    names: Mapping[str, str] = {row[0]: row[1] for row in connection.execute(f"describe from {source}").fetchall()}
    if "customer_id" not in names:
        return []
    query = f"select distinct lead_id, customer_id from {source} where customer_id is not null"
    return [(row[0], row[1]) for row in connection.execute(query).fetchall()]
