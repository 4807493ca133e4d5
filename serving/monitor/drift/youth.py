"""Features that were still filling at a date: their window reached back to before their table begins.

A count of a year grows for a year where the history is young, whatever anybody does, and no line foretells at what it will stop.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from features.catalog import Catalog
from features.database import connect, quote
from features.feature import Feature, View
from features.settings import Workspace
from features.views import views

ENDLESS = 365  # days; what reaches back to the first row counts as filling for a year
NO_WINDOW = ("attribute", "external", "age", "days_until_next")


def young(workspace: Workspace, entity: str, names: Collection[str], at: datetime) -> tuple[str, ...]:
    """Those of an entity's features that were still filling at a date, by name."""
    found: set[str] = set()
    catalog = Catalog.load(workspace)
    for view in views(workspace, catalog):
        if view.entity == entity and not view.external and not view.is_profile:
            begun = _begun(workspace, catalog, view)
            found |= {one.name for one in view.columns if begun is None or at - begun < timedelta(days=reach(view, one))}
    return tuple(name for name in names if name in found)


def reach(view: View, feature: Feature) -> int:
    """How many days a feature looks back; of a change or a ratio, the farther of the two that it compares."""
    if feature.kind in NO_WINDOW:
        return 0
    if feature.of:
        return max(reach(view, one) for one in view.features if one.name in feature.of)
    return ENDLESS if feature.days is None else feature.days + feature.offset_days


def _begun(workspace: Workspace, catalog: Catalog, view: View) -> datetime | None:
    """The time of a table's first row; None of an empty table."""
    path = quote(str(catalog.path(workspace, view.table)))
    with connect(workspace) as connection:
        row = connection.execute(f"select min({view.contract.time}) from read_parquet('{path}')").fetchone()
    return row[0].replace(tzinfo=UTC) if row and row[0] is not None else None
