"""Data incidents: what is wrong with the canonical tables at an as_of, by their own history, and which propensities it touches.

Only rows count that came in before the as_of, and before the instant up to which the tables tell. In the first twelve weeks of a
table's history nothing is said of its rows. What a table that has stopped holds is not judged, nor are its parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from features.catalog import Catalog
from features.database import connect
from features.finding import Finding
from features.settings import Workspace
from serving.monitor.tables import layout
from serving.monitor.tables.content import contents
from serving.monitor.tables.flow import late, stopped, stopped_values, volume
from serving.monitor.tables.incident import Incident
from serving.monitor.tables.profile import Profile
from serving.monitor.tables.sheet import Sheet, sheets
from serving.monitor.tables.touched import touched, uses

_GRAVITY = {"alarm": 0, "warning": 1, "note": 2}


def incidents(workspace: Workspace, as_of: datetime) -> tuple[Finding, ...]:
    """What is wrong with the tables, gravest first; what the tables look like is kept for the next look.

    Raises:
        TableError: nothing has been ingested.
        FeatureError: a declaration of the workspace is wrong.
    """
    catalog = Catalog.load(workspace)
    used = uses(workspace, catalog)
    found = [one.finding(touched(one, used)) for one in wrong(workspace, catalog, as_of)]
    layout.keep(workspace, catalog, as_of)
    return tuple(sorted(found, key=lambda one: (_GRAVITY[one.severity], one.where, one.kind)))


def wrong(workspace: Workspace, catalog: Catalog, as_of: datetime) -> Iterator[Incident]:
    """Every incident, whomever it touches."""
    yield from layout.changes(workspace, catalog, as_of)
    silent: set[str] = set()
    with connect(workspace) as connection:
        for sheet in sheets(catalog):
            if sheet.table in silent:
                continue
            profile = Profile(connection, workspace, catalog, sheet, min(as_of, catalog.now))
            found = list(stopped(profile))
            yield from found
            if found:
                silent |= {sheet.table} if sheet.is_whole else set()
            else:
                yield from _of_rows(workspace, profile, sheet, as_of)


def _of_rows(workspace: Workspace, profile: Profile, sheet: Sheet, as_of: datetime) -> Iterator[Incident]:
    if sheet.is_whole:
        yield from volume(profile)
        yield from late(profile, workspace.settings.nightly.age(sheet.table), as_of)
    for column in () if sheet.attribute else sheet.categories:
        yield from stopped_values(profile, column)
    yield from contents(profile)
