"""Rows for the ledger."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import numpy as np

from features.record import Layout, Values, pack
from serving.ledger import Entry, Letter, Received, Stored

NOW = datetime(2026, 11, 25, 6, 7, 30, 752655, tzinfo=UTC)
LAYOUT = Layout((("visits", "number"), ("city", "category")))
KEPT = Values(LAYOUT, pack(LAYOUT, NOW, np.array([[0.1]]), [["müßig"]])[0])


def stored(entity_id: str, probability: float | None = 0.1, at: datetime = NOW, propensity: str = "churn") -> Stored:
    document = f'{{"entity_id": "{entity_id}",  "probability": {probability!r}, "näme": "ü"}}'.encode()
    return Stored(propensity, entity_id, at, "3", probability, document, struct.pack("<3d", 0.1, float("nan"), -0.0), KEPT)


def entry(entity_id: str, probability: float = 0.1, at: datetime = NOW, caller: str | None = "crm") -> Entry:
    score = stored(entity_id, probability, at)
    return Entry(at, f"request {entity_id}", caller, "http", "churn", entity_id, "3", probability, 42, stored=score)


def received(number: int, entity_id: str, **given: object) -> Received:
    return Received(f"{number:032x}", NOW, "odoo", "lead", entity_id, given)


def letter(name: str, entity_id: str = "1") -> Letter:
    return Letter(name, "odoo", "lead", entity_id, "lead-conversion", b'{"score": 42}')
