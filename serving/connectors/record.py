"""Records: a change in the fields of a target, checked before anything is sent.

A CRM that scores on its own learns from some of its fields. Odoo takes a probability of 0 or 100 as certain, and drops the lead
from what it learns: so such a field gets 1 and 99 at the outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from features.errors import WorkspaceError, nearest
from features.target import Target
from serving.connectors.change import Change
from serving.connectors.connector import Record
from serving.limits import LONGEST_ID

Source = Callable[[Change, int], Any]
SOURCES: dict[str, Source] = {
    "score": lambda change, _: change.score,
    "probability": lambda change, decimals: _rounded(change.probability, decimals),
    "percent": lambda change, decimals: _rounded(change.probability, max(decimals - 2, 0), 100),
    "percentile": lambda change, decimals: _rounded(change.percentile, decimals),
    "grade": lambda change, _: change.grade,
    "expected_value": lambda change, _: _rounded(change.expected_value, 2),
    "reasons": lambda change, _: change.reasons or None,
    "trend": lambda change, _: change.trend,
    "withheld": lambda change, _: change.withheld,
    "state": lambda change, _: change.state,
    "version": lambda change, _: change.version,
    "as_of": lambda change, _: change.as_of.isoformat(),
    "explore": lambda change, _: {True: "yes", False: "no"}[change.explore] if change.state == "scored" else None,
    "day": lambda change, _: f"{change.as_of:%Y-%m-%d}",
    "propensity": lambda change, _: change.propensity,
    "entity_id": lambda change, _: change.entity_id,
}
OWN = {name: name for name in list(SOURCES)[:-4]}
TYPES: dict[str, type] = {
    "score": int, "probability": float, "percent": float, "percentile": float, "expected_value": float,
}  # fmt: skip  # all others are text
_EDGES = {"probability": (0.01, 0.99), "percentile": (0.01, 0.99), "percent": (1, 99), "score": (1, 99)}


def mapping(target: Target, name: str) -> dict[str, str]:
    """What is written: the settings' `fields`, or all fields where the target has none of its own.

    Raises:
        WorkspaceError: `fields` names something that a score does not have.
    """
    for source in target.fields.values():
        if source not in SOURCES:
            near = nearest(source, SOURCES)
            raise WorkspaceError(
                f"[write_back.{name}] fields",
                expected=f"CRM_FIELD = SCORE_FIELD, one of {', '.join(SOURCES)}",
                received=f"`{source}`",
                repair=f"write `{near}`" if near else "write the CRM's field first, then the score's",
            )
    return dict(target.fields) or OWN


def own_names(fields: Mapping[str, str], propensity: str) -> dict[str, str]:
    """The same for one propensity: `{propensity}` filled in."""
    return {field.replace("{propensity}", propensity.replace("-", "_")): source for field, source in fields.items()}


def record(change: Change, fields: Mapping[str, str], target: Target) -> Record:
    """A change as the target takes it.

    Args:
        change: a sound one.
        fields: from `own_names`.
        target: says how numbers are written.
    """
    values = {field: SOURCES[source](change, target.decimals) for field, source in fields.items()}
    for field, source in fields.items():
        learns = target.clamp == "all" or (target.clamp == "named" and "probability" in field.lower())
        if not learns or source not in _EDGES:
            continue
        if values[field] is not None:
            low, high = _EDGES[source]
            values[field] = min(max(values[field], low), high)
        elif target.empties_to_zero:
            del values[field]
    return Record(change, values)


def flaw(change: Change) -> str | None:
    """What no target should be sent, in words; None if the change is sound."""
    if not 1 <= len(change.entity_id) <= LONGEST_ID:
        return f"the id has {len(change.entity_id):,} characters, not 1 to {LONGEST_ID}"
    if change.state != "scored":
        return None
    if change.score is None or not 1 <= change.score <= 100:
        return f"the score is {change.score}, not 1 to 100"
    if change.probability is None or not 0 <= change.probability <= 1:  # NaN is not either
        return f"the probability is {change.probability}, not 0 to 1"
    if change.percentile is not None and not 0 <= change.percentile <= 1:
        return f"the percentile is {change.percentile}, not 0 to 1"
    if change.expected_value is not None and not math.isfinite(change.expected_value):
        return f"the expected value is {change.expected_value}"
    return None


def _rounded(number: float | None, decimals: int, times: int = 1) -> float | None:
    return None if number is None else round(times * number, decimals)
