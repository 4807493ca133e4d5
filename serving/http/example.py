"""Examples: a request that can be answered, and the answer it would get, made of what is usual and of nobody in particular."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from features.condition import Condition
from features.record import Record
from serving.answer import written
from serving.desk import Desk
from serving.http.request import Form
from serving.newcomer import Attribute, Value
from serving.scorer import Scorer
from training.contract import Column

SHOWN = 3  # attributes


def asked(form: Form, desk: Desk | None) -> dict[str, Any]:
    """A request that can be answered: a lead that is new, or customers by id."""
    given = {attribute.names[0]: _usual_of(desk, attribute) for attribute in form.attributes[:SHOWN]}
    return {"records": [{"attributes": given}]} if form.entity == "lead" else {"ids": ["1001", "1002"]}


def answered(desk: Desk, now: datetime) -> dict[str, Any]:
    """The score of one whose every feature is the usual one, as JSON: what the version that answers says now."""
    scorer = desk.scorer
    entity_id = "" if scorer.propensity.entity == "lead" else "1001"
    (score,) = scorer.score([Record(entity_id, now, _usual(scorer))], now)
    told: dict[str, Any] = json.loads(written(score))
    return {**told, "entity_id": entity_id or None}


def _usual(scorer: Scorer) -> Mapping[str, Value]:
    """Usual values, but for those that decide whether the question applies: it does."""
    values: dict[str, Value] = dict.fromkeys(scorer.columns)
    values |= {column.name: _typical(column) for column in scorer.model.contract.features}
    return {**values, **_eligible(scorer.propensity.conditions)}


def _eligible(conditions: tuple[Condition, ...]) -> dict[str, Value]:
    fixed = (condition for condition in conditions if condition.operator in (">=", "<=", "=", "in"))
    return {condition.column: _value(condition.values[0]) for condition in fixed}


def _value(value: object) -> Value:
    return float(value) if isinstance(value, int) else str(value) if not isinstance(value, float) else value


def _typical(column: Column) -> Value:
    return (column.typical.commonest or column.categories[0]) if column.categories else column.typical.median


def _usual_of(desk: Desk | None, attribute: Attribute) -> Value:
    features = desk.scorer.model.contract.features if desk else ()
    column = next((column for column in features if column.name == attribute.feature.name), None)
    return None if column is None else _typical(column)
