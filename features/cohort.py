"""A cohort: the entities that are eligible for a propensity at an as_of, decided from snapshot columns.

Training, batch and service use the conditions of the same propensity; here over snapshots in SQL, and for one record in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from features.catalog import Catalog
from features.database import connect
from features.propensity import Propensity, load_all
from features.settings import Workspace
from features.snapshot import history_start, select_sql
from features.tables import ENTITY_TABLES


@dataclass(frozen=True)
class Eligibility:
    """How many entities were known at an as_of, and how many of them failed each condition first."""

    known: int
    eligible: int
    obstacles: dict[str, int]


def mature_as_ofs(workspace: Workspace, propensity: Propensity) -> list[datetime]:
    """The instants of the propensity's grid at which someone was known and whose labels are mature, oldest first.

    Raises:
        SnapshotError: the entity's table is absent or empty.
    """
    return propensity.as_ofs(history_start(workspace, propensity.entity), Catalog.load(workspace).now)


def snapshot_as_ofs(workspace: Workspace) -> dict[str, list[datetime]]:
    """For each entity, every instant that training needs, and the newest one, for scoring; oldest first."""
    catalog = Catalog.load(workspace)
    instants = {entity: {catalog.now} for entity, table in ENTITY_TABLES.items() if catalog.has(table.name)}
    for propensity in load_all(workspace):
        if propensity.entity in instants and catalog.has(propensity.outcome.source):
            instants[propensity.entity].update(mature_as_ofs(workspace, propensity))
    return {entity: sorted(needed) for entity, needed in instants.items()}


def cohort(workspace: Workspace, propensity: Propensity, as_ofs: Sequence[datetime]) -> pd.DataFrame:
    """The eligible entities.

    Returns:
        One row per eligible entity per as_of, sorted by as_of and entity_id: `entity_id` (str), `as_of` (datetime64[us, UTC]).

    Raises:
        SnapshotError: a snapshot has not been built.
        FeatureError: a condition names a column that no view of the entity has.
    """
    with connect(workspace) as connection:
        frame = connection.execute(f"{cohort_sql(workspace, propensity, as_ofs)} order by as_of, entity_id").df()
    frame["as_of"] = frame["as_of"].astype("datetime64[us, UTC]")
    return frame


def cohort_sql(workspace: Workspace, propensity: Propensity, as_ofs: Sequence[datetime]) -> str:
    """SQL for the same rows as `cohort`, to be filtered or counted further.

    Raises:
        SnapshotError, FeatureError: as `cohort`.
    """
    known = select_sql(workspace, propensity.entity, as_ofs, _columns(propensity))
    eligible = " and ".join([f"({condition.sql()})" for condition in propensity.conditions]) or "true"
    return f"select entity_id, as_of from ({known}) where {eligible}"


def eligibility(workspace: Workspace, propensity: Propensity, as_of: datetime) -> Eligibility:
    """Counts of who was known, who is eligible, and which condition the others failed first.

    Raises:
        SnapshotError, FeatureError: as `cohort`.
    """
    known = select_sql(workspace, propensity.entity, [as_of], _columns(propensity))
    cases = "".join(f" when not coalesce({condition.sql()}, false) then {i}" for i, condition in enumerate(propensity.conditions))
    first = f"case{cases} end" if cases else "null"
    with connect(workspace) as connection:
        rows = connection.execute(f"select {first} as obstacle, count(*) from ({known}) group by obstacle").fetchall()
    counts = {number: count for number, count in rows}
    obstacles = {str(c): counts[i] for i, c in enumerate(propensity.conditions) if i in counts}
    return Eligibility(sum(counts.values()), counts.get(None, 0), obstacles)


def obstacle(propensity: Propensity, row: Mapping[str, object]) -> str | None:
    """The first condition that one record fails, as it was written; None when the record is eligible.

    Raises:
        KeyError: the record lacks a column that a condition needs.
    """
    return next((str(condition) for condition in propensity.conditions if not condition.holds(row)), None)


def _columns(propensity: Propensity) -> list[str]:
    return list(dict.fromkeys(condition.column for condition in propensity.conditions))
