"""Scores as the partition holds them, row by row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
from msgspec.structs import asdict

from serving.partition import SCHEMA, text_of
from serving.score import Score


def table(scores: Iterable[Score]) -> pa.RecordBatch:
    """Scores as a record batch of the partition's schema."""
    return pa.RecordBatch.from_pylist([_row(score) for score in scores], schema=SCHEMA)


def _row(score: Score) -> dict[str, Any]:
    row = asdict(score)
    return {**row, "reasons": [{**asdict(reason), "value": text_of(reason.value)} for reason in score.reasons]}
