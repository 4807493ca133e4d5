"""The oracle: every declared feature computed again in plain Python, from the meaning of its kind and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pandas as pd

from features.condition import Condition
from features.feature import Feature, View
from features.tables import ENTITY_TABLES, TABLES, Table

Row = dict[str, Any]
World = dict[str, list[Row]]


def known_rows(world: World, table: Table, as_of: pd.Timestamp) -> list[Row]:
    """The rows of a table as they looked just before an instant: the newest known version of each that had happened."""
    newest: dict[tuple[Any, ...], Row] = {}
    for row in sorted(world.get(table.name, []), key=lambda row: _known(row, table)):
        if _known(row, table) < as_of:
            newest[tuple(row.get(key) for key in table.key)] = row
    return [_veiled(row, table, as_of) for row in newest.values() if row[table.time] < as_of]


def entities(world: World, entity: str, as_of: pd.Timestamp) -> list[str]:
    table = ENTITY_TABLES[entity]
    return sorted(row[table.key[0]] for row in known_rows(world, table, as_of))


def value(world: World, view: View, feature: Feature, entity_id: str, as_of: pd.Timestamp) -> float | str | None:
    """One feature of one entity at one instant; None for missing."""
    table = TABLES[view.table]
    rows = [row for row in known_rows(world, table, as_of) if row.get(view.key) == entity_id and _all(view.where, row)]
    if feature.of:
        first, second = (value(world, view, part, entity_id, as_of) or 0.0 for part in _parts(view, feature))
        top, bottom = (first - second, first + second) if feature.kind == "change" else (first, second)
        return top / bottom if bottom else None
    return _KINDS[feature.kind](_selected(rows, feature, table, as_of), feature, table, as_of)


def _known(row: Row, table: Table) -> pd.Timestamp:
    return row.get("known_at") or row[table.time]


def _veiled(row: Row, table: Table, as_of: pd.Timestamp) -> Row:
    veiled = dict(row)
    for column in table.columns:
        instant = row.get(column.revealed_by) if column.revealed_by else None
        if column.revealed_by and not (instant is not None and instant < as_of):
            veiled[column.name] = None
    return veiled


def _parts(view: View, feature: Feature) -> list[Feature]:
    return [next(part for part in view.features if part.name == name) for name in feature.of]


def _all(conditions: tuple[Condition, ...], row: Row) -> bool:
    return all(condition.holds({condition.column: row.get(condition.column)}) for condition in conditions)


def _selected(rows: list[Row], feature: Feature, table: Table, as_of: pd.Timestamp) -> list[Row]:
    if feature.kind in ("attribute", "age", "holds", "weekday", "hour"):
        return rows
    time, end = feature.at or table.time, as_of - pd.Timedelta(days=feature.offset_days)
    chosen = [row for row in rows if _all(feature.where, row) and row.get(time) is not None]
    if feature.days is None:
        return chosen
    start = end - pd.Timedelta(days=feature.days)
    return [row for row in chosen if start <= row[time] < end]


def _numbers(rows: list[Row], feature: Feature) -> list[Decimal]:
    return [Decimal(str(row[feature.column])) for row in rows if row.get(feature.column) is not None]


def _days(later: pd.Timestamp, earlier: pd.Timestamp | None) -> float | None:
    return None if earlier is None else ((later - earlier) // pd.Timedelta(microseconds=1)) / 86_400_000_000.0


def _latest(rows: list[Row], feature: Feature, table: Table, as_of: pd.Timestamp) -> float | str | None:
    if not rows:
        return None
    newest = max(rows, key=lambda row: (row[feature.at or table.time], *(row[key] for key in table.key)))
    found = newest.get(feature.column)
    return found if found is None or feature.dtype == "category" else float(found)


def _sum(rows: list[Row], feature: Feature, table: Table, as_of: pd.Timestamp) -> float:
    return float(sum(_numbers(rows, feature), Decimal(0)))


def _mean(rows: list[Row], feature: Feature, table: Table, as_of: pd.Timestamp) -> float | None:
    numbers = _numbers(rows, feature)
    return float(sum(numbers, Decimal(0))) / len(numbers) if numbers else None


def _number(found: Any) -> float | str | None:
    missing = found is None or (isinstance(found, float) and math.isnan(found))
    return None if missing else found if isinstance(found, str) else float(found)


_KINDS: dict[str, Callable[[list[Row], Feature, Table, pd.Timestamp], float | str | None]] = {
    "attribute": lambda rows, f, t, a: _number(rows[0].get(f.column)),
    "age": lambda rows, f, t, a: _days(a, rows[0].get(f.column)),
    "holds": lambda rows, f, t, a: float(_all(f.where, rows[0])),
    "weekday": lambda rows, f, t, a: float(rows[0][f.column].isoweekday()),
    "hour": lambda rows, f, t, a: float(rows[0][f.column].hour),
    "latest": _latest,
    "count": lambda rows, f, t, a: float(len(rows)),
    "sum": _sum,
    "mean": _mean,
    "min": lambda rows, f, t, a: float(min(_numbers(rows, f))) if _numbers(rows, f) else None,
    "max": lambda rows, f, t, a: float(max(_numbers(rows, f))) if _numbers(rows, f) else None,
    "distinct": lambda rows, f, t, a: float(len({row[f.column] for row in rows if row.get(f.column) is not None})),
    "days_since_last": lambda rows, f, t, a: _days(a, max((row[f.at or t.time] for row in rows), default=None)),
    "days_since_first": lambda rows, f, t, a: _days(a, min((row[f.at or t.time] for row in rows), default=None)),
    "days_until_next": lambda rows, f, t, a: _until([row[f.column] for row in rows if row.get(f.column) is not None], a),
}


def _until(instants: list[pd.Timestamp], as_of: pd.Timestamp) -> float | None:
    ahead = [instant for instant in instants if instant >= as_of]
    return _days(min(ahead), as_of) if ahead else None
