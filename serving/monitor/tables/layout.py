"""The layout of the tables, kept at every look: which column of which type each had, to tell what has come and gone.

`data/monitor/profiles/2018-05-15T000000.000000.json` is one look. A change is told for four weeks, then it is how the tables are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from features.catalog import Catalog, write_atomically
from features.finding import Severity
from features.settings import Workspace
from serving.monitor.tables.incident import Incident

TOLD_FOR = timedelta(days=28)
KEPT_FOR = timedelta(days=400)
_NAME = "%Y-%m-%dT%H%M%S.%f"
Layout = Mapping[str, Mapping[str, str]]


def keep(workspace: Workspace, catalog: Catalog, as_of: datetime) -> None:
    """Keep what the tables look like now, unless a later look was kept: the tables of an earlier one are no longer there."""
    kept = _kept(workspace)
    if any(instant > as_of for instant in kept):
        return
    write_atomically(
        _folder(workspace) / f"{as_of.astimezone(UTC):{_NAME}}.json", json.dumps(_layout(catalog), indent=1).encode()
    )
    for instant, path in kept.items():
        if as_of - instant > KEPT_FOR:
            path.unlink(missing_ok=True)


def changes(workspace: Workspace, catalog: Catalog, as_of: datetime) -> Iterator[Incident]:
    """What has come, gone or changed its type since the looks of the four weeks before, or since the last one if it is older."""
    earlier = sorted((instant, path) for instant, path in _kept(workspace).items() if instant < as_of)
    recent = [one for one in earlier if as_of - one[0] <= TOLD_FOR] or earlier[-1:]
    looks = [(instant, json.loads(path.read_text(encoding="utf-8"))) for instant, path in recent]
    if not looks:
        return
    now, first = _layout(catalog), looks[0][1]
    had: dict[str, dict[str, str]] = {table: {} for _, look in looks for table in look}
    last_with: dict[tuple[str, str], datetime] = {}
    for instant, look in looks:
        for table, columns in look.items():
            had[table] |= columns
            last_with |= {(table, column): instant for column in columns}
    for table, columns in had.items():
        if table not in now:
            yield _gone(table, "", max(last_with[table, column] for column in columns))
            continue
        for column in sorted(set(columns) - set(now[table])):
            yield _gone(table, column, last_with[table, column])
    yield from _typed(now, looks)
    yield from _come(now, first, looks)


def _typed(now: Layout, looks: list[tuple[datetime, Layout]]) -> Iterator[Incident]:
    """Columns whose type is not the one that they had at the oldest of the looks."""
    for table, columns in now.items():
        for column, kind in columns.items():
            had = [(instant, look[table][column]) for instant, look in looks if column in look.get(table, {})]
            other = [instant for instant, was in had if was != kind]
            if other:
                yield _incident(table, column, f"is of type {kind}, and was of type {had[0][1]}", max(other), "alarm")


def _come(now: Layout, first: Layout, looks: list[tuple[datetime, Layout]]) -> Iterator[Incident]:
    for table, columns in now.items():
        for column in sorted(set(columns) - set(first.get(table, {}))):
            without = max(instant for instant, look in looks if column not in look.get(table, {}))
            yield _incident(table, column, "is new", without, "note")


def _gone(table: str, column: str, last: datetime) -> Incident:
    return _incident(table, column, f"is gone; it was last there on {last:%Y-%m-%d}", last, "alarm")


def _incident(table: str, column: str, what: str, since: datetime, severity: Severity) -> Incident:
    return Incident(
        kind="schema",
        where=f"{table}.{column}" if column else table,
        table=table,
        column=column,
        severity=severity,
        sentence=f"{table}{f'.{column}' if column else ''} {what}.",
        repair=f"Ask whoever delivers {table}, or mend the adapter." if severity == "alarm" else "",
        since=since,
        figures={},
    )


def _layout(catalog: Catalog) -> dict[str, dict[str, str]]:
    return {name: dict(stored.columns) for name, stored in catalog.tables.items()}


def _folder(workspace: Workspace) -> Path:
    return workspace.watch / "profiles"


def _kept(workspace: Workspace) -> dict[datetime, Path]:
    """The looks that were kept, by their as_of; files of other names are left alone."""
    found = {}
    for path in _folder(workspace).glob("[!.]*.json"):
        with suppress(ValueError):
            found[datetime.strptime(path.stem, _NAME).replace(tzinfo=UTC)] = path
    return found
