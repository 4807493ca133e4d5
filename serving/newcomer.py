"""A newcomer: an entity the store has never seen, known only by what a request says about it.

Nothing has happened to it yet, so its counts are 0 and its recencies missing, exactly as a snapshot would have them at the
instant it was created.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from features.feature import Feature, View
from features.tables import ATTRIBUTE_HISTORY

Value = float | str | None
Given = float | bool | str | datetime | None
Type = Literal["number", "category", "timestamp"]
SECONDS_PER_DAY = 86_400.0


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
    values: dict[str, Value] = {}
    for view in views:
        if view.entity == entity:
            values |= {feature.name: _at_creation(view, feature, now) for feature in view.columns}
    return overridden(values, attributes(views, entity), given, now)


def overridden(
    values: Mapping[str, Value], known: Sequence[Attribute], given: Mapping[str, Given], now: datetime
) -> dict[str, Value]:
    """Feature values with what a request says about the attributes put over them."""
    said = {
        attribute.feature.name: attribute.value(given[name], now)
        for attribute in known
        for name in attribute.names
        if name in given
    }
    return {**values, **said}


def _attribute(view: View, feature: Feature) -> Attribute | None:
    if view.is_profile and feature.kind == "attribute":
        return Attribute(feature, feature.column, feature.dtype)
    if view.is_profile and feature.kind == "age" and feature.column != view.contract.time:
        return Attribute(feature, feature.column, "timestamp")
    if view.table == ATTRIBUTE_HISTORY.name and feature.kind == "latest":
        field = next(str(condition.values[0]) for condition in feature.where if condition.column == "field")
        return Attribute(feature, field, feature.dtype)
    return None


def _at_creation(view: View, feature: Feature, now: datetime) -> Value:
    """The value of a feature for an entity whose row holds nothing but its creation."""
    if not view.is_profile:
        return feature.empty
    row: Mapping[str, object] = defaultdict(lambda: None, {view.contract.time: now})
    created = row[feature.column]
    if feature.kind == "holds":
        return float(all(condition.holds(row) for condition in feature.where))
    if not isinstance(created, datetime):
        return None
    instants = {
        "age": _days_since(created, now),
        "weekday": float(created.astimezone(UTC).isoweekday()),
        "hour": float(created.astimezone(UTC).hour),
    }
    return instants.get(feature.kind)


def _days_since(instant: datetime, now: datetime) -> float:
    aware = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
    return (now - aware).total_seconds() / SECONDS_PER_DAY
