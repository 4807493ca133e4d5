"""What is kept of a call: its records as rows of the ledger's inbox, whose attributes are JSON, and back again.

A time is kept as `{"time": "2026-11-22T06:07:30+00:00"}`; everything else is JSON already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from serving import ledger
from serving.hooks.mapping import Received
from serving.newcomer import Given

_TIME = "time"


def rows(records: Iterable[Received], call: str, now: datetime) -> list[ledger.Received]:
    """The rows of one call, in its order, so that of two records of one entity the later one counts.

    Args:
        records: what `unpack` received.
        call: the id of the call, as it was answered; a call that is kept twice is kept once.
        now: the instant of the call.
    """
    return [
        ledger.Received(f"{call}/{number}", now, record.source, record.entity, record.entity_id, _json(record.given))
        for number, record in enumerate(records)
    ]


def given(kept: Mapping[str, Any]) -> dict[str, Given]:
    """The attributes of a row, its times as instants again."""
    return {name: datetime.fromisoformat(value[_TIME]) if isinstance(value, dict) else value for name, value in kept.items()}


def _json(attributes: Mapping[str, Given]) -> dict[str, Any]:
    return {name: {_TIME: value.isoformat()} if isinstance(value, datetime) else value for name, value in attributes.items()}
