"""A newcomer: an entity the store has never seen, known only by what a request says about it.

Nothing has happened to it yet, so its counts are 0 and its recencies missing, exactly as a snapshot would have them at the
instant it was created.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from features.feature import ROW_KINDS, Feature, Kind, View
from features.tables import ATTRIBUTE_HISTORY

Value = float | str | None
Given = float | bool | str | datetime | None
Type = Literal["number", "category", "timestamp"]
Row = Mapping[str, Given]
MICROSECONDS_PER_DAY = 86_400_000_000.0
DERIVED_FROM_ROW: tuple[Kind, ...] = ("age", "holds", "weekday", "hour")


@dataclass(frozen=True)
class Attribute:
    """One attribute that a request may give: the feature it becomes, and the column under which the CRM knows it."""

    feature: Feature
    column: str
    type: Type

    @property
    def names(self) -> tuple[str, ...]:
        """What a request may call it: the feature's name or the column's; a time only by its column."""
        return (self.column,) if self.type == "timestamp" else (self.feature.name, self.column)

    def value(self, given: Given, now: datetime) -> Value:
        """The feature's value for what was given; true and false are 1 and 0."""
        if isinstance(given, datetime):
            return _days_since(given, now)
        return float(given) if isinstance(given, int) else given


def attributes(views: Iterable[View], entity: str) -> tuple[Attribute, ...]:
    """The attributes of an entity, in declared order: those fixed at creation and those with a history."""
    mine = (view for view in views if view.entity == entity)
    found = (_attribute(view, feature) for view in mine for feature in view.columns)
    return tuple(attribute for attribute in found if attribute is not None)


def newcomer(views: Sequence[View], entity: str, given: Mapping[str, Given], now: datetime) -> dict[str, Value]:
    """Every feature of an entity that is created at this instant.

    Args:
        views: the views of the workspace.
        entity: `lead` or `customer`.
        given: attribute values by feature name or column name; what is not given is missing.
        now: the instant of the request.

    Returns:
        A value for each feature of the entity.
    """
    values: dict[str, Value] = {
        feature.name: feature.empty for view in views if view.entity == entity for feature in view.columns
    }
    profiles = _profiles(views, entity)
    row: Row = {column: None for view in profiles for feature in view.columns for column in _columns_read(feature)}
    whole = {**row, **{view.contract.time: now for view in profiles}}
    told = _told(views, entity, given)
    return {**values, **_said(told, now), **_computed(views, entity, {**whole, **_of_row(told)}, set(whole), now)}


def overridden(
    values: Mapping[str, Value], views: Sequence[View], entity: str, given: Mapping[str, Given], now: datetime
) -> dict[str, Value]:
    """Stored feature values with what a request says put over them, and over what is computed from the same row.

    A feature that also reads a column of which only its features are stored, such as a time, stays as it was.
    """
    kept = (a for a in attributes(views, entity) if a.feature.kind == "attribute" and a.feature.name in values)
    row: Row = {a.column: values[a.feature.name] for a in kept}
    return {**values, **said(views, entity, given, now, row)}


def said(
    views: Sequence[View], entity: str, given: Mapping[str, Given], now: datetime, row: Row | None = None
) -> dict[str, Value]:
    """The features that a request tells: the attributes it gives, and what follows from them and from the entity's own row.

    Args:
        views, entity, given, now: as for `newcomer`.
        row: the attributes that are known besides, by column.
    """
    told = _told(views, entity, given)
    own = _of_row(told)
    return {**_said(told, now), **_computed(views, entity, {**(row or {}), **own}, set(own), now)}


def _told(views: Sequence[View], entity: str, given: Mapping[str, Given]) -> dict[Attribute, Given]:
    return {a: given[name] for a in attributes(views, entity) for name in a.names if name in given}


def _of_row(told: Mapping[Attribute, Given]) -> Row:
    """What stands in the entity's own row, by column."""
    return {a.column: value for a, value in told.items() if a.feature.kind in ROW_KINDS}


def _said(told: Mapping[Attribute, Given], now: datetime) -> dict[str, Value]:
    return {a.feature.name: a.value(value, now) for a, value in told.items()}


def _computed(views: Sequence[View], entity: str, row: Row, fresh: set[str], now: datetime) -> dict[str, Value]:
    """Every feature that the row tells and that reads one of its fresh columns."""
    return {
        feature.name: _row_value(feature, row, now)
        for view in _profiles(views, entity)
        for feature in view.columns
        if feature.kind in DERIVED_FROM_ROW and _columns_read(feature) <= set(row) and _columns_read(feature) & fresh
    }


def _profiles(views: Iterable[View], entity: str) -> list[View]:
    return [view for view in views if view.entity == entity and view.is_profile]


def _columns_read(feature: Feature) -> set[str]:
    return {feature.column, *(condition.column for condition in feature.where)} - {""}


def _attribute(view: View, feature: Feature) -> Attribute | None:
    if view.is_profile and feature.kind == "attribute":
        return Attribute(feature, feature.column, feature.dtype)
    if view.is_profile and feature.kind == "age" and feature.column != view.contract.time:
        return Attribute(feature, feature.column, "timestamp")
    if view.table == ATTRIBUTE_HISTORY.name and feature.kind == "latest":
        field = next(str(condition.values[0]) for condition in feature.where if condition.column == "field")
        return Attribute(feature, field, feature.dtype)
    return None


def _row_value(feature: Feature, row: Row, now: datetime) -> Value:
    """The value of a feature that reads the entity's own row, as `features.compile` has it in SQL."""
    if feature.kind == "holds":
        return float(all(condition.holds(row) for condition in feature.where))
    instant = row[feature.column]
    if not isinstance(instant, datetime):
        return None
    if feature.kind == "age":
        return _days_since(instant, now)
    in_utc = _aware(instant).astimezone(UTC)
    return float(in_utc.isoweekday() if feature.kind == "weekday" else in_utc.hour)


def _days_since(instant: datetime, now: datetime) -> float:
    return ((now - _aware(instant)) // timedelta(microseconds=1)) / MICROSECONDS_PER_DAY


def _aware(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
